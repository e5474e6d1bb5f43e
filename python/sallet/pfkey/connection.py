"""One PF_KEY socket of a program: requests are read as fast as their replies are taken, nothing is cut short.

No meaning of a message enters. Answers to RFC 2367 §1 (a listener that does not read loses its own copies
only) and to unix(7) for message boundaries.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import select
import selectors
import socket
import termios
from collections import deque
from typing import Final, Protocol

from sallet import peerbuffer
from sallet.pfkey import codec
from sallet.pfkey.dumping import BUFFER_BYTES, DumpStream
from sallet.pfkey.handlers import Handlers, Peer
from sallet.pfkey.limits import Usage
from sallet.pfkey.rights import Rights
from sallet.pfkey.tap import Tap, Way
from sallet.sockets import Credentials

MESSAGE_BYTES_MAX: Final = 0xFFFF * 8
"""Size of the largest message that its length field can tell."""

REPLIES_WAITING_MAX: Final = 256
"""With so many replies waiting, no further request is read."""

REQUESTS_A_TURN: Final = 128
SENDS_A_TURN: Final = 256
"""A turn of the event loop serves no more for one socket, so that others have theirs."""

_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF})
_READ_BUFFER: Final = memoryview(bytearray(MESSAGE_BYTES_MAX + 8))
"""One for all: it is copied out of before the next read."""
_SEND_BUFFER_BYTES: Final = 1 << 20
_MISSED: Final = codec.refusal(b"", errno.ENOBUFS)
"""What stands in the place of messages that a listener lost: a header without a type."""
_numbers = itertools.count(1)


class House(Protocol):
    """What a connection belongs to."""

    usage: Usage
    tap: Tap

    def serve(self, origin: Connection, data: bytes) -> None:
        """Take one datagram."""

    def served(self, origin: Connection) -> None:
        """Answer what was taken: no more comes for now."""

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that is closed; called once."""


