"""SPD entries that wait for their requests: SPDSETIDX, SPDACQUIRE and SPDUPDATE, over real sockets.

No codec of ours writes or reads what the BSDs say. Answers to KAME's PF_KEY, and to RFC 4301 §4.4.1:
what is to be protected does not leave in clear.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest

from sallet import _core
from sallet.attach.clauses import GuardConfig
from sallet.attach.guard import compile_guard
from sallet.lang import dump
from sallet.pfkey import codec
from sallet.pfkey.dialects import DIALECTS
from unit.pfkey.test_bsd import (
    ESP,
    REGISTER,
    SETIDX,
    SPDADD,
    SPDDUMP,
    Told,
    add,
    message,
    policy,
    request,
    sides,
)

SPDUPDATE, SPDACQUIRE = 13, 17
WAITS = pytest.mark.parametrize("system", ["kame", "netbsd"])
PACKET = _core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"x")


def waiting(direction: int = 2) -> bytes:
    return message(SETIDX, 0, policy(2, direction), sides())


def pass_events(house: Any) -> None:
    for event in house.engine.take_events():
        house.server.engine_event(event)


@WAITS
def test_an_entry_waits_for_its_requests(house: Any, system: str) -> None:
    program = Told(house, system)
    answer = program.one(waiting())
    (view,) = house.engine.spd_dump()
    assert (view.action, view.templates) == ("protect", [])
    assert answer == message(SETIDX, 0, policy(2, 2, number=view.id), sides())
    assert program.errno(waiting()) == errno.EEXIST
    (dumped,) = program.ask(message(SPDDUMP, 0))
    assert policy(2, 2, number=view.id) in dumped
    lines = dump.spd(codec.decode(dumped, DIALECTS[system]), "kame").splitlines()
    assert lines[1] == "\tout ipsec"
    assert lines[2].startswith("\tcreated: ")
    # The requests come by an update, which keeps the entry's place and number.
    assert program.errno(message(SPDADD, 0, policy(2, 2, request(50, 1, 2)), sides())) == errno.EEXIST
    told = program.one(message(SPDUPDATE, 0, policy(2, 2, request(50, 1, 2)), sides()))
    assert policy(2, 2, request(50, 1, 2), number=view.id) in told
    program.one(add())
    assert house.engine.outbound(PACKET).transmitted[0] != PACKET


@WAITS
def test_a_packet_that_meets_it_is_told_to_key_managers(make_house: Any, system: str) -> None:
    house = make_house(clock="manual")
    manager, silent = Told(house, system), Told(house, system)
    others = {name: house.connect(name) for name in ("sallet", "freebsd", "linux")}
    manager.one(message(REGISTER, ESP))
    for other in others.values():
        other.send(message(REGISTER, ESP))
    manager.program.receive()
    manager.one(waiting())
    for program in (manager.program, silent.program, *others.values()):
        program.receive()

    def met() -> list[bytes]:
        outcome = house.engine.outbound(PACKET)
        assert (outcome.transmitted, outcome.reason) == ([], "OutNoSa")
        pass_events(house)
        return manager.program.receive()  # type: ignore[no-any-return]

    header = message(SPDACQUIRE, 0, seq=0, pid=0)
    assert met() == [header]
    assert silent.program.receive() == []
    heard = {name: other.receive() for name, other in others.items()}
    assert heard == {"sallet": [header], "freebsd": [header], "linux": []}
    assert met() == [], "repeated packets do not make repeated messages"
    house.engine.advance(house.engine.config()["acquire_block_secs"])
    assert met() == [header]


@WAITS
def test_an_update_that_cannot_be_followed_leaves_it_waiting(make_house: Any, system: str) -> None:
    failing: list[OSError] = []

    def spd_changed() -> None:
        if failing:
            raise failing.pop()

    house = make_house(spd_changed)
    program = Told(house, system)
    program.one(waiting())
    failing.append(OSError("nft"))
    update = message(SPDUPDATE, 0, policy(2, 2, request(50, 1, 2)), sides())
    assert program.errno(update) == errno.EIO
    (view,) = house.engine.spd_dump()
    assert (view.action, view.templates) == ("protect", [])


@WAITS
def test_nothing_arrives_in_clear_where_an_entry_waits(house: Any, system: str) -> None:
    Told(house, system).one(waiting(direction=1))
    assert house.engine.inbound(PACKET).reason == "InPolicyViolation"
    assert house.engine.take_events() == []
    guard = compile_guard(house.engine.spd_dump(), GuardConfig(device="sallet0", device_mtu=1400))
    assert all("drop" in rule for rule in guard.judges["judge_in"])


@pytest.mark.parametrize("system", ["sallet", "freebsd", "linux"])
def test_where_no_entry_waits(house: Any, system: str) -> None:
    program = house.connect(system)
    sent = message(SETIDX, 0, policy(2, 2), sides())
    if system != "freebsd":
        # A Linux socket address begins with a family of two octets.
        sent = sent.replace(bytes((16, 2)), (2).to_bytes(2, "little"))
    program.send(sent)
    answer = program.receive()[0]
    assert answer[2] == (0 if system == "linux" else errno.EINVAL)
    actions = [view.action for view in house.engine.spd_dump()]
    assert actions == (["bypass"] if system == "linux" else [])
