"""Quirks: off unless asked for, each in its own dialect, and shown.

Answers to: sallet.pfkey.quirks; RFC 4868 and the truncation of draft-ietf-ipsec-ciph-sha-256-00.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sallet import _core
from sallet.cli import diagnostics
from sallet.cli.main import main
from sallet.client import ControlClient, PfkeyClient
from sallet.lang.setkey import parse
from sallet.lang.setkey_messages import plan
from sallet.pfkey import quirks
from sallet.pfkey.changes import Changes
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Message, Sa
from unit.daemon_process import daemon
from unit.one_sa import HERE, PACKET, THERE

SHA256 = f"-A hmac-sha256 0x{'5a' * 32}"
TEXT = f"add {HERE} {THERE} esp 0x1000 -m transport -E null {SHA256};"
POLICY = f"spdadd {HERE} {THERE} any -P {{}} ipsec esp/transport//require;"


def applied(text: str, dialect: str, *names: str) -> Handlers:
    engine = _core.Engine()
    handlers = Handlers(engine, quirks.dialects(names)[dialect], Changes(engine))
    for order in plan(parse(text, filename="x", form=dialect), dialect, dialect):
        assert [reply.errno for reply in handlers.handle(order.message)] == [0]
    return handlers


def test_without_a_quirk_every_dialect_is_its_row() -> None:
    assert quirks.dialects([]) == dict(DIALECTS)
    with pytest.raises(KeyError):
        quirks.dialects(["nonsense"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_number_5_is_truncated_in_linux_alone(dialect: str) -> None:
    (view,) = applied(TEXT, dialect, "sha256-96").engine.sad_dump()
    expected = "hmac-sha2-256-96" if dialect == "linux" else "hmac-sha2-256-128"
    assert view.authentication is not None
    assert view.authentication[0] == expected


def test_the_icv_is_of_12_octets_and_the_number_stays_5(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sender = applied(TEXT + TEXT.replace("0x1000", "0x1001") + POLICY.format("out"), "linux", "sha256-96")
    assert [record.getMessage() for record in caplog.records] == [
        "hmac-sha2-256-96 is for peers that know nothing better"
    ]
    sent = sender.engine.outbound(PACKET).packet
    plain = applied(TEXT + POLICY.format("out"), "linux").engine.outbound(PACKET).packet
    assert sent is not None
    assert plain is not None
    assert len(plain) - len(sent) == 4
    receiver = applied(TEXT.replace("0x1000", "0x1001") + POLICY.format("in"), "linux", "sha256-96")
    assert receiver.engine.inbound(plain).delivered == []
    (got,) = receiver.engine.inbound(sent).delivered
    assert got[20:] == PACKET[20:]
    for reply in sender.handle(Message(SadbMsgType.DUMP)):
        sa = reply.extensions[SadbExtType.SA]
        assert isinstance(sa, Sa)
        assert (sa.auth, SadbExtType.KEY_AUTH in reply.extensions) == (5, True)


def test_the_daemon_knows_it_and_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    with daemon(run_dir, "--quirk", "sha256-96", "--quirk", "sha256-96") as started:
        for dialect in ("linux", "kame"):
            text = TEXT.replace("0x1000", "0x1001") if dialect == "kame" else TEXT
            (order,) = plan(parse(text, filename="x", form=dialect), dialect, dialect)
            with PfkeyClient(run_dir, dialect) as client:
                client.request(order.message)
        with ControlClient(run_dir) as control:
            assert control.call("status")["quirks"] == ["sha256-96"]
            found = [sa["authentication"]["algorithm"] for sa in control.call("sa.list")["sas"]]
        assert found == ["hmac-sha2-256-96", "hmac-sha2-256-128"]
        monkeypatch.setenv("SALLET_RUN_DIR", str(run_dir))
        assert main(["status"]) == 0
    assert "quirks: sha256-96" in capsys.readouterr().out
    assert started.errors.count("hmac-sha2-256-96 is for peers that know nothing better") == 1


def test_an_unknown_quirk_is_a_usage_error_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["up", "--quirk", "nonsense"])
    assert caught.value.code == diagnostics.USAGE
    assert "sha256-96" in capsys.readouterr().err
