"""The files of vectors, recomputed by an independent implementation.

Nothing from sallet may enter: `oracle` is the second opinion.
Answers to: tests/vectors/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance import compose
from conformance.oracle import encrypt, is_aead, mac, seal, seal_aead

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
FILES = sorted(VECTORS.glob("*.json"))


def load(*, packets: bool) -> list[Any]:
    """Every case of ESP packets, or of primitives, each with the name of its file."""
    return [
        pytest.param(case, id=f"{path.stem}-{number}")
        for path in FILES
        if path.stem.startswith("esp-") == packets and not path.stem.startswith(("ah-", "ipcomp-"))
        for number, case in enumerate(json.loads(path.read_text())["cases"], 1)
    ]


def test_every_file_names_its_source() -> None:
    assert len(FILES) >= 12
    for path in FILES:
        content = json.loads(path.read_text())
        assert len(content["source"]) > 8, path.name
        assert content["cases"], path.name


@pytest.mark.parametrize("case", load(packets=True))
def test_esp_packet(case: dict[str, Any]) -> None:
    assert seal(case).hex() == case["packet"]


@pytest.mark.parametrize("case", load(packets=False))
def test_primitive(case: dict[str, Any]) -> None:
    name, key, iv = case["algorithm"], bytes.fromhex(case["key"]), bytes.fromhex(case.get("iv", ""))
    if "icv" in case:
        assert mac(name, key, bytes.fromhex(case["message"]), iv).hex() == case["icv"]
        return
    plaintext = bytes.fromhex(case["plaintext"])
    if is_aead(name):
        text, tag = seal_aead(name, key, iv, plaintext, bytes.fromhex(case["aad"]))
        assert text.hex() == case["ciphertext"]
        assert tag.hex() == case["tag"]
    else:
        assert encrypt(name, key, iv, plaintext).hex() == case["ciphertext"]


@pytest.mark.parametrize("stem", compose.composed())
def test_composed_files_are_what_the_oracle_writes(stem: str) -> None:
    assert (VECTORS / f"{stem}.json").read_text() == compose.written(stem, compose.composed()[stem])
