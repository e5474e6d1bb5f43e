"""`Failure`: what went wrong, where, why, and what to do next, said once by whoever knows all four.

No exit code, no printing and no other room of the project may enter.
Answers to: ARCHITECTURE.md section B; the command line prints it, the daemon sends it.
"""

from __future__ import annotations

from typing import Literal, get_args

FailureKind = Literal["failed", "usage", "nothing-matched", "permission", "unreachable", "partly-applied"]
KINDS: tuple[FailureKind, ...] = get_args(FailureKind)


class Failure(Exception):
    """An operation that did not happen, in words for a person; `kind` is the word for a program."""

    def __init__(
        self, what: str, *, where: str = "", why: str = "", next_step: str = "", kind: FailureKind = "failed"
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.next_step = next_step
        self.kind: FailureKind = kind

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.what, self.why) if part)
