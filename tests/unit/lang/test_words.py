"""The lengths of keys that setkey checks are those of the registry."""

from __future__ import annotations

import pytest

from sallet import _core
from sallet.lang.words import (
    AUTHENTICATION,
    COMBINED,
    COMPRESSION,
    COMPRESSION_REFUSED,
    ENCRYPTION,
    NOT_PROVIDED,
)
from sallet.pfkey.dialects import DIALECTS

WORDS = {word.name: word for word in (*AUTHENTICATION.values(), *ENCRYPTION.values())}


KEYED = [row for row in _core.algorithms() if row.kind != "compression"]


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
def test_every_algorithm_of_the_registry_has_a_word_with_its_lengths(row: _core.Algorithm) -> None:
    word = WORDS[row.name]
    if word.key_bits:
        assert word.key_bits == tuple(row.key_bits)
    else:
        assert [bits for bits in range(0, 4096, 8) if word.accepts(bits)] == row.key_bits
    assert word.salt_bits == row.salt_bits
    assert (row.kind == "aead") == (row.name in COMBINED)
    assert bool(word.refusal) is not row.manual_keys
    assert word.legacy == (row.legacy and row.name != "null-auth")


def test_a_word_that_nobody_computes_says_so() -> None:
    computed = {row.name for row in _core.algorithms()}
    for name, word in WORDS.items():
        if name not in computed:
            assert word.refusal == NOT_PROVIDED, name
    provided = {row.name for row in _core.algorithms() if row.kind == "compression"}
    assert {"oui", "lzs"} == COMPRESSION_REFUSED == set(COMPRESSION) - provided


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_number_of_a_dialect_has_a_word(dialect: str) -> None:
    row = DIALECTS[dialect]
    unspoken = {*row.auth_numbers, *row.encrypt_numbers} - WORDS.keys()
    assert unspoken <= {"serpent-cbc"}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_the_lengths_that_a_dialect_lists_are_the_registry_s(dialect: str) -> None:
    rows = {row.name: row for row in _core.algorithms()}
    for listed in (*DIALECTS[dialect].auth, *DIALECTS[dialect].encrypt):
        row = rows.get(listed.name)
        if row is None or row.name in {"null", "null-auth"}:
            continue
        if (dialect, row.name) == ("netbsd", "camellia-cbc"):
            continue  # NetBSD lists from 64 bits on, and takes what Camellia has.
        # FreeBSD lists keys without the salt that is given with them.
        salt = row.salt_bits if dialect == "freebsd" else 0
        assert (listed.minbits, listed.maxbits) == (row.key_bits[0] - salt, row.key_bits[-1] - salt), row.name


def test_the_sallet_dialect_has_a_number_for_everything_and_no_number_twice() -> None:
    row = DIALECTS["sallet"]
    numbered = {*row.auth_numbers, *row.encrypt_numbers, *row.compress_numbers}
    assert numbered >= {algorithm.name for algorithm in _core.algorithms()}
    for table in (row.auth, row.encrypt):
        assert len({listed.number for listed in table}) == len(table)
