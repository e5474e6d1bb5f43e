"""From messages to the engine's words: what an ADD or an SPDADD says becomes SaParams or PolicyParams.

No database is asked and no reply is made; a dialect's words end here. Answers to RFC 2367 §2.3 and §3.1,
RFC 4301 §4.4 for the words, KAME's ipsec_set_policy(3) for the requests.
"""

from sallet.pfkey.convert.associations import sa_params
from sallet.pfkey.convert.fields import (
    Refusal,
    ends,
    maybe,
    mode_and_reqid,
    need,
    new_ends,
    optional_protocol,
    protocol,
    refuse_unserved,
)
from sallet.pfkey.convert.moves import Move, moves
from sallet.pfkey.convert.policies import LEVELS, PROTOCOLS, direction, policy_params, selector

__all__ = [
    "LEVELS",
    "PROTOCOLS",
    "Move",
    "Refusal",
    "direction",
    "ends",
    "maybe",
    "mode_and_reqid",
    "moves",
    "need",
    "new_ends",
    "optional_protocol",
    "policy_params",
    "protocol",
    "refuse_unserved",
    "sa_params",
    "selector",
]
