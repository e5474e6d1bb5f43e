"""A daemon of its own process in mode `embedded`, which needs no privilege, for tests of what `up` is told.

No packet enters. Answers to: sallet.daemon, sallet.cli.up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DaemonProcess:
    """A running daemon; after the `with` block, what it wrote to standard error."""

    def __init__(self, run_dir: Path, words: list[str]) -> None:
        self.run_dir = run_dir
        self.errors = ""
        command = [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(run_dir), "up"]
        self.process = subprocess.Popen(
            [*command, "--mode", "embedded", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()

    def stop(self) -> None:
        """End it and keep its words."""
        self.process.send_signal(signal.SIGTERM)
        _, self.errors = self.process.communicate(timeout=30)


@contextmanager
def daemon(run_dir: Path, *words: str) -> Iterator[DaemonProcess]:
    """Run `sallet up --mode embedded` with further words for as long as the block lasts."""
    started = DaemonProcess(run_dir, list(words))
    try:
        yield started
    finally:
        started.stop()
