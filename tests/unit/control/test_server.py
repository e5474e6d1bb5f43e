"""The control server over a real socket: replies, refusals, silence and noise.

Answers to: sallet.control.server.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sallet.client import ControlClient
from sallet.control import protocol
from sallet.control.server import ControlServer
from sallet.failure import Failure


class Served:
    """A server with its loop, turned by hand."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(
            {"echo": lambda **words: words, "big": lambda: "x" * 3_000_000, "refuse": refuse}
        )
        self.server.listen(run_dir / protocol.SOCKET_NAME)
        self.server.attach(self.selector)

    def turn(self, times: int = 20) -> None:
        for _ in range(times):
            for key, mask in self.selector.select(0):
                key.data(mask)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(self.run_dir / protocol.SOCKET_NAME))
        client.settimeout(5)
        return client

    def ask(self, client: socket.socket, line: bytes) -> Any:
        client.sendall(line + b"\n")
        self.turn()
        return json.loads(client.makefile("rb").readline())


def refuse() -> None:
    raise Failure("it cannot be", where="here", why="because", next_step="go", kind="permission")


def shout(served: Served, client: socket.socket) -> None:
    """Send more than any request has, and never a newline."""
    for _ in range(100):
        client.sendall(b"x" * 16384)
        served.turn(3)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.server.close()
    made.selector.close()


def test_calls_and_refusals(served: Served) -> None:
    with served.connect() as client:
        assert served.ask(client, b'{"id":1,"method":"echo","params":{"a":[1]}}') == {
            "id": 1,
            "result": {"a": [1]},
        }
        refused = served.ask(client, b'{"id":2,"method":"refuse"}')["error"]
        assert list(refused.values()) == ["it cannot be", "here", "because", "go", "permission"]
        assert list(refused) == ["what", "where", "why", "next_step", "kind"]
        assert "no such method" in served.ask(client, b'{"id":3,"method":"nope"}')["error"]["what"]
        assert served.ask(client, b'{"id":4,"method":"refuse","params":{"x":1}}')["error"]["what"]
        assert "no request" in served.ask(client, b"\xff\x00")["error"]["what"]


def test_a_line_may_come_in_pieces(served: Served) -> None:
    with served.connect() as client:
        for piece in (b'{"id":1,', b'"method":"ec', b'ho"}'):
            client.sendall(piece)
            served.turn(3)
        assert served.ask(client, b"") == {"id": 1, "result": {}}


def test_a_big_reply_waits_for_its_reader(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b'{"id":1,"method":"big"}\n')
        received = b""
        while not received.endswith(b"\n"):
            served.turn(3)
            received += client.recv(1 << 20)
        assert len(json.loads(received)["result"]) == 3_000_000


def test_a_line_without_end_is_cut_off(served: Served) -> None:
    with served.connect() as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            shout(served, client)
        with served.connect() as other:
            assert served.ask(other, b'{"id":1,"method":"echo"}')["id"] == 1


def test_a_stale_socket_is_replaced_and_the_own_one_removed(tmp_path: Path) -> None:
    path = tmp_path / protocol.SOCKET_NAME
    for _ in range(2):
        stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        stale.bind(str(path))
        stale.close()
    server = ControlServer({})
    server.listen(path)
    assert path.stat().st_mode & 0o777 == 0o660
    server.close()
    assert not path.exists()


def test_a_long_directory_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    server = ControlServer({})
    server.listen(deep / protocol.SOCKET_NAME)
    with ControlClient(deep):
        server.close()


def test_no_daemon_is_said_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        ControlClient(tmp_path)
    assert caught.value.kind == "unreachable"
    assert "sallet up" in caught.value.next_step
