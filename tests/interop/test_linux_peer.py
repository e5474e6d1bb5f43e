"""A daemon of ours on one side, a real Linux kernel on the other: ping and TCP, in every mode, both ways.

No packet is made here: both stacks make their own. Root only, see linux_peer.py.
Answers to: RFC 4301 and RFC 4303; the kernel judges us by its error counters (its documentation, xfrm_proc).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import transfer
from interop.linux_peer import LINK, LinuxPeer, PeerError, add_tap
from netns import DaemonProcess, Lab, Namespace, need

pytestmark = [pytest.mark.interop, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(60)]

TAP = "tap0"
TRANSFER_BYTES = 1_000_000
LARGE_PING_BYTES = {"transport": 1200, "tunnel": 1400}
"""What needs no fragment, and what the senders have to cut in two before it enters a tunnel."""
PROGRAM = Path(transfer.__file__)
SERVE = f"{sys.executable} {PROGRAM} serve"


@dataclass(frozen=True)
class Suite:
    """One choice of algorithms, in setkey's words and in the kernel's."""

    name: str
    setkey: tuple[tuple[str, str, int], ...]
    """Flag, word, bytes of key."""
    kernel: tuple[tuple[str, str, str], ...]
    """Keyword, name, and what follows the key."""

    def keys(self, label: str) -> list[str]:
        """Make the keys of one SA."""
        return [
            hashlib.shake_256(f"{self.name} {label} {flag}".encode()).hexdigest(size)
            for flag, _, size in self.setkey
        ]

    def setkey_text(self, label: str) -> str:
        """Write algorithms and keys for setkey."""
        parts = zip(self.setkey, self.keys(label), strict=True)
        return " ".join(f"{flag} {word} 0x{key}" for (flag, word, _), key in parts)

    def kernel_text(self, label: str) -> str:
        """Write algorithms and keys for `ip xfrm state`."""
        parts = zip(self.kernel, self.keys(label), strict=True)
        return " ".join(f"{word} {name} 0x{key} {rest}".strip() for (word, name, rest), key in parts)


GCM = Suite("gcm", (("-E", "aes-gcm-16", 20),), (("aead", "rfc4106(gcm(aes))", "128"),))
CBC = Suite(
    "cbc-sha256",
    (("-E", "aes-cbc", 16), ("-A", "hmac-sha256", 32)),
    (("enc", "cbc(aes)", ""), ("auth-trunc", "hmac(sha256)", "128")),
)
OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
"""Ours, and the kernel's."""


@dataclass(frozen=True)
class Flow:
    """One pair of addresses whose traffic is protected in one way; `number` makes everything in it unique."""

    number: int
    suite: Suite
    mode: str
    inner: int
    outer: int

    def __str__(self) -> str:
        frame = f"v{self.inner}" if self.mode == "transport" else f"v{self.inner}-in-v{self.outer}"
        return f"{self.mode}-{frame}-{self.suite.name}"

    @property
    def ends(self) -> tuple[str, str]:
        """Our address and the kernel's, as the applications see them."""
        left, right = (1, 2) if self.mode == "transport" else (10, 20)
        if self.inner == 4:
            return f"10.{left}.{self.number}.1", f"10.{right}.{self.number}.1"
        return f"fd00:{left}:{self.number}::1", f"fd00:{right}:{self.number}::1"

    @property
    def gateways(self) -> tuple[str, str]:
        """Our address and the kernel's, as the wire shows them."""
        return self.ends if self.mode == "transport" else OUTER[self.outer]

    @property
    def host_bits(self) -> int:
        """The prefix length of one address."""
        return 32 if self.inner == 4 else 128

    def setkey_text(self) -> str:
        """Write our side for setkey."""
        (us, them), (ours, theirs) = self.gateways, self.ends
        tunnel = self.mode == "tunnel"
        lines = []
        for spi, label, source, destination in ((0x1000, "out", us, them), (0x2000, "in", them, us)):
            lines.append(
                f"add {source} {destination} esp {spi + self.number:#x} -m {self.mode} -r 64 "
                f"-u {self.number} {self.suite.setkey_text(label + str(self))};"
            )
        for direction, source, destination, a, b in (
            ("out", ours, theirs, us, them),
            ("in", theirs, ours, them, us),
        ):
            ends = f"{a}-{b}" if tunnel else ""
            lines.append(
                f"spdadd {source}/{self.host_bits} {destination}/{self.host_bits} any -P {direction} "
                f"ipsec esp/{self.mode}/{ends}/unique:{self.number};"
            )
        return "\n".join(lines) + "\n"

    def kernel_batch(self) -> list[str]:
        """Write the kernel's side for `ip -batch`."""
        (us, them), (ours, theirs) = self.gateways, self.ends
        unspecified = "flag af-unspec" if self.mode == "tunnel" else ""
        lines = []
        for spi, label, source, destination in ((0x1000, "out", us, them), (0x2000, "in", them, us)):
            lines.append(
                f"xfrm state add src {source} dst {destination} proto esp spi {spi + self.number:#x} "
                f"reqid {self.number} mode {self.mode} replay-window 64 {unspecified} "
                f"{self.suite.kernel_text(label + str(self))}"
            )
        for direction, source, destination, a, b in (
            ("in", ours, theirs, us, them),
            ("out", theirs, ours, them, us),
        ):
            lines.append(
                f"xfrm policy add dir {direction} src {source}/{self.host_bits} "
                f"dst {destination}/{self.host_bits} priority 100 "
                f"tmpl src {a} dst {b} proto esp reqid {self.number} mode {self.mode}"
            )
        return lines


