//! One packet and one SA's keys: seal and open, tunnel headers; `Transform` is whichever of them an SA has.
//! No database, no policy and no clock may enter.
//! Answers to: RFC 4302 (AH), RFC 4303 (ESP), RFC 3173 (IPComp), RFC 4301 section 5.1.2 and RFC 6040 (tunnel headers).

pub mod ah;
pub mod esp;
pub mod ipcomp;
mod mutable;
mod padding;
pub mod tunnel;

pub use ipcomp::{IpComp, IpCompRules, Plain};
pub use mutable::AhRules;

use ah::Ah;
use esp::Esp;

use crate::buffer::PacketBuf;
use crate::crypto::compress::Deflate;
use crate::crypto::iv::IvGenerator;
use crate::error::DropReason;
use crate::terms::{Protocol, Sequence, Spi};
use crate::wire;

/// What one SA does to a packet.
#[derive(Debug)]
pub enum Transform {
    /// Encryption and integrity of the payload.
    Esp(Esp),
    /// Integrity of headers and payload.
    Ah(Ah),
    /// A shorter payload, where that is possible.
    IpComp(IpComp),
}

/// What outlives a packet and belongs to no SA: one thread has it to itself.
pub struct Tools {
    /// Where IVs come from.
    pub ivs: IvGenerator,
    /// Tables and room for compression.
    pub deflate: Deflate,
}

/// What sealing made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// A header of this protocol stands where the payload began.
    Behind(Protocol),
    /// Nothing was changed: the payload travels as it is, without header.
    Plain(Plain),
}

/// Where and with which numbers a packet is sealed.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The first byte of what is protected: 0 for a whole packet that gets an outer header next.
    pub at: usize,
    /// The protocol of what stands at `at`.
    pub next_header: u8,
    /// The packet's sequence number.
    pub sequence: Sequence,
    /// A number that no packet with this key had before.
    pub iv_counter: u64,
    /// Whether the header in front of `at` is, or will be, IPv6.
    pub ipv6: bool,
    /// How AH is done.
    pub rules: AhRules,
    /// What IPComp tries; `None` once something in the packet is compressed: one level is all there is.
    pub compression: Option<IpCompRules>,
}

impl Transform {
    /// Puts the protocol's header at `order.at`, and says which stands there now.
    ///
    /// The headers in front still say what stood there before: the caller corrects them, or puts an outer
    /// header there, and then calls [`Transform::finish`].
    ///
    /// # Errors
    /// As the protocol's own `seal`; the packet must not be sent then.
    pub fn seal(
        &self,
        order: &Order,
        tools: &mut Tools,
        packet: &mut PacketBuf,
    ) -> Result<Sealed, DropReason> {
        match self {
            Self::Esp(esp) => {
                let (at, next_header, ivs) = (order.at, order.next_header, &mut tools.ivs);
                esp.seal(at, next_header, order.sequence, order.iv_counter, ivs, packet)?;
                Ok(Sealed::Behind(Protocol::Esp))
            }
            Self::Ah(ah) => {
                ah.insert(order, &mut tools.ivs, packet)?;
                Ok(Sealed::Behind(Protocol::Ah))
            }
            Self::IpComp(ipcomp) => {
                let plain = ipcomp.seal(order, &mut tools.deflate, packet)?;
                Ok(plain.map_or(Sealed::Behind(Protocol::IpComp), Sealed::Plain))
            }
        }
    }

    /// Does what can only be done once every header in front is as it will be sent; `at` is where the
    /// protocol's header stands now.
    ///
    /// # Errors
    /// As [`Ah::sign`]; the packet must not be sent then.
    pub fn finish(&self, at: usize, order: &Order, packet: &mut PacketBuf) -> Result<(), DropReason> {
        match self {
            // The ICV does not cover what stands in front, or there is none.
            Self::Esp(_) | Self::IpComp(_) => Ok(()),
            Self::Ah(ah) => ah.sign(at, order.sequence, order.rules, packet),
        }
    }

    /// Checks and takes away the protocol's header at `at` and returns the next header; what stands in front
    /// is not changed.
    ///
    /// # Errors
    /// As the protocol's own `open`; the packet must go no further then.
    pub fn open(
        &self,
        at: usize,
        sequence: Sequence,
        rules: AhRules,
        tools: &mut Tools,
        packet: &mut PacketBuf,
    ) -> Result<u8, DropReason> {
        match self {
            Self::Esp(esp) => esp.open(at, sequence, packet),
            Self::Ah(ah) => ah.open(at, sequence, rules, packet),
            Self::IpComp(ipcomp) => ipcomp.open(at, &mut tools.deflate, packet),
        }
    }

    /// How long a payload of that many bytes becomes at most, without headers in front.
    #[must_use]
    pub const fn sealed_bytes(&self, payload: usize, ipv6: bool, rules: AhRules) -> usize {
        match self {
            Self::Esp(esp) => esp.sealed_bytes(payload),
            Self::Ah(ah) => ah.header_bytes(ipv6, rules) + payload,
            Self::IpComp(_) => payload,
        }
    }

    /// Whether a changed packet is noticed. Anti-replay means nothing without it.
    #[must_use]
    pub const fn has_integrity(&self) -> bool {
        match self {
            Self::Esp(esp) => esp.suite().has_integrity(),
            Self::Ah(ah) => ah.has_integrity(),
            Self::IpComp(_) => false,
        }
    }

    /// Whether its ICV covers the headers in front, so that nobody may complete them later.
    #[must_use]
    pub const fn covers_headers(&self) -> bool {
        matches!(self, Self::Ah(_))
    }

    /// Whether its packets carry sequence numbers.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        match self {
            Self::Esp(esp) => esp.is_numbered(),
            Self::Ah(ah) => ah.is_numbered(),
            Self::IpComp(_) => false,
        }
    }
}

/// What an IPsec header says before any SA is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The SPI, or the CPI.
    pub spi: Spi,
    /// The sequence number's low half, where the format has one.
    pub sequence_low: u32,
    /// The protocol of what follows, where the header says it.
    pub next_header: Option<u8>,
}

impl Arrival {
    /// Reads the header of `protocol` at the beginning of `bytes`.
    ///
    /// # Errors
    /// `InMalformed` if it is cut short; `InNoSa` for SPI 0 and CPI 0.
    pub fn read(protocol: Protocol, bytes: &[u8]) -> Result<Self, DropReason> {
        match protocol {
            Protocol::Esp => {
                let esp = wire::esp::Packet::new_checked(bytes)?;
                Ok(Self {
                    spi: esp.spi(),
                    sequence_low: esp.sequence_low(),
                    next_header: None,
                })
            }
            Protocol::Ah => {
                let ah = wire::ah::Packet::new_checked(bytes)?;
                Ok(Self {
                    spi: ah.spi(),
                    sequence_low: ah.sequence_low(),
                    next_header: Some(ah.next_header()),
                })
            }
            Protocol::IpComp => {
                let ipcomp = wire::ipcomp::Packet::new_checked(bytes)?;
                Ok(Self {
                    spi: Spi(u32::from(ipcomp.cpi().0)),
                    sequence_low: 0,
                    next_header: Some(ipcomp.next_header()),
                })
            }
        }
    }
}
