"""PF_KEY messages as values: one frozen class for each kind of extension, and the message that carries them.

No bytes, no dialect and no engine enters. Answers to RFC 2367 §2.3 and the KAME extensions.
Fields carry the SADB names without their prefix: `sadb_sa_replay` is `Sa.replay`, in the unit of the dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from sallet.pfkey.constants import IpsecMode, SadbExtType, SadbMsgType, SadbSaState


@dataclass(frozen=True, slots=True)
class Sa:
    """SPI, window, state, algorithms and flags of one association."""

    spi: int
    replay: int = 0
    """Replay window in the dialect's unit (packets on Linux, octets of bitmap on the BSDs), 0 = no check."""
    state: int = SadbSaState.MATURE
    auth: int = 0
    encrypt: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Limits (hard, soft) or consumption (current); 0 = no limit. Current times are seconds since 1970."""

    allocations: int = 0
    bytes: int = 0
    addtime: int = 0
    usetime: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """An address with port, prefix length in bits and upper-layer protocol."""

    address: IPv4Address | IPv6Address
    port: int = 0
    prefixlen: int = 32
    proto: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """Key material; `bits` is what the message claims, `data` its bytes. Never shown."""

    bits: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who stands at one end, as a key manager understands it."""

    type: int
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Comb:
    """One combination of a proposal, with the lifetimes it would have."""

    auth: int
    encrypt: int
    flags: int = 0
    auth_minbits: int = 0
    auth_maxbits: int = 0
    encrypt_minbits: int = 0
    encrypt_maxbits: int = 0
    soft: Lifetime = Lifetime()
    hard: Lifetime = Lifetime()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Combinations in order of preference."""

    replay: int
    combs: tuple[Comb, ...]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One supported algorithm: its number, explicit IV in octets and key lengths in bits."""

    id: int
    ivlen: int
    minbits: int
    maxbits: int


@dataclass(frozen=True, slots=True)
class Supported:
    """The algorithms that REGISTER answers with."""

    algorithms: tuple[Algorithm, ...]


@dataclass(frozen=True, slots=True)
class SpiRange:
    """The range out of which GETSPI chooses, both ends included."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Request:
    """One transform that a policy asks for; source and destination are the tunnel's ends, or both None."""

    proto: int
    mode: int
    level: int
    reqid: int = 0
    source: Address | None = None
    destination: Address | None = None
    made: bool | None = field(default=None, kw_only=True)
    """Whether the system chose the id, where the dialect tells it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy does, in which list, at which place."""

    type: int
    direction: int
    id: int = 0
    priority: int = 0
    requests: tuple[Request, ...] = ()
    scope: int = 0
    """The octet after the direction: reserved in most systems, the scope on FreeBSD."""


@dataclass(frozen=True, slots=True)
class Sa2:
    """Mode and request id of an association, and the last sequence number."""

    mode: int = IpsecMode.ANY
    sequence: int = 0
    reqid: int = 0


@dataclass(frozen=True, slots=True)
class NatType:
    """The kind of UDP encapsulation (2 = RFC 3948)."""

    type: int


@dataclass(frozen=True, slots=True)
class NatPort:
    """One UDP port of an encapsulated association."""

    port: int


@dataclass(frozen=True, slots=True)
class NatFragment:
    """To what length packets are cut before they go into UDP; 0 is none."""

    octets: int


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay window counted in packets (`X_SA_REPLAY`)."""

    window: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Between which addresses the associations of a dump stand; prefixes are counted in bits."""

    version: int | None
    """4, 6, or None for both."""
    source: bytes
    """16 octets, as the destination; an IPv4 address is followed by zeros."""
    source_bits: int
    destination: bytes
    destination_bits: int

    def fits(self, source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address) -> bool:
        """Say whether two addresses are among those that are asked for."""
        if self.version not in (None, source.version):
            return False
        return _begins(source, self.source, self.source_bits) and _begins(
            destination, self.destination, self.destination_bits
        )


def _begins(address: IPv4Address | IPv6Address, prefix: bytes, bits: int) -> bool:
    whole = int.from_bytes(address.packed.ljust(16, b"\0"), "big")
    return (whole ^ int.from_bytes(prefix, "big")) >> (128 - bits) == 0


@dataclass(frozen=True, slots=True)
class Opaque:
    """The body of an extension that is known by number only and passed through unread."""

    data: bytes = field(repr=False)


Extension: TypeAlias = (
    Sa
    | Lifetime
    | Address
    | Key
    | Identity
    | Proposal
    | Supported
    | SpiRange
    | Policy
    | Sa2
    | NatType
    | NatPort
    | NatFragment
    | Replay
    | Filter
    | Opaque
)


@dataclass(frozen=True, slots=True)
class Message:
    """One PF_KEY message: the base header, and its extensions in the order in which they stand."""

    type: SadbMsgType
    satype: int = 0
    errno: int = 0
    seq: int = 0
    pid: int = 0
    reserved: int = 0
    extensions: Mapping[SadbExtType, Extension] = field(default_factory=dict)

    def get(self, kind: SadbExtType) -> Extension | None:
        """Return the extension of that kind, or None where the message has none."""
        return self.extensions.get(kind)
