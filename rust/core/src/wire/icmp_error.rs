//! ICMP errors about packets of this host: what went wrong, and the beginning of the packet that they quote.
//! Whether an error is believed may not enter: nobody signs one.
//! Answers to: RFC 792, RFC 1191 section 4 and 7, RFC 4443 section 3, RFC 4301 section 6.1.

use std::net::IpAddr;

use super::icmp::Packet;
use super::ip::{self, Summary};
use super::{ipv6, protocol, u16_at, u32_at};

/// The plateaus of RFC 1191 §7, for routers that do not say which MTU they have.
const PLATEAUS: [u32; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The packet did not fit a link of that MTU.
    TooBig {
        /// In bytes, as told or guessed from RFC 1191's table.
        mtu: u32,
    },
    /// Something else; nothing follows from it.
    Other,
}

/// An ICMP error and the beginning of the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// What it says.
    pub problem: Problem,
    /// Source of the quoted packet.
    pub source: IpAddr,
    /// Destination of the quoted packet.
    pub destination: IpAddr,
    /// Length of the quoted packet, as its header says.
    pub total_bytes: usize,
    /// The protocol of `payload`.
    pub next_layer: u8,
    /// What is quoted behind the headers.
    pub payload: &'a [u8],
}

impl<'a> IcmpError<'a> {
    /// Reads a whole IP packet as an ICMP error with a right checksum; `None` if it is none, or quotes too little.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let summary = Summary::parse(packet)?;
        let message = Packet::new_checked(summary.payload(packet))?;
        if summary.fragment.is_some() || !message.checksum_is_right(summary.source, summary.destination) {
            return None;
        }
        let rest = message.rest_of_header();
        let quoted = message.payload();
        let (total_bytes, too_big) = match (summary.next_layer, message.kind(), message.code()) {
            (protocol::ICMP, 3, 4) => (quoted_bytes(quoted)?, Some(u32::from(u16_at(&rest, 2)?))),
            (protocol::ICMPV6, 2, _) => (quoted_bytes(quoted)?, u32_at(&rest, 0)),
            (protocol::ICMP, 3 | 11 | 12, _) | (protocol::ICMPV6, 1 | 3 | 4, _) => {
                (quoted_bytes(quoted)?, None)
            }
            _ => return None,
        };
        let problem = too_big.map_or(Problem::Other, |mtu| Problem::TooBig {
            mtu: if mtu == 0 { plateau_below(total_bytes) } else { mtu },
        });
        let (source, destination, next_layer, payload) = read_quoted(quoted)?;
        // An error is about packets of its own family.
        (source.is_ipv4() == summary.source.is_ipv4()).then_some(Self {
            problem,
            source,
            destination,
            total_bytes,
            next_layer,
            payload,
        })
    }
}

//= https://www.rfc-editor.org/rfc/rfc1191#section-5
//# a router that says zero leaves the host to search for itself
fn plateau_below(total_bytes: usize) -> u32 {
    let below = |plateau: &u32| (*plateau as usize) < total_bytes;
    PLATEAUS.into_iter().find(below).unwrap_or(68)
}

fn quoted_bytes(quoted: &[u8]) -> Option<usize> {
    match ip::version(quoted)? {
        4 => u16_at(quoted, 2).map(usize::from),
        _ => u16_at(quoted, 4).map(|payload| ipv6::HEADER_BYTES + usize::from(payload)),
    }
}

