//! ESP in UDP: datagrams become complete IP and UDP packets for the engine, and the other way round.
//! SAs and NAT decisions may not enter: which ports an SA uses, the engine says.
//! Answers to: RFC 3948 §§2–4, udp(7), ip(7) `IP_PKTINFO`, ipv6(7), RFC 3542.

use crate::control::{self, entries};
use crate::counters::{Live, add};
use crate::error::StartError;
use crate::pool::Pool;
use crate::raw_socket::{Scratch, SocketOptions, ask_for_ipv6_header, has_no_ipv6, rebuild_ipv6, send_all};
use crate::reuseport::Group;
use crate::sys::{self, BATCH, Message, Received, SentControl};
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::Batch;
use sallet_core::terms::Spi;
use sallet_core::time::Instant;
use sallet_core::wire::ip::Summary;
use sallet_core::wire::ipv4;
use sallet_core::wire::udp_encap::{HEADER_BYTES as UDP_HEADER, Kind, classify, emit_header};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

const UDP: u8 = 17;
/// Linux' number of `SO_NO_CHECK`, which the libc crate lacks.
const SO_NO_CHECK: i32 = 11;

/// One UDP socket of one address family.
struct Side {
    socket: Socket,
    domain: Domain,
    group: Group,
    /// What `IP_MTU_DISCOVER` was last set to; `None` before the first packet and for IPv6.
    dont_fragment: Option<bool>,
    ready: bool,
}

/// The UDP sockets of ESP in UDP, on one port of IPv4 and, where there is IPv6, of IPv6.
pub(crate) struct UdpEncap {
    sides: Vec<Side>,
    port: u16,
    counters: Arc<Live>,
    too_long: Vec<TooLong>,
}

/// An ESP packet that did not leave because it is too long for its route.
#[derive(Clone, Copy)]
pub(crate) struct TooLong {
    pub(crate) spi: Spi,
    pub(crate) destination: IpAddr,
}

impl TooLong {
    fn of(message: &Message<'_>) -> Option<Self> {
        let spi = u32::from_be_bytes(*message.payload.first_chunk()?);
        Some(Self {
            spi: Spi(spi),
            destination: control::socket_address(&message.destination)?.ip(),
        })
    }
}

impl UdpEncap {
    /// Opens the sockets on `port` of every address, beside a key manager if one is there.
    ///
    /// # Errors
    /// Says what is missing; EADDRINUSE if the other socket does not share the port.
    pub(crate) fn open(
        port: u16,
        options: &SocketOptions,
        counters: Arc<Live>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let mut sides = Vec::with_capacity(2);
        for domain in [Domain::IPV4, Domain::IPV6] {
            match Side::open(port, domain, options, now) {
                Ok(side) => sides.push(side),
                Err(error) if domain == Domain::IPV6 && has_no_ipv6(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            sides,
            port,
            counters,
            too_long: Vec::new(),
        })
    }

    /// The port, which is the source port of what is sent.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Takes what was too long for its route since the last call.
    pub(crate) fn too_long(&mut self) -> std::vec::Drain<'_, TooLong> {
        self.too_long.drain(..)
    }

    /// The descriptors, for the event loop.
    pub(crate) fn raw_fds(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.sides.iter().map(|side| side.socket.as_raw_fd())
    }

    /// Notes that the event loop saw descriptor number `index` readable.
    pub(crate) fn mark_ready(&mut self, index: usize) {
        if let Some(side) = self.sides.get_mut(index) {
            side.ready = true;
        }
    }

    /// Follows changes of who shares the port.
    pub(crate) fn maintain(&mut self, now: Instant) {
        for side in &mut self.sides {
            if side.group.maintain(&side.socket, now).is_err() {
                add(&self.counters.receive_errors, 1);
            }
        }
    }

    /// Adds complete packets to `batch`, at most [`BATCH`] of each family; says whether more may be waiting.
    pub(crate) fn read_batch(&mut self, pool: &mut Pool, scratch: &mut Scratch, batch: &mut Batch) -> bool {
        let mut more = false;
        for side in self.sides.iter_mut().filter(|side| side.ready) {
            let got = scratch.receive(side.socket.as_fd(), pool, &self.counters);
            side.ready = got == BATCH;
            more |= side.ready;
            for (mut buffer, beside) in scratch.buffers.drain(..got).zip(&scratch.received) {
                if side.admit(&mut buffer, beside, self.port, &self.counters) {
                    add(&self.counters.udp_read_packets, 1);
                    add(&self.counters.udp_read_bytes, buffer.len());
                    batch.push(buffer);
                } else {
                    pool.give(buffer);
                }
            }
        }
        more
    }

