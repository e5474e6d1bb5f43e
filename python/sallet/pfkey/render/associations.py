"""What is told about an association, alone or in an event.

No database is asked and nothing is sent; which extensions, in which order, is the dialect's table.
Answers to RFC 2367 §3.1, <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sallet import _core
from sallet.pfkey.constants import ULPROTO_ANY, NatTraversalType, SadbExtType, SadbMsgType, SadbSaFlags
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import (
    Address,
    Extension,
    Key,
    Lifetime,
    NatFragment,
    NatPort,
    NatType,
    Replay,
    Sa,
    Sa2,
)
from sallet.pfkey.render.words import MODES, STATES, host

_E: Final = SadbExtType
_U32: Final = 0xFFFFFFFF

_ANYWHERE: Final = {
    4: Address(IPv4Address(0), 0, 0, ULPROTO_ANY),
    6: Address(IPv6Address(0), 0, 0, ULPROTO_ANY),
}


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


def _proxy(view: _core.SaView) -> Address | None:
    # A larval association of Linux has the addresses themselves for a selector, and shows none.
    hidden = view.state == "larval" or view.source.is_unspecified
    return None if hidden else _ANYWHERE[view.source.version]


def _replay(view: _core.SaView, dialect: Dialect) -> Replay | None:
    over = view.replay_window > 255 * dialect.replay_unit
    return Replay(view.replay_window) if over else None


def _nat_port(view: _core.SaView, which: int) -> NatPort | None:
    return None if view.encap is None else NatPort(view.encap[which])


def _original(view: _core.SaView, which: int) -> Address | None:
    """Tell the address that a NAT changed."""
    after = (view.source, view.destination)[which]
    if view.original is None or view.original[which] == after:
        return None
    return Address(view.original[which], 0, after.max_prefixlen, ULPROTO_ANY)


def _nat_fragment(view: _core.SaView) -> NatFragment | None:
    return NatFragment(view.fragment_bytes) if view.fragment_bytes else None


_SaTeller = Callable[[_core.SaView, Dialect, str], Extension | None]
_SA_TELLERS: Final[dict[SadbExtType, _SaTeller]] = {
    _E.SA: _sa,
    _E.LIFETIME_HARD: lambda view, dialect, _: _limit(view.hard, dialect),
    _E.LIFETIME_SOFT: lambda view, dialect, _: _limit(view.soft, dialect),
    _E.LIFETIME_CURRENT: lambda view, dialect, _: _current(view),
    _E.ADDRESS_SRC: lambda view, dialect, _: _end(view, 0, dialect),
    _E.ADDRESS_DST: lambda view, dialect, _: _end(view, 1, dialect),
    _E.ADDRESS_PROXY: lambda view, _dialect, _state: _proxy(view),
    _E.KEY_AUTH: lambda view, dialect, _: _key(view.authentication, dialect.auth_numbers),
    _E.KEY_ENCRYPT: lambda view, dialect, _: _key(view.encryption, dialect.encrypt_numbers),
    _E.X_SA2: lambda view, dialect, _: _sa2(view, dialect),
    _E.X_NAT_T_TYPE: lambda view, dialect, _: view.encap and NatType(NatTraversalType.RFC3948),
    _E.X_NAT_T_SPORT: lambda view, dialect, _: _nat_port(view, 0),
    _E.X_NAT_T_DPORT: lambda view, dialect, _: _nat_port(view, 1),
    _E.X_NAT_T_OAI: lambda view, _dialect, _state: _original(view, 0),
    _E.X_OAR_OR_SEC_CTX: lambda view, _dialect, _state: _original(view, 1),
    _E.X_NAT_T_FRAG: lambda view, _dialect, _state: _nat_fragment(view),
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
        _E.ADDRESS_SRC: host(view.source),
        _E.ADDRESS_DST: host(event.address),
        _E.X_NAT_T_SPORT: _nat_port(view, 0),
        _E.X_NAT_T_DPORT: NatPort(event.port),
    }
    found: dict[SadbExtType, Extension] = {}
    for name in dialect.shapes[SadbMsgType.X_NAT_T_NEW_MAPPING]:
        extension = tellers[name]
        if extension is not None:
            found[name] = extension
    return found
