"""Scenarios drawn from a seed: some messages in a row, each whole or with one thing wrong.

No expectation enters. Answers to RFC 2367 §3.1, the KAME extensions.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any, Final

from interop.pfkey.scenario import Scenario, Send
from interop.pfkey.words import (
    AH,
    ESP,
    IPCOMP,
    T,
    add,
    bare,
    changed,
    covered,
    extensions,
    getspi,
    limits,
    message,
    named,
    policy,
    relength,
    request,
    sa,
    tunnel_sa,
    twice,
    with_extension,
    without,
)

LENGTHS: Final = (2, 9)
"""So many messages a scenario has."""
_SPIS: Final = (0x100, 0x101, 0x1000, 0xFFFF)
_PORTS: Final = (0, 0, 53, 4000)


def every(seed: int, count: int) -> list[Scenario]:
    """Draw scenarios; the same seed draws the same ones."""
    return [_scenario(random.Random(f"{seed} {number}"), f"drawn {seed}.{number}") for number in range(count)]


def _scenario(dice: random.Random, name: str) -> Scenario:
    steps = [Send(_message(dice), dice.choice("ab")) for _ in range(dice.randint(*LENGTHS))]
    return Scenario(name, (*steps, Send(bare(T.DUMP)), Send(bare(T.X_SPDDUMP))), ("a", "b"))


def _message(dice: random.Random) -> bytes:
    whole = dice.choices(tuple(_MAKERS), tuple(_MAKERS.values()))[0](dice)
    return whole if dice.random() < 0.7 else dice.choice(_FAULTS)(dice, whole)


def _association(dice: random.Random) -> bytes:
    satype = dice.choice((AH, ESP, ESP, IPCOMP))
    kind = dice.choice((T.ADD, T.ADD, T.ADD, T.UPDATE))
    version = dice.choice((4, 4, 6))
    spi = dice.choice(_SPIS)
    more: dict[str, Any] = (
        {"x_sa2": tunnel_sa(dice.choice((0, 5, 16384)), dice.choice((0, 1, 2)))}
        if dice.random() < 0.5
        else {}
    )
    if dice.random() < 0.3:
        more |= {"lifetime_hard": limits(0, 10**6, 9000, 900), "lifetime_soft": limits(0, 10**5, 8000, 800)}
    whole = sa(satype, spi, replay=dice.choice((0, 4, 32, 255)), flags=dice.choice((0, 0x40, 0x20000000)))
    return add(satype, spi, version, kind=kind, sa=whole, **more)


def _named(dice: random.Random) -> bytes:
    kind = dice.choice((T.GET, T.DELETE))
    return named(kind, dice.choice((AH, ESP, IPCOMP)), dice.choice(_SPIS), dice.choice((4, 4, 6)))


def _larval(dice: random.Random) -> bytes:
    spi = dice.choice(_SPIS)
    return getspi(dice.choice((AH, ESP, IPCOMP)), spi, spi, dice.choice((4, 6)))


def _policy(dice: random.Random) -> bytes:
    kind = dice.choice((T.X_SPDADD, T.X_SPDADD, T.X_SPDUPDATE, T.X_SPDDELETE))
    version = dice.choice((4, 4, 6))
    requests = [
        request(
            dice.choice((50, 51, 108)),
            mode := dice.choice((1, 2)),
            dice.choice((0, 1, 2, 3)),
            dice.choice((0, 0, 7, 16383)),
            version if mode == 2 else 0,
        )
        for _ in range(dice.choice((1, 1, 2, 3)))
    ]
    said = policy(
        *requests,
        kind=dice.choice((0, 1, 2, 2)),
        direction=dice.choice((1, 2, 3)),
        priority=dice.choice((0, 1, 0x80000000)),
    )
    parts = covered(version, dice.choice((255, 6, 17)), (dice.choice(_PORTS), dice.choice(_PORTS)))
    return message(kind, 0, **parts, x_policy=said)


def _header(dice: random.Random) -> bytes:
    kinds = (T.DUMP, T.FLUSH, T.X_SPDDUMP, T.X_SPDFLUSH)
    return bare(dice.choice(kinds), dice.choice((0, 0, AH, ESP, IPCOMP)), seq=dice.randrange(1000))


_MAKERS: Final[dict[Callable[[random.Random], bytes], int]] = {
    _association: 8,
    _named: 4,
    _larval: 2,
    _policy: 5,
    _header: 2,
}


def _omit(dice: random.Random, whole: bytes) -> bytes:
    return without(whole, dice.choice([number for number, _, _ in extensions(whole)] or [1]))


def _repeat(dice: random.Random, whole: bytes) -> bytes:
    return twice(whole, dice.choice([number for number, _, _ in extensions(whole)] or [1]))


def _unknown(dice: random.Random, whole: bytes) -> bytes:
    return with_extension(whole, dice.choice((0, 27, 60, 1000)), bytes(4))


def _length(dice: random.Random, whole: bytes) -> bytes:
    return relength(whole, dice.choice((0, 1, len(whole) // 8 + 1, len(whole) // 8 - 1)))


def _extension_length(dice: random.Random, whole: bytes) -> bytes:
    number = dice.choice([number for number, _, _ in extensions(whole)] or [1])
    return changed(whole, number, 0, struct.pack("=H", dice.choice((0, 1, 2, 3, 200))))


def _type(dice: random.Random, whole: bytes) -> bytes:
    return changed(whole, 0, 3, bytes((dice.randrange(256),)))


def _cut(dice: random.Random, whole: bytes) -> bytes:
    return whole[: dice.randrange(1, len(whole))]


_FAULTS: Final = (_omit, _omit, _repeat, _unknown, _length, _extension_length, _type, _cut)
