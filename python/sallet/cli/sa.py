"""`sallet sa ls`: the SAs, without keys.

No request that changes one may enter: that is setkey's.
Answers to: `sallet(1)`, sa; RFC 4301 section 4.4.2.1 for the columns.
"""

from __future__ import annotations

import argparse
from typing import Any

from sallet.cli import diagnostics, tables


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="ls")
    listing = verbs.add_parser("ls", help="list the SAs")
    listing.add_argument("--protocol", choices=("esp", "ah", "ipcomp"), help="only these")
    tables.add_json(listing)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    document = tables.ask("sa.list", protocol=arguments.protocol)
    if arguments.json:
        tables.print_json(document)
    elif document["sas"]:
        head = (
            "SPI",
            "PROTO",
            "SOURCE",
            "DESTINATION",
            "MODE",
            "REQID",
            "STATE",
            "ALGORITHMS",
            "SEQ",
            "PACKETS",
        )
        tables.print_rows((*head, "BYTES"), [_row(sa) for sa in document["sas"]])
    else:
        print("no SAs")
    return diagnostics.OK


def _row(sa: dict[str, Any]) -> tuple[object, ...]:
    algorithms = [sa[kind]["algorithm"] for kind in ("encryption", "authentication") if sa[kind]]
    return (
        f"0x{sa['spi']:08x}",
        sa["protocol"] + ("-udp" if sa["encap"] else ""),
        sa["source"],
        sa["destination"],
        sa["mode"],
        sa["reqid"],
        sa["state"],
        "+".join(algorithms) or "-",
        sa["sequence"],
        sa["packets"],
        sa["bytes"],
    )
