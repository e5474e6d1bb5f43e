"""`sallet policy ls`: the policies of sockets and the SPD entries, in the order in which they are asked.

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
    entries = [(each, " (socket)") for each in document["sockets"]]
    entries += [(each, "") for each in document["policies"]]
    if not entries:
        print("no policies")
        return diagnostics.OK
    rows = []
    for entry, whose in entries:
        action = f"{entry['action']} {tables.templates_text(entry['templates'])}".rstrip()
        direction = (
            "in+fwd" if entry["judges_forwarded"] and entry["direction"] == "in" else entry["direction"]
        )
        selector = tables.selector_text(entry["selector"])
        rows.append((entry["id"], direction + whose, *selector, action, entry["packets"]))
    tables.print_rows(("ID", "DIR", "SOURCE", "DESTINATION", "UPPER", "ACTION", "PACKETS"), rows)
    return diagnostics.OK
