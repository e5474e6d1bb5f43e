"""How an association comes to be where a key manager negotiates it: GETSPI, then UPDATE.

What is asked of one that is there already stands in `associations`. Answers to RFC 2367 §3.1.1 and §3.1.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sallet import _core
from sallet.pfkey import convert
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.convert import Refusal
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Message, Sa, SpiRange

_E: Final = SadbExtType

CPI_MAX: Final = 0xFFFF
"""A CPI has 16 bits (RFC 3173 §3.3)."""


def getspi(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Reserve an SPI by a larval SA (RFC 2367 §3.1.1)."""
    dialect = serving.dialect
    convert.refuse_unserved(message)
    source, destination = convert.ends(message)
    found = convert.protocol(message, dialect)
    mode, reqid = convert.mode_and_reqid(message, dialect)
    asked = convert.maybe(message, _E.SPIRANGE, SpiRange)
    if asked is not None and asked.minimum > asked.maximum:
        raise Refusal("out-of-range")
    if asked is not None and not asked.maximum:
        raise Refusal("spi-exhausted")
    # Who is not told looks where the engine is told to.
    lowest, highest = (asked.minimum, asked.maximum) if asked else (0, 0)
    if found == "ipcomp" and not 0 < highest <= CPI_MAX and not dialect.cpi_range_cut:
        raise Refusal("out-of-range")
    spi = serving.engine.sad_getspi(
        found,
        source.address,
        destination.address,
        mode=mode,
        reqid=reqid,
        minimum=lowest,
        maximum=highest,
        owner=message.pid,
        connection=peer.connection,
        unshared=dialect.spi_unshared,
    )
    peer.reserved = True
    view = serving.engine.sad_lookup(spi, found, destination.address)
    if view is None:
        raise Refusal("not-found")
    serving.answered(message, view)
    return [serving.association(message, view, Delivery.ONE)]


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.2
# # UPDATE turns a larval SA into a mature one, and is told without keys
def update(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Complete a larval SA, or change a living one as far as the dialect lets it (RFC 2367 §3.1.2)."""
    view = _updated(serving, message, peer)
    serving.answered(message, view)
    return [serving.association(message, view, Delivery.ALL)]


def _updated(serving: Serving, message: Message, peer: Peer) -> _core.SaView:
    dialect, changes = serving.dialect, serving.changes

    def params(*, with_keys: bool = True) -> _core.SaParams:
        return convert.sa_params(message, dialect, with_keys=with_keys, connection=peer.connection)

    if dialect.update_by_owner and _to_update(serving, message).state != "larval":
        if dialect.update_rekeys:
            return changes.sad_rekey(params())
        if dialect.update_refuses_keys:
            if {_E.KEY_AUTH, _E.KEY_ENCRYPT} & set(message.extensions):
                raise Refusal("invalid-state")
            return _moved(serving, message, params(with_keys=False))
    if not message.extensions.keys().isdisjoint({_E.X_NEW_ADDRESS_SRC, _E.X_NEW_ADDRESS_DST}):
        raise Refusal("unsupported")
    try:
        return changes.sad_update(params())
    except _core.EngineError as error:
        if error.kind != "invalid-state" or not dialect.update_ignores_keys:
            raise
        return changes.sad_update(params(with_keys=False))


# = https://www.rfc-editor.org/rfc/rfc4555#section-3.5
# # the associations of a peer that moved are updated with its new address
def _moved(serving: Serving, message: Message, params: _core.SaParams) -> _core.SaView:
    """Change a living association that keeps its keys, and let it stand between new ends if it is told to."""
    view = _to_update(serving, message)
    ends = convert.new_ends(message, view) if serving.dialect.update_moves else None
    if ends and ends[1] != view.destination:
        taken = serving.engine.sad_lookup(view.spi, view.protocol, ends[1])
        if taken is not None:
            raise Refusal("exists")
    view = serving.changes.sad_update(params)
    return view if ends is None else serving.changes.sad_move(view, *ends)


def _to_update(serving: Serving, message: Message) -> _core.SaView:
    """Find the SA that an UPDATE means, where only its maker's will do."""
    dialect = serving.dialect
    source, destination = convert.ends(message)
    found = convert.protocol(message, dialect)
    mode, reqid = convert.mode_and_reqid(message, dialect)
    view = serving.engine.sad_lookup(convert.need(message, _E.SA, Sa).spi, found, destination.address)
    if view is None:
        raise Refusal(_missing(serving, found, source.address, destination.address))
    if view.owner != message.pid:
        raise Refusal("not-owner")
    fits = view.source == source.address and view.mode in ("any", mode) and reqid in (0, view.reqid)
    if dialect.update_compares and not fits:
        raise Refusal("unlike")
    return view


def _missing(
    serving: Serving,
    protocol: str,
    source: IPv4Address | IPv6Address,
    destination: IPv4Address | IPv6Address,
) -> str:
    """Tell an SPI that is not there from a pair of addresses that has no SA."""
    words = serving.dialect.errno_by_kind
    if words.get("unknown-spi", words["not-found"]) == words["not-found"]:
        return "not-found"
    others = serving.engine.sad_dump(protocol)
    known = any((view.source, view.destination) == (source, destination) for view in others)
    return "unknown-spi" if known else "not-found"
