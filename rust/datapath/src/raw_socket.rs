//! Raw sockets: ESP, AH, IPComp and IPComp's bare tunnels come in, any complete IP packet goes out.
//! UDP encapsulation and policy may not enter.
//! Answers to: raw(7), ip(7), ipv6(7), RFC 3542 (ancillary data for IPv6), RFC 4291 §2.5.6.

use crate::control::{self, entries};
use crate::counters::{Live, add};
use crate::error::StartError;
use crate::pool::Pool;
use crate::sys::{self, BATCH, Message, Received, SentControl};
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::{Batch, Engine};
use sallet_core::terms::Protocol as IpsecProtocol;
use sallet_core::wire::protocol;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

/// What a raw socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// One of the three protocols: the kernel would otherwise answer with "protocol unreachable".
    Ipsec(IpsecProtocol),
    /// IP of either version in IP. The kernel has it as well: only what an IPComp SA claims is taken.
    Bare(u8),
    /// ICMP errors that say what a path takes.
    IcmpErrors,
}

impl Carried {
    /// Everything that the datapath receives.
    pub(crate) const ALL: [Self; 6] = [
        Self::Ipsec(IpsecProtocol::Esp),
        Self::Ipsec(IpsecProtocol::Ah),
        Self::Ipsec(IpsecProtocol::IpComp),
        Self::Bare(protocol::IPV4),
        Self::Bare(protocol::IPV6),
        Self::IcmpErrors,
    ];

    fn number(self, domain: Domain) -> u8 {
        match self {
            Self::IcmpErrors if domain == Domain::IPV6 => protocol::ICMPV6,
            Self::IcmpErrors => protocol::ICMP,
            Self::Ipsec(protocol) => protocol.number(),
            Self::Bare(number) => number,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ipsec(protocol) => protocol.name(),
            Self::Bare(_) => "IP-in-IP",
            Self::IcmpErrors => "ICMP errors",
        }
    }
}

const IPV6_HEADER: usize = 40;
const RAW_ADVICE: &str = "CAP_NET_RAW and CAP_NET_ADMIN in this network namespace are needed";

/// What every socket of the datapath has in common.
pub(crate) struct SocketOptions {
    /// `SO_MARK`: what rules and nft know the datapath's own packets by.
    pub(crate) mark: u32,
    /// Size of the receive and send queues, in bytes.
    pub(crate) queue_bytes: usize,
}

impl SocketOptions {
    /// Opens a socket that never blocks, with mark and queues.
    ///
    /// # Errors
    /// Names the device that failed.
    pub(crate) fn open(
        &self,
        device: &str,
        domain: Domain,
        kind: Type,
        protocol: i32,
        advice: &'static str,
    ) -> Result<Socket, StartError> {
        let socket = Socket::new(
            domain,
            kind.nonblocking().cloexec(),
            Some(Protocol::from(protocol)),
        )
        .map_err(|error| StartError::new(device, "open it", &error, advice))?;
        socket
            .set_mark(self.mark)
            .map_err(|error| StartError::new(device, "set its mark", &error, "CAP_NET_ADMIN is needed"))?;
        self.enlarge(&socket);
        Ok(socket)
    }

    /// Asks for long queues: beyond the limit of sysctl where allowed, up to that limit otherwise.
    fn enlarge(&self, socket: &Socket) {
        let bytes = i32::try_from(self.queue_bytes).unwrap_or(i32::MAX);
        for (forced, plain) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        ] {
            // A short queue is no error: packets that find it full are counted by the kernel and by us.
            if sys::set_option(socket.as_fd(), libc::SOL_SOCKET, forced, bytes).is_err() {
                let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, plain, bytes);
            }
        }
    }
}

/// Whether this host has no IPv6 at all, in which case the datapath does without.
pub(crate) fn has_no_ipv6(error: &StartError) -> bool {
    error.errno == libc::EAFNOSUPPORT
}

/// Asks an IPv6 socket for what its packets' headers said.
///
/// # Errors
/// Names the device that failed.
pub(crate) fn ask_for_ipv6_header(socket: &Socket, device: &str) -> Result<(), StartError> {
    // IPV6_FLOWINFO brings the traffic class together with the flow label.
    for option in [
        libc::IPV6_RECVPKTINFO,
        libc::IPV6_RECVHOPLIMIT,
        libc::IPV6_FLOWINFO,
        libc::IPV6_RECVHOPOPTS,
        libc::IPV6_RECVRTHDR,
        libc::IPV6_RECVDSTOPTS,
    ] {
        sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, option, 1)
            .map_err(|error| StartError::new(device, "ask it for IPv6 headers", &error, ""))?;
    }
    Ok(())
}

