"""Scenarios written by hand about policies of sockets: what SPDDUMP and the others say of them.

No expectation enters. Answers to ipsec(4), per-socket policies; ip(7), IP_IPSEC_POLICY as of <linux/in.h>.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.pfkey.scenario import Bind, Close, Copied, Scenario, Send, Wait, one
from interop.pfkey.words import T, bare, covered, extensions, message, policy, request, spdadd
from sallet.pfkey.messages import Request

_SPDDUMP = Send(bare(T.X_SPDDUMP))
_POLICY, _ID = 18, 8
_BYPASS, _ENTRUST = 4, 3


def _said(*requests: Request, direction: int, kind: int = 2) -> bytes:
    """Write the value of the option."""
    data = message(T.X_SPDADD, 0, **covered(), x_policy=policy(*requests, kind=kind, direction=direction))
    return next(data[at : at + size] for number, at, size in extensions(data) if number == _POLICY)


_IN, _OUT = _said(request(), direction=1), _said(request(), direction=2)


def sockets() -> Iterator[Scenario]:
    """SPDDUMP, SPDGET, SPDDELETE2 and SPDFLUSH beside sockets with policies."""
    for version in (4, 6):
        yield Scenario(f"socket: both directions, IPv{version}", (Bind("u", (_IN, _OUT), version), _SPDDUMP))
    for level in (1, 2, 3):
        said = _said(request(level=level), direction=1)
        yield Scenario(f"socket: level {level}", (Bind("u", (said,)), _SPDDUMP))
    tunnel = _said(request(50, 2, version=4), direction=2)
    yield Scenario("socket: tunnel", (Bind("u", (tunnel,)), _SPDDUMP))
    two = _said(request(51), request(50), direction=2)
    yield Scenario("socket: two requests", (Bind("u", (two,)), _SPDDUMP))
    for direction in (1, 2):
        said = _said(direction=direction, kind=_BYPASS)
        yield Scenario(f"socket: bypass, direction {direction}", (Bind("u", (said,)), _SPDDUMP))
    yield Scenario(
        "socket: between the others",
        (
            Send(spdadd()),
            Bind("u", (_IN,)),
            Send(spdadd(direction=1)),
            _SPDDUMP,
            Bind("v", (_OUT,)),
            _SPDDUMP,
        ),
    )
    yield Scenario(
        "socket: flush leaves it", (Bind("u", (_IN,)), Send(spdadd()), Send(bare(T.X_SPDFLUSH)), _SPDDUMP)
    )
    yield Scenario("socket: who hears", (Bind("u", (_IN, _OUT)), _SPDDUMP), ("a", "b"))


def by_id() -> Iterator[Scenario]:
    """SPDGET and SPDDELETE2 by the id that SPDDUMP told."""
    # Where the id stands in an entry of a dump: behind two addresses and three lifetimes.
    offset = 16 + 2 * 24 + 3 * 32 + _ID
    for kind in (T.X_SPDGET, T.X_SPDDELETE2):
        for direction in (1, 4):
            asked = message(kind, 0, x_policy=policy(direction=direction))
            to = next(at for number, at, _ in extensions(asked) if number == _POLICY) + _ID
            yield Scenario(
                f"socket: {kind.name} by id, direction {direction}",
                (
                    Bind("u", (_IN,)),
                    _SPDDUMP,
                    Send(asked, copied=(Copied(to, 1, "a", 0, offset),)),
                    _SPDDUMP,
                ),
            )


def ends() -> Iterator[Scenario]:
    """Sockets that have no port, share one, or are gone."""
    yield Scenario("socket: no port", (Bind("u", (_IN,), port=0), _SPDDUMP))
    yield Scenario("socket: two at one port", (Bind("u", (_IN,)), Bind("v", (_IN,)), _SPDDUMP))
    entrust = _said(direction=2, kind=_ENTRUST)
    yield Scenario("socket: entrust", (Bind("u", (entrust,)), _SPDDUMP))
    yield Scenario("socket: closed", (Bind("u", (_IN,)), _SPDDUMP, Close("u"), _SPDDUMP, Wait(1.1), _SPDDUMP))
    yield one("socket: directions of sockets in SPDADD", spdadd(direction=4), spdadd(direction=5))


PARTS = (sockets, by_id, ends)
"""Every part of this file."""
