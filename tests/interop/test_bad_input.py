"""What is wrong is refused, said and changes nothing: setkey files, and any bytes on any socket of a daemon.

No namespace is needed but for the packet filter: the daemons are embedded ones, with their real sockets.
Answers to: setkey(8), RFC 2367 section 2, `control.protocol`.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interop.stations import drops
from netns import DaemonProcess, Here, Lab, environment, need
from sallet.control import protocol
from sallet.pcb import protocol as pcb_protocol
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Key, Message, Policy, Request, Sa, SpiRange
from sallet.rundir import short_path

KEY = "0x" + "5a" * 20
SA = "add 192.0.2.1 192.0.2.2 esp {:#x} -m transport -E null -A hmac-sha1 " + KEY + ";\n"
POLICY = "spdadd 10.{}.0.0/16 10.9.0.0/16 any -P out ipsec esp/transport//require;\n"
STANDING = SA.format(0x1001) + POLICY.format(1)
"""What every daemon here has before anything bad comes."""


class Victim:
    """A daemon, and what its databases hold."""

    def __init__(self, process: DaemonProcess) -> None:
        self.process = process

    def databases(self) -> list[Any]:
        """Read both databases."""
        return [json.loads(self.process.sallet(verb, "ls", "--json").stdout) for verb in ("sa", "policy")]

    def setkey(self, path: Path, *options: str) -> tuple[int, str, str]:
        """Run a file; give exit status, standard output and standard error."""
        done = self.process.sallet("setkey", *options, "-f", path, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def end(self) -> str:
        """Stop it and give what it said on standard error."""
        assert self.process.process.poll() is None, "the daemon has gone"
        assert self.process.stop() == 0
        stderr = self.process.process.stderr
        return stderr.read() if stderr is not None else ""


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    """An embedded daemon, where the tests run."""
    need("engine")
    here = Here()
    standing = tmp_path / "standing.conf"
    standing.write_text(STANDING, encoding="utf-8")
    yield Victim(DaemonProcess(here, tmp_path / "run", "--mode", "embedded", "--setkey", standing))
    here.close()


# Setkey files.

BAD_LINES = {
    "key length": ("add 192.0.2.1 192.0.2.2 esp 0x1002 -E aes-cbc 0x0011;", 47),
    "algorithm": (f"add 192.0.2.1 192.0.2.2 esp 0x1002 -E serpent {KEY};", 39),
    "prefix": ("spdadd 10.0.0.0/33 10.0.0.1 any -P out none;", 17),
    "semicolon": (SA.format(0x1002).rstrip("\n;"), 1),
}
"""Line, and the column where it is wrong; a missing semicolon is noticed at the next line's first word."""


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_file_with_an_error_is_not_begun(victim: Victim, tmp_path: Path, kind: str) -> None:
    line, column = BAD_LINES[kind]
    path = tmp_path / "bad.conf"
    path.write_text(f"{SA.format(0x1005)}{line}\n{POLICY.format(5)}", encoding="utf-8")
    number = 3 if kind == "semicolon" else 2
    before = victim.databases()
    for options in ((), ("--keep-going",), ("-n",)):
        code, out, err = victim.setkey(path, *options)
        assert code == 1
        assert out == ""
        assert f"{path}:{number}:{column}: " in err
        assert victim.databases() == before


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_daemon_does_not_start_with_an_error(lab: Lab, tmp_path: Path, kind: str) -> None:
    for capability in ("engine", "nft", "tun"):
        need(capability)
    host = lab.namespace("host")
    before = host.run("sh", "-c", "nft list ruleset; ip rule; ip link").stdout
    line, column = BAD_LINES[kind]
    path = tmp_path / "bad.conf"
    path.write_text(f"{SA.format(0x1005)}{line}\n{POLICY.format(5)}", encoding="utf-8")
    words = ("--run-dir", tmp_path / "run", "up", "--mode", "host", "--setkey", path)
    done = host.run(sys.executable, "-m", "sallet.cli.main", *words, check=False, env=environment())
    assert done.returncode == 1
    assert f"{path}:{3 if kind == 'semicolon' else 2}:{column}" in done.stderr
    assert "Traceback" not in done.stderr
    assert host.run("sh", "-c", "nft list ruleset; ip rule; ip link").stdout == before


REFUSED = {
    "File exists": SA.format(0x1001),
    "Invalid argument": "add 192.0.2.1 192.0.2.2 esp 0x1003 -m transport -E null;\n",
}
"""Statements that are well written and that the daemon refuses, by its reason."""


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_takes_the_whole_file_back(victim: Victim, tmp_path: Path, reason: str) -> None:
    before = victim.databases()
    path = tmp_path / "refused.conf"
    change = "delete 192.0.2.1 192.0.2.2 esp 0x1001;\n" if reason != "File exists" else ""
    path.write_text(
        SA.format(0x1005) + POLICY.format(5) + change + REFUSED[reason] + SA.format(0x1006), encoding="utf-8"
    )
    code, out, err = victim.setkey(path)
    number = 4 if change else 3
    assert code == 1
    assert out == ""
    assert f"{path}:{number}:1: refused: {reason}\n" in err
    assert "taken back" in err
    assert _contents(victim.databases()) == _contents(before)


