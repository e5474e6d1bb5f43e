"""Requests of a hostile key manager: what is wrong in them is answered, and changes nothing.

No packet may enter. Answers to RFC 2367 §2 and §3.1, <linux/pfkeyv2.h>.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.pfkey.words import (
    AH,
    ESP,
    HOSTS,
    IPCOMP,
    E,
    T,
    add,
    bare,
    changed,
    covered,
    end,
    extensions,
    getspi,
    limits,
    message,
    named,
    policy,
    request,
    sa,
    spdadd,
    tunnel_sa,
    with_extension,
    without,
)
from sallet import _core
from sallet.pfkey.convert import policy_ids
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Message, Policy, Replay, Request, Sa
from unit.pfkey.conftest import House

_TYPES_IN_USE = 16
"""Beyond them, what a message holds is not looked at."""
KINDS = [kind for kind in T if kind is not T.RESERVED]


def told(view: _core.PolicyView) -> int:
    """Give the id by which the dialect of these tests names a policy."""
    return policy_ids.told(view.id, view.direction, DIALECTS["linux"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A server on an engine whose clock stands still."""
    made = House(tmp_path, clock="manual")
    yield made
    assert made.server.counters()["internal_errors"] == 0
    made.close()


def ask(house: House, data: bytes, dialect: str = "linux") -> list[bytes]:
    """Send one message on a socket of its own, and give what comes."""
    program = house.connect(dialect)
    program.send(data)
    found = program.receive()
    program.socket.close()
    house.turn()
    return found


def errno_of(house: House, data: bytes) -> int:
    """Send one message, and give the errno of its one answer."""
    (answer,) = ask(house, data)
    return answer[2]


def sizes(house: House) -> tuple[int, int]:
    return len(house.engine.sad_dump()), len(house.engine.spd_dump())


@pytest.mark.bug_row(14)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_window_of_any_size_is_held_or_refused(tmp_path: Path, dialect: str) -> None:
    """Row 14: windows of 0, 1, 255, 2^31 and more, by both fields that say one; packets find it as told."""
    house = House(tmp_path, clock="manual")
    program = house.connect(dialect)
    row = DIALECTS[dialect]
    asked: list[tuple[int, int | None]] = [(0, None), (1, None), (255, None)]
    if E.X_SA_REPLAY in row.extension_numbers:
        asked += [(1, size) for size in (0, 1, 255, 4096, 4097, 1 << 31, (1 << 32) - 1)]
    for number, (octet, packets) in enumerate(asked):
        spi = 0x1000 + number
        auth, encrypt = row.auth_numbers["hmac-sha1-96"], row.encrypt_numbers["aes-cbc"]
        whole = Sa(spi, replay=octet, auth=auth, encrypt=encrypt)
        found = {E[name.upper()]: value for name, value in usual().items()} | {E.SA: whole}
        if packets is not None:
            found[E.X_SA_REPLAY] = Replay(packets)
        (answer,) = program.ask(Message(T.ADD, ESP, pid=9, extensions=found))
        view = house.engine.sad_lookup(spi, "esp", HOSTS[4][1])
        assert (answer.errno == 0) is (view is not None)
        if view is not None:
            told = octet * row.replay_unit if packets is None else packets
            assert view.replay_window in (told, row.replay_max * row.replay_unit)
            assert view.window_bitmap is None or len(view.window_bitmap) * 64 >= view.replay_window
        else:
            assert answer.errno in (errno.EINVAL, errno.ENOBUFS)
    house.close()


def usual() -> dict[str, Any]:
    """The parts of an ADD beside the SA itself."""
    from interop.pfkey.words import ends, keys

    return {**ends(), **keys(ESP)}


@pytest.mark.bug_row(16)
def test_what_is_absent_or_dead_is_answered(house: House) -> None:
    """Row 16: GET, DELETE and UPDATE of SAs that never were, that were deleted, and that have expired."""
    assert errno_of(house, add(spi=0x2000, lifetime_hard=limits(0, 0, 5), lifetime_soft=limits())) == 0
    assert errno_of(house, add(spi=0x3000)) == 0
    assert errno_of(house, named(T.DELETE, spi=0x3000)) == 0
    house.engine.advance(10)
    for spi in (0x1000, 0x2000, 0x3000):
        for data in (named(T.GET, spi=spi), named(T.DELETE, spi=spi), add(spi=spi, kind=T.UPDATE)):
            assert errno_of(house, data) == errno.ESRCH
    assert house.engine.sad_dump() == []


@pytest.mark.bug_row(19)
def test_an_update_never_changes_a_window(house: House) -> None:
    """Row 19: whatever UPDATE says of the window, it is as large as ADD made it."""
    assert errno_of(house, add(sa=sa(replay=32))) == 0
    before = house.engine.sad_dump()[0]
    for octet in (0, 1, 33, 255):
        assert errno_of(house, add(kind=T.UPDATE, sa=sa(replay=octet))) == 0
        after = house.engine.sad_dump()[0]
        assert (after.replay_window, after.window_bitmap) == (before.replay_window, before.window_bitmap)


