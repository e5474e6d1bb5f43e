//! Lifetimes: what an SA has carried, its soft and hard limits, and each limit's one report.
//! No key, no sequence number and no clock may enter.
//! Answers to: RFC 4301 section 4.4.2.1 (lifetime), RFC 2367 section 2.3.2.

use crate::sa::params::State;
use crate::time::{Instant, WallClock};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use core::time::Duration;

/// Four limits at once; the first that is reached counts. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes carried.
    pub bytes: u64,
    /// Packets carried.
    pub packets: u64,
    /// Seconds since it was added.
    pub add_secs: u64,
    /// Seconds since its first packet.
    pub use_secs: u64,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiry {
    /// The warning: it still serves, and a key manager should make the next one.
    Soft,
    /// The end: it serves no longer.
    Hard,
}

/// What an SA has carried, and since when.
#[derive(Debug)]
pub(crate) struct Usage {
    bytes: AtomicU64,
    packets: AtomicU64,
    /// Nanoseconds of the first packet plus one; 0 is never.
    first_used: AtomicU64,
    created_at: Instant,
    created: WallClock,
}

impl Usage {
    pub(crate) fn new(now: Instant, wall: WallClock) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            first_used: AtomicU64::new(0),
            created_at: now,
            created: wall,
        }
    }

    /// Counts one packet.
    pub(crate) fn count(&self, bytes: u64, now: Instant) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.packets.fetch_add(1, Ordering::Relaxed);
        if self.first_used.load(Ordering::Relaxed) == 0 {
            let first = now.0.saturating_add(1);
            // Whoever loses this race saw a first packet of the same moment.
            let _lost = self
                .first_used
                .compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    pub(crate) fn created(&self) -> WallClock {
        self.created
    }

    fn first_use(&self) -> Option<Instant> {
        self.first_used
            .load(Ordering::Relaxed)
            .checked_sub(1)
            .map(Instant)
    }

    /// The first packet's time of day, told by the monotonic clock: a jump of the wall clock changes nothing.
    pub(crate) fn first_used(&self) -> Option<WallClock> {
        let since = |at: Instant| at.since(self.created_at).as_secs();
        self.first_use()
            .map(|at| WallClock(self.created.0.saturating_add(since(at))))
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
    //# Time and byte limits may be in force together; the first to be reached takes precedence.
    fn reached(&self, limits: &Limits, now: Instant) -> bool {
        let amount = |limit: u64, value: u64| limit != 0 && value >= limit;
        amount(limits.bytes, self.bytes())
            || amount(limits.packets, self.packets())
            || self.time_limit(limits).is_some_and(|end| end <= now)
    }

    /// The earlier of the two time limits.
    fn time_limit(&self, limits: &Limits) -> Option<Instant> {
        let end = |start: Instant, secs: u64| (secs != 0).then(|| start.plus(Duration::from_secs(secs)));
        let added = end(self.created_at, limits.add_secs);
        let used = self.first_use().and_then(|first| end(first, limits.use_secs));
        match (added, used) {
            (Some(added), Some(used)) => Some(added.min(used)),
            (added, used) => added.or(used),
        }
    }
}

const FRESH: u8 = 0;
const SOFT_REPORTED: u8 = 1;
const ENDED: u8 = 2;

/// The limits of one SA and how far it went through them.
#[derive(Debug)]
pub(crate) struct Lifetime {
    soft: Limits,
    hard: Limits,
    phase: AtomicU8,
}

impl Lifetime {
    pub(crate) fn new(soft: Limits, hard: Limits) -> Self {
        Self {
            soft,
            hard,
            phase: AtomicU8::new(FRESH),
        }
    }

    /// Says which limit was reached and not reported yet; hard before soft, and nothing after hard.
    pub(crate) fn report(&self, usage: &Usage, now: Instant) -> Option<Expiry> {
        let phase = self.phase.load(Ordering::Acquire);
        if phase != ENDED && usage.reached(&self.hard, now) {
            return (self.phase.swap(ENDED, Ordering::AcqRel) != ENDED).then_some(Expiry::Hard);
        }
        if phase == FRESH && usage.reached(&self.soft, now) {
            let first =
                self.phase
                    .compare_exchange(FRESH, SOFT_REPORTED, Ordering::AcqRel, Ordering::Acquire);
            return first.is_ok().then_some(Expiry::Soft);
        }
        None
    }

    /// Ends the SA without a report: somebody took it out.
    pub(crate) fn end(&self) {
        self.phase.store(ENDED, Ordering::Release);
    }

    /// The state of an SA that has keys.
    pub(crate) fn state(&self) -> State {
        match self.phase.load(Ordering::Acquire) {
            FRESH => State::Mature,
            SOFT_REPORTED => State::Dying,
            _ => State::Dead,
        }
    }

    /// The next moment at which time alone brings a report.
    pub(crate) fn deadline(&self, usage: &Usage) -> Option<Instant> {
        let hard = usage.time_limit(&self.hard);
        match self.phase.load(Ordering::Acquire) {
            FRESH => match (usage.time_limit(&self.soft), hard) {
                (Some(soft), Some(hard)) => Some(soft.min(hard)),
                (soft, hard) => soft.or(hard),
            },
            SOFT_REPORTED => hard,
            _ => None,
        }
    }
}
