"""Holds back an interrupt until work that must be whole has come to a place where it can stop.

No verb's words may enter. Answers to signal(7): SIGINT and SIGTERM; a second one is not held back.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldBack:
    """While it is entered, the first SIGINT or SIGTERM only sets `arrived`."""

    def __init__(self) -> None:
        self.arrived: int | None = None
        """Number of the signal that wants this process to stop."""
        self._before: dict[int, signal.Handlers] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread, and only there can a handler be set.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.arrived is not None:
            raise KeyboardInterrupt
        self.arrived = number
