"""The names that this machine knows: hosts, services and protocols.

No grammar may enter. Answers to `sallet.lang.statements.Names`, by getaddrinfo(3) and its siblings.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sallet.lang.statements import IpAddress


class HostNames:
    """Looks names up where this machine does."""

    def host(self, name: str, version: int | None) -> list[IpAddress]:
        """Return the addresses of a host, each once."""
        families = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}
        try:
            answers = socket.getaddrinfo(name, None, families[version], socket.SOCK_RAW)
        except (OSError, UnicodeError):
            return []
        found = [ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
        return list(dict.fromkeys(found))

    def service(self, name: str) -> int | None:
        """Return the port of a service."""
        try:
            return socket.getservbyname(name)
        except (OSError, UnicodeError):
            return None

    def protocol(self, name: str) -> int | None:
        """Return the number of a protocol."""
        try:
            return socket.getprotobyname(name)
        except (OSError, UnicodeError):
            return None
