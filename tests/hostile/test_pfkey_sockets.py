"""Many programs at once, programs that ask without end, and a server that lies to its client.

No request that is wrong in itself may enter. Answers to RFC 2367 §1 and §3.1.1.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interop.pfkey.words import ESP, T, add, bare, getspi, named
from sallet import _core
from sallet.client import PfkeyClient, PfkeyError
from sallet.failure import Failure
from sallet.pfkey.messages import Message
from unit.pfkey.conftest import House

CALLERS, ROUNDS = 8, 200


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A server on an engine whose clock stands still."""
    made = House(tmp_path, clock="manual")
    yield made
    assert made.server.counters()["internal_errors"] == 0
    made.close()


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.1
# # an SPI is given once
@pytest.mark.bug_row(33)
def test_eight_callers_share_four_spis(house: House) -> None:
    """Row 33: eight programs ask for SPIs of a range of four, again and again; none is given twice."""
    programs = [house.connect("linux") for _ in range(CALLERS)]
    for _ in range(ROUNDS):
        for program in programs:
            program.send(getspi(ESP, 0x1000, 0x1003))
        answers = [data for program in programs for data in program.receive()]
        given = [data[20:24] for data in answers if data[2] == 0]
        assert len(answers) == CALLERS
        assert len(given) == len(set(given)) == 4
        programs[0].send(bare(T.FLUSH))
        for program in programs:
            program.receive()


@pytest.mark.bug_row(33)
def test_eight_threads_share_four_spis() -> None:
    """Row 33: the same at the engine itself, where callers do run at once."""
    engine = _core.Engine(seed=bytes(32))
    for _ in range(ROUNDS):
        given: list[int] = []

        def ask(given: list[int] = given) -> None:
            with suppress(_core.EngineError):
                given.append(engine.sad_getspi("esp", "10.1.0.1", "10.2.0.7", minimum=0x1000, maximum=0x1003))

        threads = [threading.Thread(target=ask) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(given) == [0x1000, 0x1001, 0x1002, 0x1003]
        engine.sad_flush()


@pytest.mark.bug_row(67)
def test_larval_associations_end_and_cost_no_more_each(house: House) -> None:
    """Row 67: 6,000 reservations that nobody completes: the last cost what the first did, and all end."""
    program = house.connect("linux")

    def reserve(count: int, first: int) -> float:
        started = time.process_time()
        for spi in range(first, first + count):
            program.send(getspi(ESP, spi, spi))
            if spi % 100 == 99:
                program.receive()
        program.receive()
        return time.process_time() - started

    reserve(500, 0x1000)
    early = reserve(1000, 0x10000)
    reserve(3500, 0x20000)
    late = reserve(1000, 0x30000)
    assert late < 4 * early + 0.5, "a search that grows with what is there"
    assert len(house.engine.sad_dump()) == 6000
    house.engine.advance(31)
    house.engine.handle_timeout()
    assert house.engine.sad_dump() == []
    program.send(add())
    assert program.receive()[-1][2] == 0


def lying(path: Path, answer: Callable[[bytes, random.Random], list[bytes]], seed: int) -> threading.Thread:
    """Serve one connection with whatever `answer` makes of the request."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        noise = random.Random(seed)
        with listener, listener.accept()[0] as accepted, suppress(OSError):
            while request := accepted.recv(1 << 16):
                for data in answer(request, noise):
                    accepted.send(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def lie(request: bytes, noise: random.Random) -> list[bytes]:
    """Answer with lengths that are none, other types, cut messages and noise; then with the truth."""
    seq, pid = struct.unpack_from("=II", request, 8)
    lies = []
    for _ in range(noise.randrange(1, 6)):
        data = bytearray(add(spi=noise.randrange(1, 1 << 32)))
        struct.pack_into("=II", data, 8, noise.choice((seq, seq, seq + 1)), noise.choice((pid, pid, pid + 1)))
        for _ in range(noise.randrange(4)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        struct.pack_into("=H", data, noise.choice((4, 16, 32)), noise.choice((0, 1, 2, 17, 0xFFFF)))
        lies.append(bytes(data[: noise.choice((1, 8, 15, 16, 17, len(data)))]))
    truth = struct.pack("=BBBBHHII", 2, request[1], 0, request[3], 2, 0, seq, pid)
    return [*lies, truth]


@pytest.mark.bug_row(57)
def test_a_client_believes_no_length_and_no_other_answer(tmp_path: Path) -> None:
    """Row 57: a server that lies about lengths and answers others' requests; the client waits for its own."""
    for seed in range(100):
        run_dir = tmp_path / str(seed)
        run_dir.mkdir()
        server = lying(run_dir / "pfkey.linux.sock", lie, seed)
        with PfkeyClient(run_dir, "linux") as client:
            for _ in range(5):
                # An answer, or an error that says what is wrong; nothing else ever.
                with suppress(PfkeyError, Failure, OSError):
                    answer = client.request(Message(T.FLUSH, ESP))
                    assert answer.type in (T.FLUSH, T.ADD)
        server.join(10)
        assert not server.is_alive()


def stale(request: bytes, noise: random.Random) -> list[bytes]:
    """Answer a request before this one once more, then this one."""
    seq, pid = struct.unpack_from("=II", request, 8)
    old = struct.pack("=BBBBHHII", 2, T.GET, 3, ESP, 2, 0, (seq - 1) & 0xFFFFFFFF, pid)
    other = struct.pack("=BBBBHHII", 2, T.GET, 3, ESP, 2, 0, seq, pid ^ 1)
    return [old, other, struct.pack("=BBBBHHII", 2, request[1], 0, request[3], 2, 0, seq, pid)]


@pytest.mark.bug_row(57)
def test_a_stale_answer_is_nobodys(tmp_path: Path) -> None:
    """Row 57: answers with another sequence number or process come first, and are passed over."""
    server = lying(tmp_path / "pfkey.linux.sock", stale, 0)
    with PfkeyClient(tmp_path, "linux") as client:
        for _ in range(50):
            answer = client.request(Message(T.FLUSH, ESP))
            assert (answer.type, answer.errno) == (T.FLUSH, 0)
    server.join(10)


def test_the_liar_is_caught_by_nobody_else(house: House) -> None:
    """The requests that are lied to above are served by a server that does not lie."""
    program = house.connect("linux")
    for data in (add(), named(T.GET), bare(T.FLUSH, ESP)):
        program.send(data)
        assert program.receive()[-1][2] == 0
