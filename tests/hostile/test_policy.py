"""What came out of an SA, or came in clear, against the SPD: a peer with keys speaks for its own flows only.

No malformed packet may enter.
Answers to: RFC 4301 sections 4.4.2, 5.2 (steps 3 and 4) and 7 (fragments).
"""

from __future__ import annotations

from typing import Any

import pytest

import sallet
from hostile import oracle
from hostile.sender import (
    IN_IP,
    PEER,
    PEER_NET,
    TCP,
    UDP,
    VICTIM,
    VICTIM_NET,
    Sa,
    both_families,
    fragment,
    ip,
    sealed,
)
from hostile.victim import Victim, require

NEIGHBOUR_DISCOVERY = range(133, 138)


def between(
    family: int, *, net: bool = False, protocol: int | None = None, port: int | None = None
) -> sallet.Selector:
    """A selector from the peer's side to the victim's, to a destination port."""
    source, destination = (PEER_NET, VICTIM_NET) if net else (PEER, VICTIM)
    ports = (0, 65535) if port is None else (port, port)
    return sallet.Selector(source[family], destination[family], protocol, (0, 65535), ports)


def datagram(family: int, port: int, *, net: bool = False, tcp: bool = False) -> bytes:
    """A packet from the peer's side to a port on the victim's."""
    source, destination = (PEER_NET, VICTIM_NET) if net else (PEER, VICTIM)
    make = sallet.tcp_packet if tcp else sallet.udp_packet
    return make(source[family], destination[family], 1000, port, b"payload")


def wrap(sa: Sa, packet: bytes, sequence: int) -> bytes:
    """Seal a packet in the SA's mode."""
    if sa.mode == "tunnel":
        return sealed(sa, packet, IN_IP[packet[0] >> 4], sequence)
    at, place = (20, 9) if sa.family == 4 else (40, 6)
    return sealed(sa, packet[at:], packet[place], sequence)


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2
# # what comes out of an SA must match that SA's own selectors
@pytest.mark.bug_row(51)
@pytest.mark.parametrize(
    "sa", both_families(Sa(mode="tunnel"), Sa(mode="tunnel", suite=oracle.AH, protocol="ah")), ids=str
)
def test_a_tunnel_carries_its_own_selectors_only(sa: Sa) -> None:
    """Row 51: another port, protocol or address than the entry names, through the tunnel that it names."""
    net = between(sa.family, net=True, protocol=UDP, port=53)
    template = sallet.Template(sa.protocol, "tunnel", "require", endpoints=(sa.source, sa.destination))
    victim = Victim(sa, policies=[sallet.PolicyParams("in", net, "protect", [template])])
    family = sa.family
    outside = {
        "port": datagram(family, 54, net=True),
        "protocol": datagram(family, 53, net=True, tcp=True),
        "source": sallet.udp_packet(PEER[family], VICTIM_NET[family], 1000, 53, b""),
        "destination": sallet.udp_packet(PEER_NET[family], VICTIM[family], 1000, 53, b""),
        "no ports": ip(PEER_NET[family], VICTIM_NET[family], UDP, b"\x03\xe8"),
        "echo": sallet.echo_packet(PEER_NET[family], VICTIM_NET[family]),
        "other family": datagram(10 - family, 53, net=True),
    }
    for sequence, packet in enumerate(outside.values(), 1):
        victim.refuses(wrap(sa, packet, sequence), "InPolicyViolation")
    good = datagram(family, 53, net=True)
    assert victim.accepts(wrap(sa, good, 100)) == good


@pytest.mark.bug_row(51)
@pytest.mark.parametrize("sa", both_families(Sa(spi=0x1001), Sa(spi=0x1001, mode="tunnel")), ids=str)
def test_an_sa_does_not_serve_the_neighbours_port(sa: Sa) -> None:
    """Row 51: two entries, an SA each: what is sealed with the one is not good for the other."""
    ends = (sa.source, sa.destination) if sa.mode == "tunnel" else None
    net = sa.mode == "tunnel"
    policies = [
        sallet.PolicyParams(
            "in",
            between(sa.family, net=net, protocol=UDP, port=port),
            "protect",
            [sallet.Template("esp", sa.mode, "unique", reqid, endpoints=ends)],
        )
        for port, reqid in ((53, 1), (54, 2))
    ]
    victim = Victim(sa, policies=policies, reqid=1)
    victim.refuses(wrap(sa, datagram(sa.family, 54, net=net), 1), "InPolicyViolation")
    victim.accepts(wrap(sa, datagram(sa.family, 53, net=net), 2))


