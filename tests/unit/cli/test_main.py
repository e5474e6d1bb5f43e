"""The command line: verbs are found late, failures have words and numbers, nothing prints a traceback.

Answers to: sallet.cli.main, diagnostics and the read verbs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sallet.cli import diagnostics, explain, tables, up
from sallet.cli.main import VERBS, main, parser_for
from sallet.failure import KINDS, Failure


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SALLET_RUN_DIR", str(tmp_path / "nobody"))
    monkeypatch.setenv("SALLET_DEBUG", "")


def test_every_kind_of_failure_has_its_own_exit_code() -> None:
    assert sorted(diagnostics.EXIT_CODES[kind] for kind in KINDS) == [1, 2, 3, 4, 5, 6]


def test_no_daemon_is_exit_5(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["status"],
        ["sa", "ls", "--json"],
        ["policy", "ls"],
        ["drops"],
        ["explain", "10.0.0.1", "10.0.0.2"],
    ):
        assert main(words) == diagnostics.UNREACHABLE
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "nobody/control.sock" in captured.err
        assert "next: start one with `sallet up`" in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        [],
        ["explain", "10.0.0.0/8", "10.0.0.1"],
        ["explain", "10.0.0.1", "10.0.0.2", "nothing"],
        ["explain", "10.0.0.1", "10.0.0.2", "tcp", "70000"],
        ["explain", "10.0.0.1", "10.0.0.2", "icmp", "8:300"],
    ],
)
def test_usage_is_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == diagnostics.USAGE
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["sa"],
        ["up", "--mode", "no"],
        ["up", "--udp-port", "0"],
        ["up", "--device", "a b"],
        ["up", "--sysctl", "x"],
    ],
)
def test_the_parser_says_usage_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == diagnostics.USAGE
    assert "usage: sallet" in capsys.readouterr().err


def test_an_unexpected_error_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("inner")

    monkeypatch.setattr(tables, "ask", broken)
    assert main(["status"]) == diagnostics.FAILED
    captured = capsys.readouterr().err
    assert "an error in sallet itself" in captured
    assert "Traceback" not in captured
    with pytest.raises(KeyError):
        main(["--debug", "status"])


def test_the_run_directory_may_stand_before_or_after_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--run-dir", "FIRST", "status"], ["status", "--run-dir", "FIRST"]):
        main([word.replace("FIRST", str(tmp_path / "first")) for word in words])
        assert str(tmp_path / "first") in capsys.readouterr().err


def test_help_and_version_load_no_verb() -> None:
    script = (
        "import sys\n"
        "from sallet.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "late = [name for name in sys.modules if name.startswith('sallet.')]\n"
        "print('modules', sorted(late))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=environment,
    )
    loaded = done.stdout.rpartition("modules ")[2]
    assert "sallet.cli.diagnostics" in loaded
    for room in (
        "sallet._core",
        "sallet.client",
        "sallet.pfkey",
        "sallet.lang",
        "sallet.daemon",
        "sallet.cli.up",
    ):
        assert f"'{room}'" not in loaded
    for verb, row in VERBS.items():
        assert f"{verb} " in done.stdout
        assert row.summary in done.stdout


def test_every_verb_declares_its_arguments() -> None:
    for name, verb in VERBS.items():
        if not verb.raw:
            assert parser_for(name).prog == f"sallet {name}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_verbs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "explain" in script
    assert "--setkey" in script.replace("'", "").replace("\\", "") or "setkey" in script


def test_a_setting_is_taken_apart() -> None:
    arguments = parser_for("up").parse_args(
        ["--sysctl", "a.b=1", "--sysctl", "c=2", "--setkey", "x", "--mtu", "1400"]
    )
    assert arguments.sysctl == [("a.b", "1"), ("c", "2")]
    assert arguments.setkey == [Path("x")]
    assert up.run is not None


ENTRY: dict[str, Any] = {
    "id": 7,
    "direction": "out",
    "selector": {
        "source": "10.0.0.1/32",
        "destination": "10.0.0.2/32",
        "next_layer": 6,
        "source_ports": [0, 65535],
        "destination_ports": [80, 80],
    },
    "action": "protect",
    "templates": [
        {"protocol": "esp", "mode": "tunnel", "level": "unique", "reqid": 3, "endpoints": ["a", "b"]},
    ],
    "judges_forwarded": False,
    "packets": 12,
}


def test_policies_as_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    of_socket = {**ENTRY, "id": 9}
    document = {"schema": "s/1", "policies": [ENTRY], "sockets": [of_socket]}
    monkeypatch.setattr(tables, "ask", lambda method, **_: document)
    assert main(["policy", "ls"]) == 0
    head, first, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "DIR", "SOURCE", "DESTINATION", "UPPER", "ACTION", "PACKETS"]
    assert first.split()[:3] == ["9", "out", "(socket)"]
    assert row.split() == [
        "7", "out", "10.0.0.1/32", "10.0.0.2/32[80]", "tcp", "protect", "esp/tunnel/a-b/unique:3", "12",
    ]  # fmt: skip


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tables, "ask", lambda method, **_: {"schema": f"sallet.{method}/1"})
    for words in (["status"], ["sa", "ls"], ["policy", "ls"], ["drops"], ["explain", "::1", "::2"]):
        assert main([*words, "--json"]) == 0
        assert "schema" in json.loads(capsys.readouterr().out)


def test_explain_sends_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def ask(method: str, **params: Any) -> dict[str, Any]:
        asked.append(params)
        return {"schema": "x"}

    monkeypatch.setattr(tables, "ask", ask)
    for words in (["tcp", "80"], ["tcp", "1024:80"], ["icmp", "8"], ["58", "128:0"], []):
        assert main(["explain", "10.0.0.1", "10.0.0.2", *words, "--json"]) == 0
    assert [(one["next_layer"], one["ports"]) for one in asked] == [
        (6, (0, 80)),
        (6, (1024, 80)),
        (1, (8, 0)),
        (58, (128, 0)),
        (17, (0, 0)),
    ]
    with pytest.raises(Failure):
        explain.run(parser_for("explain").parse_args(["a", "b"]))


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_verb_and_the_options_of_setkey(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == diagnostics.OK
    script = capsys.readouterr().out
    assert not VERBS.keys() - set(re.findall(r"[a-z]+", script))
    for option in ("--keep-going", "--save", "--form", "--remove"):
        assert option.lstrip("-") in script
    assert "freebsd" in script
