"""Reads the optional words of `add`: mode, request id, window, lifetimes, flags.

No verb, no address and no algorithm may enter. Answers to setkey(8) of KAME and ipsec-tools.
Words whose meaning lives in another system are known, so that they can be refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sallet.lang import addresses
from sallet.lang.cursor import Cursor
from sallet.lang.lexer import Complaint
from sallet.lang.statements import Extensions, Natt
from sallet.lang.words import NOT_PROVIDED
from sallet.pfkey.constants import IpsecMode

_MODES: Final = {"transport": IpsecMode.TRANSPORT, "tunnel": IpsecMode.TUNNEL, "any": IpsecMode.ANY}
_PADDINGS: Final = ("seq-pad", "random-pad", "zero-pad")
ELSEWHERE: Final = {
    "-ctx": "security contexts belong to SELinux, which asks the kernel and not this daemon",
    "-esp_frag": "this PF_KEY dialect has no extension for it",
    "-hwif": "there is no hardware to offload to",
    "tagged": "packet tags belong to the BSD packet filters",
}
_ELSEWHERE_NEXT: Final = {
    "-esp_frag": "use --form netbsd, or remove it and lower the MTU of the route",
    "tagged": "write the two networks and the protocol instead",
}
_OPTION_END: Final = frozenset({"-E", "-A", "-C"})


def refuse_elsewhere(cursor: Cursor) -> None:
    """Refuse a word of the grammar whose meaning lives in another system."""
    word = cursor.peek()
    raise Complaint(
        cursor.at,
        f"{word} is {NOT_PROVIDED}: {ELSEWHERE[word]}",
        _ELSEWHERE_NEXT.get(word, "remove it"),
        classic=f"{word} is {NOT_PROVIDED}",
    )


def read(cursor: Cursor) -> Extensions:
    """Read the optional words of an association."""
    found = Extensions()
    while (word := cursor.peek())[:1] == "-" and word not in _OPTION_END:
        reader = EXTENSIONS.get(word)
        if reader is None:
            if word in ELSEWHERE:
                refuse_elsewhere(cursor)
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


def _natt(cursor: Cursor, found: Extensions) -> None:
    if not cursor.form.natt:
        raise Complaint(
            cursor.at - 1,
            "this spelling is FreeBSD's",
            "write add SOURCE[port] DESTINATION[port] esp-udp …, or use --form freebsd",
        )
    (initiator, first), (responder, second) = addresses.with_port(cursor), addresses.with_port(cursor)
    found.natt = Natt(initiator[0], responder[0], (first, second))


def _esp_frag(cursor: Cursor, found: Extensions) -> None:
    if not cursor.form.esp_frag:
        cursor.at -= 1
        refuse_elsewhere(cursor)
    found.fragment_bytes = cursor.number("the length of a packet", 0xFFFF)


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
    "-natt": _natt,
    "-esp_frag": _esp_frag,
}
