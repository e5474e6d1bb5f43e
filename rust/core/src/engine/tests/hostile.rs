//! A peer that holds the keys and breaks one rule per case: nesting, and headers inside ESP.
//! What needs no key is elsewhere: fragments in `fragments.rs`, ICMP in `hints.rs`.
//! Answers to: RFC 4301 section 5.2; `docs/bug-classes.md` rows 8 and 44.

use super::*;
use crate::crypto::Suite;
use crate::crypto::iv::IvGenerator;
use crate::terms::Sequence;
use crate::transform::esp::Esp;
use crate::wire::{ip as any_ip, protocol};

/// A sender that seals anything.
struct Hostile {
    esp: Esp,
    ivs: IvGenerator,
    sequence: u64,
}

impl Hostile {
    fn new() -> Self {
        let key = sa(0x1000, A, B, Mode::Any).encryption;
        let suite = Suite::build(key.as_ref(), None).unwrap();
        Self {
            esp: Esp::new(Spi(0x1000), suite, false),
            ivs: IvGenerator::new([9; 32]),
            sequence: 0,
        }
    }

    fn seal(&mut self, ends: (&str, &str), next_header: u8, payload: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        let mut packet = PacketBuf::from_packet(payload);
        let number = self.sequence;
        self.esp
            .seal(
                0,
                next_header,
                Sequence(number),
                number,
                &mut self.ivs,
                &mut packet,
            )
            .unwrap();
        any_ip::packet(ip(ends.0), ip(ends.1), protocol::ESP, packet.as_slice()).unwrap()
    }
}

fn receiver(mode: Mode, ends: (&str, &str)) -> Engine {
    let engine = engine();
    engine.sad_add(sa(0x1000, ends.0, ends.1, mode), START).unwrap();
    engine
}

/// CVE-2011-1547, row 8: nesting is a loop with an end. ESP in ESP, IP in ESP in IP, and IP in IP, 1 to 1000 deep.
// bug-row: 8
#[test]
fn row_8_nesting_ends_after_sixteen() {
    for ends in [(A, B), (A6, B6)] {
        let whole = if ends == (A, B) {
            protocol::IPV4
        } else {
            protocol::IPV6
        };
        for (mode, next_header) in [(Mode::Transport, protocol::ESP), (Mode::Tunnel, whole)] {
            for depth in (1..=20_u32).chain([100, 500, 1000]) {
                let engine = receiver(mode, ends);
                let mut hostile = Hostile::new();
                let mut wire = datagram(ends.0, ends.1);
                // Numbers count down so that the outermost is the highest: none is a replay.
                hostile.sequence = 5000;
                for layer in 0..depth {
                    hostile.sequence = 5000 - 2 * u64::from(layer);
                    let header = if whole == protocol::IPV4 { 20 } else { 40 };
                    let (inner, payload) = match (mode, layer) {
                        (Mode::Transport, 0) => (protocol::UDP, wire[header..].to_vec()),
                        (Mode::Transport, _) => (next_header, wire[header..].to_vec()),
                        _ => (next_header, wire.clone()),
                    };
                    if payload.len() > 60_000 {
                        break;
                    }
                    wire = hostile.seal(ends, inner, &payload);
                }
                let out = inbound(&engine, &wire, START);
                if depth <= 16 {
                    // Between 1 and 16, what stops it is a rule of its own, never a crash.
                    assert_eq!(out.deliver.len() + out.dropped.len(), 1);
                } else {
                    let reason = out.dropped[0].reason;
                    assert!(
                        matches!(reason, DropReason::InTooDeep | DropReason::Replay),
                        "{depth}: {reason:?}"
                    );
                }
                let opened = engine.sad_dump(None)[0].packets;
                assert!(opened <= 16, "{depth}: {opened} opened");
            }
        }
        // IP in IP is one packet for us: it is not walked into.
        let engine = engine();
        let mut packet = datagram(ends.0, ends.1);
        for _ in 0..1000 {
            match any_ip::packet(ip(ends.0), ip(ends.1), whole, &packet) {
                Some(deeper) => packet = deeper,
                None => break,
            }
        }
        assert_eq!(inbound(&engine, &packet, START).deliver.len(), 1);
    }
}

/// CVE-2022-34718, row 44: every extension header inside ESP, whole and cut at every byte, behind a valid ICV.
// bug-row: 44
#[test]
fn row_44_extension_headers_inside_esp() {
    let headers: [(u8, &[u8]); 6] = [
        (protocol::HOP_BY_HOP, &[17, 0, 1, 4, 0, 0, 0, 0]),
        (
            protocol::ROUTING,
            &[
                17, 2, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
            ],
        ),
        (protocol::FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 9]),
        (protocol::FRAGMENT, &[17, 0, 0, 8, 0, 0, 0, 9]),
        (protocol::DESTINATION_OPTIONS, &[17, 0, 1, 4, 0, 0, 0, 0]),
        (
            protocol::AH,
            &[
                17, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
    ];
    for ends in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let engine = receiver(mode, ends);
            let mut hostile = Hostile::new();
            let (mut delivered, mut dropped, mut held) = (0, 0, 0);
            for (next_header, header) in headers {
                let segment = udp::packet(ip(A6), ip(B6), 1, 2, b"payload!").unwrap();
                let whole = [header, &segment[40..]].concat();
                for cut in 0..=whole.len() {
                    let payload = &whole[..cut];
                    let wire = match mode {
                        Mode::Transport | Mode::Any => hostile.seal(ends, next_header, payload),
                        Mode::Tunnel => {
                            let inner = any_ip::packet(ip(A6), ip(B6), next_header, payload).unwrap();
                            hostile.seal(ends, protocol::IPV6, &inner)
                        }
                    };
                    let out = inbound(&engine, &wire, START);
                    delivered += out.deliver.len();
                    dropped += out.dropped.len();
                    held += usize::from(out.deliver.is_empty() && out.dropped.is_empty());
                    for packet in &out.deliver {
                        let seen = crate::wire::ip::Summary::parse(packet.as_slice());
                        assert_eq!(seen.map(|seen| seen.total_bytes), Some(packet.len()));
                    }
                }
            }
            let stats = engine.stats();
            assert_eq!(stats.inbound_arrived.packets as usize, delivered + dropped + held);
            assert_eq!(stats.inbound_held.packets as usize, held);
            assert!(dropped > 0, "{mode:?} {ends:?}");
        }
    }
}
