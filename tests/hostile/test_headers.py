"""Header chains that lie: too long, cut, out of order, inside and outside of a valid ICV.

No key and no sequence number may be wrong here.
Answers to: RFC 8200 section 4, RFC 791 section 3.1, RFC 4303 section 3.1, RFC 4301 section 5.2.
"""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

import sallet
from hostile import oracle
from hostile.sender import AH as AH_PROTOCOL
from hostile.sender import (
    DESTINATION_OPTIONS,
    ESP,
    FRAGMENT,
    HOP_BY_HOP,
    IN_IP,
    NO_NEXT_HEADER,
    PEER_NET,
    ROUTING,
    TCP,
    UDP,
    VICTIM,
    VICTIM_NET,
    Sa,
    authenticated,
    both_families,
    esp,
    inner,
    ip,
    ipv6,
    options_header,
    sealed,
)
from hostile.victim import BEFORE_ICV, Victim, require

MOST_HEADERS, MOST_BYTES = 8, 512
"""What ARCHITECTURE.md lets a chain have."""
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AH_PROTOCOL, 135, 139, 140, DESTINATION_OPTIONS)
AGGREGATION = 144
"""IP-TFS, which is not offered here."""


def extension(kind: int, noise: random.Random, *, words: int | None = None) -> bytes:
    """A well-formed extension header, unless `words` is its length instead of the truth."""
    if kind == FRAGMENT:
        return struct.pack(">BBHI", 0, 0, 0, noise.getrandbits(32))
    body = options_header(bytes([1, size := noise.randrange(5)]) + bytes(size))
    if kind == ROUTING:
        body = body[:2] + b"\x09\0" + body[4:]
    return body if words is None else body[:1] + bytes([words]) + body[2:]


@pytest.mark.bug_row(12)
@pytest.mark.parametrize("protocol", ["esp", "ah"])
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
def test_chains_in_front(protocol: str, mode: str) -> None:
    """Row 12: random chains of extension headers before AH and ESP; only what is well formed gets through."""
    sa = Sa(family=6, protocol=protocol, mode=mode, suite=oracle.AH if protocol == "ah" else oracle.GCM)
    victim, noise = Victim(sa, replay_window=0), random.Random(12)
    passed = refused = 0
    for sequence in range(1, 1500):
        kinds = noise.choices((HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING, FRAGMENT), k=noise.randrange(11))
        chain = [(kind, extension(kind, noise)) for kind in kinds]
        lie = bool(chain) and noise.random() < 0.3
        if lie:
            at = noise.randrange(len(chain))
            kind = chain[at][0] if chain[at][0] != FRAGMENT else HOP_BY_HOP
            chain[at] = kind, extension(kind, noise, words=noise.choice((64, 200, 255)))
        wire = behind(sa, chain, sequence)
        legal = (
            not lie
            and len(kinds) <= MOST_HEADERS
            and sum(len(data) for _, data in chain) <= MOST_BYTES
            and kinds.count(FRAGMENT) <= 1
            and HOP_BY_HOP not in kinds[1:]
        )
        outcome = victim.judge(wire)
        if legal:
            assert outcome.reason is None, f"{outcome.reason} of {kinds}"
        elif lie or len(kinds) > MOST_HEADERS or kinds.count(FRAGMENT) > 1:
            assert outcome.reason in BEFORE_ICV, f"{outcome.reason} of {kinds}"
        passed, refused = passed + (outcome.reason is None), refused + (outcome.reason is not None)
    assert min(passed, refused) > 100


def behind(sa: Sa, chain: list[tuple[int, bytes]], sequence: int) -> bytes:
    """A good packet of the SA with a chain between the fixed header and AH or ESP."""
    payload, next_header = (inner(6), IN_IP[6]) if sa.mode == "tunnel" else (datagram(), UDP)
    if sa.protocol == "esp":
        return ipv6(sa.source, sa.destination, ESP, esp(sa, payload, next_header, sequence), extensions=chain)
    # A fragment header is not there any more when AH is computed.
    seen = [(kind, data) for kind, data in chain if kind != FRAGMENT]
    words: dict[str, Any] = {"extensions": chain, "covered_extensions": seen}
    return authenticated(sa, payload, next_header, sequence, **words)


