"""ESP and every primitive below it, by the letter of the RFCs: a second opinion on every byte.

Nothing from sallet may enter: it stands on `hashlib`, `hmac`, `struct` and the package `cryptography`.
Answers to: RFC 4303, 1827, 4106, 4309, 4543, 7634, 8750, 3602, 3686, 2405, 2451, 1829, 4312 (ESP); 4868,
2403, 2857, 3566, 4494, 1828, 1852 (integrity); draft-ietf-ipsec-ciph-des-derived-01.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from cryptography.hazmat.decrepit.ciphers.algorithms import CAST5, Blowfish, Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC

HMACS = {
    "hmac-md5-96": ("md5", 12),
    "hmac-sha1-96": ("sha1", 12),
    "hmac-ripemd160-96": ("ripemd160", 12),
    "hmac-sha2-256-128": ("sha256", 16),
    "hmac-sha2-256-96": ("sha256", 12),
    "hmac-sha2-384-192": ("sha384", 24),
    "hmac-sha2-512-256": ("sha512", 32),
}
KEYED = {"keyed-md5": ("md5", "little"), "keyed-sha1": ("sha1", "big")}
"""The hash, and the order of the octets in which it writes the length of a text."""
SALT_BYTES = {"aes-ccm": 3}
"""Four for the others."""
_Block: TypeAlias = algorithms.AES | Camellia | TripleDES | CAST5 | Blowfish
CBC: dict[str, Callable[[bytes], _Block]] = {
    "aes-cbc": algorithms.AES,
    "camellia-cbc": Camellia,
    "3des-cbc": TripleDES,
    "cast128-cbc": CAST5,
    "blowfish-cbc": Blowfish,
    "des-cbc": TripleDES,
    "des-iv64": TripleDES,
    "des-iv32": TripleDES,
    "des-deriv": TripleDES,
}
"""DES is 3DES with one key three times, which the package makes of eight octets."""
AES_BLOCK_BYTES = 16


def salted(name: str, key: bytes) -> tuple[bytes, bytes]:
    """Take the salt off the end of a key."""
    length = SALT_BYTES.get(name[:7], 4)
    return key[:-length], key[-length:]


def mac(name: str, key: bytes, message: bytes, iv: bytes = b"") -> bytes:
    """An ICV, cut as the name says."""
    if name in HMACS:
        digest, icv_bytes = HMACS[name]
        return hmac.new(key, message, digest).digest()[:icv_bytes]
    if name in KEYED:
        return keyed(*KEYED[name], key, message)[:12]
    if name == "aes-cmac-96":
        state = CMAC(algorithms.AES(key))
        state.update(message)
        return state.finalize()[:12]
    if name == "aes-xcbc-mac-96":
        return xcbc(key, message)[:12]
    if name.endswith("-gmac"):
        key, salt = salted(name, key)
        return AESGCM(key).encrypt(salt + iv, b"", message)
    assert name == "null-auth", name
    return b""


def keyed(digest: str, order: Any, key: bytes, message: bytes) -> bytes:
    """RFC 1828, 1852: the key, filled up as the hash itself fills up its text; the message; the key."""
    zeros = -(len(key) + 9) % 64
    filling = b"\x80" + bytes(zeros) + (len(key) * 8).to_bytes(8, order)
    return hashlib.new(digest, key + filling + message + key, usedforsecurity=False).digest()


def aes_block(key: bytes, block: bytes) -> bytes:
    """AES of one block."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  (one block, for a MAC)
    return encryptor.update(block) + encryptor.finalize()


def xcbc(key: bytes, message: bytes) -> bytes:
    """RFC 3566 section 4, step by step."""
    first, second, third = (aes_block(key, bytes([number]) * AES_BLOCK_BYTES) for number in (1, 2, 3))
    blocks = [message[at : at + AES_BLOCK_BYTES] for at in range(0, len(message), AES_BLOCK_BYTES)] or [b""]
    last, mask = blocks.pop(), second
    if len(last) < AES_BLOCK_BYTES:
        last, mask = (last + b"\x80").ljust(AES_BLOCK_BYTES, b"\0"), third
    state = bytes(AES_BLOCK_BYTES)
    for block in blocks:
        state = aes_block(first, xor(state, block))
    return aes_block(first, xor(xor(state, last), mask))


