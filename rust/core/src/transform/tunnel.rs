//! Tunnel headers: what the outer header takes from the inner one, and what the inner one gets back.
//! No key, no SA and no choice of addresses may enter: the caller decides those.
//! Answers to: RFC 4301 section 5.1.2 (header construction), RFC 6040 (ECN), RFC 4303 section 2.7 (TFC).

use std::net::IpAddr;

use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::wire::{ip, ipv4, ipv6};

/// The ECN field: the two low bits of TOS and traffic class.
const ECN_MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// Everything an outer header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The tunnel's source.
    pub source: IpAddr,
    /// The tunnel's destination, of the same family.
    pub destination: IpAddr,
    /// What follows: ESP, or UDP.
    pub next_header: u8,
    /// DSCP and ECN, as [`EcnPolicy::outer_class`] says.
    pub traffic_class: u8,
    /// The IPv6 flow label; IPv4 has none.
    pub flow_label: u32,
    /// The IPv4 DF bit, as [`decide_df`] says.
    pub dont_fragment: bool,
    /// TTL or hop limit: the outer one is fresh, the inner one is not looked at.
    pub hop_limit: u8,
    /// The IPv4 identification, fresh for each packet.
    pub identification: u16,
}

/// What becomes of the DF bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DfPolicy {
    /// Routers may fragment the outer packet.
    Clear,
    /// Routers must not.
    Set,
    /// As the inner packet says.
    Copy,
}

/// What becomes of congestion marks where a tunnel begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EcnPolicy {
    /// RFC 6040's normal mode.
    Rfc6040,
    /// The manuals' 1: a mark begins anew in the tunnel and comes out only where the inner packet knows marks.
    Allowed,
    /// The manuals' 0: no mark enters, and a packet that was marked in the tunnel is dropped.
    Forbidden,
    /// The manuals' -1: copied on the way in, not looked at on the way out.
    Ignored,
}

impl EcnPolicy {
    /// The outer traffic class for an inner one.
    //= https://www.rfc-editor.org/rfc/rfc6040#section-4.1
    //# normal mode: the outer ECN field is a copy of the inner one
    #[must_use]
    pub const fn outer_class(self, inner: u8) -> u8 {
        match self {
            Self::Rfc6040 | Self::Ignored => inner,
            Self::Allowed if inner & ECN_MASK == CE => inner & !ECN_MASK | ECT_0,
            Self::Allowed => inner,
            Self::Forbidden => inner & !ECN_MASK,
        }
    }

    /// The inner ECN field on the way out; `None` is a packet to drop.
    const fn inner_field(self, inner: u8, outer: u8) -> Option<u8> {
        match (self, inner, outer) {
            (Self::Rfc6040, _, _) => decapsulated_ecn(inner, outer),
            (Self::Forbidden, _, CE) | (Self::Allowed, NOT_ECT, CE) => None,
            (Self::Allowed, _, CE) => Some(CE),
            (Self::Allowed | Self::Forbidden | Self::Ignored, unchanged, _) => Some(unchanged),
        }
    }
}

/// Decides the outer DF bit. An IPv6 packet has none to copy: its outer header may be fragmented.
//= https://www.rfc-editor.org/rfc/rfc4301#section-8.1
//# the DF bit can be cleared, set or copied
#[must_use]
pub const fn decide_df(policy: DfPolicy, inner: &ip::Summary) -> bool {
    match policy {
        DfPolicy::Clear => false,
        DfPolicy::Set => true,
        DfPolicy::Copy => inner.dont_fragment && inner.source.is_ipv4(),
    }
}

