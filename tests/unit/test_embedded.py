"""`sallet.configure`, `Host` and `Link`: setkey text into engines of this process, and a wire between them.

No grammar of setkey may enter: that is `tests/unit/lang`.
Answers to: setkey(8), ARCHITECTURE.md "Rooms".
"""

from __future__ import annotations

import errno
from itertools import count
from pathlib import Path

import pytest

from sallet import ConfigurationError, Engine, Host, Link, configure, echo_packet, udp_packet
from sallet.lang.lexer import SetkeyError

HERE, THERE = "192.0.2.1", "192.0.2.2"
ADD = f"add {HERE} {THERE} esp 0x1000 -E aes-gcm-16 0x{'ab' * 20};\n"
POLICY = f"spdadd {HERE} {THERE} any -P {{}} ipsec esp/transport//require;\n"
PACKET = udp_packet(HERE, THERE, 1000, 53, b"a question")


def linked() -> Link:
    """A left host that protects what it sends to the right one."""
    left, right = Engine(clock="manual"), Engine(clock="manual")
    assert configure(left, ADD + POLICY.format("out")) == 2
    assert configure(right, ADD + POLICY.format("in")) == 2
    ticks = count(1)
    return Link(Host("left", left), Host("right", right), clock=lambda: float(next(ticks)))


# --- text into an engine -----------------------------------------------------------------------------


def test_text_becomes_entries() -> None:
    engine = Engine()
    assert configure(engine, "# nothing but a remark\n") == 0
    text = f"flush; spdflush;\n{ADD}{POLICY.format('out')}{POLICY.format('in')}"
    assert configure(engine, text) == 5
    (sa,) = engine.sad_dump()
    assert (sa.spi, sa.encryption) == (0x1000, ("aes-gcm-16", b"\xab" * 20))
    # setkey adds the `fwd` beside an `in`.
    assert [policy.direction for policy in engine.spd_dump()] == ["out", "in", "fwd"]
    assert configure(engine, "flush; spdflush;") == 2
    assert (engine.sad_dump(), engine.spd_dump()) == ([], [])


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("add nonsense;", 1, 5), (ADD + "\n  spdadd 1.2.3.4 any;\n", 3, None), (ADD + "flush", 2, None)],
)
def test_a_mistake_in_the_text_is_found_before_anything_changes(
    text: str, line: int, column: int | None
) -> None:
    engine = Engine()
    with pytest.raises(SetkeyError) as caught:
        configure(engine, text, filename="mine.conf")
    assert (caught.value.filename, caught.value.line) == ("mine.conf", line)
    assert column is None or caught.value.column == column
    assert (engine.sad_dump(), engine.spd_dump()) == ([], [])


def test_what_the_engine_refuses_names_the_line() -> None:
    engine = Engine()
    with pytest.raises(ConfigurationError, match=r"twice\.conf:2") as caught:
        configure(engine, ADD + ADD, filename="twice.conf")
    assert isinstance(caught.value, OSError)
    assert (caught.value.errno, caught.value.line) == (errno.EEXIST, 2)
    assert "abab" not in str(caught.value)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_the_examples_are_the_same_everywhere(name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / "python/sallet/examples" / f"{name}.setkey").read_text()
    assert (root / "examples" / f"{name}.setkey").read_text() == text
    assert configure(Engine(), text) > 0


# --- the link ----------------------------------------------------------------------------------------


def test_a_link_carries_and_remembers() -> None:
    link = linked()
    outcome, (arrival,) = link.send(link.left, PACKET, journey=True)
    assert outcome.protected_by == 0x1000
    assert arrival.packet == PACKET
    assert arrival.journey[-1].startswith("delivered")
    assert link.right.delivered == [PACKET]
    assert link.left.delivered == []
    (frame,) = link.frames
    assert (frame.sender, frame.packet, frame.millis) == ("left", outcome.packet, 1.0)
    link.send(link.left, PACKET)
    assert [each.millis for each in link.frames] == [1.0, 2.0]


def test_each_end_is_the_peer_of_the_other() -> None:
    link = linked()
    assert link.peer(link.left) is link.right
    assert link.peer(link.right) is link.left
    outcome, (arrival,) = link.send(link.right, echo_packet(THERE, HERE))
    assert outcome.protected_by is None
    assert arrival.delivered == link.left.delivered


def test_an_intruder_reaches_the_wire_and_no_further() -> None:
    link = linked()
    (outcome,) = link.carry(link.left, [PACKET])
    assert outcome.reason == "InPolicyViolation"
    assert [frame.packet for frame in link.frames] == [PACKET]
    assert link.right.delivered == []


def test_what_a_host_drops_never_reaches_the_wire() -> None:
    link = linked()
    configure(link.left.engine, "flush;")
    outcome, arrivals = link.send(link.left, PACKET)
    assert (outcome.reason, arrivals, link.frames) == ("OutNoSa", [], [])


def test_an_answer_to_the_sender_is_delivered_at_once() -> None:
    link = linked()
    link.left.engine.configure("path_mtu", 300)
    big = bytearray(udp_packet(HERE, THERE, 1, 2, bytes(400)))
    big[6] |= 0x40
    outcome, arrivals = link.send(link.left, bytes(big))
    assert (outcome.reason, arrivals) == ("OutTooBig", [])
    assert link.left.delivered == outcome.delivered
    assert len(link.left.delivered) == 1
