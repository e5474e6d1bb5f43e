"""What an attachment leaves in the namespace, written down before it is done, so that it can be taken away.

No policy and no packet filter text may enter.
Answers to: design "host mode", Names: clean-up goes by record and by hash of the run directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sallet.attach import devices
from sallet.attach.devices import Devices
from sallet.failure import Failure

STATE_NAME = "attached.json"
RULE_PRIORITY = 530
"""Before the main table and before the rules that other tunnels use; after the table `local`."""
_TABLE_PREFIX = "sallet_"
_LOCK_NAME = "\0sallet/attached"
_RP_FILTER = "net/ipv4/conf/all/rp_filter"


@dataclass(frozen=True, slots=True)
class Names:
    """What one run directory's daemon calls its things: all of them follow from the directory's name."""

    nft_prefix: str
    """The guard's tables are this, an underscore and a number."""
    mark_table: int
    """The routing table of marked packets."""
    prefix_table: int
    """The routing table of protected prefixes (`gateway`)."""

    @classmethod
    def of(cls, run_dir: Path) -> Names:
        """Derive the names."""
        digest = hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()
        number = 0x53000000 | int(digest[:6], 16) & 0xFFFFFE
        return cls(f"{_TABLE_PREFIX}{digest[:12]}", number, number | 1)


@dataclass(frozen=True, slots=True)
class Record:
    """What was done, or is about to be."""

    namespace: int
    """Inode of the network namespace."""
    mode: str
    device: str
    rp_filter_all: str | None = None
    """What to restore, if it was changed."""


def namespace_id() -> int:
    """Identify the network namespace of this process."""
    return os.stat("/proc/self/ns/net").st_ino


def lock_namespace() -> socket.socket:
    """Take the lock that allows one attached daemon in a network namespace; it goes with the socket.

    Raw sockets copy every packet to everyone, so two daemons would both open what is for one of them.

    Raises:
        Failure: another daemon is attached here.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        # Abstract names belong to the network namespace, which is just what the lock is for.
        lock.bind(_LOCK_NAME)
    except OSError as error:
        lock.close()
        raise Failure(
            "another sallet daemon is attached to this network namespace",
            where=f"net:[{namespace_id()}]",
            why=error.strerror or str(error),
            next_step="stop it, start this one in another namespace, or use --mode embedded",
        ) from error
    return lock


def write_record(run_dir: Path, record: Record) -> None:
    """Write down what is about to be done, so that it survives this process."""
    path = run_dir / STATE_NAME
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_record(run_dir: Path) -> Record | None:
    """Read what a daemon of this directory has done and not undone; None if there is nothing."""
    try:
        return Record(**json.loads((run_dir / STATE_NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise Failure(
            "what the last daemon left cannot be read",
            where=str(run_dir / STATE_NAME),
            why=str(error),
            next_step="remove the file, and what `ip rule` and `nft list tables` show of sallet",
        ) from error


def loosen_reverse_path(run_dir: Path, record: Record) -> Record:
    """Make sure that no link drops what came through the engine, and remember what to restore."""
    if not devices.strict_reverse_path():
        return record
    changed = replace(record, rp_filter_all=devices.read_setting(_RP_FILTER))
    write_record(run_dir, changed)
    # The larger of `all` and the link's own value counts, so 2 (loose) here tames every strict link.
    devices.write_setting(_RP_FILTER, "2")
    return changed


def undo(run_dir: Path, machine: Devices, record: Record) -> None:
    """Take away what the record and the names of the run directory say; what is gone already is no error.

    The device is not among it: it goes with its descriptor. Nor is the guard, which must outlast the rest.
    """
    names = Names.of(run_dir)
    if record.namespace == namespace_id():
        for table in (names.mark_table, names.prefix_table):
            machine.remove_rules(table, RULE_PRIORITY)
            machine.flush_table(table)
        if record.rp_filter_all is not None and devices.read_setting(_RP_FILTER) == "2":
            devices.write_setting(_RP_FILTER, record.rp_filter_all)
    (run_dir / STATE_NAME).unlink(missing_ok=True)


def orphaned_tables(run_dir: Path) -> list[str]:
    """Name the guards of other run directories; the caller holds the lock, so no daemon is behind them."""
    own = Names.of(run_dir).nft_prefix + "_"
    tables = devices.nft_tables()
    return [name for name in tables if name.startswith(_TABLE_PREFIX) and not name.startswith(own)]
