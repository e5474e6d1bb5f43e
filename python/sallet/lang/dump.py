"""Prints associations as `setkey -D` does, byte for byte; policies through `dump_policies`.

No socket and no clock may enter: the time is an argument. Answers to setkey(8), all kinds of it.
"""

from __future__ import annotations

from typing import Final

from sallet.lang.dump_parts import moment, part, word
from sallet.lang.dump_policies import NO_SPD, policy_head, request_text
from sallet.lang.dump_policies import text as spd
from sallet.lang.forms import FORMS, Form
from sallet.pfkey.constants import (
    IpsecMode,
    NatTraversalType,
    SadbCompression,
    SadbExtType,
    SadbSaState,
    SadbSatype,
)
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import (
    Address,
    Key,
    Lifetime,
    Message,
    NatFragment,
    NatPort,
    NatType,
    Replay,
    Sa,
    Sa2,
)

__all__ = [
    "NO_SAD",
    "NO_SPD",
    "larval",
    "mode_word",
    "part",
    "policy_head",
    "request_text",
    "sad",
    "satype_word",
    "spd",
    "state_word",
    "window",
]

NO_SAD: Final = "No SAD entries.\n"

_SATYPES: Final[dict[int, str]] = {
    SadbSatype.UNSPEC: "unspec",
    SadbSatype.AH: "ah",
    SadbSatype.ESP: "esp",
    SadbSatype.RSVP: "rsvp",
    SadbSatype.OSPFV2: "ospfv2",
    SadbSatype.RIPV2: "ripv2",
    SadbSatype.MIP: "mip",
    SadbSatype.X_IPCOMP: "ipcomp",
    SadbSatype.X_TCPSIGNATURE: "tcp",
}
_MODES: Final[dict[int, str]] = {
    IpsecMode.ANY: "any",
    IpsecMode.TRANSPORT: "transport",
    IpsecMode.TUNNEL: "tunnel",
}
_STATES: Final[dict[int, str]] = {
    SadbSaState.LARVAL: "larval",
    SadbSaState.MATURE: "mature",
    SadbSaState.DYING: "dying",
    SadbSaState.DEAD: "dead",
}
_COMPRESSIONS: Final[dict[int, str]] = {int(number): number.name.lower() for number in SadbCompression}
_KEY_LINE_BYTES: Final = 32


def sad(message: Message, form: str, now: int, *, ports: bool = False) -> str:
    """Print one association out of a DUMP or GET reply; `now` is in seconds since 1970.

    Keys are printed as the old tools print them: whoever may ask the daemon for them may see them.
    """
    row = FORMS[form]
    sa = part(message, SadbExtType.SA, Sa) or Sa(0)
    sa2 = part(message, SadbExtType.X_SA2, Sa2) or Sa2()
    encapsulation = part(message, SadbExtType.X_NAT_T_TYPE, NatType)
    encapsulated = encapsulation is not None
    protocol = word(_SATYPES, message.satype)
    if encapsulation is not None and message.satype == SadbSatype.ESP:
        draft = row.ipsec_tools and encapsulation.type == NatTraversalType.NON_IKE
        protocol = "natt+esp" if draft else "esp-udp"
    lines = [
        _ends(message, row, encapsulated or ports),
        f"\t{protocol} mode={word(_MODES, sa2.mode)} spi={sa.spi}(0x{sa.spi:08x}) "
        f"reqid={sa2.reqid}(0x{sa2.reqid:08x})\n",
        _original_line(message, row),
        _fragment_line(message, row),
        *_algorithm_lines(message, sa, row),
        f"\tseq=0x{sa2.sequence:08x} replay={window(message, sa, form)} flags=0x{sa.flags:08x} "
        f"state={word(_STATES, sa.state)} \n",
        *_lifetime_lines(message, now),
        f"\tsadb_seq={message.seq} pid={message.pid} refcnt={message.reserved}\n",
    ]
    return "".join(lines)


def larval(message: Message) -> str:
    """Print what GETSPI answered: the SPI that an association will have."""
    sa = part(message, SadbExtType.SA, Sa) or Sa(0)
    ends = (part(message, kind, Address) for kind in (SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST))
    words = " ".join(str(end.address) if end else "unknown" for end in ends)
    return f"{words} {word(_SATYPES, message.satype)} spi={sa.spi}(0x{sa.spi:08x}) state=larval\n"


