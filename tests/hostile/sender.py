"""The hostile peer: holds the keys, writes any byte it likes, and breaks one rule at a time.

Nothing of sallet's engine may enter; `Sa.params` is only its name for the same SA.
Answers to: RFC 791, 8200 (headers), RFC 4302, 4303 (AH, ESP), RFC 3948 (ESP in UDP).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

import sallet
from hostile.oracle import ENCRYPTION, GCM, Suite, mac

HOP_BY_HOP, TCP, UDP, ROUTING, FRAGMENT, ESP, AH, ICMPV6 = 0, 6, 17, 43, 44, 50, 51, 58
NO_NEXT_HEADER, DESTINATION_OPTIONS, IPCOMP = 59, 60, 108
IN_IP = {4: 4, 6: 41}
"""The protocol number of a whole packet inside."""
PEER = {4: "192.0.2.1", 6: "2001:db8::1"}
"""The hostile peer."""
VICTIM = {4: "192.0.2.2", 6: "2001:db8::2"}
"""The host that must not fall for it."""
PEER_NET = {4: "10.1.0.1", 6: "2001:db8:1::1"}
"""A host behind the peer, for tunnels."""
VICTIM_NET = {4: "10.2.0.1", 6: "2001:db8:2::1"}
SPI = 0x1001


@dataclass(frozen=True)
class Sa:
    """One SA from the peer to the victim."""

    suite: Suite = GCM
    protocol: str = "esp"
    mode: str = "transport"
    family: int = 4
    """Of the outer header."""
    spi: int = SPI
    esn: bool = False
    encap: tuple[int, int] | None = None
    window: int = 64

    def __str__(self) -> str:
        udp = "-udp" if self.encap else ""
        return f"{self.protocol}{udp}-{self.mode}-v{self.family}-{self.suite}" + ("-esn" if self.esn else "")

    @property
    def source(self) -> str:
        """The peer's address."""
        return PEER[self.family]

    @property
    def destination(self) -> str:
        """The victim's address."""
        return VICTIM[self.family]

    def params(self, **changes: Any) -> sallet.SaParams:
        """Give the SA in sallet's words."""
        suite = self.suite
        words: dict[str, Any] = {
            "spi": self.spi,
            "protocol": self.protocol,
            "source": self.source,
            "destination": self.destination,
            "mode": self.mode,
            "encryption": (suite.encryption, suite.key) if suite.encryption else None,
            "authentication": (suite.authentication, suite.authentication_key)
            if suite.authentication
            else None,
            "replay_window": self.window,
            "esn": self.esn,
            "encap": self.encap,
        }
        return sallet.SaParams(**words | changes)


def esp(
    sa: Sa,
    payload: bytes,
    next_header: int,
    sequence: int = 1,
    *,
    text: bytes | None = None,
    iv: bytes | None = None,
    icv: bytes | None = None,
) -> bytes:
    """Seal a payload; `text` is the plaintext with a trailer of one's own, `icv` a wrong one."""
    assert sa.suite.encryption
    cipher, suite = ENCRYPTION[sa.suite.encryption], sa.suite
    if text is None:
        text = payload + trailer(len(payload), next_header, cipher.block_bytes)
    if iv is None:
        iv = sequence.to_bytes(16, "big")[-cipher.iv_bytes :] if cipher.iv_bytes else b""
    header = struct.pack(">II", sa.spi, sequence & 0xFFFFFFFF)
    data = struct.pack(">IQ", sa.spi, sequence) if sa.esn else header
    packet = header + iv + cipher.seal(suite.key, iv, text, data)
    if suite.authentication:
        high = struct.pack(">I", sequence >> 32) if sa.esn else b""
        packet += mac(suite.authentication, suite.authentication_key, packet + high)
    if icv is not None:
        packet = packet[: len(packet) - suite.icv_bytes] + icv
    return packet


def trailer(payload_bytes: int, next_header: int, block_bytes: int = 4) -> bytes:
    """Padding 1, 2, 3, …, its length and the next header."""
    count = -(payload_bytes + 2) % max(block_bytes, 4)
    return bytes(range(1, count + 1)) + bytes([count, next_header])


