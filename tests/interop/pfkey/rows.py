"""Where we answer otherwise than Linux, and why: each row knows its differences; what no row knows fails.

No mask enters: those stand in `compare`. Answers to docs/pfkey-differences.md, which is made of this table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

from interop.pfkey import rows_sockets
from interop.pfkey.compare import Difference
from interop.pfkey.row import Knows, Row, request
from interop.pfkey.scenario import Datagram, Send
from interop.pfkey.words import AH, ESP, IPCOMP, E, T, extensions
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.messages import Key, Lifetime, Message, NatPort, NatType, Policy, Sa, Sa2, SpiRange

_HEADER = 16
_EINVAL, _ENOSYS, _EOPNOTSUPP = 22, 38, 95
_BEET, _RFC_3948, _INET, _FILTER, _FILTER_BYTES, _FIRST_SPI = 3, 2, 2, 26, 40, 256


def errnos(messages: Iterable[bytes]) -> list[int]:
    """Give the errno of each message."""
    return [one[2] for one in messages]


def _refused_here(difference: Difference, number: int = _EINVAL) -> bool:
    return errnos(difference.ours) == [number] and errnos(difference.theirs) == [0]


_KEY_BITS: Final = {2: 128, 3: 160, 5: 256, 6: 384, 7: 512, 8: 160, 9: 128}


def _other_key_length(difference: Difference) -> bool:
    sent = request(difference)
    if sent is None or sent.type not in (T.ADD, T.UPDATE) or errnos(difference.ours) != [_EINVAL]:
        return False
    sa, key = sent.get(E.SA), sent.get(E.KEY_AUTH)
    bits = key.bits if isinstance(key, Key) else 0
    return isinstance(sa, Sa) and sa.auth in _KEY_BITS and bits != _KEY_BITS[sa.auth]


def _other_cipher(difference: Difference) -> bool:
    sent = request(difference)
    sa = sent.get(E.SA) if sent else None
    return isinstance(sa, Sa) and sa.encrypt in (252, 253) and _refused_here(difference, _ENOSYS)


def _reserved_spi(difference: Difference) -> bool:
    sent = request(difference)
    sa = sent.get(E.SA) if sent else None
    return isinstance(sa, Sa) and sa.spi == 0 and _refused_here(difference)


def _sent(difference: Difference, *kinds: SadbMsgType) -> Message | None:
    """Read what was sent, if it is of one of these types."""
    sent = request(difference)
    return sent if sent is not None and sent.type in kinds else None


def _taken_there(*kinds: SadbMsgType, having: Callable[[Message], bool], number: int = _EINVAL) -> Knows:
    """Know requests that the kernel takes and we refuse."""

    def knows(difference: Difference) -> bool:
        sent = _sent(difference, *kinds)
        return sent is not None and having(sent) and _refused_here(difference, number)

    return knows


def _unused_key(sent: Message) -> bool:
    sa = sent.get(E.SA)
    return (sent.satype == IPCOMP and E.KEY_ENCRYPT in sent.extensions) or (
        sent.satype == AH and isinstance(sa, Sa) and sa.encrypt != 0
    )


def _beet(sent: Message) -> bool:
    sa2, policy = sent.get(E.X_SA2), sent.get(E.X_POLICY)
    requests = policy.requests if isinstance(policy, Policy) else ()
    return (isinstance(sa2, Sa2) and sa2.mode == _BEET) or any(one.mode == _BEET for one in requests)


def _other_protocol(sent: Message) -> bool:
    policy = sent.get(E.X_POLICY)
    requests = policy.requests if isinstance(policy, Policy) else ()
    return any(one.proto not in (50, 51, 108) for one in requests)


def _odd_encapsulation(sent: Message) -> bool:
    kind, source, destination = (sent.get(one) for one in (E.X_NAT_T_TYPE, E.X_NAT_T_SPORT, E.X_NAT_T_DPORT))
    ports = [one.port for one in (source, destination) if isinstance(one, NatPort)]
    whole = isinstance(kind, NatType) and kind.type == _RFC_3948 and len(ports) == 2 and all(ports)
    return not whole and any(one is not None for one in (kind, source, destination))


def _policy_limits(sent: Message) -> bool:
    soft, hard = sent.get(E.LIFETIME_SOFT), sent.get(E.LIFETIME_HARD)
    return (isinstance(soft, Lifetime) and soft != Lifetime()) or (
        isinstance(hard, Lifetime) and bool(hard.bytes or hard.allocations)
    )


def _low_range(sent: Message) -> bool:
    asked = sent.get(E.SPIRANGE)
    return isinstance(asked, SpiRange) and asked.minimum < _FIRST_SPI


def _random_try(difference: Difference) -> bool:
    sent = _sent(difference, T.GETSPI)
    return sent is not None and errnos(difference.theirs) == [2] and errnos(difference.ours) == [0]


def _update_told(difference: Difference) -> bool:
    """An UPDATE that both took: the kernel repeats the request as a dead association."""
    pairs = list(zip(difference.theirs, difference.ours, strict=False))
    same = len(difference.theirs) == len(difference.ours)
    return same and all(
        there == here or (there[1] == here[1] == T.UPDATE and there[2] == here[2] == 0)
        for there, here in pairs
    )


def _update_refused(difference: Difference) -> bool:
    return (
        _sent(difference, T.UPDATE) is not None
        and errnos(difference.theirs) == [_EINVAL]
        and errnos(difference.ours) == [0]
    )


def _other_source(difference: Difference) -> bool:
    return _sent(difference, T.UPDATE) is not None and _refused_here(difference)


def _host_bits(difference: Difference) -> bool:
    """Policies that differ in the host bits of their addresses, and in nothing else."""
    return len(difference.theirs) == len(difference.ours) > 0 and all(
        there == here or _prefixes_only(there) == here
        for there, here in zip(difference.theirs, difference.ours, strict=True)
    )


def _prefixes_only(data: bytes) -> bytes:
    copy = bytearray(data)
    for number, at, _ in extensions(data):
        if number in (E.ADDRESS_SRC, E.ADDRESS_DST) and data[at + 8] == _INET:
            host = (1 << (32 - min(data[at + 5], 32))) - 1
            (value,) = struct.unpack_from(">I", data, at + 12)
            struct.pack_into(">I", copy, at + 12, value & ~host & 0xFFFFFFFF)
    return bytes(copy)


def _filter_prefix(difference: Difference) -> bool:
    step = difference.scenario.steps[difference.step]
    if not isinstance(step, Send) or step.data[1] != T.DUMP or not extensions(step.data):
        return False
    number, at, size = extensions(step.data)[0]
    family, *bits = struct.unpack_from("=HBB", step.data, at + 36) if size == _FILTER_BYTES else (0, 0)
    return number == _FILTER and family == _INET and max(bits) > 32 and errnos(difference.ours) == [_EINVAL]


def _proposal(difference: Difference) -> bool:
    pairs = zip(difference.theirs, difference.ours, strict=False)
    return len(difference.theirs) == len(difference.ours) > 0 and all(
        there == here
        or (there[1] == here[1] == T.ACQUIRE and _until_proposal(there) == _until_proposal(here))
        for there, here in pairs
    )


def _until_proposal(data: bytes) -> bytes:
    at = next((at for number, at, _ in extensions(data) if number == E.PROPOSAL), len(data))
    return data[:4] + data[6:at]


def _larval_without_spi(difference: Difference) -> bool:
    if _sent(difference, T.FLUSH):
        asked = (step for step in difference.scenario.steps[: difference.step] if isinstance(step, Send))
        left = any(step.data[1:2] == bytes((T.GETSPI,)) for step in asked)
        return left and len(difference.theirs) == len(difference.ours) + 1
    larval = [one for one in difference.theirs if one[1] == T.DUMP and one[20:24] == bytes(4)]
    return bool(larval) and len(difference.theirs) - len(larval) in (len(difference.ours), 0)


def _expiry_moment(difference: Difference) -> bool:
    step = difference.scenario.steps[difference.step]
    told = {one[1] for one in (*difference.theirs, *difference.ours)}
    return isinstance(step, Datagram) and told == {T.EXPIRE}


def _optional_tunnel(difference: Difference) -> bool:
    sent = _sent(difference, T.X_SPDADD, T.X_SPDUPDATE, T.X_SPDSETIDX)
    policy = sent.get(E.X_POLICY) if sent else None
    meant = isinstance(policy, Policy) and policy.direction == 2
    optional = isinstance(policy, Policy) and any(one.mode == 2 and one.level == 1 for one in policy.requests)
    return meant and optional and errnos(difference.theirs) == [_EINVAL] and errnos(difference.ours) == [0]


def _moved_up(difference: Difference) -> bool:
    """The same entries in another order, after one of them was completed or replaced."""
    sent = [step.data[1] for step in difference.scenario.steps[: difference.step] if isinstance(step, Send)]
    asked = _sent(difference, T.X_SPDDUMP, T.DUMP)
    if asked is None or {T.X_SPDDUMP: T.X_SPDUPDATE, T.DUMP: T.UPDATE}[asked.type] not in sent:
        return False
    theirs, ours = (
        sorted(one[:8] + one[12:] for one in side) for side in (difference.theirs, difference.ours)
    )
    return theirs == ours


def _null_alone(sent: Message) -> bool:
    sa = sent.get(E.SA)
    return isinstance(sa, Sa) and sent.satype == ESP and sa.encrypt == 11


def _null(difference: Difference) -> bool:
    sent = _sent(difference, T.ADD)
    refused = errnos(difference.theirs) == [_EINVAL] and errnos(difference.ours) == [0]
    return sent is not None and _null_alone(sent) and refused


def _without_key(data: bytes) -> bytes:
    """Leave the keys out of a message."""
    parts = [data[:_HEADER]]
    parts += [data[at : at + size] for number, at, size in extensions(data) if number not in (8, 9)]
    whole = b"".join(parts)
    return whole[:4] + struct.pack("=H", len(whole) // 8) + whole[6:]


def _keys_to_others(difference: Difference) -> bool:
    step = difference.scenario.steps[difference.step]
    if isinstance(step, Send) and step.socket == difference.socket and not _promiscuous(difference):
        return False
    theirs, ours = ([_without_key(one) for one in side] for side in (difference.theirs, difference.ours))
    return theirs == ours


def _promiscuous(difference: Difference) -> bool:
    return any(
        isinstance(step, Send)
        and step.socket == difference.socket
        and step.data[1:2] == bytes((T.X_PROMISC,))
        for step in difference.scenario.steps[: difference.step]
    )


def _listed_ciphers(difference: Difference) -> bool:
    """A REGISTER whose list lacks Serpent and Twofish, and nothing else."""
    return len(difference.theirs) == len(difference.ours) and all(
        there[1] == here[1] == T.REGISTER and _without_ciphers(there) == here
        for there, here in zip(difference.theirs, difference.ours, strict=True)
        if there != here
    )


def _without_ciphers(data: bytes) -> bytes:
    for number, at, size in extensions(data):
        if number == E.SUPPORTED_ENCRYPT:
            rows = [data[one : one + 8] for one in range(at + 8, at + size, 8)]
            kept = b"".join(row for row in rows if row[0] not in (252, 253))
            count = 1 + len(kept) // 8
            head = struct.pack("=HH", count, number) + data[at + 4 : at + 8]
            whole = data[:at] + head + kept + data[at + size :]
            return whole[:4] + struct.pack("=H", len(whole) // 8) + whole[6:]
    return data


ROWS: Final = (
    Row(
        "keys-to-listeners",
        "tells keys to every open socket in what it says of ADD, UPDATE and DELETE, and to promiscuous ones",
        "repeats the keys to the socket that asked, and tells nobody else any",
        "RFC 2367 §3.1.3: a reply that all listeners hear has no keys",
        _keys_to_others,
    ),
    Row(
        "key-length",
        "takes HMAC keys of any length, none at all included",
        "takes the length of the RFC only, and answers EINVAL otherwise",
        "RFC 2404 §2, RFC 2403 §2, RFC 4868 §2.1.1: other lengths must not be supported",
        _other_key_length,
        lasts=True,
    ),
    Row(
        "ciphers",
        "provides Serpent and Twofish",
        "answers ENOSYS and does not list them",
        "no audited implementation is at hand",
        _other_cipher,
        lasts=True,
    ),
    Row(
        "ciphers-listed",
        "lists Serpent and Twofish in REGISTER",
        "lists neither",
        "what is not provided is not offered",
        _listed_ciphers,
    ),
    Row(
        "spi-zero",
        "takes SPI 0",
        "answers EINVAL",
        "RFC 4303 §2.1: SPI 0 is for local use and never on the wire",
        _reserved_spi,
        lasts=True,
    ),
    Row(
        "reserved-spi",
        "gives out and takes SPIs below 256 on GETSPI",
        "answers EINVAL",
        "RFC 4303 §2.1: 1 to 255 are reserved",
        _taken_there(T.GETSPI, having=_low_range),
        lasts=True,
    ),
    Row(
        "random-try",
        "tries as many random SPIs as the range is long, and may miss the last one that is free (ENOENT)",
        "finds it",
        "RFC 2367 §3.1.1: an SPI out of the range, if there is one",
        _random_try,
        lasts=True,
    ),
    Row(
        "unused-key",
        "takes IPComp with keys and AH with a cipher, and shows them; neither has an effect",
        "answers EINVAL",
        "what has no effect is refused",
        _taken_there(T.ADD, T.UPDATE, having=_unused_key),
        lasts=True,
    ),
    Row(
        "beet",
        "provides mode 3 (BEET)",
        "answers EINVAL",
        "the mode is not in RFC 4301",
        _taken_there(T.ADD, T.UPDATE, T.X_SPDADD, T.X_SPDUPDATE, having=_beet),
        lasts=True,
    ),
    Row(
        "route-optimization",
        "takes policies that ask for protocols of Mobile IPv6 (43, 60)",
        "answers EINVAL",
        "only ESP, AH and IPComp are provided",
        _taken_there(T.X_SPDADD, T.X_SPDUPDATE, having=_other_protocol),
        lasts=True,
    ),
    Row(
        "proxy",
        "reads ADDRESS_PROXY as the selector of the association, which nothing then checks",
        "answers EOPNOTSUPP unless it is any",
        "RFC 4301 §4.4.1: selectors are the policy's",
        _taken_there(
            T.ADD, T.UPDATE, having=lambda sent: E.ADDRESS_PROXY in sent.extensions, number=_EOPNOTSUPP
        ),
        lasts=True,
    ),
    Row(
        "encapsulation",
        "takes ports of 0, half of the NAT-T extensions, and the encapsulation before RFC 3948 (type 1)",
        "answers EINVAL",
        "RFC 3948 §2.1: a UDP header with both ports; with a part of it no packet would pass",
        _taken_there(T.ADD, T.UPDATE, having=_odd_encapsulation),
        lasts=True,
    ),
    Row(
        "update-told",
        "answers UPDATE of a living association with the request itself, as of a dead one",
        "answers with what the association is now",
        "RFC 2367 §3.1.2: the reply tells the association; what the database holds is compared by DUMP",
        _update_told,
    ),
    Row(
        "update-checked",
        "checks keys that UPDATE does not use, and whether there was an encapsulation before (EINVAL)",
        "takes the limits and the ports",
        "RFC 7296 §2.23: a peer may come behind a NAT; who has no keys at hand may extend a lifetime",
        _update_refused,
        lasts=True,
    ),
    Row(
        "update-source",
        "ignores the source address of UPDATE",
        "answers EINVAL if it is not the association's",
        "RFC 2367 §3.1.2: source and destination name the association, too",
        _other_source,
        lasts=True,
    ),
    Row(
        "host-bits",
        "keeps the host bits behind a policy's prefix and shows them",
        "shows the prefix",
        "RFC 4301 §4.4.1.1: a selector is a range of addresses; two spellings of one range are one",
        _host_bits,
    ),
    Row(
        "policy-limits",
        "takes soft limits of policies and limits by octets, and nothing comes of them",
        "answers EOPNOTSUPP",
        "what has no effect is refused",
        _taken_there(T.X_SPDADD, T.X_SPDUPDATE, having=_policy_limits, number=_EOPNOTSUPP),
        lasts=True,
    ),
    Row(
        "filter-prefix",
        "takes prefixes of up to 128 bits in a filter of IPv4",
        "answers EINVAL beyond 32",
        "RFC 2367 §2.3.3: a prefix is no longer than its address",
        _filter_prefix,
    ),
    Row(
        "proposal",
        "proposes nothing in ACQUIRE (6.1 counts what its templates name, and they name nothing)",
        "proposes what it provides and does not keep for old peers only",
        "RFC 2367 §3.1.6: the proposal is what a key manager chooses from",
        _proposal,
    ),
    Row(
        "expiry-moment",
        "looks at the limits before it counts a packet, so that EXPIRE comes one packet later",
        "tells when the limit is reached",
        "RFC 4301 §4.4.2.1: the limit is how much an association may carry",
        _expiry_moment,
        lasts=True,
    ),
    Row(
        "null-encryption",
        "refuses NULL encryption in this build",
        "provides it",
        "RFC 2410",
        _null,
        lasts=True,
    ),
    Row(
        "larval-without-spi",
        "keeps a larval association without SPI while a key manager is asked, and after a failed GETSPI",
        "has larval associations with an SPI only",
        "RFC 2367 §3.1.1: it is GETSPI that makes a larval association",
        _larval_without_spi,
        lasts=True,
    ),
    Row(
        "optional-tunnel",
        "refuses outbound tunnels of level `use` (since a fix of 2023: its template walk went astray)",
        "takes them",
        "the manuals' own examples have them, and the walk here is another",
        _optional_tunnel,
        lasts=True,
    ),
    Row(
        "update-moves-up",
        "dumps as the newest what UPDATE completed, and a policy that SPDUPDATE replaced",
        "leaves it in its place",
        "RFC 4301 §4.4.1: the SPD is ordered; an update changes what an entry does, not where it stands",
        _moved_up,
    ),
    *rows_sockets.ROWS,
)
"""Every reason to differ."""


def explain(difference: Difference) -> Row | None:
    """Find the row that knows a difference."""
    return next((row for row in ROWS if row.knows(difference)), None)
