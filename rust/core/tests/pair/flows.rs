//! The flows of one run: who talks to whom, which SAs protect it, with which algorithms.

use super::rng::Rng;
use Mode::{Transport, Tunnel};
use Protocol::{Ah, Esp, IpComp};
use sallet_core::crypto::AlgorithmKey;
use sallet_core::sa::{Limits, SaOptions, SaParams, UdpEncap};
use sallet_core::selector::{AddressRange, PortRange, Selector};
use sallet_core::spd::policy::PolicyLimits;
use sallet_core::spd::{Action, PolicyParams};
use sallet_core::terms::{Direction, Level, Mode, Protocol, SaId, Spi, Template};
use std::net::IpAddr;

/// One SA of a flow's chain, in the direction from side 0 to side 1.
#[derive(Clone, Copy)]
pub struct Layer {
    pub protocol: Protocol,
    pub mode: Mode,
    pub ends: [IpAddr; 2],
    pub reqid: u32,
    pub encap: bool,
}

/// One flow, symmetric in both directions.
pub struct Flow {
    pub name: &'static str,
    /// The addresses of the packets themselves, on either side.
    pub hosts: [IpAddr; 2],
    /// Whether those addresses are the engines' own.
    pub local: bool,
    /// Innermost first; empty for the flow that policy lets pass.
    pub layers: Vec<Layer>,
}

