"""A PF_KEY server on a real engine, driven by the test itself: no thread, no daemon.

No fake of the engine enters. Answers to ARCHITECTURE.md section E.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import Message
from sallet.pfkey.server import PfkeyServer


class Program:
    """A program's side of one socket."""

    def __init__(self, house: House, path: Path, dialect: Dialect) -> None:
        self.house = house
        self.dialect = dialect
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        self.socket.setblocking(False)

    def send(self, data: bytes | Message) -> None:
        self.socket.send(codec.encode(data, self.dialect) if isinstance(data, Message) else data)

    def receive(self) -> list[bytes]:
        """Return what has arrived, after the server did all it can."""
        found: list[bytes] = []
        while True:
            self.house.turn()
            try:
                found.append(self.socket.recv(1 << 20))
            except BlockingIOError:
                return found

    def messages(self) -> list[Message]:
        return [codec.decode(data, self.dialect) for data in self.receive()]

    def ask(self, message: Message) -> list[Message]:
        self.send(message)
        return self.messages()


class House:
    """A server on an engine with one socket for each dialect."""

    def __init__(
        self,
        directory: Path,
        spd_changed: Callable[[], None] | None = None,
        clock: str = "system",
        cleanup_on_close: bool = False,
    ) -> None:
        self.directory = directory
        self.engine = _core.Engine(seed=bytes(32), clock=clock)
        self.server = PfkeyServer(self.engine, spd_changed=spd_changed, cleanup_on_close=cleanup_on_close)
        self.selector = selectors.DefaultSelector()
        for dialect in DIALECTS:
            self.server.listen(directory / f"pfkey.{dialect}.sock", dialect)
        self.server.attach(self.selector)
        self.programs: list[Program] = []

    def connect(self, dialect: str = "linux") -> Program:
        program = Program(self, self.directory / f"pfkey.{dialect}.sock", DIALECTS[dialect])
        self.programs.append(program)
        self.turn()
        return program

    def turn(self) -> None:
        """Serve until nothing is ready."""
        while ready := self.selector.select(0):
            for key, mask in ready:
                key.data(mask)

    def turn_once(self) -> None:
        """Serve one round of what is ready."""
        for key, mask in self.selector.select(0):
            key.data(mask)

    def close(self) -> None:
        for program in self.programs:
            program.socket.close()
        self.server.close()
        self.selector.close()


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Make servers, and close them afterwards."""
    made: list[House] = []

    def make(
        spd_changed: Callable[[], None] | None = None, clock: str = "system", cleanup_on_close: bool = False
    ) -> House:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(House(directory, spd_changed, clock, cleanup_on_close))
        return made[-1]

    yield make
    for house in made:
        house.close()


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A server without a hook."""
    return make_house()
