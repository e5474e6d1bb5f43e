"""A scenario: what programs send on their PF_KEY sockets, step by step; and what came of it.

No expectation enters: two systems are compared. Answers to RFC 2367 §3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Copied:
    """Octets of a request that stand in an earlier answer: an id or an SPI that a system chose."""

    to: int
    """Offset in the request."""
    step: int
    """The step that was answered."""
    socket: str
    nth: int
    """Which of the messages that this socket received in that step."""
    offset: int
    """Offset in the answer."""
    size: int = 4


@dataclass(frozen=True, slots=True)
class Send:
    """A program sends a message."""

    data: bytes
    socket: str = "a"
    copied: tuple[Copied, ...] = ()


@dataclass(frozen=True, slots=True)
class Datagram:
    """A host sends a UDP datagram to another, or gets one where it stands in a network device's place."""

    source: tuple[str, int]
    destination: tuple[str, int]
    data: bytes = b"sallet"
    arrives: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Time passes."""

    secs: float


@dataclass(frozen=True, slots=True)
class Close:
    """A program closes its socket."""

    socket: str


@dataclass(frozen=True, slots=True)
class Bind:
    """A program opens a UDP socket, sets its policies, and binds it unless the port is 0; Close closes it."""

    socket: str
    policies: tuple[bytes, ...]
    version: int = 4
    port: int = 5001


Step: TypeAlias = Send | Datagram | Wait | Close | Bind


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps on sockets that are all open from the beginning."""

    name: str
    steps: tuple[Step, ...]
    sockets: tuple[str, ...] = ("a",)

    def as_orders(self) -> dict[str, Any]:
        """Write it for the program inside the other kernel."""
        return {
            "name": self.name,
            "sockets": self.sockets,
            "steps": [_order(step) for step in self.steps],
        }


def _order(step: Step) -> dict[str, Any]:
    if isinstance(step, Send):
        copied = [[one.to, one.step, one.socket, one.nth, one.offset, one.size] for one in step.copied]
        return {"do": "send", "socket": step.socket, "data": step.data.hex(), "copied": copied}
    if isinstance(step, Datagram):
        return {
            "do": "datagram",
            "source": step.source,
            "destination": step.destination,
            "data": step.data.hex(),
        }
    if isinstance(step, Wait):
        return {"do": "wait", "secs": step.secs}
    if isinstance(step, Bind):
        return {
            "do": "bind",
            "socket": step.socket,
            "policies": [said.hex() for said in step.policies],
            "version": step.version,
            "port": step.port,
        }
    return {"do": "close", "socket": step.socket}


def one(name: str, *data: bytes, sockets: tuple[str, ...] = ("a",)) -> Scenario:
    """Make a scenario of messages that one program sends."""
    return Scenario(name, tuple(Send(message) for message in data), sockets)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one step: what then arrived on which socket, in its order."""

    received: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
