//! A receiver that lost 2^32 packets or more: one failed packet in a thousand is tried with later high halves.
//! Nothing of it runs where packets are handled; at most one packet waits.
//! Answers to: RFC 4303 appendix A3.

use super::Engine;
use crate::buffer::PacketBuf;
use crate::sa::Association;
use crate::terms::Sequence;
use crate::time::Instant;
use crate::transform::{AhRules, Tools, Transform};
use std::sync::Arc;

/// How many subspaces further are tried: each is 2^32 lost packets.
const TRIES: u32 = 4;

/// A packet whose ICV was wrong for the high half that the window inferred.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) association: Arc<Association>,
    pub(super) packet: PacketBuf,
    /// Where the IPsec header stands.
    pub(super) at: usize,
    /// What the window inferred.
    pub(super) inferred: Sequence,
}

impl Engine {
    /// Keeps a packet for a second look, unless one waits already.
    pub(super) fn suspect(&self, suspect: Suspect, now: Instant) {
        let mut place = self.suspect.lock();
        if place.is_none() {
            *place = Some(suspect);
            drop(place);
            self.wake_at(Some(now));
        }
    }

    /// Tries the waiting packet with later high halves; the window follows the one that fits. The packet itself is
    /// not delivered: it stands for 2^32 that were lost.
    //= https://www.rfc-editor.org/rfc/rfc4303#appendix-A3
    //# after a long loss the high half is searched for, a bounded number of times and off the fast path
    pub(super) fn resynchronise(&self) {
        let Some(suspect) = self.suspect.lock().take() else {
            return;
        };
        let Some(transform) = suspect.association.transform() else {
            return;
        };
        let rules = self.config.load().ah_rules;
        let mut worker = self.take_worker();
        let found = try_later(&suspect, transform, rules, &mut worker.tools);
        self.put_back(worker);
        if let Some(sequence) = found {
            // Whoever marked it meanwhile has done the same.
            let _marked = suspect.association.mark(sequence);
            suspect.association.path().note_success();
            self.stats.lock().esn_resynchronised += 1;
        }
    }
}

/// The number with which the packet is authentic after all.
fn try_later(
    suspect: &Suspect,
    transform: &Transform,
    rules: AhRules,
    tools: &mut Tools,
) -> Option<Sequence> {
    (1..=TRIES).find_map(|step| {
        let high = suspect.inferred.high().checked_add(step)?;
        let sequence = Sequence(u64::from(high) << 32 | u64::from(suspect.inferred.low()));
        let mut packet = PacketBuf::from_packet(suspect.packet.as_slice());
        let opened = transform.open(suspect.at, sequence, rules, tools, &mut packet);
        opened.is_ok().then_some(sequence)
    })
}
