"""Carries out setkey files: as one transaction in form `sallet`, else command by command as the old tools do.

No grammar may enter (`sallet.lang.setkey`), and no judgement about what undoes what (`sallet.lang.ledger`).
Answers to setkey(8), option -f; messages go out in a pipeline, many under way at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sallet.cli import diagnostics
from sallet.cli.interrupts import HeldBack
from sallet.cli.setkey import HostNames, Options, dump_text, is_dead, traced
from sallet.cli.setkey_report import Reporter
from sallet.failure import Failure
from sallet.lang import setkey
from sallet.lang.ledger import NEEDS_SAD, NEEDS_SPD, Ledger
from sallet.lang.lexer import SetkeyError
from sallet.lang.setkey_messages import Order, orders
from sallet.lang.statements import NameSa, Statement
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Message

if TYPE_CHECKING:
    from sallet.client import PfkeyClient

BATCH_MESSAGES = 256
PROGRESS_FROM = 5000
"""A progress bar is shown above so many statements."""

_PRINTING = frozenset({SadbMsgType.GET, SadbMsgType.DUMP, SadbMsgType.X_SPDDUMP})
_DUMPING = frozenset({SadbMsgType.DUMP, SadbMsgType.X_SPDDUMP})
_MISSING = frozenset({errno.ENOENT, errno.ESRCH})


class Progress(Protocol):
    """What counts the messages that are done."""

    def advance(self, steps: int) -> None:
        """Count some more."""


def run(options: Options, name: str, names: HostNames) -> int:
    """Carry out one file and return the exit status."""
    text = read_text(name)
    filename = "<stdin>" if name == "-" else name
    reporter = Reporter(options.form, text, filename)
    if options.row.transaction:
        return _Transaction(options, text, filename, reporter).run(names)
    return _OneByOne(options, text, filename, reporter).run(names)


def read_text(name: str) -> str:
    """Read a file or standard input; bytes that are no UTF-8 survive inside quoted keys.

    # Errors
    `Failure` where the file cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Failure(
            "the file cannot be read",
            where=name,
            why=error.strerror or str(error),
            next_step="name a file that exists and that you may read",
            kind="permission" if isinstance(error, PermissionError) else "failed",
        ) from error
    return data.decode("utf-8", "surrogateescape")


def batches(planned: list[Order]) -> Iterator[list[Order]]:
    """Yield runs of orders that go out together; one that prints goes alone, behind those before it."""
    batch: list[Order] = []
    for order in planned:
        if order.message.type in _PRINTING:
            if batch:
                yield batch
            yield [order]
            batch = []
            continue
        batch.append(order)
        if len(batch) == BATCH_MESSAGES:
            yield batch
            batch = []
    if batch:
        yield batch


class _Sender:
    """Sends batches and prints what the printing ones bring."""

    def __init__(self, options: Options, client: PfkeyClient) -> None:
        self._options = options
        self._client = client

    def send(self, batch: list[Order]) -> list[Message]:
        """Send a batch and return one reply for each order; a dump's reply is its header."""
        first = batch[0].message
        if first.type in _DUMPING:
            return [self._dump(first)]
        for order in batch:
            traced(self._options, order.message)
        replies = self._client.pipeline([order.message for order in batch])
        for reply in replies:
            traced(self._options, reply)
        if first.type is SadbMsgType.GET and not replies[0].errno:
            sys.stdout.write(dump_text(self._options, replies, policies=False))
        return replies

    def _dump(self, message: Message) -> Message:
        """Print a whole database; an empty one is answered as the kernels answer it."""
        entries = self._client.dump(traced(self._options, message))
        policies = message.type is SadbMsgType.X_SPDDUMP
        entries = [entry for entry in entries if policies or self._options.dead_too or not is_dead(entry)]
        if not entries and not self._options.row.transaction:
            return Message(message.type, message.satype, errno=errno.ENOENT)
        sys.stdout.write(dump_text(self._options, entries, policies))
        return message


