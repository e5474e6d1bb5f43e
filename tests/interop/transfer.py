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
TIMEOUT_SECS = 20.0
_SIZE = struct.Struct("!Q")
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
        (size,) = _SIZE.unpack(read(stream, _SIZE.size))
        data = read(stream, size)
        stream.sendall(hashlib.sha256(data).digest() + data)


def serve() -> None:
    """Listen on every address of both families, until the end."""
    with socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        print("serving", flush=True)
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=answer, args=(stream,), daemon=True).start()


def transfer(source: str, destination: str, size: int) -> None:
    """Send bytes, and check the digest and what comes back."""
    with socket.create_connection((destination, PORT), TIMEOUT_SECS, (source, 0)) as stream:
        data = content(size)
        stream.sendall(_SIZE.pack(size) + data)
        if read(stream, _DIGEST_BYTES) != hashlib.sha256(data).digest():
            sys.exit("the server read something else than was sent")
        if read(stream, size) != data:
            sys.exit("something else came back than was sent")


def main() -> None:
    """Run as `serve`, or as `transfer SOURCE DESTINATION SIZE`."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve")
    client = verbs.add_parser("transfer")
    client.add_argument("source")
    client.add_argument("destination")
    client.add_argument("size", type=int)
    arguments = parser.parse_args()
    if arguments.verb == "serve":
        serve()
    else:
        transfer(arguments.source, arguments.destination, arguments.size)


if __name__ == "__main__":
    main()
