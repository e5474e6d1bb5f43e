"""Bundles and nested tunnels through the Python API: text of setkey into two engines, packets between them.

One SA alone may not enter; each layer's bytes are `tests/conformance`, nesting in Rust is `engine/tests`.
Answers to: RFC 4301 sections 4.3 (bundles), 5.2 (the inbound check of the path); setkey(8), policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest

from sallet import Engine, configure, udp_packet

ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
HOSTS = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd00:1::1", "fd00:2::1")}
KEYS = {
    "ipcomp": "-C deflate",
    "esp": f"-r 64 -E aes-gcm-16 0x{'a1' * 20}",
    "ah": f"-r 64 -A hmac-sha256 0x{'b2' * 32}",
}
PROTOCOLS = {"ipcomp": 108, "esp": 50, "ah": 51}
SPIS = {"ipcomp": 0x1000, "esp": 0x2000, "ah": 0x3000}
MOST_DECAPSULATIONS = 16
Layer = tuple[str, str, tuple[str, str]]
"""Protocol, mode, and the ends of its SA."""


def engine(direction: str, hosts: tuple[str, str], sas: Sequence[Layer], layers: Sequence[Layer]) -> Engine:
    """An engine with SAs and one policy whose first layer is the innermost."""
    made = Engine(clock="manual")
    adds = [
        f"add {ends[0]} {ends[1]} {protocol} {SPIS[protocol] + number:#x} -m {mode} {KEYS[protocol]};"
        for number, (protocol, mode, ends) in enumerate(sas)
    ]
    rules = " ".join(
        f"{protocol}/{mode}/{'-'.join(ends) if mode == 'tunnel' else ''}/require"
        for protocol, mode, ends in layers
    )
    if layers:
        adds.append(f"spdadd {hosts[0]} {hosts[1]} any -P {direction} ipsec {rules};")
    configure(made, "\n".join(adds))
    return made


def question(hosts: tuple[str, str]) -> bytes:
    return udp_packet(*hosts, 1000, 53, b"a question that is asked again and again; " * 10)


def unnumbered(packet: bytes) -> bytes:
    """Takes off the identification that AH gives an IPv4 packet which has none, and the checksum with it."""
    return packet if packet[0] >> 4 == 6 else packet[:4] + bytes(2) + packet[6:10] + bytes(2) + packet[12:]


def next_header(packet: bytes) -> int:
    return packet[9] if packet[0] >> 4 == 4 else packet[6]


def fewer(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Every choice of some of the layers, and of none, but not of all."""
    return [list(chosen) for size in range(len(layers)) for chosen in combinations(layers, size)]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
def test_ah_over_esp_over_ipcomp_in_one_policy(version: int, mode: str) -> None:
    ends = ENDS[version]
    hosts = ends if mode == "transport" else HOSTS[version]
    layers = [("ipcomp", mode, ends), ("esp", "transport", ends), ("ah", "transport", ends)]
    sender, receiver = engine("out", hosts, layers, layers), engine("in", hosts, layers, layers)
    clear = question(hosts)
    sent = sender.outbound(clear)
    assert sent.packet is not None, sent.explanation
    assert next_header(sent.packet) == PROTOCOLS["ah"]
    assert len(sent.packet) < len(clear)
    assert b"question" not in sent.packet
    assert [unnumbered(each) for each in receiver.inbound(sent.packet).delivered] == [unnumbered(clear)]
    assert receiver.inbound(sent.packet).reason == "Replay"
    assert [sa.packets for sa in receiver.sad_dump()] == [1, 1, 1]
    small = udp_packet(*hosts, 1000, 53, b"too small for compression")
    kept = sender.outbound(small).packet
    assert kept is not None
    assert [unnumbered(each) for each in receiver.inbound(kept).delivered] == [unnumbered(small)]


# = https://www.rfc-editor.org/rfc/rfc4301#section-5.2
# # What SAs a packet came through must be what the policy asks for, layer by layer.
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
def test_a_bundle_with_a_layer_missing_is_refused(version: int, mode: str) -> None:
    ends = ENDS[version]
    hosts = ends if mode == "transport" else HOSTS[version]
    layers = [("ipcomp", mode, ends), ("esp", "transport", ends), ("ah", "transport", ends)]
    clear = question(hosts)
    if mode == "transport":
        # IPComp protects nothing: whoever leaves just that out did not break the policy.
        wrong = [some for some in fewer(layers) if {"esp", "ah"} - {protocol for protocol, _, _ in some}]
    else:
        # Without its tunnel, a packet of the hosts is not the gateways' to protect in transport mode.
        wrong = [some for some in fewer(layers) if not some or some[0] == layers[0]]
    for some in wrong:
        receiver = engine("in", hosts, layers, layers)
        sender = engine("out", hosts, layers, some)
        sent = sender.outbound(clear).packet
        assert sent is not None, some
        assert receiver.inbound(sent).reason == "InPolicyViolation", some
    # The same layers in another order are another path.
    turned = [layers[0], layers[2], layers[1]]
    sent = engine("out", hosts, layers, turned).outbound(clear).packet
    assert sent is not None
    assert engine("in", hosts, layers, layers).inbound(sent).reason == "InPolicyViolation"


