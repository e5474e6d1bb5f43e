"""What more than one kind of request says: its addresses, its protocol, its mode.

No database is asked and no reply is made; a dialect's words end here. Answers to RFC 2367 §2.3 and §3.1.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, TypeVar

from sallet import _core
from sallet.pfkey.constants import IpsecMode, SadbExtType, SadbMsgType, SadbSatype
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import Address, Extension, Message, Sa2

_E: Final = SadbExtType
_Address: TypeAlias = IPv4Address | IPv6Address

_UNSERVED: Final = frozenset(
    {_E.SENSITIVITY, _E.X_OAR_OR_SEC_CTX, _E.X_TAG, _E.X_SA3, _E.X_KMPRIVATE, _E.X_KMADDRESS}
)
"""Extensions whose meaning sallet cannot keep; accepting them in silence would be a lie."""

_NEW_ENDS: Final = frozenset({_E.X_NEW_ADDRESS_SRC, _E.X_NEW_ADDRESS_DST})

T = TypeVar("T", bound=Extension)


class Refusal(Exception):
    """A request that cannot be served; `kind` is a word of the dialect's errno tables."""

    def __init__(self, kind: str) -> None:
        """Keep the kind."""
        super().__init__(kind)
        self.kind = kind


def need(message: Message, kind: SadbExtType, of: type[T]) -> T:
    """Return an extension that must be there.

    Raises:
        Refusal: it is not (missing-extension).
    """
    extension = message.extensions.get(kind)
    if not isinstance(extension, of):
        raise Refusal("missing-extension")
    return extension


def maybe(message: Message, kind: SadbExtType, of: type[T]) -> T | None:
    """Return an extension that may be there."""
    extension = message.extensions.get(kind)
    return extension if isinstance(extension, of) else None


def refuse_unserved(message: Message) -> None:
    """Refuse a request that carries what would have no effect.

    Raises:
        Refusal: unsupported.
    """
    if message.type is not SadbMsgType.UPDATE and not message.extensions.keys().isdisjoint(_NEW_ENDS):
        raise Refusal("unsupported")
    for kind, extension in message.extensions.items():
        # Where this is an address, it is the responder's before a NAT.
        if kind in _UNSERVED and not (kind is _E.X_OAR_OR_SEC_CTX and isinstance(extension, Address)):
            raise Refusal("unsupported")
    proxy = maybe(message, _E.ADDRESS_PROXY, Address)
    if proxy is not None and proxy.prefixlen:
        raise Refusal("unsupported")


def protocol(message: Message, dialect: Dialect) -> str:
    """Return the protocol of a message about one association.

    Raises:
        Refusal: the type is unspecified or has no protocol (unknown-satype).
    """
    found = dialect.satypes.get(message.satype)
    if found is None:
        raise Refusal("unknown-satype" if message.satype else "unspecified-satype")
    return found


def optional_protocol(message: Message, dialect: Dialect) -> str | None:
    """Return the protocol of a message about many associations, None for all of them.

    Raises:
        Refusal: the type has no protocol (unknown-satype).
    """
    return None if message.satype == SadbSatype.UNSPEC else protocol(message, dialect)


def ends(message: Message) -> tuple[Address, Address]:
    """Return source and destination.

    Raises:
        Refusal: one is missing, or they differ in family (invalid-selector).
    """
    source = need(message, _E.ADDRESS_SRC, Address)
    destination = need(message, _E.ADDRESS_DST, Address)
    if source.address.version != destination.address.version:
        raise Refusal("invalid-selector")
    return source, destination


def new_ends(message: Message, view: _core.SaView) -> tuple[_Address, _Address] | None:
    """Return the ends that an UPDATE gives a living association, None where it leaves them.

    Raises:
        Refusal: they differ in family (invalid-selector).
    """
    source = maybe(message, _E.X_NEW_ADDRESS_SRC, Address)
    destination = maybe(message, _E.X_NEW_ADDRESS_DST, Address)
    if source is None and destination is None:
        return None
    found = (
        source.address if source else view.source,
        destination.address if destination else view.destination,
    )
    if found[0].version != found[1].version:
        raise Refusal("invalid-selector")
    return found


def mode_and_reqid(message: Message, dialect: Dialect) -> tuple[str, int]:
    """Return mode and request id of an association.

    Raises:
        Refusal: the mode is unknown (out-of-range).
    """
    sa2 = maybe(message, _E.X_SA2, Sa2) or Sa2()
    return mode_word(sa2.mode, dialect), sa2.reqid


def mode_word(number: int, dialect: Dialect) -> str:
    """Return the engine's word for a mode.

    Raises:
        Refusal: the mode is unknown (out-of-range).
    """
    if number == IpsecMode.ANY:
        return dialect.any_mode
    if number == IpsecMode.TRANSPORT:
        return "transport"
    if number == IpsecMode.TUNNEL:
        return "tunnel"
    raise Refusal("out-of-range")
