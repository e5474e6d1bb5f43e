"""The guard: the SPD as nft text that keeps clear packets from going where policy forbids them to go.

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
from typing import Literal, Protocol

from sallet.attach.coverage import FAMILIES, Coverage, Range, is_whole_family, range_text

MARK_MASK = 0x0C00_0000
"""The two bits of the packet mark that are ours; the others are left to whoever uses them."""
ROUTE_MARK = 0x0400_0000
"""Set on packets that the rule sends to the device."""
BYPASS_MARK = 0x0800_0000
"""Set (SO_MARK) by the engine on everything it sends itself."""

EXACT_ENTRIES_MAX = 4096
"""Entries judged one by one in each direction; what stands behind them is judged by address only."""

COUNTERS: dict[str, str] = {
    "InPolicyViolation": "a clear packet arrived where the SPD insists on protection",
    "InPolicyDiscard": "a clear packet arrived where the SPD says discard",
    "InNoPolicy": "a clear packet arrived, no SPD entry matches and the default policy is discard",
    "OutNotProtected": "a packet that the SPD protects had no way through the engine (loopback, multicast)",
    "OutPolicyDiscard": "a packet that the SPD discards had no way through the engine (loopback, multicast)",
    "OutNoPolicy": "as above; no SPD entry matches and the default policy is discard",
    "NoDaemon": "a protected packet arrived while no daemon owns its protocol",
}
"""The counters of the table: names of drop reasons where there is one, and what each counts."""

_PORT_PROTOCOLS = (6, 17, 33, 132, 136)
_ICMP_PROTOCOLS = (1, 58)
_MOBILITY = 135
_PORT_MAX = 0xFFFF
_ALL_PORTS = (0, _PORT_MAX)
_AH = 51
_IPSEC_PROTOCOLS = (50, _AH, 108)


class TemplateLike(Protocol):
    """What the guard reads of a template (`_core.Template` has it)."""

    @property
    def protocol(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def level(self) -> str: ...


class SelectorLike(Protocol):
    """What the guard reads of a selector (`_core.Selector` has it)."""

    @property
    def source(self) -> Range: ...
    @property
    def destination(self) -> Range: ...
    @property
    def next_layer(self) -> int | None: ...
    @property
    def source_ports(self) -> tuple[int, int]: ...
    @property
    def destination_ports(self) -> tuple[int, int]: ...


class PolicyLike(Protocol):
    """What the guard reads of an SPD entry (`_core.PolicyView` has it)."""

    @property
    def id(self) -> int: ...
    @property
    def direction(self) -> str: ...
    @property
    def selector(self) -> SelectorLike: ...
    @property
    def action(self) -> str: ...
    @property
    def templates(self) -> Sequence[TemplateLike]: ...
    @property
    def priority(self) -> int: ...
    @property
    def serial(self) -> int: ...
    @property
    def judges_forwarded(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Everything besides the SPD that the table depends on."""

    table: str
    device: str
    device_mtu: int
    mode: Literal["host", "gateway"] = "host"
    default_policy: str = "bypass"
    levels: Mapping[str, str] = field(default_factory=dict)
    """`esp_transport_level` and its three siblings: what level `default` means. Absent means `use`."""
    owned_protocols: frozenset[int] = frozenset({50, 51, 108})
    """The protocols for which the datapath holds a raw socket."""
    udp_port: int | None = None
    """The port on which the datapath takes ESP-in-UDP."""

    def insists(self, template: TemplateLike) -> bool:
        """Say whether a packet may not do without this template's SA."""
        if template.level != "default":
            return template.level != "use"
        mode = "tunnel" if template.mode == "tunnel" else "transport"
        return self.levels.get(f"{template.protocol}_{mode}_level", "use") == "require"


@dataclass(frozen=True, slots=True)
class Guard:
    """The compiled table, and what it leaves to say about itself."""

    text: str
    """A script for `nft -f -`: one transaction that makes the table or replaces its rules; counters stay."""
    outbound_destinations: tuple[Coverage, Coverage]
    """IPv4 and IPv6 destinations of which some are not simply bypassed: what `gateway` mode routes."""
    entries_by_address_only: int
    """Entries beyond `EXACT_ENTRIES_MAX`, over all directions."""


