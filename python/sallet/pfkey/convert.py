"""From messages to the engine's words: what an ADD or an SPDADD says becomes SaParams or PolicyParams.

No database is asked and no reply is made; a dialect's words end here. Answers to RFC 2367 §2.3 and §3.1,
RFC 4301 §4.4 for the words, KAME's ipsec_set_policy(3) for the requests.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from sallet import _core
from sallet.pfkey.constants import (
    PORT_ANY,
    IpProtocol,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
    NatTraversalType,
    SadbExtType,
    SadbSaFlags,
    SadbSatype,
)
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import (
    Address,
    Extension,
    Key,
    Lifetime,
    Message,
    NatPort,
    NatType,
    Policy,
    Replay,
    Request,
    Sa,
    Sa2,
)

_E: Final = SadbExtType

PROTOCOLS: Final = {int(IpProtocol.ESP): "esp", int(IpProtocol.AH): "ah", int(IpProtocol.IPCOMP): "ipcomp"}
"""Protocols of a policy's request by IP protocol number."""

LEVELS: Final = {
    int(IpsecLevel.USE): "use",
    int(IpsecLevel.REQUIRE): "require",
    int(IpsecLevel.UNIQUE): "unique",
}
"""Levels that mean the same everywhere."""

_UNSERVED: Final = frozenset(
    {_E.SENSITIVITY, _E.X_OAR_OR_SEC_CTX, _E.X_TAG, _E.X_SA3, _E.X_KMPRIVATE, _E.X_KMADDRESS, _E.X_FILTER}
    | {_E.X_NAT_T_FRAG, _E.X_NEW_ADDRESS_SRC, _E.X_NEW_ADDRESS_DST}
)
"""Extensions whose meaning sallet cannot keep; accepting them in silence would be a lie."""

_FLAGS_UNDERSTOOD: Final = (
    SadbSaFlags.X_ESN | SadbSaFlags.X_CYCSEQ | SadbSaFlags.X_RAWCPI | SadbSaFlags.X_NATT_KEEPALIVE
)
"""Flags that become words of their own; the others are kept as they are."""

_Ends = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]

T = TypeVar("T", bound=Extension)


class Refusal(Exception):
    """A request that cannot be served; `kind` is a word of the dialect's errno tables."""

    def __init__(self, kind: str) -> None:
        """Keep the kind."""
        super().__init__(kind)
        self.kind = kind


def need(message: Message, kind: SadbExtType, of: type[T]) -> T:
    """Return an extension that must be there.

    Raises:
        Refusal: it is not (missing-extension).
    """
    extension = message.extensions.get(kind)
    if not isinstance(extension, of):
        raise Refusal("missing-extension")
    return extension


def maybe(message: Message, kind: SadbExtType, of: type[T]) -> T | None:
    """Return an extension that may be there."""
    extension = message.extensions.get(kind)
    return extension if isinstance(extension, of) else None


def refuse_unserved(message: Message) -> None:
    """Refuse a request that carries what would have no effect.

    Raises:
        Refusal: unsupported.
    """
    for kind, extension in message.extensions.items():
        # Where this is an address, it is the responder's before a NAT.
        if kind in _UNSERVED and not (kind is _E.X_OAR_OR_SEC_CTX and isinstance(extension, Address)):
            raise Refusal("unsupported")
    proxy = maybe(message, _E.ADDRESS_PROXY, Address)
    if proxy is not None and proxy.prefixlen:
        raise Refusal("unsupported")


def protocol(message: Message, dialect: Dialect) -> str:
    """Return the protocol of a message about one association.

    Raises:
        Refusal: the type is unspecified or has no protocol (unknown-satype).
    """
    found = dialect.satypes.get(message.satype)
    if found is None:
        raise Refusal("unknown-satype")
    return found