/// Linux' number of `ICMP_FILTER` at level `SOL_RAW`, which the libc crate lacks.
const ICMP_FILTER: i32 = 1;
/// Linux' number of `ICMPV6_FILTER` at level `IPPROTO_ICMPV6`.
const ICMPV6_FILTER: i32 = 1;
/// Destination unreachable: "fragmentation needed" is one of its codes.
const ICMP_UNREACHABLE: u32 = 3;
const ICMPV6_TOO_BIG: usize = 2;

/// One raw socket that receives one protocol of one address family.
pub(crate) struct RawReceiver {
    socket: Socket,
    domain: Domain,
    carried: Carried,
    engine: Arc<Engine>,
    ready: bool,
    counters: Arc<Live>,
}

impl RawReceiver {
    /// Opens the socket.
    ///
    /// # Errors
    /// Says what is missing.
    pub(crate) fn open(
        domain: Domain,
        carried: Carried,
        engine: Arc<Engine>,
        options: &SocketOptions,
        counters: Arc<Live>,
    ) -> Result<Self, StartError> {
        let family = if domain == Domain::IPV6 { "IPv6" } else { "IPv4" };
        let device = format!("raw socket for {} over {family}", carried.name());
        let socket = options.open(
            &device,
            domain,
            Type::RAW,
            i32::from(carried.number(domain)),
            RAW_ADVICE,
        )?;
        if domain == Domain::IPV6 {
            ask_for_ipv6_header(&socket, &device)?;
        }
        if carried == Carried::IcmpErrors {
            let filtered = filter_icmp_errors(&socket, domain);
            filtered.map_err(|error| StartError::new(&device, "filter it", &error, ""))?;
        }
        Ok(Self {
            socket,
            domain,
            carried,
            engine,
            ready: true,
            counters,
        })
    }

    /// The descriptor, for the event loop.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether what it receives is for the engine to judge, not to open.
    pub(crate) const fn reads_errors(&self) -> bool {
        matches!(self.carried, Carried::IcmpErrors)
    }

    /// Notes that the event loop saw the descriptor readable.
    pub(crate) fn mark_ready(&mut self) {
        self.ready = true;
    }

    /// Adds complete IP packets to `batch`, at most [`BATCH`]; says whether more may be waiting.
    pub(crate) fn read_batch(&mut self, pool: &mut Pool, scratch: &mut Scratch, batch: &mut Batch) -> bool {
        if !self.ready {
            return false;
        }
        let got = scratch.receive(self.socket.as_fd(), pool, &self.counters);
        self.ready = got == BATCH;
        for (mut buffer, beside) in scratch.buffers.drain(..got).zip(&scratch.received) {
            if beside.truncated {
                add(&self.counters.receive_truncated, 1);
                pool.give(buffer);
                continue;
            }
            if self.domain == Domain::IPV6
                && rebuild_ipv6(&mut buffer, self.carried.number(self.domain), beside, &[]).is_none()
            {
                add(&self.counters.receive_no_header, 1);
                pool.give(buffer);
                continue;
            }
            if matches!(self.carried, Carried::Bare(_)) && !self.engine.claims_bare(buffer.as_slice()) {
                pool.give(buffer);
                continue;
            }
            if self.reads_errors() {
                add(&self.counters.icmp_errors_read, 1);
            } else {
                add(&self.counters.raw_read_packets, 1);
                add(&self.counters.raw_read_bytes, buffer.len());
            }
            batch.push(buffer);
        }
        self.ready
    }
}

/// Leaves only the errors that may name an MTU; the kernel copies every ICMP message to a raw socket otherwise.
fn filter_icmp_errors(socket: &Socket, domain: Domain) -> io::Result<()> {
    if domain == Domain::IPV6 {
        // A set bit is a type that is not wanted (`struct icmp6_filter`, 32-bit words).
        let mut words = [u32::MAX; 8];
        words[ICMPV6_TOO_BIG / 32] &= !(1 << (ICMPV6_TOO_BIG % 32));
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        sys::set_option_bytes(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &bytes)
    } else {
        let unwanted = !(1_u32 << ICMP_UNREACHABLE);
        sys::set_option_bytes(
            socket.as_fd(),
            libc::SOL_RAW,
            ICMP_FILTER,
            &unwanted.to_ne_bytes(),
        )
    }
}

