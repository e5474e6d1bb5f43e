"""Packets that end too early: every length, every transform, in front of and behind a valid ICV.

No header but the one under test may be wrong.
Answers to: RFC 4302 section 2, RFC 4303 section 2, RFC 791, RFC 8200 (nothing is read beyond what arrived).
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hostile import oracle
from hostile.oracle import AH_SUITES, ENCRYPTION, ESP_SUITES, KINDS
from hostile.sender import (
    AH,
    ESP,
    IN_IP,
    IPCOMP,
    PEER,
    UDP,
    VICTIM,
    Sa,
    authenticated,
    both_families,
    carried,
    esp,
    good,
    inner,
    ip,
    sealed,
    udp,
)
from hostile.victim import BEFORE_ICV, Victim

ESP_SAS = both_families(
    *(Sa(suite=suite) for suite in ESP_SUITES), *(Sa(suite=suite, mode="tunnel") for suite in KINDS)
)
AH_SAS = both_families(
    *(Sa(suite=suite, protocol="ah") for suite in AH_SUITES),
    Sa(suite=oracle.AH, protocol="ah", mode="tunnel"),
)
UDP_SAS = both_families(*(Sa(suite=suite, encap=(4500, 4500)) for suite in KINDS))


@pytest.mark.bug_row(1)
@pytest.mark.parametrize("sa", [*ESP_SAS, *AH_SAS, *UDP_SAS], ids=str)
def test_every_length_up_to_eighty(sa: Sa) -> None:
    """Row 1: ESP or AH of 0 to 80 bytes with the right SPI, be it shorter than its ICV or only cut off."""
    victim, noise = Victim(sa), random.Random(0)
    whole = good(sa, 1)[0]
    at = len(carried(sa, b""))
    for length in range(81):
        start = sa.spi.to_bytes(4, "big") + length.to_bytes(4, "big")
        if sa.protocol == "ah":
            start = noise.randbytes(4) + start
        victim.refuses(carried(sa, (start + noise.randbytes(80))[:length]), *BEFORE_ICV, "Keepalive")
        victim.refuses(
            carried(sa, whole[at : at + min(length, len(whole) - at - 1)]), *BEFORE_ICV, "Keepalive"
        )
    assert victim.window_top(sa) == 0
    victim.survives(1)


@pytest.mark.bug_row(1)
@pytest.mark.parametrize("sa", both_families(*(Sa(suite=suite) for suite in ESP_SUITES)), ids=str)
def test_a_valid_icv_over_too_little(sa: Sa) -> None:
    """Row 1: the sender signs plaintexts of 0 to 40 bytes that hold no trailer, or half of one."""
    victim = Victim(sa)
    assert sa.suite.encryption
    block = ENCRYPTION[sa.suite.encryption].block_bytes
    for sequence, length in enumerate(range(0, 41, 1 if block == 4 else block), 1):
        # The last two bytes say 255 bytes of padding, which are not there.
        packet = carried(sa, esp(sa, b"", 0, sequence, text=b"\xff" * length))
        victim.refuses(packet, "InMalformed", "BadPadding")
    victim.survives(1000)


@pytest.mark.bug_row(2)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", [ESP, AH, IPCOMP])
def test_an_empty_payload(family: int, protocol: int) -> None:
    """Row 2: protocols 50, 51 and 108 with nothing behind the IP header, as `nmap -sO` sends them."""
    victim = Victim(Sa(family=family), Sa(family=family, protocol="ah", suite=oracle.AH, mode="tunnel"))
    victim.refuses(ip(PEER[family], VICTIM[family], protocol, b""), "InMalformed", "InNoSa")
    fragment = {"offset": 8} if family == 4 else {"extensions": [(44, b"\0\0\0\x08\0\0\0\1")]}
    victim.refuses(ip(PEER[family], VICTIM[family], protocol, b"", **fragment), "InFragment")
    victim.survives(1)


@pytest.mark.bug_row(2)
@pytest.mark.parametrize("sa", both_families(Sa(), Sa(protocol="ah", suite=oracle.AH)), ids=str)
@pytest.mark.parametrize("protocol", [ESP, AH, IPCOMP])
def test_an_empty_payload_inside(sa: Sa, protocol: int) -> None:
    """Row 2: the same nothing, behind a valid ICV."""
    victim = Victim(sa)
    victim.refuses(sealed(sa, b"", protocol, 1), "BadPadding", "InMalformed", "InNoSa")
    victim.survives(2)


@pytest.mark.bug_row(11)
@pytest.mark.parametrize("family", [4, 6])
def test_every_ah_length_against_short_packets(family: int) -> None:
    """Row 11: AH's length field 0 to 255 on packets that end before, at and behind that length."""
    sa = Sa(protocol="ah", suite=oracle.AH, family=family)
    victim = Victim(sa)
    whole = authenticated(sa, bytes(range(40)), UDP, 1)
    at = len(carried(sa, b""))
    for words in range(256):
        header = whole[at : at + 1] + bytes([words]) + whole[at + 2 :]
        for length in (2, 8, 12, (words + 2) * 4 - 1, (words + 2) * 4, (words + 2) * 4 + 1):
            packet = carried(sa, (header + bytes(1100))[:length])
            victim.refuses(packet, *BEFORE_ICV)
    assert victim.window_top(sa) == 0
    victim.survives(1)


