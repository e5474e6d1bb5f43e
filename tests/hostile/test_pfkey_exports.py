"""What PF_KEY sends out: every octet is one that somebody meant, and padding is zero.

No request that is wrong may enter. Answers to RFC 2367 §2.2 and §2.3.3, <linux/pfkeyv2.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.pfkey.words import HOSTS, E, T, end, ends, key, limits
from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Message, NatPort, NatType, Policy, Request, Sa, Sa2, SpiRange
from unit.pfkey.conftest import House, Program

ESP = 3


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A server on an engine whose clock stands still."""
    made = House(tmp_path, clock="manual")
    yield made
    assert made.server.counters()["internal_errors"] == 0
    made.close()


def asked(kind: SadbMsgType, satype: int = 0, **parts: Any) -> Message:
    named = {E[name.upper()]: part for name, part in parts.items()}
    return Message(kind, satype, seq=5, pid=6, extensions=named)


def meant(data: bytes, dialect: str) -> Message:
    """Read a message; fail if an octet stands in it that no field says."""
    read = codec.decode(data, DIALECTS[dialect])
    assert codec.encode(read, DIALECTS[dialect]) == data, "an octet that nobody meant"
    return read


def hear(house: House, program: Program) -> list[bytes]:
    """Give what a program receives, events included."""
    for event in house.engine.take_events():
        house.server.engine_event(event)
    return program.receive()


def usual(dialect: str, version: int, **more: Any) -> dict[str, Any]:
    row = DIALECTS[dialect]
    whole = Sa(
        0x1000 + version, auth=row.auth_numbers["hmac-sha1-96"], encrypt=row.encrypt_numbers["aes-cbc"]
    )
    parts = {"sa": whole, **ends(version), "key_auth": key(20), "key_encrypt": key(16, 3)}
    return parts | {"x_sa2": Sa2(1, 0, 7)} | more


def conversation(dialect: str, version: int) -> Iterator[Message]:
    """Every message that is answered with something of ours."""
    here, there = HOSTS[version]
    named: dict[str, Any] = {"sa": Sa(0x1000 + version), **ends(version)}
    timed: dict[str, Any] = {"lifetime_hard": limits(0, 10**6, 50), "lifetime_soft": limits(0, 10**5, 20)}
    tunnel = Request(50, 2, 2, 0, end(here), end(there))
    covered: dict[str, Any] = {"address_src": end(here, 0, None, 17), "address_dst": end(there, 53, None, 17)}
    yield asked(T.REGISTER, ESP)
    yield asked(T.ADD, ESP, **usual(dialect, version, **timed))
    yield asked(T.UPDATE, ESP, **usual(dialect, version, **timed))
    yield asked(T.GETSPI, ESP, **ends(version), spirange=SpiRange(0x5000, 0x5000))
    yield asked(T.GET, ESP, **named)
    yield asked(T.DUMP)
    for direction in (1, 2):
        yield asked(T.X_SPDADD, **covered, x_policy=Policy(2, direction, requests=(tunnel,)))
    yield asked(T.X_SPDUPDATE, **covered, x_policy=Policy(2, 2, requests=(tunnel, tunnel)))
    yield asked(T.X_SPDDUMP)
    yield asked(T.X_SPDDELETE, **covered, x_policy=Policy(2, 1))
    yield asked(T.DELETE, ESP, **named)
    yield asked(T.FLUSH)
    yield asked(T.X_SPDFLUSH)
    yield asked(T.DUMP)


@pytest.mark.bug_row(15)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_octet_of_every_answer_is_meant(house: House, dialect: str, version: int) -> None:
    """Row 15: each answer, to the asker and to those who listen in every dialect, is what its fields say."""
    program = house.connect(dialect)
    listeners = {name: house.connect(name) for name in DIALECTS}
    kinds = set()
    for message in conversation(dialect, version):
        program.send(message)
        for data in hear(house, program):
            kinds.add(meant(data, dialect).type)
        for name, listener in listeners.items():
            for data in hear(house, listener):
                meant(data, name)
    assert kinds >= {T.REGISTER, T.ADD, T.GETSPI, T.GET, T.DUMP, T.X_SPDADD, T.X_SPDDUMP, T.DELETE, T.FLUSH}


