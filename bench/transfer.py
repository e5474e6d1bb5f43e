"""One TCP stream as fast as it goes: the load generator where iperf3 is not installed, one process each side.

No tunnel may enter: both sides see addresses only. Every wait is bounded.
Answers to: tcp(7); run as `transfer.py receive ADDRESS PORT` and `transfer.py send SOURCE TARGET PORT SECS`.
"""

from __future__ import annotations

import json
import socket
import sys
import time

CHUNK_BYTES = 1 << 20
CONNECT_SECS = 15.0
"""How long a sender tries until the path is there."""
QUIET_SECS = 10.0
"""A side that hears nothing for so long gives up."""


def receive(address: str, port: int) -> dict[str, float]:
    """Take one connection to its end: the bytes, and the seconds from the first of them to the last."""
    with socket.create_server((address, port)) as server:
        server.settimeout(CONNECT_SECS + QUIET_SECS)
        print("listening", flush=True)
        connection, _ = server.accept()
    buffer = bytearray(CHUNK_BYTES)
    with connection:
        connection.settimeout(QUIET_SECS)
        size = total = connection.recv_into(buffer)
        start = time.monotonic()
        while size:
            size = connection.recv_into(buffer)
            total += size
        return {"bytes": total, "secs": time.monotonic() - start}


def send(source: str, target: str, port: int, secs: float) -> dict[str, float]:
    """Send zeros for so many seconds."""
    chunk = bytes(CHUNK_BYTES)
    with connect(source, target, port) as connection:
        connection.settimeout(QUIET_SECS)
        end = time.monotonic() + secs
        total = 0
        while time.monotonic() < end:
            total += connection.send(chunk)
    return {"bytes": total}


def connect(source: str, target: str, port: int) -> socket.socket:
    """Connect as soon as the path is there: a tunnel takes a moment to come up."""
    deadline = time.monotonic() + CONNECT_SECS
    while True:
        try:
            return socket.create_connection((target, port), timeout=0.5, source_address=(source, 0))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main(arguments: list[str]) -> int:
    """Run one side and print what it counted as JSON."""
    side, *rest = arguments
    if side == "receive":
        result = receive(rest[0], int(rest[1]))
    else:
        result = send(rest[0], rest[1], int(rest[2]), float(rest[3]))
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
