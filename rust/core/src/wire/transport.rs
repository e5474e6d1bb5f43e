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
