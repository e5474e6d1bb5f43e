"""What answers the messages of PF_KEY: the door is `Handlers`, behind it one room for each kind of question.

No bytes and no socket enters; how systems differ is asked of the dialect's tables.
Answers to RFC 2367 §3.1 and to the KAME extensions for the SPD.
"""

from sallet.pfkey.handlers.door import HANDLERS, Handlers
from sallet.pfkey.handlers.dumps import Dump
from sallet.pfkey.handlers.events import Event
from sallet.pfkey.handlers.policies import SPD_CHANGES, SPD_MESSAGES
from sallet.pfkey.handlers.replies import Delivery, Peer, Reply

__all__ = [
    "HANDLERS",
    "SPD_CHANGES",
    "SPD_MESSAGES",
    "Delivery",
    "Dump",
    "Event",
    "Handlers",
    "Peer",
    "Reply",
]
