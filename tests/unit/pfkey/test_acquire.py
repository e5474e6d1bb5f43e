"""ACQUIRE, from a packet to the SA that answers it: proposals, errors, what waits, who is asked when.

Answers to RFC 2367 §3.1.1, §3.1.2, §3.1.3, §3.1.6 and to KAME's blocking.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from sallet import _core, udp_packet
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.convert import need
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Comb, Key, Message, Policy, Proposal, Request, Sa, Sa2, SpiRange
from sallet.sysctl.personalities import PERSONALITIES

HERE, THERE = "192.0.2.1", "192.0.2.2"
ESP, AH = 3, 2
EVERY = pytest.mark.parametrize("dialect", DIALECTS)


def host(text: str) -> Address:
    return Address(IPv4Address(text), 0, 32, 0)


def ends(source: str = HERE, destination: str = THERE) -> dict[Ext, Any]:
    return {Ext.ADDRESS_SRC: host(source), Ext.ADDRESS_DST: host(destination)}


def spi_of(message: Message) -> int:
    return need(message, Ext.SA, Sa).spi


def combs_of(message: Message) -> tuple[Comb, ...]:
    return need(message, Ext.PROPOSAL, Proposal).combs


def spdadd(dialect: str, direction: int = 2) -> Message:
    tail = 255
    sides = {kind: replace(address, proto=tail) for kind, address in ends().items()}
    request = Request(50, 1, 2, 0)
    return Message(Msg.X_SPDADD, extensions={**sides, Ext.X_POLICY: Policy(2, direction, 0, 0, (request,))})


def keyed(
    kind: Msg, spi: int, *, seq: int = 0, fill: int = 1, pid: int = 9, swapped: bool = False
) -> Message:
    """An ADD or an UPDATE with AES-CBC and HMAC-SHA-1, whose numbers are the same everywhere."""
    between = ends(THERE, HERE) if swapped else ends()
    keys = {Ext.KEY_AUTH: Key(160, bytes([fill]) * 20), Ext.KEY_ENCRYPT: Key(128, bytes([fill]) * 16)}
    return Message(
        kind,
        ESP,
        seq=seq,
        pid=pid,
        extensions={Ext.SA: Sa(spi, 0, 0, 3, 12, 0), Ext.X_SA2: Sa2(1), **between, **keys},
    )


class Scene:
    """A key manager that registered, an engine with a policy, and packets that need an SA."""

    def __init__(self, house: Any, dialect: str, held: int = 5) -> None:
        self.house, self.engine = house, house.engine
        self.engine.configure("hold_packets", held)
        self.manager = house.connect(dialect)
        self.manager.ask(Message(Msg.REGISTER, ESP))
        (reply,) = self.manager.ask(spdadd(dialect))
        assert reply.errno == 0

    def packets(self, count: int) -> list[_core.Outcome]:
        found = [self.engine.outbound(udp_packet(HERE, THERE, 5000, 7, bytes([nth]))) for nth in range(count)]
        self.settle()
        return found

    def settle(self) -> None:
        for event in self.engine.take_events():
            self.house.server.engine_event(event)

    def asked(self) -> list[Message]:
        self.settle()
        return [message for message in self.manager.messages() if message.type is Msg.ACQUIRE]


@pytest.fixture
def scene(make_house: Callable[..., Any], dialect: str) -> Scene:
    return Scene(make_house(clock="manual"), dialect)


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
# # a packet waits for its SA, within limits, or is dropped
@EVERY
def test_five_packets_before_the_sa_are_sent_after_it_was_added(scene: Scene) -> None:
    assert [outcome.held for outcome in scene.packets(7)] == [True] * 5 + [False] * 2
    (acquire,) = scene.asked()
    assert scene.engine.take_transmits() == []
    assert scene.engine.stats().outbound_waiting == 5
    (added,) = scene.manager.ask(keyed(Msg.ADD, 0x1001, seq=acquire.seq))
    assert added.errno == 0
    sent = scene.engine.take_transmits()
    assert [packet[20:24] for packet in sent] == [(0x1001).to_bytes(4, "big")] * 5
    peer = _core.Engine(seed=bytes(32), clock="manual")
    peer.sad_add(
        _core.SaParams(
            spi=0x1001,
            protocol="esp",
            source=HERE,
            destination=THERE,
            encryption=("aes-cbc", b"\1" * 16),
            authentication=("hmac-sha1-96", b"\1" * 20),
        )
    )
    opened = [peer.inbound(packet).packet for packet in sent]
    assert [packet[-1] for packet in opened if packet] == [0, 1, 2, 3, 4], "in their order"
    assert scene.packets(1)[0].protected_by == 0x1001
    assert scene.engine.stats().drops["OutNoSa"] == 2


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
# # an error from a key manager frees what waits
@EVERY
def test_an_error_of_the_key_manager_frees_what_waits_and_lets_it_be_asked_again(scene: Scene) -> None:
    scene.packets(2)
    (acquire,) = scene.asked()
    failed = Message(Msg.ACQUIRE, ESP, errno=errno.ECONNREFUSED, seq=acquire.seq)
    assert scene.manager.ask(replace(failed, seq=acquire.seq + 1)) == []
    assert scene.engine.stats().outbound_waiting == 2
    assert scene.manager.ask(replace(failed, errno=0)) == []
    assert scene.engine.stats().outbound_waiting == 2
    assert scene.manager.ask(failed) == []
    stats = scene.engine.stats()
    assert (stats.outbound_waiting, stats.drops["OutNoSa"]) == (0, 2)
    scene.packets(1)
    (again,) = scene.asked()
    assert again.seq != acquire.seq


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
# # repeated packets do not make repeated messages
@EVERY
def test_an_acquire_comes_again_after_a_time_or_a_count(scene: Scene) -> None:
    scene.packets(30)
    (first,) = scene.asked()
    scene.engine.advance(20)
    scene.packets(1)
    (second,) = scene.asked()
    assert second.seq != first.seq
    scene.engine.configure("acquire_block_count", 10)
    scene.packets(10)
    assert scene.asked() == []
    scene.packets(1)
    (third,) = scene.asked()
    assert third.seq == second.seq, "the same question once more"


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.1
# # GETSPI makes a larval SA with an SPI out of the range asked for
# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
# # the sequence number ties an answer to what was asked
@EVERY
def test_a_getspi_with_the_sequence_number_gives_the_key_manager_time(scene: Scene) -> None:
    scene.packets(1)
    (acquire,) = scene.asked()
    scene.engine.advance(19)
    getspi = Message(Msg.GETSPI, ESP, seq=acquire.seq, pid=9, extensions=ends(THERE, HERE))
    (reserved,) = scene.manager.ask(getspi)
    assert (reserved.errno, reserved.seq) == (0, acquire.seq)
    scene.engine.advance(10)
    scene.packets(1)
    assert scene.asked() == [], "somebody works on it"
    spi = spi_of(reserved)
    scene.manager.ask(keyed(Msg.UPDATE, spi, seq=acquire.seq, swapped=True))
    scene.packets(1)
    assert scene.asked() == [], "the other direction is still to come"
    scene.manager.ask(keyed(Msg.ADD, 0x1001, seq=acquire.seq))
    assert len(scene.engine.take_transmits()) == 3


@EVERY
def test_nothing_waits_longer_than_it_may_and_a_flush_frees_it(scene: Scene) -> None:
    scene.packets(1)
    scene.engine.configure("hold_secs", 7)
    scene.packets(1)
    scene.engine.advance(7)
    assert scene.engine.stats().outbound_waiting == 1
    assert len(scene.asked()) == 1
    scene.manager.ask(Message(Msg.FLUSH, ESP))
    assert scene.engine.stats().outbound_waiting == 0
    scene.packets(1)
    assert len(scene.asked()) == 1, "whoever begins anew is asked anew"
    scene.manager.ask(Message(Msg.X_SPDFLUSH))
    scene.manager.ask(keyed(Msg.ADD, 0x1001))
    assert scene.engine.take_transmits() == [], "never in clear"


@EVERY
def test_a_proposal_names_what_the_registry_has_and_the_rules_allow(scene: Scene, dialect: str) -> None:
    names = DIALECTS[dialect].encrypt_names
    legacy = {row.name for row in _core.algorithms() if row.legacy}

    def proposed() -> tuple[Comb, ...]:
        scene.engine.advance(20)
        scene.packets(1)
        (acquire,) = scene.asked()
        return combs_of(acquire)

    scene.engine.configure("proposal_esp_key_bits", 128)
    combs = proposed()
    assert "aes-cbc" in {names[comb.encrypt] for comb in combs}
    assert not {names[comb.encrypt] for comb in combs} & (legacy | {"null"})
    kinds = {row.name: row.kind for row in _core.algorithms()}
    assert all(comb.auth or kinds[names[comb.encrypt]] == "aead" for comb in combs)
    scene.engine.configure("proposal_esp_key_bits", 256)
    assert {comb.encrypt_minbits for comb in proposed()} <= {256, 288}
    scene.engine.configure("proposal_ah_key_bits", 256)
    assert all(not comb.auth or comb.auth_maxbits >= 256 for comb in proposed())
    scene.engine.configure("proposal_esp_authenticates", False)
    alone = proposed()
    assert alone
    assert not any(comb.auth for comb in alone)
    soft, hard = alone[0].soft, alone[0].hard
    if dialect in ("linux", "sallet"):
        assert (soft.addtime, soft.usetime, hard.addtime, hard.usetime) == (72000, 25200, 86400, 28800)
    else:
        assert (soft.addtime, soft.usetime, hard.addtime, hard.usetime) == (0, 28800, 86400, 0)
        assert (soft.allocations, hard.allocations) == (1, 1)


@pytest.mark.parametrize("name", PERSONALITIES)
def test_each_personality_holds_and_proposes_as_its_system_does(name: str) -> None:
    engine = _core.Engine()
    PERSONALITIES[name].apply(engine)
    config = engine.config()
    found = config["hold_packets"], config["acquire_block_count"], config["proposal_esp_key_bits"]
    assert found == ((5, 0, 128) if name == "sallet" else (0, 10, 256))
    assert config["proposal_esp_authenticates"] is (name == "sallet")


# A program that needs an SA asks like the kernel.


def needed() -> Message:
    comb = Comb(3, 12, 0, 160, 160, 128, 256)
    return Message(
        Msg.ACQUIRE, ESP, seq=77, pid=5, extensions={**ends(), Ext.PROPOSAL: Proposal(32, (comb,))}
    )


def test_a_program_that_needs_an_sa_is_heard_by_key_managers_in_their_dialects(house: Any) -> None:
    managers = {dialect: house.connect(dialect) for dialect in DIALECTS}
    for manager in managers.values():
        manager.ask(Message(Msg.REGISTER, ESP))
    for manager in managers.values():
        manager.messages()
    silent, program = house.connect("kame"), house.connect("kame")
    (echo,) = program.ask(needed())
    assert echo == needed()
    for dialect, manager in managers.items():
        (heard,) = manager.messages()
        assert (heard.type, heard.seq, heard.pid) == (Msg.ACQUIRE, 77, 5), dialect
        (comb,) = combs_of(heard)
        names = DIALECTS[dialect]
        assert (names.auth_names[comb.auth], names.encrypt_names[comb.encrypt]) == ("hmac-sha1-96", "aes-cbc")
    assert silent.messages() == []
    (refused,) = house.connect("linux").ask(needed())
    assert refused.errno == errno.EOPNOTSUPP
    program.ask(keyed(Msg.ADD, 0x1001))
    (there,) = program.ask(needed())
    assert there.errno == errno.EEXIST
    (missing,) = program.ask(replace(needed(), extensions=ends()))
    assert missing.errno == errno.EINVAL


# UPDATE.


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.2
# # UPDATE turns a larval SA into a mature one, and is told without keys
@EVERY
def test_an_update_of_a_living_sa_does_what_the_system_lets_it(house: Any, dialect: str) -> None:
    manager = house.connect(dialect)
    listener = house.connect(dialect)
    (reserved,) = manager.ask(Message(Msg.GETSPI, ESP, pid=9, extensions=ends()))
    spi = spi_of(reserved)
    keyless = replace(keyed(Msg.UPDATE, spi), extensions={Ext.SA: Sa(spi, 0, 0, 3, 12, 0), **ends()})
    (refused,) = manager.ask(keyless)
    assert refused.errno == errno.EINVAL, "a larval SA needs its keys"
    (completed,) = manager.ask(keyed(Msg.UPDATE, spi))
    assert completed.errno == 0
    (told,) = listener.messages()
    assert told.type is Msg.UPDATE
    # Linux tells the keys of what is updated, and the server shows zeros to who may not see them.
    assert dialect == "linux" or not {Ext.KEY_AUTH, Ext.KEY_ENCRYPT} & set(told.extensions)

    def key() -> bytes:
        (view,) = house.engine.sad_dump()
        named: tuple[str, bytes] = view.encryption
        return named[1]

    (again,) = manager.ask(keyed(Msg.UPDATE, spi, fill=2))
    if dialect in ("kame", "netbsd"):
        assert (again.errno, key()) == (0, b"\2" * 16), "it begins anew with another key"
    elif dialect == "linux":
        assert (again.errno, key()) == (0, b"\1" * 16), "lifetimes are all that changes"
    else:
        assert (again.errno, key()) == (errno.EINVAL, b"\1" * 16)
    (stranger,) = manager.ask(keyed(Msg.UPDATE, spi, fill=1, pid=10))
    assert stranger.errno == (errno.EINVAL if DIALECTS[dialect].update_by_owner else 0)
    (unknown,) = manager.ask(keyed(Msg.UPDATE, 0x77777777))
    assert unknown.errno == (errno.EINVAL if DIALECTS[dialect].update_by_owner else errno.ESRCH)


# GETSPI.


@EVERY
def test_an_spi_is_chosen_as_asked_and_exhaustion_is_an_error(house: Any, dialect: str) -> None:
    manager = house.connect(dialect)

    def ask(minimum: int, maximum: int, satype: int = ESP) -> Message:
        found = {**ends(), Ext.SPIRANGE: SpiRange(minimum, maximum)}
        (answer,) = manager.ask(Message(Msg.GETSPI, satype, extensions=found))
        got: Message = answer
        return got

    assert spi_of(ask(0x4321, 0x4321)) == 0x4321, "a fixed one"
    spent = {"linux": errno.ENOENT, "sallet": errno.ENOENT, "freebsd": errno.EEXIST}.get(
        dialect, errno.EINVAL
    )
    assert ask(0x4321, 0x4321).errno == spent
    drawn = {spi_of(ask(0x5000, 0x5003)) for _ in range(4)}
    assert drawn == {0x5000, 0x5001, 0x5002, 0x5003}
    assert ask(0x5000, 0x5003).errno == spent
    house.engine.configure("spi_min", 0x6000)
    house.engine.configure("spi_max", 0x6001)
    found = {spi_of(manager.ask(Message(Msg.GETSPI, ESP, extensions=ends()))[0]) for _ in range(2)}
    assert found == {0x6000, 0x6001}, "the variables' range where none is asked for"
    if dialect == "linux":
        assert ask(0xFF00, 0x1FFFF, satype=9).errno == errno.EINVAL, "a kernel says so, too"
    else:
        assert spi_of(ask(0xFF00, 0x1FFFF, satype=9)) <= 0xFFFF, "a CPI has sixteen bits"


# Whose is what.


@EVERY
def test_reservations_leave_with_their_connection(make_house: Callable[..., Any], dialect: str) -> None:
    house = make_house(clock="manual")
    first, second = house.connect(dialect), house.connect(dialect)
    for program in (first, second):
        program.ask(Message(Msg.GETSPI, ESP, extensions=ends()))
    first.ask(keyed(Msg.ADD, 0x1001))
    assert len(house.engine.sad_dump()) == 3
    first.socket.close()
    house.turn()
    left = [view.state for view in house.engine.sad_dump()]
    assert sorted(left) == ["larval", "mature"], "an SA with keys stays"
    second.socket.close()
    house.turn()
    assert [view.spi for view in house.engine.sad_dump()] == [0x1001]


@pytest.mark.parametrize("cleans_up", [False, True])
def test_what_a_key_manager_made_leaves_with_it_if_asked(
    make_house: Callable[..., Any], cleans_up: bool
) -> None:
    followed: list[int] = []
    house = make_house(spd_changed=lambda: followed.append(1), cleanup_on_close=cleans_up)
    manager, script = house.connect(), house.connect()
    manager.ask(Message(Msg.REGISTER, ESP))
    manager.ask(keyed(Msg.ADD, 0x1001))
    manager.ask(spdadd("linux"))
    script.ask(keyed(Msg.ADD, 0x1002))
    script.ask(spdadd("linux", direction=1))
    script.socket.close()
    house.turn()
    assert (len(house.engine.sad_dump()), len(house.engine.spd_dump())) == (2, 2), (
        "a script is no key manager"
    )
    before = len(followed)
    manager.socket.close()
    house.turn()
    left = (
        [view.spi for view in house.engine.sad_dump()],
        [view.direction for view in house.engine.spd_dump()],
    )
    assert left == (([0x1002], ["in"]) if cleans_up else ([0x1001, 0x1002], ["out", "in"]))
    assert len(followed) == before + cleans_up, "the host's table follows"


def test_a_larval_sa_ends_with_an_event_only_where_the_system_tells_one(
    make_house: Callable[..., Any],
) -> None:
    house = make_house(clock="manual")
    managers = {dialect: house.connect(dialect) for dialect in DIALECTS}
    for manager in managers.values():
        manager.ask(Message(Msg.REGISTER, ESP))
    for manager in managers.values():
        manager.messages()
    managers["linux"].ask(Message(Msg.GETSPI, ESP, extensions=ends()))
    house.engine.advance(30)
    assert house.engine.sad_dump() == []
    for event in house.engine.take_events():
        house.server.engine_event(event)
    told = {
        dialect: [message.type for message in manager.messages()] for dialect, manager in managers.items()
    }
    assert told == {dialect: [Msg.EXPIRE] if dialect in ("linux", "sallet") else [] for dialect in DIALECTS}
