"""Reads the algorithms and keys of `add`, and refuses a key whose length the algorithm does not take.

No PF_KEY number and no cryptography may enter. Answers to setkey(8): -E, -A, -C, -R, "quoted" and 0x keys.
"""

from __future__ import annotations

import re
from typing import Final

from sallet.lang.cursor import Cursor
from sallet.lang.forms import FORMS
from sallet.lang.lexer import Complaint
from sallet.lang.statements import AddSa, Algorithm
from sallet.lang.words import (
    AUTHENTICATION,
    COMBINED,
    COMPRESSION,
    COMPRESSION_REFUSED,
    ENCRYPTION,
    NOT_PROVIDED,
    NULL,
    AlgorithmWord,
)
from sallet.pfkey.constants import SadbSatype
from sallet.pfkey.dialects import DIALECTS

_KEYLESS: Final = frozenset({"null", "null-auth"})
"""Names that may stand without a key."""

_CPI_MAX: Final = 0xFFFF
_HEX_KEY: Final = re.compile(r"0[xX][0-9a-fA-F]+")


def read(cursor: Cursor, statement: AddSa) -> None:
    """Read the algorithms that the protocol of the association takes.

    # Errors
    `Complaint` for a missing, unknown or misplaced algorithm, and for a key of the wrong length.
    """
    if statement.satype == SadbSatype.ESP:
        _read_esp(cursor, statement)
    elif statement.satype == SadbSatype.X_IPCOMP:
        _read_ipcomp(cursor, statement)
    else:
        _read_authenticated(cursor, statement)


def _read_esp(cursor: Cursor, statement: AddSa) -> None:
    """`-E NAME KEY [-A NAME KEY]`."""
    _flag(cursor, "-E", "esp takes -E and its key first; -A may follow")
    word = cursor.peek()
    if ENCRYPTION.get(word, NULL).old_only and not statement.old:
        cursor.at += 1
        raise Complaint(cursor.at - 1, f"{word} belongs to esp-old (RFC 1829)", "write des-cbc, or esp-old")
    statement.encryption = _algorithm(cursor, ENCRYPTION, "-E")
    if cursor.peek() == "-A":
        cursor.at += 1
        if statement.old:
            raise Complaint(cursor.at - 1, "esp-old has no authentication (RFC 1827)", "write esp")
        statement.authentication = _algorithm(cursor, AUTHENTICATION, "-A")
        if statement.encryption.name in COMBINED and statement.authentication.name not in _KEYLESS:
            raise Complaint(
                cursor.at - 1,
                f"{statement.encryption.word} authenticates by itself and takes no -A",
                "remove -A and its key",
                classic="Invalid algorithm type",
            )


def _read_authenticated(cursor: Cursor, statement: AddSa) -> None:
    """`-A NAME KEY`."""
    _flag(cursor, "-A", "this protocol takes -A and its key")
    statement.authentication = _algorithm(cursor, AUTHENTICATION, "-A")


def _read_ipcomp(cursor: Cursor, statement: AddSa) -> None:
    """`-C NAME [-R]`."""
    _flag(cursor, "-C", "ipcomp takes -C")
    word = cursor.take()
    if word not in COMPRESSION:
        raise Complaint(cursor.at - 1, f"`{word}' is no compression", "write -C deflate")
    if word in COMPRESSION_REFUSED:
        why = f"{word} is {NOT_PROVIDED}"
        raise Complaint(cursor.at - 1, why, "write -C deflate", classic=why)
    statement.compression = word
    if cursor.peek() == "-R":
        cursor.at += 1
        statement.raw_cpi = True
    elif statement.spi > _CPI_MAX and cursor.form.strict_spi:
        raise Complaint(
            cursor.at - 1,
            f"SPI {statement.spi} does not fit the 16 bits of an IPComp CPI",
            "choose one up to 65535, or write -R: then its low half is the CPI",
        )


def _flag(cursor: Cursor, flag: str, why: str) -> None:
    """Step over the flag that must stand here."""
    if cursor.take() != flag:
        raise Complaint(cursor.at - 1, why, f"write {flag} here")


