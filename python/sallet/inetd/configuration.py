"""What reading an inetd.conf needs from the machine: the file, services(5), its own addresses.

No socket of a service may enter.
Answers to: inetd(8), services(5), rtnetlink(7) for the table of local addresses.
"""

from __future__ import annotations

import socket
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from sallet.failure import Failure
from sallet.lang import inetd
from sallet.lang.dump import policy_head, request_text
from sallet.lang.forms import FORMS
from sallet.lang.inetd import Configuration
from sallet.lang.inetd_policies import IpAddress, SocketPolicies

# A small machine has no services(5); these stand in every one (RFC 862, 863, 867).
_WELL_KNOWN: Final = {"echo": 7, "discard": 9, "daytime": 13}
# ipsec(4) of QNX: unique is "setkey only".
_WITHOUT_UNIQUE: Final = frozenset({"qnx"})


def load(path: Path, personality: str) -> Configuration:
    """Read a file.

    Raises:
        Failure: there is none that can be read.
    """
    own_networks.cache_clear()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            "the configuration cannot be read",
            where=str(path),
            why=error.strerror or "" if isinstance(error, OSError) else str(error),
            next_step="name one with -f",
        ) from error
    return inetd.parse(
        text,
        filename=str(path),
        dialect=FORMS[personality].dialect,
        unique=personality not in _WITHOUT_UNIQUE,
        ports=port_of,
        is_local=is_local,
    )


def port_of(name: str, transport: str) -> int | None:
    """Find the port of a service."""
    try:
        return socket.getservbyname(name, transport)
    except OSError:
        return _WELL_KNOWN.get(name)


def policy_texts(policies: SocketPolicies) -> list[str]:
    """Write policies as the file has them."""
    return [
        " ".join((policy_head(policy, "kame"), *map(request_text, policy.requests)))
        for policy in policies.both()
    ]


@cache
def own_networks() -> tuple[IPv4Network | IPv6Network, ...] | None:
    """Ask the kernel which addresses are this machine's; None where it does not tell."""
    from sallet.attach.devices import Devices

    try:
        machine = Devices()
    except (Failure, OSError):
        return None
    try:
        return tuple(ip_network(prefix) for prefix in machine.local_addresses())
    finally:
        machine.close()


def is_local(address: IpAddress) -> bool:
    """Say whether an address is this machine's, as far as anybody knows; asks when it is asked itself."""
    networks = own_networks()
    return networks is None or any(address in network for network in networks)
