"""One PF_KEY socket of a program: requests are read as fast as their replies are taken, nothing is cut short.

No meaning of a message enters. Answers to RFC 2367 §1 (a listener that does not read loses its own copies
only) and to unix(7) for message boundaries.
"""

from __future__ import annotations

import errno
import fcntl
import select
import selectors
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from sallet.pfkey.handlers import Handlers, Peer

MESSAGE_BYTES_MAX: Final = 0xFFFF * 8
"""Size of the largest message that its length field can tell."""

REPLIES_WAITING_MAX: Final = 256
"""With so many replies waiting, no further request is read."""

TOLD_BYTES_MAX: Final = 1 << 20
"""With so many octets waiting, what is told to everybody is dropped for this socket."""

REQUESTS_A_TURN: Final = 128
SENDS_A_TURN: Final = 256
"""A turn of the event loop serves no more for one socket, so that others have theirs."""

_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF})
_READ_BUFFER: Final = memoryview(bytearray(MESSAGE_BYTES_MAX + 8))
"""One for all: it is copied out of before the next read."""


class Connection:
    """A socket, what it asked for itself, and what waits to be sent on it."""

    def __init__(
        self,
        sock: socket.socket,
        handlers: Handlers,
        serve: Callable[[Connection, bytes], None],
        served: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        """Take over a connected socket.

        `serve` gets each datagram, `served` follows the last of a turn, `closed` is called once.
        """
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TOLD_BYTES_MAX)
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid, self.uid, self.gid = struct.unpack("3i", credentials)
        self.handlers = handlers
        self.peer = Peer()
        self.told_dropped = 0
        """Messages to everybody that this socket lost (ENOBUFS)."""
        self._socket = sock
        self.unanswered = 0
        """Requests that were read, and whose replies are still to come."""
        self._serve = serve
        self._served = served
        self._closed = closed
        self._selector: selectors.BaseSelector | None = None
        self._events = 0
        self._waiting: deque[bytes | Iterator[bytes]] = deque()
        self._held: bytes | None = None
        self._waiting_bytes = 0
        self._dumps = 0
        self._deaf = False

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Let an event loop watch the socket."""
        self._selector = selector
        self._events = selectors.EVENT_READ
        selector.register(self._socket, self._events, self.on_ready)

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
            self._closed(self)

    def _forget_waiting(self) -> None:
        self._deaf = True
        self._waiting.clear()
        self._held = None
        self._waiting_bytes = self._dumps = 0

    # Reading.

    def _read(self) -> None:
        try:
            self._read_turn()
        finally:
            self._served(self)
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
                self._served(self)
                self.close()
                return
            self._serve(self, bytes(_READ_BUFFER[:size]))

    def _hung_up(self) -> bool:
        """Tell end-of-file from a message of no octets: both read as nothing."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        if not any(flags & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, flags in poll.poll(0)):
            return False
        waiting = fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4))
        return not any(waiting)

    def _full(self) -> bool:
        return self._dumps > 0 or len(self._waiting) + self.unanswered >= REPLIES_WAITING_MAX

    # Sending.

    def reply(self, data: bytes | Iterator[bytes]) -> None:
        """Send an answer to this socket's request; it waits its turn and is never dropped."""
        if self._deaf:
            return
        self._waiting.append(data)
        if isinstance(data, bytes):
            self._waiting_bytes += len(data)
        else:
            self._dumps += 1
        self.pump()

    def tell(self, data: bytes) -> None:
        """Send what everybody hears; dropped and counted if this socket does not read."""
        if self._waiting_bytes + len(data) > TOLD_BYTES_MAX:
            self.told_dropped += 1
            return
        self.reply(data)

    def pump(self) -> None:
        """Send as much as the socket and this turn take."""
        for _ in range(SENDS_A_TURN):
            if self._held is None:
                self._held = self._next()
            if self._held is None or not self._send(self._held):
                break
            self._held = None
        self._watch()

    def _next(self) -> bytes | None:
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, bytes):
                self._waiting.popleft()
                self._waiting_bytes -= len(first)
                return first
            following = next(first, None)
            if following is not None:
                return following
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
