"""The grammar of policy strings against the shared table of what each dialect takes and refuses."""

from __future__ import annotations

import pytest

from sallet.lang import dump, policy_string
from sallet.lang.lexer import SetkeyError
from unit.lang.policy_vectors import ACCEPTED, REFUSED, Vector


@pytest.mark.parametrize("vector", ACCEPTED, ids=str)
def test_accepted(vector: Vector) -> None:
    policy = policy_string.parse(vector.text, dialect=vector.dialect)
    assert dump.policy_head(policy, "kame") == vector.policy
    assert tuple(map(dump.request_text, policy.requests)) == vector.rules
    assert policy.priority == vector.priority


@pytest.mark.parametrize("vector", REFUSED, ids=str)
def test_refused(vector: Vector) -> None:
    with pytest.raises(SetkeyError) as caught:
        policy_string.parse(vector.text, dialect=vector.dialect)
    assert caught.value.classic == vector.error
