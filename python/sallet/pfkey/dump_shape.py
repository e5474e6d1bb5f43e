"""A dialect's tables as the engine needs them to write a dump of the SAD itself.

No number of its own and no byte enters: the dialect has the numbers, `_core.DumpShape` the layouts, and a
test holds what comes out against `render` and `codec`. Answers to RFC 2367 §3.1.10.
"""

from __future__ import annotations

from typing import Final

from sallet import _core
from sallet.pfkey.constants import (
    ULPROTO_ANY,
    NatTraversalType,
    SadbExtType,
    SadbMsgType,
    SadbSaFlags,
)
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.layouts import INET_FAMILY
from sallet.pfkey.render.words import MODES, STATES

_E: Final = SadbExtType

_PARTS: Final = {
    _E.SA: "sa",
    _E.LIFETIME_HARD: "hard",
    _E.LIFETIME_SOFT: "soft",
    _E.LIFETIME_CURRENT: "current",
    _E.ADDRESS_SRC: "source",
    _E.ADDRESS_DST: "destination",
    _E.ADDRESS_PROXY: "anywhere",
    _E.KEY_AUTH: "authentication-key",
    _E.KEY_ENCRYPT: "encryption-key",
    _E.X_SA2: "sa2",
    _E.X_NAT_T_TYPE: "nat-type",
    _E.X_NAT_T_SPORT: "nat-source-port",
    _E.X_NAT_T_DPORT: "nat-destination-port",
    _E.X_NAT_T_OAI: "nat-original-source",
    _E.X_OAR_OR_SEC_CTX: "nat-original-destination",
    _E.X_NAT_T_FRAG: "nat-fragment",
    _E.X_SA_REPLAY: "replay",
}


def dump_shape(dialect: Dialect) -> _core.DumpShape | None:
    """Say how the dialect dumps an association; None if its shape has something that only `render` tells."""
    names = dialect.shapes[SadbMsgType.DUMP]
    if any(name not in _PARTS for name in names):
        return None
    return _core.DumpShape(
        parts=[(dialect.extension_numbers[name], _PARTS[name]) for name in names],
        satypes=dict(dialect.satype_numbers),
        states={word: int(number) for word, number in STATES.items()},
        modes={word: int(number) for word, number in MODES.items()},
        authentication={name: (number, 0) for name, number in dialect.auth_numbers.items()},
        encryption={
            name: (number, dialect.encrypt_flag(name)) for name, number in dialect.encrypt_numbers.items()
        },
        compression={name: (number, 0) for name, number in dialect.compress_numbers.items()},
        flags={
            "kept": dialect.flags_kept,
            "cycle": SadbSaFlags.X_CYCSEQ,
            "esn": SadbSaFlags.X_ESN,
            "old": SadbSaFlags.X_OLD,
            "raw-cpi": SadbSaFlags.X_RAWCPI,
            "keepalive": SadbSaFlags.X_NATT_KEEPALIVE,
        },
        fields={
            "message": SadbMsgType.DUMP,
            "reserved": dialect.dump_references,
            "replay-unit": dialect.replay_unit,
            "replay-max": 255,
            "inet-family": INET_FAMILY,
            "inet6-family": dialect.inet6_family,
            "sockaddr-has-length": dialect.sockaddr_has_length,
            "any-protocol": ULPROTO_ANY,
            "nat-type": NatTraversalType.RFC3948,
            "nat-ports-in-addresses": dialect.nat_ports_in_addresses,
            "zero-limits-shown": dialect.zero_limits_shown,
            "sequence-in-state": dialect.sequence_in_state,
        },
    )
