"""Every verb, option, algorithm and flag of setkey(8) in each form, against an engine without a daemon.

The rows are in setkey_rows.toml and FLAGS; what a form lacks is in them as what it says of it.
Answers to: setkey(8) of KAME, FreeBSD, NetBSD and ipsec-tools on Linux.
"""

from __future__ import annotations

import io
import logging
import re
import tomllib
from pathlib import Path

import pytest

from sallet import _core
from sallet.cli import setkey as command
from sallet.lang.forms import FORMS
from sallet.lang.verbs import VERBS
from sallet.lang.words import AUTHENTICATION, COMPRESSION, ENCRYPTION
from unit.lang.engine_client import EngineClient

WORDS = {
    "$PAIR": "192.0.2.1 192.0.2.2",
    "$NETS": "10.0.0.0/8 10.1.0.0/16",
    "$NULL": "-E null -A hmac-sha1 $KEY160",
}
_KEY = re.compile(r"\$KEY([0-9]+)")
_NOTE = re.compile(r".*(know nothing better|without -A does not|with a manual key).*\n?")
_OURS = re.compile(r"^sallet setkey: F:")
_LENGTHS = re.compile(r"^[0-9]+ [0-9]+ [0-9]+\n")


def _rows() -> list[dict[str, object]]:
    with (Path(__file__).parent / "setkey_rows.toml").open("rb") as file:
        found: list[dict[str, object]] = tomllib.load(file)["row"]
    return found


ROWS = _rows()