def compile_guard(policies: Iterable[PolicyLike], config: GuardConfig) -> Guard:
    """Compile the SPD into the guard's table."""
    for name in (config.table, config.device):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,30}", name):
            raise ValueError(f"{name!r} cannot stand in an nft script")
    ordered = sorted(policies, key=lambda policy: (policy.priority, policy.serial))
    outbound = [policy for policy in ordered if policy.direction == "out"]
    inbound = [policy for policy in ordered if policy.direction == "in"]
    forward = [p for p in ordered if p.direction == "fwd" or (p.direction == "in" and p.judges_forwarded)]
    judges = {
        "judge_out": _judge(outbound, config, "Out"),
        "judge_in": _judge(inbound, config, "In"),
        "judge_forward": _judge(forward, config, "In"),
    }
    chains = {
        **{name: rules for name, (rules, _) in judges.items()},
        "owned": _owned_rules(),
        "prerouting": _prerouting_rules(outbound, [*inbound, *forward], config),
        "output": _output_rules(outbound, config),
        "postrouting": _postrouting_rules(outbound, config),
        "input": _input_rules(inbound, config),
        "forward": _forward_rules(forward, config),
    }
    return Guard(
        text=_script(chains, config),
        outbound_destinations=(_reach(outbound, config, 4)[1], _reach(outbound, config, 6)[1]),
        entries_by_address_only=sum(rest for _, rest in judges.values()),
    )


def removal_text(table: str) -> str:
    """Write the script that removes the table, whether it exists or not."""
    return f"table inet {table}\ndelete table inet {table}\n"


_HOOKS = {
    "prerouting": "type filter hook prerouting priority mangle; policy accept;",
    "output": "type route hook output priority mangle; policy accept;",
    "postrouting": "type filter hook postrouting priority mangle; policy accept;",
    "input": "type filter hook input priority mangle; policy accept;",
    "forward": "type filter hook forward priority mangle; policy accept;",
}


def _script(chains: dict[str, list[str]], config: GuardConfig) -> str:
    """Declare everything, empty the chains and fill them: nft applies the whole at once or not at all."""
    declared = [f"\tcounter {name} {{ }}" for name in COUNTERS]
    declared += [f"\tchain {name} {{ {_HOOKS.get(name, '')} }}" for name in chains]
    lines = [f"table inet {config.table} {{", *declared, "}", f"flush table inet {config.table}"]
    lines.append(f"table inet {config.table} {{")
    for name, rules in chains.items():
        lines += [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]
    lines.append("}")
    return "\n".join(lines) + "\n"


# Chains

_NEIGHBOUR_DISCOVERY = "meta nfproto ipv6 meta l4proto 58 icmpv6 type 133-137 accept"
_FROM_ENGINE = f"meta mark & {MARK_MASK:#x} == {BYPASS_MARK:#x} accept"
_SET_ROUTE_MARK = f"meta mark set meta mark & {~MARK_MASK & 0xFFFFFFFF:#x} | {ROUTE_MARK:#x}"
_CLEAR_MARK = f"meta mark set meta mark & {~MARK_MASK & 0xFFFFFFFF:#x}"


def _prerouting_rules(
    outbound: Sequence[PolicyLike], judged: Sequence[PolicyLike], config: GuardConfig
) -> list[str]:
    """Collect fragments where ports will be looked at; mark what is forwarded and may need the engine."""
    rules: list[str] = []
    if any(_reads_next_layer(policy.selector) for policy in judged):
        # Any `ct` expression makes the kernel reassemble before this hook; the rule itself does nothing.
        rules.append("ct state invalid continue")
    if config.mode == "host":
        rules += [_NEIGHBOUR_DISCOVERY, "fib daddr type != unicast accept"]
        rules += _marking(outbound, config)
    return rules


def _output_rules(outbound: Sequence[PolicyLike], config: GuardConfig) -> list[str]:
    """Mark what this host sends and may need the engine; the hook routes anew after a mark."""
    if config.mode != "host":
        return _unreachable_rules(config)
    unmarked = [_FROM_ENGINE, _NEIGHBOUR_DISCOVERY, 'oifname "lo" accept']
    return [*unmarked, *_unreachable_rules(config), *_marking(outbound, config)]


def _unreachable_rules(config: GuardConfig) -> list[str]:
    """Drop the kernel's own answer to what only a daemon can take.

    While a daemon starts or ends, its device may be there and its sockets not; `_owned_rules` cannot tell.
    The answers quote the packet: 8 octets behind the start of ICMP stands its IP header.
    """
    protocols = ", ".join(map(str, _IPSEC_PROTOCOLS))
    verdict = 'counter name "NoDaemon" drop'
    rules = [
        f"icmp type 3 icmp code 2 @th,136,8 {{ {protocols} }} {verdict}",
        f"icmpv6 type 4 icmpv6 code 1 @th,112,8 {{ {protocols} }} {verdict}",
    ]
    if (port := config.udp_port) is not None:
        rules.append(f"icmp type 3 icmp code 3 @th,136,8 17 @th,240,16 {port} {verdict}")
        rules.append(f"icmpv6 type 1 icmpv6 code 4 @th,112,8 17 @th,400,16 {port} {verdict}")
    return rules


