"""`Coverage`: a set of addresses of one family, merged into ranges that do not touch.

No policy and no IO may enter: selectors go in, ranges, prefixes and nft elements come out.
Answers to: design of the guard (nft interval sets refuse overlaps; routes need prefixes).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Range: TypeAlias = tuple[Address, Address]
"""First and last address, both included, of one family."""

FAMILIES = (4, 6)
_BITS = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Addresses of one family as ranges of numbers: sorted, disjoint, and never adjacent."""

    family: int
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, family: int, ranges: Iterable[Range]) -> Coverage:
        """Merge the ranges of that family; those of the other are passed over."""
        numbers = sorted((int(first), int(last)) for first, last in ranges if first.version == family)
        merged: list[tuple[int, int]] = []
        for first, last in numbers:
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return cls(family, tuple(merged))

    @classmethod
    def everything(cls, family: int) -> Coverage:
        """Every address of the family."""
        return cls(family, ((0, (1 << _BITS[family]) - 1),))

    @property
    def is_empty(self) -> bool:
        """Whether no address is covered."""
        return not self.ranges

    @property
    def is_everything(self) -> bool:
        """Whether every address of the family is covered."""
        return self.ranges == self.everything(self.family).ranges

    def elements(self) -> list[str]:
        """Write the ranges as the elements of an nft set."""
        return [range_text(address_range) for address_range in self._address_ranges()]

    def prefixes(self) -> list[Network]:
        """Write the ranges as the shortest list of prefixes, in order."""
        return [
            prefix
            for first, last in self._address_ranges()
            for prefix in ipaddress.summarize_address_range(first, last)
        ]

    def _address_ranges(self) -> list[Range]:
        make: type[IPv4Address] | type[IPv6Address] = IPv4Address if self.family == 4 else IPv6Address
        return [(make(first), make(last)) for first, last in self.ranges]


def is_whole_family(address_range: Range) -> bool:
    """Say whether a range is every address of its family."""
    first, last = address_range
    return int(first) == 0 and int(last) == (1 << _BITS[first.version]) - 1


def range_text(address_range: Range) -> str:
    """Write one range as nft has it: an address, or two with a hyphen."""
    first, last = address_range
    return str(first) if first == last else f"{first}-{last}"
