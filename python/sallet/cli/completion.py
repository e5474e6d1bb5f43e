"""`sallet completion SHELL`: prints a completion script made from the parsers themselves.

No list of options may enter: it would grow old.
Answers to: shtab's documentation; bash(1), zsh(1), tcsh(1).
"""

from __future__ import annotations

import argparse

from sallet.cli import diagnostics

SHELLS = ("bash", "zsh", "tcsh")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError as error:
        return diagnostics.fail("completion needs a package", why=str(error), next_step="pip install shtab")
    from sallet.cli.main import whole_parser

    print(shtab.complete(whole_parser(), shell=arguments.shell))
    return diagnostics.OK
