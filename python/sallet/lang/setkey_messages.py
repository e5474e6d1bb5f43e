"""Turns statements of setkey into the PF_KEY messages that setkey sends for them.

No text and no socket may enter; numbers come from the dialect. Answers to setkey(8) and RFC 2367 §3.1.
On Linux setkey sends a second policy, for forwarded packets, beside each `in`; the kernel stores both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sallet.lang.forms import FORMS, Form
from sallet.lang.statements import (
    AddSa,
    Algorithm,
    IpAddress,
    NameSa,
    PolicyStatement,
    Range,
    Statement,
    Whole,
)
from sallet.pfkey.constants import (
    ULPROTO_ANY,
    IpsecDirection,
    NatTraversalType,
    SadbCompression,
    SadbExtType,
    SadbMsgType,
    SadbSaFlags,
    SadbSatype,
)
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import (
    Address,
    Extension,
    Key,
    Lifetime,
    Message,
    NatFragment,
    NatPort,
    NatType,
    Policy,
    Replay,
    Sa,
    Sa2,
    SpiRange,
)

_NAT_PORT: Final = 4500
"""UDP port of encapsulated ESP where none is written (RFC 3948 §2)."""
_WINDOW_OCTET: Final = 255

_Extensions: TypeAlias = dict[SadbExtType, Extension]

_SA_VERBS: Final = {"get": SadbMsgType.GET, "delete": SadbMsgType.DELETE, "deleteall": SadbMsgType.DELETE}
_POLICY_VERBS: Final = {
    "spdadd": SadbMsgType.X_SPDADD,
    "spdupdate": SadbMsgType.X_SPDUPDATE,
    "spddelete": SadbMsgType.X_SPDDELETE,
}
_WHOLE_VERBS: Final = {
    "flush": SadbMsgType.FLUSH,
    "dump": SadbMsgType.DUMP,
    "spdflush": SadbMsgType.X_SPDFLUSH,
    "spddump": SadbMsgType.X_SPDDUMP,
}
_COMPRESSIONS: Final = {
    "oui": SadbCompression.OUI,
    "deflate": SadbCompression.DEFLATE,
    "lzs": SadbCompression.LZS,
}
_PADDING_FLAGS: Final = {"random-pad": SadbSaFlags.X_PRAND, "zero-pad": SadbSaFlags.X_PZERO}
_ADD_VERBS: Final = {"add": SadbMsgType.ADD, "update": SadbMsgType.UPDATE}


@dataclass(frozen=True, slots=True)
class Order:
    """One message to send, and the statement that asks for it."""

    statement: Statement
    message: Message
    twin: bool = False
    """Whether it is the `fwd` policy that nobody wrote."""


def to_messages(statement: Statement, form: str, dialect: str | Dialect) -> list[Message]:
    """Return the messages that setkey of this form sends for a statement, in their order.

    # Errors
    `ValueError` where the dialect has no number for the algorithm.
    """
    row = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    return [order.message for order in orders(statement, FORMS[form], row)]


def plan(statements: Iterable[Statement], form: str, dialect: str | Dialect) -> list[Order]:
    """Return the messages of a whole text; a `fwd` policy that the text writes itself is not sent twice."""
    everything = list(statements)
    row = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    written = {
        _selector(statement)
        for statement in everything
        if isinstance(statement, PolicyStatement) and statement.policy.direction == IpsecDirection.FORWARD
    }
    return [
        order
        for statement in everything
        for order in orders(statement, FORMS[form], row)
        if not (order.twin and isinstance(statement, PolicyStatement) and _selector(statement) in written)
    ]


def orders(
    statement: Statement, form: Form, dialect: Dialect, *, forward_too: bool = True
) -> Iterator[Order]:
    """Yield the messages of one statement."""
    if isinstance(statement, AddSa):
        make = _getspi if statement.verb == "getspi" else _add
        for source, destination in pairs(statement.sources, statement.destinations):
            yield Order(statement, make(statement, source, destination, form, dialect))
    elif isinstance(statement, NameSa):
        for source, destination in pairs(statement.sources, statement.destinations):
            yield Order(statement, _name_sa(statement, source, destination))
    elif isinstance(statement, PolicyStatement):
        yield from _policy_orders(statement, form.forward_too and forward_too)
    elif statement.verb in _WHOLE_VERBS:
        yield Order(statement, Message(_WHOLE_VERBS[statement.verb], statement.satype))


def pairs(
    sources: tuple[IpAddress, ...], destinations: tuple[IpAddress, ...]
) -> Iterator[tuple[IpAddress, IpAddress]]:
    """Yield every pair of addresses of one family."""
    for source in sources:
        for destination in destinations:
            if source.version == destination.version:
                yield source, destination


def _host(address: IpAddress) -> Address:
    """Return the address extension of one end of an association."""
    return Address(address, 0, address.max_prefixlen, ULPROTO_ANY)


def _getspi(
    statement: AddSa, source: IpAddress, destination: IpAddress, form: Form, dialect: Dialect
) -> Message:
    """Return the GETSPI for one pair of addresses; SPI 0 leaves the choice to the daemon."""
    found: _Extensions = {
        SadbExtType.X_SA2: Sa2(statement.extensions.mode, 0, statement.extensions.reqid),
        SadbExtType.ADDRESS_SRC: _host(source),
        SadbExtType.ADDRESS_DST: _host(destination),
    }
    if statement.spi:
        found[SadbExtType.SPIRANGE] = SpiRange(statement.spi, statement.spi)
    return Message(SadbMsgType.GETSPI, statement.satype, extensions=found)


def _add(
    statement: AddSa, source: IpAddress, destination: IpAddress, form: Form, dialect: Dialect
) -> Message:
    """Return the ADD or UPDATE for one pair of addresses."""
    words = statement.extensions
    found: _Extensions = {
        SadbExtType.SA: Sa(
            statement.spi,
            replay=min(words.replay, _WINDOW_OCTET),
            auth=_number(statement.authentication, dialect.auth_numbers, dialect),
            encrypt=_cipher_number(statement, dialect),
            flags=_flags(statement, form, dialect),
        ),
        SadbExtType.X_SA2: Sa2(words.mode, 0, words.reqid),
        SadbExtType.ADDRESS_SRC: _host(source),
        SadbExtType.ADDRESS_DST: _host(destination),
    }
    if words.replay > _WINDOW_OCTET:
        found[SadbExtType.X_SA_REPLAY] = Replay(words.replay * dialect.replay_unit)
    if words.hard_secs or words.soft_secs or words.hard_bytes or words.soft_bytes:
        # The BSD kernels take both or neither.
        found[SadbExtType.LIFETIME_HARD] = Lifetime(0, words.hard_bytes, words.hard_secs, 0)
        found[SadbExtType.LIFETIME_SOFT] = Lifetime(0, words.soft_bytes, words.soft_secs, 0)
    _put_key(found, SadbExtType.KEY_AUTH, statement.authentication)
    _put_key(found, SadbExtType.KEY_ENCRYPT, statement.encryption)
    if statement.encapsulated:
        found[SadbExtType.X_NAT_T_TYPE] = NatType(NatTraversalType.RFC3948)
        found[SadbExtType.X_NAT_T_SPORT] = NatPort(statement.ports[0] or _NAT_PORT)
        found[SadbExtType.X_NAT_T_DPORT] = NatPort(statement.ports[1] or _NAT_PORT)
        if statement.original is not None:
            found[SadbExtType.X_NAT_T_OAI] = _host(statement.original)
        if statement.responder is not None:
            found[SadbExtType.X_OAR_OR_SEC_CTX] = _host(statement.responder)
    if words.fragment_bytes:
        found[SadbExtType.X_NAT_T_FRAG] = NatFragment(words.fragment_bytes)
    return Message(_ADD_VERBS[statement.verb], statement.satype, extensions=found)


def _put_key(found: _Extensions, kind: SadbExtType, algorithm: Algorithm | None) -> None:
    """Add a key where there is one; null has none."""
    if algorithm is not None and algorithm.key:
        found[kind] = Key(len(algorithm.key) * 8, algorithm.key)


def _number(algorithm: Algorithm | None, numbers: Mapping[str, int], dialect: Dialect) -> int:
    """Return the dialect's number of an algorithm, 0 for none."""
    if algorithm is None:
        return 0
    number = numbers.get(algorithm.name)
    if number is None:
        raise ValueError(f"{algorithm.word} has no number in the dialect {dialect.name}")
    return number


