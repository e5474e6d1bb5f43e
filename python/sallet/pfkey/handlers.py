"""One function for each message that a program may send: message in, replies out, each with who hears it.

No bytes and no socket enters; how systems differ is asked of the dialect's tables.
Answers to RFC 2367 §3.1 and to the KAME extensions for the SPD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, TypeVar

from sallet import _core
from sallet.pfkey import convert, render
from sallet.pfkey.changes import Changes, HookFailed
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.convert import Refusal
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import Extension, Message, Policy, Sa, SpiRange

_E: Final = SadbExtType
_T: Final = SadbMsgType
_View = TypeVar("_View", _core.SaView, _core.PolicyView)

SPI_RANGE: Final = SpiRange(0x100, 0x0FFFFFFF)
"""Where GETSPI looks if it is not told."""


SPD_CHANGES: Final = frozenset(
    {_T.X_SPDUPDATE, _T.X_SPDADD, _T.X_SPDDELETE, _T.X_SPDFLUSH, _T.X_SPDSETIDX, _T.X_SPDDELETE2}
)
"""Messages that change the SPD and nothing else; several of them can be followed at once."""
_SPD_MESSAGES: Final = SPD_CHANGES | {_T.X_SPDGET, _T.X_SPDDUMP}


class Delivery(Enum):
    """Who hears a message."""

    ONE = auto()
    """The socket that asked."""
    ALL = auto()
    """Every open socket."""
    REGISTERED = auto()
    """Every socket that registered anything, and the one that asked."""


@dataclass(slots=True)
class Peer:
    """What a connection has asked for itself."""

    registered: set[int] = field(default_factory=set)
    promiscuous: bool = False


@dataclass(frozen=True, slots=True)
class Reply(Message):
    """A message with who hears it, and what it tells about, so that other dialects can tell it their way."""

    delivery: Delivery = Delivery.ONE
    subject: _core.SaView | _core.PolicyView | None = field(default=None, repr=False)


Event: TypeAlias = "_core.AcquireEvent | _core.ExpireEvent | _core.NewMappingEvent | _core.PolicyExpireEvent"
"""What the engine tells key managers."""

Handler: TypeAlias = "Callable[[Handlers, Message, Peer], Iterable[Reply]]"


class Handlers:
    """Serves the messages of one dialect on an engine."""

    def __init__(
        self, engine: _core.Engine, dialect: str | Dialect = "sallet", changes: Changes | None = None
    ) -> None:
        """Serve an engine in a dialect; several dialects on one engine share their `changes`."""
        self.engine = engine
        self.dialect = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        self.changes = Changes(engine) if changes is None else changes
        rows = _core.algorithms()
        self._offered = frozenset(row.name for row in rows if row.manual_keys)
        # A key manager is not asked for what is kept for old peers only: a person may ask for it.
        self._proposed = {row.name: row.kind for row in rows if row.manual_keys and not row.legacy}

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
        if message.type in _SPD_MESSAGES and message.satype in dialect.satypes_not_in_spd:
            raise Refusal("unknown-satype")

    def _errno(self, kind: SadbMsgType, word: str) -> int:
        own = self.dialect.errno_by_message.get((kind, word))
        return self.dialect.errno_by_kind[word] if own is None else own

    def error(self, message: Message, number: int) -> Reply:
        """Answer a message with an errno."""
        extensions = message.extensions if self.dialect.errors_echo_request else {}
        return _reply(message, extensions, errno=number)

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
            return replace(reply, type=kind, extensions=render.policy(subject, kind, self.dialect))
        if reply.type is _T.REGISTER:
            return replace(reply, extensions=self._supported())
        known = self.dialect.extension_numbers
        return replace(
            reply, extensions={kind: value for kind, value in reply.extensions.items() if kind in known}
        )

    # Events of the engine.

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.8
    # # EXPIRE says soft once and hard once, with the current counters
    def event(self, event: Event) -> Message | None:
        """Say an event in this dialect; None where the dialect has no message for it."""
        if isinstance(event, _core.AcquireEvent):
            view = self.engine.spd_lookup(event.policy)
            extensions = render.acquire(event, view, self.dialect, self._proposed)
            satype = self.dialect.satype_numbers[event.template.protocol]
            return Message(_T.ACQUIRE, satype, seq=event.id, extensions=extensions)
        if isinstance(event, _core.ExpireEvent):
            extensions = render.association(event.sa, _T.EXPIRE, self.dialect, hard=event.hard)
            satype = self.dialect.satype_numbers[event.sa.protocol]
            return Message(_T.EXPIRE, satype, extensions=extensions)
        if isinstance(event, _core.NewMappingEvent):
            if _T.X_NAT_T_NEW_MAPPING not in self.dialect.shapes:
                return None
            satype = self.dialect.satype_numbers[event.sa.protocol]
            return Message(_T.X_NAT_T_NEW_MAPPING, satype, extensions=render.new_mapping(event, self.dialect))
        if _T.X_SPDEXPIRE not in self.dialect.shapes:
            return None
        return Message(_T.X_SPDEXPIRE, extensions=render.policy(event.policy, _T.X_SPDEXPIRE, self.dialect))

    # The SAD.

    def _told(
        self, message: Message, view: _core.SaView, delivery: Delivery, state: str | None = None
    ) -> Reply:
        extensions = render.association(view, message.type, self.dialect, state=state)
        return _reply(message, extensions, delivery=delivery, subject=view)

    def getspi(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Reserve an SPI by a larval SA (RFC 2367 §3.1.1)."""
        convert.refuse_unserved(message)
        source, destination = convert.ends(message)
        found = convert.protocol(message, self.dialect)
        mode, reqid = convert.mode_and_reqid(message, self.dialect)
        asked = convert.maybe(message, _E.SPIRANGE, SpiRange) or SPI_RANGE
        if asked.minimum > asked.maximum:
            raise Refusal("out-of-range")
        spi = self.engine.sad_getspi(
            found,
            source.address,
            destination.address,
            mode=mode,
            reqid=reqid,
            minimum=asked.minimum,
            maximum=asked.maximum,
            owner=message.pid,
        )
        view = self.engine.sad_lookup(spi, found, destination.address)
        if view is None:
            raise Refusal("not-found")
        return [self._told(message, view, Delivery.ONE)]

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.3
    # # the reply to ADD goes to all listeners, without keys
    def add(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Add a mature SA (RFC 2367 §3.1.3)."""
        view = self.changes.sad_add(convert.sa_params(message, self.dialect))
        return [self._told(message, view, Delivery.ALL)]

    def update(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Complete a larval SA, or change the lifetimes of a living one (RFC 2367 §3.1.2)."""
        dialect = self.dialect
        lives = dialect.update_by_owner and self._to_update(message).state != "larval"
        if lives and dialect.update_refuses_keys:
            if {_E.KEY_AUTH, _E.KEY_ENCRYPT} & set(message.extensions):
                raise Refusal("invalid-state")
            view = self.changes.sad_update(convert.sa_params(message, dialect, with_keys=False))
            return [self._told(message, view, Delivery.ALL)]
        try:
            view = self.changes.sad_update(convert.sa_params(message, self.dialect))
        except _core.EngineError as error:
            if error.kind != "invalid-state" or not self.dialect.update_ignores_keys:
                raise
            view = self.changes.sad_update(convert.sa_params(message, self.dialect, with_keys=False))
        return [self._told(message, view, Delivery.ALL)]

    def _to_update(self, message: Message) -> _core.SaView:
        """Find the SA that an UPDATE means, where only its maker's will do."""
        source, destination = convert.ends(message)
        found = convert.protocol(message, self.dialect)
        mode, reqid = convert.mode_and_reqid(message, self.dialect)
        view = self.engine.sad_lookup(convert.need(message, _E.SA, Sa).spi, found, destination.address)
        if view is None:
            raise Refusal(self._missing(found, source.address, destination.address))
        if view.owner != message.pid:
            raise Refusal("not-owner")
        fits = view.source == source.address and view.mode in ("any", mode) and reqid in (0, view.reqid)
        if self.dialect.update_compares and not fits:
            raise Refusal("unlike")
        return view

    def _missing(
        self, protocol: str, source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address
    ) -> str:
        """Tell an SPI that is not there from a pair of addresses that has no SA."""
        words = self.dialect.errno_by_kind
        if words.get("unknown-spi", words["not-found"]) == words["not-found"]:
            return "not-found"
        others = self.engine.sad_dump(protocol)
        known = any((view.source, view.destination) == (source, destination) for view in others)
        return "unknown-spi" if known else "not-found"

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.4
    # # DELETE names an SA by SPI and addresses; one that is not there is ESRCH
    def delete(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Remove one SA, or those between two addresses where the dialect knows that (RFC 2367 §3.1.4)."""
        source, destination = convert.ends(message)
        found = convert.protocol(message, self.dialect)
        sa = convert.maybe(message, _E.SA, Sa)
        if sa is None:
            if not self.changes.sad_delete_pair(found, source.address, destination.address):
                raise Refusal("not-found")
            named: dict[SadbExtType, Extension] = {_E.ADDRESS_SRC: source, _E.ADDRESS_DST: destination}
            return [_reply(message, named, delivery=Delivery.ALL)]
        matched = source.address if self.dialect.source_must_match else None
        view = self.changes.sad_delete(sa.spi, found, destination.address, matched)
        return [self._told(message, view, Delivery.ALL, state="dead")]

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.5
    # # GET names an SA by SPI and addresses; one that is not there is ESRCH
    def get(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Show one SA, keys included, to the socket that asked (RFC 2367 §3.1.5)."""
        source, destination = convert.ends(message)
        found = convert.protocol(message, self.dialect)
        view = self.engine.sad_lookup(convert.need(message, _E.SA, Sa).spi, found, destination.address)
        if view is None or (self.dialect.source_must_match and view.source != source.address):
            raise Refusal("not-found")
        return [self._told(message, view, Delivery.ONE)]

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.9
    # # FLUSH removes every SA of a type
    def flush(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Remove every SA, or every SA of one protocol (RFC 2367 §3.1.9)."""
        count = self.changes.sad_flush(convert.optional_protocol(message, self.dialect))
        return self._flushed(message, count)

    def _flushed(self, message: Message, count: int) -> Iterable[Reply]:
        everybody = _reply(message, {}, delivery=Delivery.ALL)
        if not self.dialect.flush_answers_twice:
            return [everybody]
        return [everybody, _reply(message, {})] if count else [_reply(message, {})]

    def dump(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Show every SA, one message each; `seq` is 0 in the last (RFC 2367 §3.1.10)."""
        convert.refuse_unserved(message)
        views = self.engine.sad_dump(convert.optional_protocol(message, self.dialect))
        satypes = self.dialect.satype_numbers

        def told(view: _core.SaView, seq: int) -> Reply:
            extensions = render.association(view, _T.DUMP, self.dialect)
            return _reply(
                message,
                extensions,
                satype=satypes[view.protocol],
                seq=seq,
                reserved=self.dialect.dump_references,
                subject=view,
            )

        if states := self.dialect.dump_states:
            views.sort(key=lambda view: states.index(view.state))
        return self._dumped(views, told, newest_first=self.dialect.dump_newest_first)

    # = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.10
    # # DUMP is one message for each SA, from one snapshot, and says which is the last
    def _dumped(
        self, views: Sequence[_View], told: Callable[[_View, int], Reply], *, newest_first: bool
    ) -> Iterator[Reply]:
        if not views:
            raise Refusal("no-entries")
        count = len(views)
        order = range(count - 1, -1, -1) if newest_first else range(count)
        if self.dialect.dump_counts_down:
            return (told(views[at], count - 1 - nth) for nth, at in enumerate(order))
        return (told(views[at], (nth + 1) % count) for nth, at in enumerate(order))

    def register(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """List the algorithms, and remember that the socket wants to hear events (RFC 2367 §3.1.7)."""
        if message.satype > max(self.dialect.satypes):
            raise Refusal("unknown-satype")
        if message.satype:
            if message.satype in peer.registered:
                raise Refusal("exists")
            peer.registered.add(message.satype)
        return [_reply(message, self._supported(), delivery=Delivery.REGISTERED)]

    def _supported(self) -> Mapping[SadbExtType, Extension]:
        return render.supported(self.dialect, self._offered)

    def acquired(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Hear that a key manager failed: nothing waits for it, and nothing is answered (RFC 2367 §3.1.6)."""
        if message.extensions:
            return [self.error(message, self.dialect.unsupported_errno)]
        return []

    def promisc(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Turn the hearing of everything on or off (RFC 2367 §3.1.11)."""
        if message.satype > 1 or message.extensions:
            raise Refusal("unknown-satype")
        peer.promiscuous = message.satype == 1
        return [_reply(message, {}, delivery=Delivery.ALL)]

    # The SPD.

    def _policy_told(self, message: Message, view: _core.PolicyView, delivery: Delivery, count: int) -> Reply:
        extensions = render.policy(view, message.type, self.dialect)
        return _reply(message, extensions, delivery=delivery, subject=view, reserved=self._references(count))

    def _references(self, count: int) -> int:
        """Linux counts the caller, the database and a timer; programs print it and nothing more."""
        return count if self.dialect.reference_counts else 0

    def _new_reqid(self, asked: int) -> int:
        return self.changes.new_reqid(asked, self.dialect.reqid_max)

    def spdadd(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Add a policy behind those of its priority."""
        view = self.changes.spd_add(convert.policy_params(message, self.dialect, self._new_reqid))
        return [self._policy_told(message, view, Delivery.ALL, 3)]

    def spdsetidx(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Add a policy as SPDADD does; one that waits for its requests is not provided."""
        if _T.X_SPDSETIDX not in self.dialect.shapes:
            return [self.error(message, self.dialect.unsupported_errno)]
        return self.spdadd(message, peer)

    def spdupdate(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Replace the policy of the same selector, or add it."""
        params = convert.policy_params(message, self.dialect, self._new_reqid)
        direction = convert.direction(message, self.dialect)
        view = self.changes.spd_update(params, direction, convert.selector(message, self.dialect))
        return [self._policy_told(message, view, Delivery.ALL, 3)]

    def spddelete(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Remove a policy by its selector."""
        direction = convert.direction(message, self.dialect)
        view = self.changes.spd_delete(direction, convert.selector(message, self.dialect))
        return [self._policy_told(message, view, Delivery.ALL, 1)]

    def spddelete2(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Remove a policy by its id."""
        view = self.changes.spd_delete_id(convert.need(message, _E.X_POLICY, Policy).id)
        return [self._policy_told(message, view, Delivery.ALL, 1)]

    def spdget(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Show one policy by its id."""
        view = self.engine.spd_lookup(convert.need(message, _E.X_POLICY, Policy).id)
        if view is None:
            raise Refusal("not-found")
        return [self._policy_told(message, view, Delivery.ONE, 2)]

    def spddump(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Show every policy, one message each; `seq` is 0 in the last."""
        dialect = self.dialect
        reserved = self._references(2) or dialect.dump_references
        if dialect.policies_by_scope and message.satype and not message.satype & dialect.policy_scope:
            raise Refusal("no-entries")
        views = self.engine.spd_dump()
        if dialect.policies_by_priority:
            views.sort(key=lambda view: (view.priority, view.serial))

        def told(view: _core.PolicyView, seq: int) -> Reply:
            extensions = render.policy(view, _T.X_SPDDUMP, dialect)
            return _reply(message, extensions, seq=seq, reserved=reserved, subject=view)

        newest_first = dialect.dump_newest_first and not dialect.policies_by_priority
        return self._dumped(views, told, newest_first=newest_first)

    def spdflush(self, message: Message, peer: Peer) -> Iterable[Reply]:
        """Remove every policy."""
        return self._flushed(message, self.changes.spd_flush())


def _reply(
    message: Message,
    extensions: Mapping[SadbExtType, Extension],
    *,
    errno: int = 0,
    satype: int | None = None,
    seq: int | None = None,
    reserved: int = 0,
    delivery: Delivery = Delivery.ONE,
    subject: _core.SaView | _core.PolicyView | None = None,
) -> Reply:
    return Reply(
        message.type,
        message.satype if satype is None else satype,
        errno,
        message.seq if seq is None else seq,
        message.pid,
        reserved,
        extensions,
        delivery,
        subject,
    )


HANDLERS: Final[dict[SadbMsgType, Handler]] = {
    _T.GETSPI: Handlers.getspi,
    _T.UPDATE: Handlers.update,
    _T.ADD: Handlers.add,
    _T.DELETE: Handlers.delete,
    _T.GET: Handlers.get,
    _T.ACQUIRE: Handlers.acquired,
    _T.REGISTER: Handlers.register,
    _T.FLUSH: Handlers.flush,
    _T.DUMP: Handlers.dump,
    _T.X_PROMISC: Handlers.promisc,
    _T.X_SPDUPDATE: Handlers.spdupdate,
    _T.X_SPDADD: Handlers.spdadd,
    _T.X_SPDDELETE: Handlers.spddelete,
    _T.X_SPDGET: Handlers.spdget,
    _T.X_SPDDUMP: Handlers.spddump,
    _T.X_SPDFLUSH: Handlers.spdflush,
    _T.X_SPDSETIDX: Handlers.spdsetidx,
    _T.X_SPDDELETE2: Handlers.spddelete2,
}
"""What a program may send; everything else is refused."""
