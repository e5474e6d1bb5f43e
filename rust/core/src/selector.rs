//! `Selector` (ranges, as an SPD entry or an SA holds them) and `SelectorKey` (one packet's values).
//! No database and no byte offsets may enter.
//! Answers to: RFC 4301 section 4.4.1.1 (selectors) and section 7 (fragments).

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::Error;

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// Lowest address.
    pub first: IpAddr,
    /// Highest address.
    pub last: IpAddr,
}

impl AddressRange {
    /// Makes a range from its ends.
    ///
    /// # Errors
    /// `InvalidSelector` if the families differ or the range is upside down.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, Error> {
        let range = Self { first, last };
        if range.is_sound() {
            Ok(range)
        } else {
            Err(Error::InvalidSelector)
        }
    }

    /// Makes the range that a prefix names; bits behind the prefix are ignored.
    ///
    /// # Errors
    /// `OutOfRange` if the prefix is longer than the address.
    pub fn prefix(address: IpAddr, prefix_bits: u8) -> Result<Self, Error> {
        let host_bits = width(address).checked_sub(u32::from(prefix_bits));
        let host_bits = host_bits.ok_or(Error::OutOfRange { field: "prefix_bits" })?;
        let mask = ones(host_bits);
        let bits = to_bits(address);
        Ok(Self {
            first: from_bits(bits & !mask, address),
            last: from_bits(bits | mask, address),
        })
    }

    /// The range of one address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }

    /// Every address of the family of `address`.
    #[must_use]
    pub const fn any(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self {
                first: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                last: IpAddr::V4(Ipv4Addr::BROADCAST),
            },
            IpAddr::V6(_) => Self {
                first: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                last: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            },
        }
    }

    /// Whether both ends are of one family and in order.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.first.is_ipv4() == self.last.is_ipv4() && self.first <= self.last
    }

    /// Whether the address is in the range; one of the other family never is.
    #[must_use]
    pub fn contains(&self, address: &IpAddr) -> bool {
        match (self.first, self.last, address) {
            (IpAddr::V4(first), IpAddr::V4(last), IpAddr::V4(address)) => {
                first <= *address && *address <= last
            }
            (IpAddr::V6(first), IpAddr::V6(last), IpAddr::V6(address)) => {
                first <= *address && *address <= last
            }
            _ => false,
        }
    }

    /// Whether every address of `other` is in this range.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.contains(&other.first) && self.contains(&other.last)
    }

    /// The prefix that names exactly this range, if there is one.
    #[must_use]
    pub fn as_prefix(&self) -> Option<(IpAddr, u8)> {
        if !self.is_sound() {
            return None;
        }
        let (first, last) = (to_bits(self.first), to_bits(self.last));
        let host_bits = u128::BITS - (first ^ last).leading_zeros();
        let mask = ones(host_bits);
        let aligned = first & mask == 0 && last & mask == mask;
        let prefix_bits = u8::try_from(width(self.first).checked_sub(host_bits)?).ok()?;
        aligned.then_some((self.first, prefix_bits))
    }
}

