"""Packets that come a second time, early, late, forged: the window moves for good ICVs only and never back.

No clock may enter.
Answers to: RFC 4302 section 3.4.3, RFC 4303 section 3.4.3 and appendix A2, RFC 6479.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hostile import oracle
from hostile.oracle import AH_SUITES, ESP_SUITES, KINDS
from hostile.sender import Sa, both_families, good
from hostile.victim import Victim

SAS = both_families(
    *(Sa(suite=suite) for suite in ESP_SUITES),
    *(Sa(suite=suite, protocol="ah") for suite in AH_SUITES),
    *(Sa(suite=suite, mode="tunnel") for suite in KINDS),
    *(Sa(suite=suite, esn=True) for suite in (*KINDS,)),
    Sa(encap=(4500, 4500)),
    Sa(suite=oracle.AH, protocol="ah", mode="tunnel"),
    Sa(suite=oracle.AH, protocol="ah", esn=True),
)
WINDOWS = (1, 32, 33, 64, 128, 1024)


# = https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
# # The duplicate test comes first and rejects before any cryptography is spent.
@pytest.mark.bug_row(5)
@pytest.mark.parametrize("sa", SAS, ids=str)
def test_every_packet_again(sa: Sa) -> None:
    """Row 5: each packet is sent again at once, after each later one, and when the window has left it."""
    victim, wires = Victim(sa), [good(sa, number)[0] for number in range(1, 101)]
    for number, wire in enumerate(wires, 1):
        victim.accepts(wire)
        assert victim.window_top(sa) == number
        for old in {number, number - 1, number - 63, number - 64, 1}:
            if old >= 1:
                victim.refuses(wires[old - 1], *too_old(sa))
        assert victim.window_top(sa) == number
    for wire in wires:
        victim.refuses(wire, *too_old(sa))


def too_old(sa: Sa) -> tuple[str, ...]:
    """The reasons: with extended numbers, too old looks like far ahead, and that is not what was signed."""
    return ("Replay", "AuthFailed") if sa.esn else ("Replay",)


@pytest.mark.bug_row(5)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    "sa", both_families(Sa(), Sa(suite=oracle.AH, protocol="ah", mode="tunnel")), ids=str
)
def test_every_distance_behind(sa: Sa, window: int) -> None:
    """Row 5: behind the top, the last `window` numbers pass once and no older one ever does."""
    sa = replace(sa, window=window)
    victim, top = Victim(sa), 3 * window + 5
    victim.accepts(good(sa, top)[0])
    distances = {1, window - 1, window, window + 1, 2 * window, top - 1, *range(1, min(window, 40))}
    for behind in sorted(each for each in distances if 0 < each < top):
        wire = good(sa, top - behind)[0]
        if behind < window:
            victim.accepts(wire)
        victim.refuses(wire, "Replay")
    assert victim.window_top(sa) == top


# = https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
# # The window moves only for a packet whose ICV was verified.
# = https://www.rfc-editor.org/rfc/rfc4302#section-3.4.3
# # The window moves only for a packet whose ICV was verified.
@pytest.mark.bug_row(5)
@pytest.mark.parametrize("sa", SAS, ids=str)
def test_a_forged_number_moves_nothing(sa: Sa) -> None:
    """Row 5: the number of a good packet is raised by a stranger, who cannot sign it."""
    victim = Victim(sa)
    victim.accepts(good(sa, 1)[0])
    wire = good(sa, 2)[0]
    at = (20 if sa.family == 4 else 40) + (8 if sa.encap else 0) + (8 if sa.protocol == "ah" else 4)
    for number in (3, 65, 1 << 16, (1 << 31) - 1, (1 << 31) + 1):
        victim.refuses(wire[:at] + number.to_bytes(4, "big") + wire[at + 4 :], "AuthFailed")
        assert victim.window_top(sa) == 1
    victim.accepts(wire)


# = https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
# # The first packet has number 1: zero was never sent.
@pytest.mark.bug_row(5)
@pytest.mark.parametrize("sa", both_families(Sa(), Sa(suite=oracle.AH, protocol="ah")), ids=str)
def test_number_zero(sa: Sa) -> None:
    """Row 5: number 0 has a good ICV and was never a number that a sender may use."""
    victim = Victim(sa)
    victim.refuses(good(sa, 0)[0], "Replay")
    victim.survives(1)
    victim.refuses(good(sa, 0)[0], "Replay")


# = https://www.rfc-editor.org/rfc/rfc4303#section-2.2.1
# # the high-order 32 bits are not sent but are in the ICV
@pytest.mark.bug_row(5)
@pytest.mark.parametrize(
    "sa",
    both_families(
        *(Sa(suite=suite, esn=True) for suite in KINDS), Sa(suite=oracle.AH, protocol="ah", esn=True)
    ),
)
def test_a_round_trip_of_the_low_half(sa: Sa) -> None:
    """Row 5: with extended numbers, the same low half a round later is another packet, the old one none."""
    victim, wrap = Victim(sa), 1 << 32
    first = {number: good(sa, number)[0] for number in (1, 5, wrap - 2, wrap - 1)}
    for number in (1, 5, (1 << 31) - 1, wrap - 2, wrap - 1):
        victim.accepts(good(sa, number)[0])
    later = {number: good(sa, number)[0] for number in (wrap, wrap + 1, wrap + 5)}
    for wire in later.values():
        victim.accepts(wire)
    assert victim.window_top(sa) == wrap + 5
    # Their low halves say "the next round" or "seen": neither is signed so, or new.
    for wire in (*first.values(), *later.values()):
        victim.refuses(wire, "Replay", "AuthFailed")
    assert victim.window_top(sa) == wrap + 5


@pytest.mark.bug_row(5)
@pytest.mark.parametrize("sa", both_families(Sa(), Sa(suite=oracle.CBC, mode="tunnel")), ids=str)
def test_a_shuffled_flood_delivers_each_packet_once(sa: Sa) -> None:
    """Row 5: every packet three times in a random order within the window, each delivered exactly once."""
    victim, noise = Victim(sa), random.Random(3)
    order = [number for number in range(1, 301) for _ in range(3)]
    order.sort(key=lambda number: number + noise.random() * 60)
    wires = {number: good(sa, number)[0] for number in set(order)}
    delivered = [number for number in order if victim.engine.inbound(wires[number]).delivered]
    assert sorted(delivered) == sorted(set(order))
