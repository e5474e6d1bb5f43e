"""Sends packets through the guard's real nft table and compares their fate with the engine's verdict.

Runs as root of a network namespace of its own; no pytest here, `test_guard_agrees.py` starts it.
Answers to: design "host mode", Never two opinions.

The bench is three TUN devices: packets arrive on `wire0`, the main route leaves by `lan0`, the marked table
leads to `sallet0`, where the engine would be. Programs are raw sockets, to and from prefixes local here.
"""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from sallet import _core
from sallet.attach import devices
from sallet.attach.clauses import GuardConfig
from sallet.attach.guard import MARK_MASK, ROUTE_MARK, compile_guard
from sallet.attach.socket_maps import DIRECTIONS as SOCKET_DIRECTIONS
from sallet.attach.socket_maps import PROTOCOLS as SOCKET_PROTOCOLS
from sallet.attach.socket_maps import Direction, Flow, Maps
from sallet.attach.table import GuardTable
from sallet.pcb.policies import NotTaken, SocketPolicy
from sallet.pcb.table import Pcb, SocketTable

Address = IPv4Address | IPv6Address
MARK_TABLE = 5300
LATE_SECS = 0.3
"""How long an expected packet may take; what must not pass is looked for once more at the end of each SPD."""

POOLS: dict[tuple[str, int], list[str]] = {
    ("local", 4): ["10.1.0.1", "10.1.0.2", "10.1.0.9", "10.1.7.1", "10.1.255.254"],
    ("remote", 4): ["10.2.0.1", "10.2.0.2", "10.2.3.4", "10.9.0.1", "198.51.100.7"],
    ("beyond", 4): ["10.3.0.1", "10.3.0.2", "10.2.0.77", "203.0.113.9"],
    ("local", 6): ["fd01::1", "fd01::2", "fd01:0:7::1", "fd01::ffff"],
    ("remote", 6): ["fd02::1", "fd02::2", "fd02:3::4", "2001:db8::7"],
    ("beyond", 6): ["fd03::1", "fd03::2", "fd02::77", "2001:db8:9::9"],
}
LOCAL = {4: "10.1.0.0/16", 6: "fd01::/32"}
PROTOCOLS = (6, 17, 1, 58, 132, 136, 33, 135, 47, 89)
PORTS = (22, 53, 80, 443, 500, 8080)
TYPES = (0, 3, 8, 11, 128, 129, 133, 135, 136, 137, 138, 4)
CODES = (0, 1, 3, 4)


@dataclass(frozen=True)
class Probe:
    """One packet: its bytes, what is seen of it, and where it is sent from."""

    direction: str
    packet: bytes
    key: tuple[bytes, bytes, int]
    fragments: tuple[bytes, ...]


# Packets


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport(rng: random.Random, protocol: int, source: Address, destination: Address, tag: bytes) -> bytes:
    pseudo = source.packed + destination.packed
    ports = struct.pack("!HH", rng.choice((*PORTS, 40000)), rng.choice((*PORTS, 40000)))
    if protocol == 6:
        return ports + struct.pack("!IIBBHHH", 1, 0, 0x50, rng.choice((2, 0x10, 0x12, 4)), 1000, 0, 0) + tag
    if protocol == 17:
        return ports + struct.pack("!HH", 8 + len(tag), 0 if source.version == 4 else 0xFFFF) + tag
    if protocol in (1, 58):
        # What an error quotes is no IPsec packet: the guard keeps the kernel from complaining of those.
        tag = tag[:6] + bytes([17]) + tag[7:9] + bytes([17]) + tag[10:]
        body = bytes((rng.choice(TYPES), rng.choice(CODES), 0, 0)) + bytes(4) + tag
        head = struct.pack("!II", len(body), 58) if protocol == 58 else b""
        total = checksum((pseudo + head if protocol == 58 else b"") + body)
        return body[:2] + struct.pack("!H", total) + body[4:]
    if protocol == 135:
        return struct.pack("!BBBBHH", 59, 1, rng.choice((0, 1, 5)), 0, 0, 0) + bytes(8) + tag
    if protocol in (132, 136, 33):
        return ports + bytes(12) + tag
    return bytes(8) + tag