@pytest.mark.parametrize("reason", REFUSED)
def test_keep_going_goes_on_behind_a_refusal(victim: Victim, tmp_path: Path, reason: str) -> None:
    path = tmp_path / "refused.conf"
    path.write_text(SA.format(0x1005) + REFUSED[reason] + POLICY.format(5), encoding="utf-8")
    code, _, err = victim.setkey(path, "--keep-going")
    assert code == 6
    assert f"{path}:2:1: refused: {reason}\n" in err
    assert "1 refused, 2 carried out" in err
    associations, policies = victim.databases()
    assert [each["spi"] for each in associations["sas"]] == [0x1001, 0x1005]
    assert len(policies["policies"]) == 2


@pytest.mark.parametrize("form", ["linux", "kame"])
def test_the_other_forms_act_command_by_command(victim: Victim, tmp_path: Path, form: str) -> None:
    path = tmp_path / "commands.conf"
    text = (
        SA.format(0x1005) + SA.format(0x1001) + "delete 192.0.2.1 192.0.2.2 esp 0x9999;\n" + SA.format(0x1006)
    )
    path.write_text(text, encoding="utf-8")
    code, out, err = victim.setkey(path, "--form", form)
    assert code == 0
    if form == "linux":
        assert err == f"setkey: {path},2: File exists\nsetkey: {path},3: No such process\n"
    else:
        assert out == "The result of line 2: File exists.\nThe result of line 3: No entry.\n"
    assert [each["spi"] for each in victim.databases()[0]["sas"]] == [0x1001, 0x1005, 0x1006]
    # An error of the text ends the run; what stands before it is done.
    path.write_text(SA.format(0x1007) + "frob;\n" + SA.format(0x1008), encoding="utf-8")
    code, out, err = victim.setkey(path, "--form", form)
    assert code == 1
    assert "syntax error" in out + err
    assert [each["spi"] for each in victim.databases()[0]["sas"]] == [0x1001, 0x1005, 0x1006, 0x1007]


def test_the_packet_filter_follows_what_is_taken_back(
    lab: Lab, daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    standing, path = tmp_path / "standing.conf", tmp_path / "refused.conf"
    standing.write_text(STANDING, encoding="utf-8")
    path.write_text(POLICY.format(5) + "spdflush;\n" + POLICY.format(6) + SA.format(0x1001), encoding="utf-8")
    host = lab.namespace("host")
    victim = Victim(daemon(host, "--mode", "host", "--setkey", standing))
    before = _rules(host.run("nft", "list", "ruleset").stdout)
    code, _, err = victim.setkey(path)
    assert code == 1
    assert "refused: File exists" in err
    assert _rules(host.run("nft", "list", "ruleset").stdout) == before
    assert "Traceback" not in victim.end()


def _contents(databases: list[Any]) -> list[Any]:
    """Forget what tells an entry from one that was taken away and put back."""
    return [
        {key: value for key, value in entry.items() if key not in ("serial", "created", "id", "owner")}
        for database in databases
        for rows in database.values()
        if isinstance(rows, list)
        for entry in rows
    ]


def _rules(ruleset: str) -> list[str]:
    return [line.partition(" comment ")[0] for line in ruleset.splitlines()]


# Bytes on sockets.

LENGTHS = range(201)
SOCKET_SECS = 10.0
PFKEY_SOCKETS = {"pfkey.sock": "sallet"} | {f"pfkey.{dialect}.sock": dialect for dialect in DIALECTS}
_NOT_SENT = {Msg.FLUSH, Msg.X_SPDFLUSH}
"""Sixteen bytes of these are a good request to forget everything."""


def test_any_bytes_on_any_socket_do_no_harm(victim: Victim) -> None:
    seed = int(os.environ.get("SALLET_SEED") or random.randrange(1 << 32))
    print(f"seed {seed} (SALLET_SEED={seed} replays it)")
    rng = random.Random(seed)
    run_dir = victim.process.run_dir
    before = victim.databases()
    others = {protocol.SOCKET_NAME, pcb_protocol.SOCKET}
    assert {path.name for path in run_dir.glob("*.sock")} == {*PFKEY_SOCKETS, *others}
    for name, dialect in PFKEY_SOCKETS.items():
        with _connect(run_dir / name, socket.SOCK_SEQPACKET) as program:
            for length in LENGTHS:
                for datagram in (rng.randbytes(length), *_structured(length, dialect, rng)):
                    program.send(datagram)
                    _drain(program)
    for length in LENGTHS:
        with _connect(run_dir / pcb_protocol.SOCKET, socket.SOCK_SEQPACKET) as program:
            program.send(rng.randbytes(length))
            _drain(program)
    for length in LENGTHS:
        for data in (rng.randbytes(length), rng.randbytes(length) + b"\n", *_requests(length, rng)):
            with _connect(run_dir / protocol.SOCKET_NAME, socket.SOCK_STREAM) as program:
                program.send(data)
                _drain(program)
    assert victim.databases() == before
    assert victim.end() == ""


ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    1 << 70,
    1.5,
    "",
    "\ud800",
    "x" * 200,
    "::",
    [],
    {},
    [[]],
    [1],
    [-1, 1 << 70],
]


