"""The first packets of a flow wait for their SA: a ping that began before it is answered whole.

What waits is the engine's matter and tested there; here it is real: two namespaces, two daemons, ping(8).
Answers to: RFC 2367 section 3.1.6; `sallet.hold_packets`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interop.capture import Capture
from interop.flows import Flow, all_spis
from interop.scenes import LINK
from interop.stations import drops, quiet
from netns import DaemonProcess, Lab, need, wait_until
from sallet.client import ControlClient

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]

FLOW = Flow(1, "192.0.2.1", "192.0.2.2")
COUNT = 5


@pytest.mark.parametrize("held", [COUNT, 0])
def test_a_ping_before_the_sa_is_answered_whole(
    lab: Lab, daemon: Callable[..., DaemonProcess], tmp_path: Path, held: int
) -> None:
    need("ping")
    left, right = lab.namespace("left"), lab.namespace("right")
    for namespace in (left, right):
        quiet(namespace)
    lab.link(left, LINK, right, LINK)
    lab.address(left, LINK, f"{FLOW.left}/24")
    lab.address(right, LINK, f"{FLOW.right}/24")
    files = {}
    for side, text in (
        ("left", FLOW.policies("left")),
        ("right", FLOW.associations() + FLOW.policies("right")),
    ):
        files[side] = tmp_path / f"{side}.setkey"
        files[side].write_text(text, encoding="utf-8")
    capture = Capture(left, LINK, all_spis([FLOW]), [])
    sysctl = ("--sysctl", f"sallet.hold_packets={held}")
    near = daemon(left, "--mode", "host", *sysctl, "--setkey", files["left"])
    far = daemon(right, "--mode", "host", "--setkey", files["right"])
    words = f"ping -n -c {COUNT} -i 0.2 -W 10 -I {FLOW.left} {FLOW.right}".split()
    ping = left.start(*words)

    with ControlClient(near.run_dir) as control:

        def all_sent() -> bool:
            return int(control.call("status")["passed"]["outbound_arrived"]["packets"]) >= COUNT

        assert wait_until(all_sent, timeout=10)
    # As key managers do it: who asks must be able to hear the answer.
    outbound, inbound = FLOW.associations().splitlines()
    near.sallet("setkey", "-c", input=f"{inbound}\n{outbound}\n")
    said = ping.communicate(timeout=20)[0]
    assert f"{COUNT} packets transmitted, {held} received" in said, said
    assert drops(near)["engine"]["OutNoSa"] == COUNT - held
    assert [each.stop() for each in (near, far)] == [0, 0]
    heard = capture.end()
    assert heard.others_lost == 0
    assert heard.in_clear() == []
