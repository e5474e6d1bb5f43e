"""The benchmark does the work that it times: every way to seal, every tunnel of ours, for a moment.

No figure is judged here.
Answers to: docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import load, python_api, tunnels
from bench.namespaces import Pair

import sallet
from interop import capabilities  # noqa: F401 (declares them)
from netns import need

pytestmark = pytest.mark.interop

OURS = [tool for tool in tunnels.TOOLS if tool.name.startswith("sallet")]


@pytest.mark.parametrize(
    ("capability", "make"), [("engine", python_api.by_hand), ("scapy", python_api.with_scapy)]
)
def test_the_ways_beside_the_engine_make_esp_that_it_opens(
    capability: str, make: Callable[[], python_api.Seal]
) -> None:
    need("engine")
    need(capability)
    seal, receiver = make(), python_api.engine("in")
    for size in range(64):
        packet = sallet.udp_packet(python_api.SOURCE, python_api.DESTINATION, 1000, 53, bytes(size))
        assert receiver.inbound(seal(packet)).packet == packet


@pytest.mark.netns
@pytest.mark.parametrize("tool", OURS, ids=lambda tool: str(tool.name))
def test_a_stream_through_our_own_tunnels(tool: tunnels.Tool, tmp_path: Path) -> None:
    for capability in ("engine", "netns", "nft", "tun"):
        need(capability)
    with Pair() as pair:
        running = tool.start(pair, tmp_path)
        load.warm_up(pair, running.source, running.target)
        assert all(daemon.poll() is None for daemon in running.daemons)
        assert running.device is not None
        assert pair.ends[0].has_device(running.device)
    assert all(daemon.poll() == 0 for daemon in running.daemons)
