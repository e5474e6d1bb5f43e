"""NAT traversal through PF_KEY: original addresses, who keeps a mapping alive, and a peer that has moved.

No socket enters. Answers to RFC 3948 §3.1.2, §4 and §5, to <linux/pfkeyv2.h> (SADB_X_NAT_T_NEW_MAPPING).
"""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address

import pytest

from sallet import _core
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.constants import SadbSaFlags as Flag
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Address, Extension, Key, Message, NatFragment, NatPort, NatType, Sa, Sa2

ESP = 3
A, B, INSIDE = (Address(ip_address(each)) for each in ("192.0.2.1", "192.0.2.2", "10.0.0.1"))
KEYS = (Key(128, bytes(range(16))), Key(256, bytes(range(32))))


def serve(dialect: str) -> Handlers:
    return Handlers(_core.Engine(seed=bytes(32), clock="manual"), dialect)


def add(port: int = 4500, flags: int = 0, **more: Extension) -> Message:
    extensions: dict[Ext, Extension] = {
        Ext.SA: Sa(0x1001, auth=5, encrypt=12, flags=flags),
        Ext.ADDRESS_SRC: A,
        Ext.ADDRESS_DST: B,
        Ext.KEY_AUTH: KEYS[1],
        Ext.KEY_ENCRYPT: KEYS[0],
        Ext.X_NAT_T_TYPE: NatType(2),
        Ext.X_NAT_T_SPORT: NatPort(port),
        Ext.X_NAT_T_DPORT: NatPort(4500),
        **{Ext[name]: value for name, value in more.items()},
    }
    return Message(Msg.ADD, ESP, seq=7, pid=9, extensions=extensions)


def ask(handlers: Handlers, request: Message) -> int:
    (reply,) = handlers.handle(codec.decode(codec.encode(request, handlers.dialect), handlers.dialect))
    return reply.errno


def test_the_original_address_is_kept_and_the_other_is_the_associations_own() -> None:
    handlers = serve("linux")
    assert ask(handlers, add(X_NAT_T_OAI=INSIDE)) == 0
    assert handlers.engine.sad_dump()[0].original == (INSIDE.address, B.address)
    other = serve("linux")
    assert ask(other, add(X_NAT_T_OAI=Address(ip_address("2001:db8::1")))) == errno.EINVAL
    assert other.engine.sad_dump() == []


def test_who_is_behind_the_nat_keeps_the_mapping_alive() -> None:
    handlers = serve("sallet")
    assert ask(handlers, add(flags=Flag.X_NATT_KEEPALIVE)) == 0
    assert handlers.engine.sad_dump()[0].keepalive
    handlers.engine.advance(21)
    (packet,) = handlers.engine.take_transmits()
    assert packet[28:] == b"\xff"


# = https://www.rfc-editor.org/rfc/rfc3948#section-5
# # only a packet whose ICV was good says where the peer is now
@pytest.mark.parametrize("dialect", ["linux", "sallet"])
def test_a_peer_that_moved_is_told_once(dialect: str) -> None:
    handlers, sender = serve(dialect), serve(dialect)
    assert ask(handlers, add()) == 0
    assert ask(sender, add(port=61_000)) == 0
    template = _core.Template("esp", "transport", "require")
    selector = _core.Selector("192.0.2.1", "192.0.2.2")
    sender.engine.spd_add(_core.PolicyParams("out", selector, "protect", [template]))
    for _ in range(2):
        sent = sender.engine.outbound(_core.udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"moved")).packet
        assert sent is not None
        forged = sent[:-1] + bytes([sent[-1] ^ 1])
        assert handlers.engine.inbound(forged).reason == "AuthFailed"
        assert handlers.engine.inbound(sent).reason is None
    (event,) = handlers.engine.take_events()
    told = handlers.event(event)
    assert told is not None
    told = codec.decode(codec.encode(told, handlers.dialect), handlers.dialect)
    assert (told.type, told.satype) == (Msg.X_NAT_T_NEW_MAPPING, ESP)
    assert (told.get(Ext.X_NAT_T_SPORT), told.get(Ext.X_NAT_T_DPORT)) == (NatPort(4500), NatPort(61_000))
    sa, before, now = (told.get(each) for each in (Ext.SA, Ext.ADDRESS_SRC, Ext.ADDRESS_DST))
    assert isinstance(sa, Sa)
    assert isinstance(before, Address)
    assert isinstance(now, Address)
    assert (sa.spi, before.address, now.address) == (0x1001, A.address, A.address)


@pytest.mark.parametrize("dialect", ["netbsd", "freebsd"])
def test_what_the_bsds_say_of_a_nat_is_told_again(dialect: str) -> None:
    handlers = serve(dialect)
    said = add(X_NAT_T_OAI=INSIDE, X_NAT_T_FRAG=NatFragment(552), X_SA2=Sa2(2))
    assert ask(handlers, said) == 0
    assert handlers.engine.sad_dump()[0].fragment_bytes == 552
    named = {kind: each for kind, each in add().extensions.items() if kind <= Ext.ADDRESS_DST}
    asked = Message(Msg.GET, ESP, seq=8, pid=9, extensions=named)
    (entry,) = handlers.handle(Message(Msg.DUMP, seq=9, pid=9))
    for told in (*handlers.handle(asked), entry):
        heard = codec.decode(codec.encode(told, handlers.dialect), handlers.dialect)
        original = heard.get(Ext.X_NAT_T_OAI)
        assert isinstance(original, Address)
        assert original.address == INSIDE.address
        assert heard.get(Ext.X_NAT_T_FRAG) == NatFragment(552)
        assert Ext.X_OAR_OR_SEC_CTX not in heard.extensions
    assert codec.encode(said, handlers.dialect).count(struct.pack("=HHHH", 1, 25, 552, 0)) == 1


def test_a_length_to_cut_to_is_refused_where_nothing_would_follow() -> None:
    for mode, octets in ((1, 552), (2, 67)):
        refused = add(X_NAT_T_FRAG=NatFragment(octets), X_SA2=Sa2(mode))
        assert ask(serve("netbsd"), refused) == errno.EINVAL
