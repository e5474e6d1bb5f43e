//! What must hold for any bytes in the wire room; driven by libFuzzer and, over the corpus, by `cargo test`.
//! No fuzzing library may enter: `rust/core/tests/corpus.rs` includes this file on a stable compiler.
//! Answers to: docs of `sallet_core::wire` (no panic), RFC 4301 section 4.4.1.1, RFC 1122 section 3.2.2.
#![allow(
    clippy::expect_used,
    reason = "a broken expectation is what the fuzzer looks for"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sallet_core::wire::ip::Summary;
use sallet_core::wire::{ah, checksum, esp, icmp, ip, ipcomp, ipv4, ipv6, transport, udp, udp_encap};

/// Puts `data` through every view and every Repr.
pub(crate) fn run(data: &[u8]) {
    inner(data);
    packet_of_either_version(data);
    if let Some(packet) = ipv4::Packet::new_checked(data) {
        ipv4_packet(&packet);
    }
    if let Some(packet) = ipv6::Packet::new_checked(data) {
        ipv6_packet(&packet);
    }
    if let Some(summary) = Summary::parse(data) {
        summary_of(&summary, data);
        inner(summary.payload(data));
    }
}

/// The formats that stand behind an IP header.
fn inner(bytes: &[u8]) {
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    for protocol in 0..=u8::MAX {
        let _ = transport::ports(protocol, bytes);
    }
    if let Ok(packet) = ah::Packet::new_checked(bytes) {
        let repr = ah::Repr::parse(&packet);
        let mut header = vec![0xaa; packet.header_bytes()];
        repr.emit(&mut header).expect("a length that was read fits");
        let again = ah::Packet::new_checked(&header).expect("what was written can be read");
        assert_eq!(ah::Repr::parse(&again), repr);
        assert_eq!(again.icv().len(), packet.icv().len());
    }
    if let Ok(packet) = esp::Packet::new_checked(bytes) {
        let mut header = [0; esp::HEADER_BYTES];
        esp::emit_header(&mut header, packet.spi(), packet.sequence_low()).expect("room for a header");
        assert_eq!(bytes[..esp::HEADER_BYTES], header);
        assert_eq!(packet.payload(), &bytes[esp::HEADER_BYTES..]);
    }
    if let Ok(packet) = ipcomp::Packet::new_checked(bytes) {
        let mut header = [0xaa; ipcomp::HEADER_BYTES];
        let repr = ipcomp::Repr::parse(&packet);
        repr.emit(&mut header).expect("room for a header");
        let again = ipcomp::Packet::new_checked(&header).expect("what was written can be read");
        assert_eq!(ipcomp::Repr::parse(&again), repr);
        assert_eq!(packet.payload(), &bytes[ipcomp::HEADER_BYTES..]);
    }
    if let Some(datagram) = udp::Packet::new_checked(bytes) {
        let _ = udp_encap::classify(datagram.payload());
        let _ = datagram.checksum_is_right(v4, v4);
        let mut again = vec![0; udp::HEADER_BYTES + datagram.payload().len()];
        again[udp::HEADER_BYTES..].copy_from_slice(datagram.payload());
        datagram
            .parse()
            .emit(&mut again)
            .expect("a length that was read fits");
        udp::fill_checksum(v6, v6, &mut again).expect("room for a header");
        let again = udp::Packet::new_checked(&again).expect("what was written can be read");
        assert_eq!(again.parse(), datagram.parse());
        assert!(again.checksum_is_right(v6, v6));
    }
    let _ = udp_encap::classify(bytes);
    if let Some(message) = icmp::Packet::new_checked(bytes) {
        for own in [v4, v6] {
            let again = icmp::Repr::parse(&message).emit(own, own);
            assert_eq!(again[..2], bytes[..2]);
            assert_eq!(again[4..], bytes[4..]);
            let again = icmp::Packet::new_checked(&again).expect("what was written can be read");
            assert!(again.checksum_is_right(own, own));
        }
    }
    let even = bytes.len() / 4 * 2;
    let parts = checksum::Sum::new().plus(&bytes[..even]).plus(&bytes[even..]);
    assert_eq!(parts.finish(), checksum::internet(bytes));
}

fn ipv4_packet(packet: &ipv4::Packet<'_>) {
    let options: usize = packet.options().map(|(_, data)| data.len() + 1).sum();
    assert!(options <= packet.header_bytes());
    let _ = packet.checksum_is_right();
    if let Some(repr) = ipv4::Repr::parse(packet) {
        let mut again = vec![0; packet.total_bytes()];
        repr.emit(&mut again).expect("a length that was read fits");
        let again = ipv4::Packet::new_checked(&again).expect("what was written can be read");
        assert_eq!(ipv4::Repr::parse(&again), Some(repr));
        assert!(again.checksum_is_right());
    }
}

fn ipv6_packet(packet: &ipv6::Packet<'_>) {
    let repr = ipv6::Repr::parse(packet);
    let mut again = vec![0; packet.total_bytes()];
    repr.emit(&mut again).expect("a length that was read fits");
    assert_eq!(
        ipv6::Repr::parse(&ipv6::Packet::new_checked(&again).expect("what was written can be read")),
        repr
    );
    let mut end = ipv6::HEADER_BYTES;
    for header in packet.extension_headers() {
        assert_eq!(header.at, end);
        assert!(header.bytes >= 8);
        end += header.bytes;
    }
    assert!(end <= packet.total_bytes());
    assert!(end <= ipv6::HEADER_BYTES + ipv6::MAXIMUM_EXTENSION_BYTES);
}

/// The changes in place and the answers, on bytes that need not be a packet.
fn packet_of_either_version(data: &[u8]) {
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
    for at in 0..data.len().min(100) {
        let mut packet = data.to_vec();
        if ip::replace_payload(&mut packet, at, 50).is_err() {
            assert_eq!(packet, data);
        }
    }
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
