"""The run directory: found, made, locked, and refused when it is someone else's to change.

Answers to: sallet.rundir.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sallet import rundir
from sallet.failure import Failure


def test_it_is_made_and_locked(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    lock = rundir.claim(path)
    assert path.stat().st_mode & 0o777 == 0o750
    with pytest.raises(Failure, match="already"):
        rundir.claim(path)
    os.close(lock)
    os.close(rundir.claim(path))


def test_a_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Failure) as caught:
        rundir.claim(tmp_path)
    assert caught.value.kind == "permission"


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="cannot be used"):
        rundir.claim(tmp_path / "file")


def test_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLET_RUN_DIR", "/named")
    assert rundir.default_run_dir() == Path("/named")
    monkeypatch.setenv("SALLET_RUN_DIR", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/runtime")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert rundir.default_run_dir() == Path("/runtime/sallet")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert rundir.default_run_dir() == Path("/tmp/sallet-1000")
