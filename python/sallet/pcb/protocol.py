"""The records between the preload library and the daemon: their numbers and their bytes.

No socket and no policy may enter; `rust/bindings/preload/pcb_protocol.h` says the same in C.
Answers to: ARCHITECTURE.md, "Programs that know nothing of us".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

SOCKET: Final = "pcb.sock"
VERSION: Final = 1
POLICY_BYTES_MAX: Final = 4096
DESCRIPTORS_MAX: Final = 2
MARK_BITS: Final = 0x3C00_0000
"""The bits of a socket's mark that are ours."""
MARK_POLICY: Final = 0x1000_0000
"""The one that says that the daemon holds a policy for the socket."""
MARK_ENCAP: Final = 0x2000_0000
"""The one that says that ESP in UDP on the socket's port is the daemon's."""

REQUEST: Final = struct.Struct("=HHHHIIHH16s")
"""version, kind, dialect, level, value, policy_bytes, remote_family, remote_port, remote_address"""
REPLY: Final = struct.Struct("=HHIII")
"""version, kind, error, value, policy_bytes"""
REQUEST_BYTES_MAX: Final = REQUEST.size + POLICY_BYTES_MAX


class Kind(IntEnum):
    """What a request asks."""

    POLICY_SET = 1
    POLICY_GET = 2
    BOUND = 3
    INHERIT = 4
    ENCAP = 5
    WATCH = 6
    CONNECT = 7


DIALECTS: Final = {1: "linux", 2: "kame", 3: "netbsd", 4: "freebsd"}


class Malformed(Exception):
    """Bytes that are no record of this version."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, without the descriptors that came with it."""

    kind: Kind
    dialect: str
    level: int = 0
    value: int = 0
    remote: tuple[IPv4Address | IPv6Address, int] | None = None
    policy: bytes = b""

    def encode(self) -> bytes:
        """Write it as the library does."""
        family, port, packed = 0, 0, b""
        if self.remote is not None:
            family, port, packed = self.remote[0].version, self.remote[1], self.remote[0].packed
        number = next(number for number, name in DIALECTS.items() if name == self.dialect)
        head = REQUEST.pack(
            VERSION, self.kind, number, self.level, self.value, len(self.policy), family, port, packed
        )
        return head + self.policy

    @classmethod
    def decode(cls, data: bytes) -> Request:
        """Read one.

        Raises:
            Malformed: it is none, or another version's.
        """
        if len(data) < REQUEST.size:
            raise Malformed
        version, kind, dialect, level, value, size, family, port, packed = REQUEST.unpack_from(data)
        policy = data[REQUEST.size :]
        if version != VERSION or dialect not in DIALECTS or family not in (0, 4, 6) or size != len(policy):
            raise Malformed
        remote = (ip_address(packed[:4] if family == 4 else packed), port) if family else None
        try:
            return cls(Kind(kind), DIALECTS[dialect], level, value, remote, policy)
        except ValueError as error:
            raise Malformed from error


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; `error` is an errno or 0."""

    kind: int
    error: int = 0
    value: int = 0
    policy: bytes = b""

    def encode(self) -> bytes:
        """Write it as the library reads it."""
        return REPLY.pack(VERSION, self.kind, self.error, self.value, len(self.policy)) + self.policy

    @classmethod
    def decode(cls, data: bytes) -> Reply:
        """Read one.

        Raises:
            Malformed: it is none, or another version's.
        """
        if len(data) < REPLY.size:
            raise Malformed
        version, kind, error, value, size = REPLY.unpack_from(data)
        if version != VERSION or size != len(data) - REPLY.size:
            raise Malformed
        return cls(kind, error, value, data[REPLY.size :])
