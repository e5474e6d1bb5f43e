"""The two tables of what is tested stay true: bugs of others, and demands of the RFCs.

No behaviour of the product is tested here, only that nobody forgets to.
Answers to: hostile/bug_rows.toml with scripts/bug-classes, requirements.toml with scripts/requirements.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMANDED_ROWS = {
    *(*range(1, 14), 18, 24, 29, 36, 37, 39, *range(42, 45), 47, *range(50, 57), 59),
    *(*range(61, 66), 68),
}
"""Rows that are about packets; the others are about PF_KEY, files and the daemon."""


def script(name: str) -> ModuleType:
    """Load a script as a module."""
    loader = SourceFileLoader(name.replace("-", "_"), str(ROOT / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    # Dataclasses look their own module up by name.
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", [("bug-classes", "--check"), ("requirements",)], ids=lambda each: each[0])
def test_the_table_is_true(command: tuple[str, ...]) -> None:
    name, *arguments = command
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_row_about_packets_has_a_test() -> None:
    rows = script("bug-classes")
    tests, faults = rows.marked_tests()
    assert not faults
    assert not DEMANDED_ROWS - tests.keys(), "rows about packets wait for nothing any more"


@pytest.mark.parametrize(
    ("pending", "tests", "complaint"),
    [
        ({}, {}, "row 1 has no test, and no reason"),
        ({1: "later"}, {1: ["there"]}, "row 1 has a test and is pending"),
        ({1: " "}, {}, "row 1 is pending without a reason"),
        ({1: "later", 2: "later"}, {}, "row 2 is pending but in no table"),
        ({}, {1: ["there"], 3: ["there"]}, "row 3 is marked on a test but in no table"),
    ],
)
def test_a_wrong_row_is_found(pending: dict[int, str], tests: dict[int, list[str]], complaint: str) -> None:
    rows = script("bug-classes")
    entries = {row: rows.Pending(room="tests", why=why) for row, why in pending.items()}
    found = rows.misplaced({1: "a bug"}, entries, tests)
    assert len(found) == 1
    assert found[0].startswith(complaint)


@pytest.mark.parametrize(
    ("words", "found", "complaint"),
    [
        ({}, ["code", "test"], None),
        ({"missing": ["test"]}, ["code"], None),
        ({"exception": "not offered"}, [], None),
        ({}, ["code"], "no annotation on test"),
        ({}, [], "no annotation on code and test"),
        ({"missing": ["test"]}, ["code", "test"], "annotated by now on test"),
        ({"exception": "not offered"}, ["code"], "the exception is out of date"),
        ({"exception": " "}, [], "the exception is out of date"),
    ],
)
def test_a_wrong_demand_is_found(words: dict[str, Any], found: list[str], complaint: str | None) -> None:
    requirements = script("requirements")
    demand = requirements.Demand(at="rfc4303#section-2.6", text="a dummy packet is discarded", **words)
    demand.found = [requirements.Annotation(demand.at, demand.text, kind, "here:1") for kind in found]
    complaints = list(requirements.wrong([demand]))
    assert [each.startswith(complaint or "") for each in complaints] == [True] * (complaint is not None)


def test_a_demand_twice_is_found() -> None:
    requirements = script("requirements")
    twice = [requirements.Demand(at="rfc1#section-1", text=text, exception="why") for text in ("One.", "one")]
    assert [complaint[:23] for complaint in requirements.wrong(twice)] == ["the table has this dema"]
