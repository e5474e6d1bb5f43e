"""Keys, salts and IVs: every bit counts, no IV comes twice, none can be foreseen.

No replay and no policy may enter.
Answers to: RFC 4106, 4309, 4543, 7634 (salts), RFC 3602 section 3 (IVs), RFC 2367 section 2.3.4 (keys).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest

import sallet
from hostile import oracle
from hostile.oracle import AEAD_SUITES, AH_SUITES, ENCRYPTION, ESP_SUITES, Suite
from hostile.sender import UDP, Sa, both_families, esp, good, sealed
from hostile.victim import Victim
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Address, Extension, Key, Message
from sallet.pfkey.messages import Sa as SaExtension

ALL = both_families(
    *(Sa(suite=suite) for suite in ESP_SUITES), *(Sa(suite=suite, protocol="ah") for suite in AH_SUITES)
)
NUMBERS = DIALECTS["sallet"].encrypt_numbers


class _Sender:
    """An engine that seals what it is given with an SA towards the victim."""

    def __init__(self, sa: Sa, seed: int = 1, **changes: Any) -> None:
        self.sa = sa
        self.engine = sallet.Engine(seed=bytes([seed]) * 32, clock="manual")
        self.engine.sad_add(sa.params(**changes))
        template = sallet.Template(sa.protocol, "transport", "require")
        selector = sallet.Selector(sa.source, sa.destination)
        self.engine.spd_add(sallet.PolicyParams("out", selector, "protect", [template]))
        self.packet = sallet.udp_packet(sa.source, sa.destination, 9, 9, b"the same plaintext every time")

    def send(self) -> bytes:
        wire = self.engine.outbound(self.packet).packet
        assert wire
        return wire

    def ivs(self, count: int) -> list[bytes]:
        """The IVs of so many packets."""
        assert self.sa.suite.encryption
        at = (20 if self.sa.family == 4 else 40) + 8
        size = ENCRYPTION[self.sa.suite.encryption].iv_bytes
        outcomes = self.engine.outbound_batch([self.packet] * count)
        return [outcome.transmitted[0][at : at + size] for outcome in outcomes]


def bits_changed(key: bytes) -> Iterator[bytes]:
    """Give the key with one bit changed, each in turn."""
    for place in range(len(key) * 8):
        yield bytes(
            byte ^ (0x80 >> place % 8 if index == place // 8 else 0) for index, byte in enumerate(key)
        )


@pytest.mark.bug_row(4)
@pytest.mark.parametrize("sa", both_families(*(Sa(suite=suite) for suite in ESP_SUITES)), ids=str)
def test_every_bit_of_a_key_counts(sa: Sa) -> None:
    """Row 4: with any one bit of any key changed, salt included, no packet of the true key is opened."""
    suite, wire = sa.suite, good(sa, 1)[0]
    assert suite.encryption
    for key in bits_changed(suite.key):
        if suite.encryption.startswith(("des", "3des")) and _is_parity(suite.key, key):
            continue
        victim = Victim(sa, encryption=(suite.encryption, key))
        plain = victim.engine.inbound(wire).packet
        assert plain != good(sa, 1)[1], "the key does not matter"
        if not suite.authentication:
            assert plain is None
    for key in bits_changed(suite.authentication_key):
        Victim(sa, authentication=(suite.authentication, key)).refuses(wire, "AuthFailed")


@pytest.mark.bug_row(4)
@pytest.mark.parametrize(
    "sa", both_families(*(Sa(suite=suite, protocol="ah") for suite in AH_SUITES)), ids=str
)
def test_every_bit_of_an_ah_key_counts(sa: Sa) -> None:
    """Row 4: the same for AH."""
    wire = good(sa, 1)[0]
    for key in bits_changed(sa.suite.authentication_key):
        Victim(sa, authentication=(sa.suite.authentication, key)).refuses(wire, "AuthFailed")


@pytest.mark.bug_row(4)
def test_two_keys_make_two_icvs_with_every_algorithm() -> None:
    """Row 4: whatever the registry has, the ICV depends on the key, and a neighbour's key opens nothing."""
    tried = 0
    for algorithm in sallet.algorithms():
        if not algorithm.icv_bytes or not algorithm.key_bits or "iiv" in algorithm.name:
            continue
        size, icvs = algorithm.key_bits[0] // 8, set()
        for protocol in _protocols(algorithm):
            sa = Sa(protocol=protocol, suite=oracle.AH if protocol == "ah" else oracle.NULL)
            keys = [random.Random(number).randbytes(size) for number in (1, 2, 3)]
            for key, neighbour in zip(keys, keys[1:] + keys[:1], strict=True):
                wire = _Sender(sa, **_keyed(algorithm, key)).send()
                icvs.add(wire[20:])
                Victim(sa, **_keyed(algorithm, key)).accepts(wire)
                Victim(sa, **_keyed(algorithm, neighbour)).refuses(wire, "AuthFailed")
                tried += 1
        assert len(icvs) == 3 * len(_protocols(algorithm)), algorithm.name
    assert tried >= 3 * 30


