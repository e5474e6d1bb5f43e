//! ICMP of either version: echo, and the answer to a packet that is too big.
//! When to answer, and how often, may not enter beyond what the packet itself forbids.
//! Answers to: RFC 792, RFC 1191 section 4, RFC 1122 section 3.2.2, RFC 4443 section 2.4, 3.2 and 4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{checksum, ip, ip::Summary, protocol, u16_at};

/// Type, code, checksum, and four bytes whose meaning the type decides.
pub const HEADER_BYTES: usize = 8;
/// An ICMPv4 error is at most this long (RFC 1812 §4.3.2.3).
const LONGEST_V4_ERROR_BYTES: usize = 576;
/// An ICMPv6 error is at most this long (RFC 4443 §2.4 c: the minimum MTU).
const LONGEST_V6_ERROR_BYTES: usize = 1280;

const V4_ECHO_REPLY: u8 = 0;
const V4_UNREACHABLE: u8 = 3;
const V4_FRAGMENTATION_NEEDED: u8 = 4;
const V4_ECHO_REQUEST: u8 = 8;
const V6_TOO_BIG: u8 = 2;
const V6_ECHO_REQUEST: u8 = 128;
const V6_ECHO_REPLY: u8 = 129;
const V6_REDIRECT: u8 = 137;

/// A view of an ICMP message of either version.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as an ICMP message.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            header: bytes.first_chunk::<HEADER_BYTES>()?,
            bytes,
        })
    }

    /// The message type.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.header[0]
    }

    /// The message code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.header[1]
    }

    /// The four bytes behind the checksum.
    #[must_use]
    pub const fn rest_of_header(&self) -> [u8; 4] {
        let h = self.header;
        [h[4], h[5], h[6], h[7]]
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Whether the checksum is right for a message between these addresses.
    #[must_use]
    pub fn checksum_is_right(&self, source: IpAddr, destination: IpAddr) -> bool {
        checksum_of(source, destination, self.bytes) == 0
    }
}

/// ICMPv6 sums the pseudo-header too, ICMPv4 does not.
fn checksum_of(source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
    match source {
        IpAddr::V4(_) => checksum::internet(message),
        IpAddr::V6(_) => checksum::transport(source, destination, protocol::ICMPV6, message),
    }
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    /// The message type.
    pub kind: u8,
    /// The message code.
    pub code: u8,
    /// The four bytes behind the checksum.
    pub rest_of_header: [u8; 4],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Repr<'a> {
    /// The message's meaning.
    #[must_use]
    pub fn parse(packet: &Packet<'a>) -> Self {
        Self {
            kind: packet.kind(),
            code: packet.code(),
            rest_of_header: packet.rest_of_header(),
            payload: packet.payload(),
        }
    }

    /// Builds the message, checksum included.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        message.extend_from_slice(&[self.kind, self.code, 0, 0]);
        message.extend_from_slice(&self.rest_of_header);
        message.extend_from_slice(self.payload);
        let sum = checksum_of(source, destination, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    /// Builds a whole IP packet with the message; `None` if the families differ or it would be too long.
    #[must_use]
    pub fn packet(&self, source: IpAddr, destination: IpAddr) -> Option<Vec<u8>> {
        let number = if source.is_ipv4() {
            protocol::ICMP
        } else {
            protocol::ICMPV6
        };
        ip::packet(source, destination, number, &self.emit(source, destination))
    }
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Request or reply.
    pub request: bool,
    /// What ties a reply to the program that asked.
    pub identifier: u16,
    /// What ties a reply to its request.
    pub sequence: u16,
    /// What the reply must give back.
    pub payload: &'a [u8],
}

impl<'a> Echo<'a> {
    /// Reads an unfragmented IP packet that is an echo request or reply with a right checksum.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let summary = Summary::parse(packet)?;
        let message = Packet::new_checked(summary.payload(packet))?;
        let request = match (summary.source, summary.next_layer, message.kind()) {
            (IpAddr::V4(_), protocol::ICMP, V4_ECHO_REQUEST) => true,
            (IpAddr::V6(_), protocol::ICMPV6, V6_ECHO_REQUEST) => true,
            (IpAddr::V4(_), protocol::ICMP, V4_ECHO_REPLY) => false,
            (IpAddr::V6(_), protocol::ICMPV6, V6_ECHO_REPLY) => false,
            _ => return None,
        };
        let whole = summary.fragment.is_none() && message.code() == 0;
        if !whole || !message.checksum_is_right(summary.source, summary.destination) {
            return None;
        }
        let rest = message.rest_of_header();
        Some(Self {
            request,
            identifier: u16_at(&rest, 0)?,
            sequence: u16_at(&rest, 2)?,
            payload: message.payload(),
        })
    }

    /// Builds a whole IP packet; `None` if the families differ or it would be too long.
    #[must_use]
    pub fn packet(&self, source: IpAddr, destination: IpAddr) -> Option<Vec<u8>> {
        let kind = match (source, self.request) {
            (IpAddr::V4(_), true) => V4_ECHO_REQUEST,
            (IpAddr::V4(_), false) => V4_ECHO_REPLY,
            (IpAddr::V6(_), true) => V6_ECHO_REQUEST,
            (IpAddr::V6(_), false) => V6_ECHO_REPLY,
        };
        let [i0, i1] = self.identifier.to_be_bytes();
        let [s0, s1] = self.sequence.to_be_bytes();
        let repr = Repr {
            kind,
            code: 0,
            rest_of_header: [i0, i1, s0, s1],
            payload: self.payload,
        };
        repr.packet(source, destination)
    }
}

