"""From an SPDADD or an SPDUPDATE to the engine's PolicyParams, and what a policy message names.

No database is asked and no reply is made. Answers to RFC 4301 §4.4, KAME's ipsec_set_policy(3) for requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sallet import _core
from sallet.pfkey.constants import (
    PORT_ANY,
    IpProtocol,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
    SadbExtType,
    SadbMsgType,
)
from sallet.pfkey.convert.fields import Refusal, ends, maybe, mode_word, need, refuse_unserved
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import Lifetime, Message, Policy, Request

_E: Final = SadbExtType

PROTOCOLS: Final = {int(IpProtocol.ESP): "esp", int(IpProtocol.AH): "ah", int(IpProtocol.IPCOMP): "ipcomp"}
"""Protocols of a policy's request by IP protocol number."""

LEVELS: Final = {
    int(IpsecLevel.USE): "use",
    int(IpsecLevel.REQUIRE): "require",
    int(IpsecLevel.UNIQUE): "unique",
}
"""Levels that mean the same everywhere."""


def direction(message: Message, dialect: Dialect) -> str:
    """Return the list that a policy message means.

    Raises:
        Refusal: the direction is unknown (out-of-range).
    """
    found = dialect.directions.get(need(message, _E.X_POLICY, Policy).direction)
    if found is None:
        raise Refusal("out-of-range")
    return found


def selector(message: Message, dialect: Dialect) -> _core.Selector:
    """Read what a policy covers; for ICMP the ports carry type and code, 0 is any.

    Raises:
        Refusal: families or protocols differ (invalid-selector).
    """
    source, destination = ends(message)
    if dialect.protocols_must_match and source.proto != destination.proto:
        raise Refusal("invalid-selector")
    number = destination.proto
    return _core.Selector(
        f"{source.address}/{source.prefixlen}",
        f"{destination.address}/{destination.prefixlen}",
        None if number in dialect.any_protocols else number,
        _ports(source.port),
        _ports(destination.port),
    )


def _ports(port: int) -> tuple[int, int]:
    return (0, 0xFFFF) if port == PORT_ANY else (port, port)


def policy_params(
    message: Message, dialect: Dialect, new_reqid: Callable[[int], int], connection: int = 0
) -> _core.PolicyParams:
    """Read an SPDADD or an SPDUPDATE; `new_reqid(highest)` allocates an id for level `unique`.

    Raises:
        Refusal: with what the message lacks or says wrong.
    """
    refuse_unserved(message)
    policy = need(message, _E.X_POLICY, Policy)
    covered = selector(message, dialect)
    listed = direction(message, dialect)
    awaited = dialect.setidx_awaits and message.type is SadbMsgType.X_SPDSETIDX and _awaits(policy)
    action, templates = ("protect", []) if awaited else _asked(policy, dialect, new_reqid)
    add_secs, use_secs = _policy_lifetime(message)
    return _core.PolicyParams(
        listed,
        covered,
        action,
        templates,
        priority=policy.priority if dialect.policy_has_priority else dialect.default_priority,
        judges_forwarded=dialect.inbound_judges_forwarded and listed == "in",
        owner=message.pid,
        connection=connection,
        add_secs=add_secs,
        use_secs=use_secs,
        awaited=awaited,
    )


def _awaits(policy: Policy) -> bool:
    return policy.type == IpsecPolicyType.IPSEC and not policy.requests


def _asked(
    policy: Policy, dialect: Dialect, new_reqid: Callable[[int], int]
) -> tuple[str, list[_core.Template]]:
    if policy.type == IpsecPolicyType.DISCARD:
        return "discard", []
    if policy.type == IpsecPolicyType.NONE:
        return "bypass", []
    if policy.type == IpsecPolicyType.IPSEC:
        return protect(policy, dialect, new_reqid)
    raise Refusal("out-of-range")


def _policy_lifetime(message: Message) -> tuple[int, int]:
    soft = maybe(message, _E.LIFETIME_SOFT, Lifetime) or Lifetime()
    hard = maybe(message, _E.LIFETIME_HARD, Lifetime) or Lifetime()
    if soft != Lifetime() or hard.bytes or hard.allocations:
        raise Refusal("unsupported")
    return hard.addtime, hard.usetime


def protect(
    policy: Policy, dialect: Dialect, new_reqid: Callable[[int], int]
) -> tuple[str, list[_core.Template]]:
    """Read the requests of an `ipsec` policy: the action they mean, and their templates.

    Raises:
        Refusal: with what they lack or say wrong.
    """
    if not policy.requests:
        if dialect.empty_ipsec_is_none:
            return "bypass", []
        raise Refusal("out-of-range")
    if len(policy.requests) > dialect.requests_max:
        raise Refusal("too-many-requests")
    return "protect", [_template(request, dialect, new_reqid) for request in policy.requests]


def _template(request: Request, dialect: Dialect, new_reqid: Callable[[int], int]) -> _core.Template:
    found = PROTOCOLS.get(request.proto)
    if found is None:
        raise Refusal("unknown-protocol")
    if request.mode == IpsecMode.ANY and dialect.any_request_mode is None:
        raise Refusal("out-of-range")
    mode = mode_word(request.mode, dialect)
    level = _level(request.level, dialect)
    endpoints = None
    if mode == "tunnel":
        if request.source is None or request.destination is None:
            raise Refusal("invalid-selector")
        endpoints = (request.source.address, request.destination.address)
    reqid = new_reqid(request.reqid) if level == "unique" else 0
    return _core.Template(found, mode, level, reqid, endpoints)


def _level(number: int, dialect: Dialect) -> str:
    if number == IpsecLevel.DEFAULT:
        return dialect.default_level
    level = LEVELS.get(number) or dialect.unknown_level
    if level is None:
        raise Refusal("out-of-range")
    return level