def optional_protocol(message: Message, dialect: Dialect) -> str | None:
    """Return the protocol of a message about many associations, None for all of them.

    Raises:
        Refusal: the type has no protocol (unknown-satype).
    """
    return None if message.satype == SadbSatype.UNSPEC else protocol(message, dialect)


def ends(message: Message) -> tuple[Address, Address]:
    """Return source and destination.

    Raises:
        Refusal: one is missing, or they differ in family (invalid-selector).
    """
    source = need(message, _E.ADDRESS_SRC, Address)
    destination = need(message, _E.ADDRESS_DST, Address)
    if source.address.version != destination.address.version:
        raise Refusal("invalid-selector")
    return source, destination


def mode_and_reqid(message: Message, dialect: Dialect) -> tuple[str, int]:
    """Return mode and request id of an association.

    Raises:
        Refusal: the mode is unknown (out-of-range).
    """
    sa2 = maybe(message, _E.X_SA2, Sa2) or Sa2()
    return _mode(sa2.mode, dialect), sa2.reqid


def _mode(number: int, dialect: Dialect) -> str:
    if number == IpsecMode.ANY:
        return dialect.any_mode
    if number == IpsecMode.TRANSPORT:
        return "transport"
    if number == IpsecMode.TUNNEL:
        return "tunnel"
    raise Refusal("out-of-range")


def sa_params(message: Message, dialect: Dialect, *, with_keys: bool = True) -> _core.SaParams:
    """Read an ADD or an UPDATE.

    Raises:
        Refusal: with what the message lacks or says wrong.
    """
    refuse_unserved(message)
    sa = need(message, _E.SA, Sa)
    source, destination = ends(message)
    mode, reqid = mode_and_reqid(message, dialect)
    found = protocol(message, dialect)
    if found != "ipcomp" and sa.spi < dialect.spi_min:
        raise Refusal("invalid-spi")
    if sa.flags & dialect.flags_refused:
        raise Refusal("out-of-range")
    flags = sa.flags & dialect.flags_kept
    if dialect.limits_together and (_E.LIFETIME_HARD in message.extensions) != (
        _E.LIFETIME_SOFT in message.extensions
    ):
        raise Refusal("missing-extension")
    return _core.SaParams(
        spi=sa.spi,
        protocol=found,
        source=source.address,
        destination=destination.address,
        mode=mode,
        reqid=reqid,
        encryption=_encryption(message, sa, found, dialect) if with_keys else None,
        authentication=_authentication(message, sa, dialect) if with_keys else None,
        replay_window=_replay_window(message, sa, dialect),
        esn=bool(flags & SadbSaFlags.X_ESN),
        old=bool(flags & SadbSaFlags.X_OLD),
        cycle_sequence=bool(flags & SadbSaFlags.X_CYCSEQ),
        keepalive=bool(flags & SadbSaFlags.X_NATT_KEEPALIVE),
        soft=_limits(message, _E.LIFETIME_SOFT),
        hard=_limits(message, _E.LIFETIME_HARD),
        encap=_encap(message),
        original=_original(message, source, destination),
        flags=flags & ~_FLAGS_UNDERSTOOD,
        owner=message.pid,
        raw_cpi=dialect.cpi_is_raw or bool(flags & SadbSaFlags.X_RAWCPI),
    )


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3.4
# # the key's bits fit the algorithm, weak keys are refused
def _key(message: Message, kind: SadbExtType) -> bytes:
    key = maybe(message, kind, Key)
    if key is None:
        return b""
    if key.bits % 8:
        raise Refusal("invalid-key-length")
    return key.data


def _encryption(message: Message, sa: Sa, protocol: str, dialect: Dialect) -> tuple[str, bytes] | None:
    if not sa.encrypt and protocol != "ipcomp":
        if protocol == "esp":
            raise Refusal("unsupported-combination")
        return None
    if protocol == "ipcomp":
        name = dialect.compress.get(sa.encrypt)
    else:
        name = dialect.encrypt_name(sa.encrypt, sa.flags)
    if name is None:
        raise Refusal("unknown-algorithm")
    return name, _key(message, _E.KEY_ENCRYPT)


