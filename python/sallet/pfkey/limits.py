"""How much of a daemon its clients may use together, and how much of that is used.

No socket and no message enters. Answers to RFC 2367 §1 (a full buffer costs its listener only; ENOBUFS).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

DUMPED_ENTRY_BYTES: Final = 256
"""What an entry that a dump still has to send is reckoned to hold in memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there is; what does not fit is answered with ENOBUFS and counted."""

    connections: int = 1024
    connections_of_a_user: int = 256
    """The same for each user but root and the daemon's own."""
    told_bytes: int = 1 << 20
    """Octets that may wait for one listener before it misses what everybody hears."""
    told_bytes_in_all: int = 64 << 20
    """Octets that may wait for all of them."""
    dumped_entries: int = 8_000_000
    """Entries that the dumps under way may still have to send."""


@dataclass(slots=True)
class Usage:
    """How much is used at this moment, and what was refused for it."""

    limits: Limits = field(default_factory=Limits)
    waiting_bytes: int = 0
    dumped_entries: int = 0
    dumps: int = 0
    connections: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """How often each limit was met."""
    _by_user: Counter[int] = field(default_factory=Counter)

    def enter(self, uid: int, *, privileged: bool) -> bool:
        """Count a connection, or say that there is no room for it."""
        limits = self.limits
        if self.connections >= limits.connections:
            return self.refuse("connections")
        if not privileged and self._by_user[uid] >= limits.connections_of_a_user:
            return self.refuse("connections_of_a_user")
        self.connections += 1
        self._by_user[uid] += 1
        return True

    def leave(self, uid: int) -> None:
        """Count a connection that is gone."""
        self.connections -= 1
        self._by_user[uid] -= 1
        if not self._by_user[uid]:
            del self._by_user[uid]

    def can_tell(self, waiting: int, size: int) -> bool:
        """Say whether a message of `size` octets may wait for a listener for whom `waiting` octets do."""
        if waiting + size > self.limits.told_bytes:
            return self.refuse("told_bytes")
        if self.waiting_bytes + size > self.limits.told_bytes_in_all:
            return self.refuse("told_bytes_in_all")
        return True

    def refuse(self, limit: str) -> bool:
        """Count that a limit was met; always False."""
        self.refused[limit] += 1
        return False
