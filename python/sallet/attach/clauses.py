"""One SPD entry as nft has it: the conditions under which it matches, and what then happens.

No chain and no order of entries may enter; a pure function of one entry and the configuration.
Answers to: RFC 4301 sections 4.4.1.1 (selectors) and 5.2 (clear arrivals), `ipsec_set_policy(3)` (levels).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sallet.attach.coverage import Range, is_whole_family, range_text

_PORT_PROTOCOLS = (6, 17, 33, 132, 136)
_ICMP_PROTOCOLS = (1, 58)
_MOBILITY = 135
_PORT_MAX = 0xFFFF
_ALL_PORTS = (0, _PORT_MAX)
VIOLATIONS = {"In": "InPolicyViolation", "Out": "OutNotProtected"}
"""The counter of what an insisting entry drops, on either side."""


class TemplateLike(Protocol):
    """What the guard reads of a template (`_core.Template` has it)."""

    @property
    def protocol(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def endpoints(self) -> tuple[Any, Any] | None: ...


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

    device: str
    device_mtu: int
    mode: Literal["host", "gateway"] = "host"
    default_policy: str = "bypass"
    levels: Mapping[str, str] = field(default_factory=dict)
    """`esp_transport_level` and its three siblings: what level `default` means. Absent means `use`."""
    owned_protocols: frozenset[int] = frozenset({50, 51, 108})
    """The protocols for which the datapath holds a raw socket."""
    udp_ports: tuple[int, ...] = ()
    """The ports on which the datapath takes ESP-in-UDP."""

    def insists(self, template: TemplateLike, side: str) -> bool:
        """Say whether a packet may not do without this template's SA."""
        if side == "In" and template.protocol == "ipcomp":
            return False  # What did not shrink comes without IPComp header (RFC 3173 §2.2).
        if template.level != "default":
            return template.level != "use"
        mode = "tunnel" if template.mode == "tunnel" else "transport"
        return self.levels.get(f"{template.protocol}_{mode}_level", "use") == "require"


def objects(policy: PolicyLike, config: GuardConfig, side: str) -> bool:
    """Say whether the entry keeps clear packets from passing."""
    if policy.action == "protect":
        # Without templates it waits for them, and nothing passes.
        return not policy.templates or any(config.insists(template, side) for template in policy.templates)
    return policy.action == "discard"


def rules(policy: PolicyLike, config: GuardConfig, side: str) -> list[str]:
    """Write one entry as rules: several where its ports mean several things, none where nothing matches."""
    verdict = "accept"
    if objects(policy, config, side):
        counter = f"{side}PolicyDiscard" if policy.action == "discard" else VIOLATIONS[side]
        verdict = f'counter name "{counter}" drop'
    return [f'{match} {verdict} comment "policy {policy.id}"' for match in _matches(policy.selector)]


def bare_tunnels(policies: Iterable[PolicyLike]) -> list[str]:
    """Let the engine fetch IP-in-IP between the ends of IPComp tunnels: it judges what is inside."""
    ends = {
        template.endpoints
        for policy in policies
        for template in policy.templates
        if template.protocol == "ipcomp" and template.mode == "tunnel" and template.endpoints is not None
    }
    return [
        f"{ip(source.version)} saddr {source} {ip(source.version)} daddr {destination} "
        "meta l4proto { 4, 41 } goto owned"
        for source, destination in sorted(ends, key=lambda pair: (pair[0].version, pair))
    ]


def reads_next_layer(selector: SelectorLike) -> bool:
    """Say whether the entry looks beyond the addresses, so that a fragment alone would not do."""
    ports = (selector.source_ports, selector.destination_ports)
    return selector.next_layer is not None or ports != (_ALL_PORTS, _ALL_PORTS)


def ip(family: int) -> str:
    """Name the header of a family as nft does."""
    return "ip" if family == 4 else "ip6"


def _matches(selector: SelectorLike) -> list[str]:
    """Write the conditions of one selector."""
    family = selector.source[0].version
    addresses = [f"meta nfproto ipv{family}"]
    for word, address_range in (("saddr", selector.source), ("daddr", selector.destination)):
        if not is_whole_family(address_range):
            addresses.append(f"{ip(family)} {word} {range_text(address_range)}")
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
