"""Compiles C files for tests, with the warnings and the sanitizers that a test asks for.

No test may enter.
Answers to: CONTRIBUTING.md, tests; gcc(1) for -fsanitize and -fanalyzer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from netns import add_capability

LIBIPSEC: Final = Path(__file__).resolve().parents[3] / "rust" / "bindings" / "libipsec"
WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
SANITIZERS: Final = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def _no_compiler() -> str | None:
    return None if shutil.which("gcc") is not None else "gcc is not installed (apt-get install gcc)"


add_capability("gcc", _no_compiler)


def compile_c(*words: str | Path, cwd: Path | None = None) -> None:
    """Run the compiler; what it has to say fails the test."""
    done = subprocess.run(
        ["gcc", *map(str, words)], capture_output=True, text=True, timeout=100, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr


def run_c(
    program: Path, *words: str, text: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; a sanitizer's report is an exit status."""
    return subprocess.run(
        [program, *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **(environment or {})},
    )
