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
use sallet_core::sa::UdpEncap as Ports;
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

/// Where a program takes IKE and the datapath ESP in UDP: the local address of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port; every address if it is unspecified.
    pub address: SocketAddr,
    /// `IPV6_V6ONLY` of the program's socket: the kernel puts only sockets that agree on it into one group.
    pub only_v6: bool,
}

/// The UDP socket of one endpoint.
pub(crate) struct Side {
    socket: Socket,
    endpoint: Endpoint,
    /// What the event loop knows the socket by, as long as it lives.
    id: usize,
    group: Group,
    /// What `IP_MTU_DISCOVER` was last set to; `None` before the first packet and for IPv6.
    dont_fragment: Option<bool>,
    ready: bool,
}

/// The UDP sockets of ESP in UDP.
pub(crate) struct UdpEncap {
    sides: Vec<Side>,
    next_id: usize,
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
    /// Opens the sockets on `port`, if there is one, of every address, beside a key manager if one is there.
    ///
    /// # Errors
    /// Says what is missing; EADDRINUSE if the other socket does not share the port.
    pub(crate) fn open(
        port: Option<u16>,
        options: &SocketOptions,
        counters: Arc<Live>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let mut opened = Self {
            sides: Vec::with_capacity(2),
            next_id: 0,
            counters,
            too_long: Vec::new(),
        };
        let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for (any, port) in everywhere.into_iter().zip(port.into_iter().cycle()) {
            let endpoint = Endpoint {
                address: (any, port).into(),
                only_v6: true,
            };
            match Side::open(endpoint, options, now) {
                Ok(side) => {
                    opened.add(side);
                }
                Err(error) if any.is_ipv6() && has_no_ipv6(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    /// Adds a socket; returns its descriptor, and the number that the event loop shall know it by.
    pub(crate) fn add(&mut self, mut side: Side) -> (RawFd, usize) {
        side.id = self.next_id;
        self.next_id += 1;
        let known = (side.socket.as_raw_fd(), side.id);
        self.sides.push(side);
        known
    }

    /// Closes the socket of an address, if there is one.
    pub(crate) fn remove(&mut self, address: SocketAddr) {
        self.sides.retain(|side| side.endpoint.address != address);
    }

    /// Whether a packet from `source` and its `port` leaves by a socket of ours.
    pub(crate) fn serves(&self, source: IpAddr, port: u16) -> bool {
        self.sides.iter().any(|side| side.sends_from(source, port))
    }

    /// Takes what was too long for its route since the last call.
    pub(crate) fn too_long(&mut self) -> std::vec::Drain<'_, TooLong> {
        self.too_long.drain(..)
    }

    /// The descriptors and their numbers, for the event loop.
    pub(crate) fn raw_fds(&self) -> impl Iterator<Item = (RawFd, usize)> + '_ {
        self.sides.iter().map(|side| (side.socket.as_raw_fd(), side.id))
    }

    /// Notes that the event loop saw the descriptor with number `id` readable.
    pub(crate) fn mark_ready(&mut self, id: usize) {
        if let Some(side) = self.sides.iter_mut().find(|side| side.id == id) {
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
                if side.admit(&mut buffer, beside, &self.counters) {
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

    /// Sends a run of complete packets, each with its ports, in order.
    pub(crate) fn send<'a>(&mut self, packets: impl Iterator<Item = (&'a [u8], Ports)>) {
        let mut run: Vec<Message<'a>> = Vec::with_capacity(BATCH);
        let mut run_key = Leaving::NOTHING;
        for (packet, ports) in packets {
            let Some((message, key)) = as_datagram(packet, ports) else {
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

    fn send_run(&mut self, run: &[Message<'_>], key: Leaving) {
        if run.is_empty() {
            return;
        }
        let Some(side) = self
            .sides
            .iter_mut()
            .find(|side| side.sends_from(key.source, key.port))
        else {
            add(&self.counters.send_no_socket, run.len());
            return;
        };
        side.set_dont_fragment(key.dont_fragment);
        let header = UDP_HEADER + if key.source.is_ipv6() { 40 } else { 20 };
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

/// What the messages of one system call have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Leaving {
    source: IpAddr,
    port: u16,
    dont_fragment: bool,
}

impl Leaving {
    const NOTHING: Self = Self {
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
        dont_fragment: false,
    };
}

impl Side {
    /// Opens a socket at an endpoint, beside the key manager whose it is.
    ///
    /// # Errors
    /// Says what is missing; EADDRINUSE if the other socket does not share the port.
    pub(crate) fn open(
        endpoint: Endpoint,
        options: &SocketOptions,
        now: Instant,
    ) -> Result<Self, StartError> {
        let (v6, port) = (endpoint.address.is_ipv6(), endpoint.address.port());
        let domain = Domain::for_address(endpoint.address);
        let device = format!("UDP port {port} over {}", if v6 { "IPv6" } else { "IPv4" });
        let failed = |attempt, error: &io::Error| StartError::new(&device, attempt, error, "");
        let socket = options.open(&device, domain, Type::DGRAM, 0, "")?;
        socket
            .set_reuse_port(true)
            .map_err(|error| failed("share its port", &error))?;
        if v6 {
            socket
                .set_only_v6(endpoint.only_v6)
                .map_err(|error| failed("keep to IPv6", &error))?;
            ask_for_ipv6_header(&socket, &device)?;
        } else {
            for option in [libc::IP_PKTINFO, libc::IP_RECVTOS, libc::IP_RECVTTL] {
                sys::set_option(socket.as_fd(), libc::IPPROTO_IP, option, 1)
                    .map_err(|error| failed("ask it for IPv4 headers", &error))?;
            }
            //= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
            //# The IPv4 UDP checksum of encapsulated ESP should be sent as zero.
            sys::set_option(socket.as_fd(), libc::SOL_SOCKET, SO_NO_CHECK, 1)
                .map_err(|error| failed("leave out its checksums", &error))?;
        }
        let mut group = Group::before_bind(&socket, endpoint.address);
        socket.bind(&endpoint.address.into()).map_err(|error| {
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
            endpoint,
            id: 0,
            group,
            dont_fragment: None,
            ready: true,
        })
    }

    fn sends_from(&self, source: IpAddr, port: u16) -> bool {
        let own = self.endpoint.address;
        let address = own.ip() == source || (own.ip().is_unspecified() && own.is_ipv6() == source.is_ipv6());
        own.port() == port && address
    }

    /// Turns a datagram into the packet it came in; false if it is not ESP, which is counted.
    fn admit(&mut self, buffer: &mut PacketBuf, beside: &Received, counters: &Live) -> bool {
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
        let rebuilt = rebuild(buffer, beside, self.endpoint.address.port());
        if rebuilt.is_none() {
            add(&counters.receive_no_header, 1);
        }
        rebuilt.is_some()
    }

    /// The DF bit of IPv4 is a property of the socket: it is set when the next run asks for another value.
    ///
    /// Without it the kernel makes outer fragments. IPv6 has no such bit and the kernel fragments as source.
    fn set_dont_fragment(&mut self, wanted: bool) {
        if self.endpoint.address.is_ipv4() && self.dont_fragment != Some(wanted) {
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
fn as_datagram(packet: &[u8], ports: Ports) -> Option<(Message<'_>, Leaving)> {
    let summary = Summary::parse(packet)?;
    let payload = packet.get(summary.payload_at + UDP_HEADER..)?;
    let destination = control::address(summary.destination, ports.destination_port);
    let mut control = SentControl::EMPTY;
    let class = i32::from(summary.traffic_class).to_ne_bytes();
    let hops = i32::from(summary.hop_limit.max(1)).to_ne_bytes();
    let (entries, level): ([(i32, &[u8]); 3], i32);
    let (mut info_v4, mut info_v6) = ([0; 12], [0; 20]);
    match summary.source {
        IpAddr::V4(source) => {
            info_v4[4..8].copy_from_slice(&source.octets());
            entries = [
                (libc::IP_PKTINFO, &info_v4),
                (libc::IP_TOS, &class),
                (libc::IP_TTL, &hops),
            ];
            level = libc::IPPROTO_IP;
        }
        IpAddr::V6(source) => {
            info_v6[..16].copy_from_slice(&source.octets());
            entries = [
                (libc::IPV6_PKTINFO, &info_v6),
                (libc::IPV6_TCLASS, &class),
                (libc::IPV6_HOPLIMIT, &hops),
            ];
            level = libc::IPPROTO_IPV6;
        }
    }
    for (kind, data) in entries {
        control::push(&mut control, level, kind, data).then_some(())?;
    }
    let leaving = Leaving {
        source: summary.source,
        port: ports.source_port,
        dont_fragment: summary.source.is_ipv4() && summary.dont_fragment,
    };
    Some((
        Message {
            payload,
            destination,
            control,
        },
        leaving,
    ))
}
