"""Rows as aligned text, and values as JSON: how every read verb prints.

No verb's columns may enter.
Answers to: `sallet(1)`, output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from sallet.client import ControlClient, default_run_dir


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document with a `schema` field")


def ask(method: str, **params: Any) -> Any:
    """Call one method of the daemon of the run directory."""
    with ControlClient(default_run_dir()) as client:
        return client.call(method, **params)


def print_json(document: Any) -> None:
    """Print a document."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_rows(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head, each column as wide as its widest value."""
    lines = [list(head), *([str(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(f"{value:<{width}}" for value, width in zip(line, widths, strict=True)).rstrip())


def templates_text(templates: Sequence[dict[str, Any]]) -> str:
    """Write templates as policies are written: protocol/mode/ends/level."""
    return " ".join(
        "{}/{}/{}/{}".format(t["protocol"], t["mode"], "-".join(t["endpoints"] or []), t["level"])
        + (f":{t['reqid']}" if t["reqid"] else "")
        for t in templates
    )


def selector_text(selector: dict[str, Any]) -> tuple[str, str, str]:
    """Write a selector as source, destination and upper-layer protocol."""
    return (
        selector["source"] + _ports(selector["source_ports"]),
        selector["destination"] + _ports(selector["destination_ports"]),
        "any" if selector["next_layer"] is None else protocol_name(selector["next_layer"]),
    )


PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 58: "icmp6", 132: "sctp", 136: "udplite"}


def protocol_name(number: int) -> str:
    """Name an upper-layer protocol."""
    return PROTOCOLS.get(number, str(number))


def _ports(ports: Sequence[int]) -> str:
    low, high = ports
    if (low, high) == (0, 65535):
        return ""
    return f"[{low}]" if low == high else f"[{low}-{high}]"
