"""The dialects of KAME and its children: NetBSD 7.1 and FreeBSD 12, each a row of values.

No branch on a dialect's name and no behaviour enters. Where the systems' own answers serve nobody (a silence
after a bad direction, a fixed SPI that is given only if it is taken), sallet keeps RFC 2367 and RFC 4301.
Answers to the manuals of QNX, NetBSD 7.1 and FreeBSD 12, and to what their kernels do above RFC 2367.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Final

from sallet.pfkey.baseline import (
    ADDRESSES,
    COMMON_EXTENSIONS,
    COMPRESS,
    ERRNO,
    KEYS,
    LIMITS,
    NAT,
    NAT_EXTENSIONS,
    NO_AUTHENTICATION,
    REQUIRED,
    SATYPES,
    SPD_KEY,
)
from sallet.pfkey.constants import MANUAL_REQID_MAX, REQID_CHOSEN_MAX
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.constants import SadbSatype as Satype
from sallet.pfkey.dialect import AlgorithmRow, Dialect, EncryptVariant

POLICY_EXPIRED: Final = (Ext.X_POLICY, Ext.LIFETIME_CURRENT, Ext.LIFETIME_HARD, *ADDRESSES)
"""The shape of X_SPDEXPIRE."""


def _shapes(large_window: tuple[Ext, ...], nat: tuple[Ext, ...]) -> dict[Msg, tuple[Ext, ...]]:
    """Give the shapes of KAME: a change tells what changed it, a question is answered with the whole."""
    changed = (Ext.SA, Ext.X_SA2, *large_window, *ADDRESSES, *LIMITS, *nat)
    state = (Ext.SA, Ext.X_SA2, *large_window, *LIMITS, Ext.LIFETIME_CURRENT, *ADDRESSES, *KEYS, *nat)
    policy = (*ADDRESSES, Ext.X_POLICY, Ext.LIFETIME_CURRENT, Ext.LIFETIME_HARD)
    added = (Ext.X_POLICY, Ext.LIFETIME_HARD, *ADDRESSES)
    return {
        Msg.GETSPI: (Ext.SA, *ADDRESSES),
        Msg.UPDATE: changed,
        Msg.ADD: changed,
        Msg.DELETE: (Ext.SA, *ADDRESSES),
        Msg.GET: state,
        Msg.DUMP: state,
        Msg.EXPIRE: (Ext.SA, Ext.X_SA2, *large_window, Ext.LIFETIME_CURRENT, *LIMITS, *ADDRESSES),
        **dict.fromkeys((Msg.X_SPDADD, Msg.X_SPDUPDATE, Msg.X_SPDSETIDX), added),
        Msg.X_SPDDELETE: (Ext.X_POLICY, *ADDRESSES),
        Msg.X_SPDDELETE2: (Ext.X_POLICY,),
        Msg.X_SPDEXPIRE: POLICY_EXPIRED,
        Msg.X_SPDACQUIRE: (),
        **dict.fromkeys((Msg.X_SPDGET, Msg.X_SPDDUMP), policy),
    }


_WITHOUT_SPD: Final = frozenset({*SATYPES, int(Satype.X_TCPSIGNATURE)})
_ELSEWHERE: Final = frozenset(
    map(int, (Satype.RSVP, Satype.OSPFV2, Satype.RIPV2, Satype.MIP, Satype.X_TCPSIGNATURE))
)

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
    compress=COMPRESS,
    extension_numbers={**COMMON_EXTENSIONS, Ext.X_TAG: 25, Ext.X_SA3: 26, Ext.X_PACKET: 27},
    last_message=24,
    satypes=SATYPES,
    inet6_family=24,
    sockaddr_has_length=True,
    request_header_bytes=8,
    policy_has_priority=False,
    short_errno=errno.EINVAL,
    bad_header_fails_send=False,
    bad_extension_fails_send=True,
    family_errno=errno.EAFNOSUPPORT,
    satypes_elsewhere=_ELSEWHERE,
    satypes_not_in_spd=_WITHOUT_SPD,
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
    update_rekeys=True,
    update_by_owner=True,
    setidx_awaits=True,
    identities_together=True,
    reqid_max=0xFFFF,
    # The pages of QNX say so; the kernels of the BSDs keep half of them.
    reqid_chosen_max=REQID_CHOSEN_MAX,
    reqids_made_marked=True,
    shapes=_shapes(large_window=(), nat=()),
    zero_limits_shown=False,
    dump_references=1,
    # Each soft value is computed from itself in place of the hard one, so one of each pair is none.
    proposed_soft=(1, 0, 28800),
    proposed_hard=(1, 86400, 0),
    relays_acquire=True,
    larval_ends_silently=True,
    acquire_tells_reqid=True,
    errors_echo_request=True,
    promiscuous_copies_wrapped=True,
    errno_by_kind={
        **ERRNO,
        "not-found": errno.ENOENT,
        "spi-exhausted": errno.EINVAL,
        "unknown-algorithm": errno.EINVAL,
        "unknown-protocol": errno.EPROTONOSUPPORT,
        # An SPI that is not there, between addresses that are.
        "unknown-spi": errno.EINVAL,
        "not-owner": errno.EINVAL,
    },
    errno_by_message={
        (Msg.X_SPDDELETE, "not-found"): errno.EINVAL,
        (Msg.X_SPDDELETE2, "not-found"): errno.EINVAL,
    },
    unsupported_errno=errno.EINVAL,
    required={**REQUIRED, Msg.DELETE: ADDRESSES, Msg.X_SPDSETIDX: SPD_KEY},
)
"""The KAME kernel behind the manuals of QNX."""

_BSD_NUMBERS: Final = {**COMMON_EXTENSIONS, **NAT_EXTENSIONS, Ext.X_NAT_T_FRAG: 25}
_NAT: Final = (*NAT, Ext.X_NAT_T_OAI, Ext.X_OAR_OR_SEC_CTX, Ext.X_NAT_T_FRAG)
_BSD_AUTH: Final = (
    AlgorithmRow(2, "hmac-md5-96", 0, 128, 128),
    AlgorithmRow(3, "hmac-sha1-96", 0, 160, 160),
    AlgorithmRow(5, "hmac-sha2-256-128", 0, 256, 256),
    AlgorithmRow(6, "hmac-sha2-384-192", 0, 384, 384),
    AlgorithmRow(7, "hmac-sha2-512-256", 0, 512, 512),
    AlgorithmRow(8, "hmac-ripemd160-96", 0, 160, 160),
    AlgorithmRow(249, "keyed-md5", 0, 128, 128),
    AlgorithmRow(250, "keyed-sha1", 0, 160, 160),
)
_BSD_ENCRYPT: Final = (
    AlgorithmRow(2, "des-cbc", 8, 64, 64),
    AlgorithmRow(3, "3des-cbc", 8, 192, 192),
    AlgorithmRow(6, "cast128-cbc", 8, 40, 128),
    AlgorithmRow(7, "blowfish-cbc", 8, 40, 448),
    AlgorithmRow(11, "null", 0, 0, 2048),
    AlgorithmRow(12, "aes-cbc", 16, 128, 256),
)

NETBSD: Final = replace(
    KAME,
    name="netbsd",
    reqid_chosen_max=MANUAL_REQID_MAX,
    reqids_made_marked=False,
    # What has a salt is listed with it.
    auth=(
        *_BSD_AUTH,
        AlgorithmRow(9, "aes-xcbc-mac-96", 0, 128, 128),
        AlgorithmRow(11, "aes-128-gmac", 8, 160, 160),
        AlgorithmRow(12, "aes-192-gmac", 8, 224, 224),
        AlgorithmRow(13, "aes-256-gmac", 8, 288, 288),
        AlgorithmRow(251, NO_AUTHENTICATION, 0, 0, 2048),
    ),
    encrypt=(
        *_BSD_ENCRYPT,
        AlgorithmRow(13, "aes-ctr", 8, 160, 288),
        AlgorithmRow(20, "aes-gcm-16", 8, 160, 288),
        AlgorithmRow(22, "camellia-cbc", 16, 64, 256),
        AlgorithmRow(23, "aes-gmac", 8, 160, 288),
    ),
    extension_numbers=_BSD_NUMBERS,
    last_message=23,
    oar_is_address=True,
    shapes=_shapes(large_window=(), nat=_NAT),
    nat_ports_in_addresses=True,
    acquire_tells_reqid=False,
    dump_states=("mature", "dying", "larval", "dead"),
)
"""NetBSD 7.1, whose ports of an encapsulated association stand in its addresses, too."""

FREEBSD: Final = replace(
    KAME,
    name="freebsd",
    reqid_chosen_max=MANUAL_REQID_MAX,
    reqids_made_marked=False,
    # What has a salt is listed without it, and null from one octet on, though it takes none.
    auth=(
        *_BSD_AUTH,
        AlgorithmRow(11, "aes-128-gmac", 8, 128, 128),
        AlgorithmRow(12, "aes-192-gmac", 8, 192, 192),
        AlgorithmRow(13, "aes-256-gmac", 8, 256, 256),
        AlgorithmRow(251, NO_AUTHENTICATION, 0, 8, 2048),
    ),
    encrypt=(
        *_BSD_ENCRYPT,
        AlgorithmRow(13, "aes-ctr", 8, 128, 256),
        AlgorithmRow(20, "aes-gcm-16", 8, 128, 256),
        AlgorithmRow(22, "camellia-cbc", 16, 128, 256),
        AlgorithmRow(23, "aes-gmac", 8, 128, 256),
    ),
    extension_numbers={
        **_BSD_NUMBERS,
        Ext.X_SA_REPLAY: 26,
        Ext.X_NEW_ADDRESS_SRC: 27,
        Ext.X_NEW_ADDRESS_DST: 28,
    },
    last_message=22,
    inet6_family=28,
    message_bytes_max=2048,
    policy_has_priority=True,
    policy_has_scope=True,
    policy_scope=1,
    oar_is_address=True,
    # The low half of the SPI is sent whether X_RAWCPI asks for it or not.
    flags_kept=Flag.X_OLD | Flag.X_CYCSEQ,
    cpi_is_raw=True,
    requests_max=4,
    setidx_awaits=False,
    spi_unshared=True,
    limits_together=True,
    update_moves=True,
    update_rekeys=False,
    update_refuses_keys=True,
    update_compares=True,
    reqid_max=0xFFFFFFFF,
    shapes=_shapes(large_window=(Ext.X_SA_REPLAY,), nat=_NAT),
    bare_policy_without_times=True,
    dump_newest_first=True,
    policies_by_priority=True,
    policies_by_scope=True,
    errno_by_kind={
        **KAME.errno_by_kind,
        "not-found": errno.ESRCH,
        "spi-exhausted": errno.EEXIST,
        "too-many-requests": errno.EINVAL,
        "unlike": errno.ESRCH,
    },
    errno_by_message={
        **KAME.errno_by_message,
        (Msg.UPDATE, "not-found"): errno.EINVAL,
        (Msg.X_SPDGET, "not-found"): errno.ENOENT,
    },
)
"""FreeBSD 12: priorities, scopes, large windows in packets, and no keys for an association that lives."""
