//! Outbound: exits, chains, levels, acquires, too-big answers, the hop limit.
//! Nothing about formats may enter beyond what proves an exit.
//! Answers to: RFC 4301 sections 4.1, 5.1 and 8.2.1, RFC 4303 section 3.3.3.

use super::*;
use crate::engine::{DefaultLevel, DefaultPolicy, Event, Route, Setting, Verdict};
use crate::sa::UdpEncap;
use crate::spd::policy::MAX_TEMPLATES;
use crate::wire::ip::Summary;
use crate::wire::protocol;
use crate::wire::{self, icmp};

#[test]
fn each_exit_has_its_reason() {
    let engine = engine();
    assert_eq!(refused_outbound(&engine, b"no packet"), DropReason::OutMalformed);
    assert_eq!(refused_outbound(&engine, b""), DropReason::OutMalformed);
    engine
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    assert_eq!(
        refused_outbound(&engine, &datagram(A, B)),
        DropReason::OutNoPolicy
    );
    engine
        .spd_add(policy(Direction::Outbound, A, B, Action::Discard), START)
        .unwrap();
    assert_eq!(
        refused_outbound(&engine, &datagram(A, B)),
        DropReason::OutPolicyDiscard
    );
    engine
        .spd_update(policy(Direction::Outbound, A, B, Action::Bypass), START)
        .unwrap();
    let out = outbound(&engine, &datagram(A, B), START);
    assert_eq!(out.transmit[0].route, Route::Bypass);
    assert_eq!(out.transmit[0].packet.as_slice(), datagram(A, B));
    assert_eq!(engine.stats().outbound_bypassed.packets, 1);
    assert_eq!(engine.stats().outbound_arrived.packets, 5);
}

#[test]
fn trailing_bytes_do_not_travel() {
    let mut padded = datagram(A, B);
    let bytes = padded.len();
    padded.extend_from_slice(b"ethernet padding");
    assert_eq!(sealed(&engine(), &padded).len(), bytes);
}

#[test]
fn a_transport_sa_does_not_hide_the_tunnel_that_serves() {
    let (engine, gates) = (engine(), ("192.0.2.101", "192.0.2.102"));
    for (spi, mode) in [(0x1000, Mode::Tunnel), (0x2000, Mode::Transport)] {
        engine.sad_add(sa(spi, gates.0, gates.1, mode), START).unwrap();
    }
    let action = Action::Protect(require(Mode::Any, Some(gates)));
    engine
        .spd_add(policy(Direction::Outbound, A, B, action), START)
        .unwrap();
    let summary = Summary::parse(&sealed(&engine, &datagram(A, B))).unwrap();
    assert_eq!((summary.source, summary.destination), (ip(gates.0), ip(gates.1)));
}

/// A policy that was accepted must find room in every buffer: no packet may be sealed by halves.
#[test]
fn as_many_templates_as_a_policy_may_name_find_room() {
    let (sender, receiver) = (engine(), engine());
    let templates = require(Mode::Tunnel, Some((A6, B6))).repeat(MAX_TEMPLATES);
    let params = SaParams {
        encryption: Some(AlgorithmKey::new("aes-cbc", &[1; 16])),
        authentication: Some(AlgorithmKey::new("hmac-sha2-512-256", &[2; 64])),
        encap: Some(UdpEncap {
            source_port: 4500,
            destination_port: 4500,
        }),
        ..sa(0x1000, A6, B6, Mode::Tunnel)
    };
    connect(&sender, &receiver, &[params], ("fd00::1", "fd01::1"), &templates);
    for payload in 0..20 {
        let packet = udp::packet(ip("fd00::1"), ip("fd01::1"), 1, 2, &vec![0; payload]).unwrap();
        assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
    }
}

