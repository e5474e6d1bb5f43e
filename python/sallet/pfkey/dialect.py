"""In which ways systems disagree above RFC 2367: one field for each, with what it decides.

No value of any system enters: those are the rows in `dialects`. Answers to RFC 2367 where it leaves room.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sallet.pfkey.constants import MANUAL_REQID_MAX, ULPROTO_ANY, SadbSaFlags
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg


@dataclass(frozen=True, slots=True)
class AlgorithmRow:
    """One algorithm as a dialect numbers and lists it; `name` is the registry's name."""

    number: int
    name: str
    ivlen: int
    minbits: int
    maxbits: int


@dataclass(frozen=True, slots=True)
class EncryptVariant:
    """What a flag of an association makes of an encryption number; `name` is the registry's name."""

    number: int
    flag: int
    name: str
    old: bool
    """Whether it belongs to the old format of ESP; to today's otherwise."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect; every field says in which way systems differ."""

    name: str

    # Numbers.
    auth: tuple[AlgorithmRow, ...]
    """Authentication algorithms in the order in which REGISTER lists them."""
    encrypt: tuple[AlgorithmRow, ...]
    """Encryption algorithms in the order in which REGISTER lists them."""
    encrypt_variants: tuple[EncryptVariant, ...] = field(default=(), kw_only=True)
    """Encryption algorithms that share a number and differ by a flag."""
    compress: Mapping[int, str]
    """Registry names of IPComp's algorithms by number; REGISTER lists none of them."""
    extension_numbers: Mapping[Ext, int]
    """Every extension that the dialect knows, with its number on the wire."""
    last_message: int
    """The highest message type."""
    satypes: Mapping[int, str]
    """Association types that have a protocol, by number."""
    inet6_family: int
    """AF_INET6 of the system."""

    # Layouts.
    sockaddr_has_length: bool
    """Whether a socket address begins with its length in one octet (4.4BSD)."""
    request_header_bytes: int
    """Size of `sadb_x_ipsecrequest`: 16 with a 32-bit request id, 8 with a 16-bit one."""
    policy_has_priority: bool
    """Whether the last word of `sadb_x_policy` is a priority; it is reserved otherwise."""
    policy_has_scope: bool = False
    """Whether the octet after the direction is a scope; it is reserved otherwise."""
    oar_is_address: bool = False
    """Whether extension 24 is the responder's original address; it is a security context otherwise."""

    # Malformed messages.
    message_bytes_max: int | None = None
    """send() failure (ENOBUFS) for a longer request; None where any length is taken."""
    short_errno: int = errno.EMSGSIZE
    """send() failure for a message shorter than its header or unlike its length field."""
    bad_header_fails_send: bool = True
    """Whether a wrong version or type fails send(); it is answered with an errno otherwise."""
    reserved_refused: bool = False
    """Whether a request whose reserved field is not zero is treated like one of a wrong version."""
    bad_extension_fails_send: bool = False
    """Whether a malformed extension fails send(); it is answered with an errno otherwise."""
    unknown_extension_ignored: bool = False
    """Whether extensions above the last known number are skipped; they are refused otherwise."""
    family_errno: int = errno.EINVAL
    """errno for an address family that is neither IPv4 nor IPv6."""
    satypes_elsewhere: frozenset[int] = frozenset()
    """Association types that the system knows and does not provide: EOPNOTSUPP, whatever the message."""
    satypes_not_in_spd: frozenset[int] = frozenset()
    """Association types that a message about policies must not name."""

    # Values.
    replay_unit: int = 1
    """Packets that one unit of `sadb_sa_replay` stands for."""
    replay_max: int = 255
    """Largest window that the SA extension can ask for, in its unit; larger ones are cut to it."""
    flags_kept: int = 0
    """Flags that an association stores and shows."""
    flags_refused: int = 0
    """Flags that are answered with EINVAL; those in neither mask are ignored."""
    cpi_is_raw: bool = False
    """Whether IPComp always shows the low half of the SPI; X_RAWCPI asks for it otherwise."""
    any_mode: str = "transport"
    """What mode 0 of an association means."""
    any_request_mode: str | None = "transport"
    """What mode 0 of a policy's request means; None refuses it."""
    compress_numbers_max: int = 0xFF
    """Highest compression number that is unknown and not wrong."""
    key_bits_as_listed: bool = False
    """Whether keys must have the lengths that REGISTER lists; those that the engine takes otherwise."""
    default_level: str = "require"
    """What level 0 of a request means."""
    unknown_level: str | None = None
    """What an unknown level means; None refuses it."""
    directions: Mapping[int, str] = field(default_factory=dict)
    """Policy directions by number."""
    inbound_judges_forwarded: bool = False
    """Whether an `in` entry also judges forwarded packets (dialects without `fwd`)."""
    default_priority: int = 0
    """Priority of a policy that cannot say one."""
    empty_ipsec_is_none: bool = False
    """Whether an `ipsec` policy without requests is stored as `none`; it is refused otherwise."""
    requests_max: int = 6
    """Most transforms that one policy may ask for."""
    policy_ids_have_list: bool = False
    """Whether a policy's id names its list in three bits, so that many ids are wrong and not absent."""
    sockets_listed: bool = False
    """Whether SPDDUMP lists the policies of sockets, too, in lists of their own and without their ends."""
    setidx_replaces: bool = False
    """Whether SPDSETIDX replaces an entry as SPDUPDATE does, and is told as SPDADD."""
    setidx_awaits: bool = False
    """Whether SPDSETIDX takes `ipsec` without requests: an entry that waits for them (SPDACQUIRE)."""
    identities_together: bool = False
    """Whether an association has identities for both its ends, of one type, or for neither."""
    update_moves: bool = False
    """Whether UPDATE of a living association may bring new ends for it (`X_NEW_ADDRESS_*`)."""
    limits_together: bool = False
    """Whether an association has both its limits, hard and soft, or neither."""
    spi_unshared: bool = False
    """Whether an SPI is taken for every protocol and all addresses once any association has it."""
    spi_min: int = 0
    """Lowest SPI that ADD accepts for ESP and AH."""
    cpi_range_cut: bool = True
    """Whether a range for a CPI is cut to 16 bits; refused where it is larger, otherwise."""
    source_must_match: bool = True
    """Whether GET and DELETE compare the source address, too."""
    update_ignores_keys: bool = False
    """Whether UPDATE of a living association takes its lifetimes and skips its keys; refused otherwise."""
    update_refuses_keys: bool = False
    """Whether UPDATE of a living association must bring no keys; it may bring the same ones otherwise."""
    update_rekeys: bool = False
    """Whether UPDATE gives a living association other keys, with which it begins anew."""
    update_by_owner: bool = False
    """Whether only the process that made an association may update it."""
    update_compares: bool = False
    """Whether its UPDATE must name source, mode and request id of the association as they are."""
    protocols_must_match: bool = True
    """Whether both addresses of a policy must name one protocol; the destination's counts otherwise."""
    reqid_max: int = 0xFFFFFFFF
    """Highest request id that a request can hold."""
    reqid_chosen_max: int = MANUAL_REQID_MAX
    """Highest request id of level `unique` that is kept as it was chosen; larger ones are replaced."""
    reqids_made_marked: bool = False
    """Whether the octet after the direction has a bit for each request whose id nobody chose."""
    any_protocols: frozenset[int] = frozenset({ULPROTO_ANY})
    """Upper-layer protocol numbers of an address that mean any protocol."""

    # Replies.
    shapes: Mapping[Msg, tuple[Ext, ...]] = field(default_factory=dict)
    """Extensions of what each message tells about an entry, in their order; what an entry lacks is left out.

    A shape without KEY_AUTH and KEY_ENCRYPT tells no keys (RFC 2367 §3.1.3).
    """
    zero_limits_shown: bool = True
    """Whether lifetimes without any limit are told; they are left out otherwise."""
    sequence_in_state: bool = True
    """Whether SA2 shows the last sequence number."""
    policies_without_satype: bool = False
    """Whether what is told about a policy has association type 0, whatever was asked."""
    reference_counts: bool = False
    """Whether `sadb_msg_reserved` of policies holds what Linux' reference count would be."""
    dump_references: int = 0
    """What `sadb_msg_reserved` of every entry in a dump holds, where Linux' counts are not shown."""
    nat_ports_in_addresses: bool = False
    """Whether the addresses of an encapsulated association show its UDP ports, too."""
    policy_scope: int = 0
    """The scope that every policy of the SPD shows, where policies have one."""
    bare_policy_without_times: bool = False
    """Whether a policy without limits is told without its age, too."""
    proposed_soft: tuple[int, int, int] = (0, 20 * 3600, 7 * 3600)
    """Allocations, seconds and seconds of use that an ACQUIRE proposes for the soft lifetime."""
    proposed_hard: tuple[int, int, int] = (0, 24 * 3600, 8 * 3600)
    """The same for the hard one: a day, and eight hours of use."""
    relays_acquire: bool = False
    """Whether an ACQUIRE of a program goes on to the key managers; it is refused otherwise."""
    larval_ends_silently: bool = False
    """Whether an association that never got its keys ends without an EXPIRE."""
    acquire_tells_reqid: bool = False
    """Whether an ACQUIRE for a policy with a request id tells it in SA2."""
    errors_echo_request: bool = False
    """Whether an error repeats the whole request; it is a bare header otherwise."""
    dump_newest_first: bool = False
    """Order of a dump."""
    dump_states: tuple[str, ...] = ()
    """Order of the states in a dump of the SAD; none where they stand mixed."""
    policies_by_priority: bool = False
    """Whether a dump of the SPD goes by priority; as a dump of the SAD otherwise."""
    policies_by_scope: bool = False
    """Whether the association type of SPDDUMP is a mask of scopes."""
    dump_counts_down: bool = True
    """Whether `sadb_msg_seq` counts n-1 … 0; it is 1 … n-1, 0 otherwise. The last is 0 in both."""
    dump_overflow: str = "waits"
    """What becomes of a dump that its socket has no room for: "waits", "stops", "refuses" or "skips"."""
    flush_answers_twice: bool = False
    """Whether a flush that removed something answers its sender once more, beside telling everybody."""
    promiscuous_copies_wrapped: bool = False
    """Whether promiscuous copies stand behind an X_PROMISC header; they are bare otherwise."""
    promiscuous_sees_requests: bool = False
    """Whether promiscuous sockets get requests, too; only what is answered and told otherwise."""

    # Refusals.
    errno_by_kind: Mapping[str, int] = field(default_factory=dict)
    """errno for each kind of engine error."""
    errno_by_message: Mapping[tuple[Msg, str], int] = field(default_factory=dict)
    """errno for a kind of error where a message has its own."""
    unsupported_errno: int = errno.EOPNOTSUPP
    """errno for a message that only the other side may send, or that nobody serves."""
    required: Mapping[Msg, tuple[Ext, ...]] = field(default_factory=dict)
    """Extensions without which a message is refused with EINVAL."""

    auth_numbers: Mapping[str, int] = field(init=False)
    """Authentication numbers by registry name."""
    encrypt_numbers: Mapping[str, int] = field(init=False)
    """Encryption numbers by registry name."""
    auth_names: Mapping[int, str] = field(init=False)
    """Registry names by authentication number."""
    encrypt_names: Mapping[int, str] = field(init=False)
    """Registry names by encryption number."""
    compress_numbers: Mapping[str, int] = field(init=False)
    """Compression numbers by registry name."""
    extension_kinds: Mapping[int, Ext] = field(init=False)
    """Extension kinds by number on the wire."""
    satype_numbers: Mapping[str, int] = field(init=False)
    """Association types by protocol."""

    def encrypt_name(self, number: int, flags: int) -> str | None:
        """Return the registry name of an encryption number under these flags, None if there is none."""
        for variant in self.encrypt_variants:
            if flags & variant.flag:
                fits = number == variant.number and bool(flags & SadbSaFlags.X_OLD) is variant.old
                return variant.name if fits else None
        return self.encrypt_names.get(number)

    def encrypt_flag(self, name: str) -> int:
        """Return the flag that belongs to an encryption algorithm, 0 for none."""
        return next((variant.flag for variant in self.encrypt_variants if variant.name == name), 0)

    def __post_init__(self) -> None:
        """Derive the reverse tables."""

        def put(name: str, table: dict[object, object]) -> None:
            object.__setattr__(self, name, MappingProxyType(table))

        put("auth_numbers", {row.name: row.number for row in self.auth})
        variants: dict[object, object] = {row.name: row.number for row in self.encrypt_variants}
        put("encrypt_numbers", variants | {row.name: row.number for row in self.encrypt})
        put("auth_names", {row.number: row.name for row in self.auth})
        put("encrypt_names", {row.number: row.name for row in self.encrypt})
        put("compress_numbers", {name: number for number, name in self.compress.items()})
        put("extension_kinds", {number: kind for kind, number in self.extension_numbers.items()})
        put("satype_numbers", {protocol: number for number, protocol in self.satypes.items()})
