"""One TCP stream through each tool between the same two namespaces, the rounds in turn.

No table layout may enter. A row counts only if the tool's own link carried what arrived.
Answers to: docs/benchmarks.md, second table; proc_pid_stat(5) for the CPU time.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import load, namespaces, wireguard
from bench.figures import Column, Row, Section, compare, cpu_ticks, device_bytes
from bench.namespaces import Pair
from bench.tunnels import PEER, TOOLS, Running, Tool

_COLUMNS = (
    Column("gigabits", "Gbit/s", 2),
    Column("cpu", "CPU s per GB", 2),
    Column("speed_ratio", f"speed against {PEER}", 2, is_ratio=True),
    Column("cpu_ratio", f"CPU against {PEER}", 2, is_ratio=True),
)
_METHOD = (
    "One TCP stream of {secs:g} s from one network namespace to another, joined by a veth pair (MTU 1500); "
    "each round makes both anew, for every tool in turn. Speed is payload that arrived; CPU is user and "
    "system time of both daemons from /proc/PID/stat for each GB (10^9 bytes) of it, without the load "
    "generator, which runs on the same cores. sallet: AES-GCM with a key of 128 bits, replay window 64, "
    "manual keys. wireguard-go: ChaCha20-Poly1305, MTU 1420. Load: {load}."
)


def measure(rounds: int, secs: float, say: Callable[[str], None]) -> Section:
    """Run every tool in every round and return the table."""
    rows = [Row(tool.name) for tool in TOOLS]
    method = _METHOD.format(secs=secs, load=load.generator())
    section = Section("tcp", "TCP, one stream, two namespaces", method, _COLUMNS, rows)
    reason = namespaces.unavailable()
    peer = wireguard.find()
    if peer.path is not None:
        section.remarks.append(f"wireguard-go is {peer.version}.")
    for row in rows:
        row.reason = reason
    with tempfile.TemporaryDirectory(prefix="sallet-bench-") as scratch:
        for number in range(1, rounds + 1):
            for tool, row in zip(TOOLS, rows, strict=True):
                if row.reason is None:
                    _one_round(tool, row, secs, Path(scratch))
                    say(f"tcp, round {number} of {rounds}: {tool.name}: {_last(row)}")
    compare(rows, section.row(PEER), {"speed_ratio": "gigabits", "cpu_ratio": "cpu"})
    return section


def _one_round(tool: Tool, row: Row, secs: float, scratch: Path) -> None:
    """Measure one tool once; what goes wrong becomes the reason, and the tool is not tried again."""
    try:
        with Pair() as pair:
            running = tool.start(pair, scratch)
            load.warm_up(pair, running.source, running.target)
            row.add(_measured(pair, running, secs))
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        row.reason = str(error)
        row.rounds.clear()


def _measured(pair: Pair, running: Running, secs: float) -> dict[str, float]:
    """Move the stream and take the differences of every counter.

    Raises:
        RuntimeError: the stream did not go through the tool's link, or a daemon ended.
    """
    cpu_before, carried_before = _cpu_secs(running), _carried(pair, running)
    done = load.run(pair, running.source, running.target, secs)
    cpu, carried = _cpu_secs(running) - cpu_before, _carried(pair, running) - carried_before
    if running.device is not None and carried < done.bytes:
        raise RuntimeError(
            f"{running.device} carried {carried} of the {done.bytes} bytes that arrived: the rest went past"
        )
    values = {"gigabits": done.gigabits_per_sec}
    if running.daemons:
        values["cpu"] = cpu / (done.bytes / 1e9)
    return values


def _cpu_secs(running: Running) -> float:
    ticks = sum(cpu_ticks(Path(f"/proc/{each.pid}/stat").read_text()) for each in running.daemons)
    return ticks / os.sysconf("SC_CLK_TCK")


def _carried(pair: Pair, running: Running) -> int:
    """Count the bytes that went into the link at the sending end and out of it again."""
    if running.device is None:
        return 0
    table = Path(f"/proc/{pair.ends[0].pid}/net/dev").read_text(encoding="ascii")
    return device_bytes(table, running.device) or 0


def _last(row: Row) -> str:
    if row.reason is not None:
        return f"not measured: {row.reason}"
    return ", ".join(f"{values[-1]:.2f} {key}" for key, values in row.rounds.items())
