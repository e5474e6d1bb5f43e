"""What a key manager may choose from: REGISTER's list, and the proposal of an ACQUIRE.

No database is asked and nothing is sent. Answers to RFC 2367 §3.1.6 and §3.1.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sallet import _core
from sallet.pfkey.constants import IpsecPolicyType, SadbExtType
from sallet.pfkey.convert import policy_ids
from sallet.pfkey.dialects import AlgorithmRow, Dialect
from sallet.pfkey.messages import Algorithm, Comb, Extension, Lifetime, Policy, Proposal, Sa2, Supported
from sallet.pfkey.render.words import DIRECTIONS, MODES, host

_E: Final = SadbExtType

_PROPOSED_REPLAY: Final = 32
_NO_CIPHER: Final = "null"


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be proposed: algorithms with their kinds (aead, cipher, auth), and the shortest keys."""

    kinds: Mapping[str, str]
    esp_key_bits: int = 0
    ah_key_bits: int = 0
    esp_authenticates: bool = True
    """Whether ciphers are proposed with integrity, and not alone."""

    @classmethod
    def of(cls, engine: _core.Engine, kinds: Mapping[str, str]) -> Rules:
        """Take the rules that an engine was configured with."""
        config = engine.config()
        return cls(
            kinds,
            config["proposal_esp_key_bits"],
            config["proposal_ah_key_bits"],
            config["proposal_esp_authenticates"],
        )


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
    event: _core.AcquireEvent, view: _core.PolicyView | None, dialect: Dialect, rules: Rules
) -> dict[SadbExtType, Extension]:
    """Ask for an association: its ends, the policy that asks, and what would do (RFC 2367 §3.1.6)."""
    extensions: dict[SadbExtType, Extension] = {
        _E.ADDRESS_SRC: host(event.source),
        _E.ADDRESS_DST: host(event.destination),
    }
    if view is not None:
        priority = view.priority if dialect.policy_has_priority else 0
        number = policy_ids.told(view.id, view.direction, dialect)
        extensions[_E.X_POLICY] = Policy(
            IpsecPolicyType.IPSEC, DIRECTIONS[view.direction], number, priority, scope=dialect.policy_scope
        )
    template = event.template
    if template.reqid and dialect.acquire_tells_reqid:
        # Where a policy's requests are not told, the id that the association must have stands in SA2.
        extensions[_E.X_SA2] = Sa2(MODES[template.mode], 0, template.reqid)
    extensions[_E.PROPOSAL] = Proposal(_PROPOSED_REPLAY, _combs(template.protocol, dialect, rules))
    return extensions


def _combs(protocol: str, dialect: Dialect, rules: Rules) -> tuple[Comb, ...]:
    names = frozenset(rules.kinds)
    auths = _long_enough(_provided(dialect.auth, names), rules.ah_key_bits)
    if protocol == "ipcomp":
        return tuple(
            _comb(None, AlgorithmRow(number, name, 0, 0, 0), dialect)
            for number, name in dialect.compress.items()
        )
    if protocol == "ah":
        return tuple(_comb(auth, None, dialect) for auth in auths)
    combs: list[Comb] = []
    for row in _long_enough(_provided(dialect.encrypt, names), rules.esp_key_bits):
        if rules.kinds[row.name] == "aead" or not rules.esp_authenticates:
            combs.append(_comb(None, row, dialect))
        else:
            # A MAC with an IV is AH's: ESP has one place for an IV, and it is the cipher's.
            combs.extend(_comb(auth, row, dialect) for auth in auths if not auth.ivlen)
    return tuple(combs)


def _long_enough(rows: Iterable[AlgorithmRow], bits: int) -> list[AlgorithmRow]:
    """Keep what takes keys of so many bits, and say that shorter ones will not do."""
    return [
        replace(row, minbits=max(row.minbits, bits))
        for row in rows
        if row.maxbits >= bits and not (bits and row.name == _NO_CIPHER)
    ]


def _comb(auth: AlgorithmRow | None, encrypt: AlgorithmRow | None, dialect: Dialect) -> Comb:
    return Comb(
        auth=auth.number if auth else 0,
        encrypt=encrypt.number if encrypt else 0,
        auth_minbits=auth.minbits if auth else 0,
        auth_maxbits=auth.maxbits if auth else 0,
        encrypt_minbits=encrypt.minbits if encrypt else 0,
        encrypt_maxbits=encrypt.maxbits if encrypt else 0,
        soft=_limits(dialect.proposed_soft),
        hard=_limits(dialect.proposed_hard),
    )


def _limits(values: tuple[int, int, int]) -> Lifetime:
    allocations, addtime, usetime = values
    return Lifetime(allocations, 0, addtime, usetime)


def translated(proposal: Proposal, spoken: Dialect, heard: Dialect) -> Proposal:
    """Say in one dialect what another proposes; what has no number there is left out."""
    combs = (_translated(comb, spoken, heard) for comb in proposal.combs)
    return replace(proposal, combs=tuple(comb for comb in combs if comb is not None))


def _translated(comb: Comb, spoken: Dialect, heard: Dialect) -> Comb | None:
    auth = heard.auth_numbers.get(spoken.auth_names.get(comb.auth, "")) if comb.auth else 0
    encrypt = heard.encrypt_numbers.get(spoken.encrypt_names.get(comb.encrypt, "")) if comb.encrypt else 0
    if auth is None or encrypt is None:
        return None
    return replace(comb, auth=auth, encrypt=encrypt)
