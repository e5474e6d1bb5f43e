"""Prints associations and policies as `setkey -D` and `setkey -DP` do, byte for byte.

No socket and no clock may enter: the time is an argument. Answers to setkey(8) of KAME and of ipsec-tools.
"""

from __future__ import annotations

import time
from typing import Final, TypeVar

from sallet.lang.forms import FORMS, Form
from sallet.lang.policy_string import DIRECTIONS, PRIORITY_DEFAULT
from sallet.lang.words import PROTOCOL_NAMES
from sallet.pfkey.constants import (
    MANUAL_REQID_MAX,
    ULPROTO_ANY,
    IpProtocol,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
    SadbCompression,
    SadbExtType,
    SadbSaState,
    SadbSatype,
)
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import (
    Address,
    Extension,
    Key,
    Lifetime,
    Message,
    NatPort,
    NatType,
    Policy,
    Replay,
    Request,
    Sa,
    Sa2,
)

NO_SAD: Final = "No SAD entries.\n"
NO_SPD: Final = "No SPD entries.\n"

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
_DIRECTIONS: Final[dict[int, str]] = {int(number): word for word, number in DIRECTIONS.items()} | {0: "any"}
_ACTIONS: Final[dict[int, str]] = {
    IpsecPolicyType.DISCARD: "discard",
    IpsecPolicyType.NONE: "none",
    IpsecPolicyType.IPSEC: "ipsec",
    IpsecPolicyType.ENTRUST: "entrust",
    IpsecPolicyType.BYPASS: "bypass",
}
_LEVELS: Final[dict[int, str]] = {
    IpsecLevel.DEFAULT: "default",
    IpsecLevel.USE: "use",
    IpsecLevel.REQUIRE: "require",
    IpsecLevel.UNIQUE: "unique",
}
_PROTOCOLS: Final[dict[int, str]] = {
    IpProtocol.ESP: "esp",
    IpProtocol.AH: "ah",
    IpProtocol.IPCOMP: "ipcomp",
    IpProtocol.TCP: "tcp",
}
_SCOPES: Final = {0: "any", 1: "global", 2: "ifnet", 4: "pcb"}
_COMPRESSIONS: Final[dict[int, str]] = {int(number): number.name.lower() for number in SadbCompression}
_NEVER: Final = " " * 20
_KEY_LINE_BYTES: Final = 32
_PRIORITY_STEP: Final = 0x40000000
_GRE: Final = 47

Kind = TypeVar("Kind", bound=Extension)


def part(message: Message, kind: SadbExtType, shape: type[Kind]) -> Kind | None:
    """Return an extension of the shape that belongs to its kind, or None where the message has none."""
    found = message.get(kind)
    return found if isinstance(found, shape) else None


def sad(message: Message, form: str, now: int, *, ports: bool = False) -> str:
    """Print one association out of a DUMP or GET reply; `now` is in seconds since 1970.

    Keys are printed as the old tools print them: whoever may ask the daemon for them may see them.
    """
    row = FORMS[form]
    sa = part(message, SadbExtType.SA, Sa) or Sa(0)
    sa2 = part(message, SadbExtType.X_SA2, Sa2) or Sa2()
    encapsulated = part(message, SadbExtType.X_NAT_T_TYPE, NatType) is not None
    protocol = _word(_SATYPES, message.satype)
    if encapsulated and message.satype == SadbSatype.ESP:
        protocol = "esp-udp"
    lines = [
        _ends(message, row, encapsulated or ports),
        f"\t{protocol} mode={_word(_MODES, sa2.mode)} spi={sa.spi}(0x{sa.spi:08x}) "
        f"reqid={sa2.reqid}(0x{sa2.reqid:08x})\n",
        *_algorithm_lines(message, sa, row),
        f"\tseq=0x{sa2.sequence:08x} replay={window(message, sa, form)} flags=0x{sa.flags:08x} "
        f"state={_word(_STATES, sa.state)} \n",
        *_lifetime_lines(message, now),
        f"\tsadb_seq={message.seq} pid={message.pid} refcnt={message.reserved}\n",
    ]
    return "".join(lines)


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
        return [f"\tC: {_word(_COMPRESSIONS, sa.encrypt)} "]
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
    return _word(_SATYPES, number)


def mode_word(number: int) -> str:
    """Return the word for a mode."""
    return _word(_MODES, number)


def state_word(number: int) -> str:
    """Return the word for a state."""
    return _word(_STATES, number)


def _lifetime_lines(message: Message, now: int) -> list[str]:
    """Print the consumption and the limits, where the message carries them."""
    current = part(message, SadbExtType.LIFETIME_CURRENT, Lifetime)
    if current is None:
        return []
    hard = part(message, SadbExtType.LIFETIME_HARD, Lifetime) or Lifetime()
    soft = part(message, SadbExtType.LIFETIME_SOFT, Lifetime) or Lifetime()
    age = now - current.addtime if current.addtime else 0
    return [
        f"\tcreated: {_moment(current.addtime)}\tcurrent: {_moment(now)}\n",
        f"\tdiff: {age}(s)\thard: {hard.addtime}(s)\tsoft: {soft.addtime}(s)\n",
        f"\tlast: {_moment(current.usetime)}\thard: {hard.usetime}(s)\tsoft: {soft.usetime}(s)\n",
        f"\tcurrent: {current.bytes}(bytes)\thard: {hard.bytes}(bytes)\tsoft: {soft.bytes}(bytes)\n",
        f"\tallocated: {current.allocations}\thard: {hard.allocations}\tsoft: {soft.allocations}\n",
    ]


