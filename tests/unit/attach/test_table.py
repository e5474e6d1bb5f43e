"""The guard's table: what is loaded is what was compiled, in few scripts, and never half of it.

`Kernel` understands the scripts as far as they go; that nft does too is shown by the namespace tests.
Answers to: sallet.attach.table.
"""

from __future__ import annotations

import random
import re

import pytest

from sallet.attach import table
from sallet.attach.clauses import GuardConfig
from sallet.attach.guard import Guard, compile_guard
from sallet.attach.table import GuardTable
from sallet.failure import Failure
from unit.attach.entries import Entry, entry

CONFIG = GuardConfig(device="sallet0", device_mtu=1400)
_LINE = re.compile(r"(add rule|flush chain|add element|delete element|delete table) inet (\S+) ?(\S*) ?(.*)")


class Kernel:
    """Tables as chains of rules and sets of elements; one script happens whole or not at all."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, list[str]]] = {}
        self.scripts: list[str] = []
        self.refuse_after = -1
        self.bytes_max = table.SCRIPT_BYTES_MAX + 8192
        self.counted: dict[str, tuple[int, int]] = {}

    def apply(self, script: str) -> None:
        if self.refuse_after == 0:
            raise Failure("refused")
        if len(script) > self.bytes_max:
            raise Failure("refused", why="netlink: Error: Could not process rule: Message too long")
        self.refuse_after -= 1
        self.scripts.append(script)
        for line in script.splitlines():
            if opened := re.match(r"table inet (\S+)", line):
                self.tables.setdefault(opened[1], {})
            elif found := _LINE.match(line):
                self._do(*found.groups())

    def _do(self, verb: str, name: str, place: str, rest: str) -> None:
        if verb == "delete table":
            del self.tables[name]
            return
        content = self.tables[name].setdefault(place, [])
        elements = rest.strip("{} ").split(", ")
        if verb == "flush chain":
            content.clear()
        elif verb == "add rule":
            content.append(rest)
        elif verb == "add element":
            content += elements
        else:
            for element in elements:
                content.remove(element)

    def content(self) -> dict[str, list[str]]:
        """Give what the one table holds, sets in order."""
        (found,) = self.tables.values()
        return {place: lines for place, lines in found.items() if lines}


def wanted(guard: Guard) -> dict[str, list[str]]:
    parts = {**guard.hooks, **guard.judges, **{name: one.elements() for name, one in guard.sets.items()}}
    return {name: list(lines) for name, lines in parts.items() if lines}


def same(kernel: Kernel, guard: Guard) -> bool:
    found = kernel.content()
    for name in guard.sets:
        if name in found:
            found[name] = sorted(found[name])
    expected = {name: sorted(lines) if name in guard.sets else lines for name, lines in wanted(guard).items()}
    return found == expected


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def guard_table(kernel: Kernel) -> GuardTable:
    return GuardTable("sallet_x", kernel.apply, lambda: list(kernel.tables), lambda name: kernel.counted)


def some(rng: random.Random, count: int) -> list[Entry]:
    def prefix() -> str:
        return f"10.{rng.randrange(4)}.{rng.randrange(256)}.0/24"

    actions = ("protect", "discard", "bypass")
    return [
        entry(
            rng.choice(("in", "out", "fwd")),
            prefix(),
            prefix(),
            rng.choice(actions),
            priority=rng.choice((5, 9)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_after_any_changes_the_kernel_has_the_guard(
    seed: int, kernel: Kernel, guard_table: GuardTable
) -> None:
    rng = random.Random(seed)
    policies: list[Entry] = []
    for _ in range(30):
        if policies and rng.random() < 0.4:
            policies.remove(rng.choice(policies))
        policies += some(rng, rng.randrange(3))
        config = CONFIG if rng.random() < 0.8 else GuardConfig("sallet0", 1300, default_policy="discard")
        compiled = compile_guard(policies, config)
        guard_table.change(compiled)
        assert same(kernel, compiled)


def test_an_entry_at_the_end_costs_one_rule(kernel: Kernel, guard_table: GuardTable) -> None:
    policies = [entry("in", f"10.0.{n}.0/24", "10.9.0.0/24") for n in range(50)]
    guard_table.change(compile_guard(policies, CONFIG))
    guard_table.change(compile_guard([*policies, entry("in", "10.2.0.0/24", "10.9.0.0/24")], CONFIG))
    assert kernel.scripts[-1].count("add rule") == 1
    assert "flush" not in kernel.scripts[-1]
    count = len(kernel.scripts)
    assert guard_table.guard is not None
    guard_table.change(guard_table.guard)
    assert len(kernel.scripts) == count


def test_what_is_long_is_loaded_beside_and_then_takes_over(kernel: Kernel, guard_table: GuardTable) -> None:
    rng = random.Random(1)
    guard_table.change(compile_guard(some(rng, 3), CONFIG))
    first = guard_table.name
    kernel.counted = {"InNoPolicy": (3, 30)}
    compiled = compile_guard(some(rng, 3000), CONFIG)
    guard_table.change(compiled)
    assert guard_table.name != first
    assert same(kernel, compiled)
    assert f"delete table inet {first}" in kernel.scripts[-1]
    assert "hook input" in kernel.scripts[-1], "old table and new hooks change places in one transaction"
    assert not any("hook input" in script for script in kernel.scripts[1:-1])
    kernel.counted = {"InNoPolicy": (1, 10)}
    assert guard_table.counters()["InNoPolicy"] == (4, 40), "what the old table had counted is not lost"


def test_a_kernel_that_takes_long_scripts_gets_one(kernel: Kernel, guard_table: GuardTable) -> None:
    kernel.bytes_max = 1 << 30
    compiled = compile_guard(some(random.Random(3), 3000), CONFIG)
    guard_table.change(compiled)
    assert len(kernel.scripts) == 1
    assert same(kernel, compiled)


@pytest.mark.parametrize("good", range(6))
def test_a_refusal_on_the_way_leaves_the_old_table(
    kernel: Kernel, guard_table: GuardTable, good: int
) -> None:
    rng = random.Random(2)
    before = compile_guard(some(rng, 20), CONFIG)
    guard_table.change(before)
    name = guard_table.name
    kernel.refuse_after = good
    with pytest.raises(Failure):
        guard_table.change(compile_guard(some(rng, 3000), CONFIG))
    assert guard_table.name == name
    assert guard_table.guard is before
    found = kernel.tables[name]
    kernel.tables = {name: found}
    assert same(kernel, before)


def test_a_dead_daemons_tables_go_with_the_takeover(kernel: Kernel, guard_table: GuardTable) -> None:
    kernel.tables = {"sallet_x_1": {}, "sallet_x_7": {}, "sallet_y_1": {}, "filter": {}}
    guard_table.install(compile_guard([], CONFIG))
    assert sorted(kernel.tables) == ["filter", "sallet_x_2", "sallet_y_1"]
    guard_table.remove()
    assert sorted(kernel.tables) == ["filter", "sallet_y_1"]
