"""The guard: the SPD as nft chains and sets that keep clear packets from going where policy forbids it.

A pure function: no IO, no engine, no process may enter.
Answers to: design "host mode"; RFC 4301 section 5.2 for clear arrivals, `ipsec(4)` for `def_policy`.

Outbound, the kernel only chooses a superset by address and hands it to the engine, which decides. Inbound
and forwarded clear packets are judged here, entry by entry in SPD order, as `Engine.explain` judges them.
What was to go to the engine and is about to leave elsewhere (loopback, multicast, a route gone missing) is
judged in `postrouting`, and never leaves in clear where an entry insists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sallet.attach import socket_maps
from sallet.attach.clauses import (
    VIOLATIONS,
    GuardConfig,
    PolicyLike,
    bare_tunnels,
    ip,
    objects,
    reads_next_layer,
    rules,
)
from sallet.attach.coverage import FAMILIES, Coverage

MARK_MASK = 0x0C00_0000
"""The two bits of the packet mark that are ours; the others are left to whoever uses them."""
ROUTE_MARK = 0x0400_0000
"""Set on packets that the rule sends to the device."""
BYPASS_MARK = 0x0800_0000
"""Set (SO_MARK) by the engine on everything it sends itself."""
SOCKET_MARK = ROUTE_MARK | BYPASS_MARK
"""Set (SO_MARK) on sockets whose own policy protects what they send; it chooses no route by itself."""

EXACT_ENTRIES_MAX = 4096
"""Entries judged one by one in each direction; what stands behind them is judged by address only."""

COUNTERS: dict[str, str] = {
    "InPolicyViolation": "a clear packet arrived where the SPD insists on protection",
    "InPolicyDiscard": "a clear packet arrived where the SPD says discard",
    "InNoPolicy": "a clear packet arrived, no SPD entry matches and the default policy is discard",
    "OutNotProtected": "a packet that the SPD protects had no way through the engine (loopback, multicast)",
    "OutPolicyDiscard": "a packet that the SPD discards had no way through the engine (loopback, multicast)",
    "OutNoPolicy": "as above; no SPD entry matches and the default policy is discard",
    "OutUnconfirmed": "a socket with a policy of its own sent what no daemon had confirmed",
    "NoDaemon": "a protected packet arrived while no daemon owns its protocol",
}
"""The counters of the table: names of drop reasons where there is one, and what each counts."""

JUDGES = {"judge_out": "Out", "judge_in": "In", "judge_forward": "In"}
"""The chains that hold the entries, and the side their counters are named for."""

_AH = 51
_IPSEC_PROTOCOLS = (50, _AH, 108)


@dataclass(frozen=True, slots=True)
class Guard:
    """The compiled table by its parts, so that a change can load what has changed."""

    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The chains that the kernel calls, and those that do not depend on the entries."""
    judges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """One chain for each direction: the entries in SPD order."""
    sets: Mapping[str, Coverage] = field(default_factory=dict)
    """The sets of addresses that hooks look into."""
    maps: socket_maps.Maps = field(default_factory=dict)
    """The policies of sockets; none in `gateway` mode, which does not see what programs here send."""
    outbound_destinations: tuple[Coverage, ...] = ()
    """IPv4 and IPv6 destinations of which some are not simply bypassed: what `gateway` mode routes."""
    entries_by_address_only: int = 0
    """Entries beyond `EXACT_ENTRIES_MAX`, over all directions."""


