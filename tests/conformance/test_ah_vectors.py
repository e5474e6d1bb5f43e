"""The files of AH vectors: what the oracle composes, and whether a real kernel's packets agree with it.

Nothing from sallet may enter: this is the oracle's own trial.
Answers to: RFC 4302 section 3.3.3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.ah_oracle import Sa, seal

VECTORS = Path(__file__).resolve().parent.parent / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    """Every case of a file."""
    cases: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["cases"]
    return cases


def sa(case: dict[str, Any]) -> Sa:
    """Read the SA of a case."""
    names = ("esn", "old", "clear_tos", "offset_mask", "wide_padding")
    settings = {name: case[name] for name in names}
    authentication = case["authentication"]
    return Sa(authentication["name"], bytes.fromhex(authentication["key"]), case["spi"], **settings)


@pytest.mark.parametrize("case", load("ah-linux.json"), ids=lambda case: str(case["name"]))
def test_the_oracle_agrees_with_a_kernel(case: dict[str, Any]) -> None:
    """A kernel's padding is whatever stood in its memory: it is given to the oracle."""
    made, theirs = sa(case), bytes.fromhex(case["packet"])
    headers, payload = bytes.fromhex(case["headers"]), bytes.fromhex(case["payload"])
    padding = theirs[len(headers) + 12 + made.icv_bytes() : len(theirs) - len(payload)]
    ours = seal(made, headers, case["next_header"], case["sequence"], payload, padding=padding)
    assert ours.hex() == theirs.hex()


def test_each_way_ends_where_the_oracle_says() -> None:
    """The headers as received are covered as the headers as sent: nothing on the way is in the ICV."""
    for case in [*load("ah-oracle.json"), *load("ah-linux.json")]:
        size = len(bytes.fromhex(case["headers"]))
        sent, received = bytes.fromhex(case["packet"]), bytes.fromhex(case["received"])
        assert sent[size:] == received[size:], case["name"]
        payload, sequence = bytes.fromhex(case["payload"]), case["sequence"]
        made, end = sa(case), len(sent) - len(payload)
        iv_at = size + made.fixed_bytes()
        iv, padding = sent[iv_at : iv_at + made.iv_bytes], sent[end - padding_bytes(case) : end]
        again = seal(made, received[:size], case["next_header"], sequence, payload, iv=iv, padding=padding)
        assert again == received, case["name"]


def padding_bytes(case: dict[str, Any]) -> int:
    """How much of the AH header is padding."""
    made = sa(case)
    version = int(case["headers"][0])
    return made.header_bytes(version) - made.fixed_bytes() - made.iv_bytes - made.icv_bytes()