#[test]
fn chains_seal_from_the_inside_out() {
    for (mode, hosts, ends) in [
        (Mode::Transport, (A, B), (A, B)),
        (Mode::Transport, (A6, B6), (A6, B6)),
        (Mode::Tunnel, ("10.0.1.1", "10.0.2.1"), (A, B)),
        (Mode::Tunnel, ("10.0.1.1", "10.0.2.1"), (A6, B6)),
        (Mode::Tunnel, ("fd00::1", "fd01::1"), (A, B)),
        (Mode::Tunnel, ("fd00::1", "fd01::1"), (A6, B6)),
    ] {
        let (sender, receiver) = (engine(), engine());
        let templates = require(mode, (mode == Mode::Tunnel).then_some(ends));
        connect(
            &sender,
            &receiver,
            &[sa(0x1000, ends.0, ends.1, mode)],
            hosts,
            &templates,
        );
        let plain = datagram(hosts.0, hosts.1);
        let wire = sealed(&sender, &plain);
        let summary = Summary::parse(&wire).unwrap();
        assert_eq!((summary.source, summary.destination), (ip(ends.0), ip(ends.1)));
        assert_eq!(summary.next_layer, protocol::ESP);
        assert_eq!(delivered(&receiver, &wire), plain);
        assert_eq!(sender.stats().outbound_protected.bytes, wire.len() as u64);
        assert_eq!(receiver.stats().inbound_delivered.packets, 1);
        let [sent, received] = [&sender, &receiver].map(|engine| engine.sad_dump(None)[0].clone());
        assert_eq!((sent.bytes, sent.packets), (received.bytes, received.packets));
    }
}

//= https://www.rfc-editor.org/rfc/rfc2401#section-4.3
//# SAs are bundled: AH around ESP, and tunnels within tunnels
#[test]
fn bundles_and_nested_tunnels_come_apart_again() {
    let (sender, receiver) = (engine(), engine());
    let sas = [
        sa(0x1000, A, B, Mode::Transport),
        sa(0x1001, "10.9.0.1", "10.9.0.2", Mode::Tunnel),
        sa(0x1002, A6, B6, Mode::Tunnel),
    ];
    let templates = [
        require(Mode::Transport, None),
        require(Mode::Tunnel, Some(("10.9.0.1", "10.9.0.2"))),
        require(Mode::Tunnel, Some((A6, B6))),
    ]
    .concat();
    connect(&sender, &receiver, &sas, (A, B), &templates);
    let wire = sealed(&sender, &datagram(A, B));
    assert_eq!(Summary::parse(&wire).unwrap().destination, ip(B6));
    assert_eq!(delivered(&receiver, &wire), datagram(A, B));
    assert_eq!(receiver.stats().inbound_opened.packets, 3);
    assert_eq!(receiver.stats().inbound_delivered.packets, 1);
}

#[test]
fn a_missing_sa_makes_one_acquire_until_it_is_answered() {
    let engine = engine();
    let templates = require(Mode::Transport, None);
    let id = engine
        .spd_add(
            policy(Direction::Outbound, A, B, Action::Protect(templates)),
            START,
        )
        .unwrap()
        .id;
    for _ in 0..3 {
        assert_eq!(refused_outbound(&engine, &datagram(A, B)), DropReason::OutNoSa);
    }
    let Some(Event::Acquire {
        policy,
        source,
        destination,
        id: acquire,
        ..
    }) = engine.poll_event()
    else {
        panic!("no acquire");
    };
    assert_eq!((policy, source, destination), (id, ip(A), ip(B)));
    assert!(!engine.has_events());
    assert!(engine.acquire_failed(acquire));
    assert_eq!(refused_outbound(&engine, &datagram(A, B)), DropReason::OutNoSa);
    assert!(matches!(engine.poll_event(), Some(Event::Acquire { .. })));
    outbound(&engine, &datagram(A, B), secs(20));
    assert!(
        matches!(engine.poll_event(), Some(Event::Acquire { .. })),
        "the block has an end"
    );
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    assert!(matches!(
        outbound(&engine, &datagram(A, B), secs(20)).transmit[0].route,
        Route::Protected { .. }
    ));
    engine.sad_flush(None);
    outbound(&engine, &datagram(A, B), secs(20));
    assert!(
        matches!(engine.poll_event(), Some(Event::Acquire { .. })),
        "an answered acquire blocks no more"
    );
}

