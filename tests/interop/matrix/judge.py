"""The verdict on one combination: each direction and size is a cell; counters on both sides must not move.

No socket may enter.
Answers to: the kernel's documentation, xfrm_proc (its counters); `sallet.Stats` (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sallet
from interop.matrix.combinations import DIRECTIONS, LONG, Combination
from interop.matrix.host import shown
from interop.matrix.payload import DATA_PORT, ENCAP_PORT, WIRE_BYTES, body

OUTBOUND, INBOUND = DIRECTIONS
Cell = tuple[str, str]
"""Direction and size."""
_UDP_HEADER_BYTES = 8
_WIRE_PROTOCOLS = {"ah": 51, "esp": 50, "ipcomp": 108, "esp-in-udp": 17, "ah+esp": 51, "ipcomp+esp": 50}
_UNCOMPRESSED = {("transport", 4): 17, ("transport", 6): 17, ("tunnel", 4): 4, ("tunnel", 6): 41}
"""What stands in place of IPComp where nothing would become shorter (RFC 3173 §2.2)."""


@dataclass
class Result:
    """What became of one combination."""

    combination: Combination
    cells: int
    failures: dict[Cell, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    """Differences of the kernel's error counters and of our drop counters."""

    @property
    def passed(self) -> int:
        """Count the cells that passed: none does where a counter moved, as nobody knows whose it was."""
        return 0 if self.counters else self.cells - len(self.failures)

    @property
    def is_good(self) -> bool:
        """Say whether everything passed."""
        return self.passed == self.cells

    def words(self) -> list[str]:
        """Name what failed, a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for (direction, size), reason in self.failures.items():
            by_reason.setdefault(reason, []).append(f"{direction} {size}")
        lines = [f"{', '.join(cells)}: {reason}" for reason, cells in by_reason.items()]
        lines += [f"counter {name} moved by {count}" for name, count in self.counters.items()]
        return [f"{self.combination}: {line}" for line in lines]


class Ledger:
    """Collects what is seen of one combination."""

    def __init__(self, combination: Combination, sizes: Sequence[str], before: sallet.Stats) -> None:
        self._combination = combination
        self._bytes = {size: combination.payload_bytes(size) for size in sizes}
        self._before = before
        self._told = 0
        self._problems: dict[Cell, str] = {}
        self._got: set[Cell] = set()
        self._strange: list[str] = []
        self._drops: list[str] = []
        self._arrived = 0
        self._errors: dict[str, int] = {}

    def refused(self, words: str) -> Result:
        """Fail everything: a side did not take the SAs or the policies."""
        cells = {(direction, size): words for direction in DIRECTIONS for size in self._bytes}
        return Result(self._combination, len(cells), cells)

    def told(self) -> None:
        """Note that the engine answered that a packet was too long, which it counts as a drop."""
        self._told += 1

    def sent(self, size: str, wire: Sequence[bytes], reasons: Sequence[str]) -> None:
        """Look at what the engine put on the wire for one datagram."""
        problem = self._wire_problem(wire) if wire else "nothing was sent"
        if len(wire) == 1 and size == LONG:
            problem = "nothing was cut"
        if problem or reasons:
            self._problems[OUTBOUND, size] = "; ".join(filter(None, [problem, *reasons]))

    def arrived(self, packet: bytes, outcome: sallet.Outcome) -> None:
        """Look at what the kernel put on the wire, and at what the engine says of it."""
        self._arrived += 1
        problem = self._wire_problem([packet])
        if problem is not None:
            self._strange.append(problem)
        if outcome.reason is not None:
            self._drops.append(outcome.reason)

    def delivered(self, packet: bytes) -> None:
        """Compare a whole packet of the protected side with what the kernel was to send, to the byte."""
        ours, theirs = self._combination.ends
        for size, length in self._bytes.items():
            data = body(self._combination.number, length, outbound=False)
            wanted = sallet.udp_packet(theirs, ours, DATA_PORT, DATA_PORT, data)
            if packet[-_UDP_HEADER_BYTES - length :] == wanted[-_UDP_HEADER_BYTES - length :]:
                self._got.add((INBOUND, size))
                return
        self._strange.append(f"delivered, but nobody sent it: {len(packet)} bytes")

    def reported(self, received: Sequence[tuple[int, int]], errors: dict[str, int]) -> None:
        """Take the other side's word for what arrived there, and for its counters."""
        self._errors = errors
        sizes = {length: size for size, length in self._bytes.items()}
        for number, length in received:
            if number == self._combination.number and length in sizes:
                self._got.add((OUTBOUND, sizes[length]))
            else:
                self._strange.append(f"the kernel got {length} bytes that were not sent now, or were changed")

    def result(self, after: sallet.Stats) -> Result:
        """Judge."""
        counters = {f"kernel {name}": count for name, count in self._errors.items()}
        for name, count in after.drops.items():
            more = count - self._before.drops[name] - (self._told if name == "OutTooBig" else 0)
            if more:
                counters[f"ours {name}"] = more
        cells = [(direction, size) for direction in DIRECTIONS for size in self._bytes]
        failures = {cell: why for cell in cells if (why := self._why(cell, after)) is not None}
        return Result(self._combination, len(cells), failures, counters)

    def _why(self, cell: Cell, after: sallet.Stats) -> str | None:
        if cell in self._problems:
            return self._problems[cell]
        if cell not in self._got:
            clues = [*self._strange, *(self._drops if cell[0] == INBOUND else [])]
            return "did not arrive" + (f" ({', '.join(sorted(set(clues)))})" if clues else "")
        if self._strange:
            return ", ".join(sorted(set(self._strange)))
        if cell == (INBOUND, LONG) and self._arrived <= len(self._bytes):
            return "nothing was cut"
        return self._not_compressed(cell, after)

    def _not_compressed(self, cell: Cell, after: sallet.Stats) -> str | None:
        """See whether IPComp did anything: all but the small datagrams become shorter, or pieces of them."""
        if "ipcomp" not in self._combination.protection:
            return None
        name = "ipcomp_compressed" if cell[0] == OUTBOUND else "ipcomp_inflated"
        count = after.passed[name][0] - self._before.passed[name][0]
        expected = sum(size != "small" for size in self._bytes)
        return None if count >= expected else f"{name}: {count} packets instead of {expected}"

    def _wire_problem(self, wire: Sequence[bytes]) -> str | None:
        """Say what is wrong with packets as a listener sees them."""
        combination = self._combination
        allowed = {_WIRE_PROTOCOLS[combination.protection]}
        if combination.protection == "ipcomp":
            allowed.add(_UNCOMPRESSED[combination.frame.mode, combination.frame.inner])
        for packet in wire:
            protocol, port = shown(packet)
            if protocol not in allowed:
                return f"protocol {protocol} on the wire"
            if combination.protection == "esp-in-udp" and port not in (ENCAP_PORT, None):
                return f"UDP port {port} on the wire"
            if len(packet) > WIRE_BYTES:
                return f"{len(packet)} bytes on a wire of {WIRE_BYTES}"
        return None
