"""Fragments of AH and ESP, and within them: made whole before anything is believed, or dropped; never mixed.

No lie about a length of AH, ESP or IPComp may enter.
Answers to: RFC 4301 sections 5.2 and 7, RFC 4302 and 4303 section 3.4.1, RFC 791, 8200, 5722 and 6946.
"""

from __future__ import annotations

import time
from itertools import permutations

import pytest

import sallet
from hostile import oracle
from hostile.sender import (
    AH,
    DESTINATION_OPTIONS,
    ESP,
    IN_IP,
    PEER,
    PEER_NET,
    UDP,
    VICTIM,
    VICTIM_NET,
    Sa,
    both_families,
    fragment,
    fragments,
    good,
    sealed,
)
from hostile.victim import Victim

SAS = both_families(
    *(Sa(suite=suite) for suite in oracle.KINDS),
    Sa(mode="tunnel"),
    Sa(encap=(4500, 4500)),
    Sa(protocol="ah", suite=oracle.AH),
    Sa(protocol="ah", suite=oracle.AH, mode="tunnel"),
)
HEADER = {4: 20, 6: 40}
LONGEST_WAIT = 61
"""Seconds after which nobody waits for the rest of a datagram."""


def numbered(wire: bytes) -> bytes:
    """The packet as the ICV of AH over IPv4 has seen it: fragments must have its identification."""
    return wire[4:6] if wire[0] >> 4 == 4 else b"\0\7"


def pieces_of(wire: bytes, *cuts: int) -> list[bytes]:
    """Fragments of a packet, cut at these offsets behind its fixed header."""
    return fragments(wire, cuts, identification=int.from_bytes(numbered(wire), "big"))


# = https://www.rfc-editor.org/rfc/rfc4301#section-5.2
# # fragments are reassembled before AH and ESP
# = https://www.rfc-editor.org/rfc/rfc4302#section-3.3.4
# # AH is applied to whole packets and fragmented afterwards
@pytest.mark.bug_row(6)
@pytest.mark.parametrize("sa", SAS, ids=str)
def test_every_cut_in_every_order(sa: Sa) -> None:
    """Row 6: two and three fragments, cut at every 8 bytes: behind the SPI, in the IV, in the ICV."""
    victim = Victim(sa, replay_window=4096)
    sequence, size = 0, len(good(sa, 1)[0]) - HEADER[sa.family]
    for first in range(8, size, 8):
        for second in (first, *range(first + 8, size, 24)):
            for order in permutations(range(2 if first == second else 3)):
                sequence += 1
                wire, plain = good(sa, sequence)
                pieces = pieces_of(wire, *sorted({first, second}))
                for index in order[:-1]:
                    victim.holds(pieces[index])
                assert victim.accepts(pieces[order[-1]])[HEADER[sa.family] :] == plain[HEADER[sa.family] :]
                # The whole datagram once more is the same packet once more.
                for index in order[:-1]:
                    victim.holds(pieces[index])
                victim.refuses(pieces[order[-1]], "Replay", "AuthFailed")


@pytest.mark.bug_row(6)
@pytest.mark.parametrize("sa", SAS, ids=str)
def test_a_cut_between_the_eights(sa: Sa) -> None:
    """Row 6: a fragment that others follow must be a multiple of 8 bytes; every other length is refused."""
    victim = Victim(sa)
    wire = good(sa, 1)[0]
    protocol, body = wire[9 if sa.family == 4 else 6], wire[HEADER[sa.family] :]
    for length in range(len(body)):
        piece = fragment(sa.source, sa.destination, protocol, body[:length], 0, True, 1000 + length)
        if length % 8:
            victim.refuses(piece, "InFragment", "InMalformed")
        else:
            outcome = victim.judge(piece)
            assert outcome.held or outcome.reason in ("InFragment", "InMalformed")
    assert victim.window_top(sa) == 0
    victim.survives(1)


# = https://www.rfc-editor.org/rfc/rfc5722#section-3
# # overlapping fragments of IPv6: the whole packet is discarded
@pytest.mark.bug_row(6)
@pytest.mark.parametrize("sa", SAS, ids=str)
@pytest.mark.parametrize("shift", [-16, -8, 8])
def test_overlapping_pieces_spoil_the_datagram(sa: Sa, shift: int) -> None:
    """Row 6: a piece over another one: the datagram is lost, and what comes later does not revive it."""
    victim = Victim(sa)
    wire = good(sa, 1)[0]
    body = wire[HEADER[sa.family] :]
    number = int.from_bytes(numbered(wire), "big")
    protocol = wire[9 if sa.family == 4 else 6]
    ends = sa.source, sa.destination
    first, last = pieces_of(wire, 24)
    over = fragment(*ends, protocol, b"\xaa" * 24, 24 + shift, True, number)
    victim.holds(first)
    if shift < 0:
        victim.refuses(over, "InFragment")
    else:
        victim.holds(over)
    for piece in (last, first, last, first):
        outcome = victim.judge(piece)
        assert not outcome.delivered
        assert outcome.held or outcome.reason == "InFragment"
    assert body
    assert victim.window_top(sa) == 0
    victim.survives(1)