impl fmt::Display for AddressRange {
    /// A prefix where there is one (without its length for a single host), else `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_prefix() {
            Some((address, prefix_bits)) if u32::from(prefix_bits) == width(address) => {
                write!(f, "{address}")
            }
            Some((address, prefix_bits)) => write!(f, "{address}/{prefix_bits}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with these bits, of the family of `like`.
const fn from_bits(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        // Only bits of an IPv4 address come here, so nothing is cut off.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

/// That many low bits set.
fn ones(count: u32) -> u128 {
    u128::MAX.checked_shr(u128::BITS - count).unwrap_or(0)
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

    /// Makes a range from its ends.
    ///
    /// # Errors
    /// `InvalidSelector` if it is upside down.
    pub const fn new(first: u16, last: u16) -> Result<Self, Error> {
        if first <= last {
            Ok(Self { first, last })
        } else {
            Err(Error::InvalidSelector)
        }
    }

    /// The range of one port.
    #[must_use]
    pub const fn single(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// Whether the port is in the range.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether this is [`PortRange::ANY`].
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.first == 0 && self.last == u16::MAX
    }

    /// Whether every port of `other` is in this range.
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

impl fmt::Display for PortRange {
    /// `any`, one number, or `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            f.write_str("any")
        } else if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
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

impl Selector {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// `InvalidSelector` if the families differ or a range is upside down.
    pub fn validate(&self) -> Result<(), Error> {
        let one_family = self.source.first.is_ipv4() == self.destination.first.is_ipv4();
        let ordered = self.source_ports.first <= self.source_ports.last
            && self.destination_ports.first <= self.destination_ports.last;
        if one_family && ordered && self.source.is_sound() && self.destination.is_sound() {
            Ok(())
        } else {
            Err(Error::InvalidSelector)
        }
    }

    /// Whether a packet with these values is covered.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
    //# selectors are addresses, protocol, ports, ICMP type and code, Mobility Header type; ANY and OPAQUE are values
    #[must_use]
    pub fn matches(&self, key: &SelectorKey) -> bool {
        self.next_layer
            .is_none_or(|next_layer| next_layer == key.next_layer)
            && self.source.contains(&key.source)
            && self.destination.contains(&key.destination)
            && self.matches_ports(key.ports)
    }

    /// Whether the packet that a fragment with these values belongs to may be covered, whatever its ports are.
    ///
    /// A later IPv6 fragment may even hide the protocol behind extension headers.
    #[must_use]
    pub fn may_match_whole(&self, key: &SelectorKey) -> bool {
        let told = !is_extension_header(key.next_layer);
        self.next_layer
            .is_none_or(|next_layer| !told || next_layer == key.next_layer)
            && self.source.contains(&key.source)
            && self.destination.contains(&key.destination)
    }

    /// Whether every fragment of the packet that one with these values belongs to is covered.
    #[must_use]
    pub fn matches_every_fragment(&self, key: &SelectorKey) -> bool {
        let ports_do_not_matter = self.source_ports.is_any() && self.destination_ports.is_any();
        let protocol_does_not_matter = self.next_layer.is_none() || !is_extension_header(key.next_layer);
        ports_do_not_matter && protocol_does_not_matter && self.may_match_whole(key)
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
    //# ANY also covers OPAQUE and protocols without ports; a range of ports covers neither.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7.3
    //# later fragments are not sent on an SA with ports unless fragments are followed by state
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7.4
    //# later fragments do not pass by an entry with ports unless fragments are followed by state
    fn matches_ports(&self, ports: Ports) -> bool {
        let (source, destination) = match ports {
            Ports::Known { source, destination } => (source, destination),
            Ports::Icmp { kind, code } => (u16::from(kind), u16::from(code)),
            Ports::Opaque | Ports::Absent => {
                return self.source_ports.is_any() && self.destination_ports.is_any();
            }
        };
        self.source_ports.contains(source) && self.destination_ports.contains(destination)
    }

    /// The selector of the packets that go the other way. ICMP type and code keep their places: they have no ends.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let typed = matches!(self.next_layer, Some(ICMP | ICMPV6 | MOBILITY));
        let (source_ports, destination_ports) = if typed {
            (self.source_ports, self.destination_ports)
        } else {
            (self.destination_ports, self.source_ports)
        };
        Self {
            source: self.destination,
            destination: self.source,
            next_layer: self.next_layer,
            source_ports,
            destination_ports,
        }
    }

    /// Whether every packet that matches `other` also matches this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        (self.next_layer.is_none() || self.next_layer == other.next_layer)
            && self.source.covers(&other.source)
            && self.destination.covers(&other.destination)
            && self.source_ports.covers(&other.source_ports)
            && self.destination_ports.covers(&other.destination_ports)
    }
}

/// Next layer protocols whose "ports" are a type and a code.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const MOBILITY: u8 = 135;

/// Whether behind this number stands an IPv6 header that is no next layer (RFC 8200 §4): options, routing, fragment.
const fn is_extension_header(number: u8) -> bool {
    matches!(number, 0 | 43 | 44 | 60)
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

impl SelectorKey {
    /// The values of a packet that goes the other way. ICMP type and code keep their places: they have no ends.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        let ports = match self.ports {
            Ports::Known { source, destination } => Ports::Known {
                source: destination,
                destination: source,
            },
            Ports::Icmp { .. } | Ports::Opaque | Ports::Absent => self.ports,
        };
        Self {
            source: self.destination,
            destination: self.source,
            next_layer: self.next_layer,
            ports,
        }
    }
}

#[cfg(test)]
mod tests;