def sealed(sa: Sa, payload: bytes, next_header: int, sequence: int = 1, **changes: Any) -> bytes:
    """A whole packet from the peer to the victim with one ESP or AH header."""
    if sa.protocol == "ah":
        return authenticated(sa, payload, next_header, sequence)
    return carried(sa, esp(sa, payload, next_header, sequence, **changes))


def carried(sa: Sa, packet: bytes) -> bytes:
    """Put the SA's outer header, and UDP if it has that, in front of any bytes that call themselves ESP."""
    protocol = AH if sa.protocol == "ah" else ESP
    if sa.encap:
        protocol, packet = UDP, udp(*sa.encap, packet)
    return ip(sa.source, sa.destination, protocol, packet)


def udp(source_port: int, destination_port: int, payload: bytes) -> bytes:
    """A UDP header without a checksum."""
    return struct.pack(">HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def authenticated(
    sa: Sa,
    payload: bytes,
    next_header: int,
    sequence: int = 1,
    *,
    options: bytes = b"",
    covered_options: bytes | None = None,
    extensions: Iterable[tuple[int, bytes]] = (),
    covered_extensions: Iterable[tuple[int, bytes]] | None = None,
    words: int | None = None,
    padding: bytes | None = None,
    reserved: int = 0,
) -> bytes:
    """A packet with AH and a valid ICV over the header as it will arrive.

    `options` (v4) or `extensions` (v6) stand in front of AH; `covered_…` is how the ICV sees them, where that
    differs. `words` is what the length field says instead of the truth, `padding` what follows the ICV,
    `reserved` what must be zero.
    """
    assert sa.suite.authentication
    icv_bytes = sa.suite.icv_bytes
    if padding is None:
        padding = bytes(-(12 + icv_bytes) % (8 if sa.family == 6 else 4))
    length = (12 + icv_bytes + len(padding)) // 4 - 2 if words is None else words
    fixed = struct.pack(">BBHII", next_header, length, reserved, sa.spi, sequence & 0xFFFFFFFF)
    behind = len(fixed) + icv_bytes + len(padding) + len(payload)
    made = {"options": options} if sa.family == 4 else {"extensions": tuple(extensions)}
    seen: dict[str, Any] = dict(made)
    if covered_options is not None:
        seen = {"options": covered_options}
    if covered_extensions is not None:
        seen = {"extensions": tuple(covered_extensions)}
    header = ip(sa.source, sa.destination, AH, bytes(behind), **made)[:-behind]
    covered = immutable(ip(sa.source, sa.destination, AH, bytes(behind), **seen)[:-behind])
    high = struct.pack(">I", sequence >> 32) if sa.esn else b""
    message = covered + fixed + bytes(icv_bytes) + padding + payload + high
    icv = mac(sa.suite.authentication, sa.suite.authentication_key, message)
    return header + fixed + icv + padding + payload


def immutable(header: bytes) -> bytes:
    """The fixed header with every field that routers change taken as zero; options are left alone."""
    if header[0] >> 4 == 4:
        return header[:1] + b"\0" + header[2:6] + b"\0\0\0" + header[9:10] + b"\0\0" + header[12:]
    return b"\x60\0\0\0" + header[4:7] + b"\0" + header[8:]


def ip(source: str, destination: str, protocol: int, payload: bytes, **fields: Any) -> bytes:
    """An IP packet of the addresses' family; see `ipv4` and `ipv6` for what can be changed."""
    build = ipv4 if ip_address(source).version == 4 else ipv6
    return build(source, destination, protocol, payload, **fields)


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    options: bytes = b"",
    tos: int = 0,
    ttl: int = 64,
    identification: int = 1,
    offset: int = 0,
    more: bool = False,
    total_bytes: int | None = None,
    header_words: int | None = None,
) -> bytes:
    """An IPv4 packet; lengths may lie."""
    words = 5 + len(options) // 4 if header_words is None else header_words
    total = 20 + len(options) + len(payload) if total_bytes is None else total_bytes
    fragment = (0x2000 if more else 0) | offset // 8
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | words,
        tos,
        total & 0xFFFF,
        identification,
        fragment,
        ttl,
        protocol,
        0,
        ip_address(source).packed,
        ip_address(destination).packed,
    )
    header += options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def ipv6(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    extensions: Iterable[tuple[int, bytes]] = (),
    traffic_class: int = 0,
    flow_label: int = 0,
    hop_limit: int = 64,
    payload_bytes: int | None = None,
) -> bytes:
    """An IPv6 packet; each extension is (protocol, bytes), whose first byte becomes what follows."""
    chain = list(extensions)
    first, *following = [*(number for number, _ in chain), protocol]
    body = b"".join(bytes([after]) + data[1:] for after, (_, data) in zip(following, chain, strict=True))
    body += payload
    length = len(body) if payload_bytes is None else payload_bytes
    word = 6 << 28 | traffic_class << 20 | flow_label
    header = struct.pack(">IHBB", word, length & 0xFFFF, first, hop_limit)
    return header + ip_address(source).packed + ip_address(destination).packed + body


