"""Files of setkey commands that are large: many lines, and one line that does not end.

No engine enters. Answers to setkey(8).
"""

from __future__ import annotations

import time

import pytest

from sallet.lang import setkey
from sallet.lang.lexer import SetkeyError

LINES = 100_000
MEGABYTE = 1 << 20


@pytest.mark.bug_row(49)
@pytest.mark.slow
def test_a_hundred_thousand_lines() -> None:
    """Row 49: 100,000 statements are read one by one, in time that grows with their number."""
    text = "".join(f"delete 10.1.0.1 10.2.0.7 esp {0x1000 + number:#x};\n" for number in range(LINES))
    started = time.process_time()
    assert len(setkey.parse(text, filename="large", form="linux")) == LINES
    assert time.process_time() - started < 60


PIECES = ["(", "{", '"', "0x", "esp/transport//require ", "spdadd ", "-", "\\\n", "#"]


@pytest.mark.bug_row(49)
@pytest.mark.parametrize("piece", PIECES)
def test_a_line_of_a_megabyte(piece: str) -> None:
    """Row 49: a line of a megabyte of one piece is a statement or an error with a place, no deep stack."""
    text = "spdadd 10.1.0.1 10.2.0.7 any -P out ipsec " + piece * (MEGABYTE // len(piece)) + ";"
    statements, places = read(text)
    assert statements + len(places) == 1
    assert all(line >= 1 for line in places)


@pytest.mark.bug_row(49)
def test_a_key_of_a_megabyte() -> None:
    """Row 49: a key of a megabyte is one token, in a statement or in an error that names its line."""
    statements, places = read(f"add 10.1.0.1 10.2.0.7 ah 0x1000 -A hmac-sha1 0x{'ab' * MEGABYTE};")
    assert (statements, places) in ((1, []), (0, [1]))


def read(text: str) -> tuple[int, list[int]]:
    """Count the statements of a file, and give the lines of its errors."""
    try:
        return len(setkey.parse(text, filename="large", form="linux")), []
    except SetkeyError as refused:
        return 0, [refused.line]
