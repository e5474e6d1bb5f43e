"""`sallet VERB …`: finds the verb's module, loads only that, and turns failures into exit codes.

No verb's logic may enter, and no import that only one verb needs.
Answers to: `sallet(1)`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from sallet.cli import diagnostics
from sallet.failure import Failure


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb lives and what it is for; a raw verb reads its own arguments, as the old tools do."""

    module: str
    summary: str
    raw: bool = False


VERBS: dict[str, Verb] = {
    "demo": Verb("sallet.cli.demo", "two hosts in this process, a packet's journey, no privilege needed"),
    "up": Verb("sallet.cli.up", "start the daemon in the foreground"),
    "status": Verb("sallet.cli.status", "what the daemon does, and what it leaves to the kernel"),
    "sa": Verb("sallet.cli.sa", "list the SAs"),
    "policy": Verb("sallet.cli.policy", "list the SPD entries in the order they are asked"),
    "drops": Verb("sallet.cli.drops", "why packets went no further"),
    "explain": Verb("sallet.cli.explain", "what would happen to a packet, and which entry says so"),
    "sysctl": Verb("sallet.cli.sysctl", "sysctl(8): show and set variables under the manuals' names"),
    "monitor": Verb("sallet.cli.monitor", "watch the PF_KEY conversation, decoded and live"),
    "algorithms": Verb("sallet.cli.algorithms", "the algorithms, their keys, and their PF_KEY numbers"),
    "setkey": Verb("sallet.cli.setkey", "setkey(8): edit the SAD and the SPD by hand", raw=True),
    "compat": Verb("sallet.cli.compat", "links under the names of the old tools, which then are these"),
    "run": Verb("sallet.cli.run", "start an unmodified program: its PF_KEY and per-socket policies are ours"),
    "inetd": Verb("sallet.cli.inetd", "start the services of an inetd.conf, with policies on their sockets"),
    "config": Verb("sallet.cli.config", "compiler flags for C programs: headers and libipsec"),
    "completion": Verb("sallet.cli.completion", "print a completion script for a shell"),
}


PROGRAMS: dict[str, str] = {"setkey": "setkey"}
"""Names of programs under which this one acts as a raw verb, whatever else stands on the command line."""


def parser_for(name: str) -> argparse.ArgumentParser:
    """Build the argument parser of one verb that is not raw."""
    parser = argparse.ArgumentParser(
        prog=f"sallet {name}", description=VERBS[name].summary, allow_abbrev=False
    )
    _add_common(parser, argparse.SUPPRESS)
    _load(VERBS[name]).configure(parser)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Build one parser of all verbs, for completion; it loads every verb."""
    parser = argparse.ArgumentParser(prog="sallet", allow_abbrev=False)
    _add_common(parser, None)
    verbs = parser.add_subparsers(dest="verb")
    for name, verb in VERBS.items():
        subparser = verbs.add_parser(name, help=verb.summary)
        module = _load(verb)
        if hasattr(module, "configure"):
            module.configure(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never a traceback without `--debug`."""
    program = os.path.basename(sys.argv[0]) if argv is None else ""
    if program in PROGRAMS:
        return _guarded(lambda: int(_load(VERBS[PROGRAMS[program]]).run_raw(sys.argv[1:], program)))
    arguments = _front_parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    if arguments.debug:
        os.environ["SALLET_DEBUG"] = "1"
    if arguments.run_dir is not None:
        os.environ["SALLET_RUN_DIR"] = arguments.run_dir
    if arguments.verb is None:
        _front_parser().print_help(sys.stderr)
        return diagnostics.USAGE
    if arguments.verb not in VERBS:
        return diagnostics.fail(
            f"there is no verb {arguments.verb!r}",
            next_step="`sallet --help` lists them",
            code=diagnostics.USAGE,
        )
    return _guarded(lambda: _run(arguments.verb, arguments.rest))


def _guarded(work: Callable[[], int]) -> int:
    """Run a verb and turn what it raises into an exit code."""
    try:
        code = work()
        sys.stdout.flush()
    except Exception as error:
        return _report(error)
    except KeyboardInterrupt:
        return 130
    return code


def _run(name: str, rest: list[str]) -> int:
    verb = VERBS[name]
    if verb.raw:
        return int(_load(verb).run_raw(rest))
    arguments = parser_for(name).parse_args(rest)
    if getattr(arguments, "debug", False):
        os.environ["SALLET_DEBUG"] = "1"
    if getattr(arguments, "run_dir", None) is not None:
        os.environ["SALLET_RUN_DIR"] = arguments.run_dir
    return int(_load(verb).run(arguments))


def _report(error: Exception) -> int:
    if diagnostics.debugging():
        raise error
    if isinstance(error, BrokenPipeError):
        # The reader has gone; nothing more can be said, and the flush at exit must not say it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return diagnostics.FAILED
    if isinstance(error, Failure):
        return diagnostics.fail_with(error)
    if isinstance(error, OSError):
        return diagnostics.fail_with(diagnostics.from_os_error(error))
    return diagnostics.fail(
        "an error in sallet itself",
        why=f"{type(error).__name__}: {error}",
        next_step="run it again with --debug and report what it prints",
    )


def _load(verb: Verb) -> ModuleType:
    return importlib.import_module(verb.module)


def _add_common(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--run-dir", metavar="DIR", default=default, help="where the daemon's sockets are (SALLET_RUN_DIR)"
    )
    parser.add_argument(
        "--debug", action="store_true", default=False if default is None else default, help="show tracebacks"
    )


def _front_parser() -> argparse.ArgumentParser:
    width = max(len(name) for name in VERBS)
    parser = argparse.ArgumentParser(
        prog="sallet",
        description="IPsec without a kernel.",
        epilog="verbs:\n" + "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser, None)
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    parser.add_argument("verb", nargs="?", metavar="VERB")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="the verb's own arguments")
    return parser


class _PrintVersion(argparse.Action):
    """Looks the version up only when it is asked for: the look-up costs more than the rest of the start."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        from sallet.cli.version import installed

        print(f"sallet {installed()}")
        parser.exit(diagnostics.OK)


if __name__ == "__main__":
    sys.exit(main())
