//! The two sides of a datapath as traits: the tunnel side (cleartext) and the wire side (protected).
//! No file descriptor may enter: the loop and the tests' fake devices meet here.
//! Answers to: ARCHITECTURE.md C.1, C.7, D.1, D.6.

use crate::pool::Pool;
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::{Batch, Transmit};
use sallet_core::terms::SaId;
use std::io;

/// Where cleartext comes from and goes to.
pub(crate) trait TunnelPort: Send {
    /// Adds packets to `batch`, at most one batch; says whether more may be waiting.
    ///
    /// # Errors
    /// The device is gone.
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool>;
    /// Writes the packets in order and gives their buffers back.
    fn write_batch(&mut self, packets: &mut Vec<PacketBuf>, pool: &mut Pool);
}

/// What the wire side learned of the way that packets take.
pub(crate) enum Hint {
    /// An ICMP error came in: a complete IP packet.
    IcmpError(PacketBuf),
    /// The host's own route takes packets of that length and no longer.
    RouteMtu {
        /// Whose packet was too long.
        id: SaId,
        /// In bytes.
        mtu: u32,
    },
}

/// Where protected packets come from, and where everything that leaves this host goes to.
pub(crate) trait WirePort: Send {
    /// Adds packets to `batch`, at most one batch of each socket; says whether more may be waiting.
    ///
    /// # Errors
    /// No socket of it can work any more.
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool>;
    /// Sends the packets in order and gives their buffers back.
    fn send_batch(&mut self, transmits: &mut Vec<Transmit>, pool: &mut Pool);
    /// Takes what was learned since the last call.
    fn hints(&mut self) -> std::vec::Drain<'_, Hint>;
}
