"""The algorithms a hostile peer seals with, by registry name: a second opinion on the `cryptography` package.

Nothing of sallet may enter: what it would get wrong on both sides would look right.
Answers to: RFC 4106, 4309, 4543, 7634, 3602, 3686, 4312, 2451, 2410 (encryption), RFC 2403, 2404, 3566, 4494,
4868 (integrity).
"""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import CAST5, Blowfish, Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC

SALT_BYTES = 4
CCM_SALT_BYTES = 3
TAG_BYTES = 16


@dataclass(frozen=True)
class Encryption:
    """What a packet needs to know of a cipher or an AEAD."""

    iv_bytes: int
    block_bytes: int
    icv_bytes: int
    seal: Callable[[bytes, bytes, bytes, bytes], bytes]
    """(key, IV, plaintext, additional data) to ciphertext, with the ICV behind it for an AEAD."""


Seal = Callable[[bytes, bytes, bytes, bytes], bytes]


def _gcm(icv_bytes: int) -> Encryption:
    def seal(key: bytes, iv: bytes, text: bytes, data: bytes) -> bytes:
        whole = AESGCM(key[:-SALT_BYTES]).encrypt(key[-SALT_BYTES:] + iv, text, data)
        return whole[: len(whole) - TAG_BYTES + icv_bytes]

    return Encryption(8, 4, icv_bytes, seal)


def _ccm(icv_bytes: int) -> Encryption:
    def seal(key: bytes, iv: bytes, text: bytes, data: bytes) -> bytes:
        aead = AESCCM(key[:-CCM_SALT_BYTES], icv_bytes)
        return aead.encrypt(key[-CCM_SALT_BYTES:] + iv, text, data)

    return Encryption(8, 4, icv_bytes, seal)


def _gmac(key: bytes, iv: bytes, text: bytes, data: bytes) -> bytes:
    return text + AESGCM(key[:-SALT_BYTES]).encrypt(key[-SALT_BYTES:] + iv, b"", data + iv + text)


def _chacha(key: bytes, iv: bytes, text: bytes, data: bytes) -> bytes:
    return ChaCha20Poly1305(key[:-SALT_BYTES]).encrypt(key[-SALT_BYTES:] + iv, text, data)


def _cbc(cipher: Callable[[bytes], BlockCipherAlgorithm], block_bytes: int) -> Encryption:
    def seal(key: bytes, iv: bytes, text: bytes, _data: bytes) -> bytes:
        encryptor = Cipher(cipher(key), modes.CBC(iv)).encryptor()
        return encryptor.update(text) + encryptor.finalize()

    return Encryption(block_bytes, block_bytes, 0, seal)


def _ctr(key: bytes, iv: bytes, text: bytes, _data: bytes) -> bytes:
    first = key[-SALT_BYTES:] + iv + b"\0\0\0\1"
    encryptor = Cipher(algorithms.AES(key[:-SALT_BYTES]), modes.CTR(first)).encryptor()
    return encryptor.update(text) + encryptor.finalize()


def _null(_key: bytes, _iv: bytes, text: bytes, _data: bytes) -> bytes:
    return text


ENCRYPTION = {
    **{f"aes-gcm-{size}": _gcm(size) for size in (16, 12, 8)},
    **{f"aes-ccm-{size}": _ccm(size) for size in (16, 12, 8)},
    "aes-gmac": Encryption(8, 4, 16, _gmac),
    "chacha20-poly1305": Encryption(8, 4, 16, _chacha),
    "aes-cbc": _cbc(algorithms.AES, 16),
    "camellia-cbc": _cbc(Camellia, 16),
    "3des-cbc": _cbc(TripleDES, 8),
    "des-cbc": _cbc(lambda key: TripleDES(3 * key), 8),
    "cast128-cbc": _cbc(CAST5, 8),
    "blowfish-cbc": _cbc(Blowfish, 8),
    "aes-ctr": Encryption(8, 4, 0, _ctr),
    "null": Encryption(0, 4, 0, _null),
}


def _hmac(digest: str) -> Callable[[bytes, bytes], bytes]:
    return lambda key, message: hmac.new(key, message, digest).digest()


def _cmac(key: bytes, message: bytes) -> bytes:
    made = CMAC(algorithms.AES(key))
    made.update(message)
    return made.finalize()


def _xcbc(key: bytes, message: bytes) -> bytes:
    """AES-XCBC: the last block is masked with one of two keys made from the first."""
    first, whole, filled = (_aes_block(key, bytes([number] * 16)) for number in (1, 2, 3))
    if message and len(message) % 16 == 0:
        mask = whole
    else:
        mask, message = filled, message + b"\x80" + bytes(-(len(message) + 1) % 16)
    state = bytes(16)
    for at in range(0, len(message), 16):
        state = _xor(state, message[at : at + 16])
        if at + 16 == len(message):
            state = _xor(state, mask)
        state = _aes_block(first, state)
    return state


