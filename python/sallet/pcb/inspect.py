"""What the kernel says of a socket that a program handed over: its id, its ends, its mark.

No policy and no program's claim enters, but for where a connection is about to go.
Answers to: socket(7) for SO_COOKIE, SO_NETNS_COOKIE, SO_MARK; ipv6(7) for addresses that are IPv4's.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from sallet.attach.guard import SOCKET_MARK
from sallet.attach.socket_maps import PROTOCOLS, Flow
from sallet.pcb.protocol import MARK_ENCAP, MARK_POLICY

Address: TypeAlias = IPv4Address | IPv6Address
End: TypeAlias = tuple[Address, int]
_U64: Final = struct.Struct("=Q")
_SO_COOKIE, _SO_NETNS_COOKIE, _SO_MARK = 57, 71, 36
_FAMILIES: Final = {socket.AF_INET: 4, socket.AF_INET6: 6}
_TCP: Final = 6
POLICY_BITS: Final = MARK_POLICY | SOCKET_MARK
ENCAP_BITS: Final = MARK_ENCAP


@dataclass(frozen=True, slots=True)
class Inspected:
    """One socket as it is now."""

    cookie: int
    namespace: int
    """Of the network that it is in."""
    family: int
    """4 or 6; 0 for what is neither."""
    protocol: int
    listening: bool
    local: End
    remote: End | None
    v6_only: bool

    @property
    def has_policies(self) -> bool:
        """Whether policies of sockets exist for this kind."""
        return self.family != 0 and self.protocol in PROTOCOLS

    @property
    def sends(self) -> bool:
        """Whether packets may come and go."""
        if self.local[1] == 0:
            return False
        return self.protocol != _TCP or self.listening or self.remote is not None


def cookie_of(asked: socket.socket, option: int = _SO_COOKIE) -> int:
    """Read a socket's id, which no other will ever have."""
    found: int = _U64.unpack(asked.getsockopt(socket.SOL_SOCKET, option, _U64.size))[0]
    return found


def namespace_of(asked: socket.socket) -> int:
    """Read the id of the network that a socket is in."""
    return cookie_of(asked, _SO_NETNS_COOKIE)


def inspect(asked: socket.socket) -> Inspected:
    """Ask the kernel about a socket.

    Raises:
        OSError: it is none.
    """
    family = _FAMILIES.get(socket.AddressFamily(asked.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)), 0)
    return Inspected(
        cookie_of(asked),
        namespace_of(asked),
        family,
        asked.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL),
        bool(asked.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)),
        _end(asked.getsockname()) if family else (IPv4Address(0), 0),
        _peer(asked) if family else None,
        family == 6 and bool(asked.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)),
    )


def mark(asked: socket.socket, mask: int, bits: int) -> None:
    """Set those bits of a socket's mark that the mask names, and leave the others.

    Raises:
        OSError: this daemon may not.
    """
    before = asked.getsockopt(socket.SOL_SOCKET, _SO_MARK)
    asked.setsockopt(socket.SOL_SOCKET, _SO_MARK, (before & ~mask & 0xFFFFFFFF) | bits)


def flows(found: Inspected, claimed: End | None = None) -> tuple[Flow, ...]:
    """Say which packets are the socket's; `claimed` is where a TCP connection is about to go.

    Datagrams may go anywhere, and so may those of a socket that listens: only a connection has a remote end.
    """
    remote = found.remote or claimed
    if found.protocol != _TCP or found.listening or (remote and remote[0].is_unspecified):
        remote = None
    local, port = _plain(found.local[0]), found.local[1]
    if remote is not None:
        other = _plain(remote[0])
        own = None if local.is_unspecified or local.version != other.version else local
        return (Flow(other.version, found.protocol, own, port, other, remote[1]),)
    if not local.is_unspecified:
        return (Flow(local.version, found.protocol, local, port),)
    families = (4,) if found.family == 4 else (6,) if found.v6_only else (4, 6)
    return tuple(Flow(family, found.protocol, None, port) for family in families)


def _plain(address: Address) -> Address:
    """Take IPv4 for IPv4, also where an IPv6 socket names it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _end(name: tuple[str, int] | tuple[str, int, int, int]) -> End:
    return ip_address(name[0].partition("%")[0]), name[1]


def _peer(asked: socket.socket) -> End | None:
    try:
        return _end(asked.getpeername())
    except OSError:  # Not connected.
        return None
