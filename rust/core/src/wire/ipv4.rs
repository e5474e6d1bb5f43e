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

/// Sets fragment offset, MF flag, total length (that of the slice) and checksum; DF stays.
pub(super) fn place_fragment(
    packet: &mut [u8],
    header_bytes: usize,
    offset_bytes: u16,
    more: bool,
) -> Option<()> {
    let total = u16::try_from(packet.len()).ok()?;
    let header = packet.get_mut(..header_bytes)?;
    let flags = u16_at(header, 6)? & DONT_FRAGMENT | if more { MORE_FRAGMENTS } else { 0 };
    let field = flags | (offset_bytes / 8);
    header.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
    header.get_mut(6..8)?.copy_from_slice(&field.to_be_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captured;
    use proptest::prelude::*;

    #[test]
    fn deconstruct() {
        let packet = Packet::new_checked(captured::IPV4_ICMP_ECHO_REQUEST).unwrap();
        assert_eq!((packet.header_bytes(), packet.total_bytes()), (HEADER_BYTES, 52));
        assert_eq!((packet.tos(), packet.ttl(), packet.protocol()), (0, 64, 1));
        assert_eq!((packet.identification(), packet.dont_fragment()), (0x1397, true));
        assert_eq!(packet.fragment(), None);
        assert!(packet.checksum_is_right());
        assert_eq!(packet.source(), Ipv4Addr::new(10, 9, 0, 1));
        assert_eq!(packet.destination(), Ipv4Addr::new(10, 9, 0, 2));
        assert_eq!(packet.payload(), &captured::IPV4_ICMP_ECHO_REQUEST[20..]);
        assert_eq!(packet.options().count(), 0);
    }

    #[test]
    fn deconstruct_options() {
        let packet = Packet::new_checked(captured::IPV4_RECORD_ROUTE).unwrap();
        assert_eq!(packet.header_bytes(), 60);
        assert!(packet.checksum_is_right());
        let options: Vec<_> = packet.options().collect();
        assert_eq!(options.len(), 2, "no operation, record route");
        assert_eq!(
            (options[0], options[1].0, options[1].1.len()),
            ((1, &[][..]), 7, 37)
        );
        let packet = Packet::new_checked(captured::IPV4_UDP_WITH_OPTIONS).unwrap();
        let kinds: Vec<_> = packet.options().map(|(kind, data)| (kind, data.len())).collect();
        assert_eq!(kinds, [(148, 2), (68, 10)], "router alert, timestamp");
    }

    #[test]
    fn deconstruct_fragments() {
        let first = Packet::new_checked(captured::IPV4_FRAGMENT_FIRST)
            .unwrap()
            .fragment()
            .unwrap();
        let last = Packet::new_checked(captured::IPV4_FRAGMENT_LAST)
            .unwrap()
            .fragment()
            .unwrap();
        assert_eq!((first.offset_bytes, first.more), (0, true));
        assert_eq!((last.offset_bytes, last.more, last.id), (2960, false, first.id));
    }

    #[test]
    fn construct() {
        for bytes in [
            captured::IPV4_ICMP_ECHO_REQUEST,
            captured::IPV4_ESP_TRANSPORT,
            captured::IPV4_SCTP_INIT,
        ] {
            let mut header = [0xaa; HEADER_BYTES];
            Repr::parse(&Packet::new_checked(bytes).unwrap())
                .unwrap()
                .emit(&mut header)
                .unwrap();
            assert_eq!(header, bytes[..HEADER_BYTES]);
        }
    }

    /// CVE-2001-0284 asks for every header length against every buffer length.
    #[test]
    fn check_len() {
        let bytes = captured::IPV4_RECORD_ROUTE;
        for length in 0..bytes.len() {
            assert!(Packet::new_checked(&bytes[..length]).is_none());
        }
        for words in 0..16 {
            let mut bytes = bytes.to_vec();
            bytes[0] = 0x40 | words;
            let packet = Packet::new_checked(&bytes);
            assert_eq!(
                packet.map(|packet| packet.header_bytes()),
                (words >= 5).then_some(usize::from(words) * 4)
            );
        }
        let mut short = captured::IPV4_ICMP_ECHO_REQUEST.to_vec();
        short[2..4].copy_from_slice(&19u16.to_be_bytes());
        assert!(
            Packet::new_checked(&short).is_none(),
            "a total length that does not cover the header"
        );
        short[2..4].copy_from_slice(&20u16.to_be_bytes());
        assert!(Packet::new_checked(&short).unwrap().payload().is_empty());
    }

    /// Fragments that end behind the longest packet ("ping of death").
    #[test]
    fn check_fragment_end() {
        let mut bytes = captured::IPV4_FRAGMENT_LAST.to_vec();
        bytes[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
        assert!(Packet::new_checked(&bytes).is_none());
    }

    #[test]
    fn parse() {
        let packet = Packet::new_checked(captured::IPV4_SCTP_INIT).unwrap();
        let repr = Repr {
            source: Ipv4Addr::new(10, 8, 0, 2),
            destination: Ipv4Addr::new(10, 8, 0, 1),
            protocol: 132,
            tos: 2,
            ttl: 64,
            dont_fragment: true,
            identification: 0,
            payload_bytes: 64,
        };
        assert_eq!(Repr::parse(&packet), Some(repr));
        for wordless in [captured::IPV4_FRAGMENT_FIRST, captured::IPV4_RECORD_ROUTE] {
            assert_eq!(Repr::parse(&Packet::new_checked(wordless).unwrap()), None);
        }
    }

    #[test]
    fn emit() {
        let packet = Packet::new_checked(captured::IPV4_SCTP_INIT).unwrap();
        let repr = Repr::parse(&packet).unwrap();
        assert_eq!(repr.emit(&mut [0; HEADER_BYTES - 1]), Err(DropReason::NoBuffer));
        for payload_bytes in [MAXIMUM_BYTES - HEADER_BYTES + 1, usize::MAX] {
            let repr = Repr {
                payload_bytes,
                ..repr
            };
            assert_eq!(repr.emit(&mut [0; HEADER_BYTES]), Err(DropReason::OutTooBig));
        }
    }

    proptest! {
        #[test]
        fn options_always_end(bytes in proptest::collection::vec(any::<u8>(), 0..41)) {
            let options = Options { rest: &bytes };
            let seen: usize = options.map(|(kind, data)| if kind == 1 { 1 } else { data.len() + 2 }).sum();
            prop_assert!(seen <= bytes.len());
        }

        #[test]
        fn etherparse_reads_the_same(
            seed in 0..captured::ALL.len(),
            change in proptest::collection::vec((0usize..64, any::<u8>()), 0..3),
            cut in 0usize..80,
        ) {
            let mut bytes = captured::ALL[seed].to_vec();
            bytes.truncate(bytes.len().saturating_sub(cut));
            for (at, value) in change {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            // They read AH in IPv4 as part of the header; for us it is a next layer.
            prop_assume!(bytes.get(9) != Some(&51));
            let ours = Packet::new_checked(&bytes);
            let theirs = etherparse::Ipv4Slice::from_slice(&bytes).ok();
            let end = theirs.as_ref().map_or(0, |theirs| {
                let header = theirs.header();
                let offset = usize::from(header.fragments_offset().value()) * 8;
                if theirs.is_payload_fragmented() { offset + usize::from(header.total_len()) } else { 0 }
            });
            prop_assert_eq!(ours.is_some(), theirs.is_some() && end <= MAXIMUM_BYTES);
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                let header = theirs.header();
                prop_assert_eq!(ours.source(), header.source_addr());
                prop_assert_eq!(ours.destination(), header.destination_addr());
                prop_assert_eq!(ours.protocol(), header.protocol().0);
                prop_assert_eq!(ours.tos(), header.dcp().value() << 2 | header.ecn().value());
                prop_assert_eq!(ours.ttl(), header.ttl());
                prop_assert_eq!(ours.identification(), header.identification());
                prop_assert_eq!(ours.dont_fragment(), header.dont_fragment());
                prop_assert_eq!(ours.fragment().is_some(), theirs.is_payload_fragmented());
                prop_assert_eq!(ours.header_bytes(), header.slice().len());
                prop_assert_eq!(ours.checksum_is_right(),
                    header.to_header().calc_header_checksum() == header.header_checksum());
                prop_assert_eq!(ours.payload(), theirs.payload().payload);
            }
        }
    }
}
