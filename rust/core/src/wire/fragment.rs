//! Fragments of either version: a packet cut into pieces, a piece taken apart, pieces put together.
//! No waiting, no limit on memory and no clock may enter: `engine::fragment` keeps what is incomplete.
//! Answers to: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 6946.

use super::ip::{self, Fragment, Summary};
use super::{ipv4, ipv6, protocol, u16_at};
use crate::buffer::PacketBuf;
use crate::error::DropReason;

/// The IPv6 fragment header.
const HEADER_BYTES: usize = 8;
/// Offsets count in units of eight bytes.
const UNIT: usize = 8;

/// A packet on its way into pieces, each a complete IP packet.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    first_header: Vec<u8>,
    later_header: Vec<u8>,
    /// What is cut.
    rest: &'a [u8],
    /// Where `rest` begins in the original payload.
    offset_bytes: usize,
    /// Whether the packet is itself a fragment that others follow.
    more: bool,
    mtu: usize,
    begun: bool,
}

/// Cuts `packet` into pieces of at most `mtu` bytes. The DF bit is copied, not judged.
///
/// `identification` is used where the packet brings none: IPv6, and IPv4 with an identification of zero.
///
/// # Errors
/// `OutMalformed` if it is no well-formed IP packet, `OutTooBig` if `mtu` leaves no room for eight bytes.
pub fn split(packet: &[u8], mtu: usize, identification: u32) -> Result<Split<'_>, DropReason> {
    let summary = Summary::parse(packet).ok_or(DropReason::OutMalformed)?;
    let whole = packet
        .get(..summary.total_bytes)
        .ok_or(DropReason::OutMalformed)?;
    let split = if summary.source.is_ipv4() {
        split_ipv4(whole, &summary, mtu, identification)
    } else {
        split_ipv6(whole, &summary, mtu, identification)
    };
    let split = split.ok_or(DropReason::OutMalformed)?;
    let longest = split.first_header.len().max(split.later_header.len());
    if longest + UNIT > mtu {
        return Err(DropReason::OutTooBig);
    }
    Ok(split)
}

//= https://www.rfc-editor.org/rfc/rfc791#section-3.2
//# every fragment has the header; options stand in later ones only if their copied flag is set
fn split_ipv4<'a>(whole: &'a [u8], summary: &Summary, mtu: usize, identification: u32) -> Option<Split<'a>> {
    let packet = ipv4::Packet::new_checked(whole)?;
    let (header, rest) = whole.split_at_checked(summary.header_bytes)?;
    let mut first_header = header.to_vec();
    if packet.identification() == 0 {
        let fresh = (identification & 0xffff) as u16;
        first_header
            .get_mut(4..6)?
            .copy_from_slice(&fresh.max(1).to_be_bytes());
    }
    let mut later_header = first_header.get(..ipv4::HEADER_BYTES)?.to_vec();
    for (kind, data) in packet.options().filter(|(kind, _)| kind & 0x80 != 0) {
        later_header.push(kind);
        later_header.push(u8::try_from(data.len() + 2).ok()?);
        later_header.extend_from_slice(data);
    }
    later_header.resize(later_header.len().next_multiple_of(4), 0);
    *later_header.first_mut()? = 0x40 | u8::try_from(later_header.len() / 4).ok()?;
    Some(Split {
        first_header,
        later_header,
        rest,
        offset_bytes: summary
            .fragment
            .map_or(0, |fragment| usize::from(fragment.offset_bytes)),
        more: summary.fragment.is_some_and(|fragment| fragment.more),
        mtu,
        begun: false,
    })
}

//= https://www.rfc-editor.org/rfc/rfc8200#section-4.5
//# the headers up to and including the routing header stand in every fragment, the fragment header behind them
fn split_ipv6<'a>(whole: &'a [u8], summary: &Summary, mtu: usize, identification: u32) -> Option<Split<'a>> {
    // A packet that has a fragment header already keeps it: it is a fragment itself, or an atomic one.
    let (mut header, fragment, rest_at) = match Piece::of_ipv6(whole, summary) {
        Some(piece) => {
            let rest_at = piece.header.len() + HEADER_BYTES;
            (whole.get(..rest_at)?.to_vec(), piece.fragment, rest_at)
        }
        None => {
            let mut header = whole.get(..summary.transport_at)?.to_vec();
            ip::replace_payload(&mut header, summary.transport_at, protocol::FRAGMENT).ok()?;
            header.extend_from_slice(&[summary.transport_next_header, 0, 0, 0]);
            header.extend_from_slice(&identification.to_be_bytes());
            let fragment = Fragment {
                offset_bytes: 0,
                more: false,
                id: identification,
            };
            (header, fragment, summary.transport_at)
        }
    };
    // The reserved byte is zero in what is made here.
    let reserved_at = header.len() - HEADER_BYTES + 1;
    *header.get_mut(reserved_at)? = 0;
    let rest = whole.get(rest_at..)?;
    Some(Split {
        first_header: header.clone(),
        later_header: header,
        rest,
        offset_bytes: usize::from(fragment.offset_bytes),
        more: fragment.more,
        mtu,
        begun: false,
    })
}

