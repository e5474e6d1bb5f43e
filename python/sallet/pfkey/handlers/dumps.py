"""Dumps: one snapshot, of which each entry is a reply, or bytes that the engine wrote itself.

No filter and no delivery enters. Answers to RFC 2367 §3.1.10.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.convert import Refusal
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.handlers.replies import Reply

_View = TypeVar("_View", _core.SaView, _core.PolicyView)


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.10
# # DUMP is one message for each SA, from one snapshot, and says which is the last
class Dump(ABC):
    """The entries of a snapshot, numbered as the dialect numbers them; the last has sequence number 0."""

    def __init__(self, count: int, dialect: Dialect) -> None:
        """Number so many entries.

        Raises:
            Refusal: there is none (no-entries).
        """
        if not count:
            raise Refusal("no-entries")
        self._count = count
        self._dialect = dialect

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Reply]:
        return (self.reply(nth) for nth in range(self._count))

    def sequence(self, nth: int) -> int:
        """Give the sequence number of an entry."""
        return self._count - 1 - nth if self._dialect.dump_counts_down else (nth + 1) % self._count

    @abstractmethod
    def reply(self, nth: int) -> Reply:
        """Tell one entry as a message."""

    def written(self, first: int, count: int) -> list[bytes]:
        """Write some entries, one after the other."""
        last = min(first + count, self._count)
        return [codec.encode(self.reply(nth), self._dialect) for nth in range(first, last)]


class ViewDump(Dump):
    """Entries that were taken out one by one."""

    def __init__(
        self,
        views: Sequence[_View],
        told: Callable[[_View, int], Reply],
        dialect: Dialect,
        *,
        newest_first: bool,
    ) -> None:
        """Tell each entry by a function of it and its sequence number."""
        super().__init__(len(views), dialect)

        def reply(nth: int) -> Reply:
            return told(views[-1 - nth if newest_first else nth], self.sequence(nth))

        self._reply = reply

    def reply(self, nth: int) -> Reply:
        """Tell one entry as a message."""
        return self._reply(nth)


class MomentDump(Dump):
    """The SAD at one moment, written by the engine: a hundred thousand take a second, not a minute."""

    def __init__(
        self,
        moment: _core.SadMoment,
        shape: _core.DumpShape,
        told: Callable[[_core.SaView, int], Reply],
        dialect: Dialect,
        pid: int,
    ) -> None:
        """Write with a shape; `told` tells an entry that somebody else wants to hear of, too."""
        super().__init__(len(moment), dialect)
        self._moment = moment
        self._shape = shape
        self._told = told
        self._pid = pid

    def reply(self, nth: int) -> Reply:
        """Tell one entry as a message."""
        return self._told(self._moment.view(nth), self.sequence(nth))

    def written(self, first: int, count: int) -> list[bytes]:
        """Write some entries, one after the other."""
        last = min(first + count, len(self))
        sequences = [self.sequence(nth) for nth in range(first, last)]
        return self._moment.messages(self._shape, first, sequences, self._pid)
