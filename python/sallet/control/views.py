"""Snapshots of the engine as JSON values, without keys: what the control connection and `--json` show.

No request and no text for people may enter; key bytes never do.
Answers to: `sallet … --json`; a document names its shape in `schema`, and a changed shape gets a new number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sallet._core import Limits, PolicyView, SaView, Selector, Stats, Template, Verdict
    from sallet.pfkey.tap import Heard, Tap

Json = dict[str, Any]


def document(name: str, body: Json) -> Json:
    """Head a document with its schema."""
    return {"schema": f"sallet.{name}/1", **body}


def association(view: SaView) -> Json:
    """Show one SA; of each key only the length."""
    return {
        "spi": view.spi,
        "protocol": view.protocol,
        "source": str(view.source),
        "destination": str(view.destination),
        "mode": view.mode,
        "reqid": view.reqid,
        "state": view.state,
        "encryption": _redacted(view.encryption),
        "authentication": _redacted(view.authentication),
        "replay_window": view.replay_window,
        "esn": view.esn,
        "encap": list(view.encap) if view.encap else None,
        "sequence": view.sequence,
        "window_top": view.window_top,
        "lease_limit": view.lease_limit,
        "bytes": view.bytes,
        "packets": view.packets,
        "created": view.created,
        "first_used": view.first_used,
        "soft": _limits(view.soft),
        "hard": _limits(view.hard),
        "owner": view.owner,
    }


def policy(view: PolicyView) -> Json:
    """Show one SPD entry."""
    return {
        "id": view.id,
        "direction": view.direction,
        "selector": _selector(view.selector),
        "action": view.action,
        "templates": [_template(template) for template in view.templates],
        "priority": view.priority,
        "judges_forwarded": view.judges_forwarded,
        "packets": view.packets,
        "bytes": view.bytes,
        "created": view.created,
        "last_used": view.last_used,
        "owner": view.owner,
    }


def verdict(found: Verdict) -> Json:
    """Show what the SPD says of a packet."""
    return {
        "action": found.action,
        "policy": found.policy,
        "templates": [{**_template(template), "spi": spi} for template, spi in found.templates],
    }


def passed(stats: Stats) -> Json:
    """Show what went through, by name."""
    return {name: {"packets": count[0], "bytes": count[1]} for name, count in stats.passed.items()}


def conversation(tap: Tap, tell: Callable[[Json], None]) -> Callable[[], None]:
    """Tell what a tap hears, keys as zeros, until what is returned is called."""

    def hear(heard: Heard) -> None:
        tell(
            {
                "client": heard.client,
                "pid": heard.who.pid,
                "uid": heard.who.uid,
                "dialect": heard.dialect,
                "way": heard.way,
                "time_ns": heard.time_ns,
                "data": heard.data.hex(),
            }
        )

    return tap.open(hear)


def _selector(selector: Selector) -> Json:
    return {
        "source": _addresses(selector.source, selector.source_prefix),
        "destination": _addresses(selector.destination, selector.destination_prefix),
        "next_layer": selector.next_layer,
        "source_ports": list(selector.source_ports),
        "destination_ports": list(selector.destination_ports),
    }


def _addresses(ends: tuple[Any, Any], prefix: tuple[Any, int] | None) -> str:
    return f"{prefix[0]}/{prefix[1]}" if prefix is not None else f"{ends[0]}-{ends[1]}"


def _template(template: Template) -> Json:
    return {
        "protocol": template.protocol,
        "mode": template.mode,
        "level": template.level,
        "reqid": template.reqid,
        "endpoints": [str(end) for end in template.endpoints] if template.endpoints else None,
    }


def _redacted(named_key: tuple[str, bytes] | None) -> Json | None:
    return None if named_key is None else {"algorithm": named_key[0], "key_bits": 8 * len(named_key[1])}


def _limits(limits: Limits | None) -> Json | None:
    if limits is None:
        return None
    names = ("bytes", "packets", "add_secs", "use_secs")
    return {name: getattr(limits, name) for name in names}
