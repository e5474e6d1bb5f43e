"""Serves the control connection: reads lines, calls the methods it was given, writes lines.

No engine and no meaning of a method may enter: `daemon` hands the methods in.
Answers to: ARCHITECTURE.md section B; one loop for all sockets, whose keys carry a callable of the mask.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sallet import sockets
from sallet.control import protocol
from sallet.control.protocol import BadRequest, Refusal, Reply
from sallet.failure import Failure
from sallet.pfkey.rights import ALL, Access, Rights

logger = logging.getLogger(__name__)

Method = Callable[..., Any]
Tell = Callable[[dict[str, Any]], None]
Stream = Callable[[Tell], Callable[[], None]]
"""Starts to tell, and returns what ends that."""
_EACCES = os.strerror(errno.EACCES)
_ASK_ROOT = "ask as root, as the user who started it, or as a member of its --group"
_UNSENT_BYTES_MAX = 1 << 20
"""A client that does not read its replies is not read from either."""


class ControlServer:
    """The listening socket, and one `_Connection` for each client."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        access: Access | None = None,
        streams: Mapping[str, Stream] | None = None,
        writes: Collection[str] = (),
    ) -> None:
        """Serve methods, which answer once, and streams, which go on answering, to those who may read.

        `writes` names methods that are for those who may write.
        """
        self._writes = frozenset(writes)
        self._methods = dict(methods)
        self._streams = dict(streams or {})
        self._access = Access(os.geteuid()) if access is None else access
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._selector: selectors.BaseSelector | None = None
        self._connections: set[_Connection] = set()

    def listen(self, path: Path) -> None:
        """Bind the socket; a stale one of the same name is replaced (its directory is locked)."""
        self._listener = sockets.bind(path, socket.SOCK_STREAM, self._access.group)
        self._path = path

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Join the loop."""
        if self._listener is None:
            raise RuntimeError("listen first")
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Leave the loop, close every connection and remove the socket."""
        for connection in list(self._connections):
            connection.close()
        if self._listener is not None:
            if self._selector is not None:
                self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def answer(self, line: bytes, rights: Rights = ALL) -> Reply:
        """Carry out one request line; whatever happens becomes a reply."""
        try:
            request = protocol.decode_request(line)
        except BadRequest as error:
            return Reply(0, refusal=Refusal("this is no request", why=str(error)))
        if not (rights.write if request.method in self._writes else rights.read):
            refusal = Refusal("you may not ask this daemon", request.method, _EACCES, _ASK_ROOT, "permission")
            return Reply(request.id, refusal=refusal)
        if request.method in self._streams:
            return _Telling(request.id, {"telling": request.method}, stream=self._streams[request.method])
        method = self._methods.get(request.method)
        if method is None:
            known = ", ".join(sorted((*self._methods, *self._streams)))
            return Reply(
                request.id, refusal=Refusal("there is no such method", request.method, f"known are {known}")
            )
        try:
            return Reply(request.id, method(**request.params))
        except Failure as failure:
            return Reply(request.id, refusal=_refusal(failure))
        except (TypeError, ValueError, ArithmeticError, LookupError, OSError) as error:
            return Reply(request.id, refusal=Refusal("the request cannot be met", request.method, str(error)))
        except Exception as error:
            # A fault of ours must cost one request, not the daemon and everybody's keys.
            logger.exception("a %s request met a fault of sallet", request.method)
            why = f"{type(error).__name__}: {error}"
            return Reply(request.id, refusal=Refusal("an error in sallet itself", request.method, why))

    def _accept(self, _mask: int) -> None:
        if self._listener is None or self._selector is None:
            return
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return  # It went away before it was met, or no descriptor is free; others still wait.
        accepted.setblocking(False)
        who = sockets.credentials(accepted)
        rights = self._access.rights(who.uid, who.groups)
        self._connections.add(_Connection(self, accepted, self._selector, self._connections, rights))


@dataclass(frozen=True, slots=True)
class _Telling(Reply):
    """The first answer of a stream, with what will go on answering."""

    stream: Stream = field(kw_only=True)


class _Connection:
    """One client: bytes that are no line yet, and bytes that did not fit into the socket yet."""

    def __init__(
        self,
        server: ControlServer,
        stream: socket.socket,
        selector: selectors.BaseSelector,
        others: set[_Connection],
        rights: Rights,
    ) -> None:
        self._rights = rights
        self._server, self._stream, self._selector, self._others = server, stream, selector, others
        self._telling: list[Callable[[], None]] = []
        self._missed = 0
        self._unread = bytearray()
        self._unsent = bytearray()
        selector.register(stream, selectors.EVENT_READ, self._ready)

    def close(self) -> None:
        if self in self._others:
            self._others.discard(self)
            for end in self._telling:
                end()
            self._selector.unregister(self._stream)
            self._stream.close()

    def _ready(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_READ and not self._read():
                self.close()
                return
            self._write()
        except OSError:
            self.close()

    def _read(self) -> bool:
        """Take what has come and answer the whole lines in it; False if the client is done."""
        data = self._stream.recv(65536)
        if not data:
            return False
        self._unread += data
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest
        for line in lines:
            if line.strip():
                reply = self._server.answer(bytes(line), self._rights)
                self._unsent += protocol.encode_reply(reply)
                if isinstance(reply, _Telling):
                    self._telling.append(reply.stream(partial(self._tell, reply.id)))
        return len(rest) <= protocol.REQUEST_BYTES_MAX

    def _tell(self, identifier: int, event: dict[str, Any]) -> None:
        """Let an event wait for its reader; if too much waits, it is lost, and the next one says so."""
        if len(self._unsent) >= _UNSENT_BYTES_MAX:
            self._missed += 1
            return
        if self._missed:
            event = {**event, "missed": self._missed}
            self._missed = 0
        self._unsent += protocol.encode_event(identifier, event)
        self._selector.modify(self._stream, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)

    def _write(self) -> None:
        if self._unsent:
            try:
                sent = self._stream.send(self._unsent)
            except BlockingIOError:
                sent = 0
            del self._unsent[:sent]
        events = selectors.EVENT_WRITE if self._unsent else 0
        if len(self._unsent) < _UNSENT_BYTES_MAX:
            events |= selectors.EVENT_READ
        self._selector.modify(self._stream, events, self._ready)


def _refusal(failure: Failure) -> Refusal:
    return Refusal(failure.what, failure.where, failure.why, failure.next_step, failure.kind)
