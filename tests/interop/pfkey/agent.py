"""The program inside the other kernel: plays scenarios on real PF_KEY sockets and writes what came.

No import beyond the standard library may enter, and no verdict. Answers to RFC 2367 §1, udp(7) (UDP_ENCAP).
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_PF_KEY, _PF_KEY_V2 = 15, 2
_FLUSH, _SPDFLUSH = 9, 19
_LASTING = {"07", "0b"}
"""REGISTER and X_PROMISC, as they stand in hexadecimal."""
_LONGEST = 1 << 20
_UDP_ENCAP, _ESPINUDP = 100, 2
_ENCAP_PORT = 4500
_POLICY_OPTIONS = {4: (socket.AF_INET, 0, 16), 6: (socket.AF_INET6, 41, 34)}
"""By version: the family, and where the option IP_IPSEC_POLICY or IPV6_IPSEC_POLICY is."""
_with_policies: dict[str, socket.socket] = {}
"""UDP sockets of the scenario that is played."""


def main(scratch: str) -> None:
    """Play the scenarios of `scenarios.json`, and write `outcomes.json`."""
    folder = Path(scratch)
    scenarios = json.loads((folder / "scenarios.json").read_text())
    encap = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    encap.setsockopt(socket.SOL_UDP, _UDP_ENCAP, _ESPINUDP)
    encap.bind(("0.0.0.0", _ENCAP_PORT))
    pool = _Pool()
    outcomes = [_play(scenario, pool) for scenario in scenarios]
    (folder / "outcomes.json").write_text(json.dumps(outcomes))
    print("played", len(outcomes))


class _Pool:
    """Sockets that nobody has changed: closing one costs this kernel a tenth of a second."""

    def __init__(self) -> None:
        self._free: list[socket.socket] = []
        self._cleaner = _pfkey()

    def take(self, names: list[str]) -> dict[str, socket.socket]:
        """Give sockets, on a kernel that has no association and no policy."""
        for kind in (_FLUSH, _SPDFLUSH):
            self._cleaner.send(struct.pack("=BBBBHHII", 2, kind, 0, 0, 2, 0, 1, 1))
        _received(self._cleaner)
        for one in self._free:
            _received(one)
        return {name: self._free.pop() if self._free else _pfkey() for name in names}

    def give_back(self, sockets: dict[str, socket.socket], scenario: dict[str, Any]) -> None:
        """Keep the sockets, unless a message changed what they hear."""
        kinds = {step["data"][2:4] for step in scenario["steps"] if step["do"] == "send"}
        for one in sockets.values():
            if kinds & _LASTING:
                one.close()
            else:
                self._free.append(one)


def _play(scenario: dict[str, Any], pool: _Pool) -> list[dict[str, Any]]:
    sockets = pool.take(scenario["sockets"])
    outcomes: list[dict[str, Any]] = []
    for step in scenario["steps"]:
        failed = _STEPS[step["do"]](sockets, step, outcomes)
        received = {name: found for name, one in sockets.items() if (found := _received(one))}
        outcomes.append({"errno": failed, "received": received})
    for one in _with_policies.values():
        one.close()
    _with_policies.clear()
    pool.give_back(sockets, scenario)
    return outcomes


def _send(sockets: dict[str, socket.socket], step: dict[str, Any], outcomes: list[dict[str, Any]]) -> int:
    data = bytearray.fromhex(step["data"])
    for to, number, name, nth, offset, size in step["copied"]:
        answers = outcomes[number]["received"].get(name, [])
        if nth < len(answers):
            data[to : to + size] = bytes.fromhex(answers[nth])[offset : offset + size]
    try:
        sockets[step["socket"]].send(data)
    except OSError as error:
        return error.errno or 0
    return 0


def _datagram(sockets: dict[str, socket.socket], step: dict[str, Any], outcomes: list[dict[str, Any]]) -> int:
    family = socket.AF_INET6 if ":" in step["source"][0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender, suppress(OSError):
        # Nobody waits for an association here: the answer is what PF_KEY hears.
        sender.setblocking(False)
        sender.bind(tuple(step["source"]))
        sender.sendto(bytes.fromhex(step["data"]), tuple(step["destination"]))
    return 0


def _wait(sockets: dict[str, socket.socket], step: dict[str, Any], outcomes: list[dict[str, Any]]) -> int:
    time.sleep(step["secs"])
    return 0


def _close(sockets: dict[str, socket.socket], step: dict[str, Any], outcomes: list[dict[str, Any]]) -> int:
    here = _with_policies if step["socket"] in _with_policies else sockets
    here.pop(step["socket"]).close()
    return 0


def _bind(sockets: dict[str, socket.socket], step: dict[str, Any], outcomes: list[dict[str, Any]]) -> int:
    family, level, option = _POLICY_OPTIONS[step["version"]]
    one = _with_policies[step["socket"]] = socket.socket(family, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for said in step["policies"]:
        one.setsockopt(level, option, bytes.fromhex(said))
    if step["port"]:
        one.bind(("", step["port"]))
    return 0


_STEPS = {"send": _send, "datagram": _datagram, "wait": _wait, "close": _close, "bind": _bind}


def _pfkey() -> socket.socket:
    return socket.socket(_PF_KEY, socket.SOCK_RAW, _PF_KEY_V2)


def _received(one: socket.socket) -> list[str]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(one.recv(_LONGEST, socket.MSG_DONTWAIT).hex())
    return found


if __name__ == "__main__":
    main(sys.argv[1])