def _protocols(algorithm: sallet.Algorithm) -> tuple[str, ...]:
    """GMAC is an AEAD for ESP and a MAC of its own for AH."""
    if algorithm.name in _GMAC:
        return ("ah",)
    return ("esp", "ah") if algorithm.kind == "auth" else ("esp",)


def _keyed(algorithm: sallet.Algorithm, key: bytes) -> dict[str, Any]:
    """The algorithm alone, with this key."""
    words: dict[str, Any] = {"encryption": None, "authentication": None}
    if algorithm.kind != "auth":
        return words | {"encryption": (algorithm.name, key)}
    return words | {"authentication": (algorithm.name, key)}


_GMAC = {f"aes-{bits}-gmac" for bits in (128, 192, 256)}


def _is_parity(key: bytes, changed: bytes) -> bool:
    """Whether only the lowest bit of a byte differs, which DES ignores."""
    return all(one & 0xFE == other & 0xFE for one, other in zip(key, changed, strict=True))


# = https://www.rfc-editor.org/rfc/rfc3602#section-3
# # the IV is chosen at random and cannot be predicted
@pytest.mark.bug_row(43)
@pytest.mark.parametrize(
    "sa",
    both_families(
        *(
            Sa(suite=Suite(name, size, oracle.CBC.authentication))
            for name, size in (
                ("aes-cbc", 16),
                ("camellia-cbc", 32),
                ("3des-cbc", 24),
                ("des-cbc", 8),
                ("blowfish-cbc", 16),
                ("cast128-cbc", 16),
            )
        )
    ),
    ids=str,
)
def test_nobody_can_foresee_the_iv_of_cbc(sa: Sa) -> None:
    """Row 43: IVs are no counter, no earlier ciphertext, no step from the last one, and fair in each bit."""
    count = 4096
    sender = _Sender(sa)
    before = sender.send()
    ivs = sender.ivs(count)
    size = len(ivs[0])
    assert ivs[0] not in before, "the IV was seen on the wire"
    assert len(set(ivs)) == count
    numbers = [int.from_bytes(iv, "big") for iv in ivs]
    steps = [(after - this) % (1 << size * 8) for this, after in pairwise(numbers)]
    masks = [this ^ after for this, after in pairwise(numbers)]
    assert len(set(steps)) == len(set(masks)) == count - 1, "a step or a mask comes again"
    for bit in range(size * 8):
        # A fair coin, thrown 4096 times: mean 2048, standard deviation 32; and so for changes from IV to IV.
        for values in (numbers, masks):
            ones = sum(value >> bit & 1 for value in values)
            assert abs(ones - count / 2) < 6 * 32, f"bit {bit}"
    # The same packets, key and numbers after another start.
    assert not set(_Sender(sa, seed=2).ivs(count)) & set(ivs)


@pytest.mark.bug_row(43)
@pytest.mark.parametrize("family", [4, 6])
def test_the_next_iv_is_no_ciphertext(family: int) -> None:
    """Row 43: the old way was to take the last block sent as the next IV."""
    sender = _Sender(Sa(suite=oracle.CBC, family=family))
    seen = b""
    for _ in range(200):
        wire = sender.send()
        at = (20 if family == 4 else 40) + 8
        assert wire[at : at + 16] not in seen
        seen += wire


