"""The engine's AH packets against the oracle, byte by byte: whole packets through policy and SA.

The oracle never sees a packet of ours before it has made its own.
Answers to: RFC 4302, RFC 1826; `ipsec(4)` (`ah_cleartos`, `ah_offsetmask`); the `align4` of Linux.
"""

from __future__ import annotations

from typing import Any

import pytest

import sallet
from conformance.ah_cases import AH, UDP, Headers, changed
from conformance.ah_oracle import Sa, seal

SPI = 0x1234
KEY = bytes(range(32))
V4 = Headers("192.0.2.1", "192.0.2.2", class_=0xB8, ident=0x4321, fragment=0x4000)
V6 = Headers("2001:db8::1", "2001:db8::2", class_=0xB8, flow=0x12345)
SETTINGS = [
    {},
    {"esn": True},
    {"clear_tos": False},
    {"offset_mask": 0x4000},
    {"offset_mask": 0xFFFF},
    {"clear_tos": False, "offset_mask": 0xFFFF},
    {"wide_padding": True},
    {"old": True},
    {"old": True, "clear_tos": False, "offset_mask": 0xFFFF},
]
OF_THE_ENGINE = ("clear_tos", "offset_mask", "wide_padding")


def engine(headers: Headers, settings: dict[str, Any], direction: str) -> sallet.Engine:
    """Give one end of a transport SA, with its settings."""
    made = sallet.Engine()
    for name in OF_THE_ENGINE:
        if name in settings:
            made.configure(f"ah_{name}", settings[name])
    made.sad_add(
        sallet.SaParams(
            spi=SPI,
            protocol="ah",
            source=headers.source,
            destination=headers.destination,
            mode="transport",
            authentication=("hmac-sha2-256-128", KEY),
            replay_window=0 if settings.get("old") else 64,
            esn=settings.get("esn", False),
            old=settings.get("old", False),
        )
    )
    selector = sallet.Selector(headers.source, headers.destination)
    template = sallet.Template("ah", "transport", "require")
    made.spd_add(sallet.PolicyParams(direction, selector, "protect", [template]))
    return made


def ids(settings: dict[str, Any]) -> str:
    """Name a case."""
    return "-".join(f"{name}={value}" for name, value in settings.items()) or "rfc4302"


@pytest.mark.parametrize("settings", SETTINGS, ids=ids)
@pytest.mark.parametrize("headers", [V4, V6], ids=["v4", "v6"])
def test_each_byte_is_the_oracle_s(headers: Headers, settings: dict[str, Any]) -> None:
    sa = Sa("hmac-sha2-256-128", KEY, SPI, **settings)
    sender, receiver = (engine(headers, settings, direction) for direction in ("out", "in"))
    for sequence, size in enumerate((8, 9, 64, 1000), 1):
        payload = bytes(index % 251 for index in range(size))
        length = sa.header_bytes(headers.version)
        expected = seal(sa, headers.build(AH, length + size), UDP, sequence, payload)
        clear = headers.build(UDP, size) + payload
        outcome = sender.outbound(clear)
        assert outcome.packet is not None, outcome.reason
        assert outcome.packet.hex() == expected.hex()
        assert receiver.inbound(expected).delivered == [clear]


@pytest.mark.parametrize("settings", SETTINGS[2:6], ids=ids)
def test_a_setting_on_one_side_only_is_noticed(settings: dict[str, Any]) -> None:
    sender, receiver = engine(V4, settings, "out"), engine(V4, {}, "in")
    packet = sender.outbound(V4.build(UDP, 8) + bytes(8)).packet
    assert packet is not None
    assert receiver.inbound(packet).reason == "AuthFailed"
    for name, value in settings.items():
        receiver.configure(f"ah_{name}", value)
    assert receiver.inbound(packet).reason is None


@pytest.mark.parametrize("wide", [False, True])
def test_either_padding_is_taken(wide: bool) -> None:
    sender, receiver = engine(V4, {"wide_padding": wide}, "out"), engine(V4, {}, "in")
    packet = sender.outbound(V4.build(UDP, 8) + bytes(8)).packet
    assert packet is not None
    assert len(packet) == 28 + (32 if wide else 28)
    assert receiver.inbound(packet).reason is None


def test_routers_may_change_what_they_may() -> None:
    packet = engine(V4, {}, "out").outbound(V4.build(UDP, 8) + bytes(8)).packet
    assert packet is not None
    other = changed(V4, class_=0, fragment=0, hop_limit=3).build(AH, len(packet) - 20) + packet[20:]
    assert engine(V4, {}, "in").inbound(other).reason is None
