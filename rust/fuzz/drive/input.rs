//! `Input`: the fuzzer's bytes read as decisions; when they end, every further decision is zero.
//! No packet format may enter.
//! Answers to: nothing; zero must always be the honest choice, so that short inputs are accepted ones.

/// What is left of an input.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    /// A number below `end`; zero for an `end` of zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.u16()).checked_rem(end).unwrap_or(0)
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// At most that many bytes.
    pub(crate) fn take(&mut self, at_most: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(at_most.min(self.0.len()));
        self.0 = rest;
        front
    }

    /// All that is left, if it is not longer than that.
    pub(crate) fn rest(&mut self, at_most: usize) -> &'a [u8] {
        self.take(at_most)
    }

    /// A deviation: three quarters of all bytes, and no byte at all, are none.
    pub(crate) fn deviation(&mut self) -> u8 {
        self.byte().saturating_sub(191)
    }
}
