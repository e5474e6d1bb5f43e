"""Who may do what: groups to rights, rights to messages, and keys that only some may see.

No other user's process enters: tests/hostile/test_pfkey_strangers.py has those. Answers to RFC 2367 §1.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from sallet.pfkey import codec, connection, rights
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.limits import Limits, Usage
from sallet.pfkey.messages import Address, Extension, Key, Message, Sa
from sallet.pfkey.rights import Access, Rights, permitted

ESP = 3
AUTH, ENCRYPT = bytes(range(100, 132)), bytes(range(1, 17))
ENDS: dict[Ext, Extension] = {
    Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
    Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
}
ADD = Message(
    Msg.ADD,
    ESP,
    extensions={
        Ext.SA: Sa(0x1000, auth=5, encrypt=12),
        **ENDS,
        Ext.KEY_AUTH: Key(256, AUTH),
        Ext.KEY_ENCRYPT: Key(128, ENCRYPT),
    },
)
GET = Message(Msg.GET, ESP, extensions={Ext.SA: Sa(0x1000), **ENDS})


@pytest.mark.parametrize(
    ("uid", "groups", "expected"),
    [
        (0, (), rights.ALL),
        (1000, (), rights.ALL),
        (1001, (), rights.NONE),
        (1001, (10,), Rights(read=True)),
        (1001, (10, 20), Rights(read=True, write=True)),
        (1001, (10, 30), Rights(read=True, see_keys=True)),
        (1001, (10, 20, 30), rights.ALL),
        # The groups of the further rights do not open the door by themselves.
        (1001, (20, 30), rights.NONE),
    ],
)
def test_groups_give_rights(uid: int, groups: tuple[int, ...], expected: Rights) -> None:
    assert Access(1000, 10, 20, 30).rights(uid, groups) == expected


def test_without_groups_only_root_and_the_owner_are_served() -> None:
    access = Access(1000)
    assert [access.rights(uid, (0, 10)) for uid in (0, 1000, 1001)] == [rights.ALL, rights.ALL, rights.NONE]


# = https://www.rfc-editor.org/rfc/rfc2367#section-1
# # only a privileged process may speak, and a full listener loses its own messages only
def test_which_right_each_message_needs() -> None:
    """Every type of message, known or not: what only looks needs `read`, all else `write`."""
    reads = {"GET", "DUMP", "X_PROMISC", "X_SPDGET", "X_SPDDUMP"}
    for kind in range(256):
        name = Msg(kind).name if kind in {int(each) for each in Msg} else ""
        assert permitted(kind, Rights(read=True)) is (name in reads), kind
        assert permitted(kind, Rights(write=True)) is (name not in reads), kind
        assert permitted(kind, rights.ALL)
        assert not permitted(kind, rights.NONE)


@pytest.fixture
def admit(house: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Rights, str], Any]:
    """Connect as somebody with these rights; whoever connects otherwise is root."""

    def connect(given: Rights, dialect: str = "linux") -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(Access, "rights", lambda *_: given)
            return house.connect(dialect)

    return connect


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_zeros_stand_for_keys_without_the_right(house: Any, admit: Any, dialect: str) -> None:
    owner, reader = house.connect(dialect), admit(Rights(read=True), dialect)
    assert [message.errno for message in owner.ask(ADD)] == [0]
    reader.receive()
    for request in (GET, Message(Msg.DUMP)):
        (whole,), (masked,) = owner.ask(request), reader.ask(request)
        assert whole.extensions[Ext.KEY_AUTH] == Key(256, AUTH)
        assert masked.extensions[Ext.KEY_AUTH] == Key(256, bytes(32))
        assert masked.extensions[Ext.KEY_ENCRYPT] == Key(128, bytes(16))
        keys = {Ext.KEY_AUTH, Ext.KEY_ENCRYPT}
        assert {k: v for k, v in whole.extensions.items() if k not in keys} == {
            k: v for k, v in masked.extensions.items() if k not in keys
        }


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_promiscuous_reader_hears_no_keys(house: Any, admit: Any, dialect: str) -> None:
    owner, nosy = house.connect(dialect), admit(Rights(read=True), dialect)
    nosy.send(Message(Msg.X_PROMISC, 1))
    nosy.receive()
    owner.ask(ADD)
    owner.ask(GET)
    heard = nosy.receive()
    assert len(heard) >= 2
    for data in heard:
        assert AUTH not in data
        assert ENCRYPT not in data


def test_a_reader_hears_what_changes_and_cannot_change_it(house: Any, admit: Any) -> None:
    owner, reader = house.connect(), admit(Rights(read=True))
    assert [message.errno for message in reader.ask(ADD)] == [errno.EACCES]
    assert [message.errno for message in reader.ask(Message(Msg.REGISTER, ESP))] == [errno.EACCES]
    owner.ask(ADD)
    assert [message.type for message in reader.messages()] == [Msg.ADD]
    assert house.server.counters()["not_permitted"] == 2


def test_who_may_only_change_is_told_nothing(house: Any, admit: Any) -> None:
    owner, writer = house.connect(), admit(Rights(write=True))
    assert [message.errno for message in writer.ask(ADD)] == [0]
    assert [message.errno for message in writer.ask(GET)] == [errno.EACCES]
    owner.receive()
    owner.ask(Message(Msg.FLUSH))
    assert writer.receive() == []


def test_a_refusal_keeps_the_order_of_answers(house: Any, admit: Any) -> None:
    """A request that may not be made is answered after those that were made before it."""
    writer = admit(Rights(write=True))
    for seq, kind in enumerate((Msg.X_SPDFLUSH, Msg.X_SPDDUMP, Msg.X_SPDFLUSH), 1):
        writer.send(Message(kind, seq=seq))
    assert [(m.seq, m.errno) for m in writer.messages()] == [(1, 0), (2, errno.EACCES), (3, 0)]


# Keys in bytes.


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_what_cannot_be_read_is_hidden_whole(dialect: str) -> None:
    """Bytes that are cut anywhere, or whose lengths lie, show no octet of a key."""
    whole = codec.encode(ADD, DIALECTS[dialect])
    wrapped = codec.wrap_promiscuous(codec.wrap_promiscuous(whole, 0), 0)
    for data, end in itertools.product((whole, wrapped), range(len(wrapped))):
        hidden = codec.without_keys(data[:end], DIALECTS[dialect])
        assert len(hidden) == len(data[:end])
        assert not any(key[at : at + 4] in hidden for key in (AUTH, ENCRYPT) for at in range(0, 16, 4))
    for at in range(16, len(whole), 8):
        lying = whole[:at] + b"\0\0" + whole[at + 2 :]
        hidden = codec.without_keys(lying, DIALECTS[dialect])
        assert AUTH[8:] not in hidden
        assert ENCRYPT[8:] not in hidden


# Room.


def test_there_is_room_for_so_many(make_house: Callable[..., Any]) -> None:
    house = make_house()
    house.server.usage.limits = Limits(connections=3)
    for _ in range(3):
        house.connect()
    surplus = house.connect()
    assert surplus.socket.recv(64)[2] == errno.ENOBUFS
    assert surplus.socket.recv(64) == b""
    assert house.server.counters()["connections"] == 3
    assert house.server.counters()["refused_connections"] == 1
    house.programs[0].socket.close()
    house.turn()
    assert house.connect().ask(Message(Msg.FLUSH))[0].errno == 0


def test_one_user_cannot_take_every_place() -> None:
    usage = Usage(Limits(connections=5, connections_of_a_user=2))
    assert [usage.enter(1001, privileged=False) for _ in range(3)] == [True, True, False]
    assert usage.enter(1002, privileged=False)
    assert [usage.enter(0, privileged=True) for _ in range(3)] == [True, True, False]
    usage.leave(1001)
    assert usage.enter(1001, privileged=False)


def test_listeners_share_what_may_wait_for_them(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SEND_BUFFER_BYTES", 4096)
    house.server.usage.limits = Limits(told_bytes_in_all=20_000)
    stuck = [house.connect() for _ in range(3)]
    asker = house.connect()
    for _ in range(60):
        for _ in range(100):
            asker.send(Message(Msg.X_PROMISC))  # turns nothing off, and everybody hears it
        asker.receive()
        assert house.server.usage.waiting_bytes <= 20_000 + 16 * len(stuck)
        if house.server.counters().get("refused_told_bytes_in_all"):
            break
    else:
        pytest.fail("never too much")
    for program in stuck:
        program.receive()
    assert house.server.usage.waiting_bytes == 0
    for program in stuck:
        program.socket.close()
    house.turn()
    assert house.server.usage.waiting_bytes == 0
