"""setkey in front of running daemons: whose form it takes, what it sees pass, what it says of a dead one.

Answers to: setkey(8), -x, -l, -H; sallet.sysctl.personalities for the form.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sallet.cli import setkey as command
from unit.daemon_process import daemon

KEY = "0x" + "5a" * 20
SA = f"add 192.0.2.1 192.0.2.2 esp 0x1001 -E aes-cbc 0x{'5b' * 16} -A hmac-sha1 {KEY};\n"
POLICY = "spdadd 10.0.0.0/8 10.1.0.0/16 any -P out ipsec esp/transport//unique: 20000;\n"
AUTOMATIC = "spdadd 10.2.0.0/16 10.1.0.0/16 icmp6 135,0 -P in ipsec esp/transport//unique;\n"


@pytest.mark.parametrize(
    ("personality", "said", "cipher", "reqid", "upper", "made"),
    [
        ("sallet", "", "aes-cbc", ":20000", "any", "#16384"),
        ("qnx", "", "rijndael-cbc", ":20000", "any", "#16384"),
        ("netbsd", "WARNING: unique:20000 is above 16383", "aes-cbc", "#16384", "reserved", "#16385"),
        ("freebsd", "WARNING: unique:20000 is above 16383", "rijndael-cbc", "#16384", "any", "#16385"),
    ],
)
def test_the_form_is_the_one_of_the_daemon_s_personality(
    personality: str,
    said: str,
    cipher: str,
    reqid: str,
    upper: str,
    made: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "f"
    ours = personality == "sallet"

    def run(*words: str) -> tuple[int, str, str]:
        code = command.run_raw(["--run-dir", str(tmp_path / "run"), *words])
        return code, *capfd.readouterr()

    with daemon(tmp_path / "run", "--personality", personality):
        path.write_text(SA + POLICY + AUTOMATIC)
        code, out, err = run("-f", str(path))
        assert (code, err) == (0, "")
        assert said in out
        assert bool(out) == bool(said)
        assert f"\tE: {cipher}  5b5b5b5b" in run("-D")[1]
        policies = run("-DP")[1]
        assert f"10.0.0.0/8[any] 10.1.0.0/16[any] {upper}\n" in policies
        assert f"\tesp/transport//unique{reqid}\n" in policies
        assert f"\tesp/transport//unique{made}\n" in policies
        # A refusal: the old tools print it, and are content.
        path.write_text("get 192.0.2.1 192.0.2.2 esp 0x2000;")
        code, out, err = run("-f", str(path))
        assert (code, bool(out), bool(err)) == ((1, False, True) if ours else (0, True, False))
        path.write_text(f"{AUTOMATIC}frob;")
        code, out, err = run("-f", str(path))
        assert (code, bool(out), bool(err)) == ((1, False, True) if ours else (1, True, False))
        assert run("-F") == (0, "", "")
        assert run("-D") == (0, "No SAD entries.\n", "")


class Watched:
    """A setkey that runs until it is interrupted, and what it has printed."""

    def __init__(self, run_dir: Path, path: Path, words: list[str]) -> None:
        self._path = path
        with path.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(run_dir), "setkey", *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def wait_for(self, text: str) -> str:
        """Wait until it has printed that, and return all of it."""
        deadline = time.monotonic() + 20
        while text not in (printed := self._path.read_text()):
            assert time.monotonic() < deadline, f"{text!r} is not in {printed!r}"
            time.sleep(0.05)
        return printed


@contextmanager
def watched(run_dir: Path, path: Path, *words: str) -> Iterator[Watched]:
    setkey = Watched(run_dir, path, list(words))
    try:
        yield setkey
    finally:
        setkey.process.send_signal(signal.SIGINT)
        assert setkey.process.wait(20) == 130


def test_what_passes_is_printed_with_its_time_and_one_line_for_each_sa(tmp_path: Path) -> None:
    run_dir, path = tmp_path / "run", tmp_path / "f"
    path.write_text(SA)

    def run(form: str, *words: str) -> int:
        return command.run_raw(["--run-dir", str(run_dir), "--form", form, *words])

    with daemon(run_dir):
        with (
            watched(run_dir, tmp_path / "x", "-x") as plain,
            watched(run_dir, tmp_path / "xx", "--form", "kame", "-xxh") as kame,
            watched(run_dir, tmp_path / "l", "-Dl") as lines,
        ):
            plain.wait_for("(X_PROMISC)")
            kame.wait_for("type=11 ")
            assert run("kame", "-f", str(path)) == 0
            printed = plain.wait_for("type=3(ADD) errno=0")
            assert re.search(r"^\d\d:\d\d:\d\d\.\d{6} sadb_msg\{ version=2 type=3\(ADD\)", printed, re.M)
            assert printed.count("type=3(ADD)") == 1
            assert "5b5b" not in printed
            printed = kame.wait_for("type=3 errno=0")
            assert re.search(r"^\d{9,}\.\d{6} \n00000000: 02 0b 00 ", printed, re.M)
            assert "5b 5b" not in printed
            moment = r"^\d{4} esp M 00001001 \d+/-\s+192\.0\.2\.1 -> 192\.0\.2\.2$"
            assert re.search(moment, lines.wait_for("00001001"), re.M)
        assert plain.process.returncode == 130


def test_a_daemon_that_dies_while_setkey_listens_is_said_to_have_gone(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path / "run") as running:
        listener = Watched(tmp_path / "run", tmp_path / "x", ["-x"])
        listener.wait_for("(X_PROMISC)")
        running.process.kill()
        assert listener.process.wait(20) == 5
        assert "no daemon answers" in (tmp_path / "x").read_text()
