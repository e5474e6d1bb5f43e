"""Services behind a policy line of inetd.conf speak ESP on the wire, those behind the reset in clear.

The server's host has SAs and no SPD entry: whatever protects its services comes from the file.
Answers to: ipsec(4), "Setting the policy"; inetd(8); `sallet inetd`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sallet
from interop.capabilities import NOBODY, python_for_nobody
from interop.capture import Capture, Heard
from interop.flows import CBC, Flow, all_spis
from interop.inetd_process import TAKE_ONE, InetdProcess, Question, ask
from interop.stations import quiet
from netns import DaemonProcess, Lab, Namespace, need

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(180)]

LINK = "wire0"
CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8::2"
STRANGER = "192.0.2.3"
"""Another address of the client's host, of which nobody's policy knows."""
FLOWS = [Flow(1, CLIENT, SERVER, suite=CBC), Flow(2, CLIENT6, SERVER6, suite=CBC)]
ECHO, CAT, TAKER, DAYTIME = 7, 7001, 7002, 13
SECRET = "what nobody on the wire may read"

PROTECTED = """\
#@ in ipsec esp/transport//require; out ipsec esp/transport//require
echo	stream	tcp4	nowait	root	internal
echo	stream	tcp6	nowait	root	internal
echo	dgram	udp4	wait	root	internal
7001	stream	tcp	nowait	nobody	/bin/cat	cat
7002	dgram	udp	wait	root	{python}	python {script}
7002	stream	tcp	wait	root	{python}	python {script}
"""
CLEAR = """\
#@
daytime	stream	tcp	nowait	root	internal
"""
Daemons = Callable[..., DaemonProcess]


@pytest.fixture
def hosts(lab: Lab) -> tuple[Namespace, Namespace]:
    """A client's host and a server's on one link."""
    client, server = lab.namespace("client"), lab.namespace("server")
    for namespace in (client, server):
        quiet(namespace)
    lab.link(client, LINK, server, LINK)
    lab.address(client, LINK, f"{CLIENT}/24", f"{STRANGER}/24", f"{CLIENT6}/64")
    lab.address(server, LINK, f"{SERVER}/24", f"{SERVER6}/64")
    return client, server


@pytest.fixture
def daemons(hosts: tuple[Namespace, Namespace], daemon: Daemons, tmp_path: Path) -> list[DaemonProcess]:
    """A daemon on either host: the same SAs, and policies for port 7 on the client's only."""
    associations = "".join(flow.associations() for flow in FLOWS)
    files = {"client": associations + client_policies(), "server": associations}
    started = []
    for namespace, (name, text) in zip(hosts, files.items(), strict=True):
        file = tmp_path / f"{name}.setkey"
        file.write_text(text)
        started.append(daemon(namespace, "--mode", "host", "--setkey", file))
    return started


def client_policies() -> str:
    """SPD entries for what the client says to the protected services, and for what they say."""
    lines = []
    for flow in FLOWS:
        for upper in ("tcp", "udp"):
            for port in (ECHO, CAT, TAKER):
                here, there = flow.left, f"{flow.right}[{port}]"
                rule = "ipsec esp/transport//require"
                lines.append(f"spdadd {here} {there} {upper} -P out {rule};\n")
                lines.append(f"spdadd {there} {here} {upper} -P in {rule};\n")
    return "".join(lines)


def in_clear(heard: Heard) -> set[tuple[str, int]]:
    """Who said something in clear, and from or to which service."""
    found = set()
    for line in heard.in_clear():
        words = line.split()
        ports = int(words[5][:4], 16), int(words[5][4:8], 16)
        found.add((words[0], min(ports)))
    return found


