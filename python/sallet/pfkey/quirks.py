"""Deviations that a peer may force on us, each with a name; none of them applies unless it is asked for.

No branch on a quirk's name enters, here or elsewhere: a quirk is a row that changes a dialect's row.
Answers to what old kernels do against RFC 4868.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from sallet.pfkey.dialects import DIALECTS, Dialect


@dataclass(frozen=True, slots=True)
class Quirk:
    """One deviation."""

    name: str
    meaning: str
    auth: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By PF_KEY dialect: authentication numbers that mean another algorithm than in its row."""
    dump_overflow: Mapping[str, str] = field(default_factory=dict)
    """By PF_KEY dialect: what becomes of a dump that the socket has no room for."""

    def on(self, dialect: Dialect) -> Dialect:
        """Return the dialect with the deviation."""
        other = self.auth.get(dialect.name, {})
        return replace(
            dialect,
            auth=tuple(replace(row, name=other.get(row.number, row.name)) for row in dialect.auth),
            dump_overflow=self.dump_overflow.get(dialect.name, dialect.dump_overflow),
        )


SHA256_96: Final = Quirk(
    "sha256-96",
    "hmac-sha256 of dialect linux has an ICV of 96 bits, as Linux' own PF_KEY makes it",
    auth={"linux": {5: "hmac-sha2-256-96"}},
)

DUMP_TRUNCATION: Final = Quirk(
    "dump-truncation",
    "a dump larger than the socket's buffer (8192, or the program's SO_RCVBUF) is cut as the manuals warn: "
    "dialect kame stops, netbsd answers ENOBUFS, freebsd loses entries silently",
    dump_overflow={"kame": "stops", "netbsd": "refuses", "freebsd": "skips"},
)

QUIRKS: Final[Mapping[str, Quirk]] = MappingProxyType({row.name: row for row in (SHA256_96, DUMP_TRUNCATION)})
"""Every quirk by name."""


def dialects(names: Iterable[str]) -> dict[str, Dialect]:
    """Return every dialect, changed by the quirks that are named.

    Raises:
        KeyError: there is no such quirk.
    """
    found = dict(DIALECTS)
    for name in names:
        found = {key: QUIRKS[name].on(dialect) for key, dialect in found.items()}
    return found
