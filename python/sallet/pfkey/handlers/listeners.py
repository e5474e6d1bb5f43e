"""What a key manager asks for itself, and what it answers the kernel: REGISTER, ACQUIRE, X_PROMISC.

No database is changed. Answers to RFC 2367 §3.1.6, §3.1.7 and §3.1.11.
"""

from __future__ import annotations

from collections.abc import Iterable

from sallet.pfkey.convert import Refusal
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply, reply
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Message


def register(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """List the algorithms, and remember that the socket wants to hear events (RFC 2367 §3.1.7)."""
    if message.satype > max(serving.dialect.satypes):
        raise Refusal("unknown-satype")
    if message.satype:
        if message.satype in peer.registered:
            raise Refusal("exists")
        peer.registered.add(message.satype)
    return [reply(message, serving.supported(), delivery=Delivery.REGISTERED)]


def acquired(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Hear that a key manager failed: nothing waits for it, and nothing is answered (RFC 2367 §3.1.6)."""
    if message.extensions:
        return [serving.error(message, serving.dialect.unsupported_errno)]
    return []


def promisc(serving: Serving, message: Message, peer: Peer) -> Iterable[Reply]:
    """Turn the hearing of everything on or off (RFC 2367 §3.1.11)."""
    if message.satype > 1 or message.extensions:
        raise Refusal("unknown-satype")
    peer.promiscuous = message.satype == 1
    return [reply(message, {}, delivery=Delivery.ALL)]
