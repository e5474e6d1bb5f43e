"""Statements, tokens and places of setkey text."""

from __future__ import annotations

import pytest

from sallet.lang import lexer, setkey
from sallet.lang.lexer import SetkeyError


def test_statements_end_at_semicolons_and_comments_at_newlines() -> None:
    found = list(lexer.chunks("flush; # all; of it\n\nspdflush ;\n  dump esp; # end"))
    assert [chunk.tokens for chunk in found] == [["flush"], ["spdflush"], ["dump", "esp"]]
    assert [(chunk.line, chunk.column) for chunk in found] == [(1, 1), (3, 1), (4, 3)]
    assert all(chunk.closed for chunk in found)


def test_a_statement_runs_over_lines_with_comments_between() -> None:
    (chunk,) = lexer.chunks("spdadd 10.0.0.0/8[any] # from; here\n\t::/0 any\n -P out none;")
    assert chunk.tokens == [
        *["spdadd", "10.0.0.0", "/", "8", "[", "any", "]"],
        *["::", "/", "0", "any", "-P", "out", "none"],
    ]
    assert (chunk.line, chunk.last_line) == (1, 3)


def test_a_quoted_token_keeps_what_would_end_a_statement() -> None:
    (chunk,) = lexer.chunks('add a b esp 1 -E x "a;b # c";')
    assert chunk.tokens[-1] == '"a;b # c"'


def test_text_without_a_last_semicolon_is_a_chunk_left_open() -> None:
    (chunk,) = lexer.chunks("flush # and then\n")
    assert chunk.tokens == ["flush"]
    assert not chunk.closed


@pytest.mark.parametrize(
    ("text", "line", "column", "length"),
    [
        ("flush;\nfrob;\n", 2, 1, 4),
        ("flush;\n\tadd 1.2.3.4 1.2.3.x esp 1000 -E null;", 2, 14, 7),
        ("# x\n\nspdadd 1.2.3.4\n  # y;\n  1.2.3.5/77 any -P out none;", 5, 11, 2),
        ("add 1.2.3.4 1.2.3.5 esp 1000 -E aes-cbc ;", 1, 41, 1),
        ("flush", 1, 6, 1),
        ("flush  # no semicolon\n", 1, 6, 1),
        ("flush;\nspdflush\nflush;", 3, 1, 5),
        ('add 1.2.3.4 1.2.3.5 esp 1000 -E aes-cbc "abc\n;', 1, 41, 1),
        ("spdadd 1.2.3.4 1.2.3.5 any\n-P out ipsec\n  esp/transport//foo;", 3, 18, 3),
    ],
)
def test_an_error_names_the_place_of_its_token(text: str, line: int, column: int, length: int) -> None:
    with pytest.raises(SetkeyError) as caught:
        setkey.parse(text, filename="f.conf")
    error = caught.value
    assert (error.filename, error.line, error.column, error.length) == ("f.conf", line, column, length)
    assert error.text
    assert error.next_step


def test_the_excerpt_points_at_the_token() -> None:
    with pytest.raises(SetkeyError) as caught:
        setkey.parse("spdadd 10.0.0.0/33 10.0.0.1 any -P out none;")
    source, carets = lexer.excerpt(caught.value.where)
    assert source[carets.index("^") : len(carets)] == "33"


@pytest.mark.parametrize(
    "key", ["0x00112233445566778899aabbccddeeff00112233", '"twenty.byte.key.here"', '"never closes']
)
def test_an_excerpt_shows_no_key(key: str) -> None:
    with pytest.raises(SetkeyError) as caught:
        setkey.parse(f"add 10.0.0.1 10.0.0.2 esp 0x1000 -E aes-cbc {key};")
    source, _ = lexer.excerpt(caught.value.where)
    assert "10.0.0.2" in source
    assert "0x1000" in source
    assert key[3:12] not in source
    assert len(source) == len(caught.value.where.source)


def test_a_long_line_is_cut_around_the_token() -> None:
    with pytest.raises(SetkeyError) as caught:
        setkey.parse("flush; " * 40_000 + "frob; " + "flush; " * 40_000)
    source, carets = lexer.excerpt(caught.value.where)
    assert len(source) < 200
    assert source[carets.index("^") : len(carets)] == "frob"
    assert caught.value.column == 280_001


def test_many_statements_on_one_line_take_linear_time() -> None:
    statements = setkey.parse("spdadd 10.0.0.1 10.0.0.2 any -P out none; " * 30_000)
    assert len(statements) == 30_000


def test_a_missing_semicolon_is_called_one() -> None:
    for text in (
        "flush\nspdflush;",
        "add ::1 ::2 esp 4096 -E null\nspdflush;",
        "spdadd ::1 ::2 any -P out none\nflush;",
    ):
        with pytest.raises(SetkeyError) as caught:
            setkey.parse(text)
        assert "does not end" in caught.value.text
        assert "semicolon" in caught.value.next_step
        assert (caught.value.line, caught.value.column) == (2, 1)