@pytest.mark.bug_row(11)
@pytest.mark.parametrize(
    "sa", both_families(*(Sa(protocol="ah", suite=suite) for suite in AH_SUITES[:4])), ids=str
)
def test_a_signed_lie_about_the_ah_length(sa: Sa) -> None:
    """Row 11: every length but the SA's own is refused, though the ICV covers it and fits."""
    victim = Victim(sa)
    true = len(authenticated(sa, b"", UDP)) - len(carried(sa, b""))
    # Over IPv4, too, some fill the header up to 8 bytes: Linux does where nobody tells it otherwise.
    legal = {true, -(-true // 8) * 8}
    for words in range(256):
        if (words + 2) * 4 in legal:
            continue
        for payload in (b"", b"payload!", bytes(1100)):
            packet = authenticated(sa, payload, UDP, 9, words=words)
            victim.refuses(packet, "InMalformed", "AuthFailed")
    for extra in {4, 8, 16} - {size - true for size in legal}:
        padding = bytes(true - 12 - sa.suite.icv_bytes + extra)
        victim.refuses(authenticated(sa, b"payload!", UDP, 9, padding=padding), "InMalformed", "AuthFailed")
    victim.survives(1)


@pytest.mark.bug_row(68)
@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_the_shortest_packets_of_all(direction: str) -> None:
    """Row 68: 0 to 60 bytes from the TUN device or the wire, of every IP version, whole or cut off."""
    victim = Victim(*both_families(Sa(), Sa(mode="tunnel", spi=0x1002)))
    take = getattr(victim.engine, direction)
    reason = "OutMalformed" if direction == "outbound" else "InMalformed"
    noise = random.Random(1)
    for length in range(61):
        for version in range(16):
            packet = (bytes([version << 4 | 5]) + noise.randbytes(60))[:length]
            outcome = take(packet)
            assert outcome.dropped or version == 4, "noise passed for a packet"
    for family in (4, 6):
        packet = inner(family)
        for length in range(len(packet)):
            assert take(packet[:length]).reason == reason
    victim.survives(1)


@pytest.mark.bug_row(68)
@pytest.mark.parametrize("family", [4, 6])
def test_the_shortest_packets_inside_a_tunnel(family: int) -> None:
    """Row 68: the same behind a valid ICV, where they would reach whatever reads the device."""
    sa = Sa(family=family, mode="tunnel")
    victim, sequence = Victim(sa), 0
    for version in (4, 6):
        packet = inner(version)
        for length in range(len(packet)):
            sequence += 1
            victim.refuses(sealed(sa, packet[:length], IN_IP[version], sequence), "BadPadding")
    victim.survives(sequence + 1)


@pytest.mark.bug_row(1)
@pytest.mark.parametrize("family", [4, 6])
def test_every_length_in_udp(family: int) -> None:
    """Row 1: a UDP header that promises more or less than there is, on the port where ESP arrives."""
    sa = Sa(family=family, encap=(4500, 4500))
    victim = Victim(sa)
    packet = esp(sa, b"payload", UDP, 1)
    for length in range(len(packet) + 20):
        header = udp(4500, 4500, packet)[:4] + length.to_bytes(2, "big") + b"\0\0"
        if length == len(packet) + 8:
            continue
        outcome = victim.engine.inbound(ip(sa.source, sa.destination, UDP, header + packet))
        assert outcome.dropped, f"UDP length {length}"
    assert victim.window_top(sa) == 0
    victim.survives(2)


# = https://www.rfc-editor.org/rfc/rfc3948#section-2.1
# # the receiver does not depend on the UDP checksum being zero
@pytest.mark.parametrize("family", [4, 6])
def test_the_udp_checksum_does_not_matter(family: int) -> None:
    """The ICV protects what is inside; a NAT may have left any checksum behind."""
    sa = Sa(family=family, encap=(4500, 4500))
    victim = Victim(sa)
    for sequence, checksum in enumerate((0, 1, 0xFFFF, 0xBAD0), 1):
        wire, plain = good(sa, sequence)
        at = (20 if family == 4 else 40) + 6
        assert victim.accepts(wire[:at] + checksum.to_bytes(2, "big") + wire[at + 2 :]) == plain


def test_the_cases_have_both_families() -> None:
    for sas in (ESP_SAS, AH_SAS, UDP_SAS):
        four, six = ({replace(sa, family=4) for sa in sas if sa.family == family} for family in (4, 6))
        assert four == six