def test_policies_of_the_file_on_the_wire(
    hosts: tuple[Namespace, Namespace], daemons: list[DaemonProcess], tmp_path: Path
) -> None:
    client, server = hosts
    script = tmp_path / "take_one.py"
    script.write_text(TAKE_ONE)
    protection = PROTECTED.format(python=sys.executable, script=script)
    capture = Capture(client, LINK, all_spis(FLOWS), [SECRET.encode(), SECRET.upper().encode()])
    inetd = InetdProcess(server, tmp_path, protection + CLEAR, "--run-dir", daemons[1].run_dir)
    assert inetd.ready_line == "sallet inetd: ready: 7 of 7 services\n", inetd.said()
    protected: list[Question] = [
        ("tcp", SERVER, ECHO, SECRET),
        ("tcp", SERVER6, ECHO, SECRET),
        ("udp", SERVER, ECHO, SECRET),
        ("tcp", SERVER, CAT, SECRET),
        ("udp", SERVER, TAKER, SECRET),
        ("tcp", SERVER, TAKER, SECRET),
    ]
    answers = ask(client, *protected, ("tcp", SERVER, DAYTIME, "what time is it?"))
    assert answers[:4] == [SECRET] * 4
    assert answers[4:6] == [f"0 {SECRET.upper()}"] * 2
    assert answers[6].count(":") == 2
    heard = capture.end()
    assert (heard.others_lost, heard.readable) == (0, 0)
    assert in_clear(heard) == {(CLIENT, DAYTIME), (SERVER, DAYTIME)}
    # Both ways in both families, and nothing but that.
    assert len(heard.flow) == 4

    # Who speaks to the protected services in clear is not heard, and not answered.
    capture = Capture(client, LINK, all_spis(FLOWS), [])
    stranger = f"udp@{STRANGER}", f"tcp@{STRANGER}"
    answers = ask(client, *((kind, SERVER, ECHO, "hello") for kind in stranger))
    assert answers == ["! TimeoutError"] * 2
    heard = capture.end()
    assert in_clear(heard) == {(STRANGER, ECHO)}

    # The file is changed: the same sockets, without the policies; the stranger is served.
    inetd.reread(protection.split("\n", 1)[1] + CLEAR)
    assert ask(client, *((kind, SERVER, ECHO, "hello") for kind in stranger)) == ["hello"] * 2
    # And back again.
    inetd.reread(protection + CLEAR)
    assert ask(client, protected[2], (stranger[0], SERVER, ECHO, "hello")) == [SECRET, "! TimeoutError"]
    assert inetd.stop() == 0
    assert "not started" not in inetd.said()


def test_a_daemon_that_starts_anew_learns_the_policies_at_sighup(
    hosts: tuple[Namespace, Namespace], daemons: list[DaemonProcess], daemon: Daemons, tmp_path: Path
) -> None:
    client, server = hosts
    script = tmp_path / "take_one.py"
    script.write_text(TAKE_ONE)
    text = PROTECTED.format(python=sys.executable, script=script)
    inetd = InetdProcess(server, tmp_path, text, "--run-dir", daemons[1].run_dir)
    question = ("tcp", SERVER, ECHO, SECRET)
    strangers = [
        (f"{kind}@{STRANGER}", SERVER, port, SECRET) for kind in ("tcp", "udp") for port in (ECHO, TAKER)
    ]
    assert ask(client, question) == [SECRET]
    assert daemons[1].stop() == 0
    # Nobody is served in clear for it: what no daemon gives its policy is not answered.
    assert {answer[:2] for answer in ask(client, *strangers)} == {"! "}
    assert "7002/udp4 is not served: its policy cannot be set: no daemon answers" in inetd.said()
    daemon(server, "--mode", "host", "--setkey", tmp_path / "server.setkey")
    assert {answer[:2] for answer in ask(client, strangers[0])} == {"! "}
    inetd.reread(text)
    assert ask(client, question, strangers[0]) == [SECRET, "! TimeoutError"]
    assert inetd.stop() == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that other users may enter, with the package that they may run; pytest's are closed."""
    made = Path(tempfile.mkdtemp(prefix="sallet-inetd-"))
    made.chmod(0o755)
    package = Path(sallet.__file__).parent
    shutil.copytree(package, made / "sallet", ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    yield made
    shutil.rmtree(made)


def test_bypass_is_for_the_privileged(
    hosts: tuple[Namespace, Namespace], daemon: Daemons, open_folder: Path, tmp_path: Path
) -> None:
    need("stranger")
    _, server = hosts
    run_dir = open_folder / "run"
    daemon(server, "--mode", "host", "--group", "nogroup", run_dir=run_dir)
    bypass = "#@ out bypass\n7007 stream tcp nowait {} /bin/cat cat\n"
    inetd = InetdProcess(server, tmp_path, bypass.format("root"), "--run-dir", run_dir)
    assert inetd.ready_line == "sallet inetd: ready: 1 of 1 services\n", inetd.said()
    assert inetd.stop() == 0
    file = open_folder / "inetd.conf"
    file.write_text(
        bypass.format("nobody:nogroup")
        + "#@ out entrust\n7008 stream tcp nowait nobody:nogroup /bin/cat cat\n"
    )
    nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    words = (python_for_nobody() or "", "-m", "sallet.cli.main", "inetd", "-f", file, "--run-dir", run_dir)
    # In the dialect of KAME anybody may ask for protection, and nobody but root for none.
    kame = ("--dialect", "kame")
    process = server.start(*nobody, *words, *kame, env={**os.environ, "PYTHONPATH": str(open_folder)})
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "sallet inetd: ready: 1 of 2 services\n", process.communicate(timeout=20)[1]
    assert server.run("ss", "-tlnH", "sport", "=", ":7007").stdout == ""
    process.terminate()
    said = process.communicate(timeout=20)[1]
    assert "7007/tcp4 (line 2) is not started: its policy cannot be set: bypass needs a privilege" in said
