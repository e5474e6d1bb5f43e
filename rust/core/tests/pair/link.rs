//! The simulated link: loses, doubles, delays (and so reorders), corrupts, and remembers packets to replay.

use super::rng::Rng;
use std::collections::BTreeMap;

/// What happens to packets, in thousandths.
#[derive(Clone, Copy)]
pub struct Impairment {
    pub loss: u64,
    pub duplication: u64,
    pub corruption: u64,
    pub replay: u64,
    /// The longest delay, in milliseconds: packets overtake each other within it.
    pub jitter_millis: usize,
}

/// A packet on the link.
#[derive(Clone)]
pub struct Flying {
    pub bytes: Vec<u8>,
    pub corrupt: bool,
    /// Which side receives it.
    pub to: usize,
}

/// What the link did.
#[derive(Clone, Copy, Default)]
pub struct LinkCounts {
    pub carried: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    pub replayed: u64,
}

pub struct Link {
    impairment: Impairment,
    /// By time of arrival, then order of sending.
    flying: BTreeMap<(u64, u64), Flying>,
    order: u64,
    /// Packets seen on the wire, for later.
    kept: Vec<Flying>,
    pub counts: LinkCounts,
}

impl Link {
    pub fn new(impairment: Impairment) -> Self {
        Self {
            impairment,
            flying: BTreeMap::new(),
            order: 0,
            kept: Vec::new(),
            counts: LinkCounts::default(),
        }
    }

    pub fn send(&mut self, bytes: &[u8], to: usize, may_corrupt: bool, now: u64, rng: &mut Rng) {
        self.counts.carried += 1;
        let flying = Flying {
            bytes: bytes.to_vec(),
            corrupt: false,
            to,
        };
        if rng.chance(20) {
            self.keep(flying.clone(), rng);
        }
        if rng.chance(self.impairment.loss) {
            self.counts.lost += 1;
            return;
        }
        if rng.chance(self.impairment.duplication) {
            self.counts.duplicated += 1;
            self.launch(flying.clone(), now, rng);
        }
        if may_corrupt && rng.chance(self.impairment.corruption) {
            self.counts.corrupted += 1;
            self.launch(corrupted(flying, rng), now, rng);
        } else {
            self.launch(flying, now, rng);
        }
        if rng.chance(self.impairment.replay) && !self.kept.is_empty() {
            self.counts.replayed += 1;
            let mut old = self.kept[rng.below(self.kept.len())].clone();
            // One in four comes back to the side that sent it.
            if rng.chance(250) {
                old.to = 1 - old.to;
            }
            self.launch(old, now, rng);
        }
    }

    fn keep(&mut self, flying: Flying, rng: &mut Rng) {
        if self.kept.len() < 256 {
            self.kept.push(flying);
        } else {
            let at = rng.below(self.kept.len());
            self.kept[at] = flying;
        }
    }

    fn launch(&mut self, flying: Flying, now: u64, rng: &mut Rng) {
        self.order += 1;
        let delay = 1 + rng.below(self.impairment.jitter_millis) as u64;
        self.flying.insert((now + delay, self.order), flying);
    }

    /// The packets that have arrived by now, in order of arrival.
    pub fn arrived(&mut self, now: u64) -> Vec<Flying> {
        let later = self.flying.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.flying, later).into_values().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }
}

/// One bit turned, or some bytes overwritten, or the end cut off.
fn corrupted(mut flying: Flying, rng: &mut Rng) -> Flying {
    let at = rng.below(flying.bytes.len());
    match rng.below(8) {
        0 => flying.bytes.truncate(at),
        1 => {
            for byte in flying.bytes.iter_mut().skip(at).take(4) {
                *byte = !*byte;
            }
        }
        _ => flying.bytes[at] ^= 1 << rng.below(8),
    }
    flying.corrupt = true;
    flying
}
