"""Figures as values: what each round gave, medians, ratios, and the lines of the Rust benchmark.

No clock, no process and no text for people may enter: everything here can be tried with numbers alone.
Answers to: docs/benchmarks.md; proc_pid_stat(5) and /proc/net/dev for the two readers.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: what it is called, its unit in the title, its digits after the point."""

    key: str
    title: str
    digits: int = 0
    is_ratio: bool = False


@dataclass(slots=True)
class Row:
    """One thing that was measured, or the reason why it was not."""

    name: str
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """By column: the value of every round."""
    ratios: dict[str, float] = field(default_factory=dict)
    reason: str | None = None

    def add(self, values: Mapping[str, float]) -> None:
        """Append what one round gave."""
        for key, value in values.items():
            self.rounds.setdefault(key, []).append(value)

    def median(self, key: str) -> float | None:
        """Return the median of a column, or None where nothing was measured."""
        return median(self.rounds.get(key, ()))


@dataclass(slots=True)
class Section:
    """One table with what has to be known to read it."""

    key: str
    title: str
    method: str
    columns: tuple[Column, ...]
    rows: list[Row]
    remarks: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row | None:
        """Return the row of that name."""
        return next((row for row in self.rows if row.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Give everything as plain values, every round included."""
        return {
            "key": self.key,
            "title": self.title,
            "method": self.method,
            "remarks": self.remarks,
            "columns": [{"key": column.key, "title": column.title} for column in self.columns],
            "rows": [
                {
                    "name": row.name,
                    "not_measured": row.reason,
                    "medians": {key: median(values) for key, values in row.rounds.items()},
                    "rounds": row.rounds,
                    "ratios": row.ratios,
                }
                for row in self.rows
            ],
        }


def median(values: Sequence[float]) -> float | None:
    """Return the median, or None of nothing."""
    return statistics.median(values) if values else None


def ratio(value: float | None, beside: float | None) -> float | None:
    """Divide one median by another; None where either is missing or there is nothing to divide by."""
    if value is None or not beside:
        return None
    return value / beside


def compare(rows: Iterable[Row], beside: Row | None, keys: Mapping[str, str]) -> None:
    """Fill the ratio columns of every row beside one row; `keys` says which column each of them divides."""
    if beside is None:
        return
    for row in rows:
        for target, source in keys.items():
            value = ratio(row.median(source), beside.median(source))
            if value is not None:
                row.ratios[target] = value


def rust_lines(text: str) -> dict[tuple[str, int], list[float]]:
    """Read what the Rust benchmark prints: by name and packet bytes, the nanoseconds of each round.

    Raises:
        ValueError: a line is not what the benchmark prints.
    """
    found: dict[tuple[str, int], list[float]] = {}
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        try:
            item = json.loads(line)
            found[(str(item["name"]), int(item["bytes"]))] = [float(value) for value in item["ns"]]
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a line of the benchmark: {line!r}") from error
    return found


def cpu_ticks(stat: str) -> int:
    """Add the user and the system time in the text of /proc/PID/stat, in clock ticks.

    The name of the program stands in parentheses and may hold anything, parentheses too.
    """
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def device_bytes(net_dev: str, device: str) -> int | None:
    """Add received and sent bytes of a link in the text of /proc/PID/net/dev; None if it is not there."""
    for line in net_dev.splitlines():
        name, separator, counters = line.partition(":")
        if separator and name.strip() == device:
            fields = counters.split()
            return int(fields[0]) + int(fields[8])
    return None
