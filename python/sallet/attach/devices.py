"""Links, routes, rules and the packet filter of this network namespace, as a few plain operations.

No policy, no order of operations and no memory of what was done may enter: those are the attachments'.
Answers to: rtnetlink(7), ip-rule(8), nft(8). Links, routes and rules go over netlink, nft is a subprocess.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sallet.attach.coverage import Network
from sallet.failure import Failure

NFT_SECS = 60.0
"""How long one transaction may take; 10,000 rules take less than one second."""
PROTOCOL = 83
"""`rtm_protocol` of our routes and rules (ip(8) shows `proto 83`), so that people see whose they are."""

DUMMY_ADDRESS = "192.0.0.8"
"""The address that stands for nobody (RFC 7600); in scope host, so no packet is ever sent from it."""
_SCOPE_HOST = 254
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_INVERT = 0x2  # FIB_RULE_INVERT
_BLACKHOLE = 6  # RTN_BLACKHOLE


class Devices:
    """A netlink connection, and `nft`, in the network namespace of the calling thread."""

    def __init__(self) -> None:
        try:
            from pyroute2 import IPRoute
        except ImportError as error:
            raise Failure(
                "links, routes and rules cannot be set up",
                why=f"the package pyroute2 is missing ({error})",
                next_step="pip install pyroute2, or use --mode embedded",
            ) from error
        if shutil.which("nft") is None:
            raise Failure(
                "the packet filter cannot be set up",
                why="the program nft is not on PATH",
                next_step="install the package nftables, or use --mode embedded",
            )
        self._netlink = IPRoute()
        self.families: tuple[Literal[4, 6], ...] = (4, 6) if Path("/proc/net/if_inet6").exists() else (4,)

    def close(self) -> None:
        """Close the netlink connection."""
        self._netlink.close()

    # Links

    def link_index(self, name: str) -> int | None:
        """Give the index of a link, or None if there is no such link."""
        found = self._netlink.link_lookup(ifname=name)
        return int(found[0]) if found else None

    def bring_up(self, name: str, mtu: int) -> None:
        """Set the MTU of a link and bring it up, without addresses that the kernel makes up."""
        index = self._index(name)
        for key, value in (("addr_gen_mode", "1"), ("accept_ra", "0")):
            write_setting(f"net/ipv6/conf/{name}/{key}", value)
        with _naming(f"address {DUMMY_ADDRESS} of {name}"), _ignoring(errno.EEXIST):
            # A link without any IPv4 address fails even the loose check of the reverse path.
            self._netlink.addr("add", index=index, address=DUMMY_ADDRESS, prefixlen=32, scope=_SCOPE_HOST)
        with _naming(f"link {name}"):
            self._netlink.link("set", index=index, mtu=mtu, state="up")

    def set_mtu(self, name: str, mtu: int) -> None:
        """Change the MTU of a link."""
        with _naming(f"link {name}"):
            self._netlink.link("set", index=self._index(name), mtu=mtu)

    def smallest_mtu(self, *, besides: str) -> int | None:
        """Give the smallest MTU of the links that are up, loopback and `besides` left out."""
        found = []
        for link in self._netlink.get_links():
            flags, name, mtu = link["flags"], link.get("ifname"), link.get("mtu")
            if flags & 0x1 and not flags & 0x8 and name != besides and mtu:
                found.append(int(mtu))
        return min(found, default=None)

    def local_addresses(self) -> list[str]:
        """List what is delivered here: every prefix of the kernel's table `local`, and IPv4's groups."""
        prefixes = ["224.0.0.0/4", "255.255.255.255/32"]
        for family in self.families:
            for route in self._netlink.get_routes(family=_FAMILIES[family], table=255):
                if route["type"] in (2, 3, 4, 5):  # local, broadcast, anycast, multicast
                    everywhere = "0.0.0.0" if family == 4 else "::"  # noqa: S104
                    prefixes.append(f"{route.get('dst') or everywhere}/{route['dst_len']}")
        return sorted(set(prefixes))

    # Rules

    def add_rule(
        self, family: int, *, priority: int, table: int, mark: int, mask: int, invert: bool = False
    ) -> None:
        """Add a rule that sends packets with (or, inverted, without) the mark to a routing table."""
        with _naming(f"rule {priority}"), _ignoring(errno.EEXIST):
            self._netlink.rule("add", **_rule(family, priority, table, mark, mask, invert))

    def remove_rules(self, table: int, priority: int) -> None:
        """Remove every rule of that priority that looks into that table."""
        for family in self.families:
            for rule in list(self._netlink.get_rules(family=_FAMILIES[family])):
                if rule.get("priority") != priority or rule.get("table") != table:
                    continue
                known = {"mark": rule.get("fwmark") or 0, "mask": rule.get("fwmask") or 0}
                invert = bool(rule["flags"] & _INVERT)
                with _naming(f"rule {priority}"), _ignoring(errno.ENOENT):
                    self._netlink.rule(
                        "del", **_rule(family, priority, table, known["mark"], known["mask"], invert)
                    )

    # Routes

    def add_device_route(self, prefix: Network, *, device: str, table: int, metric: int) -> None:
        """Route a prefix into a link."""
        with _naming(f"route {prefix}"), _ignoring(errno.EEXIST):
            self._netlink.route(
                "add", **_route(prefix, table, metric), oif=self._index(device), scope=_link_scope(prefix)
            )

    def add_blackhole(self, prefix: Network, *, table: int, metric: int) -> None:
        """Drop what has no better route to a prefix."""
        with _naming(f"route blackhole {prefix}"), _ignoring(errno.EEXIST):
            self._netlink.route("add", **_route(prefix, table, metric), type=_BLACKHOLE)

    def remove_route(self, prefix: Network, *, table: int, metric: int) -> None:
        """Remove one route, if it is there."""
        with _naming(f"route {prefix}"), _ignoring(errno.ESRCH):
            self._netlink.route("del", **_route(prefix, table, metric))

    def flush_table(self, table: int) -> None:
        """Remove every route of a routing table."""
        for family in self.families:
            for route in list(self._netlink.get_routes(family=_FAMILIES[family], table=table)):
                everywhere = "0.0.0.0" if family == 4 else "::"  # noqa: S104
                prefix = ipaddress.ip_network(f"{route.get('dst') or everywhere}/{route['dst_len']}")
                self.remove_route(prefix, table=table, metric=route.get("priority") or 0)

    def _index(self, name: str) -> int:
        index = self.link_index(name)
        if index is None:
            raise Failure("there is no such link", where=name, next_step="`ip link` lists them")
        return index


def watch_addresses() -> socket.socket:
    """Open a socket that is readable whenever an address of this host has come or gone."""
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    watch.bind((0, 0x10 | 0x100))  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
    return watch


def apply_nft(script: str) -> None:
    """Run an nft script: the whole of it happens, or nothing does."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=NFT_SECS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure("the packet filter cannot be changed", where="nft -f -", why=str(error)) from error
    if done.returncode:
        complaint = next((line for line in done.stderr.splitlines() if "Error" in line), done.stderr.strip())
        raise Failure(
            "the kernel refused the packet filter",
            where="nft -f -",
            why=complaint.strip(),
            next_step="nothing was changed; `nft list ruleset` shows what is there",
            kind="permission" if "not permitted" in complaint else "failed",
        )


