"""The `linux` dialect beside a real Linux kernel: what differs has a row, and the row knows it.

`make pfkey-differences` plays more of it and writes docs/pfkey-differences.md. Root only, see linux_peer.py.
Answers to: docs/pfkey-differences.md.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from interop.pfkey import document, hand, seeded
from interop.pfkey.rows import ROWS
from interop.pfkey.scenario import Outcome, Send
from interop.pfkey.sides import Ours, Theirs
from interop.pfkey.verdict import judge
from netns import need

DRAWN = 150


@pytest.mark.interop
@pytest.mark.timeout(240)
def test_side_by_side(tmp_path: Path) -> None:
    for capability in ("engine", "linux-peer"):
        need(capability)
    seed = int(os.environ.get("SALLET_SEED") or random.randrange(1 << 32))
    print(f"seed {seed} (SALLET_SEED={seed} replays it)")
    scenarios = [*hand.every(), *seeded.every(seed, DRAWN)]
    verdict = judge(scenarios, Theirs(tmp_path).play(scenarios), Ours().play(scenarios))
    print(verdict.summary())
    assert verdict.words() == []
    # Were nothing equal, everything might still be explained.
    assert verdict.equal_steps > 0.8 * verdict.steps
    # All but the one that depends on luck are met by hand.
    assert {row.name for row in ROWS} - set(verdict.explained) <= {"random-try"}


def test_another_answer_is_not_explained() -> None:
    need("engine")
    scenarios = [one for one in hand.every() if one.name == "add: type 3, IPv4"]
    ours = Ours().play(scenarios)
    other = [[*ours[0][:-1], Outcome({"a": ours[0][0].received["a"]})]]
    verdict = judge(scenarios, other, ours)
    assert len(verdict.unexplained) == 1
    assert verdict.words()


def test_every_message_type_has_its_scenarios() -> None:
    steps = [step for one in hand.every() for step in one.steps]
    kinds = {step.data[1] for step in steps if isinstance(step, Send)}
    assert kinds >= set(range(1, 25))
    assert len({one.name for one in hand.every()}) == len(hand.every()) >= 150


def test_a_seed_draws_the_same_again() -> None:
    first, second = seeded.every(7, 20), seeded.every(7, 20)
    assert first == second != seeded.every(8, 20)
    assert replace(first[0], name="") != replace(first[1], name="")


def test_the_document_has_every_row() -> None:
    text = document.DOCUMENT.read_text()
    assert [row.name for row in ROWS if f"| `{row.name}` | {row.linux} | {row.ours} |" not in text] == []
