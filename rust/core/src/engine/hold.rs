//! Packets that wait for an SA: few for each acquire, for a short time, within bounds on memory.
//! No decision about a packet may enter: whoever is released is judged like anybody else.
//! Answers to: RFC 2367 section 3.1.6 (a packet waits, an error frees it), RFC 1122 section 2.3.2.2 by likeness.

use super::Engine;
use super::batch::{Output, Route};
use super::event::AcquireKey;
use super::fragment::Pieces;
use super::journey::Step;
use super::outbound::Departure;
use super::pass::Pass;
use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::sa::SaParams;
use crate::spd::Spd;
use crate::terms::Protocol;
use crate::time::Instant;
use crate::wire::ip::Summary;
use core::time::Duration;
use std::collections::BTreeMap;

/// What all waiting packets may hold together.
const TOTAL_BYTES: usize = 1 << 20;
/// How many packets may wait in all.
const TOTAL_PACKETS: usize = 1024;
/// What keeping one packet costs beside its bytes: the room in front of it and behind.
const PACKET_COST: usize = 1024;

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held {
    packet: PacketBuf,
    /// How it came, if it came in pieces.
    came_as: Pieces,
    /// When it is given up, whatever it has been through.
    until: Instant,
}

impl Held {
    fn cost(&self) -> usize {
        self.packet.len() + PACKET_COST
    }
}

/// Those that wait for one SA, the first in front.
#[derive(Debug)]
struct Flow {
    protocol: Protocol,
    packets: Vec<Held>,
}

/// Every packet that waits.
#[derive(Debug, Default)]
pub(super) struct Hold {
    flows: BTreeMap<AcquireKey, Flow>,
    /// Those whose SA may be there now.
    ripe: Vec<Held>,
    packets: usize,
    bytes: usize,
    kept: u64,
    released: u64,
}

impl Hold {
    /// How many packets wait.
    pub(super) const fn waiting(&self) -> usize {
        self.packets
    }

    /// How often a packet was kept, and how often one was let go for an SA.
    pub(super) const fn outcomes(&self) -> (u64, u64) {
        (self.kept, self.released)
    }

    /// Keeps a packet behind those that want the same, unless that are `most` already or all is full.
    fn keep(&mut self, key: AcquireKey, protocol: Protocol, held: Held, most: usize) -> bool {
        let room = self.packets < TOTAL_PACKETS && self.bytes + held.cost() <= TOTAL_BYTES;
        let before = self.flows.get(&key).map_or(0, |flow| flow.packets.len());
        if !room || before >= most {
            return false;
        }
        self.packets += 1;
        self.bytes += held.cost();
        self.kept += 1;
        let flow = self.flows.entry(key).or_insert_with(|| Flow {
            protocol,
            packets: Vec::new(),
        });
        flow.packets.push(held);
        true
    }

    /// Lets go whoever waits for an SA between these ends.
    fn ripen(&mut self, params: &SaParams) {
        let ends = (params.source, params.id.destination);
        let keys: Vec<_> = self
            .flows
            .iter()
            .filter(|(key, flow)| {
                (key.source, key.destination) == ends && flow.protocol == params.id.protocol
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            let flow = self.flows.remove(&key);
            self.ripe.extend(flow.into_iter().flat_map(|flow| flow.packets));
        }
    }

    /// Takes out whoever was let go.
    fn take_ripe(&mut self) -> Vec<Held> {
        let ripe = core::mem::take(&mut self.ripe);
        for held in &ripe {
            self.packets -= 1;
            self.bytes -= held.cost();
        }
        self.released += ripe.len() as u64;
        ripe
    }

    /// Gives up the flows that are not `wanted` any more and says how many packets those were.
    fn give_up(&mut self, wanted: impl Fn(&AcquireKey, Protocol) -> bool) -> u64 {
        let before = self.packets;
        self.flows.retain(|key, flow| wanted(key, flow.protocol));
        self.recount(before)
    }

    /// Gives up the packets whose time is over and says how many those were.
    fn expire(&mut self, now: Instant) -> u64 {
        let before = self.packets;
        self.ripe.retain(|held| held.until > now);
        for flow in self.flows.values_mut() {
            flow.packets.retain(|held| held.until > now);
        }
        self.flows.retain(|_, flow| !flow.packets.is_empty());
        self.recount(before)
    }

    fn all(&self) -> impl Iterator<Item = &Held> {
        let flows = self.flows.values().flat_map(|flow| &flow.packets);
        flows.chain(&self.ripe)
    }

    fn recount(&mut self, before: usize) -> u64 {
        self.packets = self.all().count();
        self.bytes = self.all().map(Held::cost).sum();
        (before - self.packets) as u64
    }

    fn deadline(&self) -> Option<Instant> {
        self.all().map(|held| held.until).min()
    }
}

impl Engine {
    /// Judges the packets that waited for an SA that is there now, as if they came once more: each ends in
    /// `out.transmit` or in `out.dropped`, or waits on for another SA. None leaves in clear.
    pub fn handle_released(&self, now: Instant, out: &mut Output) {
        let ripe = self.hold.lock().take_ripe();
        if ripe.is_empty() {
            return;
        }
        let mut pass = Pass::begin(self, now, out);
        for held in ripe {
            pass.released(held);
        }
        pass.finish();
    }

