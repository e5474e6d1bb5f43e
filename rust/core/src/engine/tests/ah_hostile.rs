//! A sender that holds the key and breaks one rule per case, and one that does not hold it: AH only.
//! No packet that a rule allows may enter: `ah.rs` has those.
//! Answers to: RFC 4302 sections 2.2 and 3.4; OpenBSD 2.7 errata 024, NetBSD-SA2002-016 and their kin.

use super::ah::{ah_sa, require_ah};
use super::*;
use crate::crypto::Integrity;
use crate::crypto::iv::IvGenerator;
use crate::terms::Sequence;
use crate::transform::ah::Ah;
use crate::transform::{AhRules, Order};
use crate::wire::{ip as any_ip, ipv4, protocol};

const SPI: u32 = 0x1000;

/// A receiver with one SA of each mode, and the key itself.
struct Victim {
    engine: Engine,
    ah: Ah,
    sequence: u64,
    /// Pieces that the engine keeps until the others come.
    held: u64,
    seen: std::collections::BTreeMap<&'static str, usize>,
}

impl Victim {
    fn new(mode: Mode) -> Self {
        let engine = engine();
        let mut ah = None;
        for (source, destination) in [(A, B), (A6, B6)] {
            let params = ah_sa(SPI, source, destination, mode);
            let integrity = Integrity::build(None, params.authentication.as_ref()).unwrap();
            ah = Some(Ah::new(params.id.spi, integrity, false, false).unwrap());
            engine.sad_add(params, START).unwrap();
            let ends = (mode == Mode::Tunnel).then_some((source, destination));
            let protect = Action::Protect(vec![require_ah(mode, ends)]);
            engine
                .spd_add(policy(Direction::Inbound, source, destination, protect), START)
                .unwrap();
        }
        Self {
            engine,
            ah: ah.unwrap(),
            sequence: 0,
            held: 0,
            seen: std::collections::BTreeMap::new(),
        }
    }

    /// Puts a signed AH between headers that already say so and a payload; `None` if nobody could sign it.
    fn signed(&mut self, headers: &[u8], next_header: u8, payload: &[u8]) -> Option<Vec<u8>> {
        self.sequence += 1;
        let mut packet = PacketBuf::from_packet(&[headers, payload].concat());
        let order = Order {
            at: headers.len(),
            next_header,
            sequence: Sequence(self.sequence),
            iv_counter: 0,
            ipv6: headers[0] >> 4 == 6,
            rules: AhRules::default(),
            compression: None,
        };
        let mut ivs = IvGenerator::new([1; 32]);
        self.ah.insert(&order, &mut ivs, &mut packet).unwrap();
        any_ip::replace_payload(packet.as_mut_slice(), order.at, protocol::AH).ok()?;
        self.ah
            .sign(order.at, order.sequence, order.rules, &mut packet)
            .ok()?;
        Some(packet.as_slice().to_vec())
    }

    /// Gives a packet to the engine: it ends in exactly one place, and never in a panic.
    fn take(&mut self, packet: &[u8]) -> &'static str {
        let out = inbound(&self.engine, packet, START);
        let held = self.engine.stats().inbound_held.packets;
        let waits = usize::from(core::mem::replace(&mut self.held, held) != held);
        assert_eq!(out.deliver.len() + out.dropped.len() + waits, 1);
        assert!(out.transmit.is_empty());
        let otherwise = if waits == 1 { "waits" } else { "delivered" };
        let end = out
            .dropped
            .first()
            .map_or(otherwise, |dropped| dropped.reason.name());
        *self.seen.entry(end).or_default() += 1;
        end
    }
}

fn v4_headers(options: &[u8]) -> Vec<u8> {
    let mut header = any_ip::packet(ip(A), ip(B), protocol::AH, &[]).unwrap();
    header[0] = 0x40 | (5 + options.len().div_ceil(4)) as u8;
    header.extend_from_slice(options);
    header.resize(20 + options.len().next_multiple_of(4), 0);
    header
}

