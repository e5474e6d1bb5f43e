"""`sallet algorithms`: what the engine computes, and what each dialect of PF_KEY calls it.

No daemon is asked: the tables are those of the program itself. No number and no algorithm may enter here.
Answers to: `sallet(1)`, algorithms; RFC 8221; RFC 2367 section 3.1.7 (what REGISTER answers).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from sallet import _core
from sallet.cli import diagnostics, tables
from sallet.pfkey.dialect import Dialect
from sallet.pfkey.dialects import DIALECTS

SCHEMA: Final = "sallet.algorithms/1"
_KINDS: Final = {
    "aead": "encryption with integrity",
    "cipher": "encryption",
    "auth": "integrity",
    "compression": "compression",
}
_RANGE_FROM: Final = 4
"""So many lengths of key are printed as a range."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--kind", choices=tuple(_KINDS), help="only these")
    tables.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print."""
    rows = [_described(row) for row in _core.algorithms() if arguments.kind in (None, row.kind)]
    if arguments.json:
        tables.print_json({"schema": SCHEMA, "algorithms": rows})
        return diagnostics.OK
    for number, (kind, words) in enumerate(_KINDS.items()):
        chosen = [row for row in rows if row["kind"] == kind]
        if chosen:
            print(f"{'' if number == 0 or arguments.kind else chr(10)}{words}")
            head = (
                "  NAME",
                "KEY BITS",
                "SALT",
                "IV",
                "ICV",
                *(name.upper() for name in DIALECTS),
                "BACK END",
            )
            tables.print_rows(head, [_cells(row) for row in chosen])
    print("\nIV and ICV are in bytes; the salt is in bits, and part of the key; behind them: PF_KEY numbers")
    if any(row["legacy"] for row in rows):
        print("* for old peers only (RFC 8221)")
    if not all(row["manual_keys"] for row in rows):
        print("+ for key exchanges only, REGISTER does not offer it (RFC 8750)")
    return diagnostics.OK


def _described(row: _core.Algorithm) -> dict[str, Any]:
    """Describe a row of the registry, with its number in each dialect that has one."""
    return {
        "name": row.name,
        "kind": row.kind,
        "key_bits": list(row.key_bits),
        "salt_bits": row.salt_bits,
        "iv_bytes": row.iv_bytes,
        "icv_bytes": row.icv_bytes,
        "legacy": row.legacy,
        "byte_limit": row.byte_limit,
        "manual_keys": row.manual_keys,
        "backend": row.backend,
        "defined_in": row.defined_in,
        "pfkey_numbers": {
            name: _numbers(dialect, row.kind)[row.name]
            for name, dialect in DIALECTS.items()
            if row.name in _numbers(dialect, row.kind)
        },
    }


def _numbers(dialect: Dialect, kind: str) -> Mapping[str, int]:
    """Choose the dialect's table of numbers for algorithms of a kind."""
    tables_by_kind = {"auth": dialect.auth_numbers, "compression": dialect.compress_numbers}
    return tables_by_kind.get(kind, dialect.encrypt_numbers)


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    """Write a description as one line of the table."""
    numbers = row["pfkey_numbers"]
    return (
        _mark(row) + row["name"],
        _lengths(row["key_bits"]),
        row["salt_bits"] or "-",
        row["iv_bytes"] or "-",
        row["icv_bytes"] or "-",
        *(numbers.get(name, "-") for name in DIALECTS),
        row["backend"],
    )


def _mark(row: dict[str, Any]) -> str:
    if row["legacy"]:
        return "* "
    return "  " if row["manual_keys"] else "+ "


def _lengths(bits: list[int]) -> str:
    if bits == [0]:
        return "-"
    return f"{bits[0]}-{bits[-1]}" if len(bits) >= _RANGE_FROM else "/".join(map(str, bits))
