"""What a failure tells the outside: nothing. No answer, one reason, no plaintext, no byte written elsewhere.

No clock may enter: how long a refusal takes is the affair of the cryptographic library.
Answers to: RFC 4303 section 3.4.4, RFC 4301 section 5.2; Bellovin 1996, Degabriele and Paterson 2010.
"""

from __future__ import annotations

import mmap
import random

import pytest

import sallet
from hostile import oracle
from hostile.oracle import ENCRYPTION, ESP_SUITES, KINDS
from hostile.sender import ESP, IN_IP, Sa, both_families, carried, esp, good, inner, ip, sealed, trailer
from hostile.victim import Victim

TUNNELS = both_families(*(Sa(suite=suite, mode="tunnel") for suite in KINDS))
BARE = both_families(Sa(suite=oracle.BARE_CBC), Sa(suite=oracle.BARE_CBC, mode="tunnel", spi=0x1002))


def broken_texts(sa: Sa) -> list[bytes]:
    """Plaintexts that are wrong in one way each, for a sender that can sign them."""
    assert sa.suite.encryption
    block = max(ENCRYPTION[sa.suite.encryption].block_bytes, 4)
    packet = inner(sa.family)
    whole = packet + trailer(len(packet), IN_IP[sa.family], block)
    next_header = whole[-1:]
    # No padding at all would be right: what stands before it is traffic flow padding then.
    texts = [whole[:-2] + bytes([length]) + next_header for length in range(1, 256) if length != whole[-2]]
    padded = packet + bytes(range(1, 1 + (size := 3 * block - (len(packet) + 2) % block)))
    padded += bytes([size]) + next_header
    texts += [padded[: -2 - each] + b"\x99" + padded[len(padded) - 1 - each :] for each in range(1, size)]
    texts += [whole[:-1] + bytes([other]) for other in range(256) if other not in (4, 41, 59)]
    texts += [whole[:-1] + bytes([45 - IN_IP[sa.family]])]
    texts += [bytes(length) for length in range(block, 5 * block, block)]
    return texts


# = https://www.rfc-editor.org/rfc/rfc4303#section-3.4.4
# # nothing of the plaintext leaves, and every failure behind the ICV looks the same
@pytest.mark.bug_row(63)
@pytest.mark.parametrize("sa", TUNNELS, ids=str)
def test_one_reason_behind_the_icv(sa: Sa) -> None:
    """Row 63: padding, pad length, next header, inner packet: wrong in every way, one reason, no answer."""
    victim, sequence = Victim(sa), 0
    for text in broken_texts(sa):
        sequence += 1
        victim.refuses(carried(sa, esp(sa, b"", 0, sequence, text=text)), "BadPadding")
    victim.survives(sequence + 1)


@pytest.mark.bug_row(63)
@pytest.mark.parametrize("sa", TUNNELS, ids=str)
def test_one_reason_before_the_icv(sa: Sa) -> None:
    """Row 63: every byte changed: the ICV notices, and what is inside does not matter."""
    victim = Victim(sa)
    wire = sealed(sa, inner(sa.family), IN_IP[sa.family], 1)
    at = (20 if sa.family == 4 else 40) + 4
    for place in range(at, len(wire)):
        changed = wire[:place] + bytes([wire[place] ^ 0x20]) + wire[place + 1 :]
        victim.refuses(changed, "AuthFailed")
    for text in broken_texts(sa)[::40]:
        packet = esp(sa, b"", 0, 1, text=text, icv=bytes(sa.suite.icv_bytes))
        victim.refuses(carried(sa, packet), "AuthFailed")
    assert victim.window_top(sa) == 0
    victim.survives(1)


@pytest.mark.bug_row(63)
@pytest.mark.parametrize("sa", BARE, ids=str)
def test_encryption_alone_answers_nothing(sa: Sa) -> None:
    """Row 63: without an ICV a stranger can change anything; nothing he does makes the victim speak."""
    victim, noise = Victim(sa, replay_window=0), random.Random(63)
    wire = good(sa, 1)[0]
    at = (20 if sa.family == 4 else 40) + 8
    delivered = 0
    for _ in range(4000):
        changed = bytearray(wire)
        for _ in range(noise.randrange(1, 4)):
            changed[noise.randrange(at, len(wire))] ^= 1 << noise.randrange(8)
        # `judge` checks that nothing is sent, whatever the packet has become.
        delivered += len(victim.judge(bytes(changed)).delivered)
    assert delivered < 4000


@pytest.mark.bug_row(63)
@pytest.mark.parametrize("sa", both_families(Sa(), Sa(mode="tunnel")), ids=str)
def test_a_failed_packet_gets_no_icmp(sa: Sa) -> None:
    """Row 63: a hop limit at its end, a packet too big: not a word, as long as it is not genuine."""
    victim = Victim(sa, configuration={"path_mtu": 1280})
    for words in ({"ttl": 0}, {"ttl": 1}) if sa.family == 4 else ({"hop_limit": 0}, {"hop_limit": 1}):
        packet = esp(sa, inner(sa.family, bytes(4000)), IN_IP[sa.family], 1, icv=bytes(16))
        victim.refuses(ip(sa.source, sa.destination, ESP, packet, **words), "AuthFailed")
    assert victim.engine.take_events() == []


@pytest.mark.bug_row(42)
@pytest.mark.parametrize("sa", both_families(*(Sa(suite=suite) for suite in ESP_SUITES)), ids=str)
def test_what_was_handed_in_is_not_written(sa: Sa) -> None:
    """Row 42: packets in shared memory, good, forged and cut, are the same bytes afterwards."""
    wire = good(sa, 1)[0]
    forged = wire[:-1] + bytes([wire[-1] ^ 1])
    for packet in (forged, wire[:-3], wire):
        with mmap.mmap(-1, 1 << 12) as shared:
            shared[: len(packet)] = packet
            with memoryview(shared) as whole, whole[: len(packet)] as view:
                outcome = Victim(sa).engine.inbound(view)
            assert (outcome.reason is None) == (packet is wire)
            assert shared[:] == packet.ljust(1 << 12, b"\0")


@pytest.mark.bug_row(42)
@pytest.mark.parametrize("suite", KINDS, ids=str)
def test_two_engines_on_one_buffer(suite: oracle.Suite) -> None:
    """Row 42: one buffer to several receivers: each sees what the wire brought."""
    sa = Sa(suite=suite)
    wire, plain = good(sa, 1)
    buffer = bytearray(wire)
    assert [Victim(sa).engine.inbound(buffer).packet for _ in range(3)] == [plain] * 3
    sender = sallet.Engine(seed=bytes(32), clock="manual")
    sender.sad_add(sa.params())
    template = sallet.Template("esp", "transport", "require")
    selector = sallet.Selector(sa.source, sa.destination)
    sender.spd_add(sallet.PolicyParams("out", selector, "protect", [template]))
    clear = bytearray(sallet.udp_packet(sa.source, sa.destination, 9, 9, b"not in place"))
    before = bytes(clear)
    assert sender.outbound(clear).packet
    assert clear == before