def written(text: str) -> str:
    """Put addresses and keys where the row has words for them."""
    for word, meaning in WORDS.items():
        text = text.replace(word, meaning)
    return _KEY.sub(lambda found: "0x" + bytes(range(1, int(found[1]) // 8 + 1)).hex(), text)


def by_form(row: dict[str, object]) -> dict[str, object]:
    """What a row says of each form."""
    return {
        form: expected
        for forms, expected in row.items()
        if forms != "text"
        for form in (FORMS if forms == "all" else forms.split())
    }


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> _core.Engine:
    return fresh_engine(monkeypatch)


def fresh_engine(monkeypatch: pytest.MonkeyPatch) -> _core.Engine:
    engine = _core.Engine()
    monkeypatch.setattr(command, "PfkeyClient", lambda run_dir, dialect: EngineClient(engine, dialect))
    monkeypatch.setattr(command, "form_of_daemon", lambda run_dir: "sallet")
    # What the daemon's log says of an algorithm is not setkey's.
    monkeypatch.setattr(logging.getLogger("sallet.pfkey.changes"), "disabled", True)
    return engine


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["text"])
def test_a_statement_in_every_form(
    row: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "f"
    path.write_text(written(str(row["text"])))
    found = {}
    for form in FORMS:
        fresh_engine(monkeypatch)
        code = command.run_raw(["--form", form, "-f", str(path)])
        out, err = capfd.readouterr()
        assert not err or FORMS[form].errors != "kame"
        said = _LENGTHS.sub("", _NOTE.sub("", (out + err).replace(str(path), "F")))
        found[form] = [code, _OURS.sub("", said.split("\n")[0]).strip()]
    assert found == by_form(row)


def test_every_row_speaks_of_every_form() -> None:
    for row in ROWS:
        assert by_form(row).keys() == FORMS.keys(), row["text"]


def test_every_verb_and_every_algorithm_has_a_row() -> None:
    words = {word for row in ROWS for word in re.findall(r"[\w-]+", str(row["text"]))}
    assert not VERBS.keys() - words
    assert not AUTHENTICATION.keys() - words
    assert not ENCRYPTION.keys() - words
    assert not set(COMPRESSION) - words


ALL = tuple(FORMS)
CLASSIC = tuple(form for form in FORMS if form != "sallet")
BSD = ("kame", "qnx", "freebsd")
TOOLS = ("linux", "netbsd")

FLAGS: list[tuple[str, tuple[str, ...], int, str]] = [
    # What stands on the command line, in which forms, the exit status, and how the output begins.
    ("", CLASSIC, 1, "usage: setkey "),
    ("", ("sallet",), 2, "setkey: one of -f, -c, -D, -F and -x is needed\nusage: setkey"),
    ("-q", CLASSIC, 1, "setkey: option -q not recognized\nusage: setkey "),
    ("-q", ("sallet",), 2, "setkey: option -q not recognized\nusage: setkey "),
    ("-f F", ALL, 0, ""),
    ("-f F -v", ALL, 0, "sadb_msg{ version=2 type=9"),
    ("-nf F", (*TOOLS, "sallet"), 0, ""),
    ("-nf F", BSD, 1, "setkey: option -n not recognized\n"),
    ("-kf F", ("linux", "sallet"), 0, ""),
    ("-rf F", ("linux", "sallet"), 0, ""),
    ("-kf F", ("netbsd",), 0, "setkey: warning: -k has no meaning where no list is for forwarded packets\n"),
    ("-rf F", ("netbsd",), 0, "setkey: warning: -r has no meaning where no list is for forwarded packets\n"),
    ("-df F", ALL, 0, "F:1: Whole("),
    ("-c", ALL, 0, ""),
    ("-D", ALL, 0, "192.0.2.1 192.0.2.2"),
    ("-aD", ALL, 0, "192.0.2.1 192.0.2.2"),
    ("-Dp", (*TOOLS, "sallet"), 0, "192.0.2.1[0] 192.0.2.2[0] \n"),
    ("-Dp", BSD, 1, "setkey: option -p not recognized\n"),
    ("-Dv", ALL, 0, "sadb_msg{ version=2 type=10"),
    ("-DP", ALL, 0, "10.0.0.0/8[any] 10.1.0.0/16[any] "),
    ("-PD", ALL, 0, "10.0.0.0/8[any] 10.1.0.0/16[any] "),
    ("-DPg", ("freebsd", "sallet"), 0, "10.0.0.0/8[any] 10.1.0.0/16[any] "),
    ("-DPt", ("freebsd",), 0, "No SPD entries.\n"),
    ("-DPgt", ("freebsd",), 0, "10.0.0.0/8[any] 10.1.0.0/16[any] "),
    ("-DPt", ("sallet",), 2, "setkey: -t is not provided by sallet: no policy belongs to an interface\n"),
    ("-DPg", (*TOOLS, "kame", "qnx"), 1, "setkey: option -g not recognized\n"),
    ("-DPN", ("linux", "sallet"), 0, "10.0.0.0/8[any] 10.1.0.0/16[any] "),
    ("-F", ALL, 0, ""),
    ("-FP", ALL, 0, ""),
    ("-F -D", CLASSIC, 0, "192.0.2.1 192.0.2.2"),
    ("-F -D", ("sallet",), 2, "setkey: one of -f, -c, -D, -F and -x is needed\n"),
    ("-V", (*TOOLS, "sallet"), 0, "setkey (sallet) "),
    ("-V", BSD, 1, "setkey: option -V not recognized\n"),
    ("-h", ("linux", "sallet"), 0, "usage: setkey "),
    ("-h -D", ("kame", "qnx", "freebsd", "netbsd"), 0, "192.0.2.1 192.0.2.2"),
    ("-HD", TOOLS, 0, "192.0.2.1 192.0.2.2"),
    ("-HD", ("sallet",), 2, "setkey: -H goes with -x\n"),
    ("-?", (*TOOLS, "sallet"), 0, "usage: setkey "),
    ("-D --save S", ALL, 0, "192.0.2.1 192.0.2.2"),
    ("-D --json", ALL, 0, "[\n  {\n"),
]


@pytest.mark.parametrize(
    ("words", "form", "code", "begins"),
    [(words, form, code, begins) for words, forms, code, begins in FLAGS for form in forms],
)
def test_a_flag_in_a_form(
    words: str,
    form: str,
    code: int,
    begins: str,
    engine: _core.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("F").write_text("flush;")
    Path("G").write_text(written("add $PAIR esp 0x1001 $NULL; spdadd $NETS any -P out none;"))
    assert command.run_raw(["--form", "sallet", "-f", "G"]) == 0
    capfd.readouterr()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"flush;")))
    assert command.run_raw(["--form", form, *words.split()], "setkey") == code
    out, err = capfd.readouterr()
    assert (err + out).startswith(begins)
    if code == 1:
        # The old tools' usage is an answer like any other.
        assert "usage: setkey" in out
    if "-F" in words.split():
        assert len(engine.sad_dump()) == ("-D" in words)
    assert len(engine.spd_dump()) == ("-FP" not in words)


@pytest.mark.parametrize("form", ["linux", "netbsd", "sallet"])
def test_a_dump_that_was_kept_is_printed_as_it_was(
    form: str, engine: _core.Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f"
    path.write_text(
        written("add $PAIR esp 0x1001 $NULL; spdadd $NETS any -P out ipsec esp/transport//unique;")
    )
    assert command.run_raw(["--form", form, "-f", str(path)]) == 0
    for what in ("-D", "-DP"):
        capfd.readouterr()
        kept = tmp_path / what
        assert command.run_raw(["--form", form, what, "--save", str(kept)]) == 0
        printed = capfd.readouterr().out
        engine.sad_flush()
        assert kept.stat().st_mode & 0o777 == 0o600
        assert command.run_raw(["--form", form, "-D", str(kept)]) == 0
        again = capfd.readouterr().out
        masks = re.compile(r"current: [A-Z].*|diff: .*")
        assert masks.sub("", again) == masks.sub("", printed)
