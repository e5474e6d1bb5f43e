//! Leases: who lets an SA use further numbers, and the ledger that keeps two SAs with one key apart.
//! No packet and no key may enter: a key is known here by a mark that does not lead back to it.
//! Answers to: ARCHITECTURE.md D6 and D7, RFC 4106 section 2 and RFC 4303 section 3.3.3.

use core::hash::Hasher as _;
use core::sync::atomic::{AtomicU64, Ordering};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::sync::Arc;

use crate::crypto::Secret;
use crate::crypto::iv::IvGenerator;
use crate::error::DropReason;
use crate::terms::SaId;

/// Who grants sequence numbers: in memory here, a journal or a store elsewhere.
pub trait Lease: Send + Sync {
    /// Asks for the number `limit` and more; the answer is the new limit, and numbers below it may be used.
    ///
    /// `None` refuses. Asking twice must be harmless: two senders may both do so.
    fn extend(&self, id: &SaId, limit: u64) -> Option<u64>;

    /// The IV counters of this engine's keys.
    fn ledger(&self) -> &NonceLedger;
}

/// A lease that forgets with the process: it grants a block at a time.
#[derive(Debug)]
pub struct MemoryLease {
    block: u64,
    ledger: NonceLedger,
}

impl MemoryLease {
    /// Makes a lease that grants `block` numbers at a time, at least one.
    #[must_use]
    pub fn new(block: u64) -> Self {
        Self {
            block: block.max(1),
            ledger: NonceLedger::default(),
        }
    }
}

impl Lease for MemoryLease {
    fn extend(&self, _id: &SaId, limit: u64) -> Option<u64> {
        (limit < u64::MAX).then(|| limit.saturating_add(self.block))
    }

    fn ledger(&self) -> &NonceLedger {
        &self.ledger
    }
}

/// What is left of keys that nobody uses any more: their highest IV numbers, folded into so many cells.
const RETIRED_CELLS: usize = 4096;

#[derive(Debug, Default)]
struct Book {
    /// Counters in use, and by how many SAs.
    live: HashMap<u64, (Arc<AtomicU64>, usize)>,
    retired: Vec<u64>,
}

/// The IV counter of every key that ever sealed a packet in this engine's life.
///
/// Two SAs with one key share a counter, and a key that comes back (flush, then the same file again)
/// goes on above its last number: with AES-GCM one repeated IV gives the key away. Memory stays bounded:
/// keys that went away share cells, so a new key may start higher than it had to, never lower.
#[derive(Clone, Debug, Default)]
pub struct NonceLedger(Arc<Mutex<Book>>);

impl NonceLedger {
    /// The counter for this key, to be held as long as the SA may send.
    //= https://www.rfc-editor.org/rfc/rfc4106#section-2
    //# The combination of key and IV must never come twice.
    #[must_use]
    pub(crate) fn open(&self, key: &Secret) -> NonceCounter {
        let mark = mark(key);
        let mut book = self.0.lock();
        let start = book.retired.get(cell(mark)).copied().unwrap_or(0);
        let (last, users) = book
            .live
            .entry(mark)
            .or_insert_with(|| (Arc::new(AtomicU64::new(start)), 0));
        *users += 1;
        NonceCounter {
            last: Arc::clone(last),
            home: Some((self.clone(), mark)),
        }
    }

    fn close(&self, mark: u64) {
        let mut book = self.0.lock();
        let Some((last, users)) = book.live.get_mut(&mark) else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let highest = last.load(Ordering::Acquire);
        book.live.remove(&mark);
        if book.retired.is_empty() {
            book.retired = vec![0; RETIRED_CELLS];
        }
        if let Some(cell) = book.retired.get_mut(cell(mark)) {
            *cell = highest.max(*cell);
        }
    }
}

/// A number that equal keys share. The algorithm's name stays out: modes of one cipher can collide.
fn mark(key: &Secret) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}

fn cell(mark: u64) -> usize {
    usize::try_from(mark % RETIRED_CELLS as u64).unwrap_or(0)
}

/// Hands out IV numbers: each one once, none from 2^40 on.
#[derive(Debug)]
pub(crate) struct NonceCounter {
    last: Arc<AtomicU64>,
    home: Option<(NonceLedger, u64)>,
}

impl NonceCounter {
    /// A counter for an SA whose algorithm takes no IV from it.
    pub(crate) fn alone() -> Self {
        Self {
            last: Arc::default(),
            home: None,
        }
    }

    /// The next number.
    ///
    /// # Errors
    /// `SequenceOverflow` when they are used up; it stays that way.
    pub(crate) fn next(&self) -> Result<u64, DropReason> {
        let following = |last: u64| {
            last.checked_add(1)
                .filter(|next| *next < IvGenerator::COUNTER_END)
        };
        let taken = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, following);
        taken
            .map(|last| last + 1)
            .map_err(|_| DropReason::SequenceOverflow)
    }
}

#[cfg(test)]
impl NonceCounter {
    /// Goes to a number without handing out what lies before it.
    pub(crate) fn skip_to(&self, last: u64) {
        self.last.store(last, Ordering::Release);
    }
}

impl Drop for NonceCounter {
    fn drop(&mut self) {
        if let Some((ledger, mark)) = self.home.take() {
            ledger.close(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Secret {
        Secret::copy_of(text.as_bytes())
    }

    #[test]
    fn one_key_one_counter() {
        let ledger = NonceLedger::default();
        let (first, second, other) = (
            ledger.open(&key("a")),
            ledger.open(&key("a")),
            ledger.open(&key("b")),
        );
        assert_eq!([first.next(), second.next(), first.next()], [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(other.next(), Ok(1));
        drop(first);
        assert_eq!(second.next(), Ok(4), "the key still has a user");
    }

    //= https://www.rfc-editor.org/rfc/rfc4106#section-2
    //# The combination of key and IV must never come twice.
    #[test]
    fn a_key_that_comes_back_goes_on() {
        let ledger = NonceLedger::default();
        let counter = ledger.open(&key("a"));
        assert_eq!([counter.next(), counter.next()], [Ok(1), Ok(2)]);
        drop(counter);
        assert!(ledger.0.lock().live.is_empty());
        assert_eq!(ledger.open(&key("a")).next(), Ok(3));
    }

    #[test]
    fn keys_that_share_a_cell_only_skip_numbers() {
        let ledger = NonceLedger::default();
        for number in 0..RETIRED_CELLS * 3 {
            let counter = ledger.open(&key(&number.to_string()));
            assert!(counter.next().unwrap() < 100);
        }
        let book = ledger.0.lock();
        assert!(book.live.is_empty());
        assert_eq!(book.retired.len(), RETIRED_CELLS);
    }

    // bug-row: 47
    #[test]
    fn numbers_end_and_never_wrap() {
        let counter = NonceCounter::alone();
        counter
            .last
            .store(IvGenerator::COUNTER_END - 2, Ordering::Release);
        assert_eq!(counter.next(), Ok(IvGenerator::COUNTER_END - 1));
        assert_eq!(counter.next(), Err(DropReason::SequenceOverflow));
        assert_eq!(counter.next(), Err(DropReason::SequenceOverflow));
    }

    #[test]
    fn memory_grants_blocks_until_the_end_of_numbers() {
        let lease = MemoryLease::new(0);
        let id = crate::sa::association_tests::params().id;
        assert_eq!(lease.extend(&id, 5), Some(6));
        assert_eq!(MemoryLease::new(100).extend(&id, u64::MAX - 1), Some(u64::MAX));
        assert_eq!(lease.extend(&id, u64::MAX), None);
    }
}
