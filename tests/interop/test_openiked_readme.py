"""The README's section on an unmodified IKE daemon, word for word, on two hosts.

No other word may enter but the addresses the other way round, as the section says.
Answers to: README.md, "An unmodified IKE daemon".
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interop.openiked import PATIENCE_SECS, SETTLE_SECS, nothing_left
from interop.stations import End, quiet
from netns import Lab, Namespace, environment, need, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(60)]

README = Path(__file__).resolve().parents[2] / "README.md"
OURS, THEIRS = "192.0.2.1", "192.0.2.2"


def section() -> tuple[str, list[str]]:
    """Read the configuration and the commands."""
    text = README.read_text(encoding="utf-8").partition("## An unmodified IKE daemon\n")[2]
    found = re.search(r"```text\n(.*?)```.*?```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1], [line.partition("#")[0].strip() for line in found[2].splitlines()]


class Host:
    """A namespace with a directory of its own, in which somebody types."""

    def __init__(self, namespace: Namespace, directory: Path, configuration: str) -> None:
        directory.mkdir()
        (directory / "iked.conf").write_text(configuration, encoding="utf-8")
        (directory / "iked.conf").chmod(0o600)
        (program := directory / "sallet").write_text(
            f'#!/bin/sh\nexec {sys.executable} -m sallet.cli.main "$@"\n'
        )
        program.chmod(0o755)
        path = f"{directory}:{os.environ['PATH']}"
        self.environment = {**environment(), "PATH": path, "SALLET_RUN_DIR": str(directory / "run")}
        self.namespace, self.directory = namespace, directory
        self.run_dir = directory / "run"
        self.background: list[subprocess.Popen[str]] = []
        namespace.run("mount", "-t", "tmpfs", "tmpfs", "/run")

    def type(self, line: str) -> str:
        """Run a line; what goes to the background stays there."""
        if line.endswith("&"):
            started = self.namespace.start(
                *("sh", "-c", f"cd {self.directory} && exec {line.removesuffix('&')}"),
                **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
                env=self.environment,
            )
            self.background.append(started)
            return ""
        done = self.namespace.run(*("sh", "-c", line), env=self.environment, check=False)
        return done.stdout + done.stderr

    def sallet(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask the daemon."""
        return self.namespace.run(self.directory / "sallet", *words, env=self.environment)


def test_the_section_works_as_it_stands(lab: Lab, tmp_path: Path) -> None:
    for capability in ("root", "openiked", "ping", "engine", "nft", "tun"):
        need(capability)
    configuration, (up, iked, show, dump) = section()
    swapped = {OURS: THEIRS, THEIRS: OURS, "active": "passive"}
    other = re.sub("|".join(map(re.escape, swapped)), lambda word: swapped[word[0]], configuration)
    near, far = (lab.namespace(name) for name in ("near", "far"))
    for namespace in (near, far):
        quiet(namespace)
    lab.link(near, "wire0", far, "wire0")
    lab.address(near, "wire0", f"{OURS}/24")
    lab.address(far, "wire0", f"{THEIRS}/24")
    hosts = [Host(far, tmp_path / "far", other), Host(near, tmp_path / "near", configuration)]
    for host in hosts:
        host.type(up)
        assert wait_until((host.run_dir / "pcb.sock").exists)
        host.type(iked)
        assert wait_until(lambda host=host: "connect" not in host.type(show))  # type: ignore[misc]
        time.sleep(SETTLE_SECS)
    for host in hosts:
        assert wait_until(lambda host=host: "ESTABLISHED" in host.type(show), PATIENCE_SECS, 0.3)  # type: ignore[misc]
        assert host.type(dump).count("mode=tunnel") == 2
    End(near, OURS).ping(End(far, THEIRS), 56)
    for host in hosts:
        daemon, program = host.background
        program.terminate()
        assert program.wait(PATIENCE_SECS) == 0
        assert wait_until(lambda host=host: nothing_left(host))  # type: ignore[misc]
        daemon.terminate()
        assert daemon.wait(PATIENCE_SECS) == 0
