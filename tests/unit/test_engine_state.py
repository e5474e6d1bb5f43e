"""`sallet.Engine` from Python: the two databases, the events, the clock.

No packet's fate may enter beyond what moves a counter or a lifetime.
Answers to: `python/sallet/_core.pyi`, RFC 4301 section 4.4, RFC 2367 sections 3.1.6 and 3.1.8.
"""

from __future__ import annotations

import select
import time
from ipaddress import ip_address

import pytest

from sallet import (
    AcquireEvent,
    Engine,
    ExpireEvent,
    Limits,
    PolicyExpireEvent,
    PolicyParams,
)
from unit.one_sa import (
    BACK,
    FORTH,
    HERE,
    PACKET,
    REQUIRE,
    SEED,
    THERE,
    receiver,
    sa_params,
    sealed,
    sender,
)

# --- databases ---------------------------------------------------------------------------------------


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
# # an SAD entry has SPI, counter, overflow flag, window, keys, lifetimes, mode and ends
def test_an_sa_is_seen_as_it_was_added() -> None:
    engine = Engine(clock="manual")
    soft, hard = Limits(bytes=5, use_secs=6), Limits(packets=7, add_secs=8)
    added = engine.sad_add(
        sa_params(
            mode="tunnel",
            reqid=9,
            encryption=("aes-cbc", bytes(16)),
            authentication=("hmac-sha1-96", bytes(20)),
            esn=True,
            cycle_sequence=True,
            soft=soft,
            hard=hard,
            encap=(4500, 4501),
            flags=3,
            owner=4,
        )
    )
    for view in (added, engine.sad_lookup(0x1000, "esp", THERE), engine.sad_dump("esp")[0]):
        assert view is not None
        assert (view.spi, view.protocol, view.mode, view.state) == (0x1000, "esp", "tunnel", "mature")
        assert (view.source, view.destination) == (ip_address(HERE), ip_address(THERE))
        assert (view.encryption, view.authentication) == (
            ("aes-cbc", bytes(16)),
            ("hmac-sha1-96", bytes(20)),
        )
        assert (view.reqid, view.replay_window, view.esn, view.cycle_sequence) == (9, 64, True, True)
        assert (view.soft, view.hard, view.encap) == (soft, hard, (4500, 4501))
        assert (view.flags, view.owner, view.serial) == (3, 4, 1)
        assert (view.bytes, view.packets, view.sequence, view.first_used) == (0, 0, 0, None)
        assert (view.window_top, view.window_bitmap) == (0, [0])
        assert abs(view.created - time.time()) < 60


def test_a_view_is_a_copy_and_the_window_is_seen() -> None:
    ours, theirs = sender(), receiver()
    wires = [sealed(ours) for _ in range(5)]
    before = ours.sad_dump()[0]
    for number in (0, 4, 2):
        theirs.inbound(wires[number])
    (sa,) = theirs.sad_dump()
    assert (sa.window_top, sa.window_bitmap, sa.sequence, sa.packets) == (5, [0b10101], 5, 3)
    assert sa.first_used is not None
    assert (before.sequence, before.packets, before.bytes) == (5, 5, 5 * (len(PACKET) - 20))
    assert before.lease_limit > 5
    sealed(ours)
    assert before.sequence == 5


def test_sas_are_found_listed_and_removed() -> None:
    engine = Engine(clock="manual")
    for spi, destination in ((0x1001, THERE), (0x1002, "192.0.2.3"), (0x1003, THERE)):
        engine.sad_add(sa_params(spi, destination=destination))
    assert [sa.spi for sa in engine.sad_dump()] == [0x1001, 0x1002, 0x1003]
    assert engine.sad_lookup(0x1001, "esp", "192.0.2.3") is None
    assert engine.sad_lookup(0x1001, "ah", THERE) is None
    assert engine.sad_delete(0x1002, "esp", ip_address("192.0.2.3"), HERE).spi == 0x1002
    assert engine.sad_dump("ah") == []
    assert engine.sad_flush("ah") == 0
    assert [sa.spi for sa in engine.sad_delete_pair("esp", HERE, THERE)] == [0x1001, 0x1003]
    assert engine.sad_delete_pair("esp", HERE, THERE) == []
    engine.sad_add(sa_params())
    assert (engine.sad_flush(), engine.sad_dump()) == (1, [])
    for call in (engine.sad_dump, engine.sad_flush):
        with pytest.raises(ValueError, match="esp, ah, ipcomp"):
            call("tcp")


def test_an_spi_is_reserved_and_then_completed() -> None:
    engine = Engine(clock="manual", seed=SEED)
    spi = engine.sad_getspi("esp", HERE, THERE, mode="transport", reqid=5, owner=77)
    assert 256 <= spi <= engine.config()["spi_max"]
    (larval,) = engine.sad_dump()
    assert (larval.state, larval.reqid, larval.owner, larval.encryption) == ("larval", 5, 77, None)
    assert engine.sad_delete_pair("esp", HERE, THERE) == []
    assert engine.sad_update(sa_params(spi)).state == "mature"
    again = [engine.sad_getspi("esp", HERE, THERE, minimum=700, maximum=702) for _ in range(3)]
    assert sorted(again) == [700, 701, 702]
    assert Engine(clock="manual", seed=SEED).sad_getspi("esp", HERE, THERE) == spi


