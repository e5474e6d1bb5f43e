//! Packets that found no SA wait for it, within bounds, and leave sealed or not at all.
//! No key manager may enter: the tests add SAs themselves.
//! Answers to: RFC 2367 section 3.1.6, RFC 4301 section 5.1.

use super::*;
use crate::engine::{Event, Route, Setting};

/// An engine that holds so many packets for each acquire, and asks for protection from A to B.
fn holding(most: u32) -> Engine {
    let engine = engine();
    engine.configure(Setting::HoldPackets(most)).unwrap();
    engine.spd_add(protect(), START).unwrap();
    engine
}

fn protect() -> PolicyParams {
    policy(
        Direction::Outbound,
        A,
        B,
        Action::Protect(require(Mode::Transport, None)),
    )
}

/// A datagram that says which one it is.
fn numbered(number: u8) -> Vec<u8> {
    udp::packet(ip(A), ip(B), 5000, 7, &[number; 64]).unwrap()
}

fn released(engine: &Engine, now: Instant) -> Output {
    let mut out = Output::with_journey();
    engine.handle_released(now, &mut out);
    out
}

fn acquire_id(engine: &Engine) -> u32 {
    match engine.poll_event() {
        Some(Event::Acquire { id, .. }) => id,
        other => panic!("an acquire was expected: {other:?}"),
    }
}

/// Checks that every packet that came has gone by one exit, or waits.
fn balanced(engine: &Engine) -> Stats {
    let stats = engine.stats();
    let exits = stats.outbound_protected.packets
        + stats.outbound_bypassed.packets
        + stats.outbound_held.packets
        + stats.outbound_waiting;
    assert_eq!(stats.outbound_arrived.packets, exits + stats.dropped_total());
    stats
}

//= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
//# a packet waits for its SA, within limits, or is dropped
#[test]
fn the_first_packets_of_a_flow_leave_sealed_and_in_order_once_the_sa_is_there() {
    let sender = holding(5);
    let mut batch = Batch::default();
    (0..7).for_each(|number| batch.push(PacketBuf::from_packet(&numbered(number))));
    let mut out = Output::default();
    sender.handle_outbound(&mut batch, START, &mut out);
    assert_eq!((out.spare.len(), out.transmit.len()), (5, 0));
    let reasons: Vec<_> = out.dropped.iter().map(|dropped| dropped.reason).collect();
    assert_eq!(reasons, [DropReason::OutNoSa; 2], "more than five do not wait");
    assert!(acquire_id(&sender) == 1 && !sender.has_events());
    assert_eq!(balanced(&sender).outbound_waiting, 5);
    assert!(!sender.has_released());

    let receiver = engine();
    let params = sa(0x1000, A, B, Mode::Transport);
    receiver.sad_add(params.clone(), START).unwrap();
    receiver
        .spd_add(policy(Direction::Inbound, A, B, protect().action), START)
        .unwrap();
    sender.sad_add(params, secs(1)).unwrap();
    assert!(sender.has_released());
    let out = released(&sender, secs(1));
    assert_eq!((out.transmit.len(), out.dropped.len()), (5, 0));
    for (number, transmit) in (0..).zip(&out.transmit) {
        assert!(matches!(transmit.route, Route::Protected { .. }));
        assert_eq!(delivered(&receiver, transmit.packet.as_slice()), numbered(number));
    }
    let stats = balanced(&sender);
    assert_eq!(
        (stats.outbound_waiting, stats.held_for_sa, stats.released),
        (0, 5, 5)
    );
    assert!(released(&sender, secs(1)).transmit.is_empty(), "each once");
    let journey: Vec<_> = out.journey.iter().flatten().map(|step| step.describe()).collect();
    assert!(journey[0].starts_with("released ("), "{journey:?}");
}