def xor(left: bytes, right: bytes) -> bytes:
    """Exclusive or, octet by octet."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def encrypt(name: str, key: bytes, iv: bytes, text: bytes) -> bytes:
    """A cipher without integrity; CTR's key ends with the nonce; a short IV is followed by its complement."""
    if name == "null":
        return text
    algorithm: _Block
    mode: modes.CBC | modes.CTR
    if name == "aes-ctr":
        key, nonce = salted(name, key)
        algorithm, mode = algorithms.AES(key), modes.CTR(nonce + iv + b"\0\0\0\1")
    else:
        if name in {"des-iv32", "des-deriv"}:
            iv += xor(iv, b"\xff\xff\xff\xff")
        algorithm, mode = CBC[name](key * 3 if name.startswith("des-") else key), modes.CBC(iv)
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(text) + encryptor.finalize()


def seal_aead(name: str, key: bytes, iv: bytes, text: bytes, data: bytes) -> tuple[bytes, bytes]:
    """An AEAD: the ciphertext and the tag."""
    key, salt = salted(name, key)
    family = name.removesuffix("-iiv")
    if family == "aes-gmac":
        # RFC 4543: all of it is additional data, the IV between header and payload.
        return text, AESGCM(key).encrypt(salt + iv, b"", data + iv + text)
    if family == "chacha20-poly1305":
        sealed = ChaCha20Poly1305(key).encrypt(salt + iv, text, data)
        return sealed[:-16], sealed[-16:]
    tag_bytes = int(family.rpartition("-")[2])
    if family.startswith("aes-ccm"):
        sealed = AESCCM(key, tag_bytes).encrypt(salt + iv, text, data)
        return sealed[:-tag_bytes], sealed[-tag_bytes:]
    sealed = AESGCM(key).encrypt(salt + iv, text, data)
    return sealed[:-16], sealed[-16:][:tag_bytes]


def is_aead(name: str) -> bool:
    """Whether a name is one of those that authenticate, too."""
    return name.startswith(("aes-gcm", "aes-ccm", "aes-gmac", "chacha20"))


def seal(case: dict[str, Any]) -> bytes:
    """One ESP packet."""
    name, key = case["encryption"]["name"], bytes.fromhex(case["encryption"]["key"])
    sent, payload, sequence = bytes.fromhex(case["iv"]), bytes.fromhex(case["payload"]), case["sequence"]
    block = (16 if name in {"aes-cbc", "camellia-cbc"} else 8) if name in CBC else 4
    pad = -(len(payload) + 2) % block
    text = payload + bytes(range(1, pad + 1)) + bytes([pad, case["next_header"]])
    header = struct.pack(">II", case["spi"], sequence & 0xFFFFFFFF)
    if case.get("old"):
        # RFC 1827 and RFC 1829: the SPI alone, and nothing behind the ciphertext.
        return header[:4] + sent + encrypt(name, key, sent, text)
    iv = sent
    if name.endswith("-iiv"):
        iv = struct.pack(">Q", sequence if case["esn"] else sequence & 0xFFFFFFFF)
    elif name == "des-deriv":
        iv = header[4:]
    if is_aead(name):
        data = struct.pack(">IQ", case["spi"], sequence) if case["esn"] else header
        return header + sent + b"".join(seal_aead(name, key, iv, text, data))
    packet = header + sent + encrypt(name, key, iv, text)
    if authentication := case["authentication"]:
        high = struct.pack(">I", sequence >> 32) if case["esn"] else b""
        packet += mac(authentication["name"], bytes.fromhex(authentication["key"]), packet + high)
    return packet
