"""`sallet up`: starts the daemon in the foreground and prints one line when it is ready.

No set-up may enter: this turns arguments into `Options`.
Answers to: `sallet(1)`, up.
"""

from __future__ import annotations

import argparse
import grp
import logging
import re
import sys
from pathlib import Path

from sallet.cli import diagnostics
from sallet.pfkey.quirks import QUIRKS
from sallet.rundir import default_run_dir
from sallet.sysctl.personalities import PERSONALITIES


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--mode",
        choices=("embedded", "gateway", "host"),
        default="host",
        help="how packets reach the engine: not at all, by routes, or by marks (default: %(default)s)",
    )
    parser.add_argument(
        "--personality",
        choices=tuple(PERSONALITIES),
        default="sallet",
        help="whose manual is followed: defaults, sysctl names, the dialect of pfkey.sock, and how --setkey "
        "files are read (default: %(default)s)",
    )
    parser.add_argument(
        "--quirk",
        action="append",
        default=[],
        choices=tuple(QUIRKS),
        help="a deviation that a peer needs (may be repeated): "
        + "; ".join(f"{quirk.name}: {quirk.meaning}" for quirk in QUIRKS.values()),
    )
    parser.add_argument(
        "--group",
        type=_group,
        metavar="NAME",
        help="members of this group may connect and read (without keys); everybody else but root is refused",
    )
    parser.add_argument(
        "--write-group",
        type=_group,
        metavar="NAME",
        help="of them, members of this group may also change",
    )
    parser.add_argument(
        "--keys-group", type=_group, metavar="NAME", help="of them, members of this group also see keys"
    )
    parser.add_argument(
        "--cleanup-on-close",
        action="store_true",
        help="when a program that registered with PF_KEY (a key manager) goes, even by a crash, remove "
        "the SAs and policies that it made",
    )
    parser.add_argument(
        "--setkey",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="load a setkey file before the first packet (may be repeated)",
    )
    parser.add_argument(
        "--sysctl",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="set a variable before the first packet (may be repeated)",
    )
    parser.add_argument(
        "--device", type=_device, default="sallet0", metavar="NAME", help="the link (default: %(default)s)"
    )
    parser.add_argument("--udp-port", type=_port, metavar="N", help="take ESP in UDP on this port (4500)")
    parser.add_argument("--mtu", type=_mtu, metavar="BYTES", help="MTU of the link (default: computed)")
    parser.add_argument(
        "--path-mtu", type=_mtu, metavar="BYTES", help="MTU outside (default: the smallest of the links)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop."""
    if arguments.group is None and (arguments.write_group is not None or arguments.keys_group is not None):
        return diagnostics.fail(
            "nobody could use the right that was given",
            why="only members of --group may connect",
            next_step="name the group with --group, too",
            code=diagnostics.USAGE,
        )
    try:
        from sallet.daemon import Daemon, Options
    except ImportError as error:
        return diagnostics.fail(
            "the engine cannot be loaded",
            where=str(error.name),
            why=str(error),
            next_step="build it: `pip install .` or `make build` in the source tree",
        )
    logging.basicConfig(format="sallet: %(levelname)s: %(message)s", level=logging.WARNING)
    daemon = Daemon(
        Options(
            mode=arguments.mode,
            run_dir=default_run_dir(),
            setkey_files=tuple(arguments.setkey),
            settings=tuple(arguments.sysctl),
            device=arguments.device,
            group=arguments.group,
            write_group=arguments.write_group,
            keys_group=arguments.keys_group,
            personality=PERSONALITIES[arguments.personality],
            cleanup_on_close=arguments.cleanup_on_close,
            quirks=tuple(dict.fromkeys(arguments.quirk)),
            udp_port=arguments.udp_port,
            mtu=arguments.mtu,
            path_mtu=arguments.path_mtu,
        )
    )

    def ready(line: str) -> None:
        for warning in daemon.warnings:
            print(f"sallet: warning: {warning}", file=sys.stderr)
        print(line, flush=True)

    daemon.run(ready)
    return diagnostics.OK


def _device(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a link (1 to 15 letters and digits)")
    return text


def _group(text: str) -> int:
    """Read a group's name or number."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no group {text!r}") from None


def _port(text: str) -> int:
    return _number(text, 1, 65535)


def _mtu(text: str) -> int:
    return _number(text, 1280, 65535)


def _number(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return int(text)


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value.strip()
