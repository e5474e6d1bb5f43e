"""ESP packets sealed by scapy open here, and the other way round: every algorithm, mode and family.

No namespace, no socket and no clock may enter: both sides work on bytes in this process.
Answers to: RFC 4303 (formats, padding, ESN); RFC 3602, 3686, 4106, 4309, 4543, 7634, 2405, 2451 (encryption);
RFC 2403, 2404, 4494, 4868 (integrity).
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
    from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
    from scapy.layers.ipsec import AUTH_ALGOS, CRYPT_ALGOS, ESP, IPSecIntegrityError, SecurityAssociation
    from scapy.packet import Raw

SPI = 0x1001
LENGTHS = (0, 1, 2, 3, 12, 13, 14, 15, 16, 17, 64, 255, 1400)
"""Payload lengths: each remainder of a block, and sizes that people use."""


@pytest.fixture(autouse=True)
def _scapy() -> None:
    need("engine")
    need("scapy")


@dataclass(frozen=True)
class Suite:
    """One choice of algorithms, in our words and in scapy's."""

    encryption: str
    key_bytes: int
    authentication: str | None
    authentication_key_bytes: int
    scapy_encryption: str
    scapy_authentication: str | None

    def __str__(self) -> str:
        bits = f"-{self.key_bytes * 8}" if self.key_bytes else ""
        return f"{self.encryption}{bits}" + (f"+{self.authentication}" if self.authentication else "")

    @property
    def key(self) -> bytes:
        """The key, with its salt where there is one."""
        return bytes(range(1, 1 + self.key_bytes))

    @property
    def authentication_key(self) -> bytes:
        """The key of the MAC."""
        return bytes(range(100, 100 + self.authentication_key_bytes))

    def ours(self, source: str, destination: str, mode: str, *, esn: bool = False) -> sallet.SaParams:
        """Give our SA."""
        authentication = (self.authentication, self.authentication_key) if self.authentication else None
        return sallet.SaParams(
            spi=SPI,
            protocol="esp",
            source=source,
            destination=destination,
            mode=mode,
            encryption=(self.encryption, self.key),
            authentication=authentication,
            replay_window=64,
            esn=esn,
        )

    def theirs(self, outer: Any = None) -> Any:
        """Give scapy's SA."""
        return SecurityAssociation(
            ESP,
            spi=SPI,
            crypt_algo=self.scapy_encryption,
            crypt_key=self.key or None,
            auth_algo=self.scapy_authentication,
            auth_key=self.authentication_key or None,
            tunnel_header=outer,
        )


MACS = (
    ("hmac-sha1-96", 20, "HMAC-SHA1-96"),
    ("hmac-sha2-256-128", 32, "SHA2-256-128"),
    ("hmac-sha2-384-192", 48, "SHA2-384-192"),
    ("hmac-sha2-512-256", 64, "SHA2-512-256"),
    ("hmac-md5-96", 16, "HMAC-MD5-96"),
    ("aes-cmac-96", 16, "AES-CMAC-96"),
)
AEADS = (
    ("aes-gcm-16", (20, 28, 36), "AES-GCM"),
    ("aes-ccm-16", (19, 27, 35), "AES-CCM"),
    ("aes-gmac", (20, 28, 36), "AES-NULL-GMAC"),
    ("chacha20-poly1305", (36,), "CHACHA20-POLY1305"),
)
CIPHERS = (
    ("aes-cbc", (16, 24, 32), "AES-CBC"),
    ("aes-ctr", (20, 28, 36), "AES-CTR"),
    ("null", (0,), "NULL"),
    ("3des-cbc", (24,), "3DES"),
    ("des-cbc", (8,), "DES"),
    ("cast128-cbc", (5, 16), "CAST"),
    ("blowfish-cbc", (5, 16, 56), "Blowfish"),
)
BESIDE_EVERY_MAC = {("aes-cbc", 16), ("aes-ctr", 20), ("null", 0)}
"""The other ciphers and lengths of key stand beside one MAC."""
SUITES = [
    *(Suite(name, size, None, 0, theirs, None) for name, sizes, theirs in AEADS for size in sizes),
    *(
        Suite(name, size, mac, mac_size, theirs, their_mac)
        for name, sizes, theirs in CIPHERS
        for size in sizes
        for mac, mac_size, their_mac in (MACS if (name, size) in BESIDE_EVERY_MAC else MACS[1:2])
    ),
]
ENCRYPTION_ONLY = [
    Suite(name, sizes[-1], None, 0, theirs, None) for name, sizes, theirs in CIPHERS if name.endswith("-cbc")
]
ALICE = {4: "192.0.2.1", 6: "2001:db8::1"}
BOB = {4: "192.0.2.2", 6: "2001:db8::2"}
ALICE_NET = {4: "10.1.0.1", 6: "2001:db8:1::1"}
BOB_NET = {4: "10.2.0.1", 6: "2001:db8:2::1"}
FRAMES = [
    ("transport", 4, 4),
    ("transport", 6, 6),
    *(("tunnel", *pair) for pair in itertools.product((4, 6), repeat=2)),
]


