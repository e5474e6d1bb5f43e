"""What our registry and a kernel's /proc/crypto both have, and the suites made of it.

No packet and no SA may enter: names and sizes only.
Answers to: `sallet.algorithms()`; the kernel's documentation, crypto/userspace-if; ip-xfrm(8) for the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import product

import sallet

KERNEL_NAMES = {
    "aes-gcm-16": "rfc4106(gcm(aes))",
    "aes-gcm-12": "rfc4106(gcm(aes))",
    "aes-gcm-8": "rfc4106(gcm(aes))",
    "aes-ccm-16": "rfc4309(ccm(aes))",
    "aes-ccm-12": "rfc4309(ccm(aes))",
    "aes-ccm-8": "rfc4309(ccm(aes))",
    "aes-gmac": "rfc4543(gcm(aes))",
    "chacha20-poly1305": "rfc7539esp(chacha20,poly1305)",
    "aes-cbc": "cbc(aes)",
    "aes-ctr": "rfc3686(ctr(aes))",
    "camellia-cbc": "cbc(camellia)",
    "3des-cbc": "cbc(des3_ede)",
    "cast128-cbc": "cbc(cast5)",
    "blowfish-cbc": "cbc(blowfish)",
    "des-cbc": "cbc(des)",
    "null": "ecb(cipher_null)",
    "hmac-sha2-256-128": "hmac(sha256)",
    "hmac-sha2-256-96": "hmac(sha256)",
    "hmac-sha2-384-192": "hmac(sha384)",
    "hmac-sha2-512-256": "hmac(sha512)",
    "hmac-sha1-96": "hmac(sha1)",
    "hmac-md5-96": "hmac(md5)",
    "hmac-ripemd160-96": "hmac(rmd160)",
    "aes-xcbc-mac-96": "xcbc(aes)",
    "aes-cmac-96": "cmac(aes)",
    "deflate": "deflate",
}
"""Registry name and the name by which a kernel's IPsec knows the same; what is not here, no kernel has."""

KEY_BITS = {"null": (0,), "cast128-cbc": (40, 80, 88, 128), "blowfish-cbc": (40, 128, 448)}
"""Which keys are tried where the registry has too many lengths for all of them."""

FLOORS = {"pairs of ESP": 18, "of AH": 7, "of IPComp": 1}
"""A set smaller than this means that something is broken, and not that everything passed."""


@dataclass(frozen=True)
class Row:
    """One algorithm that both sides have."""

    name: str
    kind: str
    kernel: str
    icv_bits: int
    key_bits: tuple[int, ...]

    def bits(self, turn: int) -> int:
        """Choose a length of key: turn by turn, each comes up."""
        return self.key_bits[turn % len(self.key_bits)]


@dataclass(frozen=True)
class Suite:
    """What one SA is given: an AEAD, a cipher and a MAC, one of them alone, or a compression."""

    encryption: Row | None = None
    authentication: Row | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is there."""
        return tuple(row for row in (self.encryption, self.authentication) if row is not None)

    @property
    def authenticates(self) -> bool:
        """Whether a changed packet is noticed, without which there is no extended sequence number."""
        return any(row.kind in ("aead", "auth") for row in self.rows)

    def __str__(self) -> str:
        return " + ".join(row.name for row in self.rows)


@dataclass(frozen=True)
class Shared:
    """The algorithms of both sides."""

    rows: tuple[Row, ...]

    def of(self, kind: str) -> list[Row]:
        """Give those of one kind: "aead", "cipher", "auth" or "compression"."""
        return [row for row in self.rows if row.kind == kind]

    def esp(self) -> list[Suite]:
        """Give every suite of ESP: AEADs, each cipher with each MAC and, where that is something, alone."""
        return [*(Suite(row) for row in self.of("aead")), *self._pairs()]

    def ah(self) -> list[Suite]:
        """Give every suite of AH."""
        return [Suite(authentication=row) for row in self.of("auth")]

    def ipcomp(self) -> list[Suite]:
        """Give every suite of IPComp."""
        return [Suite(row) for row in self.of("compression")]

    def _pairs(self) -> Iterator[Suite]:
        for cipher, mac in product(self.of("cipher"), [*self.of("auth"), None]):
            # RFC 3686 §2.2: counter mode is never used without a MAC; and nothing twice protects nothing.
            if mac is not None or cipher.name not in ("null", "aes-ctr"):
                yield Suite(cipher, mac)

    def sizes(self) -> dict[str, int]:
        """Count what the floors are about."""
        return {
            "pairs of ESP": sum(suite.authenticates for suite in self.esp()),
            "of AH": len(self.ah()),
            "of IPComp": len(self.ipcomp()),
        }

    def shrunken(self) -> list[str]:
        """Say which floors are not reached."""
        return [
            f"{name}: {size}, at least {FLOORS[name]} expected"
            for name, size in self.sizes().items()
            if size < FLOORS[name]
        ]


def shared(kernel: Set[str]) -> Shared:
    """Intersect our registry with the names of /proc/crypto."""
    return Shared(
        tuple(
            Row(
                row.name,
                row.kind,
                KERNEL_NAMES[row.name],
                row.icv_bytes * 8,
                KEY_BITS.get(row.name, tuple(row.key_bits)),
            )
            for row in sallet.algorithms()
            if KERNEL_NAMES.get(row.name) in kernel
        )
    )


def only_ours(kernel: Set[str]) -> list[str]:
    """Name what our registry has and this kernel has not."""
    return [row.name for row in sallet.algorithms() if KERNEL_NAMES.get(row.name) not in kernel]
