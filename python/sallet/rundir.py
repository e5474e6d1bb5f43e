"""The run directory: where a daemon's sockets are, how it is found, and the lock that makes it one daemon's.

No protocol and no attachment may enter.
Answers to: `sallet up --run-dir`, SALLET_RUN_DIR; unix(7) for the length of socket names.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sallet.failure import Failure

LOCK_NAME = "daemon.lock"
MODE = 0o750
_SUN_PATH_BYTES = 100


def default_run_dir() -> Path:
    """Name the run directory that is used when none is given: SALLET_RUN_DIR, or one that fits the user."""
    named = os.environ.get("SALLET_RUN_DIR")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/run/sallet")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "sallet" if runtime else Path(f"/tmp/sallet-{os.geteuid()}")  # noqa: S108


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a name of a socket that fits `sun_path`, however long the name of its directory is."""
    if len(os.fsencode(path)) < _SUN_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def claim(run_dir: Path) -> int:
    """Make the directory if need be and take its lock; the lock goes with the descriptor that is returned.

    Raises:
        Failure: it cannot be made, is someone else's, or a daemon has it already.
    """
    try:
        run_dir.mkdir(mode=MODE, parents=True, exist_ok=True)
        found = run_dir.stat()
    except OSError as error:
        raise _unusable(run_dir, error.strerror or str(error)) from error
    # Whoever owns the directory can replace the sockets in it; in /tmp that could be anybody.
    if found.st_uid != os.geteuid():
        raise _unusable(run_dir, f"it belongs to user {found.st_uid}")
    if found.st_mode & 0o022:
        raise _unusable(run_dir, "others may write to it")
    lock = os.open(run_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise Failure(
            "a daemon runs already in this directory",
            where=str(run_dir),
            why="its lock is held",
            next_step="`sallet status` asks it; another daemon needs another --run-dir",
        ) from error
    return lock


def _unusable(run_dir: Path, why: str) -> Failure:
    return Failure(
        "the run directory cannot be used",
        where=str(run_dir),
        why=why,
        next_step="name one that is yours, with --run-dir or SALLET_RUN_DIR",
        kind="permission",
    )
