//! `IvGenerator`: where explicit IVs come from: an epoch with a leased counter, or a seeded random stream.
//! No clock and no source of randomness may enter: the seed is an argument, so runs replay.
//! Answers to: RFC 4106 section 3, RFC 3602 section 3, NIST SP 800-38D section 8.2.1; ARCHITECTURE.md D7.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// How many bits of an explicit IV count packets; the 24 above them are the epoch.
const COUNTER_BITS: u32 = 40;

/// Makes the IVs of one engine start. A seed must be used for one start only.
pub struct IvGenerator {
    epoch: u64,
    random: ChaCha20Rng,
}

impl IvGenerator {
    /// Counters from here on have no explicit IV: the SA ends at 2^40 packets.
    pub const COUNTER_END: u64 = 1 << COUNTER_BITS;

    /// Starts a generator: 24 bits of the seeded stream become the epoch, the rest serves CBC.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        let epoch = u64::from(random.next_u32() >> 8);
        Self { epoch, random }
    }

    /// The IV for packet `counter` of an SA: epoch and counter, both big-endian; none from 2^40 on.
    ///
    /// Unique for a key as long as a counter is: who hands out counters (the lease) answers for that.
    //= https://www.rfc-editor.org/rfc/rfc4106#section-3.1
    //# for one key no IV value is used twice
    #[must_use]
    pub fn explicit(&self, counter: u64) -> Option<[u8; 8]> {
        (counter < Self::COUNTER_END).then(|| ((self.epoch << COUNTER_BITS) | counter).to_be_bytes())
    }

    /// Fills `iv` with bytes nobody can predict from earlier ones.
    //= https://www.rfc-editor.org/rfc/rfc3602#section-3
    //# the IV is chosen at random and cannot be predicted
    pub fn random(&mut self, iv: &mut [u8]) {
        self.random.fill_bytes(iv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    //= https://www.rfc-editor.org/rfc/rfc4106#section-3.1
    //# for one key no IV value is used twice
    #[test]
    fn explicit_is_epoch_then_counter_and_ends() {
        let ivs = IvGenerator::new([7; 32]);
        let first = ivs.explicit(0).unwrap();
        let last = ivs.explicit(IvGenerator::COUNTER_END - 1).unwrap();
        assert_eq!(first[..3], last[..3]);
        assert_eq!(first[3..], [0; 5]);
        assert_eq!(last[3..], [0xff; 5]);
        assert_eq!(ivs.explicit(0x01_0203_0405).unwrap()[3..], [1, 2, 3, 4, 5]);
        assert_eq!(ivs.explicit(IvGenerator::COUNTER_END), None);
        assert_eq!(ivs.explicit(u64::MAX), None);
    }

    #[test]
    fn another_start_has_another_epoch() {
        let epochs: BTreeSet<[u8; 8]> = (0..200)
            .map(|seed| IvGenerator::new([seed; 32]).explicit(0).unwrap())
            .collect();
        assert!(epochs.len() > 195, "{}", epochs.len());
    }

    //= https://www.rfc-editor.org/rfc/rfc3602#section-3
    //# the IV is chosen at random and cannot be predicted
    #[test]
    fn random_ivs_differ_and_replay_by_seed() {
        let mut one = IvGenerator::new([1; 32]);
        let mut two = IvGenerator::new([1; 32]);
        let mut seen = BTreeSet::new();
        let mut ones = 0_u32;
        for _ in 0..4096 {
            let (mut left, mut right) = ([0; 16], [0; 16]);
            one.random(&mut left);
            two.random(&mut right);
            assert_eq!(left, right);
            ones += left.iter().map(|byte| byte.count_ones()).sum::<u32>();
            assert!(seen.insert(left));
        }
        // 4096 × 128 fair bits: mean 262144, standard deviation 362.
        assert!(ones.abs_diff(262_144) < 6 * 362, "{ones}");
    }
}
