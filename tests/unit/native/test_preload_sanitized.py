"""The preload library under the sanitizers: every interposed call, with and without a daemon.

A report ends the program with another exit status. Answers to: gcc(1) -fsanitize; rust/bindings/preload.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import environment, need
from unit.daemon_process import daemon
from unit.native.c_compiler import SANITIZERS, compile_c
from unit.pcb.test_collisions import PROGRAM as OPTIONS

SOURCES = sorted((Path(__file__).resolve().parents[3] / "rust/bindings/preload").glob("*.c"))
CALLS = """
import array, ctypes, os, socket, struct, sys, threading
def tried(action, *words):
    try:
        return action(*words)
    except OSError as error:
        return error.errno
libc, MARK = ctypes.CDLL(None), struct.pack("I", 0x10000000)
policy = struct.pack("=HHHBBII", 2, 18, 3, 2, 0, 0, 0)
def marked(family, kind):
    one = socket.socket(family, kind)
    one.setblocking(False)
    libc.syscall(54, one.fileno(), 1, 36, MARK, 4)  # As the daemon would, past the library.
    return one
def everything():
    for family, home in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            one, two = marked(family, kind), marked(family, kind)
            level = 0 if family == socket.AF_INET else 41
            for number in (16, 21, 22, 28, 34):
                for size in (0, 1, 4, 16, 20, 24, 4096, 8192):
                    tried(one.setsockopt, level, number, policy.ljust(size, b"\\0")[:size])
                    tried(one.getsockopt, level, number, size) if size <= 1024 else None
                    buffer = ctypes.create_string_buffer(policy.ljust(size, b"\\0")[:size], size or 1)
                    libc.getsockopt(one.fileno(), level, number, buffer, ctypes.byref(ctypes.c_uint(size)))
            for action in (lambda: one.bind((home, 0)), lambda: one.listen(), lambda: two.connect((home, 9)),
                           lambda: one.sendto(b"x", (home, 9)), lambda: one.sendmsg([b"x"], [], 0, (home, 9)),
                           lambda: one.send(b"x"), lambda: os.write(one.fileno(), b"x"),
                           lambda: os.writev(one.fileno(), [b"x", b"y"]), lambda: one.accept()):
                tried(action)
    ours, theirs = socket.socketpair()
    ours.sendmsg([b"x" * 16], [(1, 1, array.array("i", [0]))])
    os.writev(ours.fileno(), [b"\\2\\7", bytes(14)])
    for words in ((15, 3, 2), (15, 2, 2), (15, 3, 0)):
        key = tried(lambda: socket.socket(*words))
        if isinstance(key, socket.socket):
            tried(key.bind, b"x")
            key.send(struct.pack("=BBBBHHII", 2, 7, 0, 3, 2, 0, 5, os.getpid()))
            key.getsockopt(1, 39)
threads = [threading.Thread(target=everything) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.environ["SALLET_RUN_DIR"] = "/nowhere" * 40
if os.fork() == 0:
    everything()
    tried(os.chroot, "/")
    tried(os.setresuid, os.getuid(), os.getuid(), os.getuid())
    os._exit(0)
assert os.wait()[1] == 0
assert "libasan" in open("/proc/self/maps").read()
print("done")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("gcc")
    made = tmp_path_factory.mktemp("sanitized") / "libsallet_preload.so"
    compile_c("-std=gnu11", *SANITIZERS, "-fPIC", "-shared", *SOURCES, "-o", made, "-ldl", "-pthread")
    return made


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need("engine")
    directory = tmp_path_factory.mktemp("run")
    with daemon(directory):
        yield directory


@pytest.mark.parametrize("dialect", ["linux", "kame", "freebsd"])
@pytest.mark.parametrize("program", [CALLS, OPTIONS], ids=["calls", "options"])
def test_no_sanitizer_has_anything_to_say(library: Path, run_dir: Path, program: str, dialect: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={
            **environment(),
            "LD_PRELOAD": str(library),
            "SALLET_RUN_DIR": str(run_dir),
            "SALLET_DIALECT": dialect,
            # Python itself leaks, and the runtime comes behind the library that brings it.
            "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0:exitcode=66",
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
