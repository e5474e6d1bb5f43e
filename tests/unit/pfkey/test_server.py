"""The server over real sockets: who hears what, who waits for whom, and what a bad program can do (nothing).

No daemon and no thread enters. Answers to RFC 2367 §1 and §3, and to unix(7).
"""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import struct
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.connection import REPLIES_WAITING_MAX
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.limits import Limits
from sallet.pfkey.messages import Address, Extension, Key, Lifetime, Message, Policy, Request, Sa
from sallet.pfkey.server import PfkeyServer

ESP = 3
A, B = Address(ip_address("192.0.2.1")), Address(ip_address("192.0.2.2"))


def add(spi: int, seq: int = 1, **limits: Lifetime) -> Message:
    return Message(
        Msg.ADD,
        ESP,
        seq=seq,
        pid=42,
        extensions={
            Ext.SA: Sa(spi, auth=5, encrypt=12),
            Ext.ADDRESS_SRC: A,
            Ext.ADDRESS_DST: B,
            Ext.KEY_AUTH: Key(256, bytes(range(32))),
            Ext.KEY_ENCRYPT: Key(128, bytes(range(16))),
            **{Ext[name]: limit for name, limit in limits.items()},
        },
    )


def fill(house: Any, count: int) -> None:
    for spi in range(0x1000, 0x1000 + count):
        house.engine.sad_add(
            _core.SaParams(
                spi=spi,
                protocol="esp",
                source=str(A.address),
                destination=str(B.address),
                mode="transport",
                encryption=("aes-cbc", bytes(16)),
                authentication=("hmac-sha2-256-128", bytes(32)),
            )
        )


def test_everybody_hears_a_change_each_in_its_dialect_and_none_the_keys(house: Any) -> None:
    asker, listener, bsd = house.connect("sallet"), house.connect("sallet"), house.connect("kame")
    asker.send(add(0x1001))
    (own,), (heard,), (echoed,) = asker.messages(), listener.messages(), bsd.messages()
    assert own == heard
    assert [kind.name for kind in echoed.extensions] == ["SA", "X_SA2", "ADDRESS_SRC", "ADDRESS_DST"]
    for message in (own, heard, echoed):
        assert (message.seq, message.pid) == (1, 42)
        assert not {Ext.KEY_AUTH, Ext.KEY_ENCRYPT} & set(message.extensions)
    listener.send(Message(Msg.GET, ESP, extensions=add(0x9999).extensions))
    assert [message.errno for message in listener.messages()] == [errno.ESRCH]
    assert asker.receive() == []


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
# # ACQUIRE goes to registered sockets only, and an error from there frees what waits
def test_registered_sockets_hear_events_and_others_do_not(house: Any) -> None:
    manager, other, bsd = house.connect("linux"), house.connect("linux"), house.connect("kame")
    for program in (manager, bsd):
        program.send(Message(Msg.REGISTER, ESP, seq=4))
        program.receive()
    manager.receive()
    selector = _core.Selector("10.0.0.0/8", "10.1.0.0/16")
    house.engine.spd_add(
        _core.PolicyParams("out", selector, "protect", [_core.Template("esp", "transport", "require")])
    )
    house.engine.outbound(_core.udp_packet("10.0.0.1", "10.1.0.1", 1, 2, b"x"))
    for event in house.engine.take_events():
        house.server.engine_event(event)
    for program in (manager, bsd):
        (told,) = program.messages()
        assert (told.type, told.errno) == (Msg.ACQUIRE, 0)
    assert other.receive() == []


def test_an_expiry_is_told_and_the_host_follows(make_house: Callable[..., Any]) -> None:
    calls: list[int] = []
    house = make_house(lambda: calls.append(1), clock="manual")
    program = house.connect("sallet")
    program.ask(Message(Msg.REGISTER, ESP))
    use = Policy(2, 2, requests=(Request(50, 1, 1),))
    sides: dict[Ext, Extension] = {
        Ext.ADDRESS_SRC: A,
        Ext.ADDRESS_DST: B,
        Ext.X_POLICY: use,
        Ext.LIFETIME_HARD: Lifetime(addtime=60),
    }
    program.ask(Message(Msg.X_SPDADD, extensions=sides))
    program.ask(add(0x1001, LIFETIME_SOFT=Lifetime(addtime=10), LIFETIME_HARD=Lifetime(addtime=20)))
    assert len(calls) == 2
    told = []
    for _ in range(7):
        house.engine.advance(10)
        for event in house.engine.take_events():
            house.server.engine_event(event)
        told += program.messages()
    assert [message.type for message in told] == [Msg.EXPIRE, Msg.EXPIRE, Msg.X_SPDEXPIRE]
    assert [Ext.LIFETIME_HARD in message.extensions for message in told] == [False, True, True]
    assert len(calls) == 4


