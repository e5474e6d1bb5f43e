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

SPI_RANGE: Final = SpiRange(0x100, 0x0FFFFFFF)
"""Where GETSPI looks if it is not told."""


def getspi(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Reserve an SPI by a larval SA (RFC 2367 §3.1.1)."""
    convert.refuse_unserved(message)
    source, destination = convert.ends(message)
    found = convert.protocol(message, serving.dialect)
    mode, reqid = convert.mode_and_reqid(message, serving.dialect)
    asked = convert.maybe(message, _E.SPIRANGE, SpiRange) or SPI_RANGE
    if asked.minimum > asked.maximum:
        raise Refusal("out-of-range")
    spi = serving.engine.sad_getspi(
        found,
        source.address,
        destination.address,
        mode=mode,
        reqid=reqid,
        minimum=asked.minimum,
        maximum=asked.maximum,
        owner=message.pid,
    )
    view = serving.engine.sad_lookup(spi, found, destination.address)
    if view is None:
        raise Refusal("not-found")
    return [serving.association(message, view, Delivery.ONE)]


def update(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Complete a larval SA, or change the lifetimes of a living one (RFC 2367 §3.1.2)."""
    dialect, changes = serving.dialect, serving.changes
    lives = dialect.update_by_owner and _to_update(serving, message).state != "larval"
    if lives and dialect.update_refuses_keys:
        if {_E.KEY_AUTH, _E.KEY_ENCRYPT} & set(message.extensions):
            raise Refusal("invalid-state")
        view = changes.sad_update(convert.sa_params(message, dialect, with_keys=False))
        return [serving.association(message, view, Delivery.ALL)]
    try:
        view = changes.sad_update(convert.sa_params(message, dialect))
    except _core.EngineError as error:
        if error.kind != "invalid-state" or not dialect.update_ignores_keys:
            raise
        view = changes.sad_update(convert.sa_params(message, dialect, with_keys=False))
    return [serving.association(message, view, Delivery.ALL)]


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
