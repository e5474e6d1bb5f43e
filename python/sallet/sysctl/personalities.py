"""Whose manual a daemon follows: defaults, sysctl names and PF_KEY dialect of each system, as rows.

No branch on a personality's name enters, here or elsewhere, and no PF_KEY number: those are the dialects'.
Answers to: `ipsec(4)` of QNX, NetBSD 7.1 and FreeBSD 12, and to RFC 4301 for `sallet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sallet.sysctl.mib import VARIABLES, Variable

if TYPE_CHECKING:
    from sallet._core import Engine


@dataclass(frozen=True, slots=True)
class Personality:
    """One system: every field says in which way a daemon that follows its manual differs."""

    name: str
    dialect: str
    """The PF_KEY dialect of `pfkey.sock`."""
    form: str
    """How its setkey files are read."""
    settings: Mapping[str, Any]
    """The engine's settings before any sysctl; every row names the same ones."""
    spellings: Mapping[str, str] = field(default_factory=dict)
    """Further sysctl names, each with the name in `mib.VARIABLES` that it means."""
    absent: frozenset[str] = frozenset()
    """Names of `mib.VARIABLES` that the system has not."""
    meanings: Mapping[str, Variable] = field(default_factory=dict)
    """Names whose numbers mean something else than elsewhere."""

    dumps: Mapping[str, str] = field(default_factory=dict)
    """Names that show a whole database: "sad" or "spd"."""

    @property
    def variables(self) -> dict[str, Variable]:
        """The sysctl names that it has, with what they set."""
        own = {name: row for name, row in VARIABLES.items() if name not in self.absent}
        own |= {name: VARIABLES[meant] for name, meant in self.spellings.items()}
        return own | dict(self.meanings)

    def apply(self, engine: Engine) -> None:
        """Set an engine to the system's defaults."""
        for name, value in self.settings.items():
            engine.configure(name, value)


_COMMON: Final[dict[str, Any]] = {
    "default_policy": "bypass",
    "esp_transport_level": "use",
    "esp_tunnel_level": "use",
    "ah_transport_level": "use",
    "ah_tunnel_level": "use",
    "ah_clear_tos": True,
    "ah_offset_mask": 0,
    "allow_unprotected": False,
    "prefer_old_sa": False,
    "df": "copy",
    "ecn": "rfc6040",
    "ipcomp_threshold": 90,
    "ipcomp_threshold_counts_headers": False,
    "acquire_block_count": 0,
    "hold_packets": 5,
    "proposal_esp_key_bits": 128,
    "proposal_esp_authenticates": True,
}

_KAME: Final[dict[str, Any]] = {
    **_COMMON,
    "allow_unprotected": True,
    "ecn": "forbidden",
    "acquire_block_count": 10,
    # A packet without its SA is dropped there.
    "hold_packets": 0,
    "proposal_esp_key_bits": 256,
    "proposal_esp_authenticates": False,
}
"""What the three systems have in common."""

_OLD_SA: Final = "net.key.prefered_oldsa"
"""As NetBSD writes it; the others spell it with another r."""
_OLD_SA_ELSEWHERE: Final = {"net.key.preferred_oldsa": _OLD_SA}
_DFBIT: Final = "net.inet.ipsec.dfbit"

SALLET: Final = Personality("sallet", "sallet", "sallet", _COMMON, _OLD_SA_ELSEWHERE)
"""What RFC 4301 asks; both spellings of a name that has two."""

QNX: Final = Personality(
    "qnx",
    "kame",
    "qnx",
    {**_KAME, "prefer_old_sa": True, "df": "clear"},
    _OLD_SA_ELSEWHERE,
    frozenset({_OLD_SA}),
    {
        # The page sets the outer bit "from the inner DF bit" for 1, too.
        _DFBIT: replace(
            VARIABLES[_DFBIT],
            meaning="DF of the outer IPv4 header: 0 clear, 1 and 2 from the inner one",
            words={0: "clear", 2: "copy", 1: "copy"},
        )
    },
)
"""QNX, whose IPsec is KAME's."""

_LEVELS: Final = ("trans_deflev", "net_deflev")

NETBSD: Final = Personality(
    "netbsd",
    "netbsd",
    "netbsd",
    _KAME,
    {
        **{
            f"net.inet.{protocol}.{level}": f"net.inet.ipsec.{protocol}_{level}"
            for protocol in ("esp", "ah")
            for level in _LEVELS
        },
        "net.inet.ah.cleartos": "net.inet.ipsec.ah_cleartos",
        "net.inet.ah.offsetmask": "net.inet.ipsec.ah_offsetmask",
        "net.key.spi_try": "net.key.spi_trycnt",
        "net.key.spi_min_value": "net.key.spi_minval",
        "net.key.spi_max_value": "net.key.spi_maxval",
    },
    dumps={"net.key.dumpsa": "sad", "net.key.dumpsp": "spd"},
)
"""NetBSD 7.1, with the names that its protocols have of their own."""

FREEBSD: Final = Personality(
    "freebsd",
    "freebsd",
    "freebsd",
    {
        **_KAME,
        "prefer_old_sa": True,
        "df": "clear",
        # What has 90 bytes in all, headers included, is not compressed yet.
        "ipcomp_threshold": 91,
        "ipcomp_threshold_counts_headers": True,
    },
    {
        **_OLD_SA_ELSEWHERE,
        "net.inet.ah.ah_cleartos": "net.inet.ipsec.ah_cleartos",
        "net.inet6.ipsec6.def_policy": "net.inet.ipsec.def_policy",
    },
    frozenset({_OLD_SA}),
)
"""FreeBSD 12, whose default policy is one for IPv4 and IPv6."""

PERSONALITIES: Final[Mapping[str, Personality]] = MappingProxyType(
    {row.name: row for row in (SALLET, QNX, NETBSD, FREEBSD)}
)
"""Every personality by name."""
