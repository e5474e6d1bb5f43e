"""Endpoints follow the sockets of programs: real sockets, and a datapath that notes what it is asked.

No namespace may enter; what the kernel does with the group is tested in rust/datapath/tests/netns.rs.
Answers to: `sallet.attach.endpoints`.
"""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address

import pytest

from sallet.attach.endpoints import LOOK_SECS, Endpoints, Ip
from sallet.failure import Failure


class Notes:
    """A datapath that notes what it is asked, and whoever is told of ports."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Ip, int]] = []
        self.told: list[tuple[int, ...]] = []
        self.refuses = False

    def open_endpoint(self, address: Ip, port: int, only_v6: bool) -> None:
        self.asked.append(("open only v6" if only_v6 else "open", address, port))

    def close_endpoint(self, address: Ip, port: int) -> None:
        self.asked.append(("close", address, port))

    def changed(self, ports: tuple[int, ...]) -> None:
        self.told.append(ports)
        if self.refuses:
            raise Failure("no", why="the kernel refused")


def udp(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((host, port))
    return made


def place(program: socket.socket) -> tuple[Ip, int]:
    host, port = program.getsockname()[:2]
    return ip_address(host), port


def test_an_endpoint_lives_as_long_as_its_socket() -> None:
    notes = Notes()
    endpoints = Endpoints(notes, None, notes.changed)
    assert not endpoints
    with udp() as program:
        host, port = place(program)
        endpoints.open(program.fileno())
        endpoints.open(program.fileno())
        assert (notes.asked, notes.told) == ([("open", host, port)], [(port,)])
        assert program.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        endpoints.look(now=0.0)
        kept = os.dup(program.fileno())
    endpoints.look(now=LOOK_SECS)
    assert len(notes.asked) == 1, "another process may hold it, as OpenIKED's child does"
    os.close(kept)
    endpoints.look(now=LOOK_SECS + 0.1)
    assert len(notes.asked) == 1, "not so often"
    endpoints.look(now=2 * LOOK_SECS)
    assert notes.asked[1:] == [("close", host, port)]
    assert notes.told[1:] == [()]
    assert not endpoints


def test_a_program_that_starts_again_replaces_its_endpoint() -> None:
    notes = Notes()
    endpoints = Endpoints(notes, None, notes.changed)
    with udp("::1") as program:
        host, port = place(program)
        endpoints.open(program.fileno())
    with udp("::1", port) as program:
        endpoints.open(program.fileno())
        endpoints.look(now=0.0)
    assert notes.asked == [("open only v6", host, port)] * 2


def test_the_port_of_the_daemon_itself_stays() -> None:
    notes = Notes()
    with udp() as program:
        host, port = place(program)
        endpoints = Endpoints(notes, port, notes.changed)
        assert endpoints.ports() == (port,)
        endpoints.open(program.fileno())
    endpoints.look(now=0.0)
    assert notes.asked == [("open", host, port)]
    assert endpoints.ports() == (port,)


def test_an_endpoint_ends_when_its_program_says_so() -> None:
    notes = Notes()
    endpoints = Endpoints(notes, None, notes.changed)
    with udp() as program, udp() as other:
        host, port = place(program)
        endpoints.open(program.fileno())
        endpoints.close(other.fileno())
        assert endpoints.ports() == (port,)
        endpoints.close(program.fileno())
    assert notes.asked == [("open", host, port), ("close", host, port)]
    assert notes.told == [(port,), ()]


def test_what_cannot_be_an_endpoint_is_refused() -> None:
    notes = Notes()
    endpoints = Endpoints(notes, None, notes.changed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unbound:
        with pytest.raises(OSError, match="no port yet") as refused:
            endpoints.open(unbound.fileno())
    assert refused.value.errno == errno.EINVAL
    for family in (socket.AF_INET, socket.AF_UNIX):
        with socket.socket(family, socket.SOCK_STREAM) as stream:
            with pytest.raises(OSError, match="not a UDP") as refused:
                endpoints.open(stream.fileno())
        assert refused.value.errno == errno.ENOPROTOOPT
    assert notes.asked == []


def test_an_endpoint_that_the_guard_does_not_follow_is_closed_again() -> None:
    notes = Notes()
    notes.refuses = True
    endpoints = Endpoints(notes, None, notes.changed)
    with udp() as program, pytest.raises(Failure):
        endpoints.open(program.fileno())
    assert [what for what, _, _ in notes.asked] == ["open", "close"]
    assert endpoints.ports() == ()