def frame_name(frame: tuple[str, int, int]) -> str:
    """Name a frame as a test id."""
    mode, inner, outer = frame
    return f"transport-v{inner}" if mode == "transport" else f"v{inner}-in-v{outer}"


@dataclass(frozen=True)
class Pair:
    """Alice is whoever sends, Bob whoever receives; one of them is scapy."""

    suite: Suite
    mode: str
    inner: int
    outer: int

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
        engine.sad_add(self.suite.ours(*gateways, self.mode, esn=esn))
        template = sallet.Template(
            "esp", self.mode, "require", endpoints=gateways if self.mode == "tunnel" else None
        )
        selector = sallet.Selector(*self.ends)
        engine.spd_add(sallet.PolicyParams(direction, selector, "protect", [template]))
        return engine

    def scapy(self) -> Any:
        """Make scapy's side."""
        if self.mode == "transport":
            return self.suite.theirs()
        return self.suite.theirs(header(self.outer)(src=ALICE[self.outer], dst=BOB[self.outer]))

    def packets(self) -> list[bytes]:
        """Give UDP and TCP packets of every length, and one with options or extension headers."""
        source, destination = self.ends
        made = [sallet.udp_packet(source, destination, 1000, 53, payload(size)) for size in LENGTHS]
        made += [sallet.tcp_packet(source, destination, 1000, 80, payload(size)) for size in (0, 1, 536)]
        made.append(sallet.echo_packet(source, destination, payload=payload(56)))
        return [*made, with_options(self.inner, source, destination)]


def header(version: int) -> Any:
    """Give scapy's class for a version of IP."""
    return IP if version == 4 else IPv6


def payload(size: int) -> bytes:
    """Give bytes that differ from their neighbours."""
    return bytes((index * 7 + size) % 251 for index in range(size))


def with_options(version: int, source: str, destination: str) -> bytes:
    """Give a packet whose header is longer than the shortest, so that ESP has to find its place."""
    if version == 4:
        first = IP(src=source, dst=destination, options=[IPOption_Router_Alert()], tos=0xB8, id=7, ttl=9)
    else:
        first = IPv6(src=source, dst=destination, tc=0xB8, fl=0x12345, hlim=9) / IPv6ExtHdrHopByHop()
    return bytes(first / UDP(sport=1, dport=2) / Raw(b"behind options"))


def test_every_algorithm_of_scapy_is_here() -> None:
    """What the installed scapy has and we do not try would be a third opinion that nobody asked."""
    assert {suite.scapy_encryption for suite in SUITES} == set(CRYPT_ALGOS)
    assert {suite.scapy_authentication or "NULL" for suite in SUITES} == set(AUTH_ALGOS)


@pytest.fixture(params=SUITES, ids=str)
def suite(request: pytest.FixtureRequest) -> Suite:
    """Each choice of algorithms."""
    chosen: Suite = request.param
    return chosen


@pytest.fixture(params=FRAMES, ids=frame_name)
def pair(request: pytest.FixtureRequest, suite: Suite) -> Pair:
    """Each mode and family, with each choice of algorithms."""
    return Pair(suite, *request.param)


