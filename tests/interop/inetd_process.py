"""`sallet inetd` in a namespace, and what its clients ask.

No test and no assertion about policies may enter.
Answers to: inetd(8), RFC 862, RFC 863, RFC 867.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import pytest

from netns import Namespace, environment, wait_until

CLIENT_SECS: Final = 60
SCRIPT: Final = Path(__file__)
# One datagram or connection for each run, as servers do that get the listening socket.
TAKE_ONE: Final = """\
import os, socket, sys
held = socket.socket(fileno=0)
if held.type == socket.SOCK_DGRAM:
    data, sender = held.recvfrom(65536)
    held.sendto(b"%d " % os.getuid() + data.upper(), sender)
else:
    connection, _ = held.accept()
    connection.sendall(b"%d " % os.getuid() + connection.recv(65536).upper())
"""


class InetdProcess:
    """`sallet inetd` with a file of its own."""

    def __init__(self, namespace: Namespace, folder: Path, text: str, *words: str | Path) -> None:
        self.namespace = namespace
        self.file = folder / "inetd.conf"
        self.file.write_text(text)
        self.log = folder / "inetd.log"
        with self.log.open("w") as log:
            self.process = namespace.start(
                *(sys.executable, "-m", "sallet.cli.main", "inetd", "-f", self.file, *words),
                env=environment(),
                stderr=log,
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()

    def said(self) -> str:
        """What it has printed as errors and remarks up to now."""
        return self.log.read_text()

    def reread(self, text: str, says: str = "was read again") -> None:
        """Change the file, tell the process, and wait until it says so."""
        before = self.said().count(says)
        self.file.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        if not wait_until(lambda: self.said().count(says) > before):
            pytest.fail(f"inetd did not say `{says}':\n{self.said()}")

    def stop(self) -> int:
        """Stop it as a user would."""
        self.process.terminate()
        return self.process.wait(20)


Question = tuple[str, str, int, str]
"""`tcp` or `udp`, an address, a port, and what is said; `tcp@ADDRESS` asks from one address of several."""


def ask(namespace: Namespace, *questions: Question) -> list[str]:
    """Ask services from inside a namespace, one after the other; a failure answers `! ` and its name."""
    command = (sys.executable, SCRIPT, json.dumps(questions))
    done = namespace.run(*command, timeout=CLIENT_SECS, env=environment())
    answers: list[str] = json.loads(done.stdout)
    return answers


def client(kind: str, address: str, port: int, text: str) -> str:
    """Send a text and return the answer, all of it on a stream."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind, _, source = kind.partition("@")
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as asked:
        asked.settimeout(1 if source else 10)
        if source:
            asked.bind((source, 0))
        asked.connect((address, port))
        asked.sendall(text.encode())
        if kind == "udp":
            return asked.recv(65536).decode()
        asked.shutdown(socket.SHUT_WR)
        answer = b""
        while more := asked.recv(65536):
            answer += more
        return answer.decode()


def main() -> None:
    """Run as a program: `inetd_process.py QUESTIONS`, in JSON as are the answers."""
    answers = []
    for kind, address, port, text in json.loads(sys.argv[1]):
        try:
            answers.append(client(kind, address, port, text))
        except OSError as error:
            answers.append(f"! {type(error).__name__}")
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