@pytest.mark.bug_row(20)
def test_every_direction_is_known_or_refused(house: House) -> None:
    """Row 20: directions 0 to 255 in every message that has one."""
    for direction in range(256):
        known = direction in (1, 2, 3)
        for kind in (T.X_SPDADD, T.X_SPDUPDATE, T.X_SPDSETIDX, T.X_SPDDELETE):
            assert (errno_of(house, spdadd(kind=kind, direction=direction)) == 0) is known
        moved = spdadd(*[request(50, 2, version=4)] * 2, kind=T.X_MIGRATE, direction=direction)
        assert errno_of(house, moved) == (errno.ENOENT if known else errno.EINVAL)
        for kind in (T.X_SPDGET, T.X_SPDDELETE2):
            by_id = message(kind, 0, x_policy=policy(direction=direction, number=77))
            assert errno_of(house, by_id) in (errno.ENOENT, errno.EINVAL)
    assert sizes(house) == (0, 0)


@pytest.mark.bug_row(22)
def test_an_id_is_of_one_policy_whatever_direction_is_said(house: House) -> None:
    """Row 22: SPDDELETE2 with the id of one list and the direction of another removes that one entry once."""
    for said in (0, 1, 2, 3, 255):
        for direction in (1, 2, 3):
            assert errno_of(house, spdadd(direction=direction)) == 0
        views = house.engine.spd_dump()
        for left, view in reversed(list(enumerate(views))):
            by_id = message(T.X_SPDDELETE2, 0, x_policy=policy(direction=said, number=told(view)))
            assert errno_of(house, by_id) == 0
            assert errno_of(house, by_id) in (errno.ENOENT, errno.EINVAL)
            assert len(house.engine.spd_dump()) == left


@pytest.mark.bug_row(23)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_type_of_association_is_known_or_refused(tmp_path: Path, dialect: str) -> None:
    """Row 23: association types 0 to 255 on every message; those in use with the parts of an ADD, too."""
    house = House(tmp_path, clock="manual")
    program = house.connect(dialect)
    parts = {E[name.upper()]: value for name, value in {**usual(), "sa": Sa(0x1000)}.items()}
    for kind in KINDS:
        if kind > DIALECTS[dialect].last_message:
            continue
        for satype in range(256):
            whole = satype < _TYPES_IN_USE or satype == 255
            for found in ({}, parts) if whole else ({},):
                program.send(Message(kind, satype, pid=9, extensions=found))
                assert program.receive() or kind is T.ACQUIRE
    assert house.server.counters()["internal_errors"] == 0
    assert {view.protocol for view in house.engine.sad_dump()} <= {"ah", "esp", "ipcomp"}
    house.close()


@pytest.mark.bug_row(25)
def test_policies_that_end_in_the_moment_they_are_deleted(house: House) -> None:
    """Row 25: SPDDELETE just before, at and after the end of a policy's life; nothing is freed twice."""
    for early in (4, 5, 6):
        for by_id in (False, True):
            timed = message(
                T.X_SPDADD,
                0,
                **covered(),
                x_policy=policy(request()),
                lifetime_hard=limits(0, 0, 5),
            )
            assert errno_of(house, timed) == 0
            (view,) = house.engine.spd_dump()
            house.engine.advance(early)
            delete = spdadd(kind=T.X_SPDDELETE)
            if by_id:
                delete = message(T.X_SPDDELETE2, 0, x_policy=policy(number=told(view)))
            assert errno_of(house, delete) in (0, errno.ENOENT, errno.EINVAL)
            house.engine.advance(20)
            for event in house.engine.take_events():
                house.server.engine_event(event)
            assert house.engine.spd_dump() == []


@pytest.mark.bug_row(26)
def test_a_malformed_filter_is_refused(house: House) -> None:
    """Row 26: filters of every length but the right one, and of every family."""
    assert errno_of(house, add()) == 0
    for size in range(4, 80, 8):
        answers = ask(house, with_extension(bare(T.DUMP), 26, bytes(size)))
        assert [one[2] for one in answers] == ([0] if size == 36 else [errno.EINVAL])
    for family in range(256):
        body = bytes(32) + struct.pack("=HBB", family, 0, 0)
        (answer,) = ask(house, with_extension(bare(T.DUMP), 26, body))
        assert answer[2] == (errno.ENOENT if family == 10 else 0)


@pytest.mark.bug_row(32)
def test_a_filters_prefix_is_no_longer_than_its_address(house: House) -> None:
    """Row 32: prefix lengths 0 to 255 on both sides, in both families."""
    assert errno_of(house, add()) == 0
    assert errno_of(house, add(version=6)) == 0
    for version, family, longest in ((4, 2, 32), (6, 10, 128)):
        here, there = (end(text).address.packed.ljust(16, b"\0") for text in HOSTS[version])
        for bits in range(256):
            for pair in ((bits, 0), (0, bits)):
                body = here + there + struct.pack("=HBB", family, *pair)
                answers = ask(house, with_extension(bare(T.DUMP), 26, body))
                assert [one[2] for one in answers] == [0 if bits <= longest else errno.EINVAL]


