"""A daemon in a few lines: enough of PF_KEY for setkey to talk to, with the order and errno of Linux.

It keeps what it is sent and shows it again; nothing is checked and nothing is encrypted.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from sallet.client import PfkeyError
from sallet.pfkey.constants import IpsecLevel, IpsecMode, SadbMsgType, SadbSatype
from sallet.pfkey.constants import SadbExtType as E
from sallet.pfkey.messages import Address, Lifetime, Message, Policy, Sa, Sa2

CREATED = 1_795_247_483


class FakeDaemon:
    """Stands in for `PfkeyClient`; `refuse` maps the number of an ADD or SPDADD, from 1, to an errno."""

    def __init__(self, refuse: dict[int, int] | None = None, *, linux: bool = False) -> None:
        self.sas: dict[tuple[object, ...], Message] = {}
        self.policies: dict[int, Message] = {}
        self.seen: list[Message] = []
        self.linux = linux
        self._refuse = refuse or {}
        self._additions = 0
        self._reqids = itertools.count(16384)
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def pipeline(self, messages: Sequence[Message]) -> list[Message]:
        return [self._handle(message) for message in messages]

    def request(self, message: Message, *, check: bool = True) -> Message:
        reply = self._handle(message)
        if check and reply.errno:
            raise PfkeyError(reply.errno, reply)
        return reply

    def dump(self, message: Message) -> list[Message]:
        self.seen.append(message)
        if message.type is SadbMsgType.X_SPDDUMP:
            found = list(self.policies.values())
        else:
            found = [m for m in self.sas.values() if message.satype in (SadbSatype.UNSPEC, m.satype)]
        if self.linux:
            found.reverse()
        last = len(found)
        return [
            replace(entry, type=message.type, seq=number % last, pid=930)
            for number, entry in enumerate(found, 1)
        ]

    def _handle(self, message: Message) -> Message:
        self.seen.append(message)
        handler = {
            SadbMsgType.ADD: self._add,
            SadbMsgType.GET: self._get,
            SadbMsgType.DELETE: self._delete,
            SadbMsgType.FLUSH: self._flush,
            SadbMsgType.X_SPDADD: self._spdadd,
            SadbMsgType.X_SPDUPDATE: self._spdupdate,
            SadbMsgType.X_SPDDELETE: self._spddelete,
            SadbMsgType.X_SPDDELETE2: self._spddelete2,
            SadbMsgType.X_SPDFLUSH: self._spdflush,
        }[message.type]
        found = handler(message)
        return replace(message, errno=found) if isinstance(found, int) else found

    def _refused(self) -> int:
        self._additions += 1
        return self._refuse.get(self._additions, 0)

    def _add(self, message: Message) -> Message | int:
        refused = self._refused()
        if refused or _sa_key(message) in self.sas:
            return refused or errno.EEXIST
        extensions = dict(message.extensions)
        sa2 = message.get(E.X_SA2)
        if self.linux and isinstance(sa2, Sa2) and sa2.mode == IpsecMode.ANY:
            extensions[E.X_SA2] = replace(sa2, mode=IpsecMode.TRANSPORT)
        extensions[E.LIFETIME_CURRENT] = Lifetime(0, 0, CREATED, 0)
        self.sas[_sa_key(message)] = replace(message, extensions=extensions)
        return message

    def _get(self, message: Message) -> Message | int:
        return self.sas.get(_sa_key(message), errno.ESRCH)

    def _delete(self, message: Message) -> Message | int:
        if message.get(E.SA) is not None:
            return message if self.sas.pop(_sa_key(message), None) else errno.ESRCH
        for key in [key for key in self.sas if (key[0], *key[2:]) == (message.satype, *_ends(message))]:
            del self.sas[key]
        return message

    def _flush(self, message: Message) -> Message:
        for key in [key for key in self.sas if message.satype in (SadbSatype.UNSPEC, key[0])]:
            del self.sas[key]
        return message

    def _spdadd(self, message: Message) -> Message | int:
        refused = self._refused()
        if refused or any(_policy_key(p) == _policy_key(message) for p in self.policies.values()):
            return refused or errno.EEXIST
        return self._store(message, next(self._ids))

    def _spdupdate(self, message: Message) -> Message:
        for number, policy in self.policies.items():
            if _policy_key(policy) == _policy_key(message):
                return self._store(message, number)
        return self._store(message, next(self._ids))

    def _store(self, message: Message, number: int) -> Message:
        policy = message.get(E.X_POLICY)
        assert isinstance(policy, Policy)
        requests = tuple(
            replace(
                request,
                level=IpsecLevel.REQUIRE if request.level == IpsecLevel.DEFAULT else request.level,
                reqid=next(self._reqids)
                if request.level == IpsecLevel.UNIQUE and not request.reqid
                else request.reqid,
            )
            for request in policy.requests
        )
        stored = replace(
            message,
            reserved=1,
            extensions={
                **message.extensions,
                E.X_POLICY: replace(policy, id=number, requests=requests),
                E.LIFETIME_CURRENT: Lifetime(0, 0, CREATED, 0),
            },
        )
        self.policies[number] = stored
        return stored

    def _spddelete(self, message: Message) -> Message | int:
        for number, policy in self.policies.items():
            if _policy_key(policy)[:-1] == _policy_key(message)[:-1]:
                return self.policies.pop(number)
        return errno.ENOENT

    def _spddelete2(self, message: Message) -> Message | int:
        policy = message.get(E.X_POLICY)
        assert isinstance(policy, Policy)
        return self.policies.pop(policy.id, errno.ENOENT)

    def _spdflush(self, message: Message) -> Message:
        self.policies.clear()
        return message


def _ends(message: Message) -> list[str]:
    found = []
    for kind in (E.ADDRESS_SRC, E.ADDRESS_DST):
        address = message.get(kind)
        assert isinstance(address, Address)
        found.append(str(address.address))
    return found


def _sa_key(message: Message) -> tuple[object, ...]:
    sa = message.get(E.SA)
    assert isinstance(sa, Sa)
    return (message.satype, sa.spi, *_ends(message))


def _policy_key(message: Message) -> tuple[object, ...]:
    policy = message.get(E.X_POLICY)
    assert isinstance(policy, Policy)
    return (policy.direction, message.get(E.ADDRESS_SRC), message.get(E.ADDRESS_DST), policy.priority)


def snapshot(daemon: FakeDaemon) -> tuple[object, object]:
    """Return what a person would see of the two databases, numbers of policies left aside."""
    policies = []
    for message in daemon.policies.values():
        policy = message.get(E.X_POLICY)
        assert isinstance(policy, Policy)
        kinds = (E.ADDRESS_SRC, E.ADDRESS_DST)
        policies.append((replace(policy, id=0), *(message.get(kind) for kind in kinds)))
    sas = {key: dict(message.extensions) for key, message in daemon.sas.items()}
    return sas, policies
