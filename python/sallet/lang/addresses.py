"""Reads what names packets and hosts in setkey text: addresses, networks, ports, upper-layer protocols.

No verb and no socket may enter; host names are asked of the `Names` that the caller passes.
Answers to setkey(8): `-4 -6 -n`, `ADDRESS/PREFIX[PORT]`, `icmp6 TYPE,CODE`, `gre KEY`.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from sallet.lang.cursor import Cursor
from sallet.lang.ends import numeric
from sallet.lang.lexer import Complaint
from sallet.lang.statements import IpAddress, Range
from sallet.lang.words import PROTOCOLS

Endpoint: TypeAlias = tuple[tuple[IpAddress, ...], int]
"""Addresses of one end, and its port or 0."""

_FAMILY_FLAGS: Final = re.compile(r"-[46n]+")
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
_DECIMAL: Final = re.compile(r"[0-9]{1,10}")
_ICMP, _GRE, _ICMP6, _MH = 1, 47, 58, 135


def hosts(cursor: Cursor) -> tuple[IpAddress, ...]:
    """Read `[-46n]… HOST` and return its addresses.

    # Errors
    `Complaint` where no address stands or no host of that name is found.
    """
    word = cursor.take()
    address = numeric(word)
    if address is not None and "%" not in word:
        return (address,)
    return _named_hosts(cursor, word)


def _named_hosts(cursor: Cursor, word: str) -> tuple[IpAddress, ...]:
    """Read a host that is not just a number: flags before it, a name, or an offence."""
    flags = ""
    while word[:1] == "-" and _FAMILY_FLAGS.fullmatch(word):
        flags += word[1:]
        word = cursor.take()
    version = _version(flags)
    address = numeric(word)
    if address is not None:
        if version not in (None, address.version):
            raise Complaint(cursor.at - 1, f"`{word}' is not of IP version {version}", f"remove -{version}")
        if address.version == 6 and "%" in word:
            raise Complaint(cursor.at - 1, "addresses with a scope are not provided", "write it without %")
        return (address,)
    if "n" in flags or not _NAME.fullmatch(word) or word[-1].isdigit():
        raise Complaint(
            cursor.at - 1,
            f"`{word}' is no address" if word else "an address is missing",
            "write it in numbers",
            classic="syntax error",
        )
    found = tuple(cursor.names.host(word, version))
    if not found:
        raise Complaint(
            cursor.at - 1,
            f"no address of `{word}' is found",
            "write its address in numbers",
            classic="Name or service not known",
        )
    return found


def _version(flags: str) -> int | None:
    """Return the IP version that the flags ask for; both or none ask for any."""
    if ("4" in flags) == ("6" in flags):
        return None
    return 4 if "4" in flags else 6


def endpoint(cursor: Cursor) -> Endpoint:
    """Read one address of an association, with a port where the form knows one."""
    return with_port(cursor) if cursor.form.ipsec_tools else (hosts(cursor), 0)


def with_port(cursor: Cursor) -> Endpoint:
    """Read one address and the port behind it, if one stands there."""
    found = hosts(cursor)
    return (found, port(cursor)) if cursor.peek() == "[" else (found, 0)


def original(cursor: Cursor) -> IpAddress | None:
    """Read the original address behind `esp-udp`, or the word any."""
    if cursor.peek() == "any":
        cursor.at += 1
        return None
    return hosts(cursor)[0]


def network(cursor: Cursor) -> Range:
    """Read one side of a selector."""
    found = hosts(cursor)
    prefixlen = None
    if cursor.peek() == "/":
        cursor.at += 1
        word = cursor.take()
        width = found[0].max_prefixlen
        if not _DECIMAL.fullmatch(word) or int(word) > width:
            raise Complaint(
                cursor.at - 1,
                f"the prefix of an IPv{found[0].version} address has 0 to {width} bits",
                f"write a length from 0 to {width}",
                classic="Invalid prefix length" if _DECIMAL.fullmatch(word) else "syntax error",
            )
        prefixlen = int(word)
    return Range(found, prefixlen, port(cursor) if cursor.peek() == "[" else 0)


def port(cursor: Cursor) -> int:
    """Read `[PORT]`: a number, a service by name, or any."""
    cursor.at += 1
    word = cursor.take()
    if word == "any":
        number: int | None = 0
    elif _DECIMAL.fullmatch(word):
        number = int(word)
    else:
        number = cursor.names.service(word) if _NAME.fullmatch(word) else None
    if number is None or number > 65535:
        raise Complaint(
            cursor.at - 1, f"`{word}' is no port", "write a number up to 65535, the name of a service, or any"
        )
    if cursor.take() != "]":
        raise Complaint(cursor.at - 1, "a bracket closes the port", "write [PORT]")
    return number


def share_family(sources: tuple[IpAddress, ...], destinations: tuple[IpAddress, ...]) -> bool:
    """Say whether some source and some destination are of one IP version."""
    if sources[0].version == destinations[0].version:
        return True
    return not {one.version for one in sources}.isdisjoint(other.version for other in destinations)


def same_family(cursor: Cursor, source: Range, destination: Range) -> None:
    """Refuse a selector whose two sides share no family."""
    if not share_family(source.addresses, destination.addresses):
        raise Complaint(
            cursor.at - 1,
            "source and destination are of different families",
            "write two IPv4 or two IPv6 networks",
            classic="Family mismatch",
        )


def upper(cursor: Cursor, source: Range, destination: Range) -> int:
    """Read the upper-layer protocol; type and code, or a key, go into the two ports.

    # Errors
    `Complaint` where no protocol stands.
    """
    word = cursor.take()
    known = PROTOCOLS.get(word)
    if known is None and _DECIMAL.fullmatch(word):
        known = int(word)
    elif known is None and _NAME.fullmatch(word):
        known = cursor.names.protocol(word)
    if known is None or known > 255:
        raise Complaint(
            cursor.at - 1,
            f"`{word}' is no protocol" if word else "the upper-layer protocol is missing",
            "write any, tcp, udp, icmp, icmp6 or a number up to 255",
        )
    if cursor.peek()[:1].isdigit():
        if known == _GRE and cursor.form.ipsec_tools:
            source.port, destination.port = _gre_key(cursor)
        elif known == _ICMP6 or (known in (_ICMP, _MH) and cursor.form.ipsec_tools):
            source.port, destination.port = _type_and_code(cursor)
    return known


def _type_and_code(cursor: Cursor) -> tuple[int, int]:
    """Read `TYPE,CODE`."""
    kind = cursor.number("a type", 255)
    if cursor.take() != ",":
        raise Complaint(cursor.at - 1, "a comma and the code follow the type", "write TYPE,CODE")
    return kind, cursor.number("a code", 255)


def _gre_key(cursor: Cursor) -> tuple[int, int]:
    """Read a GRE key, a number or a dotted quad, and return its two halves."""
    word = cursor.peek()
    dotted = numeric(word) if "." in word else None
    if dotted is not None and dotted.version == 4:
        cursor.at += 1
        key = int(dotted)
    else:
        key = cursor.number("a GRE key", 0xFFFFFFFF)
    return key >> 16, key & 0xFFFF
