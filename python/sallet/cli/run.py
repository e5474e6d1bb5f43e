"""`sallet run`: starts an unmodified program with the preload library before it.

No socket option and no PF_KEY may enter: the library does that (`rust/bindings/preload`).
Answers to: `sallet(1)`, run; env(1) for the exit status of what cannot be started.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
from pathlib import Path

from sallet import native, rundir
from sallet.cli import diagnostics
from sallet.failure import Failure
from sallet.native import preloadable

CANNOT_START = 126
NOT_FOUND = 127
DIALECTS = ("linux", "kame", "netbsd", "freebsd")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--dialect",
        choices=DIALECTS,
        default="linux",
        help="the system whose headers the program was compiled with (default: %(default)s)",
    )
    parser.add_argument("program", metavar="PROGRAM", help="after `--`: what is started")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="its arguments")


def run(arguments: argparse.Namespace) -> int:
    """Become the program; only what prevents that returns."""
    path = shutil.which(arguments.program)
    if path is None:
        return diagnostics.fail(
            "the program was not found",
            where=arguments.program,
            next_step="name its path, or look at PATH",
            code=NOT_FOUND,
        )
    try:
        preloadable.check(path)
    except preloadable.NotPreloadable as refused:
        return diagnostics.fail(
            "the program would run without sallet",
            where=refused.path,
            why=refused.why,
            next_step="use a copy without that, or a dynamically linked build",
            code=CANNOT_START,
        )
    run_dir = rundir.default_run_dir().absolute()
    _reach(run_dir / f"pfkey.{arguments.dialect}.sock")
    os.environ.update(preloaded_environment(arguments.dialect, run_dir))
    try:
        os.execv(path, [arguments.program, *arguments.arguments])  # noqa: S606 (a shell would change the words)
    except OSError as error:
        return diagnostics.fail(
            "the program cannot be started", where=path, why=error.strerror or str(error), code=CANNOT_START
        )


def preloaded_environment(dialect: str, run_dir: Path) -> dict[str, str]:
    """Return what a program has in its environment that speaks a dialect with the daemon of a directory."""
    return {"SALLET_RUN_DIR": str(run_dir), "SALLET_DIALECT": dialect, "LD_PRELOAD": _preload_list()}


def _reach(path: Path) -> None:
    """See that the daemon answers there: a program would only say that PF_KEY is not supported."""
    try:
        with (
            rundir.short_path(path) as short,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked,
        ):
            asked.connect(short)
    except PermissionError as error:
        raise Failure(
            "the daemon's socket is closed to you",
            where=str(path),
            why=error.strerror or "",
            next_step="run it as root",
            kind="permission",
        ) from error
    except OSError as error:
        raise Failure(
            "no daemon answers",
            where=str(path),
            why=error.strerror or str(error),
            next_step="start one with `sallet up`, or name its directory with --run-dir or SALLET_RUN_DIR",
            kind="unreachable",
        ) from error


def _preload_list() -> str:
    """Put our library before those that the user has loaded already."""
    own = str(native.PRELOAD)
    if not native.PRELOAD.exists():
        raise Failure(
            "the preload library is missing",
            where=own,
            next_step="install sallet from a wheel, or `make debug`",
        )
    if any(character in own for character in " :"):
        raise Failure(
            "the preload library's path cannot stand in LD_PRELOAD",
            where=own,
            why="it has a space or a colon in it",
            next_step="install sallet in a directory without them",
        )
    before = os.environ.get("LD_PRELOAD", "").split()
    return " ".join([own, *(each for each in before if each != own)])
