"""Medians, ratios and the texts they are read from, with numbers written down here.

No measurement may enter.
Answers to: docs/benchmarks.md; proc_pid_stat(5) and proc_pid_net(5) for the layouts.
"""

from __future__ import annotations

import pytest
from bench.figures import (
    Column,
    Row,
    Section,
    compare,
    cpu_ticks,
    device_bytes,
    median,
    ratio,
    rust_lines,
)

STAT = (
    "4711 (a (strange) name) S 1 4711 4711 0 -1 4194560 1031 0 0 0 250 50 7 9 20 0 3 0 "
    "170000 230000000 2500 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0"
)
NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0
sallet0: 1000      10    0    0    0     0          0         0   2000000    1500    0    0    0     0
"""


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), ([3.0], 3.0), ([9.0, 1.0, 5.0], 5.0), ([1.0, 2.0, 4.0, 100.0], 3.0)]
)
def test_the_median_of_the_rounds(values: list[float], expected: float | None) -> None:
    assert median(values) == expected


@pytest.mark.parametrize(
    ("value", "beside", "expected"),
    [(6.0, 2.0, 3.0), (None, 2.0, None), (6.0, None, None), (6.0, 0.0, None), (0.0, 2.0, 0.0)],
)
def test_a_ratio_needs_two_figures(value: float | None, beside: float | None, expected: float | None) -> None:
    assert ratio(value, beside) == expected


def test_rows_are_compared_by_their_medians() -> None:
    ours, peer, empty = Row("ours"), Row("peer"), Row("empty", reason="not here")
    for fast, slow in ((3.0, 1.0), (100.0, 2.0), (4.0, 50.0)):
        ours.add({"speed": fast})
        peer.add({"speed": slow})
    compare([ours, peer, empty], peer, {"times": "speed"})
    assert ours.ratios == {"times": 2.0}
    assert peer.ratios == {"times": 1.0}
    assert empty.ratios == {}


def test_without_the_peer_there_is_no_ratio() -> None:
    ours, peer = Row("ours", {"speed": [3.0]}), Row("peer", reason="not installed")
    compare([ours, peer], peer, {"times": "speed"})
    compare([ours], None, {"times": "speed"})
    assert ours.ratios == {}


def test_the_lines_of_the_rust_benchmark() -> None:
    text = 'warning: something\n{"name":"esp seal","bytes":64,"ns":[387.7, 450.4]}\n\n'
    assert rust_lines(text) == {("esp seal", 64): [387.7, 450.4]}


@pytest.mark.parametrize("line", ['{"name":"esp seal"}', '{"name":', '{"name":"a","bytes":64,"ns":7}'])
def test_a_line_that_is_not_the_benchmark_s_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not a line"):
        rust_lines(line)


def test_cpu_time_of_a_process_whatever_its_name() -> None:
    assert cpu_ticks(STAT) == 300


def test_the_bytes_of_a_link() -> None:
    assert device_bytes(NET_DEV, "sallet0") == 2_001_000
    assert device_bytes(NET_DEV, "lo") == 0
    assert device_bytes(NET_DEV, "sallet") is None


def test_json_holds_every_round_and_the_reason() -> None:
    rows = [Row("ours", {"speed": [3.0, 1.0, 2.0]}), Row("peer", reason="not installed")]
    section = Section("tcp", "TCP", "how", (Column("speed", "Gbit/s"),), rows)
    ours, peer = section.as_json()["rows"]
    assert ours["rounds"] == {"speed": [3.0, 1.0, 2.0]}
    assert ours["medians"] == {"speed": 2.0}
    assert ours["not_measured"] is None
    assert peer["not_measured"] == "not installed"
    assert peer["medians"] == {}
