"""`sallet.Engine` from Python: packets, configuration, counters, seeds, threads.

No decision is judged here beyond the plain ones: `tests/model` compares them with the reference model.
Answers to: `python/sallet/_core.pyi`, RFC 4301 sections 5.1 and 5.2.
"""

from __future__ import annotations

import re
import threading
from array import array
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from sallet import (
    Engine,
    Limits,
    PolicyParams,
    udp_packet,
)
from unit.one_sa import (
    BACK,
    FORTH,
    GCM,
    HERE,
    PACKET,
    REQUIRE,
    THERE,
    receiver,
    sa_params,
    sealed,
    sender,
)

# --- packets -----------------------------------------------------------------------------------------


# = https://www.rfc-editor.org/rfc/rfc4301#section-3.2
# # ESP is offered
def test_a_protected_packet_arrives_as_it_was() -> None:
    out = sender().outbound(PACKET)
    assert (out.dropped, out.reason, out.explanation, out.delivered) == (False, None, None, [])
    assert (out.protected_by, len(out.transmitted)) == (0x1000, 1)
    (wire,) = out.transmitted
    assert wire == out.packet
    assert wire[9] == 50
    assert b"question" not in wire
    arrived = receiver().inbound(wire)
    assert (arrived.delivered, arrived.transmitted, arrived.protected_by) == ([PACKET], [], None)
    assert arrived.packet == PACKET


def test_an_outcome_names_the_reason() -> None:
    engine = receiver()
    wire = sealed(sender())
    assert engine.inbound(wire).packet == PACKET
    again = engine.inbound(wire)
    assert (again.dropped, again.reason, again.packet) == (True, "Replay", None)
    assert "seen already" in (again.explanation or "")
    assert repr(again) == "<Outcome dropped: Replay>"
    assert "delivered=0" in repr(Engine().outbound(PACKET))


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda data: array("B", data)])
def test_packets_come_in_any_buffer(buffer: Callable[[bytes], Any]) -> None:
    ours, theirs = sender(), receiver()
    given = buffer(PACKET)
    wire = sealed(ours, given)
    assert bytes(given) == PACKET, "the caller's buffer stays as it was"
    assert type(wire) is bytes
    assert theirs.inbound(buffer(wire)).packet == PACKET
    both = ours.outbound_batch([given, buffer(PACKET)])
    assert [theirs.inbound(each.packet or b"").packet for each in both] == [PACKET, PACKET]
    assert ours.explain("out", given).action == "protect"


def test_a_slice_of_a_buffer_is_read_as_such() -> None:
    wide = bytes(each for byte in PACKET for each in (byte, 0))
    assert sealed(sender(), memoryview(wide)[::2])


@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2]])
def test_what_is_no_buffer_is_refused(wrong: Any) -> None:
    engine = Engine()
    for call in (engine.outbound, engine.inbound):
        with pytest.raises(TypeError):
            call(wrong)
    with pytest.raises(TypeError):
        engine.outbound_batch([PACKET, wrong])
    with pytest.raises(BufferError):
        engine.outbound(array("H", [1, 2]))
    assert engine.stats().passed["outbound_arrived"] == (0, 0)


def test_no_bytes_at_all_bring_an_exception() -> None:
    engine = receiver()
    wire = sealed(sender())
    for length in range(len(wire)):
        assert engine.inbound(wire[:length]).dropped
        assert engine.outbound(bytes(length)).reason == "OutMalformed"
    assert engine.inbound(wire).packet == PACKET


def test_batches_answer_in_order() -> None:
    ours, theirs = sender(), receiver()
    other = udp_packet(THERE, HERE, 1, 2, b"")
    outcomes = ours.outbound_batch([PACKET, b"", other, PACKET])
    assert [each.reason for each in outcomes] == [None, "OutMalformed", None, None]
    assert [each.protected_by for each in outcomes] == [0x1000, None, None, 0x1000]
    wires = [wire for each in outcomes for wire in each.transmitted]
    arrived = theirs.inbound_batch([*wires, wires[0]])
    assert [each.packet for each in arrived] == [PACKET, other, PACKET, None]
    assert arrived[-1].reason == "Replay"
    assert ours.outbound_batch([]) == []


