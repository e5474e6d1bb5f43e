"""The door: a message is checked against the tables and led to its room; a refusal becomes an errno.

No message is served here. Answers to RFC 2367 §3.1 and to the KAME extensions for the SPD.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sallet import _core
from sallet.pfkey import render
from sallet.pfkey.changes import Changes, HookFailed
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.convert import Refusal
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.handlers import associations, larval, listeners, migrating, policies
from sallet.pfkey.handlers.events import Event, message_of
from sallet.pfkey.handlers.replies import Peer, Reply, Spoken
from sallet.pfkey.handlers.serving import Handler, Serving
from sallet.pfkey.messages import Message, Proposal

_T: Final = SadbMsgType


class Handlers(Serving):
    """Serves the messages of one dialect on an engine."""

    def __init__(
        self, engine: _core.Engine, dialect: str | Dialect = "sallet", changes: Changes | None = None
    ) -> None:
        """Serve an engine in a dialect; several dialects on one engine share their `changes`."""
        row = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        super().__init__(engine, row, Changes(engine) if changes is None else changes)

    def handle(self, message: Message, peer: Peer | None = None) -> list[Reply]:
        """Serve one message and return what is to be sent, a whole dump included."""
        return list(self.answer(message, peer))

    def answer(self, message: Message, peer: Peer | None = None) -> Iterable[Reply]:
        """Serve one message; a dump is an iterator over a snapshot, the changes are done on return."""
        handler = HANDLERS.get(message.type)
        if handler is None:
            return [self.error(message, self.dialect.unsupported_errno)]
        try:
            for kind in self.dialect.required.get(message.type, ()):
                if kind not in message.extensions:
                    raise Refusal("missing-extension")
            self._check_satype(message)
            return handler(self, message, Peer() if peer is None else peer)
        except (Refusal, _core.EngineError) as refused:
            return [self.error(message, self._errno(message.type, refused.kind))]
        except HookFailed:
            return [self.error(message, self._errno(message.type, "hook-failed"))]

    def _check_satype(self, message: Message) -> None:
        """Refuse an association type that is not provided, or that policies have no use for."""
        dialect = self.dialect
        if message.type is _T.X_SPDDUMP and dialect.policies_by_scope:
            return
        if message.satype in dialect.satypes_elsewhere:
            raise Refusal("unsupported")
        if message.type in policies.SPD_MESSAGES and message.satype in dialect.satypes_not_in_spd:
            raise Refusal("unknown-satype")

    def _errno(self, kind: SadbMsgType, word: str) -> int:
        own = self.dialect.errno_by_message.get((kind, word))
        return self.dialect.errno_by_kind[word] if own is None else own

    def tell(self, reply: Reply) -> Message:
        """Say in this dialect what another dialect's reply says."""
        subject = reply.subject
        if reply.errno:
            return replace(reply, extensions={})
        if isinstance(subject, _core.SaView):
            state = "dead" if reply.type is _T.DELETE else None
            return replace(
                reply, extensions=render.association(subject, reply.type, self.dialect, state=state)
            )
        if isinstance(subject, _core.PolicyView):
            # Where nobody knows a policy without requests, it was added like any other.
            kind = reply.type if reply.type in self.dialect.shapes else _T.X_SPDADD
            if kind is _T.X_SPDSETIDX and self.dialect.setidx_replaces:
                kind = _T.X_SPDADD
            return replace(
                reply,
                type=kind,
                extensions=render.policy(subject, kind, self.dialect, self.changes.made_reqid),
            )
        if reply.type is _T.REGISTER:
            return replace(reply, extensions=self.supported())
        known = self.dialect.extension_numbers
        told = {kind: value for kind, value in reply.extensions.items() if kind in known}
        proposal = told.get(SadbExtType.PROPOSAL)
        if isinstance(subject, Spoken) and isinstance(proposal, Proposal):
            told[SadbExtType.PROPOSAL] = render.translated(proposal, subject.dialect, self.dialect)
        return replace(reply, extensions=told)

    def event(self, event: Event) -> Message | None:
        """Say an event of the engine in this dialect; None where the dialect has no message for it."""
        return message_of(self, event)


HANDLERS: Final[dict[SadbMsgType, Handler]] = {
    _T.GETSPI: larval.getspi,
    _T.UPDATE: larval.update,
    _T.ADD: associations.add,
    _T.DELETE: associations.delete,
    _T.GET: associations.get,
    _T.ACQUIRE: listeners.acquired,
    _T.REGISTER: listeners.register,
    _T.FLUSH: associations.flush,
    _T.DUMP: associations.dump,
    _T.X_PROMISC: listeners.promisc,
    _T.X_SPDUPDATE: policies.spdupdate,
    _T.X_SPDADD: policies.spdadd,
    _T.X_SPDDELETE: policies.spddelete,
    _T.X_SPDGET: policies.spdget,
    _T.X_SPDDUMP: policies.spddump,
    _T.X_SPDFLUSH: policies.spdflush,
    _T.X_SPDSETIDX: policies.spdsetidx,
    _T.X_SPDDELETE2: policies.spddelete2,
    _T.X_MIGRATE: migrating.migrate,
}
"""What a program may send; everything else is refused."""
