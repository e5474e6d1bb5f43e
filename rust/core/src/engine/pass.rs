//! `Pass`: everything one thread holds while it works on one batch, and what it settles at the end.
//! No decision about a packet may enter: `outbound.rs` and `inbound.rs` decide.
//! Answers to: ARCHITECTURE.md D3 (snapshots per batch, no allocation per packet).

use super::Engine;
use super::batch::{Dropped, Output};
use super::config::Config;
use super::event::{AcquireKey, Bounds};
use super::journey::Step;
use super::outbound::Link;
use super::path::SaPath;
use super::stats::Stats;
use crate::buffer::PacketBuf;
use crate::crypto::compress::Deflate;
use crate::crypto::iv::IvGenerator;
use crate::error::DropReason;
use crate::sa::{Association, Expiry, Sad};
use crate::selector::SelectorKey;
use crate::spd::Spd;
use crate::terms::{PolicyId, Protocol, Template};
use crate::time::Instant;
use crate::transform::Tools;
use parking_lot::RwLockReadGuard;
use std::sync::Arc;

/// What survives from batch to batch: generators and lists whose room is used again.
pub(super) struct Worker {
    pub(super) tools: Tools,
    pub(super) path: SaPath,
    pub(super) chain: Vec<Link>,
    /// Whether something in the packet at hand is compressed: one level is all there is.
    pub(super) compressed: bool,
    /// The last IPv4 identification given out.
    identification: u16,
    /// The last identification of IPv6 fragments given out.
    fragment_id: u32,
}

impl Worker {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let mut ivs = IvGenerator::new(seed);
        let (mut identification, mut fragment_id) = ([0; 2], [0; 4]);
        ivs.random(&mut identification);
        ivs.random(&mut fragment_id);
        Self {
            tools: Tools {
                ivs,
                deflate: Deflate::default(),
            },
            path: SaPath::default(),
            chain: Vec::new(),
            compressed: false,
            identification: u16::from_be_bytes(identification),
            fragment_id: u32::from_be_bytes(fragment_id),
        }
    }

    /// A fresh IPv4 identification, never zero: a raw socket would replace that (raw(7)).
    pub(super) fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1).max(1);
        self.identification
    }

    /// A fresh identification for the pieces of one packet.
    pub(super) fn next_fragment_id(&mut self) -> u32 {
        self.fragment_id = self.fragment_id.wrapping_add(1);
        self.fragment_id
    }
}

/// One batch at work.
pub(super) struct Pass<'a> {
    pub(super) engine: &'a Engine,
    pub(super) config: Arc<Config>,
    pub(super) spd: Arc<Spd>,
    pub(super) sad: RwLockReadGuard<'a, Sad>,
    pub(super) worker: Worker,
    pub(super) stats: Stats,
    pub(super) now: Instant,
    pub(super) out: &'a mut Output,
    /// The longest packet that fits the path of the packet at hand, once `fit` has said so.
    pub(super) limit: usize,
    /// What the packet at hand found no SA for.
    pub(super) wanting: Option<(AcquireKey, Protocol)>,
    expired: Vec<(Arc<Association>, Expiry)>,
}

impl<'a> Pass<'a> {
    pub(super) fn begin(engine: &'a Engine, now: Instant, out: &'a mut Output) -> Self {
        Self {
            engine,
            config: engine.config.load_full(),
            spd: engine.spd.load_full(),
            sad: engine.sad.read(),
            worker: engine.take_worker(),
            stats: Stats::default(),
            now,
            out,
            limit: usize::MAX,
            wanting: None,
            expired: Vec::new(),
        }
    }

    /// Puts back what was taken, adds the counters and tells about expired SAs.
    pub(super) fn finish(self) {
        let Self {
            engine,
            sad,
            worker,
            stats,
            expired,
            ..
        } = self;
        drop(sad);
        engine.put_back(worker);
        engine.stats.lock().merge(&stats);
        for (association, expiry) in expired {
            engine.expire(&association, expiry);
        }
    }

    pub(super) fn drop_packet(&mut self, packet: PacketBuf, reason: DropReason) {
        self.stats.count_drop(reason);
        self.out.step(|| Step::Dropped { reason });
        self.out.dropped.push(Dropped { packet, reason });
    }

    /// Ends lifetimes that time ended, so that no packet passes after them even if no timer ran.
    pub(super) fn tick(&mut self, association: &Arc<Association>) {
        self.remember(association, association.tick(self.now));
    }

    fn remember(&mut self, association: &Arc<Association>, expiry: Option<Expiry>) {
        if let Some(expiry) = expiry {
            self.expired.push((Arc::clone(association), expiry));
        }
    }

    /// Counts a packet's bytes on an SA and remembers if that ended a lifetime.
    pub(super) fn account(&mut self, association: &Arc<Association>, bytes: usize) {
        self.remember(association, association.account(bytes as u64, self.now));
        let params = association.params();
        if params.soft.use_secs != 0 || params.hard.use_secs != 0 {
            // The first packet starts this clock.
            self.engine.wake_at(association.deadline());
        }
    }

    pub(super) fn acquire(&self, key: AcquireKey, template: Template, selector_key: SelectorKey) {
        let bounds = Bounds::of(&self.config);
        self.engine
            .events
            .lock()
            .acquire(key, template, selector_key, self.now, bounds);
    }

    pub(super) fn policy_acquire(&self, policy: PolicyId) {
        let bounds = Bounds::of(&self.config);
        let mut events = self.engine.events.lock();
        events.policy_acquire(policy, self.now, bounds);
    }
}
