"""The classes and functions of `sallet` as a program meets them: shapes, words, errors, no key in any text.

No packet's fate may enter: that is `test_engine.py` and `tests/model`.
Answers to: `python/sallet/_core.pyi`, RFC 4301 sections 4.4.1.1 and 4.4.2.1.
"""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

import sallet
from sallet import (
    Algorithm,
    Engine,
    EngineError,
    Limits,
    PolicyParams,
    SaParams,
    Selector,
    Template,
    algorithms,
    echo_packet,
    explain_drop,
    ip_packet,
    tcp_packet,
    udp_packet,
)

KEY = bytes(range(0xE0, 0xF4))
HERE, THERE = "192.0.2.1", "192.0.2.2"
ANY, ANY_6 = Selector("0.0.0.0/0", "0.0.0.0/0"), Selector("::/0", "::/0")


def sa_params(**changes: Any) -> SaParams:
    values: dict[str, Any] = {
        "spi": 0x1000,
        "protocol": "esp",
        "source": HERE,
        "destination": THERE,
        "encryption": ("aes-gcm-16", KEY),
    }
    return SaParams(**(values | changes))


def texts(shown: object) -> str:
    return f"{shown!r} {shown!s} {shown:}".lower()


# --- the package -------------------------------------------------------------------------------------


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys, sallet; print([name for name in sys.modules if name.startswith('sallet.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_every_name_is_there_and_no_other() -> None:
    for name in sallet.__all__:
        assert getattr(sallet, name).__doc__, name
    assert sorted(sallet.__all__) == list(sallet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sallet.nothing


@pytest.mark.parametrize("name", ["Limits", "Selector", "Template", "SaParams", "PolicyParams", "Engine"])
def test_classes_are_final_and_frozen(name: str) -> None:
    made: dict[str, object] = {
        "Limits": Limits(),
        "Selector": ANY,
        "Template": Template("esp", "transport"),
        "SaParams": sa_params(),
        "PolicyParams": PolicyParams("out", ANY, "bypass"),
        "Engine": Engine(),
    }
    with pytest.raises(AttributeError):
        setattr(made[name], "bytes", 1)  # noqa: B010
    with pytest.raises(TypeError):
        type("Heir", (type(made[name]),), {})


# --- values ------------------------------------------------------------------------------------------


def test_limits_compare_and_show_their_numbers() -> None:
    limits = Limits(bytes=1, packets=2, add_secs=3, use_secs=2**64 - 1)
    assert (limits.bytes, limits.packets, limits.add_secs, limits.use_secs) == (1, 2, 3, 2**64 - 1)
    assert eval(repr(limits), {"Limits": Limits}) == limits  # noqa: S307
    assert limits != Limits()
    assert len({limits, Limits(bytes=1, packets=2, add_secs=3, use_secs=2**64 - 1)}) == 1
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            Limits(bytes=wrong)


@pytest.mark.parametrize(
    ("given", "first", "last", "prefix"),
    [
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", ("192.0.2.0", 24)),
        ("192.0.2.77/24", "192.0.2.0", "192.0.2.255", ("192.0.2.0", 24)),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1", ("192.0.2.1", 32)),
        (("192.0.2.1", "192.0.2.2"), "192.0.2.1", "192.0.2.2", None),
        ((ip_address("192.0.2.2"), "192.0.2.3"), "192.0.2.2", "192.0.2.3", ("192.0.2.2", 31)),
        ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ("::", 0)),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1", ("2001:db8::1", 128)),
    ],
)
def test_selectors_take_prefixes_and_ranges(
    given: Any, first: str, last: str, prefix: tuple[str, int] | None
) -> None:
    selector = Selector(given, given, 6, (1, 2), (3, 4))
    assert selector.source == selector.destination == (ip_address(first), ip_address(last))
    wanted = prefix and (ip_address(prefix[0]), prefix[1])
    assert selector.source_prefix == selector.destination_prefix == wanted
    assert (selector.next_layer, selector.source_ports, selector.destination_ports) == (6, (1, 2), (3, 4))
    assert eval(repr(selector), {"Selector": Selector}) == selector  # noqa: S307
    assert selector != Selector(given, given)
    assert len({selector, Selector(given, given, 6, (1, 2), (3, 4))}) == 1


def test_a_selector_covers_any_protocol_and_port_unless_told() -> None:
    assert (ANY.next_layer, ANY.source_ports, ANY.destination_ports) == (None, (0, 65535), (0, 65535))


def test_templates_keep_what_they_were_told() -> None:
    plain = Template("esp", "transport")
    assert (plain.level, plain.reqid, plain.endpoints) == ("require", 0, None)
    full = Template("ah", "tunnel", "unique", 7, (HERE, ip_address(THERE)))
    assert (full.protocol, full.mode, full.level, full.reqid) == ("ah", "tunnel", "unique", 7)
    assert full.endpoints == (ip_address(HERE), ip_address(THERE))
    assert full == Template("ah", "tunnel", "unique", 7, (HERE, THERE))
    assert len({full, plain, Template("esp", "transport")}) == 2


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: sa_params(protocol="tcp"), ValueError, 'protocol: "tcp" is not one of esp, ah, ipcomp'),
        (lambda: sa_params(mode="both"), ValueError, 'mode: "both" is not one of any, transport, tunnel'),
        (lambda: sa_params(spi=-1), OverflowError, "range|unsigned"),
        (lambda: sa_params(spi=2**32), OverflowError, "range|unsigned"),
        (lambda: sa_params(reqid=2**32), OverflowError, "range|unsigned"),
        (lambda: sa_params(encap=(4500, 65536)), OverflowError, "range|unsigned"),
        (lambda: sa_params(source="nowhere"), ValueError, "IP address"),
        (lambda: sa_params(source="2001:db8::1"), ValueError, "different families"),
        (lambda: sa_params(encryption=("aes-gcm-16", "text")), TypeError, "bytes-like"),
        (lambda: sa_params(encryption="aes-gcm-16"), TypeError, "tuple"),
        (lambda: sa_params(colour="red"), TypeError, "colour"),
        (lambda: Template("esp", "transport", "maybe"), ValueError, "default, use, require, unique"),
        (lambda: PolicyParams("up", ANY, "bypass"), ValueError, "in, out, fwd"),
        (lambda: PolicyParams("out", ANY, "ignore"), ValueError, "bypass, discard, protect"),
        (lambda: PolicyParams("out", ANY, "protect"), ValueError, "at least one template"),
        (lambda: PolicyParams("out", ANY, "discard", awaited=True), ValueError, "protect without templates"),
        (lambda: PolicyParams("in", ANY, "bypass", [Template("esp", "any")]), ValueError, "no templates"),
        (lambda: PolicyParams("in", ANY, "bypass", priority=-1), OverflowError, "range|unsigned"),
        (lambda: Selector("banana", "::"), ValueError, "banana"),
        (lambda: Selector("::/x", "::"), ValueError, "prefix length"),
        (lambda: Selector("::", "::", 256), OverflowError, "range|unsigned"),
        (lambda: Selector("::", "::", 6, (0, 65536)), OverflowError, "range|unsigned"),
    ],
)
def test_wrong_shapes_and_words_are_refused_with_a_reason(
    make: Callable[[], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert not isinstance(caught.value, EngineError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("::/0", "0.0.0.0/0"),
        (("192.0.2.2", "192.0.2.1"), "192.0.2.1"),
        (("::1", "192.0.2.1"), "192.0.2.1"),
        ("::/0", "::/0", 6, (5, 4)),
        ("::/0", "::/0", 6, (0, 0), (5, 4)),
    ],
)
def test_selectors_that_make_no_sense_are_refused_by_kind(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(EngineError) as caught:
        Selector(*arguments)
    assert (caught.value.kind, caught.value.errno) == ("invalid-selector", errno.EINVAL)
    with pytest.raises(EngineError) as caught:
        Selector("192.0.2.0/33", "::")
    assert caught.value.kind == "out-of-range"


# --- errors of requests ------------------------------------------------------------------------------

ERRNO = {"exists": errno.EEXIST, "spi-exhausted": errno.EEXIST, "not-found": errno.ESRCH}
DISCARD = PolicyParams("out", ANY, "discard")


def tunnel(**changes: Any) -> PolicyParams:
    return PolicyParams("out", ANY_6, "protect", [Template("esp", "tunnel", **changes)])


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (lambda e: e.sad_add(sa_params()), "exists"),
        (lambda e: e.sad_add(sa_params(spi=0)), "invalid-spi"),
        (lambda e: e.sad_add(sa_params(spi=1, encryption=("rot13", b""))), "unknown-algorithm"),
        (lambda e: e.sad_add(sa_params(spi=1, protocol="ah")), "unsupported-combination"),
        (lambda e: e.sad_add(sa_params(spi=1, protocol="ipcomp")), "unknown-algorithm"),
        (lambda e: e.sad_add(sa_params(spi=1, encryption=("aes-cbc", b"k"))), "invalid-key-length"),
        (lambda e: e.sad_add(sa_params(spi=1, encryption=None)), "unsupported-combination"),
        (
            lambda e: e.sad_add(sa_params(spi=1, authentication=("hmac-sha1-96", bytes(20)))),
            "unsupported-combination",
        ),
        (lambda e: e.sad_add(sa_params(spi=1, replay_window=65537)), "out-of-range"),
        (lambda e: e.sad_update(sa_params(spi=1)), "not-found"),
        (lambda e: e.sad_update(sa_params(encryption=("aes-gcm-16", bytes(20)))), "invalid-state"),
        (lambda e: e.sad_delete(1, "esp", THERE), "not-found"),
        (lambda e: e.sad_delete(0x1000, "esp", THERE, THERE), "not-found"),
        (lambda e: e.sad_getspi("esp", HERE, THERE, minimum=255, maximum=300), "out-of-range"),
        (lambda e: e.sad_getspi("esp", HERE, THERE, minimum=301, maximum=300), "out-of-range"),
        (lambda e: e.sad_getspi("esp", HERE, "::1"), "invalid-selector"),
        (lambda e: e.sad_getspi("esp", HERE, THERE, minimum=0x1000, maximum=0x1000), "spi-exhausted"),
        (lambda e: e.sad_getspi("ipcomp", HERE, THERE, minimum=2**16, maximum=2**17), "invalid-spi"),
        (lambda e: e.spd_add(DISCARD), "exists"),
        (lambda e: e.spd_add(tunnel()), "out-of-range"),
        (lambda e: e.spd_add(tunnel(endpoints=(HERE, "::1"))), "invalid-selector"),
        (
            lambda e: e.spd_add(PolicyParams("in", ANY, "protect", [Template("esp", "transport")] * 7)),
            "out-of-range",
        ),
        (lambda e: e.spd_update(tunnel()), "out-of-range"),
        (lambda e: e.spd_delete("in", ANY), "not-found"),
        (lambda e: e.spd_delete_id(99), "not-found"),
        (lambda e: e.configure("path_mtu", 67), "out-of-range"),
        (lambda e: e.configure("hop_limit", 0), "out-of-range"),
        (lambda e: e.configure("spi_min", 5), "out-of-range"),
        (lambda e: e.configure("local", [(THERE, HERE)]), "invalid-selector"),
        (lambda e: Engine(configuration={"event_limit": 0}), "out-of-range"),
    ],
)
def test_a_refused_request_says_why_and_changes_nothing(
    request_: Callable[[Engine], object], kind: str
) -> None:
    engine = Engine(clock="manual")
    engine.sad_add(sa_params())
    engine.spd_add(DISCARD)
    before = repr((engine.sad_dump(), engine.spd_dump(), engine.config()))
    with pytest.raises(OSError, match="Errno") as caught:
        request_(engine)
    assert isinstance(caught.value, EngineError)
    assert (caught.value.kind, caught.value.errno) == (kind, ERRNO.get(kind, errno.EINVAL))
    assert KEY.hex() not in texts(caught.value)
    assert repr((engine.sad_dump(), engine.spd_dump(), engine.config())) == before


