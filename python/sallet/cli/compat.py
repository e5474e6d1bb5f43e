"""`sallet compat install DIR`: links under the names of the old tools, which then are this program.

No tool's behaviour may enter: under which names it acts is `sallet.cli.main.PROGRAMS`.
Answers to: `sallet(1)`, compat; symlink(7).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from sallet.cli import diagnostics, tables
from sallet.failure import Failure

SCRIPT = "sallet"


@dataclass(frozen=True, slots=True)
class Link:
    """What became of one name."""

    name: str
    path: str
    target: str
    did: str
    """made, kept, replaced, removed, absent, or foreign: not ours, and left alone."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="install", required=True)
    install = actions.add_parser("install", help="write the links, or remove them")
    install.add_argument("directory", type=Path, metavar="DIR", help="where the links stand")
    how = install.add_mutually_exclusive_group()
    how.add_argument("--force", action="store_true", help="replace files of these names that are not ours")
    how.add_argument("--remove", action="store_true", help="remove the links that are ours")
    install.add_argument("--script", type=Path, help="what the links lead to (default: this `sallet`)")
    tables.add_json(install)


def run(arguments: argparse.Namespace) -> int:
    """Write or remove the links, and say what was done."""
    from sallet.cli.main import PROGRAMS

    if arguments.remove:
        links = [_remove(arguments.directory / name) for name in PROGRAMS]
    else:
        links = _install(
            arguments.directory, arguments.script or own_script(), list(PROGRAMS), arguments.force
        )
    warnings = [] if arguments.remove else _warnings(arguments.directory, links)
    if arguments.json:
        tables.print_json({"links": [asdict(link) for link in links], "warnings": warnings})
    else:
        for link in links:
            print(f"{link.did} {link.path}" + (f" -> {link.target}" if link.target else ""))
    for warning in warnings:
        print(f"sallet compat: warning: {warning}", file=sys.stderr)
    return diagnostics.FAILED if any(link.did == "foreign" for link in links) else diagnostics.OK


def own_script() -> Path:
    """Return the installed script that runs this program.

    # Errors
    `Failure` where there is none.
    """
    started = Path(sys.argv[0])
    nearby = (started, Path(sys.executable).parent / SCRIPT, Path(shutil.which(SCRIPT) or ""))
    for candidate in nearby:
        if candidate.name == SCRIPT and os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate.absolute()
    raise Failure(
        "there is no script to link to",
        where=str(Path(sys.executable).parent / SCRIPT),
        why="sallet runs from its sources",
        next_step="install it with pip, or name its script with --script",
    )


def is_ours(path: Path) -> bool:
    """Say whether a path is a link to a script of ours, which may be gone by now."""
    return path.is_symlink() and Path(os.readlink(path)).name == SCRIPT


def _install(directory: Path, script: Path, names: list[str], force: bool) -> list[Link]:
    """Write every link, or none where one of the names is somebody else's."""
    if not directory.is_dir():
        raise Failure("there is no such directory", where=str(directory), next_step=f"mkdir -p {directory}")
    if script.name != SCRIPT or not (script.is_file() and os.access(script, os.X_OK)):
        raise Failure(
            f"this is no script {SCRIPT!r} that can be run",
            where=str(script),
            next_step="name one with --script",
        )
    for name in names:
        path = directory / name
        if os.path.lexists(path) and not is_ours(path) and not (force and not path.is_dir()):
            raise Failure(
                "a file of this name is not ours; no link was written",
                where=str(path),
                why=f"it leads to {os.readlink(path)}" if path.is_symlink() else "it is no link",
                next_step="choose another directory and put it first on PATH, or add --force",
            )
    return [_link(directory / name, script.absolute()) for name in names]


def _link(path: Path, script: Path) -> Link:
    """Write one link in one step, so that the name never leads nowhere."""
    did = "made"
    if os.path.lexists(path):
        if path.is_symlink() and os.readlink(path) == str(script):
            return Link(path.name, str(path), str(script), "kept")
        did = "replaced"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.symlink_to(script)
    os.replace(temporary, path)
    return Link(path.name, str(path), str(script), did)


def _remove(path: Path) -> Link:
    if not os.path.lexists(path):
        return Link(path.name, str(path), "", "absent")
    if not is_ours(path):
        return Link(path.name, str(path), "", "foreign")
    target = os.readlink(path)
    path.unlink()
    return Link(path.name, str(path), target, "removed")


def _warnings(directory: Path, links: list[Link]) -> list[str]:
    """Say why a link would not be what its name starts."""
    wanted = directory.resolve()
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    if wanted not in [entry.resolve() for entry in on_path]:
        return [f"{directory} is not on PATH; put it there, before the directory of any other setkey"]
    found = []
    for link in links:
        first = shutil.which(link.name)
        if first and Path(first).parent.resolve() != wanted:
            found.append(f"{link.name} is {first}, which comes first on PATH")
    return found