def _authentication(message: Message, sa: Sa, dialect: Dialect) -> tuple[str, bytes] | None:
    if not sa.auth:
        return None
    name = dialect.auth_names.get(sa.auth)
    if name is None:
        raise Refusal("unknown-algorithm")
    return name, _key(message, _E.KEY_AUTH)


def _replay_window(message: Message, sa: Sa, dialect: Dialect) -> int:
    replay = maybe(message, _E.X_SA_REPLAY, Replay)
    return min(sa.replay, dialect.replay_max) * dialect.replay_unit if replay is None else replay.window


def _limits(message: Message, kind: SadbExtType) -> _core.Limits | None:
    limit = maybe(message, kind, Lifetime)
    if limit is None:
        return None
    return _core.Limits(
        bytes=limit.bytes, packets=limit.allocations, add_secs=limit.addtime, use_secs=limit.usetime
    )


def _encap(message: Message) -> tuple[int, int] | None:
    kind = maybe(message, _E.X_NAT_T_TYPE, NatType)
    source = maybe(message, _E.X_NAT_T_SPORT, NatPort)
    destination = maybe(message, _E.X_NAT_T_DPORT, NatPort)
    if kind is None and source is None and destination is None:
        return None
    if kind is None or source is None or destination is None:
        raise Refusal("missing-extension")
    if kind.type != NatTraversalType.RFC3948 or not source.port or not destination.port:
        raise Refusal("out-of-range")
    return source.port, destination.port


def _original(message: Message, source: Address, destination: Address) -> _Ends | None:
    """Return the addresses that the peer's checksums cover; one that no NAT changed is the association's."""
    first = maybe(message, _E.X_NAT_T_OAI, Address)
    second = maybe(message, _E.X_OAR_OR_SEC_CTX, Address)
    if first is None and second is None:
        return None
    found = (first or source).address, (second or destination).address
    if any(address.version != source.address.version for address in found):
        raise Refusal("invalid-selector")
    return found


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


def policy_params(message: Message, dialect: Dialect, new_reqid: Callable[[int], int]) -> _core.PolicyParams:
    """Read an SPDADD or an SPDUPDATE; `new_reqid(highest)` allocates an id for level `unique`.

    Raises:
        Refusal: with what the message lacks or says wrong.
    """
    refuse_unserved(message)
    policy = need(message, _E.X_POLICY, Policy)
    covered = selector(message, dialect)
    listed = direction(message, dialect)
    templates: list[_core.Template] = []
    if policy.type == IpsecPolicyType.DISCARD:
        action = "discard"
    elif policy.type == IpsecPolicyType.NONE:
        action = "bypass"
    elif policy.type == IpsecPolicyType.IPSEC:
        action, templates = _protect(policy, dialect, new_reqid)
    else:
        raise Refusal("out-of-range")
    add_secs, use_secs = _policy_lifetime(message)
    return _core.PolicyParams(
        listed,
        covered,
        action,
        templates,
        priority=policy.priority if dialect.policy_has_priority else dialect.default_priority,
        judges_forwarded=dialect.inbound_judges_forwarded and listed == "in",
        owner=message.pid,
        add_secs=add_secs,
        use_secs=use_secs,
    )


def _policy_lifetime(message: Message) -> tuple[int, int]:
    soft = maybe(message, _E.LIFETIME_SOFT, Lifetime) or Lifetime()
    hard = maybe(message, _E.LIFETIME_HARD, Lifetime) or Lifetime()
    if soft != Lifetime() or hard.bytes or hard.allocations:
        raise Refusal("unsupported")
    return hard.addtime, hard.usetime


def _protect(
    policy: Policy, dialect: Dialect, new_reqid: Callable[[int], int]
) -> tuple[str, list[_core.Template]]:
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
    mode = _mode(request.mode, dialect)
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
