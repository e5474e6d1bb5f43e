//! ICMP errors from the open side: what is believed, what is not, and what follows.
//! How an error is read is `wire::icmp_error`'s.
//! Answers to: RFC 4301 sections 6.1.1, 8.2.1 and 8.2.2, RFC 1191.

use super::fragments::{long_datagram, pair_of};
use super::*;
use crate::engine::Setting;
use crate::sa::UdpEncap;
use crate::wire::icmp;
use crate::wire::ip::Summary;

const ROUTER: &str = "203.0.113.1";
const ROUTER6: &str = "2001:db8:ffff::1";

/// What a router on the way says about a packet that it could not forward.
fn too_big(wire: &[u8], mtu: u16, quoted_bytes: usize) -> Vec<u8> {
    let summary = Summary::parse(wire).unwrap();
    let quoted = &wire[..quoted_bytes.min(wire.len())];
    let (kind, code, rest, router) = if summary.source.is_ipv4() {
        let [m0, m1] = mtu.to_be_bytes();
        (3, 4, [0, 0, m0, m1], ROUTER)
    } else {
        (2, 0, u32::from(mtu).to_be_bytes(), ROUTER6)
    };
    let repr = icmp::Repr {
        kind,
        code,
        rest_of_header: rest,
        payload: quoted,
    };
    repr.packet(ip(router), summary.source).unwrap()
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
//# the SPI in the quoted packet says whose path MTU it is; the inner sender is told that less the overhead
#[test]
fn a_hint_is_passed_on_to_the_inner_sender_with_the_overhead_taken_off() {
    for (ends, hosts) in [
        ((A, B), ("10.0.1.1", "10.0.2.1")),
        ((A6, B6), ("fd00::1", "fd01::1")),
    ] {
        let (sender, receiver) = pair_of(Mode::Tunnel, ends, hosts);
        for engine in [&sender, &receiver] {
            engine.configure(Setting::DecrementHopLimit(false)).unwrap();
        }
        let packet = |bytes| {
            let packet = long_datagram(hosts.0, hosts.1, bytes);
            if ends == (A, B) {
                flagged(packet, 0x40)
            } else {
                packet
            }
        };
        let wire = sealed(&sender, &packet(1420));
        assert!(sender.icmp_error(&too_big(&wire, 1400, 100), START));
        let out = outbound(&sender, &packet(1400), START);
        assert_eq!(out.dropped[0].reason, DropReason::OutTooBig);
        let answer = out.deliver[0].as_slice();
        let summary = Summary::parse(answer).unwrap();
        assert_eq!(summary.destination, ip(hosts.0));
        let error = icmp::Packet::new_checked(summary.payload(answer)).unwrap();
        let told = u32::from_be_bytes(error.rest_of_header()) as usize;
        assert!(told < 1400 && told > 1300);
        let header = if ends == (A, B) { 28 } else { 48 };
        assert!(sealed(&sender, &packet(told - header)).len() <= 1400);
        assert_eq!(
            outbound(&sender, &packet(told - header + 1), START).dropped[0].reason,
            DropReason::OutTooBig
        );
        // The same error again is no news; a better path is found after a while.
        assert!(!sender.icmp_error(&too_big(&wire, 1400, 100), secs(1)));
        assert_eq!(outbound(&sender, &packet(1400), secs(600)).transmit.len(), 1);
        let stats = sender.stats();
        assert_eq!((stats.path_mtu_learned, stats.icmp_hints_refused), (1, 1));
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-6.1.1
//# an ICMP error about the path MTU is a hint: bounded, and for an SPI that lives
#[test]
fn lies_are_bounded() {
    for (ends, hosts, floor) in [
        ((A, B), ("10.0.1.1", "10.0.2.1"), 576),
        ((A6, B6), ("fd00::1", "fd01::1"), 1280),
    ] {
        let (sender, _) = pair_of(Mode::Tunnel, ends, hosts);
        let wire = sealed(&sender, &long_datagram(hosts.0, hosts.1, 1400));
        let learned = || sender.sad_dump(None)[0].path_mtu;
        let refused = |packet: &[u8]| assert!(!sender.icmp_error(packet, START), "{packet:02x?}");

        let at = if ends == (A, B) { 20 } else { 40 };
        let mut other_spi = wire.clone();
        other_spi[at] ^= 1;
        refused(&too_big(&other_spi, 1000, 100));
        let mut other_destination = wire.clone();
        other_destination[if ends == (A, B) { 19 } else { 39 }] ^= 1;
        refused(&too_big(&other_destination, 1000, 100));
        // Longer than what was sent: nothing was too big.
        refused(&too_big(&wire, u16::try_from(wire.len()).unwrap(), 100));
        // Too little of it.
        refused(&too_big(&wire, 1000, at + 3));
        let mut wrong_checksum = too_big(&wire, 1000, 100);
        wrong_checksum[at + 2] ^= 1;
        refused(&wrong_checksum);
        // An error about the packet before it was sealed is none about the path.
        refused(&too_big(&long_datagram(hosts.0, hosts.1, 1400), 1000, 100));
        assert_eq!(learned(), None);
        sender.configure(Setting::IcmpHints(false)).unwrap();
        refused(&too_big(&wire, 1000, 100));
        sender.configure(Setting::IcmpHints(true)).unwrap();
        assert!(sender.icmp_error(&too_big(&wire, 70, 100), START));
        assert_eq!(learned(), Some(floor));
        refused(&too_big(&wire, 1300, 100));
        assert_eq!(learned(), Some(floor));
        // Without the SA, nothing.
        assert_eq!(sender.sad_flush(None), 1);
        refused(&too_big(&wire, 60, 100));
    }
}

#[test]
fn other_errors_are_counted_and_change_nothing() {
    let (sender, _) = pair_of(Mode::Transport, (A, B), (A, B));
    let wire = sealed(&sender, &datagram(A, B));
    for (kind, code) in [(3, 1), (3, 3), (11, 0), (12, 0)] {
        let repr = icmp::Repr {
            kind,
            code,
            rest_of_header: [0; 4],
            payload: &wire,
        };
        assert!(!sender.icmp_error(&repr.packet(ip(ROUTER), ip(A)).unwrap(), START));
    }
    assert_eq!(sender.stats().icmp_hints_refused, 4);
    assert_eq!(sender.sad_dump(None)[0].path_mtu, None);
    assert_eq!(delivered(&sender, &datagram(B, A)), datagram(B, A));
}

#[test]
fn errors_about_esp_in_udp_are_read_too() {
    for ends in [(A, B), (A6, B6)] {
        let sender = engine();
        let params = SaParams {
            encap: Some(UdpEncap {
                source_port: 4500,
                destination_port: 4500,
            }),
            ..sa(0x1000, ends.0, ends.1, Mode::Transport)
        };
        sender.sad_add(params, START).unwrap();
        let protect = Action::Protect(require(Mode::Transport, None));
        let entry = policy(Direction::Outbound, ends.0, ends.1, protect);
        sender.spd_add(entry, START).unwrap();
        let wire = sealed(&sender, &long_datagram(ends.0, ends.1, 1400));
        assert!(sender.icmp_error(&too_big(&wire, 1400, 100), START));
        assert_eq!(sender.sad_dump(None)[0].path_mtu, Some(1400));
    }
}

/// An error that comes in like any packet is a hint as well; policy decides about the packet itself.
#[test]
fn an_error_among_inbound_packets_is_a_hint() {
    let (sender, _) = pair_of(Mode::Transport, (A, B), (A, B));
    let wire = sealed(&sender, &long_datagram(A, B, 1400));
    let error = too_big(&wire, 1300, 100);
    assert_eq!(delivered(&sender, &error), error);
    assert_eq!(sender.sad_dump(None)[0].path_mtu, Some(1300));
    assert_eq!(sender.stats().path_mtu_learned, 1);
    let discard = policy(Direction::Inbound, ROUTER, A, Action::Discard);
    sender.spd_add(discard, START).unwrap();
    assert_eq!(
        refused_inbound(&sender, &too_big(&wire, 1200, 100)),
        DropReason::InPolicyDiscard
    );
}

#[test]
fn the_hosts_own_word_counts_without_a_packet() {
    let (sender, _) = pair_of(Mode::Tunnel, (A, B), (A, B));
    let id = sa(0x1000, A, B, Mode::Tunnel).id;
    assert!(sender.learn_path_mtu(&id, 1450, START));
    assert!(!sender.learn_path_mtu(&id, 1450, START));
    assert!(!sender.learn_path_mtu(&SaId { spi: Spi(9), ..id }, 1450, START));
    assert_eq!(sender.sad_dump(None)[0].path_mtu, Some(1450));
}
