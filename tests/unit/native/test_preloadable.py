"""Which programs the preload library reaches, and that the others are named with a reason.

No daemon enters. Answers to: sallet.native.preloadable.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sallet.native import preloadable
from sallet.native.preloadable import NotPreloadable


def test_a_dynamic_program_and_its_scripts_are_reached(tmp_path: Path) -> None:
    preloadable.check(sys.executable)
    script = tmp_path / "script"
    for first_line in (f"#!{sys.executable}", "#! /usr/bin/env python3", "#!/usr/bin/env -S python3 -u"):
        script.write_text(f"{first_line}\n")
        preloadable.check(str(script))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_static_program_is_refused_behind_a_script_too(tmp_path: Path) -> None:
    program, script = tmp_path / "static", tmp_path / "script"
    subprocess.run(
        ["cc", "-static", "-nostdlib", "-x", "c", "-o", program, "-"],
        input=b"void _start(void) {}",
        check=True,
        timeout=60,
    )
    script.write_text(f"#!{program} -x\n")
    for path in (program, script):
        with pytest.raises(NotPreloadable, match="statically linked") as refused:
            preloadable.check(str(path))
        assert refused.value.path == str(program)


def test_scripts_that_name_each_other_end(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{script}\n")
    with pytest.raises(NotPreloadable, match="too many"):
        preloadable.check(str(script))


@pytest.mark.parametrize(("mode", "word"), [(0o4755, "set-user-ID"), (0o2755, "set-group-ID")])
def test_a_program_with_other_rights_is_refused(
    tmp_path: Path, mode: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    shutil.copy(sys.executable, program)
    program.chmod(mode)
    monkeypatch.setattr(preloadable, "_no_new_privileges", lambda: False)
    preloadable.check(str(program))  # Its owner has those rights already.
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    monkeypatch.setattr(os, "getgid", lambda: 4321)
    with pytest.raises(NotPreloadable, match=word):
        preloadable.check(str(program))
    monkeypatch.setattr(preloadable, "_no_new_privileges", lambda: True)
    preloadable.check(str(program))


def test_file_capabilities_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preloadable, "_no_new_privileges", lambda: False)
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"\1")
    with pytest.raises(NotPreloadable, match="capabilities"):
        preloadable.check(sys.executable)


@pytest.mark.parametrize(
    ("at", "value", "word"), [(18, 243, "another processor"), (4, 1, "another processor")]
)
def test_a_program_for_another_machine_is_refused(tmp_path: Path, at: int, value: int, word: str) -> None:
    program = tmp_path / "program"
    head = bytearray(512)
    head[:7] = b"\x7fELF\2\1\1"
    struct.pack_into("<H", head, 18, 62)
    struct.pack_into("<Q", head, 32, 64)  # The table of a 64-bit file …
    struct.pack_into("<HH", head, 54, 56, 1)
    struct.pack_into("<I20xQ", head, 64, 3, 0)
    if value == 1:  # … and that of a 32-bit one.
        struct.pack_into("<I", head, 28, 64)
        struct.pack_into("<HH", head, 42, 32, 1)
    head[at] = value
    program.write_bytes(head)
    with pytest.raises(NotPreloadable, match=word):
        preloadable.check(str(program))


def test_another_c_library_is_refused(tmp_path: Path) -> None:
    own = preloadable.read_image(sys.executable)
    assert own is not None
    assert own.interpreter is not None
    other = tmp_path / "program"
    data = Path(sys.executable).resolve().read_bytes()
    name = own.interpreter.encode()
    other.write_bytes(data.replace(name, b"/lib/ld-musl-x86_64.so.1".ljust(len(name), b"\0")))
    with pytest.raises(NotPreloadable, match="another C library"):
        preloadable.check(str(other))
