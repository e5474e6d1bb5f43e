//! The wire side of a real host: raw sockets and UDP sockets together, and which of them a packet takes.
//! How a socket works may not enter (raw_socket, udp_encap), nor what policy says of a packet (the engine).
//! Answers to: ARCHITECTURE.md C.7, D.1; RFC 3948 §2.1, RFC 8200 §8.1.

use crate::control;
use crate::counters::{Live, add};
use crate::error::StartError;
use crate::pool::Pool;
use crate::port::{Hint, WirePort};
use crate::raw_socket::{
    Carried, RawReceiver, RawSender, Scratch, SocketOptions, has_link_scope, has_no_ipv6,
};
use crate::udp_encap::{Side, UdpEncap};
use crate::wire_mtu::RouteMtu;
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::{Batch, Engine, Route, Transmit};
use sallet_core::sa::UdpEncap as Ports;
use sallet_core::terms::{Protocol, SaId};
use sallet_core::time::Instant;
use sallet_core::transform::Arrival;
use sallet_core::wire::{ip, udp};
use socket2::Domain;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

/// All sockets of a datapath.
pub(crate) struct WireSockets {
    receivers: Vec<RawReceiver>,
    sender: Option<RawSender>,
    udp: UdpEncap,
    scratch: Scratch,
    /// ICMP errors of the read under way.
    errors: Batch,
    hints: Vec<Hint>,
    route_mtu: RouteMtu,
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
        engine: &Arc<Engine>,
        raw: bool,
        udp_port: Option<u16>,
        options: &SocketOptions,
        counters: &Arc<Live>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let mut receivers = Vec::with_capacity(2 * Carried::ALL.len());
        let mut sender = None;
        if raw {
            for domain in [Domain::IPV4, Domain::IPV6] {
                for carried in Carried::ALL {
                    let (engine, counters) = (Arc::clone(engine), Arc::clone(counters));
                    match RawReceiver::open(domain, carried, engine, options, counters) {
                        Ok(receiver) => receivers.push(receiver),
                        Err(error) if domain == Domain::IPV6 && has_no_ipv6(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            sender = Some(RawSender::open(options, Arc::clone(counters))?);
        }
        let udp = UdpEncap::open(udp_port, options, Arc::clone(counters), now)?;
        Ok(Self {
            receivers,
            sender,
            udp,
            scratch: Scratch::new(),
            errors: Batch::default(),
            hints: Vec::new(),
            route_mtu: RouteMtu::new(options),
            counters: Arc::clone(counters),
        })
    }

    /// The descriptors to watch, each with its number.
    pub(crate) fn raw_fds(&self) -> Vec<(RawFd, usize)> {
        let raw = self.receivers.iter().map(RawReceiver::raw_fd).zip(0..);
        let first = self.receivers.len();
        raw.chain(self.udp.raw_fds().map(|(fd, id)| (fd, first + id)))
            .collect()
    }

    /// Notes that the event loop saw descriptor number `index` readable.
    pub(crate) fn mark_ready(&mut self, index: usize) {
        let raw = self.receivers.len();
        match self.receivers.get_mut(index) {
            Some(receiver) => receiver.mark_ready(),
            None => self.udp.mark_ready(index - raw),
        }
    }

    /// Takes ESP in UDP at one more socket; returns its descriptor and number.
    pub(crate) fn add_udp(&mut self, side: Side) -> (RawFd, usize) {
        let (fd, id) = self.udp.add(side);
        (fd, self.receivers.len() + id)
    }

    /// Closes the UDP socket of an address, if there is one.
    pub(crate) fn remove_udp(&mut self, address: SocketAddr) {
        self.udp.remove(address);
    }

    /// Does what is due from time to time.
    pub(crate) fn maintain(&mut self, now: Instant) {
        self.udp.maintain(now);
    }

    fn way(&self, transmit: &Transmit) -> Way {
        match transmit.route {
            Route::Bypass if has_link_scope(transmit.packet.as_slice()) => Way::LinkScope,
            Route::Bypass => Way::Bypass,
            // An SA whose source port is not ours (a second port, a test) goes out as it is, header and all.
            Route::Protected {
                encap: Some(encap), ..
            }
            | Route::Keepalive { encap }
                if self.leaves_by_udp(transmit.packet.as_slice(), encap.source_port) =>
            {
                Way::Udp
            }
            Route::Protected { .. } | Route::Keepalive { .. } => Way::Raw,
        }
    }

    fn leaves_by_udp(&self, packet: &[u8], port: u16) -> bool {
        ip::Summary::parse(packet).is_some_and(|summary| self.udp.serves(summary.source, port))
    }

    fn send_run(&mut self, way: Way, run: &[Transmit]) {
        let packets = run.iter().map(|transmit| transmit.packet.as_slice());
        let (count, bytes) = match way {
            Way::LinkScope => return add(&self.counters.bypass_link_scope, run.len()),
            Way::Udp => {
                let packets = run
                    .iter()
                    .filter_map(|transmit| Some((transmit.packet.as_slice(), ports(transmit)?)));
                return self.udp.send(packets);
            }
            Way::Raw => (&self.counters.raw_sent_packets, &self.counters.raw_sent_bytes),
            Way::Bypass => (
                &self.counters.bypass_sent_packets,
                &self.counters.bypass_sent_bytes,
            ),
        };
        let Some(sender) = &self.sender else {
            return add(&self.counters.send_no_socket, run.len());
        };
        let sent = |sent| {
            add(count, 1);
            add(bytes, sent);
        };
        let mut too_long = Vec::new();
        sender.send(packets, sent, |packet| too_long.push(packet));
        for packet in too_long {
            self.send_in_pieces(packet, way == Way::Raw);
        }
    }

    /// Sends what the kernel refused as too long: a raw socket never cuts a header of ours.
    fn send_in_pieces(&mut self, packet: &[u8], sealed_here: bool) {
        let mtu = control::destination_of(packet).and_then(|destination| self.route_mtu.of(destination));
        let Some(mtu) = mtu else {
            return add(&self.counters.send_too_big, 1);
        };
        if let Some(id) = sa_of(packet).filter(|_| sealed_here) {
            self.hints.push(Hint::RouteMtu { id, mtu });
        }
        let pieces = self.route_mtu.cut(packet, mtu, sealed_here);
        let Some(sender) = self.sender.as_ref().filter(|_| !pieces.is_empty()) else {
            return add(&self.counters.send_too_big, 1);
        };
        add(&self.counters.route_cut_packets, 1);
        let (count, bytes) = (&self.counters.raw_sent_packets, &self.counters.raw_sent_bytes);
        sender.send(
            pieces.iter().map(PacketBuf::as_slice),
            |sent| {
                add(count, 1);
                add(bytes, sent);
            },
            |_| add(&self.counters.send_too_big, 1),
        );
    }

    /// Asks for the routes of what UDP sockets refused.
    fn note_too_long_in_udp(&mut self) {
        for refused in self.udp.too_long() {
            if let Some(mtu) = self.route_mtu.of(refused.destination) {
                let id = SaId {
                    spi: refused.spi,
                    protocol: Protocol::Esp,
                    destination: refused.destination,
                };
                self.hints.push(Hint::RouteMtu { id, mtu });
            }
        }
    }
}

/// Gives ESP in UDP over IPv6 the checksum that the kernel adds only to what leaves by a UDP socket.
fn fill_checksum(transmit: &mut Transmit) {
    //= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
    //# Over IPv6 a UDP checksum of zero is not allowed; receivers discard such packets.
    let encapsulated = matches!(
        transmit.route,
        Route::Protected { encap: Some(_), .. } | Route::Keepalive { .. }
    );
    if !encapsulated || ip::version(transmit.packet.as_slice()) != Some(6) {
        return;
    }
    let Some(summary) = ip::Summary::parse(transmit.packet.as_slice()) else {
        return;
    };
    if let Some(datagram) = transmit.packet.as_mut_slice().get_mut(summary.payload_at..) {
        // Too short to be UDP: it leaves as it is, and the peer discards it.
        let _ = udp::fill_checksum(summary.source, summary.destination, datagram);
    }
}

/// The SA whose header stands in front of a packet's payload.
fn sa_of(packet: &[u8]) -> Option<SaId> {
    let summary = ip::Summary::parse(packet)?;
    let protocol = Protocol::from_number(summary.next_layer)?;
    let arrival = Arrival::read(protocol, summary.payload(packet)).ok()?;
    Some(SaId {
        spi: arrival.spi,
        protocol,
        destination: summary.destination,
    })
}

fn ports(transmit: &Transmit) -> Option<Ports> {
    match transmit.route {
        Route::Protected { encap, .. } => encap,
        Route::Keepalive { encap } => Some(encap),
        Route::Bypass => None,
    }
}

impl WirePort for WireSockets {
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool> {
        let mut more = false;
        for receiver in &mut self.receivers {
            let into = if receiver.reads_errors() {
                &mut self.errors
            } else {
                &mut *batch
            };
            more |= receiver.read_batch(pool, &mut self.scratch, into);
        }
        self.hints.extend(self.errors.drain().map(Hint::IcmpError));
        more |= self.udp.read_batch(pool, &mut self.scratch, batch);
        Ok(more)
    }

    fn send_batch(&mut self, transmits: &mut Vec<Transmit>, pool: &mut Pool) {
        for transmit in transmits
            .iter_mut()
            .filter(|transmit| self.way(transmit) == Way::Raw)
        {
            fill_checksum(transmit);
        }
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
        self.note_too_long_in_udp();
    }

    fn hints(&mut self) -> std::vec::Drain<'_, Hint> {
        self.hints.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallet_core::terms::Spi;

    //= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
    //# Over IPv6 a UDP checksum of zero is not allowed; receivers discard such packets.
    #[test]
    fn a_raw_udp_packet_over_ipv6_gets_its_checksum() {
        let (source, destination) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let mut bytes = udp::packet(source, destination, 4501, 4500, b"esp").unwrap();
        bytes[46..48].fill(0);
        let encap = Some(Ports {
            source_port: 4501,
            destination_port: 4500,
        });
        let route = Route::Protected { spi: Spi(1), encap };
        let mut transmit = Transmit {
            packet: PacketBuf::from_packet(&bytes),
            route,
        };
        fill_checksum(&mut transmit);
        let datagram = udp::Packet::new_checked(&transmit.packet.as_slice()[40..]).unwrap();
        assert!(datagram.checksum() != 0 && datagram.checksum_is_right(source, destination));
        let mut clear = Transmit {
            packet: PacketBuf::from_packet(&bytes),
            route: Route::Bypass,
        };
        fill_checksum(&mut clear);
        assert_eq!(
            clear.packet.as_slice(),
            bytes,
            "what policy lets pass is not touched"
        );
    }
}