def test_a_journey_is_told_only_on_request() -> None:
    ours, theirs = sender(), receiver()
    out = ours.outbound(PACKET, journey=True)
    story = [
        r"arrived \(out\): 67 bytes",
        r"SPD entry 1 \(out\) matched: protect",
        r"SA chosen: esp 0x00001000 for 192\.0\.2\.2",
        r"sealed by esp 0x00001000 for 192\.0\.2\.2, sequence 1: 67 bytes became \d+",
        r"on the wire: \d+ bytes",
    ]
    assert len(out.journey) == len(story)
    assert all(re.fullmatch(want, told) for want, told in zip(story, out.journey, strict=True)), out.journey
    arrived = theirs.inbound(out.packet or b"", journey=True)
    assert arrived.journey[-2:] == ["inbound check passed against SPD entry 1", "delivered: 67 bytes"]
    assert theirs.inbound(out.packet or b"", journey=True).journey[-1].startswith("dropped: Replay (")
    assert ours.outbound(PACKET).journey == []


def test_too_big_packets_are_answered_to_their_sender() -> None:
    engine = sender()
    engine.configure("path_mtu", 500)
    big = bytearray(udp_packet(HERE, THERE, 1, 2, bytes(600)))
    big[6] |= 0x40
    outcome = engine.outbound(big)
    assert outcome.reason == "OutTooBig"
    (answer,) = outcome.delivered
    assert (answer[9], answer[20:22], answer[16:20]) == (1, b"\x03\x04", ip_address(HERE).packed)
    assert engine.stats().passed["too_big_answers"][0] == 1


# --- explain -----------------------------------------------------------------------------------------


def test_explain_changes_nothing() -> None:
    engine = sender()
    before = repr((engine.stats().passed, [sa.sequence for sa in engine.sad_dump()]))
    verdict = engine.explain("out", PACKET)
    assert (verdict.action, verdict.policy, verdict.templates) == ("protect", 1, [(REQUIRE, 0x1000)])
    assert repr(verdict) == "<Verdict protect by policy 1>"
    assert engine.explain("in", PACKET).action == "bypass"
    assert engine.explain("fwd", PACKET).policy is None
    assert engine.explain("out", b"").action == "malformed"
    engine.sad_flush()
    assert engine.explain("out", PACKET).templates == [(REQUIRE, None)]
    assert engine.take_events() == []
    assert engine.spd_dump()[0].packets == 0
    assert before == repr((engine.stats().passed, [0]))
    with pytest.raises(ValueError, match="in, out, fwd"):
        engine.explain("sideways", PACKET)


# --- configuration and counters ----------------------------------------------------------------------

OTHER_VALUES: dict[str, Any] = {
    "default_policy": "discard",
    "esp_transport_level": "require",
    "esp_tunnel_level": "require",
    "ah_transport_level": "require",
    "ah_tunnel_level": "require",
    "ah_clear_tos": False,
    "ah_offset_mask": 0x1FFF,
    "ah_wide_padding": True,
    "allow_unprotected": True,
    "ipcomp_threshold": 120,
    "ipcomp_threshold_counts_headers": True,
    "ipcomp_back_off": 7,
    "prefer_old_sa": True,
    "df": "set",
    "ecn": "forbidden",
    "path_mtu_secs": 60,
    "icmp_hints": False,
    "cut_encapsulated": False,
    "nat_checksum": "recompute",
    "keepalive_secs": 5,
    "local": [(ip_address(HERE), ip_address(THERE)), (ip_address("::1"), ip_address("::1"))],
    "decrement_hop_limit": False,
    "path_mtu": 1400,
    "hop_limit": 1,
    "encap_ports": [4500, 4501],
    "larval_secs": 5,
    "acquire_block_secs": 0,
    "acquire_block_count": 3,
    "hold_packets": 2,
    "hold_secs": 4,
    "proposal_esp_key_bits": 192,
    "proposal_ah_key_bits": 160,
    "proposal_esp_authenticates": False,
    "spi_min": 0x1000,
    "spi_max": 0x1FFF,
    "spi_tries": 8,
    "lease_block": 7,
    "event_limit": 9,
}


def test_a_configuration_makes_the_round_trip() -> None:
    default = Engine().config()
    assert list(default) == list(OTHER_VALUES)
    assert all(default[name] != value for name, value in OTHER_VALUES.items())
    assert Engine(configuration=default).config() == default
    made = Engine(configuration=OTHER_VALUES)
    assert made.config() == OTHER_VALUES
    for name, value in default.items():
        if name != "lease_block":
            made.configure(name, value)
            assert made.config()[name] == value
    assert made.config() == default | {"lease_block": 7}