/// Puts an outer header in front of a packet.
///
/// # Errors
/// `NoBuffer` without headroom, `OutTooBig` beyond what a length field can say, `OutMalformed` for two
/// families in one header; the packet is as before then.
//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
//# TTL and header checksum are constructed, DSCP and ECN copied
//= https://www.rfc-editor.org/rfc/rfc6040#section-4.1
//# normal mode: the outer ECN field is a copy of the inner one
//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
//# the outer addresses are those of the SA
//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
//# IPv4 options and IPv6 extension headers are not copied to the outer header
//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
//# IPv4 goes through IPv6 and IPv6 through IPv4
pub fn push_outer(packet: &mut PacketBuf, outer: &Outer) -> Result<(), DropReason> {
    let payload_bytes = packet.len();
    let header_bytes = match outer.source {
        IpAddr::V4(_) => ipv4::HEADER_BYTES,
        IpAddr::V6(_) => ipv6::HEADER_BYTES,
    };
    let header = packet.push_front(header_bytes)?;
    let emitted = match (outer.source, outer.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4::Repr {
            source,
            destination,
            protocol: outer.next_header,
            tos: outer.traffic_class,
            ttl: outer.hop_limit,
            dont_fragment: outer.dont_fragment,
            identification: outer.identification,
            payload_bytes,
        }
        .emit(header),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Repr {
            source,
            destination,
            next_header: outer.next_header,
            traffic_class: outer.traffic_class,
            flow_label: outer.flow_label,
            hop_limit: outer.hop_limit,
            payload_bytes,
        }
        .emit(header),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Err(DropReason::OutMalformed),
    };
    if emitted.is_err() {
        packet.pop_front(header_bytes)?;
    }
    emitted
}

/// Strips the first `at` bytes (the outer header), tells the inner packet of congestion and cuts it to the
/// length that it says itself.
///
/// # Errors
/// `BadPadding` if what is inside is no whole IP packet, `InEcnViolation` if `ecn` says drop.
//= https://www.rfc-editor.org/rfc/rfc4303#section-2.7
//# bytes behind the inner packet's own length are padding for traffic flow confidentiality
//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2.1
//# decapsulation leaves the inner DSCP as it is
pub fn pop_outer(
    packet: &mut PacketBuf,
    at: usize,
    outer_traffic_class: u8,
    ecn: EcnPolicy,
) -> Result<(), DropReason> {
    packet.pop_front(at).map_err(|_| DropReason::BadPadding)?;
    let (total_bytes, inner_traffic_class) = inner_header(packet.as_slice()).ok_or(DropReason::BadPadding)?;
    packet.truncate(total_bytes);
    let ecn = ecn
        .inner_field(inner_traffic_class & ECN_MASK, outer_traffic_class & ECN_MASK)
        .ok_or(DropReason::InEcnViolation)?;
    let traffic_class = (inner_traffic_class & !ECN_MASK) | ecn;
    if traffic_class != inner_traffic_class && !ip::set_traffic_class(packet.as_mut_slice(), traffic_class) {
        return Err(DropReason::BadPadding);
    }
    Ok(())
}

/// Total length and traffic class of a packet of either version.
fn inner_header(packet: &[u8]) -> Option<(usize, u8)> {
    match ip::version(packet)? {
        4 => ipv4::Packet::new_checked(packet).map(|inner| (inner.total_bytes(), inner.tos())),
        _ => ipv6::Packet::new_checked(packet).map(|inner| (inner.total_bytes(), inner.traffic_class())),
    }
}

