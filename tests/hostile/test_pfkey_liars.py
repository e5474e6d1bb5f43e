"""A daemon that lies: whatever a server sends, our client takes its own replies only, or says what is wrong.

No engine enters. Answers to RFC 2367 §3 (a reply has its request's sequence number and process).
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from sallet import client as client_module
from sallet.client import PfkeyClient, PfkeyError
from sallet.failure import Failure
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Message, Sa

LINUX = DIALECTS["linux"]
GET = Message(
    Msg.GET,
    3,
    extensions={
        Ext.SA: Sa(0x1000),
        Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
        Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
    },
)
Lie = Callable[[bytes], list[bytes]]


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Callable[[Lie], PfkeyClient]]:
    """Connect a client to a server that answers each request with what a function makes of it."""
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, lie: Lie) -> None:
        connected, _ = listener.accept()
        with connected:
            while request := connected.recv(1 << 16):
                for data in lie(request):
                    connected.send(data)

    def connect(lie: Lie) -> PfkeyClient:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = tmp_path / "pfkey.linux.sock"
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
        ends.append(listener)
        threads.append(threading.Thread(target=_quietly, args=(serve, listener, lie)))
        threads[-1].start()
        return PfkeyClient(tmp_path, "linux")

    yield connect
    for listener in ends:
        listener.close()
    for thread in threads:
        thread.join(10)


def _quietly(serve: Callable[[socket.socket, Lie], None], listener: socket.socket, lie: Lie) -> None:
    try:
        serve(listener, lie)
    except OSError:
        return  # the client has gone


def altered(
    request: bytes, *, seq: int | None = None, pid: int | None = None, kind: int | None = None
) -> bytes:
    header = list(struct.unpack_from("=BBBBHHII", request))
    header[1] = header[1] if kind is None else kind
    header[6] = header[6] if seq is None else seq
    header[7] = header[7] if pid is None else pid
    return struct.pack("=BBBBHHII", *header) + request[16:]


@pytest.mark.bug_row(57)
def test_only_a_reply_to_this_request_is_taken(lying: Callable[[Lie], PfkeyClient]) -> None:
    """Row 57: stale replies, other programs' replies and events before the reply are not the reply."""

    def lie(request: bytes) -> list[bytes]:
        seq = struct.unpack_from("=I", request, 8)[0]
        others = [
            altered(request, seq=seq - 1),
            altered(request, pid=1),
            altered(request, kind=Msg.EXPIRE, seq=0),
        ]
        return [*others, altered(request), altered(request)]

    with lying(lie) as client:
        for _ in range(3):
            reply = client.request(GET)
            assert (reply.type, reply.pid) == (Msg.GET, os.getpid())


@pytest.mark.bug_row(57)
def test_lengths_that_lie_are_no_crash(
    lying: Callable[[Lie], PfkeyClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 57: whatever octets come, the client answers, refuses or waits no longer; nothing else happens."""
    monkeypatch.setattr(client_module, "REPLY_SECS", 0.05)
    dice = random.Random(57)

    def lie(request: bytes) -> list[bytes]:
        data = bytearray(request)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 0xFF, dice.randrange(256)))
        cut = dice.choice((len(data), len(data), dice.randrange(1, len(data))))
        return [bytes(data[:cut])]

    seen = {"reply": 0, "refused": 0, "failure": 0, "timeout": 0}
    for _ in range(150):
        with lying(lie) as client:
            try:
                client.request(GET)
                seen["reply"] += 1
            except PfkeyError:
                seen["refused"] += 1
            except Failure:
                seen["failure"] += 1
            except TimeoutError:
                seen["timeout"] += 1
    assert all(seen.values()), seen


@pytest.mark.bug_row(57)
def test_a_loss_that_is_told_is_raised_where_it_happened(lying: Callable[[Lie], PfkeyClient]) -> None:
    """Row 57: messages that a listener lost are an error of `receive`, and not of a request."""
    lost = codec.refusal(b"", 105)

    def lie(request: bytes) -> list[bytes]:
        return [altered(request, seq=0, kind=Msg.EXPIRE), lost, request]

    with lying(lie) as client:
        assert client.request(GET).type is Msg.GET
        assert client.receive(1).type is Msg.EXPIRE
        with pytest.raises(PfkeyError) as caught:
            client.receive(1)
        assert caught.value.errno == 105


def test_a_dump_without_its_end_keeps_what_came(
    lying: Callable[[Lie], PfkeyClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the manuals call a truncated result: the entries that came, and that it was not all."""
    monkeypatch.setattr(client_module, "ENTRY_SECS", 0.2)

    def lie(request: bytes) -> list[bytes]:
        entry = codec.encode(Message(Msg.DUMP, 3, pid=os.getpid(), extensions=GET.extensions), LINUX)
        return [altered(entry, seq=9), altered(entry, seq=8)]

    with lying(lie) as client, pytest.raises(client_module.DumpCutShort) as caught:
        client.dump(Message(Msg.DUMP))
    assert [entry.seq for entry in caught.value.entries] == [9, 8]