TRANSPORT = [("transport", 4, 4), ("transport", 6, 6)]
TUNNEL = [("tunnel", 4, 4), ("tunnel", 6, 6), ("tunnel", 6, 4), ("tunnel", 4, 6)]
HOST_FLOWS = [
    Flow(number, suite, *frame)
    for number, (suite, frame) in enumerate(
        ((suite, frame) for suite in (GCM, CBC) for frame in (*TRANSPORT, *TUNNEL)), 1
    )
]
GATEWAY_FLOWS = [flow for flow in HOST_FLOWS if flow.mode == "tunnel"]
# Neighbour discovery is outside of every policy on our side; the kernel has to be told.
NEIGHBOUR_DISCOVERY = [
    f"xfrm policy add dir {direction} src ::/0 dst ::/0 proto ipv6-icmp type {kind} priority 1"
    for direction in ("in", "out")
    for kind in (135, 136)
]


class Station:
    """A daemon, the namespace its users live in, and the kernel it talks to."""

    def __init__(self, peer: LinuxPeer, daemon: DaemonProcess, users: Namespace) -> None:
        self.peer, self.daemon, self.users = peer, daemon, users

    def exchange(self, flow: Flow) -> None:
        """Ping and transfer in both directions; whatever fails, fails the test."""
        ours, theirs = flow.ends
        for size in (56, LARGE_PING_BYTES[flow.mode]):
            self.users.run(*ping(size), ours, theirs)
            self.peer.run(" ".join((*ping(size), theirs, ours)))
        words = (sys.executable, str(PROGRAM), "transfer")
        self.users.run(*words, ours, theirs, str(TRANSFER_BYTES))
        self.peer.run(" ".join((*words, theirs, ours, str(TRANSFER_BYTES))))

    def packets(self, flow: Flow) -> list[int]:
        """Count what our two SAs of a flow carried."""
        shown = json.loads(self.daemon.sallet("sa", "ls", "--json").stdout)
        return [sa["packets"] for sa in shown["sas"] if sa["reqid"] == flow.number]


def ping(size: int) -> tuple[str, ...]:
    """Give the words that send three echo requests; source and destination follow."""
    return (*"ping -n -q -c 3 -i 0.05 -W 5 -s".split(), str(size), "-I")


def station(stack: ExitStack, scratch: Path, mode: str, flows: list[Flow]) -> Station:
    """Build everything: namespaces, addresses, daemon, kernel, and a server on either side."""
    lab = Lab()
    stack.callback(lab.close)
    near = lab.namespace(mode)
    near.ip("link", "set", "lo", "up")
    add_tap(near, TAP)
    users = near if mode == "host" else _network_behind(lab, near)
    lab.address(near, TAP, f"{OUTER[4][0]}/24", f"{OUTER[6][0]}/64")
    for flow in flows:
        _our_side(lab, near, users, flow)
    rules = scratch / "flows.setkey"
    rules.write_text("".join(flow.setkey_text() for flow in flows), encoding="utf-8")
    daemon = DaemonProcess(near, scratch / "run", "--mode", mode, "--setkey", rules)
    peer = stack.enter_context(LinuxPeer(near, TAP, scratch / "peer"))
    protection = [line for flow in flows for line in flow.kernel_batch()]
    peer.ip_batch([*NEIGHBOUR_DISCOVERY, *protection, *_their_side(flows)])
    server = users.start(sys.executable, PROGRAM, "serve")
    assert server.stdout is not None
    assert server.stdout.readline() == "serving\n"
    peer.run(f"{SERVE} >/run/server 2>&1 & while ! grep -q serving /run/server; do sleep 0.05; done")
    return Station(peer, daemon, users)


