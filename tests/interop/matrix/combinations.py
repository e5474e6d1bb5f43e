"""Every combination of the matrix: suite, protection, mode, families, ESN; and the SAs that it asks for.

No engine and no kernel may enter: both are configured from what is described here.
Answers to: RFC 4301 section 4.4 for what an SA is; the dimensions are those of docs/interop.md.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from interop.matrix.algorithms import Row, Shared, Suite

PROTECTIONS = ("ah", "esp", "ipcomp", "esp-in-udp", "ah+esp", "ipcomp+esp")
LONG = "fragments"
SIZES = {"small": 40, "1400": 1400, LONG: 3000}
"""Lengths: of a UDP payload, and in the middle of the whole packet, which leaves room for most headers."""
DIRECTIONS = ("ours to kernel", "kernel to ours")
OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
"""Our address and the kernel's, at the ends of tunnels."""
_HEADERS = {4: 28, 6: 48}


@dataclass(frozen=True)
class Frame:
    """Mode and families."""

    mode: str
    inner: int
    outer: int

    def __str__(self) -> str:
        return f"{self.mode} v{self.inner}" + (f" in v{self.outer}" if self.mode == "tunnel" else "")


FRAMES = (
    Frame("transport", 4, 4),
    Frame("transport", 6, 6),
    Frame("tunnel", 4, 4),
    Frame("tunnel", 6, 6),
    Frame("tunnel", 4, 6),
    Frame("tunnel", 6, 4),
)


@dataclass(frozen=True)
class Layer:
    """One SA of each direction."""

    protocol: str
    mode: str
    suite: Suite
    encap: bool = False


@dataclass(frozen=True)
class Combination:
    """One way to protect the traffic between two addresses; `number` makes everything in it unique."""

    number: int
    protection: str
    suite: Suite
    outside: Suite | None
    """Of the AH around ESP."""
    inside: Suite | None
    """Of the IPComp in ESP."""
    frame: Frame
    esn: bool
    turn: int
    """Which lengths of key are taken."""
    already_sent: int = 0
    """The sequence number that the kernel counts on from."""

    def __str__(self) -> str:
        keys = "/".join(str(row.bits(self.turn)) for row in self.suite.rows)
        around = f" in {self.outside}" if self.outside else ""
        esn = ", ESN" if self.esn else ""
        return f"{self.protection}, {self.suite} ({keys} bits of key){around}, {self.frame}{esn}"

    @property
    def ends(self) -> tuple[str, str]:
        """Our address and the kernel's, as the applications see them."""
        if self.frame.inner == 4:
            low = f"{self.number >> 8}.{self.number & 255}"
            return f"10.1.{low}", f"10.2.{low}"
        return f"fd00:1::{self.number:x}", f"fd00:2::{self.number:x}"

    @property
    def gateways(self) -> tuple[str, str]:
        """Our address and the kernel's, as the wire shows them."""
        return self.ends if self.frame.mode == "transport" else OUTER[self.frame.outer]

    @property
    def spi(self) -> int:
        """The SPI of every SA of this combination; it is low enough to be a CPI, too."""
        return 0x1000 + self.number

    def layers(self) -> list[Layer]:
        """Give the SAs, innermost first.

        A tunnel has one outer header, whatever stands in it, unless the families differ: then this kernel
        finds nothing but tunnels for what belongs around it, and there are two.
        """
        mode = self.frame.mode
        around = mode if self.frame.inner != self.frame.outer else "transport"
        protocol = self.protection if self.protection in ("ah", "ipcomp") else "esp"
        own = Layer(protocol, mode, self.suite, encap=self.protection == "esp-in-udp")
        if self.inside is not None:
            return [Layer("ipcomp", mode, self.inside), Layer("esp", around, self.suite)]
        if self.outside is not None:
            return [own, Layer("ah", around, self.outside)]
        return [own]

    def key(self, row: Row, layer: Layer, *, outbound: bool) -> bytes:
        """Make the key of one SA."""
        label = f"{self.number} {layer.protocol} {outbound} {row.name}".encode()
        return hashlib.shake_256(label).digest(row.bits(self.turn) // 8)

    def payload_bytes(self, size: str) -> int:
        """Give the length of the UDP payload that makes a packet of a named size."""
        return SIZES[size] - (_HEADERS[self.frame.inner] if size == "1400" else 0)


def every(shared: Shared) -> list[Combination]:
    """Make the whole matrix."""
    return [Combination(number, *described) for number, described in enumerate(_described(shared), 1)]


def _described(
    shared: Shared,
) -> Iterator[tuple[str, Suite, Suite | None, Suite | None, Frame, bool, int]]:
    around, compressions = shared.ah(), shared.ipcomp()
    for protection in PROTECTIONS:
        suites = {"ah": shared.ah(), "ipcomp": compressions}.get(protection, shared.esp())
        for row, suite in enumerate(suites):
            for turn, (frame, esn) in enumerate((frame, esn) for frame in FRAMES for esn in (False, True)):
                # The other SA's algorithm goes round, so that each row and each frame meets many of them.
                outside = around[(row + turn) % len(around)] if protection == "ah+esp" else None
                inside = compressions[turn % len(compressions)] if protection == "ipcomp+esp" else None
                if not esn or suite.authenticates:
                    yield protection, suite, outside, inside, frame, esn, turn


def sample(combinations: list[Combination], seed: int, each: int) -> list[Combination]:
    """Draw some of every protection in every frame, as far as there are so many."""
    drawn = random.Random(seed)
    strata: dict[tuple[str, Frame], list[Combination]] = {}
    for combination in combinations:
        strata.setdefault((combination.protection, combination.frame), []).append(combination)
    return [
        combination
        for stratum in strata.values()
        for combination in drawn.sample(stratum, min(each, len(stratum)))
    ]
