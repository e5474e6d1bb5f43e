"""Unix sockets of a run directory: how they are bound, whose they are, and who is at the other end.

No protocol and no decision about rights may enter.
Answers to: unix(7) (SO_PEERCRED, permissions of sockets), socket(7) (SO_PEERGROUPS).
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sallet.rundir import short_path

BACKLOG: Final = 64
_UMASK: Final = 0o117
"""Leaves 0660: the owner and one group may connect."""
_SO_PEERGROUPS: Final = 59
_CREDENTIALS: Final = struct.Struct("3i")
_GROUPS_BYTES: Final = 1024
"""As much as Python lets one ask for: 256 groups."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who connected, as the kernel saw it at that moment."""

    pid: int
    uid: int
    groups: frozenset[int]


def bind(path: Path, kind: socket.SocketKind, group: int | None = None) -> socket.socket:
    """Bind a listening socket, mode 0660, whatever its directory's length; a stale one of that name goes.

    The mode is there from the first moment; with `group` the socket belongs to that group.

    Raises:
        OSError: it cannot be bound, or something else has its name.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    umask = os.umask(_UMASK)
    try:
        with short_path(path) as name:
            listener.bind(name)
            if group is not None:
                os.chown(name, -1, group, follow_symlinks=False)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    return listener


def credentials(connected: socket.socket) -> Credentials:
    """Tell who is at the other end of a connected socket.

    Somebody in more groups than can be asked for is taken to be in his first one only.
    """
    pid, uid, gid = _CREDENTIALS.unpack(
        connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    further: tuple[int, ...] = ()
    with suppress(OSError):
        found = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        further = struct.unpack(f"{len(found) // 4}I", found)
    return Credentials(pid, uid, frozenset((gid, *further)))