@pytest.mark.bug_row(30)
def test_a_request_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Row 30: the step that follows each change fails; both databases are as they were, time and again."""
    fails = False

    def follow() -> None:
        if fails:
            raise OSError(errno.EIO, "the host does not follow")

    house = House(tmp_path, follow, clock="manual")
    kept = [spdadd(request(level=1)), spdadd(request(level=1), version=6)]
    for data in kept:
        assert errno_of(house, data) == 0
    before = [repr(view.selector) for view in house.engine.spd_dump()]
    for _ in range(50):
        fails = True
        for data in (
            spdadd(direction=1),
            spdadd(request(51), kind=T.X_SPDUPDATE),
            spdadd(kind=T.X_SPDDELETE),
            bare(T.X_SPDFLUSH),
            add(x_sa2=tunnel_sa(0, 1)),
        ):
            assert errno.EIO in {one[2] for one in ask(house, data)}
        # An entry that was put back has another id.
        number = told(house.engine.spd_dump()[0])
        assert errno_of(house, message(T.X_SPDDELETE2, 0, x_policy=policy(number=number))) == errno.EIO
        fails = False
        assert [repr(view.selector) for view in house.engine.spd_dump()] == before
        assert [view.templates[0].protocol for view in house.engine.spd_dump()] == ["esp", "esp"]
        assert house.engine.sad_dump() == []
    house.close()


@pytest.mark.bug_row(31)
def test_each_extension_of_each_message_left_out_in_turn(house: House) -> None:
    """Row 31: without each of its extensions, and cut behind each of them: answered, and never by a fault."""
    wholes = [
        add(lifetime_hard=limits(5), lifetime_soft=limits(4), x_sa2=tunnel_sa(7)),
        add(AH, kind=T.UPDATE),
        add(IPCOMP, 0x1234),
        named(T.GET),
        named(T.DELETE),
        getspi(ESP, 0x500, 0x600),
        spdadd(request(50, 2, version=4)),
        spdadd(kind=T.X_SPDUPDATE),
        spdadd(kind=T.X_SPDSETIDX),
        spdadd(kind=T.X_SPDDELETE),
        spdadd(kind=T.X_SPDGET),
        spdadd(kind=T.X_SPDDELETE2),
        spdadd(*[request(50, 2, version=4)] * 2, kind=T.X_MIGRATE),
    ]
    for whole in wholes:
        for number, at, size in extensions(whole):
            assert ask(house, without(whole, number))
            cut = whole[:at]
            assert ask(house, cut[:4] + struct.pack("=H", len(cut) // 8) + cut[6:])
            for claimed in (0, 1, size // 8 + 1, 0xFFFF):
                assert ask(house, changed(whole, number, 0, struct.pack("=H", claimed)))


@pytest.mark.bug_row(34)
def test_spi_0_is_in_no_table(house: House) -> None:
    """Row 34: SPI 0 by ADD, GETSPI, GET, UPDATE and DELETE; larval SAs deleted and expired in between."""
    for data in (add(spi=0), getspi(ESP, 0, 0), getspi(ESP, 0, 3), named(T.GET, spi=0)):
        assert errno_of(house, data) != 0
    for spi in (0x100, 0x101):
        assert errno_of(house, getspi(ESP, spi, spi)) == 0
    assert errno_of(house, named(T.DELETE, spi=0)) == errno.ESRCH
    house.engine.advance(60)
    house.engine.handle_timeout()
    assert [view.spi for view in house.engine.sad_dump()] == []
    assert errno_of(house, add(spi=0, kind=T.UPDATE)) != 0
    assert sizes(house) == (0, 0)


@pytest.mark.bug_row(38)
def test_migrate_mixes_no_families(house: House) -> None:
    """Row 38: every mix of families in the ends of a MIGRATE; a pair of two families is refused."""
    tunnel = spdadd(request(50, 2, version=4))
    assert errno_of(house, tunnel) == 0
    assert errno_of(house, add(x_sa2=tunnel_sa())) == 0
    old = Request(50, 2, 2, 0, *(end(text) for text in HOSTS[4]))
    for first, second in ((4, 6), (6, 4)):
        mixed = Request(50, 2, 2, 0, end(HOSTS[first][0]), end(HOSTS[second][1]))
        for pair in ((old, mixed), (mixed, old), (mixed, mixed)):
            data = message(T.X_MIGRATE, 0, **covered(), x_policy=Policy(2, 2, requests=pair))
            assert errno_of(house, data) == errno.EINVAL
    (view,) = house.engine.spd_dump()
    assert view.templates[0].endpoints == tuple(end(text).address for text in HOSTS[4])
    # From one family to the other is a move; both ends go.
    new = Request(50, 2, 2, 0, *(end(text) for text in HOSTS[6]))
    data = message(T.X_MIGRATE, 0, **covered(), x_policy=Policy(2, 2, requests=(old, new)))
    assert errno_of(house, data) == 0
    (moved,) = house.engine.sad_dump()
    assert (moved.source, moved.destination) == tuple(end(text).address for text in HOSTS[6])
    assert isinstance(moved, _core.SaView)
