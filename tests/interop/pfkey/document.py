"""docs/pfkey-differences.md, written as a whole by the full run.

No verdict may be made here. Answers to `make pfkey-differences`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from interop.pfkey.rows import ROWS
from interop.pfkey.verdict import Verdict

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "pfkey-differences.md"

_HEAD = """\
# Where the dialect `linux` answers otherwise than Linux

<!-- `make pfkey-differences` writes this file; what is changed by hand is lost. -->

A program inside a real Linux kernel ({release}, user-mode Linux) and one on a PF_KEY server of ours play the
same scenarios; what each socket then receives is compared octet by octet. Only what
must vary is masked: times, and, each numbered in the order in which it comes, ids of policies, request ids
that a system allocated, SPIs chosen at random, sequence numbers of ACQUIRE, and reference counts of policies.

What differs has a row below, and the row knows its differences by itself: a difference that no row knows
fails `tests/interop/test_pfkey_differences.py`. A row that *lasts* leaves other databases behind, so that
later answers of the same scenario differ, too; those are counted as following.

## Result

- scenarios: {hand} by hand, {drawn} drawn from a seed
- {summary}

## Rows

| row | Linux | here | why | lasts | differences |
|--|--|--|--|--|--|
"""


def write(verdict: Verdict, release: str, hand: int, drawn: int) -> None:
    """Rewrite the document."""
    head = _HEAD.format(release=release, hand=hand, drawn=drawn, summary=verdict.summary())
    rows = [
        f"| `{row.name}` | {row.linux} | {row.ours} | {row.why} | {'yes' if row.lasts else 'no'} "
        f"| {verdict.explained[row.name]} |\n"
        for row in ROWS
    ]
    DOCUMENT.write_text(head + "".join(rows))
