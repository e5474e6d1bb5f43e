"""Two engines that share one SA from HERE to THERE, and the packet it protects.

No expectation may enter: what they do is judged where they are used.
Answers to: `python/sallet/_core.pyi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sallet import Engine, PolicyParams, SaParams, Selector, Template, udp_packet

if TYPE_CHECKING:
    from typing_extensions import Buffer

HERE, THERE = "192.0.2.1", "192.0.2.2"
FORTH, BACK = Selector(HERE, THERE), Selector(THERE, HERE)
GCM = ("aes-gcm-16", bytes(range(20)))
REQUIRE = Template("esp", "transport")
PACKET = udp_packet(HERE, THERE, 1000, 53, b"a question that nobody else should read")
SEED = bytes(range(32))


def sa_params(spi: int = 0x1000, source: str = HERE, destination: str = THERE, **changes: Any) -> SaParams:
    values: dict[str, Any] = {"protocol": "esp", "encryption": GCM, "replay_window": 64} | changes
    return SaParams(spi=spi, source=source, destination=destination, **values)


def sender(**changes: Any) -> Engine:
    """An engine that protects HERE to THERE by one SA."""
    made = Engine(clock="manual", seed=changes.pop("seed", SEED))
    made.sad_add(sa_params(**changes))
    made.spd_add(PolicyParams("out", FORTH, "protect", [REQUIRE]))
    return made


def receiver(**changes: Any) -> Engine:
    """The engine at the other end."""
    made = Engine(clock="manual", seed=SEED)
    made.sad_add(sa_params(**changes))
    made.spd_add(PolicyParams("in", FORTH, "protect", [REQUIRE]))
    return made


def sealed(engine: Engine, packet: Buffer = PACKET) -> bytes:
    outcome = engine.outbound(packet)
    assert outcome.packet, outcome.explanation
    return outcome.packet
