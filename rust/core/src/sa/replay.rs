//! The replay window: `check` before the ICV, `mark` only after it.
//! No lock, no packet and no SA may enter; turning the check off is the association's business.
//! Answers to: RFC 4303 section 3.4.3 and appendix A2, RFC 6479 (the ring).

use crate::error::{DropReason, Error};
use crate::terms::Sequence;

/// The largest window that may be asked for, in packets.
pub const WINDOW_MAX: u32 = 4096;

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
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
    //# The window moves only for a packet whose ICV was verified.
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