def test_scapy_seals_and_we_open(pair: Pair) -> None:
    scapy, engine = pair.scapy(), pair.engine("in")
    for packet in pair.packets():
        sealed = bytes(scapy.encrypt(header(pair.inner)(packet)))
        outcome = engine.inbound(sealed)
        assert outcome.reason is None, f"{outcome.reason} of a packet of {len(packet)} bytes"
        assert outcome.delivered == [packet]


def test_we_seal_and_scapy_opens(pair: Pair) -> None:
    engine, scapy = pair.engine("out"), pair.scapy()
    for packet in pair.packets():
        outcome = engine.outbound(packet)
        assert outcome.reason is None, f"{outcome.reason} of a packet of {len(packet)} bytes"
        assert outcome.packet is not None
        opened = scapy.decrypt(header(pair.outer)(outcome.packet))
        assert bytes(opened) == packet


@pytest.mark.parametrize("frame", FRAMES, ids=frame_name)
@pytest.mark.parametrize("cipher", ENCRYPTION_ONLY, ids=str)
def test_encryption_without_integrity(cipher: Suite, frame: tuple[str, int, int]) -> None:
    test_scapy_seals_and_we_open(Pair(cipher, *frame))
    test_we_seal_and_scapy_opens(Pair(cipher, *frame))


# = https://www.rfc-editor.org/rfc/rfc4303#section-3.4.4.1
# # An ICV that differs means that the packet is discarded.
def test_a_changed_bit_is_refused_on_both_sides(pair: Pair) -> None:
    packet = pair.packets()[10]
    sealed = bytearray(pair.scapy().encrypt(header(pair.inner)(packet)).build())
    engine = pair.engine("in")
    for place in (-1, -20, -40):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert engine.inbound(changed).reason == "AuthFailed"
    assert engine.inbound(sealed).delivered == [packet]
    ours = pair.engine("out").outbound(packet).packet
    assert ours is not None
    changed = bytearray(ours)
    changed[-1] ^= 1
    with pytest.raises(IPSecIntegrityError):
        pair.scapy().decrypt(header(pair.outer)(bytes(changed)))


# = https://www.rfc-editor.org/rfc/rfc4303#section-2.2.1
# # With extended sequence numbers the ICV covers the high half, which is not sent.
@pytest.mark.parametrize("frame", [FRAMES[0], FRAMES[-1]], ids=frame_name)
def test_extended_sequence_numbers_from_scapy(suite: Suite, frame: tuple[str, int, int]) -> None:
    pair = Pair(suite, *frame)
    scapy, engine = pair.scapy(), pair.engine("in", esn=True)
    packet = pair.packets()[5]
    for number in (1, 100, 0xFFFF_FFF0, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_0000_0003, 0x1_0000_0001):
        low, high = number & 0xFFFF_FFFF, number >> 32
        sealed = sealed_with(scapy, header(pair.inner)(packet), low, high)
        outcome = engine.inbound(sealed)
        assert outcome.delivered == [packet], f"number {number:#x}: {outcome.reason}"
    assert engine.inbound(sealed_with(scapy, header(pair.inner)(packet), 5, 0)).reason == "AuthFailed"


def sealed_with(scapy: Any, packet: Any, low: int, high: int) -> bytes:
    """Seal with a number of 64 bits; scapy takes its own counter for the low half when that is zero."""
    scapy.seq_num = low
    return bytes(scapy.encrypt(packet, seq_num=low, esn_en=True, esn=high))


@pytest.mark.parametrize("frame", [FRAMES[1], FRAMES[2]], ids=frame_name)
def test_extended_sequence_numbers_to_scapy(suite: Suite, frame: tuple[str, int, int]) -> None:
    pair = Pair(suite, *frame)
    engine, scapy = pair.engine("out", esn=True), pair.scapy()
    for packet in pair.packets()[:4]:
        sealed = engine.outbound(packet).packet
        assert sealed is not None
        arrived = header(pair.outer)(sealed)
        assert bytes(scapy.decrypt(arrived, esn_en=True, esn=0)) == packet
    with pytest.raises(IPSecIntegrityError):
        scapy.decrypt(header(pair.outer)(sealed), esn_en=True, esn=1)
