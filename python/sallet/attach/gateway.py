"""`gateway` mode: destinations that policy protects or discards are routed into the engine's device.

No marks on traffic and no engine call may enter; inbound and forwarded clear packets meet the same guard.
Answers to: design "Ways to attach".
"""

from __future__ import annotations

from collections.abc import Sequence

from sallet.attach.clauses import PolicyLike
from sallet.attach.cleanup import RULE_PRIORITY
from sallet.attach.coverage import Network
from sallet.attach.guard import BYPASS_MARK, MARK_MASK, Guard
from sallet.attach.host import BLACKHOLE_METRIC, DEVICE_METRIC, HostAttachment


class GatewayAttachment(HostAttachment):
    """As in `host` mode, but a routing table of prefixes takes the place of the marks."""

    _connected = False

    def prepare(self, policies: Sequence[PolicyLike]) -> None:
        """Close every way out, then make the rule that asks the table of prefixes.

        The rule passes over what carries the engine's own mark, or its packets would come back to it.
        """
        super().prepare(policies)
        for family in self._machine.families:
            self._machine.add_rule(
                family,
                priority=RULE_PRIORITY,
                table=self.names.prefix_table,
                mark=BYPASS_MARK,
                mask=MARK_MASK,
                invert=True,
            )
        self._change_routes(None, self.table.guard)

    def connect(self) -> None:
        """Bring the engine's device up and route the prefixes into it."""
        super().connect()
        self._connected = True
        self._change_routes(None, self.table.guard)

    def _swap(self, before: Guard | None, after: Guard) -> None:
        super()._swap(before, after)
        self._change_routes(before, after)

    def _change_routes(self, before: Guard | None, after: Guard | None) -> None:
        """Add the routes that are new, then remove those that are no longer wanted."""
        old, new = _prefixes(before), _prefixes(after)
        table = self.names.prefix_table
        for prefix in sorted(new - old, key=str):
            if prefix.version not in self._machine.families:
                continue
            self._machine.add_blackhole(prefix, table=table, metric=BLACKHOLE_METRIC)
            if self._connected:
                self._machine.add_device_route(
                    prefix, device=self.config.device, table=table, metric=DEVICE_METRIC
                )
        for prefix in sorted(old - new, key=str):
            if prefix.version in self._machine.families:
                self._machine.remove_route(prefix, table=table, metric=DEVICE_METRIC)
                self._machine.remove_route(prefix, table=table, metric=BLACKHOLE_METRIC)


def _prefixes(guard: Guard | None) -> set[Network]:
    if guard is None:
        return set()
    return {prefix for coverage in guard.outbound_destinations for prefix in coverage.prefixes()}