def whole(rng: random.Random, source: Address, destination: Address, protocol: int, body: bytes) -> bytes:
    if source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
        return head + source.packed + destination.packed + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), rng.randrange(1, 65536), 0, 64, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def cut(rng: random.Random, packet: bytes) -> tuple[bytes, ...]:
    """Cut a packet into two fragments; the first holds the whole transport header (RFC 7112 asks it)."""
    if packet[0] >> 4 == 4:
        body = packet[20:]
        pieces = []
        for offset, more, part in ((0, 0x2000, body[:24]), (24, 0, body[24:])):
            head = packet[:2] + struct.pack("!H", 20 + len(part)) + packet[4:6]
            head += struct.pack("!H", more | offset >> 3) + packet[8:10] + b"\0\0" + packet[12:20]
            pieces.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + part)
        return tuple(pieces)
    body, number = packet[40:], rng.randrange(1 << 32)
    pieces = []
    for offset, more, part in ((0, 1, body[:24]), (24, 0, body[24:])):
        head = packet[:4] + struct.pack("!HBB", 8 + len(part), 44, 64) + packet[8:40]
        pieces.append(head + struct.pack("!BBHI", packet[6], 0, offset | more, number) + part)
    return tuple(pieces)


def seen_key(packet: bytes) -> tuple[bytes, bytes, int] | None:
    """Read addresses and upper-layer protocol, as they are in a whole packet and in a fragment."""
    if packet[0] >> 4 == 4 and len(packet) >= 20:
        return packet[12:16], packet[16:20], packet[9]
    if packet[0] >> 4 == 6 and len(packet) > 40:
        return packet[8:24], packet[24:40], packet[40] if packet[6] == 44 else packet[6]
    return None


def make_probe(rng: random.Random, number: int) -> Probe:
    family = rng.choice((4, 6))
    direction = rng.choice(("out", "in", "fwd"))
    places = {"out": ("local", "remote"), "in": ("remote", "local"), "fwd": ("remote", "beyond")}[direction]
    source, destination = (ipaddress.ip_address(rng.choice(POOLS[place, family])) for place in places)
    protocol = rng.choice(PROTOCOLS[:4] * 2 + PROTOCOLS)
    if (protocol == 135 and family == 6 and direction == "in") or (protocol == 58 and family == 4):
        protocol = 17  # The kernel's own checks of mobility headers are not what is tested here.
    body = transport(rng, protocol, source, destination, rng.randbytes(32))
    if direction != "in" and rng.random() < 0.05:
        body = body[:2]  # The header is cut short: the ports are OPAQUE.
    packet = whole(rng, source, destination, protocol, body)
    fragments: tuple[bytes, ...] = (packet,)
    # Neighbour discovery may not come in fragments (RFC 6980), so what becomes of those is nobody's promise.
    discovery = protocol == 58 and 133 <= body[0] <= 137
    if direction != "out" and len(body) > 24 and not discovery and rng.random() < 0.15:
        fragments = cut(rng, packet)
    return Probe(direction, packet, (source.packed, destination.packed, protocol), fragments)


# Policies


def address_range(rng: random.Random, family: int, places: tuple[str, ...]) -> str | tuple[str, str]:
    bits = 32 if family == 4 else 128
    address = rng.choice(POOLS[rng.choice(places), family])
    kind = rng.random()
    if kind < 0.2:
        return f"{'0.0.0.0' if family == 4 else '::'}/0"
    if kind < 0.35:
        base = int(ipaddress.ip_address(address))
        make = IPv4Address if family == 4 else IPv6Address
        return str(make(max(0, base - rng.randrange(4)))), str(make(base + rng.randrange(300)))
    lengths = (8, 14, 16, 23, 24, 29, 31, 32) if family == 4 else (16, 31, 32, 48, 64, 112, 127, 128)
    prefix = ipaddress.ip_network(f"{address}/{rng.choice((*lengths, bits, bits))}", strict=False)
    return str(prefix)