/// Addresses, next layer and what follows of a packet that is cut somewhere behind its headers; `None` for a later
/// fragment, which shows nothing.
fn read_quoted(quoted: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    if ip::version(quoted)? == 4 {
        let header_bytes = usize::from(quoted.first()? & 0x0f) * 4;
        let address =
            |at: usize| -> Option<IpAddr> { Some(IpAddr::from(*quoted.get(at..)?.first_chunk::<4>()?)) };
        if header_bytes < 20 || u16_at(quoted, 6)? & 0x1fff != 0 {
            return None;
        }
        let (source, destination) = (address(12)?, address(16)?);
        return Some((source, destination, *quoted.get(9)?, quoted.get(header_bytes..)?));
    }
    let address =
        |at: usize| -> Option<IpAddr> { Some(IpAddr::from(*quoted.get(at..)?.first_chunk::<16>()?)) };
    let (source, destination) = (address(8)?, address(24)?);
    let (mut next, mut at) = (*quoted.get(6)?, ipv6::HEADER_BYTES);
    for _ in 0..ipv6::MAXIMUM_EXTENSION_HEADERS {
        let bytes = match next {
            protocol::FRAGMENT if u16_at(quoted, at + 2)? & 0xfff8 != 0 => return None,
            protocol::FRAGMENT => 8,
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                (usize::from(*quoted.get(at + 1)?) + 1) * 8
            }
            _ => break,
        };
        next = *quoted.get(at)?;
        at += bytes;
    }
    Some((source, destination, next, quoted.get(at..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, fragment, icmp, udp};
    use proptest::prelude::*;

    #[test]
    fn real_errors_are_read() {
        let v4 = IcmpError::parse(captured::IPV4_ICMP_TOO_BIG).unwrap();
        assert_eq!(v4.problem, Problem::TooBig { mtu: 1280 });
        let v6 = IcmpError::parse(captured::IPV6_ICMP_TOO_BIG).unwrap();
        let Problem::TooBig { mtu } = v6.problem else {
            panic!("{v6:?}")
        };
        assert!((1280..1500).contains(&mtu));
        for (error, original) in [
            (v4, captured::IPV4_ICMP_TOO_BIG_ORIGINAL),
            (v6, captured::IPV6_ICMP_TOO_BIG_ORIGINAL),
        ] {
            let summary = Summary::parse(original).unwrap();
            assert_eq!(
                (error.source, error.destination),
                (summary.source, summary.destination)
            );
            assert_eq!(error.total_bytes, original.len());
            assert_eq!(error.next_layer, summary.next_layer);
            assert!(summary.payload(original).starts_with(error.payload));
        }
        let other = IcmpError::parse(captured::IPV4_ICMP_PORT_UNREACHABLE).unwrap();
        assert_eq!((other.problem, other.next_layer), (Problem::Other, protocol::UDP));
    }

    #[test]
    fn what_is_no_error_is_none() {
        for packet in [
            captured::IPV4_ICMP_ECHO_REQUEST,
            captured::IPV6_ICMP_ECHO_REPLY,
            captured::IPV6_NEIGHBOUR_SOLICITATION,
            captured::IPV4_UDP,
        ] {
            assert_eq!(IcmpError::parse(packet), None);
        }
        let mut broken = captured::IPV4_ICMP_TOO_BIG.to_vec();
        broken[26] ^= 1;
        assert_eq!(IcmpError::parse(&broken), None, "the checksum holds the MTU");
    }

    //= https://www.rfc-editor.org/rfc/rfc1191#section-5
    //# a router that says zero leaves the host to search for itself
    #[test]
    fn an_old_router_says_nothing() {
        let quoted = udp::packet(
            "192.0.2.1".parse().unwrap(),
            "192.0.2.2".parse().unwrap(),
            1,
            2,
            &[0; 1472],
        );
        let error = icmp::Repr {
            kind: 3,
            code: 4,
            rest_of_header: [0; 4],
            payload: &quoted.unwrap()[..28],
        };
        let packet = error
            .packet("192.0.2.9".parse().unwrap(), "192.0.2.1".parse().unwrap())
            .unwrap();
        assert_eq!(
            IcmpError::parse(&packet).unwrap().problem,
            Problem::TooBig { mtu: 1492 }
        );
        assert_eq!(
            [plateau_below(68), plateau_below(1492), plateau_below(65_535)],
            [68, 1006, 32_000]
        );
    }

    #[test]
    fn quoted_fragments_show_only_what_the_first_shows() {
        let ends = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let packet = ip::packet(ends.0, ends.1, protocol::ESP, &[7; 3000]).unwrap();
        let pieces: Vec<_> = fragment::split(&packet, 1400, 1).unwrap().collect();
        let error = |quoted: &[u8]| {
            let repr = icmp::Repr {
                kind: 2,
                code: 0,
                rest_of_header: 1300_u32.to_be_bytes(),
                payload: &quoted[..100],
            };
            repr.packet("2001:db8::9".parse().unwrap(), ends.0).unwrap()
        };
        let first = error(pieces[0].as_slice());
        let seen = IcmpError::parse(&first).unwrap();
        assert_eq!((seen.next_layer, seen.payload[0]), (protocol::ESP, 7));
        assert_eq!(IcmpError::parse(&error(pieces[1].as_slice())), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(quoted in proptest::collection::vec(any::<u8>(), 0..120), first: u8, kind in 0_u8..5) {
            let mut quoted = quoted;
            if let Some(byte) = quoted.first_mut() {
                *byte = if first & 1 == 0 { 0x40 | first >> 4 } else { 0x60 };
            }
            let (source, destination) = if first & 2 == 0 {
                ("192.0.2.9".parse().unwrap(), "192.0.2.1".parse().unwrap())
            } else {
                ("2001:db8::9".parse().unwrap(), "2001:db8::1".parse().unwrap())
            };
            let repr = icmp::Repr { kind, code: 4, rest_of_header: [0; 4], payload: &quoted };
            let _seen = IcmpError::parse(&repr.packet(source, destination).unwrap());
        }
    }
}
