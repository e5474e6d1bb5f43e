"""Every personality changes what a daemon does: its defaults, its sysctl names, what its own socket speaks.

Answers to: sallet.sysctl.personalities; `ipsec(4)` of QNX, NetBSD 7.1 and FreeBSD 12.
"""

from __future__ import annotations

import errno
import logging
import socket
from pathlib import Path

import pytest

from sallet import ConfigurationError, Engine, configure, udp_packet
from sallet.cli import diagnostics
from sallet.cli.main import main
from sallet.client import ControlClient, PfkeyClient
from sallet.failure import Failure
from sallet.lang.forms import FORMS
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Message, Sa
from sallet.sysctl import mib
from sallet.sysctl.personalities import PERSONALITIES
from unit.daemon_process import daemon

HERE, THERE = "192.0.2.1", "192.0.2.2"
NOTHING = f"add {HERE} {THERE} esp {{}} -E null -A null;\n"
WARNING = "an SA neither encrypts nor notices changes: it protects nothing"
OTHERS = [name for name in PERSONALITIES if name != "sallet"]

EXPECTED = {
    # name: dialect, dfbit, oldest SA first, spelling of the latter, without any protection
    "sallet": ("sallet", "copy", False, "net.key.preferred_oldsa", False),
    "qnx": ("kame", "clear", True, "net.key.preferred_oldsa", True),
    "netbsd": ("netbsd", "copy", False, "net.key.prefered_oldsa", True),
    "freebsd": ("freebsd", "clear", True, "net.key.preferred_oldsa", True),
}


@pytest.mark.parametrize("name", PERSONALITIES)
def test_the_defaults_are_those_of_the_manual(name: str) -> None:
    row, engine = PERSONALITIES[name], Engine()
    row.apply(engine)
    config = engine.config()
    dialect, df, oldest, spelling, unprotected = EXPECTED[name]
    assert (row.dialect, FORMS[row.form].dialect) == (dialect, dialect)
    assert (config["df"], config["prefer_old_sa"], config["allow_unprotected"]) == (df, oldest, unprotected)
    assert mib.read(engine, spelling, row.variables) == int(oldest)
    assert {config[level] for level in config if level.endswith("_level")} == {"use"}


def test_every_row_names_the_same_settings_and_no_two_rows_are_one() -> None:
    rows = list(PERSONALITIES.values())
    assert len({frozenset(row.settings) for row in rows}) == 1
    assert len({(row.dialect, row.form, str(row.settings), str(row.variables)) for row in rows}) == len(rows)
    engine = Engine()
    for row in rows:
        row.apply(engine)
    PERSONALITIES["sallet"].apply(engine)
    # Only a daemon has somebody whom packets may wait for.
    assert engine.config() == Engine(configuration={"hold_packets": 5}).config()


@pytest.mark.parametrize("name", PERSONALITIES)
def test_every_sysctl_name_that_a_system_has_sets_something(name: str) -> None:
    variables = PERSONALITIES[name].variables
    for word, variable in variables.items():
        engine = Engine()
        for number in variable.words or (variable.low, variable.low + 77):
            mib.write(engine, word, str(number), variables)
            expected = (variable.words or {}).get(number, number)
            assert engine.config()[variable.setting] == expected
            assert (variable.words or {}).get(read := mib.read(engine, word, variables), read) == expected


def test_names_of_other_systems_are_refused_with_the_list() -> None:
    for name, word, known in (
        ("qnx", "net.key.prefered_oldsa", "net.key.preferred_oldsa"),
        ("netbsd", "net.key.preferred_oldsa", "net.key.prefered_oldsa"),
        ("netbsd", "net.inet.ah.ah_cleartos", "net.inet.ah.cleartos"),
        ("freebsd", "net.inet.esp.trans_deflev", "net.inet6.ipsec6.def_policy"),
    ):
        with pytest.raises(Failure) as caught:
            mib.write(Engine(), word, "1", PERSONALITIES[name].variables)
        assert known in (caught.value.next_step or "")


def test_freebsd_measures_the_whole_packet_before_it_compresses() -> None:
    for name, bytes_in_all, compressed in (("freebsd", 90, 0), ("freebsd", 91, 1), ("netbsd", 110, 1)):
        engine = Engine(clock="manual")
        configure(
            engine,
            f"add {HERE} {THERE} ipcomp 0x1000 -C deflate;"
            f"spdadd {HERE} {THERE} any -P out ipsec ipcomp/transport//require;",
            personality=name,
        )
        engine.outbound(udp_packet(HERE, THERE, 1, 2, bytes(bytes_in_all - 28)))
        assert engine.stats().passed["ipcomp_compressed"][0] == compressed, (name, bytes_in_all)


