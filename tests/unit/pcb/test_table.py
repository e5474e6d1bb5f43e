"""Sockets, their rules, and what stands in the engine and in the guard after each change.

No kernel enters: the guard is a function that keeps what it is told, or refuses.
Answers to: sallet.pcb.table.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest

from netns import need
from sallet.attach.socket_maps import Direction, Flow, Maps
from sallet.pcb import table
from sallet.pcb.policies import NotTaken, SocketPolicy
from sallet.pcb.table import Pcb, SocketTable

PEERS = [ip_address(f"192.0.2.{number}") for number in range(1, 9)]
ANY = Flow(4, 6, None, 80)


@pytest.fixture
def bench() -> Bench:
    need("engine")
    return Bench()


class Bench:
    """A table with a real engine and a guard that can refuse."""

    def __init__(self) -> None:
        from sallet import _core

        self.engine = _core.Engine()
        self.maps: Maps = {}
        self.followed = 0
        self.refuse = False
        self.table = SocketTable(
            self.engine, lambda template, side: template.level == "require", self._follow
        )

    def _follow(self, maps: Maps) -> None:
        if self.refuse:
            raise OSError("refused")
        self.maps, self.followed = maps, self.followed + 1

    def commit(self, *pcbs: Pcb) -> None:
        for pcb in pcbs:
            self.table.put(pcb)
        self.table.commit()

    def elements(self) -> dict[str, str]:
        return {
            f"{name} {key}": verdict for name, found in self.maps.items() for key, verdict in found.items()
        }

    def stands(self) -> list[tuple[str, str]]:
        return sorted((view.direction, view.action) for view in self.engine.pcb_dump())


def policy(direction: Direction, action: str = "protect", level: str = "require") -> SocketPolicy:
    from sallet import _core

    templates = (_core.Template("esp", "transport", level),) if action == "protect" else ()
    return SocketPolicy(direction, action, templates, b"")


def pcb(cookie: int, *flows: Flow, uid: int = 0, action: str = "protect", level: str = "require") -> Pcb:
    both: tuple[Direction, Direction] = ("in", "out")
    return Pcb(cookie, uid, {direction: policy(direction, action, level) for direction in both}, flows)


def to(number: int, local: str | None = "198.51.100.1", port: int = 80) -> Flow:
    return Flow(4, 6, None if local is None else ip_address(local), port, PEERS[number], 4000)


def test_a_rule_stands_in_both_databases_and_goes_from_both(bench: Bench) -> None:
    bench.commit(pcb(1))
    assert bench.followed == 0
    bench.commit(pcb(1, ANY))
    assert bench.elements() == {
        "pcb_in_port4 6 . 80": "goto pcb_refuse",
        "pcb_out_port4 6 . 80": "goto pcb_require",
    }
    assert bench.stands() == [("in", "protect"), ("out", "protect")]
    bench.table.forget(1)
    bench.table.commit()
    assert (bench.elements(), bench.stands(), len(bench.table), bench.table.rules) == ({}, [], 0, 0)


def test_levels_and_bypass(bench: Bench) -> None:
    bench.commit(pcb(1, ANY, level="use"))
    assert set(bench.elements().values()) == {"accept", "goto pcb_use"}
    bench.commit(pcb(1, ANY, action="bypass"))
    # What a socket with a bypass sends bears the daemon's own mark.
    assert bench.elements() == {"pcb_in_port4 6 . 80": "accept"}
    assert bench.stands() == [("in", "bypass"), ("out", "bypass")]


def test_connections_of_a_server_need_no_element_until_it_is_gone(bench: Bench) -> None:
    bench.commit(pcb(1, ANY))
    bench.commit(pcb(2, to(0)), pcb(3, to(1)))
    assert (bench.followed, len(bench.stands())) == (1, 6)
    bench.commit(pcb(4, to(2), level="use"))
    assert len(bench.elements()) == 4
    bench.table.forget(1)
    bench.table.commit()
    assert len(bench.elements()) == 6
    assert "pcb_in_both4 6 . 198.51.100.1 . 80 . 192.0.2.1 . 4000" in bench.elements()
    bench.commit(pcb(1, ANY))
    assert len(bench.elements()) == 4


def test_what_is_asked_in_between_is_no_cover(bench: Bench) -> None:
    bench.commit(pcb(1, ANY), pcb(2, to(0, None), level="use"), pcb(3, to(0)))
    assert len(bench.elements()) == 6


def test_an_ended_socket_lingers_and_gives_way(bench: Bench) -> None:
    bench.commit(pcb(1, ANY), pcb(2, to(0, port=81)))
    bench.table.end([1, 2, 99], now=10.0)
    bench.table.end([1], now=11.0)
    assert bench.table.deadline() == 10.0 + table.OTHERS_LINGER_SECS
    assert not bench.table.stage_due(10.5)
    assert bench.table.stage_due(11.0)
    bench.table.commit()
    assert len(bench.stands()) == 2
    # Another socket takes the flow over, and the old one's time does not end its rule.
    bench.commit(pcb(3, to(0, port=81), level="use"))
    assert not bench.table.stage_due(10.0 + table.CONNECTION_LINGERS_SECS)
    assert len(bench.stands()) == 2
    assert len(bench.table) == 1


def test_missed_farewells_are_made_up_for(bench: Bench) -> None:
    bench.commit(pcb(1, ANY), pcb(2, to(0)), pcb(3))
    bench.table.end_all_but({2}, now=0.0)
    assert bench.table.stage_due(100.0)
    bench.table.commit()
    assert [bench.table.find(cookie) is None for cookie in (1, 2, 3)] == [True, False, False]


def test_two_sockets_for_one_flow_agree_or_the_second_is_refused(bench: Bench) -> None:
    bench.commit(pcb(1, ANY), pcb(2, ANY))
    assert bench.table.rules == 2
    with pytest.raises(NotTaken) as refused:
        bench.table.put(pcb(3, ANY, level="use"))
    assert refused.value.errno == errno.EADDRINUSE
    bench.table.forget(1)
    bench.table.commit()
    assert bench.table.rules == 2


def test_what_cannot_be_followed_leaves_no_trace(bench: Bench) -> None:
    bench.commit(pcb(1, ANY, level="use"))
    before = (bench.elements(), bench.stands(), bench.table.find(1))
    bench.refuse = True
    for change in (pcb(1, ANY), pcb(1, to(0)), pcb(2, to(1)), pcb(1, ANY, action="bypass")):
        with pytest.raises(OSError, match="refused"):
            bench.commit(change)
        assert (bench.elements(), bench.stands(), bench.table.find(1)) == before
        assert len(bench.table) == 1
    bench.refuse = False
    bench.commit(pcb(1, ANY))
    assert "goto pcb_refuse" in bench.elements().values()


def test_one_user_cannot_take_all_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SOCKETS_OF_A_USER_MAX", 2)
    bench.commit(pcb(1, uid=7), pcb(2, uid=7), pcb(3), pcb(4), pcb(5))
    with pytest.raises(NotTaken) as refused:
        bench.table.put(pcb(6, uid=7))
    assert refused.value.errno == errno.ENOBUFS
    bench.commit(pcb(1, to(0), uid=7))
    bench.table.forget(2)
    bench.commit(pcb(6, uid=7))
    monkeypatch.setattr(table, "SOCKETS_MAX", 5)
    with pytest.raises(NotTaken):
        bench.table.put(pcb(7))
