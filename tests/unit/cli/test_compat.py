"""Links under the names of the old tools: who writes them, and as what a program acts that is started by one.

Answers to: sallet.cli.compat, sallet.cli.main.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sallet.cli import diagnostics
from sallet.cli.main import PROGRAMS, VERBS, main


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A console script as pip writes it."""
    path = tmp_path / "bin" / "sallet"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom sallet.cli.main import main\n"
        'if __name__ == "__main__":\n    sys.exit(main())\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PATH for the links."""
    directory = tmp_path / "links"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return directory


def install(links: Path, script: Path, *words: str) -> int:
    return main(["compat", "install", str(links), "--script", str(script), *words])


def started(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SALLET_RUN_DIR": str(path.parent)}
    return subprocess.run([path, *words], capture_output=True, text=True, env=environment, check=False)


def test_every_name_is_a_raw_verb() -> None:
    assert all(VERBS[verb].raw for verb in PROGRAMS.values())


def test_started_by_its_link_the_program_is_setkey(
    links: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(links, script) == diagnostics.OK
    assert capsys.readouterr().out == f"made {links}/setkey -> {script}\n"
    done = started(links / "setkey")
    assert done.returncode == diagnostics.USAGE
    assert done.stderr.splitlines()[1].startswith("usage: setkey ")
    done = started(links / "setkey", "--form", "kame")
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (1, "usage: setkey [-vd] -c", "")
    (links / "f").write_text("add 192.0.2.1 192.0.2.2 esp 0x1001 -E aes-cbc 0x00;")
    done = started(links / "setkey", "-n", "-f", str(links / "f"))
    assert done.returncode == diagnostics.FAILED
    assert done.stderr.startswith(f"setkey: {links}/f:1:47: key is 8 bits, aes-cbc needs 128, 192 or 256\n")
    done = started(links / "setkey", "-D")
    assert (done.returncode, done.stdout) == (diagnostics.UNREACHABLE, "")
    assert "no daemon answers" in done.stderr
    done = started(script, "setkey", "-V")
    assert (done.returncode, done.stdout[:21]) == (0, "sallet setkey (sallet")


def test_a_second_time_nothing_is_done(links: Path, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(links, script)
    assert install(links, script) == diagnostics.OK
    assert capsys.readouterr().out.splitlines()[1] == f"kept {links}/setkey -> {script}"
    # A link to a script that has moved is ours, too.
    (links / "setkey").unlink()
    (links / "setkey").symlink_to("/nowhere/sallet")
    assert install(links, script) == diagnostics.OK
    assert capsys.readouterr().out == f"replaced {links}/setkey -> {script}\n"


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_not_ours_is_left_alone(
    links: Path, script: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = links / "setkey"
    if kind == "file":
        path.write_text("theirs")
    elif kind == "link":
        path.symlink_to("/bin/true")
    else:
        path.mkdir()
    assert install(links, script) == diagnostics.FAILED
    assert "is not ours; no link was written" in capsys.readouterr().err
    assert main(["compat", "install", str(links), "--remove"]) == diagnostics.FAILED
    assert capsys.readouterr().out == f"foreign {path}\n"
    assert os.path.lexists(path)
    assert not path.is_symlink() or path.readlink() == Path("/bin/true")
    forced = install(links, script, "--force")
    assert forced == (diagnostics.FAILED if kind == "directory" else diagnostics.OK)
    assert path.is_symlink() == (kind != "directory")


def test_links_go_as_they_came_and_say_so_in_json(
    links: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(links, script, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["links"] == [
        {"name": "setkey", "path": f"{links}/setkey", "target": str(script), "did": "made"}
    ]
    assert document["warnings"] == []
    assert main(["compat", "install", str(links), "--remove"]) == diagnostics.OK
    assert main(["compat", "install", str(links), "--remove", "--json"]) == diagnostics.OK
    assert list(links.iterdir()) == []
    assert '"did": "absent"' in capsys.readouterr().out


def test_a_link_that_its_name_does_not_start_is_warned_of(
    tmp_path: Path, links: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    assert install(aside, script) == diagnostics.OK
    assert f"{aside} is not on PATH" in capsys.readouterr().err
    before = links / "setkey"
    before.write_text("#!/bin/sh\n")
    before.chmod(0o755)
    os.environ["PATH"] += f"{os.pathsep}{aside}"
    assert install(aside, script) == diagnostics.OK
    assert f"setkey is {before}, which comes first on PATH" in capsys.readouterr().err


def test_without_directory_or_script_nothing_is_written(
    tmp_path: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(tmp_path / "none", script) == diagnostics.FAILED
    assert "mkdir -p" in capsys.readouterr().err
    assert install(tmp_path, tmp_path / "sallet") == diagnostics.FAILED
    assert "--script" in capsys.readouterr().err
