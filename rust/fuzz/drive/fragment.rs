//! What must hold for any packet that is cut: every piece fits, and in order they are the packet again.
//! No waiting for pieces may enter: `wire::fragment` has none.
//! Answers to: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 6946; row 6 of the bugs of others.

use sallet_core::wire::fragment::{Piece, join, split};
use sallet_core::wire::ip::Summary;

use super::input::Input;

/// The first two bytes are the MTU, less 28; the rest is a packet.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let mtu = 28 + input.below(256);
    let packet = input.rest(usize::MAX);
    let Some(summary) = Summary::parse(packet) else {
        return false;
    };
    if let Some(piece) = Piece::new_checked(packet, &summary) {
        assert!(!piece.payload.is_empty());
        let parts = std::iter::once(piece.payload);
        if let Ok(whole) = join(piece.header, piece.next_header, parts, piece.payload.len()) {
            let whole = Summary::parse(whole.as_slice());
            assert!(whole.is_none_or(|whole| whole.fragment.is_none() || summary.source.is_ipv6()));
        }
    }
    cut(packet, &summary, mtu)
}

fn cut(packet: &[u8], summary: &Summary, mtu: usize) -> bool {
    let Ok(pieces) = split(packet, mtu, 0x0102_0304) else {
        return false;
    };
    let pieces: Vec<Vec<u8>> = pieces.map(|piece| piece.as_slice().to_vec()).collect();
    for piece in &pieces {
        assert!(piece.len() <= mtu);
    }
    let honest = |piece: &Vec<u8>| {
        let summary = Summary::parse(piece)?;
        assert_eq!(summary.total_bytes, piece.len());
        Piece::new_checked(piece, &summary).map(|piece| {
            (
                piece.fragment.offset_bytes,
                piece.header.to_vec(),
                piece.next_header,
                piece.payload.to_vec(),
            )
        })
    };
    // A fragment may be cut again; only whole packets can be put together from what was made here.
    if summary.fragment.is_some() || pieces.len() < 2 {
        return true;
    }
    let seen: Option<Vec<_>> = pieces.iter().map(honest).collect();
    // Headers behind the fragment header may be such that no piece shows where they end.
    let Some(seen) = seen else {
        return false;
    };
    let mut expected_offset = 0;
    for (offset, _, _, payload) in &seen {
        assert_eq!(usize::from(*offset), expected_offset);
        expected_offset += payload.len();
    }
    let (_, header, next_header, _) = &seen[0];
    let parts = seen.iter().map(|(_, _, _, payload)| payload.as_slice());
    let whole = join(header, *next_header, parts, expected_offset).expect("pieces of one packet");
    let (joined, from) = (whole.as_slice(), summary.total_bytes - expected_offset);
    if packet[0] >> 4 == 4 || joined.len() == summary.total_bytes {
        assert_eq!(joined.len(), summary.total_bytes);
        assert_eq!(joined[from..], packet[from..summary.total_bytes]);
    }
    true
}
