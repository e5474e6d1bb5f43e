"""`python -m bench`: measures, prints tables for people, and writes JSON or the document where asked.

No figure may be computed here.
Answers to: `make bench`; docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import document, machine, table
from bench.figures import Section

SECTIONS = ("memory", "tcp", "python")
ROUNDS = 5
STREAM_SECS = 2.0
_DEBUG_BUILD = "The extension is a debug build: sallet's figures here are worth nothing (`make build`)."


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks that were asked for."""
    arguments = _arguments(words)
    signal.signal(signal.SIGTERM, _leave)
    complaint = _complaint(arguments)
    if complaint is not None:
        print(f"bench: {complaint}", file=sys.stderr)
        return 2
    facts = machine.facts()
    for name, value in facts.items():
        print(f"{name:18} {value}")
    if machine.is_busy():
        _say("this machine is busy with something else: expect worse and wider figures than it can give")
    sections = []
    for name in arguments.only:
        section = _measure(name, arguments)
        if name != "memory" and machine.extension_build() == "debug":
            section.remarks.append(_DEBUG_BUILD)
        sections.append(section)
        print(f"\n{table.text(section)}", flush=True)
    if arguments.json is not None:
        result = {"facts": facts, "sections": [section.as_json() for section in sections]}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.write:
        document.write(sections, facts, _command(words))
        print(f"\n{document.DOCUMENT} is rewritten")
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", type=_sections, default=SECTIONS, metavar="LIST", help=f"some of {','.join(SECTIONS)}"
    )
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=STREAM_SECS,
        metavar="S",
        help="length of a TCP stream (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to a file")
    parser.add_argument("--write", action="store_true", help="rewrite the figures in docs/benchmarks.md")
    return parser.parse_args(words)


def _complaint(arguments: argparse.Namespace) -> str | None:
    """Say why this run would give no honest figures, or None."""
    build = machine.extension_build()
    if build == "no" and set(arguments.only) - {"memory"}:
        return "sallet._core is not built; next: make build"
    if arguments.write and set(arguments.only) != set(SECTIONS):
        return "--write needs every section: leave --only out"
    if arguments.write and build != "release":
        return f"--write needs a release build of the extension, this is a {build} build; next: make build"
    return None


def _measure(name: str, arguments: argparse.Namespace) -> Section:
    """Run one section; its modules are loaded only now, and with them what they measure."""
    if name == "memory":
        from bench import memory

        _say("memory: building and running the Rust benchmark (minutes, the first time)")
        return memory.measure(arguments.rounds)
    if name == "tcp":
        from bench import tcp

        return tcp.measure(arguments.rounds, arguments.seconds, _say)
    from bench import python_api

    return python_api.measure(arguments.rounds, _say)


def _sections(text: str) -> tuple[str, ...]:
    named = {word.strip() for word in text.split(",")}
    if not named or named - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(SECTIONS)}")
    return tuple(name for name in SECTIONS if name in named)


def _rounds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.5 to 60")
    return value


def _command(words: Sequence[str] | None) -> str:
    return shlex.join(["python", "-m", "bench", *(sys.argv[1:] if words is None else words)])


def _say(line: str) -> None:
    """Tell on standard error how far it is; the tables alone go to standard output."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def _leave(_number: int, _frame: object) -> None:
    """Turn SIGTERM into an exception, so that every namespace and daemon is ended on the way out."""
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
