"""A real Linux kernel as the peer: Debian's user-mode-linux, an ordinary process behind a TAP or a socket.

No assertion about packets may enter: this boots, runs commands inside, reads counters and ends.
Answers to: the documentation of the kernel, user_mode_linux_howto_v2 and xfrm_proc (the counters).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from interop.capabilities import KERNEL_MODULES
from netns import Namespace, stop

BOOT_SECS = 60.0
COMMAND_SECS = 60.0
HALT_SECS = 10.0
LINK = "vec0"
"""The name of the peer's link to the TAP device."""

MODULES = (
    "esp4 esp6 xfrm_user xfrm4_tunnel xfrm6_tunnel tunnel4 tunnel6 cbc ctr gcm ghash hmac sha1 sha256 sha512 "
    "aes authenc echainiv seqiv chacha20poly1305 dummy"
)
_HALT = "import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)"
"""LINUX_REBOOT_CMD_POWER_OFF, see reboot(2): `halt` is in a package that not every machine has."""

# Process 1 of the peer. Its root is the host's, read-only; orders are numbers of scripts in the folder.
_INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t hostfs none /mnt -o {scratch}
mount -t tmpfs tmpfs /run
stty -echo
mkdir -p /run/root/lib/modules
ln -s {all_modules}/$(uname -r) /run/root/lib/modules/
printf '#!/bin/sh\nexec modprobe -d /run/root "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/modprobe -a {modules}
ip link set lo up
echo "peer: booted $(uname -r)"
while read -r number; do
    sh -e /mnt/$number.sh </dev/null >/run/output 2>&1
    status=$?
    cat /run/output
    echo
    echo "peer: done $number $status"
done
{python} -c '{halt}'
"""


class PeerError(Exception):
    """The peer did not boot, did not answer in time, or a command inside failed."""


def add_tap(namespace: Namespace, name: str) -> None:
    """Make the device that a kernel will be attached to."""
    namespace.ip("tuntap", "add", "dev", name, "mode", "tap")
    namespace.ip("link", "set", name, "up")


class LinuxPeer:
    """One kernel, from its boot to its end; `run` works inside it."""

    def __init__(self, namespace: Namespace, end: str | socket.socket, scratch: Path) -> None:
        """Boot in a namespace, at the end of its TAP device, or of a socket whose datagrams are frames.

        The folder `scratch` is for this peer alone.

        Raises:
            PeerError: it did not boot in time.
        """
        scratch.mkdir(parents=True, exist_ok=True)
        self._scratch = scratch
        self._orders = 0
        self._console = b""
        init = scratch / "init"
        init.write_text(
            _INIT.format(
                scratch=scratch,
                all_modules=KERNEL_MODULES,
                modules=MODULES,
                python=sys.executable,
                halt=_HALT,
            ),
            encoding="utf-8",
        )
        init.chmod(0o755)
        self._process = namespace.start(
            *_command(_transport(end), init, scratch),
            stdin=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[] if isinstance(end, str) else [end.fileno()],
            env={**os.environ, "HOME": str(scratch), "TMPDIR": str(scratch)},
        )
        try:
            line = self._wait_for(b"peer: booted ", BOOT_SECS)
        except PeerError:
            self.close()
            raise
        self.release = line.split()[-1]

    def __enter__(self) -> LinuxPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, script: str, *, timeout: float = COMMAND_SECS) -> str:
        """Run a shell script inside and give its output, standard error included.

        Raises:
            PeerError: it failed, or did not end in time.
        """
        self._orders += 1
        (self._scratch / f"{self._orders}.sh").write_text(script, encoding="utf-8")
        self._console = b""
        if self._process.stdin is None:
            raise PeerError("the peer was closed")
        self._process.stdin.write(f"{self._orders}\n")
        self._process.stdin.flush()
        status = self._wait_for(f"peer: done {self._orders} ".encode(), timeout).split()[-1]
        text = self._console.decode(errors="replace").replace("\r\n", "\n")
        output = text.rpartition("\npeer: done ")[0]
        if status != "0":
            raise PeerError(f"exit status {status}: {output.strip()}\nafter {self._orders}.sh:\n{script}")
        return output

    def ip_batch(self, commands: list[str]) -> None:
        """Run many `ip` commands as one program: each program costs some 45 ms inside."""
        text = "\n".join(commands)
        self.run(f"ip -batch - <<'END'\n{text}\nEND\n")

    def counters(self) -> dict[str, int]:
        """Read /proc/net/xfrm_stat: each counter is a kind of error."""
        pairs = (line.split() for line in self.run("cat /proc/net/xfrm_stat").splitlines() if line.strip())
        return {name: int(value) for name, value in pairs}

    def errors(self) -> dict[str, int]:
        """Give the counters of errors that are not zero."""
        return {name: value for name, value in self.counters().items() if value}

    def close(self) -> None:
        """Switch the kernel off, by force if it does not listen."""
        with suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(HALT_SECS)
        # Every process of its user space is a process here, in the session that it leads.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        stop(self._process)

    def _wait_for(self, mark: bytes, timeout: float) -> str:
        """Read the console until a line with a mark is complete, and give that line."""
        deadline = time.monotonic() + timeout
        start = len(self._console)
        stream = self._process.stdout
        if stream is None:
            raise PeerError("the peer was closed")
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                at = self._console.find(mark, max(0, start - len(mark)))
                end = self._console.find(b"\n", at)
                if at >= 0 and end >= 0:
                    return self._console[at:end].decode(errors="replace").strip()
                left = deadline - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                part = os.read(stream.fileno(), 65536) if ready else b""
                if not part:
                    words = self._console[-3000:].decode(errors="replace")
                    why = "ended" if ready else f"did not say {mark.decode()!r} within {timeout} seconds"
                    raise PeerError(f"the peer {why}; its console:\n{words}")
                self._console += part


def _transport(end: str | socket.socket) -> str:
    """Name the other end of the link; without `gro=1` a TAP's frames of more than the MTU are dropped."""
    return f"tap,ifname={end},gro=1" if isinstance(end, str) else f"fd,fd={end.fileno()}"


def _command(transport: str, init: Path, scratch: Path) -> list[str]:
    """Give the command line of the kernel."""
    return [
        "linux.uml",
        "mem=256M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={init}",
        f"uml_dir={scratch}/",
        f"vec0:transport={transport}",
        "con=null",
        "con0=fd:0,fd:1",
        "quiet",
    ]
