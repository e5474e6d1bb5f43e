//! The replay window: `check` before the ICV, `mark` only after it.
//! No lock, no packet and no SA may enter; turning the check off is the association's business.
//! Answers to: RFC 4303 section 3.4.3 and appendix A2, RFC 6479 (the ring).

use crate::error::{DropReason, Error};
use crate::terms::Sequence;

/// The largest window that may be asked for, in packets.
pub const WINDOW_MAX: u32 = 1 << 16;

const WORD_BITS: u64 = 64;

/// Which sequence numbers were seen: the highest, and a ring of bits behind it.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    size: u32,
    esn: bool,
    top: u64,
    /// A power of two of words, one more than the window can touch, so that the ring never meets itself.
    ring: Box<[u64]>,
}

/// A replay window as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowView {
    /// The highest sequence number seen.
    pub top: u64,
    /// Packets the window covers.
    pub size: u32,
    /// Bit `i % 64` of word `i / 64` says whether `top - i` was seen.
    pub bitmap: Vec<u64>,
}

impl ReplayWindow {
    /// Makes a window that has seen nothing.
    ///
    /// # Errors
    /// `OutOfRange` unless `size` is 1 to `WINDOW_MAX`.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
    //# A window of 32 must be possible, 64 should be the default, larger ones may exist.
    pub fn new(size: u32, esn: bool) -> Result<Self, Error> {
        if size == 0 || size > WINDOW_MAX {
            return Err(Error::OutOfRange {
                field: "replay_window",
            });
        }
        let touched = (u64::from(size) - 1) / WORD_BITS + 2;
        let words = usize::try_from(touched.next_power_of_two()).unwrap_or(usize::MAX);
        Ok(Self {
            size,
            esn,
            top: 0,
            ring: vec![0; words].into_boxed_slice(),
        })
    }

    /// The highest sequence number seen.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Says whether a packet with these low bits may be new, and its full number. Nothing is remembered.
    ///
    /// # Errors
    /// `Replay` for a number that was seen, is older than the window, or is zero.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
    //# The duplicate test comes first and rejects before any cryptography is spent.
    pub fn check(&self, low: u32) -> Result<Sequence, DropReason> {
        let sequence = self.infer(low)?;
        if self.is_new(sequence) {
            Ok(sequence)
        } else {
            Err(DropReason::Replay)
        }
    }

    /// Remembers a packet whose ICV was good.
    ///
    /// # Errors
    /// `Replay` if the number was marked or left the window since `check`: another packet was faster.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.4.3
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
    //# The window moves only for a packet whose ICV was verified.
    //= https://www.rfc-editor.org/rfc/rfc9333#section-4
    //# a receiver takes gaps in sequence numbers
    pub fn mark(&mut self, sequence: Sequence) -> Result<(), DropReason> {
        if !self.is_new(sequence) {
            return Err(DropReason::Replay);
        }
        let number = sequence.0;
        if number > self.top {
            self.advance(number);
        }
        let (word, bit) = self.place(number);
        if let Some(word) = self.ring.get_mut(word) {
            *word |= bit;
        }
        Ok(())
    }

    /// Completes the low bits by the high half that lies nearest to the window.
    ///
    /// # Errors
    /// `Replay` if that half would be below zero or above 2^32-1.
    //= https://www.rfc-editor.org/rfc/rfc4303#appendix-A2.2
    //# The high half is guessed from the low bits and the window: case A lies in one subspace, case B in two.
    pub fn infer(&self, low: u32) -> Result<Sequence, DropReason> {
        if !self.esn {
            return Ok(Sequence(u64::from(low)));
        }
        let top = Sequence(self.top);
        let bottom = top.low().wrapping_sub(self.size - 1);
        let high = if top.low() >= self.size - 1 {
            if low >= bottom {
                Some(top.high())
            } else {
                top.high().checked_add(1)
            }
        } else if low >= bottom {
            top.high().checked_sub(1)
        } else {
            Some(top.high())
        };
        let high = high.ok_or(DropReason::Replay)?;
        Ok(Sequence(u64::from(high) << 32 | u64::from(low)))
    }

