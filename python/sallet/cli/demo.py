"""`sallet demo`: two hosts in this process, protected, and everything a listener can learn.

No privilege, socket or device may enter; what is shown is what the engines did, nothing is written by hand.
Answers to: README "Two commands"; ESP is RFC 4303, the inbound check RFC 4301 section 5.2.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sallet._core import Engine, Outcome
    from sallet.embedded import Frame, Host, Link

PIECE_BYTES = 8
"""A listener looks for pieces of plaintext of this length."""

BURST_PACKETS = 43
"""A burst as TCP sends it: about 60 kB in segments of 1400 bytes."""


@dataclass(frozen=True)
class Flow:
    """One kind of traffic of the demonstration, from alpha to beta and back."""

    title: str
    kind: str
    source: str
    destination: str
    packets: int
    payload_bytes: int


FLOWS = (
    Flow("ICMP echo, IPv4, transport", "echo", "192.0.2.1", "192.0.2.2", 4, 56),
    Flow("ICMP echo, IPv6, transport", "echo", "2001:db8::1", "2001:db8::2", 4, 1400),
    Flow("UDP, IPv4, tunnel", "udp", "10.1.0.5", "10.2.0.9", 8, 512),
    Flow("UDP, IPv6 in an IPv4 tunnel", "udp", "2001:db8:1::5", "2001:db8:2::9", 8, 512),
    Flow("TCP-sized burst, IPv4, transport", "tcp", "192.0.2.1", "192.0.2.2", BURST_PACKETS, 1400),
    Flow("TCP-sized burst, IPv4, tunnel", "tcp", "10.1.0.5", "10.2.0.9", BURST_PACKETS, 1360),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Two hosts in this process exchange protected packets; nothing else is needed."


def run(args: argparse.Namespace) -> int:
    """Run the demonstration; 1 if a listener found plaintext or a packet did not arrive as it was sent."""
    link = _two_hosts()
    secrets: list[bytes] = []
    complete = _traffic(link, secrets)
    _journey(link, secrets)
    leaked = _listener(link.frames, secrets)
    refused = _refusals(link)
    _databases(link.left)
    _next()
    return 0 if complete and refused and not leaked else 1


def _two_hosts() -> Link:
    from sallet import Engine, Host, Link
    from sallet import configure as configure_engine

    print("Sallet: two hosts in this process, one link between them. No privilege, no kernel IPsec.\n")
    hosts = []
    for name in ("alpha", "beta"):
        engine = Engine()
        text = files("sallet").joinpath("examples", f"{name}.setkey").read_text()
        statements = configure_engine(engine, text, filename=f"examples/{name}.setkey")
        hosts.append(Host(name, engine))
        print(f"  {name:5}  {statements} statements from examples/{name}.setkey: {_counts(engine)}")
    start = time.perf_counter()
    return Link(hosts[0], hosts[1], clock=lambda: (time.perf_counter() - start) * 1000)


def _counts(engine: Engine) -> str:
    return f"{len(engine.sad_dump())} SAs, {len(engine.spd_dump())} policies"


# --- traffic ---------------------------------------------------------------------------------------


def _traffic(link: Link, secrets: list[bytes]) -> bool:
    print("\n1. Traffic, there and back\n")
    print(
        f"   {'flow':34} {'sent':>5} {'delivered':>10} {'unchanged':>10}"
        f" {'bytes sent':>11} {'on the wire':>12}"
    )
    return all([_run_flow(link, flow, secrets) for flow in FLOWS])


def _run_flow(link: Link, flow: Flow, secrets: list[bytes]) -> bool:
    before = len(link.frames)
    sent_bytes, delivered, equal, total = 0, 0, 0, 0
    for sender in (link.left, link.right):
        for number in range(flow.packets):
            packet = _packet(flow, number, reply=sender is link.right)
            secrets.append(packet)
            _, arrivals = link.send(sender, packet)
            out = [bytes(each) for arrival in arrivals for each in arrival.delivered]
            sent_bytes, delivered, total = sent_bytes + len(packet), delivered + len(out), total + 1
            equal += out == [packet]
    wire_bytes = sum(len(frame.packet) for frame in link.frames[before:])
    print(f"   {flow.title:34} {total:5} {delivered:10} {equal:10} {sent_bytes:11,} {wire_bytes:12,}")
    return delivered == equal == total


_numbers = count()


def _packet(flow: Flow, number: int, *, reply: bool) -> bytes:
    from sallet import _core

    source, destination = (flow.destination, flow.source) if reply else (flow.source, flow.destination)
    payload = _readable(flow.payload_bytes)
    if flow.kind == "echo":
        return _core.echo_packet(
            source, destination, reply=reply, identifier=7, sequence=number, payload=payload
        )
    if flow.kind == "udp":
        return _core.udp_packet(source, destination, 5353, 7000, payload)
    sequence, acknowledgement = number * flow.payload_bytes, 0x5A11E7 + number
    return _core.tcp_packet(
        source, destination, 40000, 443, payload, sequence=sequence, acknowledgement=acknowledgement
    )


def _readable(length: int) -> bytes:
    """Text that a listener would recognise, different in every packet."""
    line = f"secret number {next(_numbers):06} of the demonstration; ".encode()
    return (line * (length // len(line) + 1))[:length]


# --- one packet's journey --------------------------------------------------------------------------


def _journey(link: Link, secrets: list[bytes]) -> None:
    print("\n2. One packet's journey: UDP from 10.1.0.5 to 10.2.0.9\n")
    packet = _packet(FLOWS[2], 0, reply=False)
    secrets.append(packet)
    outcome, arrivals = link.send(link.left, packet, journey=True)
    _stages("alpha, outbound", outcome)
    _hexdump("   before:     ", packet)
    for frame in outcome.transmitted:
        _hexdump("   on the wire:", bytes(frame))
    for arrival in arrivals:
        _stages("beta, inbound", arrival)


def _stages(place: str, outcome: Outcome) -> None:
    for stage in outcome.journey:
        print(f"   {place:16} {stage}")


def _hexdump(title: str, packet: bytes, columns: int = 24) -> None:
    hexed = packet[:columns].hex(" ")
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in packet[28:72])
    print(f"   {title} {len(packet)} bytes  {hexed} …  |{text}|")


# --- the listener ----------------------------------------------------------------------------------


def _listener(frames: list[Frame], secrets: list[bytes]) -> int:
    print("\n3. What a listener on the link can read: addresses, SPI, sequence, size and time\n")
    print(f"   {'time':>9}  {'from':5}  {'SPI':10} {'sequence':>8} {'bytes':>6}")
    for frame in (*frames[:2], *frames[8:10], *frames[-2:]):
        at = _esp_offset(frame.packet)
        spi, sequence = frame.packet[at : at + 4].hex(), int.from_bytes(frame.packet[at + 4 : at + 8])
        print(f"   {frame.millis:6.2f} ms  {frame.sender:5}  0x{spi} {sequence:8} {len(frame.packet):6}")
    print(f"   … {len(frames)} packets in all")
    pieces = {secret[at : at + PIECE_BYTES] for secret in secrets for at in _payload_range(secret)}
    found = sum(_leaks(frame.packet, pieces) for frame in frames)
    searched = sum(len(frame.packet) for frame in frames)
    verdict = "none found" if not found else f"FOUND in {found} packets"
    print(
        f"   Searched {searched:,} bytes for {len(pieces):,} pieces of plaintext"
        f" ({PIECE_BYTES} bytes each): {verdict}."
    )
    return found


def _payload_range(packet: bytes) -> range:
    """Every offset behind the IP header: addresses are no secret in transport mode."""
    start = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
    return range(start, len(packet) - PIECE_BYTES + 1)


def _leaks(packet: bytes, pieces: set[bytes]) -> bool:
    return any(packet[at : at + PIECE_BYTES] in pieces for at in range(len(packet) - PIECE_BYTES + 1))


def _esp_offset(packet: bytes) -> int:
    return (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40


# --- refusals --------------------------------------------------------------------------------------


def _refusals(link: Link) -> bool:
    from sallet import _core

    print("\n4. Refused, and why\n")
    clear = _core.udp_packet("192.0.2.2", "192.0.2.1", 53, 53, b"an intruder writes in clear")
    captured = next(frame.packet for frame in link.frames if frame.sender == "beta")
    changed = bytearray(link.right.engine.outbound(_packet(FLOWS[2], 0, reply=True)).transmitted[0])
    changed[-20] ^= 1
    unknown = bytearray(captured)
    unknown[_esp_offset(captured)] ^= 0x40
    attempts = (
        ("a packet in clear", clear, "InPolicyViolation"),
        ("a captured packet, again", captured, "Replay"),
        ("a packet with one bit changed", bytes(changed), "AuthFailed"),
        ("a packet with another SPI", bytes(unknown), "InNoSa"),
    )
    return all([_refuse(link, *attempt) for attempt in attempts])


def _refuse(link: Link, title: str, packet: bytes, expected: str) -> bool:
    (outcome,) = link.carry(link.right, [packet])
    print(f"   {title:30} {outcome.reason or 'ACCEPTED':18} {outcome.explanation or ''}")
    return outcome.reason == expected


# --- databases -------------------------------------------------------------------------------------


def _databases(host: Host) -> None:
    print(f"\n5. The databases of {host.name}\n")
    print(
        f"   {'SPI':10} {'mode':9} {'from':12} {'to':12} {'state':7}"
        f" {'packets':>8} {'bytes':>8} {'sequence':>8}"
    )
    for sa in host.engine.sad_dump():
        print(
            f"   0x{sa.spi:08x} {sa.mode:9} {sa.source!s:12} {sa.destination!s:12} {sa.state:7}"
            f" {sa.packets:8} {sa.bytes:8} {sa.sequence:8}"
        )
    print(f"\n   {'policy':>6} {'dir':3} {'selector':34} {'asks for':24} {'packets':>8}")
    policies = host.engine.spd_dump()
    for policy in (policy for policy in policies if policy.direction != "fwd"):
        asks = ", ".join(f"{each.protocol}/{each.mode}/{each.level}" for each in policy.templates)
        selector = f"{_prefix(policy.selector.source_prefix)} {_prefix(policy.selector.destination_prefix)}"
        print(
            f"   {policy.id:6} {policy.direction:3} {selector:34}"
            f" {asks or policy.action:24} {policy.packets:8}"
        )
    print("   and as many for forwarded packets as for inbound ones (setkey adds them beside each `in`)")
    drops = {name: value for name, value in host.engine.stats().drops.items() if value}
    print("\n   drops: " + ", ".join(f"{name} {value}" for name, value in drops.items()))


def _prefix(prefix: tuple[object, int] | None) -> str:
    return "range" if prefix is None else f"{prefix[0]}/{prefix[1]}"


def _next() -> None:
    print(
        "\nNext:\n"
        "   sallet up --mode host --setkey FILE     protect this machine (root, or a namespace of your own)\n"
        "   sallet setkey -f FILE; sallet setkey -D  change and read the databases of a running daemon\n"
        "   sallet explain SRC DST udp 1000:53       ask what would happen to a packet, and why\n"
        "   sallet --help                            everything else"
    )