impl Flow {
    pub fn is_protected(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether what it carries cannot be read on the way.
    pub fn hides_payload(&self) -> bool {
        self.layers.iter().any(|layer| layer.protocol == Protocol::Esp)
    }

    pub fn compresses(&self) -> bool {
        self.layers.iter().any(|layer| layer.protocol == Protocol::IpComp)
    }

    /// Whether its own addresses cannot be read either: encryption at or outside of a tunnel.
    pub fn hides_addresses(&self) -> bool {
        let tunnel = self.layers.iter().position(|layer| layer.mode == Mode::Tunnel);
        tunnel.is_some_and(|tunnel| {
            self.layers[tunnel..]
                .iter()
                .any(|layer| layer.protocol == Protocol::Esp)
        })
    }
}

fn address(net: u8, flow: u8, v6: bool) -> IpAddr {
    if v6 {
        // Low halves are long and odd enough to be recognized on a wire.
        let low = [0x5a, net, 0xc3, flow, 0x96, 0x3c, net ^ 0xff, flow ^ 0xa5];
        let mut octets = [0x20, 0x01, 0x0d, 0xb8, 0, net, 0, flow, 0, 0, 0, 0, 0, 0, 0, 0];
        octets[8..].copy_from_slice(&low);
        IpAddr::from(octets)
    } else {
        IpAddr::from([10, net, flow, 77])
    }
}

/// Nets 1 and 2 are the engines' own addresses, 3 and 4 lie behind them, 5 to 8 are further tunnels' ends.
fn ends(pair: u8, flow: u8, v6: bool) -> [IpAddr; 2] {
    [address(2 * pair + 1, flow, v6), address(2 * pair + 2, flow, v6)]
}

/// Protocol, mode, which pair of ends, whether those are IPv6, whether in UDP.
type LayerRow = (Protocol, Mode, u8, bool, bool);

/// Name, whether the hosts are IPv6, whether they are the engines' own addresses, the layers.
const FLOWS: &[(&str, bool, bool, &[LayerRow])] = &[
    ("transport v4", false, true, &[(Esp, Transport, 0, false, false)]),
    ("transport v6", true, true, &[(Esp, Transport, 0, true, false)]),
    (
        "transport v4 in UDP",
        false,
        true,
        &[(Esp, Transport, 0, false, true)],
    ),
    ("tunnel v4 in v4", false, false, &[(Esp, Tunnel, 0, false, false)]),
    ("tunnel v6 in v6", true, false, &[(Esp, Tunnel, 0, true, false)]),
    ("tunnel v6 in v4", true, false, &[(Esp, Tunnel, 0, false, false)]),
    ("tunnel v4 in v6", false, false, &[(Esp, Tunnel, 0, true, false)]),
    (
        "tunnel v4 in UDP v6",
        false,
        false,
        &[(Esp, Tunnel, 0, true, true)],
    ),
    (
        "transport in tunnel",
        false,
        true,
        &[(Esp, Transport, 0, false, false), (Esp, Tunnel, 2, false, false)],
    ),
    (
        "tunnel in tunnel",
        false,
        false,
        &[(Esp, Tunnel, 0, false, false), (Esp, Tunnel, 2, true, false)],
    ),
    (
        "ESP over ESP",
        true,
        true,
        &[(Esp, Transport, 0, true, false), (Esp, Transport, 0, true, false)],
    ),
    (
        "AH transport v4",
        false,
        true,
        &[(Ah, Transport, 0, false, false)],
    ),
    ("AH transport v6", true, true, &[(Ah, Transport, 0, true, false)]),
    (
        "AH tunnel v6 in v4",
        true,
        false,
        &[(Ah, Tunnel, 0, false, false)],
    ),
    (
        "AH tunnel v4 in v6",
        false,
        false,
        &[(Ah, Tunnel, 0, true, false)],
    ),
    (
        "AH over ESP",
        true,
        true,
        &[(Esp, Transport, 0, true, false), (Ah, Transport, 0, true, false)],
    ),
    (
        "AH over an ESP tunnel",
        false,
        false,
        &[(Esp, Tunnel, 0, false, false), (Ah, Transport, 0, false, false)],
    ),
    (
        "ESP tunnel over AH",
        false,
        true,
        &[(Ah, Transport, 0, false, false), (Esp, Tunnel, 2, true, false)],
    ),
    (
        "AH tunnel in ESP tunnel in AH tunnel",
        false,
        false,
        &[
            (Ah, Tunnel, 0, false, false),
            (Esp, Tunnel, 2, true, false),
            (Ah, Tunnel, 3, false, false),
        ],
    ),
    (
        "compressed in ESP",
        false,
        true,
        &[
            (IpComp, Transport, 0, false, false),
            (Esp, Transport, 0, false, false),
        ],
    ),
    (
        "compressed tunnel in ESP",
        true,
        false,
        &[
            (IpComp, Tunnel, 0, false, false),
            (Esp, Transport, 0, false, false),
        ],
    ),
    (
        "compressed in ESP in AH",
        true,
        true,
        &[
            (IpComp, Transport, 0, true, false),
            (Esp, Transport, 0, true, false),
            (Ah, Transport, 0, true, false),
        ],
    ),
    ("in clear", false, true, &[]),
];

pub fn flows() -> Vec<Flow> {
    let numbered = (0_u8..).zip(FLOWS);
    let made = numbered.map(|(flow, (name, inner_v6, local, layers))| {
        // Every other flow ties its templates to its SAs, and so does one whose SAs have the same ends.
        let tied = flow % 2 == 1 || *name == "ESP over ESP" || name.starts_with("compressed");
        let layers = layers.iter().zip(0_u32..).map(|(layer, index)| {
            let (protocol, mode, pair, v6, encap) = *layer;
            let reqid = 100 + 10 * u32::from(flow) + index;
            Layer {
                protocol,
                mode,
                ends: ends(pair, flow, v6),
                reqid: if tied { reqid } else { 0 },
                encap,
            }
        });
        Flow {
            name,
            hosts: ends(u8::from(!local), flow, *inner_v6),
            local: *local,
            layers: layers.collect(),
        }
    });
    made.collect()
}

/// The addresses that are one side's own.
pub fn local_addresses(flows: &[Flow], side: usize) -> Vec<AddressRange> {
    let hosts = flows
        .iter()
        .filter(|flow| flow.local)
        .map(|flow| flow.hosts[side]);
    let ends = flows
        .iter()
        .flat_map(|flow| &flow.layers)
        .map(|layer| layer.ends[side]);
    let mut ranges: Vec<_> = hosts.chain(ends).map(AddressRange::host).collect();
    ranges.sort();
    ranges.dedup();
    ranges
}

/// The policies of one side for one flow.
pub fn policies(flow: &Flow, side: usize) -> Vec<PolicyParams> {
    let towards = |from: usize| {
        let to = 1 - from;
        let templates = flow.layers.iter().map(|layer| Template {
            protocol: layer.protocol,
            mode: layer.mode,
            level: if layer.reqid == 0 {
                Level::Require
            } else {
                Level::Unique
            },
            reqid: layer.reqid,
            endpoints: (layer.mode == Mode::Tunnel).then_some((layer.ends[from], layer.ends[to])),
        });
        let templates: Vec<_> = templates.collect();
        let action = if templates.is_empty() {
            Action::Bypass
        } else {
            Action::Protect(templates)
        };
        let selector = Selector {
            source: AddressRange::host(flow.hosts[from]),
            destination: AddressRange::host(flow.hosts[to]),
            next_layer: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
        };
        (selector, action)
    };
    let params = |direction, (selector, action), judges_forwarded| PolicyParams {
        direction,
        selector,
        action,
        priority: 1000,
        judges_forwarded,
        owner: 0,
        connection: 0,
        hard: PolicyLimits::default(),
    };
    let arriving = towards(1 - side);
    // A forwarded packet is judged by its own list, or by an inbound entry that says so.
    let direction = if flow.local || side == 0 {
        Direction::Inbound
    } else {
        Direction::Forward
    };
    vec![
        params(Direction::Outbound, towards(side), false),
        params(
            direction,
            arriving,
            !flow.local && direction == Direction::Inbound,
        ),
    ]
}

/// The name of an algorithm and the length of its key.
type Keyed = (&'static str, usize);

const SUITES: [(Keyed, Option<Keyed>); 10] = [
    (("aes-gcm-16", 20), None),
    (("aes-gcm-16", 28), None),
    (("aes-gcm-16", 36), None),
    (("chacha20-poly1305", 36), None),
    (("aes-cbc", 16), Some(("hmac-sha2-256-128", 32))),
    (("aes-cbc", 24), Some(("hmac-sha1-96", 20))),
    (("aes-cbc", 32), Some(("hmac-sha2-512-256", 64))),
    (("aes-ctr", 20), Some(("hmac-sha2-384-192", 48))),
    (("aes-ctr", 28), Some(("hmac-sha2-256-96", 32))),
    (("aes-ctr", 36), Some(("hmac-sha1-96", 20))),
];

const MACS: [Keyed; 6] = [
    ("hmac-sha2-256-128", 32),
    ("hmac-sha1-96", 20),
    ("hmac-sha2-384-192", 48),
    ("hmac-sha2-512-256", 64),
    ("aes-cmac-96", 16),
    ("aes-128-gmac", 20),
];

type Keys = (Option<AlgorithmKey>, Option<AlgorithmKey>);

/// Fresh algorithms and keys that go with a protocol.
fn keys(protocol: Protocol, rng: &mut Rng) -> Keys {
    let (cipher, mac) = match protocol {
        Protocol::Ah => (None, Some(MACS[rng.below(MACS.len())])),
        Protocol::IpComp => (Some(("deflate", 0)), None),
        Protocol::Esp => {
            let (cipher, mac) = SUITES[rng.below(SUITES.len())];
            (Some(cipher), mac)
        }
    };
    let mut fresh = |(name, bytes): Keyed| AlgorithmKey::new(name, &rng.bytes(bytes));
    (cipher.map(&mut fresh), mac.map(fresh))
}

/// An SA for one layer of a flow with a fresh suite, key, window and lifetime.
pub fn sa(layer: &Layer, from: usize, spi: u32, rng: &mut Rng) -> SaParams {
    let (encryption, authentication) = keys(layer.protocol, rng);
    let packets = 200 + rng.below(1500) as u64;
    let hard = Limits {
        packets,
        add_secs: 3 + rng.below(20) as u64,
        ..Limits::default()
    };
    let soft = Limits {
        packets: packets * 3 / 4,
        add_secs: hard.add_secs * 3 / 4,
        ..Limits::default()
    };
    SaParams {
        id: SaId {
            spi: Spi(spi),
            protocol: layer.protocol,
            destination: layer.ends[1 - from],
        },
        source: layer.ends[from],
        mode: if rng.chance(200) { Mode::Any } else { layer.mode },
        reqid: layer.reqid,
        encryption,
        authentication,
        replay_window: [32, 64, 128, 1024, 4096][rng.below(5)],
        esn: rng.chance(400) && layer.protocol != Protocol::IpComp,
        old: false,
        options: SaOptions::default(),
        raw_cpi: rng.chance(500),
        cycle_sequence: false,
        soft,
        hard,
        encap: layer.encap.then_some(UdpEncap {
            source_port: 4500,
            destination_port: 4500,
        }),
        flags: 0,
        owner: 0,
        connection: 0,
        permits: sallet_core::crypto::Permits::default(),
    }
}
