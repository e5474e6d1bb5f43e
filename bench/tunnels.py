"""How each tool is put between the two ends: nothing, sallet in its modes, wireguard-go.

No measuring may enter: `start` leaves two daemons running, and says which addresses to use.
Answers to: `sallet up`; setkey(8) for the configurations.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import wireguard
from bench.namespaces import INNER, OUTER, Namespace, Pair, wait_until

READY_SECS = 30.0
UDP_PORT = 4500

# The keys are public and good for nothing but a measurement: 128 bits and a salt, one for each direction.
_KEYS = ("0x" + "a1" * 20, "0x" + "b2" * 20)


@dataclass(frozen=True, slots=True)
class Running:
    """A tool between the two ends."""

    daemons: list[subprocess.Popen[str]]
    source: str
    target: str
    device: str | None
    """The link that everything must have gone through; None where there is no tunnel."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the table."""

    name: str
    start: Callable[[Pair, Path], Running]


@dataclass(frozen=True, slots=True)
class Protection:
    """One way of sallet."""

    mode: str
    tunnel: bool
    in_udp: bool

    def setkey(self, end: int) -> str:
        """Write the setkey file of one end, 0 or 1."""
        ports = f"[{UDP_PORT}]" if self.in_udp else ""
        protocol = "esp-udp" if self.in_udp else "esp"
        framing = "tunnel" if self.tunnel else "transport"
        selectors = INNER if self.tunnel else OUTER
        lines = []
        for origin, key in enumerate(_KEYS):
            far = 1 - origin
            outer = f"{OUTER[origin]}-{OUTER[far]}" if self.tunnel else ""
            lines += [
                f"add {OUTER[origin]}{ports} {OUTER[far]}{ports} {protocol} {0x1001 + origin:#x} "
                f"-m {framing} -r 64 -E aes-gcm-16 {key};",
                f"spdadd {selectors[origin]}/32 {selectors[far]}/32 any "
                f"-P {'out' if origin == end else 'in'} ipsec esp/{framing}/{outer}/require;",
            ]
        return "\n".join(lines) + "\n"

    def start(self, pair: Pair, scratch: Path) -> Running:
        """Start `sallet up` at both ends, and wait until both are ready."""
        daemons = [self._up(end, namespace, scratch) for end, namespace in enumerate(pair.ends)]
        for daemon, namespace in zip(daemons, pair.ends, strict=True):
            _await_ready(daemon, _log(scratch, namespace))
        ends = INNER if self.tunnel else OUTER
        return Running(daemons, *ends, device="sallet0")

    def _up(self, end: int, namespace: Namespace, scratch: Path) -> subprocess.Popen[str]:
        if self.tunnel:
            namespace.run("ip", "address", "add", f"{INNER[end]}/32", "dev", "lo")
        file = scratch / f"{namespace.name}.setkey"
        file.write_text(self.setkey(end), encoding="utf-8")
        udp = ("--udp-port", str(UDP_PORT)) if self.in_udp else ()
        run_dir = scratch / f"{namespace.name}.run"
        command = (sys.executable, "-m", "sallet.cli.main", "up", "--run-dir", run_dir)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        options = ("--mode", self.mode, "--setkey", file, *udp)
        return namespace.start(*command, *options, log=_log(scratch, namespace), environment=environment)


def _nothing(_pair: Pair, _scratch: Path) -> Running:
    return Running([], *OUTER, device=None)


def _wireguard_go(pair: Pair, scratch: Path) -> Running:
    return Running(wireguard.start(pair, scratch), *INNER, device=wireguard.DEVICE)


PEER: Final = "wireguard-go"
TOOLS: Final = (
    Tool("no protection (veth alone)", _nothing),
    Tool("sallet host, transport, raw ESP", Protection("host", tunnel=False, in_udp=False).start),
    Tool("sallet host, transport, ESP in UDP", Protection("host", tunnel=False, in_udp=True).start),
    Tool("sallet gateway, tunnel, ESP in UDP", Protection("gateway", tunnel=True, in_udp=True).start),
    Tool(PEER, _wireguard_go),
)


def _log(scratch: Path, namespace: Namespace) -> Path:
    return scratch / f"{namespace.name}.log"


def _await_ready(daemon: subprocess.Popen[str], log: Path) -> None:
    def said_so() -> bool:
        return daemon.poll() is not None or "sallet: ready" in log.read_text(encoding="utf-8")

    wait_until(said_so, "sallet up becoming ready", READY_SECS)
    if daemon.poll() is not None:
        words = " ".join(log.read_text(encoding="utf-8").split())
        raise RuntimeError(f"sallet up ended: {words or 'without a word'}")
