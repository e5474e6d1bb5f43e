"""Random SPDs, SADs and packets out of a small universe, so that much of it meets.

No engine and no judgement may enter: whoever draws does not know what is right.
Answers to: RFC 4301 sections 4.4.1.1 (selectors), 4.4.1.2 (entries) and 4.4.2 (SAs).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from random import Random
from typing import TypeVar

from model.packets import SUITES, Forge, Layer, Shape, Wire, build
from model.reference_model import (
    ANY_PORT,
    Config,
    Ends,
    Limits,
    Model,
    Policy,
    Ports,
    Range,
    Sa,
    Selector,
    Template,
    inside,
    net,
)

T = TypeVar("T")

HOSTS = {
    4: [ip_address(f"192.0.2.{last}") for last in (1, 2, 3, 4)],
    6: [ip_address(f"2001:db8::{last}") for last in (1, 2, 3, 4)],
}
GATES = {
    4: [ip_address(f"198.51.100.{last}") for last in (1, 2)],
    6: [ip_address(f"2001:db8:f::{last}") for last in (1, 2)],
}
RANGES: dict[int, list[Range]] = {
    4: [
        net("0.0.0.0/0"),
        net("192.0.2.0/24"),
        net("192.0.2.2/31"),
        net("192.0.2.1/32"),
        net("192.0.2.4/32"),
        (HOSTS[4][0], HOSTS[4][2]),
        (HOSTS[4][1], HOSTS[4][2]),
    ],
    6: [
        net("::/0"),
        net("2001:db8::/64"),
        net("2001:db8::2/127"),
        net("2001:db8::1/128"),
        net("2001:db8::4/128"),
        (HOSTS[6][0], HOSTS[6][2]),
        (HOSTS[6][1], HOSTS[6][2]),
    ],
}
PORTS = [0, 22, 53, 1024, 65535]
PORT_RANGES = [(22, 22), (53, 53), (0, 0), (22, 53), (1024, 65535), (0, 65534), (1, 65535)]
KINDS = [0, 3, 8, 128, 129, 133, 135, 137, 138]
KIND_RANGES = [(8, 8), (0, 0), (128, 129), (133, 137), (0, 255)]
LAYERS = {4: [1, 6, 6, 17, 17, 17, 47, 58, 132], 6: [58, 58, 6, 6, 17, 17, 17, 47, 135]}
SPIS = range(0x100, 0x130)
UNKNOWN_SPI = 0xDEAD


class Draw:
    """Draws everything from one generator, so that a seed is a run."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.forge = Forge()
        self.past: list[Wire] = []

    def one(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)

    def maybe(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def family(self) -> int:
        return 4 if self.maybe(60) else 6

    # --- what is set up ------------------------------------------------------------------------------

    def config(self) -> Config:
        keys = [(protocol, mode) for protocol in ("esp", "ah") for mode in ("transport", "tunnel")]
        levels = {key: self.one(["use", "require"]) for key in keys if self.maybe(50)}
        local = None if self.maybe(40) else [self.local_range() for _ in range(4)]
        return Config(self.one(["bypass", "discard"]), levels, self.maybe(30), local)

    def local_range(self) -> Range:
        family = self.family()
        return self.one([*RANGES[family][1:], (GATES[family][0], GATES[family][0])])

    def ends(self, family: int, *, gates: int = 20) -> Ends:
        """Two different addresses, hosts more often than gateways."""
        pool = GATES[family] if self.maybe(gates) else HOSTS[family]
        first, second = self.random.sample(pool, 2)
        return first, second

    def selector(self, family: int) -> Selector:
        source, destination = self.one(RANGES[family]), self.one(RANGES[family])
        if self.maybe(50):
            return Selector(source, destination)
        layer = self.one([*LAYERS[family], None])
        ranges = KIND_RANGES if layer in (1, 58, 135) else PORT_RANGES
        source_ports = self.one(ranges) if self.maybe(40) else ANY_PORT
        destination_ports = self.one(ranges) if self.maybe(30) else ANY_PORT
        return Selector(source, destination, layer, source_ports, destination_ports)

    def template(self, family: int) -> Template:
        protocol = "esp" if self.maybe(93) else self.one(["ah", "ipcomp"])
        mode = self.one(["transport", "transport", "tunnel", "tunnel", "any"])
        level = self.one(["default", "use", "require", "require", "unique"])
        reqid = 0 if self.maybe(60) else self.one([1, 2])
        endpoints = None
        if mode == "tunnel" or self.maybe(20):
            endpoints = self.ends(self.family() if mode == "tunnel" else family, gates=70)
        return Template(protocol, mode, level, reqid, endpoints)

    def policy(self, *, mortal: bool = False) -> Policy:
        family = self.family()
        direction = self.one(["out", "out", "in", "in", "fwd"])
        action = self.one(["bypass", "discard", *["protect"] * 6])
        count = self.one([1, 1, 1, 2, 2, 3]) if action == "protect" else 0
        return Policy(
            direction,
            self.selector(family),
            action,
            tuple(self.template(family) for _ in range(count)),
            self.one([0, 7, 0x80000000, 0x80000000]),
            self.maybe(40),
            self.one([0, 5, 9]) if mortal else 0,
            self.one([0, 4, 7]) if mortal else 0,
        )

    def limits(self) -> Limits:
        return Limits(
            self.one([0, 0, 200, 700]),
            self.one([0, 0, 2, 6]),
            self.one([0, 0, 5, 12]),
            self.one([0, 0, 3, 8]),
        )

    def sa(self, model: Model, *, mortal: bool = False) -> Sa:
        """An SA; most often one that a template asks for."""
        ends, mode, reqid = (
            self.ends(self.family()),
            self.one(["any", "transport", "tunnel"]),
            self.one([0, 1, 2]),
        )
        templates = [(policy, each) for policy in model.policies for each in policy.templates]
        if templates and self.maybe(75):
            policy, wanted = self.one(templates)
            own = self.covered(policy.selector)
            ends = own if wanted.mode == "transport" or wanted.endpoints is None else wanted.endpoints
            mode = self.one(["any", wanted.mode])
            reqid = wanted.reqid or reqid
        return Sa(
            self.one(SPIS),
            ends,
            mode=mode,
            reqid=reqid,
            larval=self.maybe(8),
            replay_window=self.one([0, 32, 33, 64, 100]),
            soft=self.limits() if mortal else Limits(),
            hard=self.limits() if mortal else Limits(),
        )

    # --- what arrives --------------------------------------------------------------------------------

    def values(self, layer: int) -> Ports:
        if layer in (1, 58, 135):
            return self.one(KINDS), self.one([0, 0, 1])
        return self.one(PORTS), self.one(PORTS)

    def clear(self, ends: Ends | None = None, *, layers: list[int] | None = None) -> Wire:
        """A packet in clear."""
        ends = ends or self.ends(self.family(), gates=10)
        family = ends[0].version
        layer = self.one(layers or LAYERS[family])
        # No fragments: what waits for the others of its datagram is not the model's matter, but
        # `rust/core/tests/pair`'s and `engine::tests::fragments`'.
        shape = Shape(self.one(["", "", "", "options", "late"]), cut=self.maybe(5))
        return build(ends, layer, self.values(layer), shape)

    def departure(self, model: Model) -> Wire:
        """A packet that leaves; most often one that an entry speaks of."""
        policies = [each for each in model.policies if each.direction == "out"]
        if not policies or self.maybe(25):
            return self.clear()
        policy = self.one(policies)
        layer = policy.selector.next_layer
        return self.clear(self.covered(policy.selector), layers=None if layer is None else [layer])

    def covered(self, selector: Selector) -> Ends:
        """Two hosts that the selector covers, if there are any."""
        family = selector.source[0].version
        pairs = [
            (source, destination)
            for source in HOSTS[family]
            for destination in HOSTS[family]
            if source != destination and inside(source, selector.source)
            if inside(destination, selector.destination)
        ]
        return self.one(pairs) if pairs else self.ends(family)

    def arrival(self, model: Model) -> Wire:
        """A packet from the open side: in clear, sealed as somebody asked for, or sealed wrongly."""
        if self.past and self.maybe(12):
            return self.one(self.past)
        if self.maybe(25):
            return self.clear()
        wire = self.wanted(model) if self.maybe(70) else self.random_arrival(model)
        self.past.append(wire)
        return wire

    def wanted(self, model: Model) -> Wire:
        """A packet as an inbound entry asks for it; sometimes with one mistake."""
        policies = [each for each in model.policies if each.direction != "out" and each.templates]
        if not policies:
            return self.random_arrival(model)
        policy = self.one(policies)
        ends = self.covered(policy.selector)
        fitting = [policy.selector.next_layer] if policy.selector.next_layer is not None else None
        packet = self.clear(ends, layers=fitting)
        chain: list[Layer] = []
        for template in policy.templates:
            layer = self.layer_for(model, template, chain[-1].ends if chain else ends, packet)
            if layer:
                chain.append(layer)
        return self.sealed(packet, self.mistaken(model, chain))

    def layer_for(self, model: Model, template: Template, ends: Ends, packet: Wire) -> Layer | None:
        """A layer by an SA that serves the template, for a packet that has these ends by now."""
        tunnel = template.mode == "tunnel" or packet.packet.fragment
        wanted = (template.endpoints or ends) if tunnel or template.mode == "any" else ends
        mode = "tunnel" if tunnel or wanted != ends else "transport"
        serving = [
            sa for sa in model.sas if sa.ends == wanted and sa.mode in ("any", mode) and sa.protocol == "esp"
        ]
        exact = [sa for sa in serving if template.reqid in (0, sa.reqid)]
        if not serving or self.maybe(5):
            return None
        return Layer(self.one(exact or serving).spi, wanted, mode)

    def mistaken(self, model: Model, chain: list[Layer]) -> list[Layer]:
        """The chain, or with one thing about it changed."""
        change = self.random.randrange(14)
        if change == 0:
            return chain[1:]
        if change == 1:
            return chain[:-1]
        if change == 2:
            return [*chain, self.any_tunnel(model)]
        if change == 3:
            return [self.any_tunnel(model), *chain]
        if change == 4 and chain:
            return [*chain, chain[-1]]
        if change == 5 and chain:
            return [*chain[:-1], chain[-1]._replace(damage="corrupt")]
        if change == 6 and chain and chain[-1].mode == "tunnel":
            return [
                *chain[:-1],
                chain[-1]._replace(ends=(self.ends(chain[-1].ends[0].version)[0], chain[-1].ends[1])),
            ]
        return chain

    def any_tunnel(self, model: Model) -> Layer:
        """A tunnel by any SA, or by one that is not there."""
        if model.sas and self.maybe(90):
            sa = self.one(model.sas)
            return Layer(sa.spi, sa.ends, "tunnel")
        return Layer(UNKNOWN_SPI, self.ends(self.family()), "tunnel")

    def random_arrival(self, model: Model) -> Wire:
        """Layers by any SAs, in any order."""
        chain: list[Layer] = []
        packet = self.clear(layers=[59] if self.maybe(10) else None)
        for _ in range(self.one([1, 1, 2, 3])):
            ends = chain[-1].ends if chain else packet.packet.ends
            fitting = [sa for sa in model.sas if sa.ends[1] == ends[1]]
            if fitting and self.maybe(60):
                chain.append(Layer(self.one(fitting).spi, ends, "transport"))
            else:
                chain.append(self.any_tunnel(model))
        return self.sealed(packet, self.mistaken(model, chain))

    def sealed(self, packet: Wire, chain: list[Layer]) -> Wire:
        """Seals, after putting right what no sender could do."""
        if packet.packet.is_neighbour_discovery and chain:
            by_hand = chain[0].spi % len(SUITES) == 2
            packet = build(packet.packet.ends, 58, packet.packet.values if by_hand else (128, 0))
        done: list[Layer] = []
        for layer in chain:
            here = done[-1].ends if done else packet.packet.ends
            if layer.mode == "transport" and layer.ends != here:
                layer = layer._replace(ends=here)
            if layer.mode == "transport" and not done and packet.packet.fragment:
                layer = layer._replace(mode="tunnel")
            done.append(layer)
        return self.forge.seal(packet, done)
