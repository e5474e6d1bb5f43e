"""The rows of policy_vectors.toml, one for each dialect that they are for.

No test may enter: the grammar, `sallet.ipsec` and the C library are each held against these rows.
Answers to: ipsec_set_policy(3).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIALECTS: Final = ("kame", "netbsd", "freebsd", "linux")
_FILE: Final = Path(__file__).with_suffix(".toml")
_PRIORITY_DEFAULT: Final = 0x80000000


@dataclass(frozen=True)
class Vector:
    """One string in one dialect: what it means, or what it is refused with."""

    dialect: str
    text: str
    policy: str = ""
    """Direction and action; empty where the string is refused."""
    rules: tuple[str, ...] = ()
    priority: int = 0
    error: str = ""
    """The text of ipsec_strerror(3); empty where the string is accepted."""

    def __str__(self) -> str:
        return f"{self.dialect}: {self.text}"


def vectors() -> tuple[list[Vector], list[Vector]]:
    """Read the file: what is accepted, and what is refused."""
    accepted, refused = [], []
    with _FILE.open("rb") as file:
        tables = tomllib.load(file)
    for row in tables["accept"]:
        for dialect in row.get("dialects", DIALECTS):
            priority = row.get("priority", _PRIORITY_DEFAULT) if dialect == "linux" else 0
            accepted.append(Vector(dialect, row["text"], row["policy"], tuple(row["rules"]), priority))
    for row in tables["refuse"]:
        for dialect in row.get("dialects", DIALECTS):
            refused.append(Vector(dialect, row["text"], error=row["error"]))
    return accepted, refused


ACCEPTED, REFUSED = vectors()
