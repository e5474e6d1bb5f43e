"""Listens on a link and sorts what it hears: the marked flow's ESP, and everything else, whole.

Runs as a program inside a namespace (`Capture` starts it); no import from the project may enter.
Answers to: packet(7), RFC 4303 section 2 (where the SPI is), RFC 826, 4861 and 3810 for what may be in clear.

The kernel sorts, by two complementary filters on two sockets: so few frames reach the second one that not one
of them is lost, however fast the flow is. How many were lost is reported, and a test insists on none.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import selectors
import signal
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netns import Namespace

ETHERNET_BYTES = 14
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_ALL = 0x0003  # ETH_P_ALL
_ESP, _HOP_BY_HOP, _FRAGMENT, _ICMPV6 = 50, 0, 44, 58
_ATTACH_FILTER, _RECEIVE_BUFFER_FORCE = 26, 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 32 << 20
_FRAME_BYTES_MAX = 1 << 17

NEIGHBOUR_DISCOVERY = {
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    137: "redirect",
}
MULTICAST_LISTENER = {143: "multicast listener report, version 2"}
"""What a link says of itself, by ICMPv6 type: named one by one, and nothing else may be in clear."""


@dataclass(frozen=True)
class Heard:
    """What a capture heard from its begin to its end."""

    flow: dict[str, int]
    """Packets of the marked flow by `source > destination spi`; some are missing here if `flow_lost`."""
    flow_packets: int
    flow_lost: int
    readable: int
    """Frames of the flow in which one of the secrets stands."""
    others: list[bytes]
    """Every frame that is not of the marked flow."""
    others_lost: int

    def in_clear(self, besides: list[bytes] | None = None) -> list[str]:
        """Describe the frames that are not of the flow, not a link's own talk, and not known otherwise."""
        known = besides or []
        strange = (frame for frame in self.others if chatter(frame) is None and not is_piece(frame))
        return [describe(frame) for frame in strange if frame not in known]

    def pieces(self) -> list[bytes]:
        """Give the pieces of ESP that show no SPI, or show it where the filter does not look."""
        return [frame for frame in self.others if is_piece(frame)]

    def spis(self) -> set[int]:
        """Give the SPIs that were seen."""
        return {int(name.split()[-1], 16) for name in self.flow}


class Capture:
    """A capture in a namespace; it listens as soon as it is made."""

    def __init__(self, namespace: Namespace, device: str, spis: list[int], secrets: list[bytes]) -> None:
        """Begin; `spis` mark the flow, `secrets` must not be readable."""
        words = [str(spi) for spi in spis] + [
            word for secret in secrets for word in ("--secret", secret.hex())
        ]
        self._process = namespace.start(sys.executable, Path(__file__), device, *words)
        stream = self._process.stdout
        line = stream.readline() if stream is not None else ""
        if line != "listening\n":
            self._process.kill()
            raise RuntimeError(f"the capture did not begin: {line}{self._process.communicate(timeout=5)[1]}")

    def end(self, timeout: float = 30.0) -> Heard:
        """Stop listening and give everything that was heard."""
        self._process.send_signal(signal.SIGTERM)
        output, errors = self._process.communicate(timeout=timeout)
        if self._process.returncode:
            raise RuntimeError(f"the capture failed: {errors}")
        report = json.loads(output)
        return Heard(**{**report, "others": [bytes.fromhex(frame) for frame in report["others"]]})


def chatter(frame: bytes) -> str | None:
    """Name the frame if it is what a link says of itself; None if it is anything else."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == _ARP:
        return "ARP"
    if kind != _IPV6 or len(frame) < ETHERNET_BYTES + 41:
        return None
    following, at = frame[ETHERNET_BYTES + 6], ETHERNET_BYTES + 40
    if following == _ICMPV6:
        return NEIGHBOUR_DISCOVERY.get(frame[at])
    # A listener report carries a router alert, in a header of its own (RFC 3810 §5).
    if following == _HOP_BY_HOP and len(frame) > at + 8 and frame[at] == _ICMPV6:
        return MULTICAST_LISTENER.get(frame[at + 8 * (frame[at + 1] + 1)])
    return None


def is_piece(frame: bytes) -> bool:
    """Say whether the frame is a piece of ESP: a later one, or any of IPv6."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == _IPV4:
        (offset,) = struct.unpack_from("!H", frame, ETHERNET_BYTES + 6)
        return frame[ETHERNET_BYTES + 9] == _ESP and offset & 0x1FFF != 0
    return kind == _IPV6 and frame[ETHERNET_BYTES + 6] == _FRAGMENT and frame[ETHERNET_BYTES + 40] == _ESP


