//! ICMP errors about packets of this host: what went wrong, and the beginning of the packet that they quote.
//! Whether an error is believed may not enter: nobody signs one.
//! Answers to: RFC 792, RFC 1191 section 4 and 7, RFC 4443 section 3, RFC 4301 sections 6.1 and 6.2.

use std::net::IpAddr;

use super::icmp::Packet;
use super::ip::{self, Summary};
use super::{ipv6, protocol, transport, u16_at, u32_at};
use crate::selector::SelectorKey;

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
        let (summary, message) = read_error(packet)?;
        let rest = message.rest_of_header();
        let quoted = message.payload();
        let total_bytes = quoted_bytes(quoted)?;
        let too_big = match (summary.next_layer, message.kind(), message.code()) {
            (protocol::ICMP, 3, 4) => Some(u32::from(u16_at(&rest, 2)?)),
            (protocol::ICMPV6, 2, _) => u32_at(&rest, 0),
            _ => None,
        };
        let problem = too_big.map_or(Problem::Other, |mtu| Problem::TooBig {
            mtu: if mtu == 0 { plateau_below(total_bytes) } else { mtu },
        });
        let quoted = Quoted::read(quoted)?;
        // An error is about packets of its own family; a later fragment shows nothing of what it belongs to.
        let telling = quoted.source.is_ipv4() == summary.source.is_ipv4() && !quoted.later;
        telling.then_some(Self {
            problem,
            source: quoted.source,
            destination: quoted.destination,
            total_bytes,
            next_layer: quoted.next_layer,
            payload: quoted.payload,
        })
    }
}

/// The selector values of what comes back in the flow of the packet that an ICMP error quotes: its ends exchanged.
///
/// `None` if this is no whole ICMP error with a right checksum, if it goes to another host than the one that sent
/// what it quotes, or quotes less than the headers.
#[must_use]
pub fn return_flow(packet: &[u8]) -> Option<SelectorKey> {
    let (summary, message) = read_error(packet)?;
    let quoted = message.payload();
    // Behind a short packet stands something else: padding, an extension of the message.
    let quoted = quoted.get(..quoted_bytes(quoted)?).unwrap_or(quoted);
    let quoted = Quoted::read(quoted)?;
    let ports = if quoted.later {
        transport::ports_of_later_fragment(quoted.next_layer)
    } else {
        transport::ports(quoted.next_layer, quoted.payload)
    };
    let hides_protocol = quoted.later && is_option_header(quoted.next_layer);
    let key = SelectorKey {
        source: quoted.source,
        destination: quoted.destination,
        next_layer: quoted.next_layer,
        ports,
    };
    (quoted.source == summary.destination && !hides_protocol).then(|| key.reversed())
}

/// The message of a whole packet that is an ICMP error of its own family with a right checksum.
fn read_error(packet: &[u8]) -> Option<(Summary, Packet<'_>)> {
    let summary = Summary::parse(packet)?;
    let message = Packet::new_checked(summary.payload(packet))?;
    let is_error = match summary.next_layer {
        protocol::ICMP => summary.source.is_ipv4() && matches!(message.kind(), 3 | 11 | 12),
        protocol::ICMPV6 => summary.source.is_ipv6() && matches!(message.kind(), 1..=4),
        _ => false,
    };
    let whole = summary.fragment.is_none();
    (is_error && whole && message.checksum_is_right(summary.source, summary.destination))
        .then_some((summary, message))
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

/// A packet that is cut somewhere behind its headers.
struct Quoted<'a> {
    source: IpAddr,
    destination: IpAddr,
    next_layer: u8,
    /// Whether it is a fragment that is not the first: `payload` begins anywhere.
    later: bool,
    payload: &'a [u8],
}

impl<'a> Quoted<'a> {
    fn read(quoted: &'a [u8]) -> Option<Self> {
        if ip::version(quoted)? == 4 {
            Self::read_ipv4(quoted)
        } else {
            Self::read_ipv6(quoted)
        }
    }

    fn read_ipv4(quoted: &'a [u8]) -> Option<Self> {
        let address =
            |at: usize| -> Option<IpAddr> { Some(IpAddr::from(*quoted.get(at..)?.first_chunk::<4>()?)) };
        let header_bytes = usize::from(quoted.first()? & 0x0f) * 4;
        (header_bytes >= 20).then_some(())?;
        Some(Self {
            source: address(12)?,
            destination: address(16)?,
            next_layer: *quoted.get(9)?,
            later: u16_at(quoted, 6)? & 0x1fff != 0,
            payload: quoted.get(header_bytes..)?,
        })
    }

