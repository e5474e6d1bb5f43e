"""A sample of the matrix: combinations drawn anew, between an engine of ours and a real Linux kernel.

The whole matrix runs by `make interop`. Root only, see linux_peer.py.
Answers to: docs/interop.md; the kernel judges us by its error counters (its documentation, xfrm_proc).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest

import sallet
from interop.matrix import document, report
from interop.matrix.algorithms import KERNEL_NAMES, Shared, only_ours, shared
from interop.matrix.combinations import FRAMES, PROTECTIONS, SIZES, Combination, every, sample
from interop.matrix.host import Reassembly, cut
from interop.matrix.judge import Result
from interop.matrix.kernel import Kernel
from interop.matrix.run import Runner
from interop.matrix.sides import WINDOW
from netns import need

EACH = 3
"""So many of every protection in every frame."""
KERNEL = set(KERNEL_NAMES.values())
"""A kernel that has everything."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel for the tests of this file."""
    for capability in ("engine", "linux-peer"):
        need(capability)
    with Kernel(tmp_path_factory.mktemp("kernel")) as booted:
        yield booted


@pytest.fixture(scope="module")
def both(kernel: Kernel) -> Shared:
    """The algorithms of both sides."""
    return shared(kernel.algorithms())


def run(kernel: Kernel, seed: int, combinations: list[Combination]) -> list[Result]:
    return list(Runner(kernel, seed).run(combinations, lambda: None))


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_sample(kernel: Kernel, both: Shared) -> None:
    seed = int(os.environ.get("SALLET_SEED") or random.randrange(1 << 32))
    print(f"seed {seed} (SALLET_SEED={seed} replays it)")
    assert both.shrunken() == []
    drawn = sample(every(both), seed, EACH)
    assert len(drawn) >= 60
    assert {each.protection for each in drawn} == set(PROTECTIONS)
    results = run(kernel, seed, drawn)
    print(report.summary(results, 0, kernel.complaints()))
    assert [line for result in results for line in result.words()] == []
    assert all(result.is_good for result in results)


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_other_keys_do_fail(kernel: Kernel, both: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key that differs is seen in the cells of both directions, and in the counters of both sides."""
    suite = next(each for each in every(both) if each.protection == "esp" and each.suite.authenticates)
    original = Combination.key
    made = iter(range(100))

    def strange(*arguments: object, **named: bool) -> bytes:
        key = original(*arguments, **named)  # type: ignore[arg-type]
        return key[::-1] if next(made) < 2 else key

    monkeypatch.setattr(Combination, "key", strange)
    (result,) = run(kernel, 1, [suite])
    assert result.passed == 0
    assert len(result.failures) == 2 * len(SIZES)
    assert set(result.counters) == {"kernel XfrmInStateProtoError", "ours AuthFailed"}
    monkeypatch.undo()
    (again,) = run(kernel, 1, [suite])
    assert again.words() == []


# = https://www.rfc-editor.org/rfc/rfc4303#appendix-A2
# # The receiver infers the high half of the number, which is not sent.
@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_high_half_counts(kernel: Kernel, both: Shared) -> None:
    """The kernel begins just below 2^32, and goes on beyond it."""
    kinds: dict[tuple[str, int], Combination] = {}
    for each in every(both):
        if each.esn and each.protection in ("ah", "esp", "ah+esp"):
            kinds.setdefault((each.protection, len(each.suite.rows)), each)
    first = 2**32 - WINDOW - 6
    beyond = [replace(each, already_sent=first) for each in kinds.values()]
    assert len(beyond) == 5
    runner = Runner(kernel, 1)
    results = list(runner.run(beyond, lambda: None, rounds=2 * WINDOW // len(SIZES)))
    assert [line for result in results for line in result.words()] == []
    assert all(result.is_good for result in results)
    received = [sa.sequence for sa in runner.engine.sad_dump() if str(sa.source) in sources(beyond)]
    assert len(received) == sum(len(each.layers()) for each in beyond)
    assert all(2**32 < sequence < 2**33 for sequence in received)


def sources(combinations: list[Combination]) -> set[str]:
    """Give the addresses from which the kernel sends."""
    return {each.gateways[1] for each in combinations}


def test_a_shrunken_set_fails() -> None:
    assert shared(KERNEL).shrunken() == []
    assert shared(KERNEL - {"hmac(sha1)"}).shrunken() == []
    assert shared(KERNEL - {"deflate"}).shrunken() == ["of IPComp: 0, at least 1 expected"]
    assert len(shared(KERNEL - {"hmac(sha1)", "hmac(md5)", "cmac(aes)"}).shrunken()) == 1
    assert len(shared(set()).shrunken()) == 3
    assert len(only_ours(set())) == len(sallet.algorithms())


def test_every_dimension_is_there_and_nothing_twice() -> None:
    combinations = every(shared(KERNEL))
    assert {(each.protection, each.frame) for each in combinations} == {
        (protection, frame) for protection in PROTECTIONS for frame in FRAMES
    }
    described = [replace(each, number=0) for each in combinations]
    assert len(set(described)) == len(described)
    assert len({each.ends for each in combinations}) == len(combinations)
    assert all(each.spi < 1 << 16 for each in combinations), "an SPI is a CPI, too"
    for row in (row for suite in shared(KERNEL).esp() for row in suite.rows):
        used = {
            row.bits(each.turn)
            for each in combinations
            if each.protection == "esp" and row in each.suite.rows
        }
        assert used == set(row.key_bits), row.name


def test_a_sample_is_repeatable() -> None:
    combinations = every(shared(KERNEL))
    assert sample(combinations, 7, EACH) == sample(combinations, 7, EACH) != sample(combinations, 8, EACH)


@pytest.mark.parametrize("ends", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
def test_pieces_become_whole_in_any_order(ends: tuple[str, str]) -> None:
    packet = sallet.udp_packet(*ends, 1, 2, bytes(range(250)) * 12)
    pieces = cut(packet, 1000)
    assert len(pieces) == 4
    assert all(len(piece) <= 1000 for piece in pieces)
    for order in permutations(pieces):
        host = Reassembly()
        (whole,) = [whole for piece in order if (whole := host.whole(piece)) is not None]
        # The identification, and with it the checksum, is that of the pieces.
        assert (len(whole), whole[12:]) == (len(packet), packet[12:])
    assert Reassembly().whole(packet) == packet


def test_what_failed_is_named_in_the_document() -> None:
    both = shared(KERNEL)
    results = [Result(each, 6) for each in every(both)]
    assert "Everything passed." in document.text(both, ["null-auth"], results, "6.1")
    results[0].failures["ours to kernel", "small"] = "did not arrive"
    results[1].counters["kernel XfrmInError"] = 2
    text = document.text(both, ["null-auth"], results, "6.1")
    assert "Something failed" in text
    assert f"- {results[0].combination}: ours to kernel small: did not arrive" in text
    assert f"- {results[1].combination}: counter kernel XfrmInError moved by 2" in text
    assert "kernel XfrmInError +2" in text
    assert "**5/12**" in text, "no cell passes where a counter moved"
    assert f"**{6 * len(results) - 7} of {6 * len(results)} passed**" in text
