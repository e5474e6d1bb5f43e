"""A daemon leaves a namespace as it found it: links, rules, routes, nft ruleset and settings.

Nothing about packets may enter.
Answers to: design "host mode", Names; `make test-cleanup`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netns import DaemonProcess, Lab, Namespace, environment, wait_until

pytestmark = pytest.mark.netns

POLICIES = """
spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require ;
spdadd 10.0.0.2 10.0.0.1 any -P in ipsec esp/transport//require ;
spdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/10.0.0.1-10.0.0.2/require ;
spdadd fd01::/32 fd02::/32 any -P out discard ;
"""


@pytest.fixture
def host(lab: Lab) -> Namespace:
    """A namespace with a link, addresses, and rp_filter strict as distributions have it."""
    near, far = lab.namespace("near"), lab.namespace("far")
    lab.link(near, "e0", far, "e0")
    lab.address(near, "e0", "10.0.0.1/24", "fd00::1/64")
    near.run("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done")
    assert wait_until(
        lambda: "tentative" not in near.ip("-6", "address") and "fe80" in near.ip("-6", "route")
    )
    return near


def snapshot(namespace: Namespace) -> dict[str, list[str]]:
    """Read everything that a daemon could leave behind."""
    settings = "grep -H . /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/ip_forward"
    commands = {
        "links": "ip -brief link",
        "addresses": "ip -brief address",
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


@pytest.mark.parametrize("mode", ["host", "gateway"])
def test_a_second_start_takes_over_what_a_killed_one_left(
    host: Namespace, daemon: Callable[..., DaemonProcess], setkey_file: Path, tmp_path: Path, mode: str
) -> None:
    before, run_dir = snapshot(host), tmp_path / "run"
    first = daemon(host, "--mode", mode, "--setkey", setkey_file, run_dir=run_dir)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    left = snapshot(host)
    assert left["nft"] != before["nft"], "the guard outlives a killed daemon"
    assert left["rules"] != before["rules"]
    # The other mode, so that taking over is more than doing the same once more.
    second = daemon(host, "--mode", "gateway" if mode == "host" else "host", run_dir=run_dir)
    assert second.stop() == 0
    assert snapshot(host) == before


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
