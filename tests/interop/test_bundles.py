"""Two hosts, a daemon in each, and the bundles that one policy can name: AH, IPComp, ESP, and all of them.

What a single ESP flow goes through is `test_host_mode.py`; how each transform looks is `tests/conformance`.
Answers to: RFC 4301 section 4.4.1.2 (nested processing), RFC 3173 section 2, ipsec(4) (AH, ESP, IPComp).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.scenes import LINK, Daemons, both_ways
from interop.stations import End, Services, drops, quiet
from netns import Lab, Namespace, need

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(120)]

HOSTS = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
KEYS = {
    "ah": [("-A", "hmac-sha256", 32)],
    "esp": [("-E", "aes-gcm-16", 20)],
    "ipcomp": [("-C", "deflate", 0)],
}
PROTOCOL_NUMBERS = {"esp": 50, "ah": 51, "ipcomp": 108}


@dataclass(frozen=True)
class Bundle:
    """Transforms from the innermost outwards, as a policy lists them; tunnels join the hosts themselves."""

    name: str
    layers: tuple[tuple[str, str], ...]

    def text(self, side: str) -> str:
        """Write the setkey file of one end."""
        lines = []
        for index, (left, right) in enumerate(HOSTS):
            for way, (source, destination) in enumerate([(left, right), (right, left)]):
                lines += [
                    self._association(index, way, at, source, destination) for at in range(len(self.layers))
                ]
                direction = "out" if (way == 0) == (side == "left") else "in"
                requests = " ".join(self._request(at, source, destination) for at in range(len(self.layers)))
                lines.append(f"spdadd {source} {destination} any -P {direction} ipsec {requests};")
        return "\n".join(lines) + "\n"

    def _association(self, family: int, way: int, at: int, source: str, destination: str) -> str:
        protocol, mode = self.layers[at]
        spi = 0x1000 + 0x100 * family + 0x10 * way + at
        keys = " ".join(
            f"{flag} {word} " + (f"0x{hashlib.shake_256(f'{spi}'.encode()).hexdigest(size)}" if size else "")
            for flag, word, size in KEYS[protocol]
        )
        window = "" if protocol == "ipcomp" else "-r 64"
        return f"add {source} {destination} {protocol} {spi:#x} -m {mode} {window} -u {at + 1} {keys};"

    def _request(self, at: int, source: str, destination: str) -> str:
        protocol, mode = self.layers[at]
        ends = f"{source}-{destination}" if mode == "tunnel" else ""
        return f"{protocol}/{mode}/{ends}/unique:{at + 1}"


BUNDLES = [
    Bundle("ah", (("ah", "transport"),)),
    Bundle("ah-tunnel", (("ah", "tunnel"),)),
    Bundle("ipcomp", (("ipcomp", "transport"),)),
    Bundle("ipcomp-tunnel", (("ipcomp", "tunnel"),)),
    Bundle("esp-ah", (("esp", "transport"), ("ah", "transport"))),
    Bundle("ipcomp-esp", (("ipcomp", "transport"), ("esp", "transport"))),
    Bundle("ipcomp-esp-ah", (("ipcomp", "transport"), ("esp", "transport"), ("ah", "transport"))),
    Bundle("esp-tunnel-ah", (("esp", "tunnel"), ("ah", "transport"))),
    Bundle("esp-tunnel-esp-tunnel", (("esp", "tunnel"), ("esp", "tunnel"))),
]


@pytest.fixture
def hosts(lab: Lab) -> tuple[Namespace, Namespace]:
    """Two namespaces joined by one link, with an address of either family each."""
    need("ping")
    left, right = lab.namespace("left"), lab.namespace("right")
    for namespace in (left, right):
        quiet(namespace)
    lab.link(left, LINK, right, LINK)
    for ends in HOSTS:
        for namespace, address in zip((left, right), ends, strict=True):
            lab.address(namespace, LINK, f"{address}/{64 if ':' in address else 24}")
    return left, right


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_a_bundle_carries_what_its_users_send(
    bundle: Bundle, hosts: tuple[Namespace, Namespace], daemon: Daemons, tmp_path: Path
) -> None:
    for side in ("left", "right"):
        (tmp_path / f"{side}.setkey").write_text(bundle.text(side), encoding="utf-8")
    services = [Services(namespace) for namespace in hosts]
    daemons = [
        daemon(namespace, "--mode", "host", "--setkey", tmp_path / f"{side}.setkey")
        for namespace, side in zip(hosts, ("left", "right"), strict=True)
    ]
    pairs = [(End(hosts[0], left), End(hosts[1], right)) for left, right in HOSTS]
    for near, far in both_ways(pairs):
        near.ping(far, 56)
        near.ping(far, 1000)
        near.exchange_datagrams(far, count=20, size=900)
    for near, far in pairs:
        near.transfer(far, 1_000_000)
    for one in daemons:
        lost = {name: count for name, count in drops(one)["engine"].items() if count}
        assert lost == {}, lost
    # Without its SAs the other end may send nothing, not even an answer.
    daemons[1].sallet("setkey", "-F")
    for near, far in pairs:
        assert near.hears_nothing_of(far)
    assert [one.stop() for one in daemons] == [0, 0]
    assert [service.end() for service in services] == ["", ""]
