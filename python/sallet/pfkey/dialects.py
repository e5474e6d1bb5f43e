"""What systems disagree on above RFC 2367, as tables: numbers, layouts, errno, delivery, required extensions.

No branch on a dialect's name enters, here or elsewhere: a deviation is a field, a dialect a row of values.
Answers to <linux/pfkeyv2.h>, <linux/ipsec.h>, the manuals of KAME, and RFC 2367 where they leave room.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.constants import SadbSatype as Satype


@dataclass(frozen=True, slots=True)
class AlgorithmRow:
    """One algorithm as a dialect numbers and lists it; `name` is the registry's name."""

    number: int
    name: str
    ivlen: int
    minbits: int
    maxbits: int


NO_AUTHENTICATION: Final = "null"
"""Name of the authentication algorithm that is none; never asked of the registry."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect; every field says in which way systems differ."""

    name: str

    # Numbers.
    auth: tuple[AlgorithmRow, ...]
    """Authentication algorithms in the order in which REGISTER lists them."""
    encrypt: tuple[AlgorithmRow, ...]
    """Encryption algorithms in the order in which REGISTER lists them."""
    extension_numbers: Mapping[Ext, int]
    """Every extension that the dialect knows, with its number on the wire."""
    last_message: int
    """The highest message type."""
    satypes: Mapping[int, str]
    """Association types that have a protocol, by number."""
    inet6_family: int
    """AF_INET6 of the system."""

    # Layouts.
    sockaddr_has_length: bool
    """Whether a socket address begins with its length in one octet (4.4BSD)."""
    request_header_bytes: int
    """Size of `sadb_x_ipsecrequest`: 16 with a 32-bit request id, 8 with a 16-bit one."""
    policy_has_priority: bool
    """Whether the last word of `sadb_x_policy` is a priority; it is reserved otherwise."""
    policy_has_scope: bool = False
    """Whether the octet after the direction is a scope; it is reserved otherwise."""

    # Malformed messages.
    short_errno: int = errno.EMSGSIZE
    """send() failure for a message shorter than its header or unlike its length field."""
    bad_header_fails_send: bool = True
    """Whether a wrong version or type fails send(); it is answered with an errno otherwise."""
    bad_extension_fails_send: bool = False
    """Whether a malformed extension fails send(); it is answered with an errno otherwise."""
    unknown_extension_ignored: bool = False
    """Whether extensions above the last known number are skipped; they are refused otherwise."""
    family_errno: int = errno.EINVAL
    """errno for an address family that is neither IPv4 nor IPv6."""

    # Values.
    replay_unit: int = 1
    """Packets that one unit of `sadb_sa_replay` stands for."""
    replay_max: int = 255
    """Largest window that the SA extension can ask for, in its unit; larger ones are cut to it."""
    flags_kept: int = 0
    """Flags that an association stores and shows."""
    flags_refused: int = 0
    """Flags that are answered with EINVAL; those in neither mask are ignored."""
    any_mode: str = "transport"
    """What mode 0 of an association means."""
    default_level: str = "require"
    """What level 0 of a request means."""
    unknown_level: str | None = None
    """What an unknown level means; None refuses it."""
    directions: Mapping[int, str] = field(default_factory=dict)
    """Policy directions by number."""
    inbound_judges_forwarded: bool = False
    """Whether an `in` entry also judges forwarded packets (dialects without `fwd`)."""
    default_priority: int = 0
    """Priority of a policy that cannot say one."""
    empty_ipsec_is_none: bool = False
    """Whether an `ipsec` policy without requests is stored as `none`; it is refused otherwise."""
    spi_min: int = 0
    """Lowest SPI that ADD accepts."""
    source_must_match: bool = True
    """Whether GET, DELETE and UPDATE compare the source address, too."""

    # Replies.
    replies_show_state: bool = True
    """Whether replies show the whole entry; they repeat the request's extensions otherwise."""
    replies_carry_keys: bool = False
    """Whether replies to ADD, UPDATE and DELETE show keys, as Linux does; RFC 2367 §3.1.3 forbids it."""
    errors_echo_request: bool = False
    """Whether an error repeats the whole request; it is a bare header otherwise."""
    dump_newest_first: bool = False
    """Order of a dump."""
    dump_counts_down: bool = True
    """Whether `sadb_msg_seq` counts n-1 … 0; it is 1 … n-1, 0 otherwise. The last is 0 in both."""
    flush_answers_twice: bool = False
    """Whether a flush that removed something answers its sender once more, beside telling everybody."""
    promiscuous_copies_wrapped: bool = False
    """Whether promiscuous copies stand behind an X_PROMISC header; they are bare otherwise."""
    proxy_in_state: bool = False
    """Whether an association shows its wildcard selector as ADDRESS_PROXY."""

    # Refusals.
    errno_by_kind: Mapping[str, int] = field(default_factory=dict)
    """errno for each kind of engine error."""
    errno_by_message: Mapping[tuple[Msg, str], int] = field(default_factory=dict)
    """errno for a kind of error where a message has its own."""
    unsupported_errno: int = errno.EOPNOTSUPP
    """errno for a message that only the other side may send, or that nobody serves."""
    required: Mapping[Msg, tuple[Ext, ...]] = field(default_factory=dict)
    """Extensions without which a message is refused with EINVAL."""

    auth_numbers: Mapping[str, int] = field(init=False)
    """Authentication numbers by registry name."""
    encrypt_numbers: Mapping[str, int] = field(init=False)
    """Encryption numbers by registry name."""
    auth_names: Mapping[int, str] = field(init=False)
    """Registry names by authentication number."""
    encrypt_names: Mapping[int, str] = field(init=False)
    """Registry names by encryption number."""
    extension_kinds: Mapping[int, Ext] = field(init=False)
    """Extension kinds by number on the wire."""
    satype_numbers: Mapping[str, int] = field(init=False)
    """Association types by protocol."""

    def __post_init__(self) -> None:
        """Derive the reverse tables."""

        def put(name: str, table: dict[object, object]) -> None:
            object.__setattr__(self, name, MappingProxyType(table))

        put("auth_numbers", {row.name: row.number for row in self.auth})
        put("encrypt_numbers", {row.name: row.number for row in self.encrypt})
        put("auth_names", {row.number: row.name for row in self.auth})
        put("encrypt_names", {row.number: row.name for row in self.encrypt})
        put("extension_kinds", {number: kind for kind, number in self.extension_numbers.items()})
        put("satype_numbers", {protocol: number for number, protocol in self.satypes.items()})


