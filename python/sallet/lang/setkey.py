"""The grammar of setkey: one function for each verb, found in a table.

No socket, no look-up on the host and no PF_KEY number may enter. Answers to setkey(8), both kinds.
`parse` reads a whole text; `statements` reads on demand, as the tools that act command by command do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sallet.lang import addresses, algorithms
from sallet.lang.cursor import Cursor
from sallet.lang.forms import FORMS, Form
from sallet.lang.lexer import Chunk, Complaint, SetkeyError, chunks, raise_placed
from sallet.lang.policy_string import DIRECTIONS, parse_tokens
from sallet.lang.setkey_messages import plan, remarks, to_messages
from sallet.lang.statements import (
    AddSa,
    Extensions,
    Names,
    NameSa,
    NoNames,
    Place,
    PolicyStatement,
    Statement,
    Whole,
)
from sallet.pfkey.constants import IpsecDirection, IpsecMode, IpsecPolicyType, SadbSatype

__all__ = ["check", "parse", "plan", "remarks", "statements", "to_messages"]

_SATYPES: Final = {
    "esp": SadbSatype.ESP,
    "ah": SadbSatype.AH,
    "ipcomp": SadbSatype.X_IPCOMP,
    "tcp": SadbSatype.X_TCPSIGNATURE,
    "esp-udp": SadbSatype.ESP,
}
_OLD: Final = {"esp-old": "RFC 1827", "ah-old": "RFC 1826"}
_MODES: Final = {"transport": IpsecMode.TRANSPORT, "tunnel": IpsecMode.TUNNEL, "any": IpsecMode.ANY}
_PADDINGS: Final = ("seq-pad", "random-pad", "zero-pad")
_ELSEWHERE: Final = {
    "-ctx": "security contexts belong to SELinux, which asks the kernel and not this daemon",
    "-esp_frag": "fragmenting before ESP-in-UDP is not provided",
    "-hwif": "there is no hardware to offload to",
    "-natt": "this spelling is FreeBSD's",
    "tagged": "packet tags belong to the BSD packet filters",
}
_ELSEWHERE_NEXT: Final = {
    "-natt": "write add SOURCE[port] DESTINATION[port] esp-udp ...",
    "-esp_frag": "remove it; lower the MTU of the route instead",
}
_RESERVED_SPIS: Final = 255
_OPTION_END: Final = frozenset({"-E", "-A", "-C"})


def parse(
    text: str, *, filename: str = "<text>", form: str = "sallet", resolve: Names | None = None
) -> list[Statement]:
    """Read a whole setkey text.

    # Errors
    `SetkeyError` for the first statement that is none.
    """
    return list(statements(text, filename=filename, form=form, resolve=resolve))


def check(
    text: str, *, filename: str = "<text>", form: str = "sallet", resolve: Names | None = None, most: int = 20
) -> tuple[list[Statement], list[SetkeyError]]:
    """Read a whole setkey text and go on behind each error, up to so many errors."""
    reader = _Reader(text, filename, FORMS[form], resolve or NoNames())
    good: list[Statement] = []
    bad: list[SetkeyError] = []
    for chunk in chunks(text):
        try:
            statement = reader.statement(chunk)
        except SetkeyError as error:
            bad.append(error)
            if len(bad) >= most:
                break
            continue
        if statement is None:
            continue
        if isinstance(statement, Whole) and statement.verb == "exit":
            break
        good.append(statement)
    return good, bad


def statements(
    text: str, *, filename: str = "<text>", form: str = "sallet", resolve: Names | None = None
) -> Iterator[Statement]:
    """Yield the statements of a text one by one, up to `exit`.

    # Errors
    `SetkeyError` at the statement that is none; those before it have been yielded.
    """
    reader = _Reader(text, filename, FORMS[form], resolve or NoNames())
    for chunk in chunks(text):
        statement = reader.statement(chunk)
        if statement is None:
            continue
        if isinstance(statement, Whole) and statement.verb == "exit":
            return
        yield statement


class _Reader:
    """Turns chunks of one text into statements."""

    __slots__ = ("filename", "form", "names", "text")

    def __init__(self, text: str, filename: str, form: Form, names: Names) -> None:
        self.text = text
        self.filename = filename
        self.form = form
        self.names = names

    def statement(self, chunk: Chunk) -> Statement | None:
        """Read one chunk; an empty statement is None.

        # Errors
        `SetkeyError` with the place of the token that offends.
        """
        tokens = chunk.tokens
        if not tokens and chunk.closed:
            return None
        cursor = Cursor(
            tokens, self.form, self.names, Place(chunk.line, chunk.column, chunk.length, chunk.last_line)
        )
        try:
            verb = VERBS.get(tokens[0]) if tokens else None
            if verb is None:
                raise Complaint(
                    0,
                    "this is no verb of setkey",
                    "the verbs are add, get, delete, flush, dump, spdadd, spddelete …",
                )
            cursor.at = 1
            statement = verb(cursor)
            if cursor.at < len(tokens):
                raise Complaint(
                    cursor.at,
                    f"`{tokens[cursor.at]}' is not expected here",
                    "end the statement with a semicolon",
                )
            if not chunk.closed:
                raise Complaint(len(tokens), "the statement does not end", "end it with a semicolon")
        except Complaint as complaint:
            raise_placed(_unended(complaint, tokens), self.text, self.filename, chunk)
        return statement


def _unended(complaint: Complaint, tokens: list[str]) -> Complaint:
    """Say of a verb in the middle of a statement that the semicolon before it is missing."""
    at = complaint.index
    if 0 < at < len(tokens) and tokens[at] in VERBS:
        complaint.text = f"`{tokens[at]}' begins a statement, and the one before it does not end"
        complaint.next_step = "end the statement before it with a semicolon"
    return complaint


def _protocol(cursor: Cursor) -> tuple[int, bool]:
    """Read the protocol of an association: its SATYPE, and whether UDP carries it."""
    word = cursor.take()
    if word in _OLD:
        raise Complaint(
            cursor.at - 1, f"{word} is the form of {_OLD[word]}, which is not provided", f"write {word[:-4]}"
        )
    satype = _SATYPES.get(word)
    if satype is None or (word == "esp-udp" and not cursor.form.ipsec_tools):
        raise Complaint(
            cursor.at - 1, "the protocol of an SA is esp, ah, ipcomp, tcp or esp-udp", "write esp or ah"
        )
    return satype, word == "esp-udp"


def _pair(cursor: Cursor) -> tuple[addresses.Endpoint, addresses.Endpoint]:
    """Read the two addresses of an association."""
    source = addresses.endpoint(cursor)
    destination = addresses.endpoint(cursor)
    if not any(one.version == other.version for one in source[0] for other in destination[0]):
        raise Complaint(
            cursor.at - 1,
            "source and destination are of different families",
            "write two IPv4 or two IPv6 addresses",
            classic="Family mismatch",
        )
    return source, destination


def _spi(cursor: Cursor, satype: int) -> int:
    """Read an SPI, decimal or hexadecimal."""
    spi = cursor.number("an SPI", 0xFFFFFFFF)
    if cursor.form.strict_spi and spi <= _RESERVED_SPIS and satype in (SadbSatype.ESP, SadbSatype.AH):
        raise Complaint(
            cursor.at - 1,
            f"SPI {spi} is reserved: SPIs 0 to 255 are IANA's (RFC 4303 section 2.1)",
            "choose one from 256 up",
            classic="SPI range violation",
        )
    return spi


def _add(cursor: Cursor) -> Statement:
    """`add SOURCE DESTINATION PROTOCOL SPI [EXTENSION]… ALGORITHMS`."""
    source, destination = _pair(cursor)
    satype, encapsulated = _protocol(cursor)
    original = addresses.original(cursor) if encapsulated and not cursor.at_number() else None
    ports = (source[1], destination[1])
    if any(ports) and not encapsulated and cursor.form.strict_spi:
        raise Complaint(
            cursor.at - 1, "only an SA inside UDP has ports", "write esp-udp, or remove the ports"
        )
    spi = _spi(cursor, satype)
    extensions = _extensions(cursor)
    statement = AddSa(
        cursor.place,
        satype,
        source[0],
        destination[0],
        ports,
        spi,
        extensions,
        encapsulated=encapsulated,
        original=original,
    )
    algorithms.read(cursor, statement)
    return statement


def _name_sa(cursor: Cursor) -> Statement:
    """`get` and `delete SOURCE DESTINATION PROTOCOL SPI`."""
    verb = cursor.tokens[0]
    source, destination = _pair(cursor)
    satype, _ = _protocol(cursor)
    spi = 0 if verb == "deleteall" else cursor.number("an SPI", 0xFFFFFFFF)
    remark = "WARNING: mode is obsolete." if cursor.peek()[:1] == "-" else ""
    if remark:
        _extensions(cursor)
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
        raise Complaint(0, "this is no verb of setkey", "remove it")
    return Whole(cursor.place, "exit")


def _policy(cursor: Cursor) -> Statement:
    """`spdadd`, `spdupdate` and `spddelete RANGE RANGE UPPER -P POLICY`."""
    verb = cursor.tokens[0]
    if verb == "spdupdate" and not cursor.form.ipsec_tools:
        raise Complaint(0, "this is no verb of setkey", "write spdadd")
    if cursor.peek() == "tagged":
        _refuse_elsewhere(cursor)
    source = addresses.network(cursor)
    destination = addresses.network(cursor)
    addresses.same_family(cursor, source, destination)
    upper = addresses.upper(cursor, source, destination)
    if cursor.peek() in _ELSEWHERE:
        _refuse_elsewhere(cursor)
    if cursor.take() != "-P":
        raise Complaint(
            cursor.at - 1, "-P and the policy follow the protocol", "write -P in, -P out or -P fwd"
        )
    start = cursor.at
    try:
        policy = parse_tokens(tuple(cursor.tokens[start:]), cursor.form.priority, cursor.form.strict_keys)
    except Complaint as complaint:
        complaint.index += start
        raise
    cursor.at = len(cursor.tokens)
    if policy.direction == IpsecDirection.FORWARD and not cursor.form.ipsec_tools:
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


def _refuse_elsewhere(cursor: Cursor) -> None:
    """Refuse a word of the grammar whose meaning lives in another system."""
    word = cursor.peek()
    raise Complaint(cursor.at, _ELSEWHERE[word], _ELSEWHERE_NEXT.get(word, "remove it"))


def _extensions(cursor: Cursor) -> Extensions:
    """Read the optional words of an association."""
    found = Extensions()
    while (word := cursor.peek())[:1] == "-" and word not in _OPTION_END:
        reader = EXTENSIONS.get(word)
        if reader is None:
            if word in _ELSEWHERE:
                _refuse_elsewhere(cursor)
            raise Complaint(
                cursor.at, f"`{word}' is no word of add", "they are -m -u -r -f -lh -ls -bh -bs -esn"
            )
        cursor.at += 1
        reader(cursor, found)
    return found


def _mode(cursor: Cursor, found: Extensions) -> None:
    mode = _MODES.get(cursor.take())
    if mode is None:
        raise Complaint(cursor.at - 1, "the mode of an SA is transport, tunnel or any", "write -m transport")
    found.mode = mode


def _reqid(cursor: Cursor, found: Extensions) -> None:
    found.reqid = cursor.number("a request id", 0xFFFFFFFF)


def _replay(cursor: Cursor, found: Extensions) -> None:
    found.replay = cursor.number("the size of a replay window", cursor.form.window_max)


def _hard_secs(cursor: Cursor, found: Extensions) -> None:
    found.hard_secs = cursor.number("a lifetime in seconds", 0xFFFFFFFFFFFFFFFF)


def _soft_secs(cursor: Cursor, found: Extensions) -> None:
    found.soft_secs = cursor.number("a lifetime in seconds", 0xFFFFFFFFFFFFFFFF)


def _hard_bytes(cursor: Cursor, found: Extensions) -> None:
    _only_ipsec_tools(cursor)
    found.hard_bytes = cursor.number("a lifetime in bytes", 0xFFFFFFFFFFFFFFFF)


def _soft_bytes(cursor: Cursor, found: Extensions) -> None:
    _only_ipsec_tools(cursor)
    found.soft_bytes = cursor.number("a lifetime in bytes", 0xFFFFFFFFFFFFFFFF)


def _flag(cursor: Cursor, found: Extensions) -> None:
    word = cursor.take()
    if word == "nocyclic-seq":
        found.cyclic = False
    elif word == "cyclic-seq":
        found.cyclic = True
    elif word in _PADDINGS:
        found.padding = word
    else:
        raise Complaint(
            cursor.at - 1, "-f takes seq-pad, random-pad, zero-pad, nocyclic-seq or cyclic-seq", "remove -f"
        )


def _esn(cursor: Cursor, found: Extensions) -> None:
    if not cursor.form.strict_keys:
        raise Complaint(cursor.at - 1, "this form has no extended sequence numbers", "use --form sallet")
    found.esn = True


def _only_ipsec_tools(cursor: Cursor) -> None:
    """Refuse a word that KAME's setkey does not have."""
    if not cursor.form.ipsec_tools:
        raise Complaint(cursor.at - 1, "this form has no lifetimes in bytes", "use -lh and -ls")


EXTENSIONS: Final[dict[str, Callable[[Cursor, Extensions], None]]] = {
    "-m": _mode,
    "-u": _reqid,
    "-r": _replay,
    "-lh": _hard_secs,
    "-ls": _soft_secs,
    "-bh": _hard_bytes,
    "-bs": _soft_bytes,
    "-f": _flag,
    "-esn": _esn,
}

VERBS: Final[dict[str, Callable[[Cursor], Statement]]] = {
    "add": _add,
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
