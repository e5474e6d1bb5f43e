"""Whether the preload library reaches a program: scripts followed, ELF headers read, privileges compared.

No program is started here and nothing is printed.
Answers to: execve(2) for scripts and set-user-ID, ld.so(8) for secure execution, elf(5).
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SCRIPTS_MAX = 5
"""So many interpreters may stand one behind the other, as in the kernel."""
_HEAD_BYTES = 256
_PT_INTERP = 3
_CAPABILITIES = "security.capability"


class NotPreloadable(Exception):
    """A program that would run without the library: which file, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


@dataclass(frozen=True, slots=True)
class Image:
    """What of an ELF file decides whether a shared object can be loaded into it."""

    bits: int
    machine: int
    interpreter: str | None
    """The dynamic linker; None: statically linked."""


def check(path: str) -> None:
    """Follow a program to what is run in the end.

    Raises:
        NotPreloadable: the library cannot be loaded there.
        OSError: a file cannot be read.
    """
    for _ in range(SCRIPTS_MAX):
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
        _check_privileges(path)
        if not head.startswith(b"#!"):
            _check_image(path)
            return
        path = _interpreter(path, head)
    raise NotPreloadable(path, "too many interpreters one behind the other")


def read_image(path: str) -> Image | None:
    """Read an ELF file's header; None: it is none."""
    with open(path, "rb") as file:
        ident = file.read(64)
        if ident[:4] != b"\x7fELF" or len(ident) < 52 or ident[4] not in (1, 2):
            return None
        order = "<" if ident[5] == 1 else ">"
        wide = ident[4] == 2
        (machine,) = struct.unpack_from(f"{order}H", ident, 18)
        if wide:
            (table,) = struct.unpack_from(f"{order}Q", ident, 32)
            entry_bytes, entries = struct.unpack_from(f"{order}HH", ident, 54)
        else:
            (table,) = struct.unpack_from(f"{order}I", ident, 28)
            entry_bytes, entries = struct.unpack_from(f"{order}HH", ident, 42)
        interpreter = None
        for number in range(entries):
            file.seek(table + number * entry_bytes)
            entry = file.read(entry_bytes)
            if len(entry) < (40 if wide else 20) or struct.unpack_from(f"{order}I", entry)[0] != _PT_INTERP:
                continue
            where, size = _extent(entry, order, wide)
            file.seek(where)
            interpreter = os.fsdecode(file.read(size).rstrip(b"\0"))
    return Image(64 if wide else 32, machine, interpreter)


def _extent(entry: bytes, order: str, wide: bool) -> tuple[int, int]:
    """Read where a program header's contents are in the file, and how long they are."""
    if wide:
        return struct.unpack_from(f"{order}Q", entry, 8)[0], struct.unpack_from(f"{order}Q", entry, 32)[0]
    return struct.unpack_from(f"{order}I", entry, 4)[0], struct.unpack_from(f"{order}I", entry, 16)[0]


def _check_image(path: str) -> None:
    found, own = read_image(path), read_image(sys.executable)
    if found is None:
        return  # The kernel or a shell has the word.
    if found.interpreter is None:
        raise NotPreloadable(path, "it is statically linked, and loads no library")
    if own is None or own.interpreter is None:
        return
    if (found.bits, found.machine) != (own.bits, own.machine):
        raise NotPreloadable(path, f"it is a program for another processor ({found.bits} bits)")
    if Path(found.interpreter).name != Path(own.interpreter).name:
        raise NotPreloadable(path, f"it uses another C library ({found.interpreter})")


# ld.so forgets LD_PRELOAD where a program gets rights that its user has not: AT_SECURE.
def _check_privileges(path: str) -> None:
    """Refuse what execve(2) would give other rights."""
    if _no_new_privileges() or os.statvfs(path).f_flag & os.ST_NOSUID:
        return
    found = os.stat(path)
    if found.st_mode & stat.S_ISUID and found.st_uid != os.getuid():
        raise NotPreloadable(path, f"it is set-user-ID {found.st_uid}, and would ignore the library")
    group_executable = found.st_mode & stat.S_IXGRP
    if found.st_mode & stat.S_ISGID and group_executable and found.st_gid != os.getgid():
        raise NotPreloadable(path, f"it is set-group-ID {found.st_gid}, and would ignore the library")
    if os.getuid() != 0 and _has_capabilities(path):
        raise NotPreloadable(path, "its file has capabilities, and it would ignore the library")


def _has_capabilities(path: str) -> bool:
    with suppress(OSError):
        return bool(os.getxattr(path, _CAPABILITIES))
    return False


def _no_new_privileges() -> bool:
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return any(line.split() == ["NoNewPrivs:", "1"] for line in status)
    return False


def _interpreter(path: str, head: bytes) -> str:
    """Name the interpreter of a script; behind env(1), the program that env will find."""
    words = os.fsdecode(head[2:].partition(b"\n")[0]).split()
    if not words:
        raise NotPreloadable(path, "its first line names no interpreter")
    if Path(words[0]).name != "env":
        return words[0]
    named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return (named and shutil.which(named[0])) or words[0]
