//! Every protocol crosses unchanged, and nothing of it shows on the wire.
//! No port and no selector may enter: one policy covers everything between two hosts.
//! Answers to: RFC 4301 section 4.4.1, RFC 4303 section 3.1; `docs/bug-classes.md` rows 18, 24 and 44.

use super::*;
use crate::engine::{Route, Setting};
use crate::wire::ip as any_ip;
use crate::wire::{fragment, protocol};

const SECRET: &[u8] = b"in clear nobody may read this";

/// Two addresses.
type Pair = (&'static str, &'static str);

/// The mode, the SA's ends, the hosts.
fn ways() -> Vec<(Mode, Pair, Pair)> {
    let (near4, near6) = ((A, B), (A6, B6));
    let (far4, far6) = (("10.0.1.1", "10.0.2.1"), ("fd00::1", "fd01::1"));
    vec![
        (Mode::Transport, near4, near4),
        (Mode::Transport, near6, near6),
        (Mode::Tunnel, near4, far4),
        (Mode::Tunnel, near4, far6),
        (Mode::Tunnel, near6, far4),
        (Mode::Tunnel, near6, far6),
    ]
}

fn connected(mode: Mode, ends: (&str, &str), hosts: (&str, &str)) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let sas = [sa(0x1000, ends.0, ends.1, mode)];
    connect(
        &sender,
        &receiver,
        &sas,
        hosts,
        &require(mode, (mode == Mode::Tunnel).then_some(ends)),
    );
    for engine in [&sender, &receiver] {
        engine.configure(Setting::DecrementHopLimit(false)).unwrap();
    }
    (sender, receiver)
}

/// A payload that is well-formed for protocols whose headers are walked.
fn payload_of(next_header: u8) -> Vec<u8> {
    let mut payload = match next_header {
        // Extension headers in front of an experiment; a fragment header is an atomic one.
        protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => vec![253, 0, 1, 4, 0, 0, 0, 0],
        protocol::ROUTING => vec![253, 0, 0, 0, 0, 0, 0, 0],
        protocol::FRAGMENT => vec![253, 0, 0, 0, 0, 0, 0, 1],
        _ => vec![0x11; 24],
    };
    payload.extend_from_slice(SECRET);
    payload
}

fn shows(wire: &[u8]) -> bool {
    wire.windows(SECRET.len()).any(|window| window == SECRET)
}

/// CVE-2013-4350, row 18: SCTP over IPv6 went out in clear. Every next protocol is sealed, and comes out bit-equal.
// bug-row: 18
#[test]
fn row_18_no_protocol_goes_out_in_clear() {
    for (mode, ends, hosts) in ways() {
        let (sender, receiver) = connected(mode, ends, hosts);
        for next_header in 0..=255 {
            let mut packet =
                any_ip::packet(ip(hosts.0), ip(hosts.1), next_header, &payload_of(next_header)).unwrap();
            fragment::ensure_identification(&mut packet, 5);
            let out = outbound(&sender, &packet, START);
            for sent in &out.transmit {
                assert!(matches!(sent.route, Route::Protected { .. }), "{next_header}");
                assert!(!shows(sent.packet.as_slice()), "{next_header}");
            }
            // AH's length field makes 0x11 bytes an extension header that is cut: malformed, and so not sent.
            let Some(sent) = out.transmit.first() else {
                assert_eq!(out.dropped[0].reason, DropReason::OutMalformed, "{next_header}");
                continue;
            };
            let out = inbound(&receiver, sent.packet.as_slice(), START);
            // Inner IPsec without an SA, and "no next header", are for the receiver to refuse, not to pass on.
            let refused = match next_header {
                protocol::ESP | protocol::AH | protocol::IPCOMP => true,
                protocol::NO_NEXT_HEADER => mode == Mode::Transport,
                _ => false,
            };
            if refused {
                assert!(out.deliver.is_empty(), "{next_header}");
            } else {
                assert_eq!(out.deliver.len(), 1, "{mode:?} {next_header} {:?}", out.dropped);
                assert_eq!(out.deliver[0].as_slice(), packet, "{next_header}");
            }
        }
        assert_eq!(sender.stats().outbound_bypassed.packets, 0);
    }
}

