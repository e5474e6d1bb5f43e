"""What `sallet monitor` makes of a conversation: words, pairs, JSON, colours, filters, a clean end.

No key enters what it shows. Answers to: sallet.cli.monitor, sallet.watch, sallet.lang.conversation.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sallet import watch
from sallet.cli import monitor
from sallet.cli.main import main
from sallet.client import ControlClient, PfkeyClient
from sallet.lang import conversation
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Key, Lifetime, Message, Policy, Request, Sa, Sa2
from sallet.watch import Pairing, Watched
from unit.daemon_process import daemon

LINUX = DIALECTS["linux"]
KEY = bytes(range(100, 132))
ADD = Message(
    Msg.ADD,
    3,
    seq=7,
    pid=99,
    extensions={
        Ext.SA: Sa(0x1000, 32, auth=5, encrypt=12),
        Ext.X_SA2: Sa2(1, 0, 5),
        Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
        Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
        Ext.LIFETIME_HARD: Lifetime(addtime=60),
        Ext.KEY_AUTH: Key(256, KEY),
        Ext.KEY_ENCRYPT: Key(128, KEY[:16]),
    },
)


def heard(message: Message, way: str, at: int = 0, client: int = 1) -> Watched:
    event = {
        "client": client,
        "pid": 99,
        "uid": 0,
        "dialect": "linux",
        "way": way,
        "time_ns": at,
        "data": codec.encode(message, LINUX).hex(),
    }
    return watch.read(event)


def test_a_message_is_said_in_words() -> None:
    assert conversation.summary(ADD, LINUX) == (
        "ADD esp spi 0x00001000 aes-cbc hmac-sha2-256-128 replay 32 transport reqid 5 "
        "from 192.0.2.1 to 192.0.2.2 hard (add 60) mac key of 256 bits cipher key of 128 bits"
    )
    request = Request(50, 2, 2, 0, Address(ip_address("2001:db8::1")), Address(ip_address("2001:db8::2")))
    net = Address(ip_address("10.0.0.0"), 53, 8, 17)
    sides: dict[Ext, Any] = {Ext.ADDRESS_SRC: net, Ext.X_POLICY: Policy(2, 2, 9, 0, (request,))}
    assert conversation.summary(Message(Msg.X_SPDADD, extensions=sides), LINUX) == (
        "SPDADD from 10.0.0.0/8[53] outbound ipsec esp/tunnel/2001:db8::1-2001:db8::2/require id 9"
    )


def test_a_reply_is_paired_with_its_request() -> None:
    pairing = Pairing()
    assert pairing.pair(heard(ADD, "asked", 1_000_000)).latency_ns is None
    assert pairing.pair(heard(ADD, "answered", 9_000_000, client=2)).latency_ns is None
    assert pairing.pair(heard(ADD, "answered", 3_500_000)).latency_ns == 2_500_000
    assert pairing.pair(heard(ADD, "answered", 3_500_000)).latency_ns is None


def test_every_entry_of_a_dump_belongs_to_its_request() -> None:
    pairing = Pairing()
    pairing.pair(heard(Message(Msg.DUMP, seq=44, pid=99), "asked", 10))
    found = [
        pairing.pair(heard(Message(Msg.DUMP, seq=seq, pid=99), "answered", 20 + seq)) for seq in (2, 1, 0, 0)
    ]
    assert [one.latency_ns for one in found] == [12, 11, 10, None]


def test_what_is_kept_is_bounded() -> None:
    pairing = Pairing()
    for seq in range(watch.REQUESTS_KEPT_MAX + 10):
        pairing.pair(heard(Message(Msg.GET, seq=seq), "asked"))
    assert len(pairing._asked) == watch.REQUESTS_KEPT_MAX
    pairing.pair(heard(Message(Msg.FLUSH), "went"))
    assert not pairing._asked


def test_lines_for_people() -> None:
    refused = Message(Msg.ADD, 3, errno.EEXIST, 7, 99)
    pairing = Pairing()
    pairing.pair(heard(ADD, "asked", 0))
    assert monitor.text_of(pairing.pair(heard(refused, "answered", 1_500_000))) == (
        "ADD seq 7 failed: File exists [1.500 ms]"
    )
    event = {"client": 3, "pid": 4, "uid": 5, "dialect": "kame", "time_ns": 0, "data": "02ff00"}
    assert monitor.text_of(watch.read({**event, "way": "asked"})).startswith(
        "malformed: 3 octets, type 255: "
    )
    assert monitor.text_of(watch.read({**event, "way": "came", "data": ""})) == (
        "connected: pid 4, uid 5, dialect kame"
    )
    missed = watch.read({**event, "way": "missed", "data": "02006900" + "02000000" + "00" * 8})
    assert "ENOBUFS" in monitor.text_of(missed)


# With a daemon.


def listen(run_dir: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start the verb in a process of its own, and wait until it listens."""
    started = subprocess.Popen(
        [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(run_dir), "monitor", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    return started


def talk_until(process: subprocess.Popen[str], run_dir: Path, lines: int) -> list[str]:
    """Have a conversation again and again until the watcher has seen enough of it."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seen = ""
    deadline = time.monotonic() + 30
    while seen.count("\n") < lines and time.monotonic() < deadline:
        with PfkeyClient(run_dir, "linux") as client:
            client.request(ADD, check=False)
            client.request(Message(Msg.GET, 3, extensions=ADD.extensions), check=False)
            client.request(Message(Msg.FLUSH), check=False)
        with suppress(TypeError):  # nothing there yet
            seen += process.stdout.read()
        time.sleep(0.05)
    return seen.splitlines()


def test_json_lines_of_a_daemon_have_no_key_and_pair(tmp_path: Path) -> None:
    with daemon(tmp_path / "run"):
        watcher = listen(tmp_path / "run", "--json")
        lines = [json.loads(line) for line in talk_until(watcher, tmp_path / "run", 20)]
        watcher.send_signal(signal.SIGINT)
        _, errors = watcher.communicate(timeout=20)
    assert (watcher.returncode, errors) == (0, "")
    assert {line["schema"] for line in lines} == {"sallet.monitor/1"}
    assert KEY.hex() not in json.dumps(lines)
    adds = [line for line in lines if line["message"] and line["message"]["type"] == "add"]
    assert adds[0]["message"]["extensions"]["key_auth"] == {"bits": 256}
    answers = [line for line in lines if line["way"] == "answered" and line["message"]["type"] != "flush"]
    assert len(answers) > 2
    assert all(line["latency_ns"] > 0 for line in answers[1:])
    assert {line["pid"] for line in lines} == {os.getpid()}
    assert {"came", "went"} <= {line["way"] for line in lines}


def test_lines_without_a_terminal_have_no_colour_and_filters_hold(tmp_path: Path) -> None:
    with daemon(tmp_path / "run"):
        watcher = listen(tmp_path / "run", "--type", "get", "--count", "4", PYTHONIOENCODING="ascii")
        lines = talk_until(watcher, tmp_path / "run", 4)
        assert watcher.wait(timeout=20) == 0
        watcher.communicate()
    assert len(lines) == 4
    assert "\x1b" not in "".join(lines)
    assert all(" GET " in line for line in lines)
    assert " -> GET esp" in lines[0] or " <- GET esp" in lines[0]


def test_no_color_is_respected_and_clients_differ(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    clients = [heard(ADD, "asked", client=client) for client in (1, 2)]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    for no_color in (False, True):
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        show = monitor._painter()
        for one in clients:
            show(one)
        first, second = capsys.readouterr().out.splitlines()
        # Green and yellow: a client keeps its colour.
        assert ("\x1b[32m" in first, "\x1b[33m" in second) == (not no_color, not no_color)


def test_a_watcher_that_does_not_read_costs_nobody_else(tmp_path: Path) -> None:
    """What it misses is counted and said; the daemon keeps no more than a bounded queue for it."""
    with daemon(tmp_path / "run"), ControlClient(tmp_path / "run") as stuck:
        told = stuck.stream("monitor")
        with PfkeyClient(tmp_path / "run", "linux") as client:
            client.request(Message(Msg.FLUSH))
            first = next(told)  # it listens by now, and then reads no more
            for _ in range(12):
                client.pipeline([Message(Msg.FLUSH)] * 2000)
        missed = 0
        seen = 0
        with PfkeyClient(tmp_path / "run", "linux") as client:
            for event in told:
                seen += 1
                missed += event.get("missed", 0)
                if missed:
                    break
                if seen % 500 == 0:
                    client.request(Message(Msg.FLUSH))
        assert first["way"] in ("asked", "came", "answered")
        assert missed > 1000


def test_no_daemon_is_said(tmp_path: Path, capsys: Any) -> None:
    assert main(["--run-dir", str(tmp_path), "monitor"]) == 5
    assert "sallet up" in capsys.readouterr().err
