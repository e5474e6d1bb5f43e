"""Sixty-four clients at once that register, add, dump and go away in the middle, and what is left of them.

No daemon inside this process: what leaks is seen from outside, in descriptors, memory and databases.
Answers to RFC 2367 §1 and §3.1.7; `make test-clients` takes the full count.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sallet.client import ControlClient, PfkeyClient
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Key, Message, Sa
from unit.daemon_process import DaemonProcess, daemon

CLIENTS = 64
PATIENCE_SECS = 60.0
"""Nobody waits so long unless the daemon stands still."""
CYCLES = int(os.environ.get("SALLET_CLIENT_CYCLES", "512"))
LINUX = DIALECTS["linux"]
STANDING = 400
"""SAs that are there all the time, so that dumps are long enough to be broken off."""


def add(spi: int) -> bytes:
    extensions: dict[Ext, Any] = {
        Ext.SA: Sa(spi, auth=5, encrypt=12),
        Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
        Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
        Ext.KEY_AUTH: Key(256, bytes(range(32))),
        Ext.KEY_ENCRYPT: Key(128, bytes(range(16))),
    }
    return codec.encode(Message(Msg.ADD, 3, seq=spi, extensions=extensions), LINUX)


REGISTER = codec.encode(Message(Msg.REGISTER, 3, seq=1), LINUX)
DUMP = codec.encode(Message(Msg.DUMP, seq=2), LINUX)
SPDDUMP = codec.encode(Message(Msg.X_SPDDUMP, seq=3), LINUX)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[DaemonProcess]:
    with daemon(tmp_path / "run") as started:
        yield started


def memory_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def settled(run_dir: Path) -> dict[str, int]:
    """Give the daemon's counters once it has seen that everybody is gone."""
    with ControlClient(run_dir) as control:
        for _ in range(200):
            counters: dict[str, int] = control.call("status")["pfkey"]
            if not counters["connections"]:
                return counters
            time.sleep(0.05)
    return counters


def fewest_descriptors(pid: int, wanted: int) -> int:
    """Count a process' descriptors; the daemon closes the last connections in a turn of its own."""
    for _ in range(200):
        if (found := len(os.listdir(f"/proc/{pid}/fd"))) <= wanted:
            break
        time.sleep(0.05)
    return found


def connect(run_dir: Path, stack: ExitStack) -> socket.socket:
    program = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    program.connect(str(run_dir / "pfkey.linux.sock"))
    return program


def one_round(run_dir: Path, spis: Iterator[int], dice: random.Random) -> None:
    """Let all clients do everything at once, and each go away at a place of its own."""
    with ExitStack() as stack:
        programs = []
        for _ in range(CLIENTS):
            # Policies there are none: that dump is one message, and with the other two replies three.
            dump, most = dice.choice(((DUMP, 30), (DUMP, 30), (SPDDUMP, 3)))
            programs.append((connect(run_dir, stack), dump, dice.randrange(most + 1)))
        for program, dump, _ in programs:
            program.settimeout(PATIENCE_SECS)
            for data in (REGISTER, add(next(spis)), dump):
                program.send(data)
        dice.shuffle(programs)
        for program, _, taken in programs:
            for _ in range(taken):
                program.recv(1 << 16)
            program.close()


def test_clients_that_go_away_leave_nothing(running: DaemonProcess) -> None:
    run_dir, pid = running.run_dir, running.process.pid
    with PfkeyClient(run_dir, "linux") as client:
        client.pipeline([codec.decode(add(0x1000 + number), LINUX) for number in range(STANDING)])
    dice = random.Random(5)
    spis = iter(range(0x10000, 1 << 31))
    warm_up = 2
    for _ in range(warm_up):
        one_round(run_dir, spis, dice)
    settled(run_dir)
    descriptors, memory = len(os.listdir(f"/proc/{pid}/fd")), memory_bytes(pid)
    rounds = max(CYCLES // CLIENTS, 1)
    for _ in range(rounds):
        one_round(run_dir, spis, dice)
        with PfkeyClient(run_dir, "linux") as client:
            # Their SAs stay: they are the database's, not the connections'.
            client.request(Message(Msg.FLUSH, 3))
            client.pipeline([codec.decode(add(0x1000 + number), LINUX) for number in range(STANDING)])
    counters = settled(run_dir)
    assert (counters["connections"], counters["registered"], counters["dumps"]) == (0, 0, 0)
    assert counters["internal_errors"] == 0
    assert fewest_descriptors(pid, descriptors) <= descriptors
    assert memory_bytes(pid) - memory < 16 << 20
    with ControlClient(run_dir) as control:
        assert control.call("status")["sas"] == STANDING
    grown = (memory_bytes(pid) - memory) / 1e6
    print(f"{rounds * CLIENTS} clients, {CLIENTS} at once: descriptors {descriptors}, memory {grown:+.1f} MB")


@pytest.mark.bug_row(28)
def test_sixty_four_sockets_register_at_once(running: DaemonProcess) -> None:
    """Row 28: whoever registers, however many at once, gets the same table."""
    with ExitStack() as stack:
        programs = [connect(running.run_dir, stack) for _ in range(CLIENTS)]
        for program in programs:
            program.settimeout(PATIENCE_SECS)
            program.send(REGISTER)
        answers = {program.recv(1 << 16)[4:] for program in programs}
    assert len(answers) == 1
    assert len(answers.pop()) > 100