#[test]
fn a_larval_sa_that_gets_its_keys_releases_too() {
    let engine = holding(5);
    outbound(&engine, &numbered(0), START);
    let request = crate::engine::SpiRequest {
        reqid: 0,
        ..super::control::request(0, 0)
    };
    let spi = engine.sad_getspi(&request, START).unwrap();
    assert!(!engine.has_released(), "there are no keys yet");
    engine
        .sad_update(sa(spi.0, A, B, Mode::Transport), START)
        .unwrap();
    assert_eq!(released(&engine, START).transmit.len(), 1);
}

#[test]
fn nothing_waits_unless_it_is_allowed() {
    let engine = holding(0);
    assert_eq!(refused_outbound(&engine, &numbered(0)), DropReason::OutNoSa);
    assert_eq!(balanced(&engine).held_for_sa, 0);
}

//= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
//# an error from a key manager frees what waits
#[test]
fn an_error_of_the_key_manager_frees_what_waits() {
    let engine = holding(5);
    (0..3).for_each(|number| drop(outbound(&engine, &numbered(number), START)));
    let id = acquire_id(&engine);
    assert!(!engine.acquire_failed(id + 1));
    assert_eq!(balanced(&engine).outbound_waiting, 3);
    assert!(engine.acquire_failed(id));
    let stats = balanced(&engine);
    assert_eq!(
        (stats.outbound_waiting, stats.dropped(DropReason::OutNoSa)),
        (0, 3)
    );
    outbound(&engine, &numbered(4), START);
    assert_eq!(acquire_id(&engine), id + 1, "and it is asked anew");
}

#[test]
fn what_waits_too_long_is_dropped_in_time_and_counted() {
    let engine = holding(5);
    engine.configure(Setting::HoldSecs(10)).unwrap();
    outbound(&engine, &numbered(0), START);
    outbound(&engine, &numbered(1), secs(4));
    assert_eq!(engine.poll_timeout(), Some(secs(10)));
    engine.handle_timeout(secs(10));
    assert_eq!(balanced(&engine).outbound_waiting, 1);
    assert_eq!(engine.poll_timeout(), Some(secs(14)));
    // An SA that comes too late finds nobody, even if no timer ran.
    engine
        .sad_add(sa(0x1000, A, B, Mode::Transport), secs(14))
        .unwrap();
    let out = released(&engine, secs(14));
    assert_eq!(
        (out.transmit.len(), out.dropped[0].reason),
        (0, DropReason::OutNoSa)
    );
    assert_eq!(balanced(&engine).dropped(DropReason::OutNoSa), 2);
}

