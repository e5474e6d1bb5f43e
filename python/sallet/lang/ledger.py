"""Keeps account of what a run of setkey changed, and says which messages undo it.

No socket and no printing may enter: replies come in, messages and sentences go out.
Answers to the transaction of form `sallet`: a file is applied whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final, TypeAlias

from sallet.lang.dump import part, policy_head
from sallet.lang.words import COMBINED
from sallet.pfkey.constants import IpsecMode, SadbExtType, SadbMsgType, SadbSaState, SadbSatype
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.messages import Address, Extension, Lifetime, Message, Policy, Sa, Sa2

SaKey: TypeAlias = tuple[int, int, str, str]
"""SATYPE, SPI, source and destination."""

_COUNTING: Final = COMBINED | {"aes-ctr", "aes-128-gmac", "aes-192-gmac", "aes-256-gmac"}
"""Algorithms that must never meet one counter value twice under one key (RFC 4106 §3.1, RFC 3686 §3)."""

_SA_PARTS: Final = (
    SadbExtType.LIFETIME_HARD,
    SadbExtType.LIFETIME_SOFT,
    SadbExtType.ADDRESS_SRC,
    SadbExtType.ADDRESS_DST,
    SadbExtType.KEY_AUTH,
    SadbExtType.KEY_ENCRYPT,
    SadbExtType.X_NAT_T_TYPE,
    SadbExtType.X_NAT_T_SPORT,
    SadbExtType.X_NAT_T_DPORT,
    SadbExtType.X_NAT_T_OAI,
    SadbExtType.X_SA_REPLAY,
)

NEEDS_SAD: Final = frozenset({SadbMsgType.DELETE, SadbMsgType.FLUSH, SadbMsgType.UPDATE})
"""Messages after which associations are missing or changed."""

NEEDS_SPD: Final = frozenset({SadbMsgType.X_SPDUPDATE, SadbMsgType.X_SPDDELETE, SadbMsgType.X_SPDFLUSH})
"""Messages after which policies are missing or changed."""


@dataclass(frozen=True, slots=True)
class Undo:
    """One message that takes back a change, and what it is about."""

    message: Message
    subject: str


class Ledger:
    """What stood before a run, and what the run has done so far."""

    def __init__(
        self, associations: Iterable[Message], policies: Iterable[Message], dialect: Dialect
    ) -> None:
        self._dialect = dialect
        self._sas_before = {sa_key(message): message for message in associations}
        self._policies_before = {_policy_of(message).id: message for message in policies}
        self._sas: dict[SaKey, Message | None] = dict.fromkeys(self._sas_before)
        """What stands now; an entry of this run has its message, an older one None."""
        self._policies: dict[int, Message | None] = dict.fromkeys(self._policies_before)
        self._changed: set[int] = set()
        self._updated: set[SaKey] = set()
        self.losses: list[str] = []
        """What cannot be restored, filled by `undo`."""

    def done(self, message: Message, reply: Message) -> None:
        """Note a message that the daemon carried out."""
        note = _NOTES.get(message.type)
        if note is not None:
            note(self, message, reply)

    def _note_add(self, message: Message, _: Message) -> None:
        self._sas[sa_key(message)] = message

    def _note_getspi(self, _: Message, reply: Message) -> None:
        self._sas[sa_key(reply)] = reply

    def _note_update(self, message: Message, _: Message) -> None:
        key = sa_key(message)
        if self._sas.get(key) is None and key in self._sas_before:
            self._updated.add(key)
        else:
            self._sas[key] = message

    def _note_delete(self, message: Message, _: Message) -> None:
        wanted = sa_key(message)
        if message.get(SadbExtType.SA) is not None:
            self._sas.pop(wanted, None)
            return
        for key in [key for key in self._sas if (key[0], *key[2:]) == (wanted[0], *wanted[2:])]:
            del self._sas[key]

    def _note_flush(self, message: Message, _: Message) -> None:
        for key in [key for key in self._sas if message.satype in (SadbSatype.UNSPEC, key[0])]:
            del self._sas[key]

    def _note_policy_add(self, message: Message, reply: Message) -> None:
        self._policies[_policy_of(reply).id] = message

    def _note_policy_update(self, message: Message, reply: Message) -> None:
        number = _policy_of(reply).id
        if number in self._policies and self._policies[number] is None:
            self._changed.add(number)
            return
        # A daemon that replaces an entry gives it a new number; the old one is gone then.
        same = [key for key in self._policies if key in self._policies_before]
        for key in same:
            if _policy_key(self._policies_before[key]) == _policy_key(message):
                del self._policies[key]
        self._policies[number] = message

    def _note_policy_delete(self, message: Message, reply: Message) -> None:
        number = _policy_of(reply).id
        if number in self._policies:
            del self._policies[number]
            return
        for key, own in list(self._policies.items()):
            if _policy_key(own or self._policies_before[key])[:-1] == _policy_key(message)[:-1]:
                del self._policies[key]
                return

    def _note_policy_flush(self, *_: Message) -> None:
        self._policies.clear()

    def undo(self) -> list[Undo]:
        """Return the messages that restore what stood before, in the order in which to send them."""
        return [*self._undo_policies(), *self._undo_sas()]

    def _undo_sas(self) -> list[Undo]:
        """Remove the associations of this run and add again those that it removed."""
        found = [Undo(_delete(own), sa_text(own)) for own in self._sas.values() if own is not None]
        for key, before in self._sas_before.items():
            if key in self._sas and self._sas[key] is None:
                if key in self._updated:
                    found.append(self._undo_update(before))
                continue
            loss = self._sa_loss(before)
            if loss:
                self.losses.append(f"{sa_text(before)}: {loss}")
            if not loss.startswith("not restored"):
                found.append(Undo(_add_again(before), sa_text(before)))
        return found

    def _undo_update(self, before: Message) -> Undo:
        """Give an association back what it had; one that had no keys cannot have none again."""
        subject = sa_text(before)
        if (part(before, SadbExtType.SA, Sa) or Sa(0)).state == SadbSaState.LARVAL:
            self.losses.append(f"{subject}: not restored: it had no keys yet")
            return Undo(_delete(before), subject)
        return Undo(_add_again(before, SadbMsgType.UPDATE), subject)

    def _sa_loss(self, before: Message) -> str:
        """Say what of an association does not come back, or nothing."""
        sa = part(before, SadbExtType.SA, Sa) or Sa(0)
        current = part(before, SadbExtType.LIFETIME_CURRENT, Lifetime) or Lifetime()
        sequence = (part(before, SadbExtType.X_SA2, Sa2) or Sa2()).sequence
        if sa.state == SadbSaState.LARVAL:
            return "not restored: it had no keys yet"
        if sa.state == SadbSaState.DEAD:
            return "not restored: it was dead"
        used = current.bytes or current.allocations or current.usetime or sequence
        names = {self._dialect.encrypt_names.get(sa.encrypt), self._dialect.auth_names.get(sa.auth)}
        if used and names & _COUNTING:
            return (
                "not restored: its cipher counts, and would count the same numbers again; give it a new key"
            )
        return "its counters, its sequence number and its replay window begin anew" if used else ""

    def _undo_policies(self) -> list[Undo]:
        """Remove the policies of this run, and put back those that it changed or removed."""
        found = [
            Undo(_delete_policy(number), policy_text(own))
            for number, own in self._policies.items()
            if own is not None
        ]
        for number in sorted(self._changed & self._policies.keys()):
            before = self._policies_before[number]
            found.append(Undo(_put_policy(before, SadbMsgType.X_SPDUPDATE), policy_text(before)))
        standing = {
            _place(self._policies_before[number]) for number, own in self._policies.items() if own is None
        }
        for number, before in self._policies_before.items():
            if number in self._policies:
                continue
            found.append(Undo(_put_policy(before, SadbMsgType.X_SPDADD), policy_text(before)))
            if _place(before) in standing:
                self.losses.append(
                    f"{policy_text(before)}: it stands last among the entries of its priority now"
                )
        return found


_NOTES: Final[dict[SadbMsgType, Callable[[Ledger, Message, Message], None]]] = {
    SadbMsgType.ADD: Ledger._note_add,
    SadbMsgType.GETSPI: Ledger._note_getspi,
    SadbMsgType.UPDATE: Ledger._note_update,
    SadbMsgType.DELETE: Ledger._note_delete,
    SadbMsgType.FLUSH: Ledger._note_flush,
    SadbMsgType.X_SPDADD: Ledger._note_policy_add,
    SadbMsgType.X_SPDUPDATE: Ledger._note_policy_update,
    SadbMsgType.X_SPDDELETE: Ledger._note_policy_delete,
    SadbMsgType.X_SPDFLUSH: Ledger._note_policy_flush,
}


def _address(message: Message, kind: SadbExtType) -> Address | None:
    return part(message, kind, Address)


def _host_text(message: Message, kind: SadbExtType) -> str:
    address = _address(message, kind)
    return str(address.address) if address else ""


def sa_key(message: Message) -> SaKey:
    """Return what names an association."""
    sa = part(message, SadbExtType.SA, Sa) or Sa(0)
    return (
        int(message.satype),
        sa.spi,
        _host_text(message, SadbExtType.ADDRESS_SRC),
        _host_text(message, SadbExtType.ADDRESS_DST),
    )


def sa_text(message: Message) -> str:
    """Name an association for a person."""
    satype, spi, source, destination = sa_key(message)
    protocol = {int(SadbSatype.AH): "ah", int(SadbSatype.ESP): "esp"}.get(satype, str(satype))
    return f"{protocol} 0x{spi:08x} {source} -> {destination}"


def policy_text(message: Message) -> str:
    """Name a policy for a person."""
    ends = []
    for kind in (SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST):
        address = _address(message, kind)
        ends.append(f"{address.address}/{address.prefixlen}[{address.port or 'any'}]" if address else "?")
    return f"policy {' '.join(ends)} {policy_head(_policy_of(message), 'sallet')}"


def _policy_of(message: Message) -> Policy:
    """Return the policy of a message; a message without one has number 0, which no entry has."""
    return part(message, SadbExtType.X_POLICY, Policy) or Policy(0, 0)


def _policy_key(message: Message) -> tuple[object, ...]:
    """Return what makes two policies the same: direction, selector, priority."""
    policy = _policy_of(message)
    sides: list[object] = []
    for kind in (SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST):
        side = _address(message, kind)
        if side is not None:
            network = ip_network((side.address, side.prefixlen), strict=False)
            sides += [network, side.port, side.proto]
    return (policy.direction, *sides, policy.priority)


def _place(message: Message) -> tuple[int, int]:
    """Return the list and the priority among whose entries the order counts."""
    policy = _policy_of(message)
    return policy.direction, policy.priority


def _delete(own: Message) -> Message:
    """Return the DELETE that takes back an ADD."""
    kinds = (SadbExtType.SA, SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST)
    return Message(SadbMsgType.DELETE, own.satype, extensions=_some(own, kinds))


def _add_again(before: Message, verb: SadbMsgType = SadbMsgType.ADD) -> Message:
    """Return the message that makes an association what a dump showed of it."""
    sa = part(before, SadbExtType.SA, Sa) or Sa(0)
    sa2 = part(before, SadbExtType.X_SA2, Sa2) or Sa2(IpsecMode.ANY)
    extensions = _some(before, _SA_PARTS)
    extensions[SadbExtType.SA] = replace(sa, state=int(SadbSaState.MATURE))
    extensions[SadbExtType.X_SA2] = replace(sa2, sequence=0)
    return Message(verb, before.satype, extensions=extensions)


def _delete_policy(number: int) -> Message:
    """Return the message that removes a policy by its number."""
    return Message(SadbMsgType.X_SPDDELETE2, extensions={SadbExtType.X_POLICY: Policy(0, 0, id=number)})


def _put_policy(before: Message, verb: SadbMsgType) -> Message:
    """Return the message that makes a policy out of what a dump showed of it."""
    kinds = (SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST, SadbExtType.LIFETIME_HARD)
    extensions = _some(before, kinds)
    extensions[SadbExtType.X_POLICY] = replace(_policy_of(before), id=0)
    return Message(verb, extensions=extensions)


def _some(message: Message, kinds: Iterable[SadbExtType]) -> dict[SadbExtType, Extension]:
    """Return those extensions of a message."""
    found: dict[SadbExtType, Extension] = {}
    for kind in kinds:
        extension = message.get(kind)
        if extension is not None:
            found[kind] = extension
    return found