@pytest.mark.bug_row(51)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("entry", ["discard", "none"])
def test_an_sa_opens_no_port_that_policy_closes(family: int, entry: str) -> None:
    """Row 51: a transport SA is no licence for ports that are discarded, by an entry or by default."""
    sa = Sa(family=family)
    template = sallet.Template("esp", "transport", "require")
    policies = [sallet.PolicyParams("in", between(family, protocol=UDP, port=53), "protect", [template])]
    if entry == "discard":
        policies.append(sallet.PolicyParams("in", between(family), "discard", priority=0x90000000))
    victim = Victim(sa, policies=policies, configuration={"default_policy": "discard"})
    reason = "InPolicyDiscard" if entry == "discard" else "InNoPolicy"
    victim.refuses(wrap(sa, datagram(family, 54), 1), reason)
    victim.refuses(wrap(sa, datagram(family, 53, tcp=True), 2), reason)
    victim.accepts(wrap(sa, datagram(family, 53), 3))


@pytest.mark.bug_row(51)
@pytest.mark.parametrize("family", [4, 6])
def test_the_source_of_a_transport_sa_is_its_peer(family: int) -> None:
    """Row 51: the packet's outer source is a third host, whom the peer impersonates."""
    sa = Sa(family=family)
    victim = Victim(sa, policies=[require("esp", "transport", family)])
    wire = wrap(sa, datagram(family, 53), 1)
    at, third = (12, b"\xc0\0\2\x63") if family == 4 else (8, wire[8:23] + b"\x63")
    victim.refuses(wire[:at] + third + wire[at + len(third) :], "InPolicyViolation")
    victim.survives(2)


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
# # A fragment that does not show its ports has the value OPAQUE, which is not ANY.
# = https://www.rfc-editor.org/rfc/rfc4301#section-7.4
# # later fragments do not pass by an entry with ports unless fragments are followed by state
@pytest.mark.bug_row(54)
@pytest.mark.parametrize("family", [4, 6])
def test_a_later_fragment_has_no_ports(family: int) -> None:
    """Row 54: a later fragment whose bytes look like a permitted port, in clear and through a tunnel."""
    payload = datagram(family, 53, net=True)[20 if family == 4 else 40 :].ljust(16)
    piece = fragment(PEER_NET[family], VICTIM_NET[family], UDP, payload, 8, False, 7)
    other = fragment(PEER_NET[family], VICTIM_NET[family], UDP, b"\0\x51" * 4, 0, True, 7)
    sa = Sa(family=family, mode="tunnel")
    template = sallet.Template("esp", "tunnel", "require", endpoints=(sa.source, sa.destination))
    port = between(family, net=True, protocol=UDP, port=53)
    rest = sallet.PolicyParams("in", between(family, net=True), "discard", priority=0x90000000)
    victim = Victim(sa, policies=[sallet.PolicyParams("in", port, "protect", [template]), rest])
    victim.refuses(sealed(sa, piece, IN_IP[family], 1), "held")
    victim.refuses(sealed(sa, other, IN_IP[family], 2), "InPolicyDiscard", "InPolicyViolation")
    clear = Victim(policies=[sallet.PolicyParams("in", port, "bypass"), rest])
    clear.refuses(piece, "held")
    clear.refuses(other, "InPolicyDiscard")
    assert clear.accepts(datagram(family, 53, net=True))


