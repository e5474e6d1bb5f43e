"""What is asked of the SAD by itself: ADD, DELETE, GET, FLUSH, DUMP.

No larval association and no policy enters. Answers to RFC 2367 §3.1.3 to §3.1.5, §3.1.9 and §3.1.10.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sallet import _core
from sallet.pfkey import convert, render
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.convert import Refusal
from sallet.pfkey.handlers.dumps import MomentDump, ViewDump
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply, flushed, reply
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Extension, Filter, Message, Sa

_E: Final = SadbExtType


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.3
# # the reply to ADD goes to all listeners, without keys
def add(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Add a mature SA (RFC 2367 §3.1.3)."""
    params = convert.sa_params(message, serving.dialect, connection=peer.connection)
    # Nobody adds one in between: whoever adds stands in this thread.
    spi = convert.need(message, _E.SA, Sa).spi
    if serving.dialect.spi_unshared and serving.engine.sad_with_spi(spi) is not None:
        raise Refusal("exists")
    view = serving.changes.sad_add(params)
    serving.answered(message, view)
    return [serving.association(message, view, Delivery.ALL)]


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.4
# # DELETE names an SA by SPI and addresses; one that is not there is ESRCH
def delete(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Remove one SA, or those between two addresses where the dialect knows that (RFC 2367 §3.1.4)."""
    source, destination = convert.ends(message)
    found = convert.protocol(message, serving.dialect)
    sa = convert.maybe(message, _E.SA, Sa)
    if sa is None:
        if not serving.changes.sad_delete_pair(found, source.address, destination.address):
            raise Refusal("not-found")
        named: dict[SadbExtType, Extension] = {_E.ADDRESS_SRC: source, _E.ADDRESS_DST: destination}
        return [reply(message, named, delivery=Delivery.ALL)]
    matched = source.address if serving.dialect.source_must_match else None
    view = serving.changes.sad_delete(sa.spi, found, destination.address, matched)
    return [serving.association(message, view, Delivery.ALL, state="dead")]


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.5
# # GET names an SA by SPI and addresses; one that is not there is ESRCH
def get(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Show one SA, keys included, to the socket that asked (RFC 2367 §3.1.5)."""
    source, destination = convert.ends(message)
    found = convert.protocol(message, serving.dialect)
    view = serving.engine.sad_lookup(convert.need(message, _E.SA, Sa).spi, found, destination.address)
    if view is None or (serving.dialect.source_must_match and view.source != source.address):
        raise Refusal("not-found")
    return [serving.association(message, view, Delivery.ONE)]


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.9
# # FLUSH removes every SA of a type
def flush(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Remove every SA, or every SA of one protocol (RFC 2367 §3.1.9)."""
    count = serving.changes.sad_flush(convert.optional_protocol(message, serving.dialect))
    return flushed(message, count, serving.dialect)


def dump(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Show every SA, one message each; `seq` is 0 in the last (RFC 2367 §3.1.10)."""
    dialect = serving.dialect
    convert.refuse_unserved(message)
    protocol = convert.optional_protocol(message, dialect)
    newest_first, states = dialect.dump_newest_first, dialect.dump_states
    moment = serving.engine.sad_moment(protocol, newest_first=newest_first, states=list(states))
    asked = convert.maybe(message, _E.X_FILTER, Filter)
    satypes = dialect.satype_numbers

    def told(view: _core.SaView, seq: int) -> Reply:
        extensions = render.association(view, SadbMsgType.DUMP, dialect)
        satype = satypes[view.protocol]
        reserved = dialect.dump_references
        return reply(message, extensions, satype=satype, seq=seq, reserved=reserved, subject=view)

    if serving.dump_shape is not None and asked is None:
        return MomentDump(moment, serving.dump_shape, told, dialect, message.pid)
    views = [moment.view(nth) for nth in range(len(moment))]
    if asked is not None:
        views = [view for view in views if asked.fits(view.source, view.destination)]
    return ViewDump(views, told, dialect, newest_first=False)