    /// Sends a run of complete packets, each with its destination port, in order.
    pub(crate) fn send<'a>(&mut self, packets: impl Iterator<Item = (&'a [u8], u16)>) {
        let mut run: Vec<Message<'a>> = Vec::with_capacity(BATCH);
        let mut run_key = (Domain::IPV4, false);
        for (packet, destination_port) in packets {
            let Some((message, key)) = as_datagram(packet, destination_port) else {
                add(&self.counters.send_other, 1);
                continue;
            };
            if run.len() == BATCH || key != run_key {
                self.send_run(&run, run_key);
                run.clear();
            }
            run_key = key;
            run.push(message);
        }
        self.send_run(&run, run_key);
    }

    fn send_run(&mut self, run: &[Message<'_>], (domain, dont_fragment): (Domain, bool)) {
        if run.is_empty() {
            return;
        }
        let Some(side) = self.sides.iter_mut().find(|side| side.domain == domain) else {
            add(&self.counters.send_no_socket, run.len());
            return;
        };
        side.set_dont_fragment(dont_fragment);
        let header = UDP_HEADER + if domain == Domain::IPV6 { 40 } else { 20 };
        let too_long = &mut self.too_long;
        send_all(
            &side.socket,
            run,
            &self.counters,
            |message| {
                add(&self.counters.udp_sent_packets, 1);
                add(&self.counters.udp_sent_bytes, header + message.payload.len());
            },
            |message| {
                // DF holds, so it cannot leave; the engine is told, so that the next one fits.
                add(&self.counters.send_too_big, 1);
                too_long.extend(TooLong::of(message));
            },
        );
    }
}

impl Side {
    fn open(port: u16, domain: Domain, options: &SocketOptions, now: Instant) -> Result<Self, StartError> {
        let v6 = domain == Domain::IPV6;
        let device = format!("UDP port {port} over {}", if v6 { "IPv6" } else { "IPv4" });
        let failed = |attempt, error: &io::Error| StartError::new(&device, attempt, error, "");
        let socket = options.open(&device, domain, Type::DGRAM, 0, "")?;
        socket
            .set_reuse_port(true)
            .map_err(|error| failed("share its port", &error))?;
        let any: SocketAddr = if v6 {
            socket
                .set_only_v6(true)
                .map_err(|error| failed("keep to IPv6", &error))?;
            ask_for_ipv6_header(&socket, &device)?;
            (Ipv6Addr::UNSPECIFIED, port).into()
        } else {
            for option in [libc::IP_PKTINFO, libc::IP_RECVTOS, libc::IP_RECVTTL] {
                sys::set_option(socket.as_fd(), libc::IPPROTO_IP, option, 1)
                    .map_err(|error| failed("ask it for IPv4 headers", &error))?;
            }
            //= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
            //# The IPv4 UDP checksum of encapsulated ESP should be sent as zero.
            sys::set_option(socket.as_fd(), libc::SOL_SOCKET, SO_NO_CHECK, 1)
                .map_err(|error| failed("leave out its checksums", &error))?;
            (Ipv4Addr::UNSPECIFIED, port).into()
        };
        let mut group = Group::before_bind(&socket, domain, port);
        socket.bind(&any.into()).map_err(|error| {
            let advice = match error.raw_os_error() {
                Some(libc::EADDRINUSE) => {
                    "another program has the port; a key manager must set SO_REUSEPORT and run as the same user"
                }
                Some(libc::EACCES) => "ports below 1024 need CAP_NET_BIND_SERVICE",
                _ => "",
            };
            StartError::new(&device, "bind it", &error, advice)
        })?;
        group.join(&socket, &device, now)?;
        Ok(Self {
            socket,
            domain,
            group,
            dont_fragment: None,
            ready: true,
        })
    }

    /// Turns a datagram into the packet it came in; false if it is not ESP, which is counted.
    fn admit(&mut self, buffer: &mut PacketBuf, beside: &Received, port: u16, counters: &Live) -> bool {
        if beside.truncated {
            add(&counters.receive_truncated, 1);
            return false;
        }
        match classify(buffer.as_slice()) {
            Kind::Esp => {}
            Kind::Keepalive => {
                add(&counters.udp_keepalives, 1);
                return false;
            }
            Kind::Ike => {
                // Nobody else has the port, or the program points to the wrong member.
                add(&counters.udp_ike_unclaimed, 1);
                self.group.hint();
                return false;
            }
            Kind::Short => {
                add(&counters.udp_short, 1);
                return false;
            }
        }
        let rebuilt = rebuild(buffer, beside, port);
        if rebuilt.is_none() {
            add(&counters.receive_no_header, 1);
        }
        rebuilt.is_some()
    }