def options_header(options: bytes, *, words: int | None = None) -> bytes:
    """A hop-by-hop or destination options header around options that fill 8-byte units with PadN."""
    room = -(2 + len(options)) % 8
    padding = b"" if room == 0 else b"\0" if room == 1 else bytes([1, room - 2]) + bytes(room - 2)
    length = (2 + len(options) + room) // 8 - 1 if words is None else words
    return bytes([0, length]) + options + padding


def fragments(packet: bytes, cuts: Iterable[int], *, identification: int = 7) -> list[bytes]:
    """Cut a packet behind its fixed header at these payload offsets (multiples of 8)."""
    places = [0, *cuts]
    if packet[0] >> 4 == 4:
        body, header = packet[20:], packet[:20]
        made = {"source": header[12:16], "destination": header[16:20]}
        protocol = header[9]
    else:
        body, header = packet[40:], packet[:40]
        made = {"source": header[8:24], "destination": header[24:40]}
        protocol = header[6]
    source, destination = (str(ip_address(made[name])) for name in ("source", "destination"))
    pieces = []
    for begin, end in zip(places, [*places[1:], len(body)], strict=True):
        more = end < len(body)
        pieces.append(fragment(source, destination, protocol, body[begin:end], begin, more, identification))
    return pieces


def fragment(
    source: str, destination: str, protocol: int, piece: bytes, offset: int, more: bool, identification: int
) -> bytes:
    """One fragment of either family; it may overlap, repeat or end too far out."""
    if ip_address(source).version == 4:
        where: dict[str, Any] = {"identification": identification, "offset": offset, "more": more}
        return ipv4(source, destination, protocol, piece, **where)
    header = struct.pack(">BBHI", 0, 0, offset | more, identification)
    return ipv6(source, destination, protocol, piece, extensions=[(FRAGMENT, header)])


def checksum(header: bytes) -> int:
    """The Internet checksum."""
    padded = header + bytes(len(header) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def inner(family: int, payload: bytes = b"inner", *, port: int = 53) -> bytes:
    """A good packet from behind the peer to behind the victim."""
    return sallet.udp_packet(PEER_NET[family], VICTIM_NET[family], 1000, port, payload)


def good(sa: Sa, sequence: int) -> tuple[bytes, bytes]:
    """A packet that keeps every rule, and what the victim must deliver for it."""
    if sa.mode == "tunnel":
        packet = inner(sa.family, b"good %d" % sequence)
        return sealed(sa, packet, IN_IP[sa.family], sequence), packet
    packet = sallet.udp_packet(sa.source, sa.destination, 1000, 53, b"good %d" % sequence)
    at = 20 if sa.family == 4 else 40
    wire = sealed(sa, packet[at:], UDP, sequence)
    return wire, replaced(wire, packet[at:], UDP)


def replaced(packet: bytes, payload: bytes, protocol: int) -> bytes:
    """The packet's fixed header in front of another payload, as transport mode leaves it behind."""
    if packet[0] >> 4 == 6:
        return packet[:4] + struct.pack(">HB", len(payload), protocol) + packet[7:40] + payload
    header = packet[:2] + struct.pack(">H", 20 + len(payload)) + packet[4:9] + bytes([protocol])
    header += b"\0\0" + packet[12:20]
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def both_families(*sas: Sa) -> list[Sa]:
    """Each SA in IPv4 and in IPv6: no test may know one family only."""
    return [replace(sa, family=family) for sa in sas for family in (4, 6)]
