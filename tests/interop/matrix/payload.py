"""The datagrams of the matrix: what one side sends, the other computes; nothing else tells them apart.

No socket may enter, and no import beyond the standard library: the peer's program uses this, too.
Answers to: RFC 768 for the port numbers' width, nothing else.
"""

from __future__ import annotations

import hashlib
import struct

DATA_PORT = 7777
"""Both ends of every protected datagram."""
CONTROL_PORT = 9999
"""Both ends of the orders, which travel in clear."""
ENCAP_PORT = 4500
"""Both ends of ESP in UDP."""
CONTROL_OURS, CONTROL_PEERS = "198.18.0.1", "198.18.0.2"
"""Addresses that no policy covers (RFC 2544)."""
WIRE_BYTES = 1500
"""The longest packet on the wire."""
_HEADER = struct.Struct("!IHB")


def body(number: int, size: int, *, outbound: bool) -> bytes:
    """Make the datagram of `size` bytes that a combination sends in one direction.

    It compresses well, but what has to be cut has to be cut when it is compressed, too.
    """
    header = _HEADER.pack(number, size, outbound)
    noise = hashlib.shake_256(header).digest(size * 2 // 3 if size > WIRE_BYTES else 0)
    text = f"combination {number} sends {size} bytes, {'to' if outbound else 'from'} the kernel. ".encode()
    return (header + noise + text * (size // len(text) + 1))[:size]


def identify(data: bytes) -> tuple[int, int, bool] | None:
    """Read (number, size, outbound) if this is such a datagram, whole and unchanged."""
    if len(data) < _HEADER.size:
        return None
    number, size, outbound = _HEADER.unpack_from(data)
    return (number, size, bool(outbound)) if data == body(number, size, outbound=bool(outbound)) else None