def test_odd_requests_are_refused_one_by_one(victim: Victim) -> None:
    before = victim.databases()
    good: dict[str, Any] = {"source": "10.0.0.1", "destination": "10.0.0.2"}
    requests: list[Any] = [*ODD_VALUES, *({"id": value, "method": "status"} for value in ODD_VALUES)]
    requests += [{"id": 1, "method": value} for value in ODD_VALUES]
    requests += [{"id": 1, "method": "status", "params": value} for value in ODD_VALUES]
    for method in ("status", "sa.list", "policy.list", "drops", "explain"):
        for name in (
            "source",
            "destination",
            "direction",
            "next_layer",
            "ports",
            "protocol",
            "self",
            "\ud800",
        ):
            base = good if method == "explain" else {}
            requests += [{"id": 1, "method": method, "params": {**base, name: value}} for value in ODD_VALUES]
    with _connect(victim.process.run_dir / protocol.SOCKET_NAME, socket.SOCK_STREAM) as program:
        replies = program.makefile("rb")
        for request in requests:
            program.send(json.dumps(request).encode() + b"\n")
            reply = json.loads(replies.readline())
            assert "result" in reply or reply["error"]["what"]
        # Nesting that no reader follows, and a line without end.
        program.send(b"[" * 60_000 + b"\n")
        assert json.loads(replies.readline())["error"]["what"]
        with suppress(ConnectionError):
            program.send(b"x" * (2 * protocol.REQUEST_BYTES_MAX))
            assert replies.read() == b""
    assert victim.databases() == before
    assert drops(victim.process)["engine"]
    assert victim.end() == ""


def _connect(path: Path, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    with short_path(path) as name:
        made.connect(name)  # Blocking: with a timeout, a full backlog would be an error at once.
    made.settimeout(SOCKET_SECS)
    return made


def _drain(program: socket.socket) -> None:
    """Read what is there, so that the daemon need not wait for us."""
    program.setblocking(False)
    with suppress(BlockingIOError):
        while program.recv(1 << 16):
            pass
    program.settimeout(SOCKET_SECS)


def _structured(length: int, dialect: str, rng: random.Random) -> Iterator[bytes]:
    """Make datagrams of one length that are nearly messages."""
    kind = rng.choice([kind for kind in range(32) if kind not in _NOT_SENT])
    satype = rng.choice((0, 2, 3, 9, 200))
    header = struct.pack("=BBBBHHII", 2, kind, 0, satype, length // 8, 0, length, os.getpid())
    yield (header + rng.randbytes(length))[:length]
    extensions = b""
    while len(extensions) < length:
        words = rng.choice((0, 1, 2, 3, 5))
        extensions += struct.pack("=HH", words, rng.randrange(34)) + rng.randbytes(max(8 * words - 4, 4))
    yield (header + extensions)[:length]
    for whole in _whole_messages(dialect):
        if length < len(whole):
            cut = whole[:length]
            yield cut
            yield cut[:4] + struct.pack("=H", length // 8) + cut[6:] if length >= 6 else cut


def _whole_messages(dialect: str) -> Iterator[bytes]:
    """Make good messages that need their last octet: the destination stands at the end."""
    ends = {
        Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
        Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
    }
    keys = {Ext.KEY_AUTH: Key(256, bytes(32)), Ext.KEY_ENCRYPT: Key(128, bytes(16))}
    policy = Policy(2, 2, requests=(Request(50, 1, 2),))
    for message in (
        Message(Msg.ADD, 3, extensions={Ext.SA: Sa(0x2001, auth=5, encrypt=12), **keys, **ends}),
        Message(Msg.GETSPI, 3, extensions={Ext.SPIRANGE: SpiRange(0x100, 0x200), **ends}),
        Message(Msg.X_SPDADD, extensions={Ext.X_POLICY: policy, **ends}),
    ):
        data = codec.encode(message, DIALECTS[dialect])
        parts, at = [], 16
        while at < len(data):
            words, kind = struct.unpack_from("=HH", data, at)
            parts.append((kind == Ext.ADDRESS_DST, data[at : at + 8 * words]))
            at += 8 * words
        yield data[:16] + b"".join(part for _, part in sorted(parts, key=lambda part: part[0]))


def _requests(length: int, rng: random.Random) -> Iterator[bytes]:
    """Make control requests of about one length that are nearly right."""
    params = {"source": "10.0.0.1", "destination": "10.0.0.2", "ports": [1, 2], "direction": "in"}
    whole = json.dumps({"id": length, "method": "explain", "params": params}).encode()
    yield whole[:length]
    yield whole[:length] + b"\n"
    at = rng.randrange(len(whole))
    yield whole[:at] + rng.randbytes(1) + whole[at + 1 :] + b"\n"