_COMMON_EXTENSIONS: Final[dict[Ext, int]] = {
    kind: int(kind) for kind in Ext if kind <= Ext.X_SA2 and kind is not Ext.X_KMPRIVATE
}
_NAT_EXTENSIONS: Final[dict[Ext, int]] = {
    kind: int(kind) for kind in Ext if Ext.X_NAT_T_TYPE <= kind <= Ext.X_OAR_OR_SEC_CTX
}
_SATYPES: Final = {int(Satype.AH): "ah", int(Satype.ESP): "esp", int(Satype.X_IPCOMP): "ipcomp"}

_LINUX_AUTH: Final = (
    AlgorithmRow(251, NO_AUTHENTICATION, 0, 0, 0),
    AlgorithmRow(2, "hmac-md5-96", 0, 128, 128),
    AlgorithmRow(3, "hmac-sha1-96", 0, 160, 160),
    AlgorithmRow(5, "hmac-sha2-256-128", 0, 256, 256),
    AlgorithmRow(6, "hmac-sha2-384-192", 0, 384, 384),
    AlgorithmRow(7, "hmac-sha2-512-256", 0, 512, 512),
    AlgorithmRow(8, "hmac-ripemd160-96", 0, 160, 160),
    AlgorithmRow(9, "aes-xcbc-mac-96", 0, 128, 128),
)
_LINUX_ENCRYPT: Final = (
    AlgorithmRow(11, "null", 0, 0, 0),
    AlgorithmRow(2, "des-cbc", 8, 64, 64),
    AlgorithmRow(3, "3des-cbc", 8, 192, 192),
    AlgorithmRow(6, "cast128-cbc", 8, 40, 128),
    AlgorithmRow(7, "blowfish-cbc", 8, 40, 448),
    AlgorithmRow(12, "aes-cbc", 8, 128, 256),
    AlgorithmRow(252, "serpent-cbc", 8, 128, 256),
    AlgorithmRow(22, "camellia-cbc", 8, 128, 256),
    AlgorithmRow(253, "twofish-cbc", 8, 128, 256),
    AlgorithmRow(13, "aes-ctr", 8, 160, 288),
)
"""The IV lengths are what Linux lists (8 for every cipher), not what the algorithms have."""

