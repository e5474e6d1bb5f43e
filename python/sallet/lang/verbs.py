"""The verbs of setkey: one function for each, found in a table.

No socket, no look-up on the host and no PF_KEY number may enter. Answers to setkey(8), all kinds of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sallet.lang import addresses, algorithms, extensions
from sallet.lang.cursor import Cursor
from sallet.lang.lexer import Complaint
from sallet.lang.policy_string import DIRECTIONS, parse_tokens
from sallet.lang.statements import AddSa, NameSa, PolicyStatement, Statement, Whole
from sallet.pfkey.constants import IpsecPolicyType, SadbSatype

_SATYPES: Final = {
    "esp": SadbSatype.ESP,
    "ah": SadbSatype.AH,
    "ipcomp": SadbSatype.X_IPCOMP,
    "tcp": SadbSatype.X_TCPSIGNATURE,
    "esp-udp": SadbSatype.ESP,
    "esp-old": SadbSatype.ESP,
    "ah-old": SadbSatype.AH,
}
_OLD: Final = {"esp-old": "RFC 1827", "ah-old": "RFC 1826"}
_RESERVED_SPIS: Final = 255


def _protocol(cursor: Cursor) -> tuple[int, str]:
    """Read the protocol of an association: its SATYPE, and the word, which may say more."""
    word = cursor.take()
    if word in _OLD and word not in cursor.form.old_formats:
        raise Complaint(
            cursor.at - 1, f"{word} is the form of {_OLD[word]}, which is not provided", f"write {word[:-4]}"
        )
    satype = _SATYPES.get(word)
    if satype is None or (word == "esp-udp" and not cursor.form.ipsec_tools):
        raise Complaint(
            cursor.at - 1, "the protocol of an SA is esp, ah, ipcomp, tcp or esp-udp", "write esp or ah"
        )
    return satype, word


def _pair(cursor: Cursor) -> tuple[addresses.Endpoint, addresses.Endpoint]:
    """Read the two addresses of an association."""
    source = addresses.endpoint(cursor)
    destination = addresses.endpoint(cursor)
    if not addresses.share_family(source[0], destination[0]):
        raise Complaint(
            cursor.at - 1,
            "source and destination are of different families",
            "write two IPv4 or two IPv6 addresses",
            classic="Family mismatch",
        )
    return source, destination


def _spi(cursor: Cursor, satype: int) -> int:
    """Read an SPI, decimal or hexadecimal; 0 asks `getspi` for any."""
    spi = cursor.number("an SPI", 0xFFFFFFFF)
    if spi == 0 and cursor.tokens[0] == "getspi":
        return spi
    if cursor.form.strict_spi and spi <= _RESERVED_SPIS and satype in (SadbSatype.ESP, SadbSatype.AH):
        raise Complaint(
            cursor.at - 1,
            f"SPI {spi} is reserved: SPIs 0 to 255 are IANA's (RFC 4303 section 2.1)",
            "choose one from 256 up",
            classic="SPI range violation",
        )
    return spi


def _add(cursor: Cursor) -> Statement:
    """`add` and `update SOURCE DESTINATION PROTOCOL SPI [EXTENSION]… ALGORITHMS`."""
    statement = _association(cursor)
    algorithms.read(cursor, statement)
    return statement


def _association(cursor: Cursor) -> AddSa:
    """Read what `add`, `update` and `getspi` have in common: everything but the algorithms."""
    verb = cursor.tokens[0]
    if verb != "add" and not cursor.form.negotiates:
        raise Complaint(0, f"`{verb}' is no verb of this form", "use --form sallet or netbsd")
    source, destination = _pair(cursor)
    satype, word = _protocol(cursor)
    encapsulated = word == "esp-udp"
    original = addresses.original(cursor) if encapsulated and not cursor.at_number() else None
    ports = (source[1], destination[1])
    if any(ports) and not encapsulated and cursor.form.strict_spi:
        raise Complaint(
            cursor.at - 1, "only an SA inside UDP has ports", "write esp-udp, or remove the ports"
        )
    spi = _spi(cursor, satype)
    words = extensions.read(cursor)
    if words.natt is not None and satype != SadbSatype.ESP:
        raise Complaint(cursor.at - 1, "only esp goes inside UDP", "remove -natt")
    return AddSa(
        cursor.place,
        satype,
        source[0],
        destination[0],
        words.natt.ports if words.natt else ports,
        spi,
        words,
        encapsulated=encapsulated or words.natt is not None,
        old=word in _OLD,
        original=words.natt.initiator if words.natt else original,
        responder=words.natt.responder if words.natt else None,
        verb=verb,
    )


def _name_sa(cursor: Cursor) -> Statement:
    """`get` and `delete SOURCE DESTINATION PROTOCOL SPI`."""
    verb = cursor.tokens[0]
    source, destination = _pair(cursor)
    satype, _ = _protocol(cursor)
    spi = 0 if verb == "deleteall" else cursor.number("an SPI", 0xFFFFFFFF)
    remark = "WARNING: mode is obsolete." if cursor.peek()[:1] == "-" else ""
    if remark:
        extensions.read(cursor)
    return NameSa(cursor.place, verb, satype, source[0], destination[0], spi, remark)


def _whole_sad(cursor: Cursor) -> Statement:
    """`flush [PROTOCOL]` and `dump [PROTOCOL]`."""
    satype = _protocol(cursor)[0] if cursor.peek() else SadbSatype.UNSPEC
    return Whole(cursor.place, cursor.tokens[0], satype)


def _whole(cursor: Cursor) -> Statement:
    """`spdflush` and `spddump`."""
    return Whole(cursor.place, cursor.tokens[0])


def _exit(cursor: Cursor) -> Statement:
    """`exit`, `quit`, `bye`: nothing behind it is read."""
    if not cursor.form.ipsec_tools:
        raise Complaint(0, f"`{cursor.tokens[0]}' is no verb of this form", "remove it")
    return Whole(cursor.place, "exit")


def _policy(cursor: Cursor) -> Statement:
    """`spdadd`, `spdupdate` and `spddelete RANGE RANGE UPPER -P POLICY`."""
    verb = cursor.tokens[0]
    if verb == "spdupdate" and not cursor.form.ipsec_tools:
        raise Complaint(0, "`spdupdate' is no verb of this form", "write spddelete and spdadd")
    if cursor.peek() == "tagged":
        extensions.refuse_elsewhere(cursor)
    source = addresses.network(cursor)
    destination = addresses.network(cursor)
    addresses.same_family(cursor, source, destination)
    upper = addresses.upper(cursor, source, destination)
    if cursor.peek() in extensions.ELSEWHERE:
        extensions.refuse_elsewhere(cursor)
    if cursor.peek() == "[":
        raise Complaint(
            cursor.at, "a port stands behind its address, not behind the protocol", "write ADDRESS[PORT]"
        )
    if cursor.take() != "-P":
        raise Complaint(
            cursor.at - 1, "-P and the policy follow the protocol", "write -P in, -P out or -P fwd"
        )
    start = cursor.at
    try:
        form = cursor.form
        policy = parse_tokens(tuple(cursor.tokens[start:]), form.grammar)
    except Complaint as complaint:
        complaint.index += start
        raise
    cursor.at = len(cursor.tokens)
    if cursor.tokens[start] == "fwd" and not form.ipsec_tools:
        raise Complaint(start, "this form has no list for forwarded packets", "write -P in")
    if verb != "spddelete":
        _installable(cursor, start, policy.type, bool(policy.requests))
    return PolicyStatement(cursor.place, verb, source, destination, upper, policy)


def _installable(cursor: Cursor, start: int, action: int, has_requests: bool) -> None:
    """Refuse what only sockets take, and a bare direction."""
    words = cursor.tokens[start:]
    if len(words) == 1 and words[0] in DIRECTIONS:
        raise Complaint(len(cursor.tokens), "the policy has no action", "write ipsec, none or discard")
    if not cursor.form.strict_keys:
        return
    if action in (IpsecPolicyType.ENTRUST, IpsecPolicyType.BYPASS):
        raise Complaint(
            start,
            "entrust and bypass are policies of a socket, not of the SPD",
            "write none to leave packets alone",
        )
    if action == IpsecPolicyType.IPSEC and not has_requests:
        raise Complaint(
            len(cursor.tokens), "ipsec asks for at least one rule", "write for example esp/transport//require"
        )


VERBS: Final[dict[str, Callable[[Cursor], Statement]]] = {
    "add": _add,
    "update": _add,
    "getspi": _association,
    "get": _name_sa,
    "delete": _name_sa,
    "deleteall": _name_sa,
    "flush": _whole_sad,
    "dump": _whole_sad,
    "spdadd": _policy,
    "spdupdate": _policy,
    "spddelete": _policy,
    "spdflush": _whole,
    "spddump": _whole,
    "exit": _exit,
    "quit": _exit,
    "bye": _exit,
}
