//! Engines with SAs and policies for the tests of this crate, inside it and outside.
//! No device may enter.
//! Answers to: RFC 4301 §4.4; keys are constants, for tests only.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

use sallet_core::crypto::AlgorithmKey;
use sallet_core::engine::{Config, Engine};
use sallet_core::sa::{Limits, SaOptions, SaParams, UdpEncap};
use sallet_core::selector::{AddressRange, PortRange, Selector};
use sallet_core::spd::policy::{Action, PolicyLimits, PolicyParams};
use sallet_core::terms::{Direction, Level, Mode, Protocol, SaId, Spi, Template};
use sallet_core::time::{Instant, WallClock};
use std::net::IpAddr;
use std::sync::Arc;

/// One direction of protected traffic.
#[derive(Clone, Copy)]
pub struct Flow {
    pub mode: Mode,
    /// Ends of the SA.
    pub outer: (IpAddr, IpAddr),
    /// What it protects; the same as `outer` in transport mode.
    pub inner: (AddressRange, AddressRange),
    pub spi: u32,
    pub encap_port: Option<u16>,
}

impl Flow {
    /// The way back, with the next SPI.
    pub fn reversed(self) -> Self {
        Self {
            outer: (self.outer.1, self.outer.0),
            inner: (self.inner.1, self.inner.0),
            spi: self.spi + 1,
            ..self
        }
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn prefix(text: &str) -> AddressRange {
    let (address, bits) = text.split_once('/').unwrap();
    AddressRange::prefix(ip(address), bits.parse().unwrap()).unwrap()
}

pub fn engine(seed: u8, now: Instant) -> Arc<Engine> {
    let config = Config {
        decrement_hop_limit: false,
        ..Config::default()
    };
    Arc::new(Engine::new(config, [seed; 32], now, WallClock(1_700_000_000)))
}

/// Installs a flow that leaves this engine and its way back.
pub fn protect(engine: &Engine, flow: Flow, now: Instant) {
    install(engine, flow, Direction::Outbound, now);
    install(engine, flow.reversed(), Direction::Inbound, now);
}

/// Installs the same as the peer of an engine that called [`protect`] with `flow`.
pub fn protect_as_peer(engine: &Engine, flow: Flow, now: Instant) {
    install(engine, flow, Direction::Inbound, now);
    install(engine, flow.reversed(), Direction::Outbound, now);
}

fn install(engine: &Engine, flow: Flow, direction: Direction, now: Instant) {
    let encap = |port| UdpEncap {
        source_port: port,
        destination_port: port,
    };
    let sa = SaParams {
        id: SaId {
            spi: Spi(flow.spi),
            protocol: Protocol::Esp,
            destination: flow.outer.1,
        },
        source: flow.outer.0,
        mode: flow.mode,
        reqid: 0,
        encryption: Some(AlgorithmKey::new("aes-gcm-16", &[0x42; 20])),
        authentication: None,
        replay_window: 64,
        esn: false,
        old: false,
        options: SaOptions::default(),
        raw_cpi: false,
        cycle_sequence: false,
        soft: Limits::default(),
        hard: Limits::default(),
        encap: flow.encap_port.map(encap),
        flags: 0,
        owner: 0,
        connection: 0,
        permits: sallet_core::crypto::Permits::default(),
    };
    engine.sad_add(sa, now).unwrap();
    let template = Template {
        protocol: Protocol::Esp,
        mode: flow.mode,
        level: Level::Require,
        reqid: 0,
        endpoints: (flow.mode == Mode::Tunnel).then_some(flow.outer),
    };
    let policy = PolicyParams {
        direction,
        selector: Selector {
            source: flow.inner.0,
            destination: flow.inner.1,
            next_layer: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
        },
        action: Action::Protect(vec![template]),
        priority: 100,
        judges_forwarded: false,
        owner: 0,
        connection: 0,
        hard: PolicyLimits::default(),
    };
    engine.spd_add(policy, now).unwrap();
}