def datagram() -> bytes:
    """A UDP datagram between peer and victim, without their IPv6 header."""
    return sallet.udp_packet("2001:db8::1", "2001:db8::2", 1000, 53, b"in clear")[40:]


@pytest.mark.bug_row(12)
@pytest.mark.parametrize("protocol", [ESP, AH_PROTOCOL, 108])
@pytest.mark.parametrize("kind", EXTENSIONS)
def test_every_length_of_every_header(kind: int, protocol: int) -> None:
    """Row 12: each extension header says 0 to 255 units, with 0 to 80 bytes behind it."""
    victim = Victim(Sa(family=6), Sa(family=6, protocol="ah", suite=oracle.AH, mode="tunnel"))
    whole = esp(Sa(family=6), datagram(), UDP, 1)
    for words in range(256):
        for room in (0, 1, 2, 7, 8, 9, 16, 80):
            body = (bytes([protocol, words]) + bytes(6) + whole)[:room]
            victim.judge(ip(Sa(family=6).source, VICTIM[6], kind, body))
    victim.survives(7)


@pytest.mark.bug_row(12)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source", ["outer", "inner"])
def test_a_tunnel_that_speaks_for_the_host_itself(family: int, source: str) -> None:
    """Row 12: the inner packet comes "from" the victim's own address, and policy is generous."""
    sa = Sa(family=family, mode="tunnel")
    anything = "0.0.0.0/0" if family == 4 else "::/0"
    template = sallet.Template("esp", "tunnel", "require", endpoints=(sa.source, sa.destination))
    generous = sallet.PolicyParams("in", sallet.Selector(anything, anything), "protect", [template])
    own = [VICTIM[family], VICTIM_NET[family]]
    victim = Victim(sa, policies=[generous], configuration={"local": [(each, each) for each in own]})
    spoofed = own[0] if source == "outer" else own[1]
    packet = sallet.udp_packet(spoofed, VICTIM_NET[family], 9, 9, b"it is you, honestly")
    victim.refuses(sealed(sa, packet, IN_IP[family], 1), "InPolicyViolation")
    victim.survives(2)


@pytest.mark.bug_row(37)
@pytest.mark.timeout(20)
@pytest.mark.parametrize("sa", both_families(Sa(mode="tunnel")), ids=str)
def test_an_inner_length_of_zero(sa: Sa) -> None:
    """Row 37: inner packets that say they are shorter than their header, or longer than what came."""
    victim, sequence = Victim(sa, policies=[crossed(sa, 4), crossed(sa, 6)]), 0
    whole = inner(4)
    for total in [*range(28), len(whole) + 1, len(whole) + 8, 0xFFFF]:
        sequence += 1
        packet = whole[:2] + struct.pack(">H", total) + whole[4:]
        wire = sealed(sa, packet, IN_IP[4], sequence)
        if 20 <= total < 28:
            # A header with less behind it than UDP needs is a packet; no byte more than it says comes out.
            assert victim.accepts(wire) == packet[:total]
        else:
            victim.refuses(wire, "BadPadding")
    whole = inner(6)
    for length in [len(whole) - 39, len(whole), 0xFFFF]:
        sequence += 1
        packet = whole[:4] + struct.pack(">H", length) + whole[6:]
        victim.refuses(sealed(sa, packet, IN_IP[6], sequence), "BadPadding")
    victim.survives(sequence + 1)


