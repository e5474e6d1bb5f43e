"""Two network namespaces joined by a veth pair, each held by a process of ours and gone with it.

No tunnel and no measuring may enter.
Answers to: network_namespaces(7), user_namespaces(7): without root everything is in a user namespace.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

COMMAND_SECS = 30.0
STOP_SECS = 5.0
DEVICE_WAIT_SECS = 10.0

OUTER = ("192.0.2.1", "192.0.2.2")
"""Addresses on the wire, left and right (RFC 5737)."""
INNER = ("10.77.0.1", "10.77.0.2")
"""Addresses inside a tunnel."""

_numbers = itertools.count(1)


class Namespace:
    """One network and mount namespace, with everything that was started in it."""

    def __init__(self, name: str, holder: subprocess.Popen[str]) -> None:
        self.name = name
        self.pid = holder.pid
        self._holder = holder
        self._started: list[subprocess.Popen[str]] = []

    def command(self, *command: str | Path) -> list[str]:
        """Give the command line that runs a command inside."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.pid}", *user, "--net", "--mount", "--", *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Run a command inside and return what it prints.

        Raises:
            RuntimeError: it failed; its words.
        """
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=COMMAND_SECS, check=False
        )
        if done.returncode:
            words = " ".join(f"{done.stdout} {done.stderr}".split())
            raise RuntimeError(f"{' '.join(map(str, command))}: {words or f'exit {done.returncode}'}")
        return done.stdout

    def start(
        self, *command: str | Path, log: Path | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command inside; its errors (with `log` its output too) go to a file or nowhere."""
        with (log or Path(os.devnull)).open("a", encoding="utf-8") as sink:
            process = subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if log is None else sink,
                stderr=sink,
                text=True,
                env=environment,
            )
        self._started.append(process)
        return process

    def has_device(self, device: str) -> bool:
        """Say whether a link of that name is there."""
        table = Path(f"/proc/{self.pid}/net/dev").read_text(encoding="ascii")
        return any(line.partition(":")[0].strip() == device for line in table.splitlines())

    def close(self) -> None:
        """End what was started inside, the last first, then the holder."""
        for process in reversed(self._started):
            stop(process)
        self._started.clear()
        stop(self._holder)


class Pair:
    """The two namespaces and the wire between them, for a `with` block."""

    def __init__(self) -> None:
        self._open: list[Namespace] = []

    def __enter__(self) -> Self:
        try:
            for label in ("left", "right"):
                self._open.append(self._namespace(label))
            self._join()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def ends(self) -> tuple[Namespace, Namespace]:
        """Left, which sends, and right, which receives."""
        left, right = self._open
        return left, right

    def _namespace(self, label: str) -> Namespace:
        name = f"sallet-bench-{os.getpid()}-{next(_numbers)}-{label}"
        unshare = ["unshare", "--net", "--mount"]
        if self._open:
            unshare = self._open[0].command(*unshare)
        elif os.geteuid() != 0:
            unshare[1:1] = ["--user", "--map-root-user"]
        return Namespace(name, _hold(unshare, name))

    def _join(self) -> None:
        left, right = self.ends
        left.run(
            "ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire0", "netns", str(right.pid)
        )
        for namespace, address in zip(self.ends, OUTER, strict=True):
            namespace.run("ip", "link", "set", "lo", "up")
            namespace.run("ip", "address", "add", f"{address}/24", "dev", "wire0")
            namespace.run("ip", "link", "set", "wire0", "up")

    def _close(self) -> None:
        for namespace in reversed(self._open):
            namespace.close()
        self._open.clear()


def unavailable() -> str | None:
    """Say why there can be no namespaces with a TUN device here; None if there can."""
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is not there"
    try:
        with Pair() as pair:
            pair.ends[0].run("ip", "tuntap", "add", "dev", "check0", "mode", "tun")
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        return f"no network namespaces: {error}"
    return None


def wait_until(condition: Callable[[], bool], what: str, timeout: float = DEVICE_WAIT_SECS) -> None:
    """Wait until a condition holds.

    Raises:
        RuntimeError: it did not in time; `what` says what was awaited.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not happen in {timeout:.0f} s")
        time.sleep(0.02)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that we started, gently at first."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECS)
    if process.poll() is None:
        process.kill()
        process.wait(STOP_SECS)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            with suppress(OSError):
                stream.close()


def _hold(unshare: Sequence[str], name: str) -> subprocess.Popen[str]:
    """Start a process in new namespaces that lives until its standard input ends: no longer than this run."""
    holder = subprocess.Popen(
        [*unshare, "--", "sh", "-c", "echo held; exec cat", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = holder.stdout.readline() if holder.stdout else ""
    if line.strip() != "held":
        words = holder.stderr.read().strip() if holder.stderr else ""
        stop(holder)
        raise RuntimeError(words or "unshare failed")
    return holder
