"""Policies of single sockets, on a wire: what has one is never in clear, not for one packet, and others are.

Every capture begins before the first packet. Answers to: `ipsec(4)` of QNX, NetBSD and FreeBSD, per-socket
policies; rust/bindings/preload, sallet.pcb, sallet.attach.socket_maps.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import interop.capabilities  # noqa: F401 (declares what `need` may ask for)
from interop import policy_peer
from interop.capabilities import NOBODY
from interop.capture import ETHERNET_BYTES, Capture, Heard, chatter, describe
from interop.flows import Flow, all_spis
from interop.policy_peer import CLEAR, OPEN, PROTECTED, SECRET
from interop.stations import drops, guard_counters, quiet
from netns import DaemonProcess, Lab, Namespace, environment, need, wait_until
from unit.native.c_compiler import WARNINGS, compile_c

CONNECTS = int(os.environ.get("SALLET_CONNECTS", "1000"))
CLIENT, SERVERS, IPV6_SERVER = "10.9.0.1", ("10.9.0.2", "10.9.0.3"), "fd09::2"
FLOWS = [
    *(Flow(number, CLIENT, server) for number, server in enumerate(SERVERS, 1)),
    Flow(3, "fd09::1", IPV6_SERVER),
]
PEER = Path(policy_peer.__file__)
LINK = "wire0"
RETRANSMITTED_SECS = 2.0
"""The kernel sends three times in that while."""
pytestmark = [pytest.mark.netns, pytest.mark.slow]

# As the manuals' pages begin.
SYNOPSES = {
    "qnx": ("kame", ("sys/types.h", "netinet/in.h", "netinet6/ipsec.h")),
    "netbsd": ("netbsd", ("sys/types.h", "netinet/in.h", "netipsec/ipsec.h")),
    "freebsd": ("freebsd", ("sys/types.h", "netinet/in.h", "netipsec/ipsec.h", "netipsec/ipsec6.h")),
}
PROGRAM = Path(__file__).with_name("policy_client.c")


@dataclass(frozen=True)
class Scene:
    """A client's namespace and a servers' one, a daemon in each, and no entry in either SPD."""

    client: Namespace
    servers: Namespace
    daemon: DaemonProcess
    far: DaemonProcess

    def command(self, *words: str | Path, dialect: str = "linux") -> list[str | Path]:
        """Give the words that run a program under `sallet run`."""
        front: list[str | Path] = [
            sys.executable,
            "-m",
            "sallet.cli.main",
            "--run-dir",
            self.daemon.run_dir,
            "run",
        ]
        return [*front, "--dialect", dialect, "--", *words]

    def run(self, *words: str | Path, dialect: str = "linux") -> str:
        """Run a program with policies."""
        return self.client.run(*self.command(*words, dialect=dialect), env=environment()).stdout

    def peer(self, *words: str) -> list[str]:
        """Run one of the clients and give what it printed, line by line."""
        return self.run(sys.executable, PEER, *words).splitlines()

    @contextmanager
    def listening(self) -> Iterator[list[Heard]]:
        """Listen on the link; what was heard is in the list afterwards."""
        capture = Capture(self.client, LINK, all_spis(FLOWS), [SECRET])
        heard: list[Heard] = []
        yield heard
        heard.append(capture.end())

    def counts(self) -> dict[str, int]:
        """Ask the client's daemon how many sockets it knows, and how many rules stand."""
        found: dict[str, int] = json.loads(self.daemon.sallet("status", "--json").stdout)["sockets"]
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for capability in ("netns", "engine", "nft", "tun"):
        need(capability)
    lab, directory = Lab(), tmp_path_factory.mktemp("sockets")
    try:
        yield build(lab, directory)
    finally:
        lab.close()


def build(lab: Lab, directory: Path) -> Scene:
    client, servers = lab.namespace("client"), lab.namespace("servers")
    quiet(client)
    quiet(servers)
    lab.link(client, LINK, servers, LINK)
    lab.address(client, LINK, f"{CLIENT}/24", "fd09::1/64")
    lab.address(servers, LINK, *(f"{server}/24" for server in SERVERS), f"{IPV6_SERVER}/64")
    associations = directory / "associations"
    associations.write_text("".join(flow.associations() for flow in FLOWS))
    daemon, far = (
        DaemonProcess(namespace, directory / name, "--mode", "host", "--setkey", associations)
        for name, namespace in (("client", client), ("servers", servers))
    )
    scene = Scene(client, servers, daemon, far)
    command = Scene(client, servers, far, far).command(sys.executable, PEER, "serve", *SERVERS, IPV6_SERVER)
    started = servers.start(*command, env=environment())
    assert started.stdout is not None
    line = started.stdout.readline()
    assert line == "serving\n", line + str(started.communicate()[1])
    return scene