def ports(rng: random.Random, choices: tuple[int, ...]) -> tuple[int, int]:
    kind = rng.random()
    if kind < 0.45:
        return 0, 65535
    first = rng.choice(choices)
    return (first, first) if kind < 0.8 else (first, min(65535, first + rng.randrange(1, 500)))


def make_policy(rng: random.Random) -> _core.PolicyParams:
    family = rng.choice((4, 6))
    direction = rng.choice(("out", "in", "in", "fwd"))
    near, far = ("local", "beyond"), ("remote", "remote", "beyond")
    ends = (near, far) if direction == "out" else (far, near)
    next_layer = rng.choice((None, None, 6, 17, 1 if family == 4 else 58, rng.choice(PROTOCOLS)))
    typed = next_layer in (1, 58, 135)
    anything = next_layer is None and rng.random() < 0.7
    selector = _core.Selector(
        address_range(rng, family, ends[0]),
        address_range(rng, family, ends[1]),
        next_layer,
        (0, 65535) if anything else ports(rng, TYPES if typed else (*PORTS, 0, 3)),
        (0, 65535) if anything else ports(rng, CODES if typed else (*PORTS, 0, 3)),
    )
    action = rng.choice(("bypass", "discard", "protect", "protect"))
    templates = []
    if action == "protect":
        for _ in range(rng.choice((1, 1, 2))):
            templates.append(make_template(rng, family))
    return _core.PolicyParams(
        direction,
        selector,
        action,
        templates,
        priority=rng.choice((1, 5, 5, 9)),
        judges_forwarded=direction == "in" and rng.random() < 0.5,
    )


def make_socket(rng: random.Random) -> Pcb:
    """Make a socket with policies, as its program could have made it; the probes use such ports."""
    family = rng.choice((4, 6))
    local, remote = (ipaddress.ip_address(rng.choice(POOLS[place, family])) for place in ("local", "remote"))
    connected = rng.random() < 0.5
    flow = Flow(
        family,
        rng.choice(SOCKET_PROTOCOLS),
        rng.choice((None, local)),
        rng.choice((*PORTS, 40000)),
        remote if connected else None,
        rng.choice((*PORTS, 40000)) if connected else 0,
    )
    policies: dict[Direction, SocketPolicy] = {}
    for direction in SOCKET_DIRECTIONS:
        action = rng.choice(("entrust", "bypass", "protect", "protect"))
        templates = (make_template(rng, family),) if action == "protect" else ()
        if action != "entrust":
            policies[direction] = SocketPolicy(direction, action, templates, b"")
    return Pcb(rng.getrandbits(64), 0, policies, (flow,))


def make_template(rng: random.Random, family: int) -> _core.Template:
    level = rng.choice(("default", "use", "require", "unique"))
    mode = rng.choice(("transport", "tunnel"))
    pair = POOLS["local", family][0], POOLS["remote", family][0]
    return _core.Template(
        rng.choice(("esp", "ah")),
        mode,
        level,
        reqid=7 if level == "unique" else 0,
        endpoints=pair if mode == "tunnel" else None,
    )


def make_engine(rng: random.Random, bench: Bench) -> _core.Engine:
    engine = _core.Engine(seed=rng.randbytes(32), clock="manual")
    engine.configure("default_policy", rng.choice(("bypass", "bypass", "discard")))
    for protocol in ("esp", "ah"):
        for mode in ("transport", "tunnel"):
            engine.configure(f"{protocol}_{mode}_level", rng.choice(("use", "require")))
    engine.configure("local", [(net[0], net[-1]) for net in map(ipaddress.ip_network, LOCAL.values())])
    table = bench.sockets(engine)
    for _ in range(rng.choice((0, 0, rng.randrange(1, 40)))):
        with suppress(NotTaken):
            table.put(make_socket(rng))
        if rng.random() < 0.3:
            table.commit()
    table.commit()
    for _ in range(rng.randrange(1, 26)):
        try:
            engine.spd_add(make_policy(rng))
        except _core.EngineError as error:
            if error.kind != "exists":
                raise
        if rng.random() < 0.1:
            bench.load(engine)  # The table is to be right after any number of changes.
    for spi in range(rng.randrange(3)):
        family = rng.choice((4, 6))
        engine.sad_add(
            _core.SaParams(
                spi=0x1000 + spi,
                protocol="esp",
                source=rng.choice(POOLS["local", family][:2]),
                destination=rng.choice(POOLS["remote", family][:2]),
                mode="any",
                encryption=("aes-gcm-16", bytes(20)),
            )
        )
    return engine


