//! Two engines, a link between them, a key manager that rekeys in the middle, and the judge of it all.

use super::flows::{self, Flow};
use super::link::{Flying, Impairment, Link, LinkCounts};
use super::rng::Rng;
use super::tap::Tap;
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::{Batch, Config, DefaultPolicy, Dropped, Engine, Event, Output, Route, Stats};
use sallet_core::error::DropReason;
use sallet_core::terms::{Direction, SaId, Template};
use sallet_core::time::{Instant, WallClock};
use sallet_core::wire::fragment::{self, Piece};
use sallet_core::wire::ip::Summary;
use sallet_core::wire::udp;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

const UDP_HEADER_BYTES: usize = 8;

/// A packet that was handed to an engine, as far as it must not change.
struct Sent {
    flow: usize,
    to: usize,
    datagram: Vec<u8>,
    delivered: u32,
    /// Which bytes of it came out of a tunnel in pieces, and how often each piece did.
    pieces: BTreeMap<usize, (usize, u32)>,
}

/// Which SA chain position: flow, layer, sending side.
type Place = (usize, usize, usize);

/// What one run, or all runs, came to.
#[derive(Default)]
pub struct Counts {
    pub sent: u64,
    pub held_back: u64,
    pub on_the_wire: u64,
    pub delivered: u64,
    pub corrupt_dropped: u64,
    pub corrupt_harmless: u64,
    pub injected: u64,
    pub replays_dropped: u64,
    pub rekeys: u64,
    pub windows: u64,
    /// Datagrams that their host sent in pieces.
    pub in_pieces: u64,
    /// Pieces on the wire.
    pub cut: u64,
    pub reassembled: u64,
    pub too_big: u64,
    pub compressed: u64,
    pub bare: u64,
    pub link: LinkCounts,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.held_back += other.held_back;
        self.on_the_wire += other.on_the_wire;
        self.delivered += other.delivered;
        self.corrupt_dropped += other.corrupt_dropped;
        self.corrupt_harmless += other.corrupt_harmless;
        self.injected += other.injected;
        self.replays_dropped += other.replays_dropped;
        self.rekeys += other.rekeys;
        self.windows += other.windows;
        self.in_pieces += other.in_pieces;
        self.cut += other.cut;
        self.reassembled += other.reassembled;
        self.too_big += other.too_big;
        self.compressed += other.compressed;
        self.bare += other.bare;
        self.link.carried += other.link.carried;
        self.link.lost += other.link.lost;
        self.link.duplicated += other.link.duplicated;
        self.link.corrupted += other.link.corrupted;
        self.link.replayed += other.link.replayed;
    }
}

pub struct World {
    flows: Vec<Flow>,
    engines: [Engine; 2],
    link: Link,
    tap: Tap,
    rng: Rng,
    now_millis: u64,
    last_spi: u32,
    current: BTreeMap<Place, SaId>,
    /// Old SAs and when to take them out.
    leaving: Vec<(u64, SaId)>,
    sent: HashMap<u64, Sent>,
    /// Datagrams sent in pieces, by sending side and identification.
    by_fragment_id: HashMap<(usize, u32), u64>,
    last_fragment_id: u32,
    out: Output,
    counts: Counts,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let flows = flows::flows();
        let engines = [0, 1].map(|side| {
            let config = Config {
                default_policy: DefaultPolicy::Discard,
                local: Some(flows::local_addresses(&flows, side)),
                prefer_old_sa: rng.chance(300),
                acquire_block_secs: 0,
                lease_block: 64,
                path_mtu: [0, 600, 1300, 1400][rng.below(4)],
                ..Config::default()
            };
            let engine_seed = rng.bytes(32).try_into().unwrap();
            Engine::new(config, engine_seed, Instant::default(), WallClock(1_700_000_000))
        });
        for (side, engine) in engines.iter().enumerate() {
            for policy in flows.iter().flat_map(|flow| flows::policies(flow, side)) {
                engine.spd_add(policy, Instant::default()).unwrap();
            }
        }
        let impairment = Impairment {
            loss: rng.word() % 100,
            duplication: rng.word() % 100,
            corruption: 10 + rng.word() % 80,
            replay: rng.word() % 50,
            jitter_millis: 1 + rng.below(80),
        };
        Self {
            flows,
            engines,
            link: Link::new(impairment),
            tap: Tap::new(),
            rng,
            now_millis: 0,
            last_spi: 0x1000,
            current: BTreeMap::new(),
            leaving: Vec::new(),
            sent: HashMap::new(),
            by_fragment_id: HashMap::new(),
            last_fragment_id: 0,
            out: Output::default(),
            counts: Counts::default(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now_millis)
    }

