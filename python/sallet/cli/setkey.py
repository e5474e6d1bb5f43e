"""`sallet setkey`: the options of setkey(8), and which part of the tool each of them runs.

No grammar and no PF_KEY layout may enter (`sallet.lang`), and no connecting by hand (`sallet.client`).
Answers to setkey(8) of KAME and ipsec-tools; exit status and diagnostics follow --form.
"""

from __future__ import annotations

import getopt
import json
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sallet.cli import diagnostics
from sallet.client import PfkeyClient, PfkeyError, default_run_dir
from sallet.failure import Failure
from sallet.lang.forms import FORMS

if TYPE_CHECKING:
    from sallet.lang.forms import Form
    from sallet.lang.statements import IpAddress
    from sallet.pfkey.messages import Message

USAGE = """\
usage: sallet setkey [-nvk] [--form FORM] [--keep-going] [--run-dir DIR] -f FILE   (- for standard input)
       sallet setkey [-nvk] [--form FORM] [--keep-going] [--run-dir DIR] -c
       sallet setkey [-apv] [--form FORM] [--run-dir DIR] [--json [--show-keys]] -D[P]
       sallet setkey [-v]   [--form FORM] [--run-dir DIR] -F[P]

  -f FILE       carry out the statements of a file          -c   of standard input
  -D            print the SAs                               -DP  print the policies
  -F            remove every SA                             -FP  remove every policy
  -a            with -D: dead SAs, too                      -p   with -D: ports, too
  -n            check only, send nothing                    -v   print every message
  -k            send no fwd policy beside each in
  --form FORM   sallet (a file is one transaction), or linux, kame, qnx, netbsd, freebsd: text, order and
                exit status of those tools
  --keep-going  form sallet: go on behind a refusal, undo nothing
  --json        print -D and -DP as JSON; keys only with --show-keys
"""
_SHORT = "acDFPpnvkhf:"
_LONG = ["form=", "keep-going", "run-dir=", "json", "show-keys", "help"]


@dataclass(slots=True)
class Options:
    """What one command line asks for."""

    form: str = "sallet"
    files: list[str] = field(default_factory=list)
    dump: bool = False
    flush: bool = False
    policies: bool = False
    dead_too: bool = False
    ports: bool = False
    check_only: bool = False
    verbose: bool = False
    forward_too: bool = True
    keep_going: bool = False
    json: bool = False
    show_keys: bool = False
    run_dir: Path | None = None
    help: bool = False

    @property
    def row(self) -> Form:
        """The form's row."""
        return FORMS[self.form]

    def connect(self) -> PfkeyClient:
        """Connect to the daemon in the form's dialect."""
        return PfkeyClient(self.run_dir or default_run_dir(), self.row.dialect)


_SWITCHES = {
    "-a": "dead_too",
    "-D": "dump",
    "-F": "flush",
    "-P": "policies",
    "-p": "ports",
    "-n": "check_only",
    "-v": "verbose",
    "--keep-going": "keep_going",
    "--json": "json",
    "--show-keys": "show_keys",
    "-h": "help",
    "--help": "help",
}


class Usage(Exception):
    """A command line that makes no sense."""


def read_options(argv: list[str]) -> Options:
    """Read a command line.

    # Errors
    `Usage` for an unknown option and for a combination that asks for nothing or for two things.
    """
    try:
        found, rest = getopt.gnu_getopt(argv, _SHORT, _LONG)
    except getopt.GetoptError as error:
        raise Usage(str(error)) from error
    options = Options()
    for name, value in found:
        _set(options, name, value)
    if rest:
        raise Usage(f"{rest[0]!r} is no option; a file is named with -f")
    if not options.help and options.dump + options.flush + bool(options.files) != 1:
        raise Usage("one of -f, -c, -D and -F is needed")
    return options


