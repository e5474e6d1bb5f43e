"""What two ends agree on: a flow between two addresses or networks, written as setkey text for either end.

No packet, no namespace and no assertion may enter.
Answers to: setkey(8); keys are derived from the flow's name, so both ends and every renewal have their own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal

Side = Literal["left", "right"]

GCM = (("-E", "aes-gcm-16", 20),)
CBC = (("-E", "aes-cbc", 16), ("-A", "hmac-sha256", 32))
"""Suites: flag, word and bytes of key of each part."""


@dataclass(frozen=True)
class Flow:
    """One protected flow; `number` tells it and its SPIs from all others."""

    number: int
    left: str
    right: str
    """Address or network of either end."""
    tunnel: tuple[str, str] | None = None
    """The gateways, left and right, for tunnel mode."""
    suite: tuple[tuple[str, str, int], ...] = field(default=GCM)

    def spis(self, generation: int = 1) -> tuple[int, int]:
        """Give the SPIs from left to right and back."""
        spi = generation << 12 | self.number << 4
        return spi | 1, spi | 2

    def associations(self, generation: int = 1) -> str:
        """Write the two SAs, equal on both ends; each generation has its own SPIs and keys."""
        mode = "tunnel" if self.tunnel else "transport"
        left, right = self.tunnel or (self.left, self.right)
        lines = []
        for spi, source, destination in zip(self.spis(generation), (left, right), (right, left), strict=True):
            keys = " ".join(
                f"{flag} {word} 0x{hashlib.shake_256(f'{spi} {flag}'.encode()).hexdigest(size)}"
                for flag, word, size in self.suite
            )
            lines.append(
                f"add {source} {destination} esp {spi:#x} -m {mode} -r 128 -u {self.number} {keys};\n"
            )
        return "".join(lines)

    def policies(self, side: Side) -> str:
        """Write the SPD entries of one end: everything between the two is to be protected."""
        lines = []
        for direction, source, destination in (
            ("out" if side == "left" else "in", self.left, self.right),
            ("in" if side == "left" else "out", self.right, self.left),
        ):
            ends = ""
            if self.tunnel:
                ends = "-".join(self.tunnel if source == self.left else reversed(self.tunnel))
            mode = f"tunnel/{ends}" if self.tunnel else "transport/"
            selector = f"{ip_network(source)} {ip_network(destination)} any"
            lines.append(f"spdadd {selector} -P {direction} ipsec esp/{mode}/unique:{self.number};\n")
        return "".join(lines)


def setkey_text(flows: list[Flow], side: Side, generation: int = 1) -> str:
    """Write the whole setkey file of one end."""
    return "".join(flow.associations(generation) + flow.policies(side) for flow in flows)


def all_spis(flows: list[Flow], *generations: int) -> list[int]:
    """Give every SPI of the flows."""
    return [spi for flow in flows for generation in generations or (1,) for spi in flow.spis(generation)]
