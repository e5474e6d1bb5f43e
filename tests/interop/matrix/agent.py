"""The program inside the peer: sends and receives datagrams in clear; its kernel protects them.

No import beyond the standard library may enter: each costs the peer its time.
Answers to: ip(7) and ipv6(7) (packet information), udp(7) (UDP_ENCAP).
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from interop.matrix.payload import (
    CONTROL_OURS,
    CONTROL_PEERS,
    CONTROL_PORT,
    DATA_PORT,
    ENCAP_PORT,
    body,
    identify,
)

_IP_PKTINFO = 8
_UDP_ENCAP, _UDP_ENCAP_ESPINUDP = 100, 2
_LONGEST = 65536
_POLICY_OPTIONS = {
    socket.AF_INET: (socket.IPPROTO_IP, 17),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 35),
}
"""IP_XFRM_POLICY and IPV6_XFRM_POLICY."""
_POLICY = struct.Struct("=40xH14x64x32xIIBBBB4x")
"""struct xfrm_userpolicy_info: of its selector only the family is said."""
_ARRIVAL_SECS = 0.25
"""The kernel may put a packet off for a moment; after so long it is lost."""


class Agent:
    """Two sockets for protected datagrams, one for orders."""

    def __init__(self) -> None:
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.bind((CONTROL_PEERS, CONTROL_PORT))
        self._data = {4: _data_socket(socket.AF_INET), 6: _data_socket(socket.AF_INET6)}
        # Held open: a kernel takes ESP in UDP only where a socket asks for it.
        self._encap = [_encap_socket(family) for family in (socket.AF_INET, socket.AF_INET6)]

    def serve(self) -> None:
        """Obey until the kernel halts."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            print("serving", flush=True)
            while True:
                selector.select()
                self._obey(json.loads(self._control.recv(_LONGEST)))

    def _obey(self, order: dict[str, Any]) -> None:
        if order["do"] == "send":
            self._send(order)
        else:
            received = self._received()
            deadline = time.monotonic() + _ARRIVAL_SECS
            while len(received) < order["expected"] and time.monotonic() < deadline:
                time.sleep(0.001)
                received += self._received()
            answer = {"number": order["number"], "received": received, "errors": errors()}
            self._control.sendto(json.dumps(answer).encode(), (CONTROL_OURS, CONTROL_PORT))

    def _send(self, order: dict[str, Any]) -> None:
        source, destination = ip_address(order["source"]), order["destination"]
        level, kind, information = (
            (socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=i4s4x", 0, source.packed))
            if source.version == 4
            else (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16si", source.packed, 0))
        )
        data = body(order["number"], order["size"], outbound=False)
        try:
            self._data[source.version].sendmsg(
                [data], [(level, kind, information)], 0, (destination, DATA_PORT)
            )
        except OSError as error:
            print(f"combination {order['number']}, {order['size']} bytes: {error}", flush=True)

    def _received(self) -> list[tuple[int, int]]:
        """Take everything that has arrived: (number, size), or (0, length) for what was changed."""
        found = []
        for data_socket in self._data.values():
            while True:
                try:
                    data = data_socket.recv(_LONGEST)
                except BlockingIOError:
                    break
                known = identify(data)
                found.append(known[:2] if known is not None and known[2] else (0, len(data)))
        return found


def errors() -> dict[str, int]:
    """Read the counters of /proc/net/xfrm_stat that are not zero: each is a kind of error."""
    with open("/proc/net/xfrm_stat", encoding="ascii") as lines:
        pairs = [line.split() for line in lines]
    return {name: int(value) for name, value in pairs if value != "0"}


def probe(words: list[str]) -> None:
    """Ask for algorithms by kind and name: /proc/crypto lists a construction only after its first use."""
    for kind, name in zip(words[::2], words[1::2], strict=True):
        with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as algorithm, suppress(OSError):
            algorithm.bind((kind, name))


def _data_socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(("", DATA_PORT))
    made.setblocking(False)
    return made


def _encap_socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, _UDP_ENCAP_ESPINUDP)
    # Between the ends of transport mode the policies speak of these datagrams, too: key managers exempt them.
    for direction in (0, 1):
        made.setsockopt(*_POLICY_OPTIONS[family], _POLICY.pack(family, 0, 0, direction, 0, 0, 0))
    made.bind(("", ENCAP_PORT))
    return made


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2:])
    else:
        Agent().serve()
