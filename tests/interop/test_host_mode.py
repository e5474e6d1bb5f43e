"""Two hosts on one link, a daemon in each: everything between them is ESP, before, during and after.

The capture begins before the daemons start and ends after they have stopped; nothing is filtered out of it.
Answers to: `sallet up --mode host`; design "host mode", Fail closed; RFC 4301 section 5.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from interop.capture import Capture
from interop.flows import CBC, GCM, Flow, all_spis, setkey_text
from interop.stations import (
    End,
    Services,
    drops,
    guard_counters,
    inject,
    mac,
    quiet,
    stranger_frames,
)
from interop.traffic import SECRET
from netns import DaemonProcess, Lab, Namespace, need, wait_until

pytestmark = [pytest.mark.netns, pytest.mark.slow]

FLOWS = [Flow(1, "192.0.2.1", "192.0.2.2", suite=GCM), Flow(2, "2001:db8::1", "2001:db8::2", suite=GCM)]
CBC_FLOWS = [replace(flow, suite=CBC) for flow in FLOWS]
LINK = "eth0"
Daemons = Callable[..., DaemonProcess]


@pytest.fixture
def hosts(lab: Lab) -> tuple[Namespace, Namespace]:
    """Two namespaces joined by one link, with an address of either family each."""
    need("ping")
    left, right = lab.namespace("left"), lab.namespace("right")
    for namespace in (left, right):
        quiet(namespace)
    lab.link(left, LINK, right, LINK)
    for flow in FLOWS:
        bits = 64 if ":" in flow.left else 24
        lab.address(left, LINK, f"{flow.left}/{bits}")
        lab.address(right, LINK, f"{flow.right}/{bits}")
    return left, right


def setkey_files(directory: Path, flows: list[Flow], generation: int = 1) -> tuple[Path, Path]:
    """Write the file of each end."""
    paths = directory / f"left-{generation}.setkey", directory / f"right-{generation}.setkey"
    paths[0].write_text(setkey_text(flows, "left", generation), encoding="utf-8")
    paths[1].write_text(setkey_text(flows, "right", generation), encoding="utf-8")
    return paths


def ends(hosts: tuple[Namespace, Namespace]) -> list[tuple[End, End]]:
    """Give the ends of every flow, in both directions."""
    pairs = [(End(hosts[0], flow.left), End(hosts[1], flow.right)) for flow in FLOWS]
    return pairs + [(right, left) for left, right in pairs]


def test_the_capture_hears_what_is_in_clear(hosts: tuple[Namespace, Namespace]) -> None:
    capture = Capture(hosts[0], LINK, all_spis(FLOWS), [SECRET[:16]])
    for near, far in ends(hosts):
        near.ping(far, 56, count=1)
    heard = capture.end()
    assert heard.others_lost == 0
    assert len(heard.in_clear()) == 8
    assert heard.flow_packets == 0


@pytest.mark.timeout(120)
def test_two_hosts_speak_only_esp(
    hosts: tuple[Namespace, Namespace], daemon: Daemons, tmp_path: Path
) -> None:
    left, right = hosts
    files = setkey_files(tmp_path, FLOWS)
    capture = Capture(left, LINK, all_spis(FLOWS), [SECRET[:16], SECRET[16:32]])
    services = [Services(namespace) for namespace in hosts]
    daemons = [
        daemon(namespace, "--mode", "host", "--setkey", file)
        for namespace, file in zip(hosts, files, strict=True)
    ]
    for near, far in ends(hosts):
        for size in (56, 1400):
            near.ping(far, size)
        near.exchange_datagrams(far)
    for near, far in ends(hosts)[:2]:
        near.transfer(far)

    # A stranger on the link speaks in clear, in the name of the peer.
    before = drops(daemons[0])["guard"]["InPolicyViolation"]
    injected = [
        frame
        for near, far in ends(hosts)[:2]
        for frame in stranger_frames(far, near, mac(right, LINK), mac(left, LINK))
    ]
    inject(right, LINK, injected)
    assert wait_until(
        lambda: drops(daemons[0])["guard"]["InPolicyViolation"] == before + len(injected), timeout=5
    ), "a clear packet was not dropped, or not counted"

    # Without SAs nothing goes, neither protected nor in clear.
    for host in daemons:
        host.sallet("setkey", "-F")
    unprotected = drops(daemons[0])["engine"]["OutNoSa"]
    for near, far in ends(hosts):
        assert near.hears_nothing_of(far)
    assert drops(daemons[0])["engine"]["OutNoSa"] > unprotected
    assert [host.stop() for host in daemons] == [0, 0]
    said = [service.end() for service in services]
    heard = capture.end()

    assert said == ["", ""]
    assert heard.others_lost == 0
    assert heard.spis() == set(all_spis(FLOWS))
    assert heard.flow_packets > 2 * 50_000_000 * len(FLOWS) / 1500
    assert heard.readable == 0
    # The stranger's frames are known octet by octet; whatever else is in clear is ours.
    assert [heard.others.count(frame) for frame in injected] == [1] * len(injected)
    heard.others[:] = [frame for frame in heard.others if frame not in injected]
    assert heard.in_clear() == []


@pytest.mark.timeout(60)
def test_a_killed_daemon_lets_nothing_out(
    hosts: tuple[Namespace, Namespace], daemon: Daemons, tmp_path: Path
) -> None:
    left, right = hosts
    files, renewed = setkey_files(tmp_path, CBC_FLOWS), setkey_files(tmp_path, CBC_FLOWS, 2)
    capture = Capture(left, LINK, all_spis(FLOWS, 1, 2), [SECRET[:16], SECRET[16:32]])
    services = [Services(namespace) for namespace in hosts]
    killed = daemon(left, "--mode", "host", "--setkey", files[0])
    other = daemon(right, "--mode", "host", "--setkey", files[1])
    for near, far in ends(hosts):
        near.ping(far, 56)
    streams = [near.stream(far, 4.0) for near, far in ends(hosts)]
    time.sleep(0.5)
    killed.process.send_signal(signal.SIGKILL)
    assert killed.process.wait(10) == -signal.SIGKILL
    for near, far in ends(hosts):
        assert near.hears_nothing_of(far)
    # What the peer still sends is dropped by the guard, which outlives the daemon; nobody answers it.
    assert guard_counters(left)["NoDaemon"] > 0

    # A start with keys that were never used takes over what the dead one left, while the flow goes on.
    restarted = daemon(left, "--mode", "host", "--setkey", renewed[0], run_dir=killed.run_dir)
    other.sallet("setkey", "-F")
    other.sallet("setkey", "-FP")
    other.sallet("setkey", "-f", renewed[1])
    for near, far in ends(hosts):
        near.ping(far, 56)
        near.exchange_datagrams(far, count=10)
    for stream in streams:
        assert int(stream.communicate(timeout=20)[0]) > 0
    assert [host.stop() for host in (restarted, other)] == [0, 0]
    for service in services:
        service.end()
    heard = capture.end()

    assert heard.others_lost == 0
    assert heard.spis() == set(all_spis(FLOWS, 1, 2))
    assert heard.readable == 0
    assert heard.in_clear() == []