def _aes_block(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 (one block)
    return encryptor.update(block) + encryptor.finalize()


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=True))


@dataclass(frozen=True)
class Mac:
    """What a packet needs to know of a MAC."""

    key_bytes: int
    icv_bytes: int
    whole: Callable[[bytes, bytes], bytes]
    """(key, message) to the MAC before it is cut."""


MACS = {
    "hmac-md5-96": Mac(16, 12, _hmac("md5")),
    "hmac-sha1-96": Mac(20, 12, _hmac("sha1")),
    "hmac-sha2-256-128": Mac(32, 16, _hmac("sha256")),
    "hmac-sha2-256-96": Mac(32, 12, _hmac("sha256")),
    "hmac-sha2-384-192": Mac(48, 24, _hmac("sha384")),
    "hmac-sha2-512-256": Mac(64, 32, _hmac("sha512")),
    "aes-cmac-96": Mac(16, 12, _cmac),
    "aes-xcbc-mac-96": Mac(16, 12, _xcbc),
}


def mac(name: str, key: bytes, message: bytes) -> bytes:
    """Compute an ICV."""
    return MACS[name].whole(key, message)[: MACS[name].icv_bytes]


@dataclass(frozen=True)
class Suite:
    """One choice of algorithms with its keys; `encryption` None is AH."""

    encryption: str | None
    key_bytes: int
    authentication: str | None

    def __str__(self) -> str:
        bits = f"-{self.key_bytes * 8}" if self.key_bytes else ""
        parts = [f"{self.encryption}{bits}" if self.encryption else "ah", self.authentication]
        return "+".join(part for part in parts if part)

    @property
    def key(self) -> bytes:
        """Key of the cipher, salt included."""
        return random.Random(f"key {self}").randbytes(self.key_bytes)

    @property
    def authentication_key(self) -> bytes:
        """Key of the MAC, or nothing."""
        size = MACS[self.authentication].key_bytes if self.authentication else 0
        return random.Random(f"mac {self}").randbytes(size)

    @property
    def icv_bytes(self) -> int:
        """Length of the ICV that a packet carries."""
        if self.authentication:
            return MACS[self.authentication].icv_bytes
        return ENCRYPTION[self.encryption].icv_bytes if self.encryption else 0


GCM = Suite("aes-gcm-16", 20, None)
CHACHA = Suite("chacha20-poly1305", 36, None)
CBC = Suite("aes-cbc", 16, "hmac-sha2-256-128")
CTR = Suite("aes-ctr", 20, "hmac-sha1-96")
NULL = Suite("null", 0, "hmac-sha2-512-256")
BARE_CBC = Suite("aes-cbc", 16, None)
"""Encryption only: what Bellovin warned of."""
AH_SUITES = tuple(Suite(None, 0, name) for name in MACS)
AH = Suite(None, 0, "hmac-sha2-256-128")
KINDS = (GCM, CHACHA, CBC, CTR, NULL)
"""One of each shape: AEAD, block cipher, stream cipher, no cipher."""
_AEAD_KEY_BYTES = {
    **{f"aes-gcm-{size}": (20, 28, 36) for size in (16, 12, 8)},
    **{f"aes-ccm-{size}": (19, 27, 35) for size in (16, 12, 8)},
    "aes-gmac": (20, 28, 36),
    "chacha20-poly1305": (36,),
}
_CIPHER_KEY_BYTES = {
    "aes-cbc": (16, 24, 32),
    "aes-ctr": (20, 28, 36),
    "camellia-cbc": (16, 24, 32),
    "3des-cbc": (24,),
    "des-cbc": (8,),
    "cast128-cbc": (5, 10, 16),
    "blowfish-cbc": (5, 16, 56),
}
AEAD_SUITES = tuple(Suite(name, size, None) for name, sizes in _AEAD_KEY_BYTES.items() for size in sizes)
ESP_SUITES = (
    *AEAD_SUITES,
    *(Suite(name, size, CBC.authentication) for name, sizes in _CIPHER_KEY_BYTES.items() for size in sizes),
    *(Suite("null", 0, name) for name in MACS),
)
"""Every algorithm and every key length of note once."""
SMALL_BLOCK_SUITES = tuple(
    Suite(name, _CIPHER_KEY_BYTES[name][-1], CBC.authentication)
    for name in ("3des-cbc", "des-cbc", "cast128-cbc", "blowfish-cbc")
)
"""Blocks of 64 bits."""