impl Iterator for Split<'_> {
    type Item = PacketBuf;

    fn next(&mut self) -> Option<PacketBuf> {
        if self.begun && self.rest.is_empty() {
            return None;
        }
        let header = if self.begun {
            &self.later_header
        } else {
            &self.first_header
        };
        self.begun = true;
        let room = self.mtu - header.len();
        let bytes = if self.rest.len() <= room {
            self.rest.len()
        } else {
            room / UNIT * UNIT
        };
        let (chunk, rest) = self.rest.split_at_checked(bytes)?;
        let mut piece = PacketBuf::with_capacity(header.len() + chunk.len());
        let room = piece.writable();
        room.get_mut(..header.len())?.copy_from_slice(header);
        room.get_mut(header.len()..)?
            .get_mut(..chunk.len())?
            .copy_from_slice(chunk);
        piece.set_len(header.len() + chunk.len());
        let more = self.more || !rest.is_empty();
        let offset_bytes = u16::try_from(self.offset_bytes).ok()?;
        place(piece.as_mut_slice(), header.len(), offset_bytes, more)?;
        (self.rest, self.offset_bytes) = (rest, self.offset_bytes + bytes);
        Some(piece)
    }
}

/// Writes offset and flag, and the length of the slice; `header_bytes` includes the IPv6 fragment header.
fn place(packet: &mut [u8], header_bytes: usize, offset_bytes: u16, more: bool) -> Option<()> {
    if ip::version(packet)? == 4 {
        ipv4::place_fragment(packet, header_bytes, offset_bytes, more)
    } else {
        let field = offset_bytes | u16::from(more);
        let at = header_bytes - HEADER_BYTES + 2;
        packet.get_mut(at..at + 2)?.copy_from_slice(&field.to_be_bytes());
        let payload = u16::try_from(packet.len() - ipv6::HEADER_BYTES).ok()?;
        packet.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
        Some(())
    }
}

/// One fragment taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Where it belongs.
    pub fragment: Fragment,
    /// What stands in front of the original packet's cut part, without the IPv6 fragment header.
    pub header: &'a [u8],
    /// The protocol of the cut part's first byte.
    pub next_header: u8,
    /// What this fragment brings of the cut part.
    pub payload: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Sees a packet as a fragment; `None` for a whole packet, and for one that no honest sender makes: an empty
    /// one, or one that others follow and whose length is no multiple of eight.
    //= https://www.rfc-editor.org/rfc/rfc8200#section-4.5
    //# a fragment that others follow has a length that is a multiple of 8, or is discarded
    #[must_use]
    pub fn new_checked(packet: &'a [u8], summary: &Summary) -> Option<Self> {
        let whole = packet.get(..summary.total_bytes)?;
        let fragment = summary.fragment?;
        let piece = if summary.source.is_ipv4() {
            Self {
                fragment,
                header: whole.get(..summary.header_bytes)?,
                next_header: summary.next_layer,
                payload: whole.get(summary.header_bytes..)?,
            }
        } else {
            Self::of_ipv6(whole, summary)?
        };
        let honest = !piece.payload.is_empty() && (!fragment.more || piece.payload.len() % UNIT == 0);
        honest.then_some(piece)
    }

    /// Finds the fragment header of an IPv6 packet, an atomic one included.
    fn of_ipv6(whole: &'a [u8], summary: &Summary) -> Option<Self> {
        let packet = ipv6::Packet::new_checked(whole)?;
        let header = packet
            .extension_headers()
            .take_while(|header| header.at < summary.payload_at)
            .find(|header| header.protocol == protocol::FRAGMENT)?;
        let id = whole.get(header.at + 4..)?.first_chunk::<4>()?;
        let atomic = Fragment {
            offset_bytes: 0,
            more: false,
            id: u32::from_be_bytes(*id),
        };
        Some(Self {
            fragment: summary.fragment.unwrap_or(atomic),
            header: whole.get(..header.at)?,
            next_header: *whole.get(header.at)?,
            payload: whole.get(header.at + HEADER_BYTES..)?,
        })
    }
}

