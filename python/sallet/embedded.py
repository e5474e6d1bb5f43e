"""Engines inside this process: setkey text into an engine, and a link between two of them.

No socket, file descriptor or thread may enter: this is the mode `embedded`, for scripts, tests and the demo.
Answers to: ARCHITECTURE.md "Ways to attach"; setkey(8) for the text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sallet.lang.forms import FORMS
from sallet.lang.setkey import parse
from sallet.lang.setkey_messages import plan
from sallet.pfkey.changes import Changes
from sallet.pfkey.handlers import Handlers
from sallet.sysctl.personalities import PERSONALITIES, Personality

if TYPE_CHECKING:
    from sallet._core import Engine, Outcome


class ConfigurationError(OSError):
    """The engine refused a statement; `errno` is what PF_KEY answered, `line` where the statement stands."""

    def __init__(self, errno: int, filename: str, line: int) -> None:
        super().__init__(errno, os.strerror(errno), f"{filename}:{line}")
        self.line = line


def configure(
    engine: Engine,
    text: str,
    *,
    filename: str = "<text>",
    personality: str | None = None,
    form: str = "sallet",
    changes: Changes | None = None,
) -> int:
    """Apply setkey text to an engine and return the number of statements.

    The text is read whole before anything is changed. `personality` sets the engine to the defaults of that
    system first, and reads the text as its setkey does; without it the settings stay, and `form` says how the
    text is read. `changes` is shared by those who want each warning once. Raises
    `sallet.lang.lexer.SetkeyError` (a syntax error, with line and column), `ConfigurationError`, or
    `ValueError` for an unknown personality. Source: setkey(8).
    """
    system = None if personality is None else _personality(personality)
    row = FORMS[form if system is None else system.form]
    statements = parse(text, filename=filename, form=row.name)
    if system is not None:
        system.apply(engine)
    handlers = Handlers(engine, row.dialect, changes)
    for order in plan(statements, row.name, row.dialect):
        errno = next((reply.errno for reply in handlers.handle(order.message) if reply.errno), 0)
        if errno:
            raise ConfigurationError(errno, filename, order.statement.place.line)
    return len(statements)


def _personality(name: str) -> Personality:
    found = PERSONALITIES.get(name)
    if found is None:
        raise ValueError(f"{name!r} is no personality; they are {', '.join(PERSONALITIES)}")
    return found


@dataclass
class Frame:
    """One packet on the link, as a listener hears it: bytes, sender and the time in milliseconds."""

    sender: str
    packet: bytes
    millis: float


@dataclass
class Host:
    """One end of a link: an engine and its name, and what was delivered to its protected side."""

    name: str
    engine: Engine
    delivered: list[bytes] = field(default_factory=list)


@dataclass
class Link:
    """A wire between two hosts that carries whole IP packets and remembers all it carried.

    `clock` returns milliseconds; it only stamps what the listener hears.
    """

    left: Host
    right: Host
    clock: Callable[[], float] = lambda: 0.0
    frames: list[Frame] = field(default_factory=list)

    def peer(self, host: Host) -> Host:
        """Return the host at the other end."""
        return self.right if host is self.left else self.left

    def send(self, host: Host, packet: bytes, *, journey: bool = False) -> tuple[Outcome, list[Outcome]]:
        """Send a packet from the protected side of `host`: its own outcome, and one for each arrival."""
        outcome = host.engine.outbound(packet, journey=journey)
        host.delivered.extend(outcome.delivered)
        return outcome, list(self.carry(host, outcome.transmitted, journey=journey))

    def carry(self, sender: Host, packets: Iterable[bytes], *, journey: bool = False) -> Iterable[Outcome]:
        """Put packets on the wire as they are, a sender's or an intruder's, and yield what became of them."""
        receiver = self.peer(sender)
        for packet in packets:
            self.frames.append(Frame(sender.name, packet, self.clock()))
            outcome = receiver.engine.inbound(packet, journey=journey)
            receiver.delivered.extend(outcome.delivered)
            yield outcome
