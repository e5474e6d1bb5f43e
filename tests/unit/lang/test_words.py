"""The lengths of keys that setkey checks are those of the registry."""

from __future__ import annotations

import pytest

from sallet import _core
from sallet.lang.words import AUTHENTICATION, COMBINED, ENCRYPTION
from sallet.pfkey.dialects import DIALECTS

WORDS = {word.name: word for word in (*AUTHENTICATION.values(), *ENCRYPTION.values())}


@pytest.mark.parametrize("row", _core.algorithms(), ids=lambda row: row.name)
def test_every_algorithm_of_the_registry_has_a_word_with_its_lengths(row: _core.Algorithm) -> None:
    if row.name == "hmac-sha2-256-96":
        # A quirk of the daemon's, chosen there; setkey's word for it is hmac-sha256.
        assert "hmac-sha2-256-128" in WORDS
        return
    word = WORDS[row.name]
    if row.name == "null":
        assert word.accepts(0)
        return
    assert word.key_bits == tuple(row.key_bits)
    assert word.salt_bits == row.salt_bits
    assert (row.kind == "aead") == (row.name in COMBINED)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_number_of_a_dialect_has_a_word(dialect: str) -> None:
    row = DIALECTS[dialect]
    unspoken = {*row.auth_numbers, *row.encrypt_numbers} - WORDS.keys()
    assert unspoken <= {"hmac-sha2-256-96", "serpent-cbc"}
