"""The forms of setkey: what one text means to which tool, as one row each.

No parsing and no printing may enter; a form is data that the grammar, the messages and the dumps look at.
Answers to setkey(8) of ipsec-tools on Linux (`linux`) and NetBSD (`netbsd`), of KAME (`kame`) and FreeBSD
(`freebsd`), to ipsec(4) of QNX (`qnx`), and to our own manual (`sallet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sallet.lang.policy_string import GRAMMARS, Grammar
from sallet.pfkey.constants import MANUAL_REQID_MAX, IpsecLevel


@dataclass(frozen=True, slots=True)
class Form:
    """One way of speaking setkey."""

    name: str
    dialect: str
    """The PF_KEY dialect that its connection speaks."""
    transaction: bool
    """A file is checked whole and applied whole; otherwise command by command."""
    forward_too: bool
    """An `in` policy is sent a second time as `fwd`."""
    grammar: Grammar
    """How its policies are read."""
    errors: str
    """Whose diagnostics it prints, and on which stream: `sallet`, `ipsec-tools` or `kame`."""
    flags: str
    """Its one-letter options, as getopt(3) takes them."""
    cyclic_by_default: bool
    """An SA without `-f nocyclic-seq` says that its sequence number may wrap."""
    sends_flags: bool
    """`-f` reaches the daemon; on Linux no such flag exists."""
    old_formats: frozenset[str]
    """Which words for RFC 1826 and RFC 1827 it takes; Linux would make the new formats of them."""
    strict_keys: bool
    """Only the lengths an algorithm has are sent; otherwise everything from shortest to longest."""
    strict_spi: bool
    """SPIs that IANA reserves are refused before they are sent."""
    deleteall_by_dump: bool
    """deleteall dumps the SAD and deletes one by one, and stops at the last SA, which it prints instead."""
    ipsec_tools: bool
    """What ipsec-tools added: esp-udp, ports of SAs, -bh, -bs, `icmp t,c`, spdupdate, fwd, exit."""
    window_max: int
    """Largest -r, in the dialect's unit."""
    upper_words: Mapping[int, str]
    """What a dump calls an upper-layer protocol otherwise than the usual protocol table."""
    bare_ports: frozenset[int]
    """Upper-layer protocols whose dump shows no `[port]`."""
    coded: frozenset[int]
    """Upper-layer protocols whose ports are a type and a code."""
    trailing_blank: bool
    """A blank follows the destination in a dump of the SAD."""
    cipher_names: Mapping[str, str]
    mac_names: Mapping[str, str]
    """What a dump calls an algorithm."""
    null_takes_key: bool = False
    """`-E null` may have a key, which nobody uses."""
    negotiates: bool = False
    """`getspi` and `update`, which NetBSD-current added."""
    natt: bool = False
    """`-natt`, which FreeBSD added."""
    esp_frag: bool = False
    """`-esp_frag`, which the extensions of NetBSD can say."""
    nat_line: str = ""
    """How a dump shows the original addresses of an encapsulated SA; nothing where it does not."""
    renumbers_above: int = 0
    """`unique:N` above it gets another number from the system; 0 where every N is kept."""
    h_is_help: bool = False
    """-h asks for help; for the bytes with -x otherwise."""
    names_in_records: bool = False
    """The records of -v and -x have names beside numbers."""
    sockets_told: bool = False
    """A dump of the SPD shows the policies of sockets, with a direction of their own."""
    scopes: bool = False
    """A dump of the SPD can be asked for by scope, and shows the scope of each policy."""

    @property
    def priority(self) -> bool:
        """Whether policies may carry `prio`."""
        return self.grammar.priority


_OLD_NAMES: Final = {
    "hmac-md5-96": "hmac-md5",
    "hmac-sha1-96": "hmac-sha1",
    "hmac-ripemd160-96": "hmac-ripemd160",
    "aes-xcbc-mac-96": "aes-xcbc-mac",
    "keyed-md5": "md5",
    "keyed-sha1": "sha",
    "aes-cmac-96": "aes-cmac",
    "null-auth": "null",
}
_LINUX_NAMES: Final = _OLD_NAMES | {
    "hmac-sha2-256-128": "hmac-sha256",
    "hmac-sha2-256-96": "hmac-sha256",
    "hmac-sha2-384-192": "hmac-sha384",
    "hmac-sha2-512-256": "hmac-sha512",
}
_KAME_NAMES: Final = _OLD_NAMES | {
    "hmac-sha2-256-128": "hmac-sha2-256",
    "hmac-sha2-256-96": "hmac-sha2-256",
    "hmac-sha2-384-192": "hmac-sha2-384",
    "hmac-sha2-512-256": "hmac-sha2-512",
}
_SHORT_WORDS: Final = {4: "ip4", 58: "icmp6", 255: "any"}
_ICMP, _GRE, _ICMP6, _MH = 1, 47, 58, 135
_IPSEC_TOOLS_FLAGS: Final = "acdf:HlnvxDFPphVrk?"
_EVERY_FLAG: Final = "acdf:gHlnNvxDFPphtVrk?"

