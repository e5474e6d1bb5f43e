"""Outbound: what policy protects never shows on the wire, whatever protocol it is and however it is nested.

No inbound packet may enter.
Answers to: RFC 4301 sections 4.4.1 and 5.1 (every packet is looked up, PROTECT or nothing).
"""

from __future__ import annotations

import struct
from itertools import product

import pytest

import sallet
from hostile import oracle
from hostile.sender import AH, ESP, IN_IP, PEER, PEER_NET, UDP, VICTIM, VICTIM_NET, Sa, fragment, ip, udp

SECRET = b"attack at dawn!!"
MARKED = b"\x50" + SECRET * 8
"""No ICMPv6 type of neighbour discovery, no option length that fits: a payload to recognise."""
VXLAN, GENEVE, GRE, ETHERIP, L2TP = 4789, 6081, 47, 97, 115


def protecting(family: int, mode: str, *selectors: sallet.Selector) -> sallet.Engine:
    """An engine that protects what the victim's side sends to the peer's, or only these selectors."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    ends = (VICTIM[family], PEER[family])
    engine.sad_add(Sa(family=family, mode=mode).params(source=ends[0], destination=ends[1]))
    template = sallet.Template("esp", mode, "require", endpoints=ends if mode == "tunnel" else None)
    whole = (VICTIM_NET[family], PEER_NET[family]) if mode == "tunnel" else ends
    for selector in selectors or (sallet.Selector(*whole),):
        engine.spd_add(sallet.PolicyParams("out", selector, "protect", [template]))
    return engine


def hidden(engine: sallet.Engine, packet: bytes, *reasons: str) -> bool:
    """The packet leaves as ESP with nothing to read in it, or not at all; whether it left."""
    assert SECRET in packet
    outcome = engine.outbound(packet)
    assert outcome.reason is None or outcome.reason in reasons, outcome.reason
    for wire in outcome.transmitted:
        assert SECRET not in wire
        assert ESP in (wire[9] if wire[0] >> 4 == 4 else wire[6],) or wire[0] >> 4 == 6
        assert outcome.protected_by is not None
    return bool(outcome.transmitted)


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
# # every packet that crosses the boundary is looked up in the SPD
# = https://www.rfc-editor.org/rfc/rfc4301#section-6.1.2
# # ICMP from the protected side is judged by the SPD like other packets
@pytest.mark.bug_row(18)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
def test_every_protocol_is_hidden(family: int, mode: str) -> None:
    """Row 18: protocols 0 to 255, SCTP among them; only broken header chains are dropped instead."""
    engine = protecting(family, mode)
    ends = (VICTIM_NET[family], PEER_NET[family]) if mode == "tunnel" else (VICTIM[family], PEER[family])
    left = [
        number
        for number in range(256)
        if hidden(engine, ip(*ends, number, MARKED), "OutMalformed", "OutFragment")
    ]
    chains = {0, 43, 44, 60, 135, 139, 140} if family == 6 else set()
    assert set(range(256)) - set(left) <= chains
    assert engine.stats().passed["outbound_bypassed"] == (0, 0)


@pytest.mark.bug_row(18)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", [6, UDP, 132, 136, 33, 1, 58, 135, 89, 47])
def test_what_shows_no_ports_is_hidden_too(family: int, protocol: int) -> None:
    """Row 18: protocols with ports, cut before, in and behind them, and behind other headers."""
    engine = protecting(family, "tunnel")
    source, destination = VICTIM_NET[family], PEER_NET[family]
    for length in range(9):
        hidden(engine, ip(source, destination, protocol, MARKED[:length] + SECRET), "OutMalformed")
    for offset in (0, 8, 1000):
        piece = fragment(source, destination, protocol, MARKED[:128], offset, True, 9)
        assert hidden(engine, piece, "OutMalformed") or protocol == 135
    if family == 6:
        chain = [(0, b"\0\0\1\4\0\0\0\0"), (43, bytes(8)), (60, b"\0\0\1\4\0\0\0\0")]
        hidden(engine, ip(source, destination, protocol, MARKED, extensions=chain), "OutMalformed")
    assert engine.stats().passed["outbound_bypassed"] == (0, 0)


def nested(kind: str, outer: int, inner: int) -> tuple[int, bytes]:
    """Protocol number and bytes of a tunnel of another kind, with a packet that is not to be read in it."""
    packet = ip(PEER_NET[inner], VICTIM_NET[inner], UDP, udp(9, 9, MARKED))
    frame = bytes(12) + (b"\x08\0" if inner == 4 else b"\x86\xdd") + packet
    made = {
        "ip": (IN_IP[inner], packet),
        "gre": (GRE, b"\0\0" + frame[12:]),
        "vxlan": (UDP, udp(50000 + inner, VXLAN, b"\x08" + bytes(7) + frame)),
        "geneve": (UDP, udp(50000 + outer, GENEVE, b"\0\0\x65\x58" + bytes(4) + frame)),
        "etherip": (ETHERIP, b"\x30\0" + frame),
        "l2tp": (L2TP, struct.pack(">I", 1) + frame),
        "esp": (ESP, struct.pack(">II", 0x9999, 1) + packet),
        "ah": (AH, struct.pack(">BBHII", IN_IP[inner], 4, 0, 0x9999, 1) + bytes(12) + packet),
    }
    return made[kind]


@pytest.mark.bug_row(24)
@pytest.mark.parametrize(("outer", "inner"), list(product((4, 6), repeat=2)))
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
@pytest.mark.parametrize("kind", ["ip", "gre", "vxlan", "geneve", "etherip", "l2tp", "esp", "ah"])
def test_tunnels_of_every_kind_are_hidden(kind: str, mode: str, outer: int, inner: int) -> None:
    """Row 24: VXLAN, GENEVE, GRE and others between protected ends go out as ESP, fragments too."""
    engine = protecting(outer, mode)
    ends = (VICTIM_NET[outer], PEER_NET[outer]) if mode == "tunnel" else (VICTIM[outer], PEER[outer])
    protocol, payload = nested(kind, outer, inner)
    assert hidden(engine, ip(*ends, protocol, payload))
    for offset in (0, 8):
        hidden(engine, fragment(*ends, protocol, payload[:160], offset, True, 3), "OutFragment")
    assert engine.stats().passed["outbound_bypassed"] == (0, 0)


@pytest.mark.bug_row(24)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("port", [VXLAN, GENEVE])
def test_the_port_of_a_tunnel_is_seen(family: int, port: int) -> None:
    """Row 24: an entry for the tunnel's port alone holds for each source port, flow label and class."""
    selector = sallet.Selector(VICTIM[family], PEER[family], UDP, (0, 65535), (port, port))
    engine = protecting(family, "transport", selector)
    for source_port in (0, 1, 4789, 33333, 65535):
        payload = udp(source_port, port, MARKED)
        assert hidden(engine, ip(VICTIM[family], PEER[family], UDP, payload))
        words = {"tos": 0xB8} if family == 4 else {"traffic_class": 0xB8, "flow_label": source_port}
        assert hidden(engine, ip(VICTIM[family], PEER[family], UDP, payload, **words))
    assert engine.stats().passed["outbound_bypassed"] == (0, 0)


