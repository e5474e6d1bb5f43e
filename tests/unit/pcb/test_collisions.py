"""Linux's own options whose numbers are other systems' policy options: under `sallet run` they do as ever.

The same calls are made without and with the library, in every dialect; all answers must be equal.
Answers to: ip(7), ipv6(7), udp(7), socket(7); rust/bindings/preload/options.c.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import environment, need
from unit.daemon_process import daemon

PROGRAM = """
import errno, os, socket, struct
MINTTL, NODEFRAG, LOOP, JOIN_ANYCAST, LEAVE_ANYCAST, CORK = 21, 22, 34, 27, 28, 1
def tell(name, action):
    try:
        print(name, action())
    except OSError as error:
        print(name, errno.errorcode[error.errno])
def option(name, one, level, number, *values):
    for value in values:
        tell(name + " set", lambda: one.setsockopt(level, number, value))
        tell(name + " get", lambda: one.getsockopt(level, number))
        for size in (1, 4, 16, 20, 24):
            tell(f"{name} get {size}", lambda: one.getsockopt(level, number, size))
tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
udp6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for one in (tcp, udp):
    option("minttl", one, 0, MINTTL, 255, struct.pack("i", 3), b"\\7", bytes(20))
    option("nodefrag", one, 0, NODEFRAG, 1, bytes(20))
    option("loop", one, 0, LOOP, 0, b"\\1", 1)
    option("loop6", udp6, 41, LOOP, 1, bytes(20))
try:
    raw = socket.socket(type=socket.SOCK_RAW, proto=1)
    option("raw nodefrag", raw, 0, NODEFRAG, 1, 0, struct.pack("ii", 1, 0) + bytes(12))
except PermissionError:
    print("no raw sockets")
request = socket.inet_pton(socket.AF_INET6, "fe80::1") + struct.pack("i", 1)
for number in (JOIN_ANYCAST, LEAVE_ANYCAST, LEAVE_ANYCAST):
    tell("anycast", lambda: udp6.setsockopt(41, number, request))
tell("anycast get", lambda: udp6.getsockopt(41, LEAVE_ANYCAST, 20))
option("cork", udp, 17, CORK, 1, 0)
receiver = socket.socket(type=socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(5)
sender = socket.socket(type=socket.SOCK_DGRAM)
sender.connect(receiver.getsockname())
sender.setsockopt(17, CORK, 1)
sender.send(b"one ")
sender.send(b"datagram")
sender.setsockopt(17, CORK, 0)
print(receiver.recv(100))
option("mark", udp, 1, 36, 0x01223344, 0)
option("type", udp, 1, socket.SO_TYPE, 5)
left, right = socket.socketpair()
for one in (left, udp, tcp):
    print([one.getsockopt(1, number) for number in (socket.SO_DOMAIN, socket.SO_TYPE, socket.SO_PROTOCOL)])
reader, writer = os.pipe()
tell("pipe", lambda: os.write(writer, b"x"))
tell("no socket", lambda: socket.socket(fileno=os.dup(reader)))
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need("engine")
    directory = tmp_path_factory.mktemp("run")
    with daemon(directory):
        yield directory


@pytest.fixture(scope="module")
def bare() -> str:
    return output([])


def output(front: list[str]) -> str:
    done = subprocess.run(
        [*front, sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("dialect", ["linux", "kame", "netbsd", "freebsd"])
def test_options_of_linux_mean_what_they_mean(run_dir: Path, bare: str, dialect: str) -> None:
    front = [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(run_dir), "run", "--dialect", dialect]
    assert "minttl set None" in bare
    assert "b'one datagram'" in bare
    assert output([*front, "--"]) == bare