#[test]
fn an_entry_without_templates_lets_nothing_pass_until_it_has_them() {
    let engine = engine();
    let awaited = |direction| policy(direction, A, B, Action::Awaited);
    let id = engine.spd_add(awaited(Direction::Outbound), START).unwrap().id;
    engine.spd_add(awaited(Direction::Inbound), START).unwrap();
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    let view = engine.spd_lookup(id).unwrap();
    assert_eq!(view.params.action.name(), "protect");
    for _ in 0..3 {
        assert_eq!(refused_outbound(&engine, &datagram(A, B)), DropReason::OutNoSa);
    }
    let told = engine.poll_event();
    assert!(matches!(told, Some(Event::PolicyAcquire { policy }) if policy == id));
    assert!(!engine.has_events(), "told once");
    for direction in [Direction::Outbound, Direction::Inbound] {
        let verdict = engine.explain(direction, &datagram(A, B));
        assert!(matches!(verdict, Verdict::Discard { policy: Some(_) }));
    }
    let mut batch = Batch::default();
    batch.push(PacketBuf::from_packet(&datagram(A, B)));
    let mut out = Output::default();
    engine.handle_inbound(&mut batch, START, &mut out);
    assert_eq!(out.dropped[0].reason, DropReason::InPolicyViolation);
    assert!(!engine.has_events(), "who asks is the sender's side");
    let templates = require(Mode::Transport, None);
    let named = policy(Direction::Outbound, A, B, Action::Protect(templates));
    assert_eq!(engine.spd_update(named, START).unwrap().id, id);
    let sent = outbound(&engine, &datagram(A, B), START);
    assert!(matches!(sent.transmit[0].route, Route::Protected { .. }));
    engine.spd_update(awaited(Direction::Outbound), START).unwrap();
    assert_eq!(refused_outbound(&engine, &datagram(A, B)), DropReason::OutNoSa);
    assert!(engine.has_events(), "written anew, asked anew");
}

#[test]
fn nothing_is_sealed_by_halves() {
    let engine = engine();
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    let templates = [
        require(Mode::Transport, None),
        require(Mode::Tunnel, Some((A6, B6))),
    ]
    .concat();
    engine
        .spd_add(
            policy(Direction::Outbound, A, B, Action::Protect(templates)),
            START,
        )
        .unwrap();
    assert_eq!(refused_outbound(&engine, &datagram(A, B)), DropReason::OutNoSa);
    assert_eq!(engine.sad_dump(None)[0].packets, 0);
    assert!(matches!(engine.poll_event(), Some(Event::Acquire { source, .. }) if source == ip(A6)));
}

