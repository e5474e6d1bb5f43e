"""The methods of the control connection: each reads the engine and answers with one document.

No socket and no set-up may enter; whatever changes the SPD or the SAD is PF_KEY's.
Answers to: `sallet status`, `sa ls`, `policy ls`, `drops`, `explain`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sallet import _core
from sallet.control import views
from sallet.failure import Failure

if TYPE_CHECKING:
    from sallet._core import Engine

ORDER = {"out": 0, "in": 1, "fwd": 2}
_TCP, _UDP = 6, 17
_PORT_PROTOCOLS = (_TCP, _UDP, 33, 132, 136)


class Methods:
    """The methods, bound to one engine; `status` and `guard_drops` are what only the daemon knows."""

    def __init__(
        self,
        engine: Engine,
        status: Callable[[], views.Json],
        guard_drops: Callable[[], list[views.Json]],
    ) -> None:
        self._engine, self._status, self._guard_drops = engine, status, guard_drops
        self._started = time.monotonic()

    def table(self) -> dict[str, Callable[..., Any]]:
        """Name the methods as clients call them."""
        return {
            "status": self.status,
            "personality": self.personality,
            "sa.list": self.sa_list,
            "policy.list": self.policy_list,
            "drops": self.drops,
            "explain": self.explain,
        }

    def status(self) -> views.Json:
        """What runs, how it is attached, and what went through."""
        stats = self._engine.stats()
        body: views.Json = {
            **self._status(),
            "uptime_secs": round(time.monotonic() - self._started, 3),
            "sas": len(self._engine.sad_moment()),
            "policies": len(self._engine.spd_dump()),
            "default_policy": self._engine.config()["default_policy"],
            "passed": views.passed(stats),
            "waiting_for_sa": stats.outbound_waiting,
            "dropped_packets": sum(stats.drops.values()),
            "events_dropped": stats.events_dropped,
        }
        return views.document("status", body)

    def personality(self) -> views.Json:
        """Whose manual the daemon follows; this costs nothing, however much it has."""
        status = self._status()
        return views.document("personality", {name: status[name] for name in ("personality", "dialect")})

    def sa_list(self, protocol: str | None = None) -> views.Json:
        """Every SA, in order of insertion."""
        return views.document(
            "sa-list", {"sas": [views.association(sa) for sa in self._engine.sad_dump(protocol)]}
        )

    def policy_list(self) -> views.Json:
        """Every SPD entry, in the order in which its direction is asked; sockets have theirs before."""
        entries = sorted(self._engine.spd_dump(), key=lambda p: (ORDER[p.direction], p.priority, p.serial))
        sockets = sorted(self._engine.pcb_dump(), key=lambda p: (ORDER[p.direction], p.serial))
        body = {"policies": [views.policy(each) for each in entries]}
        return views.document("policy-list", {**body, "sockets": [views.policy(each) for each in sockets]})

    def _entry(self, number: int) -> _core.PolicyView | None:
        """Find an SPD entry, or the policy of a socket."""
        sockets = (each for each in self._engine.pcb_dump() if each.id == number)
        return self._engine.spd_lookup(number) or next(sockets, None)

    def drops(self) -> views.Json:
        """Every drop counter of the engine, and of the guard: clear packets that never met the engine."""
        engine = [
            {"reason": name, "packets": count, "explanation": _core.explain_drop(name) or ""}
            for name, count in self._engine.stats().drops.items()
        ]
        return views.document("drops", {"engine": engine, "guard": self._guard_drops()})

    def explain(
        self,
        source: str,
        destination: str,
        direction: str = "out",
        next_layer: int = _UDP,
        ports: tuple[int, int] = (0, 0),
    ) -> views.Json:
        """What would become of a clear packet with these values, and which entry says so; nothing changes."""
        packet = _probe(source, destination, next_layer, (int(ports[0]), int(ports[1])))
        found = self._engine.explain(direction, packet)
        entry = self._entry(found.policy) if found.policy is not None else None
        body = {
            "packet": {
                "source": source,
                "destination": destination,
                "direction": direction,
                "next_layer": next_layer,
                "ports": list(ports),
            },
            "verdict": views.verdict(found),
            "entry": views.policy(entry) if entry is not None else None,
            "default_policy": self._engine.config()["default_policy"],
        }
        return views.document("explain", body)


def _probe(source: str, destination: str, next_layer: int, ports: tuple[int, int]) -> bytes:
    """Make a packet that has those selector values."""
    try:
        ends = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    except ValueError as error:
        raise Failure(
            str(error), kind="usage", next_step="give two addresses, not names or prefixes"
        ) from error
    if ends[0].version != ends[1].version:
        raise Failure(
            "the addresses are of different families", where=f"{source} {destination}", kind="usage"
        )
    if next_layer in _PORT_PROTOCOLS:
        body = ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big") + bytes(16)
    elif next_layer in (1, 58):
        body = bytes([ports[0] & 0xFF, ports[1] & 0xFF]) + bytes(6)
    else:
        body = bytes(8)
    packet: bytes = _core.ip_packet(source, destination, next_layer, body)
    return packet
