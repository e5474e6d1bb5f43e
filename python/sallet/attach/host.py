"""`host` mode: packets that policy may protect are marked, and a rule sends the marked ones to the engine.

No nft text (that is the guard's) and no engine call may enter: policies come in as values.
Answers to: design "host mode: what trials taught"; fail closed, in every order of events.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sallet.attach import cleanup, devices
from sallet.attach.clauses import GuardConfig, PolicyLike
from sallet.attach.cleanup import RULE_PRIORITY, Names, Record
from sallet.attach.coverage import Network
from sallet.attach.devices import Devices
from sallet.attach.guard import MARK_MASK, ROUTE_MARK, Guard, compile_guard
from sallet.attach.socket_maps import Maps
from sallet.attach.table import GuardTable
from sallet.failure import Failure

DEVICE_METRIC = 10
BLACKHOLE_METRIC = 1000
DEVICE_GONE_SECS = 2.0
EVERYTHING: dict[int, Network] = {
    4: ipaddress.IPv4Network("0.0.0.0/0"),
    6: ipaddress.IPv6Network("::/0"),
}


class HostAttachment:
    """One daemon's hold on its network namespace: `prepare`, `connect`, `policies_changed`, `detach`."""

    def __init__(self, run_dir: Path, machine: Devices, config: GuardConfig) -> None:
        self.names = Names.of(run_dir)
        self.config = config
        self.table = GuardTable(
            self.names.nft_prefix, devices.apply_nft, devices.nft_tables, devices.nft_counters
        )
        self._run_dir = run_dir
        self._machine = machine
        self._record = Record(cleanup.namespace_id(), config.mode, config.device)
        self._sockets: Maps = {}

    def prepare(self, policies: Sequence[PolicyLike]) -> None:
        """Take over from a dead daemon and close every way out; nothing marked can leave from now on.

        Called before the device exists. An old guard stays until the new one replaces it, in one transaction.
        """
        self._take_over()
        cleanup.write_record(self._run_dir, self._record)
        self._record = cleanup.loosen_reverse_path(self._run_dir, self._record)
        for family in self._machine.families:
            self._machine.add_blackhole(
                EVERYTHING[family], table=self.names.mark_table, metric=BLACKHOLE_METRIC
            )
            self._machine.add_rule(
                family, priority=RULE_PRIORITY, table=self.names.mark_table, mark=ROUTE_MARK, mask=MARK_MASK
            )
        self.table.install(compile_guard(policies, self.config))

    def connect(self) -> None:
        """Bring the engine's device up and open the way into it."""
        device = self.config.device
        devices.write_setting(f"net/ipv4/conf/{device}/rp_filter", "2")
        self._machine.bring_up(device, self.config.device_mtu)
        for family in self._machine.families:
            if family == 6 and devices.read_setting(f"net/ipv6/conf/{device}/disable_ipv6") != "0":
                continue  # The host has IPv6 switched off; the blackhole stays.
            self._machine.add_device_route(
                EVERYTHING[family], device=device, table=self.names.mark_table, metric=DEVICE_METRIC
            )

    def set_mtu(self, mtu: int, policies: Sequence[PolicyLike]) -> None:
        """Change the device's MTU, and the segment size that the guard lets TCP announce."""
        self._machine.set_mtu(self.config.device, mtu)
        self.policies_changed(policies, replace(self.config, device_mtu=mtu))

    def policies_changed(self, policies: Sequence[PolicyLike], config: GuardConfig | None = None) -> None:
        """Make the kernel's side agree with the SPD; on failure it is as before.

        Raises:
            Failure: the kernel refused.
        """
        wanted = self.config if config is None else config
        self._change(replace(compile_guard(policies, wanted), maps=self._sockets))
        self.config = wanted

    def sockets_changed(self, maps: Maps) -> None:
        """Make the kernel's side agree with the policies of sockets; on failure it is as before.

        Raises:
            Failure: the kernel refused.
        """
        if self.table.guard is not None:
            self._change(replace(self.table.guard, maps=maps))
        self._sockets = maps

    def _change(self, compiled: Guard) -> None:
        before = self.table.guard
        try:
            self._swap(before, compiled)
        except Failure:
            if before is not None:
                with suppress(Failure):
                    self._swap(compiled, before)
            raise

    def detach(self) -> None:
        """Take everything away again: routes, rules, device, packet filter, settings."""
        cleanup.undo(self._run_dir, self._machine, self._record)
        self.table.remove()

    def _swap(self, before: Guard | None, after: Guard) -> None:
        self.table.change(after)

    def _take_over(self) -> None:
        left = cleanup.read_record(self._run_dir)
        if left is not None:
            # Its guard stays, and lets nothing out in clear, until ours replaces it.
            cleanup.undo(self._run_dir, self._machine, left)
            # A killed daemon's descriptors close one after the other, the device's perhaps not yet.
            deadline = time.monotonic() + DEVICE_GONE_SECS
            while self._machine.link_index(self.config.device) is not None and time.monotonic() < deadline:
                time.sleep(0.02)
        if self._machine.link_index(self.config.device) is not None:
            raise Failure(
                "the device's name is taken",
                where=self.config.device,
                why="a link of that name is there, and it is not ours",
                next_step="remove it, or choose another name with --device",
            )
