"""The sysctl names that exist now: each with its range, and the engine's setting behind it.

No socket and no file may enter; a name that would set nothing is not here; which system has which names is
`personalities`' matter.
Answers to: `ipsec(4)` and `key(4)` of the KAME systems; names are the manuals' literal strings; where they
have none, ours begin with `sallet.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sallet.failure import Failure

if TYPE_CHECKING:
    from sallet._core import Engine


@dataclass(frozen=True, slots=True)
class Variable:
    """One name: the engine's setting, what is counted, and the words behind the numbers (or a range)."""

    setting: str
    meaning: str
    words: Mapping[int, Any] | None = None
    low: int = 0
    high: int = 0xFFFF_FFFF


_LEVELS = {1: "use", 2: "require"}

VARIABLES: dict[str, Variable] = {
    "net.inet.ipsec.def_policy": Variable(
        "default_policy", "packets that no SPD entry matches: 0 discard, 1 none", {0: "discard", 1: "bypass"}
    ),
    "net.inet.ipsec.esp_trans_deflev": Variable(
        "esp_transport_level", "level `default` of ESP in transport mode: 1 use, 2 require", _LEVELS
    ),
    "net.inet.ipsec.esp_net_deflev": Variable(
        "esp_tunnel_level", "level `default` of ESP in tunnel mode: 1 use, 2 require", _LEVELS
    ),
    "net.inet.ipsec.ah_trans_deflev": Variable(
        "ah_transport_level", "level `default` of AH in transport mode: 1 use, 2 require", _LEVELS
    ),
    "net.inet.ipsec.ah_net_deflev": Variable(
        "ah_tunnel_level", "level `default` of AH in tunnel mode: 1 use, 2 require", _LEVELS
    ),
    "net.inet.ipsec.ah_cleartos": Variable(
        "ah_clear_tos", "AH takes the IPv4 TOS field as zero: 1 RFC 4302, 0 RFC 1826", {0: False, 1: True}
    ),
    "net.inet.ipsec.ah_offsetmask": Variable(
        "ah_offset_mask", "what AH covers of IPv4 flags and fragment offset; 0 is RFC 4302", high=0xFFFF
    ),
    "sallet.ah_wide_padding": Variable(
        "ah_wide_padding",
        "AH over IPv4 ends on 4 bytes: 0, or 8 as Linux without align4: 1",
        {0: False, 1: True},
    ),
    "net.inet.ipsec.dfbit": Variable(
        "df", "DF of the outer IPv4 header: 0 clear, 1 set, 2 copy", {0: "clear", 1: "set", 2: "copy"}
    ),
    "net.inet.ipsec.ecn": Variable(
        "ecn",
        "congestion marks at tunnel headers: 2 RFC 6040, 1 allowed, 0 forbidden, -1 not looked at",
        {2: "rfc6040", 1: "allowed", 0: "forbidden", -1: "ignored"},
    ),
    "net.inet.ipsec.natt_cksum_policy": Variable(
        "nat_checksum",
        "checksums in transport mode behind a NAT: 0 by original addresses, 1 recompute",
        {0: "adjust", 1: "recompute"},
    ),
    "net.key.natt_keepalive_interval": Variable(
        "keepalive_secs", "idle seconds after which a NAT's mapping is kept alive; 0 never"
    ),
    "net.key.larval_lifetime": Variable("larval_secs", "seconds an SPI waits for its SA", low=1),
    "net.key.blockacq_lifetime": Variable("acquire_block_secs", "seconds until an ACQUIRE is repeated"),
    "net.key.blockacq_count": Variable(
        "acquire_block_count", "packets after which an ACQUIRE is repeated all the same; 0 never"
    ),
    "net.key.spi_minval": Variable(
        "spi_min", "the lowest SPI given out where no range is asked for", low=256
    ),
    "net.key.spi_maxval": Variable(
        "spi_max", "the highest SPI given out where no range is asked for", low=256
    ),
    "net.key.spi_trycnt": Variable("spi_tries", "SPIs drawn at random before the range is searched", low=1),
    "net.key.esp_keymin": Variable(
        "proposal_esp_key_bits", "the shortest cipher keys that an ACQUIRE proposes"
    ),
    "net.key.ah_keymin": Variable(
        "proposal_ah_key_bits", "the shortest keys of integrity algorithms that an ACQUIRE proposes"
    ),
    "net.key.esp_auth": Variable(
        "proposal_esp_authenticates",
        "an ACQUIRE for ESP proposes ciphers: 0 alone, 1 with integrity",
        {0: False, 1: True},
    ),
    "sallet.hold_packets": Variable("hold_packets", "packets that wait for one SA; 0 none"),
    "sallet.hold_lifetime": Variable("hold_secs", "seconds that a packet waits for its SA", low=1),
    "net.key.prefered_oldsa": Variable(
        "prefer_old_sa", "of several SAs: 0 the newest, 1 the oldest", {0: False, 1: True}
    ),
}


def read(engine: Engine, name: str, variables: Mapping[str, Variable] = VARIABLES) -> int:
    """Read a variable.

    Raises:
        Failure: there is no such name.
    """
    variable = _variable(name, variables)
    value = engine.config()[variable.setting]
    if variable.words is None:
        return int(value)
    return next(number for number, word in variable.words.items() if word == value)


def write(engine: Engine, name: str, text: str, variables: Mapping[str, Variable] = VARIABLES) -> None:
    """Set a variable.

    Raises:
        Failure: there is no such name, or the value is not one of its values.
    """
    variable = _variable(name, variables)
    try:
        number = int(text, 0)
    except ValueError:
        raise _bad(name, text, variable) from None
    if variable.words is not None:
        if number not in variable.words:
            raise _bad(name, text, variable)
        engine.configure(variable.setting, variable.words[number])
        return
    if not variable.low <= number <= variable.high:
        raise _bad(name, text, variable)
    try:
        engine.configure(variable.setting, number)
    except OSError as error:
        # Two ends of a range hold each other.
        raise _bad(name, text, variable) from error


def _variable(name: str, variables: Mapping[str, Variable]) -> Variable:
    variable = variables.get(name)
    if variable is None:
        known = ", ".join(variables)
        raise Failure("there is no such variable", where=name, next_step=f"known are {known}", kind="usage")
    return variable


def _bad(name: str, text: str, variable: Variable) -> Failure:
    return Failure(
        "this is no value of the variable", where=f"{name}={text}", why=variable.meaning, kind="usage"
    )
