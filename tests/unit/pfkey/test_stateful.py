"""Random conversations of two programs with one server, beside a small model of what it must remember.

Every type of message, time that passes, packets that need an SA, a program that goes: after each step the
replies, what the other program hears and both databases are those of the model. Which errno a refusal has is
asked of the dialect's table, whose values other tests hold against the systems.
Answers to RFC 2367 §3.1 and to the KAME extensions for the SPD. SALLET_STATEFUL_EXAMPLES asks for more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sallet import udp_packet
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.convert import need, policy_ids
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Key, Lifetime, Message, Policy, Request, Sa, Sa2, SpiRange
from unit.pfkey.conftest import House, Program

HERE, THERE = "192.0.2.1", "192.0.2.2"
WAYS = {"there": (HERE, THERE), "back": (THERE, HERE)}
ESP, AH = 3, 2
PROTOCOLS = {ESP: "esp", AH: "ah"}
LARVAL_SECS = 30
programs = st.sampled_from((0, 1))
ways = st.sampled_from(sorted(WAYS))
satypes = st.sampled_from((ESP, AH))
spis = st.integers(0x1000, 0x1003)
ends_at = st.sampled_from(((0, 0), (3, 6), (4, 50)))
"""Soft and hard seconds."""


@dataclass
class Association:
    """What the model remembers of one SA; its name is the key under which it stands."""

    owner: int
    added: int
    state: str = "mature"
    soft: int = 0
    hard: int = 0
    fill: int = 1


@dataclass
class Entry:
    """What the model remembers of one policy."""

    number: int
    added: int
    hard: int


@dataclass
class Model:
    """Both databases."""

    sas: dict[tuple[int, int, str], Association] = field(default_factory=dict)
    policies: dict[tuple[int, int], Entry] = field(default_factory=dict)

    def passes(self, now: int) -> list[Msg]:
        """Let time have come to `now`, and say what is to be told of it."""
        told = []
        for name, sa in list(self.sas.items()):
            if sa.hard and now >= sa.added + sa.hard:
                told.append(Msg.EXPIRE if sa.state != "larval" else Msg.RESERVED)
                del self.sas[name]
            elif sa.state == "mature" and sa.soft and now >= sa.added + sa.soft:
                sa.state = "dying"
                told.append(Msg.EXPIRE)
        for key, entry in list(self.policies.items()):
            if entry.hard and now >= entry.added + entry.hard:
                told.append(Msg.X_SPDEXPIRE)
                del self.policies[key]
        return told


class Conversation(RuleBasedStateMachine):
    """Two programs that speak one dialect."""

    dialect = "linux"

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="sallet-"))
        self.house = House(self.directory, clock="manual")
        self.row = DIALECTS[self.dialect]
        self.model = Model()
        self.now = 0
        self.programs: list[Program] = []
        self.registered: list[set[int]] = [set(), set()]
        self.seq = 0

    @initialize()
    def begin(self) -> None:
        self.house.engine.configure("hold_packets", 2)
        self.programs = [self.house.connect(self.dialect) for _ in range(2)]

    def teardown(self) -> None:
        self.house.close()
        shutil.rmtree(self.directory)

    # What is said, and what must come of it.

    def say(self, who: int, kind: Msg, satype: int = 0, **extensions: Any) -> list[Message]:
        self.seq += 1
        found = {Ext[name]: value for name, value in extensions.items() if value is not None}
        # Sequence numbers of acquires are small: these answer none.
        message = Message(kind, satype, seq=1 << 20 | self.seq, pid=100 + who, extensions=found)
        return self.programs[who].ask(message)

    def refused(self, kind: Msg, word: str) -> int:
        own = self.row.errno_by_message.get((kind, word))
        return self.row.errno_by_kind[word] if own is None else own

    def hears(self, who: int, *kinds: Msg) -> None:
        assert [message.type for message in self.programs[1 - who].messages()] == list(kinds)

    def one(self, who: int, kind: Msg, satype: int = 0, **extensions: Any) -> Message:
        (answer,) = self.say(who, kind, satype, **extensions)
        renamed = kind is Msg.X_SPDSETIDX and self.row.setidx_replaces and not answer.errno
        told = Msg.X_SPDADD if renamed else kind
        assert (answer.type, answer.seq, answer.pid) == (told, 1 << 20 | self.seq, 100 + who)
        return answer

    def expected(self, who: int, answer: Message, word: str | None, *, everybody: bool = True) -> bool:
        """Check an errno, and who else hears of a success; say whether it is one."""
        assert answer.errno == (self.refused(answer.type, word) if word else 0), word
        self.hears(who, *([answer.type] if everybody and word is None else []))
        return word is None

    def told(self, kinds: list[Msg]) -> None:
        """Pass the engine's events on: who registered hears these, the others nothing."""
        for event in self.house.engine.take_events():
            self.house.server.engine_event(event)
        silent = {Msg.RESERVED} if self.row.larval_ends_silently else set()
        wanted = [Msg.EXPIRE if kind is Msg.RESERVED else kind for kind in kinds if kind not in silent]
        wanted = [kind for kind in wanted if kind is Msg.EXPIRE or kind in self.row.shapes]
        for program, registered in zip(self.programs, self.registered, strict=True):
            heard = [message.type for message in program.messages() if message.type is not Msg.ACQUIRE]
            assert sorted(heard) == (sorted(wanted) if registered else [])

    # The SAD.

    def ends(self, way: str) -> dict[str, Any]:
        source, destination = (Address(IPv4Address(text), 0, 32, 0) for text in WAYS[way])
        return {"ADDRESS_SRC": source, "ADDRESS_DST": destination}

    def keyed(
        self, spi: int, satype: int, way: str, fill: int, limits: tuple[int, int], *, keys: bool = True
    ) -> dict[str, Any]:
        soft, hard = (Lifetime(addtime=secs) if limits[1] else None for secs in limits)
        encrypt = 12 if satype == ESP else 0
        return {
            "SA": Sa(spi, 0, 0, 3, encrypt, 0),
            "X_SA2": Sa2(1),
            "LIFETIME_SOFT": soft,
            "LIFETIME_HARD": hard,
            "KEY_AUTH": Key(160, bytes([fill]) * 20) if keys else None,
            "KEY_ENCRYPT": Key(128, bytes([fill]) * 16) if keys and encrypt else None,
            **self.ends(way),
        }

    def taken(self, spi: int, satype: int, way: str) -> bool:
        named = (spi, satype, way) in self.model.sas
        return named or (self.row.spi_unshared and any(spi == there for there, _, _ in self.model.sas))

    @rule(who=programs, satype=satypes, way=ways, span=st.integers(0, 2), first=spis)
    def getspi(self, who: int, satype: int, way: str, span: int, first: int) -> None:
        asked = SpiRange(first, first + span)
        answer = self.one(who, Msg.GETSPI, satype, SPIRANGE=asked, X_SA2=Sa2(1), **self.ends(way))
        free = {spi for spi in range(first, first + span + 1) if not self.taken(spi, satype, way)}
        if self.expected(who, answer, None if free else "spi-exhausted", everybody=False):
            spi = need(answer, Ext.SA, Sa).spi
            assert spi in free
            larval = Association(who, self.now, "larval", hard=LARVAL_SECS)
            self.model.sas[spi, satype, way] = larval

    @rule(who=programs, satype=satypes, way=ways, spi=spis, limits=ends_at)
    def add(self, who: int, satype: int, way: str, spi: int, limits: tuple[int, int]) -> None:
        answer = self.one(who, Msg.ADD, satype, **self.keyed(spi, satype, way, 1, limits))
        there = self.taken(spi, satype, way)
        if self.expected(who, answer, "exists" if there else None):
            self.model.sas[spi, satype, way] = Association(who, self.now, "mature", *limits)

    @rule(
        who=programs,
        satype=satypes,
        way=ways,
        spi=spis,
        limits=ends_at,
        fill=st.sampled_from((1, 2)),
        keys=st.booleans(),
    )
    def update(
        self, who: int, satype: int, way: str, spi: int, limits: tuple[int, int], fill: int, keys: bool
    ) -> None:
        answer = self.one(who, Msg.UPDATE, satype, **self.keyed(spi, satype, way, fill, limits, keys=keys))
        sa = self.model.sas.get((spi, satype, way))
        word = self.update_refused(who, sa, satype, way, fill, keys)
        if not self.expected(who, answer, word) or sa is None:
            return
        if sa.state == "larval" or self.row.update_rekeys:
            self.model.sas[spi, satype, way] = Association(sa.owner, self.now, "mature", *limits, fill)
            # Whoever completes an SA owns it.
            self.model.sas[spi, satype, way].owner = who
        else:
            (sa.soft, sa.hard), sa.state = limits, "mature"
        self.told(self.model.passes(self.now))

    def update_refused(
        self, who: int, sa: Association | None, satype: int, way: str, fill: int, keys: bool
    ) -> str | None:
        if self.row.key_bits_as_listed and not keys:
            return "invalid-key-length"
        if sa is None:
            known = any((of, at) == (satype, way) for _, of, at in self.model.sas)
            return "unknown-spi" if known and "unknown-spi" in self.row.errno_by_kind else "not-found"
        if self.row.update_by_owner and sa.owner != who:
            return "not-owner"
        if sa.state == "larval" or self.row.update_rekeys:
            return None if keys else "invalid-key-length"
        if self.row.update_refuses_keys:
            return "invalid-state" if keys else None
        if self.row.update_ignores_keys:
            return None
        return None if keys and fill == sa.fill else "invalid-state"

    @rule(who=programs, satype=satypes, way=ways, spi=spis)
    def get(self, who: int, satype: int, way: str, spi: int) -> None:
        sa = self.model.sas.get((spi, satype, way))
        answer = self.one(who, Msg.GET, satype, SA=Sa(spi, 0, 0, 0, 0, 0), **self.ends(way))
        if self.expected(who, answer, None if sa else "not-found", everybody=False) and sa:
            assert need(answer, Ext.SA, Sa).state == ["larval", "mature", "dying"].index(sa.state)
            if sa.state != "larval":
                assert need(answer, Ext.KEY_AUTH, Key).data == bytes([sa.fill]) * 20

    @rule(who=programs, satype=satypes, way=ways, spi=spis)
    def delete(self, who: int, satype: int, way: str, spi: int) -> None:
        answer = self.one(who, Msg.DELETE, satype, SA=Sa(spi, 0, 0, 0, 0, 0), **self.ends(way))
        sa = self.model.sas.pop((spi, satype, way), None)
        self.expected(who, answer, None if sa else "not-found")

    @rule(who=programs, satype=satypes, way=ways)
    def deleteall(self, who: int, satype: int, way: str) -> None:
        answer = self.one(who, Msg.DELETE, satype, **self.ends(way))
        if Ext.SA in self.row.required[Msg.DELETE]:
            self.expected(who, answer, "missing-extension")
            return
        gone = [
            name for name, sa in self.model.sas.items() if name[1:] == (satype, way) and sa.state != "larval"
        ]
        if self.expected(who, answer, None if gone else "not-found"):
            for name in gone:
                del self.model.sas[name]

    @rule(who=programs, satype=st.sampled_from((0, ESP, AH)))
    def dump(self, who: int, satype: int) -> None:
        wanted = {(spi, of) for spi, of, _ in self.model.sas if satype in (0, of)}
        count = sum(satype in (0, of) for _, of, _ in self.model.sas)
        answers = self.say(who, Msg.DUMP, satype)
        self.hears(who)
        if not count:
            assert [answer.errno for answer in answers] == [self.refused(Msg.DUMP, "no-entries")]
            return
        assert len(answers) == count
        assert {(need(answer, Ext.SA, Sa).spi, answer.satype) for answer in answers} == wanted
        assert answers[-1].seq == 0

    @rule(who=programs, satype=st.sampled_from((0, ESP, AH)))
    def flush(self, who: int, satype: int) -> None:
        gone = [name for name in self.model.sas if satype in (0, name[1])]
        self.flushed(who, self.say(who, Msg.FLUSH, satype), len(gone))
        for name in gone:
            del self.model.sas[name]

    def flushed(self, who: int, answers: list[Message], count: int) -> None:
        twice = self.row.flush_answers_twice
        kind = answers[0].type
        assert [answer.errno for answer in answers] == [0] * (2 if twice and count else 1)
        self.hears(who, *([kind] if count or not twice else []))

    # The SPD.

    def selected(
        self, upper: int, direction: int, kind: int = 2, hard: int = 0, number: int = 0
    ) -> dict[str, Any]:
        source, destination = (replace(side, proto=upper) for side in self.ends("there").values())
        requests = (Request(50, 1, 2, 0),) if kind == 2 else ()
        return {
            "ADDRESS_SRC": source,
            "ADDRESS_DST": destination,
            "X_POLICY": Policy(kind, direction, number, 0, requests),
            "LIFETIME_HARD": Lifetime(addtime=hard) if hard else None,
        }

    @rule(
        who=programs,
        upper=st.sampled_from((6, 17)),
        direction=st.sampled_from((1, 2)),
        kind=st.sampled_from((0, 1, 2)),
        hard=st.sampled_from((0, 5)),
        message=st.sampled_from((Msg.X_SPDADD, Msg.X_SPDUPDATE, Msg.X_SPDSETIDX)),
    )
    def spdadd(self, who: int, upper: int, direction: int, kind: int, hard: int, message: Msg) -> None:
        answer = self.one(who, message, **self.selected(upper, direction, kind, hard))
        there = self.model.policies.get((upper, direction))
        replaces = message is Msg.X_SPDUPDATE or (message is Msg.X_SPDSETIDX and self.row.setidx_replaces)
        word = "exists" if there and not replaces else None
        if self.expected(who, answer, word):
            number = need(answer, Ext.X_POLICY, Policy).id
            assert there is None or there.number == number
            assert number not in {
                entry.number for entry in self.model.policies.values() if entry is not there
            }
            self.model.policies[upper, direction] = Entry(number, self.now, hard)

    @rule(who=programs, upper=st.sampled_from((6, 17)), direction=st.sampled_from((1, 2)))
    def spddelete(self, who: int, upper: int, direction: int) -> None:
        answer = self.one(who, Msg.X_SPDDELETE, **self.selected(upper, direction))
        gone = self.model.policies.pop((upper, direction), None)
        self.expected(who, answer, None if gone else "not-found")

    @rule(who=programs, nth=st.integers(0, 4), remove=st.booleans())
    def by_number(self, who: int, nth: int, remove: bool) -> None:
        keys = sorted(self.model.policies)
        key = keys[nth] if nth < len(keys) else None
        number = self.model.policies[key].number if key else 0x7FFFFFF8
        kind = Msg.X_SPDDELETE2 if remove else Msg.X_SPDGET
        direction = key[1] if key else 2
        answer = self.one(who, kind, X_POLICY=Policy(2, direction, number, 0, ()))
        if self.expected(who, answer, None if key else "not-found", everybody=remove) and remove and key:
            del self.model.policies[key]

    @rule(who=programs)
    def spddump(self, who: int) -> None:
        answers = self.say(who, Msg.X_SPDDUMP)
        self.hears(who)
        wanted = {entry.number for entry in self.model.policies.values()}
        if not wanted:
            assert [answer.errno for answer in answers] == [self.refused(Msg.X_SPDDUMP, "no-entries")]
            return
        assert [need(answer, Ext.X_POLICY, Policy).id in wanted for answer in answers] == [True] * len(wanted)
        assert answers[-1].seq == 0

    @rule(who=programs)
    def spdflush(self, who: int) -> None:
        self.flushed(who, self.say(who, Msg.X_SPDFLUSH), len(self.model.policies))
        self.model.policies.clear()

    # Listeners, and what nobody may ask.

    @rule(who=programs, satype=st.sampled_from((0, ESP, AH)))
    def register(self, who: int, satype: int) -> None:
        again = satype in self.registered[who]
        answer = self.one(who, Msg.REGISTER, satype)
        assert answer.errno == (self.refused(Msg.REGISTER, "exists") if again else 0)
        self.hears(who, *([Msg.REGISTER] if not again and self.registered[1 - who] else []))
        if satype:
            self.registered[who].add(satype)

    @rule(who=programs)
    def promisc(self, who: int) -> None:
        # Copies have a form of their own in some dialects, so octets are looked at.
        program = self.programs[who]
        for on in (1, 0):
            program.send(Message(Msg.X_PROMISC, on, seq=1, pid=100 + who))
            heard = program.receive()
            assert heard
            assert all(data[1] == Msg.X_PROMISC and data[2] == 0 for data in heard)
        self.programs[1 - who].messages()

    @rule(who=programs, kind=st.sampled_from((Msg.EXPIRE, Msg.X_SPDEXPIRE, Msg.X_SPDACQUIRE)))
    def what_only_the_engine_says(self, who: int, kind: Msg) -> None:
        (answer,) = self.say(who, kind)
        assert answer.errno in (self.row.unsupported_errno, self.row.errno_by_kind["out-of-range"])
        self.hears(who)

    @rule(who=programs)
    def acquire_failed(self, who: int) -> None:
        message = Message(Msg.ACQUIRE, ESP, errno=1, seq=self.seq + 1, pid=100 + who)
        assert self.programs[who].ask(message) == []
        self.hears(who)

    # The world.

    @rule(secs=st.integers(1, 40))
    def time_passes(self, secs: int) -> None:
        self.now += secs
        self.house.engine.advance(secs)
        self.told(self.model.passes(self.now))

    @rule()
    def a_packet(self) -> None:
        self.house.engine.outbound(udp_packet(HERE, THERE, 5000, 7, b"x"))
        self.house.engine.take_transmits()
        self.told([])

    @rule(who=programs)
    def a_program_goes_and_another_comes(self, who: int) -> None:
        gone = self.programs[who]
        gone.socket.close()
        self.house.turn()
        self.house.programs.remove(gone)
        self.programs[who], self.registered[who] = self.house.connect(self.dialect), set()
        for name, sa in list(self.model.sas.items()):
            if sa.state == "larval" and sa.owner == who:
                del self.model.sas[name]

    @invariant()
    def the_databases_are_those_of_the_model(self) -> None:
        engine = self.house.engine
        found = {(view.spi, view.protocol, str(view.destination)): view.state for view in engine.sad_dump()}
        wanted = {
            (spi, PROTOCOLS[of], WAYS[way][1]): sa.state for (spi, of, way), sa in self.model.sas.items()
        }
        assert found == wanted
        numbers = [policy_ids.told(view.id, view.direction, self.row) for view in engine.spd_dump()]
        assert sorted(numbers) == sorted(entry.number for entry in self.model.policies.values())
        counters = self.house.server.counters()
        assert (counters["internal_errors"], counters["malformed"]) == (0, 0)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_changes_what_the_model_says(dialect: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type(f"In{dialect.title()}", (Conversation,), {"dialect": dialect})
    examples = int(os.environ.get("SALLET_STATEFUL_EXAMPLES", "12"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
