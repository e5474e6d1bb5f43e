"""IPsec without a kernel: the paved path of the Python API.

No eager import may enter: `import sallet` loads nothing else until a name is used.
Answers to: ARCHITECTURE.md section B; RFC 4301 for the words.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sallet._core import (
        AcquireEvent,
        Algorithm,
        Datapath,
        Engine,
        EngineError,
        ExpireEvent,
        Limits,
        NewMappingEvent,
        Outcome,
        PolicyAcquireEvent,
        PolicyExpireEvent,
        PolicyParams,
        PolicyView,
        SaParams,
        SaView,
        Selector,
        Stats,
        Template,
        Verdict,
        algorithms,
        echo_packet,
        explain_drop,
        ip_packet,
        tcp_packet,
        udp_packet,
    )
    from sallet.embedded import ConfigurationError, Host, Link, configure

__version__ = "0.1.0"

_EMBEDDED = ("ConfigurationError", "Host", "Link", "configure")

__all__ = [
    "AcquireEvent",
    "Algorithm",
    "ConfigurationError",
    "Datapath",
    "Engine",
    "EngineError",
    "ExpireEvent",
    "Host",
    "Limits",
    "Link",
    "NewMappingEvent",
    "Outcome",
    "PolicyAcquireEvent",
    "PolicyExpireEvent",
    "PolicyParams",
    "PolicyView",
    "SaParams",
    "SaView",
    "Selector",
    "Stats",
    "Template",
    "Verdict",
    "algorithms",
    "configure",
    "echo_packet",
    "explain_drop",
    "ip_packet",
    "tcp_packet",
    "udp_packet",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sallet' has no attribute {name!r}")
    value = getattr(import_module("sallet.embedded" if name in _EMBEDDED else "sallet._core"), name)
    globals()[name] = value
    return value
