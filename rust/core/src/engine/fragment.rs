//! Reassembly: fragments wait here until their datagram is whole, within bounds on memory, pieces and time.
//! No header layout, no policy and no SA may enter: `wire::fragment` takes pieces apart and joins them.
//! Answers to: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722, RFC 3168 section 5.3, RFC 4301 section 7.

use super::journey::Step;
use super::pass::Pass;
use super::path::Hop;
use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::time::Instant;
use crate::wire::fragment::{self, Piece};
use crate::wire::ip::{self, Summary};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What all incomplete datagrams may hold together; then the oldest is given up.
const TOTAL_BYTES: usize = 4 << 20;
/// What those of one source may hold, so that one sender cannot push the others out.
const SOURCE_BYTES: usize = 1 << 20;
/// The most pieces of one datagram: the longest packet in pieces of 576 bytes has 119.
const PIECES: usize = 128;
/// How long IPv4 pieces wait.
const IPV4_WAIT: Duration = Duration::from_secs(30);
/// How long IPv6 pieces wait (RFC 8200 §4.5).
const IPV6_WAIT: Duration = Duration::from_secs(60);
/// What keeping one piece costs beside its bytes.
const PIECE_COST: usize = 64;
/// What keeping one datagram costs beside its pieces.
const DATAGRAM_COST: usize = 512;

const NOT_ECT: u8 = 0b00;
const CE: u8 = 0b11;

/// Where fragments came from: those of different origins never meet in one datagram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// From the protected side, on the way out.
    Outbound,
    /// From the wire through these AH and ESP SAs, none for cleartext: what came in clear must not complete what did not.
    Inbound(Vec<Hop>),
}

/// What the pieces of one datagram have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    origin: Origin,
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// The IPv4 protocol; 0 for IPv6, whose later fragments may say anything (RFC 8200 §4.5).
    protocol: u8,
}

/// A datagram that is whole again.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) packet: PacketBuf,
    /// How it came: pieces like these find their way again.
    pub(super) came_as: Pieces,
}

/// How a packet is cut, if it is longer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    /// The longest piece.
    pub(super) mtu: usize,
    /// Their identification; `None` is a fresh one.
    pub(super) id: Option<u32>,
}

impl Pieces {
    /// Nothing is cut.
    pub(super) const NONE: Self = Self::of(usize::MAX);

    /// Pieces of a packet that never had any.
    pub(super) const fn of(mtu: usize) -> Self {
        Self { mtu, id: None }
    }
}

/// An incomplete datagram, or one that was spoilt: then it has no pieces and accepts none.
#[derive(Debug)]
struct Datagram {
    serial: u64,
    until: Instant,
    cost: usize,
    pieces: BTreeMap<u16, Box<[u8]>>,
    /// The first piece's header and next header.
    header: Option<(Box<[u8]>, u8)>,
    received_bytes: usize,
    /// Known once the last piece is here.
    total_bytes: Option<usize>,
    longest_piece: usize,
    /// One bit for each ECN codepoint seen.
    ecn_seen: u8,
    spoilt: bool,
}

/// What one source holds.
#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    serials: BTreeSet<u64>,
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    /// Made whole.
    pub(super) completed: u64,
    /// Given up: spoilt, too old, or in the way of others.
    pub(super) given_up: u64,
}

/// All incomplete datagrams. Every step costs the logarithm of what is kept, whatever a sender does.
#[derive(Debug, Default)]
pub(super) struct Reassembler {
    datagrams: BTreeMap<Key, Datagram>,
    /// By age.
    order: BTreeMap<u64, Key>,
    deadlines: BTreeSet<(Instant, u64)>,
    sources: BTreeMap<IpAddr, Share>,
    bytes: usize,
    last_serial: u64,
    outcomes: Outcomes,
}

