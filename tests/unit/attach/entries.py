"""SPD entries as plain values, for tests that need no engine.

Answers to: sallet.attach.guard.PolicyLike.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from ipaddress import ip_network

from sallet.attach.coverage import Range

_serials = itertools.count(1)
ALL_PORTS = (0, 65535)


@dataclass(frozen=True)
class Template:
    protocol: str = "esp"
    mode: str = "transport"
    level: str = "require"
    endpoints: tuple[object, object] | None = None


@dataclass(frozen=True)
class Selector:
    source: Range
    destination: Range
    next_layer: int | None = None
    source_ports: tuple[int, int] = ALL_PORTS
    destination_ports: tuple[int, int] = ALL_PORTS


@dataclass(frozen=True)
class Entry:
    direction: str
    selector: Selector
    action: str = "protect"
    templates: list[Template] = field(default_factory=list)
    priority: int = 10
    judges_forwarded: bool = False
    id: int = field(default_factory=lambda: next(_serials))
    serial: int = field(default_factory=lambda: next(_serials))


def prefix(text: str) -> Range:
    network = ip_network(text)
    return network[0], network[-1]


def entry(direction: str, source: str, destination: str, action: str = "protect", **options: object) -> Entry:
    words = {
        name: options.pop(name)
        for name in ("next_layer", "source_ports", "destination_ports")
        if name in options
    }
    selector = Selector(prefix(source), prefix(destination), **words)  # type: ignore[arg-type]
    templates = options.pop("templates", [Template()] if action == "protect" else [])
    return Entry(direction, selector, action, templates, **options)  # type: ignore[arg-type]
