//! What can go wrong: `Error` for requests (control plane), `DropReason` for packets (data plane).
//! No text built from a peer's bytes and no errno may enter: numbers belong to the dialects.
//! Answers to: RFC 4301 section 9 (auditing), RFC 4303 section 3.4; one variant is one counter.

use core::fmt;

/// Why a request to the SAD or the SPD was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The same SA, SPI or SPD entry exists already.
    Exists,
    /// No such SA or SPD entry.
    NotFound,
    /// The SPI is 0, reserved where the personality refuses it, or does not fit the protocol.
    InvalidSpi,
    /// No SPI of the range asked for is free.
    SpiExhausted,
    /// The algorithm is not in the registry, or not for this protocol.
    UnknownAlgorithm {
        /// The name that was asked for.
        name: String,
    },
    /// The key has the wrong length; salts count.
    InvalidKeyLength {
        /// The registry name of the algorithm.
        algorithm: &'static str,
        /// The key's length, in bits.
        given_bits: usize,
        /// The lengths that would do, in bits, salt included.
        expected_bits: &'static [u16],
        /// So many of them, at the end, are the salt.
        salt_bits: u16,
    },
    /// The key has the right length, and is one of those that the algorithm's RFC refuses.
    WeakKey {
        /// The registry name of the algorithm.
        algorithm: &'static str,
    },
    /// The algorithm needs keys made for one SA alone, and nobody promised that they are.
    NotForManualKeys {
        /// The registry name of the algorithm.
        algorithm: &'static str,
    },
    /// These algorithms cannot be used together (NULL with no authentication, AEAD with a MAC, …).
    UnsupportedCombination,
    /// A request that the SA's state forbids (UPDATE of a dead SA, …).
    InvalidState,
    /// Addresses of different families, a range upside down, ports on a protocol without ports.
    InvalidSelector,
    /// A value outside its range; the name of the field says which.
    OutOfRange {
        /// The field.
        field: &'static str,
    },
    /// The engine was told to hold no more entries.
    Full,
}

impl Error {
    /// A stable word for programs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::NotFound => "not-found",
            Self::InvalidSpi => "invalid-spi",
            Self::SpiExhausted => "spi-exhausted",
            Self::UnknownAlgorithm { .. } => "unknown-algorithm",
            Self::InvalidKeyLength { .. } => "invalid-key-length",
            Self::WeakKey { .. } => "weak-key",
            Self::NotForManualKeys { .. } => "not-for-manual-keys",
            Self::UnsupportedCombination => "unsupported-combination",
            Self::InvalidState => "invalid-state",
            Self::InvalidSelector => "invalid-selector",
            Self::OutOfRange { .. } => "out-of-range",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("an entry with this identity exists already"),
            Self::NotFound => f.write_str("no such entry"),
            Self::InvalidSpi => f.write_str("this SPI cannot be used"),
            Self::SpiExhausted => f.write_str("no free SPI in the range asked for"),
            Self::UnknownAlgorithm { name } => write!(f, "{name}: not provided by sallet"),
            Self::InvalidKeyLength {
                algorithm,
                given_bits,
                expected_bits,
                salt_bits,
            } => {
                write!(f, "{algorithm}: the key has {given_bits} bits, expected ")?;
                write_lengths(f, expected_bits)?;
                if *salt_bits > 0 {
                    write!(f, ", of which the last {salt_bits} are the salt")?;
                }
                Ok(())
            }
            Self::WeakKey { algorithm } => write!(f, "{algorithm}: this key is a weak one"),
            Self::NotForManualKeys { algorithm } => {
                write!(
                    f,
                    "{algorithm}: implicit IVs need keys made for this SA alone, by a key exchange (RFC 8750)"
                )
            }
            Self::UnsupportedCombination => f.write_str("these algorithms cannot be used together"),
            Self::InvalidState => f.write_str("the SA's state forbids this"),
            Self::InvalidSelector => f.write_str("this selector makes no sense"),
            Self::OutOfRange { field } => write!(f, "{field} is out of range"),
            Self::Full => f.write_str("the table is full"),
        }
    }
}