    /// Sends `packets` packets through the world, lets the link run dry, and says what came of it.
    pub fn run(mut self, packets: u64) -> Counts {
        while self.counts.sent < packets {
            let burst = (1 + self.rng.below(32) as u64).min(packets - self.counts.sent);
            self.send_burst(burst);
            self.pass_time();
        }
        while !self.link.is_empty() {
            self.pass_time();
        }
        self.settle()
    }

    fn pass_time(&mut self) {
        self.now_millis += 1 + self.rng.below(80) as u64;
        let now = self.now();
        for engine in &self.engines {
            if engine.poll_timeout().is_some_and(|due| due <= now) {
                engine.handle_timeout(now);
                assert!(
                    engine.poll_timeout().is_none_or(|due| due > now),
                    "a timer that is never done"
                );
            }
        }
        self.manage_keys();
        for flying in self.link.arrived(self.now_millis) {
            self.receive(flying);
        }
    }

    fn send_burst(&mut self, packets: u64) {
        let from = self.rng.below(2);
        let mut batch = Batch::default();
        for _ in 0..packets {
            for packet in self.make_packet(from) {
                batch.push(PacketBuf::from_packet(&packet));
            }
        }
        self.counts.sent += packets;
        let mut out = std::mem::take(&mut self.out);
        self.engines[from].handle_outbound(&mut batch, self.now(), &mut out);
        assert!(batch.is_empty());
        for dropped in &out.dropped {
            // Only a missing SA holds a packet back, or the path, which is told; never anything silent.
            if dropped.reason == DropReason::OutTooBig {
                assert!(dropped.packet.len() > 1280 && dropped.packet.as_slice()[0] >> 4 == 6);
                self.counts.too_big += 1;
                continue;
            }
            assert!(
                matches!(dropped.reason, DropReason::OutNoSa | DropReason::OutExpired),
                "{dropped:?}"
            );
            self.counts.held_back += 1;
        }
        let too_big = |dropped: &&Dropped| dropped.reason == DropReason::OutTooBig;
        assert_eq!(out.deliver.len(), out.dropped.iter().filter(too_big).count());
        for sent in &out.transmit {
            let wire = sent.packet.as_slice();
            self.counts.on_the_wire += 1;
            let clear = sent.route == Route::Bypass;
            if clear {
                let summary = Summary::parse(wire).unwrap();
                let hosts = [summary.source, summary.destination];
                let flow = self
                    .flows
                    .iter()
                    .find(|flow| hosts == [flow.hosts[from], flow.hosts[1 - from]]);
                assert!(
                    !flow.unwrap().is_protected(),
                    "sent in clear what policy protects"
                );
            }
            assert!(!self.tap.reads_plaintext(wire), "plaintext on the wire");
            self.link
                .send(wire, 1 - from, !clear, self.now_millis, &mut self.rng);
        }
        out.clear();
        self.out = out;
    }

    /// One datagram, now and then in pieces and these in any order.
    fn make_packet(&mut self, from: usize) -> Vec<Vec<u8>> {
        let flow = self.rng.below(self.flows.len());
        let to = 1 - from;
        let bytes = if self.rng.chance(40) {
            8 + self.rng.below(1300)
        } else {
            8 + self.rng.below(56)
        };
        let mut payload = self.rng.bytes(bytes);
        if self.flows[flow].compresses() && self.rng.chance(600) {
            // Something to gain: the id, and then one piece again and again.
            let pattern = self.rng.bytes(16);
            let room = payload.len() - 8 + self.rng.below(400);
            payload.truncate(8);
            payload.extend(pattern.iter().cycle().take(room));
        }
        let id = u64::from_le_bytes(payload[..8].try_into().unwrap());
        let hosts = self.flows[flow].hosts;
        let (source_port, destination_port) = (1024 + (id % 60_000) as u16, 7);
        let packet = udp::packet(hosts[from], hosts[to], source_port, destination_port, &payload).unwrap();
        if self.flows[flow].is_protected() {
            if self.flows[flow].hides_payload() {
                self.tap.protect(&payload);
            }
            if self.flows[flow].hides_addresses() {
                self.tap.protect(if hosts[0].is_ipv4() {
                    &packet[12..20]
                } else {
                    &packet[16..24]
                });
            }
            if self.rng.chance(10) {
                self.inject(&packet, to);
            }
        }
        let datagram = Summary::parse(&packet).unwrap().payload(&packet).to_vec();
        let known = self.sent.insert(
            id,
            Sent {
                flow,
                to,
                datagram,
                delivered: 0,
                pieces: BTreeMap::new(),
            },
        );
        assert!(known.is_none());
        self.in_pieces(packet, from, id)
    }