def _original_line(message: Message, row: Form) -> str:
    """Print the addresses that a NAT translated, where the message carries them."""
    found = [part(message, kind, Address) for kind in (SadbExtType.X_NAT_T_OAI, SadbExtType.X_OAR_OR_SEC_CTX)]
    if not row.nat_line or not any(found):
        return ""
    words = [str(address.address) if address else "unknown" for address in found]
    return row.nat_line.format(*words) + "\n"


def _fragment_line(message: Message, row: Form) -> str:
    """Print to what length packets are cut before they go into UDP."""
    found = part(message, SadbExtType.X_NAT_T_FRAG, NatFragment)
    return f"\tNAT-T esp_frag={found.octets}\n" if found and row.esp_frag else ""


def _ends(message: Message, row: Form, ports: bool) -> str:
    """Print the line with the two addresses."""
    words = []
    for kind, port_kind in (
        (SadbExtType.ADDRESS_SRC, SadbExtType.X_NAT_T_SPORT),
        (SadbExtType.ADDRESS_DST, SadbExtType.X_NAT_T_DPORT),
    ):
        address = part(message, kind, Address)
        port = part(message, port_kind, NatPort)
        word = str(address.address) if address else "unknown"
        if ports:
            word += f"[{port.port if port else address.port if address else 0}]"
        words.append(word)
    return " ".join(words) + (" \n" if row.trailing_blank else "\n")


def window(message: Message, sa: Sa, form: str) -> int:
    """Return the replay window in the dialect's unit, from the extension for large ones where it stands."""
    large = part(message, SadbExtType.X_SA_REPLAY, Replay)
    if large is None or not large.window:
        return sa.replay
    return large.window // DIALECTS[FORMS[form].dialect].replay_unit


def _algorithm_lines(message: Message, sa: Sa, row: Form) -> list[str]:
    """Print the compression, or each algorithm that has a key."""
    if message.satype == SadbSatype.X_IPCOMP:
        # The old tools print no newline here; the next line goes on behind the blank.
        return [f"\tC: {word(_COMPRESSIONS, sa.encrypt)} "]
    dialect = DIALECTS[row.dialect]
    lines = []
    for letter, kind, number, names, words in (
        ("E", SadbExtType.KEY_ENCRYPT, sa.encrypt, dialect.encrypt_names, row.cipher_names),
        ("A", SadbExtType.KEY_AUTH, sa.auth, dialect.auth_names, row.mac_names),
    ):
        key = part(message, kind, Key)
        if key is not None:
            name = names.get(number, str(number))
            lines.append(f"\t{letter}: {words.get(name, name)} {_key_text(key.data)}\n")
    return lines


def _key_text(key: bytes) -> str:
    """Print a key in words of four bytes, with a newline behind each 32 bytes but the last."""
    text = []
    for at in range(0, len(key), 4):
        if at and at % _KEY_LINE_BYTES == 0:
            text.append("\n")
        text.append(" " + key[at : at + 4].hex())
    return "".join(text)


def satype_word(number: int) -> str:
    """Return the word for a kind of association."""
    return word(_SATYPES, number)


def mode_word(number: int) -> str:
    """Return the word for a mode."""
    return word(_MODES, number)


def state_word(number: int) -> str:
    """Return the word for a state."""
    return word(_STATES, number)


def _lifetime_lines(message: Message, now: int) -> list[str]:
    """Print the consumption and the limits, where the message carries them."""
    current = part(message, SadbExtType.LIFETIME_CURRENT, Lifetime)
    if current is None:
        return []
    hard = part(message, SadbExtType.LIFETIME_HARD, Lifetime) or Lifetime()
    soft = part(message, SadbExtType.LIFETIME_SOFT, Lifetime) or Lifetime()
    age = now - current.addtime if current.addtime else 0
    return [
        f"\tcreated: {moment(current.addtime)}\tcurrent: {moment(now)}\n",
        f"\tdiff: {age}(s)\thard: {hard.addtime}(s)\tsoft: {soft.addtime}(s)\n",
        f"\tlast: {moment(current.usetime)}\thard: {hard.usetime}(s)\tsoft: {soft.usetime}(s)\n",
        f"\tcurrent: {current.bytes}(bytes)\thard: {hard.bytes}(bytes)\tsoft: {soft.bytes}(bytes)\n",
        f"\tallocated: {current.allocations}\thard: {hard.allocations}\tsoft: {soft.allocations}\n",
    ]
