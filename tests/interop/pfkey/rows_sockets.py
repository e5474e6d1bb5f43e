"""Where policies of sockets are listed otherwise than by Linux, and why.

No mask enters: those stand in `compare`. Answers to docs/pfkey-differences.md; ipsec(4), per-socket policies.
"""

from __future__ import annotations

import struct

from interop.pfkey.compare import Difference
from interop.pfkey.row import Row, request
from interop.pfkey.scenario import Bind, Close
from interop.pfkey.words import T

_ENTRUST = 3


def _bound(difference: Difference) -> list[Bind]:
    """Give the sockets that had policies before this SPDDUMP; none if it is another message."""
    sent = request(difference)
    if sent is None or sent.type is not T.X_SPDDUMP:
        return []
    return [step for step in difference.scenario.steps[: difference.step] if isinstance(step, Bind)]


def _entries(messages: tuple[bytes, ...]) -> int:
    return sum(1 for one in messages if not one[2])


def _rule_for_each_flow(difference: Difference) -> bool:
    rules = [(one.version, one.port, said) for one in _bound(difference) for said in one.policies]
    shared = len(rules) - len({rule for rule in rules if rule[1]})
    return bool(shared) and _entries(difference.theirs) - _entries(difference.ours) == shared


def _entrusted(difference: Difference) -> bool:
    said = [said for one in _bound(difference) for said in one.policies]
    count = sum(struct.unpack_from("=H", one, 4)[0] == _ENTRUST for one in said)
    return bool(count) and _entries(difference.theirs) - _entries(difference.ours) == count


def _lingers(difference: Difference) -> bool:
    names = {one.socket for one in _bound(difference)}
    closed = difference.scenario.steps[: difference.step]
    gone = any(isinstance(step, Close) and step.socket in names for step in closed)
    return gone and _entries(difference.ours) > _entries(difference.theirs)


ROWS = (
    Row(
        "socket-flows",
        "lists a policy for every socket that was given one, without its addresses and ports",
        "lists, in the same words, a rule for every flow that has one: none until the socket has a port, and "
        "one for two sockets at one port",
        "the packets of a socket are known by their ends here, not by the socket",
        _rule_for_each_flow,
    ),
    Row(
        "socket-entrust",
        "makes `none` of a socket's `entrust`, lists it, and lets the socket's packets past the SPD",
        "lists nothing, and the SPD decides",
        "ipsec(4): entrust is to consult the SPD",
        _entrusted,
    ),
    Row(
        "socket-lingers",
        "forgets the policy of a socket that is closed",
        "keeps its rule for a second, and that of a connection for 61",
        "what was sent last is protected, too, and so are the answers of a connection in TIME_WAIT",
        _lingers,
    ),
)
"""Every reason to differ about sockets."""
