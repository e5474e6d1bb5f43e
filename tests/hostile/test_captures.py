"""Captures that made another program read beyond the packet, fed to ours.

No packet is made here; captures/README.md says where they come from.
Answers to: RFC 3948 (ESP in UDP), RFC 3173 (IPComp), RFC 4303 (ESP).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile import oracle
from hostile.sender import ESP, IPCOMP, PEER, UDP, VICTIM, Sa, ip, udp
from hostile.victim import Victim

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.pcap"))
PORTS = (4500, 0x3030)
"""Where ESP arrives in UDP, and the port that the made-up packets name."""


def records(path: Path) -> Iterator[bytes]:
    """Every record of a capture file, of either byte order, even of one that lies about its lengths."""
    data = path.read_bytes()
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    at = 24
    while at + 16 <= len(data):
        (length,) = struct.unpack_from(f"{order}I", data, at + 8)
        yield data[at + 16 : at + 16 + length]
        at += 16 + length


@pytest.mark.bug_row(61)
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_captures_of_others(path: Path) -> None:
    """Row 61: each record from every offset on, as a packet, as ESP, as IPComp, and as a UDP payload."""
    sas = [Sa(family=family, spi=0x30303030) for family in (4, 6)]
    tunnel = Sa(spi=0x30303030, protocol="ah", mode="tunnel", suite=oracle.AH)
    victim = Victim(*sas, tunnel, configuration={"encap_ports": list(PORTS)})
    found = list(records(path))
    assert found
    for record in found[:12]:
        for offset in range(len(record) + 1):
            rest = record[offset:]
            victim.judge(rest)
            victim.engine.outbound(rest)
            victim.engine.explain("in", rest)
            for family in (4, 6):
                ends = PEER[family], VICTIM[family]
                victim.judge(ip(*ends, ESP, rest))
                victim.judge(ip(*ends, IPCOMP, rest))
                for port in PORTS:
                    victim.judge(ip(*ends, UDP, udp(port, port, rest)))
    victim.survives(1)


def test_every_capture_is_read() -> None:
    assert len(CAPTURES) == 4
    assert all(sum(1 for _ in records(path)) for path in CAPTURES)
