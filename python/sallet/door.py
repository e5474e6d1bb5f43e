"""How a program of ours comes to a daemon's sockets, and what is said if it does not.

No message and no meaning of one may enter.
Answers to: unix(7); `sallet(1)`, exit status.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from sallet.failure import Failure
from sallet.rundir import short_path


def connect(path: Path, kind: socket.SocketKind) -> socket.socket:
    """Connect to a daemon's socket, however long its directory's name is.

    Raises:
        Failure: nobody answers there, or this user may not.
    """
    connection = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        with short_path(path) as name:
            connection.connect(name)
    except OSError as error:
        connection.close()
        raise unreachable(path, error) from error
    return connection


def unreachable(path: Path, error: OSError) -> Failure:
    """Say why a daemon cannot be reached, and what to do."""
    if isinstance(error, PermissionError):
        return Failure(
            "no permission to talk to the daemon",
            where=str(path),
            why=error.strerror or str(error),
            next_step="ask as the user who started it, or as a member of its --group",
            kind="permission",
        )
    return Failure(
        "no daemon answers",
        where=str(path),
        why=error.strerror or str(error),
        next_step="start one with `sallet up`, or name its directory with --run-dir or SALLET_RUN_DIR",
        kind="unreachable",
    )


def hung_up() -> ConnectionResetError:
    """Make the error for a connection that the daemon closed."""
    return ConnectionResetError(errno.ECONNRESET, "the daemon closed the line")
