"""What systems disagree on above RFC 2367, as tables: numbers, layouts, errno, delivery, required extensions.

No branch on a dialect's name enters, here or elsewhere: a deviation is a field, a dialect a row of values.
Answers to <linux/pfkeyv2.h>, <linux/ipsec.h>, the manuals of KAME, and RFC 2367 where they leave room.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sallet.pfkey.constants import ULPROTO_ANY
from sallet.pfkey.constants import SadbCompression as Compression
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.constants import SadbSatype as Satype
from sallet.pfkey.dialect import AlgorithmRow, Dialect, EncryptVariant

NO_AUTHENTICATION: Final = "null-auth"
"""Registry name of the authentication algorithm that is none."""

__all__ = ["DIALECTS", "KAME", "LINUX", "NO_AUTHENTICATION", "SALLET", "AlgorithmRow", "Dialect"]

_COMMON_EXTENSIONS: Final[dict[Ext, int]] = {
    kind: int(kind) for kind in Ext if kind <= Ext.X_SA2 and kind is not Ext.X_KMPRIVATE
}
_NAT_EXTENSIONS: Final[dict[Ext, int]] = {
    kind: int(kind) for kind in Ext if Ext.X_NAT_T_TYPE <= kind <= Ext.X_OAR_OR_SEC_CTX
}
_COMPRESS: Final = {int(Compression.DEFLATE): "deflate"}
"""The one that is provided anywhere; its number is that of RFC 2407 §4.4.5 and of the well-known CPI."""
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

_LIMITS: Final = (Ext.LIFETIME_HARD, Ext.LIFETIME_SOFT)
_KEYS: Final = (Ext.KEY_AUTH, Ext.KEY_ENCRYPT)
_NAT: Final = (Ext.X_NAT_T_TYPE, Ext.X_NAT_T_SPORT, Ext.X_NAT_T_DPORT)


def _linux_shapes(
    proxy: tuple[Ext, ...], told_keys: tuple[Ext, ...], replay: tuple[Ext, ...]
) -> dict[Msg, tuple[Ext, ...]]:
    """Give the shapes of Linux, whose every message about an association shows the whole of it."""
    front = (Ext.SA, *_LIMITS, Ext.LIFETIME_CURRENT, *_ADDRESSES, *proxy)
    back = (Ext.X_SA2, *_NAT, *replay)
    told = (*front, *told_keys, *back)
    asked = (*front, *_KEYS, *back)
    policy = (*_ADDRESSES, *_LIMITS, Ext.LIFETIME_CURRENT, Ext.X_POLICY)
    return {
        **dict.fromkeys((Msg.GETSPI, Msg.UPDATE, Msg.ADD, Msg.DELETE), told),
        **dict.fromkeys((Msg.GET, Msg.DUMP), asked),
        Msg.EXPIRE: (*front, *back),
        **dict.fromkeys((Msg.X_SPDADD, Msg.X_SPDUPDATE, Msg.X_SPDDELETE, Msg.X_SPDDELETE2), policy),
        **dict.fromkeys((Msg.X_SPDGET, Msg.X_SPDDUMP), policy),
    }


_KAME_CHANGED: Final = (Ext.SA, Ext.X_SA2, *_ADDRESSES, *_LIMITS)
_KAME_STATE: Final = (Ext.SA, Ext.X_SA2, *_LIMITS, Ext.LIFETIME_CURRENT, *_ADDRESSES)
_KAME_POLICY: Final = (*_ADDRESSES, Ext.X_POLICY, Ext.LIFETIME_CURRENT, Ext.LIFETIME_HARD)
_KAME_SHAPES: Final[dict[Msg, tuple[Ext, ...]]] = {
    Msg.GETSPI: (Ext.SA, *_ADDRESSES),
    Msg.UPDATE: _KAME_CHANGED,
    Msg.ADD: _KAME_CHANGED,
    Msg.DELETE: (Ext.SA, *_ADDRESSES),
    Msg.GET: (*_KAME_STATE, *_KEYS),
    Msg.DUMP: (*_KAME_STATE, *_KEYS),
    Msg.EXPIRE: (Ext.SA, Ext.X_SA2, Ext.LIFETIME_CURRENT, *_LIMITS, *_ADDRESSES),
    Msg.X_SPDADD: (Ext.X_POLICY, Ext.LIFETIME_HARD, *_ADDRESSES),
    Msg.X_SPDUPDATE: (Ext.X_POLICY, Ext.LIFETIME_HARD, *_ADDRESSES),
    Msg.X_SPDDELETE: (Ext.X_POLICY, *_ADDRESSES),
    Msg.X_SPDDELETE2: (Ext.X_POLICY,),
    Msg.X_SPDEXPIRE: (Ext.X_POLICY, Ext.LIFETIME_CURRENT, Ext.LIFETIME_HARD, *_ADDRESSES),
    Msg.X_SPDGET: _KAME_POLICY,
    Msg.X_SPDDUMP: _KAME_POLICY,
}

_LINUX_ERRNO: Final = {
    "exists": errno.EEXIST,
    "not-found": errno.ESRCH,
    "invalid-spi": errno.EINVAL,
    "spi-exhausted": errno.ENOENT,
    "unknown-algorithm": errno.ENOSYS,
    "invalid-key-length": errno.EINVAL,
    "weak-key": errno.EINVAL,
    "not-for-manual-keys": errno.EINVAL,
    "unsupported-combination": errno.EINVAL,
    "invalid-state": errno.EINVAL,
    "invalid-selector": errno.EINVAL,
    "out-of-range": errno.EINVAL,
    "full": errno.ENOBUFS,
    "no-entries": errno.ENOENT,
    "unknown-satype": errno.EINVAL,
    "missing-extension": errno.EINVAL,
    "unknown-protocol": errno.EINVAL,
    "too-many-requests": errno.ELOOP,
    "unsupported": errno.EOPNOTSUPP,
    "hook-failed": errno.EIO,
}
_LINUX_ERRNO_BY_MESSAGE: Final = {
    (Msg.ADD, "unknown-satype"): errno.EPROTONOSUPPORT,
    (Msg.UPDATE, "unknown-satype"): errno.EPROTONOSUPPORT,
    (Msg.GET, "unknown-satype"): errno.ESRCH,
    (Msg.DELETE, "unknown-satype"): errno.ESRCH,
    (Msg.X_SPDDELETE, "not-found"): errno.ENOENT,
    # A Linux policy id names its list in three bits; most unknown ids fail on those.
    (Msg.X_SPDGET, "not-found"): errno.EINVAL,
    (Msg.X_SPDDELETE2, "not-found"): errno.EINVAL,
}

LINUX: Final = Dialect(
    name="linux",
    auth=_LINUX_AUTH,
    encrypt=_LINUX_ENCRYPT,
    compress=_COMPRESS,
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
    cpi_is_raw=True,
    unknown_level="require",
    directions={1: "in", 2: "out", 3: "fwd"},
    empty_ipsec_is_none=True,
    source_must_match=False,
    update_ignores_keys=True,
    protocols_must_match=False,
    any_protocols=frozenset({0, ULPROTO_ANY}),
    # Linux tells keys to every socket; each of them could dump them, too.
    shapes=_linux_shapes(proxy=(Ext.ADDRESS_PROXY,), told_keys=_KEYS, replay=()),
    sequence_in_state=False,
    reference_counts=True,
    dump_newest_first=True,
    dump_counts_down=False,
    flush_answers_twice=True,
    promiscuous_sees_requests=True,
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
        # These numbers are of the BSD systems: AES-GMAC has one for each length of key.
        AlgorithmRow(11, "aes-128-gmac", 8, 160, 160),
        AlgorithmRow(12, "aes-192-gmac", 8, 224, 224),
        AlgorithmRow(13, "aes-256-gmac", 8, 288, 288),
        AlgorithmRow(249, "keyed-md5", 0, 128, 128),
        AlgorithmRow(250, "keyed-sha1", 0, 160, 160),
        # Nobody gave these two a number, so they have one of no system: 245 is the truncation of old kernels.
        AlgorithmRow(245, "hmac-sha2-256-96", 0, 256, 256),
        AlgorithmRow(246, "aes-cmac-96", 0, 128, 128),
    ),
    encrypt=(
        *_LINUX_ENCRYPT,
        # 1 and 9 are of RFC 2407, 14 to 23 of <linux/pfkeyv2.h>, whose PF_KEY provides none of them.
        AlgorithmRow(1, "des-iv64", 8, 64, 64),
        AlgorithmRow(9, "des-iv32", 4, 64, 64),
        AlgorithmRow(14, "aes-ccm-8", 8, 152, 280),
        AlgorithmRow(15, "aes-ccm-12", 8, 152, 280),
        AlgorithmRow(16, "aes-ccm-16", 8, 152, 280),
        AlgorithmRow(18, "aes-gcm-8", 8, 160, 288),
        AlgorithmRow(19, "aes-gcm-12", 8, 160, 288),
        AlgorithmRow(20, "aes-gcm-16", 8, 160, 288),
        AlgorithmRow(23, "aes-gmac", 8, 160, 288),
        # 28 to 31 are IKEv2 transform numbers (RFC 7634, RFC 8750): no system has PF_KEY numbers for these.
        AlgorithmRow(28, "chacha20-poly1305", 8, 288, 288),
        AlgorithmRow(29, "aes-ccm-8-iiv", 0, 152, 280),
        AlgorithmRow(30, "aes-gcm-16-iiv", 0, 160, 288),
        AlgorithmRow(31, "chacha20-poly1305-iiv", 0, 288, 288),
        # KAME says it by a flag, which Linux' layout has not.
        AlgorithmRow(248, "des-deriv", 0, 64, 64),
    ),
    extension_numbers={**LINUX.extension_numbers, Ext.X_SA_REPLAY: 64},
    unknown_extension_ignored=False,
    replay_max=255,
    flags_kept=LINUX.flags_kept | Flag.X_OLD | Flag.X_CYCSEQ | Flag.X_ESN | Flag.X_RAWCPI,
    cpi_is_raw=False,
    unknown_level=None,
    default_level="default",
    empty_ipsec_is_none=False,
    spi_min=256,
    source_must_match=True,
    update_ignores_keys=False,
    protocols_must_match=True,
    shapes={
        **_linux_shapes(proxy=(), told_keys=(), replay=(Ext.X_SA_REPLAY,)),
        Msg.X_SPDEXPIRE: _KAME_SHAPES[Msg.X_SPDEXPIRE],
    },
    sequence_in_state=True,
    reference_counts=False,
    dump_newest_first=False,
    dump_counts_down=True,
    flush_answers_twice=False,
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
    encrypt_variants=(
        EncryptVariant(2, Flag.X_DERIV, "des-deriv", old=False),
        EncryptVariant(2, Flag.X_IV4B, "des-iv32", old=True),
    ),
    compress=_COMPRESS,
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
    flags_kept=Flag.X_OLD | Flag.X_CYCSEQ | Flag.X_RAWCPI,
    # Padding by choice is not served, so it is not accepted either.
    flags_refused=Flag.X_PRAND | Flag.X_PZERO | 0xFFFFFC00,
    any_mode="any",
    default_level="default",
    directions={1: "in", 2: "out"},
    inbound_judges_forwarded=True,
    default_priority=0x80000000,
    spi_min=256,
    reqid_max=0xFFFF,
    shapes=_KAME_SHAPES,
    zero_limits_shown=False,
    errors_echo_request=True,
    promiscuous_copies_wrapped=True,
    errno_by_kind={
        **_LINUX_ERRNO,
        "not-found": errno.ENOENT,
        "spi-exhausted": errno.EINVAL,
        "unknown-algorithm": errno.EINVAL,
        "unknown-protocol": errno.EPROTONOSUPPORT,
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
