"""`sallet monitor`: the PF_KEY conversation of the daemon, live; one colour for each client, never a key.

No request that changes anything may enter.
Answers to: `sallet(1)`, monitor; no-color.org.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

from sallet import watch
from sallet.cli import diagnostics
from sallet.client import default_run_dir
from sallet.failure import Failure
from sallet.lang import conversation
from sallet.watch import Watched

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
_ARROWS = {"asked": "→", "answered": "←", "told": "⇐", "missed": "✗", "came": "+", "went": "-"}
_PLAIN_ARROWS = {"asked": "->", "answered": "<-", "told": "<=", "missed": "!!", "came": "+", "went": "-"}
SCHEMA = "sallet.monitor/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Print every PF_KEY message that the daemon gets and sends, decoded: → a request, ← its reply with "
        "the time it took, ⇐ what a client is told because of others, ✗ what a client lost. Keys are never "
        "shown. Ends at interrupt (^C)."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with a `schema` field")
    parser.add_argument(
        "--type",
        action="append",
        choices=sorted(watch.type_names()),
        metavar="NAME",
        help="only messages of this type, e.g. add, spddump (may be repeated)",
    )
    parser.add_argument(
        "--client", action="append", type=int, metavar="N", help="only this client's (may be repeated)"
    )
    parser.add_argument("--count", type=_count, metavar="N", help="end after so many lines")


def run(arguments: argparse.Namespace) -> int:
    """Listen and print until interrupted."""
    heard = watch.watch(default_run_dir())
    show = _json_line if arguments.json else _painter()
    try:
        with closing(heard):
            _print(_wanted(heard, arguments), show, arguments.count)
    except KeyboardInterrupt:
        return diagnostics.OK
    if arguments.count is None:
        raise Failure("the daemon ended", where=str(default_run_dir()), kind="unreachable")
    return diagnostics.OK


def _print(heard: Iterable[Watched], show: Callable[[Watched], None], count: int | None) -> None:
    for number, one in enumerate(heard, 1):
        show(one)
        if number == count:
            return


def _wanted(heard: Iterable[Watched], arguments: argparse.Namespace) -> Iterator[Watched]:
    kinds = None if arguments.type is None else {int(watch.type_names()[name]) for name in arguments.type}
    clients = None if arguments.client is None else set(arguments.client)
    for one in heard:
        if (kinds is None or one.kind in kinds) and (clients is None or one.client in clients):
            yield one


def _json_line(one: Watched) -> None:
    message = None if one.message is None else conversation.as_json(one.message, one.dialect)
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "time_ns": one.time_ns,
        "client": one.client,
        "pid": one.pid,
        "uid": one.uid,
        "dialect": one.dialect.name,
        "way": one.way,
        "message": message,
        "latency_ns": one.latency_ns,
        "missed": one.missed,
    }
    if one.malformed:
        line["malformed"] = {
            "errno": one.malformed,
            "error": conversation.errno_words(one.malformed),
            "type": one.kind,
            "octets": len(one.data),
        }
    print(json.dumps(line, separators=(",", ":"), ensure_ascii=False), flush=True)


def _painter() -> Callable[[Watched], None]:
    """Make what prints one line for people; colours go to terminals only, and not with NO_COLOR."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    arrows = _ARROWS if "utf" in (sys.stdout.encoding or "").lower() else _PLAIN_ARROWS

    def show(one: Watched) -> None:
        if one.missed:
            console.print(Text(f"{one.missed} messages went by unread", style="bold red"))
        error = bool(one.malformed or one.way == "missed" or (one.message and one.message.errno))
        colour = COLOURS[one.client % len(COLOURS)]
        line = Text()
        line.append(_time(one), style="dim")
        line.append(f" #{one.client} {arrows[one.way]} ", style=f"bold {colour}")
        line.append(text_of(one), style="bold red" if error else colour)
        console.print(line)
        sys.stdout.flush()

    return show


def _time(one: Watched) -> str:
    return datetime.fromtimestamp(one.time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")


def text_of(one: Watched) -> str:
    """Say in words what was heard."""
    if one.way == "came":
        return f"connected: pid {one.pid}, uid {one.uid}, dialect {one.dialect.name}"
    if one.way == "went":
        return "closed"
    if one.way == "missed":
        return "does not read: messages to everybody are lost to it (ENOBUFS)"
    took = "" if one.latency_ns is None else f" [{one.latency_ns / 1e6:.3f} ms]"
    if one.message is None:
        return (
            f"malformed: {len(one.data)} octets, type {one.kind}: {conversation.errno_words(one.malformed)}"
        )
    message = one.message
    number = f" seq {message.seq}"
    if message.errno:
        failed = conversation.errno_words(message.errno)
        return f"{conversation.type_word(message)}{number} failed: {failed}{took}"
    return conversation.summary(message, one.dialect) + number + took


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
