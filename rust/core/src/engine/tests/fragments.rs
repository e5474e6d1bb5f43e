//! Fragments through two engines: gathered before transport mode, carried by tunnels, cut after sealing.
//! Sizes and the path MTU are `fit.rs`'; the bounds of waiting are `engine::fragment`'s own tests.
//! Answers to: RFC 4301 sections 4.1, 5.2 and 7, RFC 4303 sections 3.3.4 and 3.4.1; `docs/bug-classes.md` rows 6, 54.

use super::*;
use crate::engine::{Route, Setting, Verdict};
use crate::wire::fragment;
use crate::wire::ip::Summary;
use std::collections::BTreeSet;

/// The pieces of a packet, as a host would send them.
pub(super) fn pieces(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let mut packet = packet.to_vec();
    fragment::ensure_identification(&mut packet, 99);
    let split = fragment::split(&packet, mtu, 0x0bad_cafe).unwrap();
    split.map(|piece| piece.as_slice().to_vec()).collect()
}

pub(super) fn long_datagram(source: &str, destination: &str, bytes: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..bytes).map(|at| (at % 255) as u8).collect();
    let mut packet = udp::packet(ip(source), ip(destination), 5000, 7, &payload).unwrap();
    fragment::ensure_identification(&mut packet, 99);
    packet
}

/// Everything that leaves when these go out one after the other.
pub(super) fn all_out(engine: &Engine, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    for packet in packets {
        let out = outbound(engine, packet, START);
        assert!(out.dropped.is_empty(), "{:?}", out.dropped);
        sent.extend(out.transmit.iter().map(|sent| sent.packet.as_slice().to_vec()));
    }
    sent
}

pub(super) fn all_in(engine: &Engine, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut delivered = Vec::new();
    for packet in packets {
        let out = inbound(engine, packet, START);
        assert!(out.dropped.is_empty(), "{:?}", out.dropped);
        delivered.extend(out.deliver.iter().map(|packet| packet.as_slice().to_vec()));
    }
    delivered
}

pub(super) fn pair_of(mode: Mode, ends: (&str, &str), hosts: (&str, &str)) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let sas = [sa(0x1000, ends.0, ends.1, mode)];
    let templates = require(mode, (mode == Mode::Tunnel).then_some(ends));
    connect(&sender, &receiver, &sas, hosts, &templates);
    (sender, receiver)
}

