"""The guard's text: order, verdicts, supersets and limits. That nft means the same is the namespace test's.

Answers to: sallet.attach.guard; tests/interop/test_guard_agrees.py.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from sallet.attach import guard
from sallet.attach.clauses import GuardConfig
from sallet.attach.guard import compile_guard
from unit.attach.entries import Entry, Template, entry

CONFIG = GuardConfig(device="sallet0", device_mtu=1400)


def judged(policies: list[Entry], config: GuardConfig = CONFIG, name: str = "judge_in") -> list[str]:
    """Give the rules of one direction."""
    return list(compile_guard(policies, config).judges[name])


def with_config(**changes: object) -> GuardConfig:
    return GuardConfig(**{"device": "sallet0", "device_mtu": 1400, **changes})  # type: ignore[arg-type]


def test_entries_stand_in_spd_order() -> None:
    late = entry("in", "10.0.0.0/8", "10.1.0.0/16", "bypass", priority=20)
    early = entry("in", "10.0.0.0/8", "10.1.0.0/16", "discard", priority=5)
    second = entry("in", "10.0.0.0/8", "10.1.0.0/16", priority=20)
    rules = judged([late, early, second])
    assert [rule.rpartition(" comment ")[2] for rule in rules] == [
        f'"policy {policy.id}"' for policy in (early, late, second)
    ]
    assert "InPolicyDiscard" in rules[0]
    assert " accept " in rules[1]
    assert "InPolicyViolation" in rules[2]


@pytest.mark.parametrize(
    ("templates", "levels", "verdict"),
    [
        ([], {}, "drop"),
        ([Template(level="use")], {}, "accept"),
        ([Template(level="default")], {}, "accept"),
        ([Template(level="default")], {"esp_transport_level": "require"}, "drop"),
        ([Template(level="default")], {"esp_tunnel_level": "require"}, "accept"),
        ([Template(level="default", mode="tunnel")], {"esp_tunnel_level": "require"}, "drop"),
        ([Template(level="unique")], {}, "drop"),
        ([Template(level="use"), Template(level="require")], {}, "drop"),
        ([Template(protocol="ipcomp", level="default")], {"esp_transport_level": "require"}, "accept"),
        ([Template(protocol="ipcomp", level="require")], {}, "accept"),
        ([Template(protocol="ipcomp"), Template()], {}, "drop"),
    ],
)
def test_levels(templates: list[Template], levels: dict[str, str], verdict: str) -> None:
    policy = entry("in", "10.0.0.1/32", "10.0.0.2/32", templates=templates)
    (rule,) = judged([policy], with_config(levels=levels))
    assert verdict in rule.split()


def test_on_the_way_out_ipcomp_can_be_insisted_on() -> None:
    policy = entry("out", "10.0.0.1/32", "10.0.0.2/32", templates=[Template(protocol="ipcomp")])
    (rule,) = judged([policy], name="judge_out")
    assert "OutNotProtected" in rule


@pytest.mark.parametrize("direction", ["in", "fwd"])
def test_the_engine_fetches_what_an_ipcomp_tunnel_left_as_it_was(direction: str) -> None:
    """Whatever the entries say of clear packets: these are not clear ones, and they come first."""
    ends = [tuple(map(ip_address, pair)) for pair in (("192.0.2.1", "192.0.2.2"), ("fd00::1", "fd00::2"))]
    tunnels = [Template("ipcomp", "tunnel", endpoints=(pair[0], pair[1])) for pair in ends]
    policies = [
        entry(direction, "10.1.0.0/16", "10.2.0.0/16", templates=[template])
        for template in [*tunnels, tunnels[0]]
    ]
    other = [Template("esp", "tunnel", endpoints=(ends[0][1], ends[0][0])), Template("ipcomp")]
    policies.append(entry(direction, "10.3.0.0/16", "10.4.0.0/16", templates=other))
    assert judged(policies)[:2] == [
        "ip saddr 192.0.2.1 ip daddr 192.0.2.2 meta l4proto { 4, 41 } goto owned",
        "ip6 saddr fd00::1 ip6 daddr fd00::2 meta l4proto { 4, 41 } goto owned",
    ]
    assert not any("goto owned" in rule for rule in judged(policies)[2:])


def test_without_policies_everything_is_let_go() -> None:
    compiled = compile_guard([], CONFIG)
    assert not any(compiled.judges.values())
    assert all(coverage.is_empty for coverage in compiled.sets.values()), "nothing is marked, nothing judged"
    assert "ip saddr != @judge_in_saddr4 accept" in compiled.hooks["input"]


def test_default_discard_marks_everything_and_ends_in_a_drop() -> None:
    compiled = compile_guard([], with_config(default_policy="discard"))
    assert compiled.hooks["input"][-1] == 'counter name "InNoPolicy" drop'
    assert compiled.hooks["postrouting"][-1] == 'counter name "OutNoPolicy" drop'
    assert not any("!=" in rule for rule in compiled.hooks["input"]), "no early exit"
    assert compiled.sets["reach_saddr4"].is_everything
    assert compiled.sets["reach_daddr6"].is_everything


def test_marks_are_a_superset_by_address_only() -> None:
    policies = [
        entry("out", "10.1.0.0/24", "10.2.0.0/24", next_layer=6, destination_ports=(80, 80)),
        entry("out", "10.1.0.0/16", "10.2.1.0/24", "discard"),
        entry("out", "10.9.0.0/16", "10.9.0.0/16", "bypass", priority=1),
        entry("in", "10.8.0.0/16", "10.1.0.0/16"),
    ]
    compiled = compile_guard(policies, CONFIG)
    assert compiled.sets["reach_saddr4"].elements() == ["10.1.0.0-10.1.255.255"]
    assert compiled.sets["reach_daddr4"].elements() == ["10.2.0.0-10.2.1.255"]
    marks = [rule for rule in compiled.hooks["output"] if "@reach" in rule]
    assert len(marks) == 2
    assert set(marks) <= set(compiled.hooks["prerouting"])


def test_a_gateway_marks_nothing_and_names_its_destinations() -> None:
    policies = [entry("out", "10.1.0.0/16", "10.2.0.0/23"), entry("out", "::/0", "fd02::/64", "discard")]
    compiled = compile_guard(policies, with_config(mode="gateway"))
    assert not any("@reach" in rule for rules in compiled.hooks.values() for rule in rules)
    destinations = [str(p) for coverage in compiled.outbound_destinations for p in coverage.prefixes()]
    assert destinations == ["10.2.0.0/23", "fd02::/64"]


def test_forwarded_packets_meet_forward_entries_and_inbound_ones_that_judge_them() -> None:
    policies = [
        entry("in", "10.1.0.0/16", "10.2.0.0/16", judges_forwarded=True, priority=9),
        entry("fwd", "10.1.0.0/16", "10.2.0.0/16", "bypass", priority=5),
        entry("in", "10.3.0.0/16", "10.2.0.0/16", priority=1),
    ]
    rules = judged(policies, name="judge_forward")
    assert [f"policy {policies[1].id}" in rules[0], f"policy {policies[0].id}" in rules[1]] == [True, True]
    assert len(rules) == 2


def test_fragments_are_collected_only_where_a_port_is_read() -> None:
    plain = entry("in", "10.1.0.0/16", "10.2.0.0/16")
    with_port = entry("in", "10.1.0.0/16", "10.2.0.0/16", next_layer=17, source_ports=(53, 53))
    assert "ct state" not in str(compile_guard([plain], CONFIG).hooks)
    assert "ct state" in str(compile_guard([with_port], CONFIG).hooks)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, [""]),
        ({"next_layer": 47}, ["meta l4proto 47"]),
        (
            {"next_layer": 6, "destination_ports": (80, 90)},
            ["meta l4proto 6 th sport 0-65535 th dport 80-90"],
        ),
        ({"next_layer": 1, "source_ports": (8, 8)}, ["meta l4proto 1 @th,0,8 8 @th,8,8 0-255"]),
        ({"next_layer": 1, "source_ports": (300, 400)}, []),
        ({"next_layer": 47, "source_ports": (1, 2)}, []),
        ({"next_layer": 135, "source_ports": (5, 5)}, ["meta l4proto 135 @th,16,8 5"]),
        ({"next_layer": 135, "destination_ports": (1, 9)}, []),
        (
            {"destination_ports": (22, 22)},
            [
                "meta l4proto { 6, 17, 33, 132, 136 } th sport 0-65535 th dport 22",
                "meta l4proto { 1, 58 } @th,0,8 0-255 @th,8,8 22",
            ],
        ),
    ],
)
def test_ports_mean_what_the_protocol_makes_of_them(words: dict[str, Any], expected: list[str]) -> None:
    policy = entry("in", "0.0.0.0/0", "10.0.0.1/32", **words)
    rules = judged([policy])
    heads = [rule.partition(" counter")[0] for rule in rules]
    common = "meta nfproto ipv4 ip daddr 10.0.0.1"
    assert heads == [f"{common} {layer}".rstrip() for layer in expected]


def test_beyond_the_limit_addresses_alone_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "EXACT_ENTRIES_MAX", 2)
    policies: list[Entry] = [
        entry("in", "10.0.0.1/32", "10.1.0.0/16", "bypass", next_layer=6) for _ in range(2)
    ]
    policies += [
        entry("in", "10.0.0.2/32", "10.1.0.0/16", next_layer=17, source_ports=(53, 53)),
        entry("in", "10.0.0.3/32", "10.1.0.0/16", "bypass"),
    ]
    compiled = compile_guard(policies, CONFIG)
    assert compiled.entries_by_address_only == 2
    assert len(compiled.judges["judge_in"]) == 2
    assert compiled.sets["judge_in_rest_saddr4"].elements() == ["10.0.0.2"]
    after = compiled.hooks["input"][compiled.hooks["input"].index("jump judge_in") :]
    assert (
        'ip saddr @judge_in_rest_saddr4 ip daddr @judge_in_rest_daddr4 counter name "InPolicyViolation" drop'
    ) in after


def test_unowned_protocols_are_dropped() -> None:
    config = with_config(owned_protocols=frozenset({50}), udp_ports=(4500, 4501))
    rules = compile_guard([], config).hooks["input"]
    assert "meta l4proto 50 goto owned" in rules
    assert 'meta l4proto 51 counter name "NoDaemon" drop' in rules
    assert "meta l4proto 17 th dport 4500 goto owned" in rules
    assert "meta l4proto 17 th dport 4501 goto owned" in rules


@pytest.mark.parametrize("name", ["", "a b", "a;flush", 'a"', "1a", "a" * 16])
def test_names_that_could_be_nft_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        compile_guard([], with_config(device=name))
