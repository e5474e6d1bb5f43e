"""The manual's caveat that IPComp "may occasionally error because of zlib(3) problems": here it may not.

A seeded sample; `make ipcomp-zlib` is the whole trial of 10^6 datagrams. Nothing is expected but equality.
Answers to: ipsec(4) (BUGS), RFC 2394 section 2, RFC 1951.
"""

from __future__ import annotations

import os
import random
import zlib

import pytest

from conformance import ipcomp_oracle as oracle
from conformance import ipcomp_zlib

SEED = int(os.environ.get("SALLET_SEED", str(ipcomp_zlib.SEED)))
SAMPLE = int(os.environ.get("SALLET_IPCOMP_DATAGRAMS", "20000"))


@pytest.mark.slow
@pytest.mark.timeout(600 + SAMPLE // 50)
def test_datagrams_of_every_size_and_kind_inflate_everywhere() -> None:
    figures = ipcomp_zlib.trial(SAMPLE, SEED, os.cpu_count() or 1)
    assert figures.datagrams >= SAMPLE
    each = figures.datagrams // len(ipcomp_zlib.KINDS)
    assert {name: row.datagrams for name, row in figures.kinds.items()} == {
        kind.__name__: each for kind in ipcomp_zlib.KINDS
    }
    rows = figures.kinds
    assert rows["text"].compressed > each // 2
    assert rows["zeros"].compressed > each // 2
    assert rows["far"].compressed > each // 20
    assert (rows["noise"].compressed, rows["noise"].bytes_after) == (0, rows["noise"].bytes_before)
    assert rows["zeros"].bytes_after < rows["zeros"].bytes_before // 50
    for window_bits in ipcomp_zlib.WINDOWS:
        theirs = figures.checks[f"streams of zlib, window 2^{window_bits}, inflated here"]
        ours = figures.checks[f"streams of ours inflated by zlib, window 2^{window_bits}"]
        assert (theirs, ours) == (figures.datagrams, sum(row.compressed for row in rows.values()))


def test_the_figures_do_not_hang_on_the_number_of_processes() -> None:
    first, second = (list(ipcomp_zlib.datagrams(SEED, share)) for share in (1, 1))
    assert first == second
    assert first != list(ipcomp_zlib.datagrams(SEED, 2))
    edges = {len(data) for _, data in ipcomp_zlib.datagrams(SEED, 0)}
    assert {1, 2048, 2049, 32_768, ipcomp_zlib.LARGEST} <= edges


def test_a_small_window_would_notice() -> None:
    """The trial itself: what refers too far back for a window of 2^11 does fail with one."""
    stream = oracle.deflate(random.Random(1).randbytes(5000) * 2, 15, 9)
    assert oracle.inflate(stream, 15, 1000)
    with pytest.raises(zlib.error, match="too far back"):
        oracle.inflate(stream, 11, 1000)
