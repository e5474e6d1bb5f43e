"""The PF_KEY conversation of a daemon, as a listener sees it: decoded, replies with their requests.

No engine and no text for people enters; keys never come here. Answers to `sallet monitor`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sallet.client import ControlClient
from sallet.pfkey import codec
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import Message

if TYPE_CHECKING:
    from sallet.pfkey.constants import SadbMsgType

METHOD: Final = "monitor"
REQUESTS_KEPT_MAX: Final = 4096
"""Requests that wait for their reply; the oldest is forgotten when there are more."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One message, or a connection's begin or end."""

    client: int
    pid: int
    uid: int
    dialect: Dialect
    way: str
    """"asked", "answered", "told", "missed", "came" or "went"."""
    time_ns: int
    data: bytes = field(repr=False)
    message: Message | None = None
    """None where there is none, or where the bytes are no message."""
    malformed: int = 0
    """The errno that the bytes deserve."""
    latency_ns: int | None = None
    """From the request to this, its reply."""
    missed: int = 0
    """What was not told before this one, because it was not read fast enough."""

    @property
    def kind(self) -> int:
        """The message type, known or not; 0 where there is no message."""
        return self.data[1] if len(self.data) > 1 else 0


class Pairing:
    """Remembers requests until their replies come."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[int, int, int, int], int] = OrderedDict()

    def pair(self, one: Watched) -> Watched:
        """Return the same, with its latency if it is the reply to a request that was seen."""
        message = one.message
        if one.way == "went":
            for key in [key for key in self._asked if key[0] == one.client]:
                del self._asked[key]
        if message is None or one.way not in ("asked", "answered"):
            return one
        # All entries of a dump answer one request, and count down in its sequence number.
        dumps = message.type.name.endswith("DUMP")
        key = (one.client, message.type, message.pid, 0 if dumps else message.seq)
        if one.way == "asked":
            self._asked[key] = one.time_ns
            self._asked.move_to_end(key)
            while len(self._asked) > REQUESTS_KEPT_MAX:
                self._asked.popitem(last=False)
            return one
        started = self._asked.get(key)
        if started is None:
            return one
        if not dumps or message.seq == 0 or message.errno:
            del self._asked[key]
        return replace(one, latency_ns=one.time_ns - started)


def read(event: dict[str, Any]) -> Watched:
    """Make what the daemon says of a message into what can be shown."""
    dialect = DIALECTS[event["dialect"]]
    data = bytes.fromhex(event["data"])
    message: Message | None = None
    malformed = 0
    if data and (data[1:2] != b"\0" or event["way"] == "asked"):
        try:
            message = codec.decode(data, dialect)
        except codec.Malformed as error:
            malformed = error.errno
    return Watched(
        client=event["client"],
        pid=event["pid"],
        uid=event["uid"],
        dialect=dialect,
        way=event["way"],
        time_ns=event["time_ns"],
        data=data,
        message=message,
        malformed=malformed,
        missed=event.get("missed", 0),
    )


def watch(run_dir: Path) -> Generator[Watched]:
    """Hear the conversation of the daemon of a run directory from now on, until it ends.

    Raises:
        Failure: there is no daemon, or it may not be asked.
    """
    pairing = Pairing()
    with ControlClient(run_dir) as client:
        for event in client.stream(METHOD):
            yield pairing.pair(read(event))


def type_names() -> dict[str, SadbMsgType]:
    """Name every type of message, in lower case and without the X that marks extensions."""
    from sallet.pfkey.constants import SadbMsgType

    return {kind.name.removeprefix("X_").lower(): kind for kind in SadbMsgType if kind}
