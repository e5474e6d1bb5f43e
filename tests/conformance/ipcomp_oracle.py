"""IPComp by the letter of the RFCs, on Python's zlib: a second opinion about whole packets.

Nothing from sallet may enter.
Answers to: RFC 3173 sections 2 and 3, RFC 2394; RFC 791 and RFC 8200 for the headers around it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

IPCOMP = 108
HEADER_BYTES = 4
DEFLATE_CPI = 2
_IN_IP = {4: 4, 6: 41}
_FIXED = {4: 20, 6: 40}


@dataclass(frozen=True, slots=True)
class Parts:
    """A packet without extension headers, taken apart."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    next_header: int
    payload: bytes


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, destination: str, next_header: int, payload: bytes) -> bytes:
    """An IP packet around a payload; TTL 64, everything else zero."""
    ends = ip_address(source), ip_address(destination)
    addresses = ends[0].packed + ends[1].packed
    if ends[0].version == 6:
        return behind(struct.pack(">IHBB", 6 << 28, 0, 0, 64) + addresses, next_header, payload)
    return behind(struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 0, 0) + addresses, next_header, payload)


def behind(header: bytes, next_header: int, payload: bytes) -> bytes:
    """A payload behind a header, which is told of it."""
    if header[0] >> 4 == 6:
        told = struct.pack(">HB", len(payload), next_header)
        return header[:4] + told + header[7:40] + payload
    told = header[:2] + struct.pack(">H", 20 + len(payload)) + header[4:9] + bytes([next_header, 0, 0])
    told += header[12:20]
    return told[:10] + struct.pack(">H", checksum(told)) + told[12:] + payload


def parse(data: bytes) -> Parts:
    """Take a packet apart; its lengths and its checksum must be right."""
    version = data[0] >> 4
    if version == 4:
        assert data[0] == 0x45
        assert checksum(data[:20]) == 0
        assert struct.unpack_from(">H", data, 2) == (len(data),)
        return Parts(IPv4Address(data[12:16]), IPv4Address(data[16:20]), data[9], data[20:])
    assert struct.unpack_from(">H", data, 4) == (len(data) - 40,)
    return Parts(IPv6Address(data[8:24]), IPv6Address(data[24:40]), data[6], data[40:])


def deflate(data: bytes, window_bits: int, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Compress one datagram: raw DEFLATE, referring at most 2^`window_bits` bytes back."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -window_bits, zlib.DEF_MEM_LEVEL, strategy)
    return deflater.compress(data) + deflater.flush()


def inflate(data: bytes, window_bits: int, piece_bytes: int = 0) -> bytes:
    """Inflate one datagram with a window of that size, and nothing may be missing or left over.

    In pieces of `piece_bytes` the window is all that zlib has to look back at.
    """
    inflater = zlib.decompressobj(-window_bits)
    pieces = [inflater.decompress(data, piece_bytes)]
    while piece_bytes and not inflater.eof and (inflater.unconsumed_tail or pieces[-1]):
        pieces.append(inflater.decompress(inflater.unconsumed_tail, piece_bytes))
    assert inflater.eof
    assert not inflater.unused_data
    return b"".join(pieces)


def seal(whole: bytes, cpi: int, outer: tuple[str, str] | None = None, window_bits: int = 15) -> bytes:
    """Compress a packet's payload or, with the ends of a tunnel, the whole packet; it may get longer."""
    if outer is None:
        parts = parse(whole)
        ends, next_header, payload = (
            (str(parts.source), str(parts.destination)),
            parts.next_header,
            parts.payload,
        )
    else:
        ends, next_header, payload = outer, _IN_IP[whole[0] >> 4], whole
    header = struct.pack(">BBH", next_header, 0, cpi)
    return packet(*ends, IPCOMP, header + deflate(payload, window_bits))


def unseal(data: bytes, cpi: int, *, tunnel: bool, window_bits: int) -> bytes:
    """Return the original of a packet that came through an IPComp SA, compressed or not."""
    parts = parse(data)
    next_header, payload = parts.next_header, parts.payload
    if next_header == IPCOMP:
        next_header, flags, number = struct.unpack_from(">BBH", payload)
        assert (flags, number) == (0, cpi)
        payload = inflate(payload[HEADER_BYTES:], window_bits)
        assert len(parts.payload) < len(payload), "longer than without IPComp"
    if tunnel:
        assert next_header == _IN_IP[payload[0] >> 4]
        return payload
    return behind(data, next_header, payload)


def outer_bytes(address: str) -> int:
    """Length of the header that a tunnel between such addresses adds."""
    return _FIXED[ip_address(address).version]
