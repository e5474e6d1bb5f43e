"""From the engine's events to messages: ACQUIRE, EXPIRE, NEW_MAPPING, SPDACQUIRE, SPDEXPIRE.

No request enters. Answers to RFC 2367 §3.1.6 and §3.1.8, RFC 3948 §5.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from sallet import _core
from sallet.pfkey import render
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.handlers.serving import Serving
from sallet.pfkey.messages import Message

_T: Final = SadbMsgType

Event: TypeAlias = (
    "_core.AcquireEvent | _core.ExpireEvent | _core.NewMappingEvent"
    " | _core.PolicyAcquireEvent | _core.PolicyExpireEvent"
)
"""What the engine tells key managers."""


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.8
# # EXPIRE says soft once and hard once, with the current counters
def message_of(serving: Serving, event: Event) -> Message | None:
    """Say an event in a dialect; None where the dialect has no message for it."""
    dialect = serving.dialect
    if isinstance(event, _core.AcquireEvent):
        view = serving.engine.spd_lookup(event.policy)
        rules = render.Rules.of(serving.engine, serving.proposed)
        extensions = render.acquire(event, view, dialect, rules)
        satype = dialect.satype_numbers[event.template.protocol]
        return Message(_T.ACQUIRE, satype, seq=event.id, extensions=extensions)
    if isinstance(event, _core.ExpireEvent):
        if dialect.larval_ends_silently and event.sa.encryption is None and event.sa.authentication is None:
            return None
        extensions = render.association(event.sa, _T.EXPIRE, dialect, hard=event.hard)
        return Message(_T.EXPIRE, dialect.satype_numbers[event.sa.protocol], extensions=extensions)
    if isinstance(event, _core.NewMappingEvent):
        if _T.X_NAT_T_NEW_MAPPING not in dialect.shapes:
            return None
        satype = dialect.satype_numbers[event.sa.protocol]
        return Message(_T.X_NAT_T_NEW_MAPPING, satype, extensions=render.new_mapping(event, dialect))
    return _of_policy(serving, event)


def _of_policy(serving: Serving, event: _core.PolicyAcquireEvent | _core.PolicyExpireEvent) -> Message | None:
    shapes = serving.dialect.shapes
    if isinstance(event, _core.PolicyAcquireEvent):
        # Which entry it is stands nowhere in it: a key manager that made some looks through its own.
        return Message(_T.X_SPDACQUIRE) if _T.X_SPDACQUIRE in shapes else None
    if _T.X_SPDEXPIRE not in shapes:
        return None
    made = serving.changes.made_reqid
    return Message(
        _T.X_SPDEXPIRE, extensions=render.policy(event.policy, _T.X_SPDEXPIRE, serving.dialect, made)
    )
