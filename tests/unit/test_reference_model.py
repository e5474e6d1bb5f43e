"""The reference model itself: small cases that can be read and agreed with.

No engine may enter: what walks beside the engine must be right without it.
Answers to: RFC 4301 sections 4.4.1, 5.1 and 5.2, RFC 4303 section 3.4.3.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path

import pytest

from model import reference_model as model
from model.reference_model import (
    ABSENT,
    ICMP,
    OPAQUE,
    PORTS,
    Config,
    Decision,
    Hop,
    Limits,
    Model,
    Packet,
    Policy,
    Sa,
    Seal,
    Selector,
    Template,
    net,
)

HERE, THERE, GATE, PEER = (ip_address(f"192.0.2.{last}") for last in (1, 2, 101, 102))
OUT, IN, GATES, BACK = (HERE, THERE), (THERE, HERE), (GATE, PEER), (PEER, GATE)
EVERYTHING = Selector(net("0.0.0.0/0"), net("0.0.0.0/0"))
EVERYTHING_6 = Selector(net("::/0"), net("::/0"))
PING = Packet(OUT, 1, ICMP, (8, 0))
ANSWER = Packet(IN, 1, ICMP, (0, 0))
TRANSPORT = Template()
TUNNEL = Template(mode="tunnel", endpoints=GATES)


def protect(direction: str, *templates: Template, selector: Selector = EVERYTHING) -> Policy:
    return Policy(direction, selector, "protect", templates)


def host(*entries: Policy | Sa, config: Config | None = None) -> Model:
    made = Model(config)
    for entry in entries:
        assert made.add_policy(entry) if isinstance(entry, Policy) else made.add_sa(entry)
    return made


def test_it_imports_the_standard_library_only_and_stays_short() -> None:
    text = Path(model.__file__ or "").read_text()
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.module in sys.stdlib_module_names | {"collections.abc"}
        assert not isinstance(node, ast.Import)


@pytest.mark.parametrize(
    ("packet", "matches"),
    [
        (Packet(OUT, 6, PORTS, (1024, 80)), True),
        (Packet(OUT, 6, PORTS, (1024, 79)), False),
        (Packet(OUT, 6, PORTS, (1023, 80)), False),
        (Packet(OUT, 17, PORTS, (1024, 80)), False),
        (Packet((HERE, GATE), 6, PORTS, (1024, 80)), False),
        (Packet(OUT, 6, OPAQUE, fragment=True), False),
        (Packet((ip_address("::1"), ip_address("::2")), 6, PORTS, (1024, 80)), False),
    ],
)
def test_every_range_of_a_selector_counts(packet: Packet, matches: bool) -> None:
    selector = Selector(net("192.0.2.0/24"), net("192.0.2.2/32"), 6, (1024, 65535), (80, 81))
    assert selector.matches(packet) is matches


def test_ranges_need_not_be_prefixes() -> None:
    selector = replace(EVERYTHING, destination=(ip_address("192.0.2.2"), ip_address("192.0.2.4")))
    ends = [(HERE, ip_address(f"192.0.2.{last}")) for last in range(1, 6)]
    assert [selector.matches(Packet(each, 17)) for each in ends] == [False, True, True, True, False]


def test_what_shows_no_ports_matches_any_only() -> None:
    for shows in (OPAQUE, ABSENT):
        packet = Packet(OUT, 17, shows)
        assert replace(EVERYTHING, next_layer=17).matches(packet)
        assert not replace(EVERYTHING, source_ports=(0, 65534)).matches(packet)
        assert not replace(EVERYTHING, destination_ports=(1, 65535)).matches(packet)


def test_icmp_type_and_code_stand_where_ports_do() -> None:
    echo = replace(EVERYTHING, next_layer=1, source_ports=(8, 8), destination_ports=(0, 0))
    assert [echo.matches(packet) for packet in (PING, ANSWER)] == [True, False]


def test_the_first_match_wins_by_priority_then_age() -> None:
    made = host(protect("out", TRANSPORT), Policy("out", replace(EVERYTHING, next_layer=1), "discard"))
    assert made.outbound(PING) == Decision("drop", "OutNoSa", 1)
    made.add_policy(
        Policy("out", replace(EVERYTHING, next_layer=1, source_ports=(8, 8)), "bypass", priority=1)
    )
    assert made.outbound(PING) == Decision("bypass", policy=3)
    assert made.add_policy(Policy("out", EVERYTHING, "bypass", priority=7)) is None
    assert made.update_policy(Policy("out", EVERYTHING, "bypass", priority=0)) is not None
    assert made.outbound(PING) == Decision("bypass", policy=1)


def test_a_replaced_entry_keeps_its_place() -> None:
    made = host(
        Policy("out", EVERYTHING, "discard"), Policy("out", replace(EVERYTHING, next_layer=1), "bypass")
    )
    made.update_policy(protect("out", TRANSPORT))
    assert made.outbound(PING).policy == 1
    made.update_policy(replace(protect("out", TRANSPORT), priority=2**32 - 1))
    assert made.outbound(PING).policy == 2


@pytest.mark.parametrize(
    ("default", "verdicts"), [("bypass", ["bypass", "deliver"]), ("discard", ["drop", "drop"])]
)
def test_without_an_entry_the_default_decides(default: str, verdicts: list[str]) -> None:
    made = host(config=Config(default_policy=default))
    assert [made.outbound(PING).verdict, made.inbound(ANSWER).verdict] == verdicts


def test_neighbour_discovery_always_passes_in_clear() -> None:
    ends = ip_address("fe80::1"), ip_address("ff02::1")
    made = host(*(Policy(way, EVERYTHING_6, "discard") for way in ("in", "out", "fwd")))
    for kind, passes in [(132, False), (133, True), (137, True), (138, False)]:
        packet = Packet(ends, 58, ICMP, (kind, 0))
        assert (made.outbound(packet).verdict == "bypass") is passes
        assert (made.inbound(packet).verdict == "deliver") is passes


def test_forwarded_packets_have_their_own_list_and_inbound_judges() -> None:
    away = Packet((THERE, PEER), 17)
    config = Config(local=[net("192.0.2.1/32")])
    made = host(Policy("in", EVERYTHING, "discard"), config=config)
    assert made.inbound(away).verdict == "deliver"
    made = host(replace(Policy("in", EVERYTHING, "discard"), judges_forwarded=True), config=config)
    assert made.inbound(away) == Decision("drop", "InPolicyDiscard", 1)
    made = host(Policy("fwd", EVERYTHING, "discard"), config=config)
    assert made.inbound(away).verdict == "drop"
    assert made.inbound(ANSWER).verdict == "deliver"


@pytest.mark.parametrize(
    ("level", "default", "verdict"),
    [
        ("use", "require", "bypass"),
        ("require", "use", "drop"),
        ("unique", "use", "drop"),
        ("default", "use", "bypass"),
        ("default", "require", "drop"),
    ],
)
def test_a_level_says_what_happens_without_an_sa(level: str, default: str, verdict: str) -> None:
    config = Config(levels={("esp", "transport"): default})
    made = host(protect("out", Template(level=level)), protect("in", Template(level=level)), config=config)
    assert made.outbound(PING).verdict == verdict
    assert made.events == ([("acquire", 1, Template(level=level))] if verdict == "drop" else [])
    assert made.inbound(ANSWER).verdict == {"drop": "drop", "bypass": "deliver"}[verdict]


def test_templates_are_applied_from_the_inside_out() -> None:
    inner, outer = Sa(256, OUT), Sa(257, GATES, mode="tunnel")
    made = host(protect("out", TRANSPORT, TUNNEL), inner, outer)
    assert made.outbound(PING) == Decision("protect", policy=1, used=(inner.name, outer.name))
    # After a tunnel, the next transport SA is one of the tunnel's ends.
    between = Sa(258, GATES, mode="transport")
    made = host(protect("out", TUNNEL, TRANSPORT), inner, outer, between)
    assert made.outbound(PING).used == (outer.name, between.name)


@pytest.mark.parametrize(
    ("template", "sa", "serves"),
    [
        (TRANSPORT, Sa(256, OUT), True),
        (TRANSPORT, Sa(256, OUT, mode="transport"), True),
        (TRANSPORT, Sa(256, OUT, mode="tunnel"), False),
        (TRANSPORT, Sa(256, IN), False),
        (TRANSPORT, Sa(256, OUT, protocol="ah"), False),
        (TRANSPORT, Sa(256, OUT, larval=True), False),
        (TRANSPORT, Sa(256, OUT, reqid=5), True),
        (Template(reqid=5), Sa(256, OUT, reqid=5), True),
        (Template(reqid=5), Sa(256, OUT), False),
        (TUNNEL, Sa(256, GATES), True),
        (TUNNEL, Sa(256, GATES, mode="transport"), False),
        (TUNNEL, Sa(256, OUT), False),
        (TUNNEL._replace(mode="any"), Sa(256, GATES), True),
        (TUNNEL._replace(mode="any"), Sa(256, GATES, mode="transport"), False),
    ],
)
def test_an_sa_must_fit_its_template(template: Template, sa: Sa, serves: bool) -> None:
    assert host(protect("out", template), sa).outbound(PING).verdict == ("protect" if serves else "drop")


@pytest.mark.parametrize(("prefer_old", "expected"), [(False, [258, 257, 258]), (True, [256, 256, 256])])
def test_preference_among_old_new_and_dying(prefer_old: bool, expected: list[int]) -> None:
    made = host(*(Sa(spi, OUT) for spi in (256, 257, 258)), config=Config(prefer_old_sa=prefer_old))
    chosen = []
    for dying in ([], [258], [256, 257, 258]):
        for sa in made.sas:
            sa.reported = "soft" if sa.spi in dying else ""
        found = made.choose_sa(TRANSPORT, OUT)
        assert found
        chosen.append(found[0].spi)
    assert chosen == expected


def test_transport_mode_is_not_for_fragments() -> None:
    fragment = Packet(OUT, 17, OPAQUE, fragment=True)
    made = host(protect("out", TRANSPORT), Sa(256, OUT))
    assert made.outbound(fragment) == Decision("drop", "OutFragment", 1)
    assert made.explain("out", fragment) == ("discard", 1, [])
    made = host(protect("out", TUNNEL), Sa(256, GATES))
    assert made.outbound(fragment).verdict == "protect"


def path(*hops: tuple[str, str]) -> list[Hop]:
    return [
        Hop(Sa(256, BACK if mode == "tunnel" else IN, protocol=protocol), mode) for protocol, mode in hops
    ]


IN_TUNNEL = Template(mode="tunnel", endpoints=BACK)
ESP, ESP_TUNNEL, AH = ("esp", "transport"), ("esp", "tunnel"), ("ah", "transport")


@pytest.mark.parametrize(
    ("templates", "hops", "passes"),
    [
        ([TRANSPORT], path(ESP), True),
        ([TRANSPORT], path(), False),
        ([TRANSPORT], path(ESP_TUNNEL), False),
        ([TRANSPORT], path(AH), False),
        ([TRANSPORT], path(AH, ESP), True),
        ([TRANSPORT], path(ESP_TUNNEL, ESP), False),
        ([IN_TUNNEL], path(ESP_TUNNEL), True),
        ([IN_TUNNEL], path(ESP), False),
        ([IN_TUNNEL], path(ESP_TUNNEL, ESP_TUNNEL), False),
        ([IN_TUNNEL._replace(endpoints=GATES)], path(ESP_TUNNEL), False),
        ([IN_TUNNEL._replace(level="use")], path(), True),
        ([IN_TUNNEL._replace(level="use")], path(ESP_TUNNEL), True),
        ([TRANSPORT, Template(protocol="ah")], path(AH, ESP), True),
        ([TRANSPORT, Template(protocol="ah")], path(ESP, AH), False),
        ([Template(protocol="ipcomp"), TRANSPORT], path(ESP), True),
        ([Template(level="use"), TRANSPORT], path(ESP), True),
        ([Template(level="unique", reqid=9)], path(ESP), False),
        ([], path(ESP, AH), True),
        ([], path(ESP_TUNNEL), False),
        ([], path(), True),
    ],
)
def test_what_came_is_compared_with_what_was_asked(
    templates: list[Template], hops: list[Hop], passes: bool
) -> None:
    assert Model().accounts_for(templates, hops) is passes


def test_an_unasked_tunnel_never_passes() -> None:
    sa = Sa(256, BACK)
    seal = Seal(256, BACK, 1, "tunnel")
    for policy, reason in [
        ([], "InPolicyViolation"),
        ([Policy("in", EVERYTHING, "bypass")], "InPolicyViolation"),
        ([Policy("in", EVERYTHING, "discard")], "InPolicyDiscard"),
        ([protect("in", Template(level="use"))], "InPolicyViolation"),
        ([protect("in", IN_TUNNEL)], ""),
    ]:
        assert host(sa, *policy).inbound(ANSWER, [seal]).reason == reason


@pytest.mark.parametrize(
    ("seal", "reason"),
    [
        (Seal(256, IN, 1), ""),
        (Seal(999, IN, 1), "InNoSa"),
        (Seal(256, IN, 1, protocol="ah"), "InNoSa"),
        (Seal(257, IN, 1), "InExpired"),
        (Seal(256, IN, 0), "Replay"),
        (Seal(256, IN, 1, authentic=False), "AuthFailed"),
        (Seal(256, IN, 1, fragment=True), "InFragment"),
        (Seal(256, IN, 1, "dummy"), "Dummy"),
        (Seal(258, IN, 1), "BadPadding"),
        (Seal(256, (GATE, HERE), 1), "InPolicyViolation"),
    ],
)
def test_a_seal_is_undone_or_says_why_not(seal: Seal, reason: str) -> None:
    made = host(
        protect("in", TRANSPORT),
        Sa(256, IN, replay_window=32),
        Sa(257, IN, larval=True),
        Sa(258, IN, mode="tunnel"),
    )
    decision = made.inbound(ANSWER, [seal])
    assert (decision.verdict, decision.reason) == ("drop" if reason else "deliver", reason)


def test_somebody_elses_seal_is_ordinary_traffic() -> None:
    made = host(Policy("fwd", replace(EVERYTHING, next_layer=50), "discard"), config=Config(local=[]))
    assert made.inbound(ANSWER, [Seal(256, IN, 1)]) == Decision("drop", "InPolicyDiscard", 1)


def test_a_number_is_accepted_once_and_only_for_a_good_icv() -> None:
    for order in permutations([1, 2, 3, 36]):
        sa = Sa(256, IN, replay_window=32)
        made = host(sa)
        forged = made.inbound(ANSWER, [Seal(256, IN, 2**31, authentic=False)])
        verdicts = {number: made.inbound(ANSWER, [Seal(256, IN, number)]).verdict for number in order}
        again = [made.inbound(ANSWER, [Seal(256, IN, number)]).verdict for number in order]
        late = {number for number in (1, 2, 3) if order.index(number) > order.index(36)}
        assert forged.reason == "AuthFailed"
        assert {number for number, verdict in verdicts.items() if verdict == "drop"} == late
        assert set(again) == {"drop"}


def test_soft_then_hard_each_once() -> None:
    sa = Sa(256, OUT, soft=Limits(packets=2), hard=Limits(packets=3))
    made = host(protect("out", TRANSPORT), sa)
    verdicts = [(made.outbound(PING).verdict, [each.state for each in made.sas]) for _ in range(4)]
    assert verdicts == [("protect", ["mature"]), ("protect", ["dying"]), ("protect", []), ("drop", [])]
    assert [event[-1] for event in made.events[:2]] == ["soft", "hard"]
    assert made.events[2][0] == "acquire"


def test_the_first_limit_counts() -> None:
    for limits, ends in [
        (Limits(add_secs=10), 10),
        (Limits(use_secs=3), 8),
        (Limits(add_secs=10, use_secs=3), 8),
        (Limits(add_secs=7, use_secs=3), 7),
        (Limits(bytes=80), 5),
        (Limits(bytes=81), 99),
    ]:
        made = host(protect("out", TRANSPORT), Sa(256, OUT, hard=limits))
        seen = None
        for now in range(1, 20):
            made.advance(1)
            if now == 5:
                made.outbound(PING)
            if made.events and seen is None:
                seen = now
        assert seen == (None if ends == 99 else ends), limits


def test_larval_grows_up_and_the_living_only_change_their_limits() -> None:
    made = host(
        Sa(256, IN, larval=True, hard=Limits(add_secs=30)), Sa(257, IN, larval=True, hard=Limits(add_secs=30))
    )
    made.advance(29)
    made.update_sa(Sa(256, IN, mode="transport", reqid=4))
    made.advance(1)
    assert [(sa.name[0], sa.state, sa.reqid) for sa in made.sas] == [(256, "mature", 4)]
    made.inbound(ANSWER, [Seal(256, IN, 7)])
    updated = made.update_sa(Sa(256, IN, reqid=9, soft=Limits(packets=2)))
    assert updated
    assert (updated.reqid, updated.packets, updated.seen, updated.state) == (4, 1, {7}, "mature")
    made.inbound(ANSWER, [Seal(256, IN, 8)])
    assert made.sas[0].state == "dying"
    assert made.update_sa(Sa(999, IN)) is None
    assert made.add_sa(Sa(256, IN)) is None


def test_policies_end_by_age_and_by_idleness() -> None:
    made = host(
        Policy("out", EVERYTHING, "bypass", use_secs=5),
        Policy("out", replace(EVERYTHING, next_layer=6), "bypass", add_secs=7),
    )
    for _ in range(4):
        made.advance(2)
        made.outbound(PING)
    assert made.events == [("policy-expire", 2)]
    made.advance(5)
    assert made.events == [("policy-expire", 2), ("policy-expire", 1)]


def test_bytes_are_what_is_handed_to_the_transform() -> None:
    inner, outer = Sa(256, OUT, grows=lambda size: size + 30), Sa(257, GATES, mode="tunnel")
    made = host(protect("out", TRANSPORT, TUNNEL), inner, outer)
    made.outbound(replace(PING, total_bytes=120))
    assert [sa.bytes for sa in made.sas] == [100, 150]


def test_explain_counts_nothing() -> None:
    made = host(protect("out", TRANSPORT), protect("in", TRANSPORT), Sa(256, OUT, hard=Limits(packets=1)))
    for _ in range(3):
        assert made.explain("out", PING) == ("protect", 1, [(TRANSPORT, (256, "esp", THERE))])
        assert made.explain("in", ANSWER) == ("discard", 2, [])
        assert made.explain("fwd", ANSWER) == ("bypass", None, [])
    made.sas.clear()
    assert made.explain("out", PING) == ("protect", 1, [(TRANSPORT, None)])
    assert made.events == []
