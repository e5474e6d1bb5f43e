"""Keepalives end with their SA, and those of others open nothing.

No packet but keepalives may be expected.
Answers to: RFC 3948 sections 2.3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import sallet
from hostile.sender import PEER, UDP, VICTIM, Sa, both_families, ip, udp
from hostile.victim import Victim

INTERVAL = 20
NATS = both_families(Sa(encap=(4500, 4500)))


def behind_nat(sa: Sa, *, spis: tuple[int, ...] = (0x1001,)) -> sallet.Engine:
    """An engine behind a NAT with SAs to the peer."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    for spi in spis:
        engine.sad_add(sa.params(spi=spi, keepalive=True))
    return engine


def removals(sa: Sa) -> dict[str, Callable[[sallet.Engine], object]]:
    """Every way in which an SA goes."""
    return {
        "flush": lambda engine: engine.sad_flush(),
        "delete": lambda engine: engine.sad_delete(0x1001, "esp", sa.destination),
        "pair": lambda engine: engine.sad_delete_pair("esp", sa.source, sa.destination),
    }


@pytest.mark.bug_row(36)
@pytest.mark.parametrize("sa", NATS, ids=str)
@pytest.mark.parametrize("way", ["flush", "delete", "pair"])
@pytest.mark.parametrize("moment", ["before", "due", "made"])
def test_no_keepalive_after_the_end(sa: Sa, way: str, moment: str) -> None:
    """Row 36: the SA goes before a keepalive is due, when it is due, and when it was made but not fetched."""
    engine = behind_nat(sa)
    engine.advance(INTERVAL)
    engine.handle_timeout()
    assert len(engine.take_transmits()) == 1, "while it lives there is one"
    engine.advance(INTERVAL if moment != "before" else INTERVAL / 2)
    if moment == "made":
        engine.handle_timeout()
    removals(sa)[way](engine)
    for _ in range(5):
        engine.advance(INTERVAL)
        engine.handle_timeout()
        assert engine.take_transmits() == []
        assert engine.poll_timeout() is None, "a timer was armed again"


@pytest.mark.bug_row(36)
@pytest.mark.parametrize("sa", NATS, ids=str)
def test_an_sa_that_ends_by_itself_keeps_nothing_alive(sa: Sa) -> None:
    """Row 36: the hard end falls on the moment of a keepalive."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    engine.sad_add(sa.params(keepalive=True, hard=sallet.Limits(add_secs=INTERVAL)))
    for _ in range(5):
        engine.advance(INTERVAL)
        engine.handle_timeout()
        assert engine.take_transmits() == []
    assert engine.sad_dump() == []
    assert engine.poll_timeout() is None


@pytest.mark.bug_row(36)
@pytest.mark.parametrize("sa", NATS, ids=str)
def test_of_two_sas_the_other_goes_on(sa: Sa) -> None:
    """Row 36: one mapping, two SAs: it is kept alive until the second has gone, once each time."""
    engine = behind_nat(sa, spis=(0x1001, 0x1002))
    for left in (2, 1):
        engine.advance(INTERVAL)
        engine.handle_timeout()
        assert len(engine.take_transmits()) == 1, f"{left} SAs"
        engine.sad_delete(0x1000 + left, "esp", sa.destination)
    engine.advance(INTERVAL)
    engine.handle_timeout()
    assert engine.take_transmits() == []


@pytest.mark.bug_row(36)
@pytest.mark.parametrize("sa", NATS, ids=str)
def test_keepalives_of_others_open_nothing(sa: Sa) -> None:
    """Row 36: keepalives from any port are swallowed, and one byte that is none is dropped."""
    victim = Victim(sa)
    for port in (4500, 1, 65_535):
        for byte in range(256):
            packet = ip(PEER[sa.family], VICTIM[sa.family], UDP, udp(port, 4500, bytes([byte])))
            victim.refuses(packet, "Keepalive" if byte == 0xFF else "InEncapMismatch")
    assert victim.engine.take_events() == []
    victim.survives(1)