#[test]
fn the_level_says_what_a_missing_sa_means() {
    let engine = engine();
    let with = |level| {
        let templates = vec![template(Mode::Transport, level, None)];
        engine
            .spd_update(
                policy(Direction::Outbound, A, B, Action::Protect(templates)),
                START,
            )
            .unwrap();
        outbound(&engine, &datagram(A, B), START)
            .transmit
            .first()
            .map(|sent| sent.route)
    };
    assert_eq!(with(Level::Use), Some(Route::Bypass));
    assert_eq!(with(Level::Default), Some(Route::Bypass));
    assert!(!engine.has_events());
    engine
        .configure(Setting::EspTransportLevel(DefaultLevel::Require))
        .unwrap();
    assert_eq!(with(Level::Default), None);
    assert_eq!(with(Level::Unique), None);
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    assert!(matches!(
        with(Level::Use),
        Some(Route::Protected {
            spi: Spi(0x1000),
            encap: None
        })
    ));
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
//# the sender is told the path MTU less what IPsec adds
#[test]
fn what_is_too_big_is_answered_with_a_size_that_fits() {
    for (hosts, ends, mode) in [
        ((A, B), (A, B), Mode::Transport),
        ((A6, B6), (A6, B6), Mode::Transport),
        (("10.0.1.1", "10.0.2.1"), (A, B), Mode::Tunnel),
        (("fd00::1", "fd01::1"), (A, B), Mode::Tunnel),
        (("10.0.1.1", "10.0.2.1"), (A6, B6), Mode::Tunnel),
    ] {
        let engine = engine();
        engine.configure(Setting::PathMtu(1500)).unwrap();
        engine.sad_add(sa(0x1000, ends.0, ends.1, mode), START).unwrap();
        let templates = require(mode, (mode == Mode::Tunnel).then_some(ends));
        engine
            .spd_add(
                policy(Direction::Outbound, hosts.0, hosts.1, Action::Protect(templates)),
                START,
            )
            .unwrap();
        let sized = |bytes: usize| {
            let header = if ip(hosts.0).is_ipv4() { 28 } else { 48 };
            let packet = udp::packet(ip(hosts.0), ip(hosts.1), 5000, 7, &vec![0; bytes - header]).unwrap();
            if header == 28 {
                flagged(packet, 0x40)
            } else {
                packet
            }
        };
        let out = outbound(&engine, &sized(1500), START);
        assert_eq!(out.dropped[0].reason, DropReason::OutTooBig);
        assert_eq!(engine.sad_dump(None)[0].packets, 0, "no sequence number is spent");
        let answer = out.deliver[0].as_slice();
        let summary = Summary::parse(answer).unwrap();
        assert_eq!(summary.destination, ip(hosts.0));
        let error = icmp::Packet::new_checked(summary.payload(answer)).unwrap();
        let rest = error.rest_of_header();
        let mtu = match (error.kind(), error.code()) {
            (3, 4) => usize::from(u16::from_be_bytes([rest[2], rest[3]])),
            (2, 0) => usize::try_from(u32::from_be_bytes(rest)).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            outbound(&engine, &sized(mtu), START).transmit.len(),
            1,
            "what was said to fit fits"
        );
        assert!(outbound(&engine, &sized(mtu), START).transmit[0].packet.len() <= 1500);
        assert_eq!(refused_outbound(&engine, &sized(mtu + 1)), DropReason::OutTooBig);
        assert_eq!(engine.stats().too_big_answers.packets, 2);
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
//# the hop limit of a forwarded packet is one less
#[test]
fn only_forwarded_packets_lose_a_hop() {
    let hop_limit = |packet: &[u8]| Summary::parse(packet).unwrap().hop_limit;
    let engine = engine();
    let mut packet = datagram(A, B);
    assert_eq!(hop_limit(&sealed(&engine, &packet)), 64);
    engine
        .configure(Setting::Local(Some(vec![AddressRange::host(ip(B))])))
        .unwrap();
    assert_eq!(hop_limit(&sealed(&engine, &packet)), 63);
    for _ in 0..63 {
        assert!(crate::wire::ip::decrement_hop_limit(&mut packet));
    }
    assert_eq!(refused_outbound(&engine, &packet), DropReason::OutTtlExpired);
    engine.configure(Setting::DecrementHopLimit(false)).unwrap();
    assert_eq!(hop_limit(&sealed(&engine, &packet)), 1);
}

#[test]
fn neighbour_discovery_is_never_protected_nor_discarded() {
    let engine = engine();
    engine
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    engine
        .spd_add(policy(Direction::Outbound, A6, B6, Action::Discard), START)
        .unwrap();
    engine
        .spd_add(policy(Direction::Inbound, A6, B6, Action::Discard), START)
        .unwrap();
    for kind in 128..=140_u8 {
        let exempt = (133..=137).contains(&kind);
        let repr = icmp::Repr {
            kind,
            code: 0,
            rest_of_header: [0; 4],
            payload: &[0; 16],
        };
        let packet = repr.packet(ip(A6), ip(B6)).unwrap();
        assert_eq!(
            outbound(&engine, &packet, START).transmit.len(),
            usize::from(exempt)
        );
        assert_eq!(
            inbound(&engine, &packet, START).deliver.len(),
            usize::from(exempt)
        );
    }
    // In an IPv4 packet the number means nothing, so nobody can hide behind it.
    let solicitation = [135; 24];
    let in_ipv4 = wire::ip::packet(ip(A), ip(B), protocol::ICMPV6, &solicitation).unwrap();
    assert_eq!(refused_outbound(&engine, &in_ipv4), DropReason::OutNoPolicy);
    assert_eq!(refused_inbound(&engine, &in_ipv4), DropReason::InNoPolicy);
}

#[test]
fn numbers_end_before_they_repeat() {
    let engine = engine();
    let mut params = sa(0x1000, A, B, Mode::Transport);
    params.hard.packets = 2;
    engine.sad_add(params, START).unwrap();
    let templates = require(Mode::Transport, None);
    engine
        .spd_add(
            policy(Direction::Outbound, A, B, Action::Protect(templates)),
            START,
        )
        .unwrap();
    let mut batch = Batch::default();
    for _ in 0..5 {
        batch.push(PacketBuf::from_packet(&datagram(A, B)));
    }
    let mut out = Output::default();
    engine.handle_outbound(&mut batch, START, &mut out);
    assert_eq!((out.transmit.len(), out.dropped.len()), (2, 3));
    assert!(engine.sad_dump(None).is_empty(), "the hard limit takes it out");
}
