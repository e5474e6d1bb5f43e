"""Words for requests: whole ones by our codec, and bytes for those that no codec writes.

No scenario enters. Answers to RFC 2367 §2, <linux/pfkeyv2.h>, <linux/ipsec.h>.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any, Final

from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.dialects import LINUX
from sallet.pfkey.messages import (
    Address,
    Key,
    Lifetime,
    Message,
    Policy,
    Request,
    Sa,
    Sa2,
    SpiRange,
)

E: Final = SadbExtType
T: Final = SadbMsgType
AH, ESP, IPCOMP = 2, 3, 9
PID: Final = 4321

HOSTS: Final = {4: ("10.1.0.1", "10.2.0.7"), 6: ("fd00:1::1", "fd00:2::7")}
"""Here, and somewhere behind a device."""
SEALED: Final = {
    AH: (2, 0, 16, 0),
    ESP: (3, 12, 20, 16),
    IPCOMP: (0, 2, 0, 0),
}
"""By association type: algorithms, then octets of their keys."""


def message(kind: SadbMsgType, satype: int = 0, *, seq: int = 7, **extensions: Any) -> bytes:
    """Write a message; extensions by their names in lower case, in their order."""
    named = {E[name.upper()]: value for name, value in extensions.items()}
    return codec.encode(Message(kind, satype, seq=seq, pid=PID, extensions=named), LINUX)


def end(text: str, port: int = 0, prefix: int | None = None, proto: int = 0) -> Address:
    """Say an address."""
    address = ip_address(text)
    return Address(address, port, address.max_prefixlen if prefix is None else prefix, proto)


def ends(version: int = 4, *, back: bool = False) -> dict[str, Any]:
    """Say both addresses of an association."""
    here, there = HOSTS[version]
    first, second = (there, here) if back else (here, there)
    return {"address_src": end(first), "address_dst": end(second)}


def key(size: int, start: int = 1) -> Key:
    """Make a key."""
    return Key(size * 8, bytes((start + 7 * n) % 251 for n in range(size)))


def keys(satype: int) -> dict[str, Any]:
    """Give the keys of the usual algorithms."""
    _, _, auth, encrypt = SEALED[satype]
    found: dict[str, Any] = {}
    if auth:
        found["key_auth"] = key(auth)
    if encrypt:
        found["key_encrypt"] = key(encrypt, 3)
    return found


def sa(satype: int = ESP, spi: int = 0x1000, **fields: int) -> Sa:
    """Say an association with the usual algorithms."""
    auth, encrypt, _, _ = SEALED[satype]
    return Sa(spi, **{"auth": auth, "encrypt": encrypt, "replay": 4, **fields})


def add(
    satype: int = ESP, spi: int = 0x1000, version: int = 4, *, kind: SadbMsgType = T.ADD, **more: Any
) -> bytes:
    """Write an ADD (or an UPDATE) of the usual association."""
    parts: dict[str, Any] = {"sa": sa(satype, spi), **ends(version), **keys(satype), **more}
    return message(kind, satype, **parts)


def named(kind: SadbMsgType, satype: int = ESP, spi: int = 0x1000, version: int = 4) -> bytes:
    """Write a GET or a DELETE."""
    return message(kind, satype, sa=Sa(spi), **ends(version))


def getspi(satype: int, first: int, last: int, version: int = 4, **more: Any) -> bytes:
    """Write a GETSPI."""
    return message(T.GETSPI, satype, **ends(version), spirange=SpiRange(first, last), **more)


def covered(version: int = 4, proto: int = 255, ports: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Say what a policy covers: from here to somewhere."""
    here, there = HOSTS[version]
    whole = 32 if version == 4 else 128
    return {
        "address_src": end(here, ports[0], whole, proto),
        "address_dst": end(there, ports[1], whole, proto),
    }


def request(proto: int = 50, mode: int = 1, level: int = 2, reqid: int = 0, version: int = 0) -> Request:
    """Say a transform of a policy; with a version, it has the ends of a tunnel."""
    tunnel = (end(HOSTS[version][0]), end(HOSTS[version][1])) if version else ()
    return Request(proto, mode, level, reqid, *tunnel)


def policy(
    *requests: Request, kind: int = 2, direction: int = 2, number: int = 0, priority: int = 0
) -> Policy:
    """Say what a policy does."""
    return Policy(kind, direction, number, priority, requests)


def spdadd(*requests: Request, kind: SadbMsgType = T.X_SPDADD, version: int = 4, **fields: int) -> bytes:
    """Write an SPDADD (or an SPDUPDATE) of the usual selector."""
    said = policy(*(requests or (request(),)), **fields)
    return message(kind, 0, **covered(version), x_policy=said)


def tunnel_sa(reqid: int = 0, mode: int = 2) -> Sa2:
    """Say mode and id of an association."""
    return Sa2(mode, 0, reqid)


def limits(allocations: int = 0, octets: int = 0, add_secs: int = 0, use_secs: int = 0) -> Lifetime:
    """Say a lifetime."""
    return Lifetime(allocations, octets, add_secs, use_secs)


def bare(kind: int, satype: int = 0, *, seq: int = 7, errno: int = 0, version: int = 2) -> bytes:
    """Write a header, whatever it says."""
    return struct.pack("=BBBBHHII", version, kind, errno, satype, 2, 0, seq, PID)


def with_extension(data: bytes, number: int, body: bytes, words: int | None = None) -> bytes:
    """Put another extension behind a message; `words` is what its length claims."""
    body += bytes(-(len(body) + 4) % 8)
    claimed = (len(body) + 4) // 8 if words is None else words
    return relength(data + struct.pack("=HH", claimed, number) + body)


def relength(data: bytes, words: int | None = None) -> bytes:
    """Let a header claim the length that the message has, or another one."""
    count = len(data) // 8 if words is None else words
    return data[:4] + struct.pack("=H", count) + data[6:]


def extensions(data: bytes) -> list[tuple[int, int, int]]:
    """Find the extensions of a well-formed message: number, offset, octets."""
    found, at = [], 16
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        if not length:
            break
        found.append((number, at, length * 8))
        at += length * 8
    return found


def without(data: bytes, number: int) -> bytes:
    """Leave an extension out."""
    for found, at, size in extensions(data):
        if found == number:
            return relength(data[:at] + data[at + size :])
    return data


def twice(data: bytes, number: int) -> bytes:
    """Say an extension twice."""
    for found, at, size in extensions(data):
        if found == number:
            return relength(data + data[at : at + size])
    return data


def changed(data: bytes, number: int, offset: int, value: bytes) -> bytes:
    """Put other octets at an offset of an extension; number 0 is the header."""
    at = 0 if not number else next((at for found, at, _ in extensions(data) if found == number), None)
    if at is None or at + offset + len(value) > len(data):
        return data
    return data[: at + offset] + value + data[at + offset + len(value) :]
