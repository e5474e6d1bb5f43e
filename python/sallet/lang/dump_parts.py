"""What both kinds of dump share: extensions by kind, words by number, moments.

No line of a dump may enter, no socket and no clock. Answers to setkey(8), -D and -DP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, TypeVar

from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.messages import Extension, Message

_NEVER: Final = " " * 20

Kind = TypeVar("Kind", bound=Extension)


def part(message: Message, kind: SadbExtType, shape: type[Kind]) -> Kind | None:
    """Return an extension of the shape that belongs to its kind, or None where the message has none."""
    found = message.get(kind)
    return found if isinstance(found, shape) else None


def moment(seconds: int) -> str:
    """Print a time of day as ctime(3) does from the month on, in 20 characters."""
    return time.ctime(seconds)[4:24] if seconds else _NEVER


def word(words: Mapping[int, str], number: int) -> str:
    """Return the word for a number, or the number."""
    return words.get(number, str(number))
