"""Bytes for the model's packets: headers, ports, fragments, and ESP by engines that hold one SA each.

No judgement may enter: it makes what arrives and says what that is, and decides about nothing.
Answers to: RFC 791, RFC 8200 section 4, RFC 4303 section 2.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

from model.reference_model import ABSENT, ICMP, OPAQUE, OUTER_BYTES, PORTS, Ends, Packet, Ports, Seal
from sallet import Engine, PolicyParams, SaParams, Selector, Template

WITH_PORTS, ICMP_LIKE, MOBILITY = (6, 17, 33, 132, 136), (1, 58), 135
SEED = bytes(range(32))


@dataclass(frozen=True)
class Wire:
    """One packet twice: as bytes, and as the model sees it under its seals (outermost first)."""

    data: bytes
    packet: Packet
    seals: tuple[Seal, ...] = ()
    inner: bytes = b""


def checksum(header: bytes) -> bytes:
    """The Internet checksum of a header whose own field is zero (RFC 1071)."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", total ^ 0xFFFF)


def ipv4(ends: Ends, number: int, payload: bytes, *, word: int = 0, options: bytes = b"") -> bytes:
    """An IPv4 packet; `word` holds the flags and the fragment offset."""
    length = 20 + len(options) + len(payload)
    first = 0x40 | (20 + len(options)) // 4
    start = struct.pack(">BBHHHBB", first, 0, length, 7, word, 64, number)
    rest = ends[0].packed + ends[1].packed + options
    return start + checksum(start + b"\0\0" + rest) + rest + payload


def ipv6(ends: Ends, number: int, payload: bytes) -> bytes:
    """An IPv6 packet whose payload begins with a header of this number."""
    return struct.pack(">IHBB", 6 << 28, len(payload), number, 64) + ends[0].packed + ends[1].packed + payload


def segment(next_layer: int, values: Ports, *, cut: bool) -> tuple[bytes, str, Ports]:
    """The bytes behind the IP headers, and what they show."""
    body = bytes(range(0xA0, 0xC0))
    if next_layer in WITH_PORTS:
        data, shows = struct.pack(">HH", *values) + body, PORTS
    elif next_layer in ICMP_LIKE:
        data, shows = bytes(values) + body, ICMP
    elif next_layer == MOBILITY:
        data, shows, values = bytes([59, 0, values[0]]) + body, ICMP, (values[0], 0)
    else:
        return body, ABSENT, (0, 0)
    return (data[:1], OPAQUE, (0, 0)) if cut else (data, shows, values)


class Shape(NamedTuple):
    """How a packet comes: with further headers, as a fragment, cut short."""

    extra: str = ""  # "" or "options" (IPv4 options, hop-by-hop options) or "late" (destination options)
    fragment: str = ""  # "" or "first" or "later"
    cut: bool = False


def build(ends: Ends, next_layer: int, values: Ports, shape: Shape | None = None) -> Wire:
    """One packet in clear; for ICMP `values` are type and code."""
    shape = shape or Shape()
    data, shows, values = segment(next_layer, values, cut=shape.cut)
    if shape.fragment == "later" and shows in (PORTS, ICMP):
        shows, values = OPAQUE, (0, 0)
    options = bytes([1, 1, 1, 0])
    if isinstance(ends[0], IPv4Address):
        word = {"": 0, "first": 0x2000, "later": 5}[shape.fragment]
        late = options if shape.extra == "options" else b""
        whole = ipv4(ends, next_layer, data, word=word, options=late)
        header = 20 + len(late)
    else:
        whole, header = chain_ipv6(ends, next_layer, data, shape)
    packet = Packet(ends, next_layer, shows, values, bool(shape.fragment), len(whole), header)
    return Wire(whole, packet, (), whole)


def chain_ipv6(ends: Ends, next_layer: int, data: bytes, shape: Shape) -> tuple[bytes, int]:
    """An IPv6 packet with extension headers, and where a transport SA would put ESP."""
    padding = bytes([0, 1, 4, 0, 0, 0, 0])
    number, header = next_layer, 40
    if shape.extra == "late" and not shape.fragment:
        number, data = 60, bytes([number]) + padding + data
    if shape.fragment:
        word = {"first": 1, "later": 5 << 3}[shape.fragment]
        number, data = 44, struct.pack(">BBHI", number, 0, word, 9) + data
    if shape.extra == "options":
        number, data, header = 0, bytes([number]) + padding + data, 48
    return ipv6(ends, number, data), header


# --- sealing -----------------------------------------------------------------------------------------


