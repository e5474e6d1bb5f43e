"""The codec: recorded messages survive a round trip, and no bytes bring anything but Malformed.

No engine and no socket enters. Answers to RFC 2367 §2 and the reference recordings.
"""

from __future__ import annotations

import errno
import json
import struct
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sallet.pfkey import codec
from sallet.pfkey.codec import Malformed, decode, encode
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import (
    Address,
    Key,
    Message,
    Policy,
    Replay,
    Request,
    Sa,
)
from unit.pfkey.strategies import messages, u8

REFERENCE = Path(__file__).parents[2] / "reference" / "pfkey-linux"
LINUX, KAME, SALLET = DIALECTS["linux"], DIALECTS["kame"], DIALECTS["sallet"]
ALL = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))


@cache
def recorded() -> list[bytes]:
    found: list[bytes] = []
    for path in sorted(REFERENCE.glob("*.json")):
        for step in json.loads(path.read_text())["steps"]:
            for texts in step["received"].values():
                found.extend(bytes.fromhex(text) for text in texts)
            if "send_errno" not in step:
                found.append(bytes.fromhex(step["send"]))
    return found


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.2
# # what fills an extension up to 8 bytes is zero
def test_every_recorded_message_is_written_as_it_was_read() -> None:
    found = recorded()
    assert len(found) > 90
    for data in found:
        if data[18:22] == bytes((5, 0, 1, 33)):  # source, ICMP, prefix length 33
            with pytest.raises(Malformed):
                decode(data, LINUX)
        elif data[16:].endswith(struct.pack("=HHI", 1, 99, 0)):
            assert encode(decode(data, LINUX), LINUX) == struct.pack("=4BHH", *data[:4], 10, 0) + data[8:-8]
        else:
            assert encode(decode(data, LINUX), LINUX) == data


# Any message, any bytes.


@given(messages())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_message_survives_writing_and_reading(pair: tuple[Dialect, Message]) -> None:
    dialect, message = pair
    data = encode(message, dialect)
    assert len(data) % 8 == 0
    again = decode(data, dialect)
    assert again == message
    assert list(again.extensions) == list(message.extensions)


def settle(data: bytes, dialect: Dialect) -> None:
    """Read any bytes: a message that can be written again to the same message, or Malformed."""
    try:
        message = decode(data, dialect)
    except Malformed as malformed:
        refused = malformed.errno
    else:
        written = encode(message, dialect)
        assert decode(written, dialect) == message
        assert encode(decode(written, dialect), dialect) == written
        return
    assert refused in (errno.EINVAL, errno.EMSGSIZE, errno.EAFNOSUPPORT)


@ALL
@given(st.binary(max_size=200))
@example(b"")
@settings(deadline=None)
def test_any_bytes_are_a_message_or_malformed(dialect: Dialect, data: bytes) -> None:
    settle(data, dialect)