impl Reassembler {
    /// Adds one fragment: `None` while its datagram is incomplete.
    ///
    /// # Errors
    /// `InFragment` for a piece that spoils its datagram or belongs to a spoilt one; `InMalformed` for a datagram
    /// that would be longer than any packet.
    fn add(
        &mut self,
        origin: Origin,
        packet: &[u8],
        summary: &Summary,
        now: Instant,
    ) -> Result<Option<Whole>, DropReason> {
        self.expire(now);
        let piece = Piece::new_checked(packet, summary).ok_or(DropReason::InFragment)?;
        let key = Key {
            origin,
            source: summary.source,
            destination: summary.destination,
            id: piece.fragment.id,
            protocol: if summary.source.is_ipv4() {
                piece.next_header
            } else {
                0
            },
        };
        if !self.datagrams.contains_key(&key) {
            self.begin(&key, now);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Err(DropReason::InFragment);
        };
        if datagram.spoilt {
            return Err(DropReason::InFragment);
        }
        let before = datagram.cost;
        let placed = datagram.place(&piece, summary);
        let after = datagram.cost;
        let complete = datagram.is_complete();
        self.charge(key.source, before, after);
        if placed.is_none() {
            self.outcomes.given_up += 1;
            return Err(DropReason::InFragment);
        }
        if complete {
            let done = self.remove(&key).ok_or(DropReason::InFragment)?;
            let whole = done.join(key.id)?;
            self.outcomes.completed += 1;
            return Ok(Some(whole));
        }
        self.make_room(key.source);
        Ok(None)
    }

    fn begin(&mut self, key: &Key, now: Instant) {
        let wait = if key.source.is_ipv4() {
            IPV4_WAIT
        } else {
            IPV6_WAIT
        };
        self.last_serial += 1;
        let datagram = Datagram::new(self.last_serial, now.plus(wait));
        self.order.insert(datagram.serial, key.clone());
        self.deadlines.insert((datagram.until, datagram.serial));
        let share = self.sources.entry(key.source).or_default();
        share.serials.insert(datagram.serial);
        share.bytes += datagram.cost;
        self.bytes += datagram.cost;
        self.datagrams.insert(key.clone(), datagram);
    }

    fn charge(&mut self, source: IpAddr, before: usize, after: usize) {
        self.bytes = (self.bytes + after).saturating_sub(before);
        if let Some(share) = self.sources.get_mut(&source) {
            share.bytes = (share.bytes + after).saturating_sub(before);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Datagram> {
        let datagram = self.datagrams.remove(key)?;
        self.order.remove(&datagram.serial);
        self.deadlines.remove(&(datagram.until, datagram.serial));
        self.charge(key.source, datagram.cost, 0);
        if let Some(share) = self.sources.get_mut(&key.source) {
            share.serials.remove(&datagram.serial);
            if share.serials.is_empty() {
                self.sources.remove(&key.source);
            }
        }
        Some(datagram)
    }

    fn give_up(&mut self, serial: u64) {
        if let Some(key) = self.order.get(&serial).cloned() {
            // A spoilt one was counted when it was spoilt.
            let waited = self.remove(&key).is_some_and(|datagram| !datagram.spoilt);
            self.outcomes.given_up += u64::from(waited);
        }
    }

    /// Gives up the oldest datagrams until everything is within its bounds: what is complete soon survives a flood.
    fn make_room(&mut self, source: IpAddr) {
        while let Some(oldest) = self
            .sources
            .get(&source)
            .filter(|share| share.bytes > SOURCE_BYTES)
            .and_then(|share| share.serials.first().copied())
        {
            self.give_up(oldest);
        }
        while self.bytes > TOTAL_BYTES {
            let Some(oldest) = self.order.keys().next().copied() else {
                return;
            };
            self.give_up(oldest);
        }
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, serial)) = self.deadlines.first().filter(|(until, _)| *until <= now).copied() {
            self.give_up(serial);
        }
    }

    /// When `expire` has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// What became of datagrams so far.
    pub(super) const fn outcomes(&self) -> Outcomes {
        self.outcomes
    }
}

impl Datagram {
    fn new(serial: u64, until: Instant) -> Self {
        Self {
            serial,
            until,
            cost: DATAGRAM_COST,
            pieces: BTreeMap::new(),
            header: None,
            received_bytes: 0,
            total_bytes: None,
            longest_piece: 0,
            ecn_seen: 0,
            spoilt: false,
        }
    }

    /// Puts a piece where it belongs; `None` if that spoils the datagram.
    fn place(&mut self, piece: &Piece<'_>, summary: &Summary) -> Option<()> {
        let placed = self.try_place(piece, summary);
        if placed.is_none() {
            //= https://www.rfc-editor.org/rfc/rfc5722#section-3
            //# overlapping fragments of IPv6: the whole packet is discarded
            self.pieces.clear();
            self.header = None;
            self.cost = DATAGRAM_COST;
            self.spoilt = true;
        }
        placed
    }

