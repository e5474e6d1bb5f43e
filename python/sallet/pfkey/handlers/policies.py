"""What is asked of the SPD: the messages whose names begin with X_SPD.

No association enters. Answers to the KAME extensions of RFC 2367 and to RFC 4301 §4.4.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sallet import _core
from sallet.pfkey import convert, render
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.convert import Refusal, policy_ids
from sallet.pfkey.handlers.dumps import ViewDump
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply, flushed, reply
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Message, Policy

_E: Final = SadbExtType
_T: Final = SadbMsgType

SPD_CHANGES: Final = frozenset(
    {_T.X_SPDUPDATE, _T.X_SPDADD, _T.X_SPDDELETE, _T.X_SPDFLUSH, _T.X_SPDSETIDX, _T.X_SPDDELETE2}
)
"""Messages that change the SPD and nothing else; several of them can be followed at once."""
SPD_MESSAGES: Final = SPD_CHANGES | {_T.X_SPDGET, _T.X_SPDDUMP}
"""Messages about policies, whose association type says nothing."""


def _params(serving: Serving, message: Message, peer: Peer) -> _core.PolicyParams:
    dialect = serving.dialect
    return convert.policy_params(
        message,
        dialect,
        lambda asked: serving.changes.new_reqid(asked, dialect.reqid_chosen_max, dialect.reqid_max),
        peer.connection,
    )


def spdadd(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Add a policy behind those of its priority."""
    view = serving.changes.spd_add(_params(serving, message, peer))
    return [serving.policy(message, view, Delivery.ALL, 3)]


def spdsetidx(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Add a policy as SPDADD does; in some dialects it may wait for its requests."""
    if serving.dialect.setidx_replaces:
        return [replace(told, type=_T.X_SPDADD) for told in spdupdate(serving, message, peer)]
    return spdadd(serving, message, peer)


def spdupdate(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Replace the policy of the same selector, or add it."""
    params = _params(serving, message, peer)
    direction = convert.direction(message, serving.dialect)
    view = serving.changes.spd_update(params, direction, convert.selector(message, serving.dialect))
    return [serving.policy(message, view, Delivery.ALL, 3)]


def spddelete(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Remove a policy by its selector."""
    direction = convert.direction(message, serving.dialect)
    view = serving.changes.spd_delete(direction, convert.selector(message, serving.dialect))
    return [serving.policy(message, view, Delivery.ALL, 1)]


def _named(serving: Serving, message: Message) -> _core.PolicyView:
    """Find the policy that a message names by its id; those of sockets are neither shown nor deleted so."""
    number, direction = policy_ids.meant(convert.need(message, _E.X_POLICY, Policy).id, serving.dialect)
    view = serving.engine.spd_lookup(number)
    if view is None or direction not in (None, view.direction):
        raise Refusal("not-found")
    return view


def _of_sockets(serving: Serving) -> list[_core.PolicyView]:
    """Give the policies of sockets, where they are listed."""
    return serving.engine.pcb_dump() if serving.dialect.sockets_listed else []


def spddelete2(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Remove a policy by its id."""
    view = serving.changes.spd_delete_id(_named(serving, message).id)
    return [serving.policy(message, view, Delivery.ALL, 1)]


def spdget(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Show one policy by its id."""
    return [serving.policy(message, _named(serving, message), Delivery.ONE, 2)]


def spddump(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Show every policy, one message each; `seq` is 0 in the last."""
    dialect = serving.dialect
    reserved = serving.references(2) or dialect.dump_references
    if dialect.policies_by_scope and message.satype and not message.satype & dialect.policy_scope:
        raise Refusal("no-entries")
    views = serving.engine.spd_dump()
    of_sockets = _of_sockets(serving)
    ids_of_sockets = {view.id for view in of_sockets}
    if of_sockets:
        views = sorted([*views, *of_sockets], key=lambda view: view.id)
    if dialect.policies_by_priority:
        views.sort(key=lambda view: (view.priority, view.serial))

    def told(view: _core.PolicyView, seq: int) -> Reply:
        extensions = render.policy(view, _T.X_SPDDUMP, dialect, serving.changes.made_reqid)
        if view.id in ids_of_sockets:
            extensions = render.of_socket(extensions, view, dialect)
        satype = 0 if dialect.policies_without_satype else message.satype
        return reply(message, extensions, satype=satype, seq=seq, reserved=reserved, subject=view)

    newest_first = dialect.dump_newest_first and not dialect.policies_by_priority
    return ViewDump(views, told, dialect, newest_first=newest_first)


def spdflush(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Remove every policy."""
    return flushed(message, serving.changes.spd_flush(), serving.dialect, policies=True)
