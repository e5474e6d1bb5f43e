"""The guard's nft table and the engine never disagree: random SPDs, real packets, a real namespace.

The packets are sent by `guard_probe.py`, which runs as root of a namespace; two of them share the work.
Answers to: design "host mode", Never two opinions.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from netns import Lab, environment, need, stop

SPDS = int(os.environ.get("SALLET_GUARD_SPDS", "2000"))
PACKETS = 10
WORKERS = 2
SECS = 340


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(SECS + 20)
def test_the_table_agrees_with_the_engine_on_random_spds(lab: Lab) -> None:
    for capability in ("engine", "nft", "tun"):
        need(capability)
    seed = int(os.environ.get("SALLET_SEED") or random.randrange(1 << 32))
    print(f"seed {seed} (SALLET_SEED={seed} replays it)")
    share = -(-SPDS // WORKERS)
    workers = [
        lab.namespace(f"guard{worker}").start(
            sys.executable,
            Path(__file__).with_name("guard_probe.py"),
            *("--seed", str(seed), "--first", str(worker * share), "--spds", str(share)),
            *("--packets", str(PACKETS)),
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        for worker in range(WORKERS)
    ]
    try:
        outputs = [worker.communicate(timeout=SECS)[0] for worker in workers]
    finally:
        for worker in workers:
            stop(worker)
    for output in outputs:
        print(output)
    # Every kind of verdict must have been met, or the comparison compared nothing.
    for kind in (
        "in bypass",
        "in discard",
        "out bypass",
        "out discard",
        "out protect",
        "fwd bypass",
        "fwd discard",
        "socket in",
        "socket out",
    ):
        assert all(kind in output for output in outputs), f"no packet was {kind}"
    assert [worker.returncode for worker in workers] == [0, 0], (
        f"the guard and the engine differ; seed {seed}"
    )
