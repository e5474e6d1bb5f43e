"""Policies that end by themselves: the host's table follows first, then listeners hear; no end is lost.

Answers to RFC 4301 §4.4.1 (the host never does other than the SPD says) and to KAME's X_SPDEXPIRE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from sallet import _core, udp_packet
from sallet.pfkey.changes import Changes
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.convert import need
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Lifetime, Message, Policy

HERE, THERE = "192.0.2.1", "192.0.2.2"
TELLING = [name for name, row in DIALECTS.items() if Msg.X_SPDEXPIRE in row.shapes]


def spdadd(upper: int, hard: Lifetime) -> Message:
    source, destination = (Address(IPv4Address(text), 0, 32, upper) for text in (HERE, THERE))
    return Message(
        Msg.X_SPDADD,
        extensions={
            Ext.ADDRESS_SRC: source,
            Ext.ADDRESS_DST: destination,
            Ext.LIFETIME_HARD: hard,
            Ext.X_POLICY: Policy(0, 2),
        },
    )


@pytest.mark.parametrize("dialect", TELLING)
def test_the_host_follows_an_end_before_anybody_hears_of_it(
    make_house: Callable[..., Any], dialect: str
) -> None:
    entries: list[int] = []
    house: Any = make_house(spd_changed=lambda: entries.append(len(house.engine.spd_dump())), clock="manual")
    # However little room there is for events.
    house.engine.configure("event_limit", 1)
    manager, other = house.connect(dialect), house.connect(dialect)
    manager.ask(Message(Msg.REGISTER, 3))
    for upper, hard in ((6, Lifetime(addtime=5)), (17, Lifetime(usetime=5)), (58, Lifetime(addtime=5))):
        (added,) = manager.ask(spdadd(upper, hard))
        assert added.errno == 0
    other.messages()
    assert entries == [1, 2, 3]
    house.engine.advance(3)
    assert house.engine.outbound(udp_packet(HERE, THERE, 1, 2, b"x")).reason == "OutPolicyDiscard"
    house.engine.advance(2)
    events = house.engine.take_events()
    assert [type(event) for event in events] == [_core.PolicyExpireEvent] * 2, "use keeps the second"
    for count, event in enumerate(events, 1):
        house.server.engine_event(event)
        assert entries[3:] == [1] * count
        (told,) = manager.messages()
        assert told.type is Msg.X_SPDEXPIRE
        assert need(told, Ext.LIFETIME_HARD, Lifetime).addtime == 5
        assert need(told, Ext.X_POLICY, Policy).id == event.policy.id
    assert other.messages() == []
    house.engine.advance(3)
    (event,) = house.engine.take_events()
    house.server.engine_event(event)
    (told,) = manager.messages()
    hard = need(told, Ext.LIFETIME_HARD, Lifetime)
    assert (hard.addtime, hard.usetime) == (0, 5)
    assert entries[3:] == [1, 1, 0]


def test_ends_of_sas_that_nobody_was_told_of_are_followed_all_the_same() -> None:
    engine, followed = _core.Engine(clock="manual"), list[int]()
    changes = Changes(engine, lambda: followed.append(1))
    changes.spd_add(
        _core.PolicyParams(
            "out",
            _core.Selector(f"{HERE}/32", f"{THERE}/32"),
            "protect",
            [_core.Template("esp", "transport", "use")],
        )
    )
    key = ("aes-gcm-16", bytes(20))
    for spi in (0x1001, 0x1002):
        changes.sad_add(
            _core.SaParams(
                spi=spi,
                protocol="esp",
                source=HERE,
                destination=THERE,
                encryption=key,
                hard=_core.Limits(add_secs=5),
            )
        )
    before = len(followed)
    engine.configure("event_limit", 1)
    engine.advance(5)
    assert (len(engine.take_events()), engine.stats().events_dropped) == (1, 1)
    changes.catch_up()
    changes.catch_up()
    assert len(followed) == before + 1


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.8
# # EXPIRE says soft once and hard once, with the current counters
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_expire_has_what_fired_and_the_counters_and_comes_once(
    make_house: Callable[..., Any], dialect: str
) -> None:
    house = make_house(clock="manual")
    managers = [house.connect(dialect), house.connect(dialect)]
    managers[0].ask(Message(Msg.REGISTER, 2))
    house.engine.sad_add(
        _core.SaParams(
            spi=0x1001,
            protocol="esp",
            source=HERE,
            destination=THERE,
            mode="transport",
            encryption=("aes-cbc", bytes(16)),
            authentication=("hmac-sha1-96", bytes(20)),
            soft=_core.Limits(add_secs=4),
            hard=_core.Limits(add_secs=6),
        )
    )
    told: list[Message] = []
    for _ in range(9):
        house.engine.advance(1)
        for event in house.engine.take_events():
            house.server.engine_event(event)
        told += managers[0].messages()
    assert managers[1].messages() == [], "only who registered hears"
    fired = [Ext.LIFETIME_SOFT, Ext.LIFETIME_HARD]
    assert [message.type for message in told] == [Msg.EXPIRE] * 2
    for message, own, other in zip(told, fired, reversed(fired), strict=True):
        assert {Ext.SA, Ext.LIFETIME_CURRENT, own, Ext.ADDRESS_SRC, Ext.ADDRESS_DST} <= set(
            message.extensions
        )
        assert other not in message.extensions
        assert not {Ext.KEY_AUTH, Ext.KEY_ENCRYPT} & set(message.extensions)
        assert need(message, own, Lifetime) == replace(Lifetime(), addtime=4 if own is fired[0] else 6)
