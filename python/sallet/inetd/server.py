"""The loop of `sallet inetd`: which services there are, and what happens when one is asked for.

No parsing and no policy may enter: a file comes as services, a socket comes with its policy.
Answers to: inetd(8): SIGHUP reads the file again, and a service that stays keeps its socket.
"""

from __future__ import annotations

import errno
import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Final, Self

from sallet.failure import Failure
from sallet.inetd.internal import Conversation, answer_datagram
from sallet.inetd.listener import NotStarted, change_policies, open_listener, set_policies
from sallet.inetd.program import CannotStart, identity_of, start
from sallet.inetd.running import Running
from sallet.lang.inetd import Configuration, Finding, Service

logger = logging.getLogger(__name__)

_REST_SECS: Final = 600.0
"""A service that was asked for more often rests so long."""
_TAKING_SECS: Final = 0.1
"""A program that shares its datagram socket has so long to take the datagram it was started for."""
_SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SCARCITY_SECS: Final = 1.0
"""Where there is no descriptor left, a connection stays in the queue so long."""
_DATAGRAM_BYTES: Final = 65535

Reread = Callable[[], Configuration]
Report = Callable[[Iterable[Finding]], None]


class Inetd:
    """All services of one file."""

    def __init__(self, dialect: str, reread: Reread, report: Report) -> None:
        self._dialect = dialect
        self._reread = reread
        self._report = report
        self._running: dict[tuple[str, int, int, str], Running] = {}
        self._conversations: set[Conversation] = set()
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._rereading = False
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Catch the signals: from here on SIGTERM ends `serve`, and SIGHUP reads the file again."""
        self._catch_signals(self._undo)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close every socket, and leave the signals as they were."""
        self._close()
        self._undo.close()

    def start(self, services: Iterable[Service]) -> int:
        """Open the services that are not there yet; return how many of them all are served."""
        for service in services:
            running = self._running.get(service.key)
            if running is None:
                self._open(service)
            else:
                self._adjust(running, service)
        return len(self._running)

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        while not self._stopping:
            for key, mask in self._selector.select(self._patience()):
                key.data(mask)
            self._reap()
            if self._rereading:
                self._rereading = False
                self._read_again()

    def _close(self) -> None:
        """Close every socket; programs that run finish what they do."""
        for conversation in list(self._conversations):
            conversation.close()
        for running in list(self._running.values()):
            self._end(running)
        self._selector.close()

    # Services

    def _open(self, service: Service) -> None:
        try:
            if service.program is not None:
                identity_of(service)
            held = open_listener(service, self._dialect)
        except (NotStarted, CannotStart) as reason:
            logger.error("%s (line %d) is not started: %s", service, service.line, reason)
            return
        self._running[service.key] = Running(service, held)
        self._arm(self._running[service.key])

    def _adjust(self, running: Running, service: Service) -> None:
        """Let a service that stays follow its line in the new file, on the socket it has."""
        before = running.service.policies
        running.service = service
        try:
            # Also where they are the same: a daemon that was started anew knows nothing of this socket.
            change_policies(running.held, before, service.policies, self._dialect)
        except NotStarted as reason:
            logger.error("%s (line %d) is closed: %s", service, service.line, reason)
            self._end(running)

    def _end(self, running: Running) -> None:
        self._disarm(running)
        running.held.close()
        del self._running[running.service.key]

    def _read_again(self) -> None:
        """Follow the file as it is now; one with errors changes nothing."""
        try:
            found = self._reread()
        except Failure as failure:
            logger.error("the configuration stays as it was: %s", failure)
            return
        self._report(found.findings)
        if found.errors:
            logger.error("the configuration stays as it was: the file has errors")
            return
        wanted = {service.key for service in found.services}
        for running in [each for each in self._running.values() if each.service.key not in wanted]:
            self._end(running)
        served = self.start(found.services)
        logger.info("the configuration was read again: %d of %d services", served, len(found.services))

    # Requests

    def _arm(self, running: Running) -> None:
        """Listen to a socket again."""
        if running.held.fileno() >= 0 and running.held not in self._selector.get_map():
            self._selector.register(
                running.held, selectors.EVENT_READ, lambda _mask: self._asked_for(running)
            )

    def _disarm(self, running: Running) -> None:
        if running.held in self._selector.get_map():
            self._selector.unregister(running.held)

    def _rest(self, running: Running, secs: float) -> None:
        """Listen to a socket only after a while."""
        self._disarm(running)
        running.rests_until = time.monotonic() + secs

    def _asked_for(self, running: Running) -> None:
        service = running.service
        if service.transport == "udp" and service.program is None:
            answer_datagram(service.name, running.held)
        elif service.transport == "udp" or service.wait:
            self._lend(running)
        else:
            self._accept(running)

    def _lend(self, running: Running) -> None:
        """Start a program on the listening socket itself."""
        if not self._still_protected(running) or not self._start(running, running.held):
            self._turn_away(running)
        elif running.service.wait:
            self._disarm(running)
        else:
            self._rest(running, _TAKING_SECS)

    def _still_protected(self, running: Running) -> bool:
        """See that the daemon holds the policies: a program that has the socket asks nobody."""
        try:
            set_policies(running.held, running.service.policies.both(), self._dialect)
        except NotStarted as reason:
            logger.error("%s is not served: %s", running.service, reason)
            return False
        return True

    @staticmethod
    def _turn_away(running: Running) -> None:
        """Take what nobody else will take, and what would ask for ever."""
        with suppress(OSError):
            if running.service.transport == "udp":
                running.held.recv(_DATAGRAM_BYTES, socket.MSG_DONTWAIT)
            else:
                running.held.accept()[0].close()

    def _accept(self, running: Running) -> None:
        """Take a connection and serve it, inside or by a program."""
        try:
            connection, _ = running.held.accept()
        except BlockingIOError:
            return
        except OSError as error:
            logger.warning("%s: a connection was lost: %s", running.service, error.strerror)
            if error.errno in _SCARCE:
                self._rest(running, _SCARCITY_SECS)
            return
        if running.service.program is not None:
            with connection:
                self._start(running, connection)
        else:
            self._converse(connection, running.service.name)

    def _converse(self, connection: socket.socket, name: str) -> None:
        def done() -> None:
            self._conversations.discard(conversation)

        conversation = Conversation(connection, name, self._selector, done)
        self._conversations.add(conversation)

    def _start(self, running: Running, held: socket.socket) -> bool:
        """Start a service's program within its bounds."""
        service = running.service
        if service.children_max is not None and len(running.children) >= service.children_max:
            logger.warning("%s: %d programs run already", service, len(running.children))
            return False
        if not running.may_start(time.monotonic()):
            logger.error("%s is asked for too often: it rests for %d s", service, _REST_SECS)
            self._rest(running, _REST_SECS)
            return False
        try:
            running.children.append(start(service, held))
        except CannotStart as reason:
            logger.error("%s (line %d): %s", service, service.line, reason)
            return False
        return True

    # Time, programs, signals

    def _patience(self) -> float | None:
        """Return how long the loop may sleep: until the first service has rested."""
        now = time.monotonic()
        resting = [each.rests_until for each in self._running.values() if each.rests_until > 0]
        return max(0.0, min(resting) - now) if resting else None

    def _reap(self) -> None:
        """Collect programs that have ended, and listen again to what they had, or what has rested."""
        now = time.monotonic()
        for running in self._running.values():
            lent = running.has_its_socket_lent
            running.children = [child for child in running.children if child.poll() is None]
            rested = 0 < running.rests_until <= now
            if rested:
                running.rests_until = 0.0
            if (rested or lent) and not running.has_its_socket_lent and not running.rests_until:
                self._arm(running)

    def _catch_signals(self, undo: ExitStack) -> None:
        """Let signals wake the loop, which then does what they ask for."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
            undo.callback(end.close)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        undo.callback(signal.set_wakeup_fd, before)

        def stop(_number: int, _frame: object) -> None:
            self._stopping = True

        def read_again(_number: int, _frame: object) -> None:
            self._rereading = True

        for number, action in (
            (signal.SIGTERM, stop),
            (signal.SIGINT, stop),
            (signal.SIGHUP, read_again),
            (signal.SIGCHLD, lambda _number, _frame: None),
        ):
            undo.callback(signal.signal, number, signal.signal(number, action))
        self._selector.register(reader, selectors.EVENT_READ, lambda _mask: _drain(reader))


def _drain(stream: socket.socket) -> None:
    try:
        while stream.recv(4096):
            pass
    except BlockingIOError:
        return
