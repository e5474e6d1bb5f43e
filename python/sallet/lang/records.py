"""Associations and policies as plain values for JSON: names instead of numbers, units in the names.

No text form and no socket may enter. Answers to `sallet setkey -D --json`; keys are hidden unless asked for.
"""

from __future__ import annotations

from typing import Any, Final

from sallet.lang import dump
from sallet.lang.forms import FORMS
from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import Address, Key, Lifetime, Message, NatPort, NatType, Policy, Sa, Sa2

_LIFETIMES: Final = {
    "current": SadbExtType.LIFETIME_CURRENT,
    "hard": SadbExtType.LIFETIME_HARD,
    "soft": SadbExtType.LIFETIME_SOFT,
}


def association(message: Message, form: str, *, show_keys: bool = False) -> dict[str, Any]:
    """Return one association of a dump as values."""
    dialect = DIALECTS[FORMS[form].dialect]
    sa = dump.part(message, SadbExtType.SA, Sa) or Sa(0)
    sa2 = dump.part(message, SadbExtType.X_SA2, Sa2) or Sa2()
    return {
        "source": _host(message, SadbExtType.ADDRESS_SRC),
        "destination": _host(message, SadbExtType.ADDRESS_DST),
        "protocol": dump.satype_word(message.satype),
        "mode": dump.mode_word(sa2.mode),
        "spi": sa.spi,
        "reqid": sa2.reqid,
        "encryption": _algorithm(
            message, SadbExtType.KEY_ENCRYPT, dialect.encrypt_names.get(sa.encrypt), show_keys
        ),
        "authentication": _algorithm(
            message, SadbExtType.KEY_AUTH, dialect.auth_names.get(sa.auth), show_keys
        ),
        "state": dump.state_word(sa.state),
        "sequence": sa2.sequence,
        "replay_window": dump.window(message, sa, form),
        "flags": sa.flags,
        "udp_ports": _ports(message),
        "lifetime": {word: _lifetime(message, kind) for word, kind in _LIFETIMES.items()},
        "pid": message.pid,
    }


def policy(message: Message, form: str) -> dict[str, Any]:
    """Return one policy of a dump as values."""
    found = dump.part(message, SadbExtType.X_POLICY, Policy) or Policy(0, 0)
    source = dump.part(message, SadbExtType.ADDRESS_SRC, Address)
    direction, *_, action = dump.policy_head(found, form).split()
    return {
        "source": _network(source),
        "destination": _network(dump.part(message, SadbExtType.ADDRESS_DST, Address)),
        "upper_protocol": source.proto if source else None,
        "direction": direction,
        "action": action,
        "priority": found.priority if FORMS[form].priority else None,
        "rules": [dump.request_text(request) for request in found.requests],
        "id": found.id,
        "lifetime": {word: _lifetime(message, kind) for word, kind in _LIFETIMES.items()},
        "pid": message.pid,
    }


def _host(message: Message, kind: SadbExtType) -> str | None:
    address = dump.part(message, kind, Address)
    return str(address.address) if address else None


def _network(side: Address | None) -> dict[str, Any] | None:
    """Return one side of a selector; port 0 is any port."""
    return {"network": f"{side.address}/{side.prefixlen}", "port": side.port} if side else None


def _algorithm(message: Message, kind: SadbExtType, name: str | None, show: bool) -> dict[str, Any] | None:
    """Return an algorithm with the length of its key, and the key only when asked for."""
    key = dump.part(message, kind, Key)
    if key is None:
        return {"name": name, "key_bits": 0} if name else None
    found: dict[str, Any] = {"name": name, "key_bits": len(key.data) * 8}
    if show:
        found["key"] = key.data.hex()
    return found


def _ports(message: Message) -> list[int] | None:
    """Return the UDP ports of an encapsulated association, source first."""
    if dump.part(message, SadbExtType.X_NAT_T_TYPE, NatType) is None:
        return None
    kinds = (SadbExtType.X_NAT_T_SPORT, SadbExtType.X_NAT_T_DPORT)
    return [(dump.part(message, kind, NatPort) or NatPort(0)).port for kind in kinds]


def _lifetime(message: Message, kind: SadbExtType) -> dict[str, int] | None:
    """Return limits or consumption; for consumption the times are seconds since 1970."""
    found = dump.part(message, kind, Lifetime)
    if found is None:
        return None
    return {
        "allocations": found.allocations,
        "bytes": found.bytes,
        "add_secs": found.addtime,
        "use_secs": found.usetime,
    }
