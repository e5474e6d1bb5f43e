"""`sallet status`: what the daemon does, how it is attached, and what it leaves to the kernel.

No request but one, and no figure that the daemon did not say, may enter.
Answers to: `sallet(1)`, status.
"""

from __future__ import annotations

import argparse
from typing import Any

from sallet.cli import diagnostics, tables

_PFKEY_TROUBLE = {
    "told_dropped": "messages were lost by listeners that do not read (each was told ENOBUFS)",
    "not_permitted": "messages were refused for want of a right (EACCES)",
    "malformed": "messages were malformed",
    "internal_errors": "requests met a fault of sallet (EIO; see the log)",
    "refused_connections": "connections found no room (ENOBUFS)",
    "refused_connections_of_a_user": "connections were one user's too many (ENOBUFS)",
    "refused_told_bytes_in_all": "times too much waited for all listeners together",
    "refused_dumped_entries": "dumps were refused: too many entries wait for slow readers (ENOBUFS)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    tables.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    status = tables.ask("status")
    if arguments.json:
        tables.print_json(status)
        return diagnostics.OK
    print(f"mode {status['mode']}, personality {status['personality']}, pid {status['pid']}")
    print(f"pfkey.sock speaks {status['dialect']}; quirks: {', '.join(status['quirks']) or 'none'}")
    print(f"run directory {status['run_dir']}, up {status['uptime_secs']:.0f} s")
    print(f"{status['policies']} policies, {status['sas']} SAs, default policy {status['default_policy']}")
    if status["attachment"] is not None:
        _print_attachment(status["attachment"])
    _print_pfkey(status["pfkey"])
    _print_sockets(status["sockets"])
    rows = [(name, count["packets"], count["bytes"]) for name, count in status["passed"].items()]
    print()
    tables.print_rows(("", "packets", "bytes"), rows)
    print(f"\n{status['dropped_packets']} packets dropped by the engine (`sallet drops` says why)")
    if status["events_dropped"]:
        print(f"{status['events_dropped']} events were lost: no key manager took them in time")
    return diagnostics.OK


def _print_sockets(counters: dict[str, int]) -> None:
    if counters.get("sockets"):
        rules = f"{counters['rules']} rules stand for them"
        print(f"{counters['sockets']} sockets have a policy of their own, {rules}")


def _print_pfkey(counters: dict[str, int]) -> None:
    used = f"{counters['connections']} PF_KEY connections, {counters['registered']} registered"
    print(f"{used}, {counters['dumps']} dumps under way")
    for name, words in _PFKEY_TROUBLE.items():
        if counters.get(name):
            print(f"  {counters[name]} {words}")


def _print_attachment(attachment: dict[str, Any]) -> None:
    ports = ", ".join(map(str, attachment["udp_ports"]))
    encap = f"ESP in UDP on port {ports}" if ports else "no UDP encapsulation"
    print(
        f"device {attachment['device']}, MTU {attachment['device_mtu']} of {attachment['path_mtu']}, {encap}"
    )
    if attachment.get("datapath_failure"):
        print(f"THE DATAPATH HAS FAILED, nothing passes: {attachment['datapath_failure']}")
    print(f"nft table {attachment['nft_table']}")
    if attachment["entries_by_address_only"]:
        print(
            f"  {attachment['entries_by_address_only']} entries judge clear packets by address only: "
            "their ports, and the bypass entries among them, do not count"
        )
    print("never judged: " + "; ".join(attachment["exempt"]))
