//! IP of either version: what the engine asks of a packet, and the few changes made in place.
//! What only one version knows may not enter; no policy and no SA.
//! Answers to: RFC 791, RFC 8200, RFC 4301 section 4.4.1.1 and section 7.

use std::net::IpAddr;

use super::{ipv4, ipv6, transport};
use crate::error::DropReason;
use crate::selector::SelectorKey;

/// The hop limit of packets built here.
const HOP_LIMIT: u8 = 64;

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in the original payload, in bytes.
    pub offset_bytes: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// The identification.
    pub id: u32,
}

/// The version nibble, 4 or 6; `None` for no bytes or another version.
#[must_use]
pub fn version(packet: &[u8]) -> Option<u8> {
    packet
        .first()
        .map(|first| first >> 4)
        .filter(|version| matches!(version, 4 | 6))
}

/// What a packet of either version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The IPv4 header with its options, or the fixed IPv6 header.
    pub header_bytes: usize,
    /// The first byte of the next layer, behind IPv4 options or IPv6 extension headers.
    pub payload_at: usize,
    /// Where ESP goes in transport mode.
    pub transport_at: usize,
    /// The protocol of what stands at `transport_at`.
    pub transport_next_header: u8,
    /// The protocol of what stands at `payload_at`.
    pub next_layer: u8,
    /// Length of the packet as its header says; the buffer may be longer.
    pub total_bytes: usize,
    /// Where this fragment belongs; `None` for a whole packet.
    pub fragment: Option<Fragment>,
    /// The DF bit; always set for IPv6, which no router fragments.
    pub dont_fragment: bool,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// TOS or traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// The flow label; 0 for IPv4.
    pub flow_label: u32,
}

impl Summary {
    /// Reads a packet; `None` if it is no well-formed IP packet.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match version(packet)? {
            4 => ipv4::Packet::new_checked(packet).map(|packet| Self::of_ipv4(&packet)),
            _ => ipv6::Packet::new_checked(packet).and_then(|packet| Self::of_ipv6(&packet)),
        }
    }

    fn of_ipv4(packet: &ipv4::Packet<'_>) -> Self {
        let header_bytes = packet.header_bytes();
        Self {
            source: packet.source().into(),
            destination: packet.destination().into(),
            header_bytes,
            payload_at: header_bytes,
            transport_at: header_bytes,
            transport_next_header: packet.protocol(),
            next_layer: packet.protocol(),
            total_bytes: packet.total_bytes(),
            fragment: packet.fragment(),
            dont_fragment: packet.dont_fragment(),
            hop_limit: packet.ttl(),
            traffic_class: packet.tos(),
            flow_label: 0,
        }
    }

    fn of_ipv6(packet: &ipv6::Packet<'_>) -> Option<Self> {
        let layers = packet.layers()?;
        Some(Self {
            source: packet.source().into(),
            destination: packet.destination().into(),
            header_bytes: ipv6::HEADER_BYTES,
            payload_at: layers.payload_at,
            transport_at: layers.transport_at,
            transport_next_header: layers.transport_next_header,
            next_layer: layers.next_layer,
            total_bytes: packet.total_bytes(),
            fragment: layers.fragment,
            dont_fragment: true,
            hop_limit: packet.hop_limit(),
            traffic_class: packet.traffic_class(),
            flow_label: packet.flow_label(),
        })
    }

    /// The bytes of the next layer, from the packet that this is the summary of.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload_at..self.total_bytes).unwrap_or_default()
    }

    /// The selector values of the packet that this is the summary of.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
    //# A fragment that does not show its ports has the value OPAQUE, which is not ANY.
    #[must_use]
    pub fn selector_key(&self, packet: &[u8]) -> SelectorKey {
        let later = self.fragment.is_some_and(|fragment| fragment.offset_bytes != 0);
        let ports = if later {
            transport::ports_of_later_fragment(self.next_layer)
        } else {
            transport::ports(self.next_layer, self.payload(packet))
        };
        SelectorKey {
            source: self.source,
            destination: self.destination,
            next_layer: self.next_layer,
            ports,
        }
    }
}