/// The ECN field after decapsulation; `None` is a packet to drop.
//= https://www.rfc-editor.org/rfc/rfc6040#section-4.2
//# figure 4: the outgoing header by inner and outer header
const fn decapsulated_ecn(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        // An inner transport that knows no ECN would never see the mark: only loss tells it.
        (NOT_ECT, CE) => None,
        (ECT_0 | ECT_1, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        (unchanged, _) => Some(unchanged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

    fn inner(family: IpAddr, traffic_class: u8) -> Vec<u8> {
        let mut packet = ip::packet(family, family, protocol::UDP, b"eight by").unwrap();
        assert!(ip::set_traffic_class(&mut packet, traffic_class));
        packet
    }

    fn outer(family: IpAddr, traffic_class: u8) -> Outer {
        Outer {
            source: family,
            destination: family,
            next_header: protocol::ESP,
            traffic_class,
            flow_label: 0x12345,
            dont_fragment: true,
            hop_limit: 64,
            identification: 0xbeef,
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
    //# TTL and header checksum are constructed, DSCP and ECN copied
    //= https://www.rfc-editor.org/rfc/rfc6040#section-4.1
    //# normal mode: the outer ECN field is a copy of the inner one
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
    //# the outer addresses are those of the SA
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
    //# IPv4 goes through IPv6 and IPv6 through IPv4
    #[test]
    fn every_family_in_every_family() {
        for (inside, outside) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
            for traffic_class in 0..=255 {
                let original = inner(inside, traffic_class);
                let mut packet = PacketBuf::from_packet(&original);
                push_outer(&mut packet, &outer(outside, traffic_class)).unwrap();
                let seen = ip::Summary::parse(packet.as_slice()).unwrap();
                assert_eq!((seen.source, seen.destination), (outside, outside));
                assert_eq!(seen.total_bytes, packet.len());
                assert_eq!(seen.traffic_class, traffic_class);
                assert_eq!((seen.next_layer, seen.hop_limit), (protocol::ESP, 64));
                assert_eq!(seen.flow_label, if outside == V6 { 0x12345 } else { 0 });
                if outside == V4 {
                    let header = ipv4::Packet::new_checked(packet.as_slice()).unwrap();
                    assert!(header.checksum_is_right() && header.dont_fragment());
                    assert_eq!(header.identification(), 0xbeef);
                }
                pop_outer(&mut packet, seen.payload_at, traffic_class, EcnPolicy::Rfc6040).unwrap();
                assert_eq!(packet.as_slice(), original);
            }
        }
    }

    /// Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: outer in the same order; `None` is a drop.
    type Figure = [[Option<u8>; 4]; 4];

    //= https://www.rfc-editor.org/rfc/rfc6040#section-4.2
    //# figure 4: the outgoing header by inner and outer header
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2.1
    //# decapsulation leaves the inner DSCP as it is
    #[test]
    fn ecn_in_all_sixteen_cells() {
        let figure: Figure = [
            [Some(0b00), Some(0b00), Some(0b00), None],
            [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
            [Some(0b10), Some(0b01), Some(0b10), Some(0b11)],
            [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
        ];
        check_figure(EcnPolicy::Rfc6040, figure);
    }

    /// The manuals' draft: 1, 0 and -1, sixteen cells each, and what the outer header gets on the way in.
    #[test]
    fn ecn_of_the_manuals_in_every_cell() {
        let unchanged = |last: [Option<u8>; 4]| -> Figure {
            let row = |inner: u8, marked| [Some(inner), Some(inner), Some(inner), marked];
            [row(0, last[0]), row(1, last[1]), row(2, last[2]), row(3, last[3])]
        };
        let allowed = unchanged([None, Some(3), Some(3), Some(3)]);
        check_figure(EcnPolicy::Allowed, allowed);
        check_figure(EcnPolicy::Forbidden, unchanged([None; 4]));
        check_figure(
            EcnPolicy::Ignored,
            unchanged([Some(0), Some(1), Some(2), Some(3)]),
        );
        for (policy, outer) in [
            (EcnPolicy::Rfc6040, [0, 1, 2, 3]),
            (EcnPolicy::Allowed, [0, 1, 2, 2]),
            (EcnPolicy::Forbidden, [0, 0, 0, 0]),
            (EcnPolicy::Ignored, [0, 1, 2, 3]),
        ] {
            for (inner, outer) in (0_u8..).zip(outer) {
                assert_eq!(policy.outer_class(0b1011_1000 | inner), 0b1011_1000 | outer);
            }
        }
    }

    fn check_figure(policy: EcnPolicy, figure: Figure) {
        for family in [V4, V6] {
            for (inner_ecn, row) in (0_u8..).zip(figure) {
                for (outer_ecn, expected) in (0_u8..).zip(row) {
                    let dscp = 0b1011_1000;
                    let mut packet = PacketBuf::from_packet(&inner(family, dscp | inner_ecn));
                    let got = pop_outer(&mut packet, 0, 0b0100_0000 | outer_ecn, policy);
                    let cell = format!("inner {inner_ecn:02b} outer {outer_ecn:02b}");
                    let Some(ecn) = expected else {
                        assert_eq!(got, Err(DropReason::InEcnViolation), "{cell}");
                        continue;
                    };
                    assert_eq!(got, Ok(()), "{cell}");
                    assert_eq!(packet.as_slice(), inner(family, dscp | ecn), "{cell}");
                    if family == V4 {
                        assert!(
                            ipv4::Packet::new_checked(packet.as_slice())
                                .unwrap()
                                .checksum_is_right()
                        );
                    }
                }
            }
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-8.1
    //# the DF bit can be cleared, set or copied
    #[test]
    fn df_by_policy() {
        let mut plain = inner(V4, 0);
        plain[6] = 0;
        let clear = ip::Summary::parse(&plain).unwrap();
        let six = ip::Summary::parse(&inner(V6, 0)).unwrap();
        let set = ip::Summary {
            dont_fragment: true,
            ..clear
        };
        for (policy, of_clear, of_set, of_six) in [
            (DfPolicy::Clear, false, false, false),
            (DfPolicy::Set, true, true, true),
            (DfPolicy::Copy, false, true, false),
        ] {
            assert_eq!(decide_df(policy, &clear), of_clear, "{policy:?}");
            assert_eq!(decide_df(policy, &set), of_set, "{policy:?}");
            assert_eq!(decide_df(policy, &six), of_six, "{policy:?}");
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.7
    //# bytes behind the inner packet's own length are padding for traffic flow confidentiality
    #[test]
    fn traffic_flow_padding_is_cut() {
        for family in [V4, V6] {
            let original = inner(family, 0);
            let mut padded = b"outer".to_vec();
            padded.extend_from_slice(&original);
            padded.extend_from_slice(&[0; 99]);
            let mut packet = PacketBuf::from_packet(&padded);
            pop_outer(&mut packet, 5, 0, EcnPolicy::Rfc6040).unwrap();
            assert_eq!(packet.as_slice(), original);
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for family in [V4, V6] {
            let original = inner(family, 0);
            for len in 0..original.len() {
                let mut packet = PacketBuf::from_packet(&original[..len]);
                assert_eq!(
                    pop_outer(&mut packet, 0, 0, EcnPolicy::Rfc6040),
                    Err(DropReason::BadPadding),
                    "{len}"
                );
            }
            let mut packet = PacketBuf::from_packet(&original);
            assert_eq!(
                pop_outer(&mut packet, original.len() + 1, 0, EcnPolicy::Rfc6040),
                Err(DropReason::BadPadding)
            );
        }
        for version in [0_u8, 1, 5, 7, 15] {
            let mut packet = PacketBuf::from_packet(&[version << 4 | 5; 60]);
            assert_eq!(
                pop_outer(&mut packet, 0, 0, EcnPolicy::Rfc6040),
                Err(DropReason::BadPadding),
                "{version}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_left_alone() {
        let mixed = Outer {
            destination: V6,
            ..outer(V4, 0)
        };
        let mut packet = PacketBuf::from_packet(b"abc");
        assert_eq!(push_outer(&mut packet, &mixed), Err(DropReason::OutMalformed));
        assert_eq!(packet.as_slice(), b"abc");
        for (family, most) in [(V4, 65_535 - 20), (V6, 65_535)] {
            let mut packet = PacketBuf::from_packet(&vec![0; most + 1]);
            assert_eq!(
                push_outer(&mut packet, &outer(family, 0)),
                Err(DropReason::OutTooBig)
            );
            assert_eq!(packet.len(), most + 1);
            packet.truncate(most);
            assert_eq!(push_outer(&mut packet, &outer(family, 0)), Ok(()));
        }
        let mut packet = PacketBuf::from_packet(b"abc");
        packet.push_front(crate::buffer::HEADROOM - 8).unwrap();
        assert_eq!(push_outer(&mut packet, &outer(V4, 0)), Err(DropReason::NoBuffer));
    }
}