/// Buffers and headers for one receiving system call, shared by all sockets.
pub(crate) struct Scratch {
    pub(crate) buffers: Vec<PacketBuf>,
    pub(crate) received: Vec<Received>,
}

impl Scratch {
    /// Makes room for one batch.
    pub(crate) fn new() -> Self {
        Self {
            buffers: Vec::with_capacity(BATCH),
            received: vec![Received::EMPTY; BATCH],
        }
    }

    /// Receives into the first buffers; says how many. "Nothing there" and errors are 0.
    pub(crate) fn receive(
        &mut self,
        socket: std::os::fd::BorrowedFd<'_>,
        pool: &mut Pool,
        counters: &Live,
    ) -> usize {
        pool.fill(&mut self.buffers, BATCH);
        match sys::receive_many(socket, &mut self.buffers, &mut self.received) {
            Ok(got) => got,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    add(&counters.receive_errors, 1);
                }
                0
            }
        }
    }
}

/// Puts the IPv6 header (and the extension headers) that the kernel took off in front of a packet again.
///
/// `upper` is a header between them and the packet, UDP for instance; `protocol` is its number, or the packet's.
/// `None` if the kernel did not say enough, or said more than fits.
pub(crate) fn rebuild_ipv6(
    buffer: &mut PacketBuf,
    protocol: u8,
    beside: &Received,
    upper: &[u8],
) -> Option<()> {
    let source = match control::socket_address(&beside.source)?.ip() {
        IpAddr::V6(source) => source,
        IpAddr::V4(_) => return None,
    };
    let (mut destination, mut hop_limit, mut flow) = (None, 64, 0);
    // The kernel tells them in the order they stand in the packet.
    let mut extensions: [(u8, &[u8]); 6] = [(0, &[]); 6];
    let mut count = 0;
    for entry in entries(beside.control.as_slice()).filter(|entry| entry.level == libc::IPPROTO_IPV6) {
        let number = match entry.kind {
            libc::IPV6_PKTINFO => {
                destination = entry.data.first_chunk::<16>();
                continue;
            }
            libc::IPV6_HOPLIMIT => {
                hop_limit = u8::try_from(entry.int()?).ok()?;
                continue;
            }
            libc::IPV6_FLOWINFO => {
                flow = u32::from_be_bytes(*entry.data.first_chunk()?);
                continue;
            }
            libc::IPV6_HOPOPTS => 0,
            libc::IPV6_RTHDR => 43,
            libc::IPV6_DSTOPTS => 60,
            _ => continue,
        };
        if entry.data.len() < 8 || entry.data.len() % 8 != 0 {
            return None;
        }
        *extensions.get_mut(count)? = (number, entry.data);
        count += 1;
    }
    let extensions = &extensions[..count];
    let extension_bytes: usize = extensions.iter().map(|(_, bytes)| bytes.len()).sum();
    let payload_bytes = u16::try_from(extension_bytes + upper.len() + buffer.len()).ok()?;
    let packet = buffer
        .push_front(IPV6_HEADER + extension_bytes + upper.len())
        .ok()?;
    packet[..4].copy_from_slice(&(0x6000_0000 | (flow & 0x0fff_ffff)).to_be_bytes());
    packet[4..6].copy_from_slice(&payload_bytes.to_be_bytes());
    packet[7] = hop_limit;
    packet[8..24].copy_from_slice(&source.octets());
    packet[24..40].copy_from_slice(destination?);
    let (mut points_at_next, mut at) = (6, IPV6_HEADER);
    for (number, bytes) in extensions {
        packet[points_at_next] = *number;
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        points_at_next = at;
        at += bytes.len();
    }
    packet[points_at_next] = protocol;
    packet[at..at + upper.len()].copy_from_slice(upper);
    Some(())
}

/// Two raw sockets that send complete IP packets, header included.
///
/// The kernel fills in an IPv4 header's checksum and total length, and its identification if that is zero (raw(7)).
pub(crate) struct RawSender {
    v4: Socket,
    v6: Option<Socket>,
    counters: Arc<Live>,
}

