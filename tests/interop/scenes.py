"""The two stories that both modes have in common: a day of traffic, and a daemon that is killed.

No set-up of links and addresses may enter: that is what the modes differ in.
Answers to: design "host mode", Fail closed; RFC 4301 section 5; RFC 8201 and 1191 for too large packets.

A capture begins before the daemons start and ends after they have stopped. Nothing is left out of it but what
`capture.chatter` names, and the stranger's frames, which are known octet by octet.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from interop.capture import Capture, Heard
from interop.flows import Flow, Side, all_spis, setkey_text
from interop.stations import (
    LINK_MTU,
    TRANSFER_BYTES,
    End,
    Services,
    drops,
    guard_counters,
    inject,
    mac,
    stranger_frames,
)
from interop.traffic import SECRET
from netns import DaemonProcess, Namespace, wait_until

LINK = "wire0"
"""The link between the daemons, on either side."""
Daemons = Callable[..., DaemonProcess]
"""The fixture `daemon`."""


@dataclass(frozen=True)
class Scene:
    """Two daemons on one link, the users behind them, and the flows between those."""

    mode: str
    left: Namespace
    right: Namespace
    users: tuple[Namespace, Namespace]
    """Where the ends are: the namespaces of the daemons themselves, or those behind them."""

    def ends(self, flows: list[Flow]) -> list[tuple[End, End]]:
        """Give the ends of every flow from left to right."""
        left, right = self.users
        return [(End(left, user(flow.left)), End(right, user(flow.right))) for flow in flows]

    @contextmanager
    def listening(self, flows: list[Flow], *generations: int) -> Iterator[list[Heard]]:
        """Listen on the link, with servers on both ends; what was heard is in the list afterwards."""
        services = [Services(namespace) for namespace in self.users]
        capture = Capture(self.left, LINK, all_spis(flows, *generations), [SECRET[:16], SECRET[16:32]])
        heard: list[Heard] = []
        yield heard
        said = [service.end() for service in services]
        heard.append(capture.end())
        assert said == ["", ""], "a stranger came through"

    def start(
        self, daemon: Daemons, directory: Path, flows: list[Flow]
    ) -> tuple[DaemonProcess, DaemonProcess]:
        """Start both daemons with their setkey files."""
        left = daemon(self.left, "--mode", self.mode, "--setkey", setkey_file(directory, flows, "left"))
        right = daemon(self.right, "--mode", self.mode, "--setkey", setkey_file(directory, flows, "right"))
        return left, right

    def forged(self, flows: list[Flow]) -> list[bytes]:
        """Make clear frames to the left in the name of the ends on the right."""
        macs = mac(self.right, LINK), mac(self.left, LINK)
        return [frame for left, right in self.ends(flows) for frame in stranger_frames(right, left, *macs)]


def user(prefix: str) -> str:
    """Give the address of the user in a network; an address is its own."""
    network = ip_network(prefix)
    return str(network[0] if network.num_addresses == 1 else network[2])


def setkey_file(directory: Path, flows: list[Flow], side: Side, generation: int = 1) -> Path:
    """Write one end's file."""
    path = directory / f"{side}-{generation}.setkey"
    path.write_text(setkey_text(flows, side, generation), encoding="utf-8")
    return path


def both_ways(pairs: list[tuple[End, End]]) -> list[tuple[End, End]]:
    """Add the way back of every pair."""
    return pairs + [(far, near) for near, far in pairs]


def a_day_of_traffic(scene: Scene, flows: list[Flow], daemon: Daemons, directory: Path) -> None:
    """Ping, UDP and 50 MB of TCP pass in ESP; a stranger does not; without SAs nothing does."""
    pairs = scene.ends(flows)
    with scene.listening(flows) as captured:
        daemons = scene.start(daemon, directory, flows)
        for near, far in both_ways(pairs):
            near.ping(far, 56)
            ping_until_the_path_is_known(near, far, 1400)
            near.exchange_datagrams(far)
        for near, far in pairs:
            near.transfer(far)
        forged = scene.forged(flows)
        strangers_are_counted(scene, daemons[0], forged)
        nothing_passes_without_sas(daemons, pairs)
        assert [each.stop() for each in daemons] == [0, 0]
    only_esp(captured[0], all_spis(flows), forged)
    assert captured[0].flow_packets > 2 * TRANSFER_BYTES * len(flows) / LINK_MTU


