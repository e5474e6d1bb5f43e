//! IPv4: the header with its options, and the fields that tunnels and transport mode change.
//! Reassembly, routing and the meaning of options may not enter.
//! Answers to: RFC 791 section 3.1, RFC 2474, RFC 3168 section 5.

use std::net::Ipv4Addr;

use super::{checksum, ip::Fragment, u16_at};
use crate::error::DropReason;

/// The header without options.
pub const HEADER_BYTES: usize = 20;
/// The longest packet.
pub const MAXIMUM_BYTES: usize = 65_535;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;
/// Where the checksum stands.
const CHECKSUM: core::ops::Range<usize> = 10..12;

/// A view of an IPv4 packet whose header and total length were checked against the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as an IPv4 packet; bytes behind its total length are not part of the view.
    ///
    /// The header checksum is not judged: devices with offloads leave it open.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16_at(bytes, 2)?);
        if header[0] >> 4 != 4 || header_bytes < HEADER_BYTES {
            return None;
        }
        let options = bytes.get(HEADER_BYTES..header_bytes)?;
        let payload = bytes.get(header_bytes..total)?;
        let packet = Self {
            header,
            options,
            payload,
        };
        // A fragment that ends behind the longest packet can belong to no packet.
        let end = packet
            .fragment()
            .map_or(0, |fragment| usize::from(fragment.offset_bytes) + total);
        (end <= MAXIMUM_BYTES).then_some(packet)
    }

    fn field(&self, at: usize) -> u16 {
        u16_at(self.header, at).unwrap_or(0)
    }

    /// Length of the header, options included.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        HEADER_BYTES + self.options.len()
    }

    /// Length of the whole packet.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        self.header_bytes() + self.payload.len()
    }

    /// The TOS byte: DSCP and ECN.
    #[must_use]
    pub const fn tos(&self) -> u8 {
        self.header[1]
    }

    /// The identification.
    #[must_use]
    pub fn identification(&self) -> u16 {
        self.field(4)
    }

    /// The DF bit.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.field(6) & DONT_FRAGMENT != 0
    }

    /// Where this fragment belongs; `None` for a whole packet.
    #[must_use]
    pub fn fragment(&self) -> Option<Fragment> {
        let field = self.field(6);
        let more = field & MORE_FRAGMENTS != 0;
        let offset_bytes = (field & OFFSET_MASK) * 8;
        (more || offset_bytes != 0).then(|| Fragment {
            offset_bytes,
            more,
            id: u32::from(self.identification()),
        })
    }

    /// Time to live.
    #[must_use]
    pub const fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// The protocol of the payload.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.header[9]
    }

    /// Whether the header checksum is right.
    #[must_use]
    pub fn checksum_is_right(&self) -> bool {
        checksum::Sum::new().plus(self.header).plus(self.options).finish() == 0
    }

    /// Source address.
    #[must_use]
    pub const fn source(&self) -> Ipv4Addr {
        let h = self.header;
        Ipv4Addr::new(h[12], h[13], h[14], h[15])
    }

    /// Destination address.
    #[must_use]
    pub const fn destination(&self) -> Ipv4Addr {
        let h = self.header;
        Ipv4Addr::new(h[16], h[17], h[18], h[19])
    }

    /// The options, one at a time, each with its type and its data.
    #[must_use]
    pub const fn options(&self) -> Options<'a> {
        Options { rest: self.options }
    }

    /// What follows the header and its options.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// One option: its type byte and what follows the length byte.
pub type IpOption<'a> = (u8, &'a [u8]);

/// Walks options up to the end-of-list option or the first one whose length makes no sense.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = IpOption<'a>;

    fn next(&mut self) -> Option<IpOption<'a>> {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        let rest = core::mem::take(&mut self.rest);
        match rest {
            [] | [END, ..] => None,
            [NO_OPERATION, tail @ ..] => {
                self.rest = tail;
                Some((NO_OPERATION, &[]))
            }
            [kind, tail @ ..] => {
                // The length counts the type and itself: less than 2 is nonsense and would never advance.
                let data = tail.get(1..usize::from(*tail.first()?).checked_sub(1)?)?;
                self.rest = tail.get(1 + data.len()..)?;
                Some((*kind, data))
            }
        }
    }
}

/// What a header without options and fragments says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The TOS byte: DSCP and ECN.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// The DF bit.
    pub dont_fragment: bool,
    /// The identification.
    pub identification: u16,
    /// Length of what follows the header.
    pub payload_bytes: usize,
}

impl Repr {
    /// The header's meaning; `None` for a fragment or a header with options, which a `Repr` has no word for.
    #[must_use]
    pub fn parse(packet: &Packet<'_>) -> Option<Self> {
        if packet.fragment().is_some() || !packet.options.is_empty() {
            return None;
        }
        Some(Self {
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.protocol(),
            tos: packet.tos(),
            ttl: packet.ttl(),
            dont_fragment: packet.dont_fragment(),
            identification: packet.identification(),
            payload_bytes: packet.payload.len(),
        })
    }

    /// Writes the header, checksum included, into the first [`HEADER_BYTES`] bytes.
    ///
    /// # Errors
    /// `NoBuffer` if there are fewer; `OutTooBig` if the length does not fit its field.
    pub fn emit(&self, bytes: &mut [u8]) -> Result<(), DropReason> {
        let total = u16::try_from(self.payload_bytes.saturating_add(HEADER_BYTES))
            .map_err(|_| DropReason::OutTooBig)?;
        let header = bytes
            .first_chunk_mut::<HEADER_BYTES>()
            .ok_or(DropReason::NoBuffer)?;
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        header[0] = 0x45;
        header[1] = self.tos;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[4..6].copy_from_slice(&self.identification.to_be_bytes());
        header[6..8].copy_from_slice(&flags.to_be_bytes());
        header[8] = self.ttl;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        fill_checksum(header);
        Ok(())
    }
}

/// Writes the checksum of a header that is exactly `header`.
fn fill_checksum(header: &mut [u8]) {
    if let Some(field) = header.get_mut(CHECKSUM) {
        field.fill(0);
    }
    let sum = checksum::internet(header);
    if let Some(field) = header.get_mut(CHECKSUM) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Sets protocol, total length (that of the slice) and checksum of a packet with a header of `header_bytes`.
pub(super) fn replace_payload(packet: &mut [u8], header_bytes: usize, protocol: u8) -> Option<()> {
    let total = u16::try_from(packet.len()).ok()?;
    let header = packet.get_mut(..header_bytes)?;
    if header_bytes < HEADER_BYTES || usize::from(header[0] & 0x0f) * 4 != header_bytes {
        return None;
    }
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[9] = protocol;
    fill_checksum(header);
    Some(())
}

/// Replaces the 16-bit word at the even offset `at` and adjusts the checksum.
pub(super) fn replace_word(
    packet: &mut [u8],
    at: usize,
    change: impl FnOnce([u8; 2]) -> [u8; 2],
) -> Option<()> {
    let header = packet.first_chunk_mut::<HEADER_BYTES>()?;
    let old = *header.get(at..)?.first_chunk::<2>()?;
    let new = change(old);
    let sum = u16_at(header, CHECKSUM.start)?;
    let sum = checksum::adjust(sum, u16::from_be_bytes(old), u16::from_be_bytes(new));
    header.get_mut(at..at + 2)?.copy_from_slice(&new);
    header.get_mut(CHECKSUM)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}
