"""The dialects of NetBSD 7.1 and FreeBSD 12, byte for byte over a real socket.

No codec of ours writes or reads here: what goes out and what must come back stands as octets.
Answers to `net/pfkeyv2.h` and `netipsec/ipsec.h` of both systems, and to what their kernels answer.
"""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from sallet import _core

BOTH = pytest.mark.parametrize("system", ["netbsd", "freebsd"])
INET6 = {"netbsd": 24, "freebsd": 28}
AH, ESP, IPCOMP = 2, 3, 9
UPDATE, ADD, DELETE, GET, ACQUIRE, REGISTER, DUMP = 2, 3, 4, 5, 6, 7, 10
SPDADD, SPDDELETE, SPDGET, SPDDUMP, SETIDX, SPDDELETE2 = 14, 15, 16, 18, 20, 22


def ext(number: int, body: bytes) -> bytes:
    size = -(-(4 + len(body)) // 8) * 8
    return (struct.pack("=HH", size // 8, number) + body).ljust(size, b"\0")


def message(
    kind: int, satype: int, *parts: bytes, seq: int = 7, pid: int = 42, number: int = 0, refs: int = 0
) -> bytes:
    body = b"".join(parts)
    return struct.pack("=BBBBHHII", 2, kind, number, satype, 2 + len(body) // 8, refs, seq, pid) + body


def sockaddr(last: int, port: int = 0) -> bytes:
    return bytes((16, 2)) + port.to_bytes(2, "big") + bytes((192, 0, 2, last)) + bytes(8)


def sockaddr6(system: str, last: int) -> bytes:
    return (
        bytes((28, INET6[system], 0, 0, 0, 0, 0, 0))
        + bytes.fromhex("20010db8")
        + bytes(11)
        + bytes((last,))
        + bytes(4)
    )


def sa(spi: int, replay: int = 0, state: int = 0, auth: int = 0, encrypt: int = 0, flags: int = 0) -> bytes:
    return ext(1, spi.to_bytes(4, "big") + struct.pack("=4BI", replay, state, auth, encrypt, flags))


def sa2(mode: int = 0, reqid: int = 0, sequence: int = 0) -> bytes:
    return ext(19, struct.pack("=B3xII", mode, sequence, reqid))


def lifetime(number: int, add: int, use: int = 0) -> bytes:
    return ext(number, struct.pack("=IQQQ", 0, 0, add, use))


def ends(proto: int = 0, ports: tuple[int, int] = (0, 0)) -> bytes:
    tail = bytes((proto, 32, 0, 0))
    return ext(5, tail + sockaddr(1, ports[0])) + ext(6, tail + sockaddr(2, ports[1]))


def sides(proto: int = 255, plen: int = 24) -> bytes:
    tail = bytes((proto, plen, 0, 0))
    return ext(5, tail + sockaddr(0)) + ext(6, tail + sockaddr(0))


def policy(
    kind: int, direction: int, *requests: bytes, number: int = 0, last: int = 0, scope: int = 0
) -> bytes:
    return ext(18, struct.pack("=HBBII", kind, direction, scope, number, last) + b"".join(requests))


def request(proto: int, mode: int, level: int, reqid: int = 0, addresses: bytes = b"") -> bytes:
    size = -(-(8 + len(addresses)) // 8) * 8
    return (struct.pack("=HHBBH", size, proto, mode, level, reqid) + addresses).ljust(size, b"\0")


KEYS = ext(8, struct.pack("=HH", 256, 0) + bytes(range(32))) + ext(
    9, struct.pack("=HH", 128, 0) + bytes(range(16))
)


def add(spi: int = 0x1001, *more: bytes, **fields: int) -> bytes:
    return message(ADD, ESP, sa(spi, auth=5, encrypt=12, **fields), *more, ends(), KEYS)


class Told:
    """A program on one socket; it sends and receives octets."""

    def __init__(self, house: Any, system: str) -> None:
        self.house = house
        self.program = house.connect(system)

    def ask(self, data: bytes) -> list[bytes]:
        self.program.send(data)
        found: list[bytes] = self.program.receive()
        return found

    def one(self, data: bytes) -> bytes:
        (answer,) = self.ask(data)
        return answer

    def errno(self, data: bytes) -> int:
        """Send what is refused: the answer is the request again, with an errno."""
        answer = self.one(data)
        assert answer == data[:2] + answer[2:3] + data[3:], "an error repeats the request"
        return answer[2]

    def failed(self, data: bytes) -> int:
        """Send what a kernel's send() would fail on: the answer is a bare header."""
        answer = self.one(data)
        assert len(answer) == 16
        return answer[2]


@pytest.fixture
def told(house: Any, system: str) -> Told:
    return Told(house, system)


# Associations.


@BOTH
def test_an_add_is_told_without_its_keys_and_windows_are_octets(told: Told) -> None:
    limits = lifetime(3, 100) + lifetime(4, 80)
    answer = told.one(add(0x1001, sa2(1, 9), limits, replay=4, flags=0x40))
    state = sa(0x1001, 4, 1, 5, 12, 0x40)
    assert answer == message(ADD, ESP, state, sa2(1, 9), ends(), limits)
    (view,) = told.house.engine.sad_dump()
    assert (view.replay_window, view.cycle_sequence, view.reqid) == (32, True, 9)
    assert view.authentication[0] == "hmac-sha2-256-128"
    (dumped,) = told.ask(message(DUMP, 0))
    current = struct.pack("=IQQQ", 0, 0, view.created, 0)
    # The reference count of an entry stands in the reserved field.
    assert dumped == message(
        DUMP, ESP, state, sa2(1, 9), limits, ext(2, current), ends(), KEYS, seq=0, refs=1
    )


@pytest.mark.parametrize("system", ["freebsd"])
def test_a_large_window_of_freebsd_is_counted_in_packets(told: Told) -> None:
    large = ext(26, struct.pack("=I", 4096))
    answer = told.one(add(0x1001, sa2(1), large, replay=255))
    assert answer == message(ADD, ESP, sa(0x1001, 255, 1, 5, 12), sa2(1), large, ends())
    assert told.house.engine.sad_dump()[0].replay_window == 4096
    # A window that the octet can say needs no extension.
    answer = told.one(add(0x1002, sa2(1), ext(26, struct.pack("=I", 64))))
    assert answer == message(ADD, ESP, sa(0x1002, 8, 1, 5, 12), sa2(1), ends())


@BOTH
def test_the_ports_of_an_encapsulated_association(told: Told, system: str) -> None:
    natt = (
        ext(20, bytes((2, 0, 0, 0)))
        + ext(21, struct.pack(">HH", 4500, 0))
        + ext(22, struct.pack(">HH", 4501, 0))
    )
    answer = told.one(add(0x1001, sa2(1), natt))
    ports = (4500, 4501) if system == "netbsd" else (0, 0)
    assert answer == message(ADD, ESP, sa(0x1001, 0, 1, 5, 12), sa2(1), ends(ports=ports), natt)
    for wrong in (
        natt.replace(ext(20, bytes((2, 0, 0, 0))), ext(20, bytes((1, 0, 0, 0)))),
        natt[:-8],
        natt[:-8] + ext(22, bytes(4)),
    ):
        assert told.errno(add(0x1002, sa2(1), wrong)) == errno.EINVAL


@BOTH
def test_spis_reserved_flags_and_pads_by_choice(told: Told) -> None:
    for data in (add(255), add(0), add(flags=0x100), add(flags=0x200), add(flags=0x1000)):
        assert told.errno(data) == errno.EINVAL


@BOTH
def test_getspi(told: Told, system: str) -> None:
    wanted = message(1, ESP, ends(), ext(16, struct.pack("=III", 0x5000, 0x5000, 0)))
    assert told.one(wanted) == message(1, ESP, sa(0x5000), ends())
    assert told.errno(wanted) == (errno.EINVAL if system == "netbsd" else errno.EEXIST)
    assert told.house.engine.sad_dump()[0].state == "larval"


@BOTH
def test_an_spi_is_one_for_all_protocols_and_ends(told: Told, system: str) -> None:
    alone = system == "freebsd"
    told.one(add(0x1001))
    back = ext(5, bytes((0, 32, 0, 0)) + sockaddr(2)) + ext(6, bytes((0, 32, 0, 0)) + sockaddr(1))
    fixed = ext(16, struct.pack("=III", 0x1001, 0x1001, 0))
    few = ext(16, struct.pack("=III", 0x1001, 0x1002, 0))
    wanted = (
        message(ADD, AH, sa(0x1001, auth=5), ends(), KEYS[:40]),
        message(ADD, ESP, sa(0x1001, auth=5, encrypt=12), back, KEYS),
    )
    for data in wanted:
        assert told.one(data)[2] == (errno.EEXIST if alone else 0)
    told.one(message(9, 0))
    told.one(message(ADD, AH, sa(0x1001, auth=5), ends(), KEYS[:40]))
    assert told.one(message(1, ESP, ends(), fixed))[2] == (errno.EEXIST if alone else 0)
    if alone:
        assert told.one(message(1, ESP, back, few)) == message(1, ESP, sa(0x1002), back)
        assert told.errno(message(1, AH, back, few)) == errno.EEXIST
        assert told.errno(add(0x1002)) == errno.EEXIST, "a larval one has it, too"
        told.one(message(9, 0))
        assert told.one(add(0x1002))[2] == 0


@BOTH
def test_update_completes_for_its_maker_only(told: Told, system: str) -> None:
    told.one(message(1, ESP, ends(), ext(16, struct.pack("=III", 0x5000, 0x5000, 0))))
    body = (sa(0x5000, auth=5, encrypt=12), sa2(1), ends(), KEYS)
    assert told.errno(message(UPDATE, ESP, *body, pid=43)) == errno.EINVAL
    assert told.errno(message(UPDATE, ESP, *body[:3])) == errno.EINVAL
    answer = told.one(message(UPDATE, ESP, *body))
    assert answer == message(UPDATE, ESP, sa(0x5000, 0, 1, 5, 12), sa2(1), ends())
    unknown = message(UPDATE, ESP, sa(0x5001, auth=5, encrypt=12), ends(), KEYS)
    assert told.errno(unknown) == errno.EINVAL
    told.one(message(9, 0))
    assert told.errno(unknown) == (errno.ENOENT if system == "netbsd" else errno.EINVAL)


@pytest.mark.parametrize("system", ["freebsd"])
def test_update_of_a_living_association_of_freebsd(told: Told) -> None:
    limits = lifetime(3, 100) + lifetime(4, 80)
    told.one(add(0x1001, sa2(1, 9), limits))
    state = sa(0x1001, auth=5, encrypt=12)
    assert told.errno(message(UPDATE, ESP, state, sa2(1, 9), ends(), KEYS)) == errno.EINVAL
    assert told.errno(message(UPDATE, ESP, state, sa2(1, 8), ends())) == errno.ESRCH
    assert told.errno(message(UPDATE, ESP, state, sa2(2, 9), ends())) == errno.ESRCH
    assert told.errno(message(UPDATE, ESP, state, sa2(1, 9), ends(), lifetime(3, 200))) == errno.EINVAL
    new = lifetime(3, 200) + lifetime(4, 160)
    answer = told.one(message(UPDATE, ESP, state, sa2(1, 9), ends(), new))
    assert answer == message(UPDATE, ESP, sa(0x1001, 0, 1, 5, 12), sa2(1, 9), ends(), new)
    told.one(message(UPDATE, ESP, state, sa2(1, 9), ends()))
    (view,) = told.house.engine.sad_dump()
    assert (view.hard.add_secs, view.soft.add_secs, view.authentication[1]) == (0, 0, bytes(range(32)))


@pytest.mark.parametrize(("system", "both"), [("freebsd", True), ("netbsd", False)])
def test_freebsd_takes_both_limits_or_neither(told: Told, both: bool) -> None:
    for number, only in ((0x1001, lifetime(3, 9)), (0x1002, lifetime(4, 9))):
        assert told.one(add(number, only))[2] == (errno.EINVAL if both else 0)


@BOTH
def test_what_is_not_there(told: Told, system: str) -> None:
    missing = errno.ENOENT if system == "netbsd" else errno.ESRCH
    assert told.errno(message(GET, ESP, sa(0x9999), ends())) == missing
    assert told.errno(message(DELETE, ESP, sa(0x9999), ends())) == missing
    assert told.errno(message(DELETE, ESP, ends())) == missing
    assert told.errno(message(DUMP, 0)) == errno.ENOENT
    assert told.errno(message(SPDDUMP, 0)) == errno.ENOENT
    assert told.errno(message(SPDDELETE, 0, policy(2, 2), sides())) == errno.EINVAL
    assert told.errno(message(SPDDELETE2, 0, policy(0, 0, number=99))) == errno.EINVAL
    assert told.errno(message(SPDGET, 0, policy(0, 0, number=99))) == errno.ENOENT


@BOTH
def test_the_order_of_a_dump(told: Told, system: str) -> None:
    told.one(message(1, ESP, ends(), ext(16, struct.pack("=III", 0x5000, 0x5000, 0))))
    told.one(add(0x1001))
    told.one(add(0x1002))
    dumped = told.ask(message(DUMP, ESP))
    spis = [int.from_bytes(data[20:24], "big") for data in dumped]
    assert spis == ([0x1001, 0x1002, 0x5000] if system == "netbsd" else [0x1002, 0x1001, 0x5000])
    assert [struct.unpack_from("=I", data, 8)[0] for data in dumped] == [2, 1, 0]


# Numbers.


NETBSD_LISTS = (
    [
        (2, 0, 128, 128), (3, 0, 160, 160), (5, 0, 256, 256), (6, 0, 384, 384), (7, 0, 512, 512),
        (8, 0, 160, 160), (249, 0, 128, 128), (250, 0, 160, 160), (9, 0, 128, 128), (11, 8, 160, 160),
        (12, 8, 224, 224), (13, 8, 288, 288), (251, 0, 0, 2048),
    ],
    [
        (2, 8, 64, 64), (3, 8, 192, 192), (6, 8, 40, 128), (7, 8, 40, 448), (11, 0, 0, 2048),
        (12, 16, 128, 256), (13, 8, 160, 288), (20, 8, 160, 288), (22, 16, 64, 256), (23, 8, 160, 288),
    ],
)  # fmt: skip
FREEBSD_LISTS = (
    [
        (2, 0, 128, 128), (3, 0, 160, 160), (5, 0, 256, 256), (6, 0, 384, 384), (7, 0, 512, 512),
        (8, 0, 160, 160), (249, 0, 128, 128), (250, 0, 160, 160), (11, 8, 128, 128), (12, 8, 192, 192),
        (13, 8, 256, 256), (251, 0, 8, 2048),
    ],
    [
        (2, 8, 64, 64), (3, 8, 192, 192), (6, 8, 40, 128), (7, 8, 40, 448), (11, 0, 0, 2048),
        (12, 16, 128, 256), (13, 8, 128, 256), (20, 8, 128, 256), (22, 16, 128, 256), (23, 8, 128, 256),
    ],
)  # fmt: skip


@pytest.mark.parametrize(("system", "lists"), [("netbsd", NETBSD_LISTS), ("freebsd", FREEBSD_LISTS)])
def test_register_lists_what_the_system_lists_and_sallet_provides(told: Told, lists: Any) -> None:
    supported = [
        ext(number, bytes(4) + b"".join(struct.pack("=BBHHxx", *row) for row in rows))
        for number, rows in zip((14, 15), lists, strict=True)
    ]
    assert told.one(message(REGISTER, 0)) == message(REGISTER, 0, *supported)
    assert told.one(message(REGISTER, ESP)) == message(REGISTER, ESP, *supported)
    assert told.errno(message(REGISTER, ESP)) == errno.EEXIST
    for satype in (5, 6, 7, 8, 11):
        assert told.errno(message(REGISTER, satype)) == errno.EOPNOTSUPP
    assert told.errno(message(REGISTER, 12)) == errno.EINVAL
    assert told.house.server.counters()["registered"] == 1


@BOTH
def test_association_types(told: Told) -> None:
    for kind in (ADD, GET, DELETE, UPDATE, 1):
        for satype, expected in (
            (0, errno.EINVAL),
            (4, errno.EINVAL),
            (10, errno.EINVAL),
            (5, errno.EOPNOTSUPP),
        ):
            assert told.errno(message(kind, satype, sa(0x1001, auth=5, encrypt=12), ends(), KEYS)) == expected
    for satype in (AH, ESP, IPCOMP):
        assert told.errno(message(SPDADD, satype, policy(1, 2), sides())) == errno.EINVAL
    assert told.errno(message(SPDADD, 11, policy(1, 2), sides())) == errno.EOPNOTSUPP


@pytest.mark.parametrize(("system", "last"), [("netbsd", 23), ("freebsd", 22)])
def test_message_numbers(told: Told, last: int) -> None:
    for kind in (8, 12, 17, 21, *range(23, last + 1)):
        assert told.errno(message(kind, 0)) == errno.EINVAL
    for kind in (0, last + 1, 24, 255):
        assert told.failed(message(kind, 0)) == errno.EINVAL
    assert told.one(message(SETIDX, 0, policy(1, 2), sides()))[2] == 0
    for kind in (SPDADD, 13):
        assert told.errno(message(kind, 0, policy(2, 1), sides())) == errno.EINVAL
    assert [view.action for view in told.house.engine.spd_dump()] == ["bypass"]


@pytest.mark.parametrize(("system", "last"), [("netbsd", 25), ("freebsd", 28)])
def test_extension_numbers(told: Told, system: str, last: int) -> None:
    # A fragment size outside UDP and new addresses would have no effect: they are refused, not forgotten.
    assert told.errno(add(0x1001, ext(25, struct.pack("=HH", 552, 0)))) == errno.EINVAL
    address = bytes((0, 32, 0, 0)) + sockaddr(7)
    for number in (27, 28):
        data = add(0x1001, ext(number, address))
        assert (told.failed(data) if system == "netbsd" else told.errno(data)) == (
            errno.EINVAL if system == "netbsd" else errno.EOPNOTSUPP
        )
    for number in (17, last + 1, 99):
        assert told.failed(add(0x1001, ext(number, bytes(4)))) == errno.EINVAL
    assert told.failed(add(0x1001, sa2(), sa2())) == errno.EINVAL
    assert told.failed(add(0x1001, ext(24, bytes(4)))) == errno.EINVAL
    assert told.failed(message(ADD, ESP) + bytes(8)) == errno.EINVAL
    assert told.house.engine.sad_dump() == []


@pytest.mark.parametrize(("system", "limit"), [("netbsd", None), ("freebsd", 2048)])
def test_a_message_that_is_longer_than_a_cluster(told: Told, limit: int | None) -> None:
    def padded(size: int) -> bytes:
        body = sa(0x1001, auth=5, encrypt=12) + ends() + KEYS
        body += ext(11, struct.pack("=HxxQ", 2, 0))
        identity = ext(10, struct.pack("=HxxQ", 2, 0) + b"x" * (size - 16 - len(body) - 17) + b"\0")
        return message(ADD, ESP, body, identity)

    assert len(padded(2048)) == 2048
    assert told.one(padded(2048))[2] == 0
    told.one(message(9, 0))
    if limit is None:
        assert told.one(padded(2056))[2] == 0
    else:
        assert told.failed(padded(2056)) == errno.ENOBUFS


# Policies.


@BOTH
def test_a_policy_with_its_requests(told: Told, system: str) -> None:
    tunnel = request(50, 2, 2, 0, sockaddr6(system, 1) + sockaddr6(system, 2))
    asked = policy(2, 2, tunnel, request(51, 1, 3, 0), last=500)
    answer = told.one(message(SPDADD, 0, asked, sides()))
    (view,) = told.house.engine.spd_dump()
    # What is left to choose begins at 16384; scope 1 is global, the last word a priority or reserved.
    scope, last = (1, 500) if system == "freebsd" else (0, 0)
    shown = policy(2, 2, tunnel, request(51, 1, 3, 16384), number=view.id, last=last, scope=scope)
    assert answer == message(SPDADD, 0, shown, sides())
    assert view.priority == (500 if system == "freebsd" else 0x80000000)
    assert len(tunnel) == 64
    (dumped,) = told.ask(message(SPDDUMP, 0))
    current = b"" if system == "freebsd" else ext(2, struct.pack("=IQQQ", 0, 0, view.created, 0))
    assert dumped == message(SPDDUMP, 0, sides(), shown, current, seq=0, refs=1)
    again = policy(2, 2, tunnel, last=last, scope=scope)
    assert told.errno(message(SPDADD, 0, again, sides())) == errno.EEXIST
    other = INET6["netbsd" if system == "freebsd" else "freebsd"]
    foreign = request(
        50, 2, 2, 0, sockaddr6(system, 1).replace(bytes((28, INET6[system])), bytes((28, other))) * 2
    )
    assert told.failed(message(SPDADD, 0, policy(2, 1, foreign), sides())) == errno.EAFNOSUPPORT


@BOTH
def test_policies_that_are_none(told: Told) -> None:
    for wrong, expected in (
        (policy(2, 2), errno.EINVAL),
        (policy(3, 2), errno.EINVAL),
        (policy(4, 2), errno.EINVAL),
        (policy(1, 0), errno.EINVAL),
        (policy(1, 3), errno.EINVAL),
        (policy(2, 2, request(50, 1, 9)), errno.EINVAL),
        (policy(2, 2, request(6, 1, 2)), errno.EPROTONOSUPPORT),
    ):
        assert told.errno(message(SPDADD, 0, wrong, sides())) == expected


@pytest.mark.parametrize(("system", "most"), [("netbsd", 6), ("freebsd", 4)])
def test_the_most_requests(told: Told, system: str, most: int) -> None:
    assert told.one(message(SPDADD, 0, policy(2, 2, *[request(50, 1, 2)] * most), sides()))[2] == 0
    too_many = message(SPDADD, 0, policy(2, 1, *[request(50, 1, 2)] * (most + 1)), sides())
    assert told.errno(too_many) == (errno.EINVAL if system == "freebsd" else errno.ELOOP)


@BOTH
def test_a_dump_of_the_spd_has_the_order_in_which_policies_are_asked(told: Told, system: str) -> None:
    for plen, priority in ((24, 900), (25, 100), (26, 900)):
        told.one(message(SPDADD, 0, policy(1, 2, last=priority), sides(plen=plen)))
    dumped = told.ask(message(SPDDUMP, 0))
    assert [data[21] for data in dumped] == ([25, 24, 26] if system == "freebsd" else [24, 25, 26])
    assert [struct.unpack_from("=I", data, 8)[0] for data in dumped] == [2, 1, 0]
    packet = _core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"x")
    first = told.house.engine.explain("out", packet).policy
    assert first == told.house.engine.spd_dump()[1 if system == "freebsd" else 0].id


@pytest.mark.parametrize("system", ["freebsd"])
def test_the_type_of_a_dump_of_policies_is_a_mask_of_scopes_on_freebsd(told: Told) -> None:
    told.one(message(SPDADD, 0, policy(1, 2), sides()))
    for scope, found in ((0, True), (1, True), (3, True), (2, False), (4, False), (6, False)):
        answer = told.one(message(SPDDUMP, scope))
        assert answer[2] == (0 if found else errno.ENOENT)


@BOTH
def test_a_policy_with_a_lifetime_tells_its_age(told: Told, system: str) -> None:
    answer = told.one(message(SPDADD, 0, policy(1, 2), lifetime(3, 60, 30), sides()))
    (view,) = told.house.engine.spd_dump()
    shown = policy(1, 2, number=view.id, scope=1 if system == "freebsd" else 0)
    assert answer == message(SPDADD, 0, shown, lifetime(3, 60, 30), sides())
    (dumped,) = told.ask(message(SPDDUMP, 0))
    current = ext(2, struct.pack("=IQQQ", 0, 0, view.created, 0))
    assert dumped == message(SPDDUMP, 0, sides(), shown, current, lifetime(3, 60, 30), seq=0, refs=1)


# Who hears what.


@BOTH
def test_everybody_hears_a_change_and_one_an_answer(told: Told, house: Any, system: str) -> None:
    other, nosy = Told(house, system), Told(house, system)
    nosy.ask(message(11, 1))
    told.program.receive(), other.program.receive()
    answer = told.one(add())
    assert other.program.receive() == [answer]
    copies = nosy.program.receive()
    assert answer in copies
    assert any(data[:2] == bytes((2, 11)) and data[16:] == answer for data in copies)
    told.one(message(GET, ESP, sa(0x1001), ends()))
    assert other.program.receive() == []


@BOTH
def test_an_acquire(told: Told, system: str) -> None:
    told.one(message(REGISTER, ESP))
    told.one(message(SPDADD, 0, policy(2, 2, request(50, 1, 3, 77)), sides()))
    house = told.house
    house.engine.outbound(_core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"x"))
    for event in house.engine.take_events():
        house.server.engine_event(event)
    (asked,) = told.program.receive()
    view = house.engine.spd_dump()[0]
    front = ends() + policy(2, 2, number=view.id, scope=1 if system == "freebsd" else 0)
    if system == "freebsd":
        front += sa2(1, 77)
    assert asked[1:4] == bytes((ACQUIRE, 0, ESP))
    assert asked[16 : 16 + len(front)] == front
    proposal = asked[16 + len(front) :]
    assert struct.unpack_from("=HHB", proposal) == (len(proposal) // 8, 13, 32)
    assert (len(proposal) - 8) % 72 == 0


@BOTH
def test_a_dialect_without_setidx_hears_an_add(told: Told, house: Any) -> None:
    linux = house.connect("linux")
    told.one(message(SETIDX, 0, policy(1, 2), sides()))
    (heard,) = linux.receive()
    assert heard[1] == SPDADD
