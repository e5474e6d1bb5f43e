"""Pipelined changes of the SPD: followed together, told of afterwards, undone where they cannot be followed.

Answers to: sallet.pfkey.server, sallet.pfkey.changes; ARCHITECTURE.md section E.
"""

from __future__ import annotations

import errno
import selectors
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sallet import _core
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Message, Policy, Request
from sallet.pfkey.server import PfkeyServer


def spd(kind: Msg, number: int, seq: int = 0) -> Message:
    side = ip_address(f"10.{number >> 8}.{number & 255}.0")
    return Message(
        kind,
        seq=seq or number,
        pid=9,
        extensions={
            Ext.ADDRESS_SRC: Address(side, 0, 24, 255),
            Ext.ADDRESS_DST: Address(ip_address("192.0.2.0"), 0, 24, 255),
            Ext.X_POLICY: Policy(2, 2, requests=(Request(50, 1, 2),)),
        },
    )


class Host:
    """Follows what the SPD says, refuses on demand, and looks at who was told what by then."""

    def __init__(self) -> None:
        self.house: Any = None
        self.sizes: list[int] = []
        self.refuses: Callable[[list[int]], bool] = lambda _: False
        self.witnesses: list[Any] = []
        self.told_too_early = 0

    def __call__(self) -> None:
        views = self.house.engine.spd_dump()
        self.sizes.append(len(views))
        for program in self.witnesses:
            try:
                program.socket.recv(1 << 16)
            except BlockingIOError:
                continue
            self.told_too_early += 1
        if self.refuses([int(view.selector.source[0]) >> 8 & 0xFFFF for view in views]):
            raise RuntimeError("the kernel refuses")


@pytest.fixture
def host(make_house: Callable[..., Any]) -> Host:
    made = Host()
    made.house = make_house(made)
    return made


def answers(program: Any) -> list[tuple[int, int]]:
    """Return sequence number and errno of everything that has arrived."""
    return [(struct.unpack_from("=I", data, 8)[0], data[2]) for data in program.receive()]


def test_what_is_pipelined_is_followed_once_and_told_in_order(host: Host) -> None:
    program, listener = host.house.connect("sallet"), host.house.connect("kame")
    host.witnesses = [program, listener]
    for number in range(1, 101):
        program.send(spd(Msg.X_SPDADD, number))
    program.send(spd(Msg.X_SPDADD, 50, seq=101))
    told = answers(program)
    assert told == [(number, 0) for number in range(1, 101)] + [(101, errno.EEXIST)]
    assert host.sizes == [100]
    assert [seq for seq, _ in answers(listener)] == list(range(1, 101))
    for number in range(1, 101):
        program.send(spd(Msg.X_SPDDELETE, number))
    assert len(answers(program)) == 100
    assert host.sizes == [100, 0]
    assert host.told_too_early == 0


def test_a_question_sees_and_hears_only_what_is_in_force(host: Host) -> None:
    program = host.house.connect("sallet")
    program.send(spd(Msg.X_SPDADD, 1))
    program.send(spd(Msg.X_SPDADD, 2))
    program.send(Message(Msg.X_SPDDUMP, seq=3))
    program.send(b"nonsense")
    program.send(spd(Msg.X_SPDADD, 4))
    program.send(Message(Msg.X_SPDFLUSH, seq=5))
    told = [(data[1], data[2]) for data in program.receive()]
    emsgsize = errno.EMSGSIZE
    assert told[:4] == [(Msg.X_SPDADD, 0), (Msg.X_SPDADD, 0), (Msg.X_SPDDUMP, 0), (Msg.X_SPDDUMP, 0)]
    assert [number for _, number in told[4:]] == [emsgsize, 0, 0]
    assert host.sizes == [2, 0]


def test_what_cannot_be_followed_is_undone_and_the_rest_is_done(host: Host, caplog: Any) -> None:
    program, listener = host.house.connect("sallet"), host.house.connect("sallet")
    host.witnesses = [program, listener]
    host.refuses = lambda numbers: 37 in numbers
    for number in range(1, 65):
        program.send(spd(Msg.X_SPDADD, number))
    assert answers(program) == [(number, errno.EIO if number == 37 else 0) for number in range(1, 65)]
    # Halves, quarters, …: not one try for each of the others.
    assert len(host.sizes) < 20
    assert host.told_too_early == 0
    assert 37 not in [seq for seq, number in answers(listener) if not number]
    assert len(host.house.engine.spd_dump()) == 63
    host.refuses = lambda _: True
    for number in range(1, 9):
        program.send(spd(Msg.X_SPDDELETE, number))
    program.send(spd(Msg.X_SPDADD, 37, seq=99))
    assert {number for _, number in answers(program)} == {errno.EIO}
    assert len(host.house.engine.spd_dump()) == 63
    assert host.house.server.counters()["internal_errors"] == 0


def test_a_program_that_goes_away_is_still_obeyed(host: Host) -> None:
    program = host.house.connect("sallet")
    for number in (1, 2, 3):
        program.send(spd(Msg.X_SPDADD, number))
    program.socket.close()
    host.house.turn()
    assert len(host.house.engine.spd_dump()) == 3
    assert host.sizes == [3]


def test_a_fault_amid_a_group_costs_one_request(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    program = host.house.connect("sallet")
    handlers = host.house.server._handlers["sallet"]
    answer = type(handlers).answer

    def faulty(self: Any, message: Message, peer: Any) -> Any:
        return 1 / 0 if message.seq == 2 else answer(self, message, peer)

    monkeypatch.setattr(type(handlers), "answer", faulty)
    for number in (1, 2, 3):
        program.send(spd(Msg.X_SPDADD, number))
    assert answers(program) == [(1, 0), (2, errno.EIO), (3, 0)]
    assert "met a fault" in caplog.text


@pytest.mark.parametrize("form", ["sallet", "freebsd"])
def test_three_thousand_policies_of_a_setkey_file(form: str, tmp_path: Path) -> None:
    calls: list[int] = []
    engine = _core.Engine(seed=bytes(32))
    server = PfkeyServer(engine, spd_changed=lambda: calls.append(1))
    selector = selectors.DefaultSelector()
    for dialect in DIALECTS:
        server.listen(tmp_path / f"pfkey.{dialect}.sock", dialect)
    server.attach(selector)
    lines = [
        f"spdadd 10.{number >> 8}.{number & 255}.0/24 192.0.2.0/24 any -P out ipsec esp/transport//require;"
        for number in range(3000)
    ]
    (tmp_path / "many.setkey").write_text("spdflush;\n" + "\n".join(lines))
    command = [sys.executable, "-m", "sallet.cli.main", "--run-dir", str(tmp_path), "setkey"]
    environment = {"PYTHONPATH": ":".join(sys.path), "SALLET_RUN_DIR": str(tmp_path)}
    done = threading.Event()
    codes: list[int] = []

    def run() -> None:
        words = [*command, "--form", form, "-f", str(tmp_path / "many.setkey")]
        codes.append(subprocess.run(words, env=environment, check=False, timeout=100).returncode)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not done.is_set():
        for key, mask in selector.select(0.05):
            key.data(mask)
    thread.join()
    server.close()
    selector.close()
    assert codes == [0]
    assert len(engine.spd_dump()) == 3000
    # It depends on how much arrives at once; one for each would be 3001.
    assert 0 < len(calls) < 600, len(calls)
    print(f"{len(calls)} runs of the hook for 3000 policies in form {form}")
