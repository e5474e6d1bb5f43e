"""The files of vectors, recomputed by an independent implementation.

Nothing from sallet may enter: `cryptography` and `hmac` are the second opinion.
Answers to: RFC 4303, RFC 4106, RFC 7634, RFC 3602, RFC 3686, RFC 4868.
"""

from __future__ import annotations

import hmac
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
SALT_BYTES = 4
MACS = {
    "hmac-sha1-96": ("sha1", 12),
    "hmac-sha2-256-128": ("sha256", 16),
    "hmac-sha2-256-96": ("sha256", 12),
    "hmac-sha2-384-192": ("sha384", 24),
    "hmac-sha2-512-256": ("sha512", 32),
}
BLOCKS = {"aes-cbc": 16}


def load(pattern: str) -> list[Any]:
    """Every case of the files that match, each with the name of its file."""
    return [
        pytest.param(
            case | {"algorithm": case.get("algorithm", content.get("algorithm"))}, id=f"{path.stem}-{number}"
        )
        for path in sorted(VECTORS.glob(pattern))
        for content in [json.loads(path.read_text())]
        for number, case in enumerate(content["cases"], 1)
    ]


def mac(name: str, key: bytes, message: bytes) -> bytes:
    digest, icv_bytes = MACS[name]
    return hmac.new(key, message, digest).digest()[:icv_bytes]


def encrypt(name: str, key: bytes, iv: bytes, text: bytes) -> bytes:
    """A cipher without integrity; for CTR the key ends with the nonce."""
    mode: modes.CBC | modes.CTR
    if name == "null":
        return text
    if name == "aes-ctr":
        key, mode = key[:-SALT_BYTES], modes.CTR(key[-SALT_BYTES:] + iv + b"\0\0\0\1")
    else:
        mode = modes.CBC(iv)
    encryptor = Cipher(algorithms.AES(key), mode).encryptor()
    return encryptor.update(text) + encryptor.finalize()


def seal(case: dict[str, Any]) -> bytes:
    """One ESP packet by the letter of the RFCs."""
    name, key = case["encryption"]["name"], bytes.fromhex(case["encryption"]["key"])
    iv, payload, sequence = bytes.fromhex(case["iv"]), bytes.fromhex(case["payload"]), case["sequence"]
    pad = -(len(payload) + 2) % BLOCKS.get(name, 4)
    text = payload + bytes(range(1, pad + 1)) + bytes([pad, case["next_header"]])
    header = struct.pack(">II", case["spi"], sequence & 0xFFFFFFFF)
    if name in {"aes-gcm-16", "chacha20-poly1305"}:
        aead = (AESGCM if name == "aes-gcm-16" else ChaCha20Poly1305)(key[:-SALT_BYTES])
        data = struct.pack(">IQ", case["spi"], sequence) if case["esn"] else header
        return header + iv + aead.encrypt(key[-SALT_BYTES:] + iv, text, data)
    packet = header + iv + encrypt(name, key, iv, text)
    if authentication := case["authentication"]:
        high = struct.pack(">I", sequence >> 32) if case["esn"] else b""
        packet += mac(authentication["name"], bytes.fromhex(authentication["key"]), packet + high)
    return packet


def test_every_file_names_its_source() -> None:
    files = sorted(VECTORS.glob("*.json"))
    assert len(files) >= 12
    for path in files:
        content = json.loads(path.read_text())
        assert len(content["source"]) > 8, path.name
        assert content["cases"], path.name


@pytest.mark.parametrize("case", load("esp-*.json"))
def test_esp_packet(case: dict[str, Any]) -> None:
    assert seal(case).hex() == case["packet"]


@pytest.mark.parametrize("case", load("aes-*.json"))
def test_cipher(case: dict[str, Any]) -> None:
    key, iv, plaintext = (bytes.fromhex(case[field]) for field in ("key", "iv", "plaintext"))
    assert encrypt(case["algorithm"], key, iv, plaintext).hex() == case["ciphertext"]


@pytest.mark.parametrize("case", load("hmac-*.json"))
def test_mac(case: dict[str, Any]) -> None:
    key, message = bytes.fromhex(case["key"]), bytes.fromhex(case["message"])
    assert mac(case["algorithm"], key, message).hex() == case["icv"]
