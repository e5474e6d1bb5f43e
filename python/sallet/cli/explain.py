"""`sallet explain`: what would become of one packet, and which SPD entry says so.

No judgement may enter: the daemon's engine gives it, and changes nothing by it.
Answers to: `sallet(1)`, explain; RFC 4301 section 5.
"""

from __future__ import annotations

import argparse
import ipaddress
from typing import Any

from sallet.cli import diagnostics, tables
from sallet.failure import Failure

_NUMBERS = {name: number for number, name in tables.PROTOCOLS.items()} | {"icmpv6": 58, "ipv6-icmp": 58}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="SRC", help="source address")
    parser.add_argument("destination", metavar="DST", help="destination address")
    parser.add_argument("protocol", metavar="PROTO", nargs="?", default="udp", help="name or number (udp)")
    parser.add_argument(
        "ports",
        metavar="PORTS",
        nargs="?",
        default="",
        help="SOURCE:DESTINATION or DESTINATION; ICMP TYPE:CODE",
    )
    parser.add_argument(
        "--direction", choices=("out", "in", "fwd"), default="out", help="which list is asked (%(default)s)"
    )
    tables.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    for text in (arguments.source, arguments.destination):
        _check_address(text)
    next_layer = _protocol(arguments.protocol)
    document = tables.ask(
        "explain",
        source=arguments.source,
        destination=arguments.destination,
        direction=arguments.direction,
        next_layer=next_layer,
        ports=_ports(arguments.ports, next_layer),
    )
    if arguments.json:
        tables.print_json(document)
    else:
        _print(document)
    return diagnostics.OK


def _print(document: dict[str, Any]) -> None:
    packet, verdict, entry = document["packet"], document["verdict"], document["entry"]
    ports = ":".join(map(str, packet["ports"]))
    print(
        f"{packet['direction']}: {packet['source']} -> {packet['destination']}, "
        f"{tables.protocol_name(packet['next_layer'])} {ports}"
    )
    if entry is not None:
        source, destination, upper = tables.selector_text(entry["selector"])
        print(f"  entry {entry['id']}: {source} {destination} {upper} {entry['action']}")
    else:
        print(f"  no entry matches; the default policy, or a built-in rule, says {verdict['action']}")
    for template in verdict["templates"]:
        found = "no SA" if template["spi"] is None else f"SA 0x{template['spi']:08x}"
        print(f"  {tables.templates_text([template])}: {found}")
    print(f"verdict: {_SENTENCES[packet['direction'] != 'out'][verdict['action']]}")


_SENTENCES: tuple[dict[str, str], dict[str, str]] = (
    {
        "bypass": "it leaves in clear",
        "discard": "it is dropped",
        "protect": "it leaves protected, or not at all",
        "malformed": "it is no IP packet",
    },
    {
        "bypass": "in clear it is accepted",
        "discard": "in clear it is dropped",
        "protect": "in clear it is dropped; it must come through these SAs",
        "malformed": "it is no IP packet",
    },
)


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise Failure(str(error), next_step="give an address, not a name or a prefix", kind="usage") from None


def _protocol(text: str) -> int:
    number = _NUMBERS.get(text.lower(), int(text) if text.isascii() and text.isdigit() else 256)
    if number > 255:
        known = ", ".join(_NUMBERS)
        raise Failure(
            "there is no such protocol", where=text, next_step=f"a number, or {known}", kind="usage"
        )
    return number


def _ports(text: str, next_layer: int) -> tuple[int, int]:
    first, separator, second = text.partition(":")
    typed = next_layer in (1, 58)
    words = (first, second) if separator or typed else ("", first)
    high = 255 if typed else 65535
    numbers = []
    for word in words:
        if word and not (word.isascii() and word.isdigit() and int(word) <= high):
            raise Failure(
                "this is no pair of ports",
                where=text,
                why=f"{word!r} is not a number from 0 to {high}",
                next_step="write TYPE:CODE" if typed else "write SOURCE:DESTINATION, or DESTINATION alone",
                kind="usage",
            )
        numbers.append(int(word or "0"))
    return numbers[0], numbers[1]
