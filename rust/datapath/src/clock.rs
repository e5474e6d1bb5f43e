//! The clocks: the one place that reads them, for the engine that may not.
//! No arithmetic and no timer may enter.
//! Answers to: ARCHITECTURE.md D2, clock_gettime(2).

use nix::time::{ClockId, clock_gettime};
use sallet_core::time::{Instant, WallClock};

/// Now, on a monotonic clock that also counts while the machine sleeps.
///
/// An SA's lifetime goes on during suspend, so this is `CLOCK_BOOTTIME` and not `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> Instant {
    let (secs, nanos) = read(ClockId::CLOCK_BOOTTIME);
    Instant(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Now, in seconds since 1970, for what people read.
#[must_use]
pub fn wall() -> WallClock {
    WallClock(read(ClockId::CLOCK_REALTIME).0)
}

/// A clock that cannot be read stands still at zero: lifetimes stall, nothing panics.
fn read(clock: ClockId) -> (u64, u64) {
    clock_gettime(clock).map_or((0, 0), |time| {
        (
            u64::try_from(time.tv_sec()).unwrap_or(0),
            u64::try_from(time.tv_nsec()).unwrap_or(0),
        )
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_moves_forward() {
        let before = super::now();
        assert!(before.0 > 0 && super::wall().0 > 1_700_000_000);
        assert!(super::now() >= before);
    }
}