impl RawSender {
    /// Opens the sockets; without IPv6 in the kernel there is just one.
    ///
    /// # Errors
    /// Says what is missing.
    pub(crate) fn open(options: &SocketOptions, counters: Arc<Live>) -> Result<Self, StartError> {
        let header =
            |device: &str, error: &io::Error| StartError::new(device, "send whole headers", error, "");
        let device = "raw socket to send IPv4";
        let v4 = options.open(device, Domain::IPV4, Type::RAW, libc::IPPROTO_RAW, RAW_ADVICE)?;
        v4.set_header_included_v4(true)
            .map_err(|error| header(device, &error))?;
        let device = "raw socket to send IPv6";
        let v6 = match options.open(device, Domain::IPV6, Type::RAW, libc::IPPROTO_RAW, RAW_ADVICE) {
            Ok(v6) => {
                v6.set_header_included_v6(true)
                    .map_err(|error| header(device, &error))?;
                Some(v6)
            }
            Err(error) if has_no_ipv6(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6, counters })
    }

    /// Sends a run of packets in order; each is counted as sent by `sent`, or as failed by kind. Those that are too
    /// long for their route go to `too_long` instead.
    pub(crate) fn send<'a>(
        &self,
        packets: impl Iterator<Item = &'a [u8]>,
        mut sent: impl FnMut(usize),
        mut too_long: impl FnMut(&'a [u8]),
    ) {
        let mut run: Vec<Message<'a>> = Vec::with_capacity(BATCH);
        let mut run_is_v6 = false;
        for packet in packets {
            let Some(destination) = control::destination_of(packet) else {
                add(&self.counters.send_other, 1);
                continue;
            };
            if run.len() == BATCH || destination.is_ipv6() != run_is_v6 {
                self.send_run(&run, run_is_v6, &mut sent, &mut too_long);
                run.clear();
            }
            run_is_v6 = destination.is_ipv6();
            // A raw socket's port is the protocol, which must be 0 or the socket's own for IPv6.
            let destination = control::address(destination, 0);
            run.push(Message {
                payload: packet,
                destination,
                control: SentControl::EMPTY,
            });
        }
        self.send_run(&run, run_is_v6, &mut sent, &mut too_long);
    }

    fn send_run<'a>(
        &self,
        run: &[Message<'a>],
        is_v6: bool,
        sent: &mut impl FnMut(usize),
        too_long: &mut impl FnMut(&'a [u8]),
    ) {
        let socket = if is_v6 { self.v6.as_ref() } else { Some(&self.v4) };
        match socket {
            Some(socket) => send_all(
                socket,
                run,
                &self.counters,
                |message| sent(message.payload.len()),
                |message| too_long(message.payload),
            ),
            None => add(&self.counters.send_no_socket, run.len()),
        }
    }
}

/// Sends every message that can be sent, in order, hands out those that are too long, and counts the others.
pub(crate) fn send_all<'a, 'b>(
    socket: &Socket,
    mut messages: &'b [Message<'a>],
    counters: &Live,
    mut sent: impl FnMut(&'b Message<'a>),
    mut too_long: impl FnMut(&'b Message<'a>),
) {
    while !messages.is_empty() {
        let done = match sys::send_many(socket.as_fd(), messages) {
            Ok(count) => {
                let count = count.clamp(1, messages.len());
                messages[..count].iter().for_each(&mut sent);
                count
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                if error.raw_os_error() == Some(libc::EMSGSIZE) {
                    too_long(&messages[0]);
                } else {
                    counters.send_failed(&error);
                }
                1
            }
        };
        messages = &messages[done..];
    }
}

