//! `Selector` (ranges, as an SPD entry or an SA holds them) and `SelectorKey` (one packet's values).
//! No database and no byte offsets may enter.
//! Answers to: RFC 4301 section 4.4.1.1 (selectors) and section 7 (fragments).

use std::net::IpAddr;

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// Lowest address.
    pub first: IpAddr,
    /// Highest address.
    pub last: IpAddr,
}

/// A range of ports (or ICMP types, or ICMP codes), both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// Lowest value.
    pub first: u16,
    /// Highest value.
    pub last: u16,
}

impl PortRange {
    /// Every port, and also "no port" and OPAQUE: RFC 4301's ANY.
    pub const ANY: Self = Self {
        first: 0,
        last: u16::MAX,
    };
}

/// What an SPD entry or an SA covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// Source addresses.
    pub source: AddressRange,
    /// Destination addresses.
    pub destination: AddressRange,
    /// The next layer protocol; `None` is ANY.
    pub next_layer: Option<u8>,
    /// Source ports; for ICMP the message type.
    pub source_ports: PortRange,
    /// Destination ports; for ICMP the message code.
    pub destination_ports: PortRange,
}

/// What one packet shows in place of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// TCP, UDP, SCTP, DCCP, UDP-Lite.
    Known {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP and ICMPv6; Mobility Header has a type and no code.
    Icmp {
        /// Message type.
        kind: u8,
        /// Message code.
        code: u8,
    },
    /// There should be ports but this packet does not show them (a fragment, a cut header).
    Opaque,
    /// A protocol that has none.
    Absent,
}

/// One packet's selector values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Next layer protocol, after extension headers.
    pub next_layer: u8,
    /// Ports or their substitute.
    pub ports: Ports,
}
