"""Control lines: what is written is read, and no line brings more than BadRequest.

Answers to: sallet.control.protocol.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallet.control import protocol
from sallet.control.protocol import BadRequest, Refusal, Reply, Request

names = st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | names
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@given(st.integers(), names, st.dictionaries(names, values, max_size=3))
def test_a_request_is_one_line(identifier: int, method: str, params: dict[str, object]) -> None:
    request = Request(identifier, method, params)
    line = protocol.encode_request(request)
    assert line.count(b"\n") == 1
    assert protocol.decode_request(line) == request


@given(st.integers(), values)
def test_a_reply_is_one_line(identifier: int, result: object) -> None:
    reply = Reply(identifier, result)
    assert protocol.decode_reply(protocol.encode_reply(reply)) == reply


def test_a_refusal_keeps_its_words() -> None:
    reply = Reply(7, refusal=Refusal("what", "where", "why", "next", "usage"))
    assert protocol.decode_reply(protocol.encode_reply(reply)) == reply


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(line: bytes) -> None:
    for decode in (protocol.decode_request, protocol.decode_reply):
        try:
            decode(line)
        except BadRequest:
            pass


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        b'{"id":true,"method":"x"}',
        b'{"id":1}',
        b'{"id":1,"method":"x","params":[]}',
        b"[" * 100000,
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(BadRequest):
        protocol.decode_request(line)
