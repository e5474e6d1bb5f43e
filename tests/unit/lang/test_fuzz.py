"""Any text is statements or a `SetkeyError`, and never anything else."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sallet.lang import dump, extensions, lexer, policy_string, setkey
from sallet.lang.forms import FORMS
from sallet.lang.lexer import SetkeyError
from sallet.lang.verbs import VERBS

_WORDS = [
    *VERBS,
    *extensions.EXTENSIONS,
    *["esp", "ah", "ipcomp", "tcp", "esp-udp", "esp-old", "any", "icmp6", "gre", "udp", "tagged", "-P"],
    *["-E", "-A", "-C", "-R", "aes-cbc", "null", "aes-gcm-16", "hmac-sha1", "deflate", "-4", "-n", "-46n"],
    *["in", "out", "fwd", "ipsec", "none", "discard", "prio", "high", "def", "+", "-", "+1", "unique:3"],
    *["transport", "tunnel", "require", "use", "192.0.2.1", "::1", "192.0.2.1-192.0.2.2", "0x", "0x1000"],
    *["4096", "0x" + "00" * 20, '"twenty.byte.key.here"', '"', ";", ";", ";", "/", "[", "]", ",", "#", "\n"],
    *["0", "99999999999999999999999", "8,0", "\udcff", "é", "nocyclic-seq", "x" * 300],
]
_tokens = st.lists(st.sampled_from(_WORDS), max_size=30)
_texts = st.one_of(
    st.text(),
    st.text(alphabet='adespflu 0123456789abcdefx.:/[]";#-\n\t,'),
    st.builds(" ".join, _tokens),
    st.builds("".join, _tokens),
)


def check_error(error: SetkeyError, text: str) -> None:
    assert 1 <= error.line <= text.count("\n") + 1
    assert error.column >= 1
    assert error.text
    source, carets = lexer.excerpt(error.where)
    assert "^" in carets
    assert len(carets) <= len(source) + 1


def check_text(text: str, form: str) -> None:
    try:
        statements = setkey.parse(text, form=form)
    except SetkeyError as error:
        check_error(error, text)
    else:
        for statement in statements:
            setkey.to_messages(statement, form, FORMS[form].dialect)
    setkey.check(text, form=form)


@settings(deadline=None, max_examples=400)
@example('add "', "sallet")
@example('add ::1 ::2 esp 4096 -E aes-cbc "\ud800";', "sallet")
@example("spdadd ::1 ::2 any -P", "kame")
@example("\x00;\x1c;\x85;\u2028", "linux")
@given(_texts, st.sampled_from(sorted(FORMS)))
def test_any_text_is_statements_or_a_setkey_error(text: str, form: str) -> None:
    check_text(text, form)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(), st.builds(" ".join, _tokens)), st.booleans())
def test_any_policy_string_is_a_policy_or_a_setkey_error(text: str, priority: bool) -> None:
    try:
        policy = policy_string.parse(text, priority=priority)
    except SetkeyError:
        return
    again = " ".join([dump.policy_head(policy, "linux"), *map(dump.request_text, policy.requests)])
    assert policy_string.parse(again).requests == policy.requests


@pytest.mark.parametrize("length", range(0, 201, 8))
def test_bytes_that_are_no_text(length: int) -> None:
    data = bytes((7 * at + length) % 256 for at in range(length))
    for form in FORMS:
        check_text(data.decode("utf-8", "surrogateescape"), form)


def test_a_line_of_a_million_characters_is_read_in_linear_time() -> None:
    check_text("spdadd " + "a" * 1_000_000 + " ;", "sallet")
    check_text("[" * 200_000, "sallet")
    check_text('"' * 200_001, "sallet")
