"""One PF_KEY program for two kernels: adds, asks, dumps and deletes on any PF_KEY socket, says how fast.

No import beyond the standard library may enter: the other kernel runs it, too.
Answers to: docs/benchmarks-pfkey.md; RFC 2367 §2 for the bytes (dialect of <linux/pfkeyv2.h>).
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence

_PF_KEY, _PF_KEY_V2 = 15, 2
_ADD, _DELETE, _GET, _FLUSH, _DUMP, _SPDADD, _SPDFLUSH = 3, 4, 5, 9, 10, 14, 19
_ESP = 3
_LONGEST = 1 << 17
_HEADER = struct.Struct("=BBBBHHII")
_WINDOW = 32
"""Requests under way at once: their replies fit into the smallest usual buffer."""
_BUFFER_BYTES = 4 << 20


def main(words: Sequence[str]) -> None:
    """Measure once, on a socket (`-`: the kernel's own), with so many entries; print one JSON object."""
    where, count = words[0], int(words[1])
    program = Program(where)
    print("figures " + json.dumps(program.measure(count)))


class Program:
    """One PF_KEY socket and what is asked on it."""

    def __init__(self, where: str) -> None:
        """Open the socket."""
        if where == "-":
            self._socket = socket.socket(_PF_KEY, socket.SOCK_RAW, _PF_KEY_V2)
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.connect(where)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._sequence = 0

    def measure(self, count: int) -> dict[str, float]:
        """Take everything in turn; each figure is per second."""
        self._ask(_FLUSH, b"")
        self._ask(_SPDFLUSH, b"")
        found: dict[str, float] = {}
        spis = [0x1000 + number for number in range(count)]
        again = [0x1000000 + number for number in range(count)]
        found["ADD, one at a time"] = self._one_by_one(_ADD, [_association(spi, keys=True) for spi in spis])
        found["ADD, pipelined"] = self._pipelined(_ADD, [_association(spi, keys=True) for spi in again])
        found["GET, one at a time"] = self._one_by_one(_GET, [_association(spi) for spi in spis])
        found["GET, pipelined"] = self._pipelined(_GET, [_association(spi) for spi in again])
        found["DUMP, entries"] = self._dump(2 * count)
        found["DELETE, one at a time"] = self._one_by_one(_DELETE, [_association(spi) for spi in spis])
        found["DELETE, pipelined"] = self._pipelined(_DELETE, [_association(spi) for spi in again])
        policies = [_policy(number) for number in range(2 * count)]
        found["SPDADD, one at a time"] = self._one_by_one(_SPDADD, policies[:count])
        found["SPDADD, pipelined"] = self._pipelined(_SPDADD, policies[count:])
        self._ask(_SPDFLUSH, b"")
        return found

    def fill(self, count: int) -> None:
        """Put in so many associations, as fast as can be."""
        for first in range(0, count, 1000):
            spis = range(0x100000 + first, 0x100000 + min(first + 1000, count))
            self._pipelined(_ADD, [_association(spi, keys=True) for spi in spis])

    def dump_secs(self, count: int) -> float:
        """Dump everything once; say how long it took."""
        return count / self._dump(count)

    def begin_dump(self) -> None:
        """Ask for everything, and read nothing yet."""
        self._send(_DUMP, b"")

    def receive(self) -> bytes:
        """Read one message."""
        return self._socket.recv(_LONGEST)

    def add_and_delete(self, spi: int) -> None:
        """Change the SAD twice."""
        self._ask(_ADD, _association(spi, keys=True))
        self._ask(_DELETE, _association(spi))

    def _one_by_one(self, kind: int, bodies: Sequence[bytes]) -> float:
        started = time.perf_counter()
        for body in bodies:
            self._ask(kind, body)
        return len(bodies) / (time.perf_counter() - started)

    def _pipelined(self, kind: int, bodies: Sequence[bytes]) -> float:
        started = time.perf_counter()
        sent = got = 0
        while got < len(bodies):
            while sent < len(bodies) and sent - got < _WINDOW:
                self._send(kind, bodies[sent])
                sent += 1
            _check(self._socket.recv(_LONGEST))
            got += 1
        return len(bodies) / (time.perf_counter() - started)

    def _dump(self, count: int) -> float:
        receive: Callable[[int], bytes] = self._socket.recv
        started = time.perf_counter()
        self._send(_DUMP, b"")
        got = 0
        while got < count:
            data = receive(_LONGEST)
            if data[1] == _DUMP:
                _check(data)
                got += 1
        return count / (time.perf_counter() - started)

    def _ask(self, kind: int, body: bytes) -> None:
        self._send(kind, body)
        while True:
            data = self._socket.recv(_LONGEST)
            if data[1] == kind:
                _check(data)
                return

    def _send(self, kind: int, body: bytes) -> None:
        self._sequence += 1
        satype = _ESP if kind in (_ADD, _GET, _DELETE) else 0
        length = (_HEADER.size + len(body)) // 8
        self._socket.send(_HEADER.pack(2, kind, 0, satype, length, 0, self._sequence, 4242) + body)


def _check(data: bytes) -> None:
    if data[2]:
        raise RuntimeError(f"message {data[1]} was refused: errno {data[2]}")


def _extension(kind: int, body: bytes) -> bytes:
    whole = 4 + len(body)
    words = -(-whole // 8)
    return struct.pack("=HH", words, kind) + body.ljust(words * 8 - 4, b"\0")


def _address(kind: int, address: str, port: int = 0, protocol: int = 0) -> bytes:
    packed = struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)
    return _extension(kind, struct.pack("=BBxx", protocol, 32) + packed)


def _association(spi: int, *, keys: bool = False) -> bytes:
    """Name an association; with keys, say all that ADD needs (AES-128-CBC, HMAC-SHA-1)."""
    body = _extension(1, struct.pack("!I", spi) + bytes((0, 1, 3, 12)) + bytes(4))
    body += _address(5, "198.51.100.1") + _address(6, "198.51.100.2")
    if keys:
        body += _extension(8, struct.pack("=HH", 160, 0) + bytes(range(20)))
        body += _extension(9, struct.pack("=HH", 128, 0) + bytes(range(16)))
    return body


def _policy(number: int) -> bytes:
    """Name a policy that lets UDP from one port to another go in clear, out."""
    source = _address(5, "10.0.0.1", 1 + number % 60000, 17)
    destination = _address(6, "10.0.0.2", 1 + number // 60000, 17)
    return source + destination + _extension(18, struct.pack("=HBBII", 1, 2, 0, 0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