def compile_guard(policies: Iterable[PolicyLike], config: GuardConfig) -> Guard:
    """Compile the SPD into the guard's table."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", config.device):
        raise ValueError(f"{config.device!r} cannot stand in an nft script")
    ordered = sorted(policies, key=lambda policy: (policy.priority, policy.serial))
    directions = {
        "judge_out": [policy for policy in ordered if policy.direction == "out"],
        "judge_in": [policy for policy in ordered if policy.direction == "in"],
        "judge_forward": [
            policy
            for policy in ordered
            if policy.direction == "fwd" or (policy.direction == "in" and policy.judges_forwarded)
        ],
    }
    sets = _reach(directions["judge_out"], config)
    for judge, entries in directions.items():
        side = JUDGES[judge]
        sets |= _coverages(judge, [p for p in entries if objects(p, config, side)])
        rest = [p for p in entries[EXACT_ENTRIES_MAX:] if objects(p, config, side)]
        sets |= _coverages(f"{judge}_rest", rest)
    arriving = [*directions["judge_in"], *directions["judge_forward"]]
    judges = {
        judge: tuple(
            rule for policy in entries[:EXACT_ENTRIES_MAX] for rule in rules(policy, config, JUDGES[judge])
        )
        for judge, entries in directions.items()
    }
    judges["judge_in"] = (*bare_tunnels(arriving), *judges["judge_in"])
    return Guard(
        hooks=_hooks(any(reads_next_layer(policy.selector) for policy in arriving), config),
        judges=judges,
        sets=sets,
        outbound_destinations=tuple(sets[f"reach_daddr{family}"] for family in FAMILIES),
        entries_by_address_only=sum(len(entries[EXACT_ENTRIES_MAX:]) for entries in directions.values()),
    )


# Sets


def _coverages(name: str, policies: Sequence[PolicyLike]) -> dict[str, Coverage]:
    """Merge the sources and the destinations of some entries, each family apart."""
    selectors = [policy.selector for policy in policies]
    sources = [selector.source for selector in selectors]
    destinations = [selector.destination for selector in selectors]
    return {
        f"{name}_{word}{family}": Coverage.of(family, ranges)
        for family in FAMILIES
        for word, ranges in (("saddr", sources), ("daddr", destinations))
    }


def _reach(outbound: Sequence[PolicyLike], config: GuardConfig) -> dict[str, Coverage]:
    """Merge the addresses of every outbound entry that is more than a bypass."""
    if config.default_policy == "discard":
        words = ("saddr", "daddr")
        return {f"reach_{word}{f}": Coverage.everything(f) for f in FAMILIES for word in words}
    return _coverages("reach", [policy for policy in outbound if policy.action != "bypass"])


# Hooks

HOOKED = {
    "prerouting": "type filter hook prerouting priority mangle; policy accept;",
    "output": "type route hook output priority mangle; policy accept;",
    "postrouting": "type filter hook postrouting priority mangle; policy accept;",
    "input": "type filter hook input priority mangle; policy accept;",
    "forward": "type filter hook forward priority mangle; policy accept;",
}
_NEIGHBOUR_DISCOVERY = "meta nfproto ipv6 meta l4proto 58 icmpv6 type 133-137 accept"
_FROM_ENGINE = f"meta mark & {MARK_MASK:#x} == {BYPASS_MARK:#x} accept"
_CLEAR_MARK = f"meta mark set meta mark & {~MARK_MASK & 0xFFFFFFFF:#x}"
_SET_ROUTE_MARK = f"{_CLEAR_MARK} | {ROUTE_MARK:#x}"
_OF_SOCKET = f"meta mark & {MARK_MASK:#x} == {SOCKET_MARK:#x}"
_MARKING = [
    f"{ip(family)} saddr @reach_saddr{family} {ip(family)} daddr @reach_daddr{family} {_SET_ROUTE_MARK}"
    for family in FAMILIES
]


def _hooks(reads_next_layer: bool, config: GuardConfig) -> dict[str, tuple[str, ...]]:
    marking = _MARKING if config.mode == "host" else []
    sockets = socket_maps.chains(_OF_SOCKET, _SET_ROUTE_MARK) if config.mode == "host" else {}
    to_device, from_device = f'oifname "{config.device}"', f'iifname "{config.device}"'
    # Any `ct` expression makes the kernel reassemble before this hook; the rule itself does nothing.
    whole = ["ct state invalid continue"] if reads_next_layer else []
    chains = {
        "owned": _OWNED,
        **sockets,
        # What is forwarded and may need the engine is marked before it is routed.
        "prerouting": [*whole, _NEIGHBOUR_DISCOVERY, "fib daddr type != unicast accept", *marking],
        # What this host sends is routed anew after a mark.
        "output": [
            _FROM_ENGINE,
            _NEIGHBOUR_DISCOVERY,
            *(["jump pcb_out"] if sockets else []),
            'oifname "lo" accept',
            *_unreachable_answers(config),
            *marking,
        ],
        "postrouting": [
            _FROM_ENGINE,
            *_clamp(to_device, config),
            f"{to_device} accept",
            _NEIGHBOUR_DISCOVERY,
            *_judged("judge_out", config),
        ],
        "input": [
            *_clamp(from_device, config),
            f"{from_device} accept",
            _NEIGHBOUR_DISCOVERY,
            *_arriving_protected(config),
            *(["jump pcb_in"] if sockets else []),
            *_judged("judge_in", config),
        ],
        "forward": [
            *_clamp(from_device, config),
            f"{from_device} accept",
            _NEIGHBOUR_DISCOVERY,
            *_judged("judge_forward", config),
        ],
    }
    return {name: tuple(chain) for name, chain in chains.items()}


def _judged(judge: str, config: GuardConfig) -> list[str]:
    """Let go what no entry objects to, ask the entries, then those beyond the limit, then the default."""
    side = JUDGES[judge]
    early = [
        f"{ip(family)} {word} != @{judge}_{word}{family} accept"
        for family in FAMILIES
        for word in ("saddr", "daddr")
        if config.default_policy != "discard"
    ]
    rest = [
        f"{ip(family)} saddr @{judge}_rest_saddr{family} {ip(family)} daddr @{judge}_rest_daddr{family} "
        f'counter name "{VIOLATIONS[side]}" drop'
        for family in FAMILIES
    ]
    default = [f'counter name "{side}NoPolicy" drop'] if config.default_policy == "discard" else []
    return [*early, f"jump {judge}", *rest, *default]


_OWNED = [
    # The device goes with the daemon's descriptor, and only a blackhole is left in the marked table; asking
    # that table for any route therefore tells whether the daemon lives. Otherwise the kernel would answer
    # with protocol or port unreachable.
    _SET_ROUTE_MARK,
    'fib saddr . mark oif missing counter name "NoDaemon" drop',
    _CLEAR_MARK,
    "accept",
]


def _arriving_protected(config: GuardConfig) -> list[str]:
    """Keep for the engine what only it can open."""
    found = []
    for protocol in _IPSEC_PROTOCOLS:
        verdict = "goto owned" if protocol in config.owned_protocols else 'counter name "NoDaemon" drop'
        found.append(f"meta l4proto {protocol} {verdict}")
        if protocol == _AH:
            # To nft an IPv6 AH is an extension header, and `l4proto` is what follows it.
            found.append(f"ip6 nexthdr {_AH} {verdict}")
    found += [f"meta l4proto 17 th dport {port} goto owned" for port in config.udp_ports]
    return found


def _unreachable_answers(config: GuardConfig) -> list[str]:
    """Drop the kernel's own answer to what only a daemon can take.

    While a daemon starts or ends, its device may be there and its sockets not; `_OWNED` cannot tell.
    The answers quote the packet: 8 octets behind the start of ICMP stands its IP header.
    """
    protocols = ", ".join(map(str, _IPSEC_PROTOCOLS))
    verdict = 'counter name "NoDaemon" drop'
    found = [
        f"icmp type 3 icmp code 2 @th,136,8 {{ {protocols} }} {verdict}",
        f"icmpv6 type 4 icmpv6 code 1 @th,112,8 {{ {protocols} }} {verdict}",
    ]
    for port in config.udp_ports:
        found.append(f"icmp type 3 icmp code 3 @th,136,8 17 @th,240,16 {port} {verdict}")
        found.append(f"icmpv6 type 1 icmpv6 code 4 @th,112,8 17 @th,400,16 {port} {verdict}")
    return found


def _clamp(condition: str, config: GuardConfig) -> list[str]:
    """Lower the segment size that TCP announces: TCP looked at a route before the mark, with a larger MTU."""
    return [
        f"{condition} meta nfproto ipv{family} tcp flags syn "
        f"tcp option maxseg size set {max(config.device_mtu - headers, 1)}"
        for family, headers in ((4, 40), (6, 60))
    ]
