"""Carries out a setkey file as the old tools do: every command for itself, up to the first that is none.

No grammar may enter (`sallet.lang.setkey`). Answers to setkey(8) of KAME, FreeBSD and ipsec-tools, option -f.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from sallet.cli import diagnostics, setkey_dump
from sallet.cli.setkey import connect
from sallet.cli.setkey_options import Options
from sallet.cli.setkey_report import Reporter
from sallet.cli.setkey_sending import BATCH_MESSAGES, PRINTING, Sender, batches
from sallet.lang import setkey
from sallet.lang.lexer import SetkeyError
from sallet.lang.setkey_messages import Order, orders
from sallet.lang.statements import Names, NameSa, Statement
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Message

if TYPE_CHECKING:
    from sallet.client import PfkeyClient


class Commands:
    """A file as the old tools take it: every command for itself, up to the first that is none."""

    def __init__(self, options: Options, text: str, filename: str, reporter: Reporter) -> None:
        self._options = options
        self._text = text
        self._filename = filename
        self._reporter = reporter
        self._waiting: list[Order] = []

    def run(self, names: Names) -> int:
        """Read and carry out statement by statement; refusals are printed and change no exit status."""
        connection = nullcontext(None) if self._options.check_only else connect(self._options)
        with connection as client:
            sender = Sender(self._options, client) if client is not None else None
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

    def _take(self, statement: Statement, sender: Sender, client: PfkeyClient) -> None:
        """Queue the messages of a statement; send the queue when it is long or when one prints."""
        row = self._options.row
        if isinstance(statement, NameSa) and statement.verb == "deleteall" and row.deleteall_by_dump:
            self._flush(sender)
            self._delete_all(statement, sender, client)
            return
        forward_too = self._options.forward_too
        self._waiting += orders(statement, row, DIALECTS[row.dialect], forward_too=forward_too)
        if len(self._waiting) >= BATCH_MESSAGES or (
            self._waiting and self._waiting[-1].message.type in PRINTING
        ):
            self._flush(sender)

    def _flush(self, sender: Sender) -> None:
        """Send what waits and print the refusals."""
        for batch in batches(self._waiting):
            for order, reply in zip(batch, sender.send(batch), strict=True):
                if reply.errno:
                    self._reporter.refused(order, reply)
        self._waiting = []

    def _delete_all(self, statement: NameSa, sender: Sender, client: PfkeyClient) -> None:
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
            sys.stdout.write(setkey_dump.text(self._options, entries[-1:], False))


def _is_of_pair(entry: Message, statement: NameSa) -> bool:
    """Say whether an entry of the SAD runs between the addresses of a statement."""
    source, destination = entry.get(SadbExtType.ADDRESS_SRC), entry.get(SadbExtType.ADDRESS_DST)
    return (
        isinstance(source, Address)
        and isinstance(destination, Address)
        and source.address in statement.sources
        and destination.address in statement.destinations
    )
