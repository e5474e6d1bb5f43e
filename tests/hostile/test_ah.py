"""AH behind options and extension headers of every kind, with valid ICVs: read right, or refused.

The rules about what an ICV covers are written here a second time; nothing of sallet's may enter.
Answers to: RFC 4302 sections 2.6, 3.3.3.1 and appendix A; RFC 791 section 3.1; RFC 8200 section 4.2.
"""

from __future__ import annotations

import random
import struct

import pytest

import sallet
from hostile import oracle
from hostile.oracle import AH_SUITES
from hostile.sender import DESTINATION_OPTIONS, HOP_BY_HOP, UDP, Sa, authenticated, both_families, carried
from hostile.victim import Victim
from interop import capabilities  # noqa: F401 (declares scapy)
from netns import missing, need

if missing("scapy") is None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import AH, SecurityAssociation

IMMUTABLE = {0, 1, 130, 133, 134, 148, 149}
ROUTES = {131, 137}
MUTABLE_BIT = 0x20
DATAGRAM = sallet.udp_packet(
    "192.0.2.1",
    "192.0.2.2",
    9,
    9,
    b"behind AH",
)[20:]


def covered_v4(options: bytes) -> bytes | None:
    """IPv4 options as the ICV of a received packet sees them; None if they are no options."""
    made, at = bytearray(options), 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return None
        # A source route whose pointer is within it has not come to its end: this is not the last hop.
        if kind in ROUTES and (length < 3 or options[at + 2] <= length):
            return None
        if kind not in IMMUTABLE:
            made[at : at + length] = bytes(length)
        at += length
    return bytes(made)


def covered_v6(options: bytes) -> bytes | None:
    """An IPv6 options header as the ICV sees it: the data of options that may change is zero."""
    made, at = bytearray(options), 2
    while at < len(options):
        if options[at] == 0:
            at += 1
            continue
        end = at + 2 + options[at + 1] if at + 1 < len(options) else len(options) + 1
        if end > len(options):
            return None
        if options[at] & MUTABLE_BIT:
            made[at + 2 : end] = bytes(end - at - 2)
        at = end
    return bytes(made)


@pytest.mark.bug_row(3)
@pytest.mark.parametrize("low", range(0, 256, 32))
def test_every_option_at_every_length(low: int) -> None:
    """Row 3: every IPv4 option type, of every length from 0 to 40, in an area of 40 bytes, signed."""
    sa = Sa(protocol="ah", suite=oracle.AH, window=0)
    victim, passed = Victim(sa), 0
    for kind in range(low, low + 32):
        for length in range(41):
            options = (bytes([kind, length, 44]) + bytes(range(1, 38)))[: max(length, 2)].ljust(40, b"\1")
            seen = covered_v4(options)
            wire = authenticated(sa, DATAGRAM, UDP, 1, options=options, covered_options=seen or options)
            if seen is None:
                victim.refuses(wire, "InMalformed")
            else:
                assert victim.accepts(wire)[20:60] == options
                passed += 1
    assert passed >= 32


@pytest.mark.bug_row(3)
def test_an_option_at_the_very_end() -> None:
    """Row 3: the area ends in the middle of an option: after its type, its length, its pointer."""
    sa = Sa(protocol="ah", suite=oracle.AH, window=0)
    victim = Victim(sa)
    for size in range(4, 41, 4):
        for kind in (2, 7, 68, 131, 137, 148, 222):
            for tail in (bytes([kind]), bytes([kind, 3]), bytes([kind, 40, 4]), bytes([kind, 255])):
                options = b"\1" * (size - len(tail)) + tail
                wire = authenticated(sa, DATAGRAM, UDP, 1, options=options)
                if covered_v4(options) is None:
                    victim.refuses(wire, "InMalformed")
    victim.survives(1)