/// The selector values of a packet; `None` if it is no well-formed IP packet.
#[must_use]
pub fn selector_key(packet: &[u8]) -> Option<SelectorKey> {
    Some(Summary::parse(packet)?.selector_key(packet))
}

/// Tells the headers in front of `transport_at` what stands there now, and how long the packet has become.
///
/// Sets the IPv4 protocol, or the IPv6 next-header byte that points at `transport_at`; the length, to that of the
/// slice; the IPv4 checksum.
///
/// # Errors
/// `OutTooBig` if the length does not fit its field, `OutMalformed` if no header ends at `transport_at`.
pub fn replace_payload(packet: &mut [u8], transport_at: usize, next_header: u8) -> Result<(), DropReason> {
    let (done, longest) = match version(packet) {
        Some(4) => (
            ipv4::replace_payload(packet, transport_at, next_header),
            ipv4::MAXIMUM_BYTES,
        ),
        Some(_) => (
            ipv6::replace_payload(packet, transport_at, next_header),
            ipv6::HEADER_BYTES + ipv6::MAXIMUM_PAYLOAD_BYTES,
        ),
        None => (None, usize::MAX),
    };
    let reason = if packet.len() > longest {
        DropReason::OutTooBig
    } else {
        DropReason::OutMalformed
    };
    done.ok_or(reason)
}

/// Takes one from the hop limit; `false`, and nothing changed, if the packet may go no further.
#[must_use]
pub fn decrement_hop_limit(packet: &mut [u8]) -> bool {
    let done = match version(packet) {
        Some(4) if packet.get(8).is_some_and(|ttl| *ttl > 1) => {
            ipv4::replace_word(packet, 8, |[ttl, protocol]| [ttl - 1, protocol])
        }
        Some(6) => packet
            .get_mut(7)
            .filter(|hop_limit| **hop_limit > 1)
            .map(|hop_limit| *hop_limit -= 1),
        _ => None,
    };
    done.is_some()
}

/// Sets TOS or traffic class; `false`, and nothing changed, if this is no IP header.
#[must_use]
pub fn set_traffic_class(packet: &mut [u8], traffic_class: u8) -> bool {
    let done = match version(packet) {
        Some(4) => ipv4::replace_word(packet, 0, |[version, _]| [version, traffic_class]),
        Some(_) => packet.first_chunk_mut::<2>().map(|[first, second]| {
            *first = 0x60 | traffic_class >> 4;
            *second = traffic_class << 4 | *second & 0x0f;
        }),
        None => None,
    };
    done.is_some()
}

