"""SAs that end: the right one, at the right moment, whatever else happens to it meanwhile.

No wall clock may enter: time is moved by hand.
Answers to: RFC 4301 section 4.4.2.1 (time and bytes, soft and hard), RFC 2367 section 3.1.8.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

import sallet
from hostile.oracle import SMALL_BLOCK_SUITES
from hostile.sender import PEER, UDP, VICTIM, Sa, both_families, good, sealed
from hostile.victim import Victim, required

SAS = 1000
FOREVER = 1 << 60


@dataclass
class Expected:
    """When an SA will have ended, as seconds since the start."""

    soft: int
    hard: int


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
# # lifetimes in time and in bytes hold at once; the first to end wins, and a hard end stops the SA
@pytest.mark.bug_row(52)
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_sas_end_when_they_should(seed: int) -> None:
    """Row 52: random lifetimes and deletions; after each step the SAs are those of the oracle."""
    noise, engine, now = random.Random(seed), sallet.Engine(seed=bytes(32), clock="manual"), 0
    expected: dict[int, Expected] = {}
    for spi in range(0x1000, 0x1000 + SAS):
        expected[spi] = _add(engine, noise, spi, now)
    told: list[tuple[int, bool]] = []
    while expected:
        due = min(min(each.soft, each.hard) for each in expected.values())
        step = noise.choice((max(due - now, 1), noise.randrange(1, 40)))
        engine.advance(step)
        now += step
        events = [event for event in engine.take_events() if isinstance(event, sallet.ExpireEvent)]
        heard = {(event.sa.spi, event.hard) for event in events}
        assert len(heard) == len(events), "an end was told twice"
        hard = {spi for spi, each in expected.items() if each.hard <= now}
        soft = {spi for spi, each in expected.items() if each.soft <= now < each.hard}
        assert {spi for spi, is_hard in heard if is_hard} == hard
        assert {spi for spi, is_hard in heard if not is_hard} - hard == soft
        told += heard
        for spi in hard:
            del expected[spi]
        for spi in soft:
            expected[spi].soft = FOREVER
        for spi in noise.sample(sorted(expected), min(len(expected), 3)):
            sa = Sa(spi=spi)
            engine.sad_delete(spi, "esp", sa.destination)
            del expected[spi]
            if now < 2000 and noise.random() < 0.7:
                expected[spi] = _add(engine, noise, spi, now)
        assert {view.spi for view in engine.sad_dump()} == set(expected)
    assert len(told) > SAS


def _add(engine: sallet.Engine, noise: random.Random, spi: int, now: int) -> Expected:
    hard = noise.randrange(2, 900)
    soft = noise.randrange(1, hard) if noise.random() < 0.7 else 0
    limits = {"soft": sallet.Limits(add_secs=soft), "hard": sallet.Limits(add_secs=hard)}
    engine.sad_add(Sa(spi=spi).params(**limits))
    return Expected(now + soft if soft else FOREVER, now + hard)


@pytest.mark.bug_row(52)
@pytest.mark.parametrize("family", [4, 6])
def test_the_packet_ends_its_own_sa(family: int) -> None:
    """Row 52: fifty SAs with limits in packets, in a random order; each ends with its own last packet."""
    noise = random.Random(family)
    limits = {spi: noise.randrange(1, 9) for spi in range(0x1000, 0x1032)}
    sas = {spi: Sa(spi=spi, family=family) for spi in limits}
    victim = Victim(policies=required([Sa(family=family)]))
    for spi, sa in sas.items():
        victim.engine.sad_add(sa.params(hard=sallet.Limits(packets=limits[spi])))
    order = [spi for spi, count in limits.items() for _ in range(count)]
    noise.shuffle(order)
    used: dict[int, int] = {}
    for spi in order:
        used[spi] = used.get(spi, 0) + 1
        victim.accepts(good(sas[spi], used[spi])[0])
        alive = {view.spi for view in victim.engine.sad_dump()}
        assert alive == {each for each, count in limits.items() if used.get(each, 0) < count}
    for spi, sa in sas.items():
        victim.refuses(good(sa, used[spi] + 1)[0], "InNoSa")


@pytest.mark.bug_row(62)
@pytest.mark.parametrize("sa", both_families(*(Sa(suite=suite) for suite in SMALL_BLOCK_SUITES)), ids=str)
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_small_block_ends_by_bytes(sa: Sa, direction: str) -> None:
    """Row 62: a limit in bytes ends 3DES, DES, Blowfish and CAST-128, softly before, and both ways."""
    victim = Victim(sa, soft=sallet.Limits(bytes=300), hard=sallet.Limits(bytes=1000))
    engine = victim.engine
    template = sallet.Template("esp", "transport", "require")
    out = sallet.Selector(sa.source, sa.destination)
    engine.spd_add(sallet.PolicyParams("out", out, "protect", [template]))
    packet = sallet.udp_packet(sa.source, sa.destination, 9, 9, bytes(92))
    reasons = []
    for sequence in range(1, 40):
        outcome = engine.outbound(packet) if direction == "outbound" else engine.inbound(_long(sa, sequence))
        reasons.append(outcome.reason)
    carried = reasons.index(next(reason for reason in reasons if reason))
    assert 1 < carried <= 10, "1000 bytes, a hundred in each"
    assert set(reasons[carried:]) <= {"OutNoSa", "OutExpired", "InNoSa", "InExpired"}
    ends = [event.hard for event in engine.take_events() if isinstance(event, sallet.ExpireEvent)]
    assert ends == [False, True]


def _long(sa: Sa, sequence: int) -> bytes:
    packet = sallet.udp_packet(sa.source, sa.destination, 9, 9, bytes(92))
    return sealed(sa, packet[20 if sa.family == 4 else 40 :], UDP, sequence)


@pytest.mark.bug_row(10)
@pytest.mark.bug_row(48)
@pytest.mark.timeout(60)
def test_everything_at_once() -> None:
    """Rows 10 and 48: packets both ways while SAs are added, changed, deleted, flushed, and expire."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    template = sallet.Template("esp", "transport", "require")
    for direction, ends in (("in", (PEER[4], VICTIM[4])), ("out", (PEER[4], VICTIM[4]))):
        engine.spd_add(sallet.PolicyParams(direction, sallet.Selector(*ends), "protect", [template]))
    spis = range(0x1000, 0x1008)
    wires = [good(Sa(spi=spi, window=0), number)[0] for number in range(1, 40) for spi in spis]
    packet = sallet.udp_packet(PEER[4], VICTIM[4], 9, 9, b"out")
    stop, noise = threading.Event(), random.Random(10)
    passed = {"in": 0, "out": 0}

    def receive() -> None:
        outcomes = engine.inbound_batch(wires)
        allowed = {None, "InNoSa", "InExpired", "InPolicyViolation"}
        assert {outcome.reason for outcome in outcomes} <= allowed
        passed["in"] += sum(outcome.reason is None for outcome in outcomes)

    def send() -> None:
        outcomes = engine.outbound_batch([packet] * 200)
        assert {outcome.reason for outcome in outcomes} <= {None, "OutNoSa", "OutExpired"}
        passed["out"] += sum(outcome.reason is None for outcome in outcomes)

    def change() -> None:
        sa = Sa(spi=noise.choice(spis), window=0)
        limits = {"hard": sallet.Limits(add_secs=noise.randrange(1, 4), packets=noise.choice((0, 3, 500)))}
        with suppress(sallet.EngineError):
            noise.choice((engine.sad_add, engine.sad_update))(sa.params(**limits))
        with suppress(sallet.EngineError):
            if noise.random() < 0.2:
                engine.sad_delete(sa.spi, "esp", sa.destination)
        if noise.random() < 0.01:
            engine.sad_flush()

    def tick() -> None:
        engine.advance(0.25)
        engine.handle_timeout()
        engine.take_events()
        engine.sad_dump()

    def until_stopped(work: Callable[[], None]) -> int:
        rounds = 0
        while not stop.is_set():
            work()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(6) as threads:
        running = [
            threads.submit(until_stopped, work) for work in (receive, send, change, tick, receive, send)
        ]
        stop.wait(4)
        stop.set()
        assert all(thread.result() for thread in running)
    assert min(passed.values()) > 0
    stats = engine.stats()
    went = {name: packets for name, (packets, _) in stats.passed.items()}
    drops = sum(count for name, count in stats.drops.items())
    left = (
        went["inbound_delivered"]
        + went["inbound_bypassed"]
        + went["outbound_protected"]
        + went["outbound_bypassed"]
    )
    assert went["inbound_arrived"] + went["outbound_arrived"] == left + drops
    assert went["outbound_bypassed"] == went["inbound_bypassed"] == 0