def _algorithm(cursor: Cursor, words: dict[str, AlgorithmWord], flag: str) -> Algorithm:
    """Read the name of an algorithm and its key."""
    word = cursor.take()
    known = words.get(word)
    if known is None:
        raise Complaint(
            cursor.at - 1,
            f"`{word}' is no algorithm of {flag}",
            _suggestion(word, words, flag),
        )
    _numbered(cursor, word, known, flag)
    next_token = cursor.peek()
    if known.name in _KEYLESS and next_token[:1] not in ('"', "0"):
        return Algorithm(word, known.name, b"")
    key = _key(cursor)
    if key and known.name in _KEYLESS and not cursor.form.null_takes_key:
        raise Complaint(cursor.at - 1, f"{word} takes no key", 'remove the key, or write ""')
    _fit(cursor, word, known, len(key) * 8)
    return Algorithm(word, known.name, key)


def _names(dialect: str) -> set[str]:
    """Return the algorithms that a dialect can name."""
    return {*DIALECTS[dialect].encrypt_numbers, *DIALECTS[dialect].auth_numbers}


def _numbered(cursor: Cursor, word: str, known: AlgorithmWord, flag: str) -> None:
    """Refuse an algorithm that no association can have, or that no message of the form's dialect can name."""
    if known.refusal and (cursor.form.strict_keys or known.refusal == NOT_PROVIDED):
        raise Complaint(
            cursor.at - 1,
            f"{word} is {known.refusal}",
            "choose another algorithm",
            classic=f"{word} is {NOT_PROVIDED}",
        )
    dialect = DIALECTS[cursor.form.dialect]
    numbers = dialect.encrypt_numbers if flag == "-E" else dialect.auth_numbers
    if known.name not in numbers:
        speakers = [row.name for row in FORMS.values() if known.name in _names(row.dialect)]
        raise Complaint(
            cursor.at - 1,
            f"{word} has no PF_KEY number in the dialect {dialect.name}",
            f"use --form {speakers[0]}" if speakers else "choose another algorithm",
            classic="Invalid algorithm type",
        )


def _suggestion(word: str, words: dict[str, AlgorithmWord], flag: str) -> str:
    """Say which words stand behind the flag, or that the word belongs behind the other one."""
    if word in (ENCRYPTION if flag == "-A" else AUTHENTICATION):
        return f"it stands behind {'-E' if flag == '-A' else '-A'}"
    return f"write one of {' '.join(sorted(name for name, known in words.items() if not known.refusal))}"


def _key(cursor: Cursor) -> bytes:
    """Read a key: bytes in quotes, or hexadecimal digits behind 0x."""
    word = cursor.take()
    if len(word) > 1 and word[0] == '"' and word[-1] == '"':
        try:
            # A file is read with the bytes that are no UTF-8 kept aside; here they come back as they were.
            return word[1:-1].encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Complaint(cursor.at - 1, "this key holds no bytes", "write it in hexadecimal") from None
    if _HEX_KEY.fullmatch(word):
        digits = word[2:]
        return bytes.fromhex("0" + digits if len(digits) % 2 else digits)
    raise Complaint(
        cursor.at - 1, "a key stands in quotes, or in hexadecimal behind 0x", 'write 0x0123… or "bytes"'
    )


def _fit(cursor: Cursor, word: str, known: AlgorithmWord, bits: int) -> None:
    """Refuse a key that the algorithm does not take."""
    fits = known.accepts(bits) if cursor.form.strict_keys else known.minimum <= bits <= known.maximum
    if fits:
        return
    short = known.salt_bits and bits + known.salt_bits in known.key_bits
    raise Complaint(
        cursor.at - 1,
        f"key is {bits} bits, {word} {known.expectation()}",
        f"append the {known.salt_bits // 8} bytes of salt to the key"
        if short
        else "give a key of that length",
        classic="Invalid key length",
        preface=f"{bits} {known.minimum} {known.maximum}",
    )