/// Whether the packet may not leave the link it is on.
///
/// The kernel sends router solicitations, MLD and IGMP reports on every interface that comes up. Those of the TUN
/// device would leave by an interface they were not meant for.
pub(crate) fn has_link_scope(packet: &[u8]) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc4291#section-2.5.6
    //# A packet with a link-local source or destination is not forwarded to another link.
    match (
        packet.first().map(|first| first >> 4),
        packet.get(16..20),
        packet.get(8..40),
    ) {
        (Some(4), Some(destination), _) => destination[..3] == [224, 0, 0] || destination == [255; 4],
        (Some(6), _, Some(addresses)) => {
            let link_local = |address: &[u8]| address[0] == 0xfe && address[1] & 0xc0 == 0x80;
            let link_multicast = addresses[16] == 0xff && addresses[17] & 0x0f <= 2;
            link_local(&addresses[..16]) || link_local(&addresses[16..]) || link_multicast
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallet_core::buffer::HEADROOM;
    use std::net::Ipv6Addr;

    fn beside(extensions: &[(i32, &[u8])]) -> Received {
        let mut out = Received::EMPTY;
        out.source = control::address("2001:db8::1".parse().unwrap(), 0);
        let mut info = [0; 20];
        info[..16].copy_from_slice(&"2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        for (kind, data) in [
            (libc::IPV6_PKTINFO, &info[..]),
            (libc::IPV6_HOPLIMIT, &61i32.to_ne_bytes()),
            (libc::IPV6_FLOWINFO, &0x0b21_2345_u32.to_be_bytes()),
        ]
        .iter()
        .chain(extensions)
        {
            assert!(control::push(&mut out.control, libc::IPPROTO_IPV6, *kind, data));
        }
        out
    }

    #[test]
    fn an_ipv6_header_is_rebuilt_with_its_extensions() {
        let mut buffer = PacketBuf::from_packet(b"esp bytes");
        let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
        let options = [51, 0, 1, 4, 9, 9, 9, 9];
        let beside = beside(&[(libc::IPV6_HOPOPTS, &hop_by_hop), (libc::IPV6_DSTOPTS, &options)]);
        rebuild_ipv6(&mut buffer, 50, &beside, b"").unwrap();
        let packet = buffer.as_slice();
        assert_eq!(packet[..8], [0x6b, 0x21, 0x23, 0x45, 0, 25, 0, 61]);
        assert_eq!(packet[23], 1);
        assert_eq!(packet[39], 2);
        assert_eq!(
            (packet[40], packet[48]),
            (60, 50),
            "each header points to the next"
        );
        assert_eq!(&packet[56..], b"esp bytes");
    }

    #[test]
    fn an_upper_header_stands_between() {
        let mut buffer = PacketBuf::from_packet(b"x");
        rebuild_ipv6(&mut buffer, 17, &beside(&[]), &[8; 8]).unwrap();
        assert_eq!(buffer.as_slice()[6], 17);
        assert_eq!(&buffer.as_slice()[40..], &[8, 8, 8, 8, 8, 8, 8, 8, b'x']);
    }

    #[test]
    fn too_little_or_too_much_is_none() {
        let rebuild = |beside: &Received| rebuild_ipv6(&mut PacketBuf::from_packet(b"x"), 50, beside, b"");
        assert!(rebuild(&Received::EMPTY).is_none());
        let mut no_destination = beside(&[]);
        no_destination.control.len = 0;
        assert!(rebuild(&no_destination).is_none());
        assert!(rebuild(&beside(&[(libc::IPV6_RTHDR, &[0; 7])])).is_none());
        assert!(
            rebuild(&beside(&[(libc::IPV6_RTHDR, &[0; HEADROOM + 8])])).is_none(),
            "more than the headroom"
        );
    }

    //= https://www.rfc-editor.org/rfc/rfc4291#section-2.5.6
    //# A packet with a link-local source or destination is not forwarded to another link.
    #[test]
    fn link_scope_is_seen() {
        let v4 = |destination: [u8; 4]| {
            let mut packet = vec![0x45; 20];
            packet[16..].copy_from_slice(&destination);
            packet
        };
        let v6 = |source: &str, destination: &str| {
            let mut packet = vec![0x60; 8];
            for text in [source, destination] {
                packet.extend(text.parse::<Ipv6Addr>().unwrap().octets());
            }
            packet
        };
        assert!(has_link_scope(&v4([224, 0, 0, 22])) && has_link_scope(&v4([255; 4])));
        assert!(!has_link_scope(&v4([224, 0, 1, 1])) && !has_link_scope(&v4([10, 0, 0, 1])));
        assert!(!has_link_scope(&v4([169, 254, 169, 254])), "clouds route these");
        assert!(
            has_link_scope(&v6("fe80::1", "2001:db8::1")) && has_link_scope(&v6("2001:db8::1", "febf::1"))
        );
        assert!(has_link_scope(&v6("::", "ff02::16")) && has_link_scope(&v6("2001:db8::1", "ff01::1")));
        assert!(
            !has_link_scope(&v6("2001:db8::1", "2001:db8::2")) && !has_link_scope(&v6("fec0::1", "ff05::1"))
        );
        assert!(!has_link_scope(&[]) && !has_link_scope(&[0x60; 39]) && !has_link_scope(&[0x45; 19]));
    }
}
