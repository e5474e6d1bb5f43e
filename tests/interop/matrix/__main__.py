"""`python -m interop.matrix`: every combination between an engine of ours and a real Linux kernel.

No verdict and no table may be made here.
Answers to: `make interop`; docs/interop.md.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from interop.linux_peer import PeerError
from interop.matrix import document, report
from interop.matrix.algorithms import only_ours, shared
from interop.matrix.combinations import SIZES, every, sample
from interop.matrix.kernel import Kernel
from interop.matrix.run import Runner
from netns import missing

_CAPABILITIES = ("engine", "linux-peer")


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for, print it, and rewrite the document after a full run."""
    arguments = _arguments(words)
    for capability in _CAPABILITIES:
        if (reason := missing(capability)) is not None:
            print(f"interop: {capability}: {reason}", file=sys.stderr)
            return 2
    seed = int(os.environ.get("SALLET_SEED") or random.randrange(1 << 32))
    try:
        with tempfile.TemporaryDirectory() as scratch, Kernel(Path(scratch)) as kernel:
            return _run(kernel, arguments, seed)
    except PeerError as error:
        print(f"interop: {error}", file=sys.stderr)
        return 1


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m interop.matrix",
        description=__doc__.partition("\n")[0],
        epilog="SALLET_SEED= is read.",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N of each protection in each frame")
    parser.add_argument("--only", metavar="WORDS", help="only combinations whose name has these words")
    parser.add_argument("--sizes", type=_sizes, default=tuple(SIZES), metavar="LIST", help=",".join(SIZES))
    return parser.parse_args(words)


def _sizes(words: str) -> tuple[str, ...]:
    sizes = tuple(words.split(","))
    if not set(sizes) <= set(SIZES):
        raise argparse.ArgumentTypeError(f"sizes are {', '.join(SIZES)}")
    return sizes


def _run(kernel: Kernel, arguments: argparse.Namespace, seed: int) -> int:
    names = kernel.algorithms()
    both = shared(names)
    print(report.algorithms(both, only_ours(names), kernel.release), flush=True)
    if both.shrunken():
        print(f"interop: the set has shrunk: {'; '.join(both.shrunken())}", file=sys.stderr)
        return 1
    combinations = every(both)
    is_full = not arguments.only and arguments.sample is None and arguments.sizes == tuple(SIZES)
    if arguments.sample is not None:
        print(f"seed {seed} (SALLET_SEED={seed} replays it)")
        combinations = sample(combinations, seed, arguments.sample)
    if arguments.only:
        combinations = [each for each in combinations if arguments.only in str(each)]
    started = time.monotonic()
    results = []
    with _progress(len(combinations)) as advance:
        for result in Runner(kernel, seed, arguments.sizes).run(combinations, advance):
            results.append(result)
    secs = time.monotonic() - started
    print(report.summary(results, secs, kernel.complaints()), flush=True)
    if is_full:
        document.write(both, only_ours(names), results, kernel.release)
        print(f"{document.DOCUMENT} is rewritten")
    return 0 if results and all(result.is_good for result in results) else 1


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("combinations", total=total)
        yield lambda: bar.advance(task)


if __name__ == "__main__":
    sys.exit(main())
