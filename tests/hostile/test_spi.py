"""SPIs: reserved ones are never given out and never served, no two SAs share one.

No packet but the ones that name an SPI may enter.
Answers to: RFC 4303 section 2.1, RFC 2367 section 3.1.1, RFC 4301 section 4.1.
"""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

import sallet
from hostile.sender import PEER, VICTIM, Sa, both_families, good
from hostile.victim import Victim
from sallet.pfkey.constants import SadbExtType, SadbMsgType
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Address, Extension, Message, SpiRange
from sallet.pfkey.messages import Sa as SaExtension

FIRST = 256


def asked(engine: sallet.Engine, protocol: str, minimum: int, maximum: int, family: int = 4) -> int | str:
    """The SPI that was given, or why none was."""
    try:
        return engine.sad_getspi(protocol, PEER[family], VICTIM[family], minimum=minimum, maximum=maximum)
    except sallet.EngineError as error:
        return str(error.kind)


# = https://www.rfc-editor.org/rfc/rfc4303#section-2.1
# # SPIs 1 to 255 are reserved and are not handed out.
@pytest.mark.bug_row(55)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["esp", "ah", "ipcomp"])
def test_no_range_yields_a_reserved_spi(protocol: str, family: int) -> None:
    """Row 55: random ranges, among them those that begin or end in what is reserved; each SPI once."""
    noise, given = random.Random(55), set()
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    top = 0xFFFF if protocol == "ipcomp" else 0xFFFFFFFF
    edges = (0, 1, 254, 255, 256, 257, 300, top - 1, top)
    for _ in range(3000):
        first, last = noise.choice(edges), noise.choice(edges)
        minimum, maximum = first, min(last, first + noise.randrange(8)) if noise.random() < 0.5 else last
        spi = asked(engine, protocol, minimum, maximum, family)
        if isinstance(spi, str):
            assert spi in ("out-of-range", "spi-exhausted", "invalid-spi"), spi
            continue
        assert spi >= FIRST
        assert (minimum, maximum) == (0, 0) or minimum <= spi <= maximum
        assert spi not in given, "the same SPI twice"
        given.add(spi)
    assert len(given) > 100


@pytest.mark.bug_row(55)
@pytest.mark.parametrize("protocol", ["esp", "ah", "ipcomp"])
def test_a_range_is_used_up_to_the_last(protocol: str) -> None:
    """Row 55: a small range yields each of its SPIs once, then an error and nothing below it."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    given = {asked(engine, protocol, FIRST, FIRST + 9) for _ in range(10)}
    assert given == set(range(FIRST, FIRST + 10))
    assert asked(engine, protocol, FIRST, FIRST + 9) == "spi-exhausted"
    assert isinstance(asked(engine, protocol, 250, 255), str)


@pytest.mark.bug_row(55)
@pytest.mark.parametrize("dialect", ["sallet", "linux", "kame"])
def test_getspi_gives_no_reserved_spi(dialect: str) -> None:
    """Row 55: the same through SADB_GETSPI, in every dialect."""
    engine = sallet.Engine(seed=bytes(32), clock="manual")
    handlers, seen = Handlers(engine, dialect), set()
    for minimum, maximum in [
        (0, 0),
        (0, 255),
        (1, 255),
        (255, 256),
        (256, 260),
        (0, 0xFFFFFFFF),
        (10, 5),
    ] * 30:
        extensions: dict[SadbExtType, Extension] = {
            SadbExtType.ADDRESS_SRC: _address(PEER[4]),
            SadbExtType.ADDRESS_DST: _address(VICTIM[4]),
            SadbExtType.SPIRANGE: SpiRange(minimum, maximum),
        }
        for reply in handlers.handle(Message(SadbMsgType.GETSPI, satype=3, extensions=extensions)):
            given = reply.get(SadbExtType.SA)
            if isinstance(given, SaExtension) and not reply.errno:
                assert given.spi >= FIRST
                seen.add(given.spi)
    assert all(view.spi >= FIRST for view in engine.sad_dump())
    assert seen


# = https://www.rfc-editor.org/rfc/rfc4303#section-2.1
# # SPI 0 is for local use and never on the wire.
@pytest.mark.bug_row(55)
@pytest.mark.parametrize("sa", both_families(Sa(spi=0), Sa(spi=0, mode="tunnel")), ids=str)
def test_spi_zero_is_no_sa(sa: Sa) -> None:
    """Row 55: SPI 0 cannot be added, and a packet that names it is for nobody."""
    with pytest.raises(sallet.EngineError) as refused:
        sallet.Engine().sad_add(sa.params())
    assert refused.value.kind == "invalid-spi"
    Victim(Sa(family=sa.family)).refuses(good(sa, 1)[0], "InNoSa", "InMalformed")


def _address(text: str) -> Address:
    address = ip_address(text)
    return Address(address, port=0, prefixlen=address.max_prefixlen, proto=0)
