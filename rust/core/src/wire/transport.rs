//! What the next layer shows for selectors: ports, ICMP type and code, Mobility Header type.
//! No reassembly and no state may enter: a packet that does not show its ports is OPAQUE.
//! Answers to: RFC 4301 section 4.4.1.1.

use super::{protocol, u16_at};
use crate::selector::Ports;

/// Whether packets of this protocol carry something that port selectors can match.
#[must_use]
pub const fn has_ports(next_layer: u8) -> bool {
    shape(next_layer).is_some()
}

#[derive(Clone, Copy)]
enum Shape {
    Ports,
    TypeAndCode,
    MobilityType,
}

const fn shape(next_layer: u8) -> Option<Shape> {
    match next_layer {
        protocol::TCP | protocol::UDP | protocol::DCCP | protocol::SCTP | protocol::UDP_LITE => {
            Some(Shape::Ports)
        }
        protocol::ICMP | protocol::ICMPV6 => Some(Shape::TypeAndCode),
        protocol::MOBILITY => Some(Shape::MobilityType),
        _ => None,
    }
}

/// The selector values of a whole packet or a first fragment, whose next layer begins `segment`.
//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
//# Two ports, or the ICMP type and code, or the Mobility Header type; OPAQUE where they cannot be seen.
#[must_use]
pub fn ports(next_layer: u8, segment: &[u8]) -> Ports {
    let Some(shape) = shape(next_layer) else {
        return Ports::Absent;
    };
    read(shape, segment).unwrap_or(Ports::Opaque)
}

/// The selector values of a fragment that is not the first: OPAQUE where there would be ports.
#[must_use]
pub const fn ports_of_later_fragment(next_layer: u8) -> Ports {
    if has_ports(next_layer) {
        Ports::Opaque
    } else {
        Ports::Absent
    }
}

fn read(shape: Shape, segment: &[u8]) -> Option<Ports> {
    match shape {
        Shape::Ports => Some(Ports::Known {
            source: u16_at(segment, 0)?,
            destination: u16_at(segment, 2)?,
        }),
        Shape::TypeAndCode => Some(Ports::Icmp {
            kind: *segment.first()?,
            code: *segment.get(1)?,
        }),
        Shape::MobilityType => Some(Ports::Icmp {
            kind: *segment.get(2)?,
            code: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ip};

    fn ports_of(packet: &[u8]) -> Ports {
        ip::selector_key(packet).unwrap().ports
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
    //# Two ports, or the ICMP type and code, or the Mobility Header type; OPAQUE where they cannot be seen.
    #[test]
    fn real_packets_show_their_ports() {
        let known = |source, destination| Ports::Known { source, destination };
        for (packet, ports) in [
            (captured::IPV4_TCP_SYN, known(33_648, 22)),
            (captured::IPV6_TCP_SYN, known(37_154, 22)),
            (captured::IPV4_UDP, known(48_824, 9999)),
            (captured::IPV6_UDP, known(37_672, 9999)),
            (captured::IPV4_UDP_WITH_OPTIONS, known(48_604, 9999)),
            (captured::IPV6_ALL_EXTENSION_HEADERS, known(36_612, 9999)),
            (captured::IPV6_UDP_LITE, known(51_932, 7)),
            (captured::IPV4_SCTP_INIT, known(58_080, 7)),
            (captured::IPV4_DCCP_REQUEST, known(33_590, 7)),
            (captured::IPV4_ICMP_ECHO_REQUEST, Ports::Icmp { kind: 8, code: 0 }),
            (captured::IPV6_ICMP_ECHO_REPLY, Ports::Icmp { kind: 129, code: 0 }),
            (
                captured::IPV4_ICMP_PORT_UNREACHABLE,
                Ports::Icmp { kind: 3, code: 3 },
            ),
            (captured::IPV6_MOBILITY, Ports::Icmp { kind: 1, code: 0 }),
            (captured::IPV4_FRAGMENT_FIRST, Ports::Icmp { kind: 8, code: 0 }),
            (captured::IPV4_FRAGMENT_LAST, Ports::Opaque),
            (captured::IPV6_FRAGMENT_FIRST_BEHIND_OPTIONS, known(56_293, 9999)),
            (captured::IPV6_FRAGMENT_LAST, Ports::Opaque),
            (captured::IPV4_ESP_TRANSPORT, Ports::Absent),
            (captured::IPV6_AH_BEHIND_OPTIONS, Ports::Absent),
        ] {
            assert_eq!(ports_of(packet), ports);
        }
    }

    #[test]
    fn a_cut_header_is_opaque_and_never_port_zero() {
        for next_layer in 0..=u8::MAX {
            let hidden = if has_ports(next_layer) {
                Ports::Opaque
            } else {
                Ports::Absent
            };
            assert_eq!(ports(next_layer, &[]), hidden);
            assert_eq!(ports_of_later_fragment(next_layer), hidden);
        }
        assert_eq!(ports(protocol::TCP, &[0, 80, 0]), Ports::Opaque);
        assert_eq!(ports(protocol::ICMP, &[8]), Ports::Opaque);
        assert_eq!(ports(protocol::MOBILITY, &[59, 0]), Ports::Opaque);
    }
}
