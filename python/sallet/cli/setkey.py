"""`sallet setkey`, and `setkey` where a link of that name leads here: which part each option runs.

No grammar and no PF_KEY layout may enter (`sallet.lang`), and no connecting by hand (`sallet.client`).
Answers to setkey(8) of KAME, FreeBSD and ipsec-tools; exit status and diagnostics follow --form.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sallet.cli import diagnostics
from sallet.cli.host_names import HostNames
from sallet.cli.setkey_options import Options, Usage, named_ahead, read_options, usage
from sallet.client import ControlClient, PfkeyClient, PfkeyError, default_run_dir
from sallet.failure import Failure
from sallet.lang.forms import FORMS

if TYPE_CHECKING:
    from sallet.pfkey.messages import Message

PROGRAM = "sallet setkey"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options, for completion alone: `run_raw` reads them, each form in its way."""
    for flag, meaning in (
        ("-c", "carry out the statements of standard input"),
        ("-D", "print the SAs"),
        ("-F", "remove every SA"),
        ("-P", "with -D and -F: the policies"),
        ("-x", "print every PF_KEY message as it passes"),
        ("-H", "with -x: the bytes, too"),
        ("-a", "with -D: dead SAs, too"),
        ("-p", "with -D: ports, too"),
        ("-l", "with -D: one line for each SA, again every second"),
        ("-g", "with -DP: no policies of sockets"),
        ("-N", "with -DP: no policies of sockets"),
        ("-n", "check only, send nothing"),
        ("-v", "print every message sent and received"),
        ("-k", "send no fwd policy beside each in"),
        ("-r", "send a fwd policy beside each in"),
        ("-d", "print how each statement is read"),
        ("-V", "the version"),
        ("--keep-going", "go on behind a refusal, undo nothing"),
        ("--json", "print -D and -DP as JSON"),
        ("--show-keys", "with --json: keys, too"),
    ):
        parser.add_argument(flag, action="store_true", help=meaning)
    files = [parser.add_argument(flag, metavar="FILE", help=why) for flag, why in _FILES]
    files.append(parser.add_argument("dump", nargs="*", metavar="DUMP", help="with -D: what --save kept"))
    for action in files:
        action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]
    parser.add_argument("--form", choices=tuple(FORMS), help="whose setkey it is")


_FILES = (("-f", "carry out the statements of a file"), ("--save", "with -D: keep the messages of the dump"))


def run_raw(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Run one setkey command line and return its exit status."""
    form, run_dir = named_ahead(argv)
    form = form or form_of_daemon(run_dir or default_run_dir())
    try:
        options = read_options(argv, form, program)
    except Usage as wrong:
        return _misused(str(wrong), form, program)
    for warning in options.warnings:
        sys.stderr.write(f"{program}: warning: {warning}\n")
    if options.help:
        sys.stdout.write(usage(program, form))
        return diagnostics.OK
    if options.version:
        from sallet.cli.version import installed

        sys.stdout.write(f"{program} (sallet) {installed()}\n")
        return diagnostics.OK
    return _run(options)


def _misused(why: str, form: str, program: str) -> int:
    """Print the usage on the stream, and return the status, that the form has for it."""
    if form in FORMS and FORMS[form].errors != "sallet":
        sys.stderr.write(f"{program}: {why}\n" if why else "")
        sys.stderr.flush()
        sys.stdout.write(usage(program, form))
        return diagnostics.FAILED
    synopsis = usage(program, "sallet").partition("\n\n")[0]
    sys.stderr.write(f"{program}: {why}\n{synopsis}\n  next: `{program} -h` says what each of them does\n")
    return diagnostics.USAGE


def form_of_daemon(run_dir: Path) -> str:
    """Return the form of the daemon's personality; ours where no daemon says one."""
    from sallet.sysctl.personalities import PERSONALITIES

    try:
        with ControlClient(run_dir) as control:
            name = control.call("personality")["personality"]
    except (Failure, OSError, KeyError, ValueError):
        return "sallet"
    return PERSONALITIES[name].form if name in PERSONALITIES else "sallet"


def connect(options: Options) -> PfkeyClient:
    """Connect to the daemon in the form's dialect."""
    return PfkeyClient(options.run_dir or default_run_dir(), options.row.dialect)


def _run(options: Options) -> int:
    if options.files:
        return _run_files(options)
    from sallet.cli import setkey_dump, setkey_monitor

    if options.saved:
        return setkey_dump.saved(options)
    with connect(options) as client:
        try:
            if options.monitor:
                return setkey_monitor.run(options, client)
            return setkey_dump.run(options, client) if options.dump else _flush(options, client)
        except PfkeyError as error:
            return _refused(options, error)


def _refused(options: Options, error: PfkeyError) -> int:
    """Report a refusal: the old tools print it and are content."""
    reason = os.strerror(error.errno or 0)
    if options.faithful:
        sys.stdout.write(f"{reason}.\n")
        return diagnostics.OK
    raise Failure("the daemon refused", why=reason, next_step="see its log") from error


def _run_files(options: Options) -> int:
    """Carry out every file named, in order; stop at the first that fails."""
    from sallet.cli import setkey_files

    for name in options.files:
        code = setkey_files.run(options, name, HostNames())
        if code:
            return code
    return diagnostics.OK


def _flush(options: Options, client: PfkeyClient) -> int:
    """Remove every SA or every policy."""
    from sallet.pfkey.constants import SadbMsgType
    from sallet.pfkey.messages import Message

    kind = SadbMsgType.X_SPDFLUSH if options.policies else SadbMsgType.FLUSH
    traced(options, client.request(traced(options, Message(kind))))
    return diagnostics.OK


def traced(options: Options, message: Message) -> Message:
    """Print a message where -v asks for it, and return it."""
    if options.verbose:
        from sallet.lang import trace
        from sallet.pfkey import codec
        from sallet.pfkey.dialects import DIALECTS

        lengths = codec.lengths(codec.encode(message, DIALECTS[options.row.dialect]))
        sys.stdout.write(trace.text(message, options.form, lengths))
    return message