    fn read_ipv6(quoted: &'a [u8]) -> Option<Self> {
        let address =
            |at: usize| -> Option<IpAddr> { Some(IpAddr::from(*quoted.get(at..)?.first_chunk::<16>()?)) };
        let (source, destination) = (address(8)?, address(24)?);
        let (mut next_layer, mut at, mut later) = (*quoted.get(6)?, ipv6::HEADER_BYTES, false);
        for _ in 0..ipv6::MAXIMUM_EXTENSION_HEADERS {
            let bytes = match next_layer {
                protocol::FRAGMENT => {
                    later = u16_at(quoted, at + 2)? & 0xfff8 != 0;
                    8
                }
                number if is_option_header(number) => (usize::from(*quoted.get(at + 1)?) + 1) * 8,
                _ => break,
            };
            next_layer = *quoted.get(at)?;
            at += bytes;
            if later {
                break;
            }
        }
        Some(Self {
            source,
            destination,
            next_layer,
            later,
            payload: quoted.get(at..)?,
        })
    }
}

const fn is_option_header(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Ports;
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

    //= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
    //# the packet inside an ICMP error is checked with its ends exchanged
    #[test]
    fn the_quoted_packet_is_read_with_its_ends_exchanged() {
        let flow = return_flow(captured::IPV6_ICMP_TOO_BIG).unwrap();
        let there = ip::selector_key(captured::IPV6_ICMP_TOO_BIG_ORIGINAL).unwrap();
        assert_eq!((flow.source, flow.destination), (there.destination, there.source));
        let (near, far, router) = (
            "192.0.2.1".parse().unwrap(),
            "192.0.2.2".parse().unwrap(),
            "192.0.2.9".parse().unwrap(),
        );
        let error = |kind, quoted: &[u8], to| {
            let repr = icmp::Repr {
                kind,
                code: 0,
                rest_of_header: [0; 4],
                payload: quoted,
            };
            repr.packet(router, to).unwrap()
        };
        let quoted = udp::packet(near, far, 7, 5000, &[0; 40]).unwrap();
        let known = Ports::Known {
            source: 5000,
            destination: 7,
        };
        for (bytes, ports) in [(24, known), (23, Ports::Opaque), (20, Ports::Opaque)] {
            let flow = return_flow(&error(11, &quoted[..bytes], near)).unwrap();
            assert_eq!((flow.source, flow.destination), (far, near));
            assert_eq!((flow.next_layer, flow.ports), (protocol::UDP, ports));
        }
        assert_eq!(return_flow(&error(11, &quoted[..19], near)), None);
        assert_eq!(return_flow(&error(11, &quoted, far)), None, "to somebody else");
        for kind in [0, 5, 8] {
            assert_eq!(return_flow(&error(kind, &quoted, near)), None, "no error");
        }
        let mut short = quoted.clone();
        short[2..4].copy_from_slice(&[0, 22]);
        let flow = return_flow(&error(3, &short, near)).unwrap();
        assert_eq!(flow.ports, Ports::Opaque, "what follows is not of the packet");
        short[2..4].copy_from_slice(&[0, 19]);
        assert_eq!(return_flow(&error(3, &short, near)), None);
    }

    #[test]
    fn a_later_fragment_has_no_ports_and_may_hide_its_protocol() {
        let (near, far) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let flow = |first: u8, offset: u8| {
            let mut rest = vec![first, 0, 0, offset, 0, 0, 0, 7];
            rest.extend_from_slice(&[17, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 8, 0, 0]);
            let quoted = ip::packet(near, far, protocol::FRAGMENT, &rest).unwrap();
            let repr = icmp::Repr {
                kind: 1,
                code: 4,
                rest_of_header: [0; 4],
                payload: &quoted,
            };
            return_flow(&repr.packet(far, near).unwrap()).map(|key| (key.next_layer, key.ports))
        };
        assert_eq!(flow(protocol::UDP, 8), Some((protocol::UDP, Ports::Opaque)));
        assert_eq!(flow(protocol::DESTINATION_OPTIONS, 8), None);
        let known = Ports::Known {
            source: 8,
            destination: 9,
        };
        assert_eq!(
            flow(protocol::DESTINATION_OPTIONS, 1),
            Some((protocol::UDP, known))
        );
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
            let packet = repr.packet(source, destination).unwrap();
            let _seen = (IcmpError::parse(&packet), return_flow(&packet));
        }
    }
}
