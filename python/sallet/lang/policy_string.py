"""Reads policy strings: `out prio def +1 ipsec esp/tunnel/192.0.2.1-192.0.2.2/require`.

No sockets, no host names and no selectors may enter: a policy says what happens, not to which packets.
Answers to ipsec_set_policy(3) of KAME, FreeBSD and ipsec-tools, and to the `-P` part of setkey(8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from sallet.lang import ends, priority
from sallet.lang.lexer import Chunk, Complaint, raise_placed, tokens_of
from sallet.lang.priority import PRIORITY_DEFAULT
from sallet.pfkey.constants import (
    IpProtocol,
    IpsecDirection,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
)
from sallet.pfkey.messages import Address, Policy, Request

__all__ = ["DIRECTIONS", "GRAMMARS", "PRIORITY_DEFAULT", "UNIQUE_MAX", "Grammar", "parse", "parse_tokens"]

UNIQUE_MAX: Final = 32767
"""Highest N of `unique:N`, as every manual says."""

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
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_RULE_SHAPE: Final = "write a rule as PROTOCOL/MODE/[SOURCE-DESTINATION]/LEVEL, as in esp/transport//require"


@dataclass(frozen=True, slots=True, eq=False)
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
    missing_level: IpsecLevel = IpsecLevel.DEFAULT
    """The level of a rule that names none."""


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
    grammar = GRAMMARS[dialect]
    try:
        if ";" in tokens:
            raise Complaint(tokens.index(";"), "a policy string holds one policy", "remove the semicolon")
        return parse_tokens(tuple(tokens), grammar if priority else replace(grammar, priority=False))
    except Complaint as complaint:
        raise_placed(complaint, text, filename, chunk, semicolon=False)


@lru_cache(maxsize=4096)
def parse_tokens(tokens: tuple[str, ...], grammar: Grammar) -> Policy:
    """Read a policy from its tokens.

    # Errors
    `Complaint` with the number of the token within the policy.
    """
    return _Reader(tokens, grammar).policy()


class _Reader:
    """Walks over the tokens of one policy."""

    def __init__(self, tokens: tuple[str, ...], grammar: Grammar) -> None:
        self.tokens = (*tokens, "")
        self.at = 0
        self.grammar = grammar

    def policy(self) -> Policy:
        """Read the whole policy."""
        direction = DIRECTIONS.get(self.tokens[0])
        if direction is None:
            raise Complaint(0, "a policy begins with its direction", "write in, out or fwd behind -P")
        if direction is IpsecDirection.FORWARD and self.grammar.forward_is_inbound:
            direction = IpsecDirection.INBOUND
        self.at = 1
        value = self.priority()
        word = self.tokens[self.at]
        if not word and self.at == 1:
            return Policy(IpsecPolicyType.DISCARD, direction, priority=value)
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
        return Policy(action, direction, priority=value, requests=tuple(requests))

    def priority(self) -> int:
        """Read a priority where one stands, and return the value that PF_KEY carries."""
        if not priority.begins(self.tokens[self.at]):
            return PRIORITY_DEFAULT if self.grammar.priority else 0
        if not self.grammar.priority:
            raise Complaint(
                self.at,
                "policies of this form carry no priority",
                "remove `prio' and its value",
                classic=self.grammar.priority_refusal,
            )
        value, self.at = priority.read(self.tokens, self.at)
        return value

    def request(self, direction: IpsecDirection) -> Request:
        """Read one rule."""
        protocol = self._protocol()
        self._slash("a mode follows the protocol")
        mode_at = self.at
        mode = self._mode()
        pair: tuple[Address | None, Address | None] = (None, None)
        level, reqid = self.grammar.missing_level, 0
        if self._optional_slash():
            self._no_level_yet()
            pair = self._endpoints(direction)
            if self._optional_slash():
                level, reqid = self._level()
        if mode is IpsecMode.TUNNEL and pair[0] is None:
            raise Complaint(
                mode_at,
                "a tunnel needs the addresses of its two ends",
                f"write {self.tokens[mode_at - 2]}/tunnel/SOURCE-DESTINATION/require",
                classic="Invalid address specification",
            )
        return Request(protocol, mode, level, reqid, *pair)

    def _protocol(self) -> IpProtocol:
        word = self.tokens[self.at]
        protocol = _PROTOCOLS.get(word)
        if protocol is None or word not in self.grammar.words:
            raise Complaint(
                self.at, "a rule begins with esp, ah or ipcomp", _RULE_SHAPE, classic="Invalid ipsec protocol"
            )
        self.at += 1
        return protocol

    def _mode(self) -> IpsecMode:
        mode = _MODES.get(self.tokens[self.at])
        if mode is None or self.tokens[self.at] not in self.grammar.words:
            raise Complaint(
                self.at, "the mode is transport or tunnel", _RULE_SHAPE, classic="Invalid ipsec mode"
            )
        self.at += 1
        return mode

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
        written = "".join(pieces)
        if not written:
            return None, None
        return ends.read(written, direction, start, ports=self.grammar.ports)

    def _no_level_yet(self) -> None:
        """Refuse a level where the ends are due: without ends, two slashes stand before it."""
        word = self.tokens[self.at]
        if word.partition(":")[0] in _LEVELS:
            raise Complaint(
                self.at,
                f"`{word}' stands where the ends of the rule do",
                f"write one more slash before it, as in {self.tokens[self.at - 4]}/transport//{word}",
                classic="Invalid ipsec protocol",
            )

    def _rule_begins(self) -> bool:
        word = self.tokens[self.at]
        return word in _PROTOCOLS and self.tokens[self.at + 1] == "/"

    def _level(self) -> tuple[IpsecLevel, int]:
        """Read the level where one stands behind the last slash."""
        if not self.tokens[self.at] or self._rule_begins():
            return self.grammar.missing_level, 0
        word, colon, number = self.tokens[self.at].partition(":")
        level = _LEVELS.get(word)
        if level is None:
            raise Complaint(
                self.at,
                "the level is default, use, require or unique",
                _RULE_SHAPE,
                classic="Invalid ipsec level",
            )
        self.at += 1
        return (level, self._number(level, number)) if colon else (level, 0)

    def _number(self, level: IpsecLevel, number: str) -> int:
        """Read the N of `unique:N`, which may stand behind a blank."""
        at = self.at - 1
        if not number and _NUMBER.fullmatch(self.tokens[self.at]):
            at, number = self.at, self.tokens[self.at]
            self.at += 1
        if level is not IpsecLevel.UNIQUE or not _NUMBER.fullmatch(number):
            raise Complaint(at, "only unique takes a number", "write unique:N", classic="Invalid ipsec level")
        if 0 < int(number) <= UNIQUE_MAX:
            return int(number)
        raise Complaint(
            at,
            f"unique takes numbers from 1 to {UNIQUE_MAX}",
            "choose one of these, or write unique alone: then the daemon chooses",
            classic="Invalid ipsec level",
        )
