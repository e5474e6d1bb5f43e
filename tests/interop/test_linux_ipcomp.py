"""A real kernel inflates what the engine compresses, and the engine what the kernel does, of every size.

The datagrams are made as for `make ipcomp-zlib`; SALLET_IPCOMP_KERNEL says how many in each mode and family.
Answers to: RFC 3173, RFC 2394; ipsec(4) (BUGS: the zlib caveat); the kernel's documentation, xfrm_proc.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conformance import ipcomp_zlib
from interop import traffic
from interop.ipcomp_exchange import Flow
from interop.linux_peer import LINK, LinuxPeer, add_tap
from interop.stations import mac
from netns import Lab, Namespace, environment, need

COUNT = int(os.environ.get("SALLET_IPCOMP_KERNEL", "300"))
SEED = int(os.environ.get("SALLET_SEED", str(ipcomp_zlib.SEED)))
pytestmark = [
    pytest.mark.interop,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.timeout(120 + COUNT // 10),
]

TAP = "tap0"
MTU = 65_521
"""As large as an Ethernet frame of the kernel can be: nothing has to be fragmented."""
OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
FRAMES = [
    ("transport", 4, 4),
    ("transport", 6, 6),
    ("tunnel", 4, 4),
    ("tunnel", 6, 6),
    ("tunnel", 6, 4),
    ("tunnel", 4, 6),
]


def flow(number: int, mode: str, inner: int, outer: int) -> Flow:
    """Give each flow addresses of its own; the kernel's are all on its link."""
    if inner == 4:
        ends = f"10.1.{number}.1", f"10.2.{number}.1"
    else:
        ends = f"fd00:1:{number}::1", f"fd00:2:{number}::1"
    return Flow(number, mode, ends, ends if mode == "transport" else OUTER[outer])


FLOWS = [flow(number, *frame) for number, frame in enumerate(FRAMES, 1)]


def kernel_batch(flow: Flow) -> list[str]:
    """Write the kernel's side; what was not worth compressing comes as it is, which `level use` is for."""
    lines = []
    unspecified = "flag af-unspec" if flow.mode == "tunnel" else ""
    for spi, direction, turn in ((flow.spis[0], "in", 1), (flow.spis[1], "out", -1)):
        source, destination = flow.gateways[::turn]
        ends = flow.ends[::turn]
        bits = 128 if ":" in ends[0] else 32
        level = "level use" if direction == "in" else ""
        lines += [
            f"xfrm state add src {source} dst {destination} proto comp spi {spi:#x} reqid {flow.number} "
            f"mode {flow.mode} {unspecified} comp deflate",
            f"xfrm policy add dir {direction} src {ends[0]}/{bits} dst {ends[1]}/{bits} priority 100 "
            f"tmpl src {source} dst {destination} proto comp reqid {flow.number} mode {flow.mode} {level}",
        ]
    return lines


def address_batch(flow: Flow, version: int) -> list[str]:
    """Give the kernel its end of a flow, and the way to ours; the server's answers come from that end."""
    near, far = flow.ends
    nodad = "nodad" if ":" in far else ""
    return [
        f"address add {far}/{128 if nodad else 32} dev lo {nodad}",
        f"route add {near}/{128 if nodad else 32} via {OUTER[version][0]} dev {LINK} src {far}",
    ]


class Ends:
    """The link's namespace, and the kernel at its other end."""

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        lab = Lab()
        stack.callback(lab.close)
        self.near: Namespace = lab.namespace("link")
        add_tap(self.near, TAP)
        self.near.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{TAP}/disable_ipv6")
        self.near.ip("link", "set", TAP, "mtu", str(MTU))
        # The kernel's driver takes the largest MTU as a further option of its device.
        self.peer = stack.enter_context(LinuxPeer(self.near, f"{TAP},mtu={MTU}", scratch))
        self.peer.ip_batch(
            [
                f"link set {LINK} mtu {MTU} up",
                f"address add {OUTER[4][1]}/24 dev {LINK}",
                f"address add {OUTER[6][1]}/64 dev {LINK} nodad",
                *(
                    f"neigh replace {ours} lladdr {mac(self.near, TAP)} nud permanent dev {LINK}"
                    for ours, _ in OUTER.values()
                ),
                *(
                    line
                    for flow, (_, inner, _) in zip(FLOWS, FRAMES, strict=True)
                    for line in address_batch(flow, inner)
                ),
                *(line for flow in FLOWS for line in kernel_batch(flow)),
            ]
        )
        serve = f"{sys.executable} {traffic.__file__} serve"
        self.peer.run(f"{serve} >/run/server 2>&1 & while ! grep -q serving /run/server; do sleep 0.05; done")
        self.kernel_mac = self.peer.run(f"cat /sys/class/net/{LINK}/address").strip()

    def exchange(self, flow: Flow) -> dict[str, int]:
        """Send the datagrams of one flow there and back; whatever fails, fails the test."""
        addresses = (*flow.ends, *flow.gateways)
        words = (
            "-m",
            "interop.ipcomp_exchange",
            TAP,
            self.kernel_mac,
            str(flow.number),
            flow.mode,
            *addresses,
        )
        numbers = ("--count", str(COUNT), "--seed", str(SEED + flow.number))
        done = self.near.run(sys.executable, *words, *numbers, env=environment(), timeout=60 + COUNT / 10)
        print(
            f"\n{COUNT} datagrams, {flow.mode}, {flow.ends[0]} over {flow.gateways[0]}: {done.stdout.strip()}"
        )
        seen: dict[str, int] = json.loads(done.stdout)["seen"]
        return seen


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    """A kernel that is at the other end of a link, and no daemon: the engine is in the program."""
    for capability in ("engine", "linux-peer"):
        need(capability)
    with ExitStack() as stack:
        yield Ends(stack, tmp_path_factory.mktemp("peer"))


# = https://www.rfc-editor.org/rfc/rfc3173#section-2.2
# # A packet that compression would not make shorter is sent as it was, and a receiver takes it.
@pytest.mark.parametrize("flow", FLOWS, ids=["-".join(map(str, frame)) for frame in FRAMES])
def test_there_and_back_through_a_kernel(ends: Ends, flow: Flow) -> None:
    seen = ends.exchange(flow)
    for way in ("to the kernel", "from the kernel"):
        assert seen[f"{way}, compressed"] > COUNT // 5
        assert seen[f"{way}, as it was"] > COUNT // 5
        assert seen[f"{way}, compressed"] + seen[f"{way}, as it was"] == COUNT
    assert seen.get("sent again", 0) <= COUNT // 100 + 2
    assert ends.peer.errors() == {}
