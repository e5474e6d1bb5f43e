"""A progress bar on the terminal, for work of many steps.

No verb's words may enter. Answers to nobody: without a terminal there is none.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Protocol

PROGRESS_FROM = 5000
"""A bar is shown above so many steps."""


class Progress(Protocol):
    """What counts the steps that are done."""

    def advance(self, steps: int) -> None:
        """Count some more."""


class _Bar:
    """A progress bar on the terminal."""

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, steps: int) -> None:
        """Count some more."""
        self._progress.advance(self._task, steps)


def progress(title: str, total: int) -> _Bar | nullcontext[None]:
    """Return a progress bar where there are many steps and somebody watches."""
    return _Bar(title, total) if total > PROGRESS_FROM and sys.stderr.isatty() else nullcontext()