    /// The DF bit of IPv4 is a property of the socket: it is set when the next run asks for another value.
    ///
    /// Without it the kernel makes outer fragments. IPv6 has no such bit and the kernel fragments as source.
    fn set_dont_fragment(&mut self, wanted: bool) {
        if self.domain == Domain::IPV4 && self.dont_fragment != Some(wanted) {
            let value = if wanted {
                libc::IP_PMTUDISC_DO
            } else {
                libc::IP_PMTUDISC_DONT
            };
            let fd = self.socket.as_fd();
            if sys::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value).is_ok() {
                self.dont_fragment = Some(wanted);
            }
        }
    }
}

/// Puts the IP and UDP headers, which the kernel took off, in front of a datagram's payload.
fn rebuild(buffer: &mut PacketBuf, beside: &Received, port: u16) -> Option<()> {
    let source = control::socket_address(&beside.source)?;
    let mut udp = [0; UDP_HEADER];
    emit_header(&mut udp, source.port(), port, buffer.len()).ok()?;
    let IpAddr::V4(source) = source.ip() else {
        return rebuild_ipv6(buffer, UDP, beside, &udp);
    };
    let (mut destination, mut tos, mut ttl) = (None, 0, 64);
    for entry in entries(beside.control.as_slice()).filter(|entry| entry.level == libc::IPPROTO_IP) {
        match entry.kind {
            // struct in_pktinfo: interface, the address it is delivered to, the header's destination.
            libc::IP_PKTINFO => destination = entry.data.get(8..)?.first_chunk::<4>().copied(),
            libc::IP_TOS => tos = *entry.data.first()?,
            libc::IP_TTL => ttl = u8::try_from(entry.int()?).ok()?,
            _ => {}
        }
    }
    let destination = Ipv4Addr::from(destination?);
    let payload_bytes = UDP_HEADER + buffer.len();
    let packet = buffer.push_front(ipv4::HEADER_BYTES + UDP_HEADER).ok()?;
    ipv4::Repr {
        source,
        destination,
        protocol: UDP,
        tos,
        ttl,
        dont_fragment: false,
        identification: 0,
        payload_bytes,
    }
    .emit(packet)
    .ok()?;
    packet
        .get_mut(ipv4::HEADER_BYTES..)?
        .get_mut(..UDP_HEADER)?
        .copy_from_slice(&udp);
    Some(())
}

/// Turns a complete packet into a datagram: payload, destination, and the header's fields as control messages.
fn as_datagram(packet: &[u8], destination_port: u16) -> Option<(Message<'_>, (Domain, bool))> {
    let summary = Summary::parse(packet)?;
    let payload = packet.get(summary.payload_at + UDP_HEADER..)?;
    let destination = control::address(summary.destination, destination_port);
    let mut control = SentControl::EMPTY;
    let class = i32::from(summary.traffic_class).to_ne_bytes();
    let hops = i32::from(summary.hop_limit.max(1)).to_ne_bytes();
    let (entries, domain): ([(i32, &[u8]); 3], Domain);
    let level;
    let (mut info_v4, mut info_v6) = ([0; 12], [0; 20]);
    match summary.source {
        IpAddr::V4(source) => {
            info_v4[4..8].copy_from_slice(&source.octets());
            entries = [
                (libc::IP_PKTINFO, &info_v4),
                (libc::IP_TOS, &class),
                (libc::IP_TTL, &hops),
            ];
            (level, domain) = (libc::IPPROTO_IP, Domain::IPV4);
        }
        IpAddr::V6(source) => {
            info_v6[..16].copy_from_slice(&source.octets());
            entries = [
                (libc::IPV6_PKTINFO, &info_v6),
                (libc::IPV6_TCLASS, &class),
                (libc::IPV6_HOPLIMIT, &hops),
            ];
            (level, domain) = (libc::IPPROTO_IPV6, Domain::IPV6);
        }
    }
    for (kind, data) in entries {
        control::push(&mut control, level, kind, data).then_some(())?;
    }
    let dont_fragment = domain == Domain::IPV4 && summary.dont_fragment;
    Some((
        Message {
            payload,
            destination,
            control,
        },
        (domain, dont_fragment),
    ))
}
