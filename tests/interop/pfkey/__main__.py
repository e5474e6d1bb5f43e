"""`python -m interop.pfkey`: every scenario on a real Linux kernel and on ours, and the document of it.

No verdict and no table may be made here. Answers to `make pfkey-differences`; docs/pfkey-differences.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interop.linux_peer import PeerError
from interop.pfkey import document, hand, seeded
from interop.pfkey.sides import Ours, Theirs
from interop.pfkey.verdict import judge
from netns import missing

DRAWN = 2000


def main(words: Sequence[str] | None = None) -> int:
    """Play, judge, print, and rewrite the document."""
    parser = argparse.ArgumentParser(prog="python -m interop.pfkey", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drawn", type=int, default=DRAWN, help="so many scenarios from the seed")
    arguments = parser.parse_args(words)
    if (reason := missing("linux-peer")) is not None:
        print(f"pfkey-differences: {reason}", file=sys.stderr)
        return 2
    by_hand = hand.every()
    scenarios = [*by_hand, *seeded.every(arguments.seed, arguments.drawn)]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            theirs = Theirs(Path(scratch))
            verdict = judge(scenarios, theirs.play(scenarios), Ours().play(scenarios))
    except PeerError as error:
        print(f"pfkey-differences: {error}", file=sys.stderr)
        return 1
    for line in verdict.words():
        print(line)
    print(verdict.summary())
    document.write(verdict, theirs.release, len(by_hand), arguments.drawn)
    print(f"{document.DOCUMENT} is rewritten")
    return 1 if verdict.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
