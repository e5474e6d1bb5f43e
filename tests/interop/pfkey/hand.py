"""Scenarios written by hand: what programs do, and what they should not, one message type after the other.

No expectation enters. Answers to RFC 2367 §3.1, <linux/pfkeyv2.h>, the KAME extensions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from interop.pfkey import hand_sockets, hand_spd
from interop.pfkey.scenario import Close, Copied, Datagram, Scenario, Send, Wait, one
from interop.pfkey.words import (
    AH,
    ESP,
    HOSTS,
    IPCOMP,
    T,
    add,
    bare,
    changed,
    end,
    ends,
    getspi,
    key,
    keys,
    limits,
    message,
    named,
    relength,
    request,
    sa,
    spdadd,
    tunnel_sa,
    twice,
    with_extension,
    without,
)
from sallet.pfkey.messages import Identity, Lifetime, NatPort, NatType

_DUMP, _SPDDUMP = bare(T.DUMP), bare(T.X_SPDDUMP)
_SA, _SRC, _DST, _KEY_AUTH, _KEY_ENCRYPT, _POLICY = 1, 5, 6, 8, 9, 18


def every() -> list[Scenario]:
    """Give all of them."""
    parts = (
        *(headers, adds, algorithms, fields, addresses, updates, larval, questions, listeners, nat, events),
        *hand_spd.PARTS,
        *hand_sockets.PARTS,
    )
    return [scenario for part in parts for scenario in part()]


def headers() -> Iterator[Scenario]:
    """Headers that lie, and messages that only a kernel sends."""
    for version in (0, 1, 3, 255):
        yield one(f"header: version {version}", bare(T.DUMP, version=version))
    yield one("header: types beyond the last", *(bare(kind) for kind in (0, 25, 26, 100, 255)))
    yield one("header: every type without extensions", *(bare(kind) for kind in range(1, 25)))
    yield one("header: every type of ESP without extensions", *(bare(kind, ESP) for kind in range(1, 25)))
    yield one("header: an errno in a request", bare(T.DUMP, errno=5), bare(T.FLUSH, errno=5))
    yield one("header: length shorter and longer", relength(_DUMP, 1), relength(_DUMP, 3), relength(_DUMP, 0))
    yield one("header: cut in the middle", _DUMP[:8], _DUMP[:15], _DUMP + bytes(4))
    for kind in (T.GETSPI, T.ADD, T.GET, T.DELETE, T.FLUSH, T.DUMP, T.REGISTER, T.X_SPDDUMP, T.X_SPDFLUSH):
        types = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 64, 255)
        word = "random SPIs, " if kind is T.GETSPI else ""
        yield one(f"header: {word}{kind.name} of many types", *(_of_type(kind, satype) for satype in types))


def _of_type(kind: int, satype: int) -> bytes:
    if kind in (T.GETSPI, T.ADD, T.GET, T.DELETE):
        return changed(add(kind=T(kind)), 0, 3, bytes((satype,)))
    return bare(kind, satype)


_KEY_OCTETS = {2: 16, 3: 20, 5: 32, 6: 48, 7: 64, 8: 20, 9: 16}
_CIPHER_OCTETS = {2: 8, 3: 24, 13: 20}


def adds() -> Iterator[Scenario]:
    """ADD, well and badly."""
    for satype in (AH, ESP, IPCOMP):
        for version in (4, 6):
            spi = 0x1234 if satype == IPCOMP else 0x12345
            yield one(
                f"add: type {satype}, IPv{version}",
                add(satype, spi, version),
                named(T.GET, satype, spi, version),
                _DUMP,
                named(T.DELETE, satype, spi, version),
                named(T.GET, satype, spi, version),
            )
    for number in (_SA, _SRC, _DST, _KEY_AUTH, _KEY_ENCRYPT):
        yield one(f"add: without extension {number}", without(add(), number), _DUMP)
        yield one(f"add: extension {number} twice", twice(add(), number), _DUMP)


def algorithms() -> Iterator[Scenario]:
    """ADD with every number of an algorithm, and with keys of many lengths."""
    for auth in range(16):
        fitting: dict[str, Any] = {"key_auth": key(_KEY_OCTETS.get(auth, 16))}
        yield one(f"add: AH {auth}", add(AH, sa=sa(AH, auth=auth), **fitting), _DUMP)
        yield one(f"add: ESP with authentication {auth}", add(sa=sa(auth=auth), **fitting), _DUMP)
    for encrypt in (*range(24), 252, 253):
        fitting = {"key_encrypt": key(_CIPHER_OCTETS.get(encrypt, 16), 3)}
        yield one(f"add: encryption {encrypt}", add(sa=sa(encrypt=encrypt), **fitting), _DUMP)
    yield one("add: no encryption", without(add(sa=sa(encrypt=11)), 9), _DUMP)
    yield one("add: a reserved field", changed(add(), 0, 6, b"\1\0"), changed(bare(T.DUMP), 0, 6, b"\0\1"))
    yield one("add: AH with two keys", changed(add(), 0, 3, bytes((AH,))), _DUMP)
    for size in (0, 4, 8, 16, 20, 24, 32, 64):
        yield one(f"add: an encryption key of {size} octets", add(key_encrypt=key(size)), _DUMP)
        yield one(f"add: an authentication key of {size} octets", add(key_auth=key(size)), _DUMP)
    yield one("add: key bits that are no octets", changed(add(), _KEY_AUTH, 4, struct.pack("=H", 159)), _DUMP)
    yield one("add: key bits beyond the key", changed(add(), _KEY_AUTH, 4, struct.pack("=H", 161)), _DUMP)


def fields() -> Iterator[Scenario]:
    """ADD with every field at its edges."""
    for window in (0, 1, 4, 31, 32, 33, 64, 255):
        yield one(f"add: window {window}", add(sa=sa(replay=window)), _DUMP)
    for flags in (0, 1, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x20000000, 0x40000000, 0x80000000, 0xFFFFFFFF):
        yield one(f"add: flags {flags:#x}", add(sa=sa(flags=flags)), _DUMP)
    for state in (0, 1, 2, 3, 4, 255):
        yield one(f"add: state {state}", add(sa=sa(state=state)), _DUMP)
    for spi in (0, 1, 255, 256, 0xFFFFFFFF):
        yield one(f"add: SPI {spi}", add(spi=spi), named(T.GET, spi=spi), _DUMP)
    for mode in (0, 1, 2, 3, 255):
        yield one(f"add: mode {mode}", add(x_sa2=tunnel_sa(7, mode)), _DUMP)
    for reqid in (0, 1, 16383, 16384, 65536, 0xFFFFFFFF):
        yield one(f"add: request id {reqid}", add(x_sa2=tunnel_sa(reqid)), _DUMP)
    yield one(
        "add: lifetimes", add(lifetime_hard=limits(10, 1000, 60, 30), lifetime_soft=limits(8, 800)), _DUMP
    )
    yield one("add: a hard lifetime alone", add(lifetime_hard=limits(0, 1 << 40)), _DUMP)
    yield one("add: a soft lifetime alone", add(lifetime_soft=limits(0, 1 << 40)), _DUMP)
    yield one("add: both lifetimes", add(lifetime_soft=limits(0, 5), lifetime_hard=limits(0, 0, 50)), _DUMP)
    yield one("add: soft beyond hard", add(lifetime_hard=limits(5), lifetime_soft=limits(50)), _DUMP)
    yield one("add: a current lifetime", add(lifetime_current=Lifetime(5, 6, 7, 8)), _DUMP)


def addresses() -> Iterator[Scenario]:
    """ADD with addresses and extensions of many kinds."""
    yield one("add: one SPI for three types", add(AH), add(ESP), add(IPCOMP), _DUMP)
    yield one("add: one SPI to two hosts", add(), add(address_dst=end("10.2.0.8")), _DUMP)
    yield one("add: one SPI from two hosts", add(), add(address_src=end("10.1.0.9")), _DUMP)
    yield one("add: ports and prefixes in addresses", add(address_src=end("10.1.0.1", 500, 24, 17)), _DUMP)
    yield one("add: addresses of two families", add(address_dst=end(HOSTS[6][1])), _DUMP)
    yield one(
        "add: addresses that are none", add(address_src=end("0.0.0.0")), add(address_dst=end("224.0.0.1"))
    )
    yield one("add: a prefix too long", changed(add(), _SRC, 5, b"\x21"), changed(add(), _SRC, 5, b"\xff"))
    for family in (0, 1, 16, 255):
        wrong = struct.pack("=H", family)
        yield one(f"add: family {family}", changed(add(), _SRC, 8, wrong), changed(add(), _DST, 8, wrong))
    yield one("add: compression 1 and 3", *(add(IPCOMP, sa=sa(IPCOMP, encrypt=one)) for one in (0, 1, 3, 4)))
    yield one("add: a CPI of 32 bits", add(IPCOMP, 0x12345), _DUMP)
    yield one("add: IPComp with keys", add(IPCOMP, 0x1234, **keys(ESP)), _DUMP)
    yield one("add: AH with a cipher", add(AH, sa=sa(AH, encrypt=12), **keys(ESP)), _DUMP)
    yield one("add: an extension unknown", with_extension(add(), 27, bytes(4)), _DUMP)
    yield one("add: an extension of number 0", with_extension(add(), 0, bytes(4)), _DUMP)
    yield one("add: an extension of length 0", with_extension(add(), 20, bytes(4), 0), _DUMP)
    yield one("add: an extension too long", with_extension(add(), 20, bytes(4), 9), _DUMP)
    yield one("add: an SA of another size", with_extension(without(add(), _SA), _SA, bytes(20)), _DUMP)
    yield one("add: identities", add(**_identities()), _DUMP)
    yield one("add: a proxy", add(address_proxy=end("10.9.0.0", 0, 16)), _DUMP)


def _identities() -> dict[str, Any]:
    return {"identity_src": Identity(2, 1, "here.example"), "identity_dst": Identity(2, 1, "there.example")}


def updates() -> Iterator[Scenario]:
    """UPDATE of what lives, and of what does not."""
    update = T.UPDATE
    yield one("update: absent", add(kind=update), _DUMP)
    yield one("update: the same", add(), add(kind=update), _DUMP)
    yield one("update: new keys", add(), add(kind=update, key_auth=key(20, 9)), _DUMP)
    yield one(
        "update: lifetimes",
        add(),
        add(kind=update, lifetime_hard=limits(9, 9, 9, 9), lifetime_soft=limits(8, 8, 8, 8)),
        _DUMP,
    )
    yield one("update: a hard lifetime alone", add(), add(kind=update, lifetime_hard=limits(9)), _DUMP)
    yield one(
        "update: lifetimes taken away",
        add(lifetime_hard=limits(9), lifetime_soft=limits(8)),
        add(kind=update),
        _DUMP,
    )
    yield one("update: without keys", add(), without(without(add(kind=update), 8), 9), _DUMP)
    yield one("update: window", add(), add(kind=update, sa=sa(replay=32)), _DUMP)
    yield one("update: flags", add(), add(kind=update, sa=sa(flags=0x80000000)), _DUMP)
    yield one("update: mode and id", add(), add(kind=update, x_sa2=tunnel_sa(5)), _DUMP)
    yield one("update: another source", add(), add(kind=update, address_src=end("10.1.0.9")), _DUMP)
    yield one(
        "update: another algorithm", add(), add(kind=update, sa=sa(encrypt=3), key_encrypt=key(24)), _DUMP
    )
    yield one(
        "update: state", add(), add(kind=update, sa=sa(state=2)), add(kind=update, sa=sa(state=0)), _DUMP
    )
    yield one("update: by another pid", add(), changed(add(kind=update), 0, 12, struct.pack("=I", 99)), _DUMP)


def larval() -> Iterator[Scenario]:
    """GETSPI and what follows it."""
    for satype, first, last in ((ESP, 0x500, 0x500), (AH, 0x600, 0x600), (IPCOMP, 0x700, 0x700)):
        yield one(
            f"getspi: type {satype}, an SPI asked for",
            getspi(satype, first, last),
            _DUMP,
            named(T.GET, satype, first),
            add(satype, first, kind=T.UPDATE),
            _DUMP,
        )
    yield one(
        "getspi: random choice, taken",
        add(spi=0x500),
        getspi(ESP, 0x500, 0x500),
        getspi(ESP, 0x500, 0x501),
        _DUMP,
    )
    yield one("getspi: random choice of two", *([getspi(ESP, 0x500, 0x501)] * 3))
    yield one("getspi: upside down", getspi(ESP, 0x501, 0x500))
    yield one("getspi: below 256", getspi(ESP, 0, 0), getspi(ESP, 5, 5), getspi(ESP, 255, 255), _DUMP)
    yield one("getspi: random, without a range", message(T.GETSPI, ESP, **ends()), _DUMP)
    yield one("getspi: a CPI beyond 16 bits", getspi(IPCOMP, 0x10000, 0x20000))
    yield one("getspi: mode and id", getspi(ESP, 0x500, 0x500, x_sa2=tunnel_sa(9)), _DUMP)
    yield one("getspi: IPv6", getspi(ESP, 0x500, 0x500, 6), _DUMP)
    for number in (_SRC, _DST, 16):
        yield one(f"getspi: random, without extension {number}", without(getspi(ESP, 0x500, 0x500), number))
    yield one("getspi: deleted", getspi(ESP, 0x500, 0x500), named(T.DELETE, ESP, 0x500), _DUMP)
    yield one("getspi: flushed", getspi(ESP, 0x500, 0x500), bare(T.FLUSH), _DUMP)
    yield one("getspi: then ADD", getspi(ESP, 0x500, 0x500), add(spi=0x500), _DUMP)
    yield one("getspi: the same seq again", getspi(ESP, 0x500, 0x500), getspi(ESP, 0x500, 0x500))
    yield Scenario(
        "getspi: random, then UPDATE of what was given",
        (
            Send(getspi(ESP, 0x1000, 0x9000)),
            Send(add(kind=T.UPDATE), copied=(Copied(20, 0, "a", 0, 20),)),
            Send(_DUMP),
        ),
    )


def questions() -> Iterator[Scenario]:
    """GET, DELETE, DUMP, FLUSH."""
    for kind in (T.GET, T.DELETE):
        yield one(f"{kind.name}: absent", named(kind))
        yield one(f"{kind.name}: another source", add(), changed(named(kind), _SRC, 12, b"\x0a\x01\x00\x63"))
        yield one(
            f"{kind.name}: another destination", add(), changed(named(kind), _DST, 12, b"\x0a\x02\x00\x63")
        )
        for number in (_SA, _SRC, _DST):
            yield one(f"{kind.name}: without extension {number}", add(), without(named(kind), number), _DUMP)
        yield one(f"{kind.name}: of another type", add(), named(kind, AH), _DUMP)
        yield one(f"{kind.name}: a whole ADD", add(), add(kind=kind), _DUMP)
    yield one("delete: twice", add(), named(T.DELETE), named(T.DELETE))
    yield one("dump: empty", _DUMP, _SPDDUMP)
    three = (add(AH, 0x100), add(ESP, 0x200), add(IPCOMP, 0x300), add(ESP, 0x400, 6))
    for satype in (0, AH, ESP, IPCOMP):
        yield one(f"dump: of type {satype}", *three, bare(T.DUMP, satype))
        yield one(f"flush: of type {satype}", *three, bare(T.FLUSH, satype), bare(T.FLUSH, satype), _DUMP)
    yield one("dump: many", *(add(ESP, 0x1000 + n) for n in range(40)), _DUMP)
    yield one("dump: seq and pid", add(), bare(T.DUMP, seq=0), bare(T.DUMP, seq=99))
    for filtered in (
        (4, 32, 32),
        (4, 0, 0),
        (4, 33, 0),
        (4, 0, 33),
        (6, 128, 128),
        (6, 129, 0),
        (0, 0, 0),
        (4, 24, 255),
    ):
        yield one(f"dump: filter {filtered}", add(), add(version=6), _filter(*filtered))


def _filter(version: int, source: int, destination: int) -> bytes:
    """A DUMP of those between addresses: `struct sadb_x_filter`."""
    here, there = HOSTS[version or 4]
    packed = [end(text).address.packed.ljust(16, b"\0") for text in (here, there)]
    family = {4: 2, 6: 10, 0: 77}[version]
    body = packed[0] + packed[1] + struct.pack("=HBB", family, source, destination)
    return with_extension(_DUMP, 26, body)


def listeners() -> Iterator[Scenario]:
    """REGISTER, X_PROMISC, who hears what."""
    for satype in (0, 1, AH, ESP, 5, IPCOMP, 10, 255):
        yield one(f"register: type {satype}", bare(T.REGISTER, satype), bare(T.REGISTER, satype))
    yield one("register: with extensions", relength(bare(T.REGISTER, ESP) + add()[16:]))
    pair = ("a", "b", "c")
    work = (
        add(),
        add(kind=T.UPDATE),
        named(T.GET),
        _DUMP,
        spdadd(),
        _SPDDUMP,
        named(T.DELETE),
        add(),
        bare(T.FLUSH),
        bare(T.X_SPDFLUSH),
        bare(T.X_SPDFLUSH),
        getspi(ESP, 0x500, 0x500),
        named(T.GET, spi=5),
    )
    yield Scenario(
        "listeners: three sockets, two registered",
        (Send(bare(T.REGISTER, ESP), "b"), Send(bare(T.REGISTER, AH), "c"), *(Send(one) for one in work)),
        pair,
    )
    yield Scenario(
        "promisc: everything is heard once more",
        (
            Send(bare(T.X_PROMISC, 1), "b"),
            *(Send(one) for one in work),
            Send(bare(T.X_PROMISC, 0), "b"),
            Send(add(spi=0x77)),
        ),
        pair,
    )
    yield Scenario(
        "promisc: the sender itself",
        (Send(bare(T.X_PROMISC, 1)), *(Send(one) for one in work)),
        ("a", "b"),
    )
    yield one("promisc: types", *(bare(T.X_PROMISC, satype) for satype in (0, 1, 2, 255)))
    yield one("promisc: twice on, twice off", *(bare(T.X_PROMISC, satype) for satype in (1, 1, 0, 0)), _DUMP)
    yield one(
        "promisc: with a message inside",
        relength(bare(T.X_PROMISC, 1) + _DUMP),
        relength(bare(T.X_PROMISC, 0) + add()),
    )
    yield Scenario(
        "listeners: a socket that was closed",
        (Send(bare(T.REGISTER, ESP), "b"), Close("b"), Send(add()), Send(bare(T.REGISTER, ESP))),
        ("a", "b"),
    )
    yield one("pchange: any", bare(T.X_PCHANGE, ESP), relength(bare(T.X_PCHANGE) + add()[16:]))
    yield one("expire: from a program", bare(T.EXPIRE, ESP), add(kind=T.EXPIRE))
    yield one(
        "acquire: from a program", bare(T.ACQUIRE, ESP, errno=1), bare(T.ACQUIRE, ESP), add(kind=T.ACQUIRE)
    )
    yield one("mapping: from a program", bare(T.X_NAT_T_NEW_MAPPING, ESP), add(kind=T.X_NAT_T_NEW_MAPPING))


def nat() -> Iterator[Scenario]:
    """ESP in UDP."""

    def encap(kind: int = 2, sport: int = 4500, dport: int = 4501, **more: Any) -> dict[str, Any]:
        return {
            "x_nat_t_type": NatType(kind),
            "x_nat_t_sport": NatPort(sport),
            "x_nat_t_dport": NatPort(dport),
            **more,
        }

    whole = add(**encap())
    yield one("nat: whole", whole, named(T.GET), _DUMP, named(T.DELETE))
    for kind in (0, 1, 2, 3, 255):
        yield one(f"nat: type {kind}", add(**encap(kind)), _DUMP)
    yield one("nat: ports 0", add(**encap(2, 0, 4500)), add(spi=2000, **encap(2, 4500, 0)), _DUMP)
    for number in (20, 21, 22):
        yield one(f"nat: without extension {number}", without(whole, number), _DUMP)
    yield one("nat: original address", add(**encap(x_nat_t_oai=end("192.168.0.1"))), _DUMP)
    yield one("nat: AH and IPComp", add(AH, **encap()), add(IPCOMP, **encap()), _DUMP)
    yield one("nat: IPv6", add(version=6, **encap()), _DUMP)
    yield one("nat: a port changed", whole, add(kind=T.UPDATE, **encap(2, 4500, 4600)), _DUMP)
    yield one("nat: taken away", whole, add(kind=T.UPDATE), _DUMP)
    yield one("nat: put on", add(), add(kind=T.UPDATE, **encap()), _DUMP)


def events() -> Iterator[Scenario]:
    """ACQUIRE, EXPIRE."""
    here, there = (HOSTS[4][0], 1000), (HOSTS[4][1], 2000)
    yield Scenario(
        "acquire: a datagram without an association",
        (Send(bare(T.REGISTER, ESP), "b"), Send(spdadd()), Datagram(here, there), Datagram(here, there)),
        ("a", "b"),
    )
    yield Scenario(
        "acquire: AH in tunnel mode, unique",
        (
            Send(bare(T.REGISTER, AH)),
            Send(spdadd(request(51, 2, 3, 77, version=4))),
            Datagram(here, there),
            Send(_DUMP),
        ),
    )
    yield Scenario(
        "acquire: nobody is registered", (Send(spdadd()), Datagram(here, there), Send(_DUMP)), ("a", "b")
    )
    soft = add(lifetime_soft=limits(1), lifetime_hard=limits(3), x_sa2=tunnel_sa(0, 1))
    yield Scenario(
        "expire: by packets",
        (
            Send(bare(T.REGISTER, ESP), "b"),
            Send(spdadd()),
            Send(soft),
            *([Datagram(here, there)] * 4),
            Send(_DUMP),
        ),
        ("a", "b"),
    )
    octets = add(lifetime_soft=limits(0, 10), lifetime_hard=limits(0, 400), x_sa2=tunnel_sa(0, 1))
    yield Scenario(
        "expire: by octets",
        (
            Send(bare(T.REGISTER, ESP)),
            Send(spdadd()),
            Send(octets),
            *([Datagram(here, there)] * 8),
            Send(_DUMP),
        ),
        ("a", "b"),
    )
    timed = add(lifetime_soft=limits(0, 0, 1), lifetime_hard=limits(0, 0, 2))
    yield Scenario(
        "expire: by time",
        (Send(bare(T.REGISTER, ESP)), Send(timed), Wait(1.5), Wait(1.3), Send(_DUMP)),
        ("a", "b"),
    )