# --- keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, b"a readable secret 12"])
def test_keys_are_given_back_but_never_shown(key: bytes) -> None:
    engine = Engine(clock="manual")
    params = sa_params(encryption=("aes-gcm-16", key), hard=Limits(add_secs=1))
    view = engine.sad_add(params)
    assert view.encryption == ("aes-gcm-16", key)
    assert view.authentication is None
    engine.advance(1)
    (event,) = engine.take_events()
    for shown in (params, view, event, engine, engine.stats(), engine.config()):
        text = texts(shown)
        assert all(key[at : at + 4].hex() not in text for at in range(len(key) - 3)), text
        assert repr(key)[2:10].lower() not in text


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_keys_may_come_in_any_buffer(buffer: Callable[[bytes], Any]) -> None:
    source = buffer(KEY)
    params = sa_params(encryption=("aes-gcm-16", source))
    if isinstance(source, bytearray):
        source[:] = bytes(len(source))  # a caller may wipe its copy
    assert Engine().sad_add(params).encryption == ("aes-gcm-16", KEY)


# --- algorithms, reasons, packets --------------------------------------------------------------------


def test_algorithms_describe_themselves_truly() -> None:
    listed = {algorithm.name: algorithm for algorithm in algorithms()}
    assert {"aes-gcm-16", "chacha20-poly1305", "aes-cbc", "aes-ctr", "null"} <= set(listed)
    gcm = listed["aes-gcm-16"]
    assert (gcm.kind, gcm.key_bits, gcm.salt_bits, gcm.iv_bytes) == ("aead", [160, 224, 288], 32, 8)
    assert (gcm.icv_bytes, gcm.block_bytes, gcm.legacy) == (16, 1, False)
    assert all(algorithm.backend and algorithm.name in repr(algorithm) for algorithm in listed.values())
    assert {algorithm.kind for algorithm in listed.values()} == {"aead", "cipher", "auth", "compression"}


