"""The options of setkey(8), as each form of it takes them, and the usage text.

No connection and no message may enter. Answers to setkey(8) of KAME, FreeBSD and ipsec-tools.
"""

from __future__ import annotations

import getopt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sallet.lang.forms import FORMS

if TYPE_CHECKING:
    from sallet.lang.forms import Form

_LONG: Final = ["form=", "keep-going", "run-dir=", "json", "show-keys", "save=", "help", "version"]
_ANSWERS: Final = ("help", "version")

_TEXT: Final = """\
usage: {program} [-nvdk] [--form FORM] [--keep-going] -f FILE     (- for standard input)
       {program} [-nvdk] [--form FORM] [--keep-going] -c
       {program} [-aplvgN] [--form FORM] [--json [--show-keys]] [--save FILE] -D[P] [DUMP…]
       {program} [-v] [--form FORM] -F[P]
       {program} [-xH] [--form FORM] -x
       {program} -V | -h

  -f FILE       carry out the statements of a file          -c   of standard input
  -D            print the SAs                               -DP  print the policies
  -F            remove every SA                             -FP  remove every policy
  -x            print every PF_KEY message as it passes, with its time; -xx: the time in seconds since 1970
  -H            with -x: the bytes, too                     -v   print every message sent and received
  -a            with -D: dead SAs, too                      -p   with -D: ports, too
  -l            with -D: one line for each SA, again every second until it is stopped
  -g, -N        with -DP: no policies of sockets            -n   check only, send nothing
  -k            send no fwd policy beside each in           -r   send one (the rule)
  -d            print how each statement is read            -V   the version
  DUMP          with -D: print what --save kept, and ask no daemon
  --save FILE   with -D: keep the messages of the dump as they are, keys included
  --form FORM   sallet (a file is one transaction), or linux, kame, qnx, netbsd, freebsd: options, text, order
                and exit status of those tools; by default as the daemon's personality has it
  --keep-going  form sallet: go on behind a refusal, undo nothing
  --json        print -D and -DP as JSON; keys only with --show-keys
  --run-dir DIR where the daemon's sockets are (SALLET_RUN_DIR)
"""


@dataclass(slots=True)
class Options:
    """What one command line asks for."""

    form: str = "sallet"
    program: str = "sallet setkey"
    """The name under which it was started."""
    files: list[str] = field(default_factory=list)
    dump: bool = False
    flush: bool = False
    monitor: int = 0
    """How often -x stands."""
    policies: bool = False
    dead_too: bool = False
    ports: bool = False
    forever: bool = False
    hex_dump: bool = False
    scope: int = 0
    """Which policies a dump is asked for: 0 all, 1 those of the SPD, 2 those of interfaces."""
    check_only: bool = False
    verbose: bool = False
    debug: bool = False
    forward_too: bool = True
    keep_going: bool = False
    json: bool = False
    show_keys: bool = False
    save: Path | None = None
    saved: list[Path] = field(default_factory=list)
    run_dir: Path | None = None
    help: bool = False
    version: bool = False
    warnings: list[str] = field(default_factory=list)
    """What the form warns of and goes on."""

    @property
    def row(self) -> Form:
        """The form's row."""
        return FORMS[self.form]

    @property
    def faithful(self) -> bool:
        """Whether streams and exit status are those of an old tool."""
        return self.row.errors != "sallet"


class Usage(Exception):
    """A command line that makes no sense."""


def usage(program: str, form: str) -> str:
    """Return the usage text: ours, or the short one of the form."""
    row = FORMS[form]
    if row.errors == "sallet":
        return _TEXT.format(program=program)
    known = row.flags
    dump = "".join(letter for letter in "aPlpvgtN" if letter in known)
    lines = [
        f"[-{''.join(letter for letter in 'vnkrd' if letter in known)}] -c",
        f"[-{''.join(letter for letter in 'vnkrd' if letter in known)}] -f filename",
        f"[-{dump}] -D" + (" [dump ...]" if row.ipsec_tools else ""),
        "[-Pv] -F",
        f"[-{'H' if 'H' in known else 'h'}] -x",
    ]
    lines += ["-V"] if "V" in known else []
    lines += ["-h | -?"] if row.h_is_help else []
    return "".join(
        f"{'usage:' if not nth else '      '} {program} {line}\n" for nth, line in enumerate(lines)
    )


def named_ahead(argv: Sequence[str]) -> tuple[str | None, Path | None]:
    """Return --form and --run-dir of a command line that nobody has read yet."""
    found: dict[str, str] = {}
    words = list(argv)
    for at, word in enumerate(words):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name in ("--form", "--run-dir"):
            found[name] = value if equals else "".join(words[at + 1 : at + 2])
    directory = found.get("--run-dir")
    return found.get("--form"), Path(directory) if directory else None


