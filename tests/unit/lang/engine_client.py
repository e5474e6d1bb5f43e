"""A `PfkeyClient` without a socket: codec, handlers and engine in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from sallet import _core
from sallet.client import PfkeyError
from sallet.pfkey import codec
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Message


class EngineClient:
    """Every byte that a socket would carry is made and read; only the socket is missing."""

    def __init__(self, engine: _core.Engine, dialect: str) -> None:
        self._dialect = DIALECTS[dialect]
        self._handlers = Handlers(engine, dialect)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _replies(self, message: Message) -> list[Message]:
        self._sequence += 1
        sent = codec.encode(replace(message, seq=self._sequence, pid=930), self._dialect)
        replies = self._handlers.handle(codec.decode(sent, self._dialect))
        return [codec.decode(codec.encode(reply, self._dialect), self._dialect) for reply in replies]

    def pipeline(self, messages: Sequence[Message]) -> list[Message]:
        return [self._replies(message)[0] for message in messages]

    def request(self, message: Message, *, check: bool = True) -> Message:
        reply = self._replies(message)[0]
        if check and reply.errno:
            raise PfkeyError(reply.errno, reply)
        return reply

    def dump(self, message: Message) -> list[Message]:
        return [reply for reply in self._replies(message) if reply.extensions]