def test_policies_are_found_listed_and_removed() -> None:
    engine = Engine(clock="manual")
    params = PolicyParams(
        "in", FORTH, "protect", [REQUIRE], priority=5, judges_forwarded=True, owner=6, add_secs=7, use_secs=8
    )
    added = engine.spd_add(params)
    for view in (added, engine.spd_lookup(added.id), engine.spd_dump()[0]):
        assert view is not None
        assert (view.direction, view.selector, view.action, view.templates) == (
            "in",
            FORTH,
            "protect",
            [REQUIRE],
        )
        assert (view.priority, view.judges_forwarded, view.owner) == (5, True, 6)
        assert (view.add_secs, view.use_secs, view.packets, view.bytes, view.last_used) == (7, 8, 0, 0, None)
        assert repr(view) == f"<PolicyView {added.id} in protect>"
    assert abs(added.created - time.time()) < 60
    replaced = engine.spd_update(PolicyParams("in", FORTH, "discard"))
    assert (replaced.id, replaced.action, replaced.templates, replaced.priority) == (1, "discard", [], 2**31)
    second = engine.spd_update(PolicyParams("out", BACK, "bypass"))
    assert [policy.id for policy in engine.spd_dump()] == [1, second.id]
    assert engine.inbound(PACKET).reason == "InPolicyDiscard"
    used = engine.spd_lookup(1)
    assert used is not None
    assert (used.packets, used.bytes) == (1, len(PACKET))
    assert used.last_used is not None
    assert engine.spd_delete("in", FORTH).id == 1
    assert engine.spd_delete_id(second.id).action == "bypass"
    assert engine.spd_lookup(1) is None
    engine.spd_add(params)
    assert (engine.spd_flush(), engine.spd_dump()) == (1, [])
    assert engine.spd_add(params).id > second.id, "ids are not used again"


# --- events and time ---------------------------------------------------------------------------------


def readable(engine: Engine) -> bool:
    return bool(select.select([engine.event_fd()], [], [], 0)[0])


def test_a_missing_sa_is_asked_for_once() -> None:
    engine = Engine(clock="manual")
    policy = engine.spd_add(PolicyParams("out", FORTH, "protect", [REQUIRE]))
    assert not readable(engine)
    assert engine.outbound(PACKET).reason == "OutNoSa"
    assert engine.outbound(PACKET).reason == "OutNoSa"
    assert readable(engine)
    (event,) = engine.take_events()
    assert isinstance(event, AcquireEvent)
    assert (event.id, event.policy, event.template) == (1, policy.id, REQUIRE)
    ends = ip_address(HERE), ip_address(THERE)
    assert (event.source, event.destination, event.packet) == (*ends, (*ends, 17))
    assert not readable(engine)
    assert engine.take_events() == []
    engine.advance(engine.config()["acquire_block_secs"])
    engine.outbound_batch([PACKET, PACKET])
    assert readable(engine)
    assert [type(each) for each in engine.take_events()] == [AcquireEvent]


def test_an_sa_lives_and_dies_by_the_manual_clock() -> None:
    engine = sender(soft=Limits(add_secs=10), hard=Limits(add_secs=12, packets=2))
    assert engine.poll_timeout() == 10
    engine.advance(9.5)
    assert engine.poll_timeout() == 0.5
    assert engine.take_events() == []
    engine.advance(0.5)
    assert readable(engine)
    (soft,) = engine.take_events()
    assert isinstance(soft, ExpireEvent)
    assert (soft.hard, soft.sa.spi, soft.sa.state) == (False, 0x1000, "dying")
    sealed(engine)
    sealed(engine)
    (hard,) = engine.take_events()
    assert isinstance(hard, ExpireEvent)
    assert (hard.hard, hard.sa.packets, hard.sa.state) == (True, 2, "dead")
    assert hard.sa.first_used == hard.sa.created + 10
    assert engine.sad_dump() == []
    engine.advance(100)
    assert engine.take_events() == []
    assert engine.poll_timeout() is None


def test_an_update_may_end_an_sa_at_once() -> None:
    engine = sender()
    sealed(engine)
    assert not readable(engine)
    assert engine.sad_update(sa_params(hard=Limits(packets=1))).state == "dead"
    assert readable(engine)
    assert [type(event) for event in engine.take_events()] == [ExpireEvent]


def test_a_policy_ends_too() -> None:
    engine = Engine(clock="manual")
    engine.spd_add(PolicyParams("out", FORTH, "discard", add_secs=3))
    engine.advance(3)
    (event,) = engine.take_events()
    assert isinstance(event, PolicyExpireEvent)
    assert event.policy.selector == FORTH
    assert engine.spd_dump() == []


def test_events_wait_in_order_and_not_without_end() -> None:
    engine = Engine(clock="manual", configuration={"event_limit": 3})
    for spi in range(0x1000, 0x1005):
        engine.sad_add(sa_params(spi, hard=Limits(add_secs=1)))
    engine.advance(1)
    events = engine.take_events()
    assert [event.sa.spi for event in events if isinstance(event, ExpireEvent)] == [0x1000, 0x1001, 0x1002]
    assert engine.stats().events_dropped == 2


def test_only_a_manual_clock_is_moved_by_hand() -> None:
    with pytest.raises(ValueError, match="system clock"):
        Engine().advance(1)
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            Engine(clock="manual").advance(wrong)
    with pytest.raises(ValueError, match="system, manual"):
        Engine(clock="wall")


def test_the_system_clock_moves_by_itself() -> None:
    engine = Engine()
    engine.sad_add(sa_params(hard=Limits(add_secs=1)))
    waits = engine.poll_timeout()
    assert waits is not None
    assert 0 < waits <= 1
    time.sleep(waits)
    engine.handle_timeout()
    assert [type(event) for event in engine.take_events()] == [ExpireEvent]
