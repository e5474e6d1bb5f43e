"""Tells which sockets have ended, whoever held them, and ends connections, by what the kernel knows of them.

No policy may enter: ids go out, bits come in.
Answers to: sock_diag(7), the groups that are told of destroyed sockets, SOCK_DESTROY.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 270, 1, 2
_GROUPS: Final = (1, 2, 3, 4)
"""Destroyed TCP and UDP sockets of IPv4, and those of IPv6."""
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER: Final = struct.Struct("=IHHII")
_DIAG_COOKIE_AT: Final = 4 + 4 + 32 + 4
"""Family and its like, ports, addresses, interface stand before the id."""
_COOKIE: Final = struct.Struct("=II")
_DUMP: Final = 0x301
_ACKNOWLEDGED: Final = 5
_ALL_STATES: Final = 0xFFFFFFFF
_CONNECTED_STATES: Final = 0xFFFFFFFF & ~(1 << 6 | 1 << 7 | 1 << 10)
"""All but TIME_WAIT and CLOSE, which send nothing of a program's, and LISTEN."""
_DIAG_ID: Final = slice(4, 52)
_ATTRIBUTES_AT: Final = 72
_ATTRIBUTE: Final = struct.Struct("=HH")
_DIAG_MARK: Final = 15
_READ_BYTES: Final = 1 << 16
_BUFFER_BYTES: Final = 4 << 20
_SO_RCVBUFFORCE: Final = 33


class Farewells:
    """Listens while anybody is waited for."""

    def __init__(self) -> None:
        """Open the netlink socket; it hears nothing yet."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self.socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        self._listening = False
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:  # Only root of the first user namespace may.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.socket.bind((0, 0))

    def listen(self, wanted: bool) -> None:
        """Hear of every socket that ends from now on, or of none."""
        if wanted != self._listening:
            for group in _GROUPS:
                option = _ADD_MEMBERSHIP if wanted else _DROP_MEMBERSHIP
                self.socket.setsockopt(_SOL_NETLINK, option, group)
            self._listening = wanted

    def ended(self) -> set[int] | None:
        """Give the ids of sockets that have ended; None if some were missed, and `living` has to tell."""
        found: set[int] = set()
        while True:
            try:
                data = self.socket.recv(_READ_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            found.update(_cookies(data))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def living() -> set[int]:
    """Give the ids of all TCP and UDP sockets that have a port."""
    found: set[int] = set()
    with _asking() as asked:
        for family in (socket.AF_INET, socket.AF_INET6):
            for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                for data in _dump(asked, family, protocol, _ALL_STATES):
                    found.update(_cookies(data))
    return found


def break_off(bits: int) -> int:
    """End the TCP connections whose marks have these bits; give how many could not be ended."""
    left = 0
    with _asking() as asked:
        for family in (socket.AF_INET, socket.AF_INET6):
            dumped = list(_dump(asked, family, socket.IPPROTO_TCP, _CONNECTED_STATES))
            for _, body in (each for data in dumped for each in _messages(data)):
                if _mark(body) & bits == bits:
                    left += not _ended(asked, family, body[_DIAG_ID])
    return left


def _asking() -> socket.socket:
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
    asked.bind((0, 0))
    return asked


def _request(kind: int, flags: int, family: int, protocol: int, states: int, identity: bytes) -> bytes:
    body = struct.pack("=BBBxI48s", family, protocol, 0, states, identity)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _dump(asked: socket.socket, family: int, protocol: int, states: int) -> Iterator[bytes]:
    asked.send(_request(_SOCK_DIAG_BY_FAMILY, _DUMP, family, protocol, states, b""))
    while not _is_last(data := asked.recv(_READ_BYTES)):
        yield data
    yield data


def _ended(asked: socket.socket, family: int, identity: bytes) -> bool:
    asked.send(_request(_SOCK_DESTROY, _ACKNOWLEDGED, family, socket.IPPROTO_TCP, 0, identity))
    answers = [body for kind, body in _messages(asked.recv(_READ_BYTES)) if kind == _NLMSG_ERROR]
    # Who has gone since is no failure.
    return all(-int.from_bytes(body[:4], sys.byteorder, signed=True) in (0, errno.ENOENT) for body in answers)


def _mark(body: bytes) -> int:
    """Read a socket's mark, which the kernel tells to those with CAP_NET_ADMIN."""
    at = _ATTRIBUTES_AT
    while at + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind == _DIAG_MARK and size >= _ATTRIBUTE.size + 4:
            return int.from_bytes(body[at + 4 : at + 8], sys.byteorder)
        at += max((size + 3) & ~3, _ATTRIBUTE.size)
    return 0


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


def _cookies(data: bytes) -> Iterator[int]:
    for kind, body in _messages(data):
        if kind == _SOCK_DIAG_BY_FAMILY and len(body) >= _DIAG_COOKIE_AT + _COOKIE.size:
            low, high = _COOKIE.unpack_from(body, _DIAG_COOKIE_AT)
            yield low | high << 32


def _is_last(data: bytes) -> bool:
    return any(kind in (_NLMSG_DONE, _NLMSG_ERROR) for kind, _ in _messages(data))
