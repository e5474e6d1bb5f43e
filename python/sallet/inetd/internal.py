"""The services that need no program: echo, discard, daytime.

No other service may enter, and nothing that waits: the one loop calls these when there is something to do.
Answers to: RFC 862, RFC 863, RFC 867.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CHUNK_BYTES: Final = 65536
_DATAGRAM_BYTES: Final = 65535
_LOW_PORT: Final = 512

Done = Callable[[], None]


def daytime() -> bytes:
    """Return the time of day as RFC 867 suggests: one line that people can read."""
    return f"{time.ctime()}\r\n".encode("ascii")


class Conversation:
    """One connection: what came is sent back, or thrown away, at the pace of the reader."""

    def __init__(
        self, connection: socket.socket, name: str, selector: selectors.BaseSelector, done: Done
    ) -> None:
        self._connection = connection
        self._echoes = name == "echo"
        self._says_once = name == "daytime"
        self._selector = selector
        self._done = done
        self._owed = daytime() if self._says_once else b""
        self._ended = False
        connection.setblocking(False)
        selector.register(
            connection, selectors.EVENT_WRITE if self._owed else selectors.EVENT_READ, self._ready
        )

    def close(self) -> None:
        """End it."""
        with suppress(KeyError):
            self._selector.unregister(self._connection)
        self._connection.close()
        self._done()

    def _ready(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_READ:
                self._receive()
            self._send()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._ended and not self._owed:
            self.close()
            return
        # While something is owed nothing more is taken: a slow reader holds its own sender back.
        self._selector.modify(
            self._connection, selectors.EVENT_WRITE if self._owed else selectors.EVENT_READ, self._ready
        )

    def _receive(self) -> None:
        data = self._connection.recv(_CHUNK_BYTES)
        self._ended = not data
        if self._echoes:
            self._owed += data

    def _send(self) -> None:
        if self._owed:
            self._owed = self._owed[self._connection.send(self._owed) :]
            if self._says_once and not self._owed:
                # What the other end says is taken until it has heard: closing over it would be an abort.
                self._connection.shutdown(socket.SHUT_WR)


def answer_datagram(name: str, held: socket.socket) -> None:
    """Take one datagram and answer as the service does.

    What comes from a port that services have is not answered: two such services would talk for ever.
    """
    try:
        data, sender = held.recvfrom(_DATAGRAM_BYTES, socket.MSG_DONTWAIT)
        if name == "discard" or sender[1] < _LOW_PORT:
            return
        held.sendto(daytime() if name == "daytime" else data, socket.MSG_DONTWAIT, sender)
    except OSError:
        # The sender's own trouble, reported here, or a queue that is full: UDP owes nobody an answer.
        return
