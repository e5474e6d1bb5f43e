"""Turns what concerns us of the package cryptography-vectors into files that the Rust tests read.

`python tests/conformance/packaged.py FOLDER`. No answer is computed. Cases are left out only where they are
about nonces that ESP does not have, or about keys that RFC 2405 and RFC 2451 refuse: that has its own test.
Answers to: NIST CAVP, RFC 2144, 2202, 2286, 3686, 4231, NTT's and Schneier's files, as they are packaged.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import cryptography_vectors

PACKAGE: Final = Path(cryptography_vectors.__file__).parent
Fields = dict[str, str]
Case = dict[str, object]

_FIELD: Final = re.compile(r"(\w+) ?= ?(\S*)$")
_SECTION: Final = re.compile(r"\[(\w+)(?: = (\d+))?\]$")
_WEAK: Final = {
    "0101010101010101",
    "fefefefefefefefe",
    "e0e0e0e0f1f1f1f1",
    "1f1f1f1f0e0e0e0e",
}
"""DES keys that undo themselves (RFC 2409 appendix A); the files of NIST use the first a lot."""


def records(path: str, ends: str) -> Iterator[Fields]:
    """Yield the records of a file in NIST's form: each ends with the field `ends`, or with FAIL behind it.

    Fields stay in force until they are given again, those in brackets too.
    """
    fields: Fields = {}
    waiting = False
    for raw in (PACKAGE / path).read_text().splitlines():
        line = raw.strip()
        if found := _SECTION.match(line):
            if waiting:
                yield dict(fields)
                waiting = False
            fields[found[1]] = found[2]
        elif line == "FAIL":
            yield fields | {"FAIL": ""}
            waiting = False
        elif found := _FIELD.match(line):
            if waiting and found[1] not in {"PT", "Payload"}:
                yield dict(fields)
                waiting = False
            fields[found[1]] = found[2].lower()
            waiting = waiting or found[1] == ends
    if waiting:
        yield dict(fields)


def is_weak(key: str) -> bool:
    """Whether one of the thirds of a key is weak, or two neighbours are equal."""
    thirds = [key[at : at + 16] for at in range(0, len(key), 16)]
    odd = [
        bytes(b & 0xFE | (bin(b >> 1).count("1") + 1) % 2 for b in bytes.fromhex(third)).hex()
        for third in thirds
    ]
    return any(third in _WEAK for third in odd) or any(a == b for a, b in pairwise(odd))


def cbc(name: str, algorithm: str, key: str, iv: str, fields: Fields) -> Case:
    """One case of CBC."""
    text = {"plaintext": fields["PLAINTEXT"], "ciphertext": fields["CIPHERTEXT"]}
    return {"name": name, "algorithm": algorithm, "key": key, "iv": iv, **text}


def des(path: Path) -> Iterator[Case]:
    """DES, which the files write as one key three times, and 3DES."""
    for fields in paired(path):
        name = f"{path.stem} {fields['SECTION']} {fields['COUNT']}"
        thirds = [fields.get("KEYS") or fields[f"KEY{number}"] for number in (1, 2, 3)]
        key, algorithm = (thirds[0], "des-cbc") if len(set(thirds)) == 1 else ("".join(thirds), "3des-cbc")
        if not is_weak(key):
            yield cbc(name, algorithm, key, fields["IV"], fields)


def paired(path: Path) -> Iterator[Fields]:
    """Records with a plaintext and a ciphertext, which stand in either order."""
    fields: Fields = {}
    for raw in path.read_text().splitlines():
        line = raw.strip()
        if found := _SECTION.match(line):
            fields["SECTION"] = found[1]
        elif found := _FIELD.match(line):
            if found[1].upper() == "COUNT":
                fields = {"SECTION": fields.get("SECTION", "")}
            fields[found[1].upper()] = found[2].lower()
            if {"PLAINTEXT", "CIPHERTEXT"} <= fields.keys():
                yield dict(fields)
                del fields["PLAINTEXT"], fields["CIPHERTEXT"]


def blocks(path: str, algorithm: str, iv_bytes: int, key_digits: int = 0) -> Iterator[Case]:
    """CBC as it stands, and ECB as CBC of one block under a zero IV."""
    for fields in paired(PACKAGE / path):
        if len(fields["KEY"]) >= key_digits:
            iv = fields.get("IV", "00" * iv_bytes)
            yield cbc(f"{Path(path).stem} {fields['COUNT']}", algorithm, fields["KEY"], iv, fields)


def camellia(bits: int) -> Iterator[Case]:
    """The file of NTT, which has a form of its own."""
    key = plain = ""
    for line in (PACKAGE / f"ciphers/Camellia/camellia-{bits}-ecb.txt").read_text().splitlines():
        found = re.match(r"([KPC]) No\.(\d+) : ([0-9A-F ]+)$", line.strip())
        if not found:
            continue
        kind, number, digits = found[1], found[2], found[3].replace(" ", "").lower()
        if kind == "K":
            key = digits
        elif kind == "P":
            plain = digits
        else:
            fields = {"PLAINTEXT": plain, "CIPHERTEXT": digits}
            yield cbc(f"{bits} P{number} {key[:8]}", "camellia-cbc", key, "00" * 16, fields)


def ctr(path: str) -> Iterator[Case]:
    """AES-CTR of RFC 3686: the counter block is nonce, IV and one."""
    for fields in paired(PACKAGE / path):
        block = fields["IV"]
        yield cbc(
            f"{Path(path).stem} {fields['COUNT']}", "aes-ctr", fields["KEY"] + block[:8], block[8:24], fields
        )


def sealed(name: str, algorithm: str, key: str, nonce: str, salt_digits: int, fields: Fields) -> Case:
    """One case of an AEAD; a forged one has no plaintext."""
    return {
        "name": name,
        "algorithm": algorithm,
        "key": key + nonce[:salt_digits],
        "iv": nonce[salt_digits:],
        "aad": fields["AAD"],
        "plaintext": fields.get("PT", ""),
        "ciphertext": fields["CT"],
        "tag": fields["Tag"],
        "forged": "FAIL" in fields,
    }


def gcm() -> Iterator[Case]:
    """AES-GCM with nonces of 96 bits and the three lengths of tag that ESP has."""
    for bits in (128, 192, 256):
        for kind, ends in (("Decrypt", "Tag"), ("EncryptExtIV", "Tag")):
            for fields in records(f"ciphers/AES/GCM/gcm{kind}{bits}.rsp", ends):
                if fields["IVlen"] == "96" and fields["Taglen"] in {"64", "96", "128"}:
                    lengths = (fields[name] for name in ("PTlen", "AADlen", "Taglen", "Count"))
                    name = f"{kind} {bits} {' '.join(lengths)}"
                    algorithm = f"aes-gcm-{int(fields['Taglen']) // 8}"
                    yield sealed(name, algorithm, fields["Key"], fields["IV"], 8, fields)


def ccm() -> Iterator[Case]:
    """AES-CCM with nonces of 11 bytes."""
    for bits in (128, 192, 256):
        for fields in records(f"ciphers/AES/CCM/VNT{bits}.rsp", "CT"):
            if fields["Nlen"] == "11":
                cut = -2 * int(fields["Tlen"])
                found = {"AAD": fields["Adata"], "PT": fields["Payload"]}
                found |= {"CT": fields["CT"][:cut], "Tag": fields["CT"][cut:]}
                yield sealed(
                    f"VNT{bits} {fields['Count']}", "aes-ccm-16", fields["Key"], fields["Nonce"], 6, found
                )


def chacha() -> Iterator[Case]:
    """ChaCha20-Poly1305 of OpenSSL's tests, with nonces of 12 bytes and whole tags."""
    for block in (PACKAGE / "ciphers/ChaCha20Poly1305/openssl.txt").read_text().split("\n\n"):
        fields = dict(re.findall(r"^(\w+) = ?(\S*)$", block, re.MULTILINE))
        if len(fields.get("IV", "")) != 24 or len(fields["Tag"]) != 32:
            continue
        found = {
            "AAD": fields["AAD"],
            "PT": fields["Plaintext"],
            "CT": fields["Ciphertext"],
            "Tag": fields["Tag"],
        }
        if "Result" in fields:
            found["FAIL"] = ""
        yield sealed(fields["COUNT"], "chacha20-poly1305", fields["Key"], fields["IV"], 8, found)