@pytest.mark.bug_row(54)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("offset", [0, 8])
def test_the_protocol_of_a_fragment(family: int, offset: int) -> None:
    """Row 54: fragments are judged by the protocol they carry, not by the fragment header or their bytes."""
    victim = Victim(
        configuration={"encap_ports": []},
        policies=[
            sallet.PolicyParams("in", between(family, net=True, protocol=UDP), "bypass"),
            sallet.PolicyParams("in", between(family, net=True), "discard", priority=0x90000000),
        ],
    )
    for protocol in (1, TCP, 47, 132):
        piece = fragment(PEER_NET[family], VICTIM_NET[family], protocol, b"\x11" * 16, offset, True, 7)
        victim.refuses(piece, "InPolicyDiscard")
    piece = fragment(PEER_NET[family], VICTIM_NET[family], UDP, b"\x06" * 16, offset, True, 8)
    assert victim.accepts(piece) == piece


# = https://www.rfc-editor.org/rfc/rfc4301#section-6.1.1
# # the administrator can refuse unauthenticated ICMP errors by type and code
@pytest.mark.parametrize("family", [4, 6])
def test_icmp_errors_are_refused_by_type_and_code(family: int) -> None:
    """Entries for a type and a code let those through and no neighbour; a switch stops what is believed."""
    protocol, kind, code = (1, 3, 4) if family == 4 else (58, 1, 4)
    ends = PEER[family], VICTIM[family]
    exact = sallet.Selector(*ends, protocol, (kind, kind), (code, code))
    rest = sallet.Selector(*ends, protocol)
    victim = Victim(
        configuration={"icmp_hints": False},
        policies=[
            sallet.PolicyParams("in", exact, "bypass"),
            sallet.PolicyParams("in", rest, "discard", priority=0x90000000),
        ],
    )
    quoted = ip(VICTIM[family], PEER[family], 50, bytes(64))
    for other_kind in range(16):
        for other_code in range(16):
            packet = ip(*ends, protocol, bytes([other_kind, other_code, 0, 0]) + bytes(4) + quoted)
            if (other_kind, other_code) == (kind, code):
                assert victim.accepts(packet) == packet
            else:
                victim.refuses(packet, "InPolicyDiscard")


# = https://www.rfc-editor.org/rfc/rfc4301#section-5.2
# # the packet is matched to the policy that would have sent it: SAs applied and SAs required must agree
@pytest.mark.bug_row(64)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
def test_nothing_in_clear_beside_the_sa(family: int, mode: str) -> None:
    """Row 64: every protocol, in clear, from the very addresses that policy protects, is dropped."""
    sa = Sa(family=family, mode=mode)
    victim = Victim(sa)
    source, destination = (PEER_NET, VICTIM_NET) if mode == "tunnel" else (PEER, VICTIM)
    for protocol in range(256):
        for payload in (b"", b"\x08\0" + bytes(62), bytes(range(64))):
            packet = ip(source[family], destination[family], protocol, payload)
            reason = victim.refuses(packet)
            assert reason in ("InPolicyViolation", "InMalformed", "InNoSa", "InFragment", "held"), reason
    victim.survives(1)


@pytest.mark.bug_row(64)
@pytest.mark.parametrize("family", [4, 6])
def test_a_hint_in_the_header_opens_no_gap(family: int) -> None:
    """Row 64: source routes, options, other hop limits and classes do not change the verdict."""
    victim = Victim(Sa(family=family))
    payload = datagram(family, 53)[20 if family == 4 else 40 :]
    variants: list[dict[str, Any]] = [{}]
    if family == 4:
        variants += [{"tos": each} for each in range(0, 256, 17)] + [{"ttl": each} for each in (0, 1, 255)]
        route = b"\x83\x07\x04\x7f\0\0\1\0"
        variants += [{"options": route}, {"options": b"\x94\4\0\0"}, {"options": b"\1\1\1\0"}]
    else:
        variants += [{"traffic_class": each, "flow_label": each << 12} for each in range(0, 256, 17)]
        variants += [{"hop_limit": each} for each in (0, 1, 255)]
        variants += [{"extensions": [(60, b"\0\0\1\4\0\0\0\0")]}, {"extensions": [(43, bytes(8))]}]
    for words in variants:
        packet = ip(PEER[family], VICTIM[family], UDP, payload, **words)
        victim.refuses(packet, "InPolicyViolation")
    victim.survives(1)
