"""What an answer is made of: who hears it, what it tells about, and how a dump counts.

No database is asked and no meaning of a request enters. Answers to RFC 2367 §3.1 for delivery and for DUMP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias, TypeVar

from sallet import _core
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import Extension, Message

_View = TypeVar("_View", _core.SaView, _core.PolicyView)


class Delivery(Enum):
    """Who hears a message."""

    ONE = auto()
    """The socket that asked."""
    ALL = auto()
    """Every open socket."""
    REGISTERED = auto()
    """Every socket that registered anything, and the one that asked."""


@dataclass(slots=True)
class Peer:
    """What a connection has asked for itself."""

    connection: int = 0
    """Its number: what it makes is its own."""
    registered: set[int] = field(default_factory=set)
    promiscuous: bool = False
    reserved: bool = False
    """Whether it ever asked for an SPI."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Whose numbers stand in a message that goes on as it came."""

    dialect: Dialect


Subject: TypeAlias = "_core.SaView | _core.PolicyView | Spoken"
"""What a reply tells about."""


@dataclass(frozen=True, slots=True)
class Reply(Message):
    """A message with who hears it, and what it tells about, so that other dialects can tell it their way."""

    delivery: Delivery = Delivery.ONE
    subject: Subject | None = field(default=None, repr=False)


def reply(
    message: Message,
    extensions: Mapping[SadbExtType, Extension],
    *,
    errno: int = 0,
    satype: int | None = None,
    seq: int | None = None,
    reserved: int = 0,
    delivery: Delivery = Delivery.ONE,
    subject: Subject | None = None,
) -> Reply:
    """Answer a message: its type, sequence number and process, with what is told."""
    return Reply(
        message.type,
        message.satype if satype is None else satype,
        errno,
        message.seq if seq is None else seq,
        message.pid,
        reserved,
        extensions,
        delivery,
        subject,
    )


def flushed(message: Message, count: int, dialect: Dialect, *, policies: bool = False) -> list[Reply]:
    """Tell everybody of a flush, and its sender once more before that where the dialect does."""
    satype = 0 if policies and dialect.policies_without_satype else message.satype
    everybody = reply(message, {}, satype=satype, delivery=Delivery.ALL)
    if not dialect.flush_answers_twice:
        return [everybody]
    return [reply(message, {}), everybody] if count else [reply(message, {})]
