//! What must hold for any bytes seen as a packet of either version: its summary, the changes in place, the answers.
//! No fuzzing library may enter; what holds for one format alone is `wire_formats.rs`.
//! Answers to: docs of `sallet_core::wire` (no panic), RFC 4301 section 4.4.1.1, RFC 1122 section 3.2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sallet_core::wire::ip::{self, Summary};
use sallet_core::wire::{icmp, transport};

/// Puts `data` through everything that looks at whole packets.
pub(crate) fn run(data: &[u8]) -> bool {
    let _ = transport::ports(data.first().copied().unwrap_or(0), data);
    in_place(data);
    answers(data);
    let Some(summary) = Summary::parse(data) else {
        return false;
    };
    summary_of(&summary, data);
    true
}

/// The changes in place, on bytes that need not be a packet.
fn in_place(data: &[u8]) {
    let before = Summary::parse(data);
    let mut packet = data.to_vec();
    if ip::decrement_hop_limit(&mut packet) {
        if let Some(before) = before {
            let hop_limit = before.hop_limit - 1;
            assert_eq!(Summary::parse(&packet), Some(Summary { hop_limit, ..before }));
        }
    } else {
        assert_eq!(packet, data);
    }
    let mut packet = data.to_vec();
    if ip::set_traffic_class(&mut packet, 0xa5) {
        if let Some(before) = before {
            assert_eq!(
                Summary::parse(&packet),
                Some(Summary {
                    traffic_class: 0xa5,
                    ..before
                })
            );
        }
    } else {
        assert_eq!(packet, data);
    }
    // A place that the input itself chooses, and those where headers often end.
    for at in [20, 40, usize::from(data.last().copied().unwrap_or(0))] {
        let mut packet = data.to_vec();
        if ip::replace_payload(&mut packet, at, 50).is_err() {
            assert_eq!(packet, data);
        }
    }
}

/// The ICMP answers, to bytes that need not be a packet.
fn answers(data: &[u8]) {
    let before = Summary::parse(data);
    for own in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let Some(answer) = icmp::too_big(data, 1280, own) else {
            continue;
        };
        let original = before.expect("only packets are answered");
        let summary = Summary::parse(&answer).expect("what was written can be read");
        assert_eq!((summary.source, summary.destination), (own, original.source));
        assert!(answer.len() <= if own.is_ipv4() { 576 } else { 1280 });
        let message = icmp::Packet::new_checked(summary.payload(&answer)).expect("an ICMP message");
        assert!(message.checksum_is_right(summary.source, summary.destination));
        assert!(data.starts_with(message.payload()));
        assert!(message.payload().len() >= original.total_bytes.min(original.header_bytes + 8));
        assert_eq!(icmp::too_big(&answer, 1280, own), None);
    }
}

fn summary_of(summary: &Summary, data: &[u8]) {
    assert!(summary.header_bytes <= summary.transport_at);
    assert!(summary.transport_at <= summary.payload_at);
    assert!(summary.payload_at <= summary.total_bytes);
    assert!(summary.total_bytes <= data.len());
    let whole = &data[..summary.total_bytes];
    let key = summary.selector_key(data);
    assert_eq!(ip::selector_key(whole), Some(key));
    assert_eq!(Summary::parse(whole), Some(*summary));

    // Transport mode there and back: the headers in front are changed and restored.
    let mut packet = whole.to_vec();
    packet.truncate(summary.transport_at);
    packet.extend_from_slice(&[0xaa; 24]);
    if ip::replace_payload(&mut packet, summary.transport_at, 50).is_ok() {
        if let Some(sealed) = Summary::parse(&packet) {
            assert_eq!(sealed.transport_at, summary.transport_at);
            assert_eq!(sealed.transport_next_header, 50);
            assert_eq!(sealed.total_bytes, packet.len());
        }
        packet.truncate(summary.transport_at);
        packet.extend_from_slice(&whole[summary.transport_at..]);
        ip::replace_payload(&mut packet, summary.transport_at, summary.transport_next_header)
            .expect("what was changed can be restored");
        assert_eq!(Summary::parse(&packet), Some(*summary));
    }

    if let Some(echo) = icmp::Echo::parse(data) {
        let again = echo
            .packet(summary.source, summary.destination)
            .expect("a length that was read fits");
        assert_eq!(icmp::Echo::parse(&again), Some(echo));
    }
}
