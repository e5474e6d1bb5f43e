//! What a listener on the wire can read: searches every wire byte for 8-byte pieces of protected plaintext.

use std::collections::HashSet;

const FILTER_BITS: usize = 1 << 22;

/// Every 8-byte piece of plaintext that policy protects, in one simulated run.
pub struct Tap {
    pieces: HashSet<u64>,
    /// Most windows are in no piece: a bit array says so without hashing.
    filter: Vec<u64>,
    pub windows: u64,
}

impl Tap {
    pub fn new() -> Self {
        Self {
            pieces: HashSet::new(),
            filter: vec![0; FILTER_BITS / 64],
            windows: 0,
        }
    }

    fn cell(piece: u64) -> (usize, u64) {
        let hash = piece.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 42;
        (usize::try_from(hash / 64).unwrap(), 1 << (hash % 64))
    }

    /// Remembers the 8-byte pieces of `plaintext`.
    pub fn protect(&mut self, plaintext: &[u8]) {
        for piece in plaintext.chunks_exact(8) {
            let piece = u64::from_le_bytes(piece.try_into().unwrap());
            let (word, bit) = Self::cell(piece);
            self.filter[word] |= bit;
            self.pieces.insert(piece);
        }
    }

    /// Whether any 8 bytes in a row on the wire are a piece of plaintext.
    pub fn reads_plaintext(&mut self, wire: &[u8]) -> bool {
        self.windows += wire.len().saturating_sub(7) as u64;
        wire.windows(8).any(|window| {
            let window = u64::from_le_bytes(window.try_into().unwrap());
            let (word, bit) = Self::cell(window);
            self.filter[word] & bit != 0 && self.pieces.contains(&window)
        })
    }
}