def test_a_configuration_refuses_what_it_does_not_know() -> None:
    engine = Engine()
    for name, value, error in (
        ("colour", "red", KeyError),
        ("df", "sometimes", ValueError),
        ("lease_block", 5, ValueError),
        ("path_mtu", "1400", TypeError),
        ("path_mtu", -1, OverflowError),
        ("local", "192.0.2.1", (TypeError, ValueError)),
        ("spi_min", "5", TypeError),
    ):
        with pytest.raises(error):
            engine.configure(name, value)
    assert engine.config() == Engine().config()
    engine.configure("local", [HERE, (HERE, THERE)])
    assert engine.config()["local"][0] == (ip_address(HERE), ip_address(HERE))


def test_a_setting_counts_from_the_next_packet_on() -> None:
    engine = Engine()
    assert engine.outbound(PACKET).packet == PACKET
    engine.configure("default_policy", "discard")
    assert engine.outbound(PACKET).reason == "OutNoPolicy"
    engine.configure("local", [HERE])
    engine.spd_add(PolicyParams("fwd", FORTH, "bypass"))
    assert engine.inbound(PACKET).packet == PACKET


def test_every_packet_moves_one_counter() -> None:
    ours, theirs = sender(), receiver()
    wire = sealed(ours)
    theirs.inbound_batch([wire, wire, b"", PACKET, udp_packet(THERE, HERE, 1, 2, b"")])
    drops = {name: count for name, count in theirs.stats().drops.items() if count}
    assert drops == {"Replay": 1, "InMalformed": 1, "InPolicyViolation": 1}
    passed = theirs.stats().passed
    assert passed["inbound_arrived"][0] == 5
    assert passed["inbound_delivered"] == (1, len(PACKET))
    assert passed["inbound_bypassed"][0] == 1
    assert ours.stats().passed["outbound_protected"] == (1, len(wire))
    kept = ours.stats()
    sealed(ours)
    assert kept.passed["outbound_protected"][0] == 1


# --- seeds, engines, threads -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suite",
    [
        {"encryption": GCM},
        {"encryption": ("aes-cbc", bytes(16)), "authentication": ("hmac-sha2-256-128", bytes(32))},
    ],
)
def test_a_seed_makes_every_iv_again(suite: dict[str, Any]) -> None:
    runs = [[sealed(engine) for _ in range(3)] for engine in (sender(**suite), sender(**suite))]
    assert runs[0] == runs[1]
    ivs = {wire[28:36] for wire in runs[0]}
    assert len(ivs) == 3
    for other in (sender(seed=bytes(32), **suite), sender(seed=None, **suite)):
        assert sealed(other)[28:36] not in ivs
    with pytest.raises(ValueError, match="32 bytes"):
        Engine(seed=bytes(31))


def test_two_engines_do_not_know_each_other() -> None:
    first, second = sender(), Engine(clock="manual")
    assert first.event_fd() != second.event_fd()
    sealed(first)
    assert (second.sad_dump(), second.spd_dump()) == ([], [])
    assert second.outbound(PACKET).packet == PACKET
    first.advance(5)
    second.sad_add(sa_params(hard=Limits(add_secs=5)))
    assert second.poll_timeout() == 5


ELSEWHERE = "192.0.2.99"


def test_threads_share_one_engine_and_no_sequence_number() -> None:
    ours, theirs = sender(), receiver(replay_window=4096)
    wires: list[bytes] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def send() -> None:
        for _ in range(50):
            mine = [outcome.packet for outcome in ours.outbound_batch([PACKET] * 10)]
            wires.extend(packet for packet in mine if packet)

    def disturb() -> None:
        while not done.is_set():
            ours.spd_update(PolicyParams("in", BACK, "discard"))
            # To another host: between these two lines a sender may choose any SA that fits its template.
            ours.sad_add(sa_params(0x2000, destination=ELSEWHERE))
            ours.sad_delete(0x2000, "esp", ELSEWHERE)
            ours.configure("df", "set")
            assert ours.explain("out", PACKET).action == "protect"
            assert ours.stats().drops["OutNoSa"] == len(ours.sad_dump("ah"))
            ours.handle_timeout()
            ours.take_events()

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return run

    senders = [threading.Thread(target=guarded(send)) for _ in range(4)]
    disturber = threading.Thread(target=guarded(disturb))
    for thread in (*senders, disturber):
        thread.start()
    for thread in senders:
        thread.join()
    done.set()
    disturber.join()
    assert failures == []
    names = {(wire[20:24], wire[24:28]) for wire in wires}
    assert len(wires) == len(names) == 2000
    assert all(outcome.packet == PACKET for outcome in theirs.inbound_batch(wires))
    assert ours.stats().passed["outbound_protected"][0] == 2000
