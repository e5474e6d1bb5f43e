"""Carries out setkey files: as one transaction in form `sallet`, else as `setkey_commands` does.

No grammar may enter (`sallet.lang.setkey`), and no judgement about what undoes what (`sallet.lang.ledger`).
Answers to setkey(8), option -f.
"""

from __future__ import annotations

import errno
import os
import sys
from io import BufferedReader
from typing import TYPE_CHECKING, cast

from sallet.cli import diagnostics
from sallet.cli.interrupts import HeldBack
from sallet.cli.progress import Progress, progress
from sallet.cli.setkey import connect, traced
from sallet.cli.setkey_commands import Commands
from sallet.cli.setkey_options import Options
from sallet.cli.setkey_report import Reporter
from sallet.cli.setkey_sending import READING, Sender, batches, read_text
from sallet.failure import Failure
from sallet.lang import setkey
from sallet.lang.ledger import NEEDS_SAD, NEEDS_SPD, Ledger
from sallet.lang.setkey_messages import Order
from sallet.lang.statements import Names, Statement
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Message

if TYPE_CHECKING:
    from sallet.client import PfkeyClient

_PIECE_BYTES = 1 << 20
_MISSING = frozenset({errno.ENOENT, errno.ESRCH})


def run(options: Options, name: str, names: Names) -> int:
    """Carry out one file and return the exit status."""
    if name == "-" and not options.row.transaction:
        return _carry_out_as_it_comes(options, names)
    text = read_text(name)
    return _carry_out(options, text, "<stdin>" if name == "-" else name, names)


def _carry_out_as_it_comes(options: Options, names: Names) -> int:
    """Carry out statements of standard input as soon as they are whole: somebody may be typing them."""
    waiting, lines = b"", 0
    while True:
        data = cast(BufferedReader, sys.stdin.buffer).read1(_PIECE_BYTES)
        waiting += data
        text = waiting.decode("utf-8", "surrogateescape")
        whole = setkey.complete(text) if data else len(text)
        if whole:
            # What went before is as many lines as it was, so that every diagnostic has the right one.
            piece = "\n" * lines + text[:whole]
            code = _carry_out(options, piece, "<stdin>", names)
            if code or setkey.ends(piece, options.form):
                return code
            lines += text.count("\n", 0, whole)
            waiting = text[whole:].encode("utf-8", "surrogateescape")
        if not data:
            return diagnostics.OK


def _carry_out(options: Options, text: str, filename: str, names: Names) -> int:
    reporter = Reporter(options.form, text, filename, options.program)
    if options.debug:
        _show(options, text, filename, names)
    if options.row.transaction:
        return _Transaction(options, text, filename, reporter).run(names)
    code = Commands(options, text, filename, reporter).run(names)
    sys.stdout.flush()
    return code


def _show(options: Options, text: str, filename: str, names: Names) -> None:
    """Print how each statement is read; keys have no text."""
    statements, _ = setkey.check(text, filename=filename, form=options.form, resolve=names)
    for statement in statements:
        print(f"{filename}:{statement.place.line}: {statement}", file=sys.stderr)


