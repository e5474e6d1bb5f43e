"""Tables for people: the same rows as text for a terminal and as Markdown for the document.

No measuring and no file may enter.
Answers to: docs/benchmarks.md.
"""

from __future__ import annotations

from bench.figures import Column, Row, Section

NOTHING = "–"


def text(section: Section) -> str:
    """Lay a section out for a terminal."""
    head, *lines = _cells(section)
    shown = [head, *lines]
    widths = [max(len(row[at]) for row in shown) for at in range(len(head))]
    body = ["  ".join(_padded(row, widths)).rstrip() for row in shown]
    return "\n".join([section.title, "=" * len(section.title), *body, *_notes(section)])


def markdown(section: Section) -> str:
    """Lay a section out for the document."""
    head, *lines = _cells(section)
    rule = "|".join(["---", *("---:" for _ in head[1:])])
    table = [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(line)} |" for line in lines)]
    notes = [f"\n{note}" for note in _notes(section)]
    return "\n".join([f"### {section.title}", "", section.method, "", *table, *notes])


def cell(row: Row, column: Column) -> str:
    """Write one figure: the median, and the lowest and the highest round where they say something."""
    if column.is_ratio:
        value = row.ratios.get(column.key)
        return NOTHING if value is None else f"{number(value, column.digits)}×"
    values = row.rounds.get(column.key, [])
    median = row.median(column.key)
    if median is None:
        return NOTHING
    middle = number(median, column.digits)
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values), column.digits)} to {number(max(values), column.digits)})"


def number(value: float, digits: int) -> str:
    """Write a number with thin groups of three; large ones need no digits after the point."""
    return f"{value:,.{digits if value < 100 else 0}f}"


def _cells(section: Section) -> list[list[str]]:
    head = ["", *(column.title for column in section.columns)]
    return [head, *([row.name, *(cell(row, column) for column in section.columns)] for row in section.rows)]


def _notes(section: Section) -> list[str]:
    """List why rows are empty, then the remarks."""
    reasons: dict[str, list[str]] = {}
    for row in section.rows:
        if row.reason is not None:
            reasons.setdefault(row.reason, []).append(row.name)
    missing = [f"{'; '.join(names)}: not measured: {reason}" for reason, names in reasons.items()]
    return [*missing, *section.remarks]


def _padded(row: list[str], widths: list[int]) -> list[str]:
    first, *others = row
    return [
        first.ljust(widths[0]),
        *(each.rjust(width) for each, width in zip(others, widths[1:], strict=True)),
    ]
