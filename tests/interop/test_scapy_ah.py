"""AH signed by scapy opens here, and the other way round: every algorithm, mode, family and kind of header.

No namespace, no socket and no clock may enter: both sides work on bytes in this process.
Answers to: RFC 4302 section 3.3.3.1 and appendix A (what the ICV covers), RFC 2403, 2404, 4494 and 4868.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest

import sallet
from interop import capabilities  # noqa: F401 (declares them)
from netns import missing, need

pytestmark = pytest.mark.interop

if missing("scapy") is None:
    from scapy.layers.inet import (
        IP,
        UDP,
        IPOption_NOP,
        IPOption_Router_Alert,
        IPOption_RR,
        IPOption_Security,
        IPOption_Timestamp,
    )
    from scapy.layers.inet6 import (
        HBHOptUnknown,
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrRouting,
        RouterAlert,
    )
    from scapy.layers.ipsec import AH, AUTH_ALGOS, IPSecIntegrityError, SecurityAssociation
    from scapy.packet import Raw

SPI = 0x1001
LENGTHS = (0, 1, 3, 64, 255, 1400)
MACS = (
    ("hmac-md5-96", 16, "HMAC-MD5-96"),
    ("hmac-sha1-96", 20, "HMAC-SHA1-96"),
    ("hmac-sha2-256-128", 32, "SHA2-256-128"),
    ("hmac-sha2-384-192", 48, "SHA2-384-192"),
    ("hmac-sha2-512-256", 64, "SHA2-512-256"),
    ("aes-cmac-96", 16, "AES-CMAC-96"),
)
ALICE = {4: "192.0.2.1", 6: "2001:db8::1"}
BOB = {4: "192.0.2.2", 6: "2001:db8::2"}
ALICE_NET = {4: "10.1.0.1", 6: "2001:db8:1::1"}
BOB_NET = {4: "10.2.0.1", 6: "2001:db8:2::1"}
FRAMES = [
    ("transport", 4, 4),
    ("transport", 6, 6),
    *(("tunnel", *pair) for pair in itertools.product((4, 6), repeat=2)),
]


@pytest.fixture(autouse=True)
def _scapy() -> None:
    need("engine")
    need("scapy")


@dataclass(frozen=True)
class Pair:
    """Alice is whoever sends, Bob whoever receives; one of them is scapy."""

    mac: tuple[str, int, str]
    mode: str
    inner: int
    outer: int

    @property
    def key(self) -> bytes:
        """The key of the MAC."""
        return bytes(range(100, 100 + self.mac[1]))

    @property
    def ends(self) -> tuple[str, str]:
        """Source and destination of the packets to protect."""
        if self.mode == "transport":
            return ALICE[self.inner], BOB[self.inner]
        return ALICE_NET[self.inner], BOB_NET[self.inner]

    def engine(self, direction: str, *, esn: bool = False) -> sallet.Engine:
        """Make our side, which protects or opens the flow from Alice to Bob."""
        engine = sallet.Engine()
        gateways = (ALICE[self.outer], BOB[self.outer])
        engine.sad_add(
            sallet.SaParams(
                spi=SPI,
                protocol="ah",
                source=gateways[0],
                destination=gateways[1],
                mode=self.mode,
                authentication=(self.mac[0], self.key),
                replay_window=64,
                esn=esn,
            )
        )
        endpoints = gateways if self.mode == "tunnel" else None
        template = sallet.Template("ah", self.mode, "require", endpoints=endpoints)
        selector = sallet.Selector(*self.ends)
        engine.spd_add(sallet.PolicyParams(direction, selector, "protect", [template]))
        return engine

    def scapy(self) -> Any:
        """Make scapy's side."""
        outer = None
        if self.mode == "tunnel":
            outer = header(self.outer)(src=ALICE[self.outer], dst=BOB[self.outer])
        return SecurityAssociation(AH, spi=SPI, auth_algo=self.mac[2], auth_key=self.key, tunnel_header=outer)

    def packets(self) -> list[bytes]:
        """Give UDP and TCP packets of some lengths."""
        source, destination = self.ends
        made = [sallet.udp_packet(source, destination, 1000, 53, payload(size)) for size in LENGTHS]
        made.append(sallet.tcp_packet(source, destination, 1000, 80, payload(536)))
        made.append(sallet.echo_packet(source, destination, payload=payload(56)))
        return [identified(packet) for packet in made]


def identified(packet: bytes) -> bytes:
    """Give an IPv4 packet an identification: AH covers it, so the engine chooses one where there is none."""
    if packet[0] >> 4 == 6:
        return packet
    numbered = IP(packet)
    numbered.id = 7
    del numbered.chksum
    return bytes(numbered)


def header(version: int) -> Any:
    """Give scapy's class for a version of IP."""
    return IP if version == 4 else IPv6


def payload(size: int) -> bytes:
    """Give bytes that differ from their neighbours."""
    return bytes((index * 7 + size) % 251 for index in range(size))


def test_every_algorithm_of_scapy_is_here() -> None:
    """Its NULL authentication in AH would be no authentication at all: ours is refused there."""
    assert {theirs for _, _, theirs in MACS} | {"NULL"} == set(AUTH_ALGOS)


@pytest.fixture(params=MACS, ids=lambda mac: str(mac[0]))
def mac(request: pytest.FixtureRequest) -> tuple[str, int, str]:
    """Each algorithm that both have."""
    chosen: tuple[str, int, str] = request.param
    return chosen


@pytest.fixture(params=FRAMES, ids=lambda frame: f"{frame[0]}-v{frame[1]}-in-v{frame[2]}")
def pair(request: pytest.FixtureRequest, mac: tuple[str, int, str]) -> Pair:
    """Each mode and family, with each algorithm."""
    return Pair(mac, *request.param)


