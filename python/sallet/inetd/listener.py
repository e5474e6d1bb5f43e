"""The socket on which a service waits, with its policies before its port.

No program and no loop may enter. A socket whose policy cannot be set is closed: nothing is served in clear.
Answers to: inetd(8); setsockopt(2) with IP_IPSEC_POLICY, `ipsec(4)`; ipv6(7) for IPV6_V6ONLY.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Final

from sallet.ipsec import policy_bytes
from sallet.lang.inetd import Service
from sallet.lang.inetd_policies import SocketPolicies
from sallet.pfkey.constants import IpsecDirection, IpsecPolicyType
from sallet.pfkey.messages import Policy

BACKLOG: Final = 64
# IP_IPSEC_POLICY and IPV6_IPSEC_POLICY of each system.
_OPTIONS: Final = {"linux": (16, 34), "kame": (22, 28), "netbsd": (22, 28), "freebsd": (21, 28)}
_REASONS: Final = {
    errno.EHOSTUNREACH: "no daemon answers: is `sallet up` running with this run directory?",
    errno.EACCES: "the daemon does not let this user",
    errno.EPERM: "the daemon does not let this user",
    errno.EINVAL: "the daemon takes no such policy for a socket",
}


class NotStarted(Exception):
    """Why a service has no socket."""


def open_listener(service: Service, dialect: str) -> socket.socket:
    """Make a service's socket: policies, then port, then queue.

    Raises:
        NotStarted: it cannot be made as the file asks.
    """
    family = socket.AF_INET if service.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if service.transport == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    try:
        if service.transport == "tcp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if service.version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        set_policies(made, service.policies.both(), dialect)
        anywhere = "0.0.0.0" if service.version == 4 else "::"  # noqa: S104 (what inetd(8) does)
        made.bind((str(service.address or anywhere), service.port))
        if service.transport == "tcp":
            made.listen(BACKLOG)
            # A program that is given the listener expects one that waits; we may find nobody there.
            made.setblocking(service.wait)
    except NotStarted:
        made.close()
        raise
    except OSError as error:
        made.close()
        raise NotStarted(f"port {service.port}: {error.strerror}") from error
    return made


def set_policies(held: socket.socket, policies: Iterable[Policy], dialect: str) -> None:
    """Give a socket policies.

    Raises:
        NotStarted: the daemon refuses one, or there is none.
    """
    level, option = socket.IPPROTO_IP, _OPTIONS[dialect][0]
    if held.family == socket.AF_INET6:
        level, option = socket.IPPROTO_IPV6, _OPTIONS[dialect][1]
    for policy in policies:
        try:
            held.setsockopt(level, option, policy_bytes(policy, dialect))
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, error.strerror)
            if policy.type == IpsecPolicyType.BYPASS and error.errno in (errno.EACCES, errno.EPERM):
                reason = f"bypass needs a privilege that user {os.geteuid()} has not"
            raise NotStarted(f"its policy cannot be set: {reason}") from error


def change_policies(held: socket.socket, before: SocketPolicies, after: SocketPolicies, dialect: str) -> None:
    """Give a socket other policies than it had; a direction without one follows the SPD again.

    Raises:
        NotStarted: the daemon refuses one, or there is none.
    """
    wanted = list(after.both())
    for had, has, direction in (
        (before.inbound, after.inbound, IpsecDirection.INBOUND),
        (before.outbound, after.outbound, IpsecDirection.OUTBOUND),
    ):
        if had is not None and has is None:
            wanted.append(Policy(IpsecPolicyType.ENTRUST, direction))
    set_policies(held, wanted, dialect)
