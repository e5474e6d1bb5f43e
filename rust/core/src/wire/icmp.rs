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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ipv4, udp};
    use proptest::prelude::*;

    const CAPTURED: [&[u8]; 8] = [
        captured::IPV4_ICMP_ECHO_REQUEST,
        captured::IPV4_ICMP_ECHO_REPLY,
        captured::IPV6_ICMP_ECHO_REQUEST,
        captured::IPV6_ICMP_ECHO_REPLY,
        captured::IPV6_NEIGHBOUR_SOLICITATION,
        captured::IPV4_ICMP_PORT_UNREACHABLE,
        captured::IPV4_ICMP_TOO_BIG,
        captured::IPV6_ICMP_TOO_BIG,
    ];

    fn split(packet: &[u8]) -> (Summary, Packet<'_>) {
        let summary = Summary::parse(packet).unwrap();
        (summary, Packet::new_checked(summary.payload(packet)).unwrap())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn deconstruct() {
        let (_, message) = split(captured::IPV4_ICMP_TOO_BIG);
        assert_eq!(
            (message.kind(), message.code(), message.rest_of_header()),
            (3, 4, [0, 0, 5, 0])
        );
        let (_, message) = split(captured::IPV6_ICMP_TOO_BIG);
        assert_eq!(
            (message.kind(), message.code(), message.rest_of_header()),
            (2, 0, [0, 0, 5, 0])
        );
        for packet in CAPTURED {
            let (summary, message) = split(packet);
            assert!(message.checksum_is_right(summary.source, summary.destination));
        }
    }

    #[test]
    fn construct() {
        for packet in CAPTURED {
            let (summary, message) = split(packet);
            let again = Repr::parse(&message).emit(summary.source, summary.destination);
            assert_eq!(again, summary.payload(packet));
        }
    }

    #[test]
    fn check_len() {
        for length in 0..HEADER_BYTES {
            assert!(Packet::new_checked(&[0; HEADER_BYTES][..length]).is_none());
        }
        assert!(
            Packet::new_checked(&[0; HEADER_BYTES])
                .unwrap()
                .payload()
                .is_empty()
        );
    }

    #[test]
    fn parse_and_emit_echo() {
        for (packet, request, identifier) in [
            (captured::IPV4_ICMP_ECHO_REQUEST, true, 0x53a9),
            (captured::IPV4_ICMP_ECHO_REPLY, false, 0x53a9),
            (captured::IPV6_ICMP_ECHO_REQUEST, true, 0x53aa),
            (captured::IPV6_ICMP_ECHO_REPLY, false, 0x53aa),
        ] {
            let echo = Echo::parse(packet).unwrap();
            assert_eq!(
                (echo.request, echo.identifier, echo.sequence),
                (request, identifier, 1)
            );
            assert_eq!(echo.payload.len(), 24);
            let (summary, _) = split(packet);
            let built = echo.packet(summary.source, summary.destination).unwrap();
            assert_eq!(Echo::parse(&built), Some(echo));
            assert_eq!(summary.payload(&built), summary.payload(packet));
        }
        assert_eq!(Echo::parse(captured::IPV4_ICMP_TOO_BIG), None);
        assert_eq!(Echo::parse(captured::IPV4_FRAGMENT_FIRST), None);
        let mut wrong = captured::IPV4_ICMP_ECHO_REQUEST.to_vec();
        wrong[40] ^= 1;
        assert_eq!(Echo::parse(&wrong), None, "a wrong checksum");
    }

    //= https://www.rfc-editor.org/rfc/rfc1191#section-4
    //# The next-hop MTU stands in the low 16 bits of the word that was unused; header and 8 bytes at least follow.
    #[test]
    fn too_big_ipv4() {
        // The router took one from the TTL before it quoted; the engine quotes what it was given.
        let original = captured::IPV4_ICMP_TOO_BIG_ORIGINAL;
        let answer = too_big(original, 1280, address("10.9.0.2")).unwrap();
        let (summary, message) = split(&answer);
        assert_eq!(
            (summary.source, summary.destination),
            (address("10.9.0.2"), address("10.9.0.1"))
        );
        assert_eq!(summary.total_bytes, 576, "as long as the kernel's");
        assert!(ipv4::Packet::new_checked(&answer).unwrap().checksum_is_right());
        assert!(message.checksum_is_right(summary.source, summary.destination));
        let (_, theirs) = split(captured::IPV4_ICMP_TOO_BIG);
        assert_eq!(
            (message.kind(), message.code(), message.rest_of_header()),
            (theirs.kind(), theirs.code(), theirs.rest_of_header())
        );
        assert_eq!(message.payload(), &original[..548]);
        assert_eq!(message.payload()[12..], theirs.payload()[12..]);
    }

    //= https://www.rfc-editor.org/rfc/rfc4443#section-3.2
    //# The MTU, then as much of the packet as fits the minimum MTU.
    #[test]
    fn too_big_ipv6() {
        let original = captured::IPV6_ICMP_TOO_BIG_ORIGINAL;
        let answer = too_big(original, 1280, address("fd09::2")).unwrap();
        let (summary, message) = split(&answer);
        let (their_summary, theirs) = split(captured::IPV6_ICMP_TOO_BIG);
        assert_eq!(summary.total_bytes, their_summary.total_bytes);
        assert_eq!(
            (summary.source, summary.destination),
            (their_summary.source, their_summary.destination)
        );
        assert!(message.checksum_is_right(summary.source, summary.destination));
        assert_eq!(
            (message.kind(), message.code(), message.rest_of_header()),
            (theirs.kind(), theirs.code(), theirs.rest_of_header())
        );
        assert_eq!(message.payload()[..7], theirs.payload()[..7]);
        assert_eq!(
            message.payload()[8..],
            theirs.payload()[8..],
            "equal but for the hop limit"
        );
    }

    #[test]
    fn too_big_quotes_short_packets_whole() {
        let answer = too_big(captured::IPV6_UDP, 48, address("fd00::1")).unwrap();
        assert_eq!(split(&answer).1.payload(), captured::IPV6_UDP);
        let mtu = u32::MAX;
        let answer = too_big(captured::IPV4_ICMP_ECHO_REQUEST, mtu, address("10.0.0.1")).unwrap();
        assert_eq!(split(&answer).1.rest_of_header(), [0, 0, 0xff, 0xff]);
    }

    //= https://www.rfc-editor.org/rfc/rfc1122#section-3.2.2
    //# No error is sent about a packet to many, or from a source that names no single host.
    //= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
    //# Too big is the one error that also answers packets to many; the source must still name one node.
    #[test]
    fn too_big_keeps_silent() {
        let (v4, v6) = (address("10.0.0.9"), address("fd00::9"));
        for (packet, own) in [
            (&[][..], v4),
            (captured::IPV4_ICMP_TOO_BIG, v4),
            (captured::IPV6_ICMP_TOO_BIG, v6),
            (captured::IPV4_FRAGMENT_LAST, v4),
            (captured::IPV6_FRAGMENT_LAST, v6),
            (captured::IPV4_UDP, v6),
            (captured::IPV6_UDP, v4),
        ] {
            assert_eq!(too_big(packet, 1280, own), None);
        }
        let answered = |source: &str, destination: &str, own| {
            let mut packet = udp::packet(address(source), address(destination), 1, 2, b"x").unwrap();
            if own == v4 {
                packet[6] |= 0x40;
            }
            too_big(&packet, 1280, own).is_some()
        };
        assert!(answered("10.0.0.1", "10.0.0.2", v4));
        for source in ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255"] {
            assert!(!answered(source, "10.0.0.2", v4));
        }
        for destination in ["239.1.2.3", "255.255.255.255"] {
            assert!(!answered("10.0.0.1", destination, v4));
        }
        assert!(answered("fd00::1", "ff02::1", v6));
        assert!(!answered("::", "fd00::2", v6));
        assert!(!answered("ff02::1", "fd00::2", v6));
        let without_df = udp::packet(address("10.0.0.1"), address("10.0.0.2"), 1, 2, b"x").unwrap();
        assert_eq!(too_big(&without_df, 1280, v4), None);
    }

    #[test]
    fn never_an_error_about_an_error() {
        for kind in 0..=u8::MAX {
            let repr = Repr {
                kind,
                code: 0,
                rest_of_header: [0; 4],
                payload: &[],
            };
            let packet = repr.packet(address("fd00::1"), address("fd00::2")).unwrap();
            assert_eq!(
                too_big(&packet, 1280, address("fd00::9")).is_some(),
                kind >= 128 && kind != 137
            );
        }
        let empty = ip::packet(address("fd00::1"), address("fd00::2"), protocol::ICMPV6, &[]).unwrap();
        assert_eq!(
            too_big(&empty, 1280, address("fd00::9")),
            None,
            "a type that is cut off"
        );
    }

    proptest! {
        #[test]
        fn etherparse_agrees_on_echo(
            identifier: u16, sequence: u16, payload in proptest::collection::vec(any::<u8>(), 0..200), request: bool,
        ) {
            let echo = Echo { request, identifier, sequence, payload: &payload };
            let header = etherparse::IcmpEchoHeader { id: identifier, seq: sequence };
            let (v4, v6) = if request {
                (etherparse::Icmpv4Type::EchoRequest(header), etherparse::Icmpv6Type::EchoRequest(header))
            } else {
                (etherparse::Icmpv4Type::EchoReply(header), etherparse::Icmpv6Type::EchoReply(header))
            };
            let packet = echo.packet(address("10.0.0.1"), address("10.0.0.2")).unwrap();
            let mut theirs = etherparse::Icmpv4Header::with_checksum(v4, &payload).to_bytes().to_vec();
            theirs.extend_from_slice(&payload);
            prop_assert_eq!(&packet[20..], &theirs[..]);
            let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
            let packet = echo.packet(source.into(), destination.into()).unwrap();
            let header = etherparse::Icmpv6Header::with_checksum(v6, source.octets(), destination.octets(), &payload);
            let mut theirs = header.unwrap().to_bytes().to_vec();
            theirs.extend_from_slice(&payload);
            prop_assert_eq!(&packet[40..], &theirs[..]);
        }
    }
}