/// Builds a whole packet around `payload`; `None` if the families differ or it would be too long.
#[must_use]
pub fn packet(source: IpAddr, destination: IpAddr, next_header: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let payload_bytes = payload.len();
    let (mut packet, header_bytes) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut packet = vec![0; ipv4::HEADER_BYTES + payload_bytes];
            let repr = ipv4::Repr {
                source,
                destination,
                protocol: next_header,
                tos: 0,
                ttl: HOP_LIMIT,
                dont_fragment: false,
                identification: 0,
                payload_bytes,
            };
            repr.emit(&mut packet).ok()?;
            (packet, ipv4::HEADER_BYTES)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut packet = vec![0; ipv6::HEADER_BYTES + payload_bytes];
            let (traffic_class, flow_label) = (0, 0);
            let hop_limit = HOP_LIMIT;
            let repr = ipv6::Repr {
                source,
                destination,
                next_header,
                traffic_class,
                flow_label,
                hop_limit,
                payload_bytes,
            };
            repr.emit(&mut packet).ok()?;
            (packet, ipv6::HEADER_BYTES)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    packet.get_mut(header_bytes..)?.copy_from_slice(payload);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Ports;
    use crate::wire::captured;
    use proptest::prelude::*;

    #[test]
    fn version_of() {
        assert_eq!(version(captured::IPV4_UDP), Some(4));
        assert_eq!(version(captured::IPV6_UDP), Some(6));
        assert_eq!(version(&[]), None);
        assert_eq!(version(&[0x55]), None);
    }

    #[test]
    fn parse_ipv4() {
        let summary = Summary {
            source: "10.9.0.1".parse().unwrap(),
            destination: "10.9.0.2".parse().unwrap(),
            header_bytes: 60,
            payload_at: 60,
            transport_at: 60,
            transport_next_header: 1,
            next_layer: 1,
            total_bytes: 84,
            fragment: None,
            dont_fragment: true,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        };
        assert_eq!(Summary::parse(captured::IPV4_RECORD_ROUTE), Some(summary));
    }

    #[test]
    fn parse_ipv6() {
        let summary = Summary {
            source: "fd07::1".parse().unwrap(),
            destination: "fd07::2".parse().unwrap(),
            header_bytes: 40,
            payload_at: 88,
            transport_at: 80,
            transport_next_header: 60,
            next_layer: 17,
            total_bytes: 107,
            fragment: None,
            dont_fragment: true,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: Summary::parse(captured::IPV6_ALL_EXTENSION_HEADERS)
                .unwrap()
                .flow_label,
        };
        assert_eq!(
            Summary::parse(captured::IPV6_ALL_EXTENSION_HEADERS),
            Some(summary)
        );
    }

    /// Every captured packet, cut at every byte and with bytes behind it.
    #[test]
    fn check_len() {
        for bytes in captured::ALL {
            for length in 0..bytes.len() {
                assert_eq!(Summary::parse(&bytes[..length]), None);
            }
            let summary = Summary::parse(bytes).unwrap();
            assert_eq!(summary.total_bytes, bytes.len());
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(&[0xaa; 6]);
            assert_eq!(Summary::parse(&longer), Some(summary));
            assert_eq!(summary.payload(&longer), summary.payload(bytes));
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
    //# A fragment that does not show its ports has the value OPAQUE, which is not ANY.
    #[test]
    fn selector_key_of_fragments() {
        let ports = |packet| selector_key(packet).unwrap().ports;
        assert_eq!(
            ports(captured::IPV4_FRAGMENT_FIRST),
            Ports::Icmp { kind: 8, code: 0 }
        );
        assert_eq!(ports(captured::IPV4_FRAGMENT_LAST), Ports::Opaque);
        assert_eq!(ports(captured::IPV6_FRAGMENT_LAST), Ports::Opaque);
        assert_eq!(selector_key(&[]), None);
    }

    #[test]
    fn built_packets_equal_captured_ones_but_for_id_and_label() {
        for bytes in [captured::IPV4_UDP, captured::IPV6_UDP] {
            let summary = Summary::parse(bytes).unwrap();
            let built = packet(
                summary.source,
                summary.destination,
                summary.next_layer,
                summary.payload(bytes),
            )
            .unwrap();
            let flow_label = 0;
            let dont_fragment = built[0] >> 4 == 6;
            assert_eq!(
                Summary::parse(&built),
                Some(Summary {
                    flow_label,
                    dont_fragment,
                    ..summary
                })
            );
            assert_eq!(summary.payload(&built), summary.payload(bytes));
        }
        let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        assert_eq!(packet(v4, v6, 17, &[]), None);
        assert_eq!(packet(v6, v4, 17, &[]), None);
        assert_eq!(packet(v4, v4, 17, &[0; 65_516]), None);
        assert!(packet(v4, v4, 17, &[0; 65_515]).is_some());
        assert!(packet(v6, v6, 17, &[0; 65_535]).is_some());
        assert_eq!(packet(v6, v6, 17, &[0; 65_536]), None);
    }

    /// What transport mode does: ESP takes the place of what stood behind the headers.
    #[test]
    fn replacing_the_payload() {
        for bytes in captured::ALL {
            let before = Summary::parse(bytes).unwrap();
            let mut packet = bytes[..before.transport_at].to_vec();
            packet.extend_from_slice(&[0xaa; 24]);
            replace_payload(&mut packet, before.transport_at, 50).unwrap();
            let after = Summary::parse(&packet).unwrap();
            assert_eq!(
                (after.transport_at, after.transport_next_header),
                (before.transport_at, 50)
            );
            assert_eq!(after.total_bytes, packet.len());
            if let Some(packet) = ipv4::Packet::new_checked(&packet) {
                assert!(packet.checksum_is_right());
            }
            // And back again.
            packet.truncate(before.transport_at);
            packet.extend_from_slice(&bytes[before.transport_at..]);
            replace_payload(&mut packet, before.transport_at, before.transport_next_header).unwrap();
            assert_eq!(packet, *bytes);
        }
    }

    #[test]
    fn replacing_the_payload_where_no_header_ends() {
        for bytes in captured::ALL {
            let summary = Summary::parse(bytes).unwrap();
            let ends: Vec<usize> = match ipv6::Packet::new_checked(bytes) {
                Some(packet) => [40]
                    .into_iter()
                    .chain(packet.extension_headers().map(|h| h.at + h.bytes))
                    .collect(),
                None => vec![summary.header_bytes],
            };
            for at in (0..bytes.len() + 2).filter(|at| !ends.contains(at)) {
                let mut packet = bytes.to_vec();
                assert_eq!(
                    replace_payload(&mut packet, at, 50),
                    Err(DropReason::OutMalformed)
                );
                assert_eq!(packet, *bytes, "a refused change changes nothing");
            }
        }
        assert_eq!(replace_payload(&mut [], 0, 50), Err(DropReason::OutMalformed));
    }

    #[test]
    fn replacing_with_more_than_fits() {
        let mut packet = captured::IPV4_UDP.to_vec();
        packet.resize(65_536, 0);
        assert_eq!(replace_payload(&mut packet, 20, 50), Err(DropReason::OutTooBig));
        let mut packet = captured::IPV6_UDP.to_vec();
        packet.resize(65_576, 0);
        assert_eq!(replace_payload(&mut packet, 40, 50), Err(DropReason::OutTooBig));
        packet.pop();
        assert_eq!(replace_payload(&mut packet, 40, 50), Ok(()));
    }

    #[test]
    fn the_hop_limit_ends_at_one() {
        for bytes in [captured::IPV4_UDP, captured::IPV6_UDP] {
            let mut packet = bytes.to_vec();
            for left in (1..64).rev() {
                assert!(decrement_hop_limit(&mut packet));
                assert_eq!(Summary::parse(&packet).unwrap().hop_limit, left);
                assert!(ipv4::Packet::new_checked(&packet).is_none_or(|packet| packet.checksum_is_right()));
            }
            let last = packet.clone();
            assert!(!decrement_hop_limit(&mut packet));
            assert_eq!(packet, last);
        }
        assert!(!decrement_hop_limit(&mut []));
        assert!(!decrement_hop_limit(&mut [0x45; 19]));
        assert!(!decrement_hop_limit(&mut [0x60; 7]));
    }

    #[test]
    fn every_traffic_class() {
        for bytes in [captured::IPV4_UDP, captured::IPV6_UDP] {
            let before = Summary::parse(bytes).unwrap();
            let mut packet = bytes.to_vec();
            for traffic_class in 0..=u8::MAX {
                assert!(set_traffic_class(&mut packet, traffic_class));
                assert_eq!(
                    Summary::parse(&packet),
                    Some(Summary {
                        traffic_class,
                        ..before
                    })
                );
                assert!(ipv4::Packet::new_checked(&packet).is_none_or(|packet| packet.checksum_is_right()));
            }
        }
        assert!(!set_traffic_class(&mut [], 1));
        assert!(!set_traffic_class(&mut [0x45; 19], 1));
        assert!(!set_traffic_class(&mut [0x60], 1));
    }

    proptest! {
        #[test]
        fn places_are_in_order(
            seed in 0..captured::ALL.len(),
            change in proptest::collection::vec((0usize..100, any::<u8>()), 0..6),
            cut in 0usize..80,
        ) {
            let mut bytes = captured::ALL[seed].to_vec();
            bytes.truncate(bytes.len().saturating_sub(cut));
            for (at, value) in change {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if let Some(summary) = Summary::parse(&bytes) {
                prop_assert!(summary.header_bytes <= summary.transport_at);
                prop_assert!(summary.transport_at <= summary.payload_at);
                prop_assert!(summary.payload_at <= summary.total_bytes);
                prop_assert!(summary.total_bytes <= bytes.len());
            }
        }
    }
}
