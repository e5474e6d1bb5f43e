"""What protection adds, and the MTU that is left.

Answers to: sallet.attach.mtu; RFC 4302 section 2, RFC 4303 section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from sallet.attach.mtu import (
    AH_BYTES_MAX,
    DEVICE_MTU_MIN,
    ESP_BYTES_MAX,
    OVERHEAD_BYTES_MAX,
    Sizes,
    ah_bytes,
    device_mtu,
    esp_bytes,
)
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
    old: bool = False


def between(source: str, destination: str, **options: object) -> Association:
    return Association(ip_address(source), ip_address(destination), **options)  # type: ignore[arg-type]


def test_what_esp_adds() -> None:
    assert esp_bytes(between("10.0.0.1", "10.0.0.2"), ALGORITHMS) == 8 + 8 + 3 + 2 + 16
    cbc = between(
        "10.0.0.1", "10.0.0.2", encryption=("aes-cbc", b""), authentication=("hmac-sha2-256-128", b"")
    )
    assert esp_bytes(cbc, ALGORITHMS) == 8 + 16 + 15 + 2 + 16
    assert esp_bytes(between("10.0.0.1", "10.0.0.2", encap=(4500, 4500)), ALGORITHMS) == 37 + 8


def test_what_ah_adds() -> None:
    options = {"encryption": None, "authentication": ("hmac-sha2-256-128", b""), "protocol": "ah"}
    sa = between("10.0.0.1", "10.0.0.2", **options)
    assert ah_bytes(sa, ALGORITHMS) == 12 + 16 + 4
    assert ah_bytes(between("10.0.0.1", "10.0.0.2", old=True, **options), ALGORITHMS) == AH_BYTES_MAX
    ends = sa.source, sa.destination
    ah, esp = Template(protocol="ah"), Template(protocol="esp")
    outer = Template(protocol="ah", mode="tunnel", endpoints=ends)
    for templates, known, added in (
        ([ah], [sa], 32),
        ([ah], [], AH_BYTES_MAX),
        ([outer], [sa], 20 + 32),
        ([esp, ah], [sa, between("10.0.0.1", "10.0.0.2")], 37 + 32),
    ):
        policy = entry("out", "10.0.0.1/32", "10.0.0.2/32", templates=templates)
        assert device_mtu(1500, [policy], known, ALGORITHMS) == 1500 - added


def test_ipcomp_adds_nothing_but_its_tunnel() -> None:
    for version, ends in ((4, ("10.0.0.1", "10.0.0.2")), (6, ("fd00::1", "fd00::2"))):
        addresses = ip_address(ends[0]), ip_address(ends[1])
        outer = Template(protocol="ipcomp", mode="tunnel", endpoints=addresses)
        for template, added in ((Template(protocol="ipcomp"), 0), (outer, 20 if version == 4 else 40)):
            policy = entry("out", "10.1.0.0/16", "10.2.0.0/16", templates=[template])
            assert device_mtu(1500, [policy], [], ALGORITHMS) == 1500 - added


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
