"""What a program may set as the policy of a socket: from the option's bytes to templates, and who may.

No socket and no database enters. Answers to `ipsec(4)` and setsockopt(2) of KAME, NetBSD, FreeBSD and Linux:
discard and none are for the SPD, entrust follows it, bypass needs privilege.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sallet import _core
from sallet.attach.socket_maps import Direction
from sallet.pfkey.constants import IpsecPolicyType, SadbExtType
from sallet.pfkey.convert.fields import Refusal
from sallet.pfkey.convert.policies import protect
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import Policy
from sallet.pfkey.readers import Refused, readers_of

_T: Final = IpsecPolicyType
NewReqid: TypeAlias = Callable[[int, int, int], int]
"""Allocates a request id: the one asked for, the highest that may be chosen, the highest there is."""
_HEADER: Final = struct.Struct("=HHHBBII")
"""`struct sadb_x_policy`: words, extension, type, direction, scope or reserved, id, priority or reserved."""
DIRECTIONS: Final[dict[int, Direction]] = {1: "in", 2: "out"}
LEVELS: Final = {0: 4, 41: 6}
"""The family of sockets that an option's level is for: IPPROTO_IP, IPPROTO_IPV6."""

NEEDS_PRIVILEGE: Final[dict[str, tuple[frozenset[int], int]]] = {
    "linux": (frozenset({_T.IPSEC, _T.ENTRUST, _T.BYPASS}), errno.EPERM),
    "kame": (frozenset({_T.BYPASS}), errno.EACCES),
    "netbsd": (frozenset({_T.BYPASS}), errno.EACCES),
    "freebsd": (frozenset({_T.IPSEC, _T.BYPASS}), errno.EACCES),
}
"""By dialect: the types that not everybody may set, and what the others are told."""


class NotTaken(Exception):
    """A request that is answered with an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


@dataclass(frozen=True, slots=True)
class SocketPolicy:
    """What one socket asks in one direction; `action` is entrust, bypass or protect."""

    direction: Direction
    action: str
    templates: tuple[_core.Template, ...]
    said: bytes
    """The option as it was set, for who asks."""


def direction_of(number: int) -> Direction:
    """Read a direction.

    Raises:
        NotTaken: sockets have only the two.
    """
    found = DIRECTIONS.get(number)
    if found is None:
        raise NotTaken(errno.EINVAL)
    return found


def read(said: bytes, dialect: str, *, privileged: bool, new_reqid: NewReqid) -> SocketPolicy:
    """Read an option's value.

    Raises:
        NotTaken: it is malformed, no socket can have it, or this program may not set it.
    """
    policy = _parse(said, DIALECTS[dialect])
    direction = direction_of(policy.direction)
    if policy.type not in (_T.IPSEC, _T.ENTRUST, _T.BYPASS):
        raise NotTaken(errno.EINVAL)
    types, refusal = NEEDS_PRIVILEGE[dialect]
    if policy.type in types and not privileged:
        raise NotTaken(refusal)
    if policy.type == _T.IPSEC:
        action, templates = _protection(policy, DIALECTS[dialect], new_reqid)
    elif policy.requests:
        raise NotTaken(errno.EINVAL)
    else:
        action, templates = ("bypass" if policy.type == _T.BYPASS else "entrust"), ()
    return SocketPolicy(direction, action, templates, said)


def entrust(direction: int) -> bytes:
    """Write the option that a socket has which was told nothing."""
    return _HEADER.pack(_HEADER.size // 8, SadbExtType.X_POLICY, _T.ENTRUST, direction, 0, 0, 0)


def _parse(said: bytes, dialect: Dialect) -> Policy:
    if len(said) < _HEADER.size:
        raise NotTaken(errno.EINVAL)
    (words,) = struct.unpack_from("=H", said)
    # No kernel looks at the extension's number here, and OpenIKED writes another's.
    parse = next(
        (parse for kind, parse, _ in readers_of(dialect).values() if kind is SadbExtType.X_POLICY), None
    )
    if parse is None or words * 8 != len(said):
        raise NotTaken(errno.EINVAL)
    try:
        parsed = parse(said, dialect)
    except Refused as refused:
        raise NotTaken(refused.errno) from refused
    if not isinstance(parsed, Policy):
        raise NotTaken(errno.EINVAL)
    return parsed


def _protection(
    policy: Policy, dialect: Dialect, new_reqid: NewReqid
) -> tuple[str, tuple[_core.Template, ...]]:
    try:
        action, templates = protect(
            policy, dialect, lambda asked: new_reqid(asked, dialect.reqid_chosen_max, dialect.reqid_max)
        )
    except Refusal as refusal:
        raise NotTaken(dialect.errno_by_kind.get(refusal.kind, errno.EINVAL)) from refusal
    # Without a request it would be none, which no socket has.
    if action != "protect":
        raise NotTaken(errno.EINVAL)
    return action, tuple(templates)
