"""`pcb.sock` and who talks nonsense to it: answered or dropped, and no descriptor stays.

No namespace and no packet filter enters. Answers to: sallet.pcb.server; unix(7) for SCM_RIGHTS.
"""

from __future__ import annotations

import errno
import os
import random
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import need
from sallet.pcb import policies, protocol
from sallet.pcb.protocol import Kind, Reply, Request
from sallet.pcb.server import PcbServer
from sallet.pcb.table import SocketTable
from sallet.pfkey.rights import Access


class Served:
    """A server, its loop turned by hand, and programs."""

    def __init__(self, directory: Path) -> None:
        from sallet import _core

        self.path = directory / protocol.SOCKET
        self._selector = selectors.DefaultSelector()
        table = SocketTable(_core.Engine(), lambda template, side: True, lambda maps: None)
        access = Access(os.geteuid())
        self.server = PcbServer(table, access, lambda asked, chosen, highest: 20000, enforced=False)
        self.server.listen(self.path)
        self.server.attach(self._selector)

    def turn(self) -> None:
        for _ in range(3):
            for key, mask in self._selector.select(0):
                key.data(mask)
            self.server.turn()

    def ask(self, data: bytes, *handed: int) -> Reply | None:
        """Send a record and give the reply; None if the connection was closed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as program:
            program.connect(str(self.path))
            socket.send_fds(program, [data], handed) if handed else program.send(data)
            self.turn()
            program.settimeout(1)
            said = program.recv(8192)
            return Reply.decode(said) if said else None

    def close(self) -> None:
        self.server.close()
        self._selector.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    need("engine")
    made = Served(tmp_path)
    yield made
    made.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nonsense_ends_the_connection_and_nothing_else(served: Served) -> None:
    rng = random.Random(7)
    whole = Request(Kind.BOUND, "linux").encode()
    with socket.socket() as one:
        served.ask(whole, one.fileno())
        before = descriptors()
        for data in (b"x", whole[:-1], whole + b"x", bytes(len(whole)), bytes(9000), rng.randbytes(200)):
            assert served.ask(data, one.fileno()) is None
        for _ in range(50):
            at = rng.randrange(len(whole))
            served.ask(whole[:at] + rng.randbytes(1) + whole[at + 1 :], one.fileno()) if at > 3 else None
        # More than one request may bring, and what is no socket.
        assert served.ask(whole, *[one.fileno()] * 5) is None
        assert served.ask(whole, os.pidfd_open(os.getpid())) is None
        served.turn()
        assert descriptors() <= before + 1  # the pidfd


def test_without_a_packet_filter_no_policy_is_taken(served: Served) -> None:
    from sallet.ipsec import ipsec_set_policy

    blob = ipsec_set_policy("out ipsec esp/transport//require")
    with socket.socket() as one:
        for request in (Request(Kind.POLICY_SET, "linux", policy=blob), Request(Kind.BOUND, "linux")):
            reply = served.ask(request.encode(), one.fileno())
            assert reply is not None
            assert reply.error == errno.EOPNOTSUPP
        reply = served.ask(Request(Kind.POLICY_GET, "kame", value=2).encode(), one.fileno())
        assert reply == Reply(Kind.POLICY_GET, policy=policies.entrust(2))
        reply = served.ask(Request(Kind.POLICY_GET, "kame", value=3).encode(), one.fileno())
        assert reply is not None
        assert reply.error == errno.EINVAL
    reply = served.ask(Request(Kind.BOUND, "linux").encode())
    assert reply is not None
    assert reply.error == errno.EINVAL


def test_who_watches_hears_the_end(served: Served) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as watch:
        watch.connect(str(served.path))
        watch.send(Request(Kind.WATCH, "linux").encode())
        served.turn()
        watch.setblocking(False)
        with pytest.raises(BlockingIOError):
            watch.recv(1)
        served.server.close()
        assert watch.recv(1) == b""