# The bench


class Bench:
    """The three devices, the raw sockets, and the guard's table between them."""

    def __init__(self) -> None:
        self.wire, self.lan, self.engine = (open_tun(name) for name in ("wire0", "lan0", "sallet0"))
        shell("ip link set lo up")
        for name in ("wire0", "lan0", "sallet0"):
            setting(f"net/ipv6/conf/{name}/addr_gen_mode", "1")
            setting(f"net/ipv4/conf/{name}/send_redirects", "0")
            shell(f"ip link set {name} up")
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            setting(f"net/{name}", "1")
        for family, local in LOCAL.items():
            ip = f"ip -{family}"
            shell(f"{ip} route add local {local} dev lo")
            shell(f"{ip} route add default dev lan0")
            shell(f"{ip} route add default dev sallet0 table {MARK_TABLE} metric 10")
            shell(f"{ip} route add blackhole default table {MARK_TABLE} metric 1000")
            shell(f"{ip} rule add fwmark {ROUTE_MARK}/{MARK_MASK} lookup {MARK_TABLE} pref 530")
        self.maps: Maps = {}
        self.table = GuardTable("sallet_probe", devices.apply_nft, devices.nft_tables, devices.nft_counters)
        self.sender4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.sender6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.programs = {
            (family, protocol): raw_socket(family, protocol)
            for family in (4, 6)
            for protocol in PROTOCOLS
            if (family, protocol) != (6, 135)
        }

    def load(self, engine: _core.Engine) -> None:
        self.table.change(replace(compile_guard(engine.spd_dump(), guard_config(engine)), maps=self.maps))

    def sockets(self, engine: _core.Engine) -> SocketTable:
        """Give an engine sockets with policies; those of the engine before are gone."""

        def follow(maps: Maps) -> None:
            self.maps = maps
            self.load(engine)

        self.maps = {}
        return SocketTable(engine, guard_config(engine).insists, follow)

    def send(self, probe: Probe) -> None:
        if probe.direction != "out":
            for fragment in probe.fragments:
                os.write(self.wire, fragment)
            return
        destination = ipaddress.ip_address(probe.key[1])
        sender = self.sender4 if destination.version == 4 else self.sender6
        try:
            sender.sendto(probe.packet, (str(destination), 0))
        except PermissionError:
            pass  # The packet filter dropped it under the sender's hand.

    def fates(self, probe: Probe, *, wait: bool) -> set[str]:
        """Say where the packet has come out: `lan`, `engine`, `program`; nothing, if nowhere."""
        deadline = time.monotonic() + (LATE_SECS if wait else 0)
        while True:
            fates = self._look(probe)
            if fates or time.monotonic() >= deadline:
                return fates
            waiting: list[int | socket.socket] = [self.lan, self.engine, *self.programs.values()]
            select.select(waiting, [], [], 0.02)

    def _look(self, probe: Probe) -> set[str]:
        fates = set()
        for name, tun in (("lan", self.lan), ("engine", self.engine)):
            if any(seen_key(packet) == probe.key for packet in drain_tun(tun)):
                fates.add(name)
        for (family, protocol), program in self.programs.items():
            sources = drain_socket(program)
            if (
                protocol == probe.key[2]
                and (family == 4) == (len(probe.key[0]) == 4)
                and probe.key[0] in sources
            ):
                fates.add("program")
        return fates

    def clear(self) -> None:
        for tun in (self.lan, self.engine, self.wire):
            drain_tun(tun)
        for program in self.programs.values():
            drain_socket(program)