/// Builds the answer of router `own` to a packet that does not fit `mtu` and may not be fragmented.
///
/// `None` where no answer is allowed: no well-formed packet, an ICMP error itself, a fragment that is not the first,
/// a source that is no single host, a multicast or broadcast destination (IPv4), a packet without DF, `own` of the
/// other family.
#[must_use]
pub fn too_big(original: &[u8], mtu: u32, own: IpAddr) -> Option<Vec<u8>> {
    let summary = Summary::parse(original)?;
    let later = summary
        .fragment
        .is_some_and(|fragment| fragment.offset_bytes != 0);
    if later || is_error(&summary, original) || !summary.dont_fragment {
        return None;
    }
    let whole = original.get(..summary.total_bytes)?;
    match (summary.source, summary.destination, own) {
        (IpAddr::V4(source), IpAddr::V4(destination), IpAddr::V4(_)) => {
            v4_may_be_answered(source, destination).then_some(())?;
            //= https://www.rfc-editor.org/rfc/rfc1191#section-4
            //# The next-hop MTU stands in the low 16 bits of the word that was unused; header and 8 bytes at least follow.
            let [m0, m1] = u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes();
            let longest = LONGEST_V4_ERROR_BYTES - super::ipv4::HEADER_BYTES - HEADER_BYTES;
            let payload = whole.get(..longest).unwrap_or(whole);
            let rest_of_header = [0, 0, m0, m1];
            let repr = Repr {
                kind: V4_UNREACHABLE,
                code: V4_FRAGMENTATION_NEEDED,
                rest_of_header,
                payload,
            };
            repr.packet(own, summary.source)
        }
        (IpAddr::V6(source), IpAddr::V6(_), IpAddr::V6(_)) => {
            v6_may_be_answered(source).then_some(())?;
            //= https://www.rfc-editor.org/rfc/rfc4443#section-3.2
            //# The MTU, then as much of the packet as fits the minimum MTU.
            let longest = LONGEST_V6_ERROR_BYTES - super::ipv6::HEADER_BYTES - HEADER_BYTES;
            let payload = whole.get(..longest).unwrap_or(whole);
            let repr = Repr {
                kind: V6_TOO_BIG,
                code: 0,
                rest_of_header: mtu.to_be_bytes(),
                payload,
            };
            repr.packet(own, summary.source)
        }
        _ => None,
    }
}

/// Whether a packet is an ICMP error, which is never answered with another. A type that is cut off counts as one.
fn is_error(summary: &Summary, packet: &[u8]) -> bool {
    let kind = summary.payload(packet).first();
    match summary.next_layer {
        protocol::ICMP => kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12)),
        protocol::ICMPV6 => kind.is_none_or(|kind| *kind < 128 || *kind == V6_REDIRECT),
        _ => false,
    }
}

//= https://www.rfc-editor.org/rfc/rfc1122#section-3.2.2
//# No error is sent about a packet to many, or from a source that names no single host.
fn v4_may_be_answered(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    let to_many = destination.is_multicast() || destination.is_broadcast();
    let from_one = !(source.is_unspecified()
        || source.is_multicast()
        || source.is_broadcast()
        || source.octets()[0] == 0);
    from_one && !to_many
}

//= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
//# Too big is the one error that also answers packets to many; the source must still name one node.
fn v6_may_be_answered(source: Ipv6Addr) -> bool {
    !(source.is_unspecified() || source.is_multicast())
}