fn exits_add_up(engine: &Engine) {
    let stats = engine.stats();
    let left =
        stats.outbound_protected.packets + stats.outbound_bypassed.packets + stats.outbound_held.packets;
    let came = stats.inbound_delivered.packets + stats.inbound_bypassed.packets + stats.inbound_held.packets;
    let arrived = stats.outbound_arrived.packets + stats.inbound_arrived.packets;
    assert_eq!(arrived, left + came + stats.dropped_total());
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
//# transport mode is not applied to a fragment: the whole datagram is protected
#[test]
fn inner_fragments_are_gathered_before_transport_mode() {
    for (source, destination) in [(A, B), (A6, B6)] {
        let (sender, receiver) = pair_of(Mode::Transport, (source, destination), (source, destination));
        let packet = long_datagram(source, destination, 3000);
        let pieces = pieces(&packet, 1400);
        assert!(matches!(
            sender.explain(Direction::Outbound, &pieces[0]),
            Verdict::Protect { .. }
        ));
        let wire = all_out(&sender, &pieces);
        assert_eq!(wire.len(), 1, "sealed whole, once");
        assert_eq!(all_in(&receiver, &wire), [packet]);
        let stats = sender.stats();
        assert_eq!((stats.outbound_held.packets, stats.reassembled), (2, 1));
        exits_add_up(&sender);
    }
}

/// Its sender has cut it already, so it is not told to: IPv6 and DF leave in pieces as well.
#[test]
fn what_came_in_pieces_may_leave_in_pieces() {
    for (source, destination) in [(A, B), (A6, B6)] {
        let (sender, receiver) = pair_of(Mode::Transport, (source, destination), (source, destination));
        sender.configure(Setting::PathMtu(1500)).unwrap();
        let packet = long_datagram(source, destination, 3000);
        let wire = all_out(&sender, &pieces(&packet, 1400));
        assert!(wire.len() > 1 && wire.iter().all(|piece| piece.len() <= 1500));
        assert_eq!(all_in(&receiver, &wire), [packet]);
        assert_eq!(sender.stats().too_big_answers.packets, 0);
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-7
//# a tunnel without ports carries first and later fragments alike
#[test]
fn a_tunnel_with_any_ports_carries_fragments_as_they_are() {
    for (hosts, ends) in [
        (("10.0.1.1", "10.0.2.1"), (A, B)),
        (("fd00::1", "fd01::1"), (A6, B6)),
        (("fd00::1", "fd01::1"), (A, B)),
        (("10.0.1.1", "10.0.2.1"), (A6, B6)),
    ] {
        let (sender, receiver) = pair_of(Mode::Tunnel, ends, hosts);
        for engine in [&sender, &receiver] {
            engine.configure(Setting::DecrementHopLimit(false)).unwrap();
            // What is behind it is not this host's to reassemble.
            let here = |end| AddressRange::host(ip(end));
            let local = Some(vec![here(ends.0), here(ends.1)]);
            engine.configure(Setting::Local(local)).unwrap();
        }
        let forward = policy(
            Direction::Forward,
            hosts.0,
            hosts.1,
            Action::Protect(require(Mode::Tunnel, Some(ends))),
        );
        receiver.spd_add(forward, START).unwrap();
        let pieces = pieces(&long_datagram(hosts.0, hosts.1, 3000), 1300);
        let wire = all_out(&sender, &pieces);
        assert_eq!(wire.len(), 3);
        assert_eq!(all_in(&receiver, &wire), pieces);
        assert_eq!(sender.stats().outbound_held.packets, 0);
        assert_eq!(receiver.stats().inbound_held.packets, 0);
    }
}

/// Entries for one port in front of one that lets everything else pass in clear.
fn with_ports(direction: Direction, hosts: (&str, &str), action: &Action) -> [PolicyParams; 2] {
    let mut one_port = policy(direction, hosts.0, hosts.1, action.clone());
    one_port.selector.next_layer = Some(17);
    one_port.selector.destination_ports = PortRange::single(7);
    let mut rest = policy(direction, hosts.0, hosts.1, Action::Bypass);
    rest.priority = 2000;
    [one_port, rest]
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-7.3
//# later fragments are not sent on an SA with ports unless fragments are followed by state
//= https://www.rfc-editor.org/rfc/rfc4301#section-7.4
//# later fragments do not pass by an entry with ports unless fragments are followed by state
// bug-row: 54
#[test]
fn row_54_where_ports_decide_the_whole_datagram_is_asked() {
    for (hosts, ends) in [((A, B), (A, B)), ((A6, B6), (A6, B6))] {
        let (sender, receiver) = (engine(), engine());
        let params = sa(0x1000, ends.0, ends.1, Mode::Tunnel);
        let action = Action::Protect(require(Mode::Tunnel, Some(ends)));
        for (engine, direction) in [(&sender, Direction::Outbound), (&receiver, Direction::Inbound)] {
            engine.sad_add(params.clone(), START).unwrap();
            for entry in with_ports(direction, hosts, &action) {
                engine.spd_add(entry, START).unwrap();
            }
        }
        let packet = long_datagram(hosts.0, hosts.1, 2000);
        let pieces = pieces(&packet, 1400);
        for piece in &pieces {
            assert_eq!(sender.explain(Direction::Outbound, piece), Verdict::Waits);
        }
        // The later fragment first: it alone would match the entry that bypasses.
        let reversed: Vec<_> = pieces.iter().rev().cloned().collect();
        let wire = all_out(&sender, &reversed);
        assert_eq!(wire.len(), 1);
        assert_eq!(Summary::parse(&wire[0]).unwrap().next_layer, 50);
        assert_eq!(all_in(&receiver, &wire), std::slice::from_ref(&packet));
        // In clear, the same pieces are refused as the whole that they are.
        let out = inbound(&receiver, &pieces[1], START);
        assert!(out.deliver.is_empty() && out.dropped.is_empty());
        assert_eq!(
            refused_inbound(&receiver, &pieces[0]),
            DropReason::InPolicyViolation
        );

        // Another port is another decision, and leaves in pieces as it came.
        let mut other = udp::packet(ip(hosts.0), ip(hosts.1), 5000, 8, &[9; 2000]).unwrap();
        fragment::ensure_identification(&mut other, 98);
        let pieces = self::pieces(&other, 1400);
        let mut sent = Vec::new();
        for piece in &pieces {
            for sent_now in outbound(&sender, piece, START).transmit {
                assert_eq!(sent_now.route, Route::Bypass);
                sent.push(sent_now.packet.as_slice().to_vec());
            }
        }
        assert_eq!(sent, pieces);
        assert_eq!(all_in(&receiver, &sent), [other]);
        exits_add_up(&sender);
        exits_add_up(&receiver);
    }
}

/// CVE-2007-6282, row 6: ESP in two and three fragments, cut everywhere; a first fragment may lack the IV.
// bug-row: 6
#[test]
fn row_6_esp_cut_at_every_byte() {
    for (source, destination) in [(A, B), (A6, B6)] {
        let ends = (source, destination);
        let (sender, receiver) = pair_of(Mode::Transport, ends, ends);
        let packet = datagram(source, destination);
        let wire = sealed(&sender, &packet);
        let header = if source == A { 20 } else { 40 };
        let payload = wire.len() - header;
        let mut whole = 0;
        for first in 1..payload {
            for second in [first, (first + 8).min(payload)] {
                let mut wire = sealed(&sender, &packet);
                fragment::ensure_identification(&mut wire, u16::try_from(first).unwrap());
                let cuts: BTreeSet<usize> = [0, first, second, payload].into();
                let cuts: Vec<usize> = cuts.into_iter().collect();
                let id = u32::try_from(first * 1000 + second).unwrap();
                let mut got = Vec::new();
                for cut in cuts.windows(2) {
                    let piece = cut_out(&wire, header, cut[0], cut[1], payload, id);
                    got.extend(inbound(&receiver, &piece, START).deliver);
                }
                let honest = cuts.iter().all(|cut| cut % 8 == 0 || *cut == payload);
                assert_eq!(got.len(), usize::from(honest), "{cuts:?} of {payload}");
                if let Some(got) = got.first() {
                    assert_eq!(
                        Summary::parse(got.as_slice()).unwrap().payload(got.as_slice()),
                        &packet[header..]
                    );
                    whole += 1;
                }
            }
        }
        assert!(whole > 10);
        exits_add_up(&receiver);
    }
}

/// The bytes `from..to` of the payload as a fragment, wherever that cuts.
fn cut_out(wire: &[u8], header: usize, from: usize, to: usize, payload: usize, id: u32) -> Vec<u8> {
    let more = to < payload;
    let mut piece = wire[..header].to_vec();
    if header == 20 {
        piece.extend_from_slice(&wire[header + from..header + to]);
        let total = u16::try_from(piece.len()).unwrap();
        piece[2..4].copy_from_slice(&total.to_be_bytes());
        piece[4..6].copy_from_slice(&id.to_be_bytes()[2..]);
        let field = u16::try_from(from / 8).unwrap() | u16::from(more) << 13;
        piece[6..8].copy_from_slice(&field.to_be_bytes());
        flagged(piece, 0)
    } else {
        let field = u16::try_from(from / 8 * 8).unwrap() | u16::from(more);
        piece[6] = 44;
        piece.extend_from_slice(&[50, 0]);
        piece.extend_from_slice(&field.to_be_bytes());
        piece.extend_from_slice(&id.to_be_bytes());
        piece.extend_from_slice(&wire[header + from..header + to]);
        let length = u16::try_from(piece.len() - 40).unwrap();
        piece[4..6].copy_from_slice(&length.to_be_bytes());
        piece
    }
}

//= https://www.rfc-editor.org/rfc/rfc5722#section-3
//# overlapping fragments of IPv6: the whole packet is discarded
// bug-row: 6
#[test]
fn overlapping_fragments_of_esp_reach_no_sa() {
    for (source, destination) in [(A, B), (A6, B6)] {
        let ends = (source, destination);
        let (sender, receiver) = pair_of(Mode::Transport, ends, ends);
        let mut wire = sealed(&sender, &datagram(source, destination));
        fragment::ensure_identification(&mut wire, 3);
        let header = if source == A { 20 } else { 40 };
        let payload = wire.len() - header;
        let piece = |from, to| cut_out(&wire, header, from, to, payload, 3);
        assert!(inbound(&receiver, &piece(0, 24), START).dropped.is_empty());
        assert_eq!(refused_inbound(&receiver, &piece(16, 32)), DropReason::InFragment);
        assert_eq!(
            refused_inbound(&receiver, &piece(24, payload)),
            DropReason::InFragment
        );
        assert_eq!(receiver.sad_dump(None)[0].packets, 0);
        // RFC 8200: another identification is another datagram.
        let piece = |from, to| cut_out(&wire, header, from, to, payload, 4);
        assert!(inbound(&receiver, &piece(0, 24), START).dropped.is_empty());
        assert_eq!(inbound(&receiver, &piece(24, payload), START).deliver.len(), 1);
        let stats = receiver.stats();
        assert_eq!((stats.reassembled, stats.reassembly_failed), (1, 1));
    }
}

#[test]
fn what_waits_is_given_up_by_the_timer() {
    for (ends, wait) in [((A, B), 30), ((A6, B6), 60)] {
        let (sender, receiver) = pair_of(Mode::Transport, ends, ends);
        let pieces = pieces(&sealed(&sender, &long_datagram(ends.0, ends.1, 500)), 400);
        assert!(inbound(&receiver, &pieces[0], START).deliver.is_empty());
        assert_eq!(receiver.poll_timeout(), Some(secs(wait)));
        receiver.handle_timeout(secs(wait));
        assert_eq!(receiver.stats().reassembly_failed, 1);
        assert_eq!(receiver.poll_timeout(), None);
        assert!(inbound(&receiver, &pieces[1], secs(wait)).deliver.is_empty());
    }
}

/// Neighbour discovery passes without policy, but never in pieces (RFC 6980).
#[test]
fn fragments_are_no_neighbour_discovery() {
    let engine = engine_with(Config {
        default_policy: crate::engine::DefaultPolicy::Discard,
        ..Config::default()
    });
    let solicitation = crate::wire::icmp::Repr {
        kind: 135,
        code: 0,
        rest_of_header: [0; 4],
        payload: &[0; 64],
    };
    let packet = solicitation.packet(ip(A6), ip(B6)).unwrap();
    assert_eq!(inbound(&engine, &packet, START).deliver.len(), 1);
    let first = pieces(&packet, 100).remove(0);
    assert_eq!(refused_inbound(&engine, &first), DropReason::InNoPolicy);
    assert_eq!(refused_outbound(&engine, &first), DropReason::OutNoPolicy);
}

#[test]
fn a_forwarded_datagram_leaves_in_pieces_of_the_length_it_came_in() {
    let hosts = ("10.0.1.1", "10.0.2.1");
    let engine = engine_with(Config {
        local: Some(vec![AddressRange::host(ip(B))]),
        ..Config::default()
    });
    let [mut one_port, rest] = with_ports(Direction::Forward, hosts, &Action::Discard);
    one_port.selector.destination_ports = PortRange::single(8);
    engine.spd_add(one_port, START).unwrap();
    engine.spd_add(rest, START).unwrap();
    let pieces = pieces(&long_datagram(hosts.0, hosts.1, 4000), 1200);
    assert_eq!(all_in(&engine, &pieces), pieces);
    let stats = engine.stats();
    assert_eq!((stats.reassembled, stats.inbound_bypassed.packets), (1, 1));
    exits_add_up(&engine);
}

/// A tunnel in which only some of the pieces are worth compressing.
//= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
//# a receiver takes the packets that were not worth compressing
#[test]
fn pieces_with_ipcomp_and_without_make_one_datagram() {
    for ends in [(A, B), (A6, B6)] {
        let (sender, receiver) = super::ipcomp::pair(Mode::Tunnel, ends);
        let payload = [super::ipcomp::noise_bytes(1500), vec![7; 1500]].concat();
        let mut datagram = udp::packet(ip(ends.0), ip(ends.1), 5000, 7, &payload).unwrap();
        fragment::ensure_identification(&mut datagram, 99);
        let wire = all_out(&sender, &pieces(&datagram, 1300));
        assert_eq!(wire.len(), 3);
        let compressed = sender.stats().ipcomp.compressed.packets;
        assert!((1..3).contains(&compressed), "{compressed}");
        assert!(super::ipcomp::same(all_in(&receiver, &wire).remove(0), &datagram));
    }
}
