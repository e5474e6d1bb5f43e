"""Serves `pcb.sock`: takes the requests of the preload library, and answers when their rules stand.

No rule is made here (`table`), and no option's bytes are read (`policies`).
Answers to: `protocol`; unix(7) for SCM_RIGHTS and SO_PEERCRED; RFC 4301 §4.4.1.

Requests of one turn of the event loop are followed together: `turn` makes one change of the guard for all.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from sallet import sockets
from sallet.attach.guard import BYPASS_MARK, SOCKET_MARK
from sallet.failure import Failure
from sallet.pcb import inspect, policies
from sallet.pcb.farewell import Farewells, break_off, living
from sallet.pcb.inspect import Inspected
from sallet.pcb.policies import NotTaken
from sallet.pcb.protocol import (
    DESCRIPTORS_MAX,
    MARK_POLICY,
    REQUEST_BYTES_MAX,
    Kind,
    Malformed,
    Reply,
    Request,
)
from sallet.pcb.table import Pcb, SocketTable
from sallet.pfkey.rights import Access

logger = logging.getLogger(__name__)

ACCEPTS_A_TURN: Final = 64
CONNECTIONS_MAX: Final = 4096

Encap: TypeAlias = Callable[[int, int], None]
"""Makes a program's UDP socket, by its descriptor, what UDP_ENCAP was set to; raises OSError, Failure."""


