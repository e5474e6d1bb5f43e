//! What is too long for the path: cut after sealing, cut before, or told to its sender.
//! Waiting for fragments is `fragments.rs`'.
//! Answers to: RFC 4301 section 8, RFC 4303 section 3.3.4, RFC 8200 section 5; `ipsec(4)` `dfbit`.

use super::fragments::{all_in, all_out, long_datagram, pair_of};
use super::*;
use crate::engine::{Setting, Step};
use crate::sa::{SaOptions, UdpEncap};
use crate::transform::tunnel::DfPolicy;
use crate::wire::icmp;
use crate::wire::ip::Summary;
use core::time::Duration;

const HOSTS: (&str, &str) = ("10.0.1.1", "10.0.2.1");
const PORTS: UdpEncap = UdpEncap {
    source_port: 4500,
    destination_port: 4500,
};
const HOSTS6: (&str, &str) = ("fd00::1", "fd01::1");

fn without_hops(engine: &Engine) {
    engine.configure(Setting::DecrementHopLimit(false)).unwrap();
}

/// The MTU that the answer to a packet names.
fn told(out: &Output) -> usize {
    let answer = out.deliver[0].as_slice();
    let summary = Summary::parse(answer).unwrap();
    let error = icmp::Packet::new_checked(summary.payload(answer)).unwrap();
    usize::try_from(u32::from_be_bytes(error.rest_of_header())).unwrap()
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.4
//# in tunnel mode a packet is fragmented before ESP or after it, in transport mode only after it
#[test]
fn what_is_too_long_is_cut_after_sealing_and_joined_before_opening() {
    for (mode, ends, hosts) in [
        (Mode::Transport, (A, B), (A, B)),
        (Mode::Tunnel, (A, B), HOSTS),
        (Mode::Tunnel, (A6, B6), HOSTS),
    ] {
        for bytes in [1480, 1500, 3000, 9000, 65_000] {
            let (sender, receiver) = pair_of(mode, ends, hosts);
            without_hops(&sender);
            sender.configure(Setting::PathMtu(1500)).unwrap();
            let packet = long_datagram(hosts.0, hosts.1, bytes);
            let wire = all_out(&sender, std::slice::from_ref(&packet));
            assert!(wire.len() > 1 && wire.iter().all(|piece| piece.len() <= 1500));
            assert_eq!(all_in(&receiver, &wire), [packet]);
            assert_eq!(sender.sad_dump(None)[0].packets, 1, "sealed once");
            assert_eq!(sender.stats().fragments_made.packets, wire.len() as u64);
        }
    }
}

/// Two packets cut at the same moment never share an identification.
#[test]
fn pieces_of_different_packets_are_told_apart() {
    for ends in [(A, B), (A6, B6)] {
        let (sender, _) = pair_of(Mode::Tunnel, ends, HOSTS);
        sender.configure(Setting::PathMtu(1500)).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let wire = all_out(&sender, &[long_datagram(HOSTS.0, HOSTS.1, 2000)]);
            let ids: Vec<_> = wire
                .iter()
                .map(|piece| Summary::parse(piece).unwrap().fragment.unwrap().id)
                .collect();
            assert!(ids.iter().all(|id| *id == ids[0] && *id != 0));
            assert!(seen.insert(ids[0]));
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-8.1
//# the DF bit of the outer header is copied, set or cleared by configuration
#[test]
fn dfbit_in_every_cell() {
    let cells = |policy| match policy {
        // Inner IPv4 without DF, with DF, IPv6.
        DfPolicy::Clear => [false, false, false],
        DfPolicy::Set => [true, true, true],
        DfPolicy::Copy => [false, true, false],
    };
    for policy in [DfPolicy::Clear, DfPolicy::Set, DfPolicy::Copy] {
        for (column, (hosts, df)) in [(HOSTS, 0), (HOSTS, 0x40), (HOSTS6, 0)].into_iter().enumerate() {
            let (sender, _) = pair_of(Mode::Tunnel, (A, B), hosts);
            sender.configure(Setting::Df(policy)).unwrap();
            let mut packet = long_datagram(hosts.0, hosts.1, 100);
            if df != 0 {
                packet = flagged(packet, df);
            }
            let outer = Summary::parse(&sealed(&sender, &packet)).unwrap();
            assert_eq!(outer.dont_fragment, cells(policy)[column], "{policy:?} {column}");
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
//# DF means an answer to the sender; without DF the packet is fragmented, before or after by configuration
#[test]
fn dfbit_decides_what_becomes_of_a_long_packet() {
    for (policy, df, sealed_times) in [
        // Outer headers without DF: cut after.
        (DfPolicy::Clear, 0, 1),
        (DfPolicy::Clear, 0x40, 1),
        (DfPolicy::Copy, 0, 1),
        // An outer DF must hold: cut before.
        (DfPolicy::Set, 0, 2),
        // Nothing may be cut.
        (DfPolicy::Copy, 0x40, 0),
        (DfPolicy::Set, 0x40, 0),
    ] {
        let (sender, receiver) = pair_of(Mode::Tunnel, (A, B), HOSTS);
        without_hops(&sender);
        sender.configure(Setting::Df(policy)).unwrap();
        sender.configure(Setting::PathMtu(1500)).unwrap();
        let mut packet = long_datagram(HOSTS.0, HOSTS.1, 1472);
        if df != 0 {
            packet = flagged(packet, df);
        }
        let out = outbound(&sender, &packet, START);
        let wire: Vec<_> = out
            .transmit
            .iter()
            .map(|sent| sent.packet.as_slice().to_vec())
            .collect();
        assert_eq!(sender.sad_dump(None)[0].packets, sealed_times, "{policy:?} {df}");
        if sealed_times == 0 {
            assert_eq!((out.dropped[0].reason, told(&out)), (DropReason::OutTooBig, 1446));
            continue;
        }
        assert!(wire.len() == 2 && wire.iter().all(|piece| piece.len() <= 1500));
        for piece in &wire {
            let outer = Summary::parse(piece).unwrap();
            assert_eq!(outer.fragment.is_some(), policy != DfPolicy::Set);
            assert_eq!(outer.dont_fragment, policy == DfPolicy::Set);
        }
        let got = all_in(&receiver, &wire);
        // The receiver owns every address here, so it puts UDP together either way.
        assert_eq!(got, [packet]);
    }
}

//= https://www.rfc-editor.org/rfc/rfc8200#section-5
//# no sender of IPv6 is told less than 1280, and what has that length gets through
#[test]
fn ipv6_is_told_1280_at_least_and_carried_in_pieces_below() {
    for (mode, ends, hosts) in [
        (Mode::Tunnel, (A, B), HOSTS6),
        (Mode::Tunnel, (A6, B6), HOSTS6),
        (Mode::Transport, (A6, B6), (A6, B6)),
    ] {
        let (sender, receiver) = pair_of(mode, ends, hosts);
        without_hops(&sender);
        sender.configure(Setting::PathMtu(1280)).unwrap();
        let packet = long_datagram(hosts.0, hosts.1, 1280 - 48);
        let wire = all_out(&sender, std::slice::from_ref(&packet));
        assert_eq!(wire.len(), 2);
        assert!(wire.iter().all(|piece| piece.len() <= 1280));
        assert_eq!(all_in(&receiver, &wire), [packet]);
        let out = outbound(&sender, &long_datagram(hosts.0, hosts.1, 1281 - 48), START);
        assert_eq!((out.dropped[0].reason, told(&out)), (DropReason::OutTooBig, 1280));
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
//# the path MTU is kept with the SA
#[test]
fn each_sa_has_its_own_path() {
    let (sender, _) = pair_of(Mode::Tunnel, (A, B), HOSTS);
    let far = (A6, B6);
    sender
        .sad_add(sa(0x2000, far.0, far.1, Mode::Tunnel), START)
        .unwrap();
    let protect = Action::Protect(require(Mode::Tunnel, Some(far)));
    sender
        .spd_add(policy(Direction::Outbound, HOSTS6.0, HOSTS6.1, protect), START)
        .unwrap();
    let association = sender.sad.read().dump(None).remove(0);
    assert!(
        association
            .path()
            .learn_mtu(1000, START, Duration::from_secs(600))
    );
    assert_eq!(sender.sad_dump(None)[0].path_mtu, Some(1000));
    let long = long_datagram(HOSTS.0, HOSTS.1, 1200);
    let pieces = all_out(&sender, std::slice::from_ref(&long));
    assert!(pieces.len() == 2 && pieces.iter().all(|piece| piece.len() <= 1000));
    assert_eq!(
        all_out(&sender, &[long_datagram(HOSTS6.0, HOSTS6.1, 1200)]).len(),
        1
    );
    // It ages.
    let out = outbound(&sender, &long, secs(600));
    assert_eq!(out.transmit.len(), 1);
}

#[test]
fn the_path_of_an_inner_sa_counts_with_what_is_put_around() {
    let sender = engine();
    sender.sad_add(sa(0x1000, A, B, Mode::Tunnel), START).unwrap();
    sender.sad_add(sa(0x2000, A6, B6, Mode::Tunnel), START).unwrap();
    let templates = vec![
        template(Mode::Tunnel, Level::Require, Some((A, B))),
        template(Mode::Tunnel, Level::Require, Some((A6, B6))),
    ];
    let entry = policy(Direction::Outbound, HOSTS.0, HOSTS.1, Action::Protect(templates));
    sender.spd_add(entry, START).unwrap();
    let inner = sender.sad.read().dump(None).remove(0);
    inner.path().learn_mtu(1200, START, Duration::from_secs(600));
    let packet = |bytes| flagged(long_datagram(HOSTS.0, HOSTS.1, bytes), 0x40);
    let out = outbound(&sender, &packet(1300), START);
    assert_eq!(out.dropped[0].reason, DropReason::OutTooBig);
    let fits = told(&out);
    let sent = outbound(&sender, &packet(fits - 28), START);
    let inner_tunnel = |step: &Step| {
        matches!(step, Step::OuterPushed { source, bytes, .. }
            if *source == ip(A) && (1190..=1200).contains(bytes))
    };
    assert!(sent.journey.unwrap().iter().any(inner_tunnel));
}

/// AH covers the identification, so it must be there before a raw socket would fill it in.
#[test]
fn what_ah_covers_has_an_identification() {
    for (mode, hosts) in [(Mode::Transport, (A, B)), (Mode::Tunnel, HOSTS)] {
        let (sender, receiver) = (engine(), engine());
        let esp = sa(0x1000, A, B, mode);
        let ah = SaParams {
            id: SaId {
                protocol: Protocol::Ah,
                ..esp.id
            },
            encryption: None,
            authentication: Some(AlgorithmKey::new("hmac-sha2-256-128", &[1; 32])),
            ..esp
        };
        let ends = (mode == Mode::Tunnel).then_some((A, B));
        let template = Template {
            protocol: Protocol::Ah,
            ..template(mode, Level::Require, ends)
        };
        connect(&sender, &receiver, &[ah], hosts, &[template]);
        let packet = udp::packet(ip(hosts.0), ip(hosts.1), 1, 2, b"x").unwrap();
        assert_eq!(packet[4..6], [0, 0]);
        let wire = sealed(&sender, &packet);
        assert_ne!(wire[4..6], [0, 0]);
        assert_eq!(all_in(&receiver, &[wire]).len(), 1);
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
//# TTL is fresh, DSCP copied, ECN as configured, options never copied, the flow label copied from IPv6
#[test]
fn the_outer_header_field_by_field() {
    use crate::transform::tunnel::EcnPolicy;
    for (ends, hosts) in [
        ((A, B), HOSTS),
        ((A6, B6), HOSTS),
        ((A, B), HOSTS6),
        ((A6, B6), HOSTS6),
    ] {
        for (ecn, outer_ecn) in [
            (EcnPolicy::Rfc6040, 3),
            (EcnPolicy::Allowed, 2),
            (EcnPolicy::Forbidden, 0),
            (EcnPolicy::Ignored, 3),
        ] {
            let (sender, receiver) = pair_of(Mode::Tunnel, ends, hosts);
            without_hops(&sender);
            sender.configure(Setting::HopLimit(77)).unwrap();
            sender.configure(Setting::Ecn(ecn)).unwrap();
            let mut packet = long_datagram(hosts.0, hosts.1, 10);
            assert!(crate::wire::ip::set_traffic_class(&mut packet, 0xb8 | 3));
            if hosts == HOSTS6 {
                packet[1] |= 0x0a;
                packet[2..4].copy_from_slice(&[0xbc, 0xde]);
            }
            let wire = sealed(&sender, &packet);
            let outer = Summary::parse(&wire).unwrap();
            assert_eq!((outer.source, outer.destination), (ip(ends.0), ip(ends.1)));
            assert_eq!((outer.hop_limit, outer.traffic_class), (77, 0xb8 | outer_ecn));
            assert_eq!(outer.header_bytes, if ends == (A, B) { 20 } else { 40 });
            let label = if ends == (A6, B6) && hosts == HOSTS6 {
                0xa_bcde
            } else {
                0
            };
            assert_eq!(outer.flow_label, label);
            assert_eq!(all_in(&receiver, &[wire]), [packet]);
        }
    }
}

/// What goes into UDP shall not be cut outside: it is cut before, to the length that the SA says.
#[test]
fn an_sa_in_udp_says_to_what_length_packets_are_cut() {
    let asked = SaOptions {
        fragment_bytes: 552,
        ..SaOptions::default()
    };
    for (bytes, mtu, pieces) in [
        (524, 0, 1),
        (525, 0, 2),
        (1400, 0, 3),
        (1400, 300, 7),
        (1400, 1500, 3),
    ] {
        let (sender, receiver) = (engine(), engine());
        let sas = [SaParams {
            encap: Some(PORTS),
            options: asked,
            ..sa(0x1000, A, B, Mode::Tunnel)
        }];
        connect(
            &sender,
            &receiver,
            &sas,
            HOSTS,
            &require(Mode::Tunnel, Some((A, B))),
        );
        without_hops(&sender);
        sender.configure(Setting::PathMtu(mtu)).unwrap();
        let packet = long_datagram(HOSTS.0, HOSTS.1, bytes);
        let wire = all_out(&sender, std::slice::from_ref(&packet));
        assert_eq!(wire.len(), pieces, "{bytes} {mtu}");
        assert!(
            wire.iter()
                .all(|piece| Summary::parse(piece).unwrap().fragment.is_none())
        );
        assert_eq!(sender.sad_dump(None)[0].packets, pieces as u64, "each is sealed");
        assert!(wire.iter().all(|piece| piece.len() < 552 + 100));
        assert_eq!(all_in(&receiver, &wire), std::slice::from_ref(&packet));

        let out = outbound(&sender, &flagged(packet, 0x40), START);
        if pieces > 1 && mtu != 300 {
            assert_eq!((out.dropped[0].reason, told(&out)), (DropReason::OutTooBig, 552));
        }
    }
}

#[test]
fn a_length_to_cut_to_needs_a_tunnel_in_udp() {
    let engine = engine();
    let with = |mode, encap, fragment_bytes| SaParams {
        encap,
        options: SaOptions {
            fragment_bytes,
            ..SaOptions::default()
        },
        ..sa(0x1000, A, B, mode)
    };
    for refused in [
        with(Mode::Tunnel, None, 552),
        with(Mode::Transport, Some(PORTS), 552),
        with(Mode::Tunnel, Some(PORTS), 67),
    ] {
        assert!(engine.sad_add(refused, START).is_err());
    }
    assert!(engine.sad_add(with(Mode::Any, Some(PORTS), 68), START).is_ok());
}
