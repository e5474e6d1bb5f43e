"""What the preload library asks for whom, and when: a daemon of the test's own listens.

No engine enters. Answers to: rust/bindings/preload/{pfkey_reply,udp_encap,leaving}.c, sallet.pcb.protocol.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from netns import need
from sallet import native
from sallet.pcb import protocol
from sallet.pcb.protocol import Kind, Reply, Request

SLOW_SECS = 0.3
LEAVE = 10
"""The request (a dump) after which the daemon is gone."""
PRELUDE = """
import errno, os, socket, struct, sys, time
def outcome(action):
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno]
def header(kind, sequence, pid=os.getpid(), words=2):
    return struct.pack("=BBBBHHII", 2, kind, 0, 0, words, 0, sequence, pid)
def waiting(key):
    found = []
    try:
        while True:
            found.append(struct.unpack_from("=I", key.recv(4096, socket.MSG_DONTWAIT), 8)[0])
    except BlockingIOError:
        return found
"""
BOUND = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
ENCAP = "outcome(lambda: s.setsockopt(17, {option}, {value}))"


class FakeDaemon:
    """Answers PF_KEY slowly, between messages for everybody, and notes what is asked about sockets."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.asked: list[tuple[Kind, int, int]] = []
        """Kind, value, and the user who asks."""
        self.refuses = 0
        self._open: list[socket.socket] = []
        for name, serve in (("pfkey.linux.sock", self._answer_slowly), (protocol.SOCKET, self._note)):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(str(run_dir / name))
            listener.listen()
            self._open.append(listener)
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    def run(self, script: str, dialect: str = "linux") -> str:
        """Run a Python program with the library before it."""
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + script],
            env={
                **os.environ,
                "LD_PRELOAD": str(native.PRELOAD),
                "SALLET_RUN_DIR": str(self.run_dir),
                "SALLET_DIALECT": dialect,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """Stop listening; the threads end with their connections."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket, serve: object) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                threading.Thread(target=serve, args=(accepted,), daemon=True).start()  # type: ignore[arg-type]

    @staticmethod
    def _answer_slowly(program: socket.socket) -> None:
        with program, suppress(OSError):
            while request := program.recv(4096):
                if request[1] == LEAVE:
                    return
                *_, sequence, pid = struct.unpack_from("=BBBBHHII", request)
                program.send(struct.pack("=BBBBHHII", 2, 8, 0, 3, 2, 0, 901, 0))
                time.sleep(SLOW_SECS)
                program.send(struct.pack("=BBBBHHII", 2, 8, 0, 3, 4, 0, 902, 0) + bytes(16))
                program.send(struct.pack("=BBBBHHII", 2, request[1], 0, 0, 2, 0, sequence, pid))

    def _note(self, program: socket.socket) -> None:
        credentials = program.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        user = struct.unpack("3i", credentials)[1]
        with program, suppress(OSError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(program, 8192, 2)
                if not data:
                    return
                request = Request.decode(data)
                self.asked.append((request.kind, request.value, user))
                if request.kind is Kind.CONNECT:
                    adopted = socket.socket(fileno=descriptors[0])
                    threading.Thread(target=self._note, args=(adopted,), daemon=True).start()
                    continue
                mark = protocol.MARK_ENCAP if request.value else 0
                with socket.socket(fileno=descriptors[0]) as asking:
                    if not self.refuses:
                        asking.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                program.send(Reply(request.kind, self.refuses).encode())


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDaemon]:
    if not native.PRELOAD.exists():
        need("engine")
    made = FakeDaemon(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    "send",
    [
        "key.send(header(7, 5))",
        "os.write(key.fileno(), header(7, 5))",
        "os.writev(key.fileno(), [header(7, 5)[:6], header(7, 5)[6:]])",
        "key.sendmsg([header(7, 5, words=4), bytes(16)])",
    ],
)
def test_a_request_returns_when_its_reply_is_there(fake: FakeDaemon, send: str) -> None:
    # OpenIKED waits one millisecond for a reply, because a kernel has given it by then.
    script = f"""
key = socket.socket(15, socket.SOCK_RAW, 2)
{send}
print(struct.unpack_from("=I", key.recv(16, socket.MSG_PEEK), 8)[0], waiting(key))
"""
    assert fake.run(script) == "901 [901, 902, 5]"


@pytest.mark.parametrize(
    "take",
    [
        "key.recv(4096)",
        "key.recv(16, socket.MSG_PEEK)",
        "c_call(libc.recvfrom, key.fileno(), room, 100, 0, None, None)",
        "c_call(libc.__read_chk, key.fileno(), room, 100, 100)",
        "c_call(libc.__recv_chk, key.fileno(), room, 100, 100, 0)",
        "os.read(key.fileno(), 4096)",
    ],
)
def test_when_the_daemon_goes_a_key_socket_falls_silent(fake: FakeDaemon, take: str) -> None:
    # A kernel's never ends, and programs such as OpenIKED would read its end for ever.
    script = f"""
import ctypes, select
libc, room = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(100)
def c_call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
key = socket.socket(15, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 2)
watch = select.epoll(); watch.register(key, select.EPOLLIN)
key.send(header(10, 5))
print(bool(watch.poll(5)), outcome(lambda: {take}))
print(watch.poll(0.1), select.select([key], [], [], 0.1)[0], outcome(lambda: key.send(header(7, 6))))
watch.register(key, select.EPOLLIN)
print(watch.poll(0.1), outcome(lambda: key.recv(1, socket.MSG_DONTWAIT)), key.get_inheritable())
"""
    assert fake.run(script).splitlines() == ["True ENETDOWN", "[] [] EPIPE", "[] EAGAIN False"]


def test_the_end_of_anything_else_is_still_an_end(fake: FakeDaemon) -> None:
    script = """
a, b = socket.socketpair(); b.close()
r, w = os.pipe(); os.close(w)
print(a.recv(1), a.recvfrom(1)[0], os.read(r, 1), open("/dev/null").read() == "")
"""
    assert fake.run(script) == "b'' b'' b'' True"


def test_what_gets_no_reply_is_not_waited_for(fake: FakeDaemon) -> None:
    script = """
key = socket.socket(15, socket.SOCK_RAW, 2)
start = time.monotonic()
key.send(header(6, 5))  # ACQUIRE
key.send(header(7, 6)[:12])  # half a header: send() fails with a kernel
other, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
other.send(header(7, 7))  # not PF_KEY, though it looks alike
print(time.monotonic() - start < 0.2)
"""
    assert fake.run(script) == "True"


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: marks cannot be set")
@pytest.mark.parametrize(
    ("dialect", "option"), [("linux", 100), ("netbsd", 100), ("freebsd", 1)], ids=lambda value: str(value)
)
def test_esp_in_udp_is_asked_of_the_daemon(fake: FakeDaemon, dialect: str, option: int) -> None:
    on, off = ENCAP.format(option=option, value=2), ENCAP.format(option=option, value=0)
    read = f"s.getsockopt(17, {option})"
    mark = "s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)"
    script = f"{BOUND}print({read}, {on}, {read}, {mark}, {off}, {read}, {on})"
    assert fake.run(script, dialect) == "0 None 2 0 None 0 None"
    assert [each[:2] for each in fake.asked] == [(Kind.ENCAP, 2), (Kind.ENCAP, 0), (Kind.ENCAP, 2)]


@pytest.mark.parametrize(
    ("dialect", "option", "value", "length"),
    [
        ("linux", 1, 2, 4),  # UDP_CORK
        ("kame", 100, 0, 4),
        ("freebsd", 1, 1, 4),
        ("freebsd", 1, 0, 4),
        ("linux", 100, 0, 4),
        ("linux", 100, 3, 4),  # L2TP
        ("linux", 101, 1, 4),  # UDP_NO_CHECK6_TX
    ],
)
def test_what_is_linux_own_stays_with_linux(
    fake: FakeDaemon, dialect: str, option: int, value: int, length: int
) -> None:
    words = struct.pack("=i", value)[:length]
    script = f"{BOUND}print(outcome(lambda: s.setsockopt(17, {option}, {words!r})))"
    plain = subprocess.run(
        [sys.executable, "-c", PRELUDE + script], capture_output=True, text=True, timeout=60, check=True
    )
    assert fake.run(script, dialect) == plain.stdout.strip()
    assert fake.asked == []


def test_a_cork_still_holds_datagrams_back(fake: FakeDaemon) -> None:
    script = """
far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); far.bind(("127.0.0.1", 0)); far.settimeout(5)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(far.getsockname())
s.setsockopt(17, 1, 1); s.send(b"one "); s.send(b"datagram"); print(s.getsockopt(17, 1))
s.setsockopt(17, 1, 0); print(far.recv(100).decode())
"""
    assert fake.run(script, "freebsd").splitlines() == ["1", "one datagram"]


def test_a_refusal_is_told_and_a_daemon_that_is_gone_as_well(fake: FakeDaemon) -> None:
    fake.refuses = errno.EPERM
    script = BOUND + f"print({ENCAP.format(option=100, value=2)})"
    assert fake.run(script) == "EPERM"
    fake.close()
    assert fake.run(script) == "EHOSTUNREACH"


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: marks cannot be set")
def test_an_endpoint_without_a_port_begins_with_its_port(fake: FakeDaemon) -> None:
    script = f"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print({ENCAP.format(option=100, value=2)}, s.bind(("127.0.0.1", 0)))
"""
    assert fake.run(script) == "None None"
    assert [each[:2] for each in fake.asked] == [(Kind.ENCAP, 2), (Kind.ENCAP, 2)]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: no user to become")
def test_a_daemon_in_its_own_root_is_heard_as_who_it_is(fake: FakeDaemon, tmp_path: Path) -> None:
    # As OpenIKED: sockets from a privileged parent, a child in an empty root, a user without rights.
    empty = tmp_path / "empty"
    empty.mkdir()
    script = f"""
{BOUND}
if os.fork() == 0:
    os.chroot({str(empty)!r}); os.chdir("/"); os.setresuid(65534, 65534, 65534)
    answers = [{ENCAP.format(option=100, value=2)} for _ in range(2)]
    os._exit(answers != [None, None])
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert fake.run(script) == "0"
    kinds = [(kind, user) for kind, _, user in fake.asked]
    assert sorted(kinds) == sorted([(Kind.CONNECT, 0), (Kind.ENCAP, 65534)] * 2)