/// Puts a packet together: the first piece's header, then the parts in order.
///
/// # Errors
/// `InMalformed` if the result is longer than any packet, or the header is none.
pub fn join<'a>(
    header: &[u8],
    next_header: u8,
    parts: impl Iterator<Item = &'a [u8]>,
    payload_bytes: usize,
) -> Result<PacketBuf, DropReason> {
    let mut packet = PacketBuf::with_capacity(header.len() + payload_bytes);
    let joined = fill(&mut packet, header, next_header, parts, payload_bytes);
    joined.map(|()| packet).ok_or(DropReason::InMalformed)
}

fn fill<'a>(
    packet: &mut PacketBuf,
    header: &[u8],
    next_header: u8,
    parts: impl Iterator<Item = &'a [u8]>,
    payload_bytes: usize,
) -> Option<()> {
    let room = packet.writable();
    room.get_mut(..header.len())?.copy_from_slice(header);
    let mut at = header.len();
    for part in parts {
        room.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    if at != header.len() + payload_bytes {
        return None;
    }
    packet.set_len(at);
    let bytes = packet.as_mut_slice();
    if ip::version(bytes)? == 4 {
        // Flags are cleared first: `replace_payload` leaves them.
        ipv4::place_fragment(bytes, header.len(), 0, false)?;
    }
    ip::replace_payload(bytes, header.len(), next_header).ok()
}

/// Gives an IPv4 packet with the identification zero a fresh one; the checksum follows.
///
/// Zero is legal for a packet that is never cut, but a raw socket would put its own number there (raw(7)), behind
/// the back of an ICV that covers it, and pieces need one.
pub fn ensure_identification(packet: &mut [u8], fresh: u16) {
    if ip::version(packet) == Some(4) && u16_at(packet, 4) == Some(0) {
        // A header that is too short to hold one stays as it is.
        let _done = ipv4::replace_word(packet, 4, |_| fresh.max(1).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captured;
    use proptest::prelude::*;

    fn pieces(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let split = split(packet, mtu, 0x0102_0304).unwrap();
        split.map(|piece| piece.as_slice().to_vec()).collect()
    }

    /// Joins pieces that come in order.
    fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
        let seen: Vec<_> = pieces
            .iter()
            .map(|piece| {
                let summary = Summary::parse(piece).unwrap();
                assert_eq!(summary.total_bytes, piece.len());
                Piece::new_checked(piece, &summary).unwrap()
            })
            .collect();
        let mut end = 0;
        for (index, piece) in seen.iter().enumerate() {
            assert_eq!(usize::from(piece.fragment.offset_bytes), end);
            assert_eq!(piece.fragment.more, index + 1 < seen.len());
            assert_eq!(piece.fragment.id, seen[0].fragment.id);
            end += piece.payload.len();
        }
        let parts = seen.iter().map(|piece| piece.payload);
        let whole = join(seen[0].header, seen[0].next_header, parts, end).unwrap();
        whole.as_slice().to_vec()
    }

    fn long(source: &str, destination: &str, bytes: usize) -> Vec<u8> {
        let payload: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        ip::packet(
            source.parse().unwrap(),
            destination.parse().unwrap(),
            protocol::SCTP,
            &payload,
        )
        .unwrap()
    }

    //= https://www.rfc-editor.org/rfc/rfc791#section-3.2
    //# pieces fit the MTU, their offsets count in eights, and together they are the packet
    #[test]
    fn every_mtu_cuts_and_joins() {
        for (source, destination, least) in
            [("192.0.2.1", "192.0.2.2", 28), ("2001:db8::1", "2001:db8::2", 56)]
        {
            for bytes in [0, 1, 8, 9, 400, 1000] {
                let mut packet = long(source, destination, bytes);
                ensure_identification(&mut packet, 7);
                for mtu in least..packet.len() {
                    let pieces = pieces(&packet, mtu);
                    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= mtu));
                    assert_eq!(joined(&pieces), packet);
                }
            }
            let packet = long(source, destination, 100);
            assert_eq!(split(&packet, least - 1, 1).unwrap_err(), DropReason::OutTooBig);
        }
        assert_eq!(split(&[], 1500, 1).unwrap_err(), DropReason::OutMalformed);
    }

    #[test]
    fn every_captured_packet_survives() {
        for packet in captured::ALL {
            let summary = Summary::parse(packet).unwrap();
            if summary.fragment.is_some() {
                continue;
            }
            for mtu in summary.payload_at + 16..packet.len() {
                let whole = joined(&pieces(packet, mtu));
                assert_eq!(whole.len(), packet.len());
                assert_eq!(
                    whole[summary.payload_at..],
                    packet[summary.payload_at..],
                    "the options of later pieces do not come back, those of the first do"
                );
                assert_eq!(Summary::parse(&whole), Some(summary));
            }
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc791#section-3.1
    //# options with the copied flag stand in every fragment, the others in the first only
    #[test]
    fn options_are_copied_by_their_flag() {
        // Router alert (148) has the flag, timestamp (68) has not.
        let pieces = pieces(captured::IPV4_UDP_WITH_OPTIONS, 48);
        let kinds = |piece: &[u8]| -> Vec<u8> {
            let packet = ipv4::Packet::new_checked(piece).unwrap();
            assert!(packet.checksum_is_right());
            packet.options().map(|(kind, _)| kind).collect()
        };
        assert_eq!(kinds(&pieces[0]), [148, 68]);
        assert!(pieces.len() > 1);
        for later in &pieces[1..] {
            assert_eq!(kinds(later), [148]);
        }
    }

    #[test]
    fn a_fragment_is_cut_again() {
        for packet in [
            captured::IPV4_FRAGMENT_FIRST,
            captured::IPV4_FRAGMENT_LAST,
            captured::IPV6_FRAGMENT_FIRST,
            captured::IPV6_FRAGMENT_LAST,
            captured::IPV6_FRAGMENT_FIRST_BEHIND_OPTIONS,
        ] {
            let summary = Summary::parse(packet).unwrap();
            let before = Piece::new_checked(packet, &summary).unwrap();
            let mut at = usize::from(before.fragment.offset_bytes);
            let pieces = pieces(packet, packet.len().div_ceil(2).max(64));
            for (index, bytes) in pieces.iter().enumerate() {
                let summary = Summary::parse(bytes).unwrap();
                let piece = Piece::new_checked(bytes, &summary).unwrap();
                let last = index + 1 == pieces.len();
                assert_eq!(usize::from(piece.fragment.offset_bytes), at);
                assert_eq!(piece.fragment.more, before.fragment.more || !last);
                assert_eq!(piece.fragment.id, before.fragment.id);
                at += piece.payload.len();
            }
        }
    }

    #[test]
    fn an_atomic_fragment_keeps_its_header() {
        let mut packet = pieces(&long("2001:db8::1", "2001:db8::2", 64), 1280).remove(0);
        // It did not have to be cut, and is what RFC 6946 calls atomic.
        let summary = Summary::parse(&packet).unwrap();
        assert_eq!((summary.fragment, summary.transport_at), (None, 48));
        packet[41] = 0xff;
        let pieces = pieces(&packet, 80);
        assert!(pieces.iter().all(|piece| piece[6] == 44 && piece[41] == 0));
        assert_eq!(joined(&pieces), long("2001:db8::1", "2001:db8::2", 64));
    }

    //= https://www.rfc-editor.org/rfc/rfc8200#section-4.5
    //# a fragment that others follow has a length that is a multiple of 8, or is discarded
    #[test]
    fn dishonest_pieces_are_none() {
        let mut cut = captured::IPV4_FRAGMENT_FIRST.to_vec();
        cut.pop();
        let total = u16::try_from(cut.len()).unwrap();
        cut[2..4].copy_from_slice(&total.to_be_bytes());
        let summary = Summary::parse(&cut).unwrap();
        assert!(Piece::new_checked(&cut, &summary).is_none());
        let mut empty = captured::IPV4_FRAGMENT_LAST[..20].to_vec();
        empty[2..4].copy_from_slice(&20_u16.to_be_bytes());
        let summary = Summary::parse(&empty).unwrap();
        assert!(summary.fragment.is_some() && Piece::new_checked(&empty, &summary).is_none());
        let summary = Summary::parse(captured::IPV4_UDP).unwrap();
        assert!(Piece::new_checked(captured::IPV4_UDP, &summary).is_none());
    }

    #[test]
    fn what_does_not_fit_is_not_joined() {
        let header = &captured::IPV4_UDP[..20];
        let half = [0; 40_000];
        for (parts, bytes) in [(2, 80_000), (1, 39_999), (1, 40_001)] {
            let joined = join(header, 17, std::iter::repeat_n(&half[..], parts), bytes);
            assert_eq!(joined.unwrap_err(), DropReason::InMalformed);
        }
        assert!(join(&[], 17, core::iter::empty(), 0).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(
            mut bytes in proptest::sample::select(captured::ALL).prop_map(<[u8]>::to_vec),
            change in proptest::collection::vec((0usize..120, any::<u8>()), 0..4),
            mtu in 0usize..200,
        ) {
            for (at, value) in change {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if let Ok(split) = split(&bytes, mtu, 9) {
                for piece in split.take(10_000) {
                    prop_assert!(piece.len() <= mtu && Summary::parse(piece.as_slice()).is_some());
                }
            }
            if let Some(summary) = Summary::parse(&bytes) {
                let _seen = Piece::new_checked(&bytes, &summary);
            }
        }
    }
}
