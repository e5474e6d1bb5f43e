"""One writer for each kind of extension: from its value to the bytes that follow the extension's header.

No message, no other extension and no meaning enters. Answers to RFC 2367 §2.3, <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sallet.pfkey.constants import WORD_BYTES
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.layouts import (
    ADDRESS,
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
    PROPOSAL,
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


def _emit_sockaddr(address: Address, dialect: Dialect) -> bytes:
    packed = address.address.packed
    four = len(packed) == 4
    family = INET_FAMILY if four else dialect.inet6_family
    size = INET_BYTES if four else INET6_BYTES
    head = bytes((size, family)) if dialect.sockaddr_has_length else HALF.pack(family)
    body = packed if four else bytes(4) + packed
    return (head + address.port.to_bytes(2, "big") + body).ljust(size, b"\0")


def _emit_sa(sa: Sa, dialect: Dialect) -> bytes:
    return SA.pack(sa.spi.to_bytes(4, "big"), sa.replay, sa.state, sa.auth, sa.encrypt, sa.flags)


def _emit_lifetime(lifetime: Lifetime, dialect: Dialect) -> bytes:
    return LIFETIME.pack(lifetime.allocations, lifetime.bytes, lifetime.addtime, lifetime.usetime)


def _emit_address(address: Address, dialect: Dialect) -> bytes:
    return ADDRESS.pack(address.proto, address.prefixlen) + _emit_sockaddr(address, dialect)


def _emit_key(key: Key, dialect: Dialect) -> bytes:
    if len(key.data) != (key.bits + 7) // 8:
        raise ValueError("a key whose length is not what its bits say")
    return KEY.pack(key.bits) + key.data


def _emit_identity(identity: Identity, dialect: Dialect) -> bytes:
    text = identity.text.encode("utf-8", "surrogateescape")
    return IDENTITY.pack(identity.type, identity.id) + (text + b"\0" if text else b"")


def _emit_proposal(proposal: Proposal, dialect: Dialect) -> bytes:
    parts = [PROPOSAL.pack(proposal.replay)]
    for comb in proposal.combs:
        soft, hard = comb.soft, comb.hard
        parts.append(
            COMB.pack(
                comb.auth,
                comb.encrypt,
                comb.flags,
                comb.auth_minbits,
                comb.auth_maxbits,
                comb.encrypt_minbits,
                comb.encrypt_maxbits,
                0,
                soft.allocations,
                hard.allocations,
                soft.bytes,
                hard.bytes,
                soft.addtime,
                hard.addtime,
                soft.usetime,
                hard.usetime,
            )
        )
    return b"".join(parts)


def _emit_supported(supported: Supported, dialect: Dialect) -> bytes:
    rows = [ALGORITHM.pack(row.id, row.ivlen, row.minbits, row.maxbits) for row in supported.algorithms]
    return bytes(4) + b"".join(rows)


def _emit_spirange(spirange: SpiRange, dialect: Dialect) -> bytes:
    return SPIRANGE.pack(spirange.minimum, spirange.maximum)


def _emit_sa2(sa2: Sa2, dialect: Dialect) -> bytes:
    return SA2.pack(sa2.mode, sa2.sequence, sa2.reqid)


def _emit_nat_type(nat_type: NatType, dialect: Dialect) -> bytes:
    return bytes((nat_type.type,))


def _emit_nat_port(nat_port: NatPort, dialect: Dialect) -> bytes:
    return nat_port.port.to_bytes(2, "big")


def _emit_nat_fragment(fragment: NatFragment, dialect: Dialect) -> bytes:
    return HALF.pack(fragment.octets)


def _emit_replay(replay: Replay, dialect: Dialect) -> bytes:
    return WORD.pack(replay.window)


def _emit_filter(asked: Filter, dialect: Dialect) -> bytes:
    family = {4: INET_FAMILY, 6: dialect.inet6_family}.get(asked.version or 0, 0)
    return FILTER.pack(asked.source, asked.destination, family, asked.source_bits, asked.destination_bits)


def _emit_opaque(opaque: Opaque, dialect: Dialect) -> bytes:
    return opaque.data


def _emit_policy(policy: Policy, dialect: Dialect) -> bytes:
    scope = policy.scope if dialect.policy_has_scope else 0
    if dialect.reqids_made_marked:
        scope = sum(1 << nth for nth, request in enumerate(policy.requests[:8]) if request.made)
    priority = policy.priority if dialect.policy_has_priority else 0
    parts = [POLICY.pack(policy.type, policy.direction, scope, policy.id, priority)]
    parts.extend(_emit_request(request, dialect) for request in policy.requests)
    return b"".join(parts)


def _emit_request(request: Request, dialect: Dialect) -> bytes:
    tail = b""
    if request.source is not None and request.destination is not None:
        tail = _emit_sockaddr(request.source, dialect) + _emit_sockaddr(request.destination, dialect)
    size = words(dialect.request_header_bytes + len(tail)) * WORD_BYTES
    head = REQUEST.pack(size, request.proto, request.mode, request.level)
    if dialect.request_header_bytes == WIDE_REQUEST_BYTES:
        head += bytes(2) + WORD.pack(request.reqid) + bytes(4)
    else:
        # Ids that do not fit are printed cut short by every KAME kernel, too.
        head += HALF.pack(request.reqid & 0xFFFF)
    return (head + tail).ljust(size, b"\0")


EMITTERS: Final[dict[type, Callable[[Any, Dialect], bytes]]] = {
    Sa: _emit_sa,
    Lifetime: _emit_lifetime,
    Address: _emit_address,
    Key: _emit_key,
    Identity: _emit_identity,
    Proposal: _emit_proposal,
    Supported: _emit_supported,
    SpiRange: _emit_spirange,
    Policy: _emit_policy,
    Sa2: _emit_sa2,
    NatType: _emit_nat_type,
    NatPort: _emit_nat_port,
    NatFragment: _emit_nat_fragment,
    Replay: _emit_replay,
    Filter: _emit_filter,
    Opaque: _emit_opaque,
}