# = https://www.rfc-editor.org/rfc/rfc8221#section-5
# # AES-CBC, AES-GCM-16 and NULL are offered; DES, DES-IV64 and Blowfish are marked as legacy
# = https://www.rfc-editor.org/rfc/rfc8221#section-6
# # HMAC-SHA2-256-128 and HMAC-SHA1-96 are offered; HMAC-MD5-96 is marked as legacy
# = https://www.rfc-editor.org/rfc/rfc8221#section-7
# # OUI compression is not offered
# = https://www.rfc-editor.org/rfc/rfc2403#section-2
# # HMAC-MD5-96 has a key of 128 bits
# = https://www.rfc-editor.org/rfc/rfc2404#section-2
# # HMAC-SHA1-96 has a key of 160 bits
def test_what_must_be_offered_is_and_what_must_not_is_old() -> None:
    listed = {algorithm.name: algorithm for algorithm in algorithms()}
    for name in ("aes-cbc", "aes-gcm-16", "null", "hmac-sha2-256-128", "hmac-sha1-96"):
        assert not listed[name].legacy, name
    for name in ("des-cbc", "des-iv64", "blowfish-cbc", "hmac-md5-96"):
        assert listed[name].legacy, name
    assert {name for name, each in listed.items() if each.kind == "compression"} == {"deflate"}, "no OUI"
    keys = {name: listed[name].key_bits for name in ("hmac-md5-96", "hmac-sha1-96")}
    assert keys == {"hmac-md5-96": [128], "hmac-sha1-96": [160]}


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3.4
# # the key's bits fit the algorithm, weak keys are refused
@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda algorithm: algorithm.name)
def test_every_algorithm_takes_the_key_lengths_it_lists_and_no_other(algorithm: Algorithm) -> None:
    def add(bits: int) -> None:
        named = (algorithm.name, bytes((number * 37 + 1) % 256 for number in range(bits // 8)))
        engine = Engine(configuration={"allow_unprotected": True})
        if algorithm.kind == "auth":
            engine.sad_add(sa_params(protocol="ah", encryption=None, authentication=named))
        elif algorithm.kind == "compression":
            engine.sad_add(sa_params(protocol="ipcomp", encryption=named))
        else:
            mac = None if algorithm.kind == "aead" else ("hmac-sha2-256-128", bytes(32))
            engine.sad_add(sa_params(encryption=named, authentication=mac, fresh_keys=True))

    for bits in algorithm.key_bits:
        add(bits)
    salt = rf", of which the last {algorithm.salt_bits} are the salt" if algorithm.salt_bits else ""
    with pytest.raises(
        EngineError, match=rf"the key has .* bits, expected [^,]*(, \d+ or \d+)?{salt}$"
    ) as caught:
        add(max(algorithm.key_bits) + 8)
    assert caught.value.kind == "invalid-key-length"


@pytest.mark.parametrize("name", ["aes-gcm-16-iiv", "aes-ccm-8-iiv", "chacha20-poly1305-iiv"])
def test_an_implicit_iv_needs_a_promise_and_then_carries_packets(name: str) -> None:
    (row,) = (row for row in algorithms() if row.name == name)
    assert (row.manual_keys, row.iv_bytes) == (False, 0)
    key = (name, bytes(range(row.key_bits[0] // 8)))
    with pytest.raises(EngineError, match="RFC 8750") as caught:
        Engine().sad_add(sa_params(encryption=key))
    assert caught.value.kind == "not-for-manual-keys"
    sender, receiver = Engine(), Engine()
    for engine, direction in ((sender, "out"), (receiver, "in")):
        engine.sad_add(sa_params(encryption=key, fresh_keys=True))
        engine.spd_add(PolicyParams(direction, ANY, "protect", [Template("esp", "transport", "require")]))
    packet = udp_packet(HERE, THERE, 1, 2, bytes(100))
    for _ in range(3):
        (sent,) = sender.outbound(packet).transmitted
        (got,) = receiver.inbound(sent).delivered
        assert got[20:] == packet[20:]


def test_what_protects_nothing_is_refused_until_it_is_permitted() -> None:
    nothing = {"encryption": ("null", b""), "authentication": ("null-auth", b"")}
    with pytest.raises(EngineError) as caught:
        Engine().sad_add(sa_params(**nothing))
    assert caught.value.kind == "unsupported-combination"
    Engine().sad_add(sa_params(**nothing, unprotected=True))
    engine = Engine()
    engine.configure("allow_unprotected", True)
    engine.sad_add(sa_params(**nothing))


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3.4
# # the key's bits fit the algorithm, weak keys are refused
def test_a_weak_key_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="des-cbc: this key is a weak one") as caught:
        Engine().sad_add(
            sa_params(encryption=("des-cbc", bytes(8)), authentication=("hmac-sha1-96", bytes(20)))
        )
    assert caught.value.kind == "weak-key"


def test_every_drop_reason_has_a_sentence() -> None:
    drops = Engine().stats().drops
    assert len(drops) > 20
    for name, count in drops.items():
        assert count == 0
        assert (explain_drop(name) or "").endswith("."), name
    assert explain_drop("NoSuchReason") is None


def ones_complement(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2]) for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(("source", "destination"), [(HERE, THERE), ("2001:db8::1", "2001:db8::2")])
@pytest.mark.parametrize("payload", [b"", b"odd", bytes(1400)])
def test_crafted_packets_have_right_checksums(source: str, destination: str, payload: bytes) -> None:
    packets = {
        17: udp_packet(source, destination, 1000, 53, payload),
        6: tcp_packet(source, destination, 40000, 443, payload, sequence=7, flags=0x12),
        58 if ":" in source else 1: echo_packet(source, destination, reply=True, payload=payload),
    }
    for number, packet in packets.items():
        header = 20 if packet[0] >> 4 == 4 else 40
        if header == 20:
            assert ones_complement(packet[:20]) == 0xFFFF
        pseudo = packet[header - 2 * len(ip_address(source).packed) : header]
        pseudo += number.to_bytes(4) + (len(packet) - header).to_bytes(4)
        assert ones_complement((b"" if number == 1 else pseudo) + packet[header:]) == 0xFFFF
        assert packet.endswith(payload)
    whole = ip_packet(source, destination, 47, payload)
    assert whole.endswith(payload)
    assert len(whole) == len(payload) + (20 if ":" not in source else 40)


def test_packets_of_two_families_cannot_be_made() -> None:
    makers: list[Callable[[], bytes]] = [
        lambda: udp_packet(HERE, "::1", 1, 2, b""),
        lambda: tcp_packet("::1", HERE, 1, 2, b""),
        lambda: echo_packet(HERE, "::1"),
        lambda: ip_packet(HERE, "::1", 47, b""),
        lambda: ip_packet(HERE, THERE, 47, bytes(65536)),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="families"):
            make()
