//! A sorted map in chunks whose copies share everything that did not change.
//! Nothing about policies or packets may enter: it orders keys, no more.
//! Answers to: ARCHITECTURE.md D3 (readers of the SPD take a snapshot and never lock).

use std::sync::Arc;

/// The most entries that one chunk holds; a change copies one chunk and the list of chunks.
const CHUNK: usize = 128;

/// What is kept beside each chunk so that a search may skip it whole.
pub(crate) trait Summary<K, V>: Clone {
    /// Computes the summary of one chunk's entries.
    fn of(entries: &[(K, V)]) -> Self;
}

impl<K, V> Summary<K, V> for () {
    fn of(_entries: &[(K, V)]) -> Self {}
}

/// One run of sorted entries with its summary.
#[derive(Clone, Debug)]
pub(crate) struct Chunk<K, V, S> {
    entries: Vec<(K, V)>,
    summary: S,
}

impl<K, V, S: Summary<K, V>> Chunk<K, V, S> {
    fn new(entries: Vec<(K, V)>) -> Self {
        let summary = S::of(&entries);
        Self { entries, summary }
    }

    /// The sorted entries.
    pub(crate) fn entries(&self) -> &[(K, V)] {
        &self.entries
    }

    /// The summary of these entries.
    pub(crate) fn summary(&self) -> &S {
        &self.summary
    }
}

/// A sorted map; `clone` costs one reference count, a change after it O(√n)-ish copies.
#[derive(Clone, Debug)]
pub(crate) struct SortedChunks<K, V, S = ()> {
    chunks: Arc<Vec<Arc<Chunk<K, V, S>>>>,
    len: usize,
}

impl<K, V, S> Default for SortedChunks<K, V, S> {
    fn default() -> Self {
        Self {
            chunks: Arc::new(Vec::new()),
            len: 0,
        }
    }
}

impl<K: Ord + Clone, V: Clone, S: Summary<K, V>> SortedChunks<K, V, S> {
    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The chunks in order of their keys.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Chunk<K, V, S>> {
        self.chunks.iter().map(AsRef::as_ref)
    }

    /// The values in order of their keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.chunks()
            .flat_map(|chunk| chunk.entries.iter().map(|(_, value)| value))
    }

    /// The index of the first chunk whose last key is not below `key`.
    fn chunk_for(&self, key: &K) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.entries.last().is_some_and(|(last, _)| last < key))
    }

    /// Finds the value with exactly this key.
    pub(crate) fn lookup(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_for(key))?;
        let at = chunk.entries.binary_search_by(|(there, _)| there.cmp(key)).ok()?;
        chunk.entries.get(at).map(|(_, value)| value)
    }

    /// Puts `value` at `key`; what stood there before comes back.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_for(&key).min(self.chunks.len().saturating_sub(1));
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(shared) = chunks.get_mut(at) else {
            chunks.push(Arc::new(Chunk::new(vec![(key, value)])));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(shared);
        let place = match chunk.entries.binary_search_by(|(there, _)| there.cmp(&key)) {
            Ok(same) => {
                let old = core::mem::replace(&mut chunk.entries[same].1, value);
                chunk.summary = S::of(&chunk.entries);
                return Some(old);
            }
            Err(place) => place,
        };
        chunk.entries.insert(place, (key, value));
        self.len += 1;
        let right = if chunk.entries.len() > CHUNK {
            // Files are loaded in order: a split at the end keeps the chunks before it full.
            let appended = place + 1 == chunk.entries.len();
            Some(chunk.entries.split_off(if appended { CHUNK } else { CHUNK / 2 }))
        } else {
            None
        };
        chunk.summary = S::of(&chunk.entries);
        if let Some(right) = right {
            chunks.insert(at + 1, Arc::new(Chunk::new(right)));
        }
        None
    }

    /// Takes out the value with exactly this key.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk_for(key);
        let place = self
            .chunks
            .get(at)?
            .entries
            .binary_search_by(|(there, _)| there.cmp(key))
            .ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(at)?);
        let (_, value) = chunk.entries.remove(place);
        self.len -= 1;
        if chunk.entries.is_empty() {
            chunks.remove(at);
        } else {
            chunk.summary = S::of(&chunk.entries);
            Self::join_with_next(chunks, at);
            Self::join_with_next(chunks, at.saturating_sub(1));
        }
        Some(value)
    }

    /// Joins two neighbours that became small, so that the list of chunks shrinks with the entries.
    fn join_with_next(chunks: &mut Vec<Arc<Chunk<K, V, S>>>, at: usize) {
        let small = |index: usize| chunks.get(index).map_or(CHUNK, |chunk| chunk.entries.len());
        if small(at) + small(at + 1) > CHUNK / 2 {
            return;
        }
        let next = chunks.remove(at + 1);
        if let Some(shared) = chunks.get_mut(at) {
            let chunk = Arc::make_mut(shared);
            chunk.entries.extend(next.entries.iter().cloned());
            chunk.summary = S::of(&chunk.entries);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_copy_keeps_what_it_saw() {
        let mut map: SortedChunks<u32, u32> = SortedChunks::default();
        for key in 0..1000 {
            assert_eq!(map.insert(key, key), None);
        }
        let before = map.clone();
        assert_eq!(map.remove(&500), Some(500));
        assert_eq!(map.insert(1, 99), Some(1));
        assert_eq!((before.len(), map.len()), (1000, 999));
        assert_eq!(before.lookup(&500), Some(&500));
        assert_eq!((before.lookup(&1), map.lookup(&1)), (Some(&1), Some(&99)));
    }

    #[test]
    fn chunks_stay_full_when_appended_and_shrink_when_emptied() {
        let mut map: SortedChunks<u32, u32> = SortedChunks::default();
        for key in 0..12_800 {
            map.insert(key, key);
        }
        assert_eq!(map.chunks.len(), 100);
        for key in 0..12_800 {
            if key % 100 != 0 {
                map.remove(&key);
            }
        }
        assert_eq!(map.len(), 128);
        assert!(map.chunks.len() <= 5, "{} chunks", map.chunks.len());
    }

    proptest! {
        #[test]
        fn agrees_with_a_btree_map(steps in proptest::collection::vec((any::<bool>(), 0u16..400), 0..1500)) {
            let mut map: SortedChunks<u16, usize> = SortedChunks::default();
            let mut oracle = BTreeMap::new();
            for (number, (put, key)) in steps.into_iter().enumerate() {
                if put {
                    prop_assert_eq!(map.insert(key, number), oracle.insert(key, number));
                } else {
                    prop_assert_eq!(map.remove(&key), oracle.remove(&key));
                }
                prop_assert_eq!(map.len(), oracle.len());
                prop_assert_eq!(map.lookup(&key), oracle.get(&key));
            }
            prop_assert!(map.values().eq(oracle.values()));
            prop_assert!(map.chunks().all(|chunk| !chunk.entries().is_empty()));
        }
    }
}
