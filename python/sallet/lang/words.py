"""The words of setkey for algorithms, protocols and services, and the key lengths that go with them.

No PF_KEY number (those are the dialects') and no look-up on the host may enter.
Answers to setkey(8) of KAME, ipsec-tools and FreeBSD; RFC 4106, RFC 3686 and RFC 7634 for salts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class AlgorithmWord:
    """What a word of setkey stands for: the RFC name, and the lengths of key that it takes."""

    name: str
    key_bits: tuple[int, ...] = ()
    """The lengths allowed, salt included; empty where a range is."""
    range_bits: tuple[int, int] = (0, 0)
    salt_bits: int = 0
    legacy: bool = False
    """Whether it is for peers that know nothing better; a person is told so."""
    old_only: bool = False
    """Whether it belongs to esp-old (RFC 1829)."""
    refusal: str = ""
    """Why no association can have it, for one that is known by name only."""

    @property
    def minimum(self) -> int:
        """Shortest key in bits, salt included."""
        return self.key_bits[0] if self.key_bits else self.range_bits[0]

    @property
    def maximum(self) -> int:
        """Longest key in bits, salt included."""
        return self.key_bits[-1] if self.key_bits else self.range_bits[1]

    def accepts(self, bits: int) -> bool:
        """Say whether a key of that many bits, salt included, fits."""
        return bits in self.key_bits if self.key_bits else self.minimum <= bits <= self.maximum

    def expectation(self) -> str:
        """Say which keys fit: `needs 160 (128 and a salt of 32), 224 or 288`."""
        if not self.key_bits:
            return f"takes {self.minimum} to {self.maximum}" if self.maximum else "takes none"
        words = [str(bits) for bits in self.key_bits]
        if self.salt_bits:
            words[0] += f" ({self.key_bits[0] - self.salt_bits} and a salt of {self.salt_bits})"
        return f"needs {_listed(words)}"


def _listed(words: list[str]) -> str:
    """Write words as `1, 2 or 3`."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


_AES: Final = (128, 192, 256)
_AES_SALT_24: Final = (152, 216, 280)
_AES_SALT_32: Final = (160, 224, 288)

NOT_PROVIDED: Final = "not provided by sallet"
_IMPLICIT: Final = (
    "for key exchanges only: its IV is the sequence number, so a key must never serve twice (RFC 8750)"
)

NULL: Final = AlgorithmWord("null", range_bits=(0, 2048))
_NO_MAC: Final = AlgorithmWord("null-auth", range_bits=(0, 2048))
_SHA256: Final = AlgorithmWord("hmac-sha2-256-128", (256,))
_SHA384: Final = AlgorithmWord("hmac-sha2-384-192", (384,))
_SHA512: Final = AlgorithmWord("hmac-sha2-512-256", (512,))
_AES_CBC: Final = AlgorithmWord("aes-cbc", _AES)


def _salted(name: str, salt_bits: int = 32, refusal: str = "") -> AlgorithmWord:
    """Return the word of an AES mode whose key ends with a salt."""
    return AlgorithmWord(
        name, _AES_SALT_32 if salt_bits == 32 else _AES_SALT_24, salt_bits=salt_bits, refusal=refusal
    )


AUTHENTICATION: Final[dict[str, AlgorithmWord]] = {
    "hmac-md5": AlgorithmWord("hmac-md5-96", (128,), legacy=True),
    "hmac-sha1": AlgorithmWord("hmac-sha1-96", (160,)),
    "hmac-sha256": _SHA256,
    "hmac-sha2-256": _SHA256,
    "hmac-sha384": _SHA384,
    "hmac-sha2-384": _SHA384,
    "hmac-sha512": _SHA512,
    "hmac-sha2-512": _SHA512,
    "hmac-sha2-256-96": AlgorithmWord("hmac-sha2-256-96", (256,), legacy=True),
    "hmac-ripemd160": AlgorithmWord("hmac-ripemd160-96", (160,), legacy=True),
    "aes-xcbc-mac": AlgorithmWord("aes-xcbc-mac-96", (128,)),
    "aes-cmac": AlgorithmWord("aes-cmac-96", (128,)),
    "aes-128-gmac": AlgorithmWord("aes-128-gmac", (160,), salt_bits=32),
    "aes-192-gmac": AlgorithmWord("aes-192-gmac", (224,), salt_bits=32),
    "aes-256-gmac": AlgorithmWord("aes-256-gmac", (288,), salt_bits=32),
    "keyed-md5": AlgorithmWord("keyed-md5", (128,), legacy=True),
    "keyed-sha1": AlgorithmWord("keyed-sha1", (160,), legacy=True),
    "tcp-md5": AlgorithmWord("tcp-md5", range_bits=(8, 640), refusal=NOT_PROVIDED),
    "null": _NO_MAC,
}
"""Words behind -A."""

