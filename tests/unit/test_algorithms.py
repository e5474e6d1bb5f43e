"""Every word that setkey has for an algorithm carries packets from one engine to another, in each dialect.

No published answer may enter: those are in tests/vectors.
Answers to: setkey(8), with the key lengths of `lang.words`.
"""

from __future__ import annotations

import logging

import pytest

from sallet import _core
from sallet.lang.setkey import parse
from sallet.lang.setkey_messages import plan
from sallet.lang.words import AUTHENTICATION, COMBINED, ENCRYPTION
from sallet.pfkey.constants import SadbExtType, SadbMsgType, SadbSatype
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Extension, Key, Message, Sa
from unit.one_sa import HERE, PACKET, THERE

SHA256 = f"-A hmac-sha256 0x{'5a' * 32}"
FORMS = ("sallet", "linux", "kame", "netbsd", "freebsd")


def key(bits: int) -> str:
    return "0x" + bytes((number * 37 + 1) % 256 for number in range(bits // 8)).hex()


def adds(form: str) -> list[str]:
    """One `add` for each word that the form's dialect can name, with the shortest and the longest key."""
    dialect = DIALECTS[form]
    made = []
    for word, known in ENCRYPTION.items():
        if known.refusal or known.name not in dialect.encrypt_numbers or known.name == "null":
            continue
        for bits in {known.minimum, known.maximum}:
            protocol = "esp-old" if known.old_only else "esp"
            mac = "" if known.name in COMBINED or known.old_only else SHA256
            made.append(f"{protocol} 0x1000 -m transport -E {word} {key(bits)} {mac}")
    for word, known in AUTHENTICATION.items():
        if known.refusal or known.name not in dialect.auth_numbers or known.name == "null-auth":
            continue
        made.append(f"ah 0x1000 -m transport -A {word} {key(known.maximum)}")
        if not known.salt_bits:
            made.append(f"esp 0x1000 -m transport -E null -A {word} {key(known.maximum)}")
    if form != "linux":
        made += [
            f"esp-old 0x1000 -m transport -E des-cbc {key(64)}",
            f"ah-old 0x1000 -A keyed-md5 {key(128)}",
        ]
    return made


def applied(form: str, text: str, direction: str) -> Handlers:
    handlers = Handlers(_core.Engine(), form)
    protocol = text.split()[0].removesuffix("-old")
    policy = f"spdadd {HERE} {THERE} any -P {direction} ipsec {protocol}/transport//require;"
    whole = f"add {HERE} {THERE} {text}; {policy}"
    for order in plan(parse(whole, filename="x", form=form), form, form):
        assert [reply.errno for reply in handlers.handle(order.message)] == [0], text
    return handlers


@pytest.mark.parametrize(("form", "text"), [(form, text) for form in FORMS for text in adds(form)])
def test_every_word_of_setkey_carries_packets(form: str, text: str) -> None:
    sender, receiver = applied(form, text, "out"), applied(form, text, "in")
    for _ in range(3):
        sent = sender.engine.outbound(PACKET)
        assert sent.packet, sent.explanation
        assert len(sent.packet) > len(PACKET)
        hidden = "esp" in text and "-E null" not in text and "gmac" not in text
        assert hidden != (PACKET[28:] in sent.packet)
        (got,) = receiver.engine.inbound(sent.packet).delivered
        assert got[20:] == PACKET[20:]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_dumped_can_be_added_again(form: str) -> None:
    for text in adds(form):
        handlers = applied(form, text, "out")
        (dumped,) = handlers.handle(Message(SadbMsgType.DUMP))
        flushed = handlers.handle(Message(SadbMsgType.FLUSH))
        assert not flushed[0].errno
        told: dict[SadbExtType, Extension] = {
            kind: value
            for kind, value in dumped.extensions.items()
            if kind is not SadbExtType.LIFETIME_CURRENT
        }
        (added,) = handlers.handle(Message(SadbMsgType.ADD, dumped.satype, extensions=told))
        assert not added.errno, text
        (again,) = handlers.handle(Message(SadbMsgType.DUMP))
        assert again.extensions[SadbExtType.SA] == dumped.extensions[SadbExtType.SA], text


@pytest.mark.parametrize(
    ("dialect", "number"), [("kame", 253), ("linux", 253), ("linux", 252), ("sallet", 253), ("sallet", 250)]
)
def test_what_nobody_computes_is_refused_and_not_stored(dialect: str, number: int) -> None:
    handlers = Handlers(_core.Engine(), dialect)
    (known,) = parse(f"add {HERE} {THERE} esp 0x1000 -E aes-cbc {key(128)};", filename="x", form=dialect)
    (order,) = plan([known], dialect, dialect)
    extensions = {**order.message.extensions, SadbExtType.SA: Sa(0x1000, auth=0, encrypt=number)}
    (reply,) = handlers.handle(Message(SadbMsgType.ADD, int(SadbSatype.ESP), extensions=extensions))
    assert reply.errno == DIALECTS[dialect].errno_by_kind["unknown-algorithm"]
    assert handlers.engine.sad_dump() == []


@pytest.mark.parametrize("number", [29, 30, 31])
def test_an_add_never_gets_an_implicit_iv(number: int) -> None:
    handlers = Handlers(_core.Engine(), "sallet")
    bits = {29: 152, 30: 160, 31: 288}[number]
    (known,) = parse(f"add {HERE} {THERE} esp 0x1000 -E aes-cbc {key(128)};", filename="x", form="sallet")
    (order,) = plan([known], "sallet", "sallet")
    extensions = {
        **order.message.extensions,
        SadbExtType.SA: Sa(0x1000, auth=0, encrypt=number),
        SadbExtType.KEY_ENCRYPT: Key(bits, bytes(range(bits // 8))),
    }
    (reply,) = handlers.handle(Message(SadbMsgType.ADD, int(SadbSatype.ESP), extensions=extensions))
    assert reply.errno == DIALECTS["sallet"].errno_by_kind["not-for-manual-keys"]
    assert handlers.engine.sad_dump() == []


def test_a_flag_of_kame_chooses_the_iv_and_only_in_its_format() -> None:
    dialect = DIALECTS["kame"]
    names = {flags: dialect.encrypt_name(2, flags) for flags in (0, 1, 0x10, 0x11, 0x20, 0x21)}
    assert names == {
        0: "des-cbc",
        1: "des-cbc",
        0x10: None,
        0x11: "des-iv32",
        0x20: "des-deriv",
        0x21: None,
    }
    assert dialect.encrypt_name(3, 0x20) is None


def test_the_daemon_warns_once_of_what_protects_little(caplog: pytest.LogCaptureFixture) -> None:
    engine = _core.Engine(configuration={"allow_unprotected": True})
    handlers = Handlers(engine, "kame")
    text = (
        f"add {HERE} {THERE} esp 0x1000 -E 3des-cbc {key(192)} -A hmac-md5 {key(128)};"
        f"add {HERE} {THERE} esp 0x1001 -E 3des-cbc {key(192)} -A hmac-sha1 {key(160)};"
        f"add {HERE} {THERE} esp 0x1002 -E null -A null;"
        f"add {HERE} {THERE} esp 0x1003 -E null;"
    )
    with caplog.at_level(logging.WARNING):
        for order in plan(parse(text, filename="x", form="kame"), "kame", "kame"):
            assert [reply.errno for reply in handlers.handle(order.message)] == [0]
    assert [record.getMessage() for record in caplog.records] == [
        "3des-cbc is for peers that know nothing better; each of its SAs ends after 64 MiB",
        "hmac-md5-96 is for peers that know nothing better",
        "an SA neither encrypts nor notices changes: it protects nothing",
    ]
