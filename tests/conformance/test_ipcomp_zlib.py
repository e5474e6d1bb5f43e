"""The manual's caveat that IPComp "may occasionally error because of zlib(3) problems": here it may not.

Datagrams of every size and kind go through the engine and are inflated by zlib with each window that a peer
may have, and zlib's streams of each window go back. 10^6 of them with SALLET_FULL=1, else a seeded sample.
Answers to: ipsec(4) (BUGS), RFC 2394 section 2, RFC 1951.
"""

from __future__ import annotations

import os
import random
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from time import monotonic

import pytest

from conformance import ipcomp_oracle as oracle
from conformance.test_ipcomp import ENDS, UDP, engine

FULL = os.environ.get("SALLET_FULL") == "1"
DATAGRAMS = 1_000_000 if FULL else 3_000
SEED = int(os.environ.get("SALLET_SEED", "20260101"))
LARGEST = 65_000
WINDOWS = range(11, 16)
FOREIGN_WINDOWS = range(9, 16)
"""zlib makes no raw stream with a smaller one."""
WORDS = b"the of and to in is that it was for on are with as his they be at one have this from or had".split()


def sizes(rng: random.Random) -> Iterator[int]:
    """Sizes of all magnitudes, the edges first."""
    yield from (1, 2, 89, 90, 91, 2047, 2048, 2049, 32_767, 32_768, 32_769, LARGEST)
    while True:
        yield min(LARGEST, int(2 ** rng.uniform(0, 16)))


TEXT = b" ".join(random.Random(SEED).choices(WORDS, k=200_000))
COMPRESSED = zlib.compress(TEXT)


def piece(rng: random.Random, whole: bytes, size: int) -> bytes:
    """Some `size` bytes in a row; what is too short for that is repeated."""
    whole = whole * (size // len(whole) + 1)
    at = rng.randrange(len(whole) - size + 1)
    return whole[at : at + size]


def text(rng: random.Random, size: int) -> bytes:
    return piece(rng, TEXT, size)


def zeros(_: random.Random, size: int) -> bytes:
    return bytes(size)


def noise(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size)


def compressed(rng: random.Random, size: int) -> bytes:
    return piece(rng, COMPRESSED, size)


def far(rng: random.Random, size: int) -> bytes:
    """Bytes that repeat only at a distance: a window is full or overrun just here."""
    distance = rng.choice((1500, 1786, 2048, 2049, 4096, 16_384, 32_768))
    return piece(rng, rng.randbytes(min(size, distance)), size)


KINDS = (text, zeros, noise, compressed, far)


@pytest.mark.timeout(0 if FULL else 120)
def test_datagrams_of_every_size_and_kind_inflate_everywhere() -> None:
    rng = random.Random(SEED)
    ours = engine(ENDS[4], ENDS[4], 0x1000, tunnel=False, raw=False)
    ours.configure("ipcomp_back_off", 0)
    ours.configure("ipcomp_threshold", 0)
    seen: Counter[str] = Counter()
    began = monotonic()
    for number, size in zip(range(DATAGRAMS), sizes(rng), strict=False):
        kind = KINDS[number % len(KINDS)]
        data = kind(rng, size)
        clear = oracle.packet(*ENDS[4], UDP, data)
        sent = ours.outbound(clear).packet
        assert sent is not None, f"{kind.__name__}, {size} bytes, seed {SEED}"
        parts = oracle.parse(sent)
        if parts.next_header == oracle.IPCOMP:
            stream = parts.payload[oracle.HEADER_BYTES :]
            window_bits = WINDOWS[number // len(KINDS) % len(WINDOWS)]
            # The smallest window each time, piece by piece: then it is all that zlib has.
            assert oracle.inflate(stream, 11, 1000) == data, f"{kind.__name__}, {size} bytes, seed {SEED}"
            assert oracle.inflate(stream, window_bits) == data
            assert ours.inbound(sent).packet == clear
            seen[f"{kind.__name__} compressed"] += 1
        else:
            assert sent == clear
            seen[f"{kind.__name__} plain"] += 1
        foreign_bits = FOREIGN_WINDOWS[number // len(KINDS) % len(FOREIGN_WINDOWS)]
        theirs = oracle.deflate(data, foreign_bits, number % 10)
        header = bytes([UDP, 0, 0, oracle.DEFLATE_CPI])
        back = ours.inbound(oracle.packet(*ENDS[4], oracle.IPCOMP, header + theirs))
        assert back.packet == clear, f"{kind.__name__}, {size} bytes, window {foreign_bits}, seed {SEED}"
    secs = monotonic() - began
    print(f"\n{DATAGRAMS} datagrams, seed {SEED}, {secs:.0f} s: {sorted(seen.items())}", file=sys.stderr)
    assert seen["text compressed"] > DATAGRAMS // 10
    assert seen["far compressed"] > 0
    assert seen["noise plain"] == DATAGRAMS // len(KINDS)
    assert not any(ours.stats().drops.values())


def test_a_small_window_would_notice() -> None:
    """The trial itself: what refers too far back for a window of 2^11 does fail with one."""
    stream = oracle.deflate(random.Random(1).randbytes(5000) * 2, 15, 9)
    assert oracle.inflate(stream, 15, 1000)
    with pytest.raises(zlib.error, match="too far back"):
        oracle.inflate(stream, 11, 1000)