def ports(frame: bytes) -> set[int]:
    """Read the ports of a clear frame."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    at = ETHERNET_BYTES + (40 if kind == 0x86DD else 4 * (frame[ETHERNET_BYTES] & 15))
    return set(struct.unpack_from("!HH", frame, at))


def only_esp(heard: list[Heard], *, besides: int | None = None) -> None:
    """Check that the capture has ESP and, but for one port, nothing else."""
    (found,) = heard
    assert found.others_lost == 0
    assert found.readable == 0
    assert found.flow_packets > 0
    clear = [frame for frame in found.others if chatter(frame) is None and besides not in ports(frame)]
    assert not clear, "\n".join(map(describe, clear))


def in_the_open(heard: list[Heard]) -> list[bytes]:
    return [frame for frame in heard[0].others if CLEAR in ports(frame) and OPEN in frame]


def config(*words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "sallet.cli.main", "config", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment(),
    )
    return shlex.split(done.stdout)


@pytest.mark.parametrize("page", SYNOPSES)
@pytest.mark.parametrize("address", [SERVERS[0], IPV6_SERVER])
def test_a_program_of_the_manuals_protects_one_flow_and_not_the_other(
    scene: Scene, page: str, address: str, tmp_path: Path
) -> None:
    need("gcc")
    dialect, includes = SYNOPSES[page]
    source, program = tmp_path / "client.c", tmp_path / "client"
    source.write_text("".join(f"#include <{each}>\n" for each in includes) + PROGRAM.read_text())
    compile_c(*WARNINGS, source, "-o", program, *config("--cflags", "--libs", "--dialect", dialect))
    with scene.listening() as heard:
        said = scene.run(
            program, address, str(PROTECTED), str(CLEAR), SECRET.decode(), OPEN.decode(), dialect=dialect
        )
    assert said.splitlines() == [
        "entrust at first",
        "out ipsec esp/transport//require",
        "in ipsec esp/transport//require",
        "protected came back",
        "clear came back",
        "discard: Invalid argument",
        "none: Invalid argument",
        "bypass without privilege: Permission denied",
    ]
    only_esp(heard, besides=CLEAR)
    assert in_the_open(heard)


@pytest.mark.parametrize("address", [SERVERS[0], IPV6_SERVER])
def test_a_python_program_protects_one_flow_and_not_the_other(scene: Scene, address: str) -> None:
    with scene.listening() as heard:
        assert scene.peer("two_flows", address) == ["True True"]
    only_esp(heard, besides=CLEAR)
    assert in_the_open(heard)


@pytest.mark.timeout(240)
def test_no_packet_of_many_connections_is_in_clear(scene: Scene) -> None:
    with scene.listening() as heard:
        (line,) = scene.peer("connects", SERVERS[0], str(CONNECTS), "8")
    print(line)
    assert line.split()[0] == str(CONNECTS)
    only_esp(heard)


def test_no_datagram_to_two_peers_is_in_clear(scene: Scene) -> None:
    with scene.listening() as heard:
        assert scene.peer("datagrams", *SERVERS, "50") == ["50"]
    only_esp(heard)


def test_ipv4_from_an_ipv6_socket_is_protected(scene: Scene) -> None:
    with scene.listening() as heard:
        assert scene.peer("dual_stack", SERVERS[0]) == ["True", "True"]
    only_esp(heard)


def test_dup_fork_exec_and_handing_over_keep_the_policy(scene: Scene) -> None:
    with scene.listening() as heard:
        assert set(scene.peer("through_duplicates", SERVERS[0])) == {
            "dup True",
            "closed True",
            "fork True",
            "exec True",
            "handed True",
        }
    only_esp(heard)


def test_rules_go_with_their_sockets(scene: Scene) -> None:
    before = scene.counts()
    scene.peer("datagrams", *SERVERS, "3")
    # What is under way gets a second; then nothing is left, whoever held the socket.
    assert wait_until(lambda: scene.counts()["sockets"] <= before["sockets"], timeout=5)
    policies = json.loads(scene.daemon.sallet("policy", "ls", "--json").stdout)
    assert policies["policies"] == []
    assert {rule["selector"]["next_layer"] for rule in policies["sockets"]} <= {6}


def test_rules_are_listed_and_explain_names_them(scene: Scene) -> None:
    with protected(scene) as port:
        listed = scene.daemon.sallet("policy", "ls").stdout
        assert f"[{port}]" in listed or str(port) in listed
        assert "out (socket)" in listed
        words = ("explain", CLIENT, SERVERS[0], "udp", f"{port}:{PROTECTED}", "--json")
        found = json.loads(scene.daemon.sallet(*words).stdout)
        assert found["entry"]["action"] == found["verdict"]["action"] == "protect"


@contextmanager
def protected(scene: Scene) -> Iterator[int]:
    """Let a program hold a UDP socket with a policy, and give its port."""
    command = scene.command(sys.executable, PEER, "hold")
    holder = scene.client.start(*command, env=environment(), stdin=subprocess.PIPE)
    assert holder.stdout is not None
    yield int(holder.stdout.readline())
    holder.communicate(timeout=20)


def test_a_system_call_behind_our_back_sends_nothing(scene: Scene) -> None:
    before = guard_counters(scene.client)["OutUnconfirmed"]
    with scene.listening() as heard:
        assert scene.peer("behind_our_back", SERVERS[0]) == ["-1 EPERM"]
    assert guard_counters(scene.client)["OutUnconfirmed"] == before + 1
    assert drops(scene.daemon)["guard"]["OutUnconfirmed"] == before + 1
    assert not [frame for frame in heard[0].others if chatter(frame) is None]


def test_another_user_may_not_set_any_policy_in_the_dialect_of_linux(scene: Scene) -> None:
    assert scene.peer("privilege", str(NOBODY)) == ["ipsec EPERM", "bypass EPERM", "entrust EPERM"]


def test_without_the_daemon_calls_fail_and_nothing_leaves(scene: Scene) -> None:
    with scene.listening() as heard:
        daemon = scene.daemon
        for number in (signal.SIGTERM, signal.SIGKILL):
            daemon = calls_without_daemon(replace(scene, daemon=daemon), number)
    clear = [frame for frame in heard[0].others if chatter(frame) is None]
    assert not clear, "\n".join(map(describe, clear))


def calls_without_daemon(scene: Scene, number: signal.Signals) -> DaemonProcess:
    """End the daemon while a program has sockets with policies, start another, and give that."""
    client = scene.client.start(
        *scene.command(sys.executable, PEER, "without_daemon", SERVERS[0]),
        env=environment(),
        stdin=subprocess.PIPE,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "True True\n"
    waiting = unanswered(scene)
    scene.daemon.stop(number)
    time.sleep(RETRANSMITTED_SECS)
    end(waiting)
    told = ask(client)
    assert set(told.values()) == {"EHOSTUNREACH"}, told
    # A daemon that was started since does not know the policies, and lets nothing go either.
    associations = scene.daemon.run_dir.parent / "associations"
    again = DaemonProcess(scene.client, scene.daemon.run_dir, "--mode", "host", "--setkey", associations)
    # It counts from one again, which the other side has seen already.
    scene.far.sallet("setkey", "-c", input="flush;" + associations.read_text())
    told = ask(client)
    assert told.pop("setsockopt") == str(int(socket.SOCK_STREAM))
    assert set(told.values()) == {"EHOSTUNREACH"}, told
    end(client)
    return again


def unanswered(scene: Scene) -> subprocess.Popen[str]:
    """Start a program that has sent what the other side cannot open, and its kernel sends again."""
    sender = scene.client.start(
        *scene.command(sys.executable, PEER, "unanswered", SERVERS[0]),
        env=environment(),
        stdin=subprocess.PIPE,
    )
    assert sender.stdin is not None
    assert sender.stdout is not None
    assert sender.stdout.readline() == "True\n"
    scene.far.sallet("setkey", "-F")
    sender.stdin.write("\n")
    sender.stdin.flush()
    assert int(sender.stdout.readline()) > 0
    return sender


def end(program: subprocess.Popen[str]) -> None:
    """End a program that waits."""
    program.kill()
    program.wait(20)


def ask(client: subprocess.Popen[str]) -> dict[str, str]:
    """Let the client make its calls, and give what each of them answered."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("\n")
    client.stdin.flush()
    found: dict[str, str] = ast.literal_eval(client.stdout.readline())
    return found