@pytest.mark.bug_row(37)
@pytest.mark.timeout(20)
@pytest.mark.parametrize("family", [4, 6])
def test_aggregated_packets_are_no_packet(family: int) -> None:
    """Row 37: next header 144 with every length inside, which nobody here takes apart."""
    tunnel, transport = Sa(family=family, mode="tunnel"), Sa(family=family, spi=0x1002)
    victim, sequence = Victim(tunnel, transport), 0
    for total in range(0, 40, 3):
        sequence += 1
        block = inner(4)
        aggregate = bytes(4) + block[:2] + struct.pack(">H", total) + block[4:]
        victim.refuses(sealed(tunnel, aggregate, AGGREGATION, sequence), "BadPadding")
        plain = victim.accepts(sealed(transport, aggregate, AGGREGATION, sequence))
        assert plain.endswith(aggregate), "a protocol like any other: it is delivered as it came"
    victim.survives(sequence + 1)


@pytest.mark.bug_row(37)
@pytest.mark.timeout(20)
@pytest.mark.parametrize("where", ["outside", "inside"])
def test_options_that_do_not_advance(where: str) -> None:
    """Row 37: options and headers of length zero, one after the other, as many as fit."""
    sa = Sa(family=6, mode="tunnel")
    victim, sequence = Victim(sa), 0
    chains = [
        [(kind, bytes(8))] * count for kind in (HOP_BY_HOP, DESTINATION_OPTIONS) for count in (1, 8, 9, 64)
    ]
    chains += [[(HOP_BY_HOP, b"\0\x3f" + bytes(510))], [(DESTINATION_OPTIONS, b"\0\xff" + bytes(2046))]]
    for chain in chains:
        sequence += 1
        if where == "outside":
            packet = esp(sa, inner(6), IN_IP[6], sequence)
            victim.judge(ipv6(sa.source, sa.destination, ESP, packet, extensions=chain))
        else:
            packet = ipv6(PEER_NET[6], VICTIM_NET[6], UDP, datagram(), extensions=chain)
            victim.judge(sealed(sa, packet, IN_IP[6], sequence))
    victim.survives(sequence + 1)


@pytest.mark.bug_row(44)
@pytest.mark.parametrize("kind", [*EXTENSIONS, ESP, 108, NO_NEXT_HEADER, 41, 4])
@pytest.mark.parametrize("mode", ["transport", "any"])
def test_every_header_inside_and_cut(kind: int, mode: str) -> None:
    """Row 44: behind a valid ICV stands each extension header, cut at every byte."""
    sa = Sa(family=6, mode=mode)
    victim, noise, sequence = Victim(sa, policies=[require("esp", "transport", 6)]), random.Random(kind), 0
    body = bytes([UDP]) + extension(kind if kind in EXTENSIONS else HOP_BY_HOP, noise)[1:] + datagram()
    for words in (body[1], 0, 1, 7, 255):
        for length in range(len(body)):
            sequence += 1
            payload = (body[:1] + bytes([words]) + body[2:])[:length]
            victim.judge(sealed(sa, payload, kind, sequence))
    victim.survives(sequence + 1)


# = https://www.rfc-editor.org/rfc/rfc4301#section-4.1
# # transport mode is not applied to a fragment
@pytest.mark.bug_row(44)
@pytest.mark.parametrize("mode", ["transport", "any"])
@pytest.mark.parametrize(("offset", "more"), [(0, True), (8, False), (8, True), (65528, False)])
def test_a_fragment_inside_transport_mode(mode: str, offset: int, more: bool) -> None:
    """Row 44: a fragment header inside transport mode ESP, which no sender may make, goes no further."""
    sa = Sa(family=6, mode=mode)
    victim = Victim(sa, policies=[require("esp", "transport", 6)])
    piece = struct.pack(">BBHI", UDP, 0, offset | more, 7) + datagram()
    for chain in (b"", bytes([FRAGMENT]) + options_header(b"")[1:]):
        kind = DESTINATION_OPTIONS if chain else FRAGMENT
        victim.refuses(sealed(sa, chain + piece, kind, 1 if chain else 2), "InFragment", "BadPadding")
    victim.survives(3)