def _cipher_number(statement: AddSa, dialect: Dialect) -> int:
    """Return the number of the cipher, or of the compression, which shares its field."""
    if statement.compression:
        return int(_COMPRESSIONS[statement.compression])
    return _number(statement.encryption, dialect.encrypt_numbers, dialect)


def _flags(statement: AddSa, form: Form, dialect: Dialect) -> int:
    """Return the flags of an association as the form sends them."""
    words = statement.extensions
    flags = SadbSaFlags(0)
    cyclic = form.cyclic_by_default if words.cyclic is None else words.cyclic
    if cyclic:
        flags |= SadbSaFlags.X_CYCSEQ
    if words.esn:
        flags |= SadbSaFlags.X_ESN
    if statement.old:
        flags |= SadbSaFlags.X_OLD
    if statement.raw_cpi:
        flags |= SadbSaFlags.X_RAWCPI
    if form.sends_flags:
        flags |= _PADDING_FLAGS.get(words.padding, SadbSaFlags(0))
    flag = dialect.encrypt_flag(statement.encryption.name) if statement.encryption else 0
    return int(flags) | flag


def _name_sa(statement: NameSa, source: IpAddress, destination: IpAddress) -> Message:
    """Return the GET or DELETE for one pair; deleteall names no SPI."""
    found: _Extensions = {} if statement.verb == "deleteall" else {SadbExtType.SA: Sa(statement.spi)}
    found[SadbExtType.ADDRESS_SRC] = _host(source)
    found[SadbExtType.ADDRESS_DST] = _host(destination)
    return Message(_SA_VERBS[statement.verb], statement.satype, extensions=found)


