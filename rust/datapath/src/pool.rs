//! The pool: packet buffers large enough for any IP packet, used again instead of allocated again.
//! No device and no packet format may enter.
//! Answers to: ARCHITECTURE.md C.1 (no allocation per packet).

use sallet_core::buffer::PacketBuf;

/// The longest IPv4 packet, and the longest IPv6 packet without a jumbo option.
pub(crate) const PACKET_BYTES: usize = 65_535;

/// Free buffers. Untouched memory of a buffer costs nothing, so each can hold the longest packet.
pub(crate) struct Pool {
    free: Vec<PacketBuf>,
    keep: usize,
}

impl Pool {
    /// Makes an empty pool that keeps at most `keep` free buffers.
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            free: Vec::with_capacity(keep),
            keep,
        }
    }

    /// Lends a buffer; makes one if none is free.
    pub(crate) fn take(&mut self) -> PacketBuf {
        self.free
            .pop()
            .unwrap_or_else(|| PacketBuf::with_capacity(PACKET_BYTES))
    }

    /// Takes a buffer back. One of another size (the engine's own packets) is let go.
    pub(crate) fn give(&mut self, mut buffer: PacketBuf) {
        if self.free.len() < self.keep && buffer.writable().len() == PACKET_BYTES {
            self.free.push(buffer);
        }
    }

    /// Fills `buffers` up to `count`.
    pub(crate) fn fill(&mut self, buffers: &mut Vec<PacketBuf>, count: usize) {
        while buffers.len() < count {
            buffers.push(self.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_foreign_ones_do_not() {
        let mut pool = Pool::new(2);
        let mut lent = Vec::new();
        pool.fill(&mut lent, 3);
        for buffer in lent {
            pool.give(buffer);
        }
        pool.give(PacketBuf::with_capacity(100));
        assert_eq!(pool.free.len(), 2);
        assert_eq!(pool.take().writable().len(), PACKET_BYTES);
    }
}