def nft_counters(table: str) -> dict[str, tuple[int, int]]:
    """Read the named counters of a table as packets and bytes; empty if there is no such table."""
    values: dict[str, tuple[int, int]] = {}
    for item in _nft_json("list", "counters", "table", "inet", table):
        if counter := item.get("counter"):
            values[counter["name"]] = (int(counter["packets"]), int(counter["bytes"]))
    return values


def nft_tables() -> list[str]:
    """List the names of the `inet` tables."""
    tables = (item.get("table") for item in _nft_json("list", "tables", "inet"))
    return [table["name"] for table in tables if table]


def read_setting(name: str) -> str | None:
    """Read one file below /proc/sys, or None if this kernel has no such setting."""
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_setting(name: str, value: str) -> None:
    """Write one file below /proc/sys, if this kernel has the setting and it says something else."""
    found = read_setting(name)
    if found is None or found == value:
        return
    try:
        Path("/proc/sys", name).write_text(value, encoding="ascii")
    except OSError as error:
        raise Failure(
            "a kernel setting cannot be changed",
            where=f"/proc/sys/{name}",
            why=error.strerror or str(error),
            next_step="start with CAP_NET_ADMIN and a writable /proc/sys, or inside `unshare -Urnm`",
            kind="permission",
        ) from error


def strict_reverse_path() -> bool:
    """Say whether any link drops packets whose source has its route elsewhere (`rp_filter` 1)."""
    return any(
        path.read_text().strip() == "1" for path in Path("/proc/sys/net/ipv4/conf").glob("*/rp_filter")
    )


def _nft_json(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["nft", "-j", *arguments], capture_output=True, text=True, timeout=NFT_SECS, check=False
    )
    if done.returncode or not done.stdout:
        return []
    items: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return items


def _rule(family: int, priority: int, table: int, mark: int, mask: int, invert: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "family": _FAMILIES[family],
        "priority": priority,
        "table": table,
        "fwmark": mark,
        "fwmask": mask,
        "protocol": PROTOCOL,
    }
    if invert:
        rule["flags"] = _INVERT
    return rule


def _route(prefix: Network, table: int, metric: int) -> dict[str, Any]:
    return {
        "family": _FAMILIES[prefix.version],
        "dst": str(prefix),
        "table": table,
        "priority": metric,
        "proto": PROTOCOL,
    }


def _link_scope(prefix: Network) -> int:
    return 253 if prefix.version == 4 else 0


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Turn a netlink error into words."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        permission = error.code in (errno.EPERM, errno.EACCES)
        raise Failure(
            "the kernel refused to change links, routes or rules",
            where=where,
            why=str(error),
            next_step="start with CAP_NET_ADMIN, or inside `unshare -Urnm`" if permission else "",
            kind="permission" if permission else "failed",
        ) from error


@contextmanager
def _ignoring(*numbers: int) -> Iterator[None]:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        if error.code not in numbers:
            raise