_ADDRESSES: Final = (Ext.ADDRESS_SRC, Ext.ADDRESS_DST)
_SPD_KEY: Final = (*_ADDRESSES, Ext.X_POLICY)
_REQUIRED: Final[dict[Msg, tuple[Ext, ...]]] = {
    Msg.GETSPI: _ADDRESSES,
    Msg.UPDATE: (Ext.SA, *_ADDRESSES),
    Msg.ADD: (Ext.SA, *_ADDRESSES),
    Msg.DELETE: (Ext.SA, *_ADDRESSES),
    Msg.GET: (Ext.SA, *_ADDRESSES),
    Msg.X_SPDADD: _SPD_KEY,
    Msg.X_SPDUPDATE: _SPD_KEY,
    Msg.X_SPDDELETE: _SPD_KEY,
    Msg.X_SPDGET: (Ext.X_POLICY,),
    Msg.X_SPDDELETE2: (Ext.X_POLICY,),
}

_LINUX_ERRNO: Final = {
    "exists": errno.EEXIST,
    "not-found": errno.ESRCH,
    "invalid-spi": errno.EINVAL,
    "spi-exhausted": errno.ENOENT,
    "unknown-algorithm": errno.ENOSYS,
    "invalid-key-length": errno.EINVAL,
    "unsupported-combination": errno.EINVAL,
    "invalid-state": errno.EINVAL,
    "invalid-selector": errno.EINVAL,
    "out-of-range": errno.EINVAL,
    "full": errno.ENOBUFS,
    "no-entries": errno.ENOENT,
    "unknown-satype": errno.EINVAL,
    "hook-failed": errno.EIO,
}
_LINUX_ERRNO_BY_MESSAGE: Final = {
    (Msg.ADD, "unknown-satype"): errno.EPROTONOSUPPORT,
    (Msg.UPDATE, "unknown-satype"): errno.EPROTONOSUPPORT,
    (Msg.GET, "unknown-satype"): errno.ESRCH,
    (Msg.DELETE, "unknown-satype"): errno.ESRCH,
    (Msg.X_SPDDELETE, "not-found"): errno.ENOENT,
    (Msg.X_SPDGET, "not-found"): errno.ENOENT,
    (Msg.X_SPDDELETE2, "not-found"): errno.ENOENT,
}

LINUX: Final = Dialect(
    name="linux",
    auth=_LINUX_AUTH,
    encrypt=_LINUX_ENCRYPT,
    extension_numbers={
        **_COMMON_EXTENSIONS,
        **_NAT_EXTENSIONS,
        Ext.X_KMPRIVATE: 17,
        Ext.X_KMADDRESS: 25,
        Ext.X_FILTER: 26,
    },
    last_message=24,
    satypes=_SATYPES,
    inet6_family=10,
    sockaddr_has_length=False,
    request_header_bytes=16,
    policy_has_priority=True,
    unknown_extension_ignored=True,
    replay_max=32,
    flags_kept=Flag.X_NOECN | Flag.X_DECAP_DSCP | Flag.X_NOPMTUDISC,
    unknown_level="require",
    directions={1: "in", 2: "out", 3: "fwd"},
    empty_ipsec_is_none=True,
    source_must_match=False,
    replies_carry_keys=True,
    dump_newest_first=True,
    dump_counts_down=False,
    flush_answers_twice=True,
    proxy_in_state=True,
    errno_by_kind=_LINUX_ERRNO,
    errno_by_message=_LINUX_ERRNO_BY_MESSAGE,
    required=_REQUIRED,
)
"""`<linux/pfkeyv2.h>` and `<linux/ipsec.h>`, with the behaviour of kernel 6.1."""