    fn try_place(&mut self, piece: &Piece<'_>, summary: &Summary) -> Option<()> {
        let at = piece.fragment.offset_bytes;
        let (begin, end) = (usize::from(at), usize::from(at) + piece.payload.len());
        if self
            .pieces
            .get(&at)
            .is_some_and(|there| **there == *piece.payload)
        {
            // The network doubled it.
            return Some(());
        }
        if self.overlaps(begin, end) || self.pieces.len() == PIECES {
            return None;
        }
        let total_bytes = if piece.fragment.more {
            self.total_bytes
        } else {
            Some(end)
        };
        let furthest = self
            .pieces
            .last_key_value()
            .map_or(end, |(last, there)| end.max(usize::from(*last) + there.len()));
        let contradicts = self.total_bytes.is_some_and(|told| Some(told) != total_bytes)
            || total_bytes.is_some_and(|total| total < furthest);
        if contradicts {
            return None;
        }
        self.total_bytes = total_bytes;
        self.received_bytes += piece.payload.len();
        self.longest_piece = self.longest_piece.max(summary.total_bytes);
        self.ecn_seen |= 1 << (summary.traffic_class & CE);
        self.cost += piece.payload.len() + PIECE_COST;
        if at == 0 {
            self.cost += piece.header.len();
            self.header = Some((piece.header.into(), piece.next_header));
        }
        self.pieces.insert(at, piece.payload.into());
        Some(())
    }

    //= https://www.rfc-editor.org/rfc/rfc5722#section-3
    //# overlapping fragments of IPv6: the whole packet is discarded
    fn overlaps(&self, begin: usize, end: usize) -> bool {
        let Ok(last) = u16::try_from(end - 1) else {
            return true;
        };
        // Kept pieces do not overlap, so the last one that begins before `end` reaches furthest.
        self.pieces
            .range(..=last)
            .next_back()
            .is_some_and(|(at, there)| usize::from(*at) + there.len() > begin)
    }

    /// Pieces do not overlap, so their number of bytes tells.
    fn is_complete(&self) -> bool {
        self.header.is_some() && self.total_bytes == Some(self.received_bytes)
    }

    fn join(self, id: u32) -> Result<Whole, DropReason> {
        let (header, next_header) = self.header.ok_or(DropReason::InFragment)?;
        let parts = self.pieces.values().map(AsRef::as_ref);
        let mut packet = fragment::join(&header, next_header, parts, self.received_bytes)?;
        //= https://www.rfc-editor.org/rfc/rfc3168#section-5.3
        //# a mark on any piece is a mark on the packet; a mark beside a piece that knows none drops it
        if self.ecn_seen & (1 << CE) != 0 {
            let class = Summary::parse(packet.as_slice())
                .ok_or(DropReason::InMalformed)?
                .traffic_class;
            if self.ecn_seen & (1 << NOT_ECT) != 0
                || !ip::set_traffic_class(packet.as_mut_slice(), class | CE)
            {
                return Err(DropReason::InEcnViolation);
            }
        }
        Ok(Whole {
            packet,
            came_as: Pieces {
                mtu: self.longest_piece,
                id: Some(id),
            },
        })
    }
}

impl Pass<'_> {
    /// Keeps a fragment until its datagram is whole: `None` means that it waits.
    ///
    /// # Errors
    /// As `Reassembler::add`, in the words of the inbound side.
    pub(super) fn gather(
        &mut self,
        packet: &PacketBuf,
        summary: &Summary,
        origin: Origin,
    ) -> Result<Option<Whole>, DropReason> {
        let mut fragments = self.engine.fragments.lock();
        let whole = fragments.add(origin, packet.as_slice(), summary, self.now);
        let deadline = fragments.deadline();
        drop(fragments);
        self.engine.wake_at(deadline);
        let whole = whole?;
        let step = whole
            .as_ref()
            .map_or(Step::Held { bytes: packet.len() }, |whole| Step::Reassembled {
                bytes: whole.packet.len(),
            });
        self.out.step(|| step);
        Ok(whole)
    }
}

#[cfg(test)]
mod tests;
