//! `Host`: an engine that is kept from input to input, and the SAs and outer headers that the targets share.
//! No choice of what to break may enter: targets make it.
//! Answers to: RFC 4301 section 5.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sallet_core::buffer::PacketBuf;
use sallet_core::crypto::{AlgorithmKey, Permits};
use sallet_core::engine::{Batch, Config, DefaultPolicy, Engine, Output};
use sallet_core::error::DropReason;
use sallet_core::sa::{Limits, SaOptions, SaParams, UdpEncap};
use sallet_core::selector::{AddressRange, PortRange, Selector};
use sallet_core::spd::policy::PolicyLimits;
use sallet_core::spd::{Action, PolicyParams};
use sallet_core::terms::{Direction, Level, Mode, Protocol, SaId, Sequence, Spi, Template};
use sallet_core::time::{Instant, WallClock};
use sallet_core::wire::{ipv4, ipv6};

pub(crate) const NOW: Instant = Instant::from_secs(1);
pub(crate) const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// Room for what the targets build; longer packets get a buffer of their own.
const ROOM: usize = 2048;

/// Source and destination of one family.
pub(crate) const fn ends(is_ipv6: bool) -> (IpAddr, IpAddr) {
    if is_ipv6 {
        (IpAddr::V6(A6), IpAddr::V6(B6))
    } else {
        (IpAddr::V4(A), IpAddr::V4(B))
    }
}

/// What the SAs of the targets differ in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaSpec {
    pub(crate) protocol: Protocol,
    pub(crate) mode: Mode,
    pub(crate) is_ipv6: bool,
    pub(crate) esn: bool,
    pub(crate) encryption: &'static str,
    pub(crate) authentication: &'static str,
    pub(crate) encap: Option<UdpEncap>,
    pub(crate) raw_cpi: bool,
}

/// ESP with AES-GCM in transport mode over IPv4; the tables of the targets say what is different.
pub(crate) const PLAIN: SaSpec = SaSpec {
    protocol: Protocol::Esp,
    mode: Mode::Transport,
    is_ipv6: false,
    esn: false,
    encryption: "aes-gcm-16",
    authentication: "",
    encap: None,
    raw_cpi: false,
};

impl SaSpec {
    /// The SA itself.
    pub(crate) fn params(&self, spi: u32) -> SaParams {
        let (source, destination) = ends(self.is_ipv6);
        SaParams {
            id: SaId {
                spi: Spi(spi),
                protocol: self.protocol,
                destination,
            },
            source,
            mode: self.mode,
            reqid: 0,
            encryption: key(self.encryption),
            authentication: key(self.authentication),
            replay_window: if self.protocol == Protocol::IpComp { 0 } else { 64 },
            esn: self.esn,
            old: false,
            options: SaOptions::default(),
            raw_cpi: self.raw_cpi,
            cycle_sequence: false,
            soft: Limits::default(),
            hard: Limits::default(),
            encap: self.encap,
            flags: 0,
            owner: 0,
            connection: 0,
            permits: Permits::default(),
        }
    }
}

/// A key for that algorithm: nothing that a weak-key check would refuse.
pub(crate) fn key(name: &str) -> Option<AlgorithmKey> {
    let row = sallet_core::crypto::registry::lookup(name)?;
    let bytes = usize::from(row.key_bits.first().copied()?) / 8;
    let material: Vec<u8> = (1..=u8::MAX)
        .take(bytes)
        .map(|index| index.wrapping_mul(37) ^ 0x5a)
        .collect();
    Some(AlgorithmKey::new(name, &material))
}

/// What became of one packet.
pub(crate) enum Fate<'a> {
    Delivered(&'a [u8]),
    Dropped(DropReason),
}

/// The receiving end.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    specs: &'static [SaSpec],
    numbers: Vec<u64>,
    batch: Batch,
    out: Output,
}

impl Host {
    /// An engine with these SAs, all of one protocol. What came over any of them may pass; what came over none
    /// may too, unless `level` requires one.
    pub(crate) fn new(specs: &'static [SaSpec], level: Level) -> Self {
        let config = Config {
            default_policy: DefaultPolicy::Discard,
            ..Config::default()
        };
        let engine = Engine::new(config, [7; 32], NOW, WallClock(1_700_000_000));
        for is_ipv6 in [false, true] {
            let template = Template {
                protocol: specs[0].protocol,
                mode: Mode::Any,
                level,
                reqid: 0,
                endpoints: None,
            };
            let action = Action::Protect(vec![template]);
            let (anywhere, _) = ends(is_ipv6);
            engine
                .spd_add(
                    policy(Direction::Inbound, AddressRange::any(anywhere), action),
                    NOW,
                )
                .expect("a policy");
        }
        let mut host = Self {
            engine,
            specs,
            numbers: vec![0; specs.len()],
            batch: Batch::default(),
            out: Output::default(),
        };
        for index in 0..specs.len() {
            host.add(index);
        }
        host
    }

