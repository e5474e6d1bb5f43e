"""Deviations that a peer may force on us, each with a name; none of them applies unless it is asked for.

No branch on a quirk's name enters, here or elsewhere: a quirk is a row that changes a dialect's row.
Answers to what old kernels do against RFC 4868.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from sallet.pfkey.dialects import DIALECTS, Dialect


@dataclass(frozen=True, slots=True)
class Quirk:
    """One deviation."""

    name: str
    meaning: str
    dialect: str
    """The PF_KEY dialect that it changes."""
    auth: Mapping[int, str]
    """Authentication numbers that mean another algorithm than in the dialect's row."""

    def on(self, dialect: Dialect) -> Dialect:
        """Return the dialect with the deviation."""
        rows = tuple(replace(row, name=self.auth.get(row.number, row.name)) for row in dialect.auth)
        return replace(dialect, auth=rows)


SHA256_96: Final = Quirk(
    "sha256-96",
    "hmac-sha256 of dialect linux has an ICV of 96 bits, as Linux' own PF_KEY makes it",
    "linux",
    {5: "hmac-sha2-256-96"},
)

QUIRKS: Final[Mapping[str, Quirk]] = MappingProxyType({row.name: row for row in (SHA256_96,)})
"""Every quirk by name."""


def dialects(names: Iterable[str]) -> dict[str, Dialect]:
    """Return every dialect, changed by the quirks that are named.

    Raises:
        KeyError: there is no such quirk.
    """
    found = dict(DIALECTS)
    for name in names:
        quirk = QUIRKS[name]
        found[quirk.dialect] = quirk.on(found[quirk.dialect])
    return found
