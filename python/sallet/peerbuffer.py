"""How large the receive buffer is that the program at the other end of a Unix socket asked for.

No PF_KEY enters. Answers to: sock_diag(7) (UNIX_DIAG_PEER, UNIX_DIAG_MEMINFO), socket(7) (SO_RCVBUF).
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_SHOW_PEER, _SHOW_MEMINFO = 0x4, 0x20
_PEER, _MEMINFO = 2, 5
_ALL: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBHIIIII")
_DIAG_BYTES: Final = 16
_RECEIVE_BUFFER: Final = 1
"""Its place among the numbers of a socket's memory (SK_MEMINFO_RCVBUF)."""
_ANSWER_SECS: Final = 1.0


def asked_for(connected: socket.socket) -> int | None:
    """Tell what the peer gave to SO_RCVBUF; None if it never did, or if that cannot be seen.

    It cannot be seen where the peer's socket belongs to another network namespace.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asker:
            asker.settimeout(_ANSWER_SECS)
            peer = _look(asker, os.fstat(connected.fileno()).st_ino, _SHOW_PEER).get(_PEER)
            if peer is None:
                return None
            memory = _look(asker, struct.unpack("=I", peer)[0], _SHOW_MEMINFO).get(_MEMINFO)
        untouched = int(Path("/proc/sys/net/core/rmem_default").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    if memory is None:
        return None
    size = struct.unpack_from("=I", memory, 4 * _RECEIVE_BUFFER)[0]
    # The kernel keeps twice what a program asks for.
    return None if size == untouched else int(size) // 2


def _look(asker: socket.socket, inode: int, show: int) -> dict[int, bytes]:
    """Ask for one attribute of the Unix socket with this inode."""
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ALL, inode, show, _ALL, _ALL)
    asker.send(
        _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + request
    )
    answer = asker.recv(65536)
    length, kind, *_ = _HEADER.unpack_from(answer)
    found: dict[int, bytes] = {}
    if kind == _NLMSG_ERROR:
        return found
    at = _HEADER.size + _DIAG_BYTES
    while at + 4 <= length:
        size, attribute = struct.unpack_from("=HH", answer, at)
        if size < 4:
            break
        found[attribute] = answer[at + 4 : at + size]
        at += (size + 3) & ~3
    return found
