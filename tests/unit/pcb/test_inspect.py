"""Which packets are a socket's, read from real sockets of every kind; and that their end is heard of.

Answers to: socket(7), ipv6(7), sock_diag(7); sallet.pcb.inspect, sallet.pcb.farewell.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from netns import wait_until
from sallet.attach.socket_maps import Flow
from sallet.pcb import inspect
from sallet.pcb.farewell import Farewells, living

LOOP4, LOOP6 = ip_address("127.0.0.1"), ip_address("::1")


def flows(one: socket.socket, claimed: inspect.End | None = None) -> tuple[Flow, ...]:
    return inspect.flows(inspect.inspect(one), claimed)


def test_datagrams_may_go_anywhere() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        assert not inspect.inspect(one).sends
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        assert inspect.inspect(one).sends
        assert flows(one) == (Flow(4, 17, LOOP4, port),)
        one.connect(("127.0.0.1", 9))
        assert flows(one) == (Flow(4, 17, LOOP4, port),)
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("", 0))
        assert flows(one) == (Flow(4, 17, None, one.getsockname()[1]),)


def test_a_connection_goes_where_it_says_before_it_goes() -> None:
    with socket.socket() as one:
        one.bind(("", 0))
        port = one.getsockname()[1]
        assert not inspect.inspect(one).sends
        peer = ip_address("192.0.2.1")
        assert flows(one, (peer, 80)) == (Flow(4, 6, None, port, peer, 80),)
        assert flows(one, (ip_address("0.0.0.0"), 80)) == (Flow(4, 6, None, port),)
        one.listen()
        assert inspect.inspect(one).listening
        assert flows(one, (peer, 80)) == (Flow(4, 6, None, port),)


def test_both_ends_of_a_connection_know_all() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
    ):
        accepted, _ = server.accept()
        with accepted:
            ends = [(LOOP4, each.getsockname()[1]) for each in (one, server)]
            assert flows(one) == (Flow(4, 6, *ends[0], *ends[1]),)
            assert flows(accepted) == (Flow(4, 6, *ends[1], *ends[0]),)


def test_a_socket_of_both_families_has_rules_in_both() -> None:
    with socket.socket(socket.AF_INET6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::", 0))
        port = one.getsockname()[1]
        assert flows(one) == (Flow(4, 6, None, port), Flow(6, 6, None, port))
        mapped, plain = ip_address("::ffff:192.0.2.1"), ip_address("192.0.2.1")
        assert flows(one, (mapped, 80)) == (Flow(4, 6, None, port, plain, 80),)
        assert flows(one, (LOOP6, 80)) == (Flow(6, 6, None, port, LOOP6, 80),)
    with socket.socket(socket.AF_INET6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(("::", 0))
        assert flows(one) == (Flow(6, 6, None, one.getsockname()[1]),)


def test_only_tcp_and_udp_of_the_internet_have_policies() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        assert not inspect.inspect(one).has_policies
    with socket.socket() as one:
        found = inspect.inspect(one)
        assert found.has_policies
        assert found.namespace == inspect.namespace_of(one) != 0
        copy = socket.socket(fileno=socket.dup(one.fileno()))
        with copy:
            assert inspect.inspect(copy).cookie == found.cookie


def test_a_flow_knows_what_is_asked_after_it() -> None:
    exact = Flow(4, 6, LOOP4, 1, LOOP4, 2)
    assert [each.shape for each in exact.wider()] == ["peer", "local", "port"]
    assert [each.shape for each in Flow(4, 6, None, 1, LOOP4, 2).wider()] == ["port"]
    assert Flow(4, 6, None, 1).wider() == []
    assert exact.key() == "6 . 127.0.0.1 . 1 . 127.0.0.1 . 2"


def test_the_end_of_a_socket_is_told_when_the_last_holder_lets_go() -> None:
    heard: set[int] = set()
    farewells = Farewells()

    def told(cookie: int) -> bool:
        found = farewells.ended()
        heard.update(living() if found is None else found)
        return cookie in heard

    try:
        farewells.listen(True)
        one = socket.socket(type=socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        cookie = inspect.cookie_of(one)
        copy = one.dup()
        one.close()
        assert cookie in living()
        assert not told(cookie)
        copy.close()
        assert wait_until(lambda: told(cookie), timeout=5)
        assert cookie not in living()
        farewells.listen(False)
    finally:
        farewells.close()
