"""A daemon leaves a namespace as it found it: links, rules, routes, nft ruleset and settings.

Nothing about packets may enter.
Answers to: design "host mode", Names; `make test-cleanup`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from interop.stations import quiet
from netns import DaemonProcess, Lab, Namespace, environment, wait_until

pytestmark = pytest.mark.netns

POLICIES = """
spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require ;
spdadd 10.0.0.2 10.0.0.1 any -P in ipsec esp/transport//require ;
spdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/10.0.0.1-10.0.0.2/require ;
spdadd fd01::/32 fd02::/32 any -P out discard ;
"""


FLAPS = int(os.environ.get("SALLET_FLAPS", "200"))
"""A device comes and goes so often."""
MOMENTS = 7
"""At so many moments of a start it is ended."""
FOREIGN = """
table inet sallet_0123456789ab {
	chain input { type filter hook input priority 7; }
}
table ip other {
	chain forward { type filter hook forward priority 0; ip saddr 10.9.0.0/16 drop; }
}
"""
"""What others have in the packet filter; one table has a name as ours might be, of another run directory."""


@pytest.fixture
def pair(lab: Lab) -> tuple[Namespace, Namespace]:
    """Two linked namespaces with rp_filter strict as distributions have it, and with things of others."""
    near, far = lab.namespace("near"), lab.namespace("far")
    for namespace in (near, far):
        quiet(namespace)
    lab.link(near, "e0", far, "e0")
    for namespace, number in ((near, 1), (far, 2)):
        lab.address(namespace, "e0", f"10.0.0.{number}/24", f"fd00::{number}/64")
        namespace.run("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done")
        namespace.run("nft", "-f", "-", input=FOREIGN)
        for family in ("-4", "-6"):
            namespace.ip(family, "rule", "add", "fwmark", "5", "lookup", "77", "priority", "530")
            namespace.ip(family, "route", "add", "default", "dev", "e0", "table", "77")
        settled = partial(_is_settled, namespace)
        assert wait_until(settled)
    return near, far


def _is_settled(namespace: Namespace) -> bool:
    return "tentative" not in namespace.ip("-6", "address") and "fe80" in namespace.ip("-6", "route")


@pytest.fixture
def host(pair: tuple[Namespace, Namespace]) -> Namespace:
    """One of the two."""
    return pair[0]


def snapshot(namespace: Namespace) -> dict[str, list[str]]:
    """Read everything that a daemon could leave behind."""
    # A few settings are for their owner's eyes only (stable_secret), or for writing only (flush).
    settings = "cd /proc/sys/net; grep -rHs . ipv4 ipv6 core netfilter | sort; true"
    commands = {
        "links": "ip -d link",
        "addresses": "ip address",
        "rules": "ip rule; ip -6 rule",
        "routes": "ip route show table all; ip -6 route show table all",
        "nft": "nft list ruleset",
        "settings": settings,
    }
    return {
        name: sorted(namespace.run("sh", "-c", text).stdout.splitlines()) for name, text in commands.items()
    }


@pytest.fixture
def setkey_file(tmp_path: Path) -> Path:
    path = tmp_path / "policies.conf"
    path.write_text(POLICIES)
    return path


@pytest.mark.parametrize("mode", ["host", "gateway"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_leaves_nothing(
    host: Namespace,
    daemon: Callable[..., DaemonProcess],
    setkey_file: Path,
    mode: str,
    number: signal.Signals,
) -> None:
    before = snapshot(host)
    running = daemon(host, "--mode", mode, "--setkey", setkey_file)
    during = snapshot(host)
    assert all(during[part] != before[part] for part in ("links", "rules", "routes", "nft", "settings"))
    assert running.stop(number) == 0
    assert snapshot(host) == before
    assert sorted(path.name for path in running.run_dir.iterdir()) == ["daemon.lock"]


@pytest.mark.parametrize("following", ["host", "gateway"])
@pytest.mark.parametrize("mode", ["host", "gateway"])
def test_a_second_start_takes_over_what_a_killed_one_left(
    host: Namespace,
    daemon: Callable[..., DaemonProcess],
    setkey_file: Path,
    tmp_path: Path,
    mode: str,
    following: str,
) -> None:
    before, run_dir = snapshot(host), tmp_path / "run"
    first = daemon(host, "--mode", mode, "--setkey", setkey_file, run_dir=run_dir)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    left = snapshot(host)
    assert left["nft"] != before["nft"], "the guard outlives a killed daemon"
    assert left["rules"] != before["rules"]
    second = daemon(host, "--mode", following, run_dir=run_dir)
    assert second.stop() == 0
    assert snapshot(host) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_start_may_be_cut_short_at_any_moment(
    host: Namespace,
    daemon: Callable[..., DaemonProcess],
    setkey_file: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    before, run_dir = snapshot(host), tmp_path / "run"
    begin = time.monotonic()
    daemon(host, "--mode", "host", "--setkey", setkey_file, run_dir=run_dir).stop()
    whole = time.monotonic() - begin
    for part in range(1, MOMENTS + 1):
        up = (sys.executable, "-m", "sallet.cli.main", "up", "--run-dir", run_dir, "--setkey", setkey_file)
        starting = host.start(*up, env=environment())
        time.sleep(whole * part / MOMENTS)
        starting.send_signal(number)
        assert starting.wait(20) in (0, -number)
        if number == signal.SIGKILL:
            daemon(host, "--mode", "host", run_dir=run_dir).stop()
        assert snapshot(host) == before, f"ended after {part} of {MOMENTS} parts of a start"


def test_two_daemons_in_two_namespaces_know_nothing_of_each_other(
    pair: tuple[Namespace, Namespace], daemon: Callable[..., DaemonProcess], setkey_file: Path
) -> None:
    before = [snapshot(namespace) for namespace in pair]
    near = daemon(pair[0], "--mode", "host", "--setkey", setkey_file)
    alone = snapshot(pair[0])
    far = daemon(pair[1], "--mode", "gateway", "--setkey", setkey_file)
    both = snapshot(pair[1])
    assert snapshot(pair[0]) == alone
    assert near.stop(signal.SIGKILL) == -signal.SIGKILL
    again = daemon(pair[0], "--mode", "host", run_dir=near.run_dir)
    assert snapshot(pair[1]) == both
    assert far.stop() == 0
    assert "mode host" in again.sallet("status").stdout
    assert snapshot(pair[1]) == before[1]
    assert again.stop() == 0
    assert snapshot(pair[0]) == before[0]


def test_a_start_that_fails_leaves_nothing(
    host: Namespace, daemon: Callable[..., DaemonProcess], setkey_file: Path, tmp_path: Path
) -> None:
    host.ip("link", "add", "sallet0", "type", "veth", "peer", "name", "peer0")
    before = snapshot(host)
    daemon(host, "--mode", "host", "--device", "other0").stop()  # The fixture's needs are met.
    up = (
        sys.executable,
        "-m",
        "sallet.cli.main",
        "up",
        "--run-dir",
        tmp_path / "run",
        "--setkey",
        setkey_file,
    )
    done = host.run(*up, check=False, env=environment())
    assert done.returncode == 1
    assert "sallet0" in done.stderr
    assert "--device" in done.stderr
    assert snapshot(host) == before


def test_one_daemon_in_a_namespace(
    host: Namespace, daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    running = daemon(host, "--mode", "host")
    during = snapshot(host)
    up = (sys.executable, "-m", "sallet.cli.main", "up", "--run-dir")
    other = host.run(*up, tmp_path / "other", "--device", "other0", check=False, env=environment())
    assert other.returncode == 1
    assert "another sallet daemon" in other.stderr
    same = host.run(*up, running.run_dir, "--device", "other0", check=False, env=environment())
    assert same.returncode == 1
    assert "in this directory" in same.stderr
    embedded = daemon(host, "--mode", "embedded", run_dir=tmp_path / "embedded")
    assert embedded.stop() == 0
    assert snapshot(host) == during
    assert "mode host" in running.sallet("status").stdout
    assert running.stop() == 0


@pytest.mark.bug_row(41)
def test_a_device_that_comes_and_goes_takes_nothing_with_it(
    host: Namespace, daemon: Callable[..., DaemonProcess], setkey_file: Path
) -> None:
    """Row 41: a link comes up and goes many times (SALLET_FLAPS); SAs, policies and descriptors stay."""
    text = f"add 10.0.0.1 10.0.0.2 esp 0x1001 -E aes-cbc 0x{7:032x} -A hmac-sha256 0x{7:064x};\n"
    setkey_file.write_text(POLICIES + text)
    running = daemon(host, "--mode", "host", "--setkey", setkey_file)

    def books() -> tuple[int, int, int]:
        """Count descriptors, SAs and policies."""
        descriptors = len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))
        associations = running.sallet("setkey", "-D").stdout.count("\tesp mode=")
        return descriptors, associations, running.sallet("setkey", "-D", "-P").stdout.count("\tspid=")

    before = books()
    assert before[1:] == (1, 5)
    flap = [
        "link add flap type veth peer name flop",
        "link set flap up",
        "address add 10.0.0.77/24 dev flap",
        "link del flap",
    ]
    host.run("ip", "-batch", "-", input="\n".join(flap * FLAPS) + "\n", timeout=100)
    assert books() == before
    assert running.stop() == 0