    /// Whether packets wait for `handle_released`.
    #[must_use]
    pub fn has_released(&self) -> bool {
        !self.hold.lock().ripe.is_empty()
    }

    /// An SA has come: whoever waits for it is let go.
    pub(super) fn release_for(&self, params: &SaParams) {
        self.hold.lock().ripen(params);
    }

    /// Gives up what waits for the SA of one acquire.
    pub(super) fn give_up_acquire(&self, wanted: &AcquireKey) {
        let given_up = self.hold.lock().give_up(|key, _| key != wanted);
        self.count_given_up(given_up);
    }

    /// Gives up what waits for SAs of a protocol, or of all.
    pub(super) fn give_up_protocol(&self, protocol: Option<Protocol>) {
        let gone = |waiting| protocol.is_none_or(|protocol| protocol == waiting);
        let given_up = self.hold.lock().give_up(|_, waiting| !gone(waiting));
        self.count_given_up(given_up);
    }

    /// Gives up what waits for entries that the SPD has no more.
    pub(super) fn give_up_policies(&self, spd: &Spd) {
        let of_socket = |id| spd.pcb_dump().iter().any(|policy| policy.id() == id);
        let there = |id| spd.by_id(id).is_some() || of_socket(id);
        let given_up = self.hold.lock().give_up(|key, _| there(key.policy));
        self.count_given_up(given_up);
    }

    pub(super) fn expire_held(&self, now: Instant) {
        let mut hold = self.hold.lock();
        let given_up = hold.expire(now);
        let next = hold.deadline();
        drop(hold);
        self.count_given_up(given_up);
        self.wake_at(next);
    }

    fn count_given_up(&self, packets: u64) {
        if packets != 0 {
            self.stats.lock().drops[DropReason::OutNoSa as usize] += packets;
        }
    }
}

impl Pass<'_> {
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# a packet waits for its SA, within limits, or is dropped
    /// Keeps a copy of a packet that found no SA; `false` if it may not wait.
    pub(super) fn keep(&mut self, packet: &PacketBuf, came_as: Pieces, until: Option<Instant>) -> bool {
        let Some((key, protocol)) = self.wanting.take() else {
            return false;
        };
        let most = self.config.hold_packets as usize;
        if most == 0 {
            return false;
        }
        let until = until.unwrap_or_else(|| self.now.plus(Duration::from_secs(self.config.hold_secs)));
        let held = Held {
            // The buffer goes back to its pool: it is much larger than most packets.
            packet: PacketBuf::from_packet(packet.as_slice()),
            came_as,
            until,
        };
        let kept = self.engine.hold.lock().keep(key, protocol, held, most);
        if kept {
            self.engine.wake_at(Some(until));
            let bytes = packet.len();
            self.out.step(|| Step::Waiting { bytes });
        }
        kept
    }

    fn released(&mut self, held: Held) {
        let Held {
            mut packet,
            came_as,
            until,
        } = held;
        let bytes = packet.len();
        self.out.step(|| Step::Released { bytes });
        let departure = if until <= self.now {
            Err(DropReason::OutNoSa)
        } else {
            self.judge_again(&mut packet, came_as)
        };
        self.settle(packet, departure, came_as, Some(until));
    }

    /// What was held to be protected does not leave in clear, whatever the SPD says by now.
    fn judge_again(&mut self, packet: &mut PacketBuf, came_as: Pieces) -> Result<Departure, DropReason> {
        let summary = Summary::parse(packet.as_slice()).ok_or(DropReason::OutMalformed)?;
        let key = summary.selector_key(packet.as_slice());
        match self.judge(packet, &summary, key, came_as)? {
            Departure::Leaves(Route::Bypass, _) => Err(DropReason::OutNoSa),
            departure @ (Departure::Leaves(..) | Departure::LeftInPieces | Departure::Waits) => Ok(departure),
        }
    }
}
