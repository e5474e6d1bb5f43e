"""One packet from Python: `Engine.outbound` beside scapy, and beside what a person writes by hand.

No namespace and no thread may enter; each way takes an IPv4 packet as bytes and gives ESP as bytes.
Answers to: docs/benchmarks.md, third table; RFC 4106 and RFC 4303 for the hand-written one.
"""

from __future__ import annotations

import itertools
import statistics
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sallet
from bench.figures import Column, Row, Section, compare

SOURCE, DESTINATION = "192.0.2.1", "192.0.2.2"
SPI = 0x1001
KEY, SALT = bytes(range(16)), b"salt"
SIZES: Final = (64, 1400)
BATCH = 32
ROUND_SECS = 0.2
"""How long one way is called in one round, about."""

Seal = Callable[[bytes], bytes]

_ONE = "sallet: Engine.outbound(packet)"
_COLUMNS = tuple(
    column
    for size in SIZES
    for column in (
        Column(f"ns{size}", f"{size} bytes, ns"),
        Column(f"ratio{size}", "times Engine.outbound", 2, is_ratio=True),
    )
)
_METHOD = (
    "AES-GCM with a key of 128 bits, transport mode, IPv4 UDP packets of the named length (IP header "
    "included), bytes in and bytes out; nanoseconds of this thread's CPU time per packet, the ways in turn "
    "in each round. sallet looks up the policy and the SA each time; the two others have neither. Before "
    "the clock starts, a receiving engine opens what each way made and compares."
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to seal: a call, and how many packets it seals."""

    name: str
    call: Callable[[bytes], object]
    sample: Seal
    packets: int = 1


def measure(rounds: int, say: Callable[[str], None]) -> Section:
    """Time every way at every size in every round and return the table."""
    rows: dict[str, Row] = {}
    for size in SIZES:
        packet = sallet.udp_packet(SOURCE, DESTINATION, 1000, 53, bytes(size - 28))
        ways = _ways(rows)
        for way in ways:
            _check(way, packet)
        calls = {way.name: _calls_per_round(way, packet) for way in ways}
        for number in range(1, rounds + 1):
            for way in ways:
                nanos = _nanos(way, packet, calls[way.name])
                rows[way.name].add({f"ns{size}": nanos})
            say(f"python, {size} bytes, round {number} of {rounds}")
    section = Section("python", "One packet from Python", _METHOD, _COLUMNS, list(rows.values()))
    compare(section.rows, rows[_ONE], {f"ratio{size}": f"ns{size}" for size in SIZES})
    section.remarks.append(f"Each figure holds {_overhead():.0f} ns for the loop and a function's call.")
    return section


def engine(direction: str) -> sallet.Engine:
    """Make one side of the flow."""
    made = sallet.Engine()
    made.sad_add(
        sallet.SaParams(
            spi=SPI,
            protocol="esp",
            source=SOURCE,
            destination=DESTINATION,
            mode="transport",
            encryption=("aes-gcm-16", KEY + SALT),
            replay_window=64,
        )
    )
    template = sallet.Template("esp", "transport", "require")
    selector = sallet.Selector(f"{SOURCE}/32", f"{DESTINATION}/32")
    made.spd_add(sallet.PolicyParams(direction, selector, "protect", [template]))
    return made


def _ways(rows: dict[str, Row]) -> list[Way]:
    """Make every way that can be had, and a row with the reason for the others."""
    ways = [_outbound(), _outbound_batch()]
    for name, make in (
        ("struct and cryptography's AESGCM, written by hand", by_hand),
        ("scapy: SecurityAssociation.encrypt(IP(packet))", with_scapy),
    ):
        try:
            seal = make()
        except ImportError as error:
            rows.setdefault(name, Row(name, reason=str(error)))
        else:
            ways.append(Way(name, seal, seal))
    for way in ways:
        rows.setdefault(way.name, Row(way.name))
    return ways


def _outbound() -> Way:
    sender = engine("out")

    def seal(packet: bytes) -> bytes:
        return sender.outbound(packet).packet or b""

    return Way(_ONE, seal, seal)


def _outbound_batch() -> Way:
    sender = engine("out")

    def call(packet: bytes) -> object:
        return [outcome.packet for outcome in sender.outbound_batch([packet] * BATCH)]

    def sample(packet: bytes) -> bytes:
        return sender.outbound_batch([packet] * BATCH)[-1].packet or b""

    return Way(f"sallet: Engine.outbound_batch, {BATCH} packets a call", call, sample, BATCH)


def by_hand() -> Seal:
    """Write RFC 4303 with `struct`, as a script does that needs nothing else."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, numbers = AESGCM(KEY), itertools.count(1)

    def seal(packet: bytes) -> bytes:
        number = next(numbers)
        pad = -(len(packet) - 20 + 2) % 4
        plain = packet[20:] + bytes(range(1, pad + 1)) + bytes((pad, packet[9]))
        header, iv = struct.pack("!II", SPI, number), struct.pack("!Q", number)
        sealed = header + iv + cipher.encrypt(SALT + iv, plain, header)
        first = bytearray(packet[:20])
        struct.pack_into("!H", first, 2, 20 + len(sealed))
        first[9] = 50
        first[10:12] = b"\0\0"
        total = sum(struct.unpack("!10H", first))
        total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into("!H", first, 10, ~(total + (total >> 16)) & 0xFFFF)
        return bytes(first) + sealed

    return seal


def with_scapy() -> Seal:
    """Use scapy's implementation, from bytes to bytes."""
    from scapy.layers.inet import IP
    from scapy.layers.ipsec import ESP, SecurityAssociation

    association = SecurityAssociation(ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=KEY + SALT)

    def seal(packet: bytes) -> bytes:
        return bytes(association.encrypt(IP(packet)))

    return seal


def _check(way: Way, packet: bytes) -> None:
    """Let a receiver open what the way made.

    Raises:
        RuntimeError: the way does not do the work that it would be timed for.
    """
    outcome = engine("in").inbound(way.sample(packet))
    if outcome.packet != packet:
        raise RuntimeError(f"{way.name}: the receiver says {outcome.reason or 'another packet came out'}")


def _calls_per_round(way: Way, packet: bytes) -> int:
    """Choose so many calls that a round takes about the same time for every way."""
    once = min(_nanos(way, packet, 3) for _ in range(3)) * way.packets
    return max(3, int(ROUND_SECS * 1e9 / max(once, 1.0)))


def _overhead() -> float:
    """Measure what calling an empty function costs here, in nanoseconds."""
    empty = Way("nothing", lambda _packet: None, lambda packet: packet)
    return statistics.median(_nanos(empty, b"", 100_000) for _ in range(5))


def _nanos(way: Way, packet: bytes, calls: int) -> float:
    call = way.call
    start = time.thread_time_ns()
    for _ in range(calls):
        call(packet)
    nanos = (time.thread_time_ns() - start) / (calls * way.packets)
    return nanos
