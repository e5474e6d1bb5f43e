"""AH by the letter of RFC 4302 and RFC 1826, written for reading: a second opinion on every byte.

Nothing from sallet may enter: it stands on `struct`, `hmac` and, where AES is, the package `cryptography`.
Answers to: RFC 4302 sections 2, 3.3.3 and appendix A; RFC 1826; `ipsec(4)` (`ah_cleartos`, `ah_offsetmask`).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conformance import oracle

MACS = {
    "hmac-md5-96": ("md5", 12),
    "hmac-sha1-96": ("sha1", 12),
    "hmac-ripemd160-96": ("ripemd160", 12),
    "hmac-sha2-256-128": ("sha256", 16),
    "hmac-sha2-256-96": ("sha256", 12),
    "hmac-sha2-384-192": ("sha384", 24),
    "hmac-sha2-512-256": ("sha512", 32),
}
KEYED = {"keyed-md5": ("md5", 12), "keyed-sha1": ("sha1", 12)}
"""RFC 1828 and RFC 1852: key, filling, text, key."""
BLOCK_MACS = {"aes-xcbc-mac-96": 12, "aes-cmac-96": 12}
"""RFC 3566 and RFC 4494; `oracle` computes them."""
GMACS = ("aes-128-gmac", "aes-192-gmac", "aes-256-gmac")
"""RFC 4543: the key ends with four bytes of salt, and eight bytes of IV stand in front of the ICV."""
GMAC_IV_BYTES, GMAC_ICV_BYTES, GMAC_SALT_BYTES = 8, 16, 4
IMMUTABLE_OPTIONS = {130, 133, 134, 148, 149}
"""Security, extended security, commercial security, router alert, sender directed multi-destination."""
SOURCE_ROUTES = {131, 137}
IPV6_HEADER_BYTES = 40


@dataclass(frozen=True)
class Sa:
    """What both ends know."""

    algorithm: str
    key: bytes
    spi: int
    esn: bool = False
    old: bool = False
    clear_tos: bool = True
    offset_mask: int = 0
    wide_padding: bool = False

    @property
    def iv_bytes(self) -> int:
        """Length of the IV."""
        return GMAC_IV_BYTES if self.algorithm in GMACS else 0

    def icv_bytes(self) -> int:
        """Length of the ICV: cut as the algorithm says, or the whole digest in the old format."""
        if self.algorithm in GMACS:
            return GMAC_ICV_BYTES
        if self.algorithm in BLOCK_MACS:
            return BLOCK_MACS[self.algorithm]
        digest, cut = {**MACS, **KEYED}[self.algorithm]
        return hashlib.new(digest, usedforsecurity=False).digest_size if self.old else cut

    def fixed_bytes(self) -> int:
        """Length of what stands in front of IV and ICV."""
        return 8 if self.old else 12

    def header_bytes(self, version: int) -> int:
        """Length of the AH header, padded for the version of IP in front."""
        alignment = 8 if version == 6 or self.wide_padding else 4
        length = self.fixed_bytes() + self.iv_bytes + self.icv_bytes()
        return length + -length % alignment

    def icv(self, iv: bytes, text: bytes) -> bytes:
        """Authenticate."""
        if self.algorithm in GMACS:
            aead = AESGCM(self.key[:-GMAC_SALT_BYTES])
            return aead.encrypt(self.key[-GMAC_SALT_BYTES:] + iv, b"", text)
        if self.algorithm in BLOCK_MACS:
            return oracle.mac(self.algorithm, self.key, text)
        if self.algorithm in KEYED:
            return keyed_hash(KEYED[self.algorithm][0], self.key, text)[: self.icv_bytes()]
        return hmac.new(self.key, text, MACS[self.algorithm][0]).digest()[: self.icv_bytes()]


def keyed_hash(name: str, key: bytes, text: bytes) -> bytes:
    """Hash key, filling, text and key; the filling ends the first block as the hash ends its last one."""
    order: Literal["little", "big"] = "little" if name == "md5" else "big"
    filling = b"\x80" + bytes(64 - len(key) - 9) + (8 * len(key)).to_bytes(8, order)
    return hashlib.new(name, key + filling + text + key, usedforsecurity=False).digest()


def seal(
    sa: Sa,
    headers: bytes,
    next_header: int,
    sequence: int,
    payload: bytes,
    *,
    iv: bytes = b"",
    padding: bytes | None = None,
) -> bytes:
    """Build a whole packet; `headers` are as they will be sent, AH's length counted in; padding is zero."""
    length = sa.header_bytes(headers[0] >> 4)
    fixed = struct.pack(">BBHI", next_header, length // 4 - 2, 0, sa.spi)
    if not sa.old:
        fixed += struct.pack(">I", sequence & 0xFFFFFFFF)
    icv_bytes = sa.icv_bytes()
    if padding is None:
        padding = bytes(length - len(fixed) - len(iv) - icv_bytes)
    text = immutable(sa, headers) + fixed + bytes(len(iv) + icv_bytes) + padding + payload
    if sa.esn:
        text += struct.pack(">I", sequence >> 32)
    return headers + fixed + iv + sa.icv(iv, text) + padding + payload


def immutable(sa: Sa, headers: bytes) -> bytes:
    """Give headers as the final destination will see them, with what may change on the way as zero."""
    return immutable_v4(sa, headers) if headers[0] >> 4 == 4 else immutable_v6(headers)


def immutable_v4(sa: Sa, header: bytes) -> bytes:
    """RFC 4302 section 3.3.3.1.1 and appendix A1."""
    first, tos, total, ident, fragment, _ttl, protocol, _sum = struct.unpack(">BBHHHBBH", header[:12])
    source, destination = header[12:16], header[16:20]
    options = b""
    rest = header[20:]
    while rest:
        kind = rest[0]
        if kind == 0:
            options += rest
            break
        size = 1 if kind == 1 else rest[1]
        option, rest = rest[:size], rest[size:]
        if kind in SOURCE_ROUTES and option[2] <= len(option):
            destination = option[-4:]
        options += option if kind == 1 or kind in IMMUTABLE_OPTIONS else bytes(size)
    tos = 0 if sa.clear_tos else tos
    fields = struct.pack(">BBHHHBBH", first, tos, total, ident, fragment & sa.offset_mask, 0, protocol, 0)
    return fields + source + destination + options


def immutable_v6(headers: bytes) -> bytes:
    """RFC 4302 section 3.3.3.1.2; a fragment header of a whole packet is gone when AH is verified."""
    _, length, following, _hop_limit = struct.unpack(">IHBB", headers[:8])
    source, destination = headers[8:24], headers[24:40]
    extensions: list[tuple[int, bytes]] = []
    """Kind and bytes, of which the first (the next kind) is set when everything is known."""
    at, kind = IPV6_HEADER_BYTES, following
    while at < len(headers):
        size = 8 if kind == 44 else 8 * (headers[at + 1] + 1)
        header = headers[at : at + size]
        if kind == 44:
            length -= size
        elif kind == 43:
            header, destination = at_the_end(header, destination)
            extensions.append((kind, header))
        else:
            extensions.append((kind, without_mutable_options(header)))
        at, kind = at + size, header[0]
    kinds = [kind for kind, _ in extensions] + [kind]
    fixed = struct.pack(">IHBB", 6 << 28, length, kinds[0], 0) + source + destination
    chained = zip(extensions, kinds[1:], strict=True)
    return fixed + b"".join(bytes([after]) + header[1:] for (_, header), after in chained)


def at_the_end(header: bytes, destination: bytes) -> tuple[bytes, bytes]:
    """Visit what a routing header still has to visit; give it and the destination as they are then."""
    segments_left = header[3]
    addresses = [header[at : at + 16] for at in range(8, len(header), 16)]
    for index in range(len(addresses) - segments_left, len(addresses)):
        addresses[index], destination = destination, addresses[index]
    return header[:3] + b"\0" + header[4:8] + b"".join(addresses), destination


def without_mutable_options(header: bytes) -> bytes:
    """Zero the data of options whose type has the third bit set."""
    made, rest = header[:2], header[2:]
    while rest:
        if rest[0] == 0:
            made, rest = made + rest[:1], rest[1:]
            continue
        size = rest[1]
        data = bytes(size) if rest[0] & 0x20 else rest[2 : 2 + size]
        made, rest = made + rest[:2] + data, rest[2 + size :]
    return made
