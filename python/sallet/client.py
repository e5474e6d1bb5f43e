"""What command lines and screens ask a running daemon with: PF_KEY messages here, control calls by `control`.

No engine, no policy language and no printing may enter.
Answers to: RFC 2367 section 3 (pid and seq tie a reply to its request), ARCHITECTURE.md section E.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sallet.control.client import ControlClient
from sallet.door import connect, hung_up, unreachable
from sallet.failure import Failure
from sallet.rundir import default_run_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sallet.pfkey.messages import Message

__all__ = ["ControlClient", "DumpCutShort", "PfkeyClient", "PfkeyError", "default_run_dir"]

REPLY_SECS = 30.0
"""How long a request may take: the daemon swaps packet filter tables before it replies."""
ENTRY_SECS = 5.0
"""How long the next entry of a dump that has begun may take."""
MESSAGE_BYTES_MAX = 1 << 20
PIPELINE_MESSAGES_MAX = 256
"""Requests under way at once; enough to hide the round trip, few enough for the socket's buffers."""

# Two programs of one pid (in two pid namespaces) must not take each other's replies.
_sequence = itertools.count(secrets.randbelow(1 << 30))


class PfkeyError(OSError):
    """The daemon refused a message; `reply` is what it said, `errno` the number in it."""

    def __init__(self, number: int, reply: Message) -> None:
        super().__init__(number, os.strerror(number))
        self.reply = reply


class DumpCutShort(Exception):
    """A dump ended without its last entry, as it may with `--quirk dump-truncation`."""

    def __init__(self, entries: list[Message]) -> None:
        super().__init__(f"{len(entries)} entries came, and not the last")
        self.entries = entries


