//! The Internet checksum: over bytes, with a pseudo-header, and adjusted without reading the packet.
//! No format may enter: which bytes are summed is the caller's knowledge.
//! Answers to: RFC 1071, RFC 1624, RFC 8200 section 8.1.

use std::net::IpAddr;

/// A one's complement sum under way. Only the last part added may have an odd length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Starts from nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes, eight at a time.
    ///
    /// The halves are summed in the machine's own order; the sum commutes with a byte swap (RFC 1071 §2B),
    /// so that one swap at the end is enough.
    #[must_use]
    pub fn plus(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let mut eights = bytes.chunks_exact(8);
        for eight in &mut eights {
            let word = <[u8; 8]>::try_from(eight).map_or(0, u64::from_ne_bytes);
            sum += (word & 0xffff_ffff) + (word >> 32);
        }
        for two in eights.remainder().chunks(2) {
            let high = two.first().copied().unwrap_or(0);
            let low = two.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_ne_bytes([high, low]));
        }
        // Keeps the accumulator far from overflow, whatever is added later.
        Self((sum & 0xffff_ffff) + (sum >> 32))
    }

    /// Ends the sum: the value a checksum field must hold, or 0 over data that include a right checksum.
    #[must_use]
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // The loop leaves 16 bits, so nothing is cut off.
        !u16::from_be((sum & 0xffff) as u16)
    }
}

/// The checksum of `bytes` (whose own checksum field is zero), or 0 if they hold a right one.
#[must_use]
pub fn internet(bytes: &[u8]) -> u16 {
    Sum::new().plus(bytes).finish()
}

/// The sum of the pseudo-header of TCP, UDP and ICMPv6: addresses, length and protocol.
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, bytes: u32) -> Sum {
    let sum = add_address(add_address(Sum::new(), source), destination);
    // v4 has a 16-bit length and v6 a 32-bit one; the sum is the same.
    sum.plus(&bytes.to_be_bytes()).plus(&[0, protocol])
}

fn add_address(sum: Sum, address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(address) => sum.plus(&address.octets()),
        IpAddr::V6(address) => sum.plus(&address.octets()),
    }
}

/// The checksum of a whole `segment` under its pseudo-header, or 0 if it holds a right one.
#[must_use]
pub fn transport(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let bytes = u32::try_from(segment.len()).unwrap_or(u32::MAX);
    pseudo_header(source, destination, protocol, bytes)
        .plus(segment)
        .finish()
}

/// The checksum after one 16-bit field changed from `old` to `new`.
//= https://www.rfc-editor.org/rfc/rfc1624#section-3
//# The new checksum is the complement of: complement of the old one, plus complement of the old field, plus the new.
#[must_use]
pub fn adjust(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !((sum & 0xffff) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §3's own example.
    const EXAMPLE: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(internet(&EXAMPLE), !0xddf2);
    }

    #[test]
    fn nothing_sums_to_all_ones() {
        assert_eq!(internet(&[]), 0xffff);
    }

    #[test]
    fn largest_packet_of_ones_does_not_overflow() {
        assert_eq!(internet(&[0xff; 65_535]), slow(&[0xff; 65_535]));
    }

    proptest! {
        #[test]
        fn equals_the_slow_sum(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert_eq!(internet(&bytes), slow(&bytes));
        }

        #[test]
        fn parts_sum_as_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..512), cut in 0usize..256) {
            let (head, tail) = bytes.split_at((cut * 2).min(bytes.len() / 2 * 2));
            prop_assert_eq!(Sum::new().plus(head).plus(tail).finish(), slow(&bytes));
        }

        //= https://www.rfc-editor.org/rfc/rfc1624#section-3
        //# The adjusted checksum is the one that a full sum yields.
        #[test]
        fn adjusting_equals_summing_again(mut header in proptest::array::uniform20(any::<u8>()), new: u16) {
            // 0x45 keeps the header from being all zeros, the one case where the two zeros differ.
            header[0] = 0x45;
            let before = internet(&header);
            let old = u16::from_be_bytes([header[8], header[9]]);
            header[8..10].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(adjust(before, old, new), internet(&header));
        }
    }
}
