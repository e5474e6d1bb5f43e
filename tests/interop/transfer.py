"""A TCP transfer with checksums, both ways on one connection: a program for any namespace or kernel.

No import from the project may enter: it runs wherever there is a Python.
Answers to: RFC 9293; the answer of the server carries the digest of what it read.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import socket
import struct
import sys
import threading

PORT = 7777
TIMEOUT_SECS = 40.0
_MAX_PACING_RATE = 47  # socket(7), SO_MAX_PACING_RATE
_SIZE = struct.Struct("!QQ")
"""How many bytes, and how many of them a second; 0 is as many as go."""
_DIGEST_BYTES = 32


def content(size: int) -> bytes:
    """Make bytes that no compression and no repetition could hide a fault in."""
    return random.Random(size).randbytes(size)


def read(stream: socket.socket, size: int) -> bytes:
    """Read exactly so many bytes."""
    parts, left = [], size
    while left:
        part = stream.recv(min(left, 1 << 20))
        if not part:
            raise EOFError(f"{left} of {size} bytes are missing")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def answer(stream: socket.socket) -> None:
    """Read a transfer, tell its digest, and send the same bytes back."""
    with stream:
        stream.settimeout(TIMEOUT_SECS)
        size, rate = _SIZE.unpack(read(stream, _SIZE.size))
        data = read(stream, size)
        pace(stream, rate)
        stream.sendall(hashlib.sha256(data).digest() + data)


def serve() -> None:
    """Listen on every address of both families, until the end."""
    with socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        print("serving", flush=True)
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=answer, args=(stream,), daemon=True).start()


def pace(stream: socket.socket, rate: int) -> None:
    """Let the kernel send no faster."""
    if rate:
        stream.setsockopt(socket.SOL_SOCKET, _MAX_PACING_RATE, rate)


def transfer(source: str, destination: str, size: int, rate: int = 0) -> None:
    """Send bytes, and check the digest and what comes back."""
    with socket.create_connection((destination, PORT), TIMEOUT_SECS, (source, 0)) as stream:
        data = content(size)
        pace(stream, rate)
        stream.sendall(_SIZE.pack(size, rate) + data)
        if read(stream, _DIGEST_BYTES) != hashlib.sha256(data).digest():
            sys.exit("the server read something else than was sent")
        if read(stream, size) != data:
            sys.exit("something else came back than was sent")


def main() -> None:
    """Run as `serve`, or as `transfer SOURCE DESTINATION SIZE [BYTES-A-SECOND]`."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve")
    client = verbs.add_parser("transfer")
    client.add_argument("source")
    client.add_argument("destination")
    client.add_argument("size", type=int)
    client.add_argument("rate", type=int, nargs="?", default=0)
    arguments = parser.parse_args()
    if arguments.verb == "serve":
        serve()
    else:
        transfer(arguments.source, arguments.destination, arguments.size, arguments.rate)


if __name__ == "__main__":
    main()
