"""The cases of `tests/vectors/ah-oracle.json`: which headers, which SA, and what becomes of them on the way.

No expectation may enter: `ah_oracle` computes every ICV, and `compose` writes the file.
Answers to: RFC 4302 section 3.3.3.1 and appendix A; RFC 791, 8200 and 6275 (the headers).
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from conformance.ah_oracle import BLOCK_MACS, GMACS, KEYED, MACS, Sa, seal

SOURCE = (
    "oracle in Python, tests/conformance/ah_oracle.py; by RFC 4302, 1826 and 4543, from struct, hmac and the "
    "package cryptography; key, numbers and payload are SHAKE128 of the case name"
)
KEY_BYTES = {
    "hmac-md5-96": 16,
    "hmac-sha1-96": 20,
    "hmac-ripemd160-96": 20,
    "aes-xcbc-mac-96": 16,
    "aes-cmac-96": 16,
    "hmac-sha2-384-192": 48,
    "hmac-sha2-512-256": 64,
    "keyed-md5": 16,
    "keyed-sha1": 20,
    "aes-128-gmac": 20,
    "aes-192-gmac": 28,
    "aes-256-gmac": 36,
}
DESTINATION_OPTIONS, ROUTING, FRAGMENT, AH, UDP = 60, 43, 44, 51, 17
V4 = ("192.0.2.1", "198.51.100.7")
V6 = ("2001:db8::1", "2001:db8:ffff::7")


@dataclass(frozen=True)
class Headers:
    """Headers in front of AH, apart from their lengths."""

    source: str = V4[0]
    destination: str = V4[1]
    class_: int = 0
    hop_limit: int = 64
    ident: int = 0
    fragment: int = 0
    """IPv4: flags and offset."""
    flow: int = 0
    options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """IPv6: protocol, and the header without its first two bytes (the third on, for a fragment header)."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.source).version

    def build(self, last: int, behind: int) -> bytes:
        """Write them with what follows: its protocol and its length."""
        source, destination = (ipaddress.ip_address(text).packed for text in (self.source, self.destination))
        if self.version == 4:
            size = 20 + len(self.options)
            fields = struct.pack(
                ">BBHHHBBH",
                0x40 | size // 4,
                self.class_,
                size + behind,
                self.ident,
                self.fragment,
                self.hop_limit,
                last,
                0,
            )
            header = fields + source + destination + self.options
            return header[:10] + struct.pack(">H", checksum(header)) + header[12:]
        kinds = [kind for kind, _ in self.extensions] + [last]
        chain = b""
        for (_, body), after in zip(self.extensions, kinds[1:], strict=True):
            chain += bytes([after, (len(body) + 2) // 8 - 1]) + body
        first = 6 << 28 | self.class_ << 20 | self.flow
        fields = struct.pack(">IHBB", first, len(chain) + behind, kinds[0], self.hop_limit)
        return fields + source + destination + chain


@dataclass(frozen=True)
class Case:
    """One packet: headers when sent, and when received if the way changes more than a router always does."""

    name: str
    headers: Headers = field(default_factory=Headers)
    arrived: Headers | None = None
    algorithm: str = "hmac-sha2-256-128"
    next_header: int = UDP
    inner: Headers | None = None
    behind: bytes = b""
    """What stands directly behind AH, before the payload."""
    settings: dict[str, Any] = field(default_factory=dict)

    def sa(self) -> Sa:
        """Keys and numbers out of the name."""
        key = self.draw("key", KEY_BYTES.get(self.algorithm, 32))
        spi = int.from_bytes(self.draw("spi", 4), "big") | 0x100
        return Sa(self.algorithm, key, spi, **self.settings)

    def draw(self, what: str, size: int) -> bytes:
        """Give bytes that look random."""
        return hashlib.shake_128(f"{self.name} {what}".encode()).digest(size)

    def record(self) -> dict[str, Any]:
        """Compute the case as the file has it."""
        sa = self.sa()
        sequence = int.from_bytes(self.draw("sequence", 8 if sa.esn else 4), "big")
        payload = self.behind + self.draw("payload", self.draw("size", 1)[0] // 3)
        if self.inner is not None:
            payload = self.inner.build(UDP, len(payload)) + payload
        length = sa.header_bytes(self.headers.version) + len(payload)
        sent = self.headers.build(AH, length)
        iv = self.draw("iv", sa.iv_bytes)
        packet = seal(sa, sent, self.next_header, sequence, payload, iv=iv)
        arrived = (self.arrived or routed(self.headers)).build(AH, length)
        return {
            "name": self.name,
            "authentication": {"name": sa.algorithm, "key": sa.key.hex()},
            "spi": sa.spi,
            "sequence": 0 if sa.old else sequence,
            "esn": sa.esn,
            "old": sa.old,
            "clear_tos": sa.clear_tos,
            "offset_mask": sa.offset_mask,
            "wide_padding": sa.wide_padding,
            "next_header": self.next_header,
            "headers": sent.hex(),
            "payload": payload.hex(),
            "packet": packet.hex(),
            "received": (arrived + packet[len(sent) :]).hex(),
        }


def checksum(header: bytes) -> int:
    """RFC 1071."""
    total: int = sum(word for (word,) in struct.iter_unpack(">H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def changed(headers: Headers, **changes: Any) -> Headers:
    """Replace fields."""
    return Headers(**{**vars(headers), **changes})


def routed(headers: Headers) -> Headers:
    """What every way may do: other hop limit, other class, other flow label."""
    class_ = headers.class_ ^ 0x2F if headers.version == 6 else headers.class_
    flow = headers.flow ^ 0xABCDE if headers.version == 6 else 0
    return changed(headers, hop_limit=headers.hop_limit - 3, class_=class_, flow=flow)


def v6(**fields: Any) -> Headers:
    """Headers of IPv6."""
    return Headers(*V6, **fields)


def padded(options: bytes) -> bytes:
    """Fill IPv4 options up to a multiple of four with ends of options."""
    return options + bytes(-len(options) % 4)


def addresses(*texts: str) -> bytes:
    """Several addresses in a row."""
    return b"".join(ipaddress.ip_address(text).packed for text in texts)


def cases() -> list[Case]:
    """Every case, in the file's order."""
    groups: list[Callable[[], Iterator[Case]]] = [
        algorithms, ipv4_fields, ipv4_options, ipv4_routes, ipv6_options, ipv6_routes, tunnels, old_format
    ]  # fmt: skip
    return [case for group in groups for case in group()]


def algorithms() -> Iterator[Case]:
    """Each algorithm in both families, with and without extended sequence numbers."""
    for algorithm in (*MACS, *KEYED, *BLOCK_MACS, *GMACS):
        for version, headers in ((4, Headers()), (6, v6())):
            for esn in (False, True):
                name = f"{algorithm} v{version}{' esn' if esn else ''}"
                yield Case(name, headers, algorithm=algorithm, settings={"esn": esn})
        yield Case(f"{algorithm} v4 padded as v6", algorithm=algorithm, settings={"wide_padding": True})


def ipv4_fields() -> Iterator[Case]:
    """TOS, flags, TTL by RFC 4302, and by the two settings of the manual page."""
    base = Headers(class_=0xB9, ident=0x1234, fragment=0x4000, hop_limit=17)
    yield Case("every field set", base, changed(base, class_=0x03, fragment=0, hop_limit=1))
    yield Case("ah_cleartos 0", base, settings={"clear_tos": False})
    for mask in (0x4000, 0x1FFF, 0xE000, 0xFFFF):
        yield Case(f"ah_offsetmask {mask:#06x}", base, settings={"offset_mask": mask})
    # Only the bit that the mask lets pass is in the ICV: the reserved one may change.
    reserved = changed(base, fragment=0xC000)
    yield Case("ah_offsetmask 0x4000, evil bit", base, reserved, settings={"offset_mask": 0x4000})
    yield Case("both settings", base, settings={"clear_tos": False, "offset_mask": 0xFFFF})


def ipv4_options() -> Iterator[Case]:
    """Appendix A1, row by row."""
    for kind in (130, 133, 134, 148, 149):
        option = padded(bytes([kind, 4, 0xDE, 0xAD]))
        yield Case(f"option {kind} immutable", Headers(options=option))
    for kind in (7, 10, 11, 12, 15, 25, 68, 82, 136, 142, 144, 145, 147, 150, 151, 152, 205, 222, 255):
        sent = padded(bytes([kind, 6, 5, 1, 2, 3]))
        arrived = padded(bytes([kind, 6, 9, 7, 8, 9]))
        yield Case(f"option {kind} mutable", Headers(options=sent), Headers(options=arrived))
    mixed = bytes([1, 148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 1, 68, 8, 5, 0, 0, 0, 0, 0])
    later = bytes([1, 148, 4, 0, 0, 7, 7, 8, 9, 9, 9, 9, 1, 68, 8, 9, 0, 1, 2, 3, 4])
    yield Case("options mixed", Headers(options=padded(mixed)), Headers(options=padded(later)))
    yield Case("bytes behind the end of options", Headers(options=bytes([1, 0, 7, 3, 5, 6, 7, 8])))
    yield Case("forty bytes of options", Headers(options=bytes([1] * 36 + [148, 4, 0, 0])))


def ipv4_routes() -> Iterator[Case]:
    """Source routes: the destination is the route's last address, whoever the packet goes to next."""
    first, second, last = "203.0.113.1", "203.0.113.2", V4[1]
    for kind, name in ((131, "loose"), (137, "strict")):
        sent = bytes([1, kind, 11, 4]) + addresses(second, last)
        arrived = bytes([1, kind, 11, 12]) + addresses(first, second)
        yield Case(
            f"{name} source route",
            Headers(destination=first, options=sent),
            Headers(destination=last, options=arrived),
        )
        done = Headers(options=bytes([kind, 11, 12]) + addresses(first, second) + b"\0")
        yield Case(f"{name} source route at its end", done)
        half = Headers(destination=second, options=bytes([kind, 11, 8]) + addresses(first, last) + b"\1")
        end = Headers(destination=last, options=bytes([kind, 11, 12]) + addresses(first, second) + b"\1")
        yield Case(f"{name} source route half way", half, end)


def ipv6_options() -> Iterator[Case]:
    """Options by the third bit of their type; a fragment header of a whole packet does not count."""
    base = v6(class_=0xB8, flow=0x12345, hop_limit=9)
    yield Case("v6 every field set", base)
    fixed = bytes([5, 2, 0, 0, 1, 0])
    moving = bytes([0x3E, 4, 1, 2, 3, 4])
    moved = bytes([0x3E, 4, 9, 9, 9, 9])
    mixed = bytes([0, 0x1E, 3, 7, 7, 7, 1, 0, 0xFE, 4, 1, 2, 3, 4])
    remixed = bytes([0, 0x1E, 3, 7, 7, 7, 1, 0, 0xFE, 4, 4, 3, 2, 1])
    for kind, name in ((0, "hop-by-hop"), (DESTINATION_OPTIONS, "destination")):
        yield Case(f"{name} immutable", v6(extensions=((kind, fixed),)))
        for what, sent, arrived in (("mutable", moving, moved), ("mixed", mixed, remixed)):
            yield Case(f"{name} {what}", v6(extensions=((kind, sent),)), v6(extensions=((kind, arrived),)))
    both = v6(extensions=((0, fixed), (DESTINATION_OPTIONS, moving)))
    yield Case("hop-by-hop and destination", both, v6(extensions=((0, fixed), (DESTINATION_OPTIONS, moved))))
    # Everything behind AH is as it was sent, mutable or not (RFC 4302 section 3.3.3).
    yield Case(
        "destination behind AH", next_header=DESTINATION_OPTIONS, headers=v6(), behind=b"\x11\0" + moving
    )
    whole = (FRAGMENT, struct.pack(">HI", 0, 0xCAFEF00D))
    yield Case("atomic fragment", v6(extensions=(whole,)), v6(extensions=(whole,)))
    other = (FRAGMENT, struct.pack(">HI", 0, 0x0BADCAFE))
    yield Case(
        "atomic fragment behind options",
        v6(extensions=((0, moving), whole)),
        v6(extensions=((0, moved), other)),
    )


def ipv6_routes() -> Iterator[Case]:
    """Routing headers: as they are at the end, with no segment left."""
    hops = [f"2001:db8:{number}::9" for number in (1, 2, 3)]
    final = V6[1]
    for count in (1, 2, 3):
        way = [*hops[:count], final]
        sent = bytes([0, count]) + bytes(4) + addresses(*way[1:])
        arrived = bytes([0, 0]) + bytes(4) + addresses(*way[:-1])
        yield Case(
            f"routing type 0, {count} left",
            Headers(V6[0], way[0], extensions=((ROUTING, sent),)),
            v6(extensions=((ROUTING, arrived),)),
        )
    half = bytes([0, 1]) + bytes(4) + addresses(hops[0], final)
    end = bytes([0, 0]) + bytes(4) + addresses(hops[0], hops[1])
    yield Case(
        "routing type 0, half way",
        Headers(V6[0], hops[1], extensions=((ROUTING, half),)),
        v6(extensions=((ROUTING, end),)),
    )
    home = bytes([2, 1]) + bytes(4) + addresses(final)
    there = bytes([2, 0]) + bytes(4) + addresses(hops[0])
    yield Case(
        "routing type 2",
        Headers(V6[0], hops[0], extensions=((ROUTING, home),)),
        v6(extensions=((ROUTING, there),)),
    )
    done = bytes([4, 0, 0, 0, 0, 0]) + addresses(final)
    yield Case("routing type 4, none left", v6(extensions=((ROUTING, done),)))


def tunnels() -> Iterator[Case]:
    """All four pairs of families: the inner packet is payload to the last bit."""
    for outer_version, outer in ((4, Headers(class_=0xB8, fragment=0x4000, ident=9)), (6, v6(class_=0xB8))):
        for inner_version, inner in (
            (4, Headers("10.1.0.1", "10.2.0.1")),
            (6, Headers("fd01::1", "fd02::1")),
        ):
            next_header = 4 if inner_version == 4 else 41
            yield Case(f"v{inner_version} in v{outer_version}", outer, next_header=next_header, inner=inner)


def old_format() -> Iterator[Case]:
    """RFC 1826: no sequence number, the whole digest; with the settings that such peers ask for."""
    for algorithm in (*MACS, *KEYED):
        for version, headers in ((4, Headers()), (6, v6())):
            yield Case(f"old {algorithm} v{version}", headers, algorithm=algorithm, settings={"old": True})
    settings = {"old": True, "clear_tos": False, "offset_mask": 0xFFFF}
    yield Case("old, both settings", Headers(class_=0xB8, fragment=0x4000), settings=settings)