@pytest.mark.bug_row(17)
def test_notifications_octet_by_octet(house: House) -> None:
    """Row 17: what is told of FLUSH, SPDFLUSH and of a lifetime's end, written down here field by field."""
    listener, program = house.connect("linux"), house.connect("linux")
    listener.send(asked(T.REGISTER, ESP))
    listener.receive()
    program.receive()
    for kind in (T.FLUSH, T.X_SPDFLUSH):
        program.send(asked(kind))
        program.receive()
    program.send(
        asked(T.ADD, ESP, **usual("linux", 4, lifetime_soft=limits(0, 0, 5), lifetime_hard=limits()))
    )
    assert program.receive()[-1][2] == 0
    program.send(asked(T.FLUSH))
    program.receive()
    told = [data for data in hear(house, listener) if data[1] == T.FLUSH]
    assert told == [struct.pack("=BBBBHHII", 2, T.FLUSH, 0, 0, 2, 0, 5, 6)]
    program.send(
        asked(T.ADD, ESP, **usual("linux", 4, lifetime_soft=limits(0, 0, 5), lifetime_hard=limits()))
    )
    program.receive()
    created = house.engine.sad_dump()[0].created
    hear(house, listener)
    house.engine.advance(7)
    house.engine.handle_timeout()
    (expire,) = hear(house, listener)
    host = [struct.pack("=HH4s8x", 2, 0, bytes(map(int, text.split(".")))) for text in HOSTS[4]]
    assert expire == b"".join(
        (
            struct.pack("=BBBBHHII", 2, T.EXPIRE, 0, ESP, len(expire) // 8, 0, 0, 0),
            struct.pack("=HH", 2, 1) + struct.pack(">I", 0x1004) + struct.pack("=BBBBI", 0, 2, 3, 12, 0),
            struct.pack("=HHIQQQ", 4, 4, 0, 0, 5, 0),
            struct.pack("=HHIQQQ", 4, 2, 0, 0, created, 0),
            struct.pack("=HHBBH", 3, 5, 0, 32, 0) + host[0],
            struct.pack("=HHBBH", 3, 6, 0, 32, 0) + host[1],
            struct.pack("=HHBBH", 3, 7, 255, 0, 0) + struct.pack("=HH4s8x", 2, 0, bytes(4)),
            struct.pack("=HHB3xII", 2, 19, 1, 0, 7),
        )
    )


@pytest.mark.bug_row(27)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_reply_to_register_octet_by_octet(house: House, dialect: str) -> None:
    """Row 27: two lists of algorithms, each entry of eight octets, the last two of them zero."""
    row = DIALECTS[dialect]
    program = house.connect(dialect)
    program.send(asked(T.REGISTER, ESP))
    (data,) = program.receive()
    provided = {one.name for one in _core.algorithms() if one.manual_keys}
    lists = b""
    for number, rows in ((14, row.auth), (15, row.encrypt)):
        kept = [one for one in rows if one.name in provided]
        lists += struct.pack("=HH4x", 1 + len(kept), number)
        for one in kept:
            lists += struct.pack("=BBHHxx", one.number, one.ivlen, one.minbits, one.maxbits)
    assert data == struct.pack("=BBBBHHII", 2, 7, 0, ESP, 2 + len(lists) // 8, 0, 5, 6) + lists


@pytest.mark.bug_row(40)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_stands_behind_an_ipv6_address(house: House, dialect: str) -> None:
    """Row 40: the four octets of padding behind a sockaddr_in6, in ACQUIRE, NEW_MAPPING and MIGRATE."""
    here, there = HOSTS[6]
    program = house.connect(dialect)
    program.send(asked(T.REGISTER, ESP))
    program.receive()
    covered: dict[str, Any] = {
        "address_src": end(here, 0, None, 255),
        "address_dst": end(there, 0, None, 255),
    }
    tunnel = Request(50, 2, 2, 0, end(here), end(there))
    program.send(asked(T.X_SPDADD, **covered, x_policy=Policy(2, 2, requests=(tunnel,))))
    program.receive()
    house.engine.outbound(_core.udp_packet(here, there, 1, 2, b"x"))
    told = hear(house, program)
    assert [data[1] for data in told] == [T.ACQUIRE]
    if DIALECTS[dialect].last_message >= T.X_MIGRATE:
        moved = Request(50, 2, 2, 0, end(here), end("fd00:2::9"))
        program.send(asked(T.X_MIGRATE, **covered, x_policy=Policy(2, 2, requests=(tunnel, moved))))
        told += hear(house, program)
        assert told[-1][1:3] == bytes((T.X_MIGRATE, 0))
    encap: dict[str, Any] = {
        "x_nat_t_type": NatType(2),
        "x_nat_t_sport": NatPort(4500),
        "x_nat_t_dport": NatPort(4501),
    }
    if E.X_NAT_T_TYPE in DIALECTS[dialect].extension_numbers:
        program.send(asked(T.ADD, ESP, **usual(dialect, 6, **encap)))
        told += hear(house, program)
        assert told[-1][1] == T.ADD
    for data in told:
        meant(data, dialect)
        for number, at, size in parts_of(data):
            if number in (5, 6):
                assert size == 40
                assert data[at + 36 : at + 40] == bytes(4)


def parts_of(data: bytes) -> list[tuple[int, int, int]]:
    """Number, offset and size of each extension."""
    found, at = [], 16
    while at < len(data):
        length, number = struct.unpack_from("=HH", data, at)
        found.append((number, at, length * 8))
        at += length * 8
    return found
