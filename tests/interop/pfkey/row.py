"""What a reason to differ is: a row of docs/pfkey-differences.md that knows its differences by itself.

No row enters: those are in `rows` and `rows_sockets`. Answers to docs/pfkey-differences.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from interop.pfkey.compare import Difference
from interop.pfkey.scenario import Send
from sallet.pfkey import codec
from sallet.pfkey.dialects import LINUX
from sallet.pfkey.messages import Message

Knows: TypeAlias = Callable[[Difference], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One reason to differ."""

    name: str
    linux: str
    """What the kernel does."""
    ours: str
    """What we do."""
    why: str
    knows: Knows
    lasts: bool = False
    """Whether the databases differ from there on, so that later answers of the scenario do, too."""


def request(difference: Difference) -> Message | None:
    """Read what was sent in that step, if it can be read."""
    step = difference.scenario.steps[difference.step]
    return _read(step.data) if isinstance(step, Send) else None


def _read(data: bytes) -> Message | None:
    try:
        return codec.decode(data, LINUX)
    except codec.Malformed:
        return None
