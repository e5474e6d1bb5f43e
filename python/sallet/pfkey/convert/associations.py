"""From an ADD or an UPDATE to the engine's SaParams.

No database is asked and no reply is made. Answers to RFC 2367 §2.3 and §3.1.3, and to RFC 3948.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sallet import _core
from sallet.pfkey.constants import NatTraversalType, SadbExtType, SadbSaFlags
from sallet.pfkey.convert.fields import Refusal, ends, maybe, mode_and_reqid, need, protocol, refuse_unserved
from sallet.pfkey.dialects import AlgorithmRow, Dialect
from sallet.pfkey.messages import (
    Address,
    Identity,
    Key,
    Lifetime,
    Message,
    NatFragment,
    NatPort,
    NatType,
    Replay,
    Sa,
)

_E: Final = SadbExtType

_FLAGS_UNDERSTOOD: Final = (
    SadbSaFlags.X_ESN | SadbSaFlags.X_CYCSEQ | SadbSaFlags.X_RAWCPI | SadbSaFlags.X_NATT_KEEPALIVE
)
"""Flags that become words of their own; the others are kept as they are."""

_Ends = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]


def sa_params(
    message: Message, dialect: Dialect, *, with_keys: bool = True, connection: int = 0
) -> _core.SaParams:
    """Read an ADD or an UPDATE that came by a connection.

    Raises:
        Refusal: with what the message lacks or says wrong.
    """
    refuse_unserved(message)
    sa = need(message, _E.SA, Sa)
    source, destination = ends(message)
    mode, reqid = mode_and_reqid(message, dialect)
    found = protocol(message, dialect)
    if found != "ipcomp" and sa.spi < dialect.spi_min:
        raise Refusal("invalid-spi")
    if sa.flags & dialect.flags_refused:
        raise Refusal("out-of-range")
    flags = sa.flags & dialect.flags_kept
    _check_identities(message, dialect)
    if dialect.limits_together and (_E.LIFETIME_HARD in message.extensions) != (
        _E.LIFETIME_SOFT in message.extensions
    ):
        raise Refusal("missing-extension")
    return _core.SaParams(
        spi=sa.spi,
        protocol=found,
        source=source.address,
        destination=destination.address,
        mode=mode,
        reqid=reqid,
        encryption=_encryption(message, sa, found, dialect) if with_keys else None,
        authentication=_authentication(message, sa, dialect) if with_keys else None,
        replay_window=_replay_window(message, sa, dialect),
        esn=bool(flags & SadbSaFlags.X_ESN),
        old=bool(flags & SadbSaFlags.X_OLD),
        cycle_sequence=bool(flags & SadbSaFlags.X_CYCSEQ),
        keepalive=bool(flags & SadbSaFlags.X_NATT_KEEPALIVE),
        soft=_limits(message, _E.LIFETIME_SOFT),
        hard=_limits(message, _E.LIFETIME_HARD),
        encap=_encap(message),
        fragment_bytes=(maybe(message, _E.X_NAT_T_FRAG, NatFragment) or NatFragment(0)).octets,
        original=_original(message, source, destination),
        flags=flags & ~_FLAGS_UNDERSTOOD,
        owner=message.pid,
        connection=connection,
        raw_cpi=dialect.cpi_is_raw or bool(flags & SadbSaFlags.X_RAWCPI),
    )


def _check_identities(message: Message, dialect: Dialect) -> None:
    source = maybe(message, _E.IDENTITY_SRC, Identity)
    destination = maybe(message, _E.IDENTITY_DST, Identity)
    kinds = (source and source.type, destination and destination.type)
    if dialect.identities_together and kinds[0] != kinds[1]:
        raise Refusal("invalid-selector")


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3.4
# # the key's bits fit the algorithm, weak keys are refused
def _key(message: Message, kind: SadbExtType) -> bytes:
    key = maybe(message, kind, Key)
    if key is None:
        return b""
    if key.bits % 8:
        raise Refusal("invalid-key-length")
    return key.data


def _encryption(message: Message, sa: Sa, protocol: str, dialect: Dialect) -> tuple[str, bytes] | None:
    if not sa.encrypt and protocol != "ipcomp":
        if protocol == "esp":
            raise Refusal("unsupported-combination")
        return None
    if protocol == "ipcomp":
        if not 0 < sa.encrypt <= dialect.compress_numbers_max:
            raise Refusal("unsupported-combination")
        name = dialect.compress.get(sa.encrypt)
    else:
        name = dialect.encrypt_name(sa.encrypt, sa.flags)
    if name is None:
        raise Refusal("unknown-algorithm")
    return name, _as_listed(_key(message, _E.KEY_ENCRYPT), name, dialect.encrypt, dialect)


def _as_listed(key: bytes, name: str, rows: Iterable[AlgorithmRow], dialect: Dialect) -> bytes:
    """Hold a key against the lengths that are listed for its algorithm, where the dialect does."""
    for row in rows if dialect.key_bits_as_listed else ():
        if row.name == name and not row.minbits <= len(key) * 8 <= row.maxbits:
            raise Refusal("invalid-key-length")
    return key


def _authentication(message: Message, sa: Sa, dialect: Dialect) -> tuple[str, bytes] | None:
    if not sa.auth:
        return None
    name = dialect.auth_names.get(sa.auth)
    if name is None:
        raise Refusal("unknown-algorithm")
    return name, _as_listed(_key(message, _E.KEY_AUTH), name, dialect.auth, dialect)


def _replay_window(message: Message, sa: Sa, dialect: Dialect) -> int:
    replay = maybe(message, _E.X_SA_REPLAY, Replay)
    return min(sa.replay, dialect.replay_max) * dialect.replay_unit if replay is None else replay.window


def _limits(message: Message, kind: SadbExtType) -> _core.Limits | None:
    limit = maybe(message, kind, Lifetime)
    if limit is None:
        return None
    return _core.Limits(
        bytes=limit.bytes, packets=limit.allocations, add_secs=limit.addtime, use_secs=limit.usetime
    )


def _encap(message: Message) -> tuple[int, int] | None:
    kind = maybe(message, _E.X_NAT_T_TYPE, NatType)
    source = maybe(message, _E.X_NAT_T_SPORT, NatPort)
    destination = maybe(message, _E.X_NAT_T_DPORT, NatPort)
    if kind is None and source is None and destination is None:
        return None
    if kind is None or source is None or destination is None:
        raise Refusal("missing-extension")
    if kind.type != NatTraversalType.RFC3948 or not source.port or not destination.port:
        raise Refusal("out-of-range")
    return source.port, destination.port


def _original(message: Message, source: Address, destination: Address) -> _Ends | None:
    """Return the addresses that the peer's checksums cover; one that no NAT changed is the association's."""
    first = maybe(message, _E.X_NAT_T_OAI, Address)
    second = maybe(message, _E.X_OAR_OR_SEC_CTX, Address)
    if first is None and second is None:
        return None
    found = (first or source).address, (second or destination).address
    if any(address.version != source.address.version for address in found):
        raise Refusal("invalid-selector")
    return found
