"""`sallet policy ls`: the SPD entries, in the order in which they are asked.

No request that changes one may enter: that is setkey's.
Answers to: `sallet(1)`, policy; RFC 4301 section 4.4.1 (first match wins).
"""

from __future__ import annotations

import argparse

from sallet.cli import diagnostics, tables


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="ls")
    tables.add_json(verbs.add_parser("ls", help="list the SPD entries"))


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    document = tables.ask("policy.list")
    if arguments.json:
        tables.print_json(document)
        return diagnostics.OK
    if not document["policies"]:
        print("no policies")
        return diagnostics.OK
    rows = []
    for entry in document["policies"]:
        action = f"{entry['action']} {tables.templates_text(entry['templates'])}".rstrip()
        direction = (
            "in+fwd" if entry["judges_forwarded"] and entry["direction"] == "in" else entry["direction"]
        )
        selector = tables.selector_text(entry["selector"])
        rows.append((entry["id"], direction, *selector, action, entry["packets"]))
    tables.print_rows(("ID", "DIR", "SOURCE", "DESTINATION", "UPPER", "ACTION", "PACKETS"), rows)
    return diagnostics.OK
