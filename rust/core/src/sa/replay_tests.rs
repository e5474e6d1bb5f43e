//! The replay window against a set of numbers: every short run for small windows, long ones for windows to 2^16.
//! No packet and no SA may enter; what a test of one case can say stands in `replay.rs`.
//! Answers to: RFC 4303 section 3.4.3 and appendix A2, RFC 6479.

use super::replay::{ReplayWindow, WINDOW_MAX};
use crate::error::DropReason;
use crate::terms::Sequence;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Where the low half starts again.
const WRAP: u64 = 1 << 32;

/// The obvious window: every number ever seen, and nothing clever.
#[derive(Clone, Default)]
struct Oracle {
    seen: BTreeSet<u64>,
}

impl Oracle {
    fn top(&self) -> u64 {
        self.seen.last().copied().unwrap_or(0)
    }

    fn accepts(&self, number: u64, size: u32) -> bool {
        let behind = self.top().saturating_sub(number);
        number != 0 && behind < u64::from(size) && !self.seen.contains(&number)
    }

    /// The number that a receiver must take low bits for: the only one not below the window and less than 2^32
    /// above its bottom. In 128 bits, where nothing wraps.
    fn completes(&self, low: u32, size: u32) -> Option<u64> {
        let bottom = i128::from(self.top()) - i128::from(size) + 1;
        let cycle = i128::from(WRAP);
        let number = bottom + (i128::from(low) - bottom).rem_euclid(cycle);
        u64::try_from(number).ok()
    }
}

/// One arrival at both: what a sender means by `number`, checked, and marked as behind a good ICV.
fn arrive(window: &mut ReplayWindow, oracle: &mut Oracle, number: u64, size: u32) {
    let low = Sequence(number).low();
    let before = window.top();
    let completed = window.check(low);
    if oracle.accepts(number, size) {
        assert_eq!(completed, Ok(Sequence(number)), "size {size}, top {before}");
        assert_eq!(window.mark(Sequence(number)), Ok(()));
        assert_eq!(
            window.mark(Sequence(number)),
            Err(DropReason::Replay),
            "once is all"
        );
        oracle.seen.insert(number);
    } else {
        // Too old looks like far ahead: the ICV, which covers the high half, will refuse it.
        assert_ne!(completed, Ok(Sequence(number)), "size {size}, top {before}");
        assert_eq!(window.mark(Sequence(number)), Err(DropReason::Replay));
    }
    assert_eq!(window.top(), oracle.top());
}

