"""Sends datagrams through an engine's IPComp SA to a kernel, and gets them back through the kernel's own.

A program that runs in the link's namespace, where nobody has an address; no judgement of figures may enter.
Answers to: RFC 3173; packet(7); the server in the kernel is `traffic.py serve`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from conformance import ipcomp_oracle as oracle
from conformance.ipcomp_zlib import datagrams
from interop import traffic
from sallet import _core

OURS_PORT = 5000
ANSWER_SECS = 2.0
TRIES = 5
"""A link may lose a frame: the kernel's driver does when it finds no memory for one of 64 KiB in a row."""
_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_UDP_HEADER_BYTES = 8
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Flow:
    """One pair of addresses; `ends` and `gateways` are ours and the kernel's."""

    number: int
    mode: str
    ends: tuple[str, str]
    gateways: tuple[str, str]

    @property
    def spis(self) -> tuple[int, int]:
        """Of our SA and of the kernel's; the kernel sends them as they are, and so do we."""
        return 0x1000 + self.number, 0x2000 + self.number

    @property
    def version(self) -> int:
        """Of what is on the link."""
        return 6 if ":" in self.gateways[0] else 4

    def engine(self) -> _core.Engine:
        """Make our side of it."""
        engine = _core.Engine()
        engine.configure("ipcomp_back_off", 0)
        tunnel = self.mode == "tunnel"
        (near, far), (near_gateway, far_gateway) = self.ends, self.gateways
        for direction, spi, inner, source, destination in (
            ("out", self.spis[0], (near, far), near_gateway, far_gateway),
            ("in", self.spis[1], (far, near), far_gateway, near_gateway),
        ):
            engine.sad_add(
                _core.SaParams(
                    spi=spi,
                    protocol="ipcomp",
                    source=source,
                    destination=destination,
                    mode=self.mode,
                    encryption=("deflate", b""),
                    raw_cpi=True,
                )
            )
            ends = (source, destination) if tunnel else None
            template = _core.Template("ipcomp", self.mode, "require", 0, ends)
            selector = _core.Selector(*inner)
            engine.spd_add(_core.PolicyParams(direction, selector, "protect", [template]))
        return engine


class Link:
    """A link's device, and the frames to and from the kernel at its other end."""

    def __init__(self, device: str, version: int, kernel: str) -> None:
        kind = _ETHER_TYPES[version]
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
        self._socket.bind((device, kind))
        own = self._socket.getsockname()[4]
        self._header = bytes.fromhex(kernel.replace(":", "")) + own + kind.to_bytes(2, "big")
        self._socket.settimeout(ANSWER_SECS)

    def send(self, packet: bytes) -> None:
        """Send one packet."""
        self._socket.send(self._header + packet)

    def receive(self) -> Iterator[bytes]:
        """Give what comes in.

        Raises:
            TimeoutError: nothing came for a while.
        """
        end = monotonic() + ANSWER_SECS
        while monotonic() < end:
            yield self._socket.recv(0x1_0000 + len(self._header))[len(self._header) :]


def exchange(flow: Flow, link: Link, count: int, seed: int) -> Counter[str]:
    """Send so many datagrams, one after the other, and count what happened to them on both ways.

    Raises:
        SystemExit: one did not come back as it should; the words say which.
    """
    engine, seen = flow.engine(), Counter[str]()
    all_shares = itertools.chain.from_iterable(datagrams(seed, share) for share in itertools.count())
    for number, (kind, data) in zip(range(count), all_shares, strict=False):
        label = f"datagram {number}, {kind}, {len(data)} bytes, seed {seed}"
        clear = _core.udp_packet(*flow.ends, OURS_PORT, traffic.PORT, data)
        sent = engine.outbound(clear)
        if sent.packet is None:
            sys.exit(f"{label}: {sent.reason}")
        seen[f"to the kernel, {_form(sent.packet)}"] += 1
        answer = traffic.digest(data)
        for _ in range(TRIES):
            link.send(sent.packet)
            got = _answer(flow, link, engine, answer, label)
            if got is not None:
                break
            seen["sent again"] += 1
        else:
            sys.exit(f"{label}: no answer")
        seen[f"from the kernel, {_form(got)}"] += 1
        if oracle.parse(got).next_header == oracle.IPCOMP:
            # The kernel's streams fit the smallest window, too.
            oracle.inflate(oracle.parse(got).payload[oracle.HEADER_BYTES :], 11, 1000)
    return seen


def _answer(flow: Flow, link: Link, engine: _core.Engine, wanted: bytes, label: str) -> bytes | None:
    """Wait for the answer and give it as it came; a late one belongs to a datagram that was sent again."""
    with suppress(TimeoutError):
        for got in link.receive():
            if _ends(got) != flow.gateways[::-1]:
                continue
            back = engine.inbound(got)
            if back.packet is None:
                sys.exit(f"{label}: the answer is refused: {back.reason} {back.explanation}")
            payload = oracle.parse(back.packet).payload[_UDP_HEADER_BYTES:]
            if payload == wanted:
                return got
            if payload != traffic.digest(payload[DIGEST_BYTES:]):
                sys.exit(f"{label}: the answer is not what it should be")
    return None


def _ends(packet: bytes) -> tuple[str, str]:
    parts = oracle.parse(packet)
    return str(parts.source), str(parts.destination)


def _form(packet: bytes) -> str:
    return "compressed" if oracle.parse(packet).next_header == oracle.IPCOMP else "as it was"


def main(words: Sequence[str] | None = None) -> None:
    """Run one flow and print its figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("kernel", help="its address on the link")
    parser.add_argument("number", type=int)
    parser.add_argument("mode")
    parser.add_argument("addresses", nargs=4, help="two ends, two gateways")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args(words)
    near, far, near_gateway, far_gateway = arguments.addresses
    flow = Flow(arguments.number, arguments.mode, (near, far), (near_gateway, far_gateway))
    began = monotonic()
    seen = exchange(
        flow, Link(arguments.device, flow.version, arguments.kernel), arguments.count, arguments.seed
    )
    print(json.dumps({"secs": round(monotonic() - began, 1), "seen": seen}))


if __name__ == "__main__":
    main()
