"""One reader for each kind of extension: from the bytes of a whole extension to its value.

No message, no other extension and no meaning enters. Answers to RFC 2367 §2.3, <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from sallet.pfkey.constants import WORD_BYTES, SadbExtType
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.layouts import (
    ADDRESS,
    ADDRESS_BYTES,
    ALGORITHM,
    COMB,
    FILTER,
    HALF,
    IDENTITY,
    INET6_BYTES,
    INET_BYTES,
    INET_FAMILY,
    KEY,
    LIFETIME,
    POLICY,
    REQUEST,
    SA,
    SA2,
    SPIRANGE,
    WIDE_REQUEST_BYTES,
    WORD,
    words,
)
from sallet.pfkey.messages import (
    Address,
    Algorithm,
    Comb,
    Extension,
    Filter,
    Identity,
    Key,
    Lifetime,
    NatFragment,
    NatPort,
    NatType,
    Opaque,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    SpiRange,
    Supported,
)


class Refused(Exception):
    """An extension that cannot be read, with the errno to answer."""

    def __init__(self, number: int = errno.EINVAL) -> None:
        super().__init__(number)
        self.errno = number


Parser: TypeAlias = Callable[[bytes, Dialect], Extension]


@lru_cache(maxsize=8192)
def _inet(packed: bytes) -> IPv4Address:
    return IPv4Address(packed)


@lru_cache(maxsize=8192)
def _inet6(packed: bytes) -> IPv6Address:
    return IPv6Address(packed)


def _family_at(data: bytes, at: int, dialect: Dialect) -> tuple[int, int]:
    """Return the family that stands at an offset, and the size that its socket address has."""
    if at + 2 > len(data):
        raise Refused
    family: int = data[at + 1] if dialect.sockaddr_has_length else HALF.unpack_from(data, at)[0]
    if family == INET_FAMILY:
        size = INET_BYTES
    elif family == dialect.inet6_family:
        size = INET6_BYTES
    else:
        raise Refused(dialect.family_errno)
    if dialect.sockaddr_has_length and data[at] != size:
        raise Refused
    return family, size


def _sockaddr(data: bytes, at: int, size: int) -> tuple[IPv4Address | IPv6Address, int]:
    port = int.from_bytes(data[at + 2 : at + 4], "big")
    if size == INET_BYTES:
        return _inet(data[at + 4 : at + 8]), port
    return _inet6(data[at + 8 : at + 24]), port


def _parse_sa(data: bytes, dialect: Dialect) -> Sa:
    spi, *rest = SA.unpack_from(data, 4)
    return Sa(int.from_bytes(spi, "big"), *rest)


def _parse_lifetime(data: bytes, dialect: Dialect) -> Lifetime:
    return Lifetime(*LIFETIME.unpack_from(data, 4))


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3.3
# # prefix lengths are bounded by the address, unused ports and padding are zero
def _parse_address(data: bytes, dialect: Dialect) -> Address:
    proto, prefixlen = ADDRESS.unpack_from(data, 4)
    _, size = _family_at(data, ADDRESS_BYTES, dialect)
    if len(data) != words(ADDRESS_BYTES + size) * WORD_BYTES:
        raise Refused
    address, port = _sockaddr(data, ADDRESS_BYTES, size)
    if prefixlen > address.max_prefixlen:
        raise Refused
    return Address(address, port, prefixlen, proto)


def _parse_key(data: bytes, dialect: Dialect) -> Key:
    (bits,) = KEY.unpack_from(data, 4)
    size = (bits + 7) // 8
    if len(data) != (words(size) + 1) * WORD_BYTES:
        raise Refused
    return Key(bits, data[8 : 8 + size])


def _parse_identity(data: bytes, dialect: Dialect) -> Identity:
    if len(data) < 16:
        raise Refused
    kind, number = IDENTITY.unpack_from(data, 4)
    text, end, _ = data[16:].partition(b"\0")
    if text and not end:
        raise Refused
    return Identity(kind, number, text.decode("utf-8", "surrogateescape"))


def _parse_proposal(data: bytes, dialect: Dialect) -> Proposal:
    if (len(data) - 8) % COMB.size:
        raise Refused
    combs = []
    for at in range(8, len(data), COMB.size):
        auth, encrypt, flags, *rest = COMB.unpack_from(data, at)
        minimum_auth, maximum_auth, minimum_encrypt, maximum_encrypt, _, *limits = rest
        combs.append(
            Comb(
                auth,
                encrypt,
                flags,
                minimum_auth,
                maximum_auth,
                minimum_encrypt,
                maximum_encrypt,
                soft=Lifetime(*limits[0::2]),
                hard=Lifetime(*limits[1::2]),
            )
        )
    return Proposal(data[4], tuple(combs))


def _parse_supported(data: bytes, dialect: Dialect) -> Supported:
    return Supported(tuple(Algorithm(*ALGORITHM.unpack_from(data, at)) for at in range(8, len(data), 8)))


def _parse_spirange(data: bytes, dialect: Dialect) -> SpiRange:
    return SpiRange(*SPIRANGE.unpack_from(data, 4))


def _parse_sa2(data: bytes, dialect: Dialect) -> Sa2:
    return Sa2(*SA2.unpack_from(data, 4))


def _parse_nat_type(data: bytes, dialect: Dialect) -> NatType:
    return NatType(data[4])


def _parse_nat_port(data: bytes, dialect: Dialect) -> NatPort:
    return NatPort(int.from_bytes(data[4:6], "big"))


def _parse_nat_fragment(data: bytes, dialect: Dialect) -> NatFragment:
    return NatFragment(HALF.unpack_from(data, 4)[0])


def _parse_replay(data: bytes, dialect: Dialect) -> Replay:
    return Replay(*WORD.unpack_from(data, 4))


def _parse_filter(data: bytes, dialect: Dialect) -> Filter:
    source, destination, family, source_bits, destination_bits = FILTER.unpack_from(data, 4)
    version = {INET_FAMILY: 4, dialect.inet6_family: 6}.get(family)
    longest = 32 if version == 4 else 128
    if source_bits > longest or destination_bits > longest:
        raise Refused
    return Filter(version, source, source_bits, destination, destination_bits)


def _parse_opaque(data: bytes, dialect: Dialect) -> Opaque:
    return Opaque(data[4:])


def _parse_policy(data: bytes, dialect: Dialect) -> Policy:
    if len(data) < 16:
        raise Refused
    kind, direction, scope, number, priority = POLICY.unpack_from(data, 4)
    requests: list[Request] = []
    at = 16
    while at < len(data):
        if len(data) - at < dialect.request_header_bytes:
            raise Refused
        size = HALF.unpack_from(data, at)[0]
        if size < dialect.request_header_bytes or at + size > len(data):
            raise Refused
        requests.append(_parse_request(data[at : at + size], dialect))
        at += size
    if not dialect.policy_has_priority:
        priority = 0
    if dialect.reqids_made_marked:
        requests = [replace(request, made=bool(scope >> nth & 1)) for nth, request in enumerate(requests)]
    return Policy(
        kind, direction, number, priority, tuple(requests), scope if dialect.policy_has_scope else 0
    )


def _parse_request(data: bytes, dialect: Dialect) -> Request:
    _, proto, mode, level = REQUEST.unpack_from(data)
    header = dialect.request_header_bytes
    wide = header == WIDE_REQUEST_BYTES
    reqid: int = WORD.unpack_from(data, 8)[0] if wide else HALF.unpack_from(data, 6)[0]
    if len(data) == header:
        return Request(proto, mode, level, reqid)
    family, size = _family_at(data, header, dialect)
    if len(data) not in (header + 2 * size, words(header + 2 * size) * WORD_BYTES):
        raise Refused
    if _family_at(data, header + size, dialect)[0] != family:
        raise Refused
    ends = []
    for at in (header, header + size):
        address, port = _sockaddr(data, at, size)
        ends.append(Address(address, port, address.max_prefixlen))
    return Request(proto, mode, level, reqid, *ends)


_E: Final = SadbExtType
_PARSERS: Final[dict[SadbExtType, tuple[Parser, int]]] = {
    _E.SA: (_parse_sa, 16),
    _E.LIFETIME_CURRENT: (_parse_lifetime, 32),
    _E.LIFETIME_HARD: (_parse_lifetime, 32),
    _E.LIFETIME_SOFT: (_parse_lifetime, 32),
    _E.ADDRESS_SRC: (_parse_address, 0),
    _E.ADDRESS_DST: (_parse_address, 0),
    _E.ADDRESS_PROXY: (_parse_address, 0),
    _E.KEY_AUTH: (_parse_key, 0),
    _E.KEY_ENCRYPT: (_parse_key, 0),
    _E.IDENTITY_SRC: (_parse_identity, 0),
    _E.IDENTITY_DST: (_parse_identity, 0),
    _E.PROPOSAL: (_parse_proposal, 0),
    _E.SUPPORTED_AUTH: (_parse_supported, 0),
    _E.SUPPORTED_ENCRYPT: (_parse_supported, 0),
    _E.SPIRANGE: (_parse_spirange, 16),
    _E.X_POLICY: (_parse_policy, 0),
    _E.X_SA2: (_parse_sa2, 16),
    _E.X_NAT_T_TYPE: (_parse_nat_type, 8),
    _E.X_NAT_T_SPORT: (_parse_nat_port, 8),
    _E.X_NAT_T_DPORT: (_parse_nat_port, 8),
    _E.X_NAT_T_OAI: (_parse_address, 0),
    _E.X_NAT_T_FRAG: (_parse_nat_fragment, 8),
    _E.X_SA_REPLAY: (_parse_replay, 8),
    _E.X_FILTER: (_parse_filter, 40),
    _E.X_NEW_ADDRESS_SRC: (_parse_address, 0),
    _E.X_NEW_ADDRESS_DST: (_parse_address, 0),
}
"""Parser and exact size (0: the parser checks) of each extension; the others pass through unread."""


_READERS: Final[dict[str, dict[int, tuple[SadbExtType, Parser, int]]]] = {}


def readers_of(dialect: Dialect) -> dict[int, tuple[SadbExtType, Parser, int]]:
    """Return a dialect's readers by number on the wire."""
    found = _READERS.get(dialect.name)
    if found is None:
        second = {_E.X_OAR_OR_SEC_CTX: (_parse_address, 0)} if dialect.oar_is_address else {}
        parsers = _PARSERS | second
        found = {
            number: (kind, *parsers.get(kind, (_parse_opaque, 0)))
            for number, kind in dialect.extension_kinds.items()
        }
        _READERS[dialect.name] = found
    return found
