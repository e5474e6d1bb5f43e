"""Nothing that policy protects leaves or enters in clear, whatever happens to the daemon.

No cryptography is looked at here: only what a listener at the other end of the wire counts.
Answers to: design "host mode": fail closed, loopback, built-in bypass, `def_policy`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from netns import DaemonProcess, Lab, Namespace

pytestmark = pytest.mark.netns

REQUIRE = """
spdadd 10.0.0.1 10.0.0.2 icmp -P out ipsec esp/transport//require ;
spdadd 10.0.0.2 10.0.0.1 icmp -P in ipsec esp/transport//require ;
spdadd fd00::1 fd00::2 any -P out ipsec esp/transport//require ;
spdadd fd00::2 fd00::1 any -P in ipsec esp/transport//require ;
"""
COUNT = """
table inet listener {
	counter clear { }
	counter unreachable { }
	chain listen {
		type filter hook prerouting priority -300;
		icmp type { echo-request, echo-reply } counter name "clear"
		icmpv6 type { echo-request, echo-reply } counter name "clear"
		icmp type destination-unreachable counter name "unreachable"
		icmpv6 type { destination-unreachable, parameter-problem } counter name "unreachable"
	}
}
"""
SEND_IPSEC = """
import socket
for family, to in ((socket.AF_INET, '10.0.0.1'), (socket.AF_INET6, 'fd00::1')):
    for protocol in (50, 51, 108):
        socket.socket(family, socket.SOCK_RAW, protocol).sendto(bytes(64), (to, 0))
    socket.socket(family, socket.SOCK_DGRAM).sendto(bytes(64), (to, 4500))
