"""Prints PF_KEY messages field by field, as `setkey -v` and `setkey -x` do.

No socket may enter, and no key: its length is all that is shown. Answers to setkey(8), options -v and -x, and
to the records that the kernels of KAME print of a message; FreeBSD's and ours have names in brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

from sallet.lang.forms import FORMS
from sallet.pfkey.constants import SadbExtType, SadbSatype
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import (
    Address,
    Comb,
    Extension,
    Identity,
    Key,
    Lifetime,
    Message,
    Opaque,
    Policy,
    Proposal,
    Request,
    Sa,
    Sa2,
    Supported,
)

_INET: Final = 2
_SATYPES: Final[dict[int, str]] = {int(kind): kind.name for kind in SadbSatype}


def text(message: Message, form: str = "sallet", lengths: Sequence[int] = ()) -> str:
    """Return a message as records `sadb_NAME{ field=value … }`.

    `lengths` are those of the message and of each extension in words of 8 bytes, where they are known.
    """
    row = FORMS[form]
    dialect = DIALECTS[row.dialect]
    named = row.names_in_records
    lines = [
        f"sadb_msg{{ version=2 type={_named(message.type, message.type.name, named)} errno={message.errno} "
        f"satype={_named(message.satype, _SATYPES.get(message.satype, '?'), named)}",
        f"  {_length(lengths, 0)}reserved={message.reserved} seq={message.seq} pid={message.pid}",
    ]
    for nth, (kind, extension) in enumerate(message.extensions.items(), 1):
        number = dialect.extension_numbers.get(kind, 0)
        lines.append(f"sadb_ext{{ {_length(lengths, nth)}type={_named(number, kind.name, named)} }}")
        lines += _record(kind, extension, dialect, named)
    return "\n".join(lines) + "\n"


def _named(number: int, name: str, named: bool) -> str:
    return f"{int(number)}({name})" if named else str(int(number))


def _length(lengths: Sequence[int], nth: int) -> str:
    return f"len={lengths[nth]} " if nth < len(lengths) else ""


def _record(kind: SadbExtType, extension: Extension, dialect: Dialect, readable: bool) -> Iterable[str]:
    """Return the lines of one extension; one that has no record of its own shows its fields."""
    if isinstance(extension, Address):
        return _address(extension, dialect, readable)
    if isinstance(extension, Policy):
        return _policy(extension, dialect, readable)
    record = _RECORDS.get(type(extension))
    if record is not None:
        return record(extension)
    return [f"sadb_{kind.name.lower()}{{ {_fields(extension)} }}"]


def _fields(value: object) -> str:
    """Return the fields of any of the message classes as `name=value`."""
    return " ".join(f"{field.name}={getattr(value, field.name)}" for field in fields(value))  # type: ignore[arg-type]


def _sa(sa: Sa) -> list[str]:
    return [
        f"sadb_sa{{ spi={sa.spi} replay={sa.replay} state={sa.state}",
        f"  auth={sa.auth} encrypt={sa.encrypt} flags=0x{sa.flags:08x} }}",
    ]


def _lifetime(lifetime: Lifetime) -> list[str]:
    return [
        f"sadb_lifetime{{ alloc={lifetime.allocations}, bytes={lifetime.bytes}",
        f"  addtime={lifetime.addtime}, usetime={lifetime.usetime} }}",
    ]


def _address(address: Address, dialect: Dialect, readable: bool) -> list[str]:
    return [
        f"sadb_address{{ proto={address.proto} prefixlen={address.prefixlen} reserved=0x0000 }}",
        *_sockaddr(address, dialect, readable),
    ]


def _sockaddr(address: Address, dialect: Dialect, readable: bool) -> list[str]:
    four = address.address.version == 4
    family, size = (_INET, 16) if four else (dialect.inet6_family, 28)
    packed = address.address.packed
    words = " ".join(packed[at : at + 4].hex() for at in range(0, len(packed), 4))
    return [
        f"sockaddr{{ len={size} family={family} port={address.port}",
        f" {address.address} }}" if readable else f" {words}  }}",
    ]


def _key(key: Key) -> list[str]:
    return [f"sadb_key{{ bits={key.bits} reserved=0", f"  key=({len(key.data)} bytes, not shown) }}"]


def _identity(identity: Identity) -> list[str]:
    return [f"sadb_ident{{ type={identity.type} id={identity.id}", f'  "{identity.text}" }}']


def _proposal(proposal: Proposal) -> list[str]:
    lines = [f"sadb_prop{{ replay={proposal.replay}"]
    for comb in proposal.combs:
        lines += _comb(comb)
    return [*lines, "}"]


def _comb(comb: Comb) -> list[str]:
    soft, hard = comb.soft, comb.hard
    return [
        f"sadb_comb{{ auth={comb.auth} encrypt={comb.encrypt} flags=0x{comb.flags:04x} reserved=0x00000000",
        f"  auth_minbits={comb.auth_minbits} auth_maxbits={comb.auth_maxbits} "
        f"encrypt_minbits={comb.encrypt_minbits} encrypt_maxbits={comb.encrypt_maxbits}",
        f"  soft_alloc={soft.allocations} hard_alloc={hard.allocations} "
        f"soft_bytes={soft.bytes} hard_bytes={hard.bytes}",
        f"  soft_addtime={soft.addtime} hard_addtime={hard.addtime} "
        f"soft_usetime={soft.usetime} hard_usetime={hard.usetime} }}",
    ]


def _supported(supported: Supported) -> list[str]:
    rows = [
        f"  {{ id={row.id} ivlen={row.ivlen} min={row.minbits} max={row.maxbits} }}"
        for row in supported.algorithms
    ]
    return ["sadb_sup{", *rows, "}"]


def _sa2(sa2: Sa2) -> list[str]:
    return [
        f"sadb_x_sa2{{ mode={sa2.mode} reqid={sa2.reqid}",
        f"  reserved1=0 reserved2=0 sequence={sa2.sequence} }}",
    ]


def _policy(policy: Policy, dialect: Dialect, readable: bool) -> list[str]:
    tail = f" priority={policy.priority}" if dialect.policy_has_priority else ""
    tail += f" scope={policy.scope}" if dialect.policy_has_scope else ""
    lines = [f"sadb_x_policy{{ type={policy.type} dir={policy.direction} id={policy.id:x}{tail} }}"]
    for request in policy.requests:
        lines += _request(request, dialect, readable)
    return lines


def _request(request: Request, dialect: Dialect, readable: bool) -> list[str]:
    made = " made" if request.made else ""
    head = f" {{ proto={request.proto} mode={request.mode} level={request.level} reqid={request.reqid}{made}"
    if request.source is None or request.destination is None:
        return [f"{head} }}"]
    ends = (request.source, request.destination)
    return [head, *(line for end in ends for line in _sockaddr(end, dialect, readable)), " }"]


def _opaque(opaque: Opaque) -> list[str]:
    return [f"  ({len(opaque.data)} bytes)"]


_RECORDS: Final[dict[type, Callable[[Any], list[str]]]] = {
    Sa: _sa,
    Lifetime: _lifetime,
    Key: _key,
    Identity: _identity,
    Proposal: _proposal,
    Supported: _supported,
    Sa2: _sa2,
    Opaque: _opaque,
}
