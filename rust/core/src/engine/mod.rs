//! The sans-IO machine: packets, requests and time go in; packets, views and events come out.
//! No clock, socket, thread or Python may enter; the only room that sees both databases.
//! Answers to: RFC 4301 sections 5.1 and 5.2; ARCHITECTURE.md C and D.

mod batch;
mod config;
mod control;
mod event;
mod explain;
mod fit;
mod fragment;
mod hold;
mod icmp;
mod inbound;
mod journey;
mod moving;
mod nat;
mod originate;
mod outbound;
mod pass;
mod path;
mod quoted;
mod resync;
mod stats;
mod timers;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Dropped, Output, Route, Transmit};
pub use config::{Config, DefaultLevel, DefaultPolicy, NatChecksum, PATH_MTU_MIN, ProposalRules, Setting};
pub use control::SpiRequest;
pub use event::Event;
pub use explain::{TemplateChoice, Verdict};
pub use journey::Step;
pub use stats::{Count, DROP_REASONS, IpCompStats, Stats};

use crate::crypto::iv::IvGenerator;
use crate::error::Error;
use crate::sa::{Lease, MemoryLease, SaView, Sad};
use crate::spd::Spd;
use crate::time::{Instant, WallClock};
use arc_swap::ArcSwap;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use event::Events;
use fragment::Reassembler;
use hold::Hold;
use originate::Waiting;
use parking_lot::{Mutex, RwLock};
use pass::Worker;
use resync::Suspect;
use std::collections::VecDeque;
use std::sync::Arc;

/// One IPsec engine. Every method takes `&self`; packets and requests may come from several threads.
///
/// Locks are taken in this order: `control`, `sad`, then one of `events`, `stats`, `fragments`, `hold`,
/// `originated`, `suspect`, `seeds`, `workers`.
pub struct Engine {
    config: ArcSwap<Config>,
    spd: ArcSwap<Spd>,
    sad: RwLock<Sad>,
    lease: Arc<dyn Lease>,
    /// Held by whoever changes the SPD or the configuration, so that no change is lost.
    control: Mutex<()>,
    events: Mutex<Events>,
    stats: Mutex<Stats>,
    /// Incomplete datagrams.
    fragments: Mutex<Reassembler>,
    /// Packets that wait for an SA.
    hold: Mutex<Hold>,
    /// Packets that the engine made by itself.
    originated: Mutex<VecDeque<Waiting>>,
    /// A packet that may show that this end lost count.
    suspect: Mutex<Option<Suspect>>,
    /// Where further seeds come from: SPIs and the workers' generators.
    seeds: Mutex<IvGenerator>,
    /// What one thread needs while it works on a batch; taken out and put back.
    workers: Mutex<Vec<Worker>>,
    /// The next moment at which something may expire, in nanoseconds; `u64::MAX` is never.
    deadline: AtomicU64,
    origin: Instant,
    origin_wall: WallClock,
}

impl core::fmt::Debug for Engine {
    /// Says sizes only: an engine holds keys.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("policies", &self.spd.load().len())
            .field("associations", &self.sad.read().len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes an engine with empty databases whose sequence leases live in memory.
    ///
    /// `seed` must be fresh for every start: IVs and SPIs are drawn from it. `wall` is what people's clocks
    /// show at `now`.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant, wall: WallClock) -> Self {
        let lease = Arc::new(MemoryLease::new(config.lease_block));
        Self::with_lease(config, seed, now, wall, lease)
    }

    /// As [`Engine::new`], with another keeper of sequence leases.
    #[must_use]
    pub fn with_lease(
        config: Config,
        seed: [u8; 32],
        now: Instant,
        wall: WallClock,
        lease: Arc<dyn Lease>,
    ) -> Self {
        let mut seeds = IvGenerator::new(seed);
        let mut hash_seed = [0; 8];
        seeds.random(&mut hash_seed);
        Self {
            config: ArcSwap::from_pointee(config),
            spd: ArcSwap::from_pointee(Spd::default()),
            sad: RwLock::new(Sad::new(u64::from_be_bytes(hash_seed))),
            lease,
            control: Mutex::new(()),
            events: Mutex::new(Events::default()),
            stats: Mutex::new(Stats::default()),
            fragments: Mutex::new(Reassembler::default()),
            hold: Mutex::new(Hold::default()),
            originated: Mutex::new(VecDeque::new()),
            suspect: Mutex::new(None),
            seeds: Mutex::new(seeds),
            workers: Mutex::new(Vec::new()),
            deadline: AtomicU64::new(u64::MAX),
            origin: now,
            origin_wall: wall,
        }
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Changes one field of the configuration; packets handled from now on see it.
    ///
    /// # Errors
    /// As [`Config::apply`].
    pub fn configure(&self, setting: Setting) -> Result<(), Error> {
        let _guard = self.control.lock();
        let mut config = Config::clone(&self.config.load());
        config.apply(setting)?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// What the engine has done since it was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = *self.stats.lock();
        stats.events_dropped = self.events.lock().dropped();
        let datagrams = self.fragments.lock().outcomes();
        (stats.reassembled, stats.reassembly_failed) = (datagrams.completed, datagrams.given_up);
        let hold = self.hold.lock();
        stats.outbound_waiting = hold.waiting() as u64;
        (stats.held_for_sa, stats.released) = hold.outcomes();
        stats
    }

    /// Takes the oldest event.
    pub fn poll_event(&self) -> Option<Event> {
        self.events.lock().pop()
    }

    /// Whether an event waits.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.lock().is_empty()
    }

    /// Takes an acquire back, for which no key manager has an answer: it may be made again, and what waits for it
    /// is dropped.
    ///
    /// Returns `false` if no such acquire is waited for.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# an error from a key manager frees what waits
    pub fn acquire_failed(&self, id: u32) -> bool {
        let Some(key) = self.events.lock().forget_acquire(id) else {
            return false;
        };
        self.give_up_acquire(&key);
        true
    }

    /// Notes that a key manager answers an acquire by an SA, with keys or still without. One between the ends that
    /// were asked for, with keys, ends the acquire: it may be made again. Any other, the opposite direction
    /// included, shows that somebody works on it: its time begins anew, what waits goes on waiting.
    ///
    /// Returns `false` if no such acquire is waited for, or if it is about other ends.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# the sequence number ties an answer to what was asked
    pub fn acquire_answered(&self, id: u32, sa: &SaView, now: Instant) -> bool {
        let until = now.plus(Duration::from_secs(self.config.load().larval_secs));
        self.events.lock().answer_acquire(id, sa, until)
    }

    fn wall(&self, now: Instant) -> WallClock {
        WallClock(
            self.origin_wall
                .0
                .saturating_add(now.since(self.origin).as_secs()),
        )
    }

    /// Makes sure that `poll_timeout` is not later than this.
    fn wake_at(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline.filter(|deadline| deadline.0 < self.deadline.load(Ordering::Relaxed))
        {
            self.deadline.fetch_min(deadline.0, Ordering::Relaxed);
        }
    }

    fn take_worker(&self) -> Worker {
        if let Some(worker) = self.workers.lock().pop() {
            return worker;
        }
        let mut seed = [0; 32];
        self.seeds.lock().random(&mut seed);
        Worker::new(seed)
    }

    fn put_back(&self, worker: Worker) {
        self.workers.lock().push(worker);
    }
}
