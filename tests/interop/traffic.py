"""Makes traffic inside namespaces: UDP echo, a stream of datagrams, and frames of a stranger on the link.

A program of its own (`serve`, `exchange`, `stream`, `inject`); no import from the project may enter.
Answers to: udp(7), packet(7). TCP is `transfer.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import socket
import sys
import time
from contextlib import suppress

PORT = 7778
SECRET = b"sallet: nobody may read this on the wire. "
"""Stands in every datagram; also the pattern of a ping (its first 16 bytes)."""
STRANGER = b"stranger: "
"""What the datagrams of an intruder begin with."""
ANSWER_SECS = 5.0
STREAM_PAUSE_SECS = 0.004
_ALL = 0x0003


def content(number: int, size: int) -> bytes:
    """Make a payload that tells its number."""
    head = f"{number:08x} ".encode()
    return (head + SECRET * (size // len(SECRET) + 1))[:size]


def digest(data: bytes) -> bytes:
    """Give the answer to a datagram: its digest, then the datagram itself."""
    return hashlib.sha256(data).digest() + data


def serve() -> None:
    """Answer every datagram of either family; print a line for each of a stranger."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as service:
        service.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        service.bind(("::", PORT))
        print("serving", flush=True)
        while True:
            data, sender = service.recvfrom(65536)
            if data.startswith(STRANGER):
                print("a stranger came through", flush=True)
            with suppress(OSError):  # No route back while a daemon is away.
                service.sendto(digest(data), sender)


def exchange(source: str, destination: str, count: int, size: int) -> None:
    """Send so many datagrams and check every answer."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        link.connect((destination, PORT))
        link.settimeout(ANSWER_SECS)
        for number in range(count):
            data = content(number, size)
            link.send(data)
            if link.recv(65536) != digest(data):
                sys.exit(f"datagram {number} came back changed")


def stream(source: str, destination: str) -> None:
    """Send datagrams until SIGTERM, whatever becomes of them; then print how many left."""
    going = True

    def end(_number: int, _frame: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, end)
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    sent = 0
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        while going:
            with suppress(OSError):  # The blackhole says so to the sender.
                link.sendto(content(sent, 200), (destination, PORT))
                sent += 1
            time.sleep(STREAM_PAUSE_SECS)
    print(sent)


def inject(device: str, frames: list[bytes]) -> None:
    """Put frames on a link past everything that guards it."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as link:
        link.bind((device, _ALL))
        for frame in frames:
            link.send(frame)


def main() -> None:
    """Run one of the verbs."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve")
    for name, words in {"exchange": ("count", "size"), "stream": ()}.items():
        verb = verbs.add_parser(name)
        for word in ("source", "destination"):
            verb.add_argument(word)
        for word in words:
            verb.add_argument(word, type=int)
    verb = verbs.add_parser("inject")
    verb.add_argument("device")
    verb.add_argument("frames", nargs="+", type=bytes.fromhex)
    arguments = parser.parse_args()
    if arguments.verb == "serve":
        serve()
    elif arguments.verb == "exchange":
        exchange(arguments.source, arguments.destination, arguments.count, arguments.size)
    elif arguments.verb == "stream":
        stream(arguments.source, arguments.destination)
    else:
        inject(arguments.device, arguments.frames)


if __name__ == "__main__":
    main()