def test_promiscuous_copies_are_wrapped_in_kame(house: Any) -> None:
    nosy, asker = house.connect("kame"), house.connect("kame")
    # Its own answer comes twice: once as the answer, once as a copy, since it hears everything by then.
    nosy.send(Message(Msg.X_PROMISC, 1))
    assert [data[1] for data in nosy.receive()] == [Msg.X_PROMISC, Msg.X_PROMISC]
    # What the asker gets to see with keys, the other does not.
    named = {kind: one for kind, one in add(1).extensions.items() if not kind.name.startswith("KEY")}
    asker.send(Message(Msg.GET, ESP, extensions=named))
    (wrapped,) = nosy.receive()
    (answer,) = [data for data in asker.receive() if data[1] == Msg.GET]
    assert wrapped[:2] == bytes((2, Msg.X_PROMISC))
    assert wrapped[16:] == answer


# Nothing is cut short, and nobody waits for somebody else.


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.10
# # DUMP is one message for each SA, from one snapshot, and says which is the last
def test_a_dump_waits_for_a_slow_reader_and_others_do_not(house: Any) -> None:
    count = 3000
    fill(house, count)
    slow, quick = house.connect("sallet"), house.connect("sallet")
    slow.send(Message(Msg.DUMP, seq=3))
    house.turn()
    # The socket is full now, and the rest of the dump waits. Others are served; slow hears of it later.
    for request in (Message(Msg.GET, ESP, extensions=add(0x1000).extensions), add(0x9000)):
        assert [message.errno for message in quick.ask(request)] == [0]
    slow.send(Message(Msg.GET, ESP, seq=99, extensions=add(0x1000).extensions))
    got = slow.messages()
    dumped = [message for message in got if message.type is Msg.DUMP]
    assert [message.seq for message in dumped] == list(range(count - 1, -1, -1))
    assert [message.extensions[Ext.SA].spi for message in dumped] == list(range(0x1000, 0x1000 + count))
    assert sorted(message.type for message in got[count:]) == [Msg.ADD, Msg.GET]
    assert slow.receive() == []


def test_requests_wait_while_their_replies_are_not_taken(house: Any) -> None:
    program = house.connect("sallet")
    request = codec.encode(Message(Msg.GET, ESP, extensions=add(0x1000).extensions), DIALECTS["sallet"])
    fill(house, 1)
    sent = 0
    idle = 0
    while idle < 50:
        try:
            program.socket.send(request)
            sent += 1
            idle = 0
        except BlockingIOError:
            idle += 1
        house.turn_once()
    (connection,) = house.server._connections
    assert len(connection._waiting) <= REPLIES_WAITING_MAX + 1
    assert len(program.receive()) == sent
    assert sent > REPLIES_WAITING_MAX


# = https://www.rfc-editor.org/rfc/rfc2367#section-1
# # only a privileged process may speak, and a full listener loses its own messages only
def test_a_listener_that_does_not_read_loses_its_own_copies_only(house: Any) -> None:
    stuck, asker, listener = house.connect("sallet"), house.connect("sallet"), house.connect("sallet")
    rounds = 0
    while not house.server.counters()["told_dropped"]:
        for spi in range(0x1000, 0x1100):
            asker.send(add(spi))
        for _ in range(3):
            asker.receive()
        asker.send(Message(Msg.FLUSH, ESP))
        assert len(asker.receive()) == 1
        assert len(listener.receive()) == 257
        rounds += 1
        assert rounds < 200
    lost = house.server.counters()["told_dropped"]
    waiting = [connection._waiting_bytes for connection in house.server._connections]
    assert max(waiting) <= Limits().told_bytes + 16
    heard = stuck.receive()
    told = [data for data in heard if data[1]]
    assert len(told) + lost == 257 * rounds
    # It reads in their place that some are missing, once, and then hears all that follows.
    (missed,) = [data for data in heard if not data[1]]
    assert missed == struct.pack("=BBBBHHII", 2, 0, errno.ENOBUFS, 0, 2, 0, 0, 0)
    assert [message.errno for message in stuck.ask(add(0x5000))] == [0]


