"""Two hosts on one link, a daemon in each: everything between them is ESP, before, during and after.

What happens is told in `scenes.py`; here are the links, the addresses and what is host mode's own.
Answers to: `sallet up --mode host`; RFC 4301 section 5, transport mode.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interop.capture import Capture
from interop.flows import CBC, Flow, all_spis
from interop.scenes import LINK, Daemons, Scene, a_day_of_traffic, a_killed_daemon, both_ways
from interop.stations import drops, quiet
from interop.traffic import SECRET
from netns import Lab, need

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(120)]

FLOWS = [Flow(1, "192.0.2.1", "192.0.2.2"), Flow(2, "2001:db8::1", "2001:db8::2")]
CBC_FLOWS = [replace(flow, suite=CBC) for flow in FLOWS]


@pytest.fixture
def hosts(lab: Lab) -> Scene:
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
    return Scene("host", left, right, (left, right))


def test_the_capture_hears_what_is_in_clear(hosts: Scene) -> None:
    capture = Capture(hosts.left, LINK, all_spis(FLOWS), [SECRET[:16]])
    for near, far in both_ways(hosts.ends(FLOWS)):
        near.ping(far, 56, count=1)
    heard = capture.end()
    assert heard.others_lost == 0
    assert len(heard.in_clear()) == 8
    assert heard.flow_packets == 0


def test_two_hosts_speak_only_esp(hosts: Scene, daemon: Daemons, tmp_path: Path) -> None:
    a_day_of_traffic(hosts, FLOWS, daemon, tmp_path)


def test_a_killed_daemon_lets_nothing_out(hosts: Scene, daemon: Daemons, tmp_path: Path) -> None:
    a_killed_daemon(hosts, CBC_FLOWS, daemon, tmp_path)


def test_what_the_kernel_cuts_is_sealed_whole(hosts: Scene, daemon: Daemons, tmp_path: Path) -> None:
    # RFC 4301 §4.1: transport mode is for whole packets; what is too long once sealed is cut again.
    with hosts.listening(CBC_FLOWS) as captured:
        left, right = hosts.start(daemon, tmp_path, CBC_FLOWS)
        for near, far in hosts.ends(CBC_FLOWS):
            for size in (56, 1400, 3000, 60_000):
                near.ping(far, size)
            near.exchange_datagrams(far, count=10, size=8000)
        assert drops(left)["engine"]["OutFragment"] == 0
        assert [each.stop() for each in (left, right)] == [0, 0]
    assert captured[0].in_clear() == []
    pieces = captured[0].pieces()
    assert len(pieces) > 2 * 60_000 // 1500
    assert not [piece for piece in pieces if SECRET[:16] in piece]
