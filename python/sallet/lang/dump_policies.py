"""Prints policies as `setkey -DP` does, byte for byte.

No association, no socket and no clock may enter. Answers to setkey(8) of KAME, FreeBSD and ipsec-tools.
"""

from __future__ import annotations

from typing import Final

from sallet.lang import priority
from sallet.lang.dump_parts import moment, part, word
from sallet.lang.forms import FORMS, Form
from sallet.lang.policy_string import DIRECTIONS
from sallet.lang.words import PROTOCOL_NAMES
from sallet.pfkey.constants import (
    MANUAL_REQID_MAX,
    IpProtocol,
    IpsecDirection,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
    SadbExtType,
)
from sallet.pfkey.messages import Address, Lifetime, Message, Policy, Request

NO_SPD: Final = "No SPD entries.\n"
_GRE: Final = 47

_MODES: Final[dict[int, str]] = {
    IpsecMode.ANY: "any",
    IpsecMode.TRANSPORT: "transport",
    IpsecMode.TUNNEL: "tunnel",
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
_SOCKET_DIRECTIONS: Final = {4: "in(socket)", 5: "out(socket)"}
"""Linux tells whose list a policy is in by the low three bits of its id."""
_SCOPES: Final = {0: "any", 1: "global", 2: "ifnet", 4: "pcb"}


def text(message: Message, form: str) -> str:
    """Print one policy out of an SPDDUMP or SPDGET reply."""
    row = FORMS[form]
    policy = part(message, SadbExtType.X_POLICY, Policy) or Policy(IpsecPolicyType.DISCARD, 0)
    current = part(message, SadbExtType.LIFETIME_CURRENT, Lifetime)
    hard = part(message, SadbExtType.LIFETIME_HARD, Lifetime) or Lifetime()
    lines = [_selector_line(message, row), f"\t{policy_head(policy, form)}\n"]
    lines += [f"\t{request_text(request)}\n" for request in policy.requests]
    if current is not None:
        lines.append(f"\tcreated: {moment(current.addtime)}  lastused: {moment(current.usetime)}\n")
        lines.append(f"\tlifetime: {hard.addtime}(s) validtime: {hard.usetime}(s)\n")
    scope = f" scope={word(_SCOPES, policy.scope)} " if row.scopes else ""
    lines.append(
        f"\tspid={policy.id} seq={message.seq} pid={message.pid}{scope}\n\trefcnt={message.reserved}\n"
    )
    return "".join(lines)


def policy_head(policy: Policy, form: str) -> str:
    """Print direction, priority and action of a policy: `out prio def + 1 ipsec`."""
    row = FORMS[form]
    words = [_direction(policy, row)]
    if row.priority and (policy.priority or row.transaction):
        words.append(priority.text(policy.priority))
    words.append(word(_ACTIONS, policy.type))
    return " ".join(words)


def _direction(policy: Policy, row: Form) -> str:
    """Print the list in which a policy stands; a socket's has its own."""
    if row.sockets_told and policy.direction > IpsecDirection.FORWARD:
        return word(_SOCKET_DIRECTIONS, policy.direction)
    return word(_DIRECTIONS, policy.direction)


def _selector_line(message: Message, row: Form) -> str:
    """Print the packets of which a policy speaks."""
    source = part(message, SadbExtType.ADDRESS_SRC, Address)
    destination = part(message, SadbExtType.ADDRESS_DST, Address)
    policy = part(message, SadbExtType.X_POLICY, Policy)
    if row.sockets_told and policy is not None and policy.direction > IpsecDirection.FORWARD:
        return "(per-socket policy) \n"
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
    word = row.upper_words.get(upper) or PROTOCOL_NAMES.get(upper, str(upper))
    if not (source_port or destination_port):
        return word
    if upper in row.coded:
        return f"{word} {source_port},{destination_port}"
    if upper == _GRE and upper in row.bare_ports:
        return f"{word} {source_port << 16 | destination_port}"
    return word


def request_text(request: Request) -> str:
    """Print one rule: `esp/tunnel/192.0.2.1-192.0.2.2/unique:1`."""
    ends = ""
    if request.source is not None and request.destination is not None:
        ends = f"{_end_text(request.source)}-{_end_text(request.destination)}"
    level = word(_LEVELS, request.level)
    if request.reqid:
        # Where nobody tells who chose, the system chose what is above the numbers that kernels keep.
        made = request.reqid > MANUAL_REQID_MAX if request.made is None else request.made
        level = f"unique{'#' if made else ':'}{request.reqid}"
    return f"{word(_PROTOCOLS, request.proto)}/{word(_MODES, request.mode)}/{ends}/{level}"


def _end_text(end: Address) -> str:
    """Print one end of a tunnel, with its port where it has one."""
    return f"{end.address}[{end.port}]" if end.port else str(end.address)