def _set(options: Options, name: str, value: str) -> None:
    """Set one option."""
    switch = _SWITCHES.get(name)
    if switch is not None:
        setattr(options, switch, True)
    elif name == "-k":
        options.forward_too = False
    elif name == "-f":
        options.files.append(value)
    elif name == "-c":
        options.files.append("-")
    elif name == "--run-dir":
        options.run_dir = Path(value)
    elif value in FORMS:
        options.form = value
    else:
        raise Usage(f"{value!r} is no form; they are {', '.join(FORMS)}")


def run_raw(argv: list[str]) -> int:
    """Run one setkey command line and return its exit status."""
    try:
        options = read_options(argv)
    except Usage as usage:
        sys.stderr.write(f"sallet setkey: {usage}\n{USAGE}")
        return diagnostics.USAGE
    if options.help:
        sys.stdout.write(USAGE)
        return diagnostics.OK
    if options.files:
        return _run_files(options)
    with options.connect() as client:
        try:
            return _dump(options, client) if options.dump else _flush(options, client)
        except PfkeyError as error:
            raise Failure(
                "the daemon refused", why=error.strerror or str(error), next_step="see its log"
            ) from error


def _run_files(options: Options) -> int:
    """Carry out every file named, in order; stop at the first that fails."""
    from sallet.cli import setkey_files

    for name in options.files:
        code = setkey_files.run(options, name, HostNames())
        if code:
            return code
    return diagnostics.OK


def _dump(options: Options, client: PfkeyClient) -> int:
    """Print the SAs or the policies."""
    from sallet.pfkey.constants import SadbMsgType
    from sallet.pfkey.messages import Message

    kind = SadbMsgType.X_SPDDUMP if options.policies else SadbMsgType.DUMP
    entries = client.dump(traced(options, Message(kind)))
    if not options.policies and not options.dead_too:
        entries = [entry for entry in entries if not is_dead(entry)]
    for entry in entries:
        traced(options, entry)
    if options.json:
        sys.stdout.write(json.dumps(_records(options, entries), indent=2) + "\n")
    else:
        sys.stdout.write(dump_text(options, entries, options.policies))
    return diagnostics.OK


def is_dead(entry: Message) -> bool:
    """Say whether an entry of the SAD is one that only -a shows."""
    from sallet.lang import dump
    from sallet.pfkey.constants import SadbExtType, SadbSaState
    from sallet.pfkey.messages import Sa

    sa = dump.part(entry, SadbExtType.SA, Sa)
    return sa is not None and sa.state == SadbSaState.DEAD


def dump_text(options: Options, entries: list[Message], policies: bool) -> str:
    """Return the text of a dump in the form asked for."""
    from sallet.lang import dump

    if not entries:
        return dump.NO_SPD if policies else dump.NO_SAD
    if policies:
        return "".join(dump.spd(entry, options.form) for entry in entries)
    now = int(time.time())
    return "".join(dump.sad(entry, options.form, now, ports=options.ports) for entry in entries)


def _records(options: Options, entries: list[Message]) -> list[dict[str, Any]]:
    """Return a dump as values."""
    from sallet.lang import records

    if options.policies:
        return [records.policy(entry, options.form) for entry in entries]
    return [records.association(entry, options.form, show_keys=options.show_keys) for entry in entries]


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

        sys.stdout.write(trace.text(message, options.form))
    return message


class HostNames:
    """The names that this machine knows: hosts, services and protocols."""

    def host(self, name: str, version: int | None) -> list[IpAddress]:
        """Return the addresses of a host, each once."""
        from ipaddress import ip_address

        families = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}
        try:
            answers = socket.getaddrinfo(name, None, families[version], socket.SOCK_RAW)
        except (OSError, UnicodeError):
            return []
        found = [ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
        return list(dict.fromkeys(found))

    def service(self, name: str) -> int | None:
        """Return the port of a service."""
        try:
            return socket.getservbyname(name)
        except (OSError, UnicodeError):
            return None

    def protocol(self, name: str) -> int | None:
        """Return the number of a protocol."""
        try:
            return socket.getprotobyname(name)
        except (OSError, UnicodeError):
            return None