ENCRYPTION: Final[dict[str, AlgorithmWord]] = {
    "des-cbc": AlgorithmWord("des-cbc", (64,), legacy=True),
    "3des-cbc": AlgorithmWord("3des-cbc", (192,), legacy=True),
    "null": NULL,
    "simple": NULL,
    "blowfish-cbc": AlgorithmWord("blowfish-cbc", range_bits=(40, 448), legacy=True),
    "cast128-cbc": AlgorithmWord("cast128-cbc", range_bits=(40, 128), legacy=True),
    "des-deriv": AlgorithmWord("des-deriv", (64,), legacy=True),
    "des-32iv": AlgorithmWord("des-iv32", (64,), legacy=True, old_only=True),
    "des-64iv": AlgorithmWord("des-iv64", (64,), legacy=True, old_only=True),
    "twofish-cbc": AlgorithmWord("twofish-cbc", range_bits=(0, 256), refusal=NOT_PROVIDED),
    "skipjack": AlgorithmWord("skipjack", (80,), refusal=NOT_PROVIDED),
    "skipjack-cbc": AlgorithmWord("skipjack", (80,), refusal=NOT_PROVIDED),
    "rijndael-cbc": _AES_CBC,
    "aes-cbc": _AES_CBC,
    "aes-ctr": _salted("aes-ctr"),
    "camellia-cbc": AlgorithmWord("camellia-cbc", _AES),
    "aes-gcm-8": _salted("aes-gcm-8"),
    "aes-gcm-12": _salted("aes-gcm-12"),
    "aes-gcm-16": _salted("aes-gcm-16"),
    "aes-ccm-8": _salted("aes-ccm-8", 24),
    "aes-ccm-12": _salted("aes-ccm-12", 24),
    "aes-ccm-16": _salted("aes-ccm-16", 24),
    "aes-gmac": _salted("aes-gmac"),
    "chacha20-poly1305": AlgorithmWord("chacha20-poly1305", (288,), salt_bits=32),
    "aes-gcm-16-iiv": _salted("aes-gcm-16-iiv", refusal=_IMPLICIT),
    "aes-ccm-8-iiv": _salted("aes-ccm-8-iiv", 24, refusal=_IMPLICIT),
    "chacha20-poly1305-iiv": AlgorithmWord("chacha20-poly1305-iiv", (288,), salt_bits=32, refusal=_IMPLICIT),
}
"""Words behind -E."""

COMPRESSION: Final[tuple[str, ...]] = ("oui", "deflate", "lzs")
"""Words behind -C."""

COMPRESSION_REFUSED: Final[frozenset[str]] = frozenset({"oui", "lzs"})
"""Those of them that are known by name only."""

COMBINED: Final[frozenset[str]] = frozenset(
    word.name
    for word in ENCRYPTION.values()
    if word.name.startswith(("aes-gcm", "aes-ccm", "aes-gmac", "chacha20"))
)
"""RFC names of the algorithms that authenticate what they encrypt and take no -A."""

PROTOCOLS: Final[dict[str, int]] = {
    "any": 255,
    "icmp": 1,
    "igmp": 2,
    "ip4": 4,
    "ipv4": 4,
    "ipencap": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmp6": 58,
    "ipv6-icmp": 58,
    "ospf": 89,
    "pim": 103,
    "ipcomp": 108,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "mh": 135,
    "udplite": 136,
}
"""Upper-layer protocols by the names setkey and the usual protocol table have for them (IANA numbers)."""

PROTOCOL_NAMES: Final[dict[int, str]] = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "ipv6-icmp",
    89: "ospf",
    103: "pim",
    108: "ipcomp",
    112: "vrrp",
    115: "l2tp",
    132: "sctp",
    136: "udplite",
}
"""The way back, for dumps: one name a number; the forms add what they write differently."""
