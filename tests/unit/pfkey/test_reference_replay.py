"""The `linux` dialect answers what a Linux kernel answered, message by message and socket by socket.

No expectation is written here: the recordings are the expectations; what is not served yet is listed by name.
Answers to tests/reference/pfkey-linux/README.md.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Final

import pytest

REFERENCE: Final = Path(__file__).parents[2] / "reference" / "pfkey-linux"
SCENARIOS: Final = {path.stem: json.loads(path.read_text()) for path in sorted(REFERENCE.glob("*.json"))}

_UNCOMPUTED = "REGISTER lists Twofish and Serpent on Linux, which are not provided here"

PENDING: Final[dict[tuple[str, int], str]] = {
    ("acquire_error_from_daemon", 0): _UNCOMPUTED,
    ("add_broadcast_three_sockets", 0): _UNCOMPUTED,
    ("register_twice", 0): _UNCOMPUTED,
    ("register_twice", 3): _UNCOMPUTED,
    ("add_bad_key_length", 2): "HMAC-SHA-1 takes keys of 160 bits only (RFC 2404 §2); Linux takes any",
    ("add_spi_reserved", 0): "SPI 0 is never on the wire (RFC 4303 §2.1); Linux takes it",
}
"""Steps that answer otherwise, by scenario and number, with the reason."""

_LIFETIME_CURRENT, _POLICY = 2, 18
_KEYS, _PROMISC = (8, 9), 11


def masked(data: bytes) -> str:
    """Blank what varies from run to run: times, process ids, policy ids."""
    copy = bytearray(data)
    copy[12:16] = bytes(4)
    at = 16
    while at + 4 <= len(copy):
        length, kind = struct.unpack_from("=HH", copy, at)
        if kind == _LIFETIME_CURRENT:
            copy[at + 16 : at + 32] = bytes(16)
        elif kind == _POLICY:
            copy[at + 8 : at + 12] = bytes(4)
        assert length, copy.hex()
        at += length * 8
    return copy.hex()


def keyless(data: bytes) -> bytes:
    """Leave the keys out of a message."""
    parts, at = [data[:16]], 16
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind not in _KEYS:
            parts.append(data[at : at + length * 8])
        at += length * 8
    whole = b"".join(parts)
    return whole[:4] + struct.pack("=H", len(whole) // 8) + whole[6:]


def has_keys(data: bytes) -> bool:
    """Say whether a message shows a key; zeros in its place are none."""
    at = 16
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind in _KEYS and any(data[at + 8 : at + length * 8]):
            return True
        at += length * 8
    return False


def expected(step: dict[str, Any]) -> dict[str, list[bytes]]:
    """Say what a step brings over a Unix socket, where a failed send() is a bare header with its errno."""
    received = {name: [bytes.fromhex(text) for text in texts] for name, texts in step["received"].items()}
    if "send_errno" in step:
        sent = bytes.fromhex(step["send"])[:16].ljust(16, b"\0")
        bare = struct.pack("=BBBBHH", 2, sent[1], step["send_errno"], sent[3], 2, 0) + sent[8:]
        received.setdefault(step["socket"], []).append(bare)
    return received


def comparable(received: dict[str, list[bytes]], asker: str) -> dict[str, list[str]]:
    """Mask what varies, and the keys that a kernel tells to others than the asker: we tell them none."""
    return {
        name: [masked(data if name == asker else keyless(data)) for data in texts]
        for name, texts in received.items()
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_replay(name: str, house: Any) -> None:
    steps = SCENARIOS[name]["steps"]
    programs = {who: house.connect("linux") for who in dict.fromkeys(step["socket"] for step in steps)}
    passed_though_pending, differs = [], []
    for number, step in enumerate(steps):
        programs[step["socket"]].send(bytes.fromhex(step["send"]))
        got = {who: texts for who, program in programs.items() if (texts := program.receive())}
        others = [data for who, texts in got.items() if who != step["socket"] for data in texts]
        assert not any(has_keys(data) for data in others)
        same = comparable(got, step["socket"]) == comparable(expected(step), step["socket"])
        if same and (name, number) in PENDING:
            passed_though_pending.append(number)
        if not same and (name, number) not in PENDING:
            differs.append((number, got, expected(step)))
    assert not differs
    assert not passed_though_pending, "these steps are answered as recorded now: take them off PENDING"
    assert house.server.counters()["internal_errors"] == 0


def test_every_pending_step_exists() -> None:
    for name, number in PENDING:
        assert number < len(SCENARIOS[name]["steps"])


def test_nothing_recorded_is_missing() -> None:
    assert len(SCENARIOS) == 29


def test_it_is_a_comparison_that_can_fail(house: Any) -> None:
    program = house.connect("linux")
    program.send(bytes.fromhex(SCENARIOS["dump_empty"]["steps"][0]["send"]))
    assert [masked(data) for data in program.receive()] != [
        masked(bytes.fromhex(SCENARIOS["dump_empty"]["steps"][1]["received"]["a"][0]))
    ]
