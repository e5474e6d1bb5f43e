"""IPComp through PF_KEY: an ADD without keys, the CPI by flag or by dialect, and what is told of it.

No packet's bytes beyond its CPI enter. Answers to RFC 2367 §3.1, KAME's SADB_X_EXT_RAWCPI, <linux/pfkeyv2.h>.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest

from sallet import _core
from sallet.embedded import configure
from sallet.lang import dump
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.constants import SadbSatype
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Address, Extension, Key, Message, Proposal, Sa, Sa2, SpiRange

IPCOMP = int(SadbSatype.X_IPCOMP)
A, B = Address(ip_address("192.0.2.1")), Address(ip_address("192.0.2.2"))
DEFLATE = 2
WELL_KNOWN = 2


def serve(dialect: str) -> Handlers:
    return Handlers(_core.Engine(seed=bytes(32), clock="manual"), dialect)


def message(kind: Msg, sa: Sa | None, **more: Extension) -> Message:
    extensions: dict[Ext, Extension] = {Ext.SA: sa} if sa else {}
    extensions |= {Ext.ADDRESS_SRC: A, Ext.ADDRESS_DST: B}
    extensions |= {Ext[name]: extension for name, extension in more.items()}
    return Message(kind, IPCOMP, seq=7, pid=9, extensions=extensions)


def ask(handlers: Handlers, request: Message) -> Message:
    """The one answer, after a trip through the codec."""
    dialect = handlers.dialect
    (reply,) = handlers.handle(codec.decode(codec.encode(request, dialect), dialect))
    return codec.decode(codec.encode(reply, dialect), dialect)


def shown(reply: Message) -> Sa:
    sa = reply.get(Ext.SA)
    assert isinstance(sa, Sa)
    return sa


def cpi_on_the_wire(engine: _core.Engine) -> int:
    template = _core.Template("ipcomp", "transport", "require")
    engine.spd_add(_core.PolicyParams("out", _core.Selector("192.0.2.1", "192.0.2.2"), "protect", [template]))
    sent = engine.outbound(_core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, bytes(500))).packet
    assert sent is not None
    assert sent[9] == 108
    return int.from_bytes(sent[22:24])


@pytest.mark.parametrize(
    ("dialect", "spi", "flags", "kept", "cpi"),
    [
        ("kame", 0x1234, 0, 0, WELL_KNOWN),
        ("kame", 0x1234, Flag.X_RAWCPI, Flag.X_RAWCPI, 0x1234),
        ("kame", 0x5_1234, Flag.X_RAWCPI, Flag.X_RAWCPI, 0x1234),
        ("sallet", 0x1234, 0, 0, WELL_KNOWN),
        ("sallet", 0x1234, Flag.X_RAWCPI, Flag.X_RAWCPI, 0x1234),
        ("sallet", 77, 0, 0, WELL_KNOWN),
        ("netbsd", 0x1234, 0, 0, WELL_KNOWN),
        ("netbsd", 0x5_1234, Flag.X_RAWCPI, Flag.X_RAWCPI, 0x1234),
        ("freebsd", 0x1234, 0, 0, 0x1234),
        ("freebsd", 0x1234, Flag.X_RAWCPI, 0, 0x1234),
        ("linux", 0x1234, 0, 0, 0x1234),
        ("linux", WELL_KNOWN, 0, 0, WELL_KNOWN),
    ],
)
def test_the_flag_or_the_dialect_chooses_the_cpi(
    dialect: str, spi: int, flags: int, kept: int, cpi: int
) -> None:
    handlers = serve(dialect)
    answer = ask(handlers, message(Msg.ADD, Sa(spi, encrypt=DEFLATE, flags=flags)))
    assert (answer.errno, answer.satype) == (0, IPCOMP)
    assert (shown(answer).spi, shown(answer).encrypt, shown(answer).auth) == (spi, DEFLATE, 0)
    dumped = ask(handlers, message(Msg.GET, Sa(spi)))
    assert (shown(dumped).encrypt, shown(dumped).flags) == (DEFLATE, kept)
    assert Ext.KEY_ENCRYPT not in dumped.extensions
    (view,) = handlers.engine.sad_dump()
    assert (view.protocol, view.encryption, view.raw_cpi) == (
        "ipcomp",
        ("deflate", b""),
        cpi != WELL_KNOWN or spi == 2,
    )
    assert cpi_on_the_wire(handlers.engine) == cpi


def test_one_dialect_tells_what_another_added() -> None:
    handlers = serve("linux")
    (reply,) = handlers.handle(message(Msg.ADD, Sa(0x1234, encrypt=DEFLATE)))
    sallet = Handlers(handlers.engine, "sallet", handlers.changes).tell(reply)
    assert shown(sallet).flags == Flag.X_RAWCPI
    assert shown(sallet).encrypt == DEFLATE


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_refused(dialect: str) -> None:
    handlers = serve(dialect)
    unknown = handlers.dialect.errno_by_kind["unknown-algorithm"]
    for request, number in [
        (message(Msg.ADD, Sa(9)), errno.EINVAL),
        (message(Msg.ADD, Sa(9, encrypt=1)), unknown),
        (message(Msg.ADD, Sa(9, encrypt=3)), unknown),
        (message(Msg.ADD, Sa(9, encrypt=12)), errno.EINVAL),
        (message(Msg.ADD, Sa(0x1_0000, encrypt=DEFLATE)), errno.EINVAL),
        (message(Msg.ADD, Sa(0, encrypt=DEFLATE)), errno.EINVAL),
        (message(Msg.ADD, Sa(9, auth=3, encrypt=DEFLATE), KEY_AUTH=Key(160, bytes(20))), errno.EINVAL),
        (message(Msg.ADD, Sa(9, encrypt=DEFLATE), KEY_ENCRYPT=Key(64, bytes(8))), errno.EINVAL),
    ]:
        assert ask(handlers, request).errno == number, request
    assert not handlers.engine.sad_dump()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_spi_of_16_bits_is_reserved_and_becomes_an_association(dialect: str) -> None:
    handlers = serve(dialect)
    wide = message(Msg.GETSPI, None, SPIRANGE=SpiRange(0x100, 0xFFFFFF))
    if dialect == "linux":
        (refused,) = handlers.handle(wide)
        assert refused.errno == errno.EINVAL
        wide = message(Msg.GETSPI, None, SPIRANGE=SpiRange(0x100, 0xFFFF))
    answer = ask(handlers, wide)
    spi = shown(answer).spi
    assert 0x100 <= spi <= 0xFFFF
    answer = ask(handlers, message(Msg.UPDATE, Sa(spi, encrypt=DEFLATE), X_SA2=Sa2(1)))
    assert answer.errno == 0
    (view,) = handlers.engine.sad_dump("ipcomp")
    assert (view.state, view.encryption) == ("mature", ("deflate", b""))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_acquire_proposes_deflate(dialect: str) -> None:
    handlers = serve(dialect)
    template = _core.Template("ipcomp", "transport", "require")
    selector = _core.Selector("192.0.2.1", "192.0.2.2")
    handlers.engine.spd_add(_core.PolicyParams("out", selector, "protect", [template]))
    handlers.engine.outbound(_core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"x"))
    (event,) = handlers.engine.take_events()
    told = handlers.event(event)
    assert told is not None
    proposal = told.get(Ext.PROPOSAL)
    assert isinstance(proposal, Proposal)
    assert told.satype == IPCOMP
    assert [(comb.auth, comb.encrypt) for comb in proposal.combs] == [(0, DEFLATE)]
    codec.encode(told, handlers.dialect)


def test_setkey_text_becomes_an_association_and_text_again() -> None:
    engine = _core.Engine(seed=bytes(32), clock="manual")
    configure(
        engine,
        "add 192.0.2.1 192.0.2.2 ipcomp 4096 -m transport -C deflate;"
        "add 192.0.2.2 192.0.2.1 ipcomp 0x15000 -m tunnel -C deflate -R;"
        "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec ipcomp/transport//require;",
    )
    sent = engine.outbound(_core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, bytes(500))).packet
    assert sent is not None
    assert (sent[9], int.from_bytes(sent[22:24])) == (108, WELL_KNOWN)
    handlers = Handlers(engine, "sallet")
    texts = [dump.sad(reply, "sallet", 0) for reply in handlers.handle(Message(Msg.DUMP))]
    assert "\tipcomp mode=transport spi=4096(0x00001000) reqid=0(0x00000000)\n\tC: deflate \tseq=" in texts[0]
    assert "flags=0x00000080" in texts[1]


def test_the_counters_tell_what_came_of_it() -> None:
    engine = _core.Engine(seed=bytes(32), clock="manual")
    configure(
        engine,
        "add 192.0.2.1 192.0.2.2 ipcomp 4096 -C deflate;"
        "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec ipcomp/transport//require;",
    )
    for payload in (bytes(500), b"short"):
        outcome = engine.outbound(_core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, payload), journey=True)
    assert any("below the threshold" in line for line in outcome.journey)
    passed = engine.stats().passed
    assert passed["ipcomp_compressed"][0] == passed["ipcomp_plain_small"][0] == 1
    assert set(engine.stats().drops) >= {"BadCompression", "InflatesTooFar"}
    engine.configure("ipcomp_threshold", 0)
    assert engine.config()["ipcomp_threshold"] == 0
