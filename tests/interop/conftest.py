"""Fixtures of the tests that need namespaces.

No test and no assertion may enter.
Answers to: tests/netns.py for what a laboratory is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import interop.capabilities  # noqa: F401 (declares what `need` may ask for)
from netns import DaemonProcess, Lab, Namespace, need


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A laboratory of namespaces; whatever a test makes in it is gone afterwards."""
    need("netns")
    made = Lab()
    yield made
    made.close()


@pytest.fixture
def daemon(lab: Lab, tmp_path: Path) -> Callable[..., DaemonProcess]:
    """Start `sallet up` in a namespace: `daemon(namespace, "--mode", "host")`, each with its own run-dir."""
    need("engine")
    need("nft")
    need("tun")

    def start(namespace: Namespace, *arguments: str | Path, run_dir: Path | None = None) -> DaemonProcess:
        return DaemonProcess(namespace, run_dir or tmp_path / f"run-{namespace.name}", *arguments)

    return start
