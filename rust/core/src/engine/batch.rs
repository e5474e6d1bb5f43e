//! What goes into the engine and comes out of it: `Batch`, `Output`, `Transmit`, `Route`, `Dropped`.
//! No decision may enter: these are carriers that own their buffers.
//! Answers to: ARCHITECTURE.md C and D (batches in, batches out; buffers move and are never copied).

use super::journey::Step;
use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::sa::UdpEncap;
use crate::terms::Spi;

/// Packets on their way into the engine, in the order of arrival; each is one complete IP packet.
#[derive(Debug, Default)]
pub struct Batch {
    packets: Vec<PacketBuf>,
}

impl Batch {
    /// Makes an empty batch with room for `packets`.
    #[must_use]
    pub fn with_capacity(packets: usize) -> Self {
        Self {
            packets: Vec::with_capacity(packets),
        }
    }

    /// Adds a packet behind the others.
    pub fn push(&mut self, packet: PacketBuf) {
        self.packets.push(packet);
    }

    /// Takes all packets out, in order; the room stays.
    pub fn drain(&mut self) -> std::vec::Drain<'_, PacketBuf> {
        self.packets.drain(..)
    }

    /// How many packets wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether no packet waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

impl From<Vec<PacketBuf>> for Batch {
    fn from(packets: Vec<PacketBuf>) -> Self {
        Self { packets }
    }
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// In clear, as policy says.
    Bypass,
    /// Sealed.
    Protected {
        /// The SPI of the outermost SA.
        spi: Spi,
        /// The UDP ports in front of ESP, if the outermost SA is encapsulated.
        encap: Option<UdpEncap>,
    },
    /// A keepalive for a NAT (RFC 3948 §2.3).
    Keepalive {
        /// The UDP ports.
        encap: UdpEncap,
    },
}

/// A packet for the wire: a complete IP packet.
#[derive(Debug)]
pub struct Transmit {
    /// The packet.
    pub packet: PacketBuf,
    /// How it leaves.
    pub route: Route,
}

/// A packet that went no further; the buffer comes back, its content is whatever the last step left.
#[derive(Debug)]
pub struct Dropped {
    /// The buffer.
    pub packet: PacketBuf,
    /// Why.
    pub reason: DropReason,
}

/// What the engine made of one or more batches.
#[derive(Debug, Default)]
pub struct Output {
    /// Packets for the wire.
    pub transmit: Vec<Transmit>,
    /// Packets for this host (or, on a gateway, for the net behind it).
    pub deliver: Vec<PacketBuf>,
    /// Packets that went no further.
    pub dropped: Vec<Dropped>,
    /// Buffers without a packet, to be used again: what was in them waits elsewhere, or left in pieces.
    pub spare: Vec<PacketBuf>,
    /// What happened to each packet, stage by stage; `None` (the default) switches it off.
    pub journey: Option<Vec<Step>>,
}

impl Output {
    /// Makes an output that records journeys.
    #[must_use]
    pub fn with_journey() -> Self {
        Self {
            journey: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Forgets the content and keeps the room.
    pub fn clear(&mut self) {
        self.transmit.clear();
        self.deliver.clear();
        self.dropped.clear();
        self.spare.clear();
        if let Some(steps) = &mut self.journey {
            steps.clear();
        }
    }

    pub(crate) fn step(&mut self, make: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.journey {
            steps.push(make());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_batch_keeps_its_room() {
        let mut batch = Batch::with_capacity(4);
        batch.push(PacketBuf::from_packet(b"x"));
        assert_eq!(batch.drain().count(), 1);
        assert!(batch.is_empty());
        assert!(batch.packets.capacity() >= 4);
    }

    #[test]
    fn steps_are_recorded_only_on_request() {
        let mut quiet = Output::default();
        quiet.step(|| unreachable!("no journey was asked for"));
        let mut told = Output::with_journey();
        told.step(|| Step::Delivered { bytes: 1 });
        assert_eq!(told.journey.as_ref().map(Vec::len), Some(1));
        told.clear();
        assert_eq!(told.journey.as_ref().map(Vec::len), Some(0));
    }
}
