"""Scenarios written by hand about the SPD: policies, their ids, and tunnels that move.

No expectation enters. Answers to RFC 2367 §3.1, <linux/pfkeyv2.h>, the KAME extensions.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.pfkey.scenario import Copied, Scenario, Send, one
from interop.pfkey.words import (
    ESP,
    HOSTS,
    T,
    add,
    bare,
    changed,
    covered,
    end,
    limits,
    message,
    policy,
    request,
    spdadd,
    tunnel_sa,
    without,
)
from sallet.pfkey.messages import Request

_DUMP, _SPDDUMP = bare(T.DUMP), bare(T.X_SPDDUMP)
_SA, _SRC, _DST, _KEY_AUTH, _KEY_ENCRYPT, _POLICY = 1, 5, 6, 8, 9, 18


def policies() -> Iterator[Scenario]:
    """SPDADD and the others of the SPD."""
    yield one("spd: add, get, delete", spdadd(), _SPDDUMP, spdadd(kind=T.X_SPDDELETE), _SPDDUMP)
    yield one("spd: twice", spdadd(), spdadd(), spdadd(priority=5), _SPDDUMP)
    yield one(
        "spd: update absent and present",
        spdadd(kind=T.X_SPDUPDATE),
        spdadd(request(51), kind=T.X_SPDUPDATE),
        _SPDDUMP,
    )
    for direction in (0, 1, 2, 3, 4, 5, 255):
        yield one(f"spd: direction {direction}", spdadd(direction=direction), _SPDDUMP)
    for kind in (0, 1, 2, 3, 4, 5, 255, 65535):
        said = message(T.X_SPDADD, 0, **covered(), x_policy=policy(request(), kind=kind))
        empty = message(T.X_SPDADD, 0, **covered(6), x_policy=policy(kind=kind))
        yield one(f"spd: kind {kind}", said, empty, _SPDDUMP)
    for level in (0, 1, 2, 3, 4, 255):
        yield one(f"spd: level {level}", spdadd(request(level=level)), _SPDDUMP)
    for mode in (0, 1, 2, 3, 4, 5, 255):
        yield one(
            f"spd: mode {mode}", spdadd(request(mode=mode)), spdadd(request(mode=mode, version=4)), _SPDDUMP
        )
    for proto in (0, 4, 17, 41, 50, 51, 60, 108, 255):
        yield one(f"spd: protocol {proto}", spdadd(request(proto)), _SPDDUMP)
    for reqid in (0, 1, 5, 16383, 16384, 32767, 65536):
        yield one(f"spd: unique:{reqid}", spdadd(request(level=3, reqid=reqid)), _SPDDUMP)
        yield one(f"spd: require with id {reqid}", spdadd(request(reqid=reqid)), _SPDDUMP)


def requests() -> Iterator[Scenario]:
    """SPDADD with what it may ask for."""
    for count in (1, 2, 4, 5, 6, 7):
        yield one(f"spd: {count} requests", spdadd(*([request()] * count)), _SPDDUMP)
    yield one("spd: tunnel in tunnel", spdadd(request(51), request(50, 2, version=4)), _SPDDUMP)
    yield one("spd: tunnel of another family", spdadd(request(50, 2, version=6)), _SPDDUMP)
    yield one("spd: IPv6", spdadd(version=6), _SPDDUMP)
    for proto in (0, 1, 6, 17, 58, 255):
        for ports in ((0, 0), (1000, 53)):
            parts = covered(4, proto, ports)
            said = message(T.X_SPDADD, 0, **parts, x_policy=policy(request()))
            yield one(f"spd: upper protocol {proto}, ports {ports}", said, _SPDDUMP)
    yield one(
        "spd: protocols that differ",
        message(
            T.X_SPDADD,
            0,
            address_src=end("10.1.0.0", 0, 16, 6),
            address_dst=end("10.2.0.0", 0, 16, 17),
            x_policy=policy(request()),
        ),
        _SPDDUMP,
    )
    yield one(
        "spd: families that differ",
        message(
            T.X_SPDADD,
            0,
            address_src=end("10.1.0.0", 0, 16),
            address_dst=end("fd00::", 0, 16),
            x_policy=policy(request()),
        ),
        _SPDDUMP,
    )
    for prefix in (0, 1, 24, 31):
        parts = {"address_src": end("10.1.2.3", 0, prefix), "address_dst": end("10.2.3.4", 0, prefix)}
        yield one(
            f"spd: host bits behind a prefix of {prefix}",
            message(T.X_SPDADD, 0, **parts, x_policy=policy(request())),
            _SPDDUMP,
        )


def lists() -> Iterator[Scenario]:
    """Lifetimes, priorities, and what changes a list."""
    yield one(
        "spd: lifetimes",
        message(T.X_SPDADD, 0, **covered(), x_policy=policy(request()), lifetime_hard=limits(0, 0, 100, 50)),
        _SPDDUMP,
    )
    yield one(
        "spd: soft lifetimes, and counts",
        message(
            T.X_SPDADD,
            0,
            **covered(),
            x_policy=policy(request()),
            lifetime_hard=limits(5, 6, 100, 50),
            lifetime_soft=limits(3, 4, 80, 40),
        ),
        _SPDDUMP,
    )
    for priority in (1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        yield one(f"spd: priority {priority}", spdadd(priority=priority), _SPDDUMP)
    yield one(
        "spd: order of priorities",
        *(
            message(T.X_SPDADD, 0, **covered(4, 17, (0, port)), x_policy=policy(request(), priority=port))
            for port in (5, 3, 9, 1)
        ),
        _SPDDUMP,
    )
    for number in (_SRC, _DST, _POLICY):
        for kind in (T.X_SPDADD, T.X_SPDUPDATE, T.X_SPDDELETE):
            yield one(
                f"spd: {kind.name} without extension {number}", without(spdadd(kind=kind), number), _SPDDUMP
            )
    yield one("spd: an outbound tunnel of level use", spdadd(request(50, 2, 1, version=4)), _SPDDUMP)
    other = message(T.X_SPDADD, 0, **covered(6), x_policy=policy(request()))
    yield one("spd: update of the older of two", spdadd(), other, spdadd(kind=T.X_SPDUPDATE), _SPDDUMP)
    yield one("spd: delete absent", spdadd(kind=T.X_SPDDELETE))
    yield one("spd: delete of another direction", spdadd(), spdadd(kind=T.X_SPDDELETE, direction=1), _SPDDUMP)
    yield one("spd: delete says other requests", spdadd(), spdadd(request(51), kind=T.X_SPDDELETE), _SPDDUMP)
    yield one("spd: flush", bare(T.X_SPDFLUSH), spdadd(), bare(T.X_SPDFLUSH), bare(T.X_SPDFLUSH), _SPDDUMP)
    yield one(
        "spd: a type of association",
        *(changed(spdadd(), 0, 3, bytes((one,))) for one in (2, 3, 9, 77)),
        _SPDDUMP,
    )


def malformed() -> Iterator[Scenario]:
    """Requests that lie about their length or their family."""
    whole = spdadd(request(50, 2, version=4))
    at = 16
    for name, offset, value in (
        ("length 0", at, b"\0\0"),
        ("length 7", at, b"\7\0"),
        ("length 255", at, b"\xff\0"),
        ("length short", at, b"\x10\0"),
        ("family", at + 16, b"\x09\0"),
        ("second family", at + 32, b"\x0a\0"),
    ):
        yield one(f"spd: a request of {name}", changed(whole, _POLICY, offset, value), _SPDDUMP)
    yield one(
        "spd: setidx, acquire and expire from a program",
        *(spdadd(kind=kind) for kind in (T.X_SPDSETIDX, T.X_SPDACQUIRE, T.X_SPDEXPIRE)),
        _SPDDUMP,
    )


def spd_ids() -> Iterator[Scenario]:
    """SPDGET and SPDDELETE2."""
    for kind in (T.X_SPDGET, T.X_SPDDELETE2):
        by_id = message(kind, 0, x_policy=policy())
        copied = Copied(16 + 8, 0, "a", 0, _id_offset())
        yield Scenario(f"{kind.name}: by id", (Send(spdadd()), Send(by_id, copied=(copied,)), Send(_SPDDUMP)))
        inbound = message(kind, 0, x_policy=policy(direction=1))
        yield Scenario(
            f"{kind.name}: of another direction",
            (Send(spdadd()), Send(inbound, copied=(copied,)), Send(_SPDDUMP)),
        )
        for number in (0, 1, 2, 3, 7, 8, 0xFFFFFFFF):
            yield one(f"{kind.name}: id {number}", message(kind, 0, x_policy=policy(number=number)))
        for direction in (0, 3, 4, 6, 255):
            yield one(
                f"{kind.name}: direction {direction}",
                spdadd(),
                message(kind, 0, x_policy=policy(direction=direction)),
            )
        yield one(f"{kind.name}: without a policy", bare(kind))


def _id_offset() -> int:
    """Where the id of a policy stands in the answer to SPDADD of IPv4 addresses."""
    addresses, lifetimes = 2 * 24, 3 * 32
    return 16 + addresses + lifetimes + 8


def migrations() -> Iterator[Scenario]:
    """MIGRATE: a tunnel's ends move."""
    tunnel = spdadd(request(50, 2, version=4))
    moved = _migrate(4, ("10.1.0.1", "10.2.0.7"), ("10.1.0.1", "10.2.0.8"))
    sa_tunnel = add(x_sa2=tunnel_sa())
    yield one("migrate: a policy and its association", tunnel, sa_tunnel, moved, _SPDDUMP, _DUMP)
    yield one("migrate: a policy alone", tunnel, moved, _SPDDUMP)
    yield one("migrate: nothing there", moved)
    yield one("migrate: an association alone", sa_tunnel, moved, _DUMP)
    yield one(
        "migrate: to the same",
        tunnel,
        _migrate(4, ("10.1.0.1", "10.2.0.7"), ("10.1.0.1", "10.2.0.7")),
        _SPDDUMP,
    )
    yield one(
        "migrate: other ends",
        tunnel,
        _migrate(4, ("10.1.0.1", "10.2.0.9"), ("10.1.0.1", "10.2.0.8")),
        _SPDDUMP,
    )
    for number in (_SRC, _DST, _POLICY):
        yield one(f"migrate: without extension {number}", tunnel, without(moved, number), _SPDDUMP)
    for direction in (0, 1, 3, 4, 255):
        yield one(
            f"migrate: direction {direction}",
            tunnel,
            changed(moved, _POLICY, 6, bytes((direction,))),
            _SPDDUMP,
        )
    yield one("migrate: one request", tunnel, _migrate(4, ("10.1.0.1", "10.2.0.7")), _SPDDUMP)
    yield one(
        "migrate: to another family",
        tunnel,
        sa_tunnel,
        _migrate(4, ("10.1.0.1", "10.2.0.7"), HOSTS[6]),
        _SPDDUMP,
        _DUMP,
    )
    yield Scenario(
        "migrate: who hears", (Send(bare(T.REGISTER, ESP), "b"), Send(tunnel), Send(moved)), ("a", "b", "c")
    )
    odd = _migrate(4, ("10.1.0.1", "10.2.0.7"), ("10.1.0.1", "10.2.0.8"))
    for name, offset, value in (
        ("old source", 16 + 16, b"\x0a\0"),
        ("old destination", 16 + 32, b"\x0a\0"),
        ("new source", 16 + 48 + 16, b"\x0a\0"),
        ("new destination", 16 + 48 + 32, b"\x0a\0"),
    ):
        yield one(
            f"migrate: family of the {name} changed", tunnel, changed(odd, _POLICY, offset, value), _SPDDUMP
        )


def _migrate(version: int, *pairs: tuple[str, str]) -> bytes:
    requests = [Request(50, 2, 2, 0, end(first), end(second)) for first, second in pairs]
    return message(T.X_MIGRATE, 0, **covered(version), x_policy=policy(*requests))


PARTS = (policies, requests, lists, malformed, spd_ids, migrations)
"""Every part of this file."""
