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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn limits(add_secs: u64, use_secs: u64) -> Limits {
        Limits {
            add_secs,
            use_secs,
            ..Limits::default()
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
    //# Time and byte limits may be in force together; the first to be reached takes precedence.
    #[test]
    fn whichever_limit_comes_first_counts() {
        let hard = Limits {
            bytes: 100,
            packets: 3,
            add_secs: 60,
            use_secs: 20,
        };
        let cases = [
            (vec![(100, 1)], 1),
            (vec![(1, 1), (1, 2), (1, 3)], 3),
            (vec![(1, 1), (1, 21)], 21),
            (vec![(1, 50), (1, 60)], 60),
        ];
        for (packets, ends) in cases {
            let (usage, lifetime) = (
                Usage::new(secs(0), WallClock(0)),
                Lifetime::new(Limits::default(), hard),
            );
            for (bytes, at) in packets {
                usage.count(bytes, secs(at));
                let expected = (at == ends).then_some(Expiry::Hard);
                assert_eq!(lifetime.report(&usage, secs(at)), expected, "at {at}");
            }
            assert_eq!(lifetime.state(), State::Dead);
        }
    }

    #[test]
    fn hard_goes_before_soft_and_silences_it() {
        let (usage, lifetime) = (
            Usage::new(secs(0), WallClock(0)),
            Lifetime::new(limits(10, 0), limits(10, 0)),
        );
        assert_eq!(lifetime.report(&usage, secs(10)), Some(Expiry::Hard));
        assert_eq!(lifetime.report(&usage, secs(11)), None);
    }

    #[test]
    fn the_deadline_follows_the_phase_and_the_first_use() {
        let (usage, lifetime) = (
            Usage::new(secs(100), WallClock(0)),
            Lifetime::new(limits(50, 0), limits(80, 5)),
        );
        assert_eq!(lifetime.deadline(&usage), Some(secs(150)));
        assert_eq!(lifetime.report(&usage, secs(150)), Some(Expiry::Soft));
        assert_eq!(lifetime.deadline(&usage), Some(secs(180)));
        usage.count(1, secs(160));
        assert_eq!(lifetime.deadline(&usage), Some(secs(165)));
        assert_eq!(lifetime.report(&usage, secs(165)), Some(Expiry::Hard));
        assert_eq!(lifetime.deadline(&usage), None);
    }

    // bug-row: 46
    #[test]
    fn a_clock_that_goes_back_expires_nothing() {
        let (usage, lifetime) = (
            Usage::new(secs(100), WallClock(7)),
            Lifetime::new(limits(1, 1), limits(2, 2)),
        );
        usage.count(1, secs(50));
        assert_eq!(lifetime.report(&usage, secs(50)), None);
        assert_eq!(usage.first_used(), Some(WallClock(7)));
        let endless = Lifetime::new(limits(u64::MAX, 0), limits(0, u64::MAX));
        assert_eq!(endless.report(&usage, secs(1_000_000)), None);
    }

    proptest! {
        /// Whatever happens in whatever order: at most one soft, then at most one hard, then nothing.
        #[test]
        fn reports_come_once_and_in_order(
            soft in (0u64..500, 0u64..10, 0u64..20, 0u64..20),
            hard in (0u64..500, 0u64..10, 0u64..20, 0u64..20),
            steps in proptest::collection::vec((0u64..3, proptest::option::of(0u64..100)), 0..40),
        ) {
            let limits = |(bytes, packets, add_secs, use_secs)| Limits { bytes, packets, add_secs, use_secs };
            let (usage, lifetime) = (Usage::new(secs(3), WallClock(0)), Lifetime::new(limits(soft), limits(hard)));
            let (mut now, mut reports) = (3, Vec::new());
            for (passed, packet) in steps {
                now += passed;
                if let Some(bytes) = packet {
                    usage.count(bytes, secs(now));
                }
                // What the deadline promises is what a later look finds.
                let due = lifetime.deadline(&usage).is_some_and(|deadline| deadline <= secs(now));
                let report = lifetime.report(&usage, secs(now));
                prop_assert!(!due || report.is_some());
                reports.extend(report);
            }
            let allowed = [vec![], vec![Expiry::Soft], vec![Expiry::Hard], vec![Expiry::Soft, Expiry::Hard]];
            prop_assert!(allowed.contains(&reports), "{reports:?}");
        }
    }
}