def _network_behind(lab: Lab, gateway: Namespace) -> Namespace:
    """Add a namespace whose only way out is the gateway."""
    users = lab.namespace("users")
    lab.link(users, "up0", gateway, "down0")
    lab.address(users, "up0", "172.16.0.2/24", "fd00:172::2/64")
    lab.address(gateway, "down0", "172.16.0.1/24", "fd00:172::1/64")
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        gateway.run("sh", "-c", f"echo 1 >/proc/sys/{name}")
    for prefix, via in (("10.10.0.0/16", "172.16.0.2"), ("fd00:10::/32", "fd00:172::2")):
        gateway.ip("route", "add", prefix, "via", via)
    return users


def _our_side(lab: Lab, near: Namespace, users: Namespace, flow: Flow) -> None:
    """Give a flow its address on our side, and the way to the kernel's."""
    ours, theirs = flow.ends
    if flow.mode == "transport":
        near.ip("address", "add", ours, "peer", theirs, "dev", TAP, *(["nodad"] if flow.inner == 6 else []))
        return
    lab.address(users, "lo", f"{ours}/{flow.host_bits}")
    near.ip("route", "add", theirs, "via", OUTER[flow.inner][1])
    if users is not near:
        users.ip("route", "add", theirs, "via", "172.16.0.1" if flow.inner == 4 else "fd00:172::1")


def _their_side(flows: list[Flow]) -> list[str]:
    """Give the kernel its addresses and routes; on a link that is down, IPv6 makes no route to a peer."""
    lines = [f"link set {LINK} up"]
    lines += [f"address add {OUTER[4][1]}/24 dev {LINK}", f"address add {OUTER[6][1]}/64 dev {LINK} nodad"]
    for flow in flows:
        ours, theirs = flow.ends
        nodad = " nodad" if flow.inner == 6 else ""
        if flow.mode == "transport":
            lines.append(f"address add {theirs} peer {ours} dev {LINK}{nodad}")
        else:
            lines.append(f"address add {theirs}/{flow.host_bits} dev lo{nodad}")
    return lines + [
        f"route add {flow.ends[0]} via {OUTER[flow.inner][0]}" for flow in flows if flow.mode == "tunnel"
    ]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, list[Flow]], Station]]:
    """Build a station for the tests of this file; all of them end with it."""
    for capability in ("engine", "nft", "ping", "linux-peer"):
        need(capability)
    with ExitStack() as stack:
        yield lambda mode, flows: station(stack, tmp_path_factory.mktemp(mode), mode, flows)


@pytest.fixture(scope="module")
def host(build: Callable[[str, list[Flow]], Station]) -> Station:
    """A host in front of the kernel."""
    return build("host", HOST_FLOWS)


@pytest.fixture(scope="module")
def gateway(build: Callable[[str, list[Flow]], Station]) -> Station:
    """A gateway in front of the kernel, with a network behind it."""
    return build("gateway", GATEWAY_FLOWS)


@pytest.mark.parametrize("flow", HOST_FLOWS, ids=str)
def test_a_host_and_a_kernel(host: Station, flow: Flow) -> None:
    host.exchange(flow)
    assert all(count > 10 for count in host.packets(flow))
    assert host.peer.errors() == {}


@pytest.mark.parametrize("flow", GATEWAY_FLOWS, ids=str)
def test_a_gateway_and_a_kernel(gateway: Station, flow: Flow) -> None:
    gateway.exchange(flow)
    assert all(count > 10 for count in gateway.packets(flow))
    assert gateway.peer.errors() == {}


# = https://www.rfc-editor.org/rfc/rfc4303#section-3.4.4.1
# # A packet whose ICV does not match is discarded; the event may be counted.
def test_the_kernel_does_count(build: Callable[[str, list[Flow]], Station]) -> None:
    """The counters that the other tests find at zero move as soon as one key differs."""
    strange = Flow(1, GCM, "transport", 4, 4)
    alone = build("host", [strange])
    us, them = strange.gateways
    state = f"src {us} dst {them} proto esp spi 0x1001"
    other = strange.suite.kernel_text("another key")
    alone.peer.ip_batch(
        [
            f"xfrm state delete {state}",
            f"xfrm state add {state} reqid 1 mode transport replay-window 64 {other}",
        ]
    )
    assert alone.users.run(*ping(56), us, them, check=False).returncode == 1
    assert alone.peer.errors() == {"XfrmInStateProtoError": 3}
    with pytest.raises(PeerError, match="No such process"):
        alone.peer.ip_batch([f"xfrm state delete {state}9"])
