//! The ESP trailer: padding 1, 2, 3, …, its length and the next header.
//! No key and no header may enter.
//! Answers to: RFC 4303 section 2.4 (padding), section 2.5 (pad length), section 2.6 (next header).

/// Pad length and next header.
pub(super) const TRAILER_BYTES: usize = 2;
/// Pad length and next header end on a boundary of this, whatever the cipher.
const ESP_ALIGNMENT: usize = 4;

/// What a cipher's block and ESP's own rule come to; both are powers of two.
//= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
//# the ciphertext ends on a 4-byte boundary, also where the cipher has no block
pub(super) const fn alignment(block_bytes: usize) -> usize {
    if block_bytes > ESP_ALIGNMENT {
        block_bytes
    } else {
        ESP_ALIGNMENT
    }
}

/// Bytes of a payload with its trailer.
pub(super) const fn padded_bytes(payload: usize, alignment: usize) -> usize {
    (payload + TRAILER_BYTES).next_multiple_of(alignment)
}

/// Writes the trailer into the bytes behind a payload: as many pad bytes as there is room for.
///
/// There are at least two bytes and less than 258, since alignments end at 256.
//= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
//# where the cipher asks for nothing else, pad bytes are 1, 2, 3, …
pub(super) fn emit(trailer: &mut [u8], next_header: u8) {
    let Some((pad, [length, next])) = trailer.split_last_chunk_mut::<TRAILER_BYTES>() else {
        return;
    };
    let mut count = 0_u8;
    for byte in pad {
        count = count.wrapping_add(1);
        *byte = count;
    }
    *length = count;
    *next = next_header;
}

/// Reads the trailer: how long the payload is, and what it is. `None` if the padding is not right.
///
/// All pad bytes are looked at before an answer, so that time says no more than the answer does; in the old
/// format they may be anything.
//= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
//# the receiver looks at the padding
//= https://www.rfc-editor.org/rfc/rfc1829#section-2
//# pad bytes have no particular value
pub(super) fn parse(text: &[u8], anything: bool) -> Option<(usize, u8)> {
    let (before, [length, next_header]) = text.split_last_chunk::<TRAILER_BYTES>()?;
    let payload = before.len().checked_sub(usize::from(*length))?;
    let wrong = before[payload..]
        .iter()
        .zip(1_u8..=255)
        .fold(0, |wrong, (byte, expected)| wrong | (byte ^ expected));
    (wrong == 0 || anything).then_some((payload, *next_header))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
    //# where the cipher asks for nothing else, pad bytes are 1, 2, 3, …
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
    //# the ciphertext ends on a 4-byte boundary, also where the cipher has no block
    #[test]
    fn what_is_written_is_read() {
        for alignment in [alignment(1), alignment(8), alignment(16), 256] {
            for payload in 0..600 {
                let whole = padded_bytes(payload, alignment);
                assert_eq!(whole % alignment, 0);
                assert!(whole % 4 == 0 && whole >= payload + 2 && whole < payload + 2 + alignment);
                let mut text = vec![0xee; whole];
                emit(&mut text[payload..], 17);
                assert_eq!(parse(&text, false), Some((payload, 17)));
            }
        }
    }

    #[test]
    fn the_bytes_of_a_trailer() {
        let mut trailer = [0; 6];
        emit(&mut trailer, 59);
        assert_eq!(trailer, [1, 2, 3, 4, 4, 59]);
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
    //# the receiver looks at the padding
    #[test]
    fn wrong_padding_is_no_payload() {
        assert_eq!(parse(&[], false), None);
        assert_eq!(parse(&[0], false), None);
        assert_eq!(parse(&[0, 6], false), Some((0, 6)));
        assert_eq!(parse(&[9, 1, 6], false), None);
        assert_eq!(parse(&[1, 1, 6], false), Some((0, 6)));
        assert_eq!(parse(&[1, 2, 6], false), None, "longer than the text");
        assert_eq!(parse(&[9, 1, 6], true), Some((0, 6)));
        assert_eq!(parse(&[1, 2, 6], true), None, "longer than the text");
        for spoiled in 0..255 {
            let mut text = [0; 257];
            emit(&mut text, 4);
            assert_eq!(parse(&text, false), Some((0, 4)));
            text[spoiled] ^= 0x10;
            assert_eq!(parse(&text, false), None, "{spoiled}");
        }
    }
}
