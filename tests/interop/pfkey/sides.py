"""The two sides of a comparison: a real kernel that plays scenarios inside, and an engine of ours, here.

No verdict may be made here. Answers to RFC 2367 §1, ARCHITECTURE.md section E.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sallet
from interop.linux_peer import LinuxPeer
from interop.pfkey import agent
from interop.pfkey.scenario import Bind, Datagram, Outcome, Scenario, Send, Step, Wait
from netns import Here
from sallet import _core
from sallet.attach.socket_maps import Flow
from sallet.pcb import policies
from sallet.pcb.table import Pcb, SocketTable
from sallet.pfkey.dialects import LINUX
from sallet.pfkey.server import PfkeyServer

MODULES = (
    "af_key ah4 ah6 esp4 esp6 ipcomp ipcomp6 deflate cbc ctr hmac sha1_generic sha256_generic sha512_generic "
    "md5 rmd160 xcbc aes_generic des_generic ecb blowfish_generic cast5_generic camellia_generic "
    "serpent_generic twofish_generic authenc authencesn echainiv seqiv drbg jitterentropy_rng crypto_null "
    "dummy"
)
_PREPARE = f"""\
/run/modprobe -q -a {MODULES} || true
ip addr add 10.1.0.1/16 dev lo
ip addr add fd00:1::1/64 dev lo nodad
ip link add peers type dummy
ip link set peers up
ip addr add 10.2.0.1/16 dev peers
ip addr add fd00:2::1/64 dev peers nodad
# To look for a module at each association would take most of the time.
echo >/proc/sys/kernel/modprobe
"""
_HEADER = 16
_LONGEST = 1 << 20
PLAY_SECS = 300.0


class Theirs:
    """A real Linux kernel, booted for one list of scenarios."""

    def __init__(self, scratch: Path) -> None:
        """Say where files may be exchanged with it."""
        self._scratch = scratch
        self.release = ""

    def play(self, scenarios: Sequence[Scenario]) -> list[list[Outcome]]:
        """Boot, play all, halt.

        Raises:
            PeerError: it did not boot, or did not finish.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        orders = json.dumps([scenario.as_orders() for scenario in scenarios])
        (self._scratch / "scenarios.json").write_text(orders)
        path = Path(agent.__file__)
        wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        here = Here()
        with wire, theirs, LinuxPeer(here, theirs, self._scratch) as peer:
            self.release = peer.release
            peer.run(_PREPARE)
            peer.run(f"PYTHONDONTWRITEBYTECODE=1 {sys.executable} -I {path} /mnt", timeout=PLAY_SECS)
        here.close()
        found = json.loads((self._scratch / "outcomes.json").read_text())
        return [_outcomes(scenario, steps) for scenario, steps in zip(scenarios, found, strict=True)]


def _outcomes(scenario: Scenario, told: list[dict[str, Any]]) -> list[Outcome]:
    found: list[Outcome] = []
    for step, one in zip(scenario.steps, told, strict=True):
        found.append(_outcome(step, one, found))
    return found


def _outcome(step: Step, told: dict[str, Any], earlier: Sequence[Outcome]) -> Outcome:
    """Read an outcome; a send() that failed is, as on our sockets, a bare header with its errno."""
    received = {name: [bytes.fromhex(text) for text in texts] for name, texts in told["received"].items()}
    if told["errno"] and isinstance(step, Send):
        sent = filled(step, earlier)[:_HEADER].ljust(_HEADER, b"\0")
        bare = struct.pack("=BBBBHH", 2, sent[1], told["errno"], sent[3], 2, 0) + sent[8:]
        received.setdefault(step.socket, []).append(bare)
    return Outcome({name: tuple(found) for name, found in received.items()})


class Ours:
    """An engine behind a PF_KEY server in this process."""

    def play(self, scenarios: Sequence[Scenario]) -> list[list[Outcome]]:
        """Play all, each on a new engine."""
        with tempfile.TemporaryDirectory() as folder:
            return [self._play(scenario, Path(folder) / "pfkey.sock") for scenario in scenarios]

    def _play(self, scenario: Scenario, path: Path) -> list[Outcome]:
        with _House(path) as house:
            for name in scenario.sockets:
                house.connect(name)
            outcomes: list[Outcome] = []
            for step in scenario.steps:
                house.do(step, outcomes)
            return outcomes