class Connection:
    """A socket, what it may do, what it asked for itself, and what waits to be sent on it."""

    def __init__(
        self, house: House, sock: socket.socket, handlers: Handlers, who: Credentials, rights: Rights
    ) -> None:
        """Take over a connected socket."""
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.number = next(_numbers)
        self.who = who
        self.rights = rights
        self.handlers = handlers
        self.peer = Peer(self.number)
        self.told_dropped = 0
        """Messages to everybody that this socket lost (ENOBUFS)."""
        self.unanswered = 0
        """Requests that were read, and whose replies are still to come."""
        self._house = house
        self._socket = sock
        self._selector: selectors.BaseSelector | None = None
        self._events = 0
        self._waiting: deque[bytes | DumpStream] = deque()
        self._held: bytes | None = None
        self._pumping = False
        self._waiting_bytes = 0
        self._dumps = 0
        self._missing = False
        self._deaf = False

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Let an event loop watch the socket."""
        self._selector = selector
        self._events = selectors.EVENT_READ
        selector.register(self._socket, self._events, self.on_ready)
        self._hear("came", b"")

    def on_ready(self, mask: int) -> None:
        """Send what waits, then read requests as long as their replies can go out."""
        if mask & selectors.EVENT_WRITE:
            self.pump()
        if mask & selectors.EVENT_READ:
            self._read()

    def close(self) -> None:
        """Close the socket and forget what waits."""
        if self._selector is not None:
            self._selector.unregister(self._socket)
            self._selector = None
        if self._socket.fileno() >= 0:
            self._socket.close()
            self._forget_waiting()
            self._hear("went", b"")
            self._house.forget(self)

    def _forget_waiting(self) -> None:
        self._deaf = True
        for waiting in self._waiting:
            if isinstance(waiting, DumpStream):
                waiting.close()
        self._waiting.clear()
        self._held = None
        self._house.usage.waiting_bytes -= self._waiting_bytes
        self._waiting_bytes = self._dumps = 0

    def _hear(self, way: Way, data: bytes) -> None:
        if self._house.tap.active:
            self._house.tap.hear(self.number, self.who, self.handlers.dialect, way, data)

    # Reading.

    def _read(self) -> None:
        try:
            self._read_turn()
        finally:
            self._house.served(self)
        self._watch()

    def _read_turn(self) -> None:
        for _ in range(REQUESTS_A_TURN):
            if self._full() or self._socket.fileno() < 0:
                break
            try:
                size = self._socket.recv_into(_READ_BUFFER)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionResetError:
                # The program closed without reading its replies; what it asked before still counts.
                self._forget_waiting()
                continue
            except OSError:
                self.close()
                return
            if size == 0 and self._hung_up():
                self._house.served(self)
                self.close()
                return
            data = bytes(_READ_BUFFER[:size])
            self._hear("asked", data)
            self._house.serve(self, data)

    def _hung_up(self) -> bool:
        """Tell end-of-file from a message of no octets: both read as nothing."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        if not any(flags & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, flags in poll.poll(0)):
            return False
        waiting = fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4))
        return not any(waiting)

    def _full(self) -> bool:
        return (
            self._dumps > 0
            or len(self._waiting) + self.unanswered >= REPLIES_WAITING_MAX
            or self._waiting_bytes >= self._house.usage.limits.told_bytes
        )

    # Sending.

    def reply(self, data: bytes | DumpStream) -> None:
        """Send an answer to this socket's request; it waits its turn and is never dropped."""
        if self._deaf:
            if isinstance(data, DumpStream):
                data.close()
            return
        if isinstance(data, bytes):
            self._hear("answered", data)
            self._wait(data)
        else:
            self._waiting.append(data)
            self._dumps += 1
        self.pump()

    # = https://www.rfc-editor.org/rfc/rfc2367#section-1
    # # only a privileged process may speak, and a full listener loses its own messages only
    def tell(self, data: bytes) -> None:
        """Send what everybody hears; dropped, counted and said in its place if this socket does not read."""
        if self._deaf or not self.rights.read:
            return
        if self._missing or not self._house.usage.can_tell(self._waiting_bytes, len(data)):
            self.told_dropped += 1
            if not self._missing:
                self._missing = True
                self._hear("missed", _MISSED)
                self._queue(_MISSED)
                self.pump()
            return
        self._hear("told", data)
        self._wait(data)
        self.pump()

    def _wait(self, data: bytes) -> None:
        if not self.rights.see_keys:
            data = codec.without_keys(data, self.handlers.dialect)
        self._queue(data)

    def _queue(self, data: bytes) -> None:
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._house.usage.waiting_bytes += len(data)

    def room(self) -> int:
        """Tell how much a socket of the BSDs would take at once: what the program asked for, or the usual."""
        asked = peerbuffer.asked_for(self._socket)
        return BUFFER_BYTES if asked is None else asked

    def pump(self) -> None:
        """Send as much as the socket and this turn take."""
        # A promiscuous socket is told each message of its own dump while that message is made.
        if self._pumping:
            return
        self._pumping = True
        try:
            for _ in range(SENDS_A_TURN):
                if self._held is None:
                    self._held = self._next()
                if self._held is None or not self._send(self._held):
                    break
                self._held = None
        finally:
            self._pumping = False
        self._watch()

    def _next(self) -> bytes | None:
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, bytes):
                self._waiting.popleft()
                self._waiting_bytes -= len(first)
                self._house.usage.waiting_bytes -= len(first)
                if first is _MISSED:
                    self._missing = False
                return first
            following = next(first, None)
            if following is not None:
                self._hear("answered", following)
                visible = self.rights.see_keys
                return following if visible else codec.without_keys(following, self.handlers.dialect)
            self._waiting.popleft()
            self._dumps -= 1
        return None

    def _send(self, data: bytes) -> bool:
        try:
            self._socket.send(data, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in _GONE:
                # Nobody reads any more; the requests that were sent before are still served.
                self._forget_waiting()
                return False
            # Too large for the socket, or no memory: this one message is lost, and counted.
            self.told_dropped += 1
        return True

    def _watch(self) -> None:
        """Ask the event loop for what can be done next."""
        if self._selector is None:
            return
        events = 0 if self._full() else selectors.EVENT_READ
        if self._waiting or self._held is not None:
            events |= selectors.EVENT_WRITE
        if events != self._events:
            self._events = events
            self._selector.modify(self._socket, events, self.on_ready)
