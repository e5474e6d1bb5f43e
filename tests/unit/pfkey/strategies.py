"""Hypothesis strategies for PF_KEY messages of every dialect.

No assertion enters. Answers to RFC 2367 §2.3.
"""

from __future__ import annotations

from hypothesis import strategies as st

from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.constants import SadbMsgType as Msg
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import (
    Address,
    Algorithm,
    Comb,
    Extension,
    Filter,
    Identity,
    Key,
    Lifetime,
    Message,
    NatFragment,
    NatPort,
    NatType,
    Opaque,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    SpiRange,
    Supported,
)

u8, u16 = st.integers(0, 255), st.integers(0, 0xFFFF)
u32, u64 = st.integers(0, 0xFFFFFFFF), st.integers(0, 2**64 - 1)
lifetimes = st.builds(Lifetime, u32, u64, u64, u64)


def addresses(proto: st.SearchStrategy[int] = u8) -> st.SearchStrategy[Address]:
    return st.builds(Address, st.ip_addresses(v=4), u16, st.integers(0, 32), proto) | st.builds(
        Address, st.ip_addresses(v=6), u16, st.integers(0, 128), proto
    )


@st.composite
def keys(draw: st.DrawFn) -> Key:
    bits = draw(st.integers(0, 2100))
    size = (bits + 7) // 8
    return Key(bits, draw(st.binary(min_size=size, max_size=size)))


@st.composite
def requests(draw: st.DrawFn, reqid: st.SearchStrategy[int], marked: bool) -> Request:
    ends: tuple[Address, ...] = ()
    chosen = draw(st.sampled_from((None, (st.ip_addresses(v=4), 32), (st.ip_addresses(v=6), 128))))
    if chosen is not None:
        ends = tuple(draw(st.builds(Address, chosen[0], u16, st.just(chosen[1]))) for _ in "sd")
    return Request(
        draw(u16), draw(u8), draw(u8), draw(reqid), *ends, made=draw(st.booleans()) if marked else None
    )


def extension(kind: Ext, dialect: Dialect) -> st.SearchStrategy[Extension]:
    if kind in (Ext.LIFETIME_CURRENT, Ext.LIFETIME_HARD, Ext.LIFETIME_SOFT):
        return lifetimes
    if kind in (Ext.ADDRESS_SRC, Ext.ADDRESS_DST, Ext.ADDRESS_PROXY, Ext.X_NAT_T_OAI):
        return addresses()
    if kind in (Ext.X_NEW_ADDRESS_SRC, Ext.X_NEW_ADDRESS_DST):
        return addresses()
    if kind is Ext.X_OAR_OR_SEC_CTX and dialect.oar_is_address:
        return addresses()
    if kind in (Ext.KEY_AUTH, Ext.KEY_ENCRYPT):
        return keys()
    if kind in (Ext.IDENTITY_SRC, Ext.IDENTITY_DST):
        text = st.text(st.characters(min_codepoint=1, codec="utf-8"))
        return st.builds(Identity, u16, u64, text)
    if kind in (Ext.SUPPORTED_AUTH, Ext.SUPPORTED_ENCRYPT):
        return st.builds(Supported, st.lists(st.builds(Algorithm, u8, u8, u16, u16)).map(tuple))
    if kind in (Ext.X_NAT_T_SPORT, Ext.X_NAT_T_DPORT):
        return st.builds(NatPort, u16)
    wide = dialect.request_header_bytes == 16
    policy = st.builds(
        Policy,
        u16,
        u8,
        u32,
        u32 if dialect.policy_has_priority else st.just(0),
        st.lists(requests(u32 if wide else u16, dialect.reqids_made_marked), max_size=4).map(tuple),
        u8 if dialect.policy_has_scope else st.just(0),
    )
    comb = st.builds(Comb, u8, u8, u16, u16, u16, u16, u16, lifetimes, lifetimes)
    table: dict[Ext, st.SearchStrategy[Extension]] = {
        Ext.SA: st.builds(Sa, u32, u8, u8, u8, u8, u32),
        Ext.PROPOSAL: st.builds(Proposal, u8, st.lists(comb, max_size=4).map(tuple)),
        Ext.SPIRANGE: st.builds(SpiRange, u32, u32),
        Ext.X_POLICY: policy,
        Ext.X_SA2: st.builds(Sa2, u8, u32, u32),
        Ext.X_NAT_T_TYPE: st.builds(NatType, u8),
        Ext.X_NAT_T_FRAG: st.builds(NatFragment, u16),
        Ext.X_SA_REPLAY: st.builds(Replay, u32),
        Ext.X_FILTER: st.builds(
            Filter,
            st.sampled_from((None, 4, 6)),
            st.binary(min_size=16, max_size=16),
            st.integers(0, 32),
            st.binary(min_size=16, max_size=16),
            st.integers(0, 32),
        ),
    }
    octets = st.integers(0, 9).flatmap(lambda n: st.binary(min_size=8 * n + 4, max_size=8 * n + 4))
    return table.get(kind, octets.map(Opaque))


@st.composite
def messages(draw: st.DrawFn) -> tuple[Dialect, Message]:
    dialect = draw(st.sampled_from(list(DIALECTS.values())))
    kinds = draw(st.lists(st.sampled_from(list(dialect.extension_numbers)), unique=True, max_size=12))
    extensions = {kind: draw(extension(kind, dialect)) for kind in kinds}
    kind = draw(st.sampled_from([kind for kind in Msg if 0 < kind <= dialect.last_message]))
    return dialect, Message(kind, draw(u8), draw(u8), draw(u32), draw(u32), draw(u16), extensions)
