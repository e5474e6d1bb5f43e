//! The wire side of a real host: raw sockets and UDP sockets together, and which of them a packet takes.
//! How a socket works may not enter (raw_socket, udp_encap), nor what policy says of a packet (the engine).
//! Answers to: ARCHITECTURE.md C.7, D.1; RFC 3948 §2.1.

use crate::counters::{Live, add};
use crate::error::StartError;
use crate::pool::Pool;
use crate::port::WirePort;
use crate::raw_socket::{
    PROTOCOLS, RawReceiver, RawSender, Scratch, SocketOptions, has_link_scope, has_no_ipv6,
};
use crate::udp_encap::UdpEncap;
use sallet_core::engine::{Batch, Route, Transmit};
use sallet_core::time::Instant;
use socket2::Domain;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

/// All sockets of a datapath.
pub(crate) struct WireSockets {
    receivers: Vec<RawReceiver>,
    sender: Option<RawSender>,
    udp: Option<UdpEncap>,
    scratch: Scratch,
    counters: Arc<Live>,
}

/// The way one packet takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Raw,
    Udp,
    Bypass,
    LinkScope,
}

impl WireSockets {
    /// Opens raw sockets if `raw`, and UDP sockets if there is a port for them.
    ///
    /// # Errors
    /// Names the socket that failed and what is missing.
    pub(crate) fn open(
        raw: bool,
        udp_port: Option<u16>,
        options: &SocketOptions,
        counters: &Arc<Live>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let mut receivers = Vec::with_capacity(2 * PROTOCOLS.len());
        let mut sender = None;
        if raw {
            for domain in [Domain::IPV4, Domain::IPV6] {
                for protocol in PROTOCOLS {
                    match RawReceiver::open(domain, protocol, options, Arc::clone(counters)) {
                        Ok(receiver) => receivers.push(receiver),
                        Err(error) if domain == Domain::IPV6 && has_no_ipv6(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            sender = Some(RawSender::open(options, Arc::clone(counters))?);
        }
        let udp = match udp_port {
            Some(port) => Some(UdpEncap::open(port, options, Arc::clone(counters), now)?),
            None => None,
        };
        Ok(Self {
            receivers,
            sender,
            udp,
            scratch: Scratch::new(),
            counters: Arc::clone(counters),
        })
    }

    /// The descriptors to watch, in an order that does not change.
    pub(crate) fn raw_fds(&self) -> Vec<RawFd> {
        let raw = self.receivers.iter().map(RawReceiver::raw_fd);
        raw.chain(self.udp.iter().flat_map(UdpEncap::raw_fds)).collect()
    }

    /// Notes that the event loop saw descriptor number `index` readable.
    pub(crate) fn mark_ready(&mut self, index: usize) {
        let raw = self.receivers.len();
        if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.mark_ready();
        } else if let Some(udp) = &mut self.udp {
            udp.mark_ready(index - raw);
        }
    }

    /// Does what is due from time to time.
    pub(crate) fn maintain(&mut self, now: Instant) {
        if let Some(udp) = &mut self.udp {
            udp.maintain(now);
        }
    }

    fn way(&self, transmit: &Transmit) -> Way {
        match transmit.route {
            Route::Bypass if has_link_scope(transmit.packet.as_slice()) => Way::LinkScope,
            Route::Bypass => Way::Bypass,
            // An SA whose source port is not ours (a second port, a test) goes out as it is, header and all.
            Route::Protected {
                encap: Some(encap), ..
            } if self.has_udp_port(encap.source_port) => Way::Udp,
            Route::Protected { .. } => Way::Raw,
        }
    }

    fn has_udp_port(&self, port: u16) -> bool {
        self.udp.as_ref().is_some_and(|udp| udp.port() == port)
    }

    fn send_run(&mut self, way: Way, run: &[Transmit]) {
        let packets = run.iter().map(|transmit| transmit.packet.as_slice());
        let (count, bytes) = match way {
            Way::LinkScope => return add(&self.counters.bypass_link_scope, run.len()),
            Way::Udp => {
                if let Some(udp) = &mut self.udp {
                    udp.send(
                        run.iter()
                            .map(|transmit| (transmit.packet.as_slice(), destination_port(transmit))),
                    );
                }
                return;
            }
            Way::Raw => (&self.counters.raw_sent_packets, &self.counters.raw_sent_bytes),
            Way::Bypass => (
                &self.counters.bypass_sent_packets,
                &self.counters.bypass_sent_bytes,
            ),
        };
        match &self.sender {
            Some(sender) => sender.send(packets, |sent| {
                add(count, 1);
                add(bytes, sent);
            }),
            None => add(&self.counters.send_no_socket, run.len()),
        }
    }
}

fn destination_port(transmit: &Transmit) -> u16 {
    match transmit.route {
        Route::Protected {
            encap: Some(encap), ..
        } => encap.destination_port,
        Route::Protected { encap: None, .. } | Route::Bypass => 0,
    }
}

impl WirePort for WireSockets {
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool> {
        let mut more = false;
        for receiver in &mut self.receivers {
            more |= receiver.read_batch(pool, &mut self.scratch, batch);
        }
        if let Some(udp) = &mut self.udp {
            more |= udp.read_batch(pool, &mut self.scratch, batch);
        }
        Ok(more)
    }

    fn send_batch(&mut self, transmits: &mut Vec<Transmit>, pool: &mut Pool) {
        let mut rest = transmits.as_slice();
        while let Some(first) = rest.first() {
            let way = self.way(first);
            let len = rest
                .iter()
                .position(|transmit| self.way(transmit) != way)
                .unwrap_or(rest.len());
            let (run, behind) = rest.split_at(len);
            self.send_run(way, run);
            rest = behind;
        }
        for transmit in transmits.drain(..) {
            pool.give(transmit.packet);
        }
    }
}
