"""The numbers of PF_KEY v2 that every dialect shares, by their SADB names.

No layout, no behaviour and no number on which two systems disagree enters (those are rows of the dialects).
Answers to RFC 2367 §2 and §3, <linux/pfkeyv2.h> and <linux/ipsec.h>.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

PF_KEY_V2: Final = 2
"""The only protocol version there is."""

HEADER_BYTES: Final = 16
"""Size of `struct sadb_msg`."""

WORD_BYTES: Final = 8
"""Every length field counts units of 64 bits."""

ULPROTO_ANY: Final = 255
"""Upper-layer protocol wildcard in an address extension (`IPSEC_ULPROTO_ANY`)."""

PORT_ANY: Final = 0
"""Port wildcard in a socket address (`IPSEC_PORT_ANY`)."""

MANUAL_REQID_MAX: Final = 0x3FFF
"""Highest request id that the kernels let a person choose; the system allocates above it."""

REQID_CHOSEN_MAX: Final = 32767
"""Highest request id that the manuals let a person choose."""

SPI_RESERVED_MAX: Final = 255
"""SPIs up to this one are reserved by IANA (RFC 4303 §2.1)."""


class SadbMsgType(IntEnum):
    """What a message asks or tells (`sadb_msg_type`)."""

    RESERVED = 0
    GETSPI = 1
    UPDATE = 2
    ADD = 3
    DELETE = 4
    GET = 5
    ACQUIRE = 6
    REGISTER = 7
    EXPIRE = 8
    FLUSH = 9
    DUMP = 10
    X_PROMISC = 11
    X_PCHANGE = 12
    X_SPDUPDATE = 13
    X_SPDADD = 14
    X_SPDDELETE = 15
    X_SPDGET = 16
    X_SPDACQUIRE = 17
    X_SPDDUMP = 18
    X_SPDFLUSH = 19
    X_SPDSETIDX = 20
    X_SPDEXPIRE = 21
    X_SPDDELETE2 = 22
    X_NAT_T_NEW_MAPPING = 23
    X_MIGRATE = 24


class SadbExtType(IntEnum):
    """What an extension holds (`sadb_ext_type`).

    Up to 24 the value is the number on the wire everywhere. Above, systems disagree: the value here is only
    an identity, and a dialect's `extension_numbers` says what stands on the wire.
    """

    SA = 1
    LIFETIME_CURRENT = 2
    LIFETIME_HARD = 3
    LIFETIME_SOFT = 4
    ADDRESS_SRC = 5
    ADDRESS_DST = 6
    ADDRESS_PROXY = 7
    KEY_AUTH = 8
    KEY_ENCRYPT = 9
    IDENTITY_SRC = 10
    IDENTITY_DST = 11
    SENSITIVITY = 12
    PROPOSAL = 13
    SUPPORTED_AUTH = 14
    SUPPORTED_ENCRYPT = 15
    SPIRANGE = 16
    X_KMPRIVATE = 17
    X_POLICY = 18
    X_SA2 = 19
    X_NAT_T_TYPE = 20
    X_NAT_T_SPORT = 21
    X_NAT_T_DPORT = 22
    X_NAT_T_OAI = 23
    """`SADB_X_EXT_NAT_T_OA` on Linux and NetBSD 7."""
    X_OAR_OR_SEC_CTX = 24
    """The responder's original address on the BSDs, a security context on Linux; passed through."""
    X_KMADDRESS = 0x101
    X_FILTER = 0x102
    X_TAG = 0x103
    X_SA3 = 0x104
    X_PACKET = 0x105
    X_SA_REPLAY = 0x106
    """A replay window counted in packets, for windows that the octet in SA cannot say."""
    X_NAT_T_FRAG = 0x107
    X_NEW_ADDRESS_SRC = 0x108
    X_NEW_ADDRESS_DST = 0x109


class SadbSatype(IntEnum):
    """The kind of security association (`sadb_msg_satype`)."""

    UNSPEC = 0
    AH = 2
    ESP = 3
    RSVP = 5
    OSPFV2 = 6
    RIPV2 = 7
    MIP = 8
    X_IPCOMP = 9
    X_TCPSIGNATURE = 11


class SadbSaState(IntEnum):
    """Where an association stands in its life (`sadb_sa_state`)."""

    LARVAL = 0
    MATURE = 1
    DYING = 2
    DEAD = 3


class SadbSaFlags(IntFlag):
    """Bits of `sadb_sa_flags`; which of them a system keeps is the dialect's matter."""

    PFS = 0x1
    X_OLD = 0x1
    """KAME's word for the same bit: the format of RFC 1826 or RFC 1827."""
    X_NATT_KEEPALIVE = 0x4
    """Darwin's number: this end is behind a NAT whose mapping must be kept alive."""
    X_IV4B = 0x10
    X_DERIV = 0x20
    X_CYCSEQ = 0x40
    X_RAWCPI = 0x80
    X_PRAND = 0x100
    X_PZERO = 0x200
    X_ESN = 0x400
    X_NOPMTUDISC = 0x20000000
    X_DECAP_DSCP = 0x40000000
    X_NOECN = 0x80000000


class IpsecMode(IntEnum):
    """Transport or tunnel (`IPSEC_MODE_*`)."""

    ANY = 0
    TRANSPORT = 1
    TUNNEL = 2


class IpsecDirection(IntEnum):
    """The list a policy stands in (`IPSEC_DIR_*`); FORWARD is Linux' own."""

    ANY = 0
    INBOUND = 1
    OUTBOUND = 2
    FORWARD = 3


class IpsecPolicyType(IntEnum):
    """What a policy does with a packet (`IPSEC_POLICY_*`)."""

    DISCARD = 0
    NONE = 1
    IPSEC = 2
    ENTRUST = 3
    BYPASS = 4


class IpsecLevel(IntEnum):
    """How strongly a policy asks for an association (`IPSEC_LEVEL_*`)."""

    DEFAULT = 0
    USE = 1
    REQUIRE = 2
    UNIQUE = 3


class IpProtocol(IntEnum):
    """Protocol numbers that stand in `sadb_x_ipsecrequest_proto` and in address extensions."""

    ICMP = 1
    IPV4 = 4
    TCP = 6
    UDP = 17
    IPV6 = 41
    ESP = 50
    AH = 51
    ICMPV6 = 58
    IPCOMP = 108


class NatTraversalType(IntEnum):
    """The encapsulation of ESP in UDP (`UDP_ENCAP_*`)."""

    NON_IKE = 1
    RFC3948 = 2


class IdentityType(IntEnum):
    """The form of an identity (`SADB_IDENTTYPE_*`)."""

    RESERVED = 0
    PREFIX = 1
    FQDN = 2
    USERFQDN = 3


class SadbCompression(IntEnum):
    """Compressions of IPComp, in the field of the cipher (`SADB_X_CALG_*`)."""

    OUI = 1
    DEFLATE = 2
    LZS = 3
