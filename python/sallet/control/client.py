"""The control connection as commands use it: calls, and calls that go on answering.

No engine, no PF_KEY and no printing may enter.
Answers to: `control.protocol`; ARCHITECTURE.md section B.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from sallet.control import protocol
from sallet.door import connect, hung_up, unreachable
from sallet.failure import KINDS, Failure

REPLY_SECS: Final = 30.0
"""How long a call may take."""
EVENT_BYTES_MAX: Final = 4 << 20


class ControlClient:
    """One control connection: status, counters, listings and explain, as JSON values."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / protocol.SOCKET_NAME
        self._socket = connect(self.path, socket.SOCK_STREAM)
        self._socket.settimeout(REPLY_SECS)
        self._reader = self._socket.makefile("rb")
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        """Call one method of the daemon and return its result, as JSON has it.

        Raises:
            Failure: the daemon refused, in its own words, or went away.
        """
        try:
            request = protocol.Request(next(self._ids), method, params)
            self._socket.sendall(protocol.encode_request(request))
            line = self._reader.readline()
        except OSError as error:
            raise unreachable(self.path, error) from error
        if not line:
            raise unreachable(self.path, hung_up())
        reply = protocol.decode_reply(line)
        if reply.refusal is not None:
            refusal = reply.refusal
            raise Failure(
                refusal.what,
                where=refusal.where,
                why=refusal.why,
                next_step=refusal.next_step,
                kind=next((kind for kind in KINDS if kind == refusal.kind), "failed"),
            )
        return reply.result

    def stream(self, method: str, **params: Any) -> Iterator[Any]:
        """Call a method that goes on answering, and give what it tells from now on until the daemon ends.

        Raises:
            Failure: the daemon refused, in its own words.
        """
        self.call(method, **params)
        self._socket.settimeout(None)
        return self._told()

    def _told(self) -> Iterator[Any]:
        while True:
            try:
                line = self._reader.readline(EVENT_BYTES_MAX)
            except OSError:
                return
            if not line.endswith(b"\n"):
                return
            yield protocol.decode_event(line)
