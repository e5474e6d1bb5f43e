"""`sallet demo`: what it shows is so, and whatever goes wrong ends it with 1.

No wording beyond what a reader relies on may enter.
Answers to: README "Two commands".
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from sallet import Engine, Host, Link, _core, embedded
from sallet.cli import demo, main

if TYPE_CHECKING:
    from sallet import Outcome

SHOWN = (
    "No privilege, no kernel IPsec",
    "(out) matched: protect",
    "SA chosen: esp 0x00002001",
    "inbound check passed",
    "What a listener on the link can read",
    "none found",
    "InPolicyViolation",
    "Replay",
    "AuthFailed",
    "InNoSa",
    "sallet --help",
)


def ran() -> int:
    return demo.run(argparse.Namespace())


def test_it_shows_everything_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["demo"]) == 0
    shown = capsys.readouterr().out
    assert [text for text in SHOWN if text not in shown] == []
    for flow in demo.FLOWS:
        row = re.search(rf"{re.escape(flow.title)} +(\d+) +(\d+) +(\d+) ", shown)
        assert row, flow.title
        assert [int(number) for number in row.groups()] == [2 * flow.packets] * 3
    searched = re.search(r"Searched ([\d,]+) bytes for ([\d,]+) pieces", shown)
    assert searched
    wire_bytes, pieces = (int(number.replace(",", "")) for number in searched.groups())
    assert wire_bytes > sum(2 * flow.packets * flow.payload_bytes for flow in demo.FLOWS)
    assert pieces > 1000, "the readable text repeats itself; every piece counts once"


def test_it_prints_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran() == 0
    shown = capsys.readouterr().out.lower()
    for key in ("000102030405060708090a0b0c0d0e0f", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3"):
        assert key[:16] not in shown
        assert " ".join(key[at : at + 2] for at in range(0, 16, 2)) not in shown


@pytest.mark.parametrize("kept", [demo.PIECE_BYTES, 60])
def test_a_leak_on_the_wire_ends_it_with_1(
    kept: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link that lets a piece of one plaintext through, behind a packet that is as it should be."""
    send = Link.send

    def leaking(
        link: Link, host: Host, packet: bytes, *, journey: bool = False
    ) -> tuple[Outcome, list[Outcome]]:
        result = send(link, host, packet, journey=journey)
        if len(link.frames) == 17:
            link.frames[-1].packet += packet[40 : 40 + kept]
        return result

    monkeypatch.setattr(embedded.Link, "send", leaking)
    assert ran() == 1
    assert "FOUND in 1 packets" in capsys.readouterr().out


def test_a_link_that_carries_plaintext_ends_it_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    carry = Link.carry

    def plain(
        link: Link, sender: Host, packets: Iterable[bytes], *, journey: bool = False
    ) -> Iterable[Outcome]:
        outcomes = list(carry(link, sender, packets, journey=journey))
        link.frames[-1].packet = link.peer(sender).delivered[-1]
        return outcomes

    monkeypatch.setattr(embedded.Link, "carry", plain)
    assert ran() == 1
    assert "FOUND in" in capsys.readouterr().out


def test_one_packet_less_ends_it_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    carry = Link.carry

    def lossy(
        link: Link, sender: Host, packets: Iterable[bytes], *, journey: bool = False
    ) -> Iterable[Outcome]:
        arrived = list(carry(link, sender, packets, journey=journey))
        return [] if len(link.frames) == 5 else arrived

    monkeypatch.setattr(embedded.Link, "carry", lossy)
    assert ran() == 1


def test_a_receiver_that_takes_anything_ends_it_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure = embedded.configure

    def lax(engine: Engine, text: str, *, filename: str = "<text>") -> int:
        return configure(engine, text.replace("require", "use"), filename=filename)

    monkeypatch.setattr("sallet.configure", lax, raising=False)
    assert ran() == 1
    assert "ACCEPTED" in capsys.readouterr().out


def test_without_a_replay_window_it_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    configure = embedded.configure

    def lax(engine: Engine, text: str, *, filename: str = "<text>") -> int:
        return configure(engine, text.replace("-r 64", ""), filename=filename)

    monkeypatch.setattr("sallet.configure", lax, raising=False)
    assert ran() == 1


def test_the_listener_finds_every_piece_at_every_offset() -> None:
    secret = _core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, bytes(range(32, 64)))
    pieces = {secret[at : at + demo.PIECE_BYTES] for at in demo._payload_range(secret)}
    assert len(pieces) == len(secret) - 20 - demo.PIECE_BYTES + 1
    for at in range(20, len(secret) - demo.PIECE_BYTES + 1):
        piece = secret[at : at + demo.PIECE_BYTES]
        assert all(demo._leaks(bytes(before) + piece, pieces) for before in range(9))
        assert not demo._leaks(b"\xff" + piece[1:] + b"\xff", pieces)
    assert not demo._leaks(secret[:20], pieces), "addresses are no secret in transport mode"


def test_the_demo_has_two_hosts_that_know_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    link = demo._two_hosts()
    capsys.readouterr()
    alpha, beta = ({sa.spi for sa in host.engine.sad_dump()} for host in (link.left, link.right))
    assert alpha == beta