@pytest.mark.bug_row(59)
@pytest.mark.parametrize(
    "suite",
    [oracle.GCM, oracle.CHACHA, oracle.CTR, *(each for each in AEAD_SUITES if each.key_bytes in (19, 36))],
    ids=str,
)
def test_senders_at_once_share_no_iv(suite: Suite) -> None:
    """Row 59: eight threads on two SAs with one key: all IVs are distinct, and each SA's numbers."""
    one, other = Sa(suite=suite), Sa(suite=suite, spi=0x1002, family=6)
    sender = _Sender(one)
    sender.engine.sad_add(other.params())
    template = sallet.Template("esp", "transport", "require")
    selector = sallet.Selector(other.source, other.destination)
    sender.engine.spd_add(sallet.PolicyParams("out", selector, "protect", [template]))
    second = sallet.udp_packet(other.source, other.destination, 9, 9, b"another SA, the same key")

    def send(_thread: int) -> list[bytes]:
        outcomes = sender.engine.outbound_batch([sender.packet, second] * 250)
        return [outcome.transmitted[0] for outcome in outcomes]

    with ThreadPoolExecutor(8) as threads:
        wires = [wire for made in threads.map(send, range(8)) for wire in made]
    found = [_numbers(wire) for wire in wires]
    assert len(found) == 8 * 500
    assert len({iv for _, iv in found}) == len(found), "an IV came twice under one key"
    assert len({number for number, _ in found}) == len(found), "a sequence number came twice"


def _numbers(wire: bytes) -> tuple[bytes, bytes]:
    at = 20 if wire[0] >> 4 == 4 else 40
    return wire[at : at + 8], wire[at + 8 : at + 16]


# = https://www.rfc-editor.org/rfc/rfc4309#section-7.1
# # the key material is the AES key followed by three bytes of salt
# = https://www.rfc-editor.org/rfc/rfc4543#section-3.4
# # the key material is the AES key followed by four bytes of salt
@pytest.mark.bug_row(56)
@pytest.mark.parametrize("suite", [suite for suite in AEAD_SUITES if suite.encryption in NUMBERS], ids=str)
@pytest.mark.parametrize("family", [4, 6])
def test_the_salt_is_part_of_the_key_that_add_takes(suite: Suite, family: int) -> None:
    """Row 56: SADB_ADD with key and salt opens what others sealed; no other length is a key."""
    sa = Sa(suite=suite, family=family)
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    assert _add(engine, sa, suite.key) == 0
    at = 20 if family == 4 else 40
    plain = sallet.udp_packet(sa.source, sa.destination, 1000, 53, b"sealed elsewhere")
    outcome = engine.inbound(sealed(sa, plain[at:], UDP, 1))
    assert outcome.reason is None
    assert outcome.delivered[0][at:] == plain[at:]
    other = sallet.Engine(seed=bytes(32), clock="manual")
    allowed = {
        bits for each in sallet.algorithms() if each.name == suite.encryption for bits in each.key_bits
    }
    for size in range(65):
        if size * 8 not in allowed:
            assert _add(other, sa, bytes(size)) != 0, f"{size} bytes were taken for a key"
    assert other.sad_dump() == []


def _add(engine: sallet.Engine, sa: Sa, key: bytes) -> int:
    """Send SADB_ADD and give the errno of the answer."""
    number = NUMBERS[sa.suite.encryption or ""]
    extensions: dict[SadbExtType, Extension] = {
        SadbExtType.SA: SaExtension(spi=sa.spi, replay=64, state=1, auth=0, encrypt=number, flags=0),
        SadbExtType.ADDRESS_SRC: _address(sa.source),
        SadbExtType.ADDRESS_DST: _address(sa.destination),
        SadbExtType.KEY_ENCRYPT: Key(bits=len(key) * 8, data=key),
    }
    replies = Handlers(engine, "sallet").handle(Message(SadbMsgType.ADD, satype=3, extensions=extensions))
    return next((reply.errno for reply in replies if reply.errno), 0)


def _address(text: str) -> Address:
    address = ip_address(text)
    return Address(address, port=0, prefixlen=address.max_prefixlen, proto=0)


def test_the_oracle_knows_the_registry() -> None:
    """A new algorithm gets its hostile packets, too."""
    known = {*ENCRYPTION, *oracle.MACS}
    assert {algorithm.name for algorithm in sallet.algorithms()} - known == _WITHOUT_ORACLE
    assert esp(Sa(), b"", UDP)


_WITHOUT_ORACLE = {
    # Implicit IVs are refused for keys that people type in; derived ones differ in the IV only.
    *("aes-gcm-16-iiv", "aes-ccm-8-iiv", "chacha20-poly1305-iiv", "des-iv64", "des-iv32", "des-deriv"),
    # AH carries an IV in front of these ICVs.
    *("aes-128-gmac", "aes-192-gmac", "aes-256-gmac"),
    # OpenSSL 3 has no RIPEMD-160 without its legacy provider; keyed hashes came before HMAC.
    *("hmac-ripemd160-96", "keyed-sha1", "keyed-md5"),
    # No key, no ICV.
    *("null-auth", "deflate"),
}