class _House:
    """A server, its engine, and the programs that are connected."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.engine = sallet.Engine(seed=bytes(32), clock="manual")
        self._server = PfkeyServer(self.engine, dialects={LINUX.name: LINUX})
        self._selector = selectors.DefaultSelector()
        self._server.listen(path, LINUX.name)
        self._server.attach(self._selector)
        self._programs: dict[str, socket.socket] = {}
        self._sockets = _Sockets(self.engine)

    def __enter__(self) -> _House:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs.values():
            program.close()
        self._server.close()
        self._selector.close()

    def connect(self, name: str) -> None:
        program = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program.connect(str(self._path))
        program.setblocking(False)
        self._programs[name] = program
        self._turn()

    def do(self, step: Step, outcomes: list[Outcome]) -> None:
        """Take a step, and note what came of it."""
        if isinstance(step, Send):
            self._programs[step.socket].send(filled(step, outcomes))
        elif isinstance(step, Datagram):
            packet = _core.udp_packet(
                step.source[0], step.destination[0], step.source[1], step.destination[1], step.data
            )
            if step.arrives:
                self.engine.inbound(packet)
            else:
                self.engine.outbound(packet)
        elif isinstance(step, Wait):
            self.engine.advance(step.secs)
            self._sockets.wait(step.secs)
        elif isinstance(step, Bind):
            self._sockets.bind(step)
        elif step.socket in self._programs:
            self._programs.pop(step.socket).close()
        else:
            self._sockets.close(step.socket)
        outcomes.append(self._came())

    def _came(self) -> Outcome:
        received: dict[str, list[bytes]] = {}
        for _ in range(2):
            self._turn()
            for name, program in self._programs.items():
                received.setdefault(name, []).extend(_read(program, self._turn))
        return Outcome({name: tuple(found) for name, found in received.items() if found})

    def _turn(self) -> None:
        for event in self.engine.take_events():
            self._server.engine_event(event)
        while ready := self._selector.select(0):
            for key, mask in ready:
                key.data(mask)


class _Sockets:
    """The sockets with policies of programs under `sallet run`; no packet filter follows them here."""

    def __init__(self, engine: _core.Engine) -> None:
        self._table = SocketTable(engine, lambda template, side: True, lambda maps: None)
        self._cookies: dict[str, int] = {}
        self._now = 0.0
        self._reqids = itertools.count(LINUX.reqid_chosen_max + 1)

    def bind(self, step: Bind) -> None:
        cookie = self._cookies.setdefault(step.socket, len(self._cookies) + 1)
        read = [
            policies.read(
                said, LINUX.name, privileged=True, new_reqid=lambda asked, *_: asked or next(self._reqids)
            )
            for said in step.policies
        ]
        kept = {one.direction: one for one in read if one.action != "entrust"}
        flows = (Flow(step.version, socket.IPPROTO_UDP, None, step.port),) if step.port else ()
        if kept:
            self._table.put(Pcb(cookie, 0, kept, flows))
            self._table.commit()

    def close(self, name: str) -> None:
        self._table.end([self._cookies.pop(name)], self._now)

    def wait(self, secs: float) -> None:
        self._now += secs
        self._table.stage_due(self._now)
        self._table.commit()


def _read(program: socket.socket, turn: Callable[[], None]) -> list[bytes]:
    found: list[bytes] = []
    while True:
        turn()
        try:
            data = program.recv(_LONGEST)
        except BlockingIOError:
            return found
        if not data:
            return found
        found.append(data)


def filled(step: Send, outcomes: Sequence[Outcome]) -> bytes:
    """Give a request with what it copies out of earlier answers."""
    data = bytearray(step.data)
    for one in step.copied:
        answers = outcomes[one.step].received.get(one.socket, ())
        if one.nth < len(answers):
            data[one.to : one.to + one.size] = answers[one.nth][one.offset : one.offset + one.size]
    return bytes(data)
