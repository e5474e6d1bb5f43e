"""`setkey -D` and `-DP`: prints what the daemon has, or what a file keeps of it, in the form asked for.

No line's shape may enter (`sallet.lang.dump`). Answers to setkey(8), -D, -P, -a, -p, -l, -g and -t.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from sallet.cli import diagnostics
from sallet.cli.setkey import traced
from sallet.cli.setkey_options import Options
from sallet.client import DumpCutShort, PfkeyClient
from sallet.failure import Failure
from sallet.lang import dump, dump_short, records
from sallet.pfkey import codec
from sallet.pfkey.constants import IpsecDirection, SadbExtType, SadbMsgType, SadbSaState
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Message, Policy, Sa

_ROUND_SECS = 1.0
_POLICY_MESSAGES = frozenset({SadbMsgType.X_SPDDUMP, SadbMsgType.X_SPDGET})
_SA_MESSAGES = frozenset({SadbMsgType.DUMP, SadbMsgType.GET})


def run(options: Options, client: PfkeyClient) -> int:
    """Print the SAs or the policies."""
    if options.forever and not options.policies:
        return _forever(options, client)
    entries = _entries(options, client)
    if options.save is not None:
        _save(options, entries)
    _print(options, entries, options.policies)
    return diagnostics.OK


def _entries(options: Options, client: PfkeyClient) -> list[Message]:
    """Ask the daemon for the entries that the options want to see."""
    kind = SadbMsgType.X_SPDDUMP if options.policies else SadbMsgType.DUMP
    # FreeBSD asks for policies by their scope in place of the kind of SA.
    satype = options.scope if options.policies and options.row.scopes else 0
    try:
        entries = client.dump(traced(options, Message(kind, satype)))
    except DumpCutShort as cut:
        entries = cut.entries
        print(f"setkey: the dump was cut short: {cut}", file=sys.stderr)
    found = [entry for entry in entries if wanted(options, entry)]
    for entry in found:
        traced(options, entry)
    return found


def wanted(options: Options, entry: Message) -> bool:
    """Say whether an entry is one that the options want to see."""
    sa = dump.part(entry, SadbExtType.SA, Sa)
    if sa is not None and sa.state == SadbSaState.DEAD:
        return options.dead_too
    policy = dump.part(entry, SadbExtType.X_POLICY, Policy)
    if policy is not None and options.scope and not options.row.scopes:
        return policy.direction <= IpsecDirection.FORWARD
    return True


def text(options: Options, entries: list[Message], policies: bool) -> str:
    """Return the text of a dump in the form asked for."""
    if not entries:
        return dump.NO_SPD if policies else dump.NO_SAD
    if policies:
        return "".join(dump.spd(entry, options.form) for entry in entries)
    now = int(time.time())
    return "".join(dump.sad(entry, options.form, now, ports=options.ports) for entry in entries)


def _print(options: Options, entries: list[Message], policies: bool) -> None:
    if options.json:
        sys.stdout.write(json.dumps(_records(options, entries, policies), indent=2) + "\n")
    else:
        sys.stdout.write(text(options, entries, policies))


def _records(options: Options, entries: list[Message], policies: bool) -> list[dict[str, Any]]:
    """Return a dump as values."""
    if policies:
        return [records.policy(entry, options.form) for entry in entries]
    return [records.association(entry, options.form, show_keys=options.show_keys) for entry in entries]


def _forever(options: Options, client: PfkeyClient) -> int:
    """Print one line for each SA, again and again; an interrupt ends it."""
    sys.stdout.write(dump_short.HEADER)
    while True:
        now = int(time.time())
        for entry in _entries(options, client):
            sys.stdout.write(dump_short.line(entry, now))
        sys.stdout.flush()
        time.sleep(_ROUND_SECS)


def _save(options: Options, entries: list[Message]) -> None:
    """Keep the messages of a dump as they are; there are keys in them, so nobody else may read them."""
    dialect = DIALECTS[options.row.dialect]
    path = options.save or Path(os.devnull)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for entry in entries:
                file.write(codec.encode(entry, dialect))
    except OSError as error:
        raise _file_failure("the dump cannot be kept", path, error) from error


def saved(options: Options) -> int:
    """Print dumps that were kept in files; SAs and policies may stand mixed."""
    for path in options.saved:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _file_failure("the dump cannot be read", path, error) from error
        _print_saved(options, path, data)
    return diagnostics.OK


def _print_saved(options: Options, path: Path, data: bytes) -> None:
    dialect = DIALECTS[options.row.dialect]
    try:
        entries = [codec.decode(datagram, dialect) for datagram in codec.datagrams(data)]
    except codec.Malformed as error:
        raise Failure(
            "this is no dump of the form's dialect",
            where=str(path),
            why=f"a message in it is malformed in the dialect {dialect.name}",
            next_step="name the --form with which it was kept",
        ) from error
    entries = [traced(options, entry) for entry in entries if wanted(options, entry)]
    policies = [entry for entry in entries if entry.type in _POLICY_MESSAGES]
    associations = [entry for entry in entries if entry.type in _SA_MESSAGES]
    if associations or not policies:
        _print(options, associations, False)
    if policies:
        _print(options, policies, True)


def _file_failure(what: str, path: Path, error: OSError) -> Failure:
    return Failure(
        what,
        where=str(path),
        why=error.strerror or str(error),
        next_step="name a file that you may use",
        kind="permission" if isinstance(error, PermissionError) else "failed",
    )
