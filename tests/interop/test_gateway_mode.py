"""Two networks, a gateway before each, a tunnel between those: everything on the link between them is ESP.

What happens is told in `scenes.py`; here are the links, the routes and what is gateway mode's own.
Answers to: `sallet up --mode gateway`; RFC 4301 section 5, tunnel mode, and section 8.2, path MTU.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.flows import CBC, Flow
from interop.scenes import (
    LINK,
    Daemons,
    Scene,
    a_day_of_traffic,
    a_killed_daemon,
    ping_until_the_path_is_known,
)
from interop.stations import LINK_MTU, quiet, set_sysctl
from netns import Lab, Namespace, need

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(120)]

OUTER_4, OUTER_6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
FLOWS = [
    Flow(1, "10.1.0.0/24", "10.2.0.0/24", OUTER_4),
    Flow(2, "fd00:1:6::/64", "fd00:2:6::/64", OUTER_6, CBC),
    Flow(3, "fd00:1:4::/64", "fd00:2:4::/64", OUTER_4),
]
FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")


@pytest.fixture
def gateways(lab: Lab) -> Scene:
    """Four namespaces in a row; every gateway has a route to the other network that needs no tunnel."""
    need("ping")
    users = lab.namespace("left-host"), lab.namespace("right-host")
    left, right = lab.namespace("left-gate"), lab.namespace("right-gate")
    for namespace in (*users, left, right):
        quiet(namespace)
    for namespace in (left, right):
        for name in FORWARDING:
            set_sysctl(namespace, name, "1")
    lab.link(left, LINK, right, LINK)
    for host, gate in zip(users, (left, right), strict=True):
        lab.link(host, "up0", gate, "down0")
    for index, gate in enumerate((left, right)):
        lab.address(gate, LINK, f"{OUTER_4[index]}/24", f"{OUTER_6[index]}/64")
    for flow in FLOWS:
        _join(lab, left, users[0], flow.left, flow.right, 1)
        _join(lab, right, users[1], flow.right, flow.left, 0)
    return Scene("gateway", left, right, users)


def _join(lab: Lab, gate: Namespace, host: Namespace, near: str, far: str, other: int) -> None:
    """Give a network to a gateway and its host, and both the way to the far one."""
    prefix, bits = near.split("/")
    first = prefix.removesuffix("0") if "." in prefix else prefix
    lab.address(gate, "down0", f"{first}1/{bits}")
    lab.address(host, "up0", f"{first}2/{bits}")
    host.ip("route", "add", far, "via", f"{first}1", "src", f"{first}2")
    gate.ip("route", "add", far, "via", (OUTER_6 if ":" in near else OUTER_4)[other])


def test_two_gateways_speak_only_esp(gateways: Scene, daemon: Daemons, tmp_path: Path) -> None:
    a_day_of_traffic(gateways, FLOWS, daemon, tmp_path)


def test_a_killed_gateway_lets_nothing_out(gateways: Scene, daemon: Daemons, tmp_path: Path) -> None:
    a_killed_daemon(gateways, FLOWS, daemon, tmp_path)


def test_a_too_large_packet_is_answered_with_the_mtu(
    gateways: Scene, daemon: Daemons, tmp_path: Path
) -> None:
    with gateways.listening(FLOWS) as captured:
        daemons = gateways.start(daemon, tmp_path, FLOWS)
        mtu = json.loads(daemons[0].sallet("status", "--json").stdout)["attachment"]["device_mtu"]
        for near, far in gateways.ends(FLOWS):
            head = 48 if ":" in near.address else 28
            near.ping(far, mtu - head)
            assert near.path_mtu(far) == far.path_mtu(near) == LINK_MTU
            ping_until_the_path_is_known(near, far, mtu - head + 1)
            assert near.path_mtu(far) == mtu
            if ":" in near.address:  # IPv4 may cut an echo reply on its way.
                assert far.path_mtu(near) == mtu
            near.exchange_datagrams(far, count=3, size=4000)
        assert [each.stop() for each in daemons] == [0, 0]
    assert captured[0].in_clear() == []