class PfkeyClient:
    """One PF_KEY connection, on the socket of its dialect."""

    def __init__(self, run_dir: Path, dialect: str = "sallet") -> None:
        from sallet.pfkey import codec, dialects

        self._codec = codec
        self._dialect = dialects.DIALECTS[dialect]
        self._pid = os.getpid()
        self._held: deque[Message] = deque()
        self.path = run_dir / f"pfkey.{dialect}.sock"
        self._socket = connect(self.path, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._selector.close()
        self._socket.close()

    def fileno(self) -> int:
        """Give the descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, message: Message) -> int:
        """Send one message with a new sequence number and this process's pid; return the number."""
        sequence = self._next_sequence()
        data = self._encode(message, sequence)
        deadline = time.monotonic() + REPLY_SECS
        while not self._try_send(data):
            self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE, deadline)
            self._read_all()
        return sequence

    def receive(self, timeout: float = REPLY_SECS) -> Message:
        """Return the next message that no request has taken, waiting at most `timeout` seconds.

        Raises:
            TimeoutError: nothing came in time.
            PfkeyError: messages were lost here, because nobody read them (ENOBUFS).
        """
        deadline = time.monotonic() + timeout
        while True:
            self._read_all()
            if self._held:
                message = self._held.popleft()
                if not message.type:
                    raise PfkeyError(message.errno, message)
                return message
            self._wait(selectors.EVENT_READ, deadline)

    def receive_bytes(self) -> bytes:
        """Return the next message as it came, however long that takes; none may be waiting decoded."""
        while True:
            with suppress(BlockingIOError):
                data = self._socket.recv(MESSAGE_BYTES_MAX)
                if not data:
                    raise unreachable(self.path, hung_up())
                return data
            self._selector.modify(self._socket, selectors.EVENT_READ)
            self._selector.select()

    def request(self, message: Message, *, check: bool = True) -> Message:
        """Send one message and return its reply; messages to others stay for `receive`.

        Raises:
            PfkeyError: the reply carries an errno and `check` is true.
        """
        reply = self._take_reply(self.send(message), time.monotonic() + REPLY_SECS)
        if check and reply.errno:
            raise PfkeyError(reply.errno, reply)
        return reply

    def pipeline(self, messages: Sequence[Message]) -> list[Message]:
        """Send all messages without waiting for each reply; return the replies in the order of the requests.

        A reply with an errno is returned like any other. A dump must not be among the messages.
        """
        wanted: dict[int, int] = {}
        replies: list[Message | None] = [None] * len(messages)
        unsent: deque[tuple[int, bytes]] = deque()
        for index, message in enumerate(messages):
            sequence = self._next_sequence()
            unsent.append((sequence, self._encode(message, sequence)))
            wanted[sequence] = index
        missing, under_way = len(messages), 0
        deadline = time.monotonic() + REPLY_SECS
        while missing:
            while unsent and under_way < PIPELINE_MESSAGES_MAX and self._try_send(unsent[0][1]):
                unsent.popleft()
                under_way += 1
            self._read_all()
            taken = self._sort_replies(wanted, replies)
            if taken:
                missing, under_way = missing - taken, under_way - taken
                deadline = time.monotonic() + REPLY_SECS
            elif missing:
                writing = selectors.EVENT_WRITE if unsent and under_way < PIPELINE_MESSAGES_MAX else 0
                self._wait(selectors.EVENT_READ | writing, deadline)
        return [reply for reply in replies if reply is not None]

    def dump(self, message: Message) -> list[Message]:
        """Send DUMP or SPDDUMP and return its entries, none if the database is empty.

        Raises:
            PfkeyError: the daemon refused.
            DumpCutShort: the last entry did not come; what came is in `entries`.
        """
        self.send(message)
        entries: list[Message] = []
        try:
            for entry in self._dump_replies(message.type):
                if entry.errno == errno.ENOENT:
                    return []
                if entry.errno:
                    raise PfkeyError(entry.errno, entry)
                if entry.extensions:
                    entries.append(entry)
        except TimeoutError as error:
            if not entries:
                raise
            raise DumpCutShort(entries) from error
        return entries

    def _dump_replies(self, kind: int) -> Iterator[Message]:
        """Yield the replies to a dump; `seq` counts down to 0 at the last (RFC 2367 §3.1.10)."""
        deadline = time.monotonic() + REPLY_SECS
        while True:
            self._read_all()
            others: deque[Message] = deque()
            found: list[Message] = []
            for message in self._held:
                complete = bool(found) and found[-1].seq == 0
                ours = message.type == kind and message.pid in (self._pid, 0) and not complete
                (found if ours else others).append(message)
            self._held = others
            yield from found
            if found and (found[-1].seq == 0 or found[-1].errno or not found[-1].extensions):
                return
            if found:
                deadline = time.monotonic() + ENTRY_SECS
            self._wait(selectors.EVENT_READ, deadline)

    def _take_reply(self, sequence: int, deadline: float) -> Message:
        while True:
            self._read_all()
            for message in self._held:
                if message.seq == sequence and message.pid == self._pid:
                    self._held.remove(message)
                    return message
            self._wait(selectors.EVENT_READ, deadline)

    def _sort_replies(self, wanted: dict[int, int], replies: list[Message | None]) -> int:
        """Move the replies to `wanted` requests out of the held messages; return how many there were."""
        taken = 0
        others: deque[Message] = deque()
        for message in self._held:
            index = wanted.get(message.seq) if message.pid == self._pid else None
            if index is None or replies[index] is not None:
                others.append(message)
                continue
            replies[index] = message
            taken += 1
        self._held = others
        return taken

    def _next_sequence(self) -> int:
        return next(_sequence) % 0xFFFFFFFF + 1

    def _encode(self, message: Message, sequence: int) -> bytes:
        return self._codec.encode(replace(message, seq=sequence, pid=self._pid), self._dialect)

    def _try_send(self, data: bytes) -> bool:
        try:
            self._socket.send(data)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError) as error:
            raise unreachable(self.path, error) from error
        return True

    def _read_all(self) -> None:
        """Move every message that has arrived into the held ones."""
        while True:
            try:
                data = self._socket.recv(MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionResetError as error:
                raise unreachable(self.path, error) from error
            if not data:
                raise unreachable(self.path, hung_up())
            self._held.append(self._read(data))

    def _read(self, data: bytes) -> Message:
        """Read one message; what stands in the place of lost ones has no type."""
        if len(data) > 2 and not data[1] and data[2]:
            return self._lost(data[2])
        try:
            return self._codec.decode(data, self._dialect)
        except self._codec.Malformed as error:
            raise Failure(
                "what the daemon says is no PF_KEY message",
                where=str(self.path),
                why=f"{len(data)} octets of type {data[1] if len(data) > 1 else 0}: {error}",
                next_step="ask `sallet status` whether both are of one version",
            ) from error

    @staticmethod
    def _lost(number: int) -> Message:
        from sallet.pfkey.constants import SadbMsgType
        from sallet.pfkey.messages import Message

        return Message(SadbMsgType.RESERVED, errno=number)

    def _wait(self, events: int, deadline: float) -> None:
        self._selector.modify(self._socket, events)
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not self._selector.select(remaining):
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "the daemon does not answer", str(self.path))