@ALL
@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_messages_are_messages_or_malformed(dialect: Dialect, data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(recorded())))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(u8)
    settle(bytes(damaged), dialect)
    size = data.draw(st.integers(0, len(damaged) // 8)) * 8
    cut = damaged[:size]
    if size >= 16:
        cut[4:6] = struct.pack("=H", size // 8)
    settle(bytes(cut), dialect)


@ALL
def test_every_length_up_to_200_of_zeros_and_ones_is_malformed(dialect: Dialect) -> None:
    for size in range(201):
        for octet in (b"\x00", b"\xff", b"\x02"):
            with pytest.raises(Malformed):
                decode(octet * size, dialect)


# One refusal each.


def head(kind: int = Msg.GET, size: int = 16, version: int = 2) -> bytes:
    return struct.pack("=BBBBHHII", version, kind, 0, 3, size // 8, 0, 7, 9)


def ext(number: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("=HH", (len(body) + 4) // 8 if length is None else length, number) + body


def whole(*extensions: bytes) -> bytes:
    body = b"".join(extensions)
    return head(size=16 + len(body)) + body


SA_BODY = struct.pack("=I4BI", 1, 0, 0, 0, 0, 0)


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3
# # an extension twice, of no length, beyond the message or of an unknown kind: EINVAL, and nothing is changed
# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3.3
# # prefix lengths are bounded by the address, unused ports and padding are zero
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(whole(ext(1, SA_BODY), ext(1, SA_BODY)), id="duplicate"),
        pytest.param(whole(ext(1, SA_BODY, length=0)), id="zero-length"),
        pytest.param(whole(ext(1, SA_BODY, length=3)), id="overrun"),
        pytest.param(whole(ext(1, SA_BODY + bytes(8))), id="too-long"),
        pytest.param(whole(ext(1, SA_BODY[:4])), id="too-short"),
        pytest.param(whole(ext(0, bytes(4))), id="number-zero"),
        pytest.param(whole(ext(8, struct.pack("=HH", 65, 0) + bytes(8))), id="key-shorter-than-its-bits"),
        pytest.param(whole(ext(8, struct.pack("=HH", 8, 0) + bytes(16))), id="key-longer-than-its-bits"),
        pytest.param(whole(ext(5, bytes((0, 33, 0, 0)) + struct.pack("=H", 2) + bytes(14))), id="prefix"),
        pytest.param(whole(ext(5, bytes((0, 32, 0, 0)) + struct.pack("=H", 2) + bytes(6))), id="sockaddr"),
        pytest.param(whole(ext(5, bytes(4))), id="no-sockaddr"),
        pytest.param(whole(ext(5, bytes((0, 32, 0, 0)) + struct.pack("=H", 99) + bytes(14))), id="family"),
        pytest.param(whole(ext(10, bytes(12) + b"12345678")), id="identity-without-end"),
        pytest.param(whole(ext(13, bytes(76 + 8))), id="proposal-size"),
        pytest.param(whole(ext(18, bytes(4))), id="policy-short"),
        pytest.param(whole(ext(18, bytes(12) + bytes(8))), id="request-short"),
        pytest.param(whole(ext(18, bytes(12) + struct.pack("=H", 64) + bytes(22))), id="request-overrun"),
    ],
)
def test_linux_answers_einval(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(data, LINUX)
    assert (caught.value.errno, caught.value.send_failed) == (errno.EINVAL, False)


def test_an_unknown_extension_is_skipped_by_linux_and_refused_by_the_others() -> None:
    data = whole(ext(99, bytes(4)))
    assert decode(data, LINUX).extensions == {}
    for dialect in (SALLET, KAME):
        with pytest.raises(Malformed) as caught:
            decode(data, dialect)
        assert caught.value.send_failed is dialect.bad_extension_fails_send


# = https://www.rfc-editor.org/rfc/rfc2367#section-2
# # version 2, lengths in units of 8 bytes, a reply has the request's sequence number and process
@pytest.mark.parametrize(
    ("data", "linux", "kame"),
    [
        (b"", (errno.EMSGSIZE, True), (errno.EINVAL, True)),
        (head()[:12], (errno.EMSGSIZE, True), (errno.EINVAL, True)),
        (head(size=24), (errno.EMSGSIZE, True), (errno.EINVAL, True)),
        (head(version=1), (errno.EINVAL, True), (errno.EINVAL, False)),
        (head(kind=77), (errno.EINVAL, True), (errno.EINVAL, False)),
        (head(kind=0), (errno.EINVAL, True), (errno.EINVAL, False)),
    ],
)
def test_headers_fail_as_the_systems_fail_them(
    data: bytes, linux: tuple[int, bool], kame: tuple[int, bool]
) -> None:
    for dialect, expected in ((LINUX, linux), (KAME, kame)):
        with pytest.raises(Malformed) as caught:
            decode(data, dialect)
        assert (caught.value.errno, caught.value.send_failed) == expected


# Captured layouts.


def test_kame_layouts() -> None:
    tunnel = Request(50, 2, 2, 5, Address(IPv4Address("192.0.2.1")), Address(IPv4Address("192.0.2.2")))
    v6 = Address(IPv6Address("2001:db8::1"), 0, 128, 255)
    message = Message(
        Msg.X_SPDADD, extensions={Ext.ADDRESS_SRC: v6, Ext.X_POLICY: Policy(2, 2, requests=(tunnel,))}
    )
    data = encode(message, KAME)
    assert data[16:24] == struct.pack("=HHBBH", 5, 5, 255, 128, 0)
    assert data[24:26] == bytes((28, 24))
    policy = data[56:]
    assert policy[:4] == struct.pack("=HH", 7, 18)
    assert policy[16:24] == struct.pack("=HHBBH", 40, 50, 2, 2, 5)
    assert policy[24:32] == bytes((16, 2, 0, 0, 192, 0, 2, 1))
    assert len(policy) == 56


def test_the_same_number_means_other_things() -> None:
    data = whole(ext(25, bytes(4)))
    assert list(decode(data, LINUX).extensions) == [Ext.X_KMADDRESS]
    assert list(decode(data, KAME).extensions) == [Ext.X_TAG]


def test_an_extension_without_a_number_cannot_be_written() -> None:
    message = Message(Msg.ADD, extensions={Ext.X_SA_REPLAY: Replay(4096)})
    assert decode(encode(message, SALLET), SALLET) == message
    for dialect in (LINUX, KAME):
        with pytest.raises(ValueError, match="has no extension"):
            encode(message, dialect)
    with pytest.raises(ValueError, match="out of its range"):
        encode(Message(Msg.ADD, extensions={Ext.SA: Sa(2**32)}), LINUX)


def test_a_refusal_is_sixteen_octets_whatever_came() -> None:
    assert codec.refusal(b"", errno.EMSGSIZE) == struct.pack("=BBBBHHII", 2, 0, errno.EMSGSIZE, 0, 2, 0, 0, 0)
    assert codec.refusal(head(size=24), 22) == struct.pack("=BBBBHHII", 2, Msg.GET, 22, 3, 2, 0, 7, 9)


def test_keys_are_never_shown() -> None:
    message = Message(Msg.ADD, extensions={Ext.KEY_AUTH: Key(128, b"sixteen.byte.key")})
    assert "sixteen" not in repr(message)
