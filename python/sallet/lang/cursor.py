"""A walk over the tokens of one statement.

No word of the grammar may enter. Answers to setkey(8): numbers are decimal, or hexadecimal behind 0x.
"""

from __future__ import annotations

import re
from typing import Final

from sallet.lang.forms import Form
from sallet.lang.lexer import Complaint
from sallet.lang.statements import Names, Place

_NUMBER: Final = re.compile(r"[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}")


class Cursor:
    """The tokens of one statement, how far they are read, and what reading them needs to know."""

    __slots__ = ("at", "form", "names", "place", "tokens")

    def __init__(self, tokens: list[str], form: Form, names: Names, place: Place) -> None:
        self.tokens = tokens
        self.at = 0
        self.form = form
        self.names = names
        self.place = place

    def peek(self) -> str:
        """Return the next token, or nothing at the end."""
        try:
            return self.tokens[self.at]
        except IndexError:
            return ""

    def take(self) -> str:
        """Return the next token and step over it; at the end, nothing."""
        at = self.at
        self.at = at + 1
        try:
            return self.tokens[at]
        except IndexError:
            return ""

    def at_number(self) -> bool:
        """Say whether a number stands next."""
        return _NUMBER.fullmatch(self.peek()) is not None

    def number(self, what: str, highest: int) -> int:
        """Read a number up to the highest one allowed.

        # Errors
        `Complaint` where something else stands.
        """
        word = self.take()
        if not _NUMBER.fullmatch(word):
            raise Complaint(
                self.at - 1, f"{what} is a number", "write it in decimal, or in hexadecimal with 0x"
            )
        value = int(word, 16) if word[:2] in ("0x", "0X") else int(word)
        if value > highest:
            raise Complaint(self.at - 1, f"{what} is at most {highest}", "choose a smaller number")
        return value
