//! Packets of any kind into an engine that seals, what comes out into its peer: the packet comes out again.
//! No packet made by hand may enter between the two; those are the `inbound_*` targets.
//! Answers to: RFC 4301 sections 5.1 and 5.2, RFC 3173 section 2.2; rows 18, 29, 51, 53 and 54 of the bugs of others.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sallet_core::buffer::PacketBuf;
use sallet_core::engine::{Batch, Config, DefaultPolicy, Engine, Output};
use sallet_core::sa::SaParams;
use sallet_core::selector::AddressRange;
use sallet_core::spd::Action;
use sallet_core::terms::{Direction, Level, Mode, Protocol, Template};
use sallet_core::time::WallClock;
use sallet_core::wire::ip::Summary;

use super::input::Input;
use super::peer::{Front, NOW, PLAIN, SaSpec, forget_pieces, policy};

/// One SA of a chain: the protocol, and in a tunnel whether its ends are IPv6.
type Link = (Protocol, Option<bool>);
/// Innermost first; the chains with IPComp stand last.
const CHAINS: &[&[Link]] = &[
    &[(Protocol::Esp, None)],
    &[(Protocol::Esp, Some(false))],
    &[(Protocol::Esp, Some(true))],
    &[(Protocol::Ah, None)],
    &[(Protocol::Ah, Some(true))],
    &[
        (Protocol::Esp, Some(true)),
        (Protocol::Esp, Some(false)),
        (Protocol::Ah, None),
    ],
    &[(Protocol::IpComp, None), (Protocol::Esp, None)],
    &[(Protocol::IpComp, Some(false)), (Protocol::Esp, None)],
    &[
        (Protocol::IpComp, None),
        (Protocol::Esp, None),
        (Protocol::Ah, None),
    ],
];
const PLAIN_CHAINS: usize = 6;
/// Compression takes ten times as long as all the rest together: one input in so many may ask for it, by the sum of
/// its bytes, which its children mostly do not have.
const DEFLATES_EACH: u8 = 16;
/// Protocols that the receiver may look into, so that the packet need not come out as it was.
const OPENED: &[u8] = &[4, 17, 41, 50, 51, 108];
/// Protocols that nobody looks into.
const OPAQUE: &[u8] = &[6, 253, 132, 47, 136, 89, 1];

struct Pair {
    sender: Engine,
    receiver: Engine,
    batch: Batch,
    out: Output,
    packet: Option<PacketBuf>,
}

thread_local! {
    static PAIR: RefCell<Pair> = RefCell::new(Pair::new());
}

pub(crate) fn run(data: &[u8]) -> bool {
    let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    PAIR.with_borrow_mut(|pair| pair.run(&mut Input::new(data), sum % DEFLATES_EACH == 0))
}

impl Pair {
    fn new() -> Self {
        let config = Config {
            default_policy: DefaultPolicy::Discard,
            ..Config::default()
        };
        let engine = |seed| Engine::new(config.clone(), [seed; 32], NOW, WallClock(1_700_000_000));
        let pair = Self {
            sender: engine(1),
            receiver: engine(2),
            batch: Batch::default(),
            out: Output::default(),
            packet: None,
        };
        for chain in 0..CHAINS.len() {
            for is_ipv6 in [false, true] {
                pair.connect(chain, is_ipv6);
            }
        }
        pair
    }

    fn connect(&self, chain: usize, is_ipv6: bool) {
        let (mut ends, inner) = (hosts(chain, is_ipv6), hosts(chain, is_ipv6));
        let mut templates = Vec::new();
        for (place, (protocol, tunnel)) in CHAINS[chain].iter().enumerate() {
            if let Some(outer_is_ipv6) = tunnel {
                ends = gateways(chain, place, is_ipv6, *outer_is_ipv6);
            }
            let mode = if tunnel.is_some() {
                Mode::Tunnel
            } else {
                Mode::Transport
            };
            let spi = 0x1000 + chain * 16 + place * 2 + usize::from(is_ipv6);
            let params = sa(*protocol, mode, ends, u32::try_from(spi).expect("small"));
            self.sender.sad_add(params.clone(), NOW).expect("an SA");
            self.receiver.sad_add(params, NOW).expect("an SA");
            templates.push(Template {
                protocol: *protocol,
                mode,
                level: Level::Require,
                reqid: 0,
                endpoints: tunnel.map(|_| ends),
            });
        }
        let range = AddressRange::new(inner.0, inner.1).expect("in order");
        let action = Action::Protect(templates);
        let outbound = policy(Direction::Outbound, range, action.clone());
        self.sender.spd_add(outbound, NOW).expect("a policy");
        let inbound = policy(Direction::Inbound, range, action);
        self.receiver.spd_add(inbound, NOW).expect("a policy");
    }

