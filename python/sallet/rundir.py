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


def claim(run_dir: Path, group: int | None = None) -> int:
    """Make the directory if need be and take its lock; the lock goes with the descriptor that is returned.

    With `group`, its members may enter the directory.

    Raises:
        Failure: it cannot be made, is someone else's, or a daemon has it already.
    """
    try:
        made = _make(run_dir)
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
    try:
        if group is not None:
            _open_to(run_dir, group, ours=made)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _make(run_dir: Path) -> bool:
    """Make the directory, mode 0750 whatever the umask; say whether it is, or once was, made for a daemon."""
    try:
        run_dir.mkdir(mode=MODE, parents=True)
    except FileExistsError:
        if not run_dir.is_dir():
            raise
        return (run_dir / LOCK_NAME).exists()
    run_dir.chmod(MODE)
    return True


def _open_to(run_dir: Path, group: int, *, ours: bool) -> None:
    """Let a group enter; a directory that was there before any daemon keeps its owner's settings."""
    found = run_dir.stat()
    if found.st_gid == group and found.st_mode & 0o050 == 0o050:
        return
    if not ours:
        raise Failure(
            "the group cannot enter the run directory",
            where=str(run_dir),
            why="it was there before, and its group or mode is another",
            next_step=f"chgrp {group} {run_dir} && chmod 750 {run_dir}",
            kind="permission",
        )
    try:
        os.chown(run_dir, -1, group)
        run_dir.chmod(MODE)
    except OSError as error:
        raise _unusable(run_dir, error.strerror or str(error)) from error


def _unusable(run_dir: Path, why: str) -> Failure:
    return Failure(
        "the run directory cannot be used",
        where=str(run_dir),
        why=why,
        next_step="name one that is yours, with --run-dir or SALLET_RUN_DIR",
        kind="permission",
    )
