//! Reassembly by itself: orders, overlaps, bounds, floods.
//! No engine and no policy may enter: fragments through engines are `engine/tests/fragments.rs`.
//! Answers to: RFC 5722, RFC 8200 section 4.5, RFC 3168 section 5.3; `docs/bug-classes.md` row 65.

use super::*;
use crate::wire::{checksum, icmp, protocol};

const START: Instant = Instant::from_secs(1000);
const V4: (&str, &str) = ("192.0.2.1", "192.0.2.2");
const V6: (&str, &str) = ("2001:db8::1", "2001:db8::2");

fn whole((source, destination): (&str, &str), bytes: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..bytes).map(|at| (at % 253) as u8).collect();
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let mut packet = ip::packet(source, destination, protocol::ESP, &payload).unwrap();
    fragment::ensure_identification(&mut packet, 77);
    packet
}

fn pieces(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let split = fragment::split(packet, mtu, 0x5566_7788).unwrap();
    split.map(|piece| piece.as_slice().to_vec()).collect()
}

fn add_at(
    all: &mut Reassembler,
    origin: Origin,
    packet: &[u8],
    now: Instant,
) -> Result<Option<Vec<u8>>, DropReason> {
    let summary = Summary::parse(packet).unwrap();
    let whole = all.add(origin, packet, &summary, now)?;
    Ok(whole.map(|whole| whole.packet.as_slice().to_vec()))
}

fn add(all: &mut Reassembler, packet: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
    add_at(all, Origin::Outbound, packet, START)
}

