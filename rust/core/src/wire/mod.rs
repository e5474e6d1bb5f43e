//! Packet formats: bytes seen as fields (view) and meaning written as bytes (`Repr`), one file per format.
//! No key, no lookup, no clock and no policy may enter; no input makes anything here panic.
//! Answers to: RFC 791, 8200, 768, 792, 4443, 3948, RFC 4302 section 2, RFC 4303 section 2, RFC 3173 section 3.

pub mod ah;
#[cfg(test)]
mod captured;
pub mod checksum;
pub mod checksum_repair;
pub mod esp;
pub mod fragment;
pub mod icmp;
pub mod icmp_error;
pub mod ip;
pub mod ipcomp;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod transport;
pub mod udp;
pub mod udp_encap;

/// Protocol numbers that the formats here know (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP.
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating Security Payload.
    pub const ESP: u8 = 50;
    /// Authentication Header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// No next header; inside ESP, a dummy packet.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// IP Payload Compression.
    pub const IPCOMP: u8 = 108;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// IPv6 Mobility Header.
    pub const MOBILITY: u8 = 135;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
}

/// Reads two bytes in network order.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*pair))
}

/// Reads four bytes in network order.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}