def aligned(length: int, block: int) -> int:
    return -(-length // block) * block


def grow_gcm(sealed: int) -> int:
    """SPI, sequence, IV, padded payload with its two trailing bytes, ICV."""
    return 8 + 8 + aligned(sealed + 2, 4) + 16


def grow_cbc(sealed: int) -> int:
    return 8 + 16 + aligned(sealed + 2, 16) + 16


def grow_null(sealed: int) -> int:
    return 8 + aligned(sealed + 2, 4) + 12


NULL_KEY = bytes(range(4, 24))
SUITES = (
    (("aes-gcm-16", bytes(range(1, 21))), None, grow_gcm),
    (("aes-cbc", bytes(range(2, 18))), ("hmac-sha2-256-128", bytes(range(3, 35))), grow_cbc),
    (("null", b""), ("hmac-sha1-96", NULL_KEY), grow_null),
)


def suite(spi: int) -> tuple[tuple[str, bytes], tuple[str, bytes] | None]:
    """The algorithms that an SA with this SPI has everywhere in these tests."""
    return SUITES[spi % len(SUITES)][:2]


class Layer(NamedTuple):
    """One SA to be put around a packet, and what befalls the packet afterwards."""

    spi: int
    ends: Ends
    mode: str  # transport or tunnel
    damage: str = ""  # "" or "corrupt" or "fragment"


@dataclass
class Forge:
    """Peers that seal anything: for each SA an engine of its own, whose numbers go on."""

    engines: dict[tuple[int, Ends, str], Engine] = field(default_factory=dict)
    sent: dict[tuple[int, Ends, str], int] = field(default_factory=dict)

    def _engine(self, layer: Layer) -> Engine:
        key = (layer.spi, layer.ends, layer.mode)
        if key not in self.engines:
            self.engines[key] = one_sa_engine(layer)
        return self.engines[key]

    def _next(self, layer: Layer, how: str) -> int:
        key = (layer.spi, layer.ends, how)
        self.sent[key] = self.sent.get(key, 0) + 1
        return self.sent[key]

    def seal(self, wire: Wire, layers: list[Layer]) -> Wire:
        """The packet inside these layers, the first one innermost."""
        for number, layer in enumerate(layers):
            innermost = number == 0
            wire = self._seal_one(wire, layer, innermost=innermost)
        return wire

    def _seal_one(self, wire: Wire, layer: Layer, *, innermost: bool) -> Wire:
        header = outer_bytes(wire) if layer.mode == "transport" else 0
        inside = layer.mode
        if innermost and wire.packet.is_neighbour_discovery:
            # Every engine lets these go in clear, so a peer who seals one is somebody else.
            data, number = self._seal_by_hand(wire, layer, header)
        else:
            number = self._next(layer, layer.mode)
            data = self._engine(layer).outbound(wire.data).packet or b""
        if innermost and inside == "transport" and number_behind(wire.data) == 59:
            inside = "dummy"
        seal = Seal(
            layer.spi,
            layer.ends,
            number,
            inside,
            authentic=layer.damage != "corrupt",
            fragment=layer.damage == "fragment",
            carried_bytes=len(wire.data) - header,
        )
        return Wire(damaged(data, layer.damage), wire.packet, (seal, *wire.seals), wire.inner)

    def _seal_by_hand(self, wire: Wire, layer: Layer, header: int) -> tuple[bytes, int]:
        """ESP without encryption, by the suite with NULL_KEY; the packet has no further headers."""
        number = self._next(layer, "by hand")
        body = wire.data[header:]
        padding = bytes(range(1, 1 + -(len(body) + 2) % 4))
        sealed = struct.pack(">II", layer.spi, number) + body + padding
        sealed += bytes([len(padding), wire.data[6] if header else 41])
        sealed += hmac.digest(NULL_KEY, sealed, "sha1")[:12]
        make = ipv4 if layer.ends[0].version == 4 else ipv6
        return make(layer.ends, 50, sealed), number


def number_behind(data: bytes) -> int:
    """The protocol of what a transport SA would seal: hop-by-hop options stay in front of it."""
    return data[9] if data[0] >> 4 == 4 else data[40] if data[6] == 0 else data[6]


def outer_bytes(wire: Wire) -> int:
    """How long the headers are that a transport SA leaves in front."""
    for seal in wire.seals:
        if seal.inside == "tunnel":
            return OUTER_BYTES[seal.ends[1].version]
    return wire.packet.header_bytes


def damaged(data: bytes, damage: str) -> bytes:
    """What a bad wire makes of a sealed packet."""
    if damage == "corrupt":
        return data[:-1] + bytes([data[-1] ^ 1])
    if damage == "fragment" and data[0] >> 4 == 4:
        changed = bytearray(data)
        changed[6:8], changed[10:12] = b"\x20\0", b"\0\0"
        changed[10:12] = checksum(bytes(changed[: (data[0] & 15) * 4]))
        return bytes(changed)
    if damage == "fragment":
        at, pointer = (48, 40) if data[6] == 0 else (40, 6)  # hop-by-hop options stay in front
        changed = bytearray(data[:at])
        changed[4:6] = struct.pack(">H", len(data) - 40 + 8)
        number, changed[pointer] = changed[pointer], 44
        return bytes(changed) + struct.pack(">BBHI", number, 0, 1, 3) + data[at:]
    return data


def one_sa_engine(layer: Layer) -> Engine:
    """An engine that seals whatever it is given by one SA."""
    made = Engine(seed=SEED, clock="manual")
    encryption, authentication = suite(layer.spi)
    made.sad_add(
        SaParams(
            spi=layer.spi,
            protocol="esp",
            source=layer.ends[0],
            destination=layer.ends[1],
            encryption=encryption,
            authentication=authentication,
        )
    )
    template = Template("esp", layer.mode, "require", 0, layer.ends)
    for everything in ("0.0.0.0/0", "::/0"):
        made.spd_add(PolicyParams("out", Selector(everything, everything), "protect", [template]))
    made.configure("decrement_hop_limit", False)
    return made
