"""What every room behind the door works on: an engine, a dialect, and what changes the engine's databases.

No message is served here. Answers to ARCHITECTURE.md section E.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from sallet import _core
from sallet.pfkey import render
from sallet.pfkey.changes import Changes
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.dump_shape import dump_shape
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply, reply
from sallet.pfkey.messages import Extension, Message


class Serving:
    """An engine served in a dialect."""

    def __init__(self, engine: _core.Engine, dialect: Dialect, changes: Changes) -> None:
        """Keep the three, and what the engine's algorithms may be named for."""
        self.engine = engine
        self.dialect = dialect
        self.changes = changes
        self.dump_shape = dump_shape(dialect)
        rows = _core.algorithms()
        self._offered = frozenset(row.name for row in rows if row.manual_keys)
        # A key manager is not asked for what is kept for old peers only: a person may ask for it.
        self.proposed = {row.name: row.kind for row in rows if row.manual_keys and not row.legacy}

    def supported(self) -> Mapping[SadbExtType, Extension]:
        """List what the engine provides, in the dialect's numbers."""
        return render.supported(self.dialect, self._offered)

    def error(self, message: Message, number: int) -> Reply:
        """Answer a message with an errno."""
        extensions = message.extensions if self.dialect.errors_echo_request else {}
        return reply(message, extensions, errno=number)

    def answered(self, message: Message, view: _core.SaView) -> None:
        """Note that what a message asked for is there, in answer to the ACQUIRE with its sequence number."""
        if message.seq:
            self.engine.acquire_answered(message.seq, view)

    def association(
        self, message: Message, view: _core.SaView, delivery: Delivery, state: str | None = None
    ) -> Reply:
        """Answer a message with an association, in the shape that the dialect gives such an answer."""
        extensions = render.association(view, message.type, self.dialect, state=state)
        return reply(message, extensions, delivery=delivery, subject=view)

    def policy(self, message: Message, view: _core.PolicyView, delivery: Delivery, references: int) -> Reply:
        """Answer a message with a policy, in the shape that the dialect gives such an answer."""
        extensions = render.policy(view, message.type, self.dialect, self.changes.made_reqid)
        reserved = self.references(references)
        satype = 0 if self.dialect.policies_without_satype else message.satype
        return reply(message, extensions, satype=satype, delivery=delivery, subject=view, reserved=reserved)

    def references(self, count: int) -> int:
        """Linux counts the caller, the database and a timer; programs print it and nothing more."""
        return count if self.dialect.reference_counts else 0


Handler: TypeAlias = Callable[[Serving, Message, Peer], Iterable[Reply]]
"""Serves one message: replies out, each with who hears it; the changes are done on return."""
