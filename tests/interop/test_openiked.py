"""Debian's OpenIKED, unmodified, on our PF_KEY: two hosts negotiate, talk, rekey and take leave.

Root only: iked drops its privilege to a user of its own. Everything is in namespaces of the test.
Answers to: RFC 7296, RFC 2367, RFC 3948; `sallet run`, `sallet up --mode host`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from interop.openiked import RATE, REKEYS_MIN, SHORT_LARVAL, Conversation, Iked, Listener, nothing_left
from interop.stations import TRANSFER_BYTES, End, Services, quiet, set_sysctl
from interop.wire_log import WireLog
from netns import DaemonProcess, Lab, Namespace, need, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(180)]

LINK = "wire0"
Daemons = Callable[..., DaemonProcess]


@pytest.fixture(autouse=True)
def _needs() -> None:
    for capability in ("root", "openiked", "tcpdump", "ping"):
        need(capability)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def without_kernel_ipsec(namespace: Namespace) -> None:
    """See that the kernel here has no part in it: no SA, no policy, no counter that ever moved, no module."""
    assert namespace.run("ip", "xfrm", "state", check=False).stdout == ""
    assert namespace.run("ip", "xfrm", "policy", check=False).stdout == ""
    counters = namespace.run("cat", "/proc/net/xfrm_stat", check=False).stdout.split()[1::2]
    assert set(counters) <= {"0"}
    assert namespace.run("python3", "-c", "import socket; socket.socket(15, 3, 2)", check=False).returncode
    for module in ("esp4", "esp6", "af_key"):
        assert not Path("/sys/module", module).exists(), f"the kernel has {module} loaded"


def talk(near: End, far: End, listeners: list[Listener]) -> None:
    """Ping both ways, and move 50 MB there and back on one connection, while SAs come and go."""
    near.ping(far, 56)
    far.ping(near, 1000)
    start = time.monotonic()
    near.transfer(far, TRANSFER_BYTES, RATE)
    end = time.monotonic()
    for listener in listeners:
        assert listener.rekeyed_between(start, end) >= REKEYS_MIN, listener.noted


def start_both(
    daemons: list[DaemonProcess], sides: list[Conversation], directory: Path, *options: str
) -> list[Iked]:
    """Start iked at both ends, the passive one first, so that the first request is heard."""
    started: dict[int, Iked] = {}
    for number in (1, 0):
        running = daemons[number]
        started[number] = Iked(running.namespace, running, sides[number], directory / str(number), *options)
        started[number].wait_for_start()
    return [started[0], started[1]]


def two_hosts(lab: Lab, prefix: str = "192.0.2.", bits: int = 24) -> tuple[End, End]:
    """Make two hosts on one link."""
    ends = []
    for name, address in (("left", f"{prefix}1"), ("right", f"{prefix}2")):
        namespace = lab.namespace(name)
        quiet(namespace)
        ends.append(End(namespace, address))
    near, far = ends
    lab.link(near.namespace, LINK, far.namespace, LINK)
    for end in ends:
        lab.address(end.namespace, LINK, f"{end.address}/{bits}")
    return near, far


def host_to_host(near: End, far: End) -> list[Conversation]:
    """Say what each end's iked is told: everything between the two, in tunnels from the one to the other."""
    return [
        Conversation(
            *(own.address, other.address, own.address, other.address),
            names=(own.address, other.address),
            active=own is near,
        )
        for own, other in ((near, far), (far, near))
    ]


def test_two_hosts_negotiate_talk_and_rekey(
    lab: Lab, daemon: Daemons, tmp_path: Path, stack: ExitStack
) -> None:
    near, far = two_hosts(lab)
    left, right = near.namespace, far.namespace
    wire = WireLog(left, LINK, tmp_path / "wire.pcap")
    daemons = [daemon(namespace, "--mode", "host", *SHORT_LARVAL) for namespace in (left, right)]
    listeners = [stack.enter_context(Listener(each.run_dir)) for each in daemons]
    ikeds = start_both(daemons, host_to_host(near, far), tmp_path)
    for iked, listener in zip(ikeds, listeners, strict=True):
        listener.wait_for_sas(iked)
    services = [Services(end.namespace) for end in (near, far)]
    talk(near, far, listeners)
    for service in services:
        service.end()
    without_kernel_ipsec(left)
    assert "ESTABLISHED" in ikeds[0].show_sa()
    assert ikeds[0].show_sa().count("sa_childsas") == 2
    assert [iked.stop() for iked in ikeds] == [0, 0]
    for each in daemons:
        assert wait_until(lambda each=each: nothing_left(each)), each.sallet("setkey", "-D").stdout  # type: ignore[misc]
    assert [each.stop() for each in daemons] == [0, 0]
    passed = wire.end()
    assert passed.in_clear == []
    assert len(passed.esp) >= 2 * (1 + REKEYS_MIN)
    assert sum(passed.esp.values()) > 2 * TRANSFER_BYTES // 1500
    assert passed.ike > 0