def ping_until_the_path_is_known(near: End, far: End, size: int) -> None:
    """Ping with a size that may be too large at first: then the answer says so, and the next ones fit."""
    for sender, receiver in ((near, far), (far, near)):  # The answer has to find its way, too.
        said = near.ping(far, size, count=1, check=False).stdout
        if " 1 received" in said:
            break
        assert sender is far or "too big" in said or "Frag needed" in said, said
        assert sender.path_mtu(receiver) < LINK_MTU
    near.ping(far, size)


def strangers_are_counted(scene: Scene, victim: DaemonProcess, forged: list[bytes]) -> None:
    """Inject clear frames from the other side of the link, past the other daemon."""
    before = drops(victim)["guard"]["InPolicyViolation"]
    inject(scene.right, LINK, forged)

    def counted() -> bool:
        return drops(victim)["guard"]["InPolicyViolation"] == before + len(forged)

    assert wait_until(counted, timeout=5), drops(victim)


def nothing_passes_without_sas(
    daemons: tuple[DaemonProcess, DaemonProcess], pairs: list[tuple[End, End]]
) -> None:
    """Remove the SAs: the policy stays, and it insists."""
    for each in daemons:
        each.sallet("setkey", "-F")
    before = drops(daemons[0])["engine"]["OutNoSa"]
    for near, far in both_ways(pairs):
        assert near.hears_nothing_of(far)
    # What waits for an SA leaves with a flush, and is counted.
    daemons[0].sallet("setkey", "-F")
    assert drops(daemons[0])["engine"]["OutNoSa"] > before


def only_esp(heard: Heard, spis: list[int], forged: list[bytes]) -> None:
    """Check a capture: ESP with these SPIs, each of them, and nothing readable."""
    assert heard.others_lost == 0
    assert heard.spis() == set(spis)
    assert heard.readable == 0
    assert [heard.others.count(frame) for frame in forged] == [1] * len(forged)
    assert not (clear := heard.in_clear(besides=forged)), "\n".join(clear)


def a_killed_daemon(scene: Scene, flows: list[Flow], daemon: Daemons, directory: Path) -> None:
    """SIGKILL in the middle of traffic: nothing leaves in clear, and the next start takes over."""
    pairs = both_ways(scene.ends(flows))
    with scene.listening(flows, 1, 2) as captured:
        killed, other = scene.start(daemon, directory, flows)
        for near, far in pairs:
            near.ping(far, 56)
        streams = [near.stream(far) for near, far in pairs]
        time.sleep(0.5)
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
        for near, far in pairs:
            assert near.hears_nothing_of(far)
        # What the peer still sends is dropped by the guard, which outlives the daemon; nobody answers it.
        assert guard_counters(scene.left)["NoDaemon"] > 0
        # A start with keys that were never used takes over what the dead one left, while the traffic goes on.
        renewed = setkey_file(directory, flows, "left", 2)
        restarted = daemon(scene.left, "--mode", scene.mode, "--setkey", renewed, run_dir=killed.run_dir)
        other.sallet("setkey", "-c", input="flush;" + "".join(flow.associations(2) for flow in flows))
        for near, far in pairs:
            near.ping(far, 56)
            near.exchange_datagrams(far, count=10)
        for stream in streams:
            stream.terminate()
            assert int(stream.communicate(timeout=10)[0]) > 0
        assert [each.stop() for each in (restarted, other)] == [0, 0]
    only_esp(captured[0], all_spis(flows, 1, 2), [])
