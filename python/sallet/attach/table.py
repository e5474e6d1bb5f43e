"""The guard's table in the kernel: loaded whole or by what has changed, and never half.

No policy may enter: a `Guard` comes in, scripts for nft go out through the callable that runs them.
Answers to: nft(8), one script is one transaction; netlink(7), a transaction must fit the socket's buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from sallet.attach.coverage import Coverage
from sallet.attach.guard import COUNTERS, HOOKED, Guard
from sallet.attach.socket_maps import declarations
from sallet.failure import Failure

SCRIPT_BYTES_MAX = 24576
"""What surely fits one transaction: without CAP_NET_ADMIN of the machine a netlink buffer has 200 kB."""
_UNLIMITED = 1 << 30
_TOO_LONG = "Message too long"

_ELEMENTS_A_LINE = 50

Counters = dict[str, tuple[int, int]]


class GuardTable:
    """One guard in the kernel, in a table `<prefix>_<n>`; a new `n` replaces the old in one transaction."""

    def __init__(
        self,
        prefix: str,
        apply: Callable[[str], None],
        tables: Callable[[], list[str]],
        counters: Callable[[str], Counters],
    ) -> None:
        self._prefix, self._apply, self._tables, self._read_counters = prefix, apply, tables, counters
        self._number = 0
        self._script_bytes = _UNLIMITED
        self._carried: Counters = {}
        self.guard: Guard | None = None

    @property
    def name(self) -> str:
        """The table's name at the moment."""
        return f"{self._prefix}_{self._number}"

    def install(self, guard: Guard) -> None:
        """Load the guard as a new table and remove every other of the same prefix in the same transaction.

        Raises:
            Failure: the kernel refused; the tables are as before.
        """
        others = self._own_tables()
        taken = {name.rpartition("_")[2] for name in others}
        number = next(n for n in range(1, len(taken) + 2) if str(n) not in taken)
        name = f"{self._prefix}_{number}"
        carried = self.counters() if self.guard is not None else {}
        try:
            self._load(name, guard, others)
        except Failure as failure:
            if self._script_bytes == SCRIPT_BYTES_MAX or _TOO_LONG not in failure.why:
                raise
            self._script_bytes = SCRIPT_BYTES_MAX
            self._load(name, guard, others)
        self._number, self.guard, self._carried = number, guard, carried

    def _load(self, name: str, guard: Guard, others: list[str]) -> None:
        try:
            *early, last = _preparation(name, guard, self._script_bytes)
            for script in early:
                self._apply(script)
            removals = "".join(removal_text(other) for other in others)
            self._apply(last + _hooks_text(name, guard.hooks) + removals)
        except Failure:
            with suppress(Failure):
                self._apply(removal_text(name))
            raise

    def change(self, guard: Guard) -> None:
        """Load what differs from the guard that is loaded; nothing, if nothing does.

        Raises:
            Failure: the kernel refused; the table is as before.
        """
        if self.guard is None:
            self.install(guard)
            return
        script = _difference(self.name, self.guard, guard)
        if len(script) > SCRIPT_BYTES_MAX:
            self.install(guard)
            return
        if script:
            self._apply(script)
        self.guard = guard

    def remove(self) -> None:
        """Remove every table of the prefix."""
        for name in self._own_tables():
            self._apply(removal_text(name))
        self.guard = None

    def counters(self) -> Counters:
        """Read the counters, with what earlier tables of this daemon had counted."""
        found = self._read_counters(self.name)
        return {
            name: (
                found.get(name, (0, 0))[0] + self._carried.get(name, (0, 0))[0],
                found.get(name, (0, 0))[1] + self._carried.get(name, (0, 0))[1],
            )
            for name in COUNTERS
        }

    def _own_tables(self) -> list[str]:
        return [name for name in self._tables() if name.rpartition("_")[0] == self._prefix]


def removal_text(table: str) -> str:
    """Write the script that removes a table, whether it exists or not."""
    return f"table inet {table}\ndelete table inet {table}\n"


