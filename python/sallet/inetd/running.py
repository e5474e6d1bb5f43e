"""One service with its socket and its programs, and how often it may be asked for.

No loop, and nothing that opens or starts, may enter.
Answers to: inetd(8): wait and nowait, and the bounds behind them.
"""

from __future__ import annotations

import socket
import subprocess
from collections import deque
from typing import Final

from sallet.lang.inetd import Service

PER_MINUTE: Final = 256
"""So many programs a minute are started for one service that sets no bound of its own."""
_MINUTE_SECS: Final = 60.0


class Running:
    """One service with its socket and its programs."""

    def __init__(self, service: Service, held: socket.socket) -> None:
        self.service = service
        self.held = held
        self.children: list[subprocess.Popen[bytes]] = []
        self.starts: deque[float] = deque()
        self.rests_until = 0.0

    @property
    def has_its_socket_lent(self) -> bool:
        """Say whether a program has the listening socket for itself."""
        return self.service.wait and bool(self.children)

    def may_start(self, now: float) -> bool:
        """Count a start, and say whether it is within the bounds."""
        while self.starts and now - self.starts[0] > _MINUTE_SECS:
            self.starts.popleft()
        if len(self.starts) >= (self.service.per_minute or PER_MINUTE):
            return False
        self.starts.append(now)
        return True
