"""From an X_MIGRATE to the moves that it asks for: pairs of requests, the old ends and the new ones.

No database is asked and no reply is made. Answers to Linux' PF_KEY, and to RFC 4301 §4.4 for the words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sallet import _core
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.convert.fields import Refusal, mode_word, need
from sallet.pfkey.convert.policies import PROTOCOLS
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import Message, Policy, Request

_Ends = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]
_MOVES_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class Move:
    """Which associations stand between which ends, and where they go."""

    protocol: str
    mode: str
    reqid: int
    """0 where any will do."""
    old: _Ends
    new: _Ends

    def means(self, template: _core.Template) -> bool:
        """Say whether a policy's template is one of them."""
        fits = (template.protocol, template.mode) == (self.protocol, self.mode)
        fits = fits and self.reqid in (0, template.reqid)
        return fits and template.endpoints in (None, self.old)


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
# # both ends of a tunnel are of one family
def moves(message: Message, dialect: Dialect) -> list[Move]:
    """Read the moves.

    Raises:
        Refusal: there is none, or one that is no pair, says one end only, or is said twice (out-of-range).
    """
    requests = need(message, SadbExtType.X_POLICY, Policy).requests
    if not requests or len(requests) % 2 or len(requests) > 2 * _MOVES_MAX:
        raise Refusal("out-of-range")
    found = list(_each(requests, dialect))
    if len({(move.protocol, move.mode, move.reqid, move.old) for move in found}) < len(found):
        raise Refusal("out-of-range")
    return found


def _each(requests: tuple[Request, ...], dialect: Dialect) -> Iterator[Move]:
    for old, new in zip(requests[::2], requests[1::2], strict=True):
        if (old.proto, old.mode, old.reqid) != (new.proto, new.mode, new.reqid):
            raise Refusal("out-of-range")
        protocol = PROTOCOLS.get(old.proto)
        if protocol is None:
            raise Refusal("unknown-protocol")
        yield Move(protocol, mode_word(old.mode, dialect), old.reqid, _ends(old), _ends(new, known=True))


def _ends(request: Request, *, known: bool = False) -> _Ends:
    # The reader of requests has seen to it that both are of one family.
    if request.source is None or request.destination is None:
        raise Refusal("out-of-range")
    ends = request.source.address, request.destination.address
    if known and any(end.is_unspecified for end in ends):
        raise Refusal("out-of-range")
    return ends
