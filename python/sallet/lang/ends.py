"""Reads the two ends of a rule: `192.0.2.1-192.0.2.2`, with ports where the form has them, `me-any`.

No rule and no name of a host may enter: ends are numbers. Answers to ipsec_set_policy(3).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from sallet.lang.lexer import Complaint
from sallet.pfkey.constants import IpsecDirection
from sallet.pfkey.messages import Address

IpAddress: TypeAlias = IPv4Address | IPv6Address

_PAIR: Final = re.compile(
    r"(?P<source>[0-9A-Za-z:.%]+)(?:\[(?P<source_port>[0-9]{1,5})\])?"
    r"-(?P<destination>[0-9A-Za-z:.%]+)(?:\[(?P<destination_port>[0-9]{1,5})\])?"
)
_OWN: Final = {"me-any": IpsecDirection.OUTBOUND, "any-me": IpsecDirection.INBOUND}
"""What stands for the ends of a packet itself, and the only direction in which it may."""


def read(
    written: str, direction: IpsecDirection, index: int, *, ports: bool
) -> tuple[Address | None, Address | None]:
    """Return the two ends that the text writes; none where it means those of the packet.

    # Errors
    `Complaint` at the token with that number.
    """
    if written in _OWN:
        if direction is not _OWN[written]:
            raise Complaint(
                index,
                f"`{written}' is the other direction",
                "outbound is from me to any, inbound from any to me",
                classic="Invalid direciton",
            )
        return None, None
    found = _PAIR.fullmatch(written)
    if found is None or (not ports and "[" in written):
        raise Complaint(
            index,
            "the ends of a tunnel are two addresses with a hyphen between them",
            "write SOURCE-DESTINATION as numbers, as in 192.0.2.1-192.0.2.2",
            classic="Invalid address specification",
        )
    first = _address(found["source"], found["source_port"], index)
    second = _address(found["destination"], found["destination_port"], index)
    if first.address.version != second.address.version:
        raise Complaint(
            index,
            "both ends of a tunnel are of one family",
            "write two IPv4 or two IPv6 addresses",
            classic="Family mismatch",
        )
    return first, second


@lru_cache(maxsize=65536)
def numeric(text: str) -> IpAddress | None:
    """Return the address that the text writes in numbers, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(text: str, port: str | None, index: int) -> Address:
    """Return one end of a tunnel."""
    address = numeric(text)
    if address is None:
        own = text in ("me", "any")
        raise Complaint(
            index,
            f"`{text}' stands only in me-any and any-me" if own else f"`{text}' is no address",
            "the ends of a tunnel are written in numbers",
            classic="Invalid address specification",
        )
    if getattr(address, "scope_id", None) is not None:
        raise Complaint(
            index,
            f"`{text}' names a link, and a policy's addresses cannot",
            "write the address alone",
            classic="Invalid address specification",
        )
    number = int(port or 0)
    if number > 65535:
        raise Complaint(
            index,
            f"port {number} does not exist",
            "ports end at 65535",
            classic="Invalid address specification",
        )
    return Address(address, number, address.max_prefixlen, 0)
