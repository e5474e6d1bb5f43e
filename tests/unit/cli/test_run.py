"""`sallet run`: what it starts, what it refuses, and what PF_KEY sockets of a program are then.

No packet enters. Answers to: sallet.cli.run, rust/bindings/preload/pfkey.c, RFC 2367 §1.3.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import environment, need
from unit.daemon_process import daemon

PF_KEY = 15
PRELUDE = """
import errno, fcntl, os, socket, struct, sys, threading
PF_KEY, V2 = 15, 2
def outcome(action):
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno]
def register(key):
    key.send(struct.pack("=BBBBHHII", V2, 7, 0, 3, 2, 0, 5, os.getpid()))
    answer = key.recv(4096)
    return answer[1], answer[2], struct.unpack_from("=I", answer, 12)[0] == os.getpid()
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need("engine")
    directory = tmp_path_factory.mktemp("run")
    with daemon(directory) as started:
        assert "ready" in started.ready, started.errors
        yield directory


def sallet_run(run_dir: Path, *words: str, dialect: str = "linux") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(run_dir), "run"]
    return subprocess.run(
        [*command, "--dialect", dialect, "--", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )


def python(run_dir: Path, script: str, dialect: str = "linux") -> str:
    done = sallet_run(run_dir, sys.executable, "-c", PRELUDE + script, dialect=dialect)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("dialect", ["linux", "kame", "netbsd", "freebsd"])
def test_a_key_socket_is_a_connection_in_the_dialect(run_dir: Path, dialect: str) -> None:
    script = "print(register(socket.socket(PF_KEY, socket.SOCK_RAW, V2)))"
    assert python(run_dir, script, dialect) == "(7, 0, True)"


def test_threads_children_and_executed_programs_have_their_own(run_dir: Path) -> None:
    script = """
answers = []
threads = [threading.Thread(target=lambda: answers.append(register(socket.socket(PF_KEY, 3, V2))))
           for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert answers == [(7, 0, True)] * 8, answers
if os.fork() == 0:
    os._exit(register(socket.socket(PF_KEY, 3, V2)) != (7, 0, True))
assert os.wait()[1] == 0
os.execv(sys.executable, [sys.executable, "-c",
    "import socket; print(socket.socket(15, 3, 2).getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN))"])
"""
    assert python(run_dir, script) == str(PF_KEY)


def test_the_flags_and_buffers_are_the_programs(run_dir: Path) -> None:
    script = """
key = socket.socket(PF_KEY, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, V2)
print(bool(fcntl.fcntl(key, fcntl.F_GETFL) & os.O_NONBLOCK), fcntl.fcntl(key, fcntl.F_GETFD),
      outcome(lambda: key.recv(1)))
key.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
print(key.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 65536)
print([key.getsockopt(socket.SOL_SOCKET, option)
       for option in (socket.SO_DOMAIN, socket.SO_TYPE, socket.SO_PROTOCOL)])
libc = __import__("ctypes").CDLL(None, use_errno=True)
blocking = libc.socket(PF_KEY, socket.SOCK_RAW, V2)
print(fcntl.fcntl(blocking, fcntl.F_GETFL) & os.O_NONBLOCK, fcntl.fcntl(blocking, fcntl.F_GETFD))
"""
    assert python(run_dir, script).splitlines() == ["True 1 EAGAIN", "True", "[15, 3, 2]", "0 0"]


def test_a_key_socket_is_neither_bound_nor_connected(run_dir: Path) -> None:
    script = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
key = libc.socket(PF_KEY, socket.SOCK_RAW, V2)
for call in (libc.bind, libc.connect):
    for family in (PF_KEY, socket.AF_UNIX, socket.AF_INET):
        address = struct.pack("=H14s", family, b"/x")
        print(call(key, address, 16), errno.errorcode[ctypes.get_errno()])
"""
    assert python(run_dir, script).splitlines() == ["-1 EINVAL"] * 6


@pytest.mark.parametrize(
    ("dialect", "kind", "protocol", "answer"),
    [
        ("linux", 2, 2, "ESOCKTNOSUPPORT"),
        ("linux", 3, 0, "EPROTONOSUPPORT"),
        ("linux", 3, 1, "EPROTONOSUPPORT"),
        ("freebsd", 2, 2, "EPROTONOSUPPORT"),
        ("freebsd", 2, 0, "EPROTOTYPE"),
        ("kame", 3, 1, "EPROTONOSUPPORT"),
    ],
)
def test_a_wrong_type_or_protocol_is_answered_as_by_a_kernel(
    run_dir: Path, dialect: str, kind: int, protocol: int, answer: str
) -> None:
    script = f"print(outcome(lambda: socket.socket(PF_KEY, {kind}, {protocol})))"
    assert python(run_dir, script, dialect) == answer


def test_a_program_whose_daemon_has_gone_sees_a_kernel_without_pf_key(run_dir: Path, tmp_path: Path) -> None:
    script = f"""
os.environ["SALLET_RUN_DIR"] = "{tmp_path}"
os.execv(sys.executable, [sys.executable, "-c", '''
import socket
try:
    socket.socket(15, 3, 2)
except OSError as error:
    print(error.errno)
'''])
"""
    assert python(run_dir, script) == str(errno.EAFNOSUPPORT)


def test_a_long_run_directory_is_reached(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 80) / ("e" * 80)
    long.mkdir(parents=True)
    with daemon(long):
        assert python(long, "print(register(socket.socket(PF_KEY, 3, V2)))") == "(7, 0, True)"


def test_what_cannot_be_started_is_said(run_dir: Path, tmp_path: Path) -> None:
    no_daemon = sallet_run(tmp_path, "true")
    assert no_daemon.returncode == 5
    assert "sallet up" in no_daemon.stderr
    not_found = sallet_run(run_dir, "there-is-no-such-program")
    assert (not_found.returncode, "not found" in not_found.stderr) == (127, True)
    script = tmp_path / "empty"
    script.write_text("")
    script.chmod(0o755)
    assert sallet_run(run_dir, str(script)).returncode == 126
    assert sallet_run(run_dir, "sh", "-c", "exit 7").returncode == 7


def test_other_libraries_stay_loaded(run_dir: Path, tmp_path: Path) -> None:
    before = os.environ.get("LD_PRELOAD")
    assert before is None
    done = sallet_run(
        run_dir, "sh", "-c", 'echo "$LD_PRELOAD $SALLET_DIALECT $SALLET_RUN_DIR"', dialect="kame"
    )
    library, dialect, directory = done.stdout.split()
    assert (Path(library).name, dialect, directory) == ("libsallet_preload.so", "kame", str(run_dir))
