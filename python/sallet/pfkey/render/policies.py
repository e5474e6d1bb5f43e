"""What is told about a policy.

No database is asked and nothing is sent; which extensions, in which order, is the dialect's table.
Answers to <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sallet import _core
from sallet.pfkey.constants import ULPROTO_ANY, SadbExtType, SadbMsgType
from sallet.pfkey.convert import PROTOCOLS, policy_ids
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import Address, Extension, Lifetime, Policy, Request
from sallet.pfkey.render.words import ACTIONS, DIRECTIONS, LEVELS, MODES, SOCKET_DIRECTIONS, host

_E: Final = SadbExtType
_U32: Final = 0xFFFFFFFF

_REQUEST_PROTOCOLS: Final = {word: number for number, word in PROTOCOLS.items()}


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
        ends = tuple(host(address) for address in template.endpoints)
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
        policy_ids.told(view.id, view.direction, dialect),
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


def policy(
    view: _core.PolicyView, kind: SadbMsgType, dialect: Dialect, made: Callable[[int], bool]
) -> dict[SadbExtType, Extension]:
    """Tell a policy in the shape that a message has; `made` says whether nobody chose a request id.

    A selector that PF_KEY cannot say (a range that is no prefix, several ports) is told without its address.
    """
    extensions: dict[SadbExtType, Extension] = {}
    for name in dialect.shapes[kind]:
        extension = _POLICY_TELLERS[name](view, dialect)
        if isinstance(extension, Policy) and dialect.reqids_made_marked:
            marked = (replace(request, made=made(request.reqid)) for request in extension.requests)
            extension = replace(extension, requests=tuple(marked))
        if extension is not None:
            extensions[name] = extension
    return extensions


def of_socket(
    told: Mapping[SadbExtType, Extension], view: _core.PolicyView, dialect: Dialect
) -> dict[SadbExtType, Extension]:
    """Tell the policy of a socket as Linux does: in a list of its own, of a socket that is not named."""
    extensions = dict(told)
    for name, extension in told.items():
        if isinstance(extension, Address):
            anything = ip_address(bytes(len(extension.address.packed)))
            extensions[name] = Address(anything, 0, 0, ULPROTO_ANY)
        elif isinstance(extension, Policy):
            listed = SOCKET_DIRECTIONS[extension.direction]
            number = policy_ids.told(view.id, view.direction, dialect, of_socket=True)
            extensions[name] = replace(extension, direction=listed, id=number, priority=0)
    return extensions
