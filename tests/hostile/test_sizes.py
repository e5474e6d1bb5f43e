"""The largest packets that there are, with every trailer: they go out whole, or not at all.

No path MTU may enter.
Answers to: RFC 791 (65,535 bytes), RFC 8200 section 3, RFC 4303 sections 2.4, 2.7 and 2.8.
"""

from __future__ import annotations

import pytest

import sallet
from hostile import oracle
from hostile.oracle import ENCRYPTION, ESP_SUITES, KINDS
from hostile.sender import (
    IN_IP,
    PEER,
    PEER_NET,
    UDP,
    VICTIM,
    VICTIM_NET,
    Sa,
    both_families,
    inner,
    ip,
    sealed,
)
from hostile.victim import Victim

LARGEST = {4: 65_535, 6: 65_575}
"""IPv6 does not count its fixed header."""
SAS = both_families(
    *(Sa(suite=suite) for suite in ESP_SUITES),
    *(Sa(suite=suite, mode="tunnel") for suite in KINDS),
    *(Sa(suite=suite, encap=(4500, 4500)) for suite in KINDS),
    Sa(suite=oracle.AH, protocol="ah"),
    Sa(suite=oracle.AH, protocol="ah", mode="tunnel"),
)


def sending(sa: Sa) -> sallet.Engine:
    """An engine at the peer's end of the SA."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    engine.sad_add(sa.params())
    tunnel = sa.mode == "tunnel"
    ends = (sa.source, sa.destination)
    template = sallet.Template(sa.protocol, sa.mode, "require", endpoints=ends if tunnel else None)
    whole = (PEER_NET[sa.family], VICTIM_NET[sa.family]) if tunnel else ends
    engine.spd_add(sallet.PolicyParams("out", sallet.Selector(*whole), "protect", [template]))
    return engine


@pytest.mark.bug_row(29)
@pytest.mark.parametrize("sa", SAS, ids=str)
def test_the_largest_packet_of_every_suite(sa: Sa) -> None:
    """Row 29: from well below the limit up to it, each size fits and opens again, or is too big."""
    engine, victim = sending(sa), Victim(sa)
    ends = (
        (PEER_NET[sa.family], VICTIM_NET[sa.family]) if sa.mode == "tunnel" else (sa.source, sa.destination)
    )
    header, largest = (20 if sa.family == 4 else 40), LARGEST[sa.family]
    sizes = [*range(largest - 140, largest - 20, 7), *range(largest - 20, largest + 1)]
    fitted = [
        size for size in sizes if _passes(engine, victim, ip(*ends, UDP, bytes(size - header)), largest)
    ]
    assert fitted == sizes[: len(fitted)], "a larger packet fitted where a smaller one did not"
    assert fitted, "not even a packet with room for every trailer fitted"
    assert fitted[-1] < largest, "the largest packet leaves no room for a trailer"


def _passes(engine: sallet.Engine, victim: Victim, packet: bytes, largest: int) -> bool:
    outcome = engine.outbound(packet)
    if outcome.reason is not None:
        assert outcome.reason == "OutTooBig"
        return False
    (wire,) = outcome.transmitted
    assert len(wire) <= largest
    assert victim.accepts(wire)[-1000:] == packet[-1000:]
    return True


@pytest.mark.bug_row(29)
@pytest.mark.parametrize("suite", KINDS, ids=str)
@pytest.mark.parametrize("family", [4, 6])
def test_the_most_traffic_flow_padding(suite: oracle.Suite, family: int) -> None:
    """Row 29: an inner packet of a few bytes with as much padding behind it as a packet can hold."""
    sa = Sa(suite=suite, family=family, mode="tunnel")
    victim, header = Victim(sa), 20 if family == 4 else 40
    assert suite.encryption
    row = ENCRYPTION[suite.encryption]
    room = LARGEST[family] - header - 8 - row.iv_bytes - suite.icv_bytes
    room -= room % max(row.block_bytes, 4)
    packet = inner(family)
    for sequence, size in enumerate((room - 2, room - 3, room - 100), 1):
        wire = sealed(sa, packet.ljust(size, b"\xaa"), IN_IP[family], sequence)
        assert len(wire) <= LARGEST[family]
        assert victim.accepts(wire) == packet


@pytest.mark.bug_row(29)
@pytest.mark.parametrize("sa", both_families(*(Sa(suite=suite) for suite in KINDS)), ids=str)
def test_every_pad_length(sa: Sa) -> None:
    """Row 29: the sender adds 0 to 255 bytes of padding, more than any cipher asks for."""
    victim = Victim(sa)
    assert sa.suite.encryption
    block = max(ENCRYPTION[sa.suite.encryption].block_bytes, 4)
    datagram = sallet.udp_packet(PEER[sa.family], VICTIM[sa.family], 9, 9, b"padded")
    datagram = datagram[20 if sa.family == 4 else 40 :]
    for count in range(256):
        payload = datagram + bytes(-(len(datagram) + count + 2) % block)
        text = payload + bytes(range(1, count + 1)) + bytes([count, UDP])
        plain = victim.accepts(sealed(sa, b"", UDP, count + 1, text=text))
        assert plain.endswith(payload)
