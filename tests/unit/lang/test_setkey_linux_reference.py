"""Form `linux` against setkey of ipsec-tools 0.9.1 on Linux 6.1: text, exit status and dumps, to the byte.

Once with a fake that only stores and shows, and once with the engine behind the real codec and handlers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from sallet import _core
from sallet.cli import setkey as command
from unit.lang.engine_client import EngineClient
from unit.lang.fake_daemon import FakeDaemon

REFERENCE = Path(__file__).parents[2] / "reference" / "setkey-linux"
CASES = sorted(path.stem for path in REFERENCE.glob("*.conf"))

_TIME = r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}"
_MASKS = [
    (re.compile(_TIME), "TIME"),
    (re.compile(r"diff: -?[0-9]+\(s\)"), "diff: N(s)"),
    (re.compile(r"sadb_seq=[0-9]+ pid=[0-9]+ refcnt=[0-9]+"), "MASKED"),
    (re.compile(r"spid=[0-9]+ seq=[0-9]+ pid=[0-9]+\n\trefcnt=[0-9]+"), "MASKED"),
]


def masked(text: str) -> str:
    """Hide what varies from run to run, and nothing else."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


def check(
    case: str, client: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PfkeyClient", lambda run_dir, dialect: client)
    monkeypatch.chdir(REFERENCE)
    # The reference holds both streams in one file, in the order of writing.
    monkeypatch.setattr(sys, "stderr", sys.stdout)

    code = command.run_raw(["--form", "linux", "-f", f"{case}.conf"])
    said = f"{capfd.readouterr().out}exit {code}\n"
    assert masked(said) == masked((REFERENCE / f"{case}.out").read_text())

    for option, suffix in (("-D", "sad"), ("-DP", "spd")):
        assert command.run_raw(["--form", "linux", option]) == 0
        shown = capfd.readouterr().out
        assert masked(shown) == masked((REFERENCE / f"{case}.{suffix}").read_text())


@pytest.mark.parametrize("case", CASES)
def test_form_linux_says_what_setkey_said(
    case: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    check(case, FakeDaemon(linux=True), monkeypatch, capfd)


@pytest.mark.parametrize("case", CASES)
def test_the_engine_behind_form_linux_does_what_linux_did(
    case: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    check(case, EngineClient(_core.Engine(), "linux"), monkeypatch, capfd)


def test_every_file_of_the_reference_is_tried() -> None:
    assert len(CASES) == 12
