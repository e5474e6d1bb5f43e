//! Checksums inside transport mode after a NAT changed the addresses that they cover.
//! Who changed them, and which repair is wanted, may not enter.
//! Answers to: RFC 3948 section 3.1.2, RFC 1624, RFC 3828 section 3.1, `ipsec(4)` (`natt_cksum_policy`).

use std::net::IpAddr;

use super::ip::Summary;
use super::{checksum, protocol, u16_at};

/// How a checksum is made to fit the addresses that the packet has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// By the difference to the source and destination that its sender saw: what was wrong stays wrong.
    Adjust {
        /// The source then.
        source: IpAddr,
        /// The destination then.
        destination: IpAddr,
    },
    /// From the whole segment, whatever it was.
    Recompute,
    /// Nobody knows the addresses: what is right stays, UDP over IPv4 goes without, the rest is recomputed.
    Blind,
}

/// Repairs the checksum of a whole packet; `false` if there was nothing that can be repaired.
///
/// The caller has checked the packet's ICV: a checksum made here says nothing about what happened before.
//= https://www.rfc-editor.org/rfc/rfc3948#section-3.1.2
//# in transport mode the checksum is mended by the original addresses, or computed again, or zero for UDP
pub fn repair(packet: &mut [u8], how: Repair) -> bool {
    let Some(summary) = Summary::parse(packet).filter(|summary| summary.fragment.is_none()) else {
        return false;
    };
    let (begin, end) = (summary.payload_at, summary.total_bytes);
    let Some(segment) = packet.get_mut(begin..end) else {
        return false;
    };
    repair_segment(&summary, segment, how).is_some()
}