SALLET: Final = replace(
    LINUX,
    name="sallet",
    auth=(
        *_LINUX_AUTH,
        # 245 is in the private range of RFC 2407; it names the truncation of old Linux and KAME kernels.
        AlgorithmRow(245, "hmac-sha2-256-96", 0, 256, 256),
    ),
    encrypt=(
        *_LINUX_ENCRYPT,
        AlgorithmRow(20, "aes-gcm-16", 8, 160, 288),
        # 28 is the IKEv2 transform number (RFC 7634); Linux gave ChaCha20-Poly1305 no PF_KEY number.
        AlgorithmRow(28, "chacha20-poly1305", 8, 288, 288),
    ),
    extension_numbers={**LINUX.extension_numbers, Ext.X_SA_REPLAY: 64},
    unknown_extension_ignored=False,
    replay_max=255,
    flags_kept=LINUX.flags_kept | Flag.X_CYCSEQ | Flag.X_ESN,
    unknown_level=None,
    empty_ipsec_is_none=False,
    spi_min=1,
    source_must_match=True,
    replies_carry_keys=False,
    flush_answers_twice=False,
    proxy_in_state=False,
)
"""Linux' numbers with what Linux' PF_KEY lacks: AEADs, ESN, windows in packets; strict, and no keys told."""

KAME: Final = Dialect(
    name="kame",
    auth=(
        AlgorithmRow(2, "hmac-md5-96", 0, 128, 128),
        AlgorithmRow(3, "hmac-sha1-96", 0, 160, 160),
        AlgorithmRow(249, "keyed-md5", 0, 128, 128),
        AlgorithmRow(250, "keyed-sha1", 0, 160, 160),
        AlgorithmRow(251, NO_AUTHENTICATION, 0, 0, 2048),
        AlgorithmRow(5, "hmac-sha2-256-128", 0, 256, 256),
        AlgorithmRow(6, "hmac-sha2-384-192", 0, 384, 384),
        AlgorithmRow(7, "hmac-sha2-512-256", 0, 512, 512),
        AlgorithmRow(8, "hmac-ripemd160-96", 0, 160, 160),
        AlgorithmRow(9, "aes-xcbc-mac-96", 0, 128, 128),
    ),
    encrypt=(
        AlgorithmRow(2, "des-cbc", 8, 64, 64),
        AlgorithmRow(3, "3des-cbc", 8, 192, 192),
        AlgorithmRow(11, "null", 0, 0, 2048),
        AlgorithmRow(7, "blowfish-cbc", 8, 40, 448),
        AlgorithmRow(6, "cast128-cbc", 8, 40, 128),
        AlgorithmRow(12, "aes-cbc", 16, 128, 256),
        AlgorithmRow(13, "aes-ctr", 8, 160, 288),
        AlgorithmRow(253, "twofish-cbc", 16, 0, 256),
    ),
    extension_numbers={**_COMMON_EXTENSIONS, Ext.X_TAG: 25, Ext.X_SA3: 26, Ext.X_PACKET: 27},
    last_message=24,
    satypes=_SATYPES,
    inet6_family=24,
    sockaddr_has_length=True,
    request_header_bytes=8,
    policy_has_priority=False,
    short_errno=errno.EINVAL,
    bad_header_fails_send=False,
    bad_extension_fails_send=True,
    family_errno=errno.EAFNOSUPPORT,
    replay_unit=8,
    flags_kept=Flag.X_CYCSEQ | Flag.X_RAWCPI,
    # Old formats, derived IVs and padding by choice are not served, so they are not accepted either.
    flags_refused=Flag.PFS | Flag.X_IV4B | Flag.X_DERIV | Flag.X_PRAND | Flag.X_PZERO | 0xFFFFFC00,
    any_mode="any",
    default_level="default",
    directions={1: "in", 2: "out"},
    inbound_judges_forwarded=True,
    default_priority=0x80000000,
    spi_min=256,
    replies_show_state=False,
    errors_echo_request=True,
    promiscuous_copies_wrapped=True,
    errno_by_kind={
        **_LINUX_ERRNO,
        "not-found": errno.ENOENT,
        "spi-exhausted": errno.EINVAL,
        "unknown-algorithm": errno.EINVAL,
    },
    errno_by_message={
        (Msg.X_SPDDELETE, "not-found"): errno.EINVAL,
        (Msg.X_SPDDELETE2, "not-found"): errno.EINVAL,
    },
    unsupported_errno=errno.EINVAL,
    required={**_REQUIRED, Msg.DELETE: _ADDRESSES},
)
"""The KAME kernel behind the manuals of QNX."""

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({row.name: row for row in (SALLET, LINUX, KAME)})
"""Every dialect by name."""
