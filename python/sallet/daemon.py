"""The composition root: one engine, its datapath, its hold on the namespace, its servers, one loop.

No policy, no message and no packet filter text may enter: this only ties the rooms together.
Answers to: `sallet up`; ARCHITECTURE.md section B (the only module that imports everything).
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sallet import _core, corefile, rundir
from sallet.attach import guard
from sallet.attach.clauses import GuardConfig
from sallet.attach.endpoints import LOOK_SECS, Endpoints
from sallet.attach.guard import BYPASS_MARK
from sallet.attach.mtu import Sizes, device_mtu
from sallet.control import protocol, views
from sallet.control.methods import Methods
from sallet.control.server import ControlServer
from sallet.control.variables import WRITES, Variables
from sallet.control.views import Json
from sallet.failure import Failure
from sallet.pcb import protocol as pcb_protocol
from sallet.pcb.server import PcbServer
from sallet.pcb.table import SocketTable
from sallet.pfkey import quirks
from sallet.pfkey.changes import Changes
from sallet.pfkey.rights import Access
from sallet.pfkey.server import PfkeyServer
from sallet.sysctl import mib
from sallet.sysctl.personalities import SALLET, Personality

if TYPE_CHECKING:
    from sallet.attach.devices import Devices
    from sallet.attach.host import HostAttachment

logger = logging.getLogger(__name__)

Mode = Literal["embedded", "gateway", "host"]

PATH_MTU_DEFAULT = 1500
MTU_SHARE_OF_TIME = 20
"""The MTU is looked at again after this many times the time that the last look took."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `sallet up` was asked for."""

    mode: Mode
    run_dir: Path
    setkey_files: tuple[Path, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    """Sysctl names with their values, applied before anything else."""
    device: str = "sallet0"
    udp_port: int | None = None
    personality: Personality = SALLET
    group: int | None = None
    write_group: int | None = None
    keys_group: int | None = None
    quirks: tuple[str, ...] = ()
    cleanup_on_close: bool = False
    """Whether what a key manager made leaves with its connection."""
    mtu: int | None = None
    path_mtu: int | None = None


class Daemon:
    """One daemon, from the claim of its run directory to the removal of everything it made."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._engine = _core.Engine()
        self._changes = Changes(self._engine, self._spd_changed)
        self._attachment: HostAttachment | None = None
        self._datapath: _core.Datapath | None = None
        self._endpoints: Endpoints | None = None
        self._pcb: PcbServer | None = None
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._told_failure = False
        self._path_mtu = PATH_MTU_DEFAULT
        self._next_mtu_look = 0.0
        self.warnings: list[str] = []

    def run(self, ready: Callable[[str], None]) -> None:
        """Start, say so through `ready`, serve until SIGTERM or SIGINT, and leave nothing behind.

        Raises:
            Failure: something could not be started; what had been started is stopped again.
        """
        corefile.forbid()
        with ExitStack() as undo:
            undo.callback(self._selector.close)
            self._catch_signals(undo)
            undo.callback(os.close, rundir.claim(self._options.run_dir, self._options.group))
            self._configure()
            if self._options.mode != "embedded":
                self._attach(undo)
            pfkey = self._listen(undo)
            ready(self._ready_line())
            self._serve(pfkey)

    # Start

    def _configure(self) -> None:
        """Apply defaults, settings and setkey files, whole, before any packet meets the engine."""
        personality = self._options.personality
        personality.apply(self._engine)
        for name, value in self._options.settings:
            mib.write(self._engine, name, value, personality.variables)
        for path in self._options.setkey_files:
            self._load(path)

    def _load(self, path: Path) -> None:
        from sallet.embedded import ConfigurationError, configure
        from sallet.lang.lexer import SetkeyError

        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure("a setkey file cannot be read", where=str(path), why=str(error)) from error
        try:
            configure(
                self._engine,
                text,
                filename=str(path),
                form=self._options.personality.form,
                changes=self._changes,
            )
        except SetkeyError as error:
            where = f"{path}:{error.line}:{error.column}"
            raise Failure(error.text, where=where, next_step=error.next_step) from error
        except ConfigurationError as error:
            raise Failure(
                "a statement was refused",
                where=f"{path}:{error.line}",
                why=error.strerror or str(error),
                next_step="nothing was started",
            ) from error

    def _attach(self, undo: ExitStack) -> None:
        """Take the namespace: guard and routes first, then the device, then the way into it."""
        from sallet.attach import cleanup
        from sallet.attach.devices import Devices
        from sallet.attach.gateway import GatewayAttachment
        from sallet.attach.host import HostAttachment

        undo.callback(cleanup.lock_namespace().close)
        machine = Devices()
        undo.callback(machine.close)
        config = self._guard_config(machine)
        self._engine.configure("decrement_hop_limit", False)
        self._engine.configure("encap_ports", list(config.udp_ports))
        self._watch_addresses(machine, undo)
        kind = HostAttachment if self._options.mode == "host" else GatewayAttachment
        attachment = kind(self._options.run_dir, machine, config)
        undo.callback(attachment.detach)
        attachment.prepare(self._engine.spd_dump())
        self._attachment = attachment
        self._datapath = _core.Datapath(
            self._engine,
            tun_name=config.device,
            tun_mtu=config.device_mtu,
            bypass_mark=BYPASS_MARK,
            raw=True,
            udp_port=self._options.udp_port,
        )
        self._datapath.start()
        undo.callback(self._datapath.stop)
        attachment.connect()
        self._endpoints = Endpoints(self._datapath, self._options.udp_port, self._endpoints_changed)
        for table in cleanup.orphaned_tables(self._options.run_dir):
            self.warnings.append(
                f"the packet filter `{table}` of another run directory is still here and still drops; "
                f"start and stop a daemon there, or `nft delete table inet {table}`"
            )

    def _guard_config(self, machine: Devices) -> GuardConfig:
        """Work out the MTUs, and collect what the guard depends on besides the SPD."""
        options = self._options
        links = machine.smallest_mtu(besides=options.device)
        path_mtu = options.path_mtu or links or PATH_MTU_DEFAULT
        self._path_mtu = path_mtu
        self._engine.configure("path_mtu", path_mtu)
        settings = self._engine.config()
        return GuardConfig(
            device=options.device,
            device_mtu=options.mtu or self._wanted_mtu(),
            mode="gateway" if options.mode == "gateway" else "host",
            default_policy=settings["default_policy"],
            levels={name: value for name, value in settings.items() if name.endswith("_level")},
            udp_ports=() if options.udp_port is None else (options.udp_port,),
        )

    def _watch_addresses(self, machine: Devices, undo: ExitStack) -> None:
        """Tell the engine which addresses are this host's, now and after every change."""
        import ipaddress

        from sallet.attach import devices

        watch = devices.watch_addresses()
        undo.callback(watch.close)

        def refresh(_mask: int) -> None:
            _drain(watch)
            networks = [ipaddress.ip_network(prefix) for prefix in machine.local_addresses()]
            self._engine.configure("local", [(network[0], network[-1]) for network in networks])

        self._selector.register(watch, selectors.EVENT_READ, refresh)
        refresh(0)

    def _listen(self, undo: ExitStack) -> PfkeyServer:
        options = self._options
        dialects = quirks.dialects(options.quirks)
        access = Access(os.geteuid(), options.group, options.write_group, options.keys_group)
        pfkey = PfkeyServer(
            self._engine,
            changes=self._changes,
            dialects=dialects,
            access=access,
            cleanup_on_close=options.cleanup_on_close,
        )
        undo.callback(pfkey.close)
        pfkey.listen(options.run_dir / "pfkey.sock", options.personality.dialect)
        for dialect in dialects:
            pfkey.listen(options.run_dir / f"pfkey.{dialect}.sock", dialect)
        status = partial(self._status, pfkey)
        streams = {"monitor": partial(views.conversation, pfkey.tap)}
        methods = Methods(self._engine, status, self._guard_drops).table()
        methods |= Variables(self._engine, options.personality).table()
        control = ControlServer(methods, access, streams, WRITES)
        undo.callback(control.close)
        control.listen(options.run_dir / protocol.SOCKET_NAME)
        pfkey.attach(self._selector)
        control.attach(self._selector)
        self._listen_to_sockets(undo, access)
        return pfkey

    def _listen_to_sockets(self, undo: ExitStack, access: Access) -> None:
        """Serve the policies of single sockets; only host mode sees what programs here send."""
        attachment = self._attachment if self._options.mode == "host" else None
        table = SocketTable(
            self._engine,
            lambda template, side: attachment is not None and attachment.config.insists(template, side),
            lambda maps: None if attachment is None else attachment.sockets_changed(maps),
        )
        pcb = PcbServer(
            table,
            access,
            self._changes.new_reqid,
            enforced=attachment is not None,
            encap=self._encapsulate,
        )
        undo.callback(pcb.close)
        pcb.listen(self._options.run_dir / pcb_protocol.SOCKET)
        pcb.attach(self._selector)
        self._pcb = pcb

    # Run

    def _serve(self, pfkey: PfkeyServer) -> None:
        def events(_mask: int) -> None:
            for event in self._engine.take_events():
                pfkey.engine_event(event)
            self._changes.catch_up()
            self._check_datapath()

        self._selector.register(self._engine.event_fd(), selectors.EVENT_READ, events)
        while not self._stopping:
            for key, mask in self._selector.select(self._patience()):
                key.data(mask)
            if self._pcb is not None:
                self._pcb.turn()
            self._engine.handle_timeout()
            self._look_at_endpoints()
            self._adjust_mtu()

    def _patience(self) -> float | None:
        """Say how long the loop may sleep: until a timer is due, or the sockets of programs are looked at."""
        due = [
            self._engine.poll_timeout(),
            LOOK_SECS if self._endpoints else None,
            self._pcb.patience() if self._pcb is not None else None,
        ]
        return min((secs for secs in due if secs is not None), default=None)

    def _look_at_endpoints(self) -> None:
        if self._endpoints is None:
            return
        try:
            self._endpoints.look()
        except (OSError, Failure) as error:
            logger.error("a port of a program that has ended stays taken: %s", error)

    def _check_datapath(self) -> None:
        """Say once that the datapath has failed; the guard stays, so nothing leaves in clear for it."""
        failure = self._datapath.failure if self._datapath is not None else None
        if failure and not self._told_failure:
            self._told_failure = True
            logger.error("the datapath has failed, and nothing passes any more: %s", failure)

    def _wanted_mtu(self) -> int:
        sizes = {row.name: Sizes(row.iv_bytes, row.block_bytes, row.icv_bytes) for row in _core.algorithms()}
        return device_mtu(self._path_mtu, self._engine.spd_dump(), self._associations(), sizes)

    def _associations(self) -> Iterator[_core.SaView]:
        """Give every SA, one at a time: a list of a million would not be small."""
        moment = self._engine.sad_moment()
        return (moment.view(nth) for nth in range(len(moment)))

    def _adjust_mtu(self) -> None:
        """Let the device's MTU follow what the SAs of the moment add; seldom, where there are very many."""
        now = time.monotonic()
        if self._attachment is None or self._options.mtu is not None or now < self._next_mtu_look:
            return
        wanted = self._wanted_mtu()
        self._next_mtu_look = time.monotonic() + MTU_SHARE_OF_TIME * (time.monotonic() - now)
        if wanted == self._attachment.config.device_mtu:
            return
        try:
            self._attachment.set_mtu(wanted, self._engine.spd_dump())
        except Failure as failure:
            logger.error("the MTU of the device stays as it was: %s", failure)

    def _spd_changed(self) -> None:
        """Make the kernel's side agree with the SPD; PF_KEY replies only after this."""
        if self._attachment is not None:
            self._attachment.policies_changed(self._engine.spd_dump())

    def _open_endpoint(self, descriptor: int) -> None:
        """Take ESP at a program's UDP socket, as `UDP_ENCAP` asks.

        Raises:
            OSError: that cannot be.
            Failure: the kernel's side could not follow.
        """
        if self._endpoints is None:
            raise OSError(errno.EOPNOTSUPP, "packets come and go by function calls only (mode embedded)")
        self._endpoints.open(descriptor)

    def _encapsulate(self, descriptor: int, value: int) -> None:
        if value:
            self._open_endpoint(descriptor)
        elif self._endpoints is not None:
            self._endpoints.close(descriptor)

    def _endpoints_changed(self, ports: tuple[int, ...]) -> None:
        """Let the engine and the guard know at which ports ESP arrives in UDP."""
        if self._attachment is not None:
            config = replace(self._attachment.config, udp_ports=ports)
            self._attachment.policies_changed(self._engine.spd_dump(), config)
        self._engine.configure("encap_ports", list(ports))

    def _catch_signals(self, undo: ExitStack) -> None:
        """Let SIGTERM and SIGINT end the loop, and nothing else be interrupted by them."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        undo.callback(reader.close)
        undo.callback(writer.close)
        undo.callback(signal.set_wakeup_fd, before)

        def stop(_number: int, _frame: object) -> None:
            self._stopping = True

        for number in (signal.SIGTERM, signal.SIGINT):
            undo.callback(signal.signal, number, signal.signal(number, stop))
        self._selector.register(reader, selectors.EVENT_READ, lambda _mask: _drain(reader))

    # Status

    def _ready_line(self) -> str:
        policies, sas = len(self._engine.spd_dump()), len(self._engine.sad_moment())
        device = f", device {self._options.device}" if self._attachment is not None else ""
        return (
            f"sallet: ready: mode {self._options.mode}{device}, {policies} policies, {sas} SAs, "
            f"sockets in {self._options.run_dir}"
        )

    def _status(self, pfkey: PfkeyServer) -> Json:
        options, attachment = self._options, self._attachment
        status: Json = {
            "pid": os.getpid(),
            "mode": options.mode,
            "personality": options.personality.name,
            "dialect": options.personality.dialect,
            "quirks": list(options.quirks),
            "run_dir": str(options.run_dir),
            "pfkey": pfkey.counters(),
            "sockets": self._pcb.counters() if self._pcb is not None else {},
            "attachment": None,
        }
        if attachment is not None and attachment.table.guard is not None:
            config = attachment.config
            status["attachment"] = {
                "device": config.device,
                "device_mtu": config.device_mtu,
                "path_mtu": self._engine.config()["path_mtu"],
                "udp_ports": list(config.udp_ports),
                "nft_table": attachment.table.name,
                "routing_tables": [attachment.names.mark_table, attachment.names.prefix_table],
                "datapath_failure": self._datapath.failure if self._datapath is not None else None,
                "entries_by_address_only": attachment.table.guard.entries_by_address_only,
                "exempt": [
                    f"the daemon's own packets (mark {guard.BYPASS_MARK:#x}/{guard.MARK_MASK:#x})",
                    "neighbour discovery (ICMPv6 types 133 to 137)",
                ],
            }
        return status

    def _guard_drops(self) -> list[Json]:
        if self._attachment is None:
            return []
        return [
            {"reason": name, "packets": packets, "bytes": size, "explanation": guard.COUNTERS[name]}
            for name, (packets, size) in self._attachment.table.counters().items()
        ]


def _drain(stream: socket.socket) -> None:
    while True:
        try:
            if not stream.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS of netlink: something was missed, and the caller looks at the whole anyway.
            return
