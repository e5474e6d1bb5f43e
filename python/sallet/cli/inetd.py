"""`sallet inetd -f FILE`: starts the services of an inetd.conf, with the policies of its `#@` lines.

No parsing and no socket may enter: `lang.inetd` reads, `sallet.inetd` serves.
Answers to: `sallet(1)`, inetd; inetd(8) of the BSDs; ipsec(4), "Setting the policy".
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sallet import native
from sallet.cli import diagnostics, tables
from sallet.cli.config import DIALECTS
from sallet.failure import Failure
from sallet.inetd.configuration import load
from sallet.lang.inetd import Configuration, Finding, Service
from sallet.lang.lexer import excerpt
from sallet.rundir import default_run_dir

SCHEMA: Final = "sallet.inetd/1"
PERSONALITIES: Final = ("sallet", "qnx", "netbsd", "freebsd")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-f", "--file", type=Path, default=Path("/etc/inetd.conf"), help="the configuration (%(default)s)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="say what is wrong with the file and start nothing; exit status 1 if anything is",
    )
    parser.add_argument(
        "--personality",
        choices=PERSONALITIES,
        default="sallet",
        help="whose manual the policy lines follow (default: %(default)s)",
    )
    parser.add_argument(
        "--dialect",
        choices=DIALECTS,
        default="linux",
        help="whose socket options carry the policies (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="with --check: print one JSON document with a `schema` field"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check the file, or serve until told to stop."""
    if arguments.json and not arguments.check:
        return diagnostics.fail(
            "--json belongs to --check", next_step="add --check, or leave it out", code=diagnostics.USAGE
        )
    found = load(arguments.file, arguments.personality)
    if arguments.check:
        return _check(arguments.file, found, arguments.json)
    for finding in found.findings:
        print(text_of(finding), file=sys.stderr)
    if found.errors:
        return diagnostics.fail(
            "the configuration has errors", where=str(arguments.file), why="nothing was started"
        )
    _become_preloaded(arguments.dialect)
    return _serve(arguments, found)


def _serve(arguments: argparse.Namespace, found: Configuration) -> int:
    from sallet.inetd.server import Inetd

    logging.basicConfig(format="sallet inetd: %(levelname)s: %(message)s", level=logging.INFO)

    def reread() -> Configuration:
        return load(arguments.file, arguments.personality)

    def report(findings: Iterable[Finding]) -> None:
        for finding in findings:
            print(text_of(finding), file=sys.stderr, flush=True)

    with Inetd(arguments.dialect, reread, report) as inetd:
        started = inetd.start(found.services)
        if found.services and not started:
            return diagnostics.fail(
                "no service could be started",
                where=str(arguments.file),
                next_step="the lines above say why, for each of them",
            )
        print(f"sallet inetd: ready: {started} of {len(found.services)} services", flush=True)
        inetd.serve()
    return diagnostics.OK


# Set policies by the road of every other program: the preload library tells the daemon what the socket is.


def _become_preloaded(dialect: str) -> None:
    """Start this program again under the preload library, if it is not there yet."""
    from sallet.cli.run import preloaded_environment

    environment = preloaded_environment(dialect, default_run_dir().absolute())
    if _is_preloaded() and all(os.environ.get(name) == text for name, text in environment.items()):
        return
    if "SALLET_INETD" in os.environ:
        raise Failure(
            "the preload library is not in this process",
            where=str(native.PRELOAD),
            why="the loader left it out",
            next_step="run a Python that is neither static nor set-user-id",
        )
    environment["SALLET_INETD"] = "1"
    words = [sys.executable, "-m", "sallet.cli.main", *sys.argv[1:]]
    sys.stdout.flush()
    os.execve(sys.executable, words, {**os.environ, **environment})  # noqa: S606 (this very program)


def _is_preloaded() -> bool:
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    return any(line.endswith(f"/{native.PRELOAD.name}") for line in mapped.splitlines())


# Report


def _check(path: Path, found: Configuration, as_json: bool) -> int:
    if as_json:
        tables.print_json(
            {
                "schema": SCHEMA,
                "file": str(path),
                "services": [_described(service) for service in found.services],
                "findings": [_located(finding) for finding in found.findings],
            }
        )
    else:
        for finding in found.findings:
            print(text_of(finding), file=sys.stderr)
        print(f"{path}: {len(found.services)} services, {len(found.errors)} errors")
    return diagnostics.FAILED if found.errors else diagnostics.OK


def text_of(finding: Finding) -> str:
    """Write a finding: its place and what is wrong, the line, carets below the word, and what to do."""
    where = finding.where
    line, carets = excerpt(where)
    place = f"{where.filename}:{where.line}:{where.column}"
    text = f"sallet inetd: {place}: {finding.severity}: {finding.text}\n    {line}\n    {carets}"
    return f"{text}\n  next: {finding.next_step}" if finding.next_step else text


def _located(finding: Finding) -> dict[str, object]:
    where = finding.where
    return {
        "severity": finding.severity,
        "file": where.filename,
        "line": where.line,
        "column": where.column,
        "length": where.length,
        "text": finding.text,
        "next": finding.next_step,
    }


def _described(service: Service) -> dict[str, object]:
    from sallet.inetd.configuration import policy_texts

    return {
        "line": service.line,
        "name": service.name,
        "address": str(service.address) if service.address is not None else None,
        "port": service.port,
        "protocol": f"{service.transport}{service.version}",
        "wait": service.wait,
        "user": service.user,
        "group": service.group,
        "program": service.program,
        "arguments": list(service.arguments),
        "policies": policy_texts(service.policies),
    }