"""


@pytest.fixture
def pair(lab: Lab) -> tuple[Namespace, Namespace]:
    """A host for the daemon, and a neighbour without one that counts what it hears."""
    near, far = lab.namespace("near"), lab.namespace("far")
    lab.link(near, "e0", far, "e0")
    lab.address(near, "e0", "10.0.0.1/24", "fd00::1/64")
    lab.address(far, "e0", "10.0.0.2/24", "fd00::2/64")
    far.run("nft", "-f", "-", input=COUNT)
    return near, far


@pytest.fixture
def setkey_file(tmp_path: Path) -> Path:
    path = tmp_path / "require.conf"
    path.write_text(REQUIRE)
    return path


def heard(namespace: Namespace, name: str) -> int:
    found = json.loads(namespace.run("nft", "-j", "list", "counter", "inet", "listener", name).stdout)
    return int(found["nftables"][1]["counter"]["packets"])


def ping(namespace: Namespace, address: str) -> bool:
    done = namespace.run("ping", "-c", "2", "-i", "0.1", "-W", "1", address, check=False)
    return done.returncode == 0


def guard_drops(daemon: DaemonProcess) -> dict[str, int]:
    document = json.loads(daemon.sallet("drops", "--json").stdout)
    assert document["schema"] == "sallet.drops/1"
    return {row["reason"]: row["packets"] for row in document["guard"]}


def test_a_killed_daemon_lets_nothing_out_or_in(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], setkey_file: Path, tmp_path: Path
) -> None:
    near, far = pair
    assert ping(near, "10.0.0.2")
    assert ping(near, "fd00::2")
    before = heard(far, "clear")
    running = daemon(near, "--mode", "host", "--setkey", setkey_file, run_dir=tmp_path / "run")
    addresses = ("10.0.0.2", "fd00::2")
    assert not any(ping(near, address) for address in addresses), "no SA, no packet"
    assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    assert not any(ping(near, address) for address in addresses), "no daemon, no packet"
    assert heard(far, "clear") == before
    assert not any(ping(far, address) for address in ("10.0.0.1", "fd00::1")), "nothing enters in clear"
    again = daemon(near, "--mode", "host", run_dir=tmp_path / "run")
    assert again.stop() == 0
    assert ping(near, "10.0.0.2")


def test_clear_arrivals_are_dropped_and_counted(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], setkey_file: Path
) -> None:
    near, far = pair
    running = daemon(near, "--mode", "host", "--setkey", setkey_file)
    assert not ping(far, "10.0.0.1")
    assert guard_drops(running)["InPolicyViolation"] == 2
    assert not ping(far, "fd00::1")
    assert guard_drops(running)["InPolicyViolation"] == 4
    # A change of the SPD swaps the table, and the counters stay.
    change = "spddelete 10.0.0.2 10.0.0.1 icmp -P in ;"
    running.sallet("setkey", "-c", input=change)
    assert guard_drops(running)["InPolicyViolation"] == 4
    assert "10.0.0.2 ip daddr 10.0.0.1 meta l4proto icmp" not in near.run("nft", "list", "ruleset").stdout


def test_a_protocol_without_a_daemon_gets_no_answer(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], setkey_file: Path
) -> None:
    near, far = pair
    far.run("python3", "-c", SEND_IPSEC)
    assert heard(far, "unreachable") > 0, "without a guard the kernel does answer"
    before = heard(far, "unreachable")
    running = daemon(near, "--mode", "host", "--setkey", setkey_file, "--udp-port", "4500")
    far.run("python3", "-c", SEND_IPSEC)
    assert guard_drops(running)["NoDaemon"] == 0
    running.stop(signal.SIGKILL)
    far.run("python3", "-c", SEND_IPSEC)
    counters = near.run("nft", "list", "counters").stdout
    assert "counter NoDaemon {\n\t\tpackets 8" in counters, counters
    assert heard(far, "unreachable") == before


@pytest.mark.parametrize("mode", ["host", "gateway"])
def test_while_a_daemon_ends_there_is_no_answer_either(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], mode: str
) -> None:
    # A dying daemon's descriptors are closed one after the other: for a moment the device is there and the
    # sockets are not. The moment is made to last by a device of the same name.
    near, far = pair
    # No policy is about the two ends themselves, as it is with tunnels.
    running = daemon(near, "--mode", mode, "--udp-port", "4500")
    table = json.loads(running.sallet("status", "--json").stdout)["attachment"]["routing_tables"][0]
    running.stop(signal.SIGKILL)
    near.ip("link", "add", "sallet0", "type", "veth", "peer", "name", "peer0")
    for name in ("sallet0", "peer0"):
        near.ip("link", "set", name, "up")
    for family in ("-4", "-6"):
        near.ip(family, "route", "add", "default", "dev", "sallet0", "table", str(table), "metric", "10")
    before = heard(far, "unreachable")
    far.run("python3", "-c", SEND_IPSEC)
    assert "counter NoDaemon {\n\t\tpackets 8" in near.run("nft", "list", "counters").stdout
    assert heard(far, "unreachable") == before


def test_loopback_is_judged(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    near, _ = pair
    path = tmp_path / "loopback.conf"
    path.write_text(
        "spdadd 127.0.0.9 127.0.0.9 any -P out discard ;\n"
        "spdadd 10.0.0.1 10.0.0.1 any -P out ipsec esp/transport//require ;\n"
    )
    running = daemon(near, "--mode", "host", "--setkey", path)
    assert ping(near, "127.0.0.1")
    assert not ping(near, "10.0.0.1")
    assert near.run("ping", "-c1", "-W1", "-I", "127.0.0.9", "127.0.0.9", check=False).returncode != 0
    drops = guard_drops(running)
    assert drops["OutNotProtected"] >= 2
    assert drops["OutPolicyDiscard"] >= 1


@pytest.mark.parametrize("mode", ["host", "gateway"])
def test_the_default_policy_discards_both_ways(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], tmp_path: Path, mode: str
) -> None:
    near, far = pair
    path = tmp_path / "some.conf"
    path.write_text(
        "spdadd 10.0.0.1 10.0.0.2 icmp -P out none ;\n" + "spdadd 10.0.0.2 10.0.0.1 icmp -P in none ;\n"
    )
    arguments = ("--mode", mode, "--setkey", path, "--sysctl", "net.inet.ipsec.def_policy=0")
    running = daemon(near, *arguments)
    assert "default policy discard" in running.sallet("status").stdout
    assert "neighbour discovery" in running.sallet("status").stdout
    assert ping(near, "10.0.0.2"), "an entry says none"
    before = heard(far, "clear")
    assert not ping(near, "fd00::2")
    assert heard(far, "clear") == before
    assert not ping(far, "fd00::1")
    assert guard_drops(running)["InNoPolicy"] >= 2
    assert running.stop() == 0
    assert ping(near, "fd00::2")
