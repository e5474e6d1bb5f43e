"""OpenIKED, unmodified, and a listener that counts what it does over PF_KEY.

No namespace is made here, and no assertion about packets.
Answers to: iked(8), iked.conf(5), ikectl(8); RFC 7296 section 2.8 (rekeying); RFC 2367.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from netns import DaemonProcess, Namespace, environment, wait_until
from sallet.client import PfkeyClient
from sallet.failure import Failure
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.messages import Message, Sa

SECRET_WORD = "correct horse battery staple"
PATIENCE_SECS = 20.0
POLICIES = 3
"""In, out and forwarded."""
RATE = 10_000_000
"""Bytes a second: so that a transfer lasts long enough for SAs to be renewed before its last byte."""
LIFETIME = "3h bytes 24M"
"""iked asks for a new SA after 85 to 95 per cent of it, at least twice in 50 MB each way."""
REKEYS_MIN = 3
SHORT_LARVAL = ("--sysctl", "net.key.larval_lifetime=3")
"""When both ask for new SAs at once, iked leaves the SPI of one to its timer: 30 seconds otherwise."""
STARTED = "config_getstatic: no stickyaddress"
"""What iked writes last when it starts (-vv), just before it begins with its policies anew."""
SETTLE_SECS = 0.3


@dataclass(frozen=True)
class Conversation:
    """One policy of iked.conf, as one of the two sees it."""

    local: str
    peer: str
    """The other's address, or `any`."""
    inside: str
    """What is protected at this end: an address or a network."""
    beyond: str
    """What is protected at the other."""
    names: tuple[str, str]
    """This end's and the other's."""
    active: bool
    lifetime: str = LIFETIME

    def text(self) -> str:
        """Write iked.conf."""
        return (
            f'ikev2 "trial" {"active" if self.active else "passive"} esp'
            f" from {self.inside} to {self.beyond}"
            f" local {self.local} peer {self.peer}"
            f" srcid {self.names[0]} dstid {self.names[1]}"
            f' lifetime {self.lifetime} psk "{SECRET_WORD}"\n'
        )

    def write(self, path: Path) -> Path:
        """Write it as a file that iked accepts: nobody else may read it."""
        path.write_text(self.text(), encoding="utf-8")
        path.chmod(0o600)
        return path


class Iked:
    """Debian's iked, started by `sallet run`."""

    def __init__(
        self,
        namespace: Namespace,
        daemon: DaemonProcess,
        conversation: Conversation,
        directory: Path,
        *options: str,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.namespace = namespace
        self.log = directory / "iked.log"
        self._socket = directory / "iked.sock"
        configuration = conversation.write(directory / "iked.conf")
        command: list[str | Path] = [sys.executable, "-m", "sallet.cli.main", "--run-dir", daemon.run_dir]
        command += ["run", "--", "iked", "-d", "-vv", "-s", self._socket, "-f", configuration, *options]
        with self.log.open("w", encoding="utf-8") as log:
            self.process = namespace.start(*command, stdout=log, stderr=subprocess.STDOUT, env=environment())

    def wait_for_start(self) -> None:
        """Wait until it has read its settings: what it hears before, it forgets again."""
        if not wait_until(lambda: STARTED in self.said(), timeout=PATIENCE_SECS):
            pytest.fail(f"iked does not start:\n{self.said()}", pytrace=False)
        time.sleep(SETTLE_SECS)

    def show_sa(self) -> str:
        """Ask `ikectl show sa`."""
        return self.namespace.run("ikectl", "-s", self._socket, "show", "sa").stdout

    def stop(self) -> int:
        """Let it end, which takes its SAs and policies away."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECS)

    def said(self, lines: int = 60) -> str:
        """Give the end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@dataclass
class Noted:
    """What a listener has heard so far."""

    matured: dict[int, float] = field(default_factory=dict)
    """Inbound SAs by SPI, and when they came into use: an UPDATE ends each negotiation."""
    added: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    expired: int = 0
    policies: int = 0
    """Policies that were put in place."""


class Listener:
    """A PF_KEY socket that listens to everybody's messages, as `setkey -x` does."""

    def __init__(self, run_dir: Path) -> None:
        self.noted = Noted()
        self._client = PfkeyClient(run_dir, "linux")
        self._client.request(Message(type=SadbMsgType.REGISTER, satype=3))
        self._ending = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join()
        self._client.close()

    def wait_for_sas(self, iked: Iked, count: int = 1) -> None:
        """Wait until so many inbound SAs have come into use, each with its way out, and then the policies."""
        noted = self.noted

        def done() -> bool:
            sas = min(len(noted.matured), len(noted.added))
            return sas >= count and noted.policies >= POLICIES

        if not wait_until(done, timeout=PATIENCE_SECS):
            pytest.fail(f"no SA: {noted}; iked says:\n{iked.said()}", pytrace=False)

    def rekeyed_between(self, start: float, end: float) -> int:
        """Count the inbound SAs that came into use in a stretch of `time.monotonic`."""
        return sum(start < at < end for at in self.noted.matured.values())

    def _listen(self) -> None:
        while not self._ending:
            try:
                self._note(self._client.receive(timeout=0.1))
            except TimeoutError:
                continue
            except Failure:  # The daemon has ended.
                return

    def _note(self, message: Message) -> None:
        sa = message.get(SadbExtType.SA)
        if message.errno:
            return
        if message.type is SadbMsgType.X_SPDUPDATE:
            self.noted.policies += 1
        if not isinstance(sa, Sa):
            return
        if message.type is SadbMsgType.UPDATE:
            self.noted.matured.setdefault(sa.spi, time.monotonic())
        elif message.type is SadbMsgType.ADD:
            self.noted.added.add(sa.spi)
        elif message.type is SadbMsgType.DELETE:
            self.noted.deleted.add(sa.spi)
        elif message.type is SadbMsgType.EXPIRE:
            self.noted.expired += 1


def nothing_left(daemon: DaemonProcess) -> bool:
    """Say whether the SAD and the SPD are empty."""
    return (
        daemon.sallet("setkey", "-D").stdout.strip() == "No SAD entries."
        and daemon.sallet("setkey", "-DP").stdout.strip() == "No SPD entries."
    )
