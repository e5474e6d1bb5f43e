"""Reads and prints the priority of a policy: `prio 500`, `prio high - 10`, `-7`.

No action and no rule may enter. Answers to ipsec_set_policy(3) of ipsec-tools, which turns the number round:
what a person writes larger comes first, what PF_KEY carries smaller comes first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sallet.lang.lexer import Complaint

PRIORITY_DEFAULT: Final = 0x80000000
"""What `prio def` is on the wire."""
_STEP: Final = 0x40000000
_BASES: Final = {"low": -_STEP, "def": 0, "high": _STEP}
_WORDS: Final = ("prio", "priority")
_SIGNED: Final = re.compile(r"[+-]?[0-9]{1,10}")
_GLUED: Final = re.compile(r"(?P<base>low|def|high)(?P<sign>[+-])(?P<offset>[0-9]{1,10})")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")


def begins(word: str) -> bool:
    """Say whether a priority begins with this word."""
    return word in _WORDS or (word[:1] == "-" and _SIGNED.fullmatch(word) is not None)


def read(tokens: Sequence[str], at: int) -> tuple[int, int]:
    """Read the priority that begins there; return what PF_KEY carries, and the number of the next token.

    The tokens end with an empty one.

    # Errors
    `Complaint` where the value is none.
    """
    start = at
    if tokens[at] in _WORDS:
        at += 1
    wanted, at = _value(tokens, at)
    value = PRIORITY_DEFAULT - wanted
    if not 0 < value <= 0xFFFFFFFF:
        raise Complaint(
            start,
            "this priority is out of range",
            "stay within -2147483647 … 2147483647",
            classic="Priority out of range",
        )
    return value, at


def _value(tokens: Sequence[str], at: int) -> tuple[int, int]:
    """Read the number, or low, def or high with an offset."""
    word, sign, offset = _unglued(tokens[at])
    if word not in _BASES:
        if not _SIGNED.fullmatch(word):
            raise Complaint(
                at, "a priority is a number, or low, def or high", "write for example prio high -10"
            )
        return int(word), at + 1
    at += 1
    if not sign:
        sign, offset, at = _offset(tokens, at)
    return _BASES[word] + int(sign + offset or "0"), at


def _unglued(word: str) -> tuple[str, str, str]:
    """Split `def+1`, and leave every other word whole."""
    found = _GLUED.fullmatch(word)
    return (found["base"], found["sign"], found["offset"]) if found else (word, "", "")


def _offset(tokens: Sequence[str], at: int) -> tuple[str, str, int]:
    """Read `+ 1` or `+1` where it stands."""
    word = tokens[at]
    if word in ("+", "-"):
        if not _NUMBER.fullmatch(tokens[at + 1]):
            raise Complaint(at + 1, "a number follows the sign of a priority", "write prio def + 1")
        return word, tokens[at + 1], at + 2
    if word[:1] in ("+", "-") and _SIGNED.fullmatch(word):
        return word[0], word[1:], at + 1
    return "", "", at


def text(priority: int) -> str:
    """Print a priority by its distance from the nearest of high, def and low."""
    if priority < PRIORITY_DEFAULT // 4 * 3:
        base, word = PRIORITY_DEFAULT - _STEP, "high"
    elif priority < PRIORITY_DEFAULT // 4 * 5:
        base, word = PRIORITY_DEFAULT, "def"
    else:
        base, word = PRIORITY_DEFAULT + _STEP, "low"
    offset = base - priority
    if offset == 0:
        return f"prio {word}"
    return f"prio {word} {'+' if offset > 0 else '-'} {abs(offset)}"
