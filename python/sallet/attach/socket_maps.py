"""The policies of sockets in the guard: one element of a verdict map for each flow and direction.

A pure function: no socket, no engine, no process may enter.
Answers to: design "host mode", Never two opinions; `spd/pcb.rs` asks in the same order; nft(8), verdict maps.

Outbound, the kernel marks what a socket with a protecting policy sends (SO_MARK), so that its source address
is chosen as ever; the maps say that the daemon knows the flow, and send it to the engine. What they do not
know is dropped: a socket that a program used behind our back, or one that a daemon knew that has been killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Direction: TypeAlias = Literal["in", "out"]
Maps: TypeAlias = Mapping[str, Mapping[str, str]]
"""By the map's name: verdicts by key."""

DIRECTIONS: tuple[Direction, ...] = ("in", "out")
SHAPES: dict[str, tuple[str, ...]] = {
    "both": ("protocol", "local", "local_port", "remote", "remote_port"),
    "peer": ("protocol", "local_port", "remote", "remote_port"),
    "local": ("protocol", "local", "local_port"),
    "port": ("protocol", "local_port"),
}
"""What a flow can say, in the order in which it is asked."""
PROTOCOLS = (6, 17)

INSISTS: dict[Direction, str] = {"in": "goto pcb_refuse", "out": "goto pcb_require"}
ALLOWS: dict[Direction, str] = {"in": "accept", "out": "goto pcb_use"}


@dataclass(frozen=True, slots=True)
class Flow:
    """The packets of one socket, or some of them, as far as it is known where they go; None is any."""

    family: int
    protocol: int
    local: Address | None
    local_port: int
    remote: Address | None = None
    remote_port: int = 0

    @property
    def shape(self) -> str:
        """Name the shape."""
        if self.remote is not None:
            return "peer" if self.local is None else "both"
        return "port" if self.local is None else "local"

    def wider(self) -> list[Flow]:
        """Give what says less about the same packets, in the order in which it is asked."""
        kept = {"peer": ("remote", "remote_port"), "local": ("local",), "port": ()}
        shapes = list(SHAPES)[list(SHAPES).index(self.shape) + 1 :]
        if self.local is None:
            shapes = [shape for shape in shapes if shape != "local"]
        return [
            Flow(
                self.family,
                self.protocol,
                self.local if "local" in kept[shape] else None,
                self.local_port,
                self.remote if "remote" in kept[shape] else None,
                self.remote_port if "remote" in kept[shape] else 0,
            )
            for shape in shapes
        ]

    def key(self) -> str:
        """Write it as a key of its map."""
        return " . ".join(str(getattr(self, name)) for name in SHAPES[self.shape])


def map_name(direction: Direction, flow: Flow) -> str:
    """Name the map that a flow stands in."""
    return f"pcb_{direction}_{flow.shape}{flow.family}"


def declarations() -> dict[str, str]:
    """Give the type of every map."""
    return {
        f"pcb_{direction}_{shape}{family}": " . ".join(_types(family)[name] for name in fields)
        for direction in DIRECTIONS
        for family in (4, 6)
        for shape, fields in SHAPES.items()
    }


def chains(of_socket: str, set_route_mark: str) -> dict[str, tuple[str, ...]]:
    """Give the chains that ask the maps, and those that their verdicts lead to."""
    ports = f"meta l4proto {{ {', '.join(map(str, PROTOCOLS))} }}"
    return {
        "pcb_refuse": ('counter name "InPolicyViolation" drop',),
        # What stays on this host never meets the engine.
        "pcb_require": ('oifname "lo" counter name "OutNotProtected" drop', set_route_mark, "accept"),
        "pcb_use": ('oifname "lo" accept', set_route_mark, "accept"),
        "pcb_in_ports": tuple(_lookups("in")),
        "pcb_out_ports": tuple(_lookups("out")),
        "pcb_in": (f"{ports} jump pcb_in_ports",),
        # Answers that the kernel gives in the name of a socket that has ended bear no mark.
        "pcb_out": (f"{ports} jump pcb_out_ports", f'{of_socket} counter name "OutUnconfirmed" drop'),
    }


def _types(family: int) -> dict[str, str]:
    address = f"ipv{family}_addr"
    return {
        "protocol": "inet_proto",
        "local": address,
        "local_port": "inet_service",
        "remote": address,
        "remote_port": "inet_service",
    }


def _lookups(direction: Direction) -> list[str]:
    local, remote = ("s", "d") if direction == "out" else ("d", "s")
    rules = []
    for family, ip in ((4, "ip"), (6, "ip6")):
        where = {
            "protocol": "meta l4proto",
            "local": f"{ip} {local}addr",
            "local_port": f"th {local}port",
            "remote": f"{ip} {remote}addr",
            "remote_port": f"th {remote}port",
        }
        rules += [
            f"meta nfproto ipv{family} {' . '.join(where[name] for name in fields)} "
            f"vmap @pcb_{direction}_{shape}{family}"
            for shape, fields in SHAPES.items()
        ]
    return rules