def describe(frame: bytes) -> str:
    """Put a frame into words."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind in (_IPV4, _IPV6):
        source, destination, protocol, at = _ip(frame)
        return f"{source} > {destination} protocol {protocol}: {frame[at : at + 24].hex()}"
    return f"ethertype {kind:#06x}: {frame[:64].hex()}"


def _ip(frame: bytes) -> tuple[str, str, int, int]:
    """Read addresses, protocol and where the payload starts."""
    at = ETHERNET_BYTES
    if frame[12:14] == _IPV4.to_bytes(2, "big"):
        ends, header = (frame[at + 12 : at + 16], frame[at + 16 : at + 20]), 4 * (frame[at] & 15)
        return str(ip_address(ends[0])), str(ip_address(ends[1])), frame[at + 9], at + header
    ends = (frame[at + 8 : at + 24], frame[at + 24 : at + 40])
    return str(ip_address(ends[0])), str(ip_address(ends[1])), frame[at + 6], at + 40


# The filter: classic BPF, see linux/filter.h.

_LOAD_HALF, _LOAD_BYTE, _LOAD_WORD, _LOAD_WORD_INDEXED, _LOAD_HEADER = 0x28, 0x30, 0x20, 0x40, 0xB1
_JUMP, _JUMP_EQUAL, _RETURN = 0x05, 0x15, 0x06
_Line = tuple[int, int, str, str]
"""Code, operand, and where to go on true and on false; "" is the next line."""


def flow_filter(spis: list[int], *, accept: bool) -> bytes:
    """Write the filter for ESP with one of the SPIs; without `accept`, for everything else."""
    yes, no = (0xFFFFFFFF, 0) if accept else (0, 0xFFFFFFFF)
    at = ETHERNET_BYTES
    return _assemble(
        [
            (_LOAD_HALF, 12, "", ""),
            (_JUMP_EQUAL, _IPV6, "v6", ""),
            (_JUMP_EQUAL, _IPV4, "", "no"),
            (_LOAD_BYTE, at + 9, "", ""),
            (_JUMP_EQUAL, _ESP, "", "no"),
            (_LOAD_HEADER, at, "", ""),
            (_LOAD_WORD_INDEXED, at, "", ""),
            (_JUMP, 0, "spi", ""),
            "v6",
            (_LOAD_BYTE, at + 6, "", ""),
            (_JUMP_EQUAL, _ESP, "", "no"),
            (_LOAD_WORD, at + 40, "", ""),
            "spi",
            *((_JUMP_EQUAL, spi, "yes", "") for spi in spis),
            "no",
            (_RETURN, no, "", ""),
            "yes",
            (_RETURN, yes, "", ""),
        ]
    )


def _assemble(source: list[_Line | str]) -> bytes:
    """Turn names of places into distances."""
    lines: list[_Line] = []
    places: dict[str, int] = {}
    for line in source:
        if isinstance(line, str):
            places[line] = len(lines)
        else:
            lines.append(line)

    def distance(index: int, place: str) -> int:
        return places[place] - index - 1 if place else 0

    packed = []
    for index, (code, operand, on_true, on_false) in enumerate(lines):
        if code == _JUMP:
            packed.append(struct.pack("HBBI", code, 0, 0, distance(index, on_true)))
        else:
            jumps = distance(index, on_true), distance(index, on_false)
            packed.append(struct.pack("HBBI", code, *jumps, operand))
    return b"".join(packed)


def _listen(device: str, program: bytes) -> socket.socket:
    """Open a socket that hears what the filter accepts, from the first frame on."""
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    buffer = ctypes.create_string_buffer(program)
    count_and_pointer = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
    heard.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, count_and_pointer)
    try:
        heard.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _BUFFER_BYTES)
    except PermissionError:  # Only root of the first user namespace may.
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    heard.setblocking(False)
    heard.bind((device, _ALL))
    return heard


def _statistics(heard: socket.socket) -> tuple[int, int]:
    """Read how many frames the filter accepted, and how many of them were lost."""
    packets, lost = struct.unpack("II", heard.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return packets, lost


class _Listener:
    """What the program collects."""

    def __init__(self, device: str, spis: list[int], secrets: list[bytes]) -> None:
        self._secrets = secrets
        self._flow = _listen(device, flow_filter(spis, accept=True))
        self._others = _listen(device, flow_filter(spis, accept=False))
        self._tally: Counter[str] = Counter()
        self._readable = 0
        self._frames: list[str] = []
        self._stopping = False

    def run(self) -> dict[str, object]:
        """Listen until SIGTERM, then give the report."""
        signal.signal(signal.SIGTERM, self._stop)
        with selectors.DefaultSelector() as selector:
            selector.register(self._flow, selectors.EVENT_READ, self._on_flow)
            selector.register(self._others, selectors.EVENT_READ, self._on_others)
            print("listening", flush=True)
            while ready := selector.select(0.1) or not self._stopping:
                for key, _ in ready if isinstance(ready, list) else ():
                    key.data()
        packets, lost = _statistics(self._flow)
        return {
            "flow": dict(self._tally),
            "flow_packets": packets,
            "flow_lost": lost,
            "readable": self._readable,
            "others": self._frames,
            "others_lost": _statistics(self._others)[1],
        }

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _on_flow(self) -> None:
        frame = self._flow.recv(_FRAME_BYTES_MAX)
        source, destination, _, at = _ip(frame)
        self._tally[f"{source} > {destination} {int.from_bytes(frame[at : at + 4], 'big'):#x}"] += 1
        self._readable += any(secret in frame for secret in self._secrets)

    def _on_others(self) -> None:
        self._frames.append(self._others.recv(_FRAME_BYTES_MAX).hex())


def main() -> None:
    """Run as `capture.py DEVICE SPI… [--secret HEX]…`; a report in JSON follows SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("spis", nargs="*", type=int)
    parser.add_argument("--secret", action="append", default=[], type=bytes.fromhex)
    arguments = parser.parse_args()
    print(json.dumps(_Listener(arguments.device, arguments.spis, arguments.secret).run()))


if __name__ == "__main__":
    main()
