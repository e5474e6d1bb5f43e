"""What a host does around IPsec: it cuts datagrams that are too long for a path, and puts pieces together.

No IPsec may enter; options and extension headers do not occur in what is sent here.
Answers to: RFC 791 section 3.2, RFC 8200 section 4.5.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from itertools import count

_IPV4_BYTES, _IPV6_BYTES, _FRAGMENT_BYTES = 20, 40, 8
_FRAGMENT_HEADER = 44
_MORE_V4, _OFFSET_V4 = 0x2000, 0x1FFF
_ICMP, _ICMPV6 = 1, 58


class Reassembly:
    """Pieces that wait for the rest of their datagram."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, dict[int, tuple[bytes, bool]]] = {}

    def whole(self, packet: bytes) -> bytes | None:
        """Give a packet as it was before it was cut, or None while pieces are missing."""
        piece = _piece(packet)
        if piece is None:
            return packet
        key, header, offset, more, part = piece
        pieces = self._waiting.setdefault(key, {})
        pieces[offset] = (part, more)
        data = b""
        while len(data) in pieces:
            part, more = pieces[len(data)]
            data += part
            if not more:
                del self._waiting[key]
                return _with_length(header, data)
        return None


def _piece(packet: bytes) -> tuple[bytes, bytes, int, bool, bytes] | None:
    """Take a fragment apart: key, header without traces of cutting, offset, whether more follow, data."""
    if packet[0] >> 4 == 4:
        (bits,) = struct.unpack_from("!H", packet, 6)
        if not bits & (_MORE_V4 | _OFFSET_V4):
            return None
        header = packet[:6] + b"\0\0" + packet[8:_IPV4_BYTES]
        key = packet[4:6] + packet[9:10] + packet[12:20]
        return key, header, (bits & _OFFSET_V4) * 8, bool(bits & _MORE_V4), packet[_IPV4_BYTES:]
    if packet[6] != _FRAGMENT_HEADER:
        return None
    next_header, bits = struct.unpack_from("!BxH", packet, _IPV6_BYTES)
    header = packet[:6] + bytes([next_header]) + packet[7:_IPV6_BYTES]
    key = packet[8:_IPV6_BYTES] + packet[44:48]
    return key, header, bits & ~7, bool(bits & 1), packet[_IPV6_BYTES + _FRAGMENT_BYTES :]


def _with_length(header: bytes, data: bytes) -> bytes:
    """Put a header in front of other data."""
    if header[0] >> 4 == 6:
        return header[:4] + struct.pack("!H", len(data)) + header[6:] + data
    return _checksummed(header[:2] + struct.pack("!H", len(header) + len(data)) + header[4:]) + data


def _checksummed(header: bytes) -> bytes:
    bare = header[:10] + b"\0\0" + header[12:]
    total = sum(struct.unpack(f"!{len(bare) // 2}H", bare))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack("!H", total ^ 0xFFFF) + header[12:]


_identifications = count(1)


def cut(packet: bytes, mtu: int) -> list[bytes]:
    """Cut a packet into pieces of at most `mtu` bytes."""
    ipv4 = packet[0] >> 4 == 4
    header_bytes = _IPV4_BYTES if ipv4 else _IPV6_BYTES + _FRAGMENT_BYTES
    data = packet[_IPV4_BYTES if ipv4 else _IPV6_BYTES :]
    step = (mtu - header_bytes) // 8 * 8
    identification = next(_identifications)
    pieces = []
    for offset in range(0, len(data), step):
        more = offset + step < len(data)
        part = data[offset : offset + step]
        if ipv4:
            bits = struct.pack("!HH", identification & 0xFFFF, offset // 8 | (_MORE_V4 if more else 0))
            pieces.append(_with_length(packet[:4] + bits + packet[8:_IPV4_BYTES], part))
        else:
            fragment = struct.pack("!BxHI", packet[6], offset | more, identification)
            header = packet[:6] + bytes([_FRAGMENT_HEADER]) + packet[7:_IPV6_BYTES]
            pieces.append(_with_length(header, fragment + part))
    return pieces


def told_mtu(packet: bytes) -> int | None:
    """Read the MTU that an ICMP error tells, or None if this is not such a packet."""
    if packet[0] >> 4 == 4 and packet[9] == _ICMP and packet[20:22] == b"\x03\x04":
        return int(struct.unpack_from("!H", packet, 26)[0])
    if packet[0] >> 4 == 6 and packet[6] == _ICMPV6 and packet[40] == 2:
        return int(struct.unpack_from("!I", packet, 44)[0])
    return None


def shown(packet: bytes) -> tuple[int, int | None]:
    """Give what a listener reads: the protocol, and the destination port where that is UDP's first piece."""
    if packet[0] >> 4 == 4:
        protocol, at = packet[9], _IPV4_BYTES
        first = not struct.unpack_from("!H", packet, 6)[0] & _OFFSET_V4
    else:
        protocol, at, first = packet[6], _IPV6_BYTES, True
        if protocol == _FRAGMENT_HEADER:
            protocol, at = packet[_IPV6_BYTES], _IPV6_BYTES + _FRAGMENT_BYTES
            first = not struct.unpack_from("!H", packet, 42)[0] & ~7
    port = struct.unpack_from("!H", packet, at + 2)[0] if protocol == 17 and first else None
    return protocol, port


def is_multicast(packet: bytes) -> bool:
    """Say whether a packet is a link's small talk."""
    return ip_address(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]).is_multicast
