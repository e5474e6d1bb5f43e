//! Too-big answers: how long a packet may be before it is sealed, and the ICMP error that says so.
//! No ICMP layout may enter: `wire::icmp` knows it.
//! Answers to: RFC 4301 section 8.2.1, RFC 1191 section 4, RFC 4443 section 3.2.

use crate::buffer::PacketBuf;
use crate::wire::icmp;
use crate::wire::ip::Summary;

/// The greatest length below `bytes` that fits, 0 if none does. Sealing never makes a longer packet shorter.
pub(super) fn largest_that_fits(bytes: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, bytes);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// The error for the sender of `original`; `None` where none may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4).
pub(super) fn too_big_answer(original: &[u8], mtu: usize, summary: &Summary) -> Option<PacketBuf> {
    // The answer speaks as the packet's destination: a host refuses packets that come from its own addresses,
    // and the tunnel's end may be of the other family.
    let mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
    icmp::too_big(original, mtu, summary.destination).map(|answer| PacketBuf::from_packet(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found_on_every_step() {
        for step in 1..20_usize {
            for limit in 0..200_usize {
                let sealed = |bytes: usize| bytes.div_ceil(step) * step + 30;
                let found = largest_that_fits(300, |bytes| sealed(bytes) <= limit);
                assert!(found == 0 || sealed(found) <= limit);
                assert!(sealed(found + 1) > limit);
            }
        }
    }
}