ITERATED: list[Layer] = [
    ("esp", "tunnel", ("198.51.100.1", "198.51.100.2")),
    ("ah", "tunnel", ENDS[6]),
    ("esp", "tunnel", ENDS[4]),
]


@pytest.mark.parametrize("version", [4, 6])
def test_iterated_tunnels_come_apart_again(version: int) -> None:
    hosts = HOSTS[version]
    sender, receiver = engine("out", hosts, ITERATED, ITERATED), engine("in", hosts, ITERATED, ITERATED)
    for _ in range(3):
        sent = sender.outbound(question(hosts))
        assert sent.packet is not None, sent.explanation
        assert sent.packet[12:16] == bytes([192, 0, 2, 1])
        assert receiver.inbound(sent.packet).delivered == [question(hosts)]
    assert [sa.packets for sa in receiver.sad_dump()] == [3, 3, 3]


@pytest.mark.parametrize("version", [4, 6])
def test_iterated_tunnels_are_each_checked(version: int) -> None:
    hosts, clear = HOSTS[version], question(HOSTS[version])
    orders = [*fewer(ITERATED), ITERATED[::-1], [ITERATED[0], ITERATED[2], ITERATED[1]]]
    for some in orders:
        sent = engine("out", hosts, ITERATED, some).outbound(clear).packet
        assert sent is not None, some
        receiver = engine("in", hosts, ITERATED, ITERATED)
        assert receiver.inbound(sent).reason == "InPolicyViolation", some
    # A tunnel from another gateway is another tunnel, though its SA is known and its ICV right.
    stranger: Layer = ("ah", "tunnel", ("2001:db8::9", ENDS[6][1]))
    others = [*ITERATED, stranger]
    sent = engine("out", hosts, others, [ITERATED[0], stranger, ITERATED[2]]).outbound(clear).packet
    assert sent is not None
    receiver = engine("in", hosts, others, ITERATED)
    assert receiver.inbound(sent).reason == "InPolicyViolation"
    assert [sa.packets for sa in receiver.sad_dump()] == [1, 0, 1, 1]


@pytest.mark.parametrize("protocols", [("esp",), ("ah",), ("ah", "esp"), ("esp", "ah", "esp")], ids="+".join)
def test_at_most_sixteen_decapsulations(protocols: tuple[str, ...]) -> None:
    """Counted over all protocols: every layer of a hostile peer who has the keys is one."""
    ends = ENDS[6]
    sas = [(protocol, "transport", ends) for protocol in sorted(set(protocols))]
    senders = {layer[0]: engine("out", ends, sas, [layer]) for layer in sas}
    required = [layer for layer in sas if layer[0] == protocols[0]]
    for depth, reason in ((1, None), (MOST_DECAPSULATIONS, None), (MOST_DECAPSULATIONS + 1, "InTooDeep")):
        receiver = engine("in", ends, sas, required)
        packet = question(ends)
        for number in range(depth):
            layer = senders[protocols[number % len(protocols)]].outbound(packet)
            assert layer.packet is not None, layer.explanation
            packet = layer.packet
        outcome = receiver.inbound(packet)
        assert outcome.reason == reason, depth
        assert outcome.delivered == ([] if reason else [question(ends)])
        opened = sum(sa.packets for sa in receiver.sad_dump())
        assert opened == min(depth, MOST_DECAPSULATIONS)


def test_ipcomp_counts_once_and_among_the_sixteen() -> None:
    """Sixteen layers of AH and one of IPComp within are seventeen."""
    ends = ENDS[4]
    sas = [("ipcomp", "transport", ends), ("ah", "transport", ends)]
    compressing, signing = engine("out", ends, sas, sas[:1]), engine("out", ends, sas, sas[1:])
    for depth, reason in ((MOST_DECAPSULATIONS - 1, None), (MOST_DECAPSULATIONS, "InTooDeep")):
        packet = compressing.outbound(question(ends)).packet
        for _ in range(depth):
            assert packet is not None
            packet = signing.outbound(packet).packet
        assert packet is not None
        assert engine("in", ends, sas, sas[1:]).inbound(packet).reason == reason
