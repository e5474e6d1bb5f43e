"""`sallet config`: the compiler's flags with which a C program finds our headers and our libipsec.

No header and no number may enter: this prints paths.
Answers to: `sallet(1)`, config; ipsec_set_policy(3), "LIBRARY" and "SYNOPSIS".
"""

from __future__ import annotations

import argparse
import shlex
from typing import Final

from sallet import native
from sallet.cli import diagnostics, tables

SCHEMA: Final = "sallet.config/1"
# Kept wherever it stands: `cc $(sallet config --cflags --libs) program.c` names it before anything needs it.
_LIBRARY: Final = ("-Wl,--push-state,--no-as-needed", "-lipsec", "-Wl,--pop-state")
DIALECTS: Final = ("kame", "netbsd", "freebsd", "linux")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--cflags", action="store_true", help="where the headers are")
    parser.add_argument("--libs", action="store_true", help="where libipsec is, also when the program runs")
    parser.add_argument(
        "--dialect",
        choices=DIALECTS,
        default="linux",
        help="whose numbers and layouts the headers have, and libipsec makes; the program is then started by "
        "`sallet run --dialect` of the same name (default: %(default)s)",
    )
    tables.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the flags: those asked for, or both."""
    missing = next((path for path in (native.LIBIPSEC, native.INCLUDE) if not path.exists()), None)
    if missing is not None:
        return diagnostics.fail(
            "a part of the installation is missing",
            where=str(missing),
            next_step="build it: `pip install .` or `make build` in the source tree",
        )
    flags = {
        "cflags": [f"-I{native.INCLUDE / arguments.dialect}"],
        "libs": [f"-L{native.HERE}", *_LIBRARY, f"-Wl,-rpath,{native.HERE}"],
    }
    if arguments.cflags or arguments.libs:
        flags = {name: words for name, words in flags.items() if getattr(arguments, name)}
    if arguments.json:
        tables.print_json({"schema": SCHEMA, "dialect": arguments.dialect, **flags})
    else:
        print(shlex.join(word for words in flags.values() for word in words))
    return diagnostics.OK
