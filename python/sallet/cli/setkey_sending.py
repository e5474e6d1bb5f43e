"""Sends the messages of a setkey file, many under way at once, and prints what the printing ones bring.

No grammar and no decision about what follows a refusal may enter. Answers to setkey(8), option -f.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sallet.cli import setkey_dump
from sallet.cli.setkey import traced
from sallet.cli.setkey_options import Options
from sallet.failure import Failure
from sallet.lang import dump
from sallet.lang.setkey_messages import Order
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.messages import Message

if TYPE_CHECKING:
    from sallet.client import PfkeyClient

BATCH_MESSAGES = 256

READING = frozenset({SadbMsgType.GET, SadbMsgType.DUMP, SadbMsgType.X_SPDDUMP})
"""Messages that change nothing."""
PRINTING = READING | {SadbMsgType.GETSPI}
"""Messages whose answer is printed."""
_DUMPING = frozenset({SadbMsgType.DUMP, SadbMsgType.X_SPDDUMP})


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
        if order.message.type in PRINTING:
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


class Sender:
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
        if first.type in PRINTING and not replies[0].errno:
            self._print(replies[0])
        return replies

    def _print(self, reply: Message) -> None:
        """Print an association, or the SPI that GETSPI found."""
        if reply.type is SadbMsgType.GET:
            sys.stdout.write(setkey_dump.text(self._options, [reply], False))
        elif self._options.row.transaction:
            sys.stdout.write(dump.larval(reply))

    def _dump(self, message: Message) -> Message:
        """Print a whole database; an empty one is answered as the kernels answer it."""
        entries = self._client.dump(traced(self._options, message))
        policies = message.type is SadbMsgType.X_SPDDUMP
        entries = [entry for entry in entries if setkey_dump.wanted(self._options, entry)]
        if not entries and not self._options.row.transaction:
            return Message(message.type, message.satype, errno=errno.ENOENT)
        sys.stdout.write(setkey_dump.text(self._options, entries, policies))
        return message
