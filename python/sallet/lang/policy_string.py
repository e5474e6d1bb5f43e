"""Reads policy strings: `out prio def +1 ipsec esp/tunnel/192.0.2.1-192.0.2.2/require`.

No sockets, no host names and no selectors may enter: a policy says what happens, not to which packets.
Answers to ipsec_set_policy(3) of KAME and ipsec-tools, and to the `-P` part of setkey(8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from sallet.lang.lexer import Chunk, Complaint, raise_placed, tokens_of
from sallet.pfkey.constants import (
    MANUAL_REQID_MAX,
    IpProtocol,
    IpsecDirection,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
)
from sallet.pfkey.messages import Address, Policy, Request

IpAddress: TypeAlias = IPv4Address | IPv6Address

PRIORITY_DEFAULT: Final = 0x80000000
"""What `prio def` is on the wire; smaller values come first there, larger ones in the text."""
_PRIORITY_STEP: Final = 0x40000000

DIRECTIONS: Final = {
    "in": IpsecDirection.INBOUND,
    "out": IpsecDirection.OUTBOUND,
    "fwd": IpsecDirection.FORWARD,
}
_ACTIONS: Final = {
    "discard": IpsecPolicyType.DISCARD,
    "none": IpsecPolicyType.NONE,
    "ipsec": IpsecPolicyType.IPSEC,
    "entrust": IpsecPolicyType.ENTRUST,
    "bypass": IpsecPolicyType.BYPASS,
}
_PROTOCOLS: Final = {
    "esp": IpProtocol.ESP,
    "ah": IpProtocol.AH,
    "ipcomp": IpProtocol.IPCOMP,
    "tcp": IpProtocol.TCP,
}
_MODES: Final = {"transport": IpsecMode.TRANSPORT, "tunnel": IpsecMode.TUNNEL, "any": IpsecMode.ANY}
_LEVELS: Final = {
    "default": IpsecLevel.DEFAULT,
    "use": IpsecLevel.USE,
    "require": IpsecLevel.REQUIRE,
    "unique": IpsecLevel.UNIQUE,
}
_BASES: Final = {"low": -_PRIORITY_STEP, "def": 0, "high": _PRIORITY_STEP}
_ENDPOINTS: Final = re.compile(
    r"(?P<source>[0-9A-Za-z:.%]+)(?:\[(?P<source_port>[0-9]{1,5})\])?"
    r"-(?P<destination>[0-9A-Za-z:.%]+)(?:\[(?P<destination_port>[0-9]{1,5})\])?"
)
_SIGNED: Final = re.compile(r"[+-]?[0-9]{1,10}")
_GLUED: Final = re.compile(r"(?P<base>low|def|high)(?P<sign>[+-])(?P<offset>[0-9]{1,10})")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_RULE_SHAPE: Final = "write a rule as PROTOCOL/MODE/[SOURCE-DESTINATION]/LEVEL, as in esp/transport//require"


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the ipsec_set_policy(3) of one system reads besides what all of them do."""

    priority: bool = True
    """Whether a policy may say its priority."""
    priority_refusal: str = "syntax error"
    """What is said of one that says it where it may not."""
    forward_is_inbound: bool = False
    """Whether `fwd` means `in`: there is no third list."""
    ports: bool = True
    """Whether the ends of a tunnel may have ports."""
    words: frozenset[str] = frozenset({"esp", "ah", "ipcomp", "transport", "tunnel"})
    """The protocols and modes of a rule."""


_EVERYWHERE: Final = Grammar()
NO_PRIORITY: Final = "Policies carry no priority here"
_KAME: Final = Grammar(False, forward_is_inbound=True, ports=False, words=_EVERYWHERE.words | {"tcp"})
GRAMMARS: Final = {
    "sallet": _EVERYWHERE,
    "linux": _EVERYWHERE,
    "kame": _KAME,
    "netbsd": Grammar(False, NO_PRIORITY, forward_is_inbound=True),
    "freebsd": replace(_KAME, words=_KAME.words | {"any"}),
}
"""The rows by dialect."""


def parse(text: str, *, priority: bool = True, filename: str = "policy", dialect: str = "sallet") -> Policy:
    """Read a policy string as ipsec_set_policy(3) takes it; a bare direction is the policy of a deletion.

    # Errors
    `SetkeyError` where the string is none.
    """
    tokens = tokens_of(text)
    chunk = Chunk(tokens, 0, len(text), 1, 1, len(text), 1, False)
    try:
        if ";" in tokens:
            raise Complaint(tokens.index(";"), "a policy string holds one policy", "remove the semicolon")
        return parse_tokens(tuple(tokens), priority, True, dialect=dialect)
    except Complaint as complaint:
        raise_placed(complaint, text, filename, chunk, semicolon=False)


