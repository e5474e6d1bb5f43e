//! Devices made of channels, for tests: a tunnel side and a wire side without a file descriptor.
//! Nothing of the real devices may enter; a test drives `Pump::turn` itself.
//! Answers to: ARCHITECTURE.md H.8 (two engines on a fake net and a fake clock).

use crate::pool::Pool;
use crate::port::{Hint, TunnelPort, WirePort};
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::{Batch, Route, Transmit};
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// A host's stack: what the test sends comes out of the "TUN device", what is written to it the test receives.
pub(crate) struct FakeTunnel {
    from_host: Receiver<Vec<u8>>,
    to_host: Sender<Vec<u8>>,
}

/// The test's end of a [`FakeTunnel`].
pub(crate) struct FakeHost {
    pub(crate) send: Sender<Vec<u8>>,
    pub(crate) receive: Receiver<Vec<u8>>,
}

/// Makes both ends. Dropping the host is like deleting the interface.
pub(crate) fn tunnel() -> (FakeTunnel, FakeHost) {
    let (send, from_host) = channel();
    let (to_host, receive) = channel();
    (FakeTunnel { from_host, to_host }, FakeHost { send, receive })
}

fn read(from: &Receiver<Vec<u8>>, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool> {
    for _ in 0..crate::sys::BATCH {
        match from.try_recv() {
            Ok(packet) => {
                let mut buffer = pool.take();
                buffer.fill(&packet).map_err(|_| io::ErrorKind::InvalidData)?;
                batch.push(buffer);
            }
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::NotConnected.into()),
        }
    }
    Ok(true)
}

impl TunnelPort for FakeTunnel {
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool> {
        read(&self.from_host, pool, batch)
    }

    fn write_batch(&mut self, packets: &mut Vec<PacketBuf>, pool: &mut Pool) {
        for packet in packets.drain(..) {
            let _ = self.to_host.send(packet.as_slice().to_vec());
            pool.give(packet);
        }
    }
}

/// One end of a cable; routes are remembered for the test to look at.
pub(crate) struct FakeWire {
    from_peer: Receiver<Vec<u8>>,
    to_peer: Sender<Vec<u8>>,
    pub(crate) sent: Vec<(Route, Vec<u8>)>,
    pub(crate) hints: Vec<Hint>,
}

/// Makes a cable.
pub(crate) fn cable() -> (FakeWire, FakeWire) {
    let (left, from_left) = channel();
    let (right, from_right) = channel();
    let end = |from_peer, to_peer| FakeWire {
        from_peer,
        to_peer,
        sent: Vec::new(),
        hints: Vec::new(),
    };
    (end(from_right, left), end(from_left, right))
}

impl WirePort for FakeWire {
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool> {
        read(&self.from_peer, pool, batch)
    }

    fn send_batch(&mut self, transmits: &mut Vec<Transmit>, pool: &mut Pool) {
        for transmit in transmits.drain(..) {
            let bytes = transmit.packet.as_slice().to_vec();
            // As on a real wire: what leaves in clear does not come in by a raw socket for ESP.
            if matches!(transmit.route, Route::Protected { .. }) {
                let _ = self.to_peer.send(bytes.clone());
            }
            self.sent.push((transmit.route, bytes));
            pool.give(transmit.packet);
        }
    }

    fn hints(&mut self) -> std::vec::Drain<'_, Hint> {
        self.hints.drain(..)
    }
}
