"""AH between a daemon of ours and a real Linux kernel: both modes, all pairs of families, and AH over ESP.

No packet is made here: both stacks make their own. Root only, see linux_peer.py.
Answers to: RFC 4302; the kernel judges us by its error counters (its documentation, xfrm_proc).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.test_linux_peer import CBC, TRANSPORT, TUNNEL, Flow, Station, Suite, ping, station
from netns import DaemonProcess, need

pytestmark = [pytest.mark.interop, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(60)]

SHA1 = Suite("sha1", (("-A", "hmac-sha1", 20),), (("auth-trunc", "hmac(sha1)", "96"),))
SHA256 = Suite("sha256", (("-A", "hmac-sha256", 32),), (("auth-trunc", "hmac(sha256)", "128"),))
SHA512 = Suite("sha512", (("-A", "hmac-sha512", 64),), (("auth-trunc", "hmac(sha512)", "256"),))


@dataclass(frozen=True)
class AhFlow(Flow):
    """A flow in AH, and, where there is an inner suite, ESP inside of it."""

    inside: Suite | None = None
    flags: str = "flag align4"
    """What the kernel is told about padding over IPv4."""

    def __str__(self) -> str:
        over = f"-over-{self.inside.name}" if self.inside else ""
        return f"ah-{super().__str__()}{over}{'' if self.flags else '-wide'}"

    def layers(self) -> list[tuple[str, Suite]]:
        """Give protocols and suites, innermost first."""
        inner = [("esp", self.inside)] if self.inside else []
        return [*inner, ("ah", self.suite)]

    def setkey_text(self) -> str:
        """Write our side for setkey."""
        (us, them), (ours, theirs) = self.gateways, self.ends
        lines = [
            f"add {source} {destination} {protocol} {spi + self.number:#x} -m {self.mode} -r 64 "
            f"-u {self.number} {suite.setkey_text(label + str(self))};"
            for protocol, suite in self.layers()
            for spi, label, source, destination in ((0x1000, "out", us, them), (0x2000, "in", them, us))
        ]
        for direction, source, destination, a, b in (
            ("out", ours, theirs, us, them),
            ("in", theirs, ours, them, us),
        ):
            ends = f"{a}-{b}" if self.mode == "tunnel" else ""
            rules = " ".join(
                f"{protocol}/{self.mode}/{ends}/unique:{self.number}" for protocol, _ in self.layers()
            )
            selector = f"{source}/{self.host_bits} {destination}/{self.host_bits} any"
            lines.append(f"spdadd {selector} -P {direction} ipsec {rules};")
        return "\n".join(lines) + "\n"

    def kernel_batch(self) -> list[str]:
        """Write the kernel's side for `ip -batch`."""
        (us, them), (ours, theirs) = self.gateways, self.ends
        lines = []
        for protocol, suite in self.layers():
            flags = self.flags if protocol == "ah" and self.outer == 4 else ""
            if self.mode == "tunnel":
                flags += " flag af-unspec"
            lines += [
                f"xfrm state add src {source} dst {destination} proto {protocol} spi {spi + self.number:#x} "
                f"reqid {self.number} mode {self.mode} replay-window 64 {flags} "
                f"{suite.kernel_text(label + str(self))}"
                for spi, label, source, destination in ((0x1000, "out", us, them), (0x2000, "in", them, us))
            ]
        for direction, source, destination, a, b in (
            ("in", ours, theirs, us, them),
            ("out", theirs, ours, them, us),
        ):
            templates = " ".join(
                f"tmpl src {a} dst {b} proto {protocol} reqid {self.number} mode {self.mode}"
                for protocol, _ in self.layers()
            )
            lines.append(
                f"xfrm policy add dir {direction} src {source}/{self.host_bits} "
                f"dst {destination}/{self.host_bits} priority 100 {templates}"
            )
        return lines


PROTECTED: list[tuple[Suite, tuple[str, int, int], Suite | None]] = [
    *((SHA256, frame, None) for frame in (*TRANSPORT, *TUNNEL)),
    *((suite, frame, None) for suite in (SHA1, SHA512) for frame in TRANSPORT),
    *((SHA256, frame, CBC) for frame in TRANSPORT),
]
FLOWS = [AhFlow(number, suite, *frame, inside) for number, (suite, frame, inside) in enumerate(PROTECTED, 1)]
WIDE = AhFlow(40, SHA256, "transport", 4, 4, flags="")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of this module's station are."""
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="module")
def host(scratch: Path) -> Iterator[Station]:
    """A host in front of the kernel."""
    for capability in ("engine", "nft", "linux-peer"):
        need(capability)
    with ExitStack() as stack:
        yield station(stack, scratch, "host", [*FLOWS, WIDE])


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_a_host_and_a_kernel(host: Station, flow: AhFlow) -> None:
    host.exchange(flow)
    assert all(count > 10 for count in host.packets(flow))
    assert len(host.packets(flow)) == 2 * len(flow.layers())
    assert host.peer.errors() == {}


# = https://www.rfc-editor.org/rfc/rfc4302#appendix-A1
# # Options that routers fill in count as zero; those that they only read count.
@pytest.mark.parametrize("words", ["-R", "-T tsonly"])
def test_options_that_fill_on_the_way(host: Station, words: str) -> None:
    flow = FLOWS[0]
    ours, theirs = flow.ends
    host.users.run(*ping(56)[:-1], *words.split(), "-I", ours, theirs)
    host.peer.run(" ".join((*ping(56)[:-1], words, "-I", theirs, ours)))
    assert host.peer.errors() == {}


def test_the_padding_of_a_kernel_that_was_told_nothing(host: Station, scratch: Path) -> None:
    """Without align4 a kernel pads to eight bytes and takes nothing else; we take both, and can send it."""
    ours, theirs = WIDE.ends
    before = host.peer.errors()
    assert host.users.run(*ping(56), ours, theirs, check=False).returncode == 1
    assert host.peer.errors() != before
    assert host.daemon.stop() == 0
    rules, run_dir = scratch / "flows.setkey", scratch / "run"
    setting = ("--sysctl", "sallet.ah_wide_padding=1")
    DaemonProcess(host.users, run_dir, "--mode", "host", "--setkey", rules, *setting)
    host.users.run(*ping(56), ours, theirs)
    host.peer.run(" ".join((*ping(56), theirs, ours)))
