"""What moves a tunnel to other ends, with the associations that it has: X_MIGRATE.

No new key and no new counter starts here. Answers to RFC 4555 §3.5 for what a key manager wants of it, and to
Linux' PF_KEY for the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from sallet import _core
from sallet.pfkey import convert
from sallet.pfkey.constants import IpsecLevel, IpsecPolicyType, SadbExtType
from sallet.pfkey.convert import Move, Refusal
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply, reply
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Address, Extension, Message, Policy

_E: Final = SadbExtType


def migrate(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Move a policy's tunnels and their associations, and tell everybody."""
    dialect, changes = serving.dialect, serving.changes
    direction = convert.direction(message, dialect)
    selector = convert.selector(message, dialect)
    moves = convert.moves(message, dialect)
    view = changes.find(direction, selector)
    if view is None:
        raise Refusal("not-found")
    changes.spd_move(view, _moved(view.templates, moves))
    for move in moves:
        _move_associations(serving, move)
    return [_told(serving, message, moves)]


def _moved(templates: Sequence[_core.Template], moves: Sequence[Move]) -> list[_core.Template]:
    """Give the templates their new ends.

    Raises:
        Refusal: none of them is meant (nothing-to-move).
    """
    meant = 0
    found = []
    for template in templates:
        move = next((move for move in moves if move.means(template)), None)
        if move is not None:
            meant += 1
        if move is not None and template.endpoints is not None:
            template = _core.Template(
                template.protocol, template.mode, template.level, template.reqid, move.new
            )
        found.append(template)
    if not meant:
        raise Refusal("nothing-to-move")
    return found


def _move_associations(serving: Serving, move: Move) -> None:
    for view in serving.engine.sad_dump(move.protocol):
        fits = view.mode == move.mode and move.reqid in (0, view.reqid)
        if fits and view.state != "larval" and (view.source, view.destination) == move.old:
            serving.changes.sad_move(view, *move.new)


def _told(serving: Serving, message: Message, moves: Sequence[Move]) -> Reply:
    """Say what moved, as the kernel tells it of its own accord."""
    said = convert.need(message, _E.X_POLICY, Policy)
    requests = tuple(
        replace(request, level=IpsecLevel.UNIQUE if request.reqid else IpsecLevel.REQUIRE)
        for request in said.requests
    )
    policy = Policy(IpsecPolicyType.IPSEC, said.direction, requests=requests)
    ends = convert.ends(message)
    covered: list[Address] = [replace(end, port=0, proto=0) for end in ends]
    extensions: dict[SadbExtType, Extension] = {
        _E.ADDRESS_SRC: covered[0],
        _E.ADDRESS_DST: covered[1],
        _E.X_POLICY: policy,
    }
    told = reply(
        message,
        extensions,
        satype=serving.dialect.satype_numbers[moves[0].protocol],
        seq=0,
        delivery=Delivery.ALL,
    )
    return replace(told, pid=0)
