"""SAs within SAs: as deep as the engine goes and no deeper, and what is no SA is not taken apart.

No recursion may be needed, however deep a packet is.
Answers to: RFC 4301 sections 4.4.1 and 5.2; ARCHITECTURE.md D.4 (at most 16).
"""

from __future__ import annotations

import pytest

import sallet
from hostile import oracle
from hostile.sender import AH as AH_PROTOCOL
from hostile.sender import ESP, IN_IP, UDP, Sa, authenticated, both_families, esp, inner, ip, sealed
from hostile.victim import DEEPEST, Victim

DEPTHS = (1, 2, 8, 15, 16, 17, 18, 32, 100, 300, 1000)


@pytest.mark.bug_row(8)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("sa", both_families(Sa()), ids=str)
def test_esp_in_esp(sa: Sa, depth: int) -> None:
    """Row 8: 1 to 1000 ESP headers in one packet, each with a valid ICV."""
    victim = Victim(sa, replay_window=4096)
    at = 20 if sa.family == 4 else 40
    payload = sallet.udp_packet(sa.source, sa.destination, 9, 9, b"deep")[at:]
    next_header = UDP
    for layer in range(depth - 1):
        payload, next_header = esp(sa, payload, next_header, depth - layer), ESP
    wire = sealed(sa, payload, next_header, 1)
    if depth <= DEEPEST:
        assert victim.accepts(wire).endswith(b"deep")
    else:
        victim.refuses(wire, "InTooDeep")
    victim.survives(depth + 1)


@pytest.mark.bug_row(8)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("depth", [depth for depth in DEPTHS if depth <= 600])
@pytest.mark.parametrize("sa", both_families(Sa(mode="tunnel")), ids=str)
def test_tunnels_in_tunnels(sa: Sa, depth: int) -> None:
    """Row 8: 1 to 300 tunnels in one another; policy asks for one, and the path remembers them all."""
    victim = Victim(sa, replay_window=4096)
    packet = inner(sa.family, b"deep")
    for layer in range(depth):
        packet = sealed(sa, packet, IN_IP[sa.family], depth - layer)
    if depth == 1:
        assert victim.accepts(packet) == inner(sa.family, b"deep")
    else:
        victim.refuses(packet, "InPolicyViolation" if depth <= DEEPEST else "InTooDeep")
    victim.survives(depth + 1)


@pytest.mark.bug_row(8)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("depth", [2, 16, 17, 500])
def test_ah_and_esp_in_turn(family: int, depth: int) -> None:
    """Row 8: AH around ESP around AH, each of them valid."""
    inside = Sa(family=family, window=4096)
    around = Sa(family=family, protocol="ah", suite=oracle.AH, window=4096)
    victim = Victim(inside, around, policies=[])
    at = 20 if family == 4 else 40
    payload = sallet.udp_packet(inside.source, inside.destination, 9, 9, b"deep")[at:]
    next_header = UDP
    for layer in range(depth - 1, 0, -1):
        if layer % 2:
            payload, next_header = esp(inside, payload, next_header, layer + 1), ESP
        else:
            # What AH covers is the header as the packet will look when AH's turn comes.
            payload, next_header = authenticated(around, payload, next_header, layer + 1)[at:], AH_PROTOCOL
    wire = authenticated(around, payload, next_header, 1)
    if depth <= DEEPEST:
        assert victim.accepts(wire).endswith(b"deep")
    else:
        victim.refuses(wire, "InTooDeep")


@pytest.mark.bug_row(8)
@pytest.mark.parametrize("family", [4, 6])
def test_a_tunnel_without_an_sa_stays_closed(family: int) -> None:
    """Row 8: IP in IP, a hundred deep, without AH or ESP: it is one packet of protocol 4 or 41 to policy."""
    victim = Victim(Sa(family=family, mode="tunnel"))
    packet = inner(family)
    for _ in range(100):
        packet = ip(Sa(family=family).source, Sa(family=family).destination, IN_IP[family], packet)
    assert victim.accepts(packet) == packet
    clear = ip(
        "198.51.100.1" if family == 4 else "2001:db8:f::1", Sa(family=family).destination, UDP, bytes(8)
    )
    assert victim.accepts(clear) == clear
    victim.refuses(inner(family), "InPolicyViolation")