INSIDE, BEYOND = "10.1.0.1", "10.2.0.1"
"""What the hosts on either side of the NAT call themselves inside the tunnel."""


MASQUERADE = (
    'table ip nat { chain out { type nat hook postrouting priority 100; oifname "world0" masquerade; }; }'
)


def behind_a_nat(lab: Lab) -> tuple[Namespace, Namespace, Namespace]:
    """Make two hosts, and between them a router that hides the first behind its own address."""
    left, router, right = (lab.namespace(name) for name in ("left", "router", "right"))
    for namespace in (left, router, right):
        quiet(namespace)
    lab.link(left, LINK, router, "home0")
    lab.link(router, "world0", right, LINK)
    for namespace, device, address in (
        (left, LINK, "192.168.7.2/24"),
        (router, "home0", "192.168.7.1/24"),
        (router, "world0", "198.51.100.1/24"),
        (right, LINK, "198.51.100.2/24"),
        (left, "lo", f"{INSIDE}/32"),
        (right, "lo", f"{BEYOND}/32"),
    ):
        lab.address(namespace, device, address)
    left.ip("route", "add", "default", "via", "192.168.7.1")
    # So that the kernel sends it at all; what leaves is ESP in UDP, or nothing.
    right.ip("route", "add", INSIDE, "via", "198.51.100.1")
    set_sysctl(router, "net/ipv4/ip_forward", "1")
    router.run("nft", "-f", "-", input=MASQUERADE)
    return left, router, right


def test_through_a_nat(lab: Lab, daemon: Daemons, tmp_path: Path, stack: ExitStack) -> None:
    left, router, right = behind_a_nat(lab)
    near, far = End(left, INSIDE), End(right, BEYOND)
    wire = WireLog(router, "world0", tmp_path / "wire.pcap")
    daemons = [daemon(namespace, "--mode", "host", *SHORT_LARVAL) for namespace in (left, right)]
    listeners = [stack.enter_context(Listener(each.run_dir)) for each in daemons]
    sides = [
        Conversation("192.168.7.2", "198.51.100.2", INSIDE, BEYOND, ("roamer", "home"), active=True),
        Conversation("198.51.100.2", "any", BEYOND, INSIDE, ("home", "roamer"), active=False),
    ]
    ikeds = start_both(daemons, sides, tmp_path)
    for iked, listener in zip(ikeds, listeners, strict=True):
        listener.wait_for_sas(iked)
    for each in daemons:
        assert "ESP in UDP on port 4500" in each.sallet("status").stdout
    services = [Services(end.namespace) for end in (near, far)]
    talk(near, far, listeners)
    for service in services:
        service.end()
    without_kernel_ipsec(left)
    assert [iked.stop() for iked in ikeds] == [0, 0]
    for each in daemons:
        assert wait_until(lambda each=each: nothing_left(each)), each.sallet("setkey", "-D").stdout  # type: ignore[misc]
        assert wait_until(lambda each=each: "no UDP" in each.sallet("status").stdout), "the port is given up"  # type: ignore[misc]
        each.namespace.run("python3", "-c", "import socket; socket.socket(2, 2).bind(('', 4500))")
    assert [each.stop() for each in daemons] == [0, 0]
    passed = wire.end()
    assert (passed.in_clear, passed.esp) == ([], {})
    assert len(passed.esp_in_udp) >= 2 * (1 + REKEYS_MIN)
    assert sum(passed.esp_in_udp.values()) > 2 * TRANSFER_BYTES // 1500


@pytest.mark.parametrize(("prefix", "bits"), [("192.0.2.", 24), ("2001:db8::", 64)], ids=["v4", "v6"])
def test_a_killed_daemon_lets_nothing_out_of_an_endpoint(
    lab: Lab, daemon: Daemons, tmp_path: Path, stack: ExitStack, prefix: str, bits: int
) -> None:
    # iked -t: ESP in UDP although there is no NAT.
    near, far = two_hosts(lab, prefix, bits)
    wire = WireLog(near.namespace, LINK, tmp_path / "wire.pcap")
    daemons = [daemon(end.namespace, "--mode", "host") for end in (near, far)]
    listeners = [stack.enter_context(Listener(each.run_dir)) for each in daemons]
    ikeds = start_both(daemons, host_to_host(near, far), tmp_path, "-t")
    for iked, listener in zip(ikeds, listeners, strict=True):
        listener.wait_for_sas(iked)
    near.ping(far, 56)
    assert daemons[0].stop(signal.SIGKILL) == -signal.SIGKILL
    assert near.hears_nothing_of(far)
    assert far.hears_nothing_of(near)
    for iked in ikeds:
        iked.stop()
    assert ikeds[0].log.read_text().count("short recv") <= 2, "it does not read the end for ever"
    assert daemons[1].stop() == 0
    passed = wire.end()
    assert passed.in_clear == []
    assert sum(passed.esp_in_udp.values()) > 6, "what the other end still sends is sealed"
