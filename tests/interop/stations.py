"""Two namespaces on one link, and what their users do to each other: ping, UDP, TCP, and a stranger's frames.

No daemon and no policy may enter; what goes wrong fails the test in the program's own words.
Answers to: ping(8), `traffic.py`, `transfer.py`; ip-sysctl for what a link is told not to say.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interop import traffic, transfer
from netns import DaemonProcess, Namespace
from sallet import _core

TRANSFER_BYTES = 50_000_000
TRANSFER_SECS = 90.0
LINK_MTU = 1500
PING_PATTERN = traffic.SECRET[:16].hex()
_TRAFFIC, _TRANSFER = Path(traffic.__file__), Path(transfer.__file__)


def quiet(namespace: Namespace) -> None:
    """Keep links from asking for routers and from testing their addresses; before the links are made."""
    for name in ("accept_dad", "router_solicitations", "accept_ra"):
        for links in ("default", "all"):
            set_sysctl(namespace, f"net/ipv6/conf/{links}/{name}", "0")


def set_sysctl(namespace: Namespace, name: str, value: str) -> None:
    """Write one file below /proc/sys."""
    namespace.run("sh", "-c", f"echo {value} >/proc/sys/{name}")


class Services:
    """A TCP and a UDP server in a namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self._programs = [namespace.start(sys.executable, path, "serve") for path in (_TRAFFIC, _TRANSFER)]
        for program in self._programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "serving\n"

    def end(self) -> str:
        """Stop them and give what the UDP server had to say."""
        said = []
        for program in self._programs:
            program.terminate()
            said.append(program.communicate(timeout=10)[0])
        return said[0]


@dataclass(frozen=True)
class End:
    """One end of a flow: where it is, and its address."""

    namespace: Namespace
    address: str

    def ping(
        self, other: End, size: int, *, count: int = 3, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Ping with a payload that a listener would know again; with `check`, every one is answered."""
        words = f"ping -n -c {count} -i 0.05 -W 2 -s {size} -p {PING_PATTERN} -I".split()
        done = self.namespace.run(*words, self.address, other.address, check=check, timeout=20)
        assert not check or f" {count} received" in done.stdout, done.stdout
        return done

    def hears_nothing_of(self, other: End, size: int = 56) -> bool:
        """Say whether pings stay without an answer."""
        words = f"ping -n -c 2 -i 0.2 -W 0.3 -s {size} -p {PING_PATTERN} -I".split()
        done = self.namespace.run(*words, self.address, other.address, check=False, timeout=20)
        return " 0 received" in done.stdout

    def path_mtu(self, other: End) -> int:
        """Read what the kernel has learnt of the path."""
        found = json.loads(self.namespace.ip("-j", "route", "get", other.address, "from", self.address))[0]
        metrics = found.get("metrics") or [{}]
        return int(metrics[0].get("mtu", LINK_MTU))

    def exchange_datagrams(self, other: End, count: int = 50, size: int = 1000) -> None:
        """Send datagrams and check the answers."""
        self.namespace.run(
            *(sys.executable, _TRAFFIC, "exchange", self.address, other.address, str(count), str(size))
        )

    def transfer(self, other: End, size: int = TRANSFER_BYTES, rate: int = 0) -> None:
        """Send bytes over TCP and get them back, no faster than `rate`; both ends compare digests."""
        words = (sys.executable, _TRANSFER, "transfer", self.address, other.address, str(size), str(rate))
        self.namespace.run(*words, timeout=TRANSFER_SECS)

    def stream(self, other: End) -> subprocess.Popen[str]:
        """Start sending datagrams, whatever becomes of them, until SIGTERM."""
        return self.namespace.start(sys.executable, _TRAFFIC, "stream", self.address, other.address)


def stranger_frames(sender: End, victim: End, source_mac: str, victim_mac: str) -> list[bytes]:
    """Make clear frames as if the sender had no protection: UDP, an echo request, a TCP segment."""
    ends = sender.address, victim.address
    packets = [
        _core.udp_packet(*ends, 4000, traffic.PORT, traffic.STRANGER + bytes(40)),
        _core.echo_packet(*ends, payload=traffic.STRANGER),
        _core.tcp_packet(*ends, 4000, transfer.PORT, b"", flags=2),
    ]
    kind = b"\x86\xdd" if ":" in sender.address else b"\x08\x00"
    return [bytes.fromhex((victim_mac + source_mac).replace(":", "")) + kind + packet for packet in packets]


def inject(namespace: Namespace, device: str, frames: list[bytes]) -> None:
    """Put frames on a link past everything that guards the namespace."""
    words = [frame.hex() for frame in frames]
    namespace.run(sys.executable, _TRAFFIC, "inject", device, *words)


def mac(namespace: Namespace, device: str) -> str:
    """Read a link's address."""
    links: list[dict[str, str]] = json.loads(namespace.ip("-j", "link", "show", "dev", device))
    return links[0]["address"]


def drops(daemon: DaemonProcess) -> dict[str, dict[str, int]]:
    """Read the drop counters, by judge (`engine`, `guard`) and reason."""
    document: dict[str, Any] = json.loads(daemon.sallet("drops", "--json").stdout)
    return {
        judge: {row["reason"]: row["packets"] for row in document[judge]} for judge in ("engine", "guard")
    }


def guard_counters(namespace: Namespace) -> dict[str, int]:
    """Read the packets that the guard's counters have, without asking a daemon."""
    listed = json.loads(namespace.run("nft", "-j", "list", "counters").stdout)["nftables"]
    return {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}