def _preparation(table: str, guard: Guard, script_bytes: int) -> Iterator[str]:
    """Write a table that no hook calls yet, in scripts of bearable length."""
    lines = [f"\tcounter {name} {{ }}" for name in COUNTERS]
    for name, coverage in guard.sets.items():
        lines.append(f"\tset {name} {{ type ipv{coverage.family}_addr; flags interval; }}")
    lines += [f"\tmap {name} {{ type {key} : verdict; }}" for name, key in declarations().items()]
    # Entries may go to a chain that no hook calls by itself.
    called = [name for name in guard.hooks if name not in HOOKED]
    lines += [f"\tchain {name} {{ }}" for name in (*called, *guard.judges)]
    statements = [f"table inet {table} {{\n" + "\n".join(lines) + "\n}"]
    for name, coverage in guard.sets.items():
        statements += _element_lines("add", table, name, coverage.elements())
    for name, verdicts in guard.maps.items():
        statements += _element_lines("add", table, name, [f"{key} : {to}" for key, to in verdicts.items()])
    for name, rules in guard.judges.items():
        statements += [f"add rule inet {table} {name} {rule}" for rule in rules]
    script = removal_text(table)
    for statement in statements:
        if len(script) + len(statement) > script_bytes:
            yield script
            script = ""
        script += statement + "\n"
    yield script


def _hooks_text(table: str, hooks: Mapping[str, tuple[str, ...]]) -> str:
    """Write the chains that the kernel calls, from the first packet on as they are to be."""
    lines = [f"table inet {table} {{"]
    lines += [f"\tchain {name} {{ {HOOKED.get(name, '')} }}" for name in hooks]
    lines.append("}")
    lines += [f"flush chain inet {table} {name}" for name in hooks]
    lines += [f"add rule inet {table} {name} {rule}" for name, rules in hooks.items() for rule in rules]
    return "\n".join(lines) + "\n"


def _difference(table: str, before: Guard, after: Guard) -> str:
    """Write the one script that turns one guard into another; empty if they are alike."""
    lines: list[str] = []
    for name, coverage in after.sets.items():
        lines += _set_difference(table, name, before.sets[name], coverage)
    for name in sorted({*before.maps, *after.maps}):
        lines += _map_difference(table, name, before.maps.get(name, {}), after.maps.get(name, {}))
    for name, rules in after.judges.items():
        known = before.judges[name]
        if rules[: len(known)] == known:
            added = rules[len(known) :]
        else:
            lines.append(f"flush chain inet {table} {name}")
            added = rules
        lines += [f"add rule inet {table} {name} {rule}" for rule in added]
    text = "".join(f"{line}\n" for line in lines)
    if before.hooks != after.hooks:
        text += _hooks_text(table, after.hooks)
    return text


def _set_difference(table: str, name: str, before: Coverage, after: Coverage) -> list[str]:
    if before == after:
        return []
    old, new = before.elements(), after.elements()
    kept = set(old) & set(new)
    return [
        *_element_lines("delete", table, name, [element for element in old if element not in kept]),
        *_element_lines("add", table, name, [element for element in new if element not in kept]),
    ]


def _map_difference(table: str, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    if before is after:
        return []
    gone = [key for key, verdict in before.items() if after.get(key) != verdict]
    new = [f"{key} : {verdict}" for key, verdict in after.items() if before.get(key) != verdict]
    return [
        *_element_lines("delete", table, name, gone),
        *_element_lines("add", table, name, new),
    ]


def _element_lines(verb: str, table: str, name: str, elements: list[str]) -> list[str]:
    """Write elements as few statements, each short enough to be put into any script."""
    return [
        f"{verb} element inet {table} {name} {{ {', '.join(elements[at : at + _ELEMENTS_A_LINE])} }}"
        for at in range(0, len(elements), _ELEMENTS_A_LINE)
    ]
