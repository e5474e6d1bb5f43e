"""The handlers without any socket: what a message changes and answers, and what a failing host undoes.

No bytes enter. Answers to RFC 2367 §3.1, to the KAME extensions and to facts that the dialect tables hold.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.changes import Changes, HookFailed
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.convert import policy_ids
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.handlers import Delivery, Handlers, Peer, Reply
from sallet.pfkey.messages import (
    Address,
    Extension,
    Key,
    Lifetime,
    Message,
    NatPort,
    NatType,
    Opaque,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    SpiRange,
    Supported,
)
from unit.pfkey.strategies import messages

ESP = 3
A, B = Address(ip_address("192.0.2.1")), Address(ip_address("192.0.2.2"))
KEY16, KEY32 = Key(128, bytes(range(16))), Key(256, bytes(range(32)))


def engine() -> _core.Engine:
    return _core.Engine(seed=bytes(32), clock="manual")


def serve(dialect: str = "sallet", **options: Any) -> Handlers:
    made = engine()
    return Handlers(made, dialect, Changes(made, **options))


def add(spi: int = 0x1001, kind: Msg = Msg.ADD, **more: Extension | None) -> Message:
    extensions: dict[Ext, Extension | None] = {
        Ext.SA: Sa(spi, auth=5, encrypt=12),
        Ext.ADDRESS_SRC: A,
        Ext.ADDRESS_DST: B,
        Ext.KEY_AUTH: KEY32,
        Ext.KEY_ENCRYPT: KEY16,
        **{Ext[name]: value for name, value in more.items()},
    }
    return Message(kind, ESP, seq=7, pid=9, extensions={k: v for k, v in extensions.items() if v is not None})


def about(kind: Msg, spi: int = 0x1001) -> Message:
    return Message(
        kind, ESP, seq=8, pid=9, extensions={Ext.SA: Sa(spi), Ext.ADDRESS_SRC: A, Ext.ADDRESS_DST: B}
    )


def spd(
    kind: Msg = Msg.X_SPDADD, policy: Policy | None = None, third: int = 1, proto: int = 255, **ports: int
) -> Message:
    requests = (Request(50, 1, 2),)
    return Message(
        kind,
        seq=5,
        pid=9,
        extensions={
            Ext.ADDRESS_SRC: Address(ip_address(f"10.0.{third}.0"), ports.get("source", 0), 24, proto),
            Ext.ADDRESS_DST: Address(ip_address("10.1.0.0"), ports.get("destination", 0), 16, proto),
            Ext.X_POLICY: Policy(2, 2, requests=requests) if policy is None else policy,
        },
    )


def one(handlers: Handlers, message: Message) -> Reply:
    (reply,) = handlers.handle(message)
    return reply


def refused(handlers: Handlers, message: Message) -> int:
    before = handlers.engine.sad_dump(), handlers.engine.spd_dump()
    reply = one(handlers, message)
    assert reply.delivery is Delivery.ONE
    after = handlers.engine.sad_dump(), handlers.engine.spd_dump()
    assert [len(each) for each in before] == [len(each) for each in after], (
        "a refused message changed something"
    )
    return reply.errno


def names(extensions: object) -> list[str]:
    return [kind.name for kind in extensions]  # type: ignore[attr-defined]


# Any message.


@given(messages())
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_any_message_is_answered_and_nothing_is_raised(pair: tuple[Dialect, Message]) -> None:
    dialect, message = pair
    handlers = Handlers(engine(), dialect)
    for _ in range(2):
        for reply in handlers.handle(message):
            codec.encode(reply, dialect)
            for other in DIALECTS.values():
                codec.encode(Handlers(handlers.engine, other).tell(reply), other)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_satype_and_direction_is_answered(dialect: str) -> None:
    handlers = serve(dialect)
    for kind in Msg:
        for number in range(256):
            if kind is Msg.RESERVED:
                continue
            handlers.handle(Message(kind, number))
            handlers.handle(Message(kind, number, extensions=add().extensions))
            handlers.handle(Message(kind, extensions=spd(policy=Policy(1, number)).extensions))
            handlers.handle(Message(kind, extensions=spd(policy=Policy(number, 2)).extensions))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [Msg.EXPIRE, Msg.X_PCHANGE, Msg.X_SPDACQUIRE, Msg.X_SPDEXPIRE])
def test_what_nobody_serves_is_refused(dialect: str, kind: Msg) -> None:
    handlers = serve(dialect)
    assert refused(handlers, Message(kind, ESP)) == handlers.dialect.unsupported_errno


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("message", "missing"),
    [
        (add(), Ext.SA),
        (add(), Ext.ADDRESS_SRC),
        (add(), Ext.ADDRESS_DST),
        (add(), Ext.KEY_AUTH),
        (add(), Ext.KEY_ENCRYPT),
        (about(Msg.GET), Ext.SA),
        (about(Msg.GET), Ext.ADDRESS_DST),
        (about(Msg.DELETE), Ext.ADDRESS_SRC),
        (about(Msg.GETSPI), Ext.ADDRESS_SRC),
        (spd(), Ext.ADDRESS_SRC),
        (spd(), Ext.ADDRESS_DST),
        (spd(), Ext.X_POLICY),
        (spd(Msg.X_SPDDELETE), Ext.X_POLICY),
        (spd(Msg.X_SPDGET), Ext.X_POLICY),
        (spd(Msg.X_SPDDELETE2), Ext.X_POLICY),
    ],
)
def test_a_missing_extension_is_einval(dialect: str, message: Message, missing: Ext) -> None:
    extensions = {kind: value for kind, value in message.extensions.items() if kind is not missing}
    assert (
        refused(serve(dialect), Message(message.type, message.satype, extensions=extensions)) == errno.EINVAL
    )


# Associations.


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.3
# # the reply to ADD goes to all listeners, without keys
@pytest.mark.parametrize("dialect", ["sallet", "kame"])
def test_add_tells_everybody_but_no_keys(dialect: str) -> None:
    handlers = serve(dialect)
    told = one(handlers, add())
    assert (told.delivery, told.errno, told.seq, told.pid) == (Delivery.ALL, 0, 7, 9)
    assert not {Ext.KEY_AUTH, Ext.KEY_ENCRYPT} & set(told.extensions)
    shown = one(handlers, about(Msg.GET))
    assert shown.delivery is Delivery.ONE
    assert (shown.get(Ext.KEY_AUTH), shown.get(Ext.KEY_ENCRYPT)) == (KEY32, KEY16)
    gone = one(handlers, about(Msg.DELETE))
    assert not {Ext.KEY_AUTH, Ext.KEY_ENCRYPT} & set(gone.extensions)
    assert handlers.engine.sad_dump() == []


def test_kame_shapes() -> None:
    handlers = serve("kame")
    limits: dict[str, Any] = {"LIFETIME_HARD": Lifetime(0, 0, 100, 0), "LIFETIME_SOFT": Lifetime(0, 0, 80, 0)}
    assert names(one(handlers, add(**limits)).extensions) == [
        "SA", "X_SA2", "ADDRESS_SRC", "ADDRESS_DST", "LIFETIME_HARD", "LIFETIME_SOFT",
    ]  # fmt: skip
    handlers.handle(add(0x1002))
    first, last = handlers.handle(Message(Msg.DUMP))
    assert (first.seq, last.seq) == (1, 0)
    assert names(first.extensions) == [
        "SA", "X_SA2", "LIFETIME_HARD", "LIFETIME_SOFT", "LIFETIME_CURRENT", "ADDRESS_SRC", "ADDRESS_DST",
        "KEY_AUTH", "KEY_ENCRYPT",
    ]  # fmt: skip
    assert "LIFETIME_HARD" not in names(last.extensions)


def test_kame_refuses_its_own_way() -> None:
    handlers = serve("kame")
    assert refused(handlers, about(Msg.GET)) == errno.ENOENT
    assert refused(handlers, about(Msg.DELETE)) == errno.ENOENT
    assert refused(handlers, Message(Msg.DUMP)) == errno.ENOENT
    assert refused(handlers, add(255)) == errno.EINVAL
    assert refused(handlers, add(SA=Sa(0x1001, auth=200, encrypt=12))) == errno.EINVAL
    assert refused(handlers, add(SA=Sa(0x1001, auth=5, encrypt=12, flags=Flag.X_PRAND))) == errno.EINVAL
    echoed = one(handlers, about(Msg.GET))
    assert names(echoed.extensions) == ["SA", "ADDRESS_SRC", "ADDRESS_DST"]


def test_kame_windows_are_octets_and_linux_windows_packets() -> None:
    for dialect, asked, packets, shown in (("kame", 4, 32, 4), ("linux", 32, 32, 32), ("linux", 64, 32, 32)):
        handlers = serve(dialect)
        reply = one(handlers, add(SA=Sa(0x1001, asked, auth=5, encrypt=12)))
        assert handlers.engine.sad_dump()[0].replay_window == packets
        assert reply.extensions[Ext.SA].replay == shown  # type: ignore[union-attr]


def test_sallet_says_what_linux_cannot() -> None:
    handlers = serve("sallet")
    flags = Flag.X_ESN | Flag.X_CYCSEQ
    gcm = add(
        SA=Sa(0x1001, encrypt=20, flags=flags),
        KEY_AUTH=None,
        KEY_ENCRYPT=Key(160, bytes(20)),
        X_SA_REPLAY=Replay(4096),
    )
    reply = one(handlers, gcm)
    assert reply.errno == 0
    assert reply.get(Ext.X_SA_REPLAY) == Replay(4096)
    view = handlers.engine.sad_dump()[0]
    assert view.encryption is not None
    assert (view.encryption[0], view.replay_window, view.esn) == ("aes-gcm-16", 4096, True)
    assert reply.extensions[Ext.SA] == Sa(0x1001, 255, 1, 0, 20, int(flags))
    chacha = add(0x1002, SA=Sa(0x1002, encrypt=28), KEY_AUTH=None, KEY_ENCRYPT=Key(288, bytes(36)))
    assert one(handlers, chacha).errno == 0
    linux = Handlers(handlers.engine, "linux", handlers.changes)
    assert (
        refused(linux, add(0x1003, SA=Sa(0x1003, encrypt=20), KEY_ENCRYPT=Key(160, bytes(20))))
        == errno.ENOSYS
    )
    shown = linux.tell(reply)
    assert shown.extensions[Ext.SA] == Sa(0x1001, 255, 1, 0, 0, 0)
    assert Ext.X_SA_REPLAY not in shown.extensions


def test_source_matters_in_sallet_and_not_in_linux() -> None:
    wrong = Message(Msg.GET, ESP, extensions={**about(Msg.GET).extensions, Ext.ADDRESS_SRC: B})
    for dialect, expected in (("sallet", errno.ESRCH), ("linux", 0), ("kame", errno.ENOENT)):
        handlers = serve(dialect)
        handlers.handle(add())
        assert one(handlers, wrong).errno == expected


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.4
# # DELETE names an SA by SPI and addresses; one that is not there is ESRCH
# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.5
# # GET names an SA by SPI and addresses; one that is not there is ESRCH
@pytest.mark.parametrize("kind", [Msg.GET, Msg.DELETE])
def test_one_that_is_not_there_is_esrch(kind: Msg) -> None:
    handlers = serve("sallet")
    handlers.handle(add(0x1001))
    assert refused(handlers, about(kind, 0x1002)) == errno.ESRCH
    assert one(handlers, about(kind, 0x1001)).errno == 0
    assert (refused(handlers, about(kind, 0x1001)) == errno.ESRCH) if kind is Msg.DELETE else True


def test_kame_deletes_all_of_a_pair() -> None:
    handlers = serve("kame")
    for spi in (0x1001, 0x1002):
        handlers.handle(add(spi))
    pair = Message(Msg.DELETE, ESP, extensions={Ext.ADDRESS_SRC: A, Ext.ADDRESS_DST: B})
    assert names(one(handlers, pair).extensions) == ["ADDRESS_SRC", "ADDRESS_DST"]
    assert handlers.engine.sad_dump() == []
    assert refused(handlers, pair) == errno.ENOENT


def test_getspi_and_update() -> None:
    handlers = serve("sallet")
    ask = Message(Msg.GETSPI, ESP, seq=3, extensions={Ext.ADDRESS_SRC: A, Ext.ADDRESS_DST: B})
    reply = one(handlers, ask)
    spi = reply.extensions[Ext.SA].spi  # type: ignore[union-attr]
    assert 0x100 <= spi <= 0x0FFFFFFF
    assert (reply.delivery, reply.extensions[Ext.SA].state) == (Delivery.ONE, 0)  # type: ignore[union-attr]
    assert one(handlers, add(spi, Msg.UPDATE)).errno == 0
    assert handlers.engine.sad_dump()[0].state == "mature"
    assert refused(handlers, add(spi, Msg.UPDATE, KEY_AUTH=Key(256, bytes(32)))) == errno.EINVAL
    fixed = Message(Msg.GETSPI, ESP, extensions={**ask.extensions, Ext.SPIRANGE: SpiRange(0x500, 0x500)})
    assert one(handlers, fixed).errno == 0
    assert refused(handlers, fixed) == errno.ENOENT


def test_linux_update_takes_lifetimes_and_skips_other_keys() -> None:
    handlers = serve("linux")
    handlers.handle(add())
    other = add(kind=Msg.UPDATE, KEY_AUTH=Key(256, bytes(32)), LIFETIME_HARD=Lifetime(0, 0, 77, 0))
    assert refused(handlers, other) == errno.EINVAL, "both limits, or none"
    other = replace(other, extensions={**other.extensions, Ext.LIFETIME_SOFT: Lifetime()})
    assert one(handlers, other).errno == 0
    view = handlers.engine.sad_dump()[0]
    assert view.authentication is not None
    assert (view.authentication[1], view.hard.add_secs) == (KEY32.data, 77)


def test_udp_encapsulation_is_all_or_nothing() -> None:
    handlers = serve("linux")
    natt: dict[str, Any] = {
        "X_NAT_T_TYPE": NatType(2),
        "X_NAT_T_SPORT": NatPort(4500),
        "X_NAT_T_DPORT": NatPort(4501),
    }
    reply = one(handlers, add(**natt))
    assert (reply.get(Ext.X_NAT_T_SPORT), reply.get(Ext.X_NAT_T_DPORT)) == (NatPort(4500), NatPort(4501))
    assert handlers.engine.sad_dump()[0].encap == (4500, 4501)
    wrongs: list[dict[str, Any]] = [
        {"X_NAT_T_TYPE": NatType(1)},
        {"X_NAT_T_SPORT": None},
        {"X_NAT_T_DPORT": NatPort(0)},
    ]
    for wrong in wrongs:
        assert refused(handlers, add(0x1002, **{**natt, **wrong})) == errno.EINVAL


def test_what_would_have_no_effect_is_refused() -> None:
    handlers = serve("linux")
    assert refused(handlers, add(SENSITIVITY=Opaque(bytes(20)))) == errno.EOPNOTSUPP
    assert refused(handlers, add(ADDRESS_PROXY=A)) == errno.EOPNOTSUPP
    assert one(handlers, add(ADDRESS_PROXY=Address(IPv4Address(0), 0, 0, 255))).errno == 0


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.7
# # REGISTER answers with the algorithms that are supported
def test_register_is_remembered_for_the_socket() -> None:
    handlers, peer = serve("sallet"), Peer()
    (reply,) = handlers.answer(Message(Msg.REGISTER, ESP), peer)
    assert (reply.delivery, peer.registered) == (Delivery.REGISTERED, {ESP})
    listed = reply.extensions[Ext.SUPPORTED_ENCRYPT]
    assert isinstance(listed, Supported)
    assert {row.id for row in listed.algorithms} >= {11, 12, 13, 20, 28}
    (again,) = handlers.answer(Message(Msg.REGISTER, ESP), peer)
    assert again.errno == errno.EEXIST


# Policies.


def test_policies_keep_their_words() -> None:
    for dialect, level, mode in (
        ("sallet", "default", "transport"),
        ("linux", "require", "transport"),
        ("kame", "default", "any"),
    ):
        handlers = serve(dialect)
        any_mode = spd(policy=Policy(2, 1, requests=(Request(50, 0, 0),)))
        if dialect == "linux":
            assert refused(handlers, any_mode) == errno.EINVAL
            any_mode = spd(policy=Policy(2, 1, requests=(Request(50, 1, 0),)))
        assert one(handlers, any_mode).errno == 0
        (view,) = handlers.engine.spd_dump()
        assert (view.direction, view.action, view.owner) == ("in", "protect", 9)
        assert (view.templates[0].level, view.templates[0].mode) == (level, mode)
        assert view.judges_forwarded is (dialect == "kame")
        assert view.priority == (0x80000000 if dialect == "kame" else 0)


def test_policy_refusals() -> None:
    sallet, kame = serve("sallet"), serve("kame")
    assert refused(sallet, spd(policy=Policy(2, 2))) == errno.EINVAL
    assert refused(kame, spd(policy=Policy(1, 3))) == errno.EINVAL
    assert refused(kame, spd(policy=Policy(2, 2, requests=(Request(6, 1, 2),)))) == errno.EPROTONOSUPPORT
    assert refused(sallet, spd(policy=Policy(2, 2, requests=(Request(50, 1, 9),)))) == errno.EINVAL
    assert refused(sallet, spd(policy=Policy(2, 2, requests=(Request(50, 1, 2),) * 7))) == errno.ELOOP
    for handlers, expected in ((sallet, errno.ENOENT), (kame, errno.EINVAL), (serve("linux"), errno.ENOENT)):
        assert refused(handlers, spd(Msg.X_SPDDELETE)) == expected
    mixed = spd()
    sides = {**mixed.extensions, Ext.ADDRESS_DST: Address(ip_address("10.1.0.0"), 0, 16, 6)}
    assert refused(sallet, Message(Msg.X_SPDADD, extensions=sides)) == errno.EINVAL
    assert (
        refused(
            sallet,
            Message(Msg.X_SPDADD, extensions={**mixed.extensions, Ext.LIFETIME_SOFT: Lifetime(0, 0, 5, 0)}),
        )
        == errno.EOPNOTSUPP
    )


def test_reqids_are_allocated_above_the_manual_ones() -> None:
    for dialect, highest in (("linux", 0xFFFFFFFF), ("kame", 0xFFFF), ("netbsd", 0xFFFF)):
        handlers = serve(dialect)
        requests = (Request(50, 1, 3), Request(51, 1, 3, 77), Request(108, 1, 3, 40000))
        reply = one(handlers, spd(policy=Policy(2, 2, requests=requests)))
        policy = reply.extensions[Ext.X_POLICY]
        assert isinstance(policy, Policy)
        assert [request.reqid for request in policy.requests] == [16384, 77, 16385]
        handlers.changes._next_reqid = highest
        # Every id is handed out once; from then on those of policies that still stand are left out.
        assert [handlers.changes.new_reqid(0, 16383, highest) for _ in range(2)] == [highest, 16386]


@pytest.mark.parametrize("dialect", ["sallet", "kame"])
def test_a_reqid_that_somebody_chose_is_kept_up_to_32767_and_left_out(dialect: str) -> None:
    handlers = serve(dialect)
    add_sa = _core.SaParams(
        spi=4096,
        protocol="esp",
        source="10.0.0.1",
        destination="10.0.0.2",
        reqid=16386,
        encryption=("aes-gcm-16", bytes(20)),
    )
    handlers.changes.sad_add(add_sa)
    requests = (
        *(Request(50, 1, 3, reqid) for reqid in (16385, 32767, 32768)),
        Request(50, 1, 3),
        Request(50, 1, 2),
    )
    reply = one(handlers, spd(policy=Policy(2, 2, requests=requests)))
    policy = reply.extensions[Ext.X_POLICY]
    assert isinstance(policy, Policy)
    told = [(request.reqid, request.made) for request in policy.requests]
    assert told == [(16385, False), (32767, False), (16384, True), (16387, True), (0, False)]


def test_a_dialect_that_tells_nothing_of_made_ids_keeps_its_octet() -> None:
    for dialect in ("linux", "netbsd", "freebsd"):
        reply = one(serve(dialect), spd(policy=Policy(2, 2, requests=(Request(50, 1, 3),))))
        policy = reply.extensions[Ext.X_POLICY]
        assert isinstance(policy, Policy)
        assert policy.requests[0].made is None


def test_a_policy_by_its_id() -> None:
    handlers = serve("sallet")
    policy = one(handlers, spd(proto=6, source=1000, destination=80)).extensions[Ext.X_POLICY]
    assert isinstance(policy, Policy)
    by_id = {Ext.X_POLICY: Policy(0, 0, policy.id)}
    shown = one(handlers, Message(Msg.X_SPDGET, extensions=by_id))
    assert shown.extensions[Ext.ADDRESS_SRC] == Address(ip_address("10.0.1.0"), 1000, 24, 6)
    assert one(handlers, Message(Msg.X_SPDDELETE2, extensions=by_id)).delivery is Delivery.ALL
    assert refused(handlers, Message(Msg.X_SPDDELETE2, extensions=by_id)) == errno.ENOENT


def test_a_range_that_pf_key_cannot_say_is_shown_without_address() -> None:
    handlers = serve("sallet")
    wide = _core.Selector(("10.0.0.1", "10.0.0.3"), "10.1.0.0/16", 6, (1, 2))
    handlers.engine.spd_add(_core.PolicyParams("out", wide, "bypass"))
    (shown,) = handlers.handle(Message(Msg.X_SPDDUMP))
    assert Ext.ADDRESS_SRC not in shown.extensions
    assert Ext.X_POLICY in shown.extensions


# What follows a change.


class Host:
    """Counts what it is asked to follow, and fails on demand."""

    def __init__(self) -> None:
        self.calls = 0
        self.failing = False

    def __call__(self) -> None:
        self.calls += 1
        if self.failing:
            raise RuntimeError("no nft here")


def listing(handlers: Handlers) -> list[tuple[object, ...]]:
    return [
        (view.direction, view.selector, view.action, view.priority, view.owner)
        for view in sorted(handlers.engine.spd_dump(), key=lambda view: view.serial)
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda handlers: spd(third=9),
        lambda handlers: spd(Msg.X_SPDUPDATE, Policy(0, 2), third=2),
        lambda handlers: spd(Msg.X_SPDUPDATE, Policy(0, 2), third=9),
        lambda handlers: spd(Msg.X_SPDDELETE, third=1),
        lambda handlers: Message(
            Msg.X_SPDDELETE2, extensions={Ext.X_POLICY: Policy(0, 0, handlers.engine.spd_dump()[1].id)}
        ),
        lambda handlers: Message(Msg.X_SPDFLUSH),
    ],
    ids=["add", "update", "update-adds", "delete", "delete-by-id", "flush"],
)
def test_a_change_of_the_spd_that_the_host_cannot_follow_is_undone(
    change: Callable[[Handlers], Message],
) -> None:
    host = Host()
    handlers = serve("sallet", spd_changed=host)
    for third in (1, 2, 3):
        assert one(handlers, spd(third=third)).errno == 0
    assert host.calls == 3
    before = listing(handlers)
    host.failing = True
    assert one(handlers, change(handlers)).errno == errno.EIO
    assert listing(handlers) == before
    host.failing = False
    assert one(handlers, change(handlers)).errno == 0
    assert listing(handlers) != before


def test_associations_matter_to_the_host_only_where_they_could_turn_a_policy_round() -> None:
    host = Host()
    handlers = serve("sallet", spd_changed=host)
    handlers.handle(spd(policy=Policy(2, 2, requests=(Request(50, 2, 2, 0, A, B),))))
    handlers.handle(add(0x1001, X_SA2=Sa2(2)))
    assert host.calls == 1
    use = Policy(2, 2, requests=(Request(50, 2, 1, 0, A, B), Request(51, 2, 1, 0, B, A)))
    handlers.handle(spd(policy=use, third=2))
    tunnel = add(0x1002, X_SA2=Sa2(2))
    for number, message in enumerate((tunnel, about(Msg.DELETE, 0x1002), Message(Msg.FLUSH))):
        handlers.handle(message)
        assert host.calls == 3 + number
    # Another mode, another direction, another protocol: none of these is what that policy asks for.
    calls = host.calls
    for message in (add(0x1002, X_SA2=Sa2(1)), add(0x1003, X_SA2=Sa2(2), ADDRESS_SRC=B, ADDRESS_DST=A)):
        assert one(handlers, message).errno == 0
    handlers.handle(Message(Msg.FLUSH, ESP))
    assert host.calls == calls
    host.failing = True
    assert one(handlers, tunnel).errno == errno.EIO
    assert handlers.engine.sad_dump() == []
    host.failing = False
    handlers.handle(spd(Msg.X_SPDDELETE, third=2))
    calls = host.calls
    handlers.handle(add(0x1004, X_SA2=Sa2(2)))
    assert host.calls == calls


@pytest.mark.parametrize(
    ("selected", "reqid", "matters"),
    [("10.0.1.0", 0, True), ("10.0.2.0", 0, False), ("10.0.1.0", 7, True), ("10.0.1.0", 8, False)],
)
def test_an_association_in_transport_mode_matters_between_the_addresses_of_the_policy(
    selected: str, reqid: int, matters: bool
) -> None:
    host = Host()
    handlers = serve("sallet", spd_changed=host)
    template = _core.Template("esp", "transport", "use", reqid)
    selector = _core.Selector(f"{selected}/24", "10.1.0.0/16")
    handlers.changes.spd_add(_core.PolicyParams("out", selector, "protect", [template]))
    here, there = Address(ip_address("10.0.1.9")), Address(ip_address("10.1.0.9"))
    assert one(handlers, add(X_SA2=Sa2(1, 0, 7), ADDRESS_SRC=here, ADDRESS_DST=there)).errno == 0
    assert host.calls == 1 + matters


def test_changes_between_begin_and_commit_are_followed_once_and_undone_together() -> None:
    host = Host()
    handlers = serve("sallet", spd_changed=host)
    for third in (1, 2, 3, 4):
        assert one(handlers, spd(third=third)).errno == 0
    high = Policy(0, 2, priority=5)
    steps = (
        spd(third=9),
        spd(Msg.X_SPDUPDATE, Policy(0, 2), third=9),
        spd(Msg.X_SPDUPDATE, Policy(0, 2), third=2),
        spd(Msg.X_SPDUPDATE, high, third=3),
        spd(Msg.X_SPDDELETE, third=4),
        spd(Msg.X_SPDDELETE, third=2),
        spd(third=4),
        spd(third=10),
        spd(Msg.X_SPDDELETE, third=10),
        spd(Msg.X_SPDDELETE, third=1),
    )
    before = listing(handlers)
    for failing in (True, False):
        host.calls, host.failing = 0, failing
        handlers.changes.begin()
        for step in steps:
            assert one(handlers, step).errno == 0
        assert host.calls == 0
        if failing:
            with pytest.raises(HookFailed):
                handlers.changes.commit()
            assert listing(handlers) == before
        else:
            handlers.changes.commit()
        assert host.calls == 1
    assert [str(row[1]) for row in listing(handlers)] != [str(row[1]) for row in before]
    assert len(handlers.engine.spd_dump()) == 3
    handlers.changes.begin()
    handlers.handle(Message(Msg.X_SPDFLUSH))
    host.failing, before = True, listing(handlers)
    with pytest.raises(HookFailed):
        handlers.changes.commit()
    handlers.changes.commit()
    assert len(listing(handlers)) == 3


# Events.


@pytest.mark.parametrize("kind", [Msg.X_SPDGET, Msg.X_SPDDELETE2])
def test_linux_ids_name_their_list_and_must(kind: Msg) -> None:
    handlers = serve("linux")
    handlers.handle(spd())
    (view,) = handlers.engine.spd_dump()
    for number, answer in (
        (view.id, errno.ENOENT),
        (view.id * 8, errno.ENOENT),
        (view.id * 8 + 4, errno.EINVAL),
        (view.id * 8 + 1, 0),
    ):
        asked = Message(kind, extensions={Ext.X_POLICY: Policy(0, 0, number)})
        assert [reply.errno for reply in handlers.handle(asked)] == [answer]


def test_an_acquire_says_who_asks_and_what_would_do() -> None:
    handlers = serve("sallet")
    handlers.handle(spd())
    packet = _core.udp_packet("10.0.1.1", "10.1.0.1", 1, 2, b"x")
    handlers.engine.outbound(packet)
    (event,) = handlers.engine.take_events()
    assert isinstance(event, _core.AcquireEvent)
    for dialect in DIALECTS:
        speaking = Handlers(handlers.engine, dialect, handlers.changes)
        told = speaking.event(event)
        assert told is not None
        assert (told.type, told.satype, told.seq, told.pid) == (Msg.ACQUIRE, ESP, event.id, 0)
        assert told.extensions[Ext.ADDRESS_SRC] == Address(ip_address("10.0.1.1"))
        number = policy_ids.told(event.policy, "out", DIALECTS[dialect])
        assert told.extensions[Ext.X_POLICY].id == number  # type: ignore[union-attr]
        proposal = told.extensions[Ext.PROPOSAL]
        assert isinstance(proposal, Proposal)
        gcm = [comb for comb in proposal.combs if comb.encrypt == 20]
        assert bool(gcm) is (20 in DIALECTS[dialect].encrypt_names)
        assert all(not comb.auth for comb in gcm)
        codec.encode(told, DIALECTS[dialect])


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.8
# # EXPIRE says soft once and hard once, with the current counters
def test_an_expire_tells_the_lifetime_that_fired_and_no_keys() -> None:
    handlers = serve("sallet")
    handlers.handle(add(LIFETIME_SOFT=Lifetime(0, 0, 10, 0), LIFETIME_HARD=Lifetime(0, 0, 20, 0)))
    fired: list[_core.ExpireEvent] = []
    for _ in range(2):
        handlers.engine.advance(11)
        fired += [event for event in handlers.engine.take_events() if isinstance(event, _core.ExpireEvent)]
    assert [event.hard for event in fired] == [False, True]
    for dialect in DIALECTS:
        speaking = Handlers(handlers.engine, dialect, handlers.changes)
        for event in fired:
            told = speaking.event(event)
            assert told is not None
            assert (Ext.LIFETIME_HARD in told.extensions) is event.hard
            assert (Ext.LIFETIME_SOFT in told.extensions) is not event.hard
            assert Ext.LIFETIME_CURRENT in told.extensions
            assert not {Ext.KEY_AUTH, Ext.KEY_ENCRYPT} & set(told.extensions)


def test_a_failed_acquire_is_heard_and_not_answered() -> None:
    for dialect in DIALECTS:
        assert serve(dialect).handle(Message(Msg.ACQUIRE, ESP, errno=3, seq=77)) == []


def test_mode_and_reqid_come_from_sa2() -> None:
    handlers = serve("linux")
    reply = one(handlers, add(X_SA2=Sa2(2, 0, 4242)))
    assert reply.extensions[Ext.X_SA2] == Sa2(2, 0, 4242)
    assert refused(handlers, add(0x1002, X_SA2=Sa2(9))) == errno.EINVAL