def read_options(argv: Sequence[str], form: str, program: str) -> Options:
    """Read a command line as the form takes it.

    # Errors
    `Usage` for an unknown option and for a combination that asks for nothing or for two things.
    """
    if form not in FORMS:
        raise Usage(f"{form!r} is no form; they are {', '.join(FORMS)}")
    options = Options(form=form, program=program)
    try:
        found, rest = getopt.gnu_getopt(list(argv), options.row.flags, _LONG)
    except getopt.GetoptError as error:
        raise Usage(str(error)) from error
    for name, value in found:
        _set(options, name, value)
    if any(getattr(options, name) for name in _ANSWERS):
        return options
    options.saved = [Path(name) for name in rest]
    (_check_faithful if options.faithful else _check)(options)
    return options


def _check(options: Options) -> None:
    """Refuse what asks for nothing, for two things, or for what has no effect."""
    wanted = options.dump + options.flush + bool(options.files) + bool(options.monitor)
    if wanted != 1:
        raise Usage("one of -f, -c, -D, -F and -x is needed")
    if options.saved and not options.dump:
        raise Usage(f"{str(options.saved[0])!r} is no option; a file of statements is named with -f")
    if options.forever and (not options.dump or options.policies or options.json or options.saved):
        raise Usage("-l goes with -D alone")
    if options.hex_dump and not options.monitor:
        raise Usage("-H goes with -x")
    if options.scope == _INTERFACES:
        raise Usage("-t is not provided by sallet: no policy belongs to an interface")
    if options.save and (not options.dump or options.forever):
        raise Usage("--save goes with -D")


def _check_faithful(options: Options) -> None:
    """Settle what was asked for as the old tools do: of several modes the last one counts."""
    if not (options.dump or options.flush or options.files or options.monitor):
        raise Usage("")
    if options.saved and not (options.dump and options.row.ipsec_tools):
        raise Usage("")
    options.files = options.files[-1:]


_INTERFACES: Final = 2
_SWITCHES: Final = {
    "-a": "dead_too",
    "-P": "policies",
    "-p": "ports",
    "-l": "forever",
    "-H": "hex_dump",
    "-n": "check_only",
    "-v": "verbose",
    "-d": "debug",
    "-V": "version",
    "-?": "help",
    "--keep-going": "keep_going",
    "--json": "json",
    "--show-keys": "show_keys",
    "--help": "help",
    "--version": "version",
}


def _set(options: Options, name: str, value: str) -> None:
    """Set one option."""
    switch = _SWITCHES.get(name)
    if switch is not None:
        setattr(options, switch, True)
        return
    setter = _SETTERS.get(name)
    if setter is not None:
        setter(options, value)


def _mode(options: Options, mode: str, value: str) -> None:
    """Choose what is to be done; an old tool forgets what was chosen before."""
    if options.faithful:
        options.dump = options.flush = False
        options.files = []
        options.monitor = options.monitor if mode == "monitor" else 0
    if mode == "files":
        options.files.append(value)
    elif mode == "monitor":
        options.monitor += 1
    else:
        setattr(options, mode, True)


def _h(options: Options, _: str) -> None:
    setattr(options, "help" if options.row.h_is_help else "hex_dump", True)


def _semantics(options: Options, forward_too: bool) -> None:
    """Say whether `in` policies go for forwarded packets, too; only Linux has a list for these."""
    if options.row.forward_too:
        options.forward_too = forward_too
    else:
        letter = "r" if forward_too else "k"
        options.warnings.append(f"-{letter} has no meaning where no list is for forwarded packets")


def _scope(options: Options, scope: int) -> None:
    options.scope |= scope


_SETTERS: Final[dict[str, Callable[[Options, str], None]]] = {
    "-D": lambda options, value: _mode(options, "dump", value),
    "-F": lambda options, value: _mode(options, "flush", value),
    "-x": lambda options, value: _mode(options, "monitor", value),
    "-f": lambda options, value: _mode(options, "files", value),
    "-c": lambda options, value: _mode(options, "files", "-"),
    "-h": _h,
    "-k": lambda options, _: _semantics(options, False),
    "-r": lambda options, _: _semantics(options, True),
    "-g": lambda options, _: _scope(options, 1),
    "-N": lambda options, _: _scope(options, 1),
    "-t": lambda options, _: _scope(options, _INTERFACES),
    "--run-dir": lambda options, value: setattr(options, "run_dir", Path(value)),
    "--save": lambda options, value: setattr(options, "save", Path(value)),
}