@lru_cache(maxsize=4096)
def parse_tokens(
    tokens: tuple[str, ...],
    priority: bool,
    strict: bool,
    missing_level: str = "default",
    dialect: str = "sallet",
) -> Policy:
    """Read a policy from its tokens; a strict reader refuses the numbers that others replace silently.

    `missing_level` is the level of a rule that names none.

    # Errors
    `Complaint` with the number of the token within the policy.
    """
    return _Reader(tokens, priority, strict, missing_level, GRAMMARS[dialect]).policy()


class _Reader:
    """Walks over the tokens of one policy."""

    def __init__(
        self, tokens: tuple[str, ...], priority: bool, strict: bool, missing_level: str, grammar: Grammar
    ) -> None:
        self.tokens = (*tokens, "")
        self.at = 0
        self.grammar = grammar
        self.priority_known = priority and grammar.priority
        self.strict = strict
        self.missing_level = _LEVELS[missing_level]

    def policy(self) -> Policy:
        """Read the whole policy."""
        direction = DIRECTIONS.get(self.tokens[0])
        if direction is None:
            raise Complaint(0, "a policy begins with its direction", "write in, out or fwd behind -P")
        if direction is IpsecDirection.FORWARD and self.grammar.forward_is_inbound:
            direction = IpsecDirection.INBOUND
        self.at = 1
        priority = self.priority()
        word = self.tokens[self.at]
        if not word and self.at == 1:
            return Policy(IpsecPolicyType.DISCARD, direction, priority=priority)
        action = _ACTIONS.get(word)
        if action is None:
            raise Complaint(
                self.at, "a policy says what to do behind its direction", "write ipsec, none or discard"
            )
        self.at += 1
        requests = []
        if action is IpsecPolicyType.IPSEC:
            while self.tokens[self.at]:
                requests.append(self.request(direction))
        if self.tokens[self.at]:
            raise Complaint(
                self.at, f"nothing may follow `{word}'", "end the statement here with a semicolon"
            )
        return Policy(action, direction, priority=priority, requests=tuple(requests))

    def priority(self) -> int:
        """Read `prio …` or a bare `-N` where one stands, and return the value that PF_KEY carries."""
        word = self.tokens[self.at]
        default = PRIORITY_DEFAULT if self.priority_known else 0
        if word not in ("prio", "priority") and not (word[:1] == "-" and _SIGNED.fullmatch(word)):
            return default
        if not self.priority_known:
            raise Complaint(
                self.at,
                "policies of this form carry no priority",
                "remove `prio' and its value",
                classic=self.grammar.priority_refusal,
            )
        start = self.at
        if word[:1] != "-":
            self.at += 1
        wanted = self._priority_value()
        value = PRIORITY_DEFAULT - wanted
        if not 0 < value <= 0xFFFFFFFF:
            raise Complaint(
                start,
                "this priority is out of range",
                "stay within -2147483647 … 2147483647",
                classic="Priority out of range",
            )
        return value

    def _priority_value(self) -> int:
        """Read the number, or low, def or high with an offset."""
        word, sign, offset = self._glued(self.tokens[self.at])
        if word not in _BASES:
            if not _SIGNED.fullmatch(word):
                raise Complaint(
                    self.at, "a priority is a number, or low, def or high", "write for example prio high -10"
                )
            self.at += 1
            return int(word)
        self.at += 1
        if not sign:
            sign, offset = self._offset()
        return _BASES[word] + int(sign + offset or "0")

    @staticmethod
    def _glued(word: str) -> tuple[str, str, str]:
        """Split `def+1`, and leave every other word whole."""
        found = _GLUED.fullmatch(word)
        return (found["base"], found["sign"], found["offset"]) if found else (word, "", "")

    def _offset(self) -> tuple[str, str]:
        """Read `+ 1` or `+1` where it stands."""
        word = self.tokens[self.at]
        if word in ("+", "-"):
            if not _NUMBER.fullmatch(self.tokens[self.at + 1]):
                raise Complaint(self.at + 1, "a number follows the sign of a priority", "write prio def + 1")
            self.at += 2
            return word, self.tokens[self.at - 1]
        if word[:1] in ("+", "-") and _SIGNED.fullmatch(word):
            self.at += 1
            return word[0], word[1:]
        return "", ""

    def request(self, direction: IpsecDirection) -> Request:
        """Read one rule."""
        protocol = _PROTOCOLS.get(self.tokens[self.at])
        if protocol is None or self.tokens[self.at] not in self.grammar.words:
            raise Complaint(
                self.at, "a rule begins with esp, ah or ipcomp", _RULE_SHAPE, classic="Invalid ipsec protocol"
            )
        self.at += 1
        self._slash("a mode follows the protocol")
        mode = _MODES.get(self.tokens[self.at])
        mode_at = self.at
        if mode is None or self.tokens[self.at] not in self.grammar.words:
            raise Complaint(
                self.at, "the mode is transport or tunnel", _RULE_SHAPE, classic="Invalid ipsec mode"
            )
        self.at += 1
        ends: tuple[Address | None, Address | None] = (None, None)
        level, reqid = self.missing_level, 0
        if self._optional_slash():
            ends = self._endpoints(direction)
            if self._optional_slash():
                level, reqid = self._level()
        if mode is IpsecMode.TUNNEL and ends[0] is None:
            raise Complaint(
                mode_at,
                "a tunnel needs the addresses of its two ends",
                f"write {self.tokens[mode_at - 2]}/tunnel/SOURCE-DESTINATION/require",
                classic="Invalid address specification",
            )
        return Request(protocol, mode, level, reqid, *ends)

    def _slash(self, why: str) -> None:
        if self.tokens[self.at] != "/":
            raise Complaint(self.at, f"{why}, with a slash between them", _RULE_SHAPE)
        self.at += 1

    def _optional_slash(self) -> bool:
        """Step over a slash where one stands."""
        if self.tokens[self.at] != "/":
            return False
        self.at += 1
        return True

    def _endpoints(self, direction: IpsecDirection) -> tuple[Address | None, Address | None]:
        """Read `SOURCE-DESTINATION` where it stands: everything up to the next slash that is no new rule."""
        start, pieces = self.at, []
        while (word := self.tokens[self.at]) and word != "/" and not self._rule_begins():
            if word in _LEVELS or word.startswith("unique:"):
                break
            pieces.append(word)
            self.at += 1
        if not pieces:
            return None, None
        found = _ENDPOINTS.fullmatch("".join(pieces))
        if found is None or ("[" in pieces and not self.grammar.ports):
            raise Complaint(
                start,
                "the ends of a tunnel are two addresses with a hyphen between them",
                "write SOURCE-DESTINATION as numbers, as in 192.0.2.1-192.0.2.2",
                classic="Invalid address specification",
            )
        return _ends(found.groupdict(), direction, start)

    def _rule_begins(self) -> bool:
        return self.tokens[self.at] in _PROTOCOLS and self.tokens[self.at + 1] == "/"

    def _level(self) -> tuple[IpsecLevel, int]:
        """Read the level where one stands behind the last slash."""
        if not self.tokens[self.at] or self._rule_begins():
            return IpsecLevel.DEFAULT, 0
        word, _, number = self.tokens[self.at].partition(":")
        level = _LEVELS.get(word)
        if level is None:
            raise Complaint(
                self.at,
                "the level is default, use, require or unique",
                _RULE_SHAPE,
                classic="Invalid ipsec level",
            )
        self.at += 1
        if ":" not in self.tokens[self.at - 1]:
            return level, 0
        if level is not IpsecLevel.UNIQUE or not _NUMBER.fullmatch(number):
            raise Complaint(
                self.at - 1, "only unique takes a number", "write unique:N", classic="Invalid ipsec level"
            )
        if 0 < int(number) <= MANUAL_REQID_MAX:
            return level, int(number)
        if self.strict:
            raise Complaint(
                self.at - 1,
                f"unique takes numbers from 1 to {MANUAL_REQID_MAX}",
                "choose a smaller number",
                classic="Invalid ipsec level",
            )
        # Every old system picks a number of its own here and says nothing.
        return level, 0


