"""ipsec_set_policy(3) for Python: the text of a policy to the bytes that a socket option takes, and back.

No socket, engine or grammar may enter: the language is `lang.policy_string`, the layouts are `pfkey`'s.
Answers to: ipsec_set_policy(3), ipsec_strerror(3); `rust/bindings/libipsec` is the same for C, byte for byte.
"""

from __future__ import annotations

from typing import Final

from sallet.lang import dump, policy_string
from sallet.lang.lexer import SetkeyError
from sallet.pfkey.constants import WORD_BYTES, SadbExtType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.layouts import EXT, words
from sallet.pfkey.messages import Policy
from sallet.pfkey.readers import Refused, readers_of
from sallet.pfkey.writers import EMITTERS

__all__ = [
    "IpsecError",
    "ipsec_dump_policy",
    "ipsec_get_policylen",
    "ipsec_set_policy",
    "ipsec_strerror",
]

_POLICY_BYTES: Final = 16
_WORDS_MAX: Final = 0xFFFF

INVALID_ARGUMENT: Final = 2
INVALID_POLICY: Final = 5
NO_BUFFERS: Final = 21
SYNTAX: Final = 26

TEXTS: Final = (
    "Success",
    "Not supported",
    "Invalid argument",
    "Invalid sadb message",
    "Invalid version",
    "Invalid security policy",
    "Invalid address specification",
    "Invalid ipsec protocol",
    "Invalid ipsec mode",
    "Invalid ipsec level",
    "Invalid SA type",
    "Invalid message type",
    "Invalid extension type",
    "Invalid algorithm type",
    "Invalid key length",
    "Invalid address family",
    "Invalid prefix length",
    "Invalid direciton",
    "SPI range violation",
    "No protocol specified",
    "No algorithm specified",
    "No buffers available",
    "Must get supported algorithms list first",
    "Protocol mismatch",
    "Family mismatch",
    "Too few arguments",
    "syntax error",
    "Priority out of range",
    "Policies carry no priority here",
    "Unknown error",
)
"""The texts of ipsec_strerror(3) by code, one misspelt as in every library; 26 is what a parser says."""


class IpsecError(ValueError):
    """A policy that cannot be read or written: the library's code, and where and why in words."""

    def __init__(self, code: int, why: str = "", *, column: int = 0, next_step: str = "") -> None:
        text = ipsec_strerror(code)
        super().__init__(f"{text}: {why}" if why else text)
        self.code = code
        self.strerror = text
        """What ipsec_strerror(3) says."""
        self.why = why
        self.column = column
        """Column of the text in which the offence begins, from 1; 0 where the offence has no place."""
        self.next_step = next_step


def ipsec_strerror(code: int) -> str:
    """Return the text of an error's code."""
    return TEXTS[code] if 0 <= code < len(TEXTS) else TEXTS[-1]


def ipsec_set_policy(text: str, *, dialect: str = "linux") -> bytes:
    """Return the bytes of the policy that the text describes, in the layout of a dialect.

    Raises:
        IpsecError: the text is no policy of that dialect.
    """
    if "\0" in text:
        raise IpsecError(INVALID_ARGUMENT, "the text holds a NUL")
    try:
        policy = policy_string.parse(text, dialect=dialect)
    except SetkeyError as error:
        code = TEXTS.index(error.classic) if error.classic in TEXTS else SYNTAX
        raise IpsecError(code, error.text, column=error.column, next_step=error.next_step) from error
    return policy_bytes(policy, dialect)


def policy_bytes(policy: Policy, dialect: str) -> bytes:
    """Return the bytes of a policy in the layout of a dialect.

    Raises:
        IpsecError: there are more than its length field can count.
    """
    body = EMITTERS[Policy](policy, DIALECTS[dialect])
    length = words(EXT.size + len(body))
    if length > _WORDS_MAX:
        raise IpsecError(NO_BUFFERS, "the policy is longer than its length field can say")
    return EXT.pack(length, SadbExtType.X_POLICY) + body


def ipsec_get_policylen(blob: bytes) -> int:
    """Return how many bytes the policy says it has.

    Raises:
        IpsecError: there are not even those that say it.
    """
    if len(blob) < EXT.size:
        raise IpsecError(INVALID_ARGUMENT, "too short for a length")
    length: int = EXT.unpack_from(blob)[0]
    return length * WORD_BYTES


def ipsec_dump_policy(blob: bytes, delimiter: str = " ", *, dialect: str = "linux") -> str:
    """Return the text of a policy, with the delimiter before each of its rules.

    Raises:
        IpsecError: the bytes are no policy in the layout of that dialect.
    """
    length = ipsec_get_policylen(blob)
    if not _POLICY_BYTES <= length <= len(blob):
        raise IpsecError(INVALID_POLICY, f"a policy of {length} bytes in {len(blob)}")
    number = EXT.unpack_from(blob)[1]
    if number != SadbExtType.X_POLICY:
        raise IpsecError(INVALID_POLICY, f"extension {number} instead of {SadbExtType.X_POLICY:d}")
    _, read, _ = readers_of(DIALECTS[dialect])[number]
    try:
        policy = read(blob[:length], DIALECTS[dialect])
    except Refused as error:
        raise IpsecError(INVALID_POLICY, "a rule has another length or other ends") from error
    if not isinstance(policy, Policy):
        raise IpsecError(INVALID_POLICY)
    rules = (dump.request_text(request) for request in policy.requests)
    return delimiter.join((dump.policy_head(policy, dialect), *rules))
