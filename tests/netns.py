"""Network namespaces for tests: each is a process that holds it, so that nothing outlives the run.

No assertion and no engine may enter.
Answers to: CONTRIBUTING.md, tests: without root everything runs in a user namespace of its own.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

COMMAND_SECS = 60.0
"""No command of a test runs longer unless it says so."""

_numbers = itertools.count(1)


def required() -> set[str]:
    """Read SALLET_REQUIRE: the capabilities whose absence is a failure and not a skip."""
    return {word.strip() for word in os.environ.get("SALLET_REQUIRE", "").split(",") if word.strip()}


def need(capability: str) -> None:
    """Skip the test if this machine lacks the capability; fail it if SALLET_REQUIRE names it."""
    reason = missing(capability)
    if reason is None:
        return
    if capability in required():
        pytest.fail(f"{capability} is required (SALLET_REQUIRE) and missing: {reason}", pytrace=False)
    pytest.skip(f"{capability}: {reason}")


@lru_cache
def missing(capability: str) -> str | None:
    """Say why this machine lacks a capability; None if it has it."""
    return _CHECKS[capability]()


def _no_namespaces() -> str | None:
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        lab = Lab()
    except RuntimeError as error:
        return str(error)
    try:
        done = lab.namespace("check").run("ip", "link", "set", "lo", "up", check=False)
        return done.stderr.strip() or None
    finally:
        lab.close()


def _no_nft() -> str | None:
    if shutil.which("nft") is None:
        return "nft is not installed"
    if (reason := missing("netns")) is not None:
        return reason
    return _try_in_namespace("nft", "add", "table", "inet", "sallet_check")


def _no_tun() -> str | None:
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is not there"
    if (reason := missing("netns")) is not None:
        return reason
    return _try_in_namespace("ip", "tuntap", "add", "dev", "check0", "mode", "tun")


def _no_engine() -> str | None:
    try:
        from sallet import _core  # noqa: F401
    except ImportError as error:
        return f"sallet._core is not built ({error})"
    return None


def _no_root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


_CHECKS: dict[str, Callable[[], str | None]] = {
    "netns": _no_namespaces,
    "nft": _no_nft,
    "tun": _no_tun,
    "engine": _no_engine,
    "root": _no_root,
}


def add_capability(name: str, check: Callable[[], str | None]) -> None:
    """Declare a further capability, for example a peer; `check` says why it is missing, or None."""
    _CHECKS[name] = check


def _try_in_namespace(*command: str) -> str | None:
    lab = Lab()
    try:
        done = lab.namespace("check").run(*command, check=False)
        return (done.stderr.strip() or "failed") if done.returncode else None
    finally:
        lab.close()


class Namespace:
    """One network namespace, held by one process; its name is for people, its pid is its handle."""

    def __init__(self, name: str, holder: subprocess.Popen[str], enter: Sequence[str]) -> None:
        self.name = name
        self.pid = holder.pid
        self._holder = holder
        self._enter = list(enter)
        self._started: list[subprocess.Popen[str]] = []

    def command(self, *command: str | Path) -> list[str]:
        """Give the command line that runs a command inside."""
        return [*self._enter, *map(str, command)]

    def run(
        self, *command: str | Path, timeout: float = COMMAND_SECS, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait for it; with `check`, its failure fails the test with its words."""
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=timeout, check=False, **options
        )
        if check and done.returncode:
            words = f"{done.stdout}{done.stderr}".strip()
            pytest.fail(f"[{self.name}] {' '.join(map(str, command))}: exit {done.returncode}\n{words}")
        return done

    def ip(self, *words: str) -> str:
        """Run `ip`."""
        return self.run("ip", *words).stdout

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command inside; it is ended with the namespace at the latest."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        process = subprocess.Popen(self.command(*command), text=True, **options)
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what was started inside, then the holder; the namespace goes with the last of them."""
        for process in reversed(self._started):
            stop(process)
        stop(self._holder)


class Here(Namespace):
    """No namespace of its own: programs run where the tests run, without any privilege."""

    def __init__(self) -> None:
        self.name = "here"
        self.pid = os.getpid()
        self._enter = []
        self._started = []

    def close(self) -> None:
        """End what was started."""
        for process in reversed(self._started):
            stop(process)


class Lab:
    """Namespaces that know each other: one user namespace where there is no root, veth pairs between."""

    def __init__(self) -> None:
        self._prefix = f"slt{os.getpid():x}"
        self._namespaces: list[Namespace] = []

    def namespace(self, label: str) -> Namespace:
        """Make a namespace with nothing in it but `lo`."""
        name = f"{self._prefix}-{next(_numbers)}-{label}"
        if self._namespaces:
            first = self._namespaces[0]
            holder = _hold([*first.command("unshare", "--net", "--mount")], name)
        else:
            user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
            holder = _hold(["unshare", *user, "--net", "--mount"], name)
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(holder.pid), *user, "--net", "--mount", "--"]
        namespace = Namespace(name, holder, enter)
        self._namespaces.append(namespace)
        return namespace

    def link(self, left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
        """Join two namespaces by a veth pair that is up; addresses are the caller's."""
        left.ip("link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", str(right.pid))
        for namespace, name in ((left, left_name), (right, right_name)):
            namespace.ip("link", "set", "lo", "up")
            namespace.ip("link", "set", name, "up")

    def address(self, namespace: Namespace, device: str, *addresses: str) -> None:
        """Give a link addresses, usable at once (no duplicate address detection)."""
        for address in addresses:
            words = ["nodad"] if ":" in address else []
            namespace.ip("address", "add", address, "dev", device, *words)

    def close(self) -> None:
        """End every namespace."""
        for namespace in reversed(self._namespaces):
            namespace.close()
        self._namespaces.clear()


