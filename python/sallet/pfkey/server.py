"""PF_KEY for every connection: who may ask what, and who hears which message.

No database and no layout enters. Answers to RFC 2367 §1 and §3 (delivery), to AF_KEY of Linux and KAME for
promiscuous copies, and to ARCHITECTURE.md section E.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.changes import Changes, HookFailed
from sallet.pfkey.connection import Connection
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.dumping import DumpStream, cut
from sallet.pfkey.entrance import Entrance
from sallet.pfkey.handlers import SPD_CHANGES, Delivery, Dump, Event, Handlers, Reply
from sallet.pfkey.limits import Limits, Usage
from sallet.pfkey.messages import Message
from sallet.pfkey.rights import Access, Rights, permitted
from sallet.pfkey.tap import Tap
from sallet.sockets import Credentials

_KEYS: Final = frozenset({SadbExtType.KEY_AUTH, SadbExtType.KEY_ENCRYPT})

logger = logging.getLogger(__name__)


class PfkeyServer:
    """Serves one engine to every program that may connect, each in the dialect of the socket it chose."""

    def __init__(
        self,
        engine: _core.Engine,
        *,
        spd_changed: Callable[[], None] | None = None,
        changes: Changes | None = None,
        dialects: Mapping[str, Dialect] = DIALECTS,
        access: Access | None = None,
        limits: Limits | None = None,
        cleanup_on_close: bool = False,
    ) -> None:
        """Serve an engine; `spd_changed` follows each change before its reply, see `Changes`.

        With `cleanup_on_close`, what a key manager (a connection that registered) made leaves with it.
        """
        self.usage = Usage(Limits() if limits is None else limits)
        self.tap = Tap()
        self._engine = engine
        self._dialects = dialects
        self._changes = Changes(engine, spd_changed) if changes is None else changes
        self._handlers: dict[str, Handlers] = {}
        self._entrance = Entrance(Access(os.geteuid()) if access is None else access, self.usage, self._admit)
        self._connections: dict[Connection, None] = {}
        self._selector: selectors.BaseSelector | None = None
        self._told_dropped = 0
        self._malformed = 0
        self._not_permitted = 0
        self._internal_errors = 0
        self._cleans_up = cleanup_on_close
        self._gathered: list[tuple[bytes, Message]] = []

    def listen(self, path: Path, dialect: str) -> None:
        """Open a socket, mode 0660, whose programs speak a dialect; what is left of an old one is removed.

        Raises:
            KeyError: no such dialect.
            OSError: the path cannot be bound.
        """
        handlers = self._handlers.get(dialect)
        if handlers is None:
            handlers = self._handlers[dialect] = Handlers(
                self._engine, self._dialects[dialect], self._changes
            )
        self._entrance.listen(path, handlers)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Let an event loop watch the sockets; each key's `data` is a callable that gets the mask."""
        self._selector = selector
        self._entrance.attach(selector)

    def close(self) -> None:
        """Close every socket and remove the paths; what their programs made stays."""
        self._cleans_up = False
        for connection in list(self._connections):
            connection.close()
        self._entrance.close()

    def counters(self) -> dict[str, int]:
        """Count connections, messages lost by listeners that do not read, refusals, own errors."""
        return {
            "connections": len(self._connections),
            "registered": sum(bool(connection.peer.registered) for connection in self._connections),
            "dumps": self.usage.dumps,
            "told_dropped": self._told_dropped + sum(one.told_dropped for one in self._connections),
            "malformed": self._malformed,
            "not_permitted": self._not_permitted,
            "internal_errors": self._internal_errors,
            **{f"refused_{limit}": count for limit, count in sorted(self.usage.refused.items())},
        }

    # Connections.

    def _admit(self, accepted: socket.socket, handlers: Handlers, who: Credentials, rights: Rights) -> None:
        connection = Connection(self, accepted, handlers, who, rights)
        self._connections[connection] = None
        if self._selector is not None:
            connection.attach(self._selector)

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that is closed."""
        self._connections.pop(connection, None)
        if connection.peer.reserved:
            self._changes.reservations_end(connection.number)
        if self._cleans_up and connection.peer.registered:
            self._changes.remove_of(connection.number)
        self._told_dropped += connection.told_dropped
        self._entrance.left(connection.who)

    # Requests.

    def serve(self, origin: Connection, data: bytes) -> None:
        """Take a request; a change of the SPD waits for those behind it, everything else is answered."""
        if not permitted(data[1] if len(data) > 1 else 0, origin.rights):
            self._not_permitted += 1
            self.served(origin)
            origin.reply(codec.refusal(data, errno.EACCES))
            return
        message = self._understood(origin, data)
        if not isinstance(message, int) and message.type in SPD_CHANGES:
            self._gathered.append((data, message))
            origin.unanswered = len(self._gathered)
            return
        self.served(origin)
        if isinstance(message, int):
            self._malformed += 1
            origin.reply(codec.refusal(data, message))
            return
        self._answer(origin, data, partial(origin.handlers.answer, message, origin.peer))

    def _understood(self, origin: Connection, data: bytes) -> Message | int:
        """Read a request, or return the errno for what is none."""
        dialect = origin.handlers.dialect
        if dialect.message_bytes_max is not None and len(data) > dialect.message_bytes_max:
            return errno.ENOBUFS
        try:
            message = codec.decode_request(data, dialect)
        except codec.Malformed as malformed:
            return malformed.errno
        if dialect.promiscuous_sees_requests:
            self._show_request(origin.handlers, data)
        return message

    def served(self, origin: Connection) -> None:
        """Make the gathered changes of the SPD, follow them, and only then tell of them."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        origin.unanswered = 0
        answers: list[Callable[[], Iterable[Reply]]]
        try:
            answers = self._changed_together(origin, [message for _, message in gathered])
        except Exception as error:
            answers = [partial(_fail, error)] * len(gathered)
        for (data, _), answer in zip(gathered, answers, strict=True):
            self._answer(origin, data, answer)

    def _changed_together(
        self, origin: Connection, messages: Sequence[Message]
    ) -> list[Callable[[], Iterable[Reply]]]:
        """Make changes of the SPD with one hook for all; if that fails, each half for itself."""
        if len(messages) > 1:
            self._changes.begin()
        answers = [self._kept(partial(origin.handlers.answer, message, origin.peer)) for message in messages]
        try:
            self._changes.commit()
        except HookFailed:
            middle = len(messages) // 2
            return [
                *self._changed_together(origin, messages[:middle]),
                *self._changed_together(origin, messages[middle:]),
            ]
        return answers

    @staticmethod
    def _kept(answer: Callable[[], Iterable[Reply]]) -> Callable[[], Iterable[Reply]]:
        """Get an answer now and give it, or what it raised, later."""
        try:
            found = answer()
        except Exception as error:
            return partial(_fail, error)
        return lambda: found

    def _answer(self, origin: Connection, data: bytes, answer: Callable[[], Iterable[Reply]]) -> None:
        try:
            replies = answer()
            if isinstance(replies, Dump):
                self._dump(origin, data, replies)
            else:
                for reply in replies:
                    self._deliver(origin, reply)
        except Exception:
            # A fault of ours must cost one request, not the daemon and everybody's keys.
            logger.exception("a request of type %d met a fault of sallet", data[1])
            self._internal_errors += 1
            origin.reply(codec.refusal(data, errno.EIO))

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.10
    # # DUMP is one message for each SA, from one snapshot, and says which is the last
    def _dump(self, origin: Connection, request: bytes, dump: Dump) -> None:
        """Send a dump as fast as it is read, whole; or as old systems cut it, if a quirk asks for that."""
        dialect = origin.handlers.dialect
        if dialect.dump_overflow != "waits":
            fits = cut(dump, dialect.dump_overflow, origin.room())
            for data in [codec.refusal(request, errno.ENOBUFS)] if fits is None else fits:
                origin.reply(data)
        elif self.usage.dumped_entries + len(dump) > self.usage.limits.dumped_entries:
            self.usage.refuse("dumped_entries")
            origin.reply(codec.refusal(request, errno.ENOBUFS))
        else:
            origin.reply(DumpStream(dump, self.usage, partial(self._show_entry, origin.handlers)))

    def _show_entry(self, handlers: Handlers, dump: Dump, nth: int) -> None:
        if any(connection.peer.promiscuous for connection in self._connections):
            self._show(dump.reply(nth), handlers)

    def _deliver(self, origin: Connection, reply: Reply) -> None:
        said = _Said(reply, origin.handlers)
        self._show(reply, origin.handlers, said)
        if reply.delivery is not Delivery.ONE:
            everybody = reply.delivery is Delivery.ALL
            for connection in list(self._connections):
                if connection is not origin and (everybody or connection.peer.registered):
                    connection.tell(said.by(connection.handlers))
        origin.reply(codec.encode(reply, origin.handlers.dialect))

    # Promiscuous copies: one more of each message, whoever it is for.

    def _show(self, reply: Reply, handlers: Handlers, said: _Said | None = None) -> None:
        for connection in list(self._connections):
            if connection.peer.promiscuous:
                said = said or _Said(reply, handlers)
                self._show_bytes(connection, said.by(connection.handlers), reply.satype)

    def _show_request(self, handlers: Handlers, data: bytes) -> None:
        for connection in list(self._connections):
            if connection.peer.promiscuous and connection.handlers is handlers:
                self._show_bytes(connection, codec.without_keys(data, handlers.dialect), 0)

    def _show_bytes(self, connection: Connection, data: bytes, satype: int) -> None:
        if connection.handlers.dialect.promiscuous_copies_wrapped:
            data = codec.wrap_promiscuous(data, satype)
        connection.tell(data)

    # Events of the engine.

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    # # ACQUIRE goes to registered sockets only, and an error from there frees what waits
    def engine_event(self, event: Event) -> None:
        """Tell the registered sockets of an event, and let the host follow what it changed."""
        if isinstance(event, _core.ExpireEvent) and event.hard:
            self._changes.sa_expired(event.sa)
        elif isinstance(event, _core.PolicyExpireEvent):
            self._changes.policy_expired(event.policy)
        told: dict[str, bytes | None] = {}
        for connection in list(self._connections):
            handlers = connection.handlers
            if not connection.peer.registered and not connection.peer.promiscuous:
                continue
            dialect = handlers.dialect
            if dialect.name not in told:
                message = handlers.event(event)
                told[dialect.name] = None if message is None else codec.encode(message, dialect)
            data = told[dialect.name]
            if data is None:
                continue
            if connection.peer.promiscuous:
                self._show_bytes(connection, data, 0)
            if connection.peer.registered:
                connection.tell(data)


def _fail(error: Exception) -> Iterable[Reply]:
    raise error


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.3
# # the reply to ADD goes to all listeners, without keys
class _Said:
    """A reply as others hear it, in each dialect: written once for each, and without keys."""

    def __init__(self, reply: Reply, handlers: Handlers) -> None:
        self._reply = reply
        self._handlers = handlers
        self._bytes: dict[str, bytes] = {}

    def by(self, handlers: Handlers) -> bytes:
        data = self._bytes.get(handlers.dialect.name)
        if data is None:
            own = handlers is self._handlers
            message: Message = self._reply if own else handlers.tell(self._reply)
            if not _KEYS.isdisjoint(message.extensions):
                kept = {kind: one for kind, one in message.extensions.items() if kind not in _KEYS}
                message = replace(message, extensions=kept)
            data = self._bytes[handlers.dialect.name] = codec.encode(message, handlers.dialect)
        return data
