"""A dump on its way to one connection: written slice by slice as it is read, cut only if a quirk asks.

No socket and no meaning of an entry enters. Answers to RFC 2367 §3.1.10; BUGS of `ipsec(4)` for what is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from sallet.pfkey.handlers import Dump
from sallet.pfkey.limits import Usage

SLICE_ENTRIES: Final = 256
"""Entries written at once: few enough to let others have their turn, and to need no memory."""

BUFFER_BYTES: Final = 8192
"""What a PF_KEY socket of the BSDs buffers unless its program enlarges it (RAWRCVQ)."""


class DumpStream:
    """The messages of a dump, one by one; whoever stops early closes it."""

    def __init__(self, dump: Dump, usage: Usage, shown: Callable[[Dump, int], None]) -> None:
        """Send a dump; `shown` hears of each entry, by number, when it is taken."""
        self._dump: Dump | None = dump
        self._usage = usage
        self._shown = shown
        self._slice: deque[bytes] = deque()
        self._nth = 0
        usage.dumps += 1
        usage.dumped_entries += len(dump)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        dump = self._dump
        if dump is None:
            raise StopIteration
        if not self._slice:
            self._slice.extend(dump.written(self._nth, SLICE_ENTRIES))
            if not self._slice:
                self.close()
                raise StopIteration
        self._shown(dump, self._nth)
        self._nth += 1
        self._usage.dumped_entries -= 1
        return self._slice.popleft()

    def close(self) -> None:
        """Let go of the snapshot."""
        if self._dump is not None:
            self._usage.dumps -= 1
            self._usage.dumped_entries -= len(self._dump) - self._nth
            self._dump = None
            self._slice.clear()


# What the old systems do with a dump that their socket has no room for; each from the whole to what is sent.


def _stops(messages: Iterator[bytes], room: int) -> list[bytes] | None:
    """Send what comes before the first that does not fit."""
    sent: list[bytes] = []
    for data in messages:
        room -= len(data)
        if room < 0:
            break
        sent.append(data)
    return sent


def _refuses(messages: Iterator[bytes], room: int) -> list[bytes] | None:
    """Send all or nothing, and say which."""
    sent: list[bytes] = []
    for data in messages:
        room -= len(data)
        if room < 0:
            return None
        sent.append(data)
    return sent


def _skips(messages: Iterator[bytes], room: int) -> list[bytes] | None:
    """Send whatever fits, and lose the rest without a word."""
    sent: list[bytes] = []
    for data in messages:
        if len(data) <= room:
            room -= len(data)
            sent.append(data)
    return sent


_CUTS: Final = {"stops": _stops, "refuses": _refuses, "skips": _skips}


def cut(dump: Dump, overflow: str, room: int) -> list[bytes] | None:
    """Give what a socket with room for so many octets gets of a dump; None for ENOBUFS."""

    def messages() -> Iterator[bytes]:
        for first in range(0, len(dump), SLICE_ENTRIES):
            yield from dump.written(first, SLICE_ENTRIES)

    return _CUTS[overflow](messages(), room)
