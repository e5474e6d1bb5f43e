"""What every dialect begins with: the values on which the systems agree above RFC 2367.

No value on which two systems differ enters: those stand in `dialects` and `bsd`.
Answers to RFC 2367 §2 and §3, <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

import errno
from typing import Final

from sallet.pfkey.constants import SadbCompression as Compression
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSatype as Satype

NO_AUTHENTICATION: Final = "null-auth"
"""Registry name of the authentication algorithm that is none."""

COMMON_EXTENSIONS: Final[dict[Ext, int]] = {
    kind: int(kind) for kind in Ext if kind <= Ext.X_SA2 and kind is not Ext.X_KMPRIVATE
}
NAT_EXTENSIONS: Final[dict[Ext, int]] = {
    kind: int(kind) for kind in Ext if Ext.X_NAT_T_TYPE <= kind <= Ext.X_OAR_OR_SEC_CTX
}
COMPRESS: Final = {int(Compression.DEFLATE): "deflate"}
"""The one that is provided anywhere; its number is that of RFC 2407 §4.4.5 and of the well-known CPI."""
SATYPES: Final = {int(Satype.AH): "ah", int(Satype.ESP): "esp", int(Satype.X_IPCOMP): "ipcomp"}

ADDRESSES: Final = (Ext.ADDRESS_SRC, Ext.ADDRESS_DST)
SPD_KEY: Final = (*ADDRESSES, Ext.X_POLICY)
REQUIRED: Final[dict[Msg, tuple[Ext, ...]]] = {
    Msg.GETSPI: ADDRESSES,
    Msg.UPDATE: (Ext.SA, *ADDRESSES),
    Msg.ADD: (Ext.SA, *ADDRESSES),
    Msg.DELETE: (Ext.SA, *ADDRESSES),
    Msg.GET: (Ext.SA, *ADDRESSES),
    Msg.X_SPDADD: SPD_KEY,
    Msg.X_SPDUPDATE: SPD_KEY,
    Msg.X_SPDDELETE: SPD_KEY,
    Msg.X_SPDGET: (Ext.X_POLICY,),
    Msg.X_SPDDELETE2: (Ext.X_POLICY,),
    Msg.X_SPDSETIDX: SPD_KEY,
    Msg.X_MIGRATE: SPD_KEY,
}

LIMITS: Final = (Ext.LIFETIME_HARD, Ext.LIFETIME_SOFT)
KEYS: Final = (Ext.KEY_AUTH, Ext.KEY_ENCRYPT)
NAT: Final = (Ext.X_NAT_T_TYPE, Ext.X_NAT_T_SPORT, Ext.X_NAT_T_DPORT)


ERRNO: Final = {
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
    "nothing-to-move": errno.ENODATA,
    "no-entries": errno.ENOENT,
    "unknown-satype": errno.EINVAL,
    "unspecified-satype": errno.EINVAL,
    "missing-extension": errno.EINVAL,
    "unknown-protocol": errno.EINVAL,
    "too-many-requests": errno.ELOOP,
    "unsupported": errno.EOPNOTSUPP,
    "hook-failed": errno.EIO,
}