@pytest.mark.bug_row(24)
@pytest.mark.parametrize("family", [4, 6])
def test_an_sa_that_went_away_lets_nothing_out(family: int) -> None:
    """Row 24: without its SA a protected flow stops; it does not go on in clear."""
    engine = protecting(family, "tunnel")
    packet = ip(VICTIM_NET[family], PEER_NET[family], UDP, udp(9, 9, MARKED))
    assert hidden(engine, packet)
    engine.sad_flush()
    assert not hidden(engine, packet, "OutNoSa")
    assert engine.stats().passed["outbound_bypassed"] == (0, 0)


@pytest.mark.bug_row(24)
@pytest.mark.parametrize("family", [4, 6])
def test_two_tunnels_in_one_another(family: int) -> None:
    """Row 24: in an entry with two tunnels the inner one never shows, and one missing SA stops both."""
    inner_ends, outer_ends = (VICTIM_NET[family], PEER_NET[family]), (VICTIM[family], PEER[family])
    far = {4: "10.9.0.1", 6: "2001:db8:9::1"}[family]
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    templates = [
        sallet.Template("esp", "tunnel", "require", endpoints=ends) for ends in (inner_ends, outer_ends)
    ]
    selector = sallet.Selector(far, PEER_NET[family])
    engine.spd_add(sallet.PolicyParams("out", selector, "protect", templates))
    packet = ip(far, PEER_NET[family], UDP, udp(9, 9, MARKED))
    for spi, ends in ((1, inner_ends), (2, outer_ends)):
        assert not hidden(engine, packet, "OutNoSa")
        sa = Sa(family=family, mode="tunnel", spi=0x1000 + spi, suite=oracle.NULL if spi == 1 else oracle.GCM)
        engine.sad_add(sa.params(source=ends[0], destination=ends[1]))
    # The inner SA does not encrypt: only the outer one hides what is inside.
    assert hidden(engine, packet)


# = https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
# # IPv4 options and IPv6 extension headers are not copied to the outer header
@pytest.mark.parametrize(("outer", "inner"), list(product((4, 6), repeat=2)))
def test_options_of_the_inner_packet_stay_inside(outer: int, inner: int) -> None:
    """The outer header is as short as it can be, whatever stands in the inner one."""
    ends, inside = (VICTIM[outer], PEER[outer]), (VICTIM_NET[inner], PEER_NET[inner])
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    engine.sad_add(Sa(family=outer, mode="tunnel").params(source=ends[0], destination=ends[1]))
    template = sallet.Template("esp", "tunnel", "require", endpoints=ends)
    engine.spd_add(sallet.PolicyParams("out", sallet.Selector(*inside), "protect", [template]))
    words = (
        {"options": b"\x94\4\0\0" + b"\1" * 8}
        if inner == 4
        else {"extensions": [(0, b"\0\0\5\2\0\0\1\0"), (60, b"\0\0\1\4\0\0\0\0")]}
    )
    wire = engine.outbound(ip(*inside, UDP, udp(9, 9, MARKED), **words)).packet
    assert wire
    assert (wire[0], wire[9]) == (0x45, ESP) if outer == 4 else (wire[0] >> 4, wire[6]) == (6, ESP)


def test_the_sniffer_hears_what_is_in_clear() -> None:
    """What finds nothing must be able to find something."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    packet = ip(VICTIM[4], PEER[4], UDP, udp(9, 9, MARKED))
    with pytest.raises(AssertionError):
        hidden(engine, packet)