@pytest.mark.bug_row(6)
@pytest.mark.parametrize("protocol", [ESP, AH, UDP])
@pytest.mark.parametrize("family", [4, 6])
def test_a_datagram_longer_than_any(family: int, protocol: int) -> None:
    """Row 6: the last piece ends behind 65,535 bytes; two last pieces say two lengths; a piece of nothing."""
    victim = Victim(Sa(family=family))
    ends = PEER[family], VICTIM[family]
    victim.refuses(fragment(*ends, protocol, bytes(1000), 65_528, False, 1), "InFragment", "InMalformed")
    victim.holds(fragment(*ends, protocol, bytes(64), 0, True, 2))
    victim.holds(fragment(*ends, protocol, bytes(64), 1024, False, 2))
    victim.refuses(fragment(*ends, protocol, bytes(64), 2048, False, 2), "InFragment")
    victim.refuses(fragment(*ends, protocol, b"", 0, True, 3), "InFragment", "InMalformed")
    victim.refuses(fragment(*ends, protocol, b"", 8, True, 4), "InFragment", "InMalformed")
    victim.survives(1)


# = https://www.rfc-editor.org/rfc/rfc7112#section-5
# # a first fragment of IPv6 without the whole header chain may be discarded
@pytest.mark.bug_row(6)
def test_a_first_piece_without_its_headers() -> None:
    """Row 6: the chain in front of ESP ends in a later piece: dropped, and the rest completes nothing."""
    sa = Sa(family=6)
    options = b"\x32\3\1\x1c" + bytes(28)
    body = options + good(sa, 1)[0][40:]
    victim = Victim(sa)
    for cut in (8, 16, 24):
        ends = sa.source, sa.destination
        first = fragment(*ends, DESTINATION_OPTIONS, body[:cut], 0, True, cut)
        last = fragment(*ends, DESTINATION_OPTIONS, body[cut:], cut, False, cut)
        victim.refuses(first, "InMalformed", "InFragment")
        victim.holds(last)
        victim.refuses(first, "InMalformed", "InFragment")
    assert victim.window_top(sa) == 0
    victim.survives(1)


@pytest.mark.bug_row(54)
@pytest.mark.parametrize("family", [4, 6])
def test_what_came_in_clear_completes_nothing_that_did_not(family: int) -> None:
    """Row 54: pieces in clear, and of another SA, beside those of the tunnel; one identification."""
    sa = Sa(family=family, mode="tunnel")
    other = Sa(family=family, mode="tunnel", spi=0x1002)
    victim = Victim(sa)
    victim.engine.sad_add(other.params(reqid=7))
    whole = sallet.udp_packet(PEER_NET[family], VICTIM_NET[family], 1000, 53, b"genuine " * 8)
    first, last = pieces_of(whole, 32)
    victim.holds(sealed(sa, first, IN_IP[family], 1))
    victim.holds(last)
    victim.holds(sealed(other, last, IN_IP[family], 1))
    plain = victim.accepts(sealed(sa, last, IN_IP[family], 2))
    assert plain[HEADER[family] :] == whole[HEADER[family] :]
    victim.refuses(first, "InPolicyViolation")


@pytest.mark.bug_row(65)
@pytest.mark.parametrize("family", [4, 6])
def test_what_waits_is_given_up(family: int) -> None:
    """Row 65: after a minute a first piece is forgotten, and the last one waits by itself."""
    sa = Sa(family=family)
    victim = Victim(sa)
    first, last = pieces_of(good(sa, 1)[0], 24)
    victim.holds(first)
    victim.engine.advance(LONGEST_WAIT)
    victim.engine.handle_timeout()
    victim.holds(last)
    assert victim.window_top(sa) == 0
    victim.engine.advance(LONGEST_WAIT)
    victim.engine.handle_timeout()
    assert victim.engine.poll_timeout() is None, "nothing is left that could end"


@pytest.mark.bug_row(65)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tiny", "one datagram", "never whole", "spoofed"])
def test_a_flood_of_fragments(family: int, kind: str) -> None:
    """Row 65: 25,000 hostile pieces; most honest datagrams arrive, and no piece costs more than before."""
    sa = Sa(family=family)
    victim = Victim(sa, replay_window=4096)
    rounds, hostile_pieces = 100, 250
    delivered, costs = 0, []
    for turn in range(rounds):
        flood = [hostile(kind, family, turn * hostile_pieces + number) for number in range(hostile_pieces)]
        wire, plain = good(sa, turn + 1)
        first, last = pieces_of(wire, 24)
        begin = time.thread_time()
        victim.engine.inbound(first)
        victim.engine.inbound_batch(flood[:50])
        outcome = victim.engine.inbound(last)
        victim.engine.inbound_batch(flood[50:])
        costs.append(time.thread_time() - begin)
        delivered += [packet[HEADER[family] :] for packet in outcome.delivered] == [plain[HEADER[family] :]]
    assert delivered >= rounds / 2
    early, late = sorted(costs[5:35])[15], sorted(costs[-30:])[15]
    assert late < 6 * early, f"the pieces cost {early:.4f} s at first, {late:.4f} s at last"
    assert victim.counters()["inbound_arrived"] == rounds * (hostile_pieces + 2)


def hostile(kind: str, family: int, number: int) -> bytes:
    """One piece of a flood."""
    source, destination = PEER[family], VICTIM[family]
    identification = 8 + number % 60_000
    words: dict[str, tuple[bytes, int, int]] = {
        "tiny": (bytes(8), number % 8000 * 8, 8 + number // 3 % 60_000),
        "one datagram": (bytes(8), number % 8191 * 8, 9),
        "never whole": (bytes(1200), 0, identification),
        "spoofed": (bytes(64), 64, identification),
    }
    piece, offset, identification = words[kind]
    if kind == "spoofed":
        source = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        source = source if family == 4 else f"2001:db8:bad::{number >> 16:x}:{number & 0xFFFF:x}"
    return fragment(source, destination, ESP, piece, offset, True, identification)


def test_the_flood_is_one() -> None:
    kinds = ("tiny", "one datagram", "never whole", "spoofed")
    assert len({hostile(kind, family, 12_345) for kind in kinds for family in (4, 6)}) == 8