def guard_config(engine: _core.Engine) -> GuardConfig:
    settings = engine.config()
    return GuardConfig(
        device="sallet0",
        device_mtu=1400,
        default_policy=settings["default_policy"],
        levels={name: value for name, value in settings.items() if name.endswith("_level")},
    )


def open_tun(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(
        tun, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001)
    )  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return tun


def raw_socket(family: int, protocol: int) -> socket.socket:
    made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_RAW, protocol)
    made.setblocking(False)
    return made


def drain_tun(tun: int) -> list[bytes]:
    packets = []
    while True:
        try:
            packets.append(os.read(tun, 65536))
        except BlockingIOError:
            return packets


def drain_socket(program: socket.socket) -> list[bytes]:
    sources: list[bytes] = []
    while True:
        try:
            _, sender = program.recvfrom(65536)
        except BlockingIOError:
            return sources
        sources.append(ipaddress.ip_address(sender[0]).packed)


def shell(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")


def setting(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value)


# The comparison


EXPECTED = {
    ("out", "bypass"): [{"lan"}, {"engine"}],
    ("out", "protect"): [{"engine"}],
    ("out", "discard"): [{"engine"}, set()],
    ("in", "bypass"): [{"program"}],
    ("fwd", "bypass"): [{"lan"}, {"engine"}],
}
"""Where a packet may come out; marking is a superset: the engine may be given what it will bypass."""


def judge(engine: _core.Engine, bench: Bench, probe: Probe) -> str | None:
    """Send one packet; return what is wrong with its fate."""
    verdict = engine.explain(probe.direction, probe.packet).action
    allowed: list[set[str]] = EXPECTED.get((probe.direction, verdict), [set()])
    if (
        probe.direction == "fwd"
        and verdict == "bypass"
        and engine.explain("out", probe.packet).action != "bypass"
    ):
        allowed = (
            [{"engine"}, set()] if engine.explain("out", probe.packet).action == "discard" else [{"engine"}]
        )
    bench.clear()
    bench.send(probe)
    fates = bench.fates(probe, wait=set() not in allowed)
    if fates in allowed:
        return None
    return f"verdict {verdict}, allowed {allowed}, but it came out at {fates or 'nowhere'}"


def describe(engine: _core.Engine, probe: Probe) -> str:
    lines = [
        f"{policy!r} priority {policy.priority} {policy.selector!r} {policy.templates!r}"
        for policy in [*engine.pcb_dump(), *engine.spd_dump()]
    ]
    parts = ", ".join(fragment.hex() for fragment in probe.fragments)
    return "\n".join(
        [f"{probe.direction}: {parts}", f"{engine.explain(probe.direction, probe.packet)!r}", *lines]
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--spds", type=int, default=2000)
    parser.add_argument("--packets", type=int, default=10)
    arguments = parser.parse_args()
    bench = Bench()
    counts: dict[tuple[str, str], int] = {}
    differences = 0
    for number in range(arguments.first, arguments.first + arguments.spds):
        rng = random.Random(f"{arguments.seed}/{number}")
        engine = make_engine(rng, bench)
        bench.load(engine)
        for index in range(arguments.packets):
            probe = make_probe(rng, number << 8 | index)
            wrong = judge(engine, bench, probe)
            key = probe.direction, engine.explain(probe.direction, probe.packet).action
            counts[key] = counts.get(key, 0) + 1
            if engine.explain(probe.direction, probe.packet).policy in {
                each.id for each in engine.pcb_dump()
            }:
                counts["socket", key[0]] = counts.get(("socket", key[0]), 0) + 1
            if wrong:
                differences += 1
                print(f"SPD {number}, packet {index}: {wrong}\n{describe(engine, probe)}\n", flush=True)
        if differences > 5:
            break
    for key, count in sorted(counts.items()):
        print(f"{key[0]} {key[1]}: {count}")
    print(f"{sum(counts.values())} packets, {differences} differences, seed {arguments.seed}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
