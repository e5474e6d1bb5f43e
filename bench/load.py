"""The load of the TCP table: iperf3 where it is installed, `transfer.py` elsewhere; the same for every tool.

No tunnel and no table may enter.
Answers to: iperf3(1), `--json`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.machine import first_line
from bench.namespaces import Pair, stop

PORT = 5201
MARGIN_SECS = 40.0
_TRANSFER = Path(__file__).with_name("transfer.py")


@dataclass(frozen=True, slots=True)
class Transferred:
    """What the receiver got."""

    bytes: int
    secs: float

    @property
    def gigabits_per_sec(self) -> float:
        """Payload that arrived, per second."""
        return self.bytes * 8 / self.secs / 1e9


def generator() -> str:
    """Name the load generator with its version."""
    if shutil.which("iperf3"):
        return first_line("iperf3", "--version")
    return "bench/transfer.py (Python, 1 MiB writes; iperf3 is not installed)"


def warm_up(pair: Pair, source: str, target: str) -> None:
    """Wait until the path carries TCP, and move a little over it."""
    _own(pair, source, target, 0.3)


def run(pair: Pair, source: str, target: str, secs: float) -> Transferred:
    """Move one stream from the left end to the right for so many seconds.

    Raises:
        RuntimeError: nothing arrived; why.
    """
    measure = _iperf3 if shutil.which("iperf3") else _own
    done = measure(pair, source, target, secs)
    if not done.bytes or done.secs <= 0:
        raise RuntimeError("no byte arrived")
    return done


def iperf3_result(text: str) -> Transferred:
    """Read the receiver's sum in the JSON of an iperf3 client.

    Raises:
        RuntimeError: it holds an error, or no sum.
    """
    try:
        report = json.loads(text)
    except json.JSONDecodeError as error:
        raise RuntimeError(f"iperf3 printed no JSON: {text.strip()[:200]!r}") from error
    if "error" in report:
        raise RuntimeError(f"iperf3: {report['error']}")
    try:
        received = report["end"]["sum_received"]
        return Transferred(int(received["bytes"]), float(received["seconds"]))
    except KeyError as error:
        raise RuntimeError(f"iperf3 reported no {error}") from error


def _iperf3(pair: Pair, source: str, target: str, secs: float) -> Transferred:
    left, right = pair.ends
    server = right.start("iperf3", "--server", "--one-off", "--bind", target, "--forceflush")
    try:
        _await_line(server, "listening")
        command = ("iperf3", "--client", target, "--bind", source, "--time", f"{secs:g}", "--json")
        done = subprocess.run(
            left.command(*command), capture_output=True, text=True, timeout=secs + MARGIN_SECS, check=False
        )
        return iperf3_result(done.stdout or done.stderr)
    finally:
        stop(server)


def _own(pair: Pair, source: str, target: str, secs: float) -> Transferred:
    left, right = pair.ends
    python = (sys.executable, _TRANSFER)
    server = right.start(*python, "receive", target, str(PORT))
    try:
        _await_line(server, "listening")
        command = (*python, "send", source, target, str(PORT), f"{secs:g}")
        done = subprocess.run(
            left.command(*command), capture_output=True, text=True, timeout=secs + MARGIN_SECS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the sender failed: {_last_line(done.stderr)}")
        output, _ = server.communicate(timeout=MARGIN_SECS)
    finally:
        stop(server)
    if server.returncode:
        raise RuntimeError("the receiver gave up: the stream stopped before its end")
    result = json.loads(output)
    return Transferred(int(result["bytes"]), float(result["secs"]))


def _await_line(process: subprocess.Popen[str], word: str) -> None:
    for line in process.stdout or ():
        if word in line:
            return
    raise RuntimeError(f"the receiver ended before it was {word}")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no word"