    /// What people see of it.
    #[must_use]
    pub fn view(&self) -> WindowView {
        let mut bitmap = vec![0_u64; usize::try_from(self.size.div_ceil(64)).unwrap_or(0)];
        for (index, word) in (0_u64..).zip(bitmap.iter_mut()) {
            for bit in 0..WORD_BITS {
                let behind = index * WORD_BITS + bit;
                let number = self.top.checked_sub(behind).filter(|number| *number > 0);
                let seen =
                    number.is_some_and(|number| behind < u64::from(self.size) && self.is_marked(number));
                *word |= u64::from(seen) << bit;
            }
        }
        WindowView {
            top: self.top,
            size: self.size,
            bitmap,
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
    //# The first packet has number 1: zero was never sent.
    fn is_new(&self, sequence: Sequence) -> bool {
        let number = sequence.0;
        match self.top.checked_sub(number) {
            None => true,
            Some(behind) => number != 0 && behind < u64::from(self.size) && !self.is_marked(number),
        }
    }

    fn is_marked(&self, number: u64) -> bool {
        let (word, bit) = self.place(number);
        self.ring.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The word of the ring that holds a number, and the number's bit in it.
    fn place(&self, number: u64) -> (usize, u64) {
        let words = self.ring.len() as u64;
        let word = (number / WORD_BITS) & (words - 1);
        (usize::try_from(word).unwrap_or(0), 1 << (number % WORD_BITS))
    }

    //= https://www.rfc-editor.org/rfc/rfc6479#section-3
    //# Moving the window clears the words it enters, at most all of them; no bit is shifted.
    fn advance(&mut self, number: u64) {
        let entered = number / WORD_BITS - self.top / WORD_BITS;
        for step in 0..entered.min(self.ring.len() as u64) {
            let (word, _) = self.place(number - step * WORD_BITS);
            if let Some(word) = self.ring.get_mut(word) {
                *word = 0;
            }
        }
        self.top = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The obvious window: every number ever seen.
    #[derive(Clone, Default)]
    struct Oracle {
        seen: BTreeSet<u64>,
    }

    impl Oracle {
        fn top(&self) -> u64 {
            self.seen.last().copied().unwrap_or(0)
        }

        fn accepts(&self, number: u64, size: u32) -> bool {
            number != 0 && number + u64::from(size) > self.top() && !self.seen.contains(&number)
        }
    }

    fn window(size: u32, esn: bool) -> ReplayWindow {
        ReplayWindow::new(size, esn).unwrap()
    }

    fn at(size: u32, top: u64) -> ReplayWindow {
        let mut window = window(size, true);
        window.mark(Sequence(top)).unwrap();
        window
    }

    /// All packets of a step: check, then mark, as behind a good ICV.
    fn accept(window: &mut ReplayWindow, low: u32) -> Result<u64, DropReason> {
        let sequence = window.check(low)?;
        window.mark(sequence).unwrap();
        Ok(sequence.0)
    }

    #[test]
    fn sizes_outside_the_range_are_refused() {
        for size in [0, WINDOW_MAX + 1, u32::MAX] {
            assert_eq!(
                ReplayWindow::new(size, false).unwrap_err(),
                Error::OutOfRange {
                    field: "replay_window"
                }
            );
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
    //# The first packet has number 1: zero was never sent.
    #[test]
    fn zero_is_never_valid_and_low_zero_is_above_two_to_the_32() {
        assert_eq!(window(64, false).check(0), Err(DropReason::Replay));
        assert_eq!(window(64, true).check(0), Err(DropReason::Replay));
        assert_eq!(at(64, 0xffff_fff0).check(0), Ok(Sequence(1 << 32)));
    }

    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.4.3
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
    //# The window moves only for a packet whose ICV was verified.
    #[test]
    fn check_changes_nothing() {
        let mut window = window(32, false);
        accept(&mut window, 10).unwrap();
        let before = window.view();
        for low in [1, 9, 10, 11, 500, u32::MAX] {
            let _seen = window.check(low);
        }
        assert_eq!(window.view(), before);
        assert_eq!(accept(&mut window, 9), Ok(9));
    }

    /// Every order of arrivals out of a small range, against the oracle: 8^6 runs for each small window.
    #[test]
    fn every_short_run_agrees_with_the_oracle() {
        const NUMBERS: u32 = 8;
        const ARRIVALS: u32 = 6;
        for size in [1, 2, 3, 5] {
            for mut run in 0..NUMBERS.pow(ARRIVALS) {
                let (mut window, mut oracle) = (window(size, false), Oracle::default());
                for _ in 0..ARRIVALS {
                    let low = run % NUMBERS;
                    run /= NUMBERS;
                    let expected = oracle.accepts(u64::from(low), size);
                    assert_eq!(accept(&mut window, low).is_ok(), expected);
                    if expected {
                        oracle.seen.insert(u64::from(low));
                    }
                }
            }
        }
    }

    /// Every pair (top, number) near the edges of words and of the ring, for every size that rounds differently.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
    //# A window of 32 must be possible, 64 should be the default, larger ones may exist.
    //= https://www.rfc-editor.org/rfc/rfc6479#section-3
    //# Moving the window clears the words it enters, at most all of them; no bit is shifted.
    #[test]
    fn every_distance_agrees_with_the_oracle() {
        for size in [31, 32, 33, 63, 64, 65, 127, 128, 129, 192] {
            for top in (1..300).chain([100_000, 100_031, 100_032, 100_063, 100_064]) {
                let mut fresh = window(size, false);
                accept(&mut fresh, top).unwrap();
                for low in top.saturating_sub(400)..top + 400 {
                    let expected = low != 0 && low != top && low + size > top;
                    assert_eq!(
                        fresh.check(low).is_ok(),
                        expected,
                        "size {size}, top {top}, number {low}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_view_shows_what_was_seen_behind_the_top() {
        let mut window = window(100, false);
        for low in [1, 2, 70, 100] {
            accept(&mut window, low).unwrap();
        }
        let view = window.view();
        assert_eq!((view.top, view.size), (100, 100));
        assert_eq!(view.bitmap, [1 | 1 << 30, 1 << (98 - 64) | 1 << (99 - 64)]);
        accept(&mut window, 101).unwrap();
        assert_eq!(
            window.view().bitmap,
            [0b11 | 1 << 31, 1 << (99 - 64)],
            "1 left the window"
        );
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#appendix-A2.2
    //# The high half is guessed from the low bits and the window: case A lies in one subspace, case B in two.
    #[test]
    fn the_high_half_is_the_nearest() {
        // Case A: the whole window lies in subspace 7.
        let case_a = at(64, (7 << 32) + 1000);
        assert_eq!(case_a.check(937), Ok(Sequence((7 << 32) + 937)));
        assert_eq!(
            case_a.check(936),
            Ok(Sequence((8 << 32) + 936)),
            "below the bottom is the next subspace"
        );
        assert_eq!(case_a.check(u32::MAX), Ok(Sequence((8 << 32) - 1)));
        // Case B: the window reaches back into subspace 6.
        let case_b = at(64, (7 << 32) + 10);
        assert_eq!(case_b.check(9), Ok(Sequence((7 << 32) + 9)));
        assert_eq!(case_b.check(u32::MAX), Ok(Sequence((7 << 32) - 1)));
        assert_eq!(
            case_b.check(u32::MAX - 52),
            Ok(Sequence((7 << 32) - 53)),
            "the bottom"
        );
        assert_eq!(
            case_b.check(u32::MAX - 53),
            Ok(Sequence((8 << 32) - 54)),
            "below it is far ahead"
        );
        // The edge between the cases.
        assert_eq!(at(64, (7 << 32) + 63).check(0), Ok(Sequence(7 << 32)));
        assert_eq!(
            at(64, (7 << 32) + 62).check(u32::MAX),
            Ok(Sequence((7 << 32) - 1))
        );
    }

    #[test]
    fn there_is_nothing_before_the_beginning_or_after_the_end() {
        assert_eq!(window(64, true).check(u32::MAX), Err(DropReason::Replay));
        assert_eq!(window(64, true).check(u32::MAX - 62), Err(DropReason::Replay));
        assert_eq!(
            window(64, true).check(u32::MAX - 63),
            Ok(Sequence(u64::from(u32::MAX) - 63))
        );
        let last = at(64, u64::MAX);
        assert_eq!(last.check(5), Err(DropReason::Replay));
        assert_eq!(last.check(u32::MAX), Err(DropReason::Replay));
        assert_eq!(last.check(u32::MAX - 1), Ok(Sequence(u64::MAX - 1)));
    }

    fn sizes() -> impl Strategy<Value = u32> {
        prop_oneof![
            Just(32),
            Just(64),
            Just(65),
            Just(1024),
            Just(4096),
            1..=WINDOW_MAX
        ]
    }

    /// Steps relative to the top: mostly near, sometimes far ahead.
    fn steps() -> impl Strategy<Value = Vec<i64>> {
        let step = prop_oneof![5 => -40i64..40, 3 => -5000i64..200, 1 => -70_000i64..0, 1 => 0i64..100_000];
        proptest::collection::vec(step, 1..300)
    }

    proptest! {
        //= https://www.rfc-editor.org/rfc/rfc9333#section-4
        //# a receiver takes gaps in sequence numbers
        #[test]
        fn a_long_run_agrees_with_the_oracle(size in sizes(), steps in steps()) {
            let (mut window, mut oracle) = (window(size, false), Oracle::default());
            for step in steps {
                let number = oracle.top().saturating_add_signed(step);
                let expected = oracle.accepts(number, size);
                prop_assert_eq!(accept(&mut window, u32::try_from(number).unwrap()).is_ok(), expected);
                if expected {
                    oracle.seen.insert(number);
                }
                prop_assert_eq!(window.top(), oracle.top());
            }
            let view = window.view();
            for behind in 0..u64::from(size) {
                let bit = view.bitmap[(behind / 64) as usize] >> (behind % 64) & 1;
                let seen = oracle.top().checked_sub(behind).is_some_and(|n| oracle.seen.contains(&n));
                prop_assert_eq!(bit == 1, seen, "{} behind", behind);
            }
        }

        /// Around every border of subspaces, what a sender means is what the receiver understands.
        #[test]
        fn esn_agrees_with_the_oracle(size in sizes(), high in 1u64..5, offset in -6000i64..6000, steps in steps()) {
            let start = (high << 32).saturating_add_signed(offset);
            let (mut window, mut oracle) = (at(size, start), Oracle { seen: BTreeSet::from([start]) });
            for step in steps {
                let number = oracle.top().saturating_add_signed(step);
                let expected = oracle.accepts(number, size);
                let low = Sequence(number).low();
                if expected {
                    prop_assert_eq!(accept(&mut window, low), Ok(number));
                    oracle.seen.insert(number);
                } else {
                    // Too old looks like far ahead: the ICV, which covers the high half, will refuse it.
                    prop_assert_ne!(window.check(low), Ok(Sequence(number)));
                }
            }
        }
    }
}
