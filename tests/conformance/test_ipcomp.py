"""The engine's IPComp packets beside the oracle's, both ways: families, modes, CPIs, sizes, windows.

No expectation typed in by hand may enter, and no other protocol.
Answers to: RFC 3173 sections 2 and 3, RFC 2394.
"""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from conformance import ipcomp_oracle as oracle
from sallet import _core

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
HOSTS = {4: ("10.1.0.1", "10.2.0.1"), 6: ("2001:db8:1::1", "2001:db8:2::1")}
UDP = 17
PAYLOADS = {
    "text": b"It was the best of times, it was the worst of times, it was the age of wisdom. ",
    "zeros": bytes(64),
    "counting": bytes(range(256)),
}


def engine(
    ends: tuple[str, str], hosts: tuple[str, str], spi: int, *, tunnel: bool, raw: bool
) -> _core.Engine:
    """An engine with one IPComp SA and the policies of its sender and its receiver."""
    made = _core.Engine(seed=bytes(32), clock="manual")
    mode = "tunnel" if tunnel else "transport"
    made.sad_add(
        _core.SaParams(
            spi=spi,
            protocol="ipcomp",
            source=ends[0],
            destination=ends[1],
            mode=mode,
            encryption=("deflate", b""),
            raw_cpi=raw,
        )
    )
    template = _core.Template("ipcomp", mode, "require", 0, ends if tunnel else None)
    selector = _core.Selector(*hosts)
    for direction in ("out", "in"):
        made.spd_add(_core.PolicyParams(direction, selector, "protect", [template]))
    return made


def payload(kind: str, size: int) -> bytes:
    if kind == "random":
        return random.Random(size).randbytes(size)
    piece = PAYLOADS[kind]
    return (piece * (size // len(piece) + 1))[:size]


CASES = [
    pytest.param(
        inner, outer, tunnel, raw, id=f"v{inner}-in-v{outer}-{'tunnel' if tunnel else 'transport'}-{raw}"
    )
    for inner, outer, tunnel, raw in product((4, 6), (4, 6), (False, True), (False, True))
    if tunnel or inner == outer
]


@pytest.mark.parametrize(("inner", "outer", "tunnel", "raw"), CASES)
def test_both_ways(inner: int, outer: int, tunnel: bool, raw: bool) -> None:
    hosts, ends = (HOSTS[inner], ENDS[outer]) if tunnel else (ENDS[inner], ENDS[inner])
    spi = 0x1234
    ours = engine(ends, hosts, spi, tunnel=tunnel, raw=raw)
    cpi = spi if raw else oracle.DEFLATE_CPI
    added = oracle.outer_bytes(ends[0]) if tunnel else 0
    compressed = 0
    for kind, size in product((*PAYLOADS, "random"), (0, 1, 40, 89, 90, 91, 500, 1400, 9000, 60_000)):
        clear = oracle.packet(*hosts, UDP, payload(kind, size))
        sent = ours.outbound(clear).packet
        assert sent is not None
        assert len(sent) <= len(clear) + added
        parts = oracle.parse(sent)
        assert (str(parts.source), str(parts.destination)) == ends
        compressed += parts.next_header == oracle.IPCOMP
        for window_bits in range(11, 16):
            assert oracle.unseal(sent, cpi, tunnel=tunnel, window_bits=window_bits) == clear
        assert ours.inbound(sent).packet == clear
        for window_bits in range(9, 16):
            theirs = oracle.seal(clear, cpi, ends if tunnel else None, window_bits)
            if len(theirs) <= 0xFFFF:
                assert ours.inbound(theirs).packet == clear
    assert compressed >= 15
    assert not any(ours.stats().drops.values())


def linux_cases() -> list[dict[str, Any]]:
    """Packets that a real kernel made."""
    cases: list[dict[str, Any]] = json.loads((VECTORS / "ipcomp-linux.json").read_text())["cases"]
    return cases


@pytest.mark.parametrize("case", linux_cases(), ids=lambda case: str(case["name"]))
def test_a_kernels_packets(case: dict[str, Any]) -> None:
    sent = bytes.fromhex(case["packet"])
    clear = bytes.fromhex(case["headers"]) + payload(case["kind"], case["size"])
    assert oracle.unseal(sent, case["cpi"], tunnel=case["tunnel"], window_bits=11) == clear
    outer, inner = oracle.parse(sent), oracle.parse(clear)
    ends = str(outer.source), str(outer.destination)
    hosts = str(inner.source), str(inner.destination)
    ours = engine(ends, hosts, case["cpi"], tunnel=case["tunnel"], raw=True)
    assert ours.inbound(sent).packet == clear
