"""The demo needs nothing: no capability, no way to get one, no source tree and no name of a user.

No namespace may enter: here everything runs as anybody could run it.
Answers to: README, "Two commands"; capabilities(7), setpriv(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from interop.capabilities import NOBODY, python_for_nobody, without_privilege
from netns import environment, need

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECS = 1200
INSTALL_SECS = 300
DEMO_SECS = 60
PROGRAM = """\
#include <sys/types.h>
#include <netinet/in.h>
#include <netinet6/ipsec.h>
#include <stdio.h>

int main(void)
{
	char text[] = "out ipsec esp/transport//require";
	return printf("%d\\n", ipsec_get_policylen(ipsec_set_policy(text, sizeof(text) - 1))) < 0;
}
"""
KEPT = ("PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""How this machine reaches its package index; nothing else of our environment is handed on."""


def demo_ran(done: subprocess.CompletedProcess[str]) -> None:
    """Assert that the demo told its whole story and was content."""
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("AuthFailed", "Replay", "none found", "sallet up"):
        assert words in done.stdout


def test_the_demo_runs_with_no_privilege() -> None:
    need("engine")
    need("setpriv")
    shown = subprocess.run(
        [*without_privilege(), "cat", "/proc/self/status"],
        capture_output=True,
        text=True,
        timeout=DEMO_SECS,
        check=True,
    )
    lines = dict(line.split(":\t", 1) for line in shown.stdout.splitlines() if ":\t" in line)
    assert int(lines["CapEff"], 16) == int(lines["CapInh"], 16) == 0
    if os.geteuid() == 0:  # Others cannot empty it, and with no new privileges they gain nothing from it.
        assert int(lines["CapBnd"], 16) == 0
    assert lines["NoNewPrivs"] == "1"
    demo_ran(
        subprocess.run(
            [*without_privilege(), sys.executable, "-m", "sallet.cli.main", "demo"],
            capture_output=True,
            text=True,
            timeout=DEMO_SECS,
            check=False,
            env=environment(),
        )
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as users get it; where nobody built a release yet, with what was built."""
    need("nobody")
    need("maturin")
    out = tmp_path_factory.mktemp("wheel")
    profile = ["--release"] if (ROOT / "target" / "release").is_dir() else []
    done = subprocess.run(
        [sys.executable, "-m", "maturin", "build", "--locked", *profile, "--out", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BUILD_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("sallet-*.whl")
    return made


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of nobody's own; pytest's are closed to other users."""
    made = Path(tempfile.mkdtemp(prefix="sallet-nobody-"))
    os.chown(made, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


def as_nobody(home: Path, *command: str | Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command as uid 65534, at home, with none of our groups and little of our environment."""
    kept: Mapping[str, str] = {name: text for name, text in os.environ.items() if name.startswith(KEPT)}
    return subprocess.run(
        list(map(str, command)),
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=home,
        env={**kept, "HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(BUILD_SECS + INSTALL_SECS)
def test_nobody_installs_the_wheel_and_runs_the_demo(wheel: Path, home: Path) -> None:
    python = python_for_nobody()
    assert python is not None
    copy = home / wheel.name
    shutil.copyfile(wheel, copy)
    made = as_nobody(home, python, "-m", "venv", "own", timeout=INSTALL_SECS)
    assert made.returncode == 0, made.stdout + made.stderr
    pip = (home / "own/bin/python", "-m", "pip", "--disable-pip-version-check")
    installed = as_nobody(home, *pip, "install", "--quiet", copy, timeout=INSTALL_SECS)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    sallet = home / "own/bin/sallet"
    assert sallet.stat().st_uid == NOBODY
    demo_ran(as_nobody(home, *without_privilege(), sallet, "demo", timeout=DEMO_SECS))
    # What built the wheel can compile C, too: the headers and the library came along.
    (home / "program.c").write_text(PROGRAM)
    build = f"cc $({sallet} config --cflags --libs --dialect netbsd) program.c -o program && ./program"
    built = as_nobody(home, "sh", "-c", build, timeout=DEMO_SECS)
    assert (built.returncode, built.stdout, built.stderr) == (0, "24\n", "")
    # The same script under another tool's name is that tool.
    links = home / "links"
    as_nobody(home, "mkdir", links, timeout=DEMO_SECS)
    linked = as_nobody(home, sallet, "compat", "install", links, timeout=DEMO_SECS)
    assert (linked.returncode, linked.stdout) == (0, f"made {links}/setkey -> {sallet}\n")
    started = as_nobody(home, links / "setkey", "-V", timeout=DEMO_SECS)
    assert (started.returncode, started.stdout) == (0, f"setkey (sallet) {wheel.name.split('-')[1]}\n")
