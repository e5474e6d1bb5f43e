"""A kernel at the other end of a pair of sockets: no device, no namespace; what it sends are datagrams here.

No combination may be judged here.
Answers to: the kernel's documentation, user_mode_linux_howto_v2 (vector transport "fd"); ip-link(8).
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import sallet
from interop.linux_peer import LINK, LinuxPeer, PeerError
from interop.matrix import agent
from interop.matrix.algorithms import KERNEL_NAMES
from interop.matrix.combinations import OUTER, Combination
from interop.matrix.host import is_multicast
from interop.matrix.payload import CONTROL_OURS, CONTROL_PEERS, CONTROL_PORT, WIRE_BYTES
from interop.matrix.sides import kernel_lines
from netns import Here

ANSWER_SECS = 30.0
"""A peer that is silent for so long is dead."""
CONFIGURE_SECS = 300.0
MODULES = (
    "esp4 esp6 ah4 ah6 ipcomp ipcomp6 xfrm4_tunnel xfrm6_tunnel deflate authenc authencesn echainiv seqiv "
    "drbg jitterentropy_rng ctr cbc gcm ccm ghash-generic chacha20poly1305 chacha_generic poly1305_generic "
    "hmac sha512_generic md5 rmd160 xcbc cmac des_generic blowfish_generic cast5_generic camellia_generic "
    "af_alg algif_aead algif_skcipher algif_hash"
)
"""A kernel may have some built in, others under another name or not at all: what counts is /proc/crypto."""
_PREPARE = """\
# One that this kernel has built in or lacks is no failure here: /proc/crypto decides, and the floor on rows.
/run/modprobe -q -a {modules} || true
# Looking for a module again at each new SA would take most of the time.
echo /bin/false >/proc/sys/kernel/modprobe
# Every address of a prefix is the peer's own; only for sending IPv6 does it have to be told again.
echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind
"""
_PEER_MAC, _OUR_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"
_PROBED = {"aead": "aead", "cipher": "skcipher", "auth": "hash", "compression": "none"}
"""The words of AF_ALG, which knows no compression: that one is listed as soon as its module is there."""
_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_LONGEST = 65536


class Kernel:
    """One booted kernel, ready for combinations."""

    def __init__(self, scratch: Path) -> None:
        """Boot, load what may be needed, start the program inside.

        Raises:
            PeerError: it did not boot, or has not what this needs.
        """
        with ExitStack() as stack:
            self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            stack.callback(self._wire.close)
            with theirs:
                here = Here()
                stack.callback(here.close)
                self._peer = stack.enter_context(LinuxPeer(here, theirs, scratch))
            self._wire.settimeout(ANSWER_SECS)
            self.release = self._peer.release
            self._peer.run(_PREPARE.format(modules=MODULES))
            self._peer.ip_batch(_addresses())
            self._start_agent()
            self._stack = stack.pop_all()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def algorithms(self) -> set[str]:
        """Read the names in /proc/crypto, once everything that IPsec may ask for was asked for."""
        kinds = {
            (_PROBED[row.kind], KERNEL_NAMES[row.name])
            for row in sallet.algorithms()
            if row.name in KERNEL_NAMES
        }
        words = " ".join(f"{kind} '{name}'" for kind, name in sorted(kinds))
        self._peer.run(f"{_program()} probe {words}")
        lines = self._peer.run("cat /proc/crypto").splitlines()
        return {line.partition(":")[2].strip() for line in lines if line.startswith("name ")}

    def configure(self, combinations: Sequence[Combination]) -> dict[int, str]:
        """Replace all SAs and policies; give what the kernel said of combinations that it refused."""
        self._peer.ip_batch(["xfrm state flush", "xfrm policy flush"])
        try:
            self._batch([line for combination in combinations for line in kernel_lines(combination)])
        except PeerError:
            return self._configure_each(combinations)
        return {}

    def _configure_each(self, combinations: Sequence[Combination]) -> dict[int, str]:
        """Begin again, slowly: at the first refusal `ip` ends, and does not say where."""
        self._peer.ip_batch(["xfrm state flush", "xfrm policy flush"])
        refused = {}
        for combination in combinations:
            try:
                self._batch(kernel_lines(combination))
            except PeerError as error:
                refused[combination.number] = f"the kernel: {str(error).partition(chr(10))[0]}"
        return refused

    def _batch(self, lines: Sequence[str]) -> None:
        text = "\n".join(lines)
        self._peer.run(f"ip -batch - <<'END'\n{text}\nEND\n", timeout=CONFIGURE_SECS)

    def send(self, packet: bytes) -> None:
        """Put a packet on the wire."""
        self._wire.send(_mac(_PEER_MAC) + _mac(_OUR_MAC) + _ETHERTYPES[packet[0] >> 4] + packet)

    def order(self, **order: object) -> None:
        """Tell the program inside to do something."""
        data = json.dumps(order).encode()
        self.send(sallet.udp_packet(CONTROL_OURS, CONTROL_PEERS, CONTROL_PORT, CONTROL_PORT, data))

    def receive(self) -> bytes | dict[str, Any]:
        """Wait for the next packet, or for the next answer of the program inside.

        Raises:
            PeerError: nothing came in time.
        """
        while True:
            try:
                frame = self._wire.recv(_LONGEST)
            except TimeoutError:
                said = self._peer.run("cat /run/agent")
                raise PeerError(f"no answer within {ANSWER_SECS} seconds; it said: {said}") from None
            packet = frame[14:]
            if frame[12:14] not in _ETHERTYPES.values() or is_multicast(packet):
                continue
            if packet[0] >> 4 == 4 and packet[12:16] == socket.inet_aton(CONTROL_PEERS):
                answer: dict[str, Any] = json.loads(packet[28:])
                return answer
            return packet

    def errors(self) -> dict[str, int]:
        """Read the counters of /proc/net/xfrm_stat that are not zero."""
        return self._peer.errors()

    def complaints(self) -> str:
        """Read what the program inside had to say."""
        # grep leaves with 1 when there is nothing to report.
        return self._peer.run("grep -v serving /run/agent || true").strip()

    def _start_agent(self) -> None:
        self._peer.run(
            f"{_program()} >/run/agent 2>&1 &\n"
            "for wait in $(seq 200); do grep -q serving /run/agent && exit 0; sleep 0.05; done\n"
            "cat /run/agent; exit 1"
        )


def _program() -> str:
    """Give the words that start the program inside."""
    path = Path(agent.__file__)
    return f"PYTHONPATH={path.parents[2]} PYTHONDONTWRITEBYTECODE=1 {sys.executable} {path}"


def _addresses() -> list[str]:
    """Make everything below two prefixes the peer's own, and send without asking for neighbours."""
    return [
        f"link set {LINK} address {_PEER_MAC}",
        f"link set {LINK} arp off mtu {WIRE_BYTES}",
        f"link set {LINK} up",
        f"address add {CONTROL_PEERS}/24 dev {LINK}",
        f"address add {OUTER[4][1]}/24 dev {LINK}",
        f"address add {OUTER[6][1]}/64 dev {LINK} nodad",
        "address add 10.2.0.1/16 dev lo",
        f"route add 10.1.0.0/16 dev {LINK}",
        "route add local fd00:2::/64 dev lo",
        f"route add fd00:1::/64 dev {LINK}",
    ]


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