@pytest.mark.bug_row(44)
def test_a_fragment_inside_a_tunnel_is_an_ordinary_packet() -> None:
    """Row 44: through a tunnel fragments may come; they are delivered as they are, with nothing invented."""
    sa = Sa(family=6, mode="tunnel")
    victim = Victim(sa)
    header = struct.pack(">BBHI", 0, 0, 8, 7)
    packet = ipv6(PEER_NET[6], VICTIM_NET[6], TCP, bytes(32), extensions=[(FRAGMENT, header)])
    assert victim.accepts(sealed(sa, packet, IN_IP[6], 1)) == packet
    # Behind UDP may stand ESP: that is looked at whole.
    first = ipv6(
        PEER_NET[6], VICTIM_NET[6], UDP, bytes(32), extensions=[(FRAGMENT, struct.pack(">BBHI", 0, 0, 1, 8))]
    )
    last = ipv6(
        PEER_NET[6], VICTIM_NET[6], UDP, bytes(7), extensions=[(FRAGMENT, struct.pack(">BBHI", 0, 0, 32, 8))]
    )
    victim.refuses(sealed(sa, first, IN_IP[6], 2), "held")
    whole = ipv6(PEER_NET[6], VICTIM_NET[6], UDP, bytes(39))
    assert victim.accepts(sealed(sa, last, IN_IP[6], 3)) == whole


@pytest.mark.bug_row(53)
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("padding", [1, 3, 8, 255, 1400])
def test_traffic_flow_padding_is_taken_off(outer: int, family: int, padding: int) -> None:
    """Row 53: bytes behind the inner packet are cut by its own length, v4 and v6 in v4 and v6."""
    sa = Sa(family=outer, mode="tunnel")
    victim = Victim(sa, policies=[crossed(sa, family)])
    for sequence, fill in enumerate((b"\0", b"\xff", b"\x45"), 1):
        packet = inner(family, b"x" * sequence)
        wire = sealed(sa, packet + fill * padding, IN_IP[family], sequence)
        assert victim.accepts(wire) == packet


def crossed(sa: Sa, family: int) -> sallet.PolicyParams:
    """An entry for inner packets of one family through a tunnel of the other."""
    template = sallet.Template("esp", "tunnel", "require", endpoints=(sa.source, sa.destination))
    selector = sallet.Selector(PEER_NET[family], VICTIM_NET[family])
    return sallet.PolicyParams("in", selector, "protect", [template])


@pytest.mark.bug_row(53)
@pytest.mark.parametrize("outer", [4, 6])
def test_the_next_header_and_the_version_must_agree(outer: int) -> None:
    """Row 53: IPv6 called IPv4 and the other way round, and versions that do not exist."""
    sa = Sa(family=outer, mode="tunnel")
    victim, sequence = Victim(sa, policies=[crossed(sa, 4), crossed(sa, 6)]), 0
    for family, said in ((4, 6), (6, 4)):
        sequence += 1
        victim.refuses(sealed(sa, inner(family), IN_IP[said], sequence), "BadPadding")
    for version in set(range(16)) - {4, 6}:
        for family in (4, 6):
            sequence += 1
            packet = bytes([version << 4 | inner(family)[0] & 15]) + inner(family)[1:]
            victim.refuses(sealed(sa, packet, IN_IP[family], sequence), "BadPadding")


@pytest.mark.bug_row(53)
@pytest.mark.parametrize(
    "sa", both_families(Sa(), Sa(mode="tunnel"), Sa(suite=oracle.AH, protocol="ah")), ids=str
)
def test_the_outer_length_counts(sa: Sa) -> None:
    """Row 53: what a device delivers behind the packet is no part of it, and a packet cut short is none."""
    victim = Victim(sa)
    wire = sealed(sa, inner(sa.family) if sa.mode == "tunnel" else datagram(), IN_IP[sa.family], 1)
    for length in range(len(wire)):
        victim.refuses(wire[:length], "InMalformed")
    assert victim.window_top(sa) == 0
    outcome = victim.judge(wire + b"\0" * 6)
    assert outcome.reason is None or sa.mode == "transport"
    victim.survives(2)