impl std::error::Error for Error {}

/// Writes `none`, `64`, `160, 224 or 288`, or a range: a row that takes any whole byte would fill a page.
fn write_lengths(f: &mut fmt::Formatter<'_>, bits: &[u16]) -> fmt::Result {
    match bits {
        [] | [0] => f.write_str("none"),
        [only] => write!(f, "{only}"),
        [first, .., last] if bits.len() > 4 => write!(f, "{first} to {last} in whole bytes"),
        [several @ .., last] => {
            for (nth, one) in several.iter().enumerate() {
                write!(f, "{}{one}", if nth == 0 { "" } else { ", " })?;
            }
            write!(f, " or {last}")
        }
    }
}

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident),+ $(,)?) => {
        /// Why a packet went no further. One variant is one counter, one netstat line and one row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant),+ }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The variant's name: the one word used for counter, line and row.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

drop_reasons! {
    /// Outbound: the bytes are not a well-formed IP packet.
    OutMalformed,
    /// Outbound: an SPD entry says discard.
    OutPolicyDiscard,
    /// Outbound: no SPD entry matches and the default policy is discard.
    OutNoPolicy,
    /// Outbound: a required SA does not exist; an ACQUIRE was raised.
    OutNoSa,
    /// Outbound: the SA's sequence numbers are used up (RFC 4303 §3.3.3).
    SequenceOverflow,
    /// Outbound: no lease on further sequence numbers was granted.
    LeaseExhausted,
    /// Outbound: the packet does not fit the path and may not be fragmented.
    OutTooBig,
    /// Outbound: a fragment that cannot become a whole datagram: cut wrongly, or it overlaps another (RFC 5722).
    OutFragment,
    /// Outbound: an SA reached its hard lifetime.
    OutExpired,
    /// Outbound: the hop limit is used up.
    OutTtlExpired,
    /// Inbound: the bytes are not a well-formed IP packet, or ESP in it is cut short.
    InMalformed,
    /// Inbound: no SA has this SPI, destination and protocol.
    InNoSa,
    /// Inbound: a fragment that cannot become a whole datagram: cut wrongly, or it overlaps another (RFC 5722).
    InFragment,
    /// Inbound: the sequence number was seen already or is older than the window (RFC 4303 §3.4.3).
    Replay,
    /// Inbound: the ICV does not match (RFC 4303 §3.4.4).
    AuthFailed,
    /// Inbound: after a good ICV, the padding or the inner packet makes no sense.
    BadPadding,
    /// Inbound: what IPComp carries is no DEFLATE stream, or not the whole of one (RFC 2394).
    BadCompression,
    /// Inbound: what IPComp carries inflates to more than an IP packet can hold; it was stopped there.
    InflatesTooFar,
    /// Inbound: the SA is larval, expired or dead.
    InExpired,
    /// Inbound: next header 59, a dummy packet, swallowed (RFC 4303 §2.6).
    Dummy,
    /// Inbound: the SPD says discard.
    InPolicyDiscard,
    /// Inbound: no SPD entry matches and the default policy is discard.
    InNoPolicy,
    /// Inbound: the packet did not arrive through the SAs that policy asks for (RFC 4301 §5.2).
    InPolicyViolation,
    /// Inbound: an outer congestion mark on an inner packet that knows none (RFC 6040 §4.2).
    InEcnViolation,
    /// Inbound: more nested headers than an engine undoes.
    InTooDeep,
    /// Inbound: UDP encapsulation that does not fit the SA's ports or kind.
    InEncapMismatch,
    /// Inbound: a NAT keepalive, swallowed (RFC 3948 §2.3).
    Keepalive,
    /// No buffer was free.
    NoBuffer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_sentence() {
        for reason in DropReason::ALL {
            assert!(!reason.name().is_empty());
            assert!(reason.explanation().len() > 10, "{}", reason.name());
        }
    }
}
