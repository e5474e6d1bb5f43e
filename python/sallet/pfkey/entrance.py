"""The listening sockets of PF_KEY: who is let in, with which rights, and who finds no room.

No message enters but the refusal. Answers to RFC 2367 §1 (who may open a socket) and to unix(7).
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sallet import sockets
from sallet.pfkey import codec
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.limits import Usage
from sallet.pfkey.rights import Access, Rights
from sallet.sockets import Credentials

logger = logging.getLogger(__name__)

ACCEPTS_A_TURN: Final = 16

Admit = Callable[[socket.socket, Handlers, Credentials, Rights], None]


class Entrance:
    """Accepts connections and hands on those that there is room for."""

    def __init__(self, access: Access, usage: Usage, admit: Admit) -> None:
        self._access = access
        self._usage = usage
        self._admit = admit
        self._listeners: list[tuple[socket.socket, Path, Handlers]] = []
        self._resting: list[tuple[socket.socket, Handlers]] = []
        self._selector: selectors.BaseSelector | None = None

    def listen(self, path: Path, handlers: Handlers) -> None:
        """Open a socket whose programs are served by these handlers.

        Raises:
            OSError: the path cannot be bound.
        """
        listener = sockets.bind(path, socket.SOCK_SEQPACKET, self._access.group)
        self._listeners.append((listener, path, handlers))
        if self._selector is not None:
            self._watch(listener, handlers)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Let an event loop watch the sockets."""
        self._selector = selector
        for listener, _, handlers in self._listeners:
            self._watch(listener, handlers)

    def close(self) -> None:
        """Close the sockets and remove the paths."""
        for listener, path, _ in self._listeners:
            if self._selector is not None:
                with suppress(KeyError):
                    self._selector.unregister(listener)
            listener.close()
            with suppress(FileNotFoundError):
                path.unlink()
        self._listeners.clear()
        self._resting.clear()

    def left(self, who: Credentials) -> None:
        """Hear that a connection is closed: there is room, and a descriptor, for another."""
        self._usage.leave(who.uid)
        resting, self._resting = self._resting, []
        for listener, handlers in resting:
            self._watch(listener, handlers)

    def _watch(self, listener: socket.socket, handlers: Handlers) -> None:
        if self._selector is not None:
            self._selector.register(
                listener, selectors.EVENT_READ, lambda mask: self._accept(listener, handlers)
            )

    def _accept(self, listener: socket.socket, handlers: Handlers) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptors left: rest until a connection closes, else the loop would spin.
                logger.warning("cannot accept a PF_KEY connection: %s", error.strerror)
                if self._selector is not None and self._usage.connections:
                    self._selector.unregister(listener)
                    self._resting.append((listener, handlers))
                return
            self._let_in(accepted, handlers)

    def _let_in(self, accepted: socket.socket, handlers: Handlers) -> None:
        who = sockets.credentials(accepted)
        rights = self._access.rights(who.uid, who.groups)
        if self._usage.enter(who.uid, privileged=self._access.privileged(who.uid)):
            self._admit(accepted, handlers, who, rights)
            return
        with suppress(OSError):
            accepted.send(codec.refusal(b"", errno.ENOBUFS), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        accepted.close()