fn sctp() -> Vec<u8> {
    let mut chunk = vec![0x13, 0x88, 0, 7, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef];
    chunk.extend_from_slice(&[0, 3, 0, 45, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    chunk.extend_from_slice(SECRET);
    chunk
}

fn udp_lite() -> Vec<u8> {
    let mut segment = vec![0x13, 0x88, 0, 7, 0, 8, 0xab, 0xcd];
    segment.extend_from_slice(SECRET);
    segment
}

fn gre() -> Vec<u8> {
    let mut packet = vec![0x20, 0, 0x08, 0, 0, 0, 0, 42];
    packet.extend_from_slice(SECRET);
    packet
}

fn ospf() -> Vec<u8> {
    let mut packet = vec![2, 1, 0, 44 + 9, 192, 0, 2, 1, 0, 0, 0, 0, 0x12, 0x34, 0, 0];
    packet.extend_from_slice(&[0; 8]);
    packet.extend_from_slice(SECRET);
    packet
}

fn igmp() -> Vec<u8> {
    let mut report = vec![0x22, 0, 0xee, 0x11, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3];
    report.extend_from_slice(SECRET);
    report
}

/// A header with the router alert option, as IGMP and MLD have.
fn with_router_alert(packet: &[u8]) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        let mut longer = packet[..20].to_vec();
        longer[0] = 0x46;
        longer.extend_from_slice(&[148, 4, 0, 0]);
        longer.extend_from_slice(&packet[20..]);
        let total = u16::try_from(longer.len()).unwrap();
        longer[2..4].copy_from_slice(&total.to_be_bytes());
        longer[10..12].fill(0);
        let sum = checksum::internet(&longer[..24]);
        longer[10..12].copy_from_slice(&sum.to_be_bytes());
        longer
    } else {
        let mut longer = packet[..40].to_vec();
        longer.extend_from_slice(&[packet[6], 0, 5, 2, 0, 0, 1, 0]);
        longer[6] = protocol::HOP_BY_HOP;
        longer.extend_from_slice(&packet[40..]);
        let payload = u16::try_from(longer.len() - 40).unwrap();
        longer[4..6].copy_from_slice(&payload.to_be_bytes());
        longer
    }
}

#[test]
fn sctp_udp_lite_gre_ospf_and_igmp_are_delivered_bit_equal() {
    for (mode, ends, hosts) in ways() {
        let (sender, receiver) = connected(mode, ends, hosts);
        for (number, payload) in [
            (132, sctp()),
            (136, udp_lite()),
            (47, gre()),
            (89, ospf()),
            (2, igmp()),
        ] {
            let mut packet = any_ip::packet(ip(hosts.0), ip(hosts.1), number, &payload).unwrap();
            fragment::ensure_identification(&mut packet, 6);
            for packet in [packet.clone(), with_router_alert(&packet)] {
                let wire = sealed(&sender, &packet);
                assert!(!shows(&wire));
                assert_eq!(delivered(&receiver, &wire), packet, "{mode:?} {number}");
            }
        }
    }
}

/// Multicast: what OSPF and IGMP really send to, in transport mode.
#[test]
fn multicast_is_delivered_bit_equal() {
    for (source, group, number, payload) in [
        (A, "224.0.0.5", 89, ospf()),
        (A, "239.1.2.3", 2, igmp()),
        (A6, "ff02::5", 89, ospf()),
    ] {
        let (sender, receiver) = connected(Mode::Transport, (source, group), (source, group));
        let mut packet = any_ip::packet(ip(source), ip(group), number, &payload).unwrap();
        fragment::ensure_identification(&mut packet, 6);
        let wire = sealed(&sender, &packet);
        assert!(!shows(&wire));
        assert_eq!(delivered(&receiver, &wire), packet);
    }
}

/// CVE-2020-1749 and CVE-2020-25645, row 24: what is already a tunnel (VXLAN, GENEVE, IPIP, GRE) is sealed too.
// bug-row: 24
#[test]
fn row_24_tunnels_in_tunnels_do_not_leak() {
    for (mode, ends, hosts) in ways() {
        let (sender, receiver) = connected(mode, ends, hosts);
        let inner = any_ip::packet(ip("172.16.0.1"), ip("172.16.0.2"), 253, SECRET).unwrap();
        let mut vxlan = vec![8, 0, 0, 0, 0, 0, 42, 0];
        vxlan.extend_from_slice(&inner);
        for port in [4789, 6081] {
            let mut packet = udp::packet(ip(hosts.0), ip(hosts.1), 50_000, port, &vxlan).unwrap();
            fragment::ensure_identification(&mut packet, 7);
            let wire = sealed(&sender, &packet);
            assert!(!shows(&wire));
            assert_eq!(delivered(&receiver, &wire), packet);
        }
        for number in [protocol::IPV4, 47] {
            let packet = any_ip::packet(ip(hosts.0), ip(hosts.1), number, &inner).unwrap();
            assert!(!shows(&sealed(&sender, &packet)));
        }
    }
}
