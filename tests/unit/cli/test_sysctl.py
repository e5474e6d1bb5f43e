"""`sallet sysctl`: values by the manuals' names, and NetBSD's databases by theirs.

Answers to: sallet.cli.sysctl, sallet.control.variables; sysctl(8).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sallet import _core
from sallet.cli.main import main
from sallet.client import PfkeyClient
from sallet.control import protocol, variables
from sallet.control.server import ControlServer
from sallet.control.variables import WRITES, Variables
from sallet.failure import Failure
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.messages import Address, Key, Message, Policy, Sa
from sallet.pfkey.rights import Rights
from sallet.sysctl.personalities import NETBSD, PERSONALITIES, SALLET
from unit.daemon_process import daemon

KEY = bytes(range(100, 120))
ENDS: dict[Ext, Any] = {
    Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
    Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
}


@pytest.fixture(scope="module")
def netbsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    run_dir = tmp_path_factory.mktemp("netbsd") / "run"
    with daemon(run_dir, "--personality", "netbsd"):
        with PfkeyClient(run_dir, "netbsd") as client:
            extensions = {Ext.SA: Sa(0x1234, auth=3), **ENDS, Ext.KEY_AUTH: Key(160, KEY)}
            client.request(Message(Msg.ADD, 2, extensions=extensions))
            client.request(Message(Msg.X_SPDADD, extensions={**ENDS, Ext.X_POLICY: Policy(0, 2)}))
        yield run_dir


def shown(run_dir: Path, capsys: Any, *words: str) -> str:
    assert main(["--run-dir", str(run_dir), "sysctl", *words]) == 0
    out: str = capsys.readouterr().out
    return out


def test_values_are_shown_and_set(netbsd: Path, capsys: Any) -> None:
    name = "net.key.prefered_oldsa"
    assert shown(netbsd, capsys, name) == f"{name}: 0\n"
    assert shown(netbsd, capsys, "-w", f"{name}=1") == f"{name}: 0 -> 1\n"
    assert shown(netbsd, capsys, "-n", name) == "1\n"
    assert json.loads(shown(netbsd, capsys, "--json", name))["value"] == 1
    listed = shown(netbsd, capsys, "-a").splitlines()
    assert f"{name}: 1" in listed
    assert "oldest" in shown(netbsd, capsys, "-d", name)
    assert main(["--run-dir", str(netbsd), "sysctl", f"{name}=7"]) == 2
    assert main(["--run-dir", str(netbsd), "sysctl", "net.nothing"]) == 2
    assert main(["--run-dir", str(netbsd), "sysctl"]) == 2
    assert main(["--run-dir", str(netbsd), "sysctl", "-w", name]) == 2


def test_netbsd_shows_its_databases(netbsd: Path, capsys: Any) -> None:
    found = shown(netbsd, capsys, "net.key.dumpsa")
    assert found.startswith("192.0.2.1 192.0.2.2")
    assert "spi=4660(0x00001234)" in found
    assert KEY.hex()[:8] not in found.replace(" ", "")
    assert "192.0.2.1" in shown(netbsd, capsys, "net.key.dumpsp")
    assert main(["--run-dir", str(netbsd), "sysctl", "net.key.dumpsa=1"]) == 4


@pytest.mark.parametrize("name", sorted(PERSONALITIES))
def test_only_netbsd_has_them(name: str) -> None:
    methods = Variables(_core.Engine(), PERSONALITIES[name])
    if name == "netbsd":
        assert methods.read("net.key.dumpsa")["messages"] == []
        return
    with pytest.raises(Failure):
        methods.read("net.key.dumpsa")


def test_a_buffer_that_is_too_small_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _core.Engine()
    for port in (1, 2):
        selector = _core.Selector("10.0.0.0/8", "10.1.0.0/16", 17, (0, 65535), (port, port))
        engine.spd_add(_core.PolicyParams("out", selector, "bypass"))
    monkeypatch.setattr(variables, "DUMPED_ENTRIES_MAX", 1)
    with pytest.raises(Failure, match="too large") as caught:
        Variables(engine, NETBSD).read("net.key.dumpsp")
    assert caught.value.next_step


def test_who_may_only_read_sets_nothing() -> None:
    engine = _core.Engine()
    server = ControlServer(Variables(engine, SALLET).table(), writes=WRITES)
    request = protocol.Request(1, "sysctl.write", {"name": "net.key.larval_lifetime", "value": "9"})
    line = protocol.encode_request(request)
    reply = server.answer(line, Rights(read=True))
    assert reply.refusal is not None
    assert reply.refusal.kind == "permission"
    assert engine.config()["larval_secs"] != 9
    assert server.answer(line, Rights(write=True)).refusal is None
    assert engine.config()["larval_secs"] == 9
