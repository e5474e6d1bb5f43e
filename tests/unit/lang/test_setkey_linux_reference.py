"""What setkey of ipsec-tools 0.9.1 did on Linux 6.1, and what form `linux` does: text, status, dumps, to the byte.

The daemon is a fake that stores and shows; `tests/conformance` has the same files against the engine.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sallet.cli import setkey as command
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


@pytest.mark.parametrize("case", CASES)
def test_form_linux_does_what_setkey_did(
    case: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon(linux=True)
    monkeypatch.setattr(command, "PfkeyClient", lambda run_dir, dialect: daemon)
    monkeypatch.chdir(REFERENCE)
    # The reference holds both streams in one file, in the order of writing.
    monkeypatch.setattr("sys.stderr", __import__("sys").stdout)

    code = command.run_raw(["--form", "linux", "-f", f"{case}.conf"])
    said = f"{capfd.readouterr().out}exit {code}\n"
    assert masked(said) == masked((REFERENCE / f"{case}.out").read_text())

    for option, suffix in (("-D", "sad"), ("-DP", "spd")):
        assert command.run_raw(["--form", "linux", option]) == 0
        shown = capfd.readouterr().out
        assert masked(shown) == masked((REFERENCE / f"{case}.{suffix}").read_text())


def test_every_file_of_the_reference_is_tried() -> None:
    assert len(CASES) == 12
