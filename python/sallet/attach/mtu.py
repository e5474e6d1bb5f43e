"""How large a packet may be before it is protected, so that it still fits the path afterwards.

A pure function of the two databases: no link, no engine and no route may enter.
Answers to: RFC 4303 section 2 (what ESP adds), RFC 4301 section 8.2; `sallet0` carries the result as its MTU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

DEVICE_MTU_MIN = 1280
"""Below this Linux takes IPv6 away from a link (RFC 8200 §5)."""

_HEADER = {4: 20, 6: 40}
_UDP = 8
_SPI_AND_SEQUENCE = 8
_PAD_LENGTH_AND_NEXT_HEADER = 2
ESP_BYTES_MAX = _UDP + _SPI_AND_SEQUENCE + 16 + 15 + _PAD_LENGTH_AND_NEXT_HEADER + 32
"""UDP, header, IV, padding and ICV of the largest suite: assumed while no SA says better."""
AH_BYTES_MAX = 8 + 64
"""The old format with the whole digest of SHA-512: assumed while no SA says better."""
OVERHEAD_BYTES_MAX = _HEADER[6] + ESP_BYTES_MAX
"""Assumed while no policy asks for anything."""


class TemplateLike(Protocol):
    """What is read of a template."""

    @property
    def protocol(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def endpoints(self) -> tuple[Any, Any] | None: ...


class PolicyLike(Protocol):
    """What is read of an SPD entry."""

    @property
    def direction(self) -> str: ...
    @property
    def templates(self) -> Iterable[TemplateLike]: ...


class AssociationLike(Protocol):
    """What is read of an SA."""

    @property
    def protocol(self) -> str: ...
    @property
    def source(self) -> Any: ...
    @property
    def destination(self) -> Any: ...
    @property
    def encryption(self) -> tuple[str, bytes] | None: ...
    @property
    def authentication(self) -> tuple[str, bytes] | None: ...
    @property
    def encap(self) -> tuple[int, int] | None: ...
    @property
    def old(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one algorithm adds, in bytes."""

    iv: int
    block: int
    icv: int


def device_mtu(
    path_mtu: int,
    policies: Iterable[PolicyLike],
    associations: Iterable[AssociationLike],
    algorithms: Mapping[str, Sizes],
) -> int:
    """Take the worst that any outbound entry may add from the path's MTU."""
    per_pair: dict[str, dict[Any, int]] = {name: {} for name in _MEASURES}
    for association in associations:
        if association.protocol in _MEASURES:
            known = per_pair[association.protocol]
            pair = association.source, association.destination
            added = _MEASURES[association.protocol](association, algorithms)
            known[pair] = max(known.get(pair, 0), added)
    worst = max(
        (
            sum(_template_bytes(template, per_pair) for template in policy.templates)
            for policy in policies
            if policy.direction == "out" and policy.templates
        ),
        default=OVERHEAD_BYTES_MAX,
    )
    return max(path_mtu - worst, DEVICE_MTU_MIN)


def esp_bytes(association: AssociationLike, algorithms: Mapping[str, Sizes]) -> int:
    """Add up what ESP with this SA puts around a payload, at most."""
    sizes = [
        algorithms[named[0]]
        for named in (association.encryption, association.authentication)
        if named is not None and named[0] in algorithms
    ]
    # Payload, padding and the two octets end on a multiple of the block, and of 4 (RFC 4303 §2.4).
    padding = max([size.block for size in sizes] + [4]) - 1
    variable = sum(size.iv + size.icv for size in sizes) + padding
    encap = _UDP if association.encap else 0
    return _SPI_AND_SEQUENCE + _PAD_LENGTH_AND_NEXT_HEADER + variable + encap


def ah_bytes(association: AssociationLike, algorithms: Mapping[str, Sizes]) -> int:
    """Say how long AH with this SA is; padded as over IPv6, which is the most."""
    named = association.authentication
    if association.old or named is None or named[0] not in algorithms:
        return AH_BYTES_MAX
    size = algorithms[named[0]]
    length = _SPI_AND_SEQUENCE + 4 + size.iv + size.icv
    return length + -length % 8


_MEASURES = {"esp": esp_bytes, "ah": ah_bytes}
_BYTES_MAX = {"esp": ESP_BYTES_MAX, "ah": AH_BYTES_MAX}


def _template_bytes(template: TemplateLike, per_pair: Mapping[str, Mapping[Any, int]]) -> int:
    ends = template.endpoints
    outer = _HEADER[ends[0].version] if template.mode == "tunnel" and ends is not None else 0
    if template.protocol == "ipcomp":
        return outer  # Compression never makes a packet longer (RFC 3173 §2.2), but the tunnel does.
    known = per_pair[template.protocol]
    most = _BYTES_MAX[template.protocol]
    # Without ends, any SA may be the one.
    return outer + (known.get(ends, most) if ends is not None else max(known.values(), default=most))
