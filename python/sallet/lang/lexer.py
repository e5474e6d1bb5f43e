"""Cuts setkey text into statements and tokens, and says where a token stands when it offends.

No grammar and no meaning of a word may enter. Answers to setkey(8): `#` comments, `;`, "quoted" keys.
Tokens are plain strings found in one pass of `re`; places are worked out only when an error needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

_BLANK: Final = re.compile(r"(?:[ \t\r\f\v\n]+|#[^\n]*)*+")
_CHUNK: Final = re.compile(r'(?:[^;#"]++|#[^\n]*+|"[^"\n]*")*+')
_TOKEN: Final = re.compile(r'"[^"\n]*"|#[^\n]*|[;/\[\],]|[^\s#;"/\[\],]+|"', re.ASCII)
_KEY_TEXT: Final = re.compile(r'"[^"]*"?|\b0[xX][0-9a-fA-F]{9,}')
_WINDOW_COLUMNS: Final = 160


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a statement or a token: line and column count from 1, length in characters."""

    filename: str
    line: int
    column: int
    length: int
    source: str
    """The text of the line on which it stands, as written."""


class SetkeyError(ValueError):
    """A text that no statement can be made of: where, why, and what to write instead."""

    def __init__(
        self,
        where: Where,
        text: str,
        next_step: str = "",
        *,
        classic: str = "syntax error",
        token: str = "",
        preface: str = "",
    ) -> None:
        super().__init__(f"{where.filename}:{where.line}:{where.column}: {text}")
        self.where = where
        self.text = text
        self.next_step = next_step
        self.classic = classic
        """What setkey of ipsec-tools and KAME says in this case."""
        self.token = token
        self.preface = preface
        """A line that ipsec-tools prints before its diagnostic."""

    @property
    def filename(self) -> str:
        """Name of the file, as the caller gave it."""
        return self.where.filename

    @property
    def line(self) -> int:
        """Line of the offending token, from 1."""
        return self.where.line

    @property
    def column(self) -> int:
        """Column of the offending token, from 1."""
        return self.where.column

    @property
    def length(self) -> int:
        """Length of the offending token in characters."""
        return self.where.length


class Complaint(Exception):
    """An offence not yet placed: the number of the token in its statement, and the words for it."""

    def __init__(
        self, index: int, text: str, next_step: str = "", *, classic: str = "syntax error", preface: str = ""
    ) -> None:
        super().__init__(text)
        self.index = index
        self.text = text
        self.next_step = next_step
        self.classic = classic
        self.preface = preface


@dataclass(frozen=True, slots=True)
class Chunk:
    """One statement as text: its tokens without the closing semicolon, and where it starts and ends."""

    tokens: list[str]
    start: int
    end: int
    """Offset behind the semicolon, or of the end of the text."""
    line: int
    column: int
    length: int
    last_line: int
    closed: bool
    """Whether a semicolon ended it."""


def tokens_of(text: str) -> list[str]:
    """Return the tokens of a piece of text without its comments."""
    tokens = _TOKEN.findall(text)
    if "#" in text:
        tokens = [token for token in tokens if token[0] != "#"]
    return tokens


def chunks(text: str) -> Iterator[Chunk]:
    """Yield every statement of the text; a quotation mark that never closes ends its line's statement."""
    position, line, line_start, size = 0, 1, 0, len(text)
    while True:
        start = _end(_BLANK, text, position)
        newlines = text.count("\n", position, start)
        if newlines:
            line += newlines
            line_start = text.rfind("\n", position, start) + 1
        if start >= size:
            return
        end = text.find(";", start)
        if end < 0 or text.find("#", start, end) >= 0 or text.find('"', start, end) >= 0:
            # Only then can the next semicolon be part of a comment or of a key.
            end = _end(_CHUNK, text, start)
        if end < size and text[end] == '"':
            newline = text.find("\n", end)
            end = size if newline < 0 else newline
        closed = end < size and text[end] == ";"
        body = text[start:end]
        behind = end + 1 if closed else end
        length = body.find("\n")
        newlines = body.count("\n")
        yield Chunk(
            tokens_of(body),
            start,
            behind,
            line,
            start - line_start + 1,
            length if length > 0 else len(body),
            line + newlines,
            closed,
        )
        if newlines:
            line += newlines
            line_start = start + body.rfind("\n") + 1
        position = behind


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return the offset behind a pattern that matches the empty string too."""
    found = pattern.match(text, position)
    return position if found is None else found.end()


def place(text: str, filename: str, chunk: Chunk, index: int) -> tuple[Where, str]:
    """Return where the token with that number stands, and the token; the semicolon is behind the last."""
    seen = 0
    offset, token = chunk.end - 1 if chunk.closed else chunk.end, ";" if chunk.closed else ""
    for found in _TOKEN.finditer(text, chunk.start, chunk.end):
        word = found.group()
        if word[0] == "#":
            continue
        if seen == index:
            offset, token = found.start(), word
            break
        if not chunk.closed:
            offset = found.end()
        seen += 1
    return where_of(text, filename, offset, max(1, len(token))), token


def where_of(text: str, filename: str, offset: int, length: int) -> Where:
    """Return the place of an offset of the text."""
    line_start = text.rfind("\n", 0, offset) + 1
    line_end = text.find("\n", offset)
    source = text[line_start : len(text) if line_end < 0 else line_end]
    return Where(filename, text.count("\n", 0, offset) + 1, offset - line_start + 1, length, source)


def where_of_line(text: str, filename: str, line: int, column: int, length: int) -> Where:
    """Return the place of a statement that is known by its line."""
    return Where(filename, line, column, length, text.split("\n")[line - 1])


def raise_placed(
    complaint: Complaint, text: str, filename: str, chunk: Chunk, *, semicolon: bool = True
) -> NoReturn:
    """Turn a complaint about a token number into an error with its place.

    Where a semicolon is due and the text ends, its absence is the offence, whatever else is missing.
    """
    where, token = place(text, filename, chunk, complaint.index)
    message, next_step = complaint.text, complaint.next_step
    if not token and semicolon:
        message, next_step = "the statement does not end", "end it with a semicolon"
    elif token[:1] == '"' and (len(token) == 1 or token[-1] != '"'):
        message, next_step = "this quotation mark never closes", "close it on the same line"
    raise SetkeyError(
        where, message, next_step, classic=complaint.classic, token=token, preface=complaint.preface
    ) from None


def excerpt(where: Where) -> tuple[str, str]:
    """Return the source line with its keys hidden and the carets below the token, cut to a readable width."""
    hidden = _KEY_TEXT.sub(_hide, where.source)
    start = max(0, where.column - 1 - _WINDOW_COLUMNS // 2)
    piece = hidden[start : start + _WINDOW_COLUMNS].replace("\t", " ")
    lead, tail = "…" if start else "", "…" if start + _WINDOW_COLUMNS < len(hidden) else ""
    indent = where.column - 1 - start + len(lead)
    carets = "^" * max(1, min(where.length, len(lead + piece) - indent))
    return lead + piece + tail, " " * indent + carets


def _hide(found: re.Match[str]) -> str:
    """Return as many dots as the key has characters, between its quotes or behind its 0x."""
    key = found.group()
    if key[0] == '"':
        closed = len(key) > 1 and key[-1] == '"'
        return '"' + "·" * (len(key) - 1 - closed) + '"' * closed
    return "0x" + "·" * (len(key) - 2)
