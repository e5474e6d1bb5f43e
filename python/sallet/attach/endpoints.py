"""UDP sockets of key managers at which the datapath takes ESP: opened on request, given up with their socket.

No packet and no PF_KEY may enter; which datagram goes where is the datapath's (`SO_REUSEPORT` group).
Answers to: RFC 3948 section 2.2, udp(7) `UDP_ENCAP`, proc(5) for which sockets there are.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from sallet.failure import Failure

LOOK_SECS = 0.5
"""How long a port may stay ours after its program has ended."""

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Address = tuple[Ip, int]


class EndpointTaker(Protocol):
    """What the datapath can do for endpoints."""

    def open_endpoint(self, address: Ip, port: int, only_v6: bool) -> None: ...

    def close_endpoint(self, address: Ip, port: int) -> None: ...


class Endpoints:
    """Which addresses are endpoints, and the sockets they stand and fall with."""

    def __init__(
        self, datapath: EndpointTaker, always: int | None, changed: Callable[[tuple[int, ...]], None]
    ) -> None:
        """Serve a datapath that has the port `always` anyway; `changed` is told all ports in time."""
        self._datapath = datapath
        self._always = always
        self._changed = changed
        self._inodes: dict[Address, int] = {}
        self._next_look = 0.0

    def __bool__(self) -> bool:
        """Whether there is any that could end."""
        return bool(self._inodes)

    def ports(self) -> tuple[int, ...]:
        """Give every port at which ESP in UDP is taken."""
        found = {port for _, port in self._inodes}
        return tuple(sorted(found if self._always is None else found | {self._always}))

    def open(self, descriptor: int) -> None:
        """Make a program's bound UDP socket an endpoint; the descriptor stays the caller's.

        Raises:
            OSError: it is no bound UDP socket, or its port cannot be shared.
            Failure: the kernel's side could not follow; the endpoint is closed again.
        """
        with socket.socket(fileno=os.dup(descriptor)) as program:
            address, only_v6 = _place(program)
            inode = os.fstat(descriptor).st_ino
            if self._inodes.get(address) == inode:
                return
            # Also after bind: the group comes into being when the datapath's socket joins.
            program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._datapath.open_endpoint(*address, only_v6)
        self._inodes[address] = inode
        try:
            self._changed(self.ports())
        except Failure:
            self._give_up(address)
            raise

    def close(self, descriptor: int) -> None:
        """Let a program's socket be one like any other again; nothing happens to what is no endpoint.

        Raises:
            OSError: the datapath has ended.
            Failure: the kernel's side could not follow.
        """
        inode = os.fstat(descriptor).st_ino
        ended = [address for address, known in self._inodes.items() if known == inode]
        for address in ended:
            self._give_up(address)
        if ended:
            self._changed(self.ports())

    def look(self, *, now: float | None = None) -> None:
        """Give up endpoints whose socket is gone; seldom enough to be called at every turn of a loop."""
        now = time.monotonic() if now is None else now
        if not self._inodes or now < self._next_look:
            return
        self._next_look = now + LOOK_SECS
        there = _bound_inodes()
        gone = [address for address, inode in self._inodes.items() if inode not in there]
        for address in gone:
            self._give_up(address)
        if gone:
            self._changed(self.ports())

    def _give_up(self, address: Address) -> None:
        del self._inodes[address]
        if address[1] != self._always:
            self._datapath.close_endpoint(*address)


def _place(program: socket.socket) -> tuple[Address, bool]:
    """Find out where a program's socket is bound, and whether it is for IPv6 only."""
    if program.family not in (socket.AF_INET, socket.AF_INET6) or program.proto != socket.IPPROTO_UDP:
        raise OSError(errno.ENOPROTOOPT, "not a UDP socket")
    host, port = program.getsockname()[:2]
    if port == 0:
        raise OSError(errno.EINVAL, "the socket has no port yet")
    only_v6 = program.family == socket.AF_INET6 and bool(
        program.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    )
    return (ipaddress.ip_address(host.partition("%")[0]), port), only_v6


def _bound_inodes() -> Collection[int]:
    """Read the inodes of all UDP sockets of this network namespace that have a port."""
    found = set()
    for table in ("udp", "udp6"):
        try:
            lines = Path("/proc/self/net", table).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        found |= {int(line.split()[9]) for line in lines}
    return found
