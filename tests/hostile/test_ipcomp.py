"""IPComp that ends too early, nests or bursts, bare and behind a valid ICV of ESP.

Nothing but the compressed part may be wrong.
Answers to: RFC 3173 sections 2 and 3, RFC 2394; ARCHITECTURE.md D.4 (one level, bounded output).
"""

from __future__ import annotations

import random
import struct
import zlib

import pytest

import sallet
from hostile.sender import IPCOMP, NO_NEXT_HEADER, UDP, Sa, both_families, esp, ip, sealed
from hostile.victim import Victim

DEFLATE = 2
LONGEST = {4: 65_535 - 20, 6: 65_535}
"""What may stand behind the fixed header."""
BAD = ("InMalformed", "BadCompression", "BadPadding", "InNoSa")


def deflated(data: bytes) -> bytes:
    """Compress one datagram."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush()


def compressed(data: bytes, next_header: int = UDP, cpi: int = DEFLATE, flags: int = 0) -> bytes:
    """An IPComp header and a stream."""
    return struct.pack(">BBH", next_header, flags, cpi) + deflated(data)


def datagram(family: int, payload: bytes = b"a payload that is long enough " * 9) -> bytes:
    """A UDP datagram of the peer's without its IP header."""
    sa = Sa(family=family)
    return sallet.udp_packet(sa.source, sa.destination, 9, 9, payload)[20 if family == 4 else 40 :]


class Squeezed(Victim):
    """A victim whose policy asks for IPComp, within ESP if an SA of that is given."""

    def __init__(self, family: int, *around: Sa) -> None:
        super().__init__(*around, policies=[])
        self.family, sa = family, Sa(family=family)
        self.engine.sad_add(
            sallet.SaParams(
                spi=DEFLATE,
                protocol="ipcomp",
                source=sa.source,
                destination=sa.destination,
                mode="transport",
                encryption=("deflate", b""),
            )
        )
        protocols = ["ipcomp", *(each.protocol for each in around)]
        templates = [sallet.Template(each, "transport", "require") for each in protocols]
        selector = sallet.Selector(sa.source, sa.destination)
        self.engine.spd_add(sallet.PolicyParams("in", selector, "protect", templates))

    def wire(self, payload: bytes, sequence: int = 1) -> bytes:
        """A packet of protocol 108, signed if there is an SA to sign with."""
        if self.sas:
            return sealed(self.sas[0], payload, IPCOMP, sequence)
        return ip(Sa(family=self.family).source, Sa(family=self.family).destination, IPCOMP, payload)

    def still_inflates(self, sequence: int) -> None:
        """An honest packet passes."""
        clear = datagram(self.family)
        assert self.accepts(self.wire(compressed(clear), sequence)).endswith(clear)


def victims(family: int) -> list[Squeezed]:
    """One that takes IPComp as it comes, one that asks for ESP around it."""
    return [Squeezed(family), Squeezed(family, Sa(family=family))]


@pytest.mark.bug_row(7)
@pytest.mark.parametrize("family", [4, 6])
def test_ipcomp_cut_at_every_byte(family: int) -> None:
    """Row 7: the header and the stream end after each byte, at the end of the packet."""
    whole = compressed(datagram(family))
    for victim in victims(family):
        for length in range(len(whole)):
            victim.refuses(victim.wire(whole[:length], length + 1), *BAD)
        victim.still_inflates(len(whole) + 1)


@pytest.mark.bug_row(7)
@pytest.mark.parametrize("family", [4, 6])
def test_every_next_header_in_an_empty_ipcomp(family: int) -> None:
    """Row 7: a stream of no bytes, or none at all, that says any protocol is inside."""
    for victim in victims(family):
        sequence = 0
        for next_header in range(256):
            for payload in (compressed(b"", next_header), compressed(b"", next_header)[:4]):
                sequence += 1
                outcome = victim.judge(victim.wire(payload, sequence))
                # An empty datagram of most protocols is one; a stream that is not there never is.
                assert outcome.reason or len(payload) > 4, f"{next_header}: {outcome.reason}"
        victim.still_inflates(sequence + 1)


@pytest.mark.bug_row(7)
@pytest.mark.parametrize("family", [4, 6])
def test_bent_streams(family: int) -> None:
    """Row 7: random bits of the stream changed: refused, or another datagram of a bounded length."""
    whole, noise = compressed(datagram(family)), random.Random(7)
    for victim in victims(family):
        refused = 0
        for sequence in range(1, 1500):
            bent = bytearray(whole)
            for _ in range(noise.randrange(1, 4)):
                bent[noise.randrange(4, len(bent))] ^= 1 << noise.randrange(8)
            outcome = victim.judge(victim.wire(bytes(bent), sequence))
            assert outcome.reason in (None, "BadCompression", "InflatesTooFar"), outcome.reason
            refused += outcome.reason is not None
        assert refused > 500
        victim.still_inflates(2000)


@pytest.mark.bug_row(8)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("family", [4, 6])
def test_ipcomp_in_ipcomp(family: int) -> None:
    """Row 8: 1 to 1000 IPComp headers in one another; the second is one too many."""
    for victim in victims(family):
        payload, next_header = datagram(family), UDP
        for depth in range(1, 1001):
            payload, next_header = compressed(payload, next_header), IPCOMP
            if depth in (1, 2, 3, 15, 16, 17, 100, 1000):
                wire = victim.wire(payload, depth)
                if depth == 1:
                    victim.accepts(wire)
                else:
                    victim.refuses(wire, "InTooDeep")
        victim.still_inflates(1001)


@pytest.mark.bug_row(8)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("depth", [2, 8, 9, 100])
def test_esp_and_ipcomp_in_turn(family: int, depth: int) -> None:
    """Row 8: an ESP header between every two of IPComp does not hide that there are two."""
    victim = Squeezed(family, Sa(family=family, window=4096))
    payload, next_header = datagram(family), UDP
    for layer in range(depth, 0, -1):
        payload = compressed(payload, next_header)
        if layer > 1:
            payload, next_header = esp(victim.sas[0], payload, IPCOMP, layer), 50
    victim.refuses(victim.wire(payload), "InTooDeep")
    victim.still_inflates(depth + 1)


@pytest.mark.bug_row(8)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("family", [4, 6])
def test_a_bomb_goes_off_nowhere(family: int) -> None:
    """Row 8: streams of up to 30 megabytes; what no packet can hold is dropped, and that is all."""
    for victim in victims(family):
        header = 20 if family == 4 else 40
        for sequence, size in enumerate((65_536, 100_000, 1 << 20, 30 << 20), 1):
            victim.refuses(
                victim.wire(compressed(bytes(size))[: 65_000 - header], sequence), "InflatesTooFar"
            )
        victim.still_inflates(9)


@pytest.mark.bug_row(7)
@pytest.mark.parametrize("sa", both_families(Sa()), ids=str)
def test_every_cpi_but_the_agreed_one(sa: Sa) -> None:
    """Row 7: CPIs that were never agreed name no SA, well known, reserved or private."""
    victim = Squeezed(sa.family, sa)
    clear = datagram(sa.family)
    for sequence, cpi in enumerate((0, 1, 3, 4, 63, 64, 255, 256, 0x1001, 61_440, 65_535), 1):
        victim.refuses(victim.wire(compressed(clear, cpi=cpi), sequence), "InNoSa")
    victim.refuses(victim.wire(compressed(b"", NO_NEXT_HEADER)[:3], 20), "InMalformed", "BadPadding")
    victim.still_inflates(21)
