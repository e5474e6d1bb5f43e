"""An attachment whose kernel refuses is as it was before; names follow from the run directory.

Answers to: sallet.attach.host, gateway and cleanup.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from sallet.attach import cleanup, devices
from sallet.attach.clauses import GuardConfig
from sallet.attach.cleanup import Names, Record
from sallet.attach.coverage import Network
from sallet.attach.gateway import GatewayAttachment
from sallet.failure import Failure
from unit.attach.entries import entry

CONFIG = GuardConfig(device="sallet0", device_mtu=1400, mode="gateway")


class Machine:
    """Remembers routes and rules; refuses what it is told to refuse."""

    families = (4, 6)

    def __init__(self) -> None:
        self.routes: set[tuple[str, int]] = set()
        self.rules: list[dict[str, object]] = []
        self.refused: str = ""

    def link_index(self, name: str) -> int | None:
        return None

    def bring_up(self, name: str, mtu: int) -> None: ...

    def add_rule(self, family: int, **words: object) -> None:
        self.rules.append(words)

    def add_blackhole(self, prefix: Network, *, table: int, metric: int) -> None:
        self.routes.add((f"blackhole {prefix}", table))

    def add_device_route(self, prefix: Network, *, device: str, table: int, metric: int) -> None:
        if self.refused == str(prefix):
            raise Failure("refused")
        self.routes.add((f"{device} {prefix}", table))

    def remove_route(self, prefix: Network, *, table: int, metric: int) -> None:
        kind = "blackhole" if metric == 1000 else "sallet0"
        self.routes.discard((f"{kind} {prefix}", table))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what would go to nft, and leave /proc/sys alone."""
    applied: list[str] = []
    monkeypatch.setattr(devices, "apply_nft", applied.append)
    monkeypatch.setattr(devices, "nft_tables", lambda: ["sallet_other_1", "filter"])
    monkeypatch.setattr(devices, "nft_counters", lambda table: {})
    monkeypatch.setattr(devices, "write_setting", lambda name, value: None)
    monkeypatch.setattr(devices, "read_setting", lambda name: "0")
    monkeypatch.setattr(devices, "strict_reverse_path", lambda: False)
    return applied


def attached(machine: Machine, run_dir: Path, policies: Sequence[object] = ()) -> GatewayAttachment:
    attachment = GatewayAttachment(run_dir, machine, CONFIG)  # type: ignore[arg-type]
    attachment.prepare(policies)  # type: ignore[arg-type]
    attachment.connect()
    return attachment


def test_prefixes_come_and_go_with_the_policies(scripts: list[str], tmp_path: Path) -> None:
    machine = Machine()
    attachment = attached(machine, tmp_path, [entry("out", "10.1.0.0/16", "10.2.0.0/16")])
    table = attachment.names.prefix_table
    assert {("sallet0 10.2.0.0/16", table), ("blackhole 10.2.0.0/16", table)} <= machine.routes
    attachment.policies_changed([entry("out", "10.1.0.0/16", "10.3.0.0/16")])
    prefixes = {route for route in machine.routes if route[1] == table}
    assert prefixes == {("sallet0 10.3.0.0/16", table), ("blackhole 10.3.0.0/16", table)}


def test_a_refused_change_is_taken_back(scripts: list[str], tmp_path: Path) -> None:
    machine = Machine()
    attachment = attached(machine, tmp_path, [entry("out", "10.1.0.0/16", "10.2.0.0/16")])
    before, routes = attachment.table.guard, set(machine.routes)
    assert before is not None
    machine.refused = "10.9.0.0/16"
    with pytest.raises(Failure, match="refused"):
        attachment.policies_changed([entry("out", "10.1.0.0/16", "10.9.0.0/16")])
    assert attachment.table.guard is before
    assert "delete element" in scripts[-1]
    assert machine.routes == routes


def test_the_same_table_is_not_loaded_twice(scripts: list[str], tmp_path: Path) -> None:
    policies = [entry("out", "10.1.0.0/16", "10.2.0.0/16")]
    attachment = attached(Machine(), tmp_path, policies)
    count = len(scripts)
    attachment.policies_changed(policies)
    assert len(scripts) == count


def test_it_is_written_down_before_it_is_done(scripts: list[str], tmp_path: Path) -> None:
    attached(Machine(), tmp_path)
    record = cleanup.read_record(tmp_path)
    assert record == Record(os.stat("/proc/self/ns/net").st_ino, "gateway", "sallet0")


def test_names_follow_the_directory(tmp_path: Path) -> None:
    one, two = Names.of(tmp_path / "one"), Names.of(tmp_path / "two")
    assert one == Names.of(tmp_path / "other" / ".." / "one")
    assert one.nft_prefix != two.nft_prefix
    assert one.mark_table != one.prefix_table
    assert 0x53000000 <= one.mark_table <= 0x53FFFFFF


def test_a_broken_record_is_told(tmp_path: Path) -> None:
    (tmp_path / cleanup.STATE_NAME).write_text('{"namespace": ')
    with pytest.raises(Failure, match="cannot be read"):
        cleanup.read_record(tmp_path)
