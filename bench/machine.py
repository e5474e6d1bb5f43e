"""What the figures hang on: processor, kernel, load, and the version of everything that was measured.

No measurement may enter.
Answers to: docs/benchmarks.md, the table of the machine.
"""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import sallet

ROOT = Path(__file__).resolve().parents[1]
VERSION_SECS = 30.0


def facts() -> dict[str, str]:
    """Collect what is known before anything runs, in the order in which it is shown."""
    return {
        "date": datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "load at the start": ", ".join(f"{value:.2f}" for value in os.getloadavg()) + " (1, 5, 15 minutes)",
        "sallet": f"{sallet.__version__}, commit {commit()}, extension: {extension_build()} build",
        "Rust": first_line("rustc", "--version"),
        "aws-lc-rs": _locked("aws-lc-rs"),
        "Python": platform.python_version(),
        "cryptography": _package("cryptography"),
        "scapy": _package("scapy"),
    }


def is_busy() -> bool:
    """Say whether something else keeps the cores from being ours."""
    return os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1)


def extension_build() -> str:
    """Say whether the extension that Python would load is a "release" or a "debug" build, or "no" build."""
    spec = find_spec("sallet._core") if find_spec("sallet") else None
    if spec is None or spec.origin is None:
        return "no"
    # cargo strips a release build: a section of debug information is only in the other one.
    return "debug" if ".debug_info" in section_names(Path(spec.origin).read_bytes()) else "release"


def section_names(image: bytes) -> set[str]:
    """Read the section names of a 64-bit ELF file in the byte order of this machine (elf(5))."""
    if image[:5] != b"\x7fELF\x02":
        return set()
    (offset,) = struct.unpack_from("=Q", image, 0x28)
    size, count, names_index = struct.unpack_from("=HHH", image, 0x3A)
    headers = [struct.unpack_from("=II8x8xQQ", image, offset + index * size) for index in range(count)]
    start, length = headers[names_index][2:]
    names = image[start : start + length]
    return {names[at : names.index(b"\0", at)].decode("ascii", "replace") for at, *_ in headers}


def commit() -> str:
    """Name the commit of the source tree, and say if files differ from it."""
    name = first_line("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = first_line("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{name} with changes" if changed != "unknown" else name


def first_line(*command: str) -> str:
    """Return the first line that a command prints, or "unknown"."""
    if shutil.which(command[0]) is None:
        return "unknown"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERSION_SECS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory() -> str:
    kibibytes = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1])
    return f"{kibibytes / 1024**2:.0f} GiB"


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _locked(name: str) -> str:
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return next((str(each["version"]) for each in lock["package"] if each["name"] == name), "unknown")
