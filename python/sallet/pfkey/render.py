"""From the engine's words to messages: what is told about an association, a policy or an event.

No database is asked and nothing is sent; which extensions, in which order, is the dialect's table.
Answers to RFC 2367 §3.1, <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sallet import _core
from sallet.pfkey.constants import (
    ULPROTO_ANY,
    IpsecDirection,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
    NatTraversalType,
    SadbExtType,
    SadbMsgType,
    SadbSaFlags,
    SadbSaState,
)
from sallet.pfkey.convert import PROTOCOLS
from sallet.pfkey.dialects import AlgorithmRow, Dialect
from sallet.pfkey.messages import (
    Address,
    Algorithm,
    Comb,
    Extension,
    Key,
    Lifetime,
    NatPort,
    NatType,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    Supported,
)

_E: Final = SadbExtType
_U32: Final = 0xFFFFFFFF

MODES: Final = {"any": IpsecMode.ANY, "transport": IpsecMode.TRANSPORT, "tunnel": IpsecMode.TUNNEL}
STATES: Final = {
    "larval": SadbSaState.LARVAL,
    "mature": SadbSaState.MATURE,
    "dying": SadbSaState.DYING,
    "dead": SadbSaState.DEAD,
}
DIRECTIONS: Final = {
    "in": IpsecDirection.INBOUND,
    "out": IpsecDirection.OUTBOUND,
    "fwd": IpsecDirection.FORWARD,
}
LEVELS: Final = {
    "default": IpsecLevel.DEFAULT,
    "use": IpsecLevel.USE,
    "require": IpsecLevel.REQUIRE,
    "unique": IpsecLevel.UNIQUE,
}
ACTIONS: Final = {
    "bypass": IpsecPolicyType.NONE,
    "discard": IpsecPolicyType.DISCARD,
    "protect": IpsecPolicyType.IPSEC,
}
_REQUEST_PROTOCOLS: Final = {word: number for number, word in PROTOCOLS.items()}
_ANYWHERE: Final = {
    4: Address(IPv4Address(0), 0, 0, ULPROTO_ANY),
    6: Address(IPv6Address(0), 0, 0, ULPROTO_ANY),
}

# What an ACQUIRE proposes for the lifetime of an association: a day, and eight hours of use.
_PROPOSED_SOFT: Final = Lifetime(addtime=20 * 3600, usetime=7 * 3600)
_PROPOSED_HARD: Final = Lifetime(addtime=24 * 3600, usetime=8 * 3600)
_PROPOSED_REPLAY: Final = 32


def _host(address: IPv4Address | IPv6Address) -> Address:
    return Address(address, 0, address.max_prefixlen, 0)


def _end(view: _core.SaView, which: int, dialect: Dialect) -> Address:
    address = (view.source, view.destination)[which]
    port = view.encap[which] if view.encap and dialect.nat_ports_in_addresses else 0
    return Address(address, port, address.max_prefixlen, 0)


def _lifetime(limits: _core.Limits) -> Lifetime:
    return Lifetime(min(limits.packets, _U32), limits.bytes, limits.add_secs, limits.use_secs)


def _sa(view: _core.SaView, dialect: Dialect, state: str) -> Sa:
    flags = view.flags & dialect.flags_kept
    if view.cycle_sequence:
        flags |= SadbSaFlags.X_CYCSEQ & dialect.flags_kept
    if view.esn:
        flags |= SadbSaFlags.X_ESN & dialect.flags_kept
    if view.old:
        flags |= SadbSaFlags.X_OLD & dialect.flags_kept
    if view.raw_cpi and view.protocol == "ipcomp":
        flags |= SadbSaFlags.X_RAWCPI & dialect.flags_kept
    if view.keepalive:
        flags |= SadbSaFlags.X_NATT_KEEPALIVE & dialect.flags_kept
    encryption, authentication = view.encryption, view.authentication
    if encryption:
        flags |= dialect.encrypt_flag(encryption[0])
    numbers = dialect.compress_numbers if view.protocol == "ipcomp" else dialect.encrypt_numbers
    return Sa(
        view.spi,
        min(-(-view.replay_window // dialect.replay_unit), 255),
        STATES[state],
        dialect.auth_numbers.get(authentication[0], 0) if authentication else 0,
        numbers.get(encryption[0], 0) if encryption else 0,
        flags,
    )


def _key(named: tuple[str, bytes] | None, numbers: Mapping[str, int]) -> Key | None:
    """Show a key where the dialect can name its algorithm."""
    if named is None or not named[1] or named[0] not in numbers:
        return None
    return Key(len(named[1]) * 8, named[1])


def _limit(limits: _core.Limits, dialect: Dialect) -> Lifetime | None:
    lifetime = _lifetime(limits)
    return lifetime if dialect.zero_limits_shown or lifetime != Lifetime() else None


def _current(view: _core.SaView) -> Lifetime:
    return Lifetime(min(view.packets, _U32), view.bytes, view.created, view.first_used or 0)


def _sa2(view: _core.SaView, dialect: Dialect) -> Sa2:
    sequence = view.sequence & _U32 if dialect.sequence_in_state else 0
    return Sa2(MODES[view.mode], sequence, view.reqid)


def _proxy(view: _core.SaView, state: str) -> Address | None:
    # A larval association of Linux has the addresses themselves for a selector, and shows none.
    return None if state == "larval" else _ANYWHERE[view.source.version]


def _replay(view: _core.SaView, dialect: Dialect) -> Replay | None:
    over = view.replay_window > 255 * dialect.replay_unit
    return Replay(view.replay_window) if over else None


def _nat_port(view: _core.SaView, which: int) -> NatPort | None:
    return None if view.encap is None else NatPort(view.encap[which])


_SaTeller = Callable[[_core.SaView, Dialect, str], Extension | None]
_SA_TELLERS: Final[dict[SadbExtType, _SaTeller]] = {
    _E.SA: _sa,
    _E.LIFETIME_HARD: lambda view, dialect, _: _limit(view.hard, dialect),
    _E.LIFETIME_SOFT: lambda view, dialect, _: _limit(view.soft, dialect),
    _E.LIFETIME_CURRENT: lambda view, dialect, _: _current(view),
    _E.ADDRESS_SRC: lambda view, dialect, _: _end(view, 0, dialect),
    _E.ADDRESS_DST: lambda view, dialect, _: _end(view, 1, dialect),
    _E.ADDRESS_PROXY: lambda view, dialect, state: _proxy(view, state),
    _E.KEY_AUTH: lambda view, dialect, _: _key(view.authentication, dialect.auth_numbers),
    _E.KEY_ENCRYPT: lambda view, dialect, _: _key(view.encryption, dialect.encrypt_numbers),
    _E.X_SA2: lambda view, dialect, _: _sa2(view, dialect),
    _E.X_NAT_T_TYPE: lambda view, dialect, _: view.encap and NatType(NatTraversalType.RFC3948),
    _E.X_NAT_T_SPORT: lambda view, dialect, _: _nat_port(view, 0),
    _E.X_NAT_T_DPORT: lambda view, dialect, _: _nat_port(view, 1),
    _E.X_SA_REPLAY: lambda view, dialect, _: _replay(view, dialect),
}


def association(
    view: _core.SaView,
    kind: SadbMsgType,
    dialect: Dialect,
    *,
    state: str | None = None,
    hard: bool | None = None,
) -> dict[SadbExtType, Extension]:
    """Tell an association in the shape that a message has.

    `state` overrides the view's; `hard` says which lifetime an EXPIRE is about, only that one is told.
    """
    shown = state or view.state
    skipped = None if hard is None else (_E.LIFETIME_SOFT if hard else _E.LIFETIME_HARD)
    extensions: dict[SadbExtType, Extension] = {}
    for name in dialect.shapes[kind]:
        if name is skipped:
            continue
        extension = _SA_TELLERS[name](view, dialect, shown)
        if extension is not None:
            extensions[name] = extension
    return extensions


def new_mapping(event: _core.NewMappingEvent, dialect: Dialect) -> dict[SadbExtType, Extension]:
    """Tell where an association's peer was and where it is now (RFC 3948 §5), as Linux lays it out.

    The source is the peer as the association knows it, the destination the peer as its packets show it.
    """
    view = event.sa
    tellers: dict[SadbExtType, Extension | None] = {
        _E.SA: Sa(view.spi, 0, 0, 0, 0, 0),
        _E.ADDRESS_SRC: _host(view.source),
        _E.ADDRESS_DST: _host(event.address),
        _E.X_NAT_T_SPORT: _nat_port(view, 0),
        _E.X_NAT_T_DPORT: NatPort(event.port),
    }
    found: dict[SadbExtType, Extension] = {}
    for name in dialect.shapes[SadbMsgType.X_NAT_T_NEW_MAPPING]:
        extension = tellers[name]
        if extension is not None:
            found[name] = extension
    return found


def _covered(
    prefix: tuple[IPv4Address | IPv6Address, int] | None, ports: tuple[int, int], number: int | None
) -> Address | None:
    """Show one side of a selector, or nothing where PF_KEY has no words for a range."""
    if prefix is None or (ports[0] != ports[1] and ports != (0, 0xFFFF)):
        return None
    port = ports[0] if ports[0] == ports[1] else 0
    return Address(prefix[0], port, prefix[1], ULPROTO_ANY if number is None else number)


def _request(template: _core.Template) -> Request:
    ends: tuple[Address, ...] = ()
    if template.endpoints is not None:
        ends = tuple(_host(address) for address in template.endpoints)
    return Request(
        _REQUEST_PROTOCOLS[template.protocol],
        MODES[template.mode],
        LEVELS[template.level],
        template.reqid,
        *ends,
    )


def _policy(view: _core.PolicyView, dialect: Dialect) -> Policy:
    return Policy(
        ACTIONS[view.action],
        DIRECTIONS[view.direction],
        view.id,
        view.priority if dialect.policy_has_priority else 0,
        tuple(_request(template) for template in view.templates),
        dialect.policy_scope,
    )


def _policy_limit(view: _core.PolicyView, dialect: Dialect) -> Lifetime | None:
    lifetime = Lifetime(addtime=view.add_secs, usetime=view.use_secs)
    return lifetime if dialect.zero_limits_shown or lifetime != Lifetime() else None


def _policy_current(view: _core.PolicyView, dialect: Dialect) -> Lifetime | None:
    if dialect.bare_policy_without_times and not (view.add_secs or view.use_secs):
        return None
    return Lifetime(min(view.packets, _U32), view.bytes, view.created, view.last_used or 0)


_PolicyTeller = Callable[[_core.PolicyView, Dialect], Extension | None]
_POLICY_TELLERS: Final[dict[SadbExtType, _PolicyTeller]] = {
    _E.ADDRESS_SRC: lambda view, _: _covered(
        view.selector.source_prefix, view.selector.source_ports, view.selector.next_layer
    ),
    _E.ADDRESS_DST: lambda view, _: _covered(
        view.selector.destination_prefix, view.selector.destination_ports, view.selector.next_layer
    ),
    _E.LIFETIME_HARD: _policy_limit,
    _E.LIFETIME_SOFT: lambda view, _: Lifetime(),
    _E.LIFETIME_CURRENT: _policy_current,
    _E.X_POLICY: _policy,
}


def policy(view: _core.PolicyView, kind: SadbMsgType, dialect: Dialect) -> dict[SadbExtType, Extension]:
    """Tell a policy in the shape that a message has.

    A selector that PF_KEY cannot say (a range that is no prefix, several ports) is told without its address.
    """
    extensions: dict[SadbExtType, Extension] = {}
    for name in dialect.shapes[kind]:
        extension = _POLICY_TELLERS[name](view, dialect)
        if extension is not None:
            extensions[name] = extension
    return extensions


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.7
# # REGISTER answers with the algorithms that are supported
def supported(dialect: Dialect, provided: frozenset[str]) -> dict[SadbExtType, Extension]:
    """List the algorithms of the dialect that the engine provides for any key (RFC 2367 §3.1.7)."""

    def listed(rows: Iterable[AlgorithmRow]) -> Supported:
        return Supported(
            tuple(
                Algorithm(row.number, row.ivlen, row.minbits, row.maxbits)
                for row in _provided(rows, provided)
            )
        )

    return {_E.SUPPORTED_AUTH: listed(dialect.auth), _E.SUPPORTED_ENCRYPT: listed(dialect.encrypt)}


def _provided(rows: Iterable[AlgorithmRow], provided: frozenset[str]) -> list[AlgorithmRow]:
    return [row for row in rows if row.name in provided]


def acquire(
    event: _core.AcquireEvent, view: _core.PolicyView | None, dialect: Dialect, proposed: Mapping[str, str]
) -> dict[SadbExtType, Extension]:
    """Ask for an association: its ends, the policy that asks, and what would do (RFC 2367 §3.1.6).

    `proposed` tells the kind of each algorithm that may be named ("aead", "cipher", "auth" or "compression").
    """
    extensions: dict[SadbExtType, Extension] = {
        _E.ADDRESS_SRC: _host(event.source),
        _E.ADDRESS_DST: _host(event.destination),
    }
    if view is not None:
        priority = view.priority if dialect.policy_has_priority else 0
        extensions[_E.X_POLICY] = Policy(
            IpsecPolicyType.IPSEC, DIRECTIONS[view.direction], view.id, priority, scope=dialect.policy_scope
        )
    template = event.template
    if template.reqid and dialect.acquire_tells_reqid:
        # Where a policy's requests are not told, the id that the association must have stands in SA2.
        extensions[_E.X_SA2] = Sa2(MODES[template.mode], 0, template.reqid)
    extensions[_E.PROPOSAL] = Proposal(_PROPOSED_REPLAY, _combs(template.protocol, dialect, proposed))
    return extensions


def _combs(protocol: str, dialect: Dialect, proposed: Mapping[str, str]) -> tuple[Comb, ...]:
    names = frozenset(proposed)
    auths = _provided(dialect.auth, names)
    if protocol == "ipcomp":
        return tuple(
            _comb(None, AlgorithmRow(number, name, 0, 0, 0)) for number, name in dialect.compress.items()
        )
    if protocol == "ah":
        return tuple(_comb(auth, None) for auth in auths)
    combs: list[Comb] = []
    for row in _provided(dialect.encrypt, names):
        if proposed[row.name] == "aead":
            combs.append(_comb(None, row))
        else:
            # A MAC with an IV is AH's: ESP has one place for an IV, and it is the cipher's.
            combs.extend(_comb(auth, row) for auth in auths if not auth.ivlen)
    return tuple(combs)


def _comb(auth: AlgorithmRow | None, encrypt: AlgorithmRow | None) -> Comb:
    return Comb(
        auth=auth.number if auth else 0,
        encrypt=encrypt.number if encrypt else 0,
        auth_minbits=auth.minbits if auth else 0,
        auth_maxbits=auth.maxbits if auth else 0,
        encrypt_minbits=encrypt.minbits if encrypt else 0,
        encrypt_maxbits=encrypt.maxbits if encrypt else 0,
        soft=_PROPOSED_SOFT,
        hard=_PROPOSED_HARD,
    )
