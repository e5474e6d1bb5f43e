"""The engine's words as PF_KEY's numbers.

No message enters. Answers to RFC 2367 §2.3, <linux/ipsec.h>, KAME.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sallet.pfkey.constants import IpsecDirection, IpsecLevel, IpsecMode, IpsecPolicyType, SadbSaState
from sallet.pfkey.messages import Address

MODES: Final = {"any": IpsecMode.ANY, "transport": IpsecMode.TRANSPORT, "tunnel": IpsecMode.TUNNEL}
STATES: Final = {
    "larval": SadbSaState.LARVAL,
    "mature": SadbSaState.MATURE,
    "dying": SadbSaState.DYING,
    "dead": SadbSaState.DEAD,
}
DIRECTIONS: Final = {
    "in": IpsecDirection.INBOUND,
    "out": IpsecDirection.OUTBOUND,
    "fwd": IpsecDirection.FORWARD,
}
SOCKET_DIRECTIONS: Final[Mapping[int, int]] = {IpsecDirection.INBOUND: 4, IpsecDirection.OUTBOUND: 5}
"""The lists in which Linux tells the policies of sockets, by the direction that the policy is for."""
LEVELS: Final = {
    "default": IpsecLevel.DEFAULT,
    "use": IpsecLevel.USE,
    "require": IpsecLevel.REQUIRE,
    "unique": IpsecLevel.UNIQUE,
}
ACTIONS: Final = {
    "bypass": IpsecPolicyType.NONE,
    "discard": IpsecPolicyType.DISCARD,
    "protect": IpsecPolicyType.IPSEC,
}


def host(address: IPv4Address | IPv6Address) -> Address:
    """Say one address as PF_KEY does."""
    return Address(address, 0, address.max_prefixlen, 0)
