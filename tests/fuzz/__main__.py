"""Feeds the PF_KEY codec and its handlers changed messages: `make fuzz-pfkey RUNS=100000`.

What is found is printed in hexadecimal and added to the corpus, and the command fails.
Answers to docs/fuzzing.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections import Counter
from random import Random

from fuzz.inputs import CORPUS, changed, corpus, write_corpus
from fuzz.judge import ANSWERED, REFUSED, SERVED, Judge
from sallet.pfkey.dialects import DIALECTS


def main() -> int:
    """Fuzz every dialect, print a table, and say by the exit status whether anything was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="inputs for each dialect")
    parser.add_argument("--seed", type=int, default=1, help="what every choice is drawn from")
    parser.add_argument("--write-corpus", action="store_true", help="write the messages that it begins with")
    options = parser.parse_args()
    if options.write_corpus:
        write_corpus()
        return 0
    # That an algorithm is an old one is no finding.
    logging.disable(logging.WARNING)
    print(
        "| dialect | seed | executions | refused | answered with an errno | served | per second | findings |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    return int(sum(fuzz(dialect, options.runs, options.seed) for dialect in DIALECTS) > 0)


def fuzz(dialect: str, runs: int, seed: int) -> int:
    """Fuzz one dialect and return how many different findings there were."""
    random = Random(f"{dialect} {seed}")
    pool, judge, counts = corpus(dialect), Judge(DIALECTS[dialect], random), Counter[str]()
    found: dict[str, bytes] = {}
    began = time.monotonic()
    for _ in range(runs):
        data = changed(random.choice(pool), pool, random)
        try:
            counts[judge(data)] += 1
        except Exception:
            place = "".join(traceback.format_exc().splitlines(keepends=True)[-4:])
            found.setdefault(place, data)
    speed = runs / (time.monotonic() - began)
    shares = " | ".join(f"{counts[kind] / runs:.1%}" for kind in (REFUSED, ANSWERED, SERVED))
    print(f"| `{dialect}` | {seed} | {runs:,} | {shares} | {speed:,.0f} | {len(found)} |", flush=True)
    with (CORPUS / f"{dialect}.hex").open("a") as file:
        for place, data in found.items():
            print(f"{data.hex()}\n{place}", file=sys.stderr)
            file.write(f"{data.hex()}\n")
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
