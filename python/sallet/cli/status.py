"""`sallet status`: what the daemon does, how it is attached, and what it leaves to the kernel.

No request but one, and no figure that the daemon did not say, may enter.
Answers to: `sallet(1)`, status.
"""

from __future__ import annotations

import argparse
from typing import Any

from sallet.cli import diagnostics, tables


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
    rows = [(name, count["packets"], count["bytes"]) for name, count in status["passed"].items()]
    print()
    tables.print_rows(("", "packets", "bytes"), rows)
    print(f"\n{status['dropped_packets']} packets dropped by the engine (`sallet drops` says why)")
    if status["events_dropped"]:
        print(f"{status['events_dropped']} events were lost: no key manager took them in time")
    return diagnostics.OK


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