def hashed(path: str, algorithm: str) -> Iterator[Case]:
    """A MAC with its whole ICV."""
    for number, block in enumerate((PACKAGE / path).read_text().split("\n\n")):
        fields = {key.upper(): value for key, value in re.findall(r"^(\w+) ?= ?(\S*)$", block, re.MULTILINE)}
        icv = fields.get("MD") or fields.get("OUTPUT")
        if icv:
            message = fields.get("MSG", fields.get("MESSAGE", ""))
            yield {
                "name": str(number),
                "algorithm": algorithm,
                "key": fields["KEY"],
                "message": message,
                "icv": icv,
            }


def everything() -> Iterator[tuple[str, Iterable[Case]]]:
    """Every source with its cases."""
    # The files with an I behind TCBC are about an interleaved mode.
    for path in sorted((PACKAGE / "ciphers/3DES/CBC").glob("TCBC*.rsp")):
        if not path.stem.startswith("TCBCI"):
            yield f"NIST CAVP {path.stem}", des(path)
    for path in sorted((PACKAGE / "ciphers/AES/CBC").glob("*.rsp")):
        yield f"NIST CAVP {path.stem}", blocks(f"ciphers/AES/CBC/{path.name}", "aes-cbc", 16)
    for bits in (128, 192, 256):
        yield f"RFC 3686, {bits} bits", ctr(f"ciphers/AES/CTR/aes-{bits}-ctr.txt")
        yield f"NTT, Camellia-{bits}", camellia(bits)
    yield "OpenSSL, Camellia-CBC", blocks("ciphers/Camellia/camellia-cbc.txt", "camellia-cbc", 16)
    yield "pyca, CAST5-CBC", blocks("ciphers/CAST5/cast5-cbc.txt", "cast128-cbc", 8)
    yield "RFC 2144, CAST5-ECB", blocks("ciphers/CAST5/cast5-ecb.txt", "cast128-cbc", 8)
    yield "Schneier, Blowfish-CBC", blocks("ciphers/Blowfish/bf-cbc.txt", "blowfish-cbc", 8)
    yield "Schneier, Blowfish-ECB", blocks("ciphers/Blowfish/bf-ecb.txt", "blowfish-cbc", 8, key_digits=8)
    yield "NIST CAVP, AES-GCM", gcm()
    yield "NIST CAVP, AES-CCM", ccm()
    yield "OpenSSL, ChaCha20-Poly1305", chacha()
    yield "NIST SP 800-38B", hashed("CMAC/nist-800-38b-aes128.txt", "aes-cmac-96")
    yield "RFC 2202, MD5", hashed("HMAC/rfc-2202-md5.txt", "hmac-md5-96")
    yield "RFC 2202, SHA-1", hashed("HMAC/rfc-2202-sha1.txt", "hmac-sha1-96")
    yield "RFC 2286", hashed("HMAC/rfc-2286-ripemd160.txt", "hmac-ripemd160-96")
    for digest, algorithm in (("256", "256-128"), ("384", "384-192"), ("512", "512-256")):
        yield f"RFC 4231, SHA-{digest}", hashed(f"HMAC/rfc-4231-sha{digest}.txt", f"hmac-sha2-{algorithm}")


def main(folder: Path) -> None:
    """Write one file for each source."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, cases in everything():
        stem = re.sub(r"[^a-z0-9]+", "-", source.lower())
        found = list(cases)
        if found:
            document = {"source": f"cryptography-vectors: {source}", "cases": found}
            (folder / f"{stem}.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
