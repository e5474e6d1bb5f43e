//! The engine's part of the question: a batch through two engines allocates nothing once the rooms are warm.
//! Nothing but this one question may enter.
//! Answers to: ARCHITECTURE.md D3 (no allocation per packet).

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use sallet_core::buffer::PacketBuf;
use sallet_core::crypto::AlgorithmKey;
use sallet_core::engine::{Batch, Config, Engine, Output};
use sallet_core::sa::{Limits, SaOptions, SaParams};
use sallet_core::selector::{AddressRange, PortRange, Selector};
use sallet_core::spd::policy::PolicyLimits;
use sallet_core::spd::{Action, PolicyParams};
use sallet_core::terms::{Direction, Level, Mode, Protocol, SaId, Spi, Template};
use sallet_core::time::{Instant, WallClock};
use sallet_core::wire::udp;
use std::net::IpAddr;

const NOW: Instant = Instant::from_secs(1);

fn engine(direction: Direction, protocol: Protocol, mode: Mode, ends: (IpAddr, IpAddr)) -> Engine {
    let engine = Engine::new(Config::default(), [1; 32], NOW, WallClock(0));
    let id = SaId {
        spi: Spi(0x1000),
        protocol,
        destination: ends.1,
    };
    let limits = Limits {
        use_secs: 3600,
        ..Limits::default()
    };
    let (encryption, authentication) = match protocol {
        Protocol::Ah => (None, Some(AlgorithmKey::new("hmac-sha2-256-128", &[5; 32]))),
        Protocol::Esp | Protocol::IpComp => (Some(AlgorithmKey::new("aes-gcm-16", &[5; 20])), None),
    };
    let params = SaParams {
        id,
        source: ends.0,
        mode,
        reqid: 0,
        encryption,
        authentication,
        replay_window: 64,
        esn: true,
        old: false,
        options: SaOptions::default(),
        raw_cpi: false,
        cycle_sequence: false,
        soft: limits,
        hard: limits,
        encap: None,
        flags: 0,
        owner: 0,
        connection: 0,
        permits: sallet_core::crypto::Permits::default(),
    };
    engine.sad_add(params, NOW).unwrap();
    let endpoints = Some(ends);
    let template = Template {
        protocol,
        mode,
        level: Level::Require,
        reqid: 0,
        endpoints,
    };
    let selector = Selector {
        source: AddressRange::host(ends.0),
        destination: AddressRange::host(ends.1),
        next_layer: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
    };
    let policy = PolicyParams {
        direction,
        selector,
        action: Action::Protect(vec![template]),
        priority: 0,
        judges_forwarded: false,
        owner: 0,
        connection: 0,
        hard: PolicyLimits::default(),
    };
    engine.spd_add(policy, NOW).unwrap();
    engine
}

#[test]
fn a_warm_batch_allocates_nothing() {
    for protocol in [Protocol::Esp, Protocol::Ah] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            warm_batch(protocol, mode);
        }
    }
}

fn warm_batch(protocol: Protocol, mode: Mode) {
    let ends = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let sender = engine(Direction::Outbound, protocol, mode, ends);
    let receiver = engine(Direction::Inbound, protocol, mode, ends);
    let packet = udp::packet(ends.0, ends.1, 9, 9, &[7; 1000]).unwrap();
    let (mut batch, mut out) = (Batch::default(), Output::default());
    for _ in 0..64 {
        batch.push(PacketBuf::from_packet(&packet));
    }
    for round in 0..10 {
        let before = super::COUNT.with(std::cell::Cell::get);
        sender.handle_outbound(&mut batch, NOW, &mut out);
        for sent in out.transmit.drain(..) {
            batch.push(sent.packet);
        }
        receiver.handle_inbound(&mut batch, NOW, &mut out);
        for received in out.deliver.drain(..) {
            batch.push(received);
        }
        assert_eq!(batch.len(), 64);
        let allocated = super::COUNT.with(std::cell::Cell::get) - before;
        assert!(
            round == 0 || allocated == 0,
            "{allocated} allocations in round {round}, {protocol:?} {mode:?}"
        );
    }
}
