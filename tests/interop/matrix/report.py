"""What people read on the terminal: the algorithms of both sides, passed/total, every failure, the counters.

No table of the document may enter.
Answers to: docs/interop.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from interop.matrix.algorithms import Shared
from interop.matrix.judge import Result


def algorithms(both: Shared, only_ours: Sequence[str], release: str) -> str:
    """Write what both sides have, and what only one has."""
    kinds = {"aead": "AEAD", "cipher": "cipher", "auth": "MAC", "compression": "compression"}
    lines = [f"kernel {release}; algorithms of both sides:"]
    for kind, word in kinds.items():
        names = ", ".join(row.name for row in both.of(kind))
        lines.append(f"  {word:12} {names}")
    sizes = ", ".join(f"{size} {name}" for name, size in both.sizes().items())
    return "\n".join([*lines, f"  {'that is':12} {sizes}", f"  {'only ours':12} {', '.join(only_ours)}"])


def moved(results: Sequence[Result]) -> dict[str, int]:
    """Add up the counters that moved."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.counters)
    return dict(total)


def summary(results: Sequence[Result], secs: float, complaints: str) -> str:
    """Write the outcome of a run."""
    lines = [line for result in results for line in ([] if result.is_good else result.words())]
    counters = moved(results)
    shown = ", ".join(f"{name} {count:+}" for name, count in counters.items()) or "none moved"
    passed, cells = sum(result.passed for result in results), sum(result.cells for result in results)
    if complaints:
        lines.append(f"the program in the peer says: {complaints}")
    lines.append(f"difference of /proc/net/xfrm_stat and of our drop counters: {shown}")
    good = sum(result.is_good for result in results)
    lines.append(f"combinations: {good}/{len(results)}; cells: {passed}/{cells} passed in {secs:.0f} s")
    return "\n".join(lines)
