"""The policy lines of inetd.conf: `#@ in ipsec esp/transport//require; out ipsec esp/transport//require`.

No service and no socket may enter. Answers to ipsec(4) of QNX, "Setting the policy", and to inetd(8):
several policies, separated by semicolons, the last of a direction counts; nothing behind the mark is a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from sallet.lang import policy_string
from sallet.lang.lexer import SetkeyError
from sallet.pfkey.constants import IpsecDirection, IpsecLevel, IpsecPolicyType
from sallet.pfkey.messages import Policy

IpAddress: TypeAlias = IPv4Address | IPv6Address
IsLocal: TypeAlias = Callable[[IpAddress], bool]

MARK: Final = "#@"
"""What a line of policies begins with."""
_FOR_SETKEY: Final = {IpsecPolicyType.DISCARD: "discard", IpsecPolicyType.NONE: "none"}
_SHAPE: Final = "write `in' or `out', then bypass, entrust, or ipsec with its rules"


Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Token:
    """A word, and where it begins."""

    text: str
    line: int
    column: int


class Offence(Exception):
    """What ends the reading of an entry."""

    def __init__(self, token: Token, text: str, next_step: str = "") -> None:
        super().__init__(text)
        self.token = token
        self.text = text
        self.next_step = next_step


Note: TypeAlias = Callable[[Severity, Token, str, str], None]
"""Takes down what is wrong, at which word, and what to write instead."""


@dataclass(frozen=True, slots=True)
class SocketPolicies:
    """What a `#@` line asks of the sockets behind it; a direction that it leaves out follows the SPD."""

    inbound: Policy | None = None
    outbound: Policy | None = None

    def both(self) -> tuple[Policy, ...]:
        """Return those that there are."""
        return tuple(policy for policy in (self.inbound, self.outbound) if policy is not None)


NO_POLICIES: Final = SocketPolicies()
"""What a bare `#@` says, and a file without any."""


class PolicyLines:
    """Reads the lines of one file."""

    def __init__(self, dialect: str, unique: bool, is_local: IsLocal | None, note: Note) -> None:
        self.dialect = dialect
        self.unique = unique
        self.is_local = is_local
        self.note = note

    def read(self, line: str, number: int) -> SocketPolicies:
        """Read one line, with its mark; it replaces what the one before it said, even where it is wrong."""
        chosen: dict[IpsecDirection, Policy] = {}
        column = len(MARK)
        for piece in line[column:].split(";"):
            if piece.strip():
                token = Token(piece.strip(), number, column + len(piece) - len(piece.lstrip()) + 1)
                policy = self._policy(token)
                if policy is not None:
                    chosen[IpsecDirection(policy.direction)] = policy
            column += len(piece) + 1
        return SocketPolicies(chosen.get(IpsecDirection.INBOUND), chosen.get(IpsecDirection.OUTBOUND))

    def _policy(self, token: Token) -> Policy | None:
        """Read one policy and say what is wrong with it."""
        word = token.text.split()[0]
        if word not in ("in", "out"):
            what = (
                "a socket has no forwarded packets" if word == "fwd" else "a policy begins with its direction"
            )
            self.note("error", Token(word, token.line, token.column), what, _SHAPE)
            return None
        try:
            policy = policy_string.parse(token.text, filename="inetd.conf", dialect=self.dialect)
        except SetkeyError as error:
            at = Token("x" * error.length, token.line, token.column + error.column - 1)
            self.note("error", at, error.text, error.next_step)
            return None
        offence = self._refusal(policy, token)
        if offence is not None:
            self.note("error", offence.token, offence.text, offence.next_step)
            return None
        self._judge_ends(policy, token)
        return policy

    def _refusal(self, policy: Policy, token: Token) -> Offence | None:
        """Say why a policy that setkey(8) takes is none for a socket."""
        if policy.type in _FOR_SETKEY:
            word = _FOR_SETKEY[IpsecPolicyType(policy.type)]
            if token.text in ("in", "out"):
                return Offence(token, "the policy has no action", _SHAPE)
            return Offence(within(token, word), f"{word} is for setkey only, no socket takes it", _SHAPE)
        if policy.type == IpsecPolicyType.IPSEC and not policy.requests:
            return Offence(
                within(token, "ipsec"), "ipsec asks for at least one rule", "write esp/transport//require"
            )
        if not self.unique and any(request.level == IpsecLevel.UNIQUE for request in policy.requests):
            return Offence(
                within(token, "unique"), "unique is for setkey only", "write require, use or default"
            )
        return None

    def _judge_ends(self, policy: Policy, token: Token) -> None:
        """Warn of ends that this machine is not: such a rule never finds its SA."""
        inbound = policy.direction == IpsecDirection.INBOUND
        for request in policy.requests:
            end = request.destination if inbound else request.source
            if self.is_local is None or end is None or self.is_local(end.address):
                continue
            self.note(
                "warning",
                within(token, str(end.address)),
                f"{end.address} is no address of this machine: "
                + ("inbound rules end here" if inbound else "outbound rules begin here"),
                "write the two ends as SOURCE-DESTINATION, seen from the packet",
            )


def within(token: Token, word: str) -> Token:
    """Return the place of a word of a policy; the whole policy where it is spelt otherwise."""
    at = token.text.find(word)
    return Token(word, token.line, token.column + at) if at >= 0 else token
