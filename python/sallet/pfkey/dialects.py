"""What systems disagree on above RFC 2367, as tables: Linux and sallet here, KAME and its children in `bsd`.

No branch on a dialect's name enters, here or elsewhere: a deviation is a field, a dialect a row of values.
Answers to <linux/pfkeyv2.h>, <linux/ipsec.h>, and RFC 2367 where they leave room.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
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
)
from sallet.pfkey.bsd import FREEBSD, KAME, NETBSD, POLICY_EXPIRED
from sallet.pfkey.constants import REQID_CHOSEN_MAX, ULPROTO_ANY
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.dialect import AlgorithmRow, Dialect

__all__ = ["DIALECTS", "KAME", "LINUX", "NO_AUTHENTICATION", "SALLET", "AlgorithmRow", "Dialect"]

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


def _linux_shapes(
    proxy: tuple[Ext, ...], told_keys: tuple[Ext, ...], replay: tuple[Ext, ...]
) -> dict[Msg, tuple[Ext, ...]]:
    """Give the shapes of Linux, whose every message about an association shows the whole of it."""
    front = (Ext.SA, *LIMITS, Ext.LIFETIME_CURRENT, *ADDRESSES, *proxy)
    back = (Ext.X_SA2, *NAT, *replay)
    told = (*front, *told_keys, *back)
    asked = (*front, *KEYS, *back)
    policy = (*ADDRESSES, *LIMITS, Ext.LIFETIME_CURRENT, Ext.X_POLICY)
    return {
        **dict.fromkeys((Msg.GETSPI, Msg.UPDATE, Msg.ADD, Msg.DELETE), told),
        **dict.fromkeys((Msg.GET, Msg.DUMP), asked),
        Msg.EXPIRE: (*front, *back),
        Msg.X_NAT_T_NEW_MAPPING: (Ext.SA, *ADDRESSES, Ext.X_NAT_T_SPORT, Ext.X_NAT_T_DPORT),
        **dict.fromkeys((Msg.X_SPDADD, Msg.X_SPDUPDATE, Msg.X_SPDSETIDX), policy),
        **dict.fromkeys((Msg.X_SPDDELETE, Msg.X_SPDDELETE2), policy),
        **dict.fromkeys((Msg.X_SPDGET, Msg.X_SPDDUMP), policy),
    }


_LINUX_ERRNO_BY_MESSAGE: Final = {
    (Msg.ADD, "unspecified-satype"): errno.EPROTONOSUPPORT,
    (Msg.UPDATE, "unspecified-satype"): errno.EPROTONOSUPPORT,
    (Msg.GET, "unspecified-satype"): errno.ESRCH,
    (Msg.DELETE, "unspecified-satype"): errno.ESRCH,
    (Msg.GET, "unknown-satype"): errno.ESRCH,
    (Msg.DELETE, "unknown-satype"): errno.ESRCH,
    (Msg.X_SPDDELETE, "not-found"): errno.ENOENT,
    (Msg.X_MIGRATE, "not-found"): errno.ENOENT,
    (Msg.X_SPDGET, "not-found"): errno.ENOENT,
    (Msg.X_SPDDELETE2, "not-found"): errno.ENOENT,
}

LINUX: Final = Dialect(
    name="linux",
    auth=_LINUX_AUTH,
    encrypt=_LINUX_ENCRYPT,
    compress=COMPRESS,
    extension_numbers={
        **COMMON_EXTENSIONS,
        **NAT_EXTENSIONS,
        Ext.X_KMPRIVATE: 17,
        Ext.X_KMADDRESS: 25,
        Ext.X_FILTER: 26,
    },
    last_message=24,
    satypes=SATYPES,
    inet6_family=10,
    sockaddr_has_length=False,
    request_header_bytes=16,
    policy_has_priority=True,
    unknown_extension_ignored=True,
    reserved_refused=True,
    replay_max=32,
    flags_kept=Flag.X_NOECN | Flag.X_DECAP_DSCP | Flag.X_NOPMTUDISC,
    cpi_is_raw=True,
    any_request_mode=None,
    compress_numbers_max=4,
    key_bits_as_listed=True,
    unknown_level="require",
    directions={1: "in", 2: "out", 3: "fwd"},
    empty_ipsec_is_none=True,
    cpi_range_cut=False,
    policy_ids_have_list=True,
    sockets_listed=True,
    setidx_replaces=True,
    limits_together=True,
    source_must_match=False,
    update_ignores_keys=True,
    protocols_must_match=False,
    any_protocols=frozenset({0, ULPROTO_ANY}),
    # Linux tells keys to every socket; each of them could dump them, too.
    shapes=_linux_shapes(proxy=(Ext.ADDRESS_PROXY,), told_keys=KEYS, replay=()),
    sequence_in_state=False,
    policies_without_satype=True,
    reference_counts=True,
    dump_newest_first=True,
    dump_counts_down=False,
    flush_answers_twice=True,
    promiscuous_sees_requests=True,
    errno_by_kind=ERRNO,
    errno_by_message=_LINUX_ERRNO_BY_MESSAGE,
    required=REQUIRED,
)
"""`<linux/pfkeyv2.h>` and `<linux/ipsec.h>`, with the behaviour of kernel 6.1."""

SALLET: Final = replace(
    LINUX,
    name="sallet",
    reqid_chosen_max=REQID_CHOSEN_MAX,
    reqids_made_marked=True,
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
    any_request_mode="transport",
    key_bits_as_listed=False,
    limits_together=False,
    cpi_range_cut=True,
    policy_ids_have_list=False,
    sockets_listed=False,
    policies_without_satype=False,
    replay_max=255,
    flags_kept=(
        LINUX.flags_kept | Flag.X_OLD | Flag.X_CYCSEQ | Flag.X_ESN | Flag.X_RAWCPI | Flag.X_NATT_KEEPALIVE
    ),
    cpi_is_raw=False,
    unknown_level=None,
    default_level="default",
    empty_ipsec_is_none=False,
    spi_min=256,
    source_must_match=True,
    relays_acquire=True,
    update_ignores_keys=False,
    protocols_must_match=True,
    shapes={
        **_linux_shapes(proxy=(), told_keys=(), replay=(Ext.X_SA_REPLAY,)),
        Msg.X_SPDEXPIRE: POLICY_EXPIRED,
        Msg.X_SPDACQUIRE: (),
    },
    sequence_in_state=True,
    reference_counts=False,
    dump_newest_first=False,
    dump_counts_down=True,
    flush_answers_twice=False,
    # Without an SPI, DELETE is about every SA between two addresses, as in KAME.
    required={**REQUIRED, Msg.DELETE: ADDRESSES},
)
"""Linux' numbers with what Linux' PF_KEY lacks: AEADs, ESN, windows in packets; strict, and no keys told."""

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {row.name: row for row in (SALLET, LINUX, KAME, NETBSD, FREEBSD)}
)
"""Every dialect by name."""
