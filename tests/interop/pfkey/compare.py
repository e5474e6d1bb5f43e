"""Where two systems differ: what must vary is masked, everything else is compared octet by octet.

No explanation enters: those are the rows in `rows`. Answers to tests/reference/pfkey-linux/README.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from interop.pfkey.scenario import Outcome, Scenario, Send, Step
from interop.pfkey.words import extensions

_SA, _CURRENT, _SPIRANGE, _POLICY = 1, 2, 16, 18
_GETSPI, _ACQUIRE = 1, 6
_SPD_MESSAGES = frozenset(range(13, 23))
_OWN_REQID = 0x4000
_HEADER = 16


@dataclass(slots=True)
class Masks:
    """The values that a system chose in one scenario, each by the place where it came first."""

    names: dict[tuple[str, int], int] = field(default_factory=dict)

    def name(self, kind: str, value: int) -> int:
        """Give a value the number that it has in this scenario."""
        known = sum(1 for one, _ in self.names if one == kind)
        return self.names.setdefault((kind, value), known + 1)


def masked(data: bytes, masks: Masks, random_spis: bool) -> bytes:
    """Blank times; number ids, allocated request ids and random SPIs in the order in which they come."""
    copy = bytearray(data)
    if data[1] == _ACQUIRE and not data[2] and len(data) > _HEADER:
        _number(copy, 8, "acquire", masks)
    if data[1] in _SPD_MESSAGES and any(data[6:8]):
        # How often the kernel refers to a policy changes while it looks.
        copy[6:8] = b"\1\0"
    at = _HEADER
    while at + 8 <= len(copy):
        length, kind = struct.unpack_from("=HH", copy, at)
        if not length:
            break
        _mask_extension(copy, at, kind, length * 8, masks, random_spis)
        at += length * 8
    return bytes(copy)


def _mask_extension(copy: bytearray, at: int, kind: int, size: int, masks: Masks, random_spis: bool) -> None:
    if kind == _CURRENT:
        for offset in (16, 24):
            (value,) = struct.unpack_from("=Q", copy, at + offset)
            struct.pack_into("=Q", copy, at + offset, 1 if value else 0)
    elif kind == _POLICY:
        _number(copy, at + 8, "policy", masks)
        inner = at + 16
        while inner + 16 <= at + size:
            (step,) = struct.unpack_from("=H", copy, inner)
            if struct.unpack_from("=I", copy, inner + 8)[0] >= _OWN_REQID:
                _number(copy, inner + 8, "reqid", masks)
            inner += max(step, 16)
    elif kind == _SA and random_spis:
        _number(copy, at + 4, "spi", masks)


def _number(copy: bytearray, at: int, kind: str, masks: Masks) -> None:
    (value,) = struct.unpack_from("=I", copy, at)
    if value:
        struct.pack_into("=I", copy, at, masks.name(kind, value))


def _chooses(step: Step) -> bool:
    """Say whether a request leaves the choice of an SPI to the system."""
    if not isinstance(step, Send) or step.data[1:2] != bytes((_GETSPI,)):
        return False
    ranges = [at for number, at, size in extensions(step.data) if number == _SPIRANGE]
    ends = [struct.unpack_from("=II", step.data, at + 4) for at in ranges if at + 12 <= len(step.data)]
    return not any(first == last for first, last in ends)


@dataclass(frozen=True, slots=True)
class Difference:
    """One step that went otherwise: what one socket received there, and here."""

    scenario: Scenario
    step: int
    socket: str
    theirs: tuple[bytes, ...]
    ours: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """How many steps there were, and which of them went otherwise."""

    steps: int
    differences: tuple[Difference, ...]


def compare(scenario: Scenario, theirs: Sequence[Outcome], ours: Sequence[Outcome]) -> Compared:
    """Compare what came of each step, socket by socket."""
    random_spis = any(_chooses(step) for step in scenario.steps)
    masks = Masks(), Masks()
    found = []
    for number, sides in enumerate(zip(theirs, ours, strict=True)):
        for name in scenario.sockets:
            there, here = (
                tuple(masked(one, mask, random_spis) for one in side.received.get(name, ()))
                for side, mask in zip(sides, masks, strict=True)
            )
            if there != here:
                found.append(Difference(scenario, number, name, there, here))
    return Compared(len(scenario.steps), tuple(found))