def test_ten_thousand_pipelined_adds(house: Any) -> None:
    program = house.connect("sallet")
    answered: list[bytes] = []
    for first in range(0, 10_000, 100):
        for number in range(first, first + 100):
            program.send(add(0x1000 + number, seq=number))
        answered += program.receive()
    assert [struct.unpack_from("=I", data, 8)[0] for data in answered] == list(range(10_000))
    assert {data[2] for data in answered} == {0}
    assert len(house.engine.sad_dump()) == 10_000


# Bad programs.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_length_of_anything_is_answered(house: Any, dialect: str) -> None:
    program = house.connect(dialect)
    chance = random.Random(1)
    for size in range(201):
        for data in (bytes(size), b"\xff" * size, chance.randbytes(size), b"\x02\x03" + bytes(size)):
            program.send(data)
            (answer,) = program.receive()
            assert len(answer) >= 16
            assert answer[2] != 0
    assert house.engine.sad_dump() == []
    assert house.engine.spd_dump() == []
    assert house.server.counters()["internal_errors"] == 0


def test_a_message_of_no_octets_is_told_from_the_end(house: Any) -> None:
    program = house.connect("linux")
    for _ in range(3):
        program.send(b"")
        assert program.receive() == [struct.pack("=BBBBHHII", 2, 0, errno.EMSGSIZE, 0, 2, 0, 0, 0)]
    program.send(b"")
    program.send(add(0x1001))
    program.socket.close()
    house.turn()
    assert [view.spi for view in house.engine.sad_dump()] == [0x1001]
    assert house.server.counters()["connections"] == 0


def test_a_message_larger_than_any_can_be(house: Any) -> None:
    program = house.connect("sallet")
    program.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
    data = codec.encode(add(0x1001), DIALECTS["sallet"])
    try:
        program.send(data + bytes(0xFFFF * 8 + 64 - len(data)))
    except OSError as error:
        pytest.skip(f"this kernel does not send so large a message: {os.strerror(error.errno or 0)}")
    (answer,) = program.receive()
    assert answer[2] == errno.EMSGSIZE


def test_closing_amid_a_dump(house: Any) -> None:
    fill(house, 500)
    for number in range(200):
        program = house.connect("sallet")
        program.send(Message(Msg.DUMP))
        if number % 2:
            house.turn_once()
        program.socket.close()
        house.turn()
    assert house.server.counters()["connections"] == 0
    assert house.server.counters()["internal_errors"] == 0


def test_a_fault_of_ours_costs_one_request(house: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    program = house.connect("sallet")
    handlers = house.server._handlers["sallet"]
    with monkeypatch.context() as patch:
        patch.setattr(type(handlers), "answer", lambda *_: 1 / 0)
        assert [message.errno for message in program.ask(add(0x1001))] == [errno.EIO]
    assert "met a fault" in caplog.text
    assert [message.errno for message in program.ask(add(0x1001))] == [0]


# The socket itself.


# = https://www.rfc-editor.org/rfc/rfc2367#section-1
# # only a privileged process may speak, and a full listener loses its own messages only
def test_the_socket_is_for_owner_and_group_and_replaces_what_a_killed_daemon_left(tmp_path: Path) -> None:
    path = tmp_path / "pfkey.sock"
    umask = os.umask(0)
    try:
        for _ in range(2):
            server = PfkeyServer(_core.Engine(seed=bytes(32)))
            server.listen(path, "sallet")
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            server._entrance._listeners[0][0].close()  # as SIGKILL does: the path stays
    finally:
        assert os.umask(umask) == 0
    server.close()
    assert not path.exists()
    path.write_text("not a socket")
    with pytest.raises(OSError, match="in use"):
        server.listen(path, "sallet")
    assert path.read_text() == "not a socket"


def test_a_directory_with_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    server = PfkeyServer(_core.Engine(seed=bytes(32)))
    server.listen(deep / "pfkey.sock", "linux")
    assert (deep / "pfkey.sock").is_socket()
    server.close()


def test_an_unknown_dialect_is_not_listened_for(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        PfkeyServer(_core.Engine(seed=bytes(32))).listen(tmp_path / "x", "plan9")