/// Where the checksum stands.
const fn field_of(next_layer: u8) -> Option<usize> {
    match next_layer {
        protocol::TCP => Some(16),
        protocol::UDP | protocol::UDP_LITE | protocol::DCCP => Some(6),
        protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

fn repair_segment(summary: &Summary, segment: &mut [u8], how: Repair) -> Option<()> {
    let at = field_of(summary.next_layer)?;
    let old = u16_at(segment, at)?;
    let may_be_absent = summary.next_layer == protocol::UDP && summary.source.is_ipv4();
    if may_be_absent && old == 0 {
        return None;
    }
    let sum = match how {
        Repair::Adjust { source, destination } => {
            let sum = moved(old, source, summary.source);
            moved(sum, destination, summary.destination)
        }
        Repair::Recompute => computed(summary, segment, at)?,
        Repair::Blind => {
            let right = computed(summary, segment, at)?;
            if right == old || !may_be_absent { right } else { 0 }
        }
    };
    // Zero would mean "none" in UDP; both zeros of the one's complement are the same number (RFC 768).
    let none = how == Repair::Blind && may_be_absent;
    let sum = if sum == 0 && summary.next_layer == protocol::UDP && !none {
        u16::MAX
    } else {
        sum
    };
    segment.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// The checksum once `old` stands where `new` stood, word by word.
fn moved(sum: u16, old: IpAddr, new: IpAddr) -> u16 {
    match (old, new) {
        (IpAddr::V4(old), IpAddr::V4(new)) => moved_words(sum, &old.octets(), &new.octets()),
        (IpAddr::V6(old), IpAddr::V6(new)) => moved_words(sum, &old.octets(), &new.octets()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => sum,
    }
}

fn moved_words(sum: u16, old: &[u8], new: &[u8]) -> u16 {
    let words = old.chunks_exact(2).zip(new.chunks_exact(2));
    words.fold(sum, |sum, (old, new)| {
        let word = |pair: &[u8]| u16_at(pair, 0).unwrap_or(0);
        checksum::adjust(sum, word(old), word(new))
    })
}

/// The checksum that the segment should have; `None` where that cannot be said.
fn computed(summary: &Summary, segment: &[u8], at: usize) -> Option<u16> {
    let bytes = u32::try_from(segment.len()).ok()?;
    let covered = match summary.next_layer {
        // What DCCP covers is a field of its own; only the difference can be repaired.
        protocol::DCCP => return None,
        //= https://www.rfc-editor.org/rfc/rfc3828#section-3.1
        //# the checksum covers as many bytes as the coverage field says, zero means all
        protocol::UDP_LITE => match usize::from(u16_at(segment, 4)?) {
            0 => segment.len(),
            coverage if coverage >= 8 => coverage,
            _ => return None,
        },
        _ => segment.len(),
    };
    let (front, behind) = segment.get(..covered)?.split_at_checked(at)?;
    let sum = checksum::pseudo_header(summary.source, summary.destination, summary.next_layer, bytes)
        .plus(front)
        .plus(behind.get(2..)?)
        .finish();
    Some(if sum == 0 && summary.next_layer == protocol::UDP {
        u16::MAX
    } else {
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ip, ipv4, tcp, udp};

    const V4: [&str; 4] = ["10.1.2.3", "192.0.2.7", "198.51.100.1", "203.0.113.9"];
    const V6: [&str; 4] = ["fd00::5", "2001:db8::7", "2001:db8:1::1", "2001:db8:ffff::9"];

    fn ip_of(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The same packet under other addresses, its inner checksum as its sender left it.
    fn natted(packet: &[u8], source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let summary = Summary::parse(packet).unwrap();
        ip::packet(source, destination, summary.next_layer, summary.payload(packet)).unwrap()
    }

    fn segment_of(packet: &[u8]) -> Vec<u8> {
        Summary::parse(packet).unwrap().payload(packet).to_vec()
    }

    fn packets(source: IpAddr, destination: IpAddr) -> Vec<Vec<u8>> {
        let segment = tcp::Repr {
            source_port: 40_000,
            destination_port: 443,
            sequence: 1,
            acknowledgement: 2,
            flags: 0x18,
            window: 100,
        };
        let mut lite = udp_lite(source, destination, 0);
        lite.extend(udp_lite(source, destination, 8));
        let mut all = vec![
            segment.packet(source, destination, b"odd").unwrap(),
            udp::packet(source, destination, 1, 2, b"some bytes").unwrap(),
        ];
        all.extend(lite);
        if source.is_ipv6() {
            let echo = crate::wire::icmp::Echo {
                request: true,
                identifier: 1,
                sequence: 2,
                payload: b"ping",
            };
            all.push(echo.packet(source, destination).unwrap());
        }
        all
    }

    fn udp_lite(source: IpAddr, destination: IpAddr, coverage: u16) -> Vec<Vec<u8>> {
        let mut segment = vec![0, 1, 0, 2, 0, 0, 0, 0];
        segment[4..6].copy_from_slice(&coverage.to_be_bytes());
        segment.extend_from_slice(b"sensitive and insensitive");
        let covered = if coverage == 0 {
            segment.len()
        } else {
            usize::from(coverage)
        };
        let bytes = u32::try_from(segment.len()).unwrap();
        let sum = checksum::pseudo_header(source, destination, protocol::UDP_LITE, bytes)
            .plus(&segment[..covered])
            .finish();
        segment[6..8].copy_from_slice(&sum.to_be_bytes());
        vec![ip::packet(source, destination, protocol::UDP_LITE, &segment).unwrap()]
    }

    //= https://www.rfc-editor.org/rfc/rfc3948#section-3.1.2
    //# in transport mode the checksum is mended by the original addresses, or computed again, or zero for UDP
    #[test]
    fn every_way_yields_the_checksum_of_the_new_addresses() {
        for texts in [V4, V6] {
            let [before_source, before_destination, source, destination] = texts.map(ip_of);
            let adjust = Repair::Adjust {
                source: before_source,
                destination: before_destination,
            };
            let wanted = packets(source, destination);
            for (sent, wanted) in packets(before_source, before_destination).iter().zip(&wanted) {
                let arrived = natted(sent, source, destination);
                assert_ne!(segment_of(&arrived), segment_of(wanted));
                for how in [adjust, Repair::Recompute, Repair::Blind] {
                    let mut packet = arrived.clone();
                    assert!(repair(&mut packet, how));
                    let mut expected = segment_of(wanted);
                    if how == Repair::Blind && texts == V4 && packet[9] == protocol::UDP {
                        expected[6..8].fill(0);
                    }
                    assert_eq!(segment_of(&packet), expected, "{how:?}");
                }
            }
        }
    }

    #[test]
    fn a_right_checksum_is_left_alone_blindly() {
        for texts in [V4, V6] {
            let [_, _, source, destination] = texts.map(ip_of);
            for packet in packets(source, destination) {
                for how in [
                    Repair::Recompute,
                    Repair::Blind,
                    Repair::Adjust { source, destination },
                ] {
                    let mut again = packet.clone();
                    assert!(repair(&mut again, how));
                    assert_eq!(again, packet, "{how:?}");
                }
            }
        }
    }

    #[test]
    fn the_difference_does_not_hide_what_was_wrong() {
        let [before_source, before_destination, source, destination] = V4.map(ip_of);
        let mut packet = natted(
            &packets(before_source, before_destination)[0],
            source,
            destination,
        );
        let last = packet.len() - 1;
        packet[last] ^= 1;
        assert!(repair(
            &mut packet,
            Repair::Adjust {
                source: before_source,
                destination: before_destination
            }
        ));
        assert_ne!(
            checksum::transport(source, destination, protocol::TCP, &packet[20..]),
            0
        );
    }

    #[test]
    fn no_checksum_stays_no_checksum_and_unknown_protocols_stay_as_they_are() {
        let [_, _, source, destination] = V4.map(ip_of);
        let mut none = udp::packet(source, destination, 1, 2, b"x").unwrap();
        none[26..28].fill(0);
        for how in [Repair::Recompute, Repair::Blind] {
            let before = none.clone();
            assert!(!repair(&mut none, how));
            assert_eq!(none, before);
        }
        for packet in [
            captured::IPV4_SCTP_INIT,
            captured::IPV4_FRAGMENT_FIRST,
            captured::IPV6_FRAGMENT_LAST,
        ] {
            let mut again = packet.to_vec();
            assert!(!repair(&mut again, Repair::Recompute));
            assert_eq!(again, packet);
        }
    }

    #[test]
    fn a_dccp_checksum_is_moved_with_its_addresses() {
        let packet = captured::IPV4_DCCP_REQUEST;
        let summary = Summary::parse(packet).unwrap();
        let [source, destination, ..] = V4.map(ip_of);
        let mut away = natted(packet, source, destination);
        assert!(repair(
            &mut away,
            Repair::Adjust {
                source: summary.source,
                destination: summary.destination,
            }
        ));
        let mut back = natted(&away, summary.source, summary.destination);
        assert!(repair(&mut back, Repair::Adjust { source, destination }));
        assert_eq!(segment_of(&back), summary.payload(packet));
        assert!(!repair(&mut back, Repair::Recompute));
    }

    #[test]
    fn short_segments_do_not_panic() {
        let [_, _, source, destination] = V4.map(ip_of);
        for next_layer in 0..=255 {
            for bytes in 0..40 {
                let mut packet = ip::packet(source, destination, next_layer, &vec![1; bytes]).unwrap();
                for how in [
                    Repair::Recompute,
                    Repair::Blind,
                    Repair::Adjust { source, destination },
                ] {
                    let _done = repair(&mut packet, how);
                }
                assert!(ipv4::Packet::new_checked(&packet).is_some());
            }
        }
        assert!(!repair(&mut [], Repair::Recompute));
    }
}
