"""ESP in memory beside the AEAD alone: runs the Rust benchmark and lays its lines out as a table.

No measuring may enter: `rust/core/benches/in_memory.rs` does that.
Answers to: docs/benchmarks.md, first table.
"""

from __future__ import annotations

import shutil
import subprocess

from bench.figures import Column, Row, Section, median, ratio, rust_lines
from bench.machine import ROOT

BUILD_AND_RUN_SECS = 1800.0
SIZES = (64, 1400)

_COLUMNS = (
    Column("esp", "ESP, ns per packet"),
    Column("aead", "AEAD alone, ns"),
    Column("share", "speed against the AEAD", 2, is_ratio=True),
)
_METHOD = (
    "One thread, batches of 64, AES-128-GCM, transport mode, IPv4 UDP packets of the named length (IP header "
    "included): policy lookup, SA lookup, replay window, lifetimes, framing, padding and cipher, beside "
    "aws-lc-rs sealing or opening the same bytes. Wall time, rounds in turn."
)


def measure(rounds: int) -> Section:
    """Run the benchmark and return its table."""
    rows = [Row(f"{operation}, {size} bytes") for size in SIZES for operation in ("seal", "open")]
    section = Section("memory", "ESP in memory", _METHOD, _COLUMNS, rows)
    try:
        lines = rust_lines(_output(rounds))
    except (RuntimeError, ValueError) as error:
        for row in rows:
            row.reason = str(error)
        return section
    for row in rows:
        operation, size = row.name.removesuffix(" bytes").split(", ")
        for key in ("esp", "aead"):
            row.rounds[key] = lines.get((f"{key} {operation}", int(size)), [])
        share = ratio(median(row.rounds["aead"]), median(row.rounds["esp"]))
        if share is None:
            row.reason = "the Rust benchmark printed no such line"
        else:
            row.ratios["share"] = share
    return section


def _output(rounds: int) -> str:
    """Build and run the benchmark.

    Raises:
        RuntimeError: says why there are no figures.
    """
    if shutil.which("cargo") is None:
        raise RuntimeError("cargo is not on PATH")
    command = ["cargo", "bench", "--quiet", "--locked", "-p", "sallet-core", "--bench", "in_memory"]
    try:
        done = subprocess.run(
            [*command, "--", "--rounds", str(rounds)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=BUILD_AND_RUN_SECS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"cargo bench did not end in {BUILD_AND_RUN_SECS:.0f} s") from error
    if done.returncode:
        complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
        raise RuntimeError(f"cargo bench failed: {complaint}")
    return done.stdout
