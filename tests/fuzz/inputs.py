"""What the fuzzer of PF_KEY feeds: messages of every type, and changes that keep their form or break it.

No check and no server enters. Answers to RFC 2367 §2; tests/reference for what real programs said.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from typing import Final

from sallet.pfkey import codec
from sallet.pfkey.constants import HEADER_BYTES, WORD_BYTES
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import (
    Address,
    Algorithm,
    Comb,
    Extension,
    Identity,
    Key,
    Lifetime,
    Message,
    NatPort,
    NatType,
    Opaque,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    SpiRange,
    Supported,
)

HERE: Final = Path(__file__).parent
CORPUS: Final = HERE / "corpus"
_REFERENCE: Final = HERE.parent / "reference" / "pfkey-linux"
_INTERESTING: Final = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS: Final = (0, 1, 2, 0x7FFF, 0x8000, 0xFFFF)


def corpus(dialect: str) -> list[bytes]:
    """Read the committed inputs of a dialect."""
    return [bytes.fromhex(line) for line in (CORPUS / f"{dialect}.hex").read_text().split()]


def write_corpus() -> None:
    """Write what fuzzing begins with; what was found later stays."""
    CORPUS.mkdir(exist_ok=True)
    for name, dialect in DIALECTS.items():
        path = CORPUS / f"{name}.hex"
        before = path.read_text().split() if path.exists() else []
        lines = dict.fromkeys([*before, *(data.hex() for data in _seeds(dialect))])
        path.write_text("".join(f"{line}\n" for line in lines))


def _seeds(dialect: Dialect) -> Iterator[bytes]:
    if dialect.name == "linux":
        yield from _recorded()
    for kind in Msg:
        if kind is Msg.RESERVED or kind > dialect.last_message:
            continue
        names = dict.fromkeys((*dialect.required.get(kind, ()), *dialect.shapes.get(kind, ())))
        everything = [one for one in dialect.extension_numbers if _example(one, dialect, 4) is not None]
        for version, chosen in ((4, names), (6, names), (4, everything), (4, ())):
            found = {one: _example(one, dialect, version) for one in chosen}
            known = {one: value for one, value in found.items() if value is not None}
            for satype in (0, 3):
                yield codec.encode(Message(kind, satype, seq=7, pid=42, extensions=known), dialect)


def _recorded() -> Iterator[bytes]:
    for path in sorted(_REFERENCE.glob("*.json")):
        for step in json.loads(path.read_text())["steps"]:
            if sent := step.get("send"):
                yield bytes.fromhex(sent)
            for received in step.get("received", {}).values():
                yield from map(bytes.fromhex, received)


def _example(kind: Ext, dialect: Dialect, version: int) -> Extension | None:
    both: dict[int, tuple[IPv4Address | IPv6Address, ...]] = {
        4: (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")),
        6: (IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")),
    }
    ends = both[version]
    first, second = (Address(one, 0, one.max_prefixlen, 255) for one in ends)
    peers = tuple(replace(side, proto=0) for side in (first, second))
    lifetime = Lifetime(1, 2, 3, 4)
    examples: dict[Ext, Extension] = {
        Ext.SA: Sa(0x1001, 4, 1, 3, 12, 0),
        Ext.LIFETIME_CURRENT: lifetime,
        Ext.LIFETIME_HARD: lifetime,
        Ext.LIFETIME_SOFT: lifetime,
        Ext.ADDRESS_SRC: first,
        Ext.ADDRESS_DST: second,
        Ext.ADDRESS_PROXY: first,
        Ext.X_NAT_T_OAI: first,
        Ext.X_NEW_ADDRESS_SRC: first,
        Ext.X_NEW_ADDRESS_DST: second,
        Ext.KEY_AUTH: Key(160, bytes(range(20))),
        Ext.KEY_ENCRYPT: Key(128, bytes(range(16))),
        Ext.IDENTITY_SRC: Identity(2, 0, "a@example.net"),
        Ext.IDENTITY_DST: Identity(2, 0, "b@example.net"),
        Ext.PROPOSAL: Proposal(32, (Comb(3, 12, 0, 160, 160, 128, 256, lifetime, lifetime),)),
        Ext.SUPPORTED_AUTH: Supported((Algorithm(3, 0, 160, 160),)),
        Ext.SUPPORTED_ENCRYPT: Supported((Algorithm(12, 16, 128, 256),)),
        Ext.SPIRANGE: SpiRange(0x2000, 0x2003),
        Ext.X_POLICY: Policy(2, 2, 0, 0, (Request(50, 2, 2, 0, *peers), Request(51, 1, 3, 5))),
        Ext.X_SA2: Sa2(1, 0, 5),
        Ext.X_NAT_T_TYPE: NatType(2),
        Ext.X_NAT_T_SPORT: NatPort(4500),
        Ext.X_NAT_T_DPORT: NatPort(4500),
        Ext.X_SA_REPLAY: Replay(4096),
        Ext.SENSITIVITY: Opaque(bytes(20)),
    }
    if dialect.oar_is_address:
        examples[Ext.X_OAR_OR_SEC_CTX] = second
    if dialect.reqids_made_marked and isinstance(policy := examples[Ext.X_POLICY], Policy):
        marked = tuple(replace(request, made=False) for request in policy.requests)
        examples[Ext.X_POLICY] = replace(policy, requests=marked)
    return examples.get(kind)


# Changes.


def changed(data: bytes, others: list[bytes], random: Random) -> bytes:
    """Change a message at a few places; mostly its length is made right again."""
    header, extensions = bytearray(data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")), _extensions(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        _change(header, extensions, others, random)
    body = b"".join(extensions)
    if random.random() < 0.9:
        body = body.ljust(-(-len(body) // WORD_BYTES) * WORD_BYTES, b"\0")
        struct.pack_into("=H", header, 4, min((HEADER_BYTES + len(body)) // WORD_BYTES, 0xFFFF))
    whole = bytes(header) + body
    return whole[: random.randrange(len(whole) + 1)] if random.random() < 0.03 else whole


def _extensions(data: bytes) -> list[bytes]:
    """Take a message apart as far as its lengths let one."""
    found, at = [], HEADER_BYTES
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("=H", data, at)
        end = at + length * WORD_BYTES
        if not length or end > len(data):
            break
        found.append(data[at:end])
        at = end
    if at < len(data):
        found.append(data[at:])
    return found


def _change(header: bytearray, extensions: list[bytes], others: list[bytes], random: Random) -> None:
    what = random.randrange(8)
    if what == 0 or not extensions:
        at = random.randrange(1, HEADER_BYTES)
        header[at] = random.choice((*_INTERESTING, random.randrange(256), random.randrange(32)))
        return
    nth = random.randrange(len(extensions))
    if what == 1:
        del extensions[nth]
    elif what == 2:
        extensions.insert(random.randrange(len(extensions) + 1), extensions[nth])
    elif what == 3:
        extensions.extend(random.sample(found, 1) if (found := _extensions(random.choice(others))) else [])
    elif what == 4:
        random.shuffle(extensions)
    else:
        extensions[nth] = _scratched(extensions[nth], what, random)


def _scratched(extension: bytes, what: int, random: Random) -> bytes:
    octets = bytearray(extension)
    if what == 5 and len(octets) >= 4:  # A length or a kind.
        word = random.choice((*_WORDS, random.randrange(40)))
        struct.pack_into("=H", octets, random.choice((0, 2)), word)
    elif what == 6:  # Longer or shorter, and the length says so.
        size = max(8, len(octets) + WORD_BYTES * random.randrange(-3, 4))
        octets = octets[:size].ljust(size, bytes((random.choice(_INTERESTING),)))
        struct.pack_into("=H", octets, 0, size // WORD_BYTES)
    else:
        for _ in range(random.choice((1, 1, 2, 8))):
            octets[random.randrange(len(octets))] = random.choice((*_INTERESTING, random.randrange(256)))
    return bytes(octets)