/// A fragment of plain bytes, as no honest sender would place it.
fn crafted(ends: (&str, &str), offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let flags = offset | u16::from(more);
    if ends == V4 {
        let mut packet = whole(ends, 0);
        packet.extend_from_slice(payload);
        let total = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
        packet[10..12].fill(0);
        let sum = checksum::internet(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    } else {
        let mut body = vec![protocol::ESP, 0];
        body.extend_from_slice(&flags.to_be_bytes());
        body.extend_from_slice(&0x5566_7788_u32.to_be_bytes());
        body.extend_from_slice(payload);
        let (source, destination) = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
        ip::packet(source, destination, protocol::FRAGMENT, &body).unwrap()
    }
}

fn is_empty(all: &Reassembler) -> bool {
    all.bytes == 0
        && all.datagrams.is_empty()
        && all.order.is_empty()
        && all.deadlines.is_empty()
        && all.sources.is_empty()
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
//# fragments are reassembled before AH and ESP
#[test]
fn every_order_of_four_pieces_becomes_whole() {
    for ends in [V4, V6] {
        let packet = whole(ends, 61);
        let pieces = pieces(&packet, if ends == V4 { 36 } else { 64 });
        assert_eq!(pieces.len(), 4);
        for order in 0..256_usize {
            let order = [order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6];
            let mut all = Reassembler::default();
            let mut seen = BTreeSet::new();
            for index in order {
                seen.insert(index);
                let got = add(&mut all, &pieces[index]).unwrap();
                // A doubled piece changes nothing.
                assert_eq!(got.is_some(), seen.len() == 4);
                if let Some(got) = got {
                    assert_eq!(got, packet);
                    assert!(is_empty(&all));
                }
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc5722#section-3
//# overlapping fragments of IPv6: the whole packet is discarded
#[test]
fn overlapping_fragments_spoil_their_datagram() {
    for ends in [V4, V6] {
        for (offset, more, bytes) in [
            (8, true, 16),
            (16, true, 8),
            (0, true, 24),
            (0, true, 8),
            (24, true, 16),
            (16, false, 20),
            (8, false, 9),
        ] {
            let mut all = Reassembler::default();
            assert_eq!(add(&mut all, &crafted(ends, 0, true, &[1; 16])), Ok(None));
            assert_eq!(add(&mut all, &crafted(ends, 24, true, &[1; 8])), Ok(None));
            let hostile = crafted(ends, offset, more, &vec![2; bytes]);
            let clean = matches!((offset, bytes), (16, 8));
            assert_eq!(add(&mut all, &hostile).is_err(), !clean, "{offset} {bytes}");
            if clean {
                continue;
            }
            for late in [(16, true, 8), (32, false, 8)] {
                let late = crafted(ends, late.0, late.1, &vec![1; late.2]);
                assert_eq!(add(&mut all, &late), Err(DropReason::InFragment));
            }
            assert_eq!(all.outcomes().given_up, 1);
            assert_eq!(all.bytes, DATAGRAM_COST, "its pieces are gone at once");
            all.expire(START.plus(IPV6_WAIT));
            assert!(is_empty(&all));
            assert_eq!(all.outcomes().given_up, 1);
        }
    }
}

#[test]
fn ends_that_contradict_each_other_spoil_the_datagram() {
    for ends in [V4, V6] {
        for (first, second) in [
            ((16, false, 8), (32, false, 8)),
            ((16, false, 8), (24, true, 8)),
            ((24, true, 8), (16, false, 8)),
        ] {
            let mut all = Reassembler::default();
            let place = |(offset, more, bytes)| crafted(ends, offset, more, &vec![1; bytes]);
            assert_eq!(add(&mut all, &place(first)), Ok(None));
            assert_eq!(add(&mut all, &place(second)), Err(DropReason::InFragment));
        }
    }
}

/// Tiny fragments cost their sender the datagram before they cost memory.
#[test]
fn pieces_of_one_datagram_are_limited() {
    for ends in [V4, V6] {
        let mut all = Reassembler::default();
        for index in 0..u16::try_from(PIECES).unwrap() {
            assert_eq!(add(&mut all, &crafted(ends, index * 16, true, &[1; 8])), Ok(None));
        }
        let one_more = crafted(ends, 8 * 1001, true, &[1; 8]);
        assert_eq!(add(&mut all, &one_more), Err(DropReason::InFragment));
        assert_eq!(all.bytes, DATAGRAM_COST);
    }
}

#[test]
fn the_longest_packet_in_the_shortest_usual_pieces_is_made_whole() {
    for (ends, bytes) in [(V4, 65_515), (V6, 65_535)] {
        let packet = whole(ends, bytes);
        let mut all = Reassembler::default();
        let pieces = pieces(&packet, 576);
        let last = pieces.len() - 1;
        for (index, piece) in pieces.iter().enumerate() {
            let got = add(&mut all, piece).unwrap();
            assert_eq!(got.is_some(), index == last);
            if let Some(got) = got {
                assert_eq!(got, packet);
            }
        }
        assert!(is_empty(&all));
    }
}

#[test]
fn what_waits_too_long_is_given_up() {
    for (ends, secs) in [(V4, 30), (V6, 60)] {
        let mut all = Reassembler::default();
        let pieces = pieces(&whole(ends, 100), 80);
        assert_eq!(add(&mut all, &pieces[0]), Ok(None));
        let end = START.plus(Duration::from_secs(secs));
        assert_eq!(all.deadline(), Some(end));
        all.expire(Instant(end.0 - 1));
        assert!(!is_empty(&all));
        // Without a timer, the next fragment finds out.
        assert_eq!(add_at(&mut all, Origin::Outbound, &pieces[1], end), Ok(None));
        assert_eq!(
            all.outcomes(),
            Outcomes {
                completed: 0,
                given_up: 1
            }
        );
        all.expire(end.plus(IPV6_WAIT));
        assert!(is_empty(&all));
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-7.3
//# what came in clear never completes what came protected, nor the other way round
#[test]
fn origins_never_meet() {
    let pieces = pieces(&whole(V4, 100), 80);
    let hop = Hop {
        protocol: crate::terms::Protocol::Esp,
        mode: crate::terms::Mode::Tunnel,
        reqid: Some(0),
        source: V4.0.parse().unwrap(),
        destination: V4.1.parse().unwrap(),
        maybe_bare: false,
    };
    let origins = [
        Origin::Outbound,
        Origin::Inbound(vec![]),
        Origin::Inbound(vec![hop]),
        Origin::Inbound(vec![Hop {
            reqid: Some(1),
            ..hop
        }]),
        Origin::Inbound(vec![hop, hop]),
    ];
    for first in &origins {
        for second in &origins {
            let mut all = Reassembler::default();
            assert_eq!(add_at(&mut all, first.clone(), &pieces[0], START), Ok(None));
            let got = add_at(&mut all, second.clone(), &pieces[1], START).unwrap();
            assert_eq!(got.is_some(), first == second);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc3168#section-5.3
//# a mark on any piece is a mark on the packet; a mark beside a piece that knows none drops it
#[test]
fn congestion_marks_survive() {
    for ends in [V4, V6] {
        for (first, second, expected) in [
            (0, 0, Some(0)),
            (2, 2, Some(2)),
            (2, 3, Some(3)),
            (3, 1, Some(3)),
            (3, 3, Some(3)),
            (0, 3, None),
            (3, 0, None),
        ] {
            let mut all = Reassembler::default();
            let mut pieces = pieces(&whole(ends, 100), 120 - if ends == V4 { 20 } else { 0 });
            assert!(ip::set_traffic_class(&mut pieces[0], 0xb8 | first));
            assert!(ip::set_traffic_class(&mut pieces[1], 0xb8 | second));
            assert_eq!(add(&mut all, &pieces[0]), Ok(None));
            let got = add(&mut all, &pieces[1]);
            let class = got.map(|packet| Summary::parse(&packet.unwrap()).unwrap().traffic_class);
            assert_eq!(class.ok(), expected.map(|ecn| 0xb8 | ecn));
            assert!(is_empty(&all));
        }
    }
}

fn source(number: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + number).to_be_bytes())
}

fn from(number: u32, id: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = crafted(V4, offset, more, payload);
    let IpAddr::V4(address) = source(number) else {
        unreachable!()
    };
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[12..16].copy_from_slice(&address.octets());
    packet
}

// bug-row: 65
#[test]
fn one_source_cannot_push_the_others_out() {
    let mut all = Reassembler::default();
    assert_eq!(add(&mut all, &from(1, 1, 0, true, &[1; 800])), Ok(None));
    for id in 0..10_000 {
        assert_eq!(add(&mut all, &from(2, id, 0, true, &[1; 1400])), Ok(None));
        assert!(all.bytes <= SOURCE_BYTES + 2000);
    }
    assert!(add(&mut all, &from(1, 1, 800, false, &[1; 9])).unwrap().is_some());
}

/// FragmentSmack (CVE-2018-5390, row 65): 10^5 fragments of spoofed sources, tiny ones and far ones among them.
// bug-row: 65
#[test]
fn row_65_a_flood_of_fragments_is_bounded_and_honest_datagrams_survive() {
    let mut all = Reassembler::default();
    let (mut honest, mut whole) = (0, 0);
    for number in 0..100_000_u32 {
        let payload = [number.to_be_bytes()[3]; 8];
        let offset = u16::try_from(number % 8000).unwrap() * 8;
        let id = (number >> 3 & 0xffff) as u16;
        let hostile = match number % 4 {
            0 => from(1_000_000 + number, id, offset, true, &payload),
            1 => from(1_000_000 + number % 3, id, offset, true, &payload),
            2 => from(1_000_000 + number % 500, 7, offset, true, &payload),
            _ => from(1_000_000 + number, id, 0, true, &[1; 1400]),
        };
        let _refused_or_kept = add(&mut all, &hostile);
        assert!(all.bytes <= TOTAL_BYTES + 4096);
        assert!(all.datagrams.len() <= TOTAL_BYTES / DATAGRAM_COST + 1);
        if number % 10 == 0 {
            // The second half comes a hundred hostile fragments later.
            honest += 1;
            let id = ((number / 10) & 0xffff) as u16;
            assert_eq!(add(&mut all, &from(5, id, 0, true, &[3; 1400])), Ok(None));
            if let Some(before) = (number / 10).checked_sub(10) {
                let id = (before & 0xffff) as u16;
                whole += u32::from(
                    add(&mut all, &from(5, id, 1400, false, &[4; 100]))
                        .unwrap()
                        .is_some(),
                );
            }
        }
    }
    assert!(whole * 2 >= honest, "{whole} of {honest}");
    all.expire(START.plus(IPV6_WAIT));
    assert!(is_empty(&all));
}

#[test]
fn what_icmp_says_of_pieces_is_nothing_here() {
    // A whole packet is no business of this room.
    let echo = icmp::Echo {
        request: true,
        identifier: 1,
        sequence: 1,
        payload: b"x",
    };
    let packet = echo.packet(V4.0.parse().unwrap(), V4.1.parse().unwrap()).unwrap();
    let mut all = Reassembler::default();
    assert_eq!(add(&mut all, &packet), Err(DropReason::InFragment));
    assert!(is_empty(&all));
}
