"""What protection adds, and the MTU that is left.

Answers to: sallet.attach.mtu; RFC 4303 section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from sallet.attach.mtu import DEVICE_MTU_MIN, ESP_BYTES_MAX, OVERHEAD_BYTES_MAX, Sizes, device_mtu, esp_bytes
from unit.attach.entries import Template, entry

ALGORITHMS = {
    "aes-gcm-16": Sizes(8, 1, 16),
    "aes-cbc": Sizes(16, 16, 0),
    "hmac-sha2-256-128": Sizes(0, 1, 16),
}


@dataclass
class Association:
    source: object
    destination: object
    encryption: tuple[str, bytes] | None = ("aes-gcm-16", b"")
    authentication: tuple[str, bytes] | None = None
    encap: tuple[int, int] | None = None
    protocol: str = "esp"


def between(source: str, destination: str, **options: object) -> Association:
    return Association(ip_address(source), ip_address(destination), **options)  # type: ignore[arg-type]


def test_what_esp_adds() -> None:
    assert esp_bytes(between("10.0.0.1", "10.0.0.2"), ALGORITHMS) == 8 + 8 + 3 + 2 + 16
    cbc = between(
        "10.0.0.1", "10.0.0.2", encryption=("aes-cbc", b""), authentication=("hmac-sha2-256-128", b"")
    )
    assert esp_bytes(cbc, ALGORITHMS) == 8 + 16 + 15 + 2 + 16
    assert esp_bytes(between("10.0.0.1", "10.0.0.2", encap=(4500, 4500)), ALGORITHMS) == 37 + 8


def test_the_worst_entry_counts() -> None:
    transport = entry("out", "10.0.0.1/32", "10.0.0.2/32")
    ends = ip_address("fd00::1"), ip_address("fd00::2")
    tunnel = entry("out", "10.1.0.0/16", "10.2.0.0/16", templates=[Template(mode="tunnel", endpoints=ends)])
    sas = [between("10.0.0.1", "10.0.0.2"), between("fd00::1", "fd00::2")]
    assert device_mtu(1500, [transport], sas, ALGORITHMS) == 1500 - 37
    assert device_mtu(1500, [transport, tunnel], sas, ALGORITHMS) == 1500 - 37 - 40
    inbound = entry("in", "10.2.0.0/16", "10.1.0.0/16", templates=[Template(mode="tunnel", endpoints=ends)])
    assert device_mtu(1500, [transport, inbound], sas, ALGORITHMS) == 1500 - 37


def test_without_an_sa_the_worst_suite_is_assumed() -> None:
    assert device_mtu(1500, [], [], ALGORITHMS) == 1500 - OVERHEAD_BYTES_MAX
    transport = entry("out", "10.0.0.1/32", "10.0.0.2/32")
    assert device_mtu(1500, [transport], [], ALGORITHMS) == 1500 - ESP_BYTES_MAX


@pytest.mark.parametrize("path_mtu", [1280, 1300])
def test_ipv6_keeps_its_least(path_mtu: int) -> None:
    assert device_mtu(path_mtu, [], [], ALGORITHMS) == DEVICE_MTU_MIN
