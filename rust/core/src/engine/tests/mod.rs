//! The engine's own tests, one file per room; here are the two ends they share.
//! No behaviour of the engine may enter.
//! Answers to: RFC 4301 section 5.

mod ah;
mod ah_hostile;
mod control;
mod crossing;
mod encap;
mod fit;
mod fragments;
mod hints;
mod hold;
mod hostile;
mod inbound;
mod ipcomp;
mod ipcomp_hostile;
mod moving;
mod nat;
mod originate;
mod outbound;
mod quoted;
mod resync;
mod short_buffers;
mod timers;
mod verdict;

use super::{Batch, Config, Engine, Output, Stats};
use crate::buffer::PacketBuf;
use crate::crypto::AlgorithmKey;
use crate::error::DropReason;
use crate::sa::{Limits, SaOptions, SaParams};
use crate::selector::{AddressRange, PortRange, Selector};
use crate::spd::policy::PolicyLimits;
use crate::spd::{Action, PolicyParams};
use crate::terms::{Direction, Level, Mode, Protocol, SaId, Spi, Template};
use crate::time::{Instant, WallClock};
use crate::wire::{checksum, udp};
use std::net::IpAddr;

const START: Instant = Instant::from_secs(1000);
const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const A6: &str = "2001:db8::1";
const B6: &str = "2001:db8::2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn secs(after_start: u64) -> Instant {
    Instant::from_secs(1000 + after_start)
}

fn engine_with(config: Config) -> Engine {
    Engine::new(config, [7; 32], START, WallClock(1_700_000_000))
}

fn engine() -> Engine {
    engine_with(Config::default())
}

pub(super) fn sa(spi: u32, source: &str, destination: &str, mode: Mode) -> SaParams {
    SaParams {
        id: SaId {
            spi: Spi(spi),
            protocol: Protocol::Esp,
            destination: ip(destination),
        },
        source: ip(source),
        mode,
        reqid: 0,
        encryption: Some(AlgorithmKey::new("aes-gcm-16", &[spi.to_be_bytes()[3]; 20])),
        authentication: None,
        replay_window: 64,
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
        permits: crate::crypto::Permits::default(),
    }
}

fn template(mode: Mode, level: Level, ends: Option<(&str, &str)>) -> Template {
    let endpoints = ends.map(|(source, destination)| (ip(source), ip(destination)));
    Template {
        protocol: Protocol::Esp,
        mode,
        level,
        reqid: 0,
        endpoints,
    }
}

fn require(mode: Mode, ends: Option<(&str, &str)>) -> Vec<Template> {
    vec![template(mode, Level::Require, ends)]
}

fn policy(direction: Direction, source: &str, destination: &str, action: Action) -> PolicyParams {
    PolicyParams {
        direction,
        selector: Selector {
            source: AddressRange::host(ip(source)),
            destination: AddressRange::host(ip(destination)),
            next_layer: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
        },
        action,
        priority: 1000,
        judges_forwarded: false,
        owner: 0,
        connection: 0,
        hard: PolicyLimits::default(),
    }
}

fn datagram(source: &str, destination: &str) -> Vec<u8> {
    udp::packet(
        ip(source),
        ip(destination),
        5000,
        7,
        b"forty-two bytes of payload, give or take a few",
    )
    .unwrap()
}

/// An IPv4 packet with these flags (DF 0x40, more fragments 0x20) set.
fn flagged(mut packet: Vec<u8>, flags: u8) -> Vec<u8> {
    packet[6] |= flags;
    packet[10..12].fill(0);
    let sum = checksum::internet(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn one(packet: &[u8]) -> Batch {
    Batch::from(vec![PacketBuf::from_packet(packet)])
}

fn outbound(engine: &Engine, packet: &[u8], now: Instant) -> Output {
    let mut out = Output::with_journey();
    engine.handle_outbound(&mut one(packet), now, &mut out);
    out
}

fn inbound(engine: &Engine, packet: &[u8], now: Instant) -> Output {
    let mut out = Output::with_journey();
    engine.handle_inbound(&mut one(packet), now, &mut out);
    out
}

/// The packet that goes to the wire.
fn sealed(engine: &Engine, packet: &[u8]) -> Vec<u8> {
    let out = outbound(engine, packet, START);
    assert!(out.dropped.is_empty(), "{:?}", out.dropped);
    out.transmit[0].packet.as_slice().to_vec()
}

/// Why an outbound packet is dropped; its counter, and only that, has moved.
fn refused_outbound(engine: &Engine, packet: &[u8]) -> DropReason {
    let before = engine.stats();
    let out = outbound(engine, packet, START);
    assert!(out.transmit.is_empty());
    only_one_cell_moved(&before, &engine.stats(), out.dropped[0].reason)
}

/// Why an inbound packet is dropped; its counter, and only that, has moved.
fn refused_inbound(engine: &Engine, packet: &[u8]) -> DropReason {
    let before = engine.stats();
    let out = inbound(engine, packet, START);
    assert!(out.deliver.is_empty());
    only_one_cell_moved(&before, &engine.stats(), out.dropped[0].reason)
}

fn only_one_cell_moved(before: &Stats, after: &Stats, reason: DropReason) -> DropReason {
    assert_eq!(after.dropped(reason), before.dropped(reason) + 1);
    assert_eq!(after.dropped_total(), before.dropped_total() + 1);
    let exits = |stats: &Stats| {
        [
            stats.outbound_protected,
            stats.outbound_bypassed,
            stats.inbound_delivered,
            stats.inbound_bypassed,
        ]
    };
    assert_eq!(exits(before), exits(after));
    reason
}

/// The bytes delivered.
fn delivered(engine: &Engine, packet: &[u8]) -> Vec<u8> {
    let out = inbound(engine, packet, START);
    assert!(out.dropped.is_empty(), "{:?}", out.dropped);
    out.deliver[0].as_slice().to_vec()
}

/// Gives both engines an SA, and each its policy for packets from `source` to `destination`.
fn connect(
    sender: &Engine,
    receiver: &Engine,
    sas: &[SaParams],
    hosts: (&str, &str),
    templates: &[Template],
) {
    for params in sas {
        sender.sad_add(params.clone(), START).unwrap();
        receiver.sad_add(params.clone(), START).unwrap();
    }
    let protect = Action::Protect(templates.to_vec());
    sender
        .spd_add(
            policy(Direction::Outbound, hosts.0, hosts.1, protect.clone()),
            START,
        )
        .unwrap();
    receiver
        .spd_add(policy(Direction::Inbound, hosts.0, hosts.1, protect), START)
        .unwrap();
}