    fn run(&mut self, input: &mut Input<'_>, deflates: bool) -> bool {
        let chain = usize::from(input.byte()) % if deflates { CHAINS.len() } else { PLAIN_CHAINS };
        let shape = input.byte();
        let is_ipv6 = shape & 1 != 0;
        let is_any = shape >= 192;
        let packet = if is_any {
            any_packet(chain, is_ipv6, input)
        } else {
            plain_packet(chain, is_ipv6, input)
        };
        let summary = Summary::parse(&packet);
        let Some(sent) = self.seal(&packet) else {
            assert!(is_any, "the sender refused an honest packet");
            return false;
        };
        let summary = summary.expect("only packets are sealed");
        self.batch.push(sent);
        self.receiver.handle_inbound(&mut self.batch, NOW, &mut self.out);
        if forget_pieces(&self.receiver, &mut self.out) {
            assert!(is_any, "an honest packet waits");
            return false;
        }
        assert_eq!(self.out.deliver.len() + self.out.dropped.len(), 1);
        if let Some(dropped) = self.out.dropped.pop() {
            assert!(
                is_any,
                "the receiver refused an honest packet: {:?}",
                dropped.reason
            );
            self.packet = Some(dropped.packet);
            return false;
        }
        let got = self.out.deliver.pop().expect("one of the two");
        if !OPENED.contains(&summary.next_layer) && summary.fragment.is_none() {
            assert_eq!(normal(got.as_slice()), normal(&packet[..summary.total_bytes]));
        }
        self.packet = Some(got);
        true
    }

    /// What the sender makes of a packet; never the packet itself.
    fn seal(&mut self, packet: &[u8]) -> Option<PacketBuf> {
        let mut buffer = self
            .packet
            .take()
            .unwrap_or_else(|| PacketBuf::with_capacity(2048));
        if buffer.fill(packet).is_err() {
            buffer = PacketBuf::from_packet(packet);
        }
        self.batch.push(buffer);
        self.sender.handle_outbound(&mut self.batch, NOW, &mut self.out);
        while self.sender.poll_event().is_some() {}
        if self.out.transmit.is_empty() && forget_pieces(&self.sender, &mut self.out) {
            return None;
        }
        self.out.spare.clear();
        // Too-big answers do not happen: there is no path MTU.
        assert_eq!(self.out.transmit.len() + self.out.dropped.len(), 1);
        if let Some(dropped) = self.out.dropped.pop() {
            self.packet = Some(dropped.packet);
            return None;
        }
        self.out.transmit.pop().map(|transmit| transmit.packet)
    }
}

fn sa(protocol: Protocol, mode: Mode, ends: (IpAddr, IpAddr), spi: u32) -> SaParams {
    let (encryption, authentication) = match protocol {
        Protocol::Esp => ("aes-gcm-16", ""),
        Protocol::Ah => ("", "hmac-sha1-96"),
        Protocol::IpComp => ("deflate", ""),
    };
    let spec = SaSpec {
        protocol,
        mode,
        encryption,
        authentication,
        ..PLAIN
    };
    let mut params = spec.params(spi);
    (params.source, params.id.destination) = ends;
    params
}

/// Who talks over a chain.
fn hosts(chain: usize, is_ipv6: bool) -> (IpAddr, IpAddr) {
    ends(10, chain, 0, is_ipv6)
}

/// Between whom a chain's tunnel goes.
fn gateways(chain: usize, place: usize, inner_is_ipv6: bool, is_ipv6: bool) -> (IpAddr, IpAddr) {
    ends(11, chain, 2 * place + usize::from(inner_is_ipv6), is_ipv6)
}

fn ends(net: u8, chain: usize, line: usize, is_ipv6: bool) -> (IpAddr, IpAddr) {
    let small = |number: usize| u8::try_from(number).expect("small");
    let (chain, line) = (small(chain), small(line));
    if is_ipv6 {
        let address = |host: u16| {
            let (net, chain) = (0xfd00 | u16::from(net), u16::from(chain));
            IpAddr::V6(Ipv6Addr::new(net, chain, u16::from(line), 0, 0, 0, 0, host))
        };
        (address(1), address(2))
    } else {
        let address = |host: u8| IpAddr::V4(Ipv4Addr::new(net, chain, line, host));
        (address(1), address(2))
    }
}

fn plain_packet(chain: usize, is_ipv6: bool, input: &mut Input<'_>) -> Vec<u8> {
    let (source, destination) = hosts(chain, is_ipv6);
    let front = Front {
        source,
        destination,
        next_header: input.pick(OPAQUE),
        traffic_class: input.byte(),
        hop_limit: input.byte(),
    };
    // Long enough to be worth compressing, now and then.
    let repeats = usize::from(input.byte() & 15);
    let bytes = input.rest(300);
    let payload = bytes.repeat(if repeats > 12 { repeats } else { 1 });
    let mut packet = Vec::with_capacity(40 + payload.len());
    front.put(&mut packet, payload.len());
    packet.extend_from_slice(&payload);
    packet
}

/// Any bytes, with addresses that a policy knows, so that the rest of the headers matters.
fn any_packet(chain: usize, is_ipv6: bool, input: &mut Input<'_>) -> Vec<u8> {
    let mut packet = input.rest(400).to_vec();
    let (source, destination) = hosts(chain, is_ipv6);
    let length = u16::try_from(packet.len()).expect("short");
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) if packet.len() >= 20 => {
            packet[0] = 0x40 | packet[0] & 0x0f;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            packet[12..16].copy_from_slice(&source.octets());
            packet[16..20].copy_from_slice(&destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) if packet.len() >= 40 => {
            packet[0] = 0x60 | packet[0] & 0x0f;
            packet[4..6].copy_from_slice(&(length - 40).to_be_bytes());
            packet[8..24].copy_from_slice(&source.octets());
            packet[24..40].copy_from_slice(&destination.octets());
        }
        _ => {}
    }
    packet
}

/// The packet without what a host may fill in: the identification of one that is never cut, and the checksum.
fn normal(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}
