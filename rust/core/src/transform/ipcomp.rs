//! IPComp on one packet: compressed where that helps and left as it is where not; inflated within bounds.
//! No SA state beyond the back-off (window, lifetime, counter) may enter; the stream's format is `crypto`'s.
//! Answers to: RFC 3173 sections 2 and 3, RFC 2394 (DEFLATE, and which payloads are too small to try).

use core::sync::atomic::{AtomicU16, Ordering};

use super::Order;
use crate::buffer::PacketBuf;
use crate::crypto::compress::{Deflate, Flaw};
use crate::error::{DropReason, Error};
use crate::terms::{Cpi, Spi};
use crate::wire::ipcomp::{HEADER_BYTES, Packet, Repr};
use crate::wire::{ipv4, ipv6, protocol};

/// So many payloads in a row that would not shrink make an SA stop trying for a while.
const FAILURES_IN_A_ROW: u16 = 4;

/// Which payloads are worth a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpCompRules {
    /// Shorter than this is sent as it is.
    pub threshold_bytes: u16,
    /// Whether the threshold is for the whole packet with its headers, and not for the payload alone.
    pub threshold_counts_headers: bool,
    /// So many packets are sent as they are after several in a row that would not shrink; 0 is always trying.
    pub back_off_packets: u16,
}

impl Default for IpCompRules {
    //= https://www.rfc-editor.org/rfc/rfc2394#section-3
    //# payloads below some 90 bytes hardly shrink and should not be tried
    fn default() -> Self {
        Self {
            threshold_bytes: 90,
            threshold_counts_headers: false,
            back_off_packets: 16,
        }
    }
}

/// Why a packet was left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plain {
    /// It is below the threshold.
    Small,
    /// With its header it would not be shorter.
    Useless,
    /// The last ones would not shrink, so this one was not tried.
    BackedOff,
    /// Something in it is compressed already.
    Nested,
}

impl Plain {
    /// The reason in a few words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Small => "below the threshold",
            Self::Useless => "it would not get shorter",
            Self::BackedOff => "not tried after several that would not get shorter",
            Self::Nested => "compressed already",
        }
    }
}

/// What IPComp needs to know of one SA.
#[derive(Debug)]
pub struct IpComp {
    cpi: Cpi,
    /// Payloads in a row that would not shrink; counts no further than it matters.
    failures: AtomicU16,
    /// Packets yet to be left alone.
    to_skip: AtomicU16,
}

impl IpComp {
    /// Settles the CPI that goes on the wire: the SPI's low half with `raw`, else DEFLATE's well-known one.
    ///
    /// # Errors
    /// `InvalidSpi` for an SPI above 16 bits without `raw`, and for one whose low half is no CPI or means
    /// another algorithm with it.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
    //# CPIs 0 to 63 name well-known algorithms, which need no further agreement
    pub fn new(spi: Spi, raw: bool) -> Result<Self, Error> {
        let own = Cpi::of_low_half(spi);
        let cpi = if raw {
            Some(own).filter(|cpi| *cpi == Cpi::DEFLATE || !cpi.is_well_known())
        } else {
            u16::try_from(spi.0).ok().map(|_| Cpi::DEFLATE)
        };
        Ok(Self {
            cpi: cpi.ok_or(Error::InvalidSpi)?,
            failures: AtomicU16::new(0),
            to_skip: AtomicU16::new(0),
        })
    }

    /// Compresses what stands at `order.at`, if that makes the packet shorter; else changes nothing.
    ///
    /// # Errors
    /// `NoBuffer` if `order.at` is not in the packet.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
    //# if header and compressed payload are not shorter than the payload, the packet is sent as it was, without header
    pub(super) fn seal(
        &self,
        order: &Order,
        deflate: &mut Deflate,
        packet: &mut PacketBuf,
    ) -> Result<Option<Plain>, DropReason> {
        let payload = packet.as_slice().get(order.at..).ok_or(DropReason::NoBuffer)?;
        let Some(rules) = order
            .compression
            .filter(|_| order.next_header != protocol::IPCOMP)
        else {
            return Ok(Some(Plain::Nested));
        };
        if measured_bytes(payload.len(), order, rules) < usize::from(rules.threshold_bytes) {
            return Ok(Some(Plain::Small));
        }
        if self.skips() {
            return Ok(Some(Plain::BackedOff));
        }
        let compressed = payload
            .len()
            .checked_sub(HEADER_BYTES + 1)
            .and_then(|longest| deflate.deflate(payload, longest));
        let Some(compressed) = compressed else {
            self.note_failure(rules);
            return Ok(Some(Plain::Useless));
        };
        self.failures.store(0, Ordering::Relaxed);
        let sealed_bytes = HEADER_BYTES + compressed.len();
        packet.truncate(order.at + sealed_bytes);
        let (header, room) = packet.as_mut_slice()[order.at..].split_at_mut(HEADER_BYTES);
        room.copy_from_slice(compressed);
        let repr = Repr {
            next_header: order.next_header,
            cpi: self.cpi,
        };
        repr.emit(header)?;
        Ok(None)
    }

    /// Inflates what stands at `at` and returns what it is; the packet may end up in a longer buffer.
    ///
    /// # Errors
    /// `BadCompression` if it is no whole DEFLATE stream, `InflatesTooFar` if no IP packet could hold what comes
    /// out; the packet is as before then.
    pub(super) fn open(
        &self,
        at: usize,
        deflate: &mut Deflate,
        packet: &mut PacketBuf,
    ) -> Result<u8, DropReason> {
        let bytes = packet.as_slice().get(at..).ok_or(DropReason::InMalformed)?;
        let view = Packet::new_checked(bytes)?;
        let longest = ipv4::MAXIMUM_BYTES.saturating_sub(at);
        let next_header = view.next_header();
        let inflated = deflate
            .inflate(view.payload(), longest)
            .map_err(|flaw| match flaw {
                Flaw::Corrupt => DropReason::BadCompression,
                Flaw::TooLong => DropReason::InflatesTooFar,
            })?;
        packet.replace_back(at, inflated)?;
        Ok(next_header)
    }

    /// Whether this packet is one of those to leave alone.
    fn skips(&self) -> bool {
        let one_less = |left: u16| left.checked_sub(1);
        self.to_skip
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }

    //= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
    //# a node may stop compressing for a time when payloads turn out not to shrink
    fn note_failure(&self, rules: IpCompRules) {
        // Two threads may count one too few: then one more payload is tried.
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        self.failures
            .store(failures.min(FAILURES_IN_A_ROW), Ordering::Relaxed);
        if failures >= FAILURES_IN_A_ROW {
            self.to_skip.store(rules.back_off_packets, Ordering::Relaxed);
        }
    }
}

/// What the threshold is compared with.
fn measured_bytes(payload_bytes: usize, order: &Order, rules: IpCompRules) -> usize {
    let headers = match (rules.threshold_counts_headers, order.at) {
        (false, _) => 0,
        // In front of a whole packet, the outer header is yet to come.
        (true, 0) if order.ipv6 => ipv6::HEADER_BYTES,
        (true, 0) => ipv4::HEADER_BYTES,
        (true, at) => at,
    };
    headers + payload_bytes
}