def test_dfbit_1_of_qnx_follows_the_inner_header_as_its_page_says() -> None:
    engine = Engine()
    for name, expected in (("qnx", "copy"), ("sallet", "set")):
        mib.write(engine, "net.inet.ipsec.dfbit", "1", PERSONALITIES[name].variables)
        assert engine.config()["df"] == expected


# In this process.


def test_an_sa_that_protects_nothing_is_refused_by_sallet_alone(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    with pytest.raises(ConfigurationError) as caught:
        configure(engine, NOTHING.format(0x1000), personality="sallet")
    assert (caught.value.errno, engine.sad_dump()) == (errno.EINVAL, [])
    for name in OTHERS:
        engine = Engine()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            configure(engine, NOTHING.format(0x1000) + NOTHING.format(0x1001), personality=name)
        assert [view.spi for view in engine.sad_dump()] == [0x1000, 0x1001]
        assert [record.getMessage() for record in caplog.records] == [WARNING]


def test_a_rule_without_a_level_is_unique_on_qnx_as_its_page_says() -> None:
    for name in PERSONALITIES:
        engine = Engine()
        configure(engine, f"spdadd {HERE} {THERE} any -P out ipsec esp/transport;", personality=name)
        (template,) = engine.spd_dump()[0].templates
        assert (template.level, template.reqid > 16383) == (
            ("unique", True) if name == "qnx" else ("default", False)
        )


def test_without_a_personality_the_settings_stay() -> None:
    engine = Engine(configuration={"allow_unprotected": True})
    configure(engine, NOTHING.format(0x1000))
    assert len(engine.sad_dump()) == 1
    with pytest.raises(ValueError, match="qnx"):
        configure(engine, "", personality="plan9")


# The daemon.


@pytest.mark.parametrize("name", PERSONALITIES)
def test_the_daemon_speaks_warns_and_refuses_as_the_personality(name: str, tmp_path: Path) -> None:
    run_dir, form = tmp_path / "run", PERSONALITIES[name].form
    dialect = DIALECTS[EXPECTED[name][0]]
    text = f"spdadd {HERE} {THERE} any -P out ipsec esp/transport;"
    (tmp_path / "a.setkey").write_text(text + (NOTHING.format(0x1000) if name != "sallet" else ""))
    with daemon(run_dir, "--personality", name, "--setkey", str(tmp_path / "a.setkey")) as started:
        assert started.ready.startswith("sallet: ready")
        for other in DIALECTS:
            assert (run_dir / f"pfkey.{other}.sock").is_socket()
        with ControlClient(run_dir) as control:
            status = control.call("status")
        assert (status["personality"], status["dialect"]) == (name, dialect.name)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
            own.settimeout(10)
            own.connect(str(run_dir / "pfkey.sock"))
            own.send(codec.encode(Message(SadbMsgType.X_SPDDUMP), dialect))
            entry = codec.decode(own.recv(1 << 16), dialect)
            assert SadbExtType.X_POLICY in entry.extensions
        with PfkeyClient(run_dir, FORMS[form].dialect) as client:
            for spi in (0x2000, 0x2001):
                extensions = dict(entry.extensions)
                asked = {
                    kind: extensions[kind] for kind in (SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST)
                }
                sa = Sa(spi, auth=dialect.auth_numbers["null-auth"], encrypt=dialect.encrypt_numbers["null"])
                message = Message(SadbMsgType.ADD, 3, extensions={SadbExtType.SA: sa, **asked})
                reply = client.request(message, check=False)
                assert reply.errno == (errno.EINVAL if name == "sallet" else 0)
    assert started.process.returncode == 0
    assert started.errors.count(WARNING) == (name != "sallet")


def test_status_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(tmp_path / "run", "--personality", "qnx"):
        monkeypatch.setenv("SALLET_RUN_DIR", str(tmp_path / "run"))
        assert main(["status"]) == 0
    text = capsys.readouterr().out
    assert "personality qnx" in text
    assert "pfkey.sock speaks kame" in text


def test_an_unknown_personality_is_a_usage_error_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("plan9", "solaris"):
        with pytest.raises(SystemExit) as caught:
            main(["up", "--personality", word])
        assert caught.value.code == diagnostics.USAGE
        said = capsys.readouterr().err
        assert all(name in said for name in PERSONALITIES)


def test_completion_knows_them(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert f"up___personality_choices=({' '.join(PERSONALITIES)})" in script
