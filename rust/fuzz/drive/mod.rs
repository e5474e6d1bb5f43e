//! What every fuzz target checks; driven by libFuzzer and, over the corpus, by `cargo test`.
//! No fuzzing library may enter: `rust/core/tests/corpus.rs` includes this folder on a stable compiler.
//! Answers to: `rust/fuzz/README.md`; docs of `sallet_core` (no panic), rows 1 to 11 of the bugs of others.
#![allow(
    clippy::expect_used,
    reason = "a broken expectation is what the fuzzer looks for"
)]

pub(crate) mod engine_pair;
pub(crate) mod fragment;
pub(crate) mod inbound_ah;
pub(crate) mod inbound_esp;
pub(crate) mod inbound_ipcomp;
pub(crate) mod inbound_udp_encap;
mod input;
mod peer;
pub(crate) mod seal_open;
mod sealed_esp;
pub(crate) mod wire_formats;
pub(crate) mod wire_packets;

/// One target: what is done with an input, and whether that was accepted.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]) -> bool,
}

/// Every target, cheap ones first.
pub(crate) const TARGETS: &[Target] = &[
    target("ipv4", wire_formats::ipv4),
    target("ipv6", wire_formats::ipv6),
    target("esp", wire_formats::esp),
    target("ah", wire_formats::ah),
    target("ipcomp", wire_formats::ipcomp),
    target("udp_encap", wire_formats::udp_encap),
    target("icmp", wire_formats::icmp),
    target("fragment", fragment::run),
    target("wire_packets", wire_packets::run),
    target("inbound_udp_encap", inbound_udp_encap::run),
    target("inbound_esp", inbound_esp::run),
    target("inbound_ah", inbound_ah::run),
    target("inbound_ipcomp", inbound_ipcomp::run),
    target("engine_pair", engine_pair::run),
    target("seal_open", seal_open::run),
];

const fn target(name: &'static str, run: fn(&[u8]) -> bool) -> Target {
    Target { name, run }
}

/// The target of that name.
pub(crate) fn named(name: &str) -> &'static Target {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target is in the table")
}
