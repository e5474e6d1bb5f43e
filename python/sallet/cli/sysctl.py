"""`sallet sysctl`: reads and sets the variables of the daemon's personality, as sysctl(8) does.

No range and no meaning of a variable may enter: the daemon has them.
Answers to: sysctl(8); `ipsec(4)` for the names.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from sallet.cli import diagnostics, tables
from sallet.lang import dump
from sallet.pfkey import codec
from sallet.pfkey.dialects import DIALECTS


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="every variable with its value")
    parser.add_argument("-d", "--describe", action="store_true", help="say what each is for")
    parser.add_argument("-n", "--values", action="store_true", help="values without names")
    parser.add_argument("-w", "--write", action="store_true", help="only set: refuse a name without a value")
    parser.add_argument("names", nargs="*", metavar="NAME[=VALUE]", help="what to show or to set")
    tables.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask for each in turn, and print."""
    if not arguments.names and not arguments.all:
        return diagnostics.fail(
            "nothing is named",
            next_step="name variables, or list them with -a",
            code=diagnostics.USAGE,
        )
    unset = [text for text in arguments.names if "=" not in text]
    if arguments.write and unset:
        return diagnostics.fail(
            "no value is given", where=unset[0], next_step="write NAME=VALUE", code=diagnostics.USAGE
        )
    if arguments.all:
        _print_all(arguments)
    for text in arguments.names:
        name, separator, value = text.partition("=")
        method, words = ("sysctl.write", {"value": value.strip()}) if separator else ("sysctl.read", {})
        _print_one(tables.ask(method, name=name.strip(), **words), arguments)
    return diagnostics.OK


def _print_all(arguments: argparse.Namespace) -> None:
    document = tables.ask("sysctl.list")
    if arguments.json:
        tables.print_json(document)
        return
    for row in document["variables"]:
        what = row["meaning"] if arguments.describe else row["value"]
        print(what if arguments.values else f"{row['name']}: {what}")


def _print_one(document: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        tables.print_json(document)
    elif "messages" in document:
        print(_database(document), end="")
    elif arguments.describe:
        known = {row["name"]: row["meaning"] for row in tables.ask("sysctl.list")["variables"]}
        print(f"{document['name']}: {known[document['name']]}")
    elif arguments.values:
        print(document["value"])
    elif "before" in document:
        print(f"{document['name']}: {document['before']} -> {document['value']}")
    else:
        print(f"{document['name']}: {document['value']}")


def _database(document: dict[str, Any]) -> str:
    """Write entries as setkey does; their keys did not come."""
    dialect = DIALECTS[document["dialect"]]
    entries = [codec.decode(bytes.fromhex(data), dialect) for data in document["messages"]]
    if document["database"] == "spd":
        return "".join(dump.spd(entry, dialect.name) for entry in entries) or dump.NO_SPD
    now = int(time.time())
    return "".join(dump.sad(entry, dialect.name, now) for entry in entries) or dump.NO_SAD
