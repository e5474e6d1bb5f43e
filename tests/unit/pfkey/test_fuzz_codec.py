"""Every committed input of the PF_KEY fuzzer, and changed ones: an answer, and never an exception.

Answers to RFC 2367 §2 and §2.3; `make fuzz-pfkey` tries more, docs/fuzzing.md says how many it was.
"""

from __future__ import annotations

from random import Random

import pytest

from fuzz.inputs import changed, corpus
from fuzz.judge import ANSWERED, REFUSED, SERVED, Judge
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.dialects import DIALECTS

CHANGES = 1500


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3
# # an extension twice, of no length, beyond the message or of an unknown kind: EINVAL, and nothing is changed
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_fed_before_is_answered(dialect: str) -> None:
    judge = Judge(DIALECTS[dialect], Random(1))
    outcomes = {judge(data) for data in corpus(dialect)}
    assert outcomes >= {ANSWERED, SERVED}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_never_fed_is_answered_too(dialect: str) -> None:
    random, pool = Random(f"{dialect} default"), corpus(dialect)
    judge = Judge(DIALECTS[dialect], random)
    outcomes = [judge(changed(random.choice(pool), pool, random)) for _ in range(CHANGES)]
    assert outcomes.count(REFUSED) < 0.7 * CHANGES, "most changes should get past the lengths"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_corpus_has_every_type_of_message(dialect: str) -> None:
    row, seen = DIALECTS[dialect], set()
    for data in corpus(dialect):
        try:
            seen.add(codec.decode(data, row).type)
        except codec.Malformed:
            continue
    assert seen == {kind for kind in SadbMsgType if 0 < kind <= row.last_message}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_prefix_of_a_message_is_one(dialect: str) -> None:
    for data in corpus(dialect)[::20]:
        for size in range(len(data)):
            with pytest.raises(codec.Malformed):
                codec.decode(data[:size], DIALECTS[dialect])
