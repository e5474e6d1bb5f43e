"""The engine under attack: after every packet its books must balance, and good packets must still pass.

No packet may be made here: `sender` makes them.
Answers to: ARCHITECTURE.md C and D (every exit increments exactly one cell).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sallet
from hostile.sender import PEER_NET, VICTIM_NET, Sa, good

BEFORE_ICV = ("InMalformed", "InNoSa", "InFragment", "Replay", "AuthFailed", "InEncapMismatch", "InExpired")
"""Reasons that a packet meets before anything in it is believed."""
AFTER_ICV = ("BadPadding", "InPolicyViolation", "InEcnViolation", "InTooDeep", "Dummy")

DEEPEST = 16
"""How many SAs are undone for one packet."""


class Victim:
    """An engine with SAs from the peer, and policies that ask for them."""

    def __init__(
        self,
        *sas: Sa,
        configuration: dict[str, Any] | None = None,
        policies: Sequence[sallet.PolicyParams] | None = None,
        **changes: Any,
    ) -> None:
        self.sas = sas
        self.engine = sallet.Engine(seed=bytes(32), clock="manual", configuration=configuration)
        for sa in sas:
            self.engine.sad_add(sa.params(**changes))
        for policy in required(sas) if policies is None else policies:
            self.engine.spd_add(policy)

    def judge(self, packet: bytes) -> sallet.Outcome:
        """Whatever becomes of the packet, exactly one counter says it and nobody is answered."""
        before = self.counters()
        outcome = self.engine.inbound(packet)
        moved = {name: now - before[name] for name, now in self.counters().items() if now != before[name]}
        opened = moved.pop("inbound_opened", 0)
        assert opened <= DEEPEST, "more SAs than may be nested"
        assert moved.pop("ipcomp_inflated", 0) <= 1, "inflated twice"
        passed = "inbound_delivered" if opened else "inbound_bypassed"
        exit = outcome.reason or ("inbound_held" if outcome.held else passed)
        assert moved == {"inbound_arrived": 1, exit: 1}, moved
        assert outcome.transmitted == [], "a packet was answered"
        assert len(outcome.delivered) == (0 if outcome.reason or outcome.held else 1)
        return outcome

    def refuses(self, packet: bytes, *reasons: str) -> str:
        """The packet goes nowhere, for one of these reasons (if any is named); one that waits is "held"."""
        outcome = self.judge(packet)
        reason = outcome.reason or ("held" if outcome.held else "")
        assert reason, f"let through: {outcome.packet!r}"
        assert not reasons or reason in reasons, f"{reason}, expected one of {reasons}"
        return reason

    def accepts(self, packet: bytes) -> bytes:
        """The packet is delivered, alone."""
        outcome = self.judge(packet)
        assert outcome.reason is None, outcome.reason
        assert not outcome.held
        return outcome.delivered[0]

    def holds(self, packet: bytes) -> None:
        """The packet is a fragment that waits for others; nothing comes out."""
        self.refuses(packet, "held")

    def survives(self, sequence: int) -> None:
        """Every SA still opens a packet that keeps the rules."""
        for sa in self.sas:
            wire, plain = good(sa, sequence)
            assert self.accepts(wire) == plain, str(sa)

    def window_top(self, sa: Sa) -> int:
        """The highest sequence number that the SA believes."""
        view = self.engine.sad_lookup(sa.spi, sa.protocol, sa.destination)
        assert view
        assert view.window_top is not None
        return view.window_top

    def counters(self) -> dict[str, int]:
        """Every counter of packets by name."""
        stats = self.engine.stats()
        return stats.drops | {name: packets for name, (packets, _) in stats.passed.items()}


def required(sas: Sequence[Sa]) -> list[sallet.PolicyParams]:
    """Give the policies that let nothing in but what these SAs carry: one for each mode and family."""
    entries = {(sa.protocol, sa.mode, sa.family) for sa in sas}
    return [require(*entry) for entry in sorted(entries)]


def require(protocol: str, mode: str, family: int) -> sallet.PolicyParams:
    """One inbound entry; the tunnel's speaks for the network behind the peer."""
    sa = Sa(protocol=protocol, mode=mode, family=family)
    tunnel = mode == "tunnel"
    ends = (sa.source, sa.destination)
    template = sallet.Template(protocol, mode, "require", endpoints=ends if tunnel else None)
    selector = sallet.Selector(PEER_NET[family], VICTIM_NET[family]) if tunnel else sallet.Selector(*ends)
    return sallet.PolicyParams("in", selector, "protect", [template])
