"""What must hold for any octets from a program: an answer, no exception, and nothing is read two ways.

No input is made here. Answers to RFC 2367 §2 and §2.3; `sallet.pfkey.codec.decode`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sallet import _core, udp_packet
from sallet.pfkey import codec
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.handlers import Handlers, Peer

REFUSED, ANSWERED, SERVED = "refused", "answered with an errno", "served"
_A_LIFE = 400
"""So many inputs meet one engine; then another begins empty."""


class Judge:
    """Reads, writes again and serves inputs of one dialect, on an engine that remembers the ones before."""

    def __init__(self, dialect: Dialect, random: Random) -> None:
        self.dialect = dialect
        self._random = random
        self._left = 0
        self._begin()

    def _begin(self) -> None:
        self._engine = _core.Engine(seed=bytes(32), clock="manual")
        self._engine.configure("hold_packets", 1)
        self._handlers = Handlers(self._engine, self.dialect)
        self._peer = Peer(1)
        self._left = _A_LIFE

    def __call__(self, data: bytes) -> str:
        """Say what became of an input.

        Raises:
            Exception: whatever must not be; that is a finding.
        """
        try:
            message = codec.decode(data, self.dialect)
        except codec.Malformed as malformed:
            codec.refusal(data, malformed.errno)
            return REFUSED
        assert codec.decode(codec.encode(message, self.dialect), self.dialect) == message, (
            "it is read two ways"
        )
        self._left -= 1
        if not self._left:
            self._begin()
        replies = self._handlers.handle(message, self._peer)
        for reply in replies:
            told = codec.encode(reply, self.dialect)
            assert codec.decode(told, self.dialect).type is reply.type
        self._live()
        return ANSWERED if replies and replies[0].errno else SERVED

    def _live(self) -> None:
        """Let a little happen between two messages: a packet, some time, events."""
        deeds: tuple[Callable[[], object], ...] = (
            lambda: self._engine.advance(self._random.choice((1, 40))),
            lambda: self._engine.outbound(udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"x")),
            self._engine.take_transmits,
        )
        if self._random.random() < 0.1:
            self._random.choice(deeds)()
        for event in self._engine.take_events():
            message = self._handlers.event(event)
            if message is not None:
                codec.decode(codec.encode(message, self.dialect), self.dialect)