def _marking(outbound: Sequence[PolicyLike], config: GuardConfig) -> list[str]:
    rules = []
    for family in FAMILIES:
        sources, destinations = _reach(outbound, config, family)
        if sources.is_empty or destinations.is_empty:
            continue
        conditions = [_family(family), _in_set("saddr", sources), _in_set("daddr", destinations)]
        rules.append(" ".join([part for part in conditions if part] + [_SET_ROUTE_MARK]))
    return rules


def _postrouting_rules(outbound: Sequence[PolicyLike], config: GuardConfig) -> list[str]:
    """Let pass what the engine sends and what goes to it; judge what leaves any other way."""
    return [
        _FROM_ENGINE,
        *_clamp(f'oifname "{config.device}"', config),
        f'oifname "{config.device}" accept',
        _NEIGHBOUR_DISCOVERY,
        *_early_exit(outbound, config),
        "goto judge_out",
    ]


def _input_rules(inbound: Sequence[PolicyLike], config: GuardConfig) -> list[str]:
    """Let pass what the engine delivered and what it will fetch; judge every other arrival."""
    rules = [*_clamp(f'iifname "{config.device}"', config), f'iifname "{config.device}" accept']
    rules.append(_NEIGHBOUR_DISCOVERY)
    for protocol in _IPSEC_PROTOCOLS:
        verdict = "goto owned" if protocol in config.owned_protocols else 'counter name "NoDaemon" drop'
        rules.append(f"meta l4proto {protocol} {verdict}")
        if protocol == _AH:
            # To nft an IPv6 AH is an extension header, and `l4proto` is what follows it.
            rules.append(f"ip6 nexthdr {_AH} {verdict}")
    if config.udp_port is not None:
        rules.append(f"meta l4proto 17 th dport {config.udp_port} goto owned")
    return [*rules, *_early_exit(inbound, config), "goto judge_in"]


def _forward_rules(forward: Sequence[PolicyLike], config: GuardConfig) -> list[str]:
    """Let pass what the engine delivered; judge every other packet on its way through."""
    return [
        *_clamp(f'iifname "{config.device}"', config),
        f'iifname "{config.device}" accept',
        _NEIGHBOUR_DISCOVERY,
        *_early_exit(forward, config),
        "goto judge_forward",
    ]


def _owned_rules() -> list[str]:
    """Drop what only a daemon can take once there is none.

    The device goes with the daemon's descriptor, and only a blackhole is left in the marked table; asking
    that table for any route therefore tells whether the daemon lives. Otherwise the kernel would answer
    with protocol or port unreachable.
    """
    return [
        _SET_ROUTE_MARK,
        'fib saddr . mark oif missing counter name "NoDaemon" drop',
        _CLEAR_MARK,
        "accept",
    ]


def _clamp(condition: str, config: GuardConfig) -> list[str]:
    """Lower the segment size that TCP announces: TCP looked at a route before the mark, with a larger MTU."""
    return [
        f"{condition} meta nfproto ipv{family} tcp flags syn "
        f"tcp option maxseg size set {max(config.device_mtu - headers, 1)}"
        for family, headers in ((4, 40), (6, 60))
    ]


# Entries


def _judge(ordered: Sequence[PolicyLike], config: GuardConfig, side: str) -> tuple[list[str], int]:
    """Write one direction's entries as rules in SPD order; return them and how many are by address only."""
    rules: list[str] = []
    for policy in ordered[:EXACT_ENTRIES_MAX]:
        verdict = _verdict(policy, config, side)
        rules += [f'{match} {verdict} comment "policy {policy.id}"' for match in _matches(policy.selector)]
    rest = ordered[EXACT_ENTRIES_MAX:]
    objecting = [policy for policy in rest if _objects(policy, config)]
    for family in FAMILIES:
        sources = Coverage.of(family, (policy.selector.source for policy in objecting))
        destinations = Coverage.of(family, (policy.selector.destination for policy in objecting))
        if not sources.is_empty and not destinations.is_empty:
            conditions = (_family(family), _in_set("saddr", sources), _in_set("daddr", destinations))
            condition = " ".join(part for part in conditions if part)
            rules.append(f'{condition} counter name "{_VIOLATIONS[side]}" drop')
    if config.default_policy == "discard":
        rules.append(f'counter name "{side}NoPolicy" drop')
    return rules, len(rest)


_VIOLATIONS = {"In": "InPolicyViolation", "Out": "OutNotProtected"}