#[test]
fn a_flush_frees_what_waits_for_that_protocol() {
    let engine = holding(5);
    outbound(&engine, &numbered(0), START);
    engine.sad_flush(Some(Protocol::Ah));
    assert_eq!(balanced(&engine).outbound_waiting, 1);
    engine.sad_flush(None);
    assert_eq!(balanced(&engine).dropped(DropReason::OutNoSa), 1);
    outbound(&engine, &numbered(1), START);
    assert_eq!((acquire_id(&engine), acquire_id(&engine)), (1, 2));
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
//# a changed SPD governs the packets that come afterwards
#[test]
fn what_waited_to_be_protected_never_leaves_in_clear() {
    let changes: [fn(&Engine); 4] = [
        |engine| assert_eq!(engine.spd_flush(), 1),
        |engine| drop(engine.spd_delete(Direction::Outbound, &protect().selector)),
        |engine| {
            let bypass = PolicyParams {
                action: Action::Bypass,
                ..protect()
            };
            engine.spd_update(bypass, START).unwrap();
        },
        |engine| {
            let in_front = PolicyParams {
                priority: 1,
                selector: Selector {
                    next_layer: Some(17),
                    ..protect().selector
                },
                action: Action::Bypass,
                ..protect()
            };
            engine.spd_add(in_front, START).unwrap();
        },
    ];
    for (case, change) in changes.into_iter().enumerate() {
        let engine = holding(5);
        outbound(&engine, &numbered(0), START);
        change(&engine);
        engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
        let out = released(&engine, START);
        assert!(out.transmit.is_empty(), "case {case}");
        let stats = balanced(&engine);
        assert_eq!(
            (stats.outbound_waiting, stats.dropped(DropReason::OutNoSa)),
            (0, 1),
            "case {case}"
        );
    }
    // What is discarded by now is discarded.
    let engine = holding(5);
    outbound(&engine, &numbered(0), START);
    let discard = PolicyParams {
        action: Action::Discard,
        ..protect()
    };
    engine.spd_update(discard, START).unwrap();
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    assert_eq!(
        released(&engine, START).dropped[0].reason,
        DropReason::OutPolicyDiscard
    );
}

#[test]
fn a_bundle_waits_for_each_of_its_sas() {
    let engine = engine();
    engine.configure(Setting::HoldPackets(2)).unwrap();
    let mut templates = require(Mode::Transport, None);
    templates.push(Template {
        protocol: Protocol::Ah,
        ..templates[0]
    });
    engine
        .spd_add(
            policy(Direction::Outbound, A, B, Action::Protect(templates)),
            START,
        )
        .unwrap();
    outbound(&engine, &numbered(0), START);
    assert_eq!(acquire_id(&engine), 1);
    engine
        .sad_add(sa(0x1000, A, B, Mode::Transport), secs(1))
        .unwrap();
    let out = released(&engine, secs(1));
    assert_eq!((out.transmit.len(), out.dropped.len()), (0, 0));
    assert_eq!(acquire_id(&engine), 2, "the other SA is asked for");
    assert_eq!(balanced(&engine).outbound_waiting, 1);
    let mut ah = sa(0x1001, A, B, Mode::Transport);
    ah.id.protocol = Protocol::Ah;
    ah.encryption = None;
    ah.authentication = Some(AlgorithmKey::new("hmac-sha2-256-128", &[1; 32]));
    engine.sad_add(ah, secs(2)).unwrap();
    assert_eq!(released(&engine, secs(2)).transmit.len(), 1);
    assert_eq!(
        engine.poll_timeout(),
        Some(secs(30)),
        "the time is that of the first wait"
    );
}

#[test]
fn waiting_packets_do_not_fill_the_memory() {
    let engine = engine();
    engine.configure(Setting::HoldPackets(100)).unwrap();
    let mut wide = protect();
    wide.selector.destination = AddressRange {
        first: ip("10.0.0.0"),
        last: ip("10.255.255.255"),
    };
    engine.spd_add(wide, START).unwrap();
    for flow in 0..3000_u32 {
        let destination = IpAddr::from((0x0a00_0000 + flow).to_be_bytes());
        let packet = udp::packet(ip(A), destination, 1, 2, &[0; 32]).unwrap();
        outbound(&engine, &packet, START);
    }
    let few = balanced(&engine).outbound_waiting;
    assert!((100..=1024).contains(&few), "{few}");
    engine.sad_flush(None);
    for flow in 0..300_u32 {
        let destination = IpAddr::from((0x0a00_0000 + flow).to_be_bytes());
        let packet = udp::packet(ip(A), destination, 1, 2, &[0; 9000]).unwrap();
        outbound(&engine, &packet, START);
    }
    let long = balanced(&engine).outbound_waiting;
    assert!((50..=104).contains(&long), "a mebibyte of long ones: {long}");
    engine.handle_timeout(secs(31));
    assert_eq!(balanced(&engine).outbound_waiting, 0);
}

#[test]
fn a_forwarded_packet_loses_one_hop_and_not_two() {
    let engine = holding(5);
    engine
        .configure(Setting::Local(Some(vec![AddressRange::host(ip("192.0.2.99"))])))
        .unwrap();
    let packet = numbered(0);
    outbound(&engine, &packet, START);
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    let out = released(&engine, START);
    assert_eq!(out.transmit[0].packet.as_slice()[8], packet[8] - 1);
}
