"""`sallet inetd` as anybody's inetd: its services, programs, SIGHUP, check; policies without a daemon.

What policies do on the wire is told in `test_inetd.py`.
Answers to: inetd(8), RFC 862, RFC 863, RFC 867.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from interop.inetd_process import TAKE_ONE, InetdProcess, ask
from netns import Lab, Namespace, environment, need
from sallet.cli.main import main

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

INTERNAL = """\
echo	stream	tcp	nowait	root	internal
echo	stream	tcp6	nowait	root	internal
echo	dgram	udp4	wait	root	internal
echo	dgram	udp6	wait	root	internal
discard	stream	tcp	nowait	root	internal
daytime	stream	tcp	nowait	root	internal
daytime	dgram	udp	wait	root	internal
"""


@pytest.fixture
def host(lab: Lab) -> Namespace:
    need("engine")
    made = lab.namespace("host")
    made.ip("link", "set", "lo", "up")
    return made


REFUSED = "! ConnectionRefusedError"


def test_the_internal_services(host: Namespace, tmp_path: Path) -> None:
    inetd = InetdProcess(host, tmp_path, INTERNAL)
    assert inetd.ready_line == "sallet inetd: ready: 7 of 7 services\n"
    echoes = [(kind, address, 7, "a question") for kind in ("tcp", "udp") for address in ("127.0.0.1", "::1")]
    large = "much " * 20_000
    answers = ask(
        host,
        *echoes,
        ("tcp", "127.0.0.1", 7, large),
        ("tcp", "127.0.0.1", 9, "a question"),
        ("tcp", "::1", 9, "a question"),
        ("tcp", "127.0.0.1", 13, "what time is it?"),
        ("udp", "127.0.0.1", 13, "x"),
    )
    assert answers[:7] == ["a question"] * 4 + [large, "", REFUSED]
    assert [answer.count(":") for answer in answers[7:]] == [2, 2]
    assert inetd.stop() == 0
    assert inetd.said() == ""


def test_programs_get_their_socket_and_their_user(host: Namespace, tmp_path: Path) -> None:
    need("root")
    script = tmp_path / "take_one.py"
    script.write_text(TAKE_ONE)
    python = f"{sys.executable} python {script}"
    text = f"""\
7001 stream tcp nowait root /bin/cat cat
7002 stream tcp nowait nobody:nogroup /usr/bin/id id -u -n
127.0.0.1:7003 dgram udp wait root {python}
7004 stream tcp wait root {python}
7005 dgram udp nowait root
	{python}
