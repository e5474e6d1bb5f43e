//! UDP: ports, length, checksum.
//! What a datagram carries may not enter.
//! Answers to: RFC 768, RFC 8200 section 8.1.

use std::net::IpAddr;

use super::{checksum, ip, protocol, u16_at};
use crate::error::DropReason;

/// The UDP header.
pub const HEADER_BYTES: usize = 8;

/// A view of a UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    repr: Repr,
}

/// What a UDP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Length of what follows the header.
    pub payload_bytes: usize,
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as a datagram; bytes behind its length are not part of the view.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let total = usize::from(u16_at(bytes, 4)?);
        let bytes = bytes.get(..total)?;
        let payload_bytes = total.checked_sub(HEADER_BYTES)?;
        let repr = Repr {
            source_port: u16_at(bytes, 0)?,
            destination_port: u16_at(bytes, 2)?,
            payload_bytes,
        };
        Some(Self { bytes, repr })
    }

    /// Source port.
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        self.repr.source_port
    }

    /// Destination port.
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        self.repr.destination_port
    }

    /// The checksum field; 0 means none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes, 6).unwrap_or(0)
    }

    /// Whether the checksum is right, or absent where IPv4 allows that.
    #[must_use]
    pub fn checksum_is_right(&self, source: IpAddr, destination: IpAddr) -> bool {
        if self.checksum() == 0 {
            return source.is_ipv4();
        }
        checksum::transport(source, destination, protocol::UDP, self.bytes) == 0
    }

    /// What the datagram carries.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The header's meaning.
    #[must_use]
    pub const fn parse(&self) -> Repr {
        self.repr
    }
}

impl Repr {
    /// Writes the header, with no checksum, in front of a payload that stands there already.
    ///
    /// # Errors
    /// `NoBuffer` if `bytes` is shorter than a header; `OutTooBig` if the length does not fit its field.
    pub fn emit(&self, bytes: &mut [u8]) -> Result<(), DropReason> {
        let length = u16::try_from(self.payload_bytes + HEADER_BYTES).map_err(|_| DropReason::OutTooBig)?;
        let header = bytes
            .first_chunk_mut::<HEADER_BYTES>()
            .ok_or(DropReason::NoBuffer)?;
        header[..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..6].copy_from_slice(&length.to_be_bytes());
        header[6..].fill(0);
        Ok(())
    }
}

/// Writes the checksum of a whole datagram.
///
/// # Errors
/// `NoBuffer` if `datagram` is shorter than a header.
//= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
//# A checksum that comes out as zero is sent as all ones; zero would mean "none", which IPv6 refuses.
pub fn fill_checksum(source: IpAddr, destination: IpAddr, datagram: &mut [u8]) -> Result<(), DropReason> {
    datagram
        .get_mut(6..HEADER_BYTES)
        .ok_or(DropReason::NoBuffer)?
        .fill(0);
    let sum = checksum::transport(source, destination, protocol::UDP, datagram);
    let sum = if sum == 0 { u16::MAX } else { sum };
    datagram[6..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Builds a whole IP packet with one datagram; `None` if families differ or it would be too long.
#[must_use]
pub fn packet(
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut datagram = vec![0; HEADER_BYTES + payload.len()];
    datagram.get_mut(HEADER_BYTES..)?.copy_from_slice(payload);
    Repr {
        source_port,
        destination_port,
        payload_bytes: payload.len(),
    }
    .emit(&mut datagram)
    .ok()?;
    fill_checksum(source, destination, &mut datagram).ok()?;
    ip::packet(source, destination, protocol::UDP, &datagram)
}