_ROWS: Final = (
    Form(
        name="sallet",
        dialect="sallet",
        transaction=True,
        forward_too=True,
        grammar=GRAMMARS["sallet"],
        errors="sallet",
        flags=_EVERY_FLAG,
        cyclic_by_default=False,
        sends_flags=False,
        old_formats=frozenset({"ah-old", "esp-old"}),
        strict_keys=True,
        strict_spi=True,
        deleteall_by_dump=False,
        ipsec_tools=True,
        window_max=65536,
        upper_words=_SHORT_WORDS,
        bare_ports=frozenset({_ICMP, _ICMP6, _GRE, _MH}),
        coded=frozenset({_ICMP, _ICMP6, _MH}),
        trailing_blank=True,
        cipher_names={},
        mac_names=_LINUX_NAMES,
        negotiates=True,
        nat_line="\tNAT OA={0}",
        h_is_help=True,
        names_in_records=True,
        sockets_told=True,
    ),
    Form(
        name="linux",
        dialect="linux",
        transaction=False,
        forward_too=True,
        grammar=GRAMMARS["linux"],
        errors="ipsec-tools",
        flags=_IPSEC_TOOLS_FLAGS + "N",
        cyclic_by_default=False,
        sends_flags=False,
        old_formats=frozenset(),
        strict_keys=False,
        strict_spi=False,
        deleteall_by_dump=True,
        ipsec_tools=True,
        window_max=255,
        upper_words={4: "ipencap", 135: "mobility-header"},
        bare_ports=frozenset({_ICMP, _ICMP6, _GRE, _MH}),
        coded=frozenset({_ICMP, _ICMP6, _MH}),
        trailing_blank=True,
        cipher_names={},
        mac_names=_LINUX_NAMES,
        nat_line="\tNAT OA={0}",
        h_is_help=True,
        sockets_told=True,
    ),
    Form(
        name="kame",
        dialect="kame",
        transaction=False,
        forward_too=False,
        grammar=GRAMMARS["kame"],
        errors="kame",
        flags="acdf:hlvxDFP",
        cyclic_by_default=True,
        sends_flags=True,
        old_formats=frozenset({"ah-old", "esp-old"}),
        strict_keys=False,
        strict_spi=False,
        deleteall_by_dump=False,
        ipsec_tools=False,
        window_max=255,
        upper_words=_SHORT_WORDS,
        bare_ports=frozenset({_ICMP6}),
        coded=frozenset({_ICMP6}),
        trailing_blank=True,
        null_takes_key=True,
        cipher_names={"aes-cbc": "rijndael-cbc"},
        mac_names=_KAME_NAMES,
    ),
)
_KAME: Final = _ROWS[-1]
# The page of QNX: "If the level isn't specified in the setkey command, unique is used by default."
_QNX: Final = replace(
    _KAME,
    name="qnx",
    grammar=replace(GRAMMARS["kame"], missing_level=IpsecLevel.UNIQUE),
)

_NETBSD: Final = replace(
    _KAME,
    name="netbsd",
    dialect="netbsd",
    grammar=GRAMMARS["netbsd"],
    flags=_IPSEC_TOOLS_FLAGS,
    ipsec_tools=True,
    null_takes_key=False,
    negotiates=True,
    esp_frag=True,
    nat_line="\tNAT OA={0}",
    renumbers_above=MANUAL_REQID_MAX,
    upper_words={4: "ipv4", 255: "reserved"},
    bare_ports=frozenset({_ICMP, _ICMP6, _GRE, _MH}),
    coded=frozenset({_ICMP, _ICMP6, _MH}),
    cipher_names={},
    mac_names=_LINUX_NAMES,
)
_FREEBSD: Final = replace(
    _KAME,
    name="freebsd",
    dialect="freebsd",
    grammar=GRAMMARS["freebsd"],
    flags="acdf:ghltvxDFP",
    window_max=(2**32 - 33) // 8,
    trailing_blank=False,
    scopes=True,
    natt=True,
    nat_line="\tNAT: OAI={0} OAR={1}",
    names_in_records=True,
    renumbers_above=MANUAL_REQID_MAX,
)

FORMS: Final[dict[str, Form]] = {row.name: row for row in (*_ROWS, _QNX, _NETBSD, _FREEBSD)}
"""The rows by name."""