def _ends(
    found: dict[str, str | None], direction: IpsecDirection, index: int
) -> tuple[Address | None, Address | None]:
    """Make two addresses out of the words, `me` and `any` included."""
    source, destination = found["source"] or "", found["destination"] or ""
    words = {source, destination}
    if words == {"me", "any"}:
        # The ends of the socket's own packets, which an empty place says, too.
        if (direction is IpsecDirection.OUTBOUND) == (source == "me"):
            return None, None
        raise Complaint(
            index,
            f"`{source}-{destination}' is the other direction",
            "outbound is from me to any, inbound from any to me",
            classic="Invalid direciton",
        )
    first = _address(source, found["source_port"], index)
    second = _address(destination, found["destination_port"], index)
    if first.address.version != second.address.version:
        raise Complaint(
            index,
            "both ends of a tunnel are of one family",
            "write two IPv4 or two IPv6 addresses",
            classic="Family mismatch",
        )
    return first, second


@lru_cache(maxsize=65536)
def numeric(text: str) -> IpAddress | None:
    """Return the address that the text writes in numbers, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(text: str, port: str | None, index: int) -> Address:
    """Return one end of a tunnel."""
    address = numeric(text)
    if address is None:
        raise Complaint(
            index,
            f"`{text}' is no address",
            "the ends of a tunnel are written in numbers",
            classic="Invalid address specification",
        )
    number = int(port or 0)
    if number > 65535:
        raise Complaint(
            index,
            f"port {number} does not exist",
            "ports end at 65535",
            classic="Invalid address specification",
        )
    return Address(address, number, address.max_prefixlen, 0)