def test_scapy_signs_and_we_verify(pair: Pair) -> None:
    scapy, engine = pair.scapy(), pair.engine("in")
    for packet in pair.packets():
        outcome = engine.inbound(bytes(scapy.encrypt(header(pair.inner)(packet))))
        assert outcome.reason is None, f"{outcome.reason} of a packet of {len(packet)} bytes"
        assert outcome.delivered == [packet]


def test_we_sign_and_scapy_verifies(pair: Pair) -> None:
    engine, scapy = pair.engine("out"), pair.scapy()
    for packet in pair.packets():
        outcome = engine.outbound(packet)
        assert outcome.packet is not None, f"{outcome.reason} of a packet of {len(packet)} bytes"
        assert bytes(scapy.decrypt(header(pair.outer)(outcome.packet))) == packet


def test_a_changed_bit_is_refused_on_both_sides(pair: Pair) -> None:
    packet = pair.packets()[3]
    signed = bytearray(pair.scapy().encrypt(header(pair.inner)(packet)).build())
    engine = pair.engine("in")
    for place in (-1, -20, -60):
        changed = bytearray(signed)
        changed[place] ^= 1
        assert engine.inbound(changed).reason == "AuthFailed"
    assert engine.inbound(signed).delivered == [packet]
    ours = pair.engine("out").outbound(packet).packet
    assert ours is not None
    changed = bytearray(ours)
    changed[-1] ^= 1
    with pytest.raises(IPSecIntegrityError):
        pair.scapy().decrypt(header(pair.outer)(bytes(changed)))


def test_extended_sequence_numbers(mac: tuple[str, int, str]) -> None:
    pair = Pair(mac, "transport", 6, 6)
    ours, scapy, theirs = pair.engine("out", esn=True), pair.scapy(), pair.engine("in", esn=True)
    packet = pair.packets()[3]
    signed = ours.outbound(packet).packet
    assert signed is not None
    assert bytes(scapy.decrypt(IPv6(signed), esn_en=True, esn=0)) == packet
    with pytest.raises(IPSecIntegrityError):
        scapy.decrypt(IPv6(signed), esn_en=True, esn=1)
    for number in (1, 100, 0xFFFF_FFF0, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_0000_0003, 0x1_0000_0001):
        scapy.seq_num = number & 0xFFFF_FFFF
        made = scapy.encrypt(IPv6(packet), seq_num=scapy.seq_num, esn_en=True, esn=number >> 32)
        outcome = theirs.inbound(bytes(made))
        assert outcome.delivered == [packet], f"number {number:#x}: {outcome.reason}"


def special(version: int) -> list[Any]:
    """Give headers with what may and what may not change on the way; scapy knows each of these kinds."""
    source, destination = ALICE[version], BOB[version]
    if version == 4:
        base = {"src": source, "dst": destination}
        return [
            IP(**base, tos=0xB8, id=7, ttl=9, flags="DF"),
            IP(**base, options=[IPOption_Router_Alert()]),
            IP(**base, options=[IPOption_NOP(), IPOption_Security()]),
            IP(**base, options=[IPOption_RR(routers=["192.0.2.7"], pointer=8)]),
            IP(**base, options=[IPOption_Timestamp(), IPOption_Router_Alert()]),
        ]
    first = IPv6(src=source, dst=destination, tc=0xB8, fl=0x12345, hlim=9)
    moving, fixed = HBHOptUnknown(otype=0x3E, optdata=b"move"), HBHOptUnknown(otype=0x1E, optdata=b"stay")
    return [
        first,
        first / IPv6ExtHdrHopByHop(options=[RouterAlert()]),
        first / IPv6ExtHdrHopByHop(options=[moving, fixed]),
        first / IPv6ExtHdrDestOpt(options=[fixed, moving]) / IPv6ExtHdrRouting(addresses=[], segleft=0),
        first / IPv6ExtHdrHopByHop(options=[fixed]) / IPv6ExtHdrDestOpt(options=[moving]),
    ]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("number", range(5))
def test_headers_that_may_change(version: int, number: int) -> None:
    pair = Pair(MACS[2], "transport", version, version)
    packet = bytes(special(version)[number] / UDP(sport=9, dport=9) / Raw(payload(33)))
    theirs = bytes(pair.scapy().encrypt(header(version)(packet)))
    assert pair.engine("in").inbound(theirs).delivered == [packet]
    outcome = pair.engine("out").outbound(packet)
    assert outcome.packet is not None, outcome.reason
    assert bytes(pair.scapy().decrypt(header(version)(outcome.packet))) == packet


def test_a_route_is_predicted() -> None:
    """What we sign for the whole of a source route, scapy verifies at its end."""
    pair = Pair(MACS[2], "transport", 6, 6)
    hops = ["2001:db8::2", "2001:db8::a", "2001:db8::b"]
    way = IPv6ExtHdrRouting(type=0, addresses=hops[1:], segleft=2)
    sent = bytes(IPv6(src=ALICE[6], dst=hops[0]) / way / UDP(sport=9, dport=9) / Raw(payload(33)))
    outcome = pair.engine("out").outbound(sent)
    assert outcome.packet is not None, outcome.reason
    arrived = IPv6(outcome.packet)
    arrived.dst = hops[2]
    arrived[IPv6ExtHdrRouting].segleft = 0
    arrived[IPv6ExtHdrRouting].addresses = hops[:2]
    opened = pair.scapy().decrypt(IPv6(bytes(arrived)))
    assert bytes(opened).endswith(sent[-41:])
