"""What PF_KEY costs the packets: one TCP stream, alone, and while others dump slowly, add and delete.

No table layout may enter. Answers to: docs/benchmarks-pfkey.md, last table.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import load, namespaces
from bench.figures import Column, Row, Section, median
from bench.namespaces import Pair
from bench.pfkey_program import Program
from bench.tunnels import Protection

ENTRIES = 100_000
STREAM_SECS = 3.0
CHANGES_PER_SEC = 50
READS_PER_SEC = 500

_METHOD = (
    "One TCP stream of {secs:g} s between two namespaces through `sallet up --mode host` (ESP, transport, "
    "AES-GCM), the sender's daemon with {entries:,} more SAs; then the same stream while one program reads "
    "a dump of all of them at {reads} entries a second and another adds and deletes {changes} SAs a second. "
    "In turn, in one run, on the same cores."
)


def measure(rounds: int, say: Callable[[str], None]) -> Section:
    """Move the stream both ways in every round."""
    columns = (Column("gigabits", "Gbit/s", 2), Column("share", "against the quiet one", 3, is_ratio=True))
    method = _METHOD.format(secs=STREAM_SECS, entries=ENTRIES, reads=READS_PER_SEC, changes=CHANGES_PER_SEC)
    quiet, busy = Row("quiet"), Row("during a dump, ADD and DELETE")
    section = Section("load", "The datapath beside PF_KEY", method, columns, [quiet, busy])
    reason = namespaces.unavailable()
    if reason is None:
        try:
            _rounds(rounds, quiet, busy, say)
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            reason = str(error)
    if reason is not None:
        quiet.reason = busy.reason = reason
    alone, beside = median(quiet.rounds.get("gigabits", ())), median(busy.rounds.get("gigabits", ()))
    if alone and beside:
        busy.ratios["share"] = beside / alone
    return section


def _rounds(rounds: int, quiet: Row, busy: Row, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="sallet-bench-") as scratch, Pair() as pair:
        running = Protection("host", tunnel=False, in_udp=False).start(pair, Path(scratch))
        path = Path(scratch) / f"{pair.ends[0].name}.run" / "pfkey.linux.sock"
        Program(str(path)).fill(ENTRIES)
        say(f"{ENTRIES} SAs are there")
        load.warm_up(pair, running.source, running.target)
        for number in range(1, rounds + 1):
            alone = load.run(pair, running.source, running.target, STREAM_SECS)
            with _conversation(path):
                beside = load.run(pair, running.source, running.target, STREAM_SECS)
            quiet.add({"gigabits": alone.gigabits_per_sec})
            busy.add({"gigabits": beside.gigabits_per_sec})
            figures = f"{alone.gigabits_per_sec:.2f}, {beside.gigabits_per_sec:.2f} Gbit/s"
            say(f"load, round {number} of {rounds}: {figures}")


@contextmanager
def _conversation(path: Path) -> Iterator[None]:
    """Dump slowly and change things, for as long as the block lasts."""
    over = threading.Event()
    failures: list[Exception] = []

    def kept(work: Callable[[Path, threading.Event], None]) -> None:
        try:
            work(path, over)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=kept, args=(work,)) for work in (_read_slowly, _change)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise RuntimeError(f"the conversation broke off: {failures[0]}")


def _read_slowly(path: Path, over: threading.Event) -> None:
    program = Program(str(path))
    program.begin_dump()
    count = 0
    while not over.is_set():
        seq = struct.unpack_from("=I", program.receive(), 8)[0]
        count += 1
        if count > 1 and seq == 0:
            program.begin_dump()
        if count % (READS_PER_SEC // 20) == 0:
            time.sleep(1 / 20)


def _change(path: Path, over: threading.Event) -> None:
    program = Program(str(path))
    spi = 0x4000000
    while not over.is_set():
        for _ in range(CHANGES_PER_SEC // 20):
            spi += 1
            program.add_and_delete(spi)
        time.sleep(1 / 20)
