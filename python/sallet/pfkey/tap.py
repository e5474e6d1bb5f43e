"""What a watcher sees of the PF_KEY conversation: each message with client, time and way; no keys.

No meaning of a message and no socket enters. Answers to `sallet monitor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sallet.pfkey import codec

if TYPE_CHECKING:
    from sallet.pfkey.dialects import Dialect
    from sallet.sockets import Credentials

Way = Literal["asked", "answered", "told", "missed", "came", "went"]
"""A request, its reply, what others caused, what a stuck listener lost; a connection's begin and end."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message, or a connection that came or went."""

    client: int
    """Number of the connection; no two of a daemon's life have the same."""
    who: Credentials
    dialect: str
    way: Way
    data: bytes
    """The message, zeros where keys were; empty where there is none."""
    time_ns: int = field(default_factory=time.time_ns)


class Tap:
    """Hands what is heard to whoever listens; without listeners it costs one test for each message."""

    def __init__(self) -> None:
        self._listeners: dict[Callable[[Heard], None], None] = {}

    @property
    def active(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def open(self, listener: Callable[[Heard], None]) -> Callable[[], None]:
        """Hand everything from now on to a listener; what is returned ends that."""
        self._listeners[listener] = None

        def close() -> None:
            self._listeners.pop(listener, None)

        return close

    def hear(self, client: int, who: Credentials, dialect: Dialect, way: Way, data: bytes) -> None:
        """Tell the listeners of a message."""
        heard = Heard(client, who, dialect.name, way, codec.without_keys(data, dialect))
        for listener in list(self._listeners):
            listener(heard)
