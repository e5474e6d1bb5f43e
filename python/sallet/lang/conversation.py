"""PF_KEY messages as one line for people: the words of the manuals, algorithms by name, keys by length only.

No socket and no bytes enter. Answers to `sallet monitor`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Final

from sallet.pfkey.constants import IpsecDirection, IpsecLevel, IpsecMode, IpsecPolicyType, SadbExtType
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import (
    Address,
    Key,
    Lifetime,
    Message,
    NatFragment,
    NatPort,
    Opaque,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    SpiRange,
    Supported,
)

_E: Final = SadbExtType
_PROTOCOLS: Final = {50: "esp", 51: "ah", 108: "ipcomp", 4: "ipv4"}


def summary(message: Message, dialect: Dialect) -> str:
    """Say what a message says, its type first."""
    words = [type_word(message)]
    if message.satype:
        words.append(dialect.satypes.get(message.satype, f"satype {message.satype}"))
    for kind, extension in message.extensions.items():
        word = _word(kind, extension, dialect)
        if word:
            words.append(word)
    return " ".join(words)


def type_word(message: Message) -> str:
    """Name the type, without the X that marks extensions."""
    return message.type.name.removeprefix("X_")


def errno_words(number: int) -> str:
    """Say an errno in words."""
    return os.strerror(number)


def as_json(message: Message, dialect: Dialect) -> dict[str, Any]:
    """Tell a message as JSON values; of each key the length alone."""
    return {
        "type": type_word(message).lower(),
        "satype": dialect.satypes.get(message.satype, message.satype or None),
        "errno": message.errno,
        "error": errno_words(message.errno) if message.errno else None,
        "seq": message.seq,
        "pid": message.pid,
        "reserved": message.reserved,
        "extensions": {
            kind.name.removeprefix("X_").lower(): _json(extension)
            for kind, extension in message.extensions.items()
        },
    }


def _json(value: Any) -> Any:
    if isinstance(value, Key):
        return {"bits": value.bits}
    if isinstance(value, Opaque):
        return {"octets": len(value.data)}
    if is_dataclass(value):
        return {field.name: _json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    return value if value is None or isinstance(value, int | str) else str(value)


def _word(kind: SadbExtType, extension: Any, dialect: Dialect) -> str:
    say = _WORDS.get(type(extension))
    return f"{kind.name.removeprefix('X_').lower()}" if say is None else say(kind, extension, dialect)


def _address(kind: SadbExtType, address: Address, _: Dialect) -> str:
    mark = {_E.ADDRESS_SRC: "from", _E.ADDRESS_DST: "to"}.get(kind, kind.name.removeprefix("X_").lower())
    whole = address.prefixlen == address.address.max_prefixlen
    text = str(address.address) + ("" if whole else f"/{address.prefixlen}")
    return f"{mark} {text}" + (f"[{address.port}]" if address.port else "")


def _sa(_: SadbExtType, sa: Sa, dialect: Dialect) -> str:
    words = [f"spi 0x{sa.spi:08x}"]
    if sa.encrypt:
        words.append(dialect.encrypt_name(sa.encrypt, sa.flags) or f"cipher {sa.encrypt}")
    if sa.auth:
        words.append(dialect.auth_names.get(sa.auth, f"mac {sa.auth}"))
    if sa.replay:
        words.append(f"replay {sa.replay}")
    return " ".join(words)


def _sa2(_: SadbExtType, sa2: Sa2, __: Dialect) -> str:
    mode = _name(IpsecMode, sa2.mode)
    return mode + (f" reqid {sa2.reqid}" if sa2.reqid else "")


def _key(kind: SadbExtType, key: Key, _: Dialect) -> str:
    return f"{'mac' if kind is _E.KEY_AUTH else 'cipher'} key of {key.bits} bits"


def _lifetime(kind: SadbExtType, lifetime: Lifetime, _: Dialect) -> str:
    named = {
        "packets": lifetime.allocations,
        "bytes": lifetime.bytes,
        "add": lifetime.addtime,
        "use": lifetime.usetime,
    }
    said = [f"{name} {value}" for name, value in named.items() if value]
    return f"{kind.name.removeprefix('LIFETIME_').lower()} ({', '.join(said)})" if said else ""


def _policy(_: SadbExtType, policy: Policy, __: Dialect) -> str:
    words = [_name(IpsecDirection, policy.direction), _name(IpsecPolicyType, policy.type)]
    words += [_request(request) for request in policy.requests]
    if policy.id:
        words.append(f"id {policy.id}")
    if policy.priority:
        words.append(f"priority {policy.priority:#x}")
    return " ".join(words)


def _request(request: Request) -> str:
    ends = ""
    if request.source is not None and request.destination is not None:
        ends = f"{request.source.address}-{request.destination.address}"
    protocol = _PROTOCOLS.get(request.proto, str(request.proto))
    text = f"{protocol}/{_name(IpsecMode, request.mode)}/{ends}/{_name(IpsecLevel, request.level)}"
    return text + (f":{request.reqid}" if request.reqid else "")


def _name(words: Any, number: int) -> str:
    try:
        return str(words(number).name).lower()
    except ValueError:
        return str(number)


_WORDS: Final[dict[type, Callable[[SadbExtType, Any, Dialect], str]]] = {
    Address: _address,
    Sa: _sa,
    Sa2: _sa2,
    Key: _key,
    Lifetime: _lifetime,
    Policy: _policy,
    Proposal: lambda _, proposal, __: f"{len(proposal.combs)} proposals",
    Supported: lambda kind, said, _: (
        f"{len(said.algorithms)} {'macs' if kind is _E.SUPPORTED_AUTH else 'ciphers'}"
    ),
    SpiRange: lambda _, asked, __: f"spi of 0x{asked.minimum:x}-0x{asked.maximum:x}",
    NatFragment: lambda _kind, fragment, _: f"esp_frag {fragment.octets}",
    NatPort: lambda kind, nat, _: f"{kind.name.removeprefix('X_NAT_T_').lower()} {nat.port}",
    Replay: lambda _, replay, __: f"replay {replay.window}",
}