@pytest.mark.bug_row(9)
@pytest.mark.parametrize("seed", range(4))
def test_signed_ipv4_options(seed: int) -> None:
    """Row 9: random runs of options, right and wrong, with the ICV that a trusted host would send."""
    noise, sa = random.Random(seed), Sa(protocol="ah", suite=oracle.AH, window=0)
    victim, passed, refused = Victim(sa), 0, 0
    for _ in range(2000):
        options = b""
        for _ in range(noise.randrange(1, 7)):
            kind = noise.choice((*IMMUTABLE, *ROUTES, 7, 68, 82, 222, noise.randrange(256)))
            length = noise.choice((noise.randrange(2, 12), noise.randrange(12), noise.randrange(256)))
            data = noise.randbytes(max(length - 2, 0) % 38)
            options += bytes([kind]) if kind < 2 else bytes([kind, length]) + data
        options = options[:40].ljust(-(-min(len(options), 40) // 4) * 4, b"\0")
        seen = covered_v4(options)
        wire = authenticated(sa, DATAGRAM, UDP, 1, options=options, covered_options=seen or options)
        outcome = victim.judge(wire)
        assert (outcome.reason is None) == (seen is not None), f"{outcome.reason}: {options.hex()}"
        assert outcome.reason in (None, "InMalformed")
        passed, refused = passed + (seen is not None), refused + (seen is None)
    assert min(passed, refused) > 200


@pytest.mark.bug_row(9)
@pytest.mark.parametrize("seed", range(4))
def test_signed_ipv6_options(seed: int) -> None:
    """Row 9: the same for hop-by-hop and destination options, whether they may change or not."""
    noise, sa = random.Random(seed), Sa(family=6, protocol="ah", suite=oracle.AH, window=0)
    victim, passed, refused = Victim(sa), 0, 0
    for _ in range(2000):
        chain, seen = [], []
        for kind in noise.choice(((HOP_BY_HOP,), (DESTINATION_OPTIONS,), (HOP_BY_HOP, DESTINATION_OPTIONS))):
            body = b""
            for _ in range(noise.randrange(6)):
                data = noise.randbytes(noise.randrange(12))
                length = len(data) if noise.random() < 0.9 else noise.randrange(256)
                body += noise.choice((b"\0", bytes([noise.randrange(1, 256), length]) + data))
            words = -(-(2 + len(body)) // 8) - 1
            header = (bytes([0, words]) + body).ljust((words + 1) * 8, b"\0")
            chain.append((kind, header))
            seen.append((kind, covered_v6(header)))
        legal = all(each is not None for _, each in seen)
        covered = [(kind, each or b"") for kind, each in seen] if legal else chain
        wire = authenticated(sa, DATAGRAM, UDP, 1, extensions=chain, covered_extensions=covered)
        outcome = victim.judge(wire)
        assert (outcome.reason is None) == legal, f"{outcome.reason}: {chain}"
        assert outcome.reason in (None, "InMalformed")
        passed, refused = passed + legal, refused + (not legal)
    assert min(passed, refused) > 200


# = https://www.rfc-editor.org/rfc/rfc4302#section-3.4.4
# # the ICV is compared whole, with the fields that may change taken as zero; no match, no packet
@pytest.mark.bug_row(9)
@pytest.mark.parametrize("sa", both_families(Sa(protocol="ah", suite=oracle.AH)), ids=str)
def test_each_byte_of_the_header_counts_unless_routers_may_change_it(sa: Sa) -> None:
    """Row 9: every bit in front of the ICV is changed: only what routers change may differ."""
    victim = Victim(sa, replay_window=0)
    wire = authenticated(sa, DATAGRAM, UDP, 1)
    free = {1, 8, 10, 11} if sa.family == 4 else {1, 2, 3, 7}
    for place in range(20 if sa.family == 4 else 40):
        for bit in range(8):
            changed = wire[:place] + bytes([wire[place] ^ 1 << bit]) + wire[place + 1 :]
            outcome = victim.judge(changed)
            # The traffic class begins in byte 0; DF and the reserved bit stand before MF and the offset.
            some = place == 0 and bit < 4 if sa.family == 6 else place == 6 and bit > 5
            if place in free or some:
                assert outcome.delivered, f"byte {place} bit {bit}: {outcome.reason}"
            else:
                assert not outcome.delivered, f"byte {place} bit {bit} does not count"


# = https://www.rfc-editor.org/rfc/rfc4302#section-2.3
# # the reserved field is ignored on receipt, and in the ICV
@pytest.mark.parametrize("sa", both_families(Sa(protocol="ah", suite=oracle.AH)), ids=str)
def test_the_reserved_field_is_ignored_and_signed(sa: Sa) -> None:
    victim, at = Victim(sa), len(carried(sa, b""))
    for sequence, reserved in enumerate((1, 0x8000, 0xFFFF), 1):
        wire = authenticated(sa, DATAGRAM, UDP, sequence, reserved=reserved)
        victim.refuses(wire[: at + 2] + b"\0\0" + wire[at + 4 :], "AuthFailed")
        assert victim.accepts(wire)


# = https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.2
# # the padding of the ICV is in the ICV, padding that a hash would need is not sent
@pytest.mark.parametrize("family", [4, 6])
def test_each_byte_of_the_padding_counts(family: int) -> None:
    """What fills the header up to 8 bytes may be anything, as long as it is what was signed."""
    sa = Sa(protocol="ah", suite=oracle.AH, family=family)
    victim, at = Victim(sa), len(carried(sa, b"")) + 12 + sa.suite.icv_bytes
    wire = authenticated(sa, DATAGRAM, UDP, 1, padding=b"\1\xfe\3\xfc")
    for place in range(4):
        changed = wire[: at + place] + bytes([wire[at + place] ^ 1]) + wire[at + place + 1 :]
        victim.refuses(changed, "AuthFailed")
    victim.accepts(wire)


@pytest.fixture
def _scapy() -> None:
    need("scapy")


# = https://www.rfc-editor.org/rfc/rfc4302#section-2.2
# # over IPv6 the header is a multiple of 8 octets
@pytest.mark.bug_row(13)
@pytest.mark.usefixtures("_scapy")
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("hmac-sha1-96", "HMAC-SHA1-96"),
        ("hmac-sha2-256-128", "SHA2-256-128"),
        ("hmac-sha2-384-192", "SHA2-384-192"),
        ("hmac-sha2-512-256", "SHA2-512-256"),
        ("hmac-md5-96", "HMAC-MD5-96"),
        ("aes-cmac-96", "AES-CMAC-96"),
    ],
)
def test_ah_over_ipv6_is_aligned_as_others_expect(name: str, theirs: str, mode: str) -> None:
    """Row 13: another stack's AH over IPv6 opens here, ours opens there, both in multiples of 8 bytes."""
    suite = next(each for each in AH_SUITES if each.authentication == name)
    sa = Sa(family=6, protocol="ah", suite=suite, mode=mode)
    outer = IPv6(src=sa.source, dst=sa.destination) if mode == "tunnel" else None
    stranger = SecurityAssociation(
        AH, spi=sa.spi, auth_algo=theirs, auth_key=suite.authentication_key, tunnel_header=outer
    )
    ends = ("2001:db8:1::1", "2001:db8:2::1") if mode == "tunnel" else (sa.source, sa.destination)
    for size in (0, 1, 7, 100):
        packet = sallet.udp_packet(*ends, 9, 9, bytes(size))
        sealed = bytes(stranger.encrypt(IPv6(packet)))
        assert header_bytes(sealed) % 8 == 0
        victim = Victim(sa)
        assert victim.accepts(sealed) == packet
        sender = sallet.Engine(seed=bytes(32), clock="manual")
        sender.sad_add(sa.params())
        tunnel_ends = (sa.source, sa.destination) if mode == "tunnel" else None
        template = sallet.Template("ah", mode, "require", endpoints=tunnel_ends)
        sender.spd_add(sallet.PolicyParams("out", sallet.Selector(*ends), "protect", [template]))
        ours = sender.outbound(packet).packet
        assert ours
        assert header_bytes(ours) == header_bytes(sealed)
        assert bytes(stranger.decrypt(IPv6(ours))) == packet


def header_bytes(packet: bytes) -> int:
    """The length of AH behind a fixed IPv6 header, as its length field says."""
    assert packet[6] == 51
    return int(struct.unpack_from(">B", packet, 41)[0] + 2) * 4


@pytest.mark.bug_row(13)
@pytest.mark.usefixtures("_scapy")
def test_the_other_stack_counts_words_as_ipv4_does_there() -> None:
    """Row 13: over IPv4 the header is a multiple of 4 bytes only, and both sides say so."""
    suite = oracle.AH
    stranger = SecurityAssociation(
        AH, spi=0x1001, auth_algo="SHA2-256-128", auth_key=suite.authentication_key
    )
    packet = sallet.udp_packet("192.0.2.1", "192.0.2.2", 9, 9, b"v4")
    sealed = bytes(stranger.encrypt(IP(packet)))
    assert (sealed[21] + 2) * 4 == 28
    assert Victim(Sa(protocol="ah", suite=suite)).accepts(sealed) == packet
