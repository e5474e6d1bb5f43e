"""wireguard-go, the peer that the TCP table stands beside: found or built, and configured without `wg`.

No measuring may enter.
Answers to: the cross-platform userspace configuration protocol of WireGuard (`set=1` on a Unix socket).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.machine import ROOT
from bench.namespaces import INNER, OUTER, Namespace, Pair, wait_until

MODULE = "golang.zx2c4.com/wireguard@latest"
PEERS = ROOT / "build" / "peers"
BUILD_SECS = 600.0
DEVICE = "wg0"
PORT = 51820
MTU = 1420
_SOCKETS = "/var/run/wireguard"
_REPLY_SECS = 5.0


@dataclass(frozen=True, slots=True)
class Program:
    """wireguard-go as it was found: where, and which version; or why it was not."""

    path: str | None
    version: str
    reason: str | None = None


@lru_cache
def find() -> Program:
    """Look on PATH, then in build/peers, then build it there where Go is."""
    for path in (shutil.which("wireguard-go"), shutil.which("wireguard", path=str(PEERS))):
        if path is not None:
            return Program(path, _version(path))
    if shutil.which("go") is None:
        return Program(None, "", "wireguard-go is not on PATH, and there is no Go to build it with")
    return _build()


def start(pair: Pair, scratch: Path) -> list[subprocess.Popen[str]]:
    """Start and configure one at each end: one tunnel between the two inner addresses.

    Raises:
        RuntimeError: says what did not work.
    """
    program = find()
    if program.path is None:
        raise RuntimeError(program.reason or "wireguard-go was not found")
    processes = []
    for namespace in pair.ends:
        # A directory of its own for the sockets: both ends use the same name, and so may the host.
        namespace.run("mount", "-t", "tmpfs", "-o", "size=1m", "bench", os.path.realpath("/var/run"))
        environment = {**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"}
        log = scratch / f"wireguard-{namespace.name}.log"
        command = (program.path, "--foreground", DEVICE)
        processes.append(namespace.start(*command, log=log, environment=environment))
    keys = [X25519PrivateKey.generate() for _ in pair.ends]
    for own, namespace in enumerate(pair.ends):
        peer = 1 - own
        _configure(namespace, settings(keys[own], keys[peer], OUTER[peer], INNER[peer]))
        namespace.run("ip", "address", "add", INNER[own], "peer", INNER[peer], "dev", DEVICE)
        namespace.run("ip", "link", "set", DEVICE, "mtu", str(MTU), "up")
    return processes


def settings(own: X25519PrivateKey, peer: X25519PrivateKey, endpoint: str, inside: str) -> str:
    """Write the request that sets one end up for one peer."""
    lines = (
        "set=1",
        f"private_key={own.private_bytes_raw().hex()}",
        f"listen_port={PORT}",
        "replace_peers=true",
        f"public_key={peer.public_key().public_bytes_raw().hex()}",
        f"endpoint={endpoint}:{PORT}",
        "replace_allowed_ips=true",
        f"allowed_ip={inside}/32",
    )
    return "\n".join(lines) + "\n\n"


def _configure(namespace: Namespace, request: str) -> None:
    """Send a request to the socket inside the namespace's own mount, and read the answer."""
    name = Path(f"/proc/{namespace.pid}/root{os.path.realpath('/var/run')}/wireguard/{DEVICE}.sock")
    wait_until(name.exists, f"{_SOCKETS}/{DEVICE}.sock of wireguard-go")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_REPLY_SECS)
        connection.connect(str(name))
        connection.sendall(request.encode("ascii"))
        reply = b""
        while not reply.endswith(b"\n\n"):
            more = connection.recv(4096)
            if not more:
                break
            reply += more
    if b"errno=0\n" not in reply:
        raise RuntimeError(
            f"wireguard-go refused its configuration: {reply.decode('ascii', 'replace').strip()}"
        )


def _build() -> Program:
    environment = {**os.environ, "GOBIN": str(PEERS)}
    try:
        done = subprocess.run(
            ["go", "install", MODULE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Program(None, "", f"go install {MODULE}: {error}")
    path = shutil.which("wireguard", path=str(PEERS))
    if done.returncode or path is None:
        words = done.stderr.strip().splitlines()
        return Program(None, "", f"go install {MODULE}: {words[-1] if words else 'failed'}")
    return Program(path, _version(path))


def _version(path: str) -> str:
    """Ask Go which version of the module the program was built from."""
    if shutil.which("go") is not None:
        done = subprocess.run(
            ["go", "version", "-m", path], capture_output=True, text=True, timeout=30, check=False
        )
        for line in done.stdout.splitlines():
            words = line.split()
            if words[:1] == ["mod"] and len(words) >= 3:
                return words[2]
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0] or "unknown version"
