"""What a key manager may choose from: REGISTER's list, and the proposal of an ACQUIRE.

No database is asked and nothing is sent. Answers to RFC 2367 §3.1.6 and §3.1.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sallet import _core
from sallet.pfkey.constants import IpsecPolicyType, SadbExtType
from sallet.pfkey.dialects import AlgorithmRow, Dialect
from sallet.pfkey.messages import Algorithm, Comb, Extension, Lifetime, Policy, Proposal, Sa2, Supported
from sallet.pfkey.render.words import DIRECTIONS, MODES, host

_E: Final = SadbExtType

# What an ACQUIRE proposes for the lifetime of an association: a day, and eight hours of use.
_PROPOSED_SOFT: Final = Lifetime(addtime=20 * 3600, usetime=7 * 3600)
_PROPOSED_HARD: Final = Lifetime(addtime=24 * 3600, usetime=8 * 3600)
_PROPOSED_REPLAY: Final = 32


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.7
# # REGISTER answers with the algorithms that are supported
def supported(dialect: Dialect, provided: frozenset[str]) -> dict[SadbExtType, Extension]:
    """List the algorithms of the dialect that the engine provides for any key (RFC 2367 §3.1.7)."""

    def listed(rows: Iterable[AlgorithmRow]) -> Supported:
        return Supported(
            tuple(
                Algorithm(row.number, row.ivlen, row.minbits, row.maxbits)
                for row in _provided(rows, provided)
            )
        )

    return {_E.SUPPORTED_AUTH: listed(dialect.auth), _E.SUPPORTED_ENCRYPT: listed(dialect.encrypt)}


def _provided(rows: Iterable[AlgorithmRow], provided: frozenset[str]) -> list[AlgorithmRow]:
    return [row for row in rows if row.name in provided]


def acquire(
    event: _core.AcquireEvent, view: _core.PolicyView | None, dialect: Dialect, proposed: Mapping[str, str]
) -> dict[SadbExtType, Extension]:
    """Ask for an association: its ends, the policy that asks, and what would do (RFC 2367 §3.1.6).

    `proposed` tells the kind of each algorithm that may be named ("aead", "cipher", "auth" or "compression").
    """
    extensions: dict[SadbExtType, Extension] = {
        _E.ADDRESS_SRC: host(event.source),
        _E.ADDRESS_DST: host(event.destination),
    }
    if view is not None:
        priority = view.priority if dialect.policy_has_priority else 0
        extensions[_E.X_POLICY] = Policy(
            IpsecPolicyType.IPSEC, DIRECTIONS[view.direction], view.id, priority, scope=dialect.policy_scope
        )
    template = event.template
    if template.reqid and dialect.acquire_tells_reqid:
        # Where a policy's requests are not told, the id that the association must have stands in SA2.
        extensions[_E.X_SA2] = Sa2(MODES[template.mode], 0, template.reqid)
    extensions[_E.PROPOSAL] = Proposal(_PROPOSED_REPLAY, _combs(template.protocol, dialect, proposed))
    return extensions


def _combs(protocol: str, dialect: Dialect, proposed: Mapping[str, str]) -> tuple[Comb, ...]:
    names = frozenset(proposed)
    auths = _provided(dialect.auth, names)
    if protocol == "ipcomp":
        return tuple(
            _comb(None, AlgorithmRow(number, name, 0, 0, 0)) for number, name in dialect.compress.items()
        )
    if protocol == "ah":
        return tuple(_comb(auth, None) for auth in auths)
    combs: list[Comb] = []
    for row in _provided(dialect.encrypt, names):
        if proposed[row.name] == "aead":
            combs.append(_comb(None, row))
        else:
            # A MAC with an IV is AH's: ESP has one place for an IV, and it is the cipher's.
            combs.extend(_comb(auth, row) for auth in auths if not auth.ivlen)
    return tuple(combs)


def _comb(auth: AlgorithmRow | None, encrypt: AlgorithmRow | None) -> Comb:
    return Comb(
        auth=auth.number if auth else 0,
        encrypt=encrypt.number if encrypt else 0,
        auth_minbits=auth.minbits if auth else 0,
        auth_maxbits=auth.maxbits if auth else 0,
        encrypt_minbits=encrypt.minbits if encrypt else 0,
        encrypt_maxbits=encrypt.maxbits if encrypt else 0,
        soft=_PROPOSED_SOFT,
        hard=_PROPOSED_HARD,
    )
