"""What moves and keeps its counters: X_MIGRATE, and FreeBSD's UPDATE with new addresses; identities in pairs.

No packet may enter. Answers to RFC 4555 §3.5, RFC 2367 §2.3.3, <linux/pfkeyv2.h>.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import Any

import pytest

from sallet import _core
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.handlers import Delivery, Handlers
from sallet.pfkey.messages import (
    Address,
    Extension,
    Identity,
    Key,
    Lifetime,
    Message,
    Policy,
    Request,
    Sa,
    Sa2,
)

HERE, THERE, NEW = (ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.0.3"))
ESP = 3


def serve(dialect: str) -> Handlers:
    return Handlers(_core.Engine(seed=bytes(32), clock="manual"), dialect)


def host(address: Any) -> Address:
    return Address(address, 0, address.max_prefixlen, 0)


def keyed(kind: Msg, spi: int = 0x1000, **more: Any) -> Message:
    parts: dict[Ext, Extension] = {
        Ext.SA: Sa(spi, auth=3, encrypt=12),
        Ext.ADDRESS_SRC: host(HERE),
        Ext.ADDRESS_DST: host(THERE),
        Ext.KEY_AUTH: Key(160, bytes(range(20))),
        Ext.KEY_ENCRYPT: Key(128, bytes(range(16))),
        Ext.X_SA2: Sa2(2, 0, 0),
    }
    return Message(kind, ESP, pid=7, extensions=parts | {Ext[name]: part for name, part in more.items()})


def tunnel(kind: Msg, *pairs: tuple[Any, Any]) -> Message:
    requests = tuple(Request(50, 2, 2, 0, host(first), host(second)) for first, second in pairs)
    covered = Address(ip_address("10.1.0.0"), 0, 16, 255), Address(ip_address("10.2.0.0"), 0, 16, 255)
    parts: dict[Ext, Extension] = {
        Ext.ADDRESS_SRC: covered[0],
        Ext.ADDRESS_DST: covered[1],
        Ext.X_POLICY: Policy(2, 2, requests=requests),
    }
    return Message(kind, pid=7, extensions=parts)


# = https://www.rfc-editor.org/rfc/rfc4555#section-3.5
# # the associations of a peer that moved are updated with its new address
@pytest.mark.parametrize("dialect", ["linux", "sallet", "kame"])
def test_a_tunnel_moves_with_its_association(dialect: str) -> None:
    handlers = serve(dialect)
    for message in (tunnel(Msg.X_SPDADD, (HERE, THERE)), keyed(Msg.ADD)):
        assert handlers.handle(message)[0].errno == 0
    handlers.engine.outbound(_core.udp_packet("10.1.0.1", "10.2.0.1", 1, 2, b"x"))
    before = handlers.engine.sad_dump()[0]
    (told,) = handlers.handle(tunnel(Msg.X_MIGRATE, (HERE, THERE), (HERE, NEW)))
    assert (told.errno, told.delivery, told.seq, told.pid) == (0, Delivery.ALL, 0, 0)
    (policy,), (view,) = handlers.engine.spd_dump(), handlers.engine.sad_dump()
    assert policy.templates[0].endpoints == (HERE, NEW)
    assert (view.destination, view.sequence, view.packets) == (NEW, before.sequence, 1)
    (packet,) = handlers.engine.outbound(_core.udp_packet("10.1.0.1", "10.2.0.1", 1, 2, b"x")).transmitted
    assert packet[16:20] == NEW.packed
    assert handlers.engine.sad_dump()[0].sequence == before.sequence + 1
    again = handlers.handle(tunnel(Msg.X_MIGRATE, (HERE, THERE), (HERE, NEW)))
    assert again[0].errno == errno.ENODATA


@pytest.mark.parametrize(
    ("pairs", "number"),
    [
        ([], errno.EINVAL),
        ([(HERE, THERE)], errno.EINVAL),
        ([(HERE, NEW), (HERE, THERE)], errno.ENODATA),
        ([(HERE, THERE), (HERE, ip_address("0.0.0.0"))], errno.EINVAL),
        ([(HERE, THERE), (HERE, NEW), (HERE, THERE), (HERE, NEW)], errno.EINVAL),
    ],
)
def test_what_moves_nothing_changes_nothing(pairs: list[tuple[Any, Any]], number: int) -> None:
    handlers = serve("linux")
    handlers.handle(tunnel(Msg.X_SPDADD, (HERE, THERE)))
    assert handlers.handle(tunnel(Msg.X_MIGRATE, *pairs))[0].errno == number
    assert handlers.engine.spd_dump()[0].templates[0].endpoints == (HERE, THERE)


def test_freebsd_moves_an_association_by_update() -> None:
    handlers = serve("freebsd")
    assert handlers.handle(keyed(Msg.ADD))[0].errno == 0
    moved = keyed(Msg.UPDATE, X_NEW_ADDRESS_DST=host(NEW))
    assert handlers.handle(moved)[0].errno == errno.EINVAL, "it lives, and brings keys"
    keyless = {kind: part for kind, part in moved.extensions.items() if not kind.name.startswith("KEY")}
    (told,) = handlers.handle(Message(Msg.UPDATE, ESP, pid=7, extensions=keyless))
    assert (told.errno, told.extensions[Ext.ADDRESS_DST]) == (0, host(NEW))
    (view,) = handlers.engine.sad_dump()
    assert (view.source, view.destination, view.encryption) == (HERE, NEW, ("aes-cbc", bytes(range(16))))
    # Its SPI is no other's; one that another dialect made with it cannot go where it stands.
    assert handlers.handle(keyed(Msg.ADD))[0].errno == errno.EEXIST
    assert Handlers(handlers.engine, "kame", handlers.changes).handle(keyed(Msg.ADD))[0].errno == 0
    (refused,) = handlers.handle(Message(Msg.UPDATE, ESP, pid=7, extensions=keyless))
    assert refused.errno == errno.EEXIST
    assert handlers.handle(keyed(Msg.ADD, 0x2000, X_NEW_ADDRESS_DST=host(NEW)))[0].errno == errno.EOPNOTSUPP


@pytest.mark.parametrize("dialect", ["kame", "netbsd", "freebsd"])
def test_identities_come_in_pairs_of_one_type(dialect: str) -> None:
    handlers = serve(dialect)
    one, other = Identity(2, 0, "here.example"), Identity(3, 0, "me@there.example")
    wrongs: list[dict[str, Any]] = [
        {"IDENTITY_SRC": one},
        {"IDENTITY_DST": one},
        {"IDENTITY_SRC": one, "IDENTITY_DST": other},
    ]
    for parts in wrongs:
        assert handlers.handle(keyed(Msg.ADD, **parts))[0].errno == errno.EINVAL
    pair: dict[str, Any] = {"IDENTITY_SRC": one, "IDENTITY_DST": one}
    assert (
        handlers.handle(keyed(Msg.ADD, **pair, LIFETIME_HARD=Lifetime(), LIFETIME_SOFT=Lifetime()))[0].errno
        == 0
    )
