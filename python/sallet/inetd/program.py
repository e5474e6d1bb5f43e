"""A service's program: as which user it runs, and how it gets its socket.

No listening and no loop may enter.
Answers to: inetd(8): the socket is descriptors 0, 1 and 2 of the program.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import subprocess
from dataclasses import dataclass

from sallet import native
from sallet.lang.inetd import Service

_OURS = ("SALLET_INETD", "SALLET_DIALECT", "SALLET_RUN_DIR")


class CannotStart(Exception):
    """Why a program was not started."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a program runs; None where that is who we are anyway."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def identity_of(service: Service) -> Identity | None:
    """Look the user and the group of a service up.

    Raises:
        CannotStart: there is no such user or group, or only root could become that user.
    """
    try:
        user = pwd.getpwnam(service.user)
    except KeyError as error:
        raise CannotStart(f"there is no user {service.user}") from error
    try:
        gid = user.pw_gid if service.group is None else grp.getgrnam(service.group).gr_gid
    except KeyError as error:
        raise CannotStart(f"there is no group {service.group}") from error
    if os.geteuid() == 0:
        return Identity(user.pw_uid, gid, tuple(os.getgrouplist(service.user, gid)))
    if (user.pw_uid, gid) != (os.geteuid(), os.getegid()):
        raise CannotStart(f"only root can start it as {service.user}")
    return None


def environment() -> dict[str, str]:
    """Return the environment of programs: ours without the library that was loaded for our own sockets.

    Their sockets have their policies already; a program that sets its own is started by `sallet run`.
    """
    kept = {name: text for name, text in os.environ.items() if name not in _OURS}
    loaded = [each for each in kept.pop("LD_PRELOAD", "").split() if each != str(native.PRELOAD)]
    return {**kept, "LD_PRELOAD": " ".join(loaded)} if loaded else kept


def start(service: Service, held: socket.socket) -> subprocess.Popen[bytes]:
    """Start a service's program on a socket.

    Raises:
        CannotStart: it cannot be started.
    """
    if service.program is None:
        raise CannotStart("it has no program")
    identity = identity_of(service)
    words = service.arguments or (os.path.basename(service.program),)
    try:
        return subprocess.Popen(
            words,
            executable=service.program,
            stdin=held.fileno(),
            stdout=held.fileno(),
            stderr=held.fileno(),
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=identity.groups if identity else None,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotStart(f"{service.program}: {why}") from error