/// All of `window` against the set: each bit of the view, and each answer to `mark` near the edges.
fn agree(window: &ReplayWindow, oracle: &Oracle, size: u32) {
    let view = window.view();
    for behind in 0..u64::from(size) {
        let word = view.bitmap[usize::try_from(behind / 64).unwrap()];
        let number = oracle.top().checked_sub(behind).filter(|number| *number > 0);
        let seen = number.is_some_and(|number| oracle.seen.contains(&number));
        assert_eq!(word >> (behind % 64) & 1 == 1, seen, "{behind} behind");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4303#appendix-A2.2
//# The high half is guessed from the low bits and the window: case A lies in one subspace, case B in two.
/// Every order of five arrivals around the wrap, for each small window and each place of the window at it.
#[test]
fn every_short_run_around_the_wrap_agrees_with_the_oracle() {
    const NUMBERS: u64 = 7;
    const ARRIVALS: u32 = 5;
    for size in 1..=6_u32 {
        for first in [WRAP - 6, WRAP - 3, WRAP - 1, WRAP, WRAP + 2, 2 * WRAP - 3] {
            for run in 0..NUMBERS.pow(ARRIVALS) {
                let mut window = ReplayWindow::new(size, true).unwrap();
                let mut oracle = Oracle::default();
                // Number `first` is the one that finds its subspace; before it, nothing above 2^32 can be meant.
                window.mark(Sequence(first)).unwrap();
                oracle.seen.insert(first);
                let mut rest = run;
                for _ in 0..ARRIVALS {
                    arrive(&mut window, &mut oracle, first - 3 + rest % NUMBERS, size);
                    rest /= NUMBERS;
                }
            }
        }
    }
}

/// Every order of six arrivals from the beginning, with ESN and without.
#[test]
fn every_short_run_from_the_beginning_agrees_with_the_oracle() {
    const NUMBERS: u64 = 7;
    const ARRIVALS: u32 = 6;
    for esn in [false, true] {
        for size in 1..=5_u32 {
            for run in 0..NUMBERS.pow(ARRIVALS) {
                let mut window = ReplayWindow::new(size, esn).unwrap();
                let (mut oracle, mut rest) = (Oracle::default(), run);
                for _ in 0..ARRIVALS {
                    arrive(&mut window, &mut oracle, rest % NUMBERS, size);
                    rest /= NUMBERS;
                }
                agree(&window, &oracle, size);
            }
        }
    }
}

/// Each distance from the top, for every size whose ring has another number of words, to the largest.
#[test]
fn every_distance_in_windows_of_every_power_of_two() {
    for bits in 0..=16 {
        for size in [(1_u32 << bits) - 1, 1 << bits, (1 << bits) + 1] {
            if size == 0 || size > WINDOW_MAX {
                continue;
            }
            for (esn, top) in [(false, 200_000), (true, WRAP + 17), (true, 3 * WRAP + 70_000)] {
                let mut window = ReplayWindow::new(size, esn).unwrap();
                window.mark(Sequence(top)).unwrap();
                let edge = u64::from(size);
                let behind = (1..edge.min(300)).chain(edge.saturating_sub(70).max(1)..edge + 70);
                for behind in behind {
                    let number = top - behind;
                    let got = window.check(Sequence(number).low());
                    let inside = behind < edge;
                    assert_eq!(
                        got == Ok(Sequence(number)),
                        inside,
                        "size {size}, ESN {esn}, {behind} behind"
                    );
                }
            }
        }
    }
}

/// The largest window, filled to the last bit from the far end, then moved on by one packet at a time.
#[test]
fn the_largest_window_is_filled_and_moves_on() {
    let size = u64::from(WINDOW_MAX);
    let mut window = ReplayWindow::new(WINDOW_MAX, true).unwrap();
    let top = WRAP + size / 2;
    window.mark(Sequence(top)).unwrap();
    for number in top + 1 - size..top {
        let sequence = window.check(Sequence(number).low()).unwrap();
        assert_eq!(sequence, Sequence(number));
        window.mark(sequence).unwrap();
    }
    assert!(window.view().bitmap.iter().all(|word| *word == u64::MAX));
    for number in top + 1..top + 200 {
        assert_eq!(window.mark(Sequence(number - size)), Err(DropReason::Replay));
        window.mark(Sequence(number)).unwrap();
        assert_eq!(window.mark(Sequence(number)), Err(DropReason::Replay));
    }
    assert!(window.view().bitmap.iter().all(|word| *word == u64::MAX));
}

fn sizes() -> impl Strategy<Value = u32> {
    let powers = (0..=16_u32).prop_map(|bits| (1 << bits).min(WINDOW_MAX));
    prop_oneof![powers, 1..=WINDOW_MAX]
}

/// Tops where halves wrap, where everything begins and where it ends, and anywhere.
fn tops() -> impl Strategy<Value = u64> {
    let near = -70_000_i64..70_000;
    prop_oneof![
        (0_u64..6, near).prop_map(|(high, offset)| (high << 32).saturating_add_signed(offset)),
        (0_u64..70_000).prop_map(|back| u64::MAX - back),
        any::<u64>(),
    ]
}

/// Steps relative to the top: near, about a window away, and as far ahead as a receiver can follow.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        5 => -80_i64..80,
        3 => -70_000_i64..300,
        1 => 0_i64..200_000,
        1 => 0_i64..0x7fff_0000,
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// From any place: what a sender means is what the receiver understands, and the set is what it remembers.
    #[test]
    fn a_long_run_with_esn_agrees_with_the_oracle(size in sizes(), top in tops(), steps in steps()) {
        let mut window = ReplayWindow::new(size, true).unwrap();
        let mut oracle = Oracle::default();
        if top > 0 {
            window.mark(Sequence(top)).unwrap();
            oracle.seen.insert(top);
        }
        for step in steps {
            let number = oracle.top().saturating_add_signed(step);
            arrive(&mut window, &mut oracle, number, size);
        }
        agree(&window, &oracle, size);
    }

    #[test]
    fn a_long_run_without_esn_agrees_with_the_oracle(size in sizes(), steps in steps()) {
        let mut window = ReplayWindow::new(size, false).unwrap();
        let mut oracle = Oracle::default();
        for step in steps {
            let number = oracle.top().saturating_add_signed(step).min(u64::from(u32::MAX));
            arrive(&mut window, &mut oracle, number, size);
        }
        agree(&window, &oracle, size);
    }

    /// Any low bits at any place: the high half is that of the one number that can be meant, or there is none.
    #[test]
    fn the_high_half_is_the_only_one_that_can_be_meant(
        size in sizes(), top in tops(), low in any::<u32>(), near in -70_000_i64..70_000, is_near in any::<bool>()
    ) {
        let mut window = ReplayWindow::new(size, true).unwrap();
        let mut oracle = Oracle::default();
        if top > 0 {
            window.mark(Sequence(top)).unwrap();
            oracle.seen.insert(top);
        }
        let low = if is_near { Sequence(top.wrapping_add_signed(near)).low() } else { low };
        prop_assert_eq!(window.infer(low).ok().map(|sequence| sequence.0), oracle.completes(low, size));
    }
}