    fn in_pieces(&mut self, mut packet: Vec<u8>, from: usize, id: u64) -> Vec<Vec<u8>> {
        if packet.len() < 200 || self.rng.chance(500) {
            return vec![packet];
        }
        // An IPv4 identification has 16 bits: a run has fewer pieces than that.
        self.last_fragment_id += 1;
        let number = self.last_fragment_id;
        fragment::ensure_identification(&mut packet, u16::try_from(number).unwrap());
        self.by_fragment_id.insert((from, number), id);
        self.counts.in_pieces += 1;
        let mtu = 120 + self.rng.below(500);
        let split = fragment::split(&packet, mtu, number).unwrap();
        let mut pieces: Vec<_> = split.map(|piece| piece.as_slice().to_vec()).collect();
        for index in (1..pieces.len()).rev() {
            pieces.swap(index, self.rng.below(index + 1));
        }
        pieces
    }

    /// Somebody sends in clear what should come protected.
    fn inject(&mut self, packet: &[u8], to: usize) {
        let mut batch = Batch::from(vec![PacketBuf::from_packet(packet)]);
        let mut out = Output::default();
        self.engines[to].handle_inbound(&mut batch, self.now(), &mut out);
        assert!(out.deliver.is_empty(), "cleartext passed for a protected packet");
        assert_eq!(out.dropped[0].reason, DropReason::InPolicyViolation);
        self.counts.injected += 1;
    }

    fn receive(&mut self, flying: Flying) {
        let side = flying.to;
        let mut batch = Batch::from(vec![PacketBuf::from_packet(&flying.bytes)]);
        let mut out = std::mem::take(&mut self.out);
        self.engines[side].handle_inbound(&mut batch, self.now(), &mut out);
        // Delivered, dropped, or kept until the other pieces are here.
        let exits = out.deliver.len() + out.dropped.len();
        assert!(exits == 1 || exits == 0 && out.spare.len() == 1);
        assert!(out.transmit.is_empty());
        for packet in &out.deliver {
            self.judge(packet.as_slice(), side);
        }
        match (flying.corrupt, out.deliver.is_empty()) {
            (true, true) => self.counts.corrupt_dropped += 1,
            // A bit of the outer header that nobody protects, and nothing else: judged like any other.
            (true, false) => self.counts.corrupt_harmless += 1,
            (false, _) => {}
        }
        out.clear();
        self.out = out;
    }

    /// A delivered packet must be one that was sent, to this side, unchanged, and for the first time.
    fn judge(&mut self, packet: &[u8], side: usize) {
        let summary = Summary::parse(packet).unwrap();
        if summary.fragment.is_some() {
            return self.judge_piece(packet, &summary, side);
        }
        let datagram = summary.payload(packet);
        let id = datagram
            .get(UDP_HEADER_BYTES..)
            .and_then(|payload| payload.first_chunk::<8>());
        let id = u64::from_le_bytes(*id.expect("delivered what nobody sent: too short"));
        let sent = self.sent.get_mut(&id).expect("delivered what nobody sent");
        let flow = &self.flows[sent.flow];
        assert_eq!(sent.to, side, "{}: came back to its sender", flow.name);
        assert_eq!(
            summary.source,
            flow.hosts[1 - side],
            "{}: source changed",
            flow.name
        );
        assert_eq!(
            summary.destination, flow.hosts[side],
            "{}: destination changed",
            flow.name
        );
        assert_eq!(datagram, sent.datagram, "{}: changed", flow.name);
        assert!(
            sent.delivered == 0 || !flow.is_protected(),
            "{}: delivered twice",
            flow.name
        );
        if sent.delivered == 0 {
            self.counts.delivered += 1;
        }
        sent.delivered += 1;
    }

    /// A piece must be a piece of what was sent, for the first time; the last one makes the datagram whole.
    fn judge_piece(&mut self, packet: &[u8], summary: &Summary, side: usize) {
        let piece = Piece::new_checked(packet, summary).expect("delivered what no host makes");
        let id = self.by_fragment_id.get(&(1 - side, piece.fragment.id));
        let id = *id.expect("delivered a piece of nothing");
        let sent = self.sent.get_mut(&id).expect("delivered what nobody sent");
        let flow = &self.flows[sent.flow];
        assert_eq!(
            (sent.to, summary.source),
            (side, flow.hosts[1 - side]),
            "{}",
            flow.name
        );
        let at = usize::from(piece.fragment.offset_bytes);
        let end = at + piece.payload.len();
        assert_eq!(
            Some(piece.payload),
            sent.datagram.get(at..end),
            "{}: changed",
            flow.name
        );
        let (_, times) = sent.pieces.entry(at).or_insert((end, 0));
        assert!(
            *times == 0 || !flow.is_protected(),
            "{}: a piece delivered twice",
            flow.name
        );
        *times += 1;
        let covered: usize = sent.pieces.iter().map(|(at, (end, _))| end - at).sum();
        if covered == sent.datagram.len() && sent.delivered == 0 {
            sent.delivered = 1;
            self.counts.delivered += 1;
        }
    }