@dataclass(slots=True)
class _Waiting:
    """A request whose rules are staged: who asked, and what follows when they stand."""

    connection: socket.socket
    reply: Reply
    sockets: list[socket.socket]
    mark: int | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request with what came along."""

    request: Request
    sockets: list[socket.socket]
    uid: int
    privileged: bool

    def socket(self, index: int = 0) -> Inspected:
        """Look at a socket that was handed over.

        Raises:
            NotTaken: there is none, or the kernel does not know it as one.
        """
        try:
            return inspect.inspect(self.sockets[index])
        except (IndexError, OSError) as error:
            raise NotTaken(errno.EINVAL) from error


class PcbServer:
    """Serves the sockets of all programs under `sallet run`."""

    def __init__(
        self,
        table: SocketTable,
        access: Access,
        new_reqid: policies.NewReqid,
        *,
        enforced: bool,
        encap: Encap | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve a table; without `enforced`, no policy is taken, because nothing would follow it."""
        self._table = table
        self._access = access
        self._new_reqid = new_reqid
        self._enforced = enforced
        self._encap = encap
        self._clock = clock
        self._farewells = Farewells()
        self._namespace = inspect.namespace_of(self._farewells.socket)
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._connections: dict[socket.socket, sockets.Credentials] = {}
        self._waiting: list[_Waiting] = []
        self._selector: selectors.BaseSelector | None = None
        self._handlers = {
            Kind.POLICY_SET: self._set,
            Kind.POLICY_GET: self._get,
            Kind.BOUND: self._bound,
            Kind.INHERIT: self._inherit,
            Kind.ENCAP: self._encapsulate,
        }

    def listen(self, path: Path) -> None:
        """Open the socket; its group is that of the others.

        Raises:
            OSError: the path cannot be bound.
        """
        self._listener = sockets.bind(path, socket.SOCK_SEQPACKET, self._access.group)
        self._path = path

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Let an event loop watch the sockets; `turn` is to be called after each of its turns."""
        self._selector = selector
        selector.register(self._farewells.socket, selectors.EVENT_READ, self._on_farewell)
        if self._listener is not None:
            selector.register(self._listener, selectors.EVENT_READ, self._on_accept)

    def close(self) -> None:
        """Close everything; who watches sees that the daemon goes.

        Protected connections end here, while the guard still stands: without it their kernel would send
        in clear what nobody has acknowledged yet.
        """
        if left := break_off(MARK_POLICY | SOCKET_MARK):
            logger.error("%d protected connections could not be ended: what they send again is clear", left)
        for connection in list(self._connections):
            self._drop(connection)
        for waiting in self._waiting:
            _close(waiting.sockets)
        self._farewells.close()
        if self._listener is not None:
            self._listener.close()
        if self._path is not None:
            with suppress(FileNotFoundError):
                self._path.unlink()

    def counters(self) -> dict[str, int]:
        """Count the sockets that have policies, and the rules that stand for them."""
        return {"sockets": len(self._table), "rules": self._table.rules}

    def patience(self) -> float | None:
        """Say how long the event loop may sleep."""
        deadline = self._table.deadline()
        return None if deadline is None else max(0.0, deadline - self._clock())

    def turn(self) -> None:
        """Make what the requests of this turn have staged, and answer them."""
        due = self._table.stage_due(self._clock())
        waiting, self._waiting = self._waiting, []
        if not waiting and not due:
            return
        failure = self._commit()
        for each in waiting:
            error = failure
            if not error and each.mark is not None:
                error = _mark(each.sockets[0], each.mark)
            self._answer(each.connection, replace(each.reply, error=error) if error else each.reply)
            _close(each.sockets)
        self._farewells.listen(len(self._table) > 0)

    def _commit(self) -> int:
        try:
            self._table.commit()
        except Exception as error:
            logger.error("a socket's policy cannot be followed: %s", error)
            return errno.EHOSTUNREACH
        return 0

    # Sockets that end.

    def _on_farewell(self, _mask: int) -> None:
        ended = self._farewells.ended()
        if ended is None:
            self._table.end_all_but(living(), self._clock())
        else:
            self._table.end(ended, self._clock())

    # Connections.

    def _on_accept(self, _mask: int) -> None:
        if self._listener is None:
            return
        for _ in range(ACCEPTS_A_TURN):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if len(self._connections) >= CONNECTIONS_MAX:
                connection.close()
            else:
                self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        """Take the far end of a connection, however it came; who made it is at the other."""
        try:
            self._connections[connection] = sockets.credentials(connection)
        except OSError:
            connection.close()
            return
        connection.setblocking(False)
        if self._selector is not None:
            self._selector.register(connection, selectors.EVENT_READ, partial(self._on_request, connection))
        self._on_request(connection)

    def _on_request(self, connection: socket.socket, _mask: int = 0) -> None:
        try:
            data, descriptors, flags, _ = socket.recv_fds(connection, REQUEST_BYTES_MAX + 1, DESCRIPTORS_MAX)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors, flags = b"", [], 0
        handed = [_socket_of(descriptor) for descriptor in descriptors]
        came = [each for each in handed if each is not None]
        if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(came) != len(handed):
            _close(came)
            self._drop(connection)
            return
        try:
            request = Request.decode(data)
        except Malformed:
            _close(came)
            self._drop(connection)
            return
        if request.kind is Kind.CONNECT and came and len(self._connections) < CONNECTIONS_MAX:
            self._admit(came[0])
        elif request.kind is not Kind.WATCH:
            self._handle(connection, request, came)

    def _handle(self, connection: socket.socket, request: Request, came: list[socket.socket]) -> None:
        uid = self._connections[connection].uid
        asked = _Asked(request, came, uid, self._access.privileged(uid))
        try:
            outcome = self._handlers[request.kind](asked)
        except NotTaken as refused:
            outcome = Reply(request.kind, refused.errno)
        except Exception:
            # A fault of ours must cost one request, not the daemon.
            logger.exception("a request of kind %s met a fault of sallet", request.kind.name)
            outcome = Reply(request.kind, errno.EIO)
        if isinstance(outcome, Reply):
            self._answer(connection, outcome)
            _close(came)
            return
        self._waiting.append(_Waiting(connection, Reply(request.kind), came, outcome.mark))

    def _answer(self, connection: socket.socket, reply: Reply) -> None:
        with suppress(OSError):
            connection.send(reply.encode())

    def _drop(self, connection: socket.socket) -> None:
        if self._selector is not None:
            with suppress(KeyError):
                self._selector.unregister(connection)
        self._connections.pop(connection, None)
        connection.close()

    # Requests: each gives its reply, or has staged something that has to stand first.

    def _set(self, asked: _Asked) -> Reply | _Staged:
        found = self._own(asked.socket())
        if policies.LEVELS.get(asked.request.level) != found.family:
            raise NotTaken(errno.ENOPROTOOPT)
        policy = policies.read(
            asked.request.policy,
            asked.request.dialect,
            privileged=asked.privileged,
            new_reqid=self._new_reqid,
        )
        before = self._table.find(found.cookie) or Pcb(found.cookie, asked.uid)
        kept = {direction: old for direction, old in before.policies.items() if direction != policy.direction}
        if policy.action != "entrust":
            kept[policy.direction] = policy
        if not kept:
            self._table.forget(found.cookie)
            return _Staged(0)
        flows = before.flows or (inspect.flows(found) if found.sends else ())
        self._farewells.listen(True)
        self._table.put(replace(before, policies=kept, flows=flows))
        return _Staged(_mark_bits(kept.get("out")))

    def _get(self, asked: _Asked) -> Reply:
        direction = policies.direction_of(asked.request.value)
        pcb = self._table.find(asked.socket().cookie)
        policy = pcb.policies.get(direction) if pcb else None
        said = policy.said if policy else policies.entrust(asked.request.value)
        return Reply(Kind.POLICY_GET, policy=said)

    def _bound(self, asked: _Asked) -> _Staged:
        found = self._own(asked.socket())
        self._table.put(replace(self._known(found), flows=inspect.flows(found, asked.request.remote)))
        return _Staged(None)

    def _inherit(self, asked: _Asked) -> _Staged:
        found, listener = self._own(asked.socket(0)), self._known(self._own(asked.socket(1)))
        if not found.sends:
            raise NotTaken(errno.ECONNABORTED)
        self._table.put(Pcb(found.cookie, listener.uid, listener.policies, inspect.flows(found)))
        return _Staged(None)

    def _encapsulate(self, asked: _Asked) -> Reply:
        if self._encap is None:
            raise NotTaken(errno.ENOPROTOOPT)
        found, bits = asked.socket(), inspect.ENCAP_BITS if asked.request.value else 0
        if found.protocol != socket.IPPROTO_UDP or found.namespace != self._namespace:
            raise NotTaken(errno.ENOPROTOOPT)
        try:
            # Without a port there is no endpoint yet: the library asks again after bind().
            if found.local[1]:
                self._encap(asked.sockets[0].fileno(), asked.request.value)
            inspect.mark(asked.sockets[0], inspect.ENCAP_BITS, bits)
        except OSError as error:
            raise NotTaken(error.errno or errno.EIO) from error
        except Failure as failure:
            logger.error("an endpoint of ESP in UDP cannot be followed: %s", failure)
            raise NotTaken(errno.EHOSTUNREACH) from failure
        return Reply(Kind.ENCAP)

    def _own(self, found: Inspected) -> Inspected:
        """See that it is a socket that this daemon's packet filter and engine serve."""
        if not found.has_policies or not self._enforced:
            raise NotTaken(errno.EOPNOTSUPP)
        if found.namespace != self._namespace:
            raise NotTaken(errno.EHOSTUNREACH)
        return found

    def _known(self, found: Inspected) -> Pcb:
        """Find its policies; a daemon that was started later than they were set does not have them."""
        pcb = self._table.find(found.cookie)
        if pcb is None:
            raise NotTaken(errno.EHOSTUNREACH)
        return pcb


@dataclass(frozen=True, slots=True)
class _Staged:
    """Something is staged; the bits of the socket's mark follow, None leaves them."""

    mark: int | None


def _mark_bits(out: policies.SocketPolicy | None) -> int:
    if out is None:
        return MARK_POLICY
    return MARK_POLICY | (BYPASS_MARK if out.action == "bypass" else SOCKET_MARK)


def _mark(marked: socket.socket, bits: int) -> int:
    try:
        inspect.mark(marked, inspect.POLICY_BITS, bits)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _socket_of(descriptor: int) -> socket.socket | None:
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None


def _close(handed: list[socket.socket]) -> None:
    for each in handed:
        each.close()