class _Transaction:
    """A file that is applied whole or not at all."""

    def __init__(self, options: Options, text: str, filename: str, reporter: Reporter) -> None:
        self._options = options
        self._text = text
        self._filename = filename
        self._reporter = reporter
        self._refused = 0
        self._done = 0

    def run(self, names: HostNames) -> int:
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
        with self._options.connect() as client, progress(len(planned)) as bar:
            return self._apply(planned, client, bar)

    def _plan(self, statements: list[Statement]) -> list[Order]:
        planned = setkey.plan(statements, self._options.form, self._options.row.dialect)
        return [order for order in planned if self._options.forward_too or not order.twin]

    def _apply(self, planned: list[Order], client: PfkeyClient, bar: Progress | None) -> int:
        """Send the orders; at the first refusal take back what was done."""
        ledger = self._ledger(planned, client)
        sender = _Sender(self._options, client)
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
                self._done += order.message.type not in _PRINTING
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


class _OneByOne:
    """A file as the old tools take it: every command for itself, up to the first that is none."""

    def __init__(self, options: Options, text: str, filename: str, reporter: Reporter) -> None:
        self._options = options
        self._text = text
        self._filename = filename
        self._reporter = reporter
        self._waiting: list[Order] = []

    def run(self, names: HostNames) -> int:
        """Read and carry out statement by statement; refusals are printed and change no exit status."""
        connection = nullcontext(None) if self._options.check_only else self._options.connect()
        with connection as client:
            sender = _Sender(self._options, client) if client is not None else None
            try:
                for statement in setkey.statements(
                    self._text, filename=self._filename, form=self._options.form, resolve=names
                ):
                    for remark in setkey.remarks(statement, self._options.form):
                        self._reporter.remark(statement, remark)
                    if client is not None and sender is not None:
                        self._take(statement, sender, client)
            except SetkeyError as error:
                if sender is not None:
                    self._flush(sender)
                self._reporter.syntax(error)
                return diagnostics.FAILED
            if sender is not None:
                self._flush(sender)
        return diagnostics.OK

    def _take(self, statement: Statement, sender: _Sender, client: PfkeyClient) -> None:
        """Queue the messages of a statement; send the queue when it is long or when one prints."""
        row = self._options.row
        if isinstance(statement, NameSa) and statement.verb == "deleteall" and row.deleteall_by_dump:
            self._flush(sender)
            self._delete_all(statement, sender, client)
            return
        forward_too = self._options.forward_too
        self._waiting += orders(statement, row, DIALECTS[row.dialect], forward_too=forward_too)
        if len(self._waiting) >= BATCH_MESSAGES or (
            self._waiting and self._waiting[-1].message.type in _PRINTING
        ):
            self._flush(sender)

    def _flush(self, sender: _Sender) -> None:
        """Send what waits and print the refusals."""
        for batch in batches(self._waiting):
            for order, reply in zip(batch, sender.send(batch), strict=True):
                if reply.errno:
                    self._reporter.refused(order, reply)
        self._waiting = []

    def _delete_all(self, statement: NameSa, sender: _Sender, client: PfkeyClient) -> None:
        """Delete the SAs of a pair as ipsec-tools does on Linux, whose PF_KEY deletes only by SPI.

        It walks over a dump and takes the last entry of it for the answer: that one is printed and stays.
        """
        entries = client.dump(Message(SadbMsgType.DUMP, statement.satype))
        for entry in entries[:-1]:
            if _is_of_pair(entry, statement):
                kinds = (SadbExtType.SA, SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST)
                found = {kind: part for kind in kinds if (part := entry.get(kind)) is not None}
                order = Order(statement, Message(SadbMsgType.DELETE, entry.satype, extensions=found))
                for reply in sender.send([order]):
                    if reply.errno:
                        self._reporter.refused(order, reply)
        if entries:
            sys.stdout.write(dump_text(self._options, entries[-1:], policies=False))


def _is_of_pair(entry: Message, statement: NameSa) -> bool:
    """Say whether an entry of the SAD runs between the addresses of a statement."""
    source, destination = entry.get(SadbExtType.ADDRESS_SRC), entry.get(SadbExtType.ADDRESS_DST)
    return (
        isinstance(source, Address)
        and isinstance(destination, Address)
        and source.address in statement.sources
        and destination.address in statement.destinations
    )


class _Bar:
    """A progress bar on the terminal."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("setkey", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, steps: int) -> None:
        """Count some more."""
        self._progress.advance(self._task, steps)


def progress(total: int) -> _Bar | nullcontext[None]:
    """Return a progress bar for a long file on a terminal, and nothing to look at otherwise."""
    if total > PROGRESS_FROM and sys.stderr.isatty():
        return _Bar(total)
    return nullcontext(None)