fn v6_headers(first: u8, chain: &[u8]) -> Vec<u8> {
    any_ip::packet(ip(A6), ip(B6), first, chain).unwrap()
}

/// A length field that says 0 to 255, against packets of every length up to 120: none is opened.
//= https://www.rfc-editor.org/rfc/rfc4302#section-2.2
//# the length field is checked against what the SA's algorithm gives
// bug-row: 11
#[test]
fn lying_lengths_against_short_packets() {
    let mut victim = Victim::new(Mode::Transport);
    for length in 0..=u8::MAX {
        for payload in 0..120 {
            let mut bytes = vec![0; payload];
            for (at, byte) in [protocol::UDP, length, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 1]
                .into_iter()
                .enumerate()
            {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            for (source, destination) in [(A, B), (A6, B6)] {
                let packet = any_ip::packet(ip(source), ip(destination), protocol::AH, &bytes).unwrap();
                victim.take(&packet);
            }
        }
    }
    assert_eq!(
        victim.seen.keys().copied().collect::<Vec<_>>(),
        ["AuthFailed", "InMalformed"]
    );
}

/// A right ICV does not help a header that is longer than this SA makes it.
// bug-row: 11
#[test]
fn signed_headers_of_other_lengths() {
    let mut victim = Victim::new(Mode::Transport);
    let good = victim.signed(&v4_headers(&[]), protocol::UDP, &[7; 64]).unwrap();
    for length in 0..=u8::MAX {
        let mut packet = good.clone();
        packet[21] = length;
        if length != 5 {
            assert_ne!(victim.take(&packet), "delivered", "{length}");
        }
    }
    assert_eq!(victim.take(&good), "delivered");
}

/// Every option type with every length, at both ends of the header: signed where anybody can, bent where not.
//= https://www.rfc-editor.org/rfc/rfc4302#appendix-A1
//# each option is immutable or mutable as a whole; one that is not in the table counts as mutable
// bug-row: 3, 9
#[test]
fn every_ipv4_option_of_every_length() {
    let mut victim = Victim::new(Mode::Transport);
    let mut unsigned = 0;
    for kind in 0..=u8::MAX {
        for length in 0..=40_u8 {
            for pointer in [0, 4, 255] {
                let mut options = [1_u8; 40];
                options[..4].copy_from_slice(&[kind, length, pointer, 9]);
                let headers = v4_headers(&options);
                let payload = datagram(A, B)[20..].to_vec();
                if let Some(packet) = victim.signed(&headers, protocol::UDP, &payload) {
                    victim.take(&packet);
                } else {
                    unsigned += 1;
                    let mut good = victim
                        .signed(&v4_headers(&[1; 40]), protocol::UDP, &payload)
                        .unwrap();
                    good[20..24].copy_from_slice(&options[..4]);
                    assert_ne!(victim.take(&good), "delivered");
                }
            }
        }
    }
    let signed = victim.seen["delivered"];
    assert!(signed > 20_000 && unsigned > 500, "{signed} {unsigned}");
}

/// The same for both kinds of IPv6 options, and for routing headers of every type and length.
// bug-row: 9, 12
#[test]
fn every_ipv6_option_and_routing_header() {
    let mut victim = Victim::new(Mode::Transport);
    let payload = datagram(A6, B6)[40..].to_vec();
    for holder in [
        protocol::HOP_BY_HOP,
        protocol::DESTINATION_OPTIONS,
        protocol::ROUTING,
    ] {
        for kind in 0..=u8::MAX {
            for length in 0..=40_u8 {
                for words in [0, 1, 4] {
                    let mut chain = vec![0; 8 * (usize::from(words) + 1)];
                    chain[..4].copy_from_slice(&[protocol::AH, words, kind, length]);
                    let headers = v6_headers(holder, &chain);
                    let packet = victim.signed(&headers, protocol::UDP, &payload);
                    // Who cannot sign it sends it nevertheless.
                    let packet = packet.unwrap_or_else(|| {
                        let good = victim.signed(&v6_headers(protocol::AH, &[]), protocol::UDP, &payload);
                        let chain = [&chain[..], &good.unwrap()[40..]].concat();
                        v6_headers(holder, &chain)
                    });
                    victim.take(&packet);
                }
            }
        }
    }
    assert!(victim.seen["delivered"] > 10_000, "{:?}", victim.seen);
    assert!(victim.seen["InMalformed"] > 1000, "{:?}", victim.seen);
}

/// Behind a right ICV, anything at all: it is delivered if it is what policy asks for, or dropped for a reason.
// bug-row: 44
#[test]
fn signed_nonsense_inside() {
    for mode in [Mode::Transport, Mode::Tunnel, Mode::Any] {
        let mut victim = Victim::new(mode);
        for next_header in 0..=u8::MAX {
            for length in (0..48).chain([200]) {
                for fill in [0, 1, 0x33, 0x45, 0x60, 0xff] {
                    let inside = vec![fill; length];
                    for headers in [v4_headers(&[]), v6_headers(protocol::AH, &[])] {
                        let packet = victim.signed(&headers, next_header, &inside).unwrap();
                        victim.take(&packet);
                    }
                }
            }
        }
        let known = [
            "delivered",
            "BadPadding",
            "InMalformed",
            "InNoSa",
            "InPolicyViolation",
            "InFragment",
            "waits",
        ];
        assert!(
            victim.seen.keys().all(|end| known.contains(end)),
            "{mode:?} {:?}",
            victim.seen
        );
    }
}

/// Inner packets that lie about themselves, through a tunnel.
// bug-row: 37, 44
#[test]
fn signed_lies_inside_a_tunnel() {
    let mut victim = Victim::new(Mode::Tunnel);
    for (source, destination, next_header, outer) in [
        (A, B, protocol::IPV4, v4_headers(&[])),
        (A6, B6, protocol::IPV6, v6_headers(protocol::AH, &[])),
    ] {
        let inner = datagram(source, destination);
        for at in 0..inner.len() {
            for value in [
                0, 1, 4, 5, 6, 0x0f, 0x2c, 0x33, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0xff,
            ] {
                let mut lie = inner.clone();
                lie[at] = value;
                let packet = victim.signed(&outer, next_header, &lie).unwrap();
                victim.take(&packet);
            }
            let packet = victim.signed(&outer, next_header, &inner[..at]).unwrap();
            assert_eq!(victim.take(&packet), "BadPadding", "cut at {at}");
        }
        // The other family's number, and a transport payload where a packet must be.
        for other in [
            protocol::IPV4 + protocol::IPV6 - next_header,
            protocol::UDP,
            protocol::NO_NEXT_HEADER,
        ] {
            let packet = victim.signed(&outer, other, &inner).unwrap();
            assert_eq!(victim.take(&packet), "BadPadding", "{other}");
        }
    }
    assert!(victim.seen["delivered"] > 500, "{:?}", victim.seen);
}

/// Captured and guessed, not signed: the window does not move, so what was sent honestly still arrives.
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.4.3
//# the window is not moved before the ICV is right
// bug-row: 5
#[test]
fn a_wrong_icv_moves_nothing() {
    let mut victim = Victim::new(Mode::Transport);
    let payload = datagram(A, B)[20..].to_vec();
    let good = victim.signed(&v4_headers(&[]), protocol::UDP, &payload).unwrap();
    for number in [2_u32, 64, 65, 1000, u32::MAX] {
        let mut forged = good.clone();
        forged[28..32].copy_from_slice(&number.to_be_bytes());
        assert_eq!(victim.take(&forged), "AuthFailed");
    }
    let mut zero = good.clone();
    zero[28..32].fill(0);
    assert_eq!(victim.take(&zero), "Replay");
    assert_eq!(victim.take(&good), "delivered");
    assert_eq!(victim.take(&good), "Replay");
    assert!(ipv4::Packet::new_checked(&good).unwrap().checksum_is_right());
}