    /// What a key manager does: answers events, rekeys now and then, takes old SAs out.
    fn manage_keys(&mut self) {
        for side in 0..2 {
            while let Some(event) = self.engines[side].poll_event() {
                match event {
                    Event::Acquire {
                        template,
                        source,
                        destination,
                        ..
                    } => {
                        let place = self.place_of(side, &template, [source, destination]);
                        self.rekey(place);
                    }
                    Event::Expire { sa, .. } => {
                        let id = sa.params.id;
                        let place = self
                            .current
                            .iter()
                            .find(|(_, there)| **there == id)
                            .map(|(place, _)| *place);
                        if let Some(place) = place {
                            self.rekey(place);
                        }
                    }
                    // A bit of a port turned on the way; nobody follows it.
                    Event::NewMapping { sa, .. } => assert!(sa.params.encap.is_some()),
                    Event::PolicyExpire { .. } => unreachable!("no policy here has an end"),
                    Event::PolicyAcquire { .. } => unreachable!("every policy here has its templates"),
                }
            }
        }
        if self.rng.chance(150) && !self.current.is_empty() {
            let at = self.rng.below(self.current.len());
            let (place, old) = self
                .current
                .iter()
                .nth(at)
                .map(|(place, id)| (*place, *id))
                .unwrap();
            self.rekey(place);
            // Sometimes while packets are still under way.
            let grace = if self.rng.chance(300) { 0 } else { 500 };
            self.leaving.push((self.now_millis + grace, old));
        }
        let now = self.now_millis;
        let (due, later): (Vec<_>, Vec<_>) = self.leaving.drain(..).partition(|(due, _)| *due <= now);
        self.leaving = later;
        for (_, id) in due {
            for engine in &self.engines {
                // It may have reached its lifetime before.
                let _gone = engine.sad_delete(&id, None);
            }
        }
    }

    fn place_of(&self, side: usize, template: &Template, wanted: [IpAddr; 2]) -> Place {
        for (flow, layers) in self.flows.iter().map(|flow| &flow.layers).enumerate() {
            for (index, layer) in layers.iter().enumerate() {
                if (layer.protocol, layer.reqid) == (template.protocol, template.reqid)
                    && wanted == [layer.ends[side], layer.ends[1 - side]]
                {
                    return (flow, index, side);
                }
            }
        }
        unreachable!("an acquire for an SA that no flow has");
    }

    fn rekey(&mut self, place: Place) {
        let (flow, layer, from) = place;
        self.last_spi += 1;
        let params = flows::sa(
            &self.flows[flow].layers[layer],
            from,
            self.last_spi,
            &mut self.rng,
        );
        self.current.insert(place, params.id);
        let now = self.now();
        // The receiver first, so that no packet comes for an SA it does not know.
        self.engines[1 - from].sad_add(params.clone(), now).unwrap();
        self.engines[from].sad_add(params, now).unwrap();
        self.counts.rekeys += 1;
    }

    fn settle(mut self) -> Counts {
        for engine in &self.engines {
            let stats = engine.stats();
            let drops = |wanted: Direction| -> u64 {
                let outbound = |reason: &DropReason| {
                    reason.explanation().trim_start().starts_with("Outbound")
                        == (wanted == Direction::Outbound)
                };
                DropReason::ALL
                    .iter()
                    .filter(|reason| outbound(reason))
                    .map(|reason| stats.dropped(*reason))
                    .sum()
            };
            let Stats {
                outbound_protected,
                outbound_bypassed,
                outbound_held,
                inbound_delivered,
                inbound_bypassed,
                inbound_held,
                ..
            } = stats;
            let left = outbound_protected.packets
                + outbound_bypassed.packets
                + outbound_held.packets
                + drops(Direction::Outbound);
            assert_eq!(stats.outbound_arrived.packets, left, "outbound exits");
            let came = inbound_delivered.packets
                + inbound_bypassed.packets
                + inbound_held.packets
                + drops(Direction::Inbound);
            assert_eq!(stats.inbound_arrived.packets, came, "inbound exits");
            self.counts.replays_dropped += stats.dropped(DropReason::Replay);
            self.counts.cut += stats.fragments_made.packets;
            self.counts.reassembled += stats.reassembled;
            self.counts.compressed += stats.ipcomp.compressed.packets;
            self.counts.bare += stats.ipcomp.bare.packets;
        }
        self.counts.windows = self.tap.windows;
        self.counts.link = self.link.counts;
        self.counts
    }
}
