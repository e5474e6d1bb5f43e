"""What setkey text becomes: four kinds of statement, as values.

No text and no PF_KEY layout may enter. Answers to setkey(8), section CONFIGURATION SYNTAX.
The classes are not frozen: freezing them costs a fifth of the time that reading a long file takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, TypeAlias

from sallet.pfkey.constants import IpsecMode, SadbSatype
from sallet.pfkey.messages import Policy

IpAddress: TypeAlias = IPv4Address | IPv6Address


class Names(Protocol):
    """Where names come from; numbers never ask."""

    def host(self, name: str, version: int | None) -> list[IpAddress]:
        """Return the addresses of a host, of one IP version or of both; none where it is unknown."""

    def service(self, name: str) -> int | None:
        """Return the port of a service."""

    def protocol(self, name: str) -> int | None:
        """Return the number of an upper-layer protocol."""


class NoNames:
    """The names of nobody: only numbers and the built-in words are understood."""

    def host(self, name: str, version: int | None) -> list[IpAddress]:
        """Know no host."""
        return []

    def service(self, name: str) -> int | None:
        """Know no service."""
        return None

    def protocol(self, name: str) -> int | None:
        """Know no further protocol."""
        return None


@dataclass(slots=True)
class Place:
    """Where a statement begins, from 1, and how many characters of that line it takes."""

    line: int
    column: int
    length: int
    last_line: int
    """The line on which its semicolon stands, which is the one that the old tools name."""


@dataclass(slots=True)
class Algorithm:
    """An algorithm as written, its RFC name, and its key."""

    word: str
    name: str
    key: bytes = field(repr=False)


@dataclass(slots=True)
class Natt:
    """`-natt INITIATOR [PORT] RESPONDER [PORT]`: original addresses, and the UDP ports."""

    initiator: IpAddress
    responder: IpAddress
    ports: tuple[int, int]


@dataclass(slots=True)
class Extensions:
    """The optional words of `add`; every 0 and None stands for a word that is not there."""

    mode: int = IpsecMode.ANY
    reqid: int = 0
    replay: int = 0
    hard_secs: int = 0
    soft_secs: int = 0
    hard_bytes: int = 0
    soft_bytes: int = 0
    padding: str = ""
    """seq-pad, random-pad or zero-pad."""
    cyclic: bool | None = None
    esn: bool = False
    natt: Natt | None = None
    fragment_bytes: int = 0


@dataclass(slots=True)
class AddSa:
    """`add`, `update` and `getspi`: a security association, with its keys but for the last of these."""

    place: Place
    satype: int
    sources: tuple[IpAddress, ...]
    destinations: tuple[IpAddress, ...]
    ports: tuple[int, int]
    """UDP ports of an encapsulated association, 0 where none is written."""
    spi: int
    extensions: Extensions
    encryption: Algorithm | None = None
    authentication: Algorithm | None = None
    compression: str = ""
    raw_cpi: bool = False
    encapsulated: bool = False
    old: bool = False
    """In the format of RFC 1826 or RFC 1827."""
    original: IpAddress | None = None
    """What the initiator's address was before it was translated."""
    responder: IpAddress | None = None
    """The same of the responder."""
    verb: str = "add"


@dataclass(slots=True)
class NameSa:
    """`get`, `delete` and `deleteall`: name associations that exist."""

    place: Place
    verb: str
    satype: int
    sources: tuple[IpAddress, ...]
    destinations: tuple[IpAddress, ...]
    spi: int = 0
    remark: str = ""
    """What the old tools warn about and accept."""


@dataclass(slots=True)
class Range:
    """One side of a policy's selector: addresses of one host or network, prefix length and port."""

    addresses: tuple[IpAddress, ...]
    prefixlen: int | None
    port: int


@dataclass(slots=True)
class PolicyStatement:
    """`spdadd`, `spdupdate` and `spddelete`."""

    place: Place
    verb: str
    source: Range
    destination: Range
    upper: int
    policy: Policy


@dataclass(slots=True)
class Whole:
    """`flush`, `dump`, `spdflush`, `spddump` and `exit`: a verb for a whole database."""

    place: Place
    verb: str
    satype: int = SadbSatype.UNSPEC


Statement: TypeAlias = AddSa | NameSa | PolicyStatement | Whole