def _moment(seconds: int) -> str:
    """Print a time of day as ctime(3) does from the month on, in 20 characters."""
    return time.ctime(seconds)[4:24] if seconds else _NEVER


def spd(message: Message, form: str) -> str:
    """Print one policy out of an SPDDUMP or SPDGET reply."""
    row = FORMS[form]
    policy = part(message, SadbExtType.X_POLICY, Policy) or Policy(IpsecPolicyType.DISCARD, 0)
    current = part(message, SadbExtType.LIFETIME_CURRENT, Lifetime)
    hard = part(message, SadbExtType.LIFETIME_HARD, Lifetime) or Lifetime()
    lines = [_selector_line(message, row), f"\t{policy_head(policy, form)}\n"]
    lines += [f"\t{request_text(request)}\n" for request in policy.requests]
    if current is not None:
        lines.append(f"\tcreated: {_moment(current.addtime)}  lastused: {_moment(current.usetime)}\n")
        lines.append(f"\tlifetime: {hard.addtime}(s) validtime: {hard.usetime}(s)\n")
    scope = f" scope={_word(_SCOPES, policy.scope)} " if row.scopes else ""
    lines.append(
        f"\tspid={policy.id} seq={message.seq} pid={message.pid}{scope}\n\trefcnt={message.reserved}\n"
    )
    return "".join(lines)


def policy_head(policy: Policy, form: str) -> str:
    """Print direction, priority and action of a policy: `out prio def + 1 ipsec`."""
    words = [_word(_DIRECTIONS, policy.direction)]
    if FORMS[form].priority:
        words.append(_priority_text(policy.priority))
    words.append(_word(_ACTIONS, policy.type))
    return " ".join(words)


def _selector_line(message: Message, row: Form) -> str:
    """Print the packets of which a policy speaks."""
    source = part(message, SadbExtType.ADDRESS_SRC, Address)
    destination = part(message, SadbExtType.ADDRESS_DST, Address)
    if source is None or destination is None:
        return "(no selector, probably per-socket policy) \n"
    upper = source.proto
    bare = upper in row.bare_ports
    ends = " ".join(_network_text(side, bare) for side in (source, destination))
    return f"{ends} {_upper_text(upper, source.port, destination.port, row)}\n"


def _network_text(side: Address, bare: bool) -> str:
    """Print one side of a selector."""
    full = side.prefixlen == side.address.max_prefixlen
    port = "" if bare else f"[{side.port or 'any'}]"
    return f"{side.address}{'' if full else f'/{side.prefixlen}'}{port}"


def _upper_text(upper: int, source_port: int, destination_port: int, row: Form) -> str:
    """Print the upper-layer protocol, with type and code or the key that its ports stand for."""
    if upper == ULPROTO_ANY:
        return row.any_word
    word = (
        "ip4" if upper == IpProtocol.IPV4 and row.any_word == "any" else PROTOCOL_NAMES.get(upper, str(upper))
    )
    if upper == IpProtocol.ICMPV6 and row.any_word == "any":
        word = "icmp6"
    if not (source_port or destination_port):
        return word
    if upper in row.coded:
        return f"{word} {source_port},{destination_port}"
    if upper == _GRE and upper in row.bare_ports:
        return f"{word} {source_port << 16 | destination_port}"
    return word


def _priority_text(priority: int) -> str:
    """Print a priority by its distance from the nearest of high, def and low."""
    if priority == 0:
        return "prio def"
    if priority < PRIORITY_DEFAULT // 4 * 3:
        base, word = PRIORITY_DEFAULT - _PRIORITY_STEP, "high"
    elif priority < PRIORITY_DEFAULT // 4 * 5:
        base, word = PRIORITY_DEFAULT, "def"
    else:
        base, word = PRIORITY_DEFAULT + _PRIORITY_STEP, "low"
    offset = base - priority
    if offset == 0:
        return f"prio {word}"
    return f"prio {word} {'+' if offset > 0 else '-'} {abs(offset)}"


def request_text(request: Request) -> str:
    """Print one rule: `esp/tunnel/192.0.2.1-192.0.2.2/unique:1`."""
    ends = ""
    if request.source is not None and request.destination is not None:
        ends = f"{_end_text(request.source)}-{_end_text(request.destination)}"
    level = _word(_LEVELS, request.level)
    if request.reqid:
        # Above the numbers that a person may choose, the number was made by the system.
        mark = ":" if request.reqid <= MANUAL_REQID_MAX else "#"
        level = f"unique{mark}{request.reqid}"
    return f"{_word(_PROTOCOLS, request.proto)}/{_word(_MODES, request.mode)}/{ends}/{level}"


def _end_text(end: Address) -> str:
    """Print one end of a tunnel, with its port where it has one."""
    return f"{end.address}[{end.port}]" if end.port else str(end.address)


def _word(words: dict[int, str], number: int) -> str:
    """Return the word for a number, or the number."""
    return words.get(number, str(number))
