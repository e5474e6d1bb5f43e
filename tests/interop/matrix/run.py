"""Runs combinations between an engine of ours and a kernel: first everything goes out, then the peer reports.

No verdict may be made here: judge.py makes them.
Answers to: docs/interop.md for what a cell is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import sallet
from interop.matrix.combinations import SIZES, Combination
from interop.matrix.host import Reassembly, cut, told_mtu
from interop.matrix.judge import Ledger, Result
from interop.matrix.kernel import Kernel
from interop.matrix.payload import DATA_PORT, WIRE_BYTES, body
from interop.matrix.sides import add_to_engine

AT_ONCE = 200
"""So many combinations are configured together: each policy has to be found among the others'."""


class Runner:
    """An engine beside a kernel."""

    def __init__(self, kernel: Kernel, seed: int, sizes: Sequence[str] = tuple(SIZES)) -> None:
        self._kernel, self._seed, self._sizes = kernel, seed, tuple(sizes)
        self._errors = kernel.errors()
        """The kernel's counters, as they were after the last combination."""
        self.engine = self._engine()
        """The engine of the combinations that were configured last."""

    def run(
        self, combinations: Sequence[Combination], advance: Callable[[], None], rounds: int = 1
    ) -> Iterator[Result]:
        """Try combinations one after the other, each so many times; `advance` is called after each time."""
        for first in range(0, len(combinations), AT_ONCE):
            together = combinations[first : first + AT_ONCE]
            self.engine = self._engine()
            refused = self._kernel.configure(together)
            for combination in together:
                try:
                    add_to_engine(self.engine, combination)
                except sallet.EngineError as error:
                    refused.setdefault(combination.number, f"the engine: {error}")
            for combination in (each for each in together for _ in range(rounds)):
                yield self._one(self.engine, combination, refused.get(combination.number))
                advance()

    def _engine(self) -> sallet.Engine:
        seed = hashlib.sha256(f"matrix {self._seed}".encode()).digest()
        engine = sallet.Engine(seed=seed)
        engine.configure("default_policy", "discard")
        engine.configure("path_mtu", WIRE_BYTES)
        if "cut_encapsulated" in engine.config():
            engine.configure("cut_encapsulated", True)
        return engine

    def _one(self, engine: sallet.Engine, combination: Combination, refused: str | None) -> Result:
        ledger = Ledger(combination, self._sizes, engine.stats())
        if refused is not None:
            return ledger.refused(refused)
        ours, theirs = combination.ends
        for size in self._sizes:
            length = combination.payload_bytes(size)
            data = body(combination.number, length, outbound=True)
            self._send(engine, sallet.udp_packet(ours, theirs, DATA_PORT, DATA_PORT, data), ledger, size)
            self._kernel.order(
                do="send", number=combination.number, size=length, source=theirs, destination=ours
            )
        self._kernel.order(do="report", number=combination.number, expected=len(self._sizes))
        host = Reassembly()
        while isinstance(said := self._kernel.receive(), bytes):
            outcome = engine.inbound(said)
            ledger.arrived(said, outcome)
            for packet in outcome.delivered:
                if (whole := host.whole(packet)) is not None:
                    ledger.delivered(whole)
        new = {name: count - self._errors.get(name, 0) for name, count in said["errors"].items()}
        self._errors = said["errors"]
        ledger.reported(said["received"], {name: count for name, count in new.items() if count})
        return ledger.result(engine.stats())

    def _send(self, engine: sallet.Engine, packet: bytes, ledger: Ledger, size: str) -> None:
        """Send as a host does: whole, and in pieces once it is told that this is too long."""
        outcome = engine.outbound(packet)
        outcomes = [outcome]
        told = [mtu for answer in outcome.delivered if (mtu := told_mtu(answer)) is not None]
        if told:
            ledger.told()
            outcomes = [engine.outbound(piece) for piece in cut(packet, told[0])]
        wire = [packet for outcome in outcomes for packet in outcome.transmitted]
        ledger.sent(size, wire, [outcome.reason for outcome in outcomes if outcome.reason is not None])
        for sealed in wire:
            self._kernel.send(sealed)