class DaemonProcess:
    """`sallet up` in a namespace."""

    def __init__(self, namespace: Namespace, run_dir: Path, *arguments: str | Path) -> None:
        self.namespace, self.run_dir = namespace, run_dir
        self.process = namespace.start(
            sys.executable, "-m", "sallet.cli.main", "up", "--run-dir", run_dir, *arguments, env=environment()
        )
        line = _first_line(self.process)
        if "ready" not in line:
            self.process.terminate()
            stdout, stderr = self.process.communicate(timeout=10)
            pytest.fail(f"[{namespace.name}] sallet up did not become ready:\n{line}{stdout}{stderr}")
        self.ready_line = line.strip()

    def sallet(
        self, *words: str | Path, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb against this daemon."""
        command = (sys.executable, "-m", "sallet.cli.main", "--run-dir", self.run_dir, *words)
        return self.namespace.run(*command, check=check, env=environment(), **options)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Send a signal and wait for the end; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


def environment() -> dict[str, str]:
    """Give the environment in which a child finds the same modules as this process."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def stop(process: subprocess.Popen[str], timeout: float = 10.0) -> None:
    """End a process that we started, gently at first."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout / 2)
    if process.poll() is None:
        process.kill()
        process.wait(timeout / 2)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            with suppress(OSError):
                stream.close()


def wait_until(condition: Callable[[], bool], timeout: float = 10.0, step: float = 0.02) -> bool:
    """Wait until a condition holds; False if it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def _hold(unshare: Sequence[str], name: str) -> subprocess.Popen[str]:
    """Start a process in new namespaces that waits until its standard input ends."""
    script = "echo held; exec cat"
    holder = subprocess.Popen(
        [*unshare, "--", "sh", "-c", script, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if _first_line(holder).strip() != "held":
        words = holder.stderr.read().strip() if holder.stderr else ""
        stop(holder)
        raise RuntimeError(words or "unshare failed")
    return holder


def _first_line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout else ""
