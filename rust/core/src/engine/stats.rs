//! `Stats`: one cell per way out of the engine, filled once per packet.
//! No name of a counter in a manual's spelling may enter: `netstat -s` text is made elsewhere.
//! Answers to: RFC 4301 section 9 (auditable events), ARCHITECTURE.md C.6.

use crate::error::DropReason;
use crate::transform::Plain;

/// How many [`DropReason`]s there are.
pub const DROP_REASONS: usize = DropReason::ALL.len();

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    const fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// What came of IPComp, in payload bytes; no exit: each of these packets leaves by one of [`Stats`] as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpCompStats {
    /// Outbound: compressed, with the bytes that were left.
    pub compressed: Count,
    /// Outbound, sent as it was: below the threshold.
    pub plain_small: Count,
    /// Outbound, sent as it was: it would not have got shorter.
    pub plain_useless: Count,
    /// Outbound, sent as it was: not tried after several that would not have got shorter.
    pub plain_backed_off: Count,
    /// Outbound, sent as it was: something in it was compressed already.
    pub plain_nested: Count,
    /// Inbound: inflated, with the bytes that came out.
    pub inflated: Count,
    /// Inbound, in a tunnel and not compressed.
    pub bare: Count,
}

impl IpCompStats {
    pub(crate) const fn left_plain(&mut self, why: Plain) -> &mut Count {
        match why {
            Plain::Small => &mut self.plain_small,
            Plain::Useless => &mut self.plain_useless,
            Plain::BackedOff => &mut self.plain_backed_off,
            Plain::Nested => &mut self.plain_nested,
        }
    }

    const fn merge(&mut self, other: &Self) {
        self.compressed.merge(&other.compressed);
        self.plain_small.merge(&other.plain_small);
        self.plain_useless.merge(&other.plain_useless);
        self.plain_backed_off.merge(&other.plain_backed_off);
        self.plain_nested.merge(&other.plain_nested);
        self.inflated.merge(&other.inflated);
        self.bare.merge(&other.bare);
    }
}

/// What an engine has done since it was made.
///
/// Exits: `outbound_arrived = outbound_protected + outbound_bypassed + outbound_held + outbound_waiting + drops`
/// and `inbound_arrived = inbound_delivered + inbound_bypassed + inbound_held + drops`, in packets. A packet that
/// leaves in pieces counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Packets dropped, in the order of [`DropReason::ALL`].
    pub drops: [u64; DROP_REASONS],
    /// Packets given to `handle_outbound`, as they came.
    pub outbound_arrived: Count,
    /// Exit: sealed and transmitted, with the bytes on the wire.
    pub outbound_protected: Count,
    /// Exit: transmitted in clear, as policy says.
    pub outbound_bypassed: Count,
    /// Packets given to `handle_inbound`, as they came.
    pub inbound_arrived: Count,
    /// SAs undone, with the payload bytes; a packet in a bundle counts more than once.
    pub inbound_opened: Count,
    /// Exit: delivered after at least one SA was undone.
    pub inbound_delivered: Count,
    /// Exit: delivered though it came in clear, as policy says.
    pub inbound_bypassed: Count,
    /// Exit: outbound fragments that waited for the others; the last one goes on as the whole.
    pub outbound_held: Count,
    /// Exit: inbound fragments that waited for the others; the last one goes on as the whole.
    pub inbound_held: Count,
    /// Packets that wait for an SA now.
    pub outbound_waiting: u64,
    /// Times a packet began to wait for an SA.
    pub held_for_sa: u64,
    /// Times a packet that waited was judged again because an SA came.
    pub released: u64,
    /// Pieces made of packets that were too long.
    pub fragments_made: Count,
    /// Datagrams made whole.
    pub reassembled: u64,
    /// Datagrams that never became whole: spoilt, too old, or in the way of others.
    pub reassembly_failed: u64,
    /// Path MTUs learnt from ICMP errors or from the host.
    pub path_mtu_learned: u64,
    /// ICMP errors that were no credible hint.
    pub icmp_hints_refused: u64,
    /// Times an SA found its place again after 2^32 lost packets (RFC 4303 appendix A3).
    pub esn_resynchronised: u64,
    /// Dummy packets made, with the bytes on the wire; no packet came in for them.
    pub dummies_sent: Count,
    /// ICMP errors made by the engine, in [`super::Output::deliver`] as well.
    pub too_big_answers: Count,
    /// What came of IPComp.
    pub ipcomp: IpCompStats,
    /// Events forgotten because nobody polled them.
    pub events_dropped: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            drops: [0; DROP_REASONS],
            outbound_arrived: Count::default(),
            outbound_protected: Count::default(),
            outbound_bypassed: Count::default(),
            inbound_arrived: Count::default(),
            inbound_opened: Count::default(),
            inbound_delivered: Count::default(),
            inbound_bypassed: Count::default(),
            too_big_answers: Count::default(),
            outbound_held: Count::default(),
            inbound_held: Count::default(),
            outbound_waiting: 0,
            held_for_sa: 0,
            released: 0,
            fragments_made: Count::default(),
            reassembled: 0,
            reassembly_failed: 0,
            path_mtu_learned: 0,
            esn_resynchronised: 0,
            dummies_sent: Count::default(),
            icmp_hints_refused: 0,
            ipcomp: IpCompStats::default(),
            events_dropped: 0,
        }
    }
}

impl Stats {
    /// Packets dropped for this reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    pub(crate) const fn count_drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (cell, more) in self.drops.iter_mut().zip(&other.drops) {
            *cell += more;
        }
        self.outbound_arrived.merge(&other.outbound_arrived);
        self.outbound_protected.merge(&other.outbound_protected);
        self.outbound_bypassed.merge(&other.outbound_bypassed);
        self.inbound_arrived.merge(&other.inbound_arrived);
        self.inbound_opened.merge(&other.inbound_opened);
        self.inbound_delivered.merge(&other.inbound_delivered);
        self.inbound_bypassed.merge(&other.inbound_bypassed);
        self.too_big_answers.merge(&other.too_big_answers);
        self.outbound_held.merge(&other.outbound_held);
        self.inbound_held.merge(&other.inbound_held);
        self.outbound_waiting += other.outbound_waiting;
        self.held_for_sa += other.held_for_sa;
        self.released += other.released;
        self.fragments_made.merge(&other.fragments_made);
        self.reassembled += other.reassembled;
        self.reassembly_failed += other.reassembly_failed;
        self.path_mtu_learned += other.path_mtu_learned;
        self.esn_resynchronised += other.esn_resynchronised;
        self.dummies_sent.merge(&other.dummies_sent);
        self.icmp_hints_refused += other.icmp_hints_refused;
        self.ipcomp.merge(&other.ipcomp);
        self.events_dropped += other.events_dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_cell() {
        let mut stats = Stats::default();
        for reason in DropReason::ALL {
            stats.count_drop(*reason);
        }
        assert!(stats.drops.iter().all(|cell| *cell == 1));
        let mut sum = stats;
        sum.merge(&stats);
        assert_eq!(sum.dropped(DropReason::NoBuffer), 2);
        assert_eq!(sum.dropped_total(), 2 * DROP_REASONS as u64);
    }
}