    fn add(&mut self, index: usize) {
        let spec = &self.specs[index];
        self.engine
            .sad_add(spec.params(spi_of(index)), NOW)
            .unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        self.numbers[index] = 0;
    }

    /// Forgets what the SA has seen.
    pub(crate) fn renew(&mut self, index: usize) {
        let id = self.specs[index].params(spi_of(index)).id;
        self.engine.sad_delete(&id, None).expect("it was added");
        self.add(index);
    }

    /// The number after the last one.
    pub(crate) fn next_number(&mut self, index: usize) -> Sequence {
        self.numbers[index] += 1;
        if self.numbers[index] >= u64::from(u32::MAX) {
            self.renew(index);
            self.numbers[index] = 1;
        }
        Sequence(self.numbers[index])
    }

    /// Gives the engine one packet, which must end in exactly one place.
    pub(crate) fn receive(&mut self, packet: &[u8]) -> Fate<'_> {
        let mut buffer = self.spare();
        if buffer.fill(packet).is_err() {
            buffer = PacketBuf::from_packet(packet);
        }
        self.batch.push(buffer);
        self.engine.handle_inbound(&mut self.batch, NOW, &mut self.out);
        while self.engine.poll_event().is_some() {}
        assert!(self.out.transmit.is_empty());
        if forget_pieces(&self.engine, &mut self.out) {
            return Fate::Dropped(DropReason::InFragment);
        }
        assert_eq!(self.out.deliver.len() + self.out.dropped.len(), 1);
        match (self.out.deliver.first(), self.out.dropped.first()) {
            (Some(packet), _) => Fate::Delivered(packet.as_slice()),
            (None, dropped) => Fate::Dropped(dropped.expect("one of the two").reason),
        }
    }

    /// The buffer of the packet before.
    fn spare(&mut self) -> PacketBuf {
        let delivered = self.out.deliver.pop();
        let used = delivered.or_else(|| self.out.dropped.pop().map(|dropped| dropped.packet));
        used.unwrap_or_else(|| PacketBuf::with_capacity(ROOM))
    }
}

/// Lets the engine give up a fragment that waits, so that no input completes what another began; says whether
/// the packet at hand was one.
pub(crate) fn forget_pieces(engine: &Engine, out: &mut Output) -> bool {
    let waits = out.spare.pop().is_some() && out.deliver.is_empty() && out.dropped.is_empty();
    out.spare.clear();
    if waits {
        engine.handle_timeout(NOW.plus(core::time::Duration::from_secs(120)));
    }
    waits
}

/// The SPI of the SA at that place of a table.
pub(crate) fn spi_of(index: usize) -> u32 {
    0x1000 + u32::try_from(index).expect("a short table")
}

/// A policy for everything inside a range.
pub(crate) fn policy(direction: Direction, range: AddressRange, action: Action) -> PolicyParams {
    PolicyParams {
        direction,
        selector: Selector {
            source: range,
            destination: range,
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

/// What may be said of an IP header that is built.
#[derive(Clone, Copy)]
pub(crate) struct Front {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) next_header: u8,
    pub(crate) traffic_class: u8,
    pub(crate) hop_limit: u8,
}

impl Front {
    /// Between the usual two.
    pub(crate) fn between(is_ipv6: bool, next_header: u8) -> Self {
        let (source, destination) = ends(is_ipv6);
        Self {
            source,
            destination,
            next_header,
            traffic_class: 0,
            hop_limit: 64,
        }
    }

    /// Writes the header to the end of `packet`, for a payload of that length.
    pub(crate) fn put(&self, packet: &mut Vec<u8>, payload_bytes: usize) {
        let at = packet.len();
        let emitted = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet.resize(at + ipv4::HEADER_BYTES, 0);
                ipv4::Repr {
                    source,
                    destination,
                    protocol: self.next_header,
                    tos: self.traffic_class,
                    ttl: self.hop_limit,
                    dont_fragment: true,
                    identification: 7,
                    payload_bytes,
                }
                .emit(&mut packet[at..])
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                packet.resize(at + ipv6::HEADER_BYTES, 0);
                ipv6::Repr {
                    source,
                    destination,
                    next_header: self.next_header,
                    traffic_class: self.traffic_class,
                    flow_label: 0,
                    hop_limit: self.hop_limit,
                    payload_bytes,
                }
                .emit(&mut packet[at..])
            }
            _ => Err(DropReason::OutMalformed),
        };
        emitted.expect("short packets of one family");
    }
}
