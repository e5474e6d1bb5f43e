"""What this machine can do beyond namespaces: programs, packages and the real kernel that tests talk to.

No test and no set-up may enter; `netns.need` decides between skip and failure (SALLET_REQUIRE).
Answers to: CONTRIBUTING.md, tests: a capability that CI names can never be skipped.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from netns import add_capability, missing

KERNEL_MODULES = Path("/usr/lib/uml/modules")
"""Where Debian's package user-mode-linux puts the modules of its kernel."""
NOBODY = 65534
"""A user who owns nothing."""
NO_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
"""Runs a program that can never have a capability again."""


def _program(name: str, *arguments: str) -> Callable[[], str | None]:
    """Make the check for a program that has to be there and to start."""

    def check() -> str | None:
        if shutil.which(name) is None:
            return f"{name} is not installed"
        try:
            done = subprocess.run([name, *arguments], capture_output=True, text=True, timeout=30, check=False)
        except OSError as error:  # For example, its file carries a capability that this process may not have.
            return f"{name}: {error.strerror}"
        return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else None

    return check


def _no_scapy() -> str | None:
    return None if find_spec("scapy") is not None else "the package scapy is not installed"


def _no_maturin() -> str | None:
    if find_spec("maturin") is None:
        return "the package maturin is not installed"
    return None if shutil.which("cargo") is not None else "cargo is not installed"


def _no_linux_peer() -> str | None:
    for program in ("linux.uml", "ip", "kmod", "sh"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install user-mode-linux kmod iproute2)"
    if platform.machine() != "x86_64":
        return f"its kernel is not built for {platform.machine()}"
    if not any(KERNEL_MODULES.glob("*/kernel")):
        return f"no modules in {KERNEL_MODULES}"
    if os.geteuid() != 0:
        return "not root: in its root file system, which is the host's, our files would be another user's"
    return missing("netns") or missing("tun")


def _no_openiked() -> str | None:
    for program in ("iked", "ikectl"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install openiked)"
    return missing("netns")


def _no_setpriv() -> str | None:
    if shutil.which("setpriv") is None:
        return "setpriv is not installed"
    done = subprocess.run(
        [*without_privilege(), "true"], capture_output=True, text=True, timeout=30, check=False
    )
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else None


def _no_nobody() -> str | None:
    if os.geteuid() != 0:
        return "not root: nobody else's programs can be started"
    if python_for_nobody() is None:
        return "no Python that another user may run has venv and ensurepip (apt-get install python3-venv)"
    index = [sys.executable, "-m", "pip", "index", "versions", "pyroute2"]
    try:
        done = subprocess.run(index, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "the package index does not answer"
    return f"no package index: {done.stderr.strip()}" if done.returncode else None


def _no_stranger() -> str | None:
    if os.geteuid() != 0:
        return "not root: nobody else's programs can be started"
    return None if python_for_nobody() is not None else "no Python that another user may run"


@lru_cache
def python_for_nobody() -> str | None:
    """Find a Python with which uid 65534 can make an environment: ours may be closed to others."""
    script = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    own = getattr(sys, "_base_executable", sys.executable)
    for python in (own, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", script],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                timeout=30,
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


def without_privilege() -> tuple[str, ...]:
    """Give the words that run a program with nothing; only root may empty the bounding set."""
    return NO_PRIVILEGE if os.geteuid() == 0 else ("setpriv", "--inh-caps=-all", "--no-new-privs")


add_capability("scapy", _no_scapy)
add_capability("ping", _program("ping", "-V"))
add_capability("tshark", _program("tshark", "--version"))
add_capability("tcpdump", _program("tcpdump", "--version"))
add_capability("setpriv", _no_setpriv)
add_capability("nobody", _no_nobody)
add_capability("stranger", _no_stranger)
add_capability("maturin", _no_maturin)
add_capability("linux-peer", _no_linux_peer)
add_capability("openiked", _no_openiked)
