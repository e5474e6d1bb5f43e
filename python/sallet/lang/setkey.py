"""Reads setkey text: statement by statement, each by the function of its verb.

No socket, no look-up on the host and no PF_KEY number may enter. Answers to setkey(8), both kinds.
`parse` reads a whole text; `statements` reads on demand, as the tools that act command by command do.
"""

from __future__ import annotations

from collections.abc import Iterator

from sallet.lang.cursor import Cursor
from sallet.lang.forms import FORMS, Form
from sallet.lang.lexer import Chunk, Complaint, SetkeyError, chunks, raise_placed
from sallet.lang.setkey_messages import plan, to_messages
from sallet.lang.setkey_remarks import remarks
from sallet.lang.statements import Names, NoNames, Place, Statement, Whole
from sallet.lang.verbs import VERBS

__all__ = ["check", "complete", "ends", "parse", "plan", "remarks", "statements", "to_messages"]


def parse(
    text: str, *, filename: str = "<text>", form: str = "sallet", resolve: Names | None = None
) -> list[Statement]:
    """Read a whole setkey text.

    # Errors
    `SetkeyError` for the first statement that is none.
    """
    return list(statements(text, filename=filename, form=form, resolve=resolve))


def check(
    text: str, *, filename: str = "<text>", form: str = "sallet", resolve: Names | None = None, most: int = 20
) -> tuple[list[Statement], list[SetkeyError]]:
    """Read a whole setkey text and go on behind each error, up to so many errors."""
    reader = _Reader(text, filename, FORMS[form], resolve or NoNames())
    good: list[Statement] = []
    bad: list[SetkeyError] = []
    for chunk in chunks(text):
        try:
            statement = reader.statement(chunk)
        except SetkeyError as error:
            bad.append(error)
            if len(bad) >= most:
                break
            continue
        if statement is None:
            continue
        if isinstance(statement, Whole) and statement.verb == "exit":
            break
        good.append(statement)
    return good, bad


def complete(text: str) -> int:
    """Return how much of a text, of which more may come, is whole statements."""
    end = 0
    for chunk in chunks(text):
        if chunk.closed or chunk.end < len(text):
            end = chunk.end
    return end


def ends(text: str, form: str) -> bool:
    """Say whether a text has a statement behind which nothing is read."""
    return FORMS[form].ipsec_tools and any(VERBS.get(verb) is VERBS["exit"] for verb in _verbs(text))


def _verbs(text: str) -> Iterator[str]:
    return (chunk.tokens[0] for chunk in chunks(text) if chunk.tokens)


def statements(
    text: str, *, filename: str = "<text>", form: str = "sallet", resolve: Names | None = None
) -> Iterator[Statement]:
    """Yield the statements of a text one by one, up to `exit`.

    # Errors
    `SetkeyError` at the statement that is none; those before it have been yielded.
    """
    reader = _Reader(text, filename, FORMS[form], resolve or NoNames())
    for chunk in chunks(text):
        statement = reader.statement(chunk)
        if statement is None:
            continue
        if isinstance(statement, Whole) and statement.verb == "exit":
            return
        yield statement


class _Reader:
    """Turns chunks of one text into statements."""

    __slots__ = ("filename", "form", "names", "text")

    def __init__(self, text: str, filename: str, form: Form, names: Names) -> None:
        self.text = text
        self.filename = filename
        self.form = form
        self.names = names

    def statement(self, chunk: Chunk) -> Statement | None:
        """Read one chunk; an empty statement is None.

        # Errors
        `SetkeyError` with the place of the token that offends.
        """
        tokens = chunk.tokens
        if not tokens and chunk.closed:
            return None
        cursor = Cursor(
            tokens, self.form, self.names, Place(chunk.line, chunk.column, chunk.length, chunk.last_line)
        )
        try:
            verb = VERBS.get(tokens[0]) if tokens else None
            if verb is None:
                raise Complaint(
                    0,
                    "this is no verb of setkey",
                    "the verbs are add, get, delete, flush, dump, spdadd, spddelete …",
                )
            cursor.at = 1
            statement = verb(cursor)
            if cursor.at < len(tokens):
                raise Complaint(
                    cursor.at,
                    f"`{tokens[cursor.at]}' is not expected here",
                    "end the statement with a semicolon",
                )
            if not chunk.closed:
                raise Complaint(len(tokens), "the statement does not end", "end it with a semicolon")
        except Complaint as complaint:
            raise_placed(_unended(complaint, tokens), self.text, self.filename, chunk)
        return statement


def _unended(complaint: Complaint, tokens: list[str]) -> Complaint:
    """Say of a verb in the middle of a statement that the semicolon before it is missing."""
    at = complaint.index
    if 0 < at < len(tokens) and tokens[at] in VERBS:
        complaint.text = f"`{tokens[at]}' begins a statement, and the one before it does not end"
        complaint.next_step = "end the statement before it with a semicolon"
    return complaint