7006 stream tcp nowait no-such-user /bin/cat cat
7007 stream tcp nowait root /no/such/program program
7008 stream tcp nowait.2 root /bin/cat cat
"""
    inetd = InetdProcess(host, tmp_path, text)
    assert inetd.ready_line == "sallet inetd: ready: 7 of 8 services\n"
    assert "there is no user no-such-user" in inetd.said()
    single = [("tcp", "127.0.0.1", port, "") for port in (7002, 7007)]
    twice = [
        (kind, "127.0.0.1", port, "a") for kind, port in (("udp", 7003), ("tcp", 7004), ("udp", 7005))
    ] * 2
    answers = ask(
        host, ("tcp", "127.0.0.1", 7001, "a"), *single, *twice, *[("tcp", "127.0.0.1", 7008, "x")] * 3
    )
    assert answers[:3] == ["a", "nobody\n", ""]
    assert answers[3:9] == ["0 A"] * 6
    assert answers[9:11] == ["x", "x"]
    assert answers[11] != "x"
    assert "/no/such/program: No such file" in inetd.said()
    assert "asked for too often" in inetd.said()
    assert inetd.stop() == 0


def test_sighup_reads_the_file_again(host: Namespace, tmp_path: Path) -> None:
    echo, discard, daytime = (
        f"{name} stream tcp nowait root internal\n" for name in ("echo", "discard", "daytime")
    )
    inetd = InetdProcess(host, tmp_path, echo + discard)
    socket_of_echo = inode(host, 7)
    inetd.reread(echo + daytime)
    assert inode(host, 7) == socket_of_echo
    inetd.reread("echo stream nonsense\n", says="stays as it was: the file has errors")
    assert "inetd.conf:1:21: error: " in inetd.said()
    answers = ask(host, *(("tcp", "127.0.0.1", port, "a question") for port in (7, 9, 13)))
    assert answers[:2] == ["a question", REFUSED]
    assert answers[2].count(":") == 2


def inode(host: Namespace, port: int) -> str:
    """The number of the socket that listens on a port."""
    return host.run("ss", "-tlnHe", "sport", "=", f":{port}").stdout.split("ino:")[1].split()[0]


def test_without_a_daemon_what_has_a_policy_is_not_served(host: Namespace, tmp_path: Path) -> None:
    text = (
        "echo stream tcp nowait root internal\n"
        "#@ out ipsec esp/transport//require\n"
        "discard stream tcp nowait root internal\n"
        "echo dgram udp wait root internal\n"
        "#@\n"
        "daytime stream tcp nowait root internal\n"
    )
    inetd = InetdProcess(host, tmp_path, text, "--run-dir", tmp_path / "nobody")
    assert inetd.ready_line == "sallet inetd: ready: 2 of 4 services\n"
    for service in ("discard/tcp4 (line 3)", "echo/udp4 (line 4)"):
        assert f"{service} is not started: its policy cannot be set: no daemon answers" in inetd.said()
    assert ask(host, *(("tcp", "127.0.0.1", port, "a") for port in (9, 7))) == [REFUSED, "a"]
    # A service that was clear and shall be protected is closed where it cannot be.
    inetd.reread("#@ in ipsec esp/transport//require\necho stream tcp nowait root internal\n")
    assert ask(host, ("tcp", "127.0.0.1", 7, "a")) == [REFUSED]
    assert "echo/tcp4 (line 2) is closed: its policy cannot be set" in inetd.said()


def test_a_file_with_errors_starts_nothing(host: Namespace, tmp_path: Path) -> None:
    file = tmp_path / "inetd.conf"
    file.write_text("#@ ipsec ah/require\necho stream tcp nowait root internal\n")
    words = (sys.executable, "-m", "sallet.cli.main", "inetd", "-f", file)
    done = host.run(*words, check=False, env=environment())
    assert done.returncode == 1
    assert f"{file}:1:4: error: a policy begins with its direction" in done.stderr
    assert "nothing was started" in done.stderr


def test_the_check(host: Namespace, tmp_path: Path) -> None:
    file = tmp_path / "inetd.conf"
    host.ip("address", "add", "192.0.2.1/32", "dev", "lo")
    good = "#@ in ipsec esp/tunnel/192.0.2.9-192.0.2.1/require\necho stream tcp nowait root internal\n"
    words = (sys.executable, "-m", "sallet.cli.main", "inetd", "--check", "-f", file)
    file.write_text(good)
    done = host.run(*words, env=environment())
    assert (done.stdout, done.stderr) == (f"{file}: 1 services, 0 errors\n", "")
    file.write_text(good.replace("192.0.2.1/", "192.0.2.7/"))
    done = host.run(*words, "--json", env=environment())
    document = json.loads(done.stdout)
    assert document["schema"] == "sallet.inetd/1"
    (finding,) = document["findings"]
    assert (finding["severity"], finding["line"], finding["column"]) == ("warning", 1, 34)
    (service,) = document["services"]
    assert service["policies"] == ["in ipsec esp/tunnel/192.0.2.9-192.0.2.7/require"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("#@ in discard", 7),
        ("#@ in none", 7),
        ("#@ ipsec ah/require", 4),
        ("#@ ipsec esp/transport//require", 4),
        ("#@ in ipsec esp/transport//unique", 28),
    ],
)
def test_what_the_check_refuses(
    text: str, column: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "inetd.conf"
    file.write_text(f"{text}\n")
    words = ["inetd", "--check", "-f", str(file), "--personality"]
    assert main([*words, "qnx"]) == 1
    assert f"{file}:1:{column}: error: " in capsys.readouterr().err
    assert main([*words, "sallet"]) == (0 if "unique" in text else 1)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inetd", "--check", "-f", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert main(["inetd", "--json"]) == 2
