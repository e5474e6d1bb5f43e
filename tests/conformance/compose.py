"""Composes the vectors that nobody published: `python -m conformance.compose`, from the folder `tests`.

Keys, IVs and texts are SHAKE128 of a case's name, so that each run writes the same files.
Answers to: `oracle`; tests/vectors/README.md.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from conformance import ah_cases
from conformance.oracle import KEYED, is_aead, mac, seal

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
SOURCE = (
    "oracle in Python, tests/conformance/oracle.py; from the package cryptography and hashlib; "
    "key, IV and text are SHAKE128 of the case name"
)
_SALTED = (20, 28, 36)
_CCM = (19, 27, 35)
_AES = (16, 24, 32)

CIPHERS: dict[str, tuple[tuple[int, ...], int]] = {
    "aes-gcm-8": (_SALTED, 8),
    "aes-gcm-12": (_SALTED, 8),
    "aes-ccm-8": (_CCM, 8),
    "aes-ccm-12": (_CCM, 8),
    "aes-ccm-16": (_CCM, 8),
    "aes-gmac": (_SALTED, 8),
    "aes-gcm-16-iiv": (_SALTED, 0),
    "aes-ccm-8-iiv": (_CCM, 0),
    "chacha20-poly1305-iiv": ((36,), 0),
    "camellia-cbc": (_AES, 16),
    "3des-cbc": ((24,), 8),
    "cast128-cbc": ((5, 10, 11, 16), 8),
    "blowfish-cbc": ((5, 16, 56), 8),
    "des-cbc": ((8,), 8),
    "des-iv64": ((8,), 8),
    "des-iv32": ((8,), 4),
    "des-deriv": ((8,), 0),
    "null": ((0, 7), 0),
}
"""Lengths of key and of IV, in octets."""
MACS = {
    "hmac-md5-96": 16,
    "hmac-ripemd160-96": 20,
    "aes-xcbc-mac-96": 16,
    "aes-cmac-96": 16,
    "keyed-md5": 16,
    "keyed-sha1": 20,
}


def drawn(name: str, length: int) -> bytes:
    """Octets that hang on a name alone."""
    return hashlib.shake_128(name.encode()).digest(length)


def number(name: str, octets: int) -> int:
    """A number that hangs on a name alone."""
    return int.from_bytes(drawn(name, octets))


def packet(
    encryption: str, key_bytes: int, iv_bytes: int, authentication: str | None, esn: bool
) -> dict[str, Any]:
    """One ESP packet as a case."""
    name = f"{encryption} {key_bytes * 8}" + (f" {authentication}" if authentication else "") + " esn" * esn
    keyed = {"name": encryption, "key": drawn(f"{name} key", key_bytes).hex()}
    authenticated = None
    if authentication:
        authenticated = {
            "name": authentication,
            "key": drawn(f"{name} mac", MACS.get(authentication, 32)).hex(),
        }
    case = {
        "name": name,
        "encryption": keyed,
        "authentication": authenticated,
        "esn": esn,
        "spi": number(f"{name} spi", 4) | 0x100,
        "sequence": number(f"{name} sequence", 8 if esn else 4),
        "iv": drawn(f"{name} iv", iv_bytes).hex(),
        "next_header": 4,
        "payload": drawn(f"{name} payload", 40 + number(f"{name} length", 1)).hex(),
    }
    return case | {"packet": seal(case).hex()}


def packets() -> list[dict[str, Any]]:
    """Each cipher with each length of its key, and each MAC with one cipher, with and without ESN."""
    cases = []
    for esn in (False, True):
        for name, (lengths, iv_bytes) in CIPHERS.items():
            for length in lengths:
                with_mac = None if is_aead(name) else "hmac-sha2-256-128"
                cases.append(packet(name, length, iv_bytes, with_mac, esn))
        cases.extend(packet("aes-cbc", 16, 16, name, esn) for name in MACS)
    return cases


def old_packets() -> list[dict[str, Any]]:
    """The format of RFC 1827: no sequence number, no ICV."""
    cases = []
    for name in ("des-iv32", "des-iv64", "3des-cbc", "aes-cbc"):
        (length, *_), iv_bytes = {**CIPHERS, "aes-cbc": (_AES, 16)}[name]
        case = packet(name, length, iv_bytes, None, esn=False) | {"old": True, "sequence": 0}
        cases.append(case | {"packet": seal(case).hex()})
    return cases


def macs() -> list[dict[str, str]]:
    """The integrity algorithms that have no published answers, over texts of several lengths."""
    lengths = (0, 1, 31, 32, 55, 56, 64, 100, 1400)
    cases = []
    names = {name: MACS[name] for name in KEYED} | {
        "aes-128-gmac": 20,
        "aes-192-gmac": 28,
        "aes-256-gmac": 36,
    }
    names |= {"null-auth": 0}
    for name, key_bytes in names.items():
        for length in lengths:
            label = f"{name} over {length}"
            key, message = drawn(f"{label} key", key_bytes), drawn(f"{label} text", length)
            iv = drawn(f"{label} iv", 8) if name.endswith("-gmac") else b""
            cases.append(
                {
                    "name": label,
                    "algorithm": name,
                    "key": key.hex(),
                    "iv": iv.hex(),
                    "message": message.hex(),
                    "icv": mac(name, key, message, iv).hex(),
                }
            )
    return cases


def composed() -> dict[str, list[Any]]:
    """Every file by its name."""
    return {
        "ah-oracle": [case.record() for case in ah_cases.cases()],
        "esp-oracle-algorithms": packets(),
        "esp-oracle-old": old_packets(),
        "mac-oracle": macs(),
    }


def written(stem: str, cases: list[Any]) -> str:
    """The text of a file."""
    source = ah_cases.SOURCE if stem.startswith("ah-") else SOURCE
    return json.dumps({"source": source, "cases": cases}, indent=1) + "\n"


if __name__ == "__main__":
    for stem, found in composed().items():
        (VECTORS / f"{stem}.json").write_text(written(stem, found))
