"""Programs of other users at the daemon's sockets: what each right lets them do, and that none means nothing.

No right is given by the test to itself: every program here runs as another user. Answers to RFC 2367 §1,
unix(7), core(5).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interop.capabilities import NOBODY, python_for_nobody
from netns import need
from sallet.client import PfkeyClient
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.messages import Address, Key, Message, Sa
from unit.daemon_process import daemon

READERS, WRITERS, KEY_READERS = 54321, 54322, 54323
"""Groups that need no name."""
AUTH = bytes(range(100, 132))
GET_TYPES = {int(kind) for kind in (Msg.GET, Msg.DUMP, Msg.X_PROMISC, Msg.X_SPDGET, Msg.X_SPDDUMP)}

# Runs as somebody else, with the standard library alone: asks for each kind of message, and prints the errno.
STRANGER = """
import json, socket, struct, sys
pfkey, control = sys.argv[1:]
found = {"types": {}, "keys": ""}
try:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(control)
    line.sendall(b'{"id": 1, "method": "status"}\\n')
    found["control"] = json.loads(line.makefile("rb").readline()).get("error", {}).get("kind", "served")
except OSError as error:
    found["control"] = error.errno
for kind in range(256):
    try:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one.settimeout(0.3 if kind == 6 else 20)  # an ACQUIRE that is permitted has no answer
        one.connect(pfkey)
        one.send(struct.pack("=BBBBHHII", 2, kind, 0, 0, 2, 0, kind, 77))
        answer = one.recv(65536)
        found["types"][kind] = answer[2]
        if kind == 10:
            found["keys"] = answer.hex()
    except TimeoutError:
        found["types"][kind] = 0
    except OSError as error:
        found["types"][kind] = error.errno
print(json.dumps(found))
"""


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """Where a run directory is made; pytest's own are closed to other users."""
    made = Path(tempfile.mkdtemp(prefix="sallet-strangers-"))
    made.chmod(0o755)
    yield made / "run"
    shutil.rmtree(made)


def ask_as_stranger(run_dir: Path, *groups: int) -> Any:
    """Let a program of user `nobody`, who is in these groups, ask for everything."""
    python = python_for_nobody()
    assert python is not None
    done = subprocess.run(
        [python, "-c", STRANGER, run_dir / "pfkey.linux.sock", run_dir / "control.sock"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=list(groups),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def add_one(run_dir: Path) -> None:
    with PfkeyClient(run_dir, "linux") as client:
        extensions: dict[Ext, Any] = {
            Ext.SA: Sa(0x1000, auth=5),
            Ext.ADDRESS_SRC: Address(ip_address("192.0.2.1")),
            Ext.ADDRESS_DST: Address(ip_address("192.0.2.2")),
            Ext.KEY_AUTH: Key(256, AUTH),
        }
        client.request(Message(Msg.ADD, 2, extensions=extensions))


# = https://www.rfc-editor.org/rfc/rfc2367#section-1
# # only a privileged process may speak, and a full listener loses its own messages only
@pytest.mark.bug_row(66)
def test_a_stranger_gets_eacces_for_every_message(run_dir: Path) -> None:
    """Row 66: what changes policies needs a right, whatever message and whichever way in."""
    need("stranger")
    with daemon(run_dir) as started:
        assert "ready" in started.ready
        assert stat.S_IMODE(run_dir.stat().st_mode) == 0o750
        made = [path for path in run_dir.iterdir() if path.is_socket()]
        assert len(made) > 5
        assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o660}
        shut = ask_as_stranger(run_dir, READERS)
        assert shut["control"] == errno.EACCES
        assert set(shut["types"].values()) == {errno.EACCES}
        # The files' modes are one fence, the daemon's own look at who is there another.
        run_dir.chmod(0o755)
        for path in made:
            path.chmod(0o666)
        inside = ask_as_stranger(run_dir, READERS)
        assert inside["control"] == "permission"
        assert set(inside["types"].values()) == {errno.EACCES}
        assert len(inside["types"]) == 256


def test_each_group_has_its_right(run_dir: Path) -> None:
    need("stranger")
    groups = ("--group", str(READERS), "--write-group", str(WRITERS), "--keys-group", str(KEY_READERS))
    with daemon(run_dir, *groups):
        add_one(run_dir)
        assert stat.S_IMODE(run_dir.stat().st_mode) == 0o750
        assert {path.stat().st_gid for path in (run_dir, *run_dir.glob("*.sock"))} == {READERS}
        outside = ask_as_stranger(run_dir, WRITERS, KEY_READERS)
        assert set(outside["types"].values()) == {errno.EACCES}
        reader = ask_as_stranger(run_dir, READERS)
        heard = {int(kind) for kind, got in reader["types"].items() if got != errno.EACCES}
        assert heard == GET_TYPES
        assert reader["control"] == "served"
        assert AUTH.hex() not in reader["keys"]
        assert "00" * len(AUTH) in reader["keys"]
        keeper = ask_as_stranger(run_dir, READERS, KEY_READERS)
        assert AUTH.hex() in keeper["keys"]
        writer = ask_as_stranger(run_dir, READERS, WRITERS)
        assert errno.EACCES not in writer["types"].values()
        assert AUTH.hex() not in writer["keys"]


def test_a_group_enters_a_run_directory_of_before_but_not_any(tmp_path: Path) -> None:
    need("stranger")
    with daemon(tmp_path / "run"):
        pass
    with daemon(tmp_path / "run", "--group", str(READERS)) as started:
        assert "ready" in started.ready
        assert (tmp_path / "run").stat().st_gid == READERS
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    with daemon(other, "--group", str(READERS)) as refused:
        assert refused.ready == ""
    assert f"chgrp {READERS}" in refused.errors
    assert other.stat().st_gid != READERS
    with daemon(tmp_path / "run", "--write-group", str(READERS)) as senseless:
        pass
    assert "--group" in senseless.errors


def test_no_core_file_is_written(tmp_path: Path) -> None:
    """The limit holds for files, the flag for what is piped to a program, too."""
    script = (
        "import ctypes, resource; from sallet import corefile; corefile.forbid();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment)
    assert shown == "(0, 0) 0\n"
    with daemon(tmp_path / "run") as started:
        limits = Path(f"/proc/{started.process.pid}/limits").read_text(encoding="ascii")
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]
