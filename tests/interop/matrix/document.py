"""docs/interop.md, written as a whole by the full run.

No verdict may be made here.
Answers to: `make interop`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from interop.matrix import report
from interop.matrix.algorithms import FLOORS, Shared, Suite
from interop.matrix.combinations import DIRECTIONS, FRAMES, LONG, PROTECTIONS, SIZES, Frame
from interop.matrix.judge import Result
from interop.matrix.payload import WIRE_BYTES

DOCUMENT = Path(__file__).parents[3] / "docs" / "interop.md"

_HEAD = """\
# Interoperability

<!-- `make interop` writes this file; what is changed by hand is lost. -->

An engine of ours and a real Linux kernel ({release}, user-mode Linux) protect datagrams for each other.
`make interop` boots the kernel, tries every combination below and writes this file; a sample, drawn anew by
`SALLET_SEED=`, is a test (`tests/interop/test_matrix.py`).

## What is tried

- **Algorithms**: all that `sallet.algorithms()` and the kernel's /proc/crypto share, with every length of key
  (of Blowfish and CAST-128 the shortest, the longest and some between). A smaller set than this fails:
  {floors}.
- **Protections**: {protections}. In `ah+esp` each row meets several algorithms of AH.
- **Frames**: {frames}. A bundle is
  one tunnel with the second SA around it in transport mode; where the families differ, this kernel wants a
  tunnel for that, too.
- **Both directions**: {directions}.
- **Sizes**: a UDP payload of {small} bytes; an IP packet of {middle} bytes; a UDP payload of {large} bytes,
  which does not fit the wire's {wire} bytes, compressed or not: outer packets are cut, or a sender that is
  told so cuts its own.
- **ESN** on and off, wherever there is integrity. That the high half counts, a test of its own shows: there
  the kernel begins just below 2^32.

A cell passes if the datagram arrives as it was sent, byte for byte, the wire showed nothing but the protocol
asked for, IPComp did compress what is worth it, what is too long was cut, and no error counter moved: none of
the kernel's /proc/net/xfrm_stat and none of our drop reasons.

What no kernel has is judged elsewhere (`make vectors`): {only_ours}.
"""

_RESULT = """\
## Result

{verdict}

- combinations: {good} of {combinations}; cells: **{passed} of {cells} passed**
- difference of /proc/net/xfrm_stat and of our drop counters: {counters}
- ESP: {esp} suites, {pairs} of them with integrity; AH: {ah} algorithms; IPComp: {ipcomp}
"""


def write(both: Shared, only_ours: Sequence[str], results: Sequence[Result], release: str) -> None:
    """Write the document."""
    DOCUMENT.write_text(text(both, only_ours, results, release), encoding="utf-8")


def text(both: Shared, only_ours: Sequence[str], results: Sequence[Result], release: str) -> str:
    """Make the document out of one run."""
    head = _HEAD.format(
        release=release,
        floors=", ".join(f"{least} {name}" for name, least in FLOORS.items()),
        protections=", ".join(f"`{protection}`" for protection in PROTECTIONS),
        frames=", ".join(map(str, FRAMES)),
        directions=" and ".join(DIRECTIONS),
        small=SIZES["small"],
        middle=SIZES["1400"],
        large=SIZES[LONG],
        wire=WIRE_BYTES,
        only_ours=", ".join(only_ours),
    )
    return "\n".join([head, _result(both, results), *_failures(results), *_tables(results)])


def _result(both: Shared, results: Sequence[Result]) -> str:
    good = all(result.is_good for result in results)
    moved = report.moved(results)
    return _RESULT.format(
        verdict="Everything passed." if good else "**Something failed**, see below.",
        good=sum(result.is_good for result in results),
        combinations=len(results),
        passed=sum(result.passed for result in results),
        cells=sum(result.cells for result in results),
        counters=", ".join(f"{name} {count:+}" for name, count in moved.items()) or "none moved",
        esp=len(both.esp()),
        pairs=both.sizes()["pairs of ESP"],
        ah=len(both.ah()),
        ipcomp=len(both.ipcomp()),
    )


def _failures(results: Sequence[Result]) -> Iterator[str]:
    lines = [f"- {line}" for result in results for line in result.words()]
    if lines:
        yield "\n".join(["### Failures", "", *lines, ""])


def _tables(results: Sequence[Result]) -> Iterator[str]:
    yield "## Table\n\nPassed cells of all cells, over ESN off and on, both directions and all sizes.\n"
    for protection in PROTECTIONS:
        ours = [result for result in results if result.combination.protection == protection]
        yield f"### {protection}\n"
        yield "\n".join(_table(ours)) + "\n"


def _table(results: Sequence[Result]) -> Iterator[str]:
    rows: dict[Suite, dict[Frame, list[Result]]] = {}
    for result in results:
        row = rows.setdefault(result.combination.suite, {})
        row.setdefault(result.combination.frame, []).append(result)
    yield "| suite | key bits | " + " | ".join(map(str, FRAMES)) + " |"
    yield "|---|---|" + "---|" * len(FRAMES)
    for suite, row in rows.items():
        cells = " | ".join(_cell(row.get(frame, [])) for frame in FRAMES)
        yield f"| {suite} | {_key_bits(row)} | {cells} |"


def _cell(results: Sequence[Result]) -> str:
    passed, cells = sum(result.passed for result in results), sum(result.cells for result in results)
    return f"{passed}/{cells}" if passed == cells else f"**{passed}/{cells}**"


def _key_bits(row: Mapping[Frame, Sequence[Result]]) -> str:
    combinations = [result.combination for results in row.values() for result in results]
    by_row: dict[str, set[int]] = {}
    for combination in combinations:
        for algorithm in combination.suite.rows:
            by_row.setdefault(algorithm.name, set()).add(algorithm.bits(combination.turn))
    return " + ".join(", ".join(map(str, sorted(bits))) for bits in by_row.values())
