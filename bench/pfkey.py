"""`python -m bench.pfkey`: one PF_KEY program on sallet and on a real kernel, and dumps of very many SAs.

No figure may be made up: what cannot be measured here is said with its reason.
Answers to: `make bench-pfkey`; docs/benchmarks-pfkey.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import document, machine, pfkey_load, pfkey_program, table
from bench.figures import Column, Row, Section, median
from bench.pfkey_program import Program

DOCUMENT = machine.ROOT / "docs" / "benchmarks-pfkey.md"
ROUNDS = 5
ENTRIES = 2000
DUMPS = (100_000, 1_000_000)
KERNEL_SECS = 300.0
START_SECS = 30.0

_METHOD = (
    "One program (`bench/pfkey_program.py`, Python, standard library) with one PF_KEY socket in the dialect "
    "of Linux: {count} associations one at a time and as many with {window} requests under way, then the "
    "same with policies; dumps are read as fast as they come. Requests per second, {rounds} rounds. "
    "Beside it the same program in the same run on the PF_KEY of a real Linux kernel, in user mode: **its "
    "system calls are slow** (each is trapped by another process), so its column says what it does there and "
    "then, and not what a kernel on bare metal does."
)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, and write the document if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.pfkey", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="default: %(default)s")
    parser.add_argument("--entries", type=int, default=ENTRIES, metavar="N", help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help=f"rewrite the figures in {DOCUMENT.name}")
    arguments = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    build = machine.extension_build()
    if build == "no" or (arguments.write and build != "release"):
        print(f"bench: --write needs a release build, this is {build}; next: make build", file=sys.stderr)
        return 2
    facts = machine.facts()
    sections = [
        requests(arguments.rounds, arguments.entries),
        dumps(arguments.rounds),
        pfkey_load.measure(arguments.rounds, _say),
    ]
    if build == "debug":
        sections[0].remarks.append("The extension is a debug build: these figures are worth nothing.")
    for section in sections:
        print(f"\n{table.text(section)}", flush=True)
    if arguments.write:
        command = shlex.join(["python", "-m", "bench.pfkey", *(sys.argv[1:] if words is None else words)])
        about = [f"| {name} | {value} |" for name, value in facts.items()]
        parts = [f"Command: `{command}`", "\n".join(["| | |", "|---|---|", *about])]
        parts += [table.markdown(section) for section in sections]
        old = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(document.replaced(old, "\n\n".join(parts)), encoding="utf-8")
        print(f"\n{DOCUMENT} is rewritten")
    return 0


def requests(rounds: int, entries: int) -> Section:
    """Run the program on both sides."""
    columns = (
        Column("ours", "sallet, per second"),
        Column("kernel", "Linux in user mode, per second"),
        Column("ratio", "sallet against it", 2, is_ratio=True),
    )
    method = _METHOD.format(count=entries, window=pfkey_program._WINDOW, rounds=rounds)
    section = Section("pfkey", "PF_KEY requests", method, columns, [])
    rows: dict[str, Row] = {}

    def add(side: str, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            rows.setdefault(name, Row(name)).add({side: value})

    with tempfile.TemporaryDirectory(prefix="sallet-bench-") as scratch:
        for number in range(1, rounds + 1):
            with _daemon(Path(scratch) / "run") as run_dir:
                add("ours", _here(run_dir / "pfkey.linux.sock", entries))
            _say(f"sallet, round {number} of {rounds}")
        section.remarks += _kernel(Path(scratch) / "kernel", rounds, entries, add)
    section.rows.extend(rows.values())
    for row in section.rows:
        ours, kernel = median(row.rounds.get("ours", ())), median(row.rounds.get("kernel", ()))
        if ours and kernel:
            row.ratios["ratio"] = ours / kernel
    return section


def dumps(rounds: int) -> Section:
    """Dump very many SAs, and see what it takes of the daemon."""
    columns = (
        Column("secs", "seconds", 2),
        Column("entries", "entries per second"),
        Column("grown", "memory while it runs, MB"),
    )
    method = (
        "The daemon has so many SAs; a program that does nothing but read takes a whole dump. Memory is what "
        "the daemon's resident set grows by beyond what the SAs take; nothing is written before it can go."
    )
    section = Section("dumps", "Dumps", method, columns, [])
    for count in DUMPS:
        row = Row(f"{count:,} SAs")
        section.rows.append(row)
        with (
            tempfile.TemporaryDirectory(prefix="sallet-bench-") as scratch,
            _daemon(Path(scratch) / "run") as where,
        ):
            program = Program(str(where / "pfkey.linux.sock"))
            program.fill(count)
            pid = int((where / "pid").read_text())
            for _ in range(rounds):
                before = _resident(pid)
                secs = program.dump_secs(count)
                grown = max(_resident(pid) - before, 0) / 1e6
                row.add({"secs": secs, "entries": count / secs, "grown": grown})
        _say(f"dumps of {count}")
    return section


def _here(path: Path, entries: int) -> dict[str, float]:
    """Run the program in a process of its own, against a daemon."""
    command = [sys.executable, "-I", pfkey_program.__file__, str(path), str(entries)]
    return _figures(subprocess.check_output(command, text=True, timeout=KERNEL_SECS))


def _figures(text: str) -> dict[str, float]:
    line = next(line for line in text.splitlines() if line.startswith("figures "))
    return {str(name): float(value) for name, value in json.loads(line.removeprefix("figures ")).items()}


def _kernel(scratch: Path, rounds: int, entries: int, add: object) -> list[str]:
    """Run the same program inside a real kernel; give what has to be said of it."""
    sys.path.insert(0, str(machine.ROOT / "tests"))
    try:
        from interop.linux_peer import LinuxPeer
        from netns import Here, missing
    except ImportError as error:
        return [f"No kernel beside it: {error}."]
    reason = missing("linux-peer")
    if reason is not None:
        return [f"No kernel beside it: {reason}."]
    here = Here()
    wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with wire, theirs, LinuxPeer(here, theirs, scratch) as peer:
        peer.run("/run/modprobe af_key; sysctl -qw net.core.rmem_max=8388608 || true")
        for number in range(1, rounds + 1):
            text = peer.run(f"{sys.executable} -I {pfkey_program.__file__} - {entries}", timeout=KERNEL_SECS)
            add("kernel", _figures(text))  # type: ignore[operator]
            _say(f"Linux {peer.release} in user mode, round {number} of {rounds}")
        return [f"The kernel beside it is Linux {peer.release} (user-mode-linux)."]


@contextlib.contextmanager
def _daemon(run_dir: Path) -> Iterator[Path]:
    """Run a daemon that has no packets to carry; its process id stands in `pid` there."""
    command = [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(run_dir), "up", "--mode", "embedded"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        if process.stdout is None or "ready" not in process.stdout.readline():
            raise RuntimeError("the daemon did not start")
        (run_dir / "pid").write_text(str(process.pid))
        yield run_dir
    finally:
        process.terminate()
        process.wait(START_SECS)
        (run_dir / "pid").unlink(missing_ok=True)


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _say(line: str) -> None:
    print(f"bench: {time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
