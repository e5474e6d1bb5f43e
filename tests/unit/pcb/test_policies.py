"""What may be a socket's policy, and for whom, in each dialect.

Answers to: `ipsec(4)` of KAME, NetBSD and FreeBSD, ip(7) of Linux; sallet.pcb.policies.
"""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from sallet.ipsec import ipsec_dump_policy, ipsec_set_policy
from sallet.pcb import policies
from sallet.pcb.policies import NotTaken

DIALECTS = ("linux", "kame", "netbsd", "freebsd")


def new_reqid(asked: int, chosen_max: int, highest: int) -> int:
    return asked if 0 < asked <= chosen_max else min(20000, highest)


def read(text: str, dialect: str, *, privileged: bool = True) -> policies.SocketPolicy:
    said = ipsec_set_policy(text, dialect=dialect)
    return policies.read(said, dialect, privileged=privileged, new_reqid=new_reqid)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_said_is_kept_and_understood(dialect: str) -> None:
    text = "in ipsec esp/transport//require ah/tunnel/192.0.2.1-192.0.2.2/use"
    policy = read(text, dialect)
    assert (policy.direction, policy.action) == ("in", "protect")
    assert [(each.protocol, each.mode, each.level) for each in policy.templates] == [
        ("esp", "transport", "require"),
        ("ah", "tunnel", "use"),
    ]
    assert ipsec_dump_policy(policy.said, dialect=dialect).replace("prio def ", "") == text
    assert read("out entrust", dialect).action == "entrust"
    assert read("out bypass", dialect).action == "bypass"
    assert read("out ipsec esp/transport//unique:7", dialect).templates[0].reqid == 7
    assert read("out ipsec esp/transport//unique", dialect).templates[0].reqid == 20000


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ["discard", "none"])
def test_discard_and_none_are_for_the_spd(dialect: str, kind: str) -> None:
    with pytest.raises(NotTaken) as refused:
        read(f"out {kind}", dialect)
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("dialect", "kind", "number"),
    [
        ("linux", "ipsec esp/transport//use", errno.EPERM),
        ("linux", "entrust", errno.EPERM),
        ("linux", "bypass", errno.EPERM),
        ("kame", "ipsec esp/transport//use", 0),
        ("kame", "bypass", errno.EACCES),
        ("netbsd", "ipsec esp/transport//use", 0),
        ("netbsd", "bypass", errno.EACCES),
        ("freebsd", "ipsec esp/transport//use", errno.EACCES),
        ("freebsd", "entrust", 0),
        ("freebsd", "bypass", errno.EACCES),
    ],
)
def test_who_may_set_it(dialect: str, kind: str, number: int) -> None:
    read(f"out {kind}", dialect)
    if not number:
        read(f"out {kind}", dialect, privileged=False)
        return
    with pytest.raises(NotTaken) as refused:
        read(f"out {kind}", dialect, privileged=False)
    assert refused.value.errno == number


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_cut_and_every_changed_octet_is_refused_or_read(dialect: str) -> None:
    whole = ipsec_set_policy("out ipsec esp/tunnel/2001:db8::1-2001:db8::2/require", dialect=dialect)
    for size in range(len(whole)):
        with pytest.raises(NotTaken):
            policies.read(whole[:size], dialect, privileged=True, new_reqid=new_reqid)
    for at in range(len(whole)):
        for value in (0, 1, 0x7F, 0xFF):
            changed = whole[:at] + bytes([value]) + whole[at + 1 :]
            with suppress(NotTaken):
                policies.read(changed, dialect, privileged=True, new_reqid=new_reqid)


@pytest.mark.parametrize("number", [0, 3, 255])
def test_a_socket_has_two_directions(number: int) -> None:
    with pytest.raises(NotTaken):
        policies.direction_of(number)


@pytest.mark.parametrize("number", [1, 2])
def test_who_was_told_nothing_follows_the_spd(number: int) -> None:
    policy = policies.read(policies.entrust(number), "kame", privileged=False, new_reqid=new_reqid)
    assert (policy.action, policy.direction) == ("entrust", policies.DIRECTIONS[number])
