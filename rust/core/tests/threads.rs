//! One engine, many threads: packets and requests at once, and no number is used twice.
//! No measurement may enter: only what must never happen is asked.
//! Answers to: ARCHITECTURE.md D3 (`&self`, `Send + Sync`), RFC 4303 section 3.3.3, RFC 4106 section 3.1.

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
const BATCHES: usize = 50;
const BATCH_PACKETS: usize = 16;
const THREADS: usize = 4;

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn sa(spi: u32, source: u8, destination: u8) -> SaParams {
    SaParams {
        id: SaId {
            spi: Spi(spi),
            protocol: Protocol::Esp,
            destination: address(destination),
        },
        source: address(source),
        mode: Mode::Transport,
        reqid: 0,
        encryption: Some(AlgorithmKey::new("aes-gcm-16", &[5; 20])),
        authentication: None,
        replay_window: 4096,
        esn: false,
        old: false,
        options: SaOptions::default(),
        raw_cpi: false,
        cycle_sequence: false,
        soft: Limits::default(),
        hard: Limits::default(),
        encap: None,
        flags: 0,
        owner: 0,
        connection: 0,
        permits: sallet_core::crypto::Permits::default(),
    }
}

fn policy(direction: Direction, source: u8, destination: u8) -> PolicyParams {
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        level: Level::Require,
        reqid: 0,
        endpoints: None,
    };
    PolicyParams {
        direction,
        selector: Selector {
            source: AddressRange::host(address(source)),
            destination: AddressRange::host(address(destination)),
            next_layer: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
        },
        action: Action::Protect(vec![template]),
        priority: 0,
        judges_forwarded: false,
        owner: 0,
        connection: 0,
        hard: PolicyLimits::default(),
    }
}

fn engine(seed: u8) -> Engine {
    Engine::new(
        Config {
            lease_block: 7,
            ..Config::default()
        },
        [seed; 32],
        NOW,
        WallClock(0),
    )
}

/// Everything one thread sends, as wire bytes.
fn send(engine: &Engine) -> Vec<Vec<u8>> {
    let packet = udp::packet(
        address(1),
        address(2),
        9,
        9,
        b"the same plaintext from every thread",
    )
    .unwrap();
    let (mut batch, mut out) = (Batch::default(), Output::default());
    for _ in 0..BATCHES {
        for _ in 0..BATCH_PACKETS {
            batch.push(PacketBuf::from_packet(&packet));
        }
        engine.handle_outbound(&mut batch, NOW, &mut out);
    }
    assert!(out.dropped.is_empty());
    out.transmit
        .iter()
        .map(|sent| sent.packet.as_slice().to_vec())
        .collect()
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
//# no sequence number is sent twice
//= https://www.rfc-editor.org/rfc/rfc4106#section-3.1
//# for one key no IV value is used twice
// bug-row: 59
#[test]
fn no_number_is_used_twice() {
    let sender = engine(1);
    sender.spd_add(policy(Direction::Outbound, 1, 2), NOW).unwrap();
    sender.sad_add(sa(0x1000, 1, 2), NOW).unwrap();
    let wire: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| send(&sender))).collect();
        for spi in 0x2000..0x2080 {
            sender.sad_add(sa(spi, 2, 1), NOW).unwrap();
            sender.spd_update(policy(Direction::Inbound, 2, 1), NOW).unwrap();
            sender.handle_timeout(NOW);
            assert!(!sender.sad_dump(None).is_empty());
        }
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let packets = THREADS * BATCHES * BATCH_PACKETS;
    for (name, from, to) in [("sequence", 24, 28), ("IV", 28, 36)] {
        let mut seen: Vec<_> = wire.iter().map(|packet| &packet[from..to]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), packets, "{name}");
    }
    assert_eq!(sender.stats().outbound_protected.packets, packets as u64);

    // The same packets to several receiving threads at once: each is delivered by one of them only.
    let receiver = engine(2);
    receiver.spd_add(policy(Direction::Inbound, 1, 2), NOW).unwrap();
    receiver.sad_add(sa(0x1000, 1, 2), NOW).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (mut batch, mut out) = (Batch::default(), Output::default());
                for packet in &wire {
                    batch.push(PacketBuf::from_packet(packet));
                }
                receiver.handle_inbound(&mut batch, NOW, &mut out);
            });
        }
    });
    let stats = receiver.stats();
    let arrived = (THREADS * packets) as u64;
    assert!(stats.inbound_delivered.packets > 0 && stats.inbound_delivered.packets <= packets as u64);
    assert_eq!(stats.inbound_delivered.packets + stats.dropped_total(), arrived);
}
