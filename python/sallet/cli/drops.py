"""`sallet drops`: why packets went no further, in the engine and in the packet filter that guards it.

No reason may enter that is not a counter.
Answers to: `sallet(1)`, drops; RFC 4301 section 9 (auditing).
"""

from __future__ import annotations

import argparse

from sallet.cli import diagnostics, tables


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    tables.add_json(parser)
    parser.add_argument("--all", action="store_true", help="also the counters that are zero")


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    document = tables.ask("drops")
    if arguments.json:
        tables.print_json(document)
        return diagnostics.OK
    rows = [
        (judge, row["reason"], row["packets"], row["explanation"])
        for judge in ("engine", "guard")
        for row in document[judge]
        if row["packets"] or arguments.all
    ]
    if rows:
        tables.print_rows(("BY", "REASON", "PACKETS", "MEANING"), rows)
    else:
        print("nothing was dropped")
    return diagnostics.OK
