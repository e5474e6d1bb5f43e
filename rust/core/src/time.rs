//! Time as an argument: a monotonic instant and a wall clock, both handed in by the caller.
//! Reading a clock may not enter: `clippy.toml` bans it in this crate.
//! Answers to: ARCHITECTURE.md D2; clock jumps of `docs/bug-classes.md` rows 45 and 46.

use core::time::Duration;

/// A point on the caller's monotonic clock, in nanoseconds since an origin of the caller's choice.
///
/// Subtraction saturates: a hostile or broken clock can stall a lifetime, never panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Makes an instant from whole seconds since the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Makes an instant from milliseconds since the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Whole seconds since the origin.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The time since `earlier`, zero if the clock went backwards.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved forward, saturating at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Seconds since 1970-01-01 UTC, used only for what people read (dumps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    // bug-row: 46
    #[test]
    fn a_clock_that_goes_back_yields_zero() {
        assert_eq!(Instant::from_secs(1).since(Instant::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn the_end_of_time_saturates() {
        assert_eq!(Instant(u64::MAX).plus(Duration::from_secs(1)), Instant(u64::MAX));
        assert_eq!(Instant::from_secs(u64::MAX), Instant(u64::MAX));
    }
}
