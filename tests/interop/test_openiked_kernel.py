"""OpenIKED on our PF_KEY and OpenIKED on a real Linux kernel's: they negotiate, talk and rekey.

Root only, see linux_peer.py. All that differs is who answers PF_KEY and who moves the packets.
Answers to: RFC 7296, RFC 2367, RFC 4303; the kernel judges us by its error counters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from interop import transfer
from interop.linux_peer import LINK, LinuxPeer, add_tap
from interop.openiked import (
    REKEYS_MIN,
    SETTLE_SECS,
    SHORT_LARVAL,
    STARTED,
    Conversation,
    Iked,
    Listener,
    nothing_left,
)
from interop.stations import End, quiet
from netns import DaemonProcess, Lab, need, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(180)]

TAP = "tap0"
OURS, THEIRS = "192.0.2.1", "192.0.2.2"
NAMES = ("sallet", "linux")
TRANSFER_BYTES, RATE, LIFETIME = 25_000_000, 5_000_000, "3h bytes 12M"
"""Half of what two of ours move, at half the pace and with half the lifetime: SAs are renewed as often, and a
kernel that is a process takes several times as long for a packet."""
PROGRAM = Path(transfer.__file__)
THEIR_MODULES = "af_key authenc cbc hmac sha1 sha512 aes esp4 xfrm_user"
START = f"""\
/run/modprobe -a {THEIR_MODULES}
ip link set {LINK} up
ip address add {THEIRS}/24 dev {LINK}
iked -d -vv -s /run/iked.sock -f /mnt/iked.conf >/run/iked.log 2>&1 &
echo $! >/run/iked.pid
{sys.executable} {PROGRAM} serve >/run/server 2>&1 &
while ! grep -q serving /run/server; do sleep 0.3; done
while ! grep -q "{STARTED}" /run/iked.log; do sleep 0.3; done
sleep {SETTLE_SECS}
"""
INSTALLED = "until ip xfrm policy | grep -q 'dir out'; do sleep 0.1; done\n"
ENDED = "kill $(cat /run/iked.pid); while kill -0 $(cat /run/iked.pid) 2>/dev/null; do sleep 0.1; done\n"


def test_openiked_here_and_on_a_kernel(
    lab: Lab, daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    for capability in ("openiked", "linux-peer", "ping"):
        need(capability)
    near = lab.namespace("near")
    quiet(near)
    near.ip("link", "set", "lo", "up")
    add_tap(near, TAP)
    lab.address(near, TAP, f"{OURS}/24")
    us = End(near, OURS)
    running = daemon(near, "--mode", "host", *SHORT_LARVAL)
    (scratch := tmp_path / "peer").mkdir()
    Conversation(THEIRS, OURS, THEIRS, OURS, NAMES[::-1], False, LIFETIME).write(scratch / "iked.conf")
    with LinuxPeer(near, TAP, scratch) as peer, Listener(running.run_dir) as listener:
        peer.run(START)
        conversation = Conversation(OURS, THEIRS, OURS, THEIRS, NAMES, True, LIFETIME)
        iked = Iked(near, running, conversation, tmp_path / "near")
        listener.wait_for_sas(iked)
        # It answers before it has put its SAs in place, and the first ones load modules.
        peer.run(INSTALLED)
        us.ping(End(near, THEIRS), 1000)
        peer.run(f"ping -n -q -c 3 -i 0.05 -W 5 -s 1000 -I {THEIRS} {OURS}")
        start = time.monotonic()
        us.transfer(End(near, THEIRS), TRANSFER_BYTES, RATE)
        assert listener.rekeyed_between(start, time.monotonic()) >= REKEYS_MIN, listener.noted
        assert peer.run("ip xfrm state").count("proto esp") >= 2, "the kernel has them, too"
        assert "ESTABLISHED" in peer.run("ikectl -s /run/iked.sock show sa")
        errors = peer.errors()
        assert iked.stop() == 0
        peer.run(ENDED)
        assert peer.run("ip xfrm policy") == ""
    # What was under way when an SA reached its end is lost and sent again; nothing was malformed.
    assert set(errors) <= {
        "XfrmInNoStates",
        "XfrmInStateExpired",
        "XfrmOutStateExpired",
        "XfrmAcquireError",
    }, errors
    assert wait_until(lambda: nothing_left(running)), running.sallet("setkey", "-D").stdout