def _policy_orders(statement: PolicyStatement, forward_too: bool) -> Iterator[Order]:
    """Yield the policy for every pair, and behind each `in` its twin for forwarded packets."""
    policy = statement.policy
    for source, destination in pairs(statement.source.addresses, statement.destination.addresses):
        yield Order(statement, _policy(statement, source, destination, policy))
        if forward_too and policy.direction == IpsecDirection.INBOUND:
            twin = Policy(
                policy.type, IpsecDirection.FORWARD, priority=policy.priority, requests=policy.requests
            )
            yield Order(statement, _policy(statement, source, destination, twin), twin=True)


def _policy(statement: PolicyStatement, source: IpAddress, destination: IpAddress, policy: Policy) -> Message:
    """Return the message for one pair and one list."""
    return Message(
        _POLICY_VERBS[statement.verb],
        SadbSatype.UNSPEC,
        extensions={
            SadbExtType.X_POLICY: policy,
            SadbExtType.ADDRESS_SRC: _network(statement.source, source, statement.upper),
            SadbExtType.ADDRESS_DST: _network(statement.destination, destination, statement.upper),
        },
    )


def _network(side: Range, address: IpAddress, upper: int) -> Address:
    """Return the address extension of one side of a selector."""
    prefixlen = address.max_prefixlen if side.prefixlen is None else side.prefixlen
    return Address(address, side.port, prefixlen, upper)


def _selector(statement: PolicyStatement) -> tuple[object, ...]:
    """Return what makes two policy statements speak of the same packets, the direction left aside."""
    source, destination = statement.source, statement.destination
    return (
        statement.verb == "spddelete",
        *(source.addresses, source.prefixlen, source.port),
        *(destination.addresses, destination.prefixlen, destination.port),
        statement.upper,
    )


def is_whole(statement: Statement, verb: str) -> bool:
    """Say whether a statement is that verb for a whole database."""
    return isinstance(statement, Whole) and statement.verb == verb