def _objects(policy: PolicyLike, config: GuardConfig) -> bool:
    """Say whether the entry keeps clear packets from passing."""
    if policy.action == "protect":
        return any(config.insists(template) for template in policy.templates)
    return policy.action == "discard"


def _verdict(policy: PolicyLike, config: GuardConfig, side: str) -> str:
    if not _objects(policy, config):
        return "accept"
    counter = f"{side}PolicyDiscard" if policy.action == "discard" else _VIOLATIONS[side]
    return f'counter name "{counter}" drop'


def _reach(outbound: Sequence[PolicyLike], config: GuardConfig, family: int) -> tuple[Coverage, Coverage]:
    """Merge the sources and the destinations of every outbound entry that is more than a bypass."""
    if config.default_policy == "discard":
        return Coverage.everything(family), Coverage.everything(family)
    selectors = [policy.selector for policy in outbound if policy.action != "bypass"]
    return (
        Coverage.of(family, (selector.source for selector in selectors)),
        Coverage.of(family, (selector.destination for selector in selectors)),
    )


def _early_exit(ordered: Sequence[PolicyLike], config: GuardConfig) -> list[str]:
    """Let go at once what no objecting entry can match: two set look-ups instead of the whole list."""
    if config.default_policy == "discard":
        return []
    objecting = [policy.selector for policy in ordered if _objects(policy, config)]
    rules = []
    for family in FAMILIES:
        sources = Coverage.of(family, (selector.source for selector in objecting))
        destinations = Coverage.of(family, (selector.destination for selector in objecting))
        if sources.is_empty or destinations.is_empty:
            rules.append(f"meta nfproto ipv{family} accept")
            continue
        for word, coverage in (("saddr", sources), ("daddr", destinations)):
            if not coverage.is_everything:
                rules.append(f"{_ip(family)} {word} != {{ {coverage.elements()} }} accept")
    return rules


# Matches


def _ip(family: int) -> str:
    return "ip" if family == 4 else "ip6"


def _family(family: int) -> str:
    return f"meta nfproto ipv{family}"


def _in_set(word: str, coverage: Coverage) -> str:
    return "" if coverage.is_everything else f"{_ip(coverage.family)} {word} {{ {coverage.elements()} }}"


def _reads_next_layer(selector: SelectorLike) -> bool:
    ports = (selector.source_ports, selector.destination_ports)
    return selector.next_layer is not None or ports != (_ALL_PORTS, _ALL_PORTS)


def _matches(selector: SelectorLike) -> list[str]:
    """Write the conditions of one selector: several where its ports mean several things."""
    family = selector.source[0].version
    addresses = [_family(family)]
    for word, address_range in (("saddr", selector.source), ("daddr", selector.destination)):
        if not is_whole_family(address_range):
            addresses.append(f"{_ip(family)} {word} {range_text(address_range)}")
    return [" ".join([*addresses, *layer]) for layer in _layers(selector)]


def _layers(selector: SelectorLike) -> list[list[str]]:
    """Write the next layer and its ports, as RFC 4301 §4.4.1.1 has them.

    A port range that is not ANY matches only packets that show ports; type and code of ICMP, and the type of
    the mobility header, stand in the place of ports.
    """
    source, destination = selector.source_ports, selector.destination_ports
    if (source, destination) == (_ALL_PORTS, _ALL_PORTS):
        return [[] if selector.next_layer is None else [f"meta l4proto {selector.next_layer}"]]

    def wanted(protocols: Sequence[int]) -> list[int]:
        return [p for p in protocols if selector.next_layer is None or p == selector.next_layer]

    layers = []
    if with_ports := wanted(_PORT_PROTOCOLS):
        layers.append([_protocols(with_ports), f"th sport {_span(source)}", f"th dport {_span(destination)}"])
    kind, code = _octets(source), _octets(destination)
    if (with_types := wanted(_ICMP_PROTOCOLS)) and kind and code:
        layers.append([_protocols(with_types), f"@th,0,8 {_span(kind)}", f"@th,8,8 {_span(code)}"])
    if wanted((_MOBILITY,)) and kind and destination[0] == 0:
        layers.append([_protocols([_MOBILITY]), f"@th,16,8 {_span(kind)}"])
    return layers


def _protocols(numbers: Sequence[int]) -> str:
    return (
        f"meta l4proto {{ {', '.join(map(str, numbers))} }}"
        if len(numbers) > 1
        else f"meta l4proto {numbers[0]}"
    )


def _octets(ports: tuple[int, int]) -> tuple[int, int] | None:
    """Cut a range of ports to the values that an octet can have."""
    return (ports[0], min(ports[1], 0xFF)) if ports[0] <= 0xFF else None


def _span(span: tuple[int, int]) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]}-{span[1]}"