class _Transaction:
    """A file that is applied whole or not at all."""

    def __init__(self, options: Options, text: str, filename: str, reporter: Reporter) -> None:
        self._options = options
        self._text = text
        self._filename = filename
        self._reporter = reporter
        self._refused = 0
        self._done = 0
        self._begun = False

    def run(self, names: Names) -> int:
        """Check everything, then send everything."""
        statements, errors = setkey.check(
            self._text, filename=self._filename, form=self._options.form, resolve=names
        )
        if errors:
            for error in errors:
                self._reporter.syntax(error)
            self._reporter.nothing_sent(len(errors))
            return diagnostics.FAILED
        for statement in statements:
            for remark in setkey.remarks(statement, self._options.form):
                self._reporter.remark(statement, remark)
        if self._options.check_only:
            return diagnostics.OK
        planned = self._plan(statements)
        try:
            with connect(self._options) as client, progress("setkey", len(planned)) as bar:
                return self._apply(planned, client, bar)
        except Failure as failure:
            if failure.kind != "unreachable" or not self._begun:
                raise
            raise self._lost(len(planned)) from failure

    def _lost(self, planned: int) -> Failure:
        """Say what became of a file in the middle of which the daemon went away."""
        return Failure(
            "the daemon went away while the file was carried out",
            where=self._filename,
            why=f"{self._done} of {planned} messages were answered; its SAD and SPD have gone with it",
            next_step="start it again (`sallet up`), then carry out the whole file again",
            kind="unreachable",
        )

    def _plan(self, statements: list[Statement]) -> list[Order]:
        planned = setkey.plan(statements, self._options.form, self._options.row.dialect)
        return [order for order in planned if self._options.forward_too or not order.twin]

    def _apply(self, planned: list[Order], client: PfkeyClient, bar: Progress | None) -> int:
        """Send the orders; at the first refusal take back what was done."""
        self._begun = True
        ledger = self._ledger(planned, client)
        sender = Sender(self._options, client)
        with HeldBack() as interrupt:
            for batch in batches(planned):
                refused = self._settle(batch, sender.send(batch), ledger)
                if bar is not None:
                    bar.advance(len(batch))
                if interrupt.arrived is not None:
                    self._reporter.interrupted(interrupt.arrived)
                    self._stop(ledger, client)
                    return 128 + interrupt.arrived
                if refused and not self._options.keep_going:
                    return self._take_back(ledger, client)
        if not self._refused:
            return diagnostics.OK
        self._reporter.went_on(self._refused, self._done)
        return diagnostics.PARTLY_APPLIED if self._done else diagnostics.FAILED

    def _stop(self, ledger: Ledger, client: PfkeyClient) -> None:
        """Take back an interrupted run, unless what is done is wanted as it is."""
        if self._options.keep_going:
            self._reporter.went_on(self._refused, self._done)
        else:
            self._take_back(ledger, client)

    def _ledger(self, planned: list[Order], client: PfkeyClient) -> Ledger:
        """Look at what stands now, as far as the file removes or changes any of it."""
        kinds = {order.message.type for order in planned}
        undoing = not self._options.keep_going
        associations = client.dump(Message(SadbMsgType.DUMP)) if undoing and kinds & NEEDS_SAD else []
        policies = client.dump(Message(SadbMsgType.X_SPDDUMP)) if undoing and kinds & NEEDS_SPD else []
        return Ledger(associations, policies, DIALECTS[self._options.row.dialect])

    def _settle(self, batch: list[Order], replies: list[Message], ledger: Ledger) -> bool:
        """Note what was done, report what was refused; say whether anything was."""
        refused = False
        for order, reply in zip(batch, replies, strict=True):
            if not reply.errno:
                ledger.done(order.message, reply)
                self._done += order.message.type not in READING
            elif not _forgivable(order, reply):
                if not refused or self._options.keep_going:
                    self._reporter.refused(order, reply)
                refused = True
                self._refused += 1
        return refused

    def _take_back(self, ledger: Ledger, client: PfkeyClient) -> int:
        """Undo the run; say what could not be undone."""
        steps = ledger.undo()
        losses = list(ledger.losses)
        replies = client.pipeline([traced(self._options, step.message) for step in steps])
        for step, reply in zip(steps, replies, strict=True):
            gone = reply.errno in _MISSING and step.message.type in (
                SadbMsgType.DELETE,
                SadbMsgType.X_SPDDELETE2,
            )
            if reply.errno and not gone:
                losses.append(f"{step.subject}: {os.strerror(reply.errno)}")
        self._reporter.taken_back(self._done, losses)
        return diagnostics.PARTLY_APPLIED if losses else diagnostics.FAILED


def _forgivable(order: Order, reply: Message) -> bool:
    """Say whether a refusal leaves things as wanted: a `fwd` twin to delete that never was."""
    return order.twin and order.message.type is SadbMsgType.X_SPDDELETE and reply.errno in _MISSING
