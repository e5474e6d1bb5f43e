"""What passed on a link, by kind: tcpdump writes the beginnings of the frames, which are sorted afterwards.

No assertion may enter. Unlike `capture.py` it need not know the SPIs before.
Answers to: pcap-savefile(5), RFC 4303 section 2, RFC 3948 section 2 (what UDP port 4500 carries).
"""

from __future__ import annotations

import struct
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from interop.capture import ETHERNET_BYTES, chatter, describe
from netns import Namespace, stop, wait_until

_SNAP_BYTES = 96
_BLOCK_SECS = 1.2
"""The kernel hands frames over in blocks, after a second at most; at the end an unfinished one is lost."""
_ESP, _UDP = 50, 17
_IKE_PORT, _NATT_PORT = 500, 4500


@dataclass
class Passed:
    """The frames of a link."""

    esp: Counter[int] = field(default_factory=Counter)
    """ESP by SPI, right behind IP."""
    esp_in_udp: Counter[int] = field(default_factory=Counter)
    ike: int = 0
    in_clear: list[str] = field(default_factory=list)
    """Everything else that is not a link's own talk."""


class WireLog:
    """tcpdump on one device of a namespace."""

    def __init__(self, namespace: Namespace, device: str, path: Path) -> None:
        self._path = path
        self._process = namespace.start(
            *("tcpdump", "-i", device, "-s", str(_SNAP_BYTES), "-B", "32768", "-U", "-Z", "root", "-w", path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if not wait_until(lambda: path.exists() and path.stat().st_size >= 24):
            raise RuntimeError("tcpdump did not begin")

    def end(self) -> Passed:
        """Stop listening and sort what was heard."""
        time.sleep(_BLOCK_SECS)
        stop(self._process)
        passed = Passed()
        data = self._path.read_bytes()
        at = 24
        while at + 16 <= len(data):
            (size,) = struct.unpack_from("=I", data, at + 8)
            _sort(data[at + 16 : at + 16 + size], passed)
            at += 16 + size
        return passed


def _sort(frame: bytes, passed: Passed) -> None:
    if chatter(frame) is not None:
        return
    following, at = _next_layer(frame)
    if following == _ESP:
        passed.esp[struct.unpack_from("!I", frame, at)[0]] += 1
    elif following == _UDP:
        _sort_udp(frame, at, passed)
    else:
        passed.in_clear.append(describe(frame))


def _next_layer(frame: bytes) -> tuple[int | None, int]:
    """Read what stands behind IP, and where; None if that is not to be seen here."""
    kind, first = frame[12:14], frame[ETHERNET_BYTES]
    if kind == b"\x86\xdd":
        return frame[ETHERNET_BYTES + 6], ETHERNET_BYTES + 40
    if kind != b"\x08\x00" or struct.unpack_from("!H", frame, ETHERNET_BYTES + 6)[0] & 0x1FFF:
        return None, 0
    return frame[ETHERNET_BYTES + 9], ETHERNET_BYTES + 4 * (first & 15)


def _sort_udp(frame: bytes, at: int, passed: Passed) -> None:
    source, destination, size = struct.unpack_from("!HHH", frame, at)
    if _IKE_PORT in (source, destination):
        passed.ike += 1
    elif _NATT_PORT not in (source, destination):
        passed.in_clear.append(describe(frame))
    elif size < 12 or (spi := struct.unpack_from("!I", frame, at + 8)[0]) == 0:
        passed.ike += 1  # or a keepalive of one octet
    else:
        passed.esp_in_udp[spi] += 1
