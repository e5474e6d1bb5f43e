"""What a key manager asks for itself, and what it answers the kernel: REGISTER, ACQUIRE, X_PROMISC.

No database is changed. Answers to RFC 2367 §3.1.6, §3.1.7 and §3.1.11.
"""

from __future__ import annotations

from collections.abc import Iterable

from sallet.pfkey import convert
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.convert import Refusal
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply, Spoken, reply
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Message, Proposal


def register(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """List the algorithms, and remember that the socket wants to hear events (RFC 2367 §3.1.7)."""
    if message.satype > max(serving.dialect.satypes):
        raise Refusal("unknown-satype")
    if message.satype:
        if message.satype in peer.registered:
            raise Refusal("exists")
        peer.registered.add(message.satype)
    return [reply(message, serving.supported(), delivery=Delivery.REGISTERED)]


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
# # an error from a key manager frees what waits
def acquired(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Hear that a key manager failed, or that a program needs an association (RFC 2367 §3.1.6).

    A failure is not answered: what waits for that sequence number is dropped. A need goes on to key managers.
    """
    if message.extensions:
        return _needed(serving, message)
    if message.errno and message.seq:
        serving.engine.acquire_failed(message.seq)
    return []


def _needed(serving: Serving, message: Message) -> Iterable[Reply]:
    if not serving.dialect.relays_acquire:
        return [serving.error(message, serving.dialect.unsupported_errno)]
    source, destination = convert.ends(message)
    convert.need(message, SadbExtType.PROPOSAL, Proposal)
    found = convert.protocol(message, serving.dialect)
    if serving.engine.sad_between(found, source.address, destination.address):
        raise Refusal("exists")
    said = Spoken(serving.dialect)
    return [reply(message, message.extensions, delivery=Delivery.REGISTERED, subject=said)]


def promisc(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Turn the hearing of everything on or off (RFC 2367 §3.1.11)."""
    if message.satype > 1 or message.extensions:
        raise Refusal("unknown-satype")
    peer.promiscuous = message.satype == 1
    return [reply(message, {}, delivery=Delivery.ALL)]
