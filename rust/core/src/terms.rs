//! The field's words as types: SPI, sequence number, protocol, mode, direction, level, template.
//! No behaviour beyond conversion to and from protocol numbers; no PF_KEY number may enter.
//! Answers to: RFC 4301 section 4, RFC 4303 section 2, `ipsec_set_policy(3)` for levels.

use core::fmt;
use std::net::IpAddr;

/// Security Parameters Index (RFC 4301 §4.1), host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

impl Spi {
    /// The first SPI that may be allocated: 1–255 are reserved (RFC 4303 §2.1).
    pub const FIRST_ALLOCATABLE: u32 = 256;
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// Compression Parameter Index (RFC 3173 §2), host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpi(pub u16);

impl Cpi {
    /// DEFLATE's own, known everywhere without agreement (RFC 2394 §4).
    pub const DEFLATE: Self = Self(2);
    /// The last one that names an algorithm, and not an SA.
    const LAST_WELL_KNOWN: u16 = 63;

    /// The CPI that the low half of an SPI is.
    #[must_use]
    pub const fn of_low_half(spi: Spi) -> Self {
        let [_, _, high, low] = spi.0.to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }

    /// Whether it names an algorithm (or, being 0, nothing), and not an SA.
    #[must_use]
    pub const fn is_well_known(self) -> bool {
        self.0 <= Self::LAST_WELL_KNOWN
    }
}

/// A full 64-bit sequence number; without ESN the high half is zero (RFC 4303 §2.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The half that is on the wire.
    #[must_use]
    pub const fn low(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// The half that is only in the ICV (ESN).
    #[must_use]
    pub const fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The id of an SPD entry, unique in one engine's life; 0 is never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub u32);

/// The three IPsec protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Encapsulating Security Payload, RFC 4303.
    Esp,
    /// Authentication Header, RFC 4302.
    Ah,
    /// IP Payload Compression, RFC 3173.
    IpComp,
}

impl Protocol {
    /// The IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Esp => 50,
            Self::Ah => 51,
            Self::IpComp => 108,
        }
    }

    /// The protocol with that IP protocol number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            50 => Some(Self::Esp),
            51 => Some(Self::Ah),
            108 => Some(Self::IpComp),
            _ => None,
        }
    }

    /// The manual pages' word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::IpComp => "ipcomp",
        }
    }
}

/// Transport or tunnel; `Any` is what a manually added SA may say (it then serves both).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The SA serves both modes.
    Any,
    /// RFC 4301 §4.1 transport mode.
    Transport,
    /// RFC 4301 §4.1 tunnel mode.
    Tunnel,
}

impl Mode {
    /// Says whether an SA of this mode may serve a request for `wanted`.
    #[must_use]
    pub fn serves(self, wanted: Self) -> bool {
        self == Self::Any || wanted == Self::Any || self == wanted
    }

    /// The manual pages' word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Transport => "transport",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Which of the three SPD lists: packets to this host, from it, or through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Packets for this host.
    Inbound,
    /// Packets that leave.
    Outbound,
    /// Packets that arrive and are not for this host.
    Forward,
}

impl Direction {
    /// The manual pages' word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "in",
            Self::Outbound => "out",
            Self::Forward => "fwd",
        }
    }
}

/// How much an SPD entry insists on one of its templates (`ipsec_set_policy(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What the configuration says for this protocol and mode (`*_deflev`).
    Default,
    /// Use an SA if there is one, else go without.
    Use,
    /// No SA, no packet.
    Require,
    /// As `Require`, and only an SA with this template's reqid.
    Unique,
}

impl Level {
    /// The manual pages' word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Use => "use",
            Self::Require => "require",
            Self::Unique => "unique",
        }
    }
}

/// What an SPD entry asks of one SA. The first template of a policy is the innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// ESP, AH or IPComp.
    pub protocol: Protocol,
    /// The mode asked for.
    pub mode: Mode,
    /// How much it is insisted on.
    pub level: Level,
    /// 0, or the id that ties this template to SAs with the same id.
    pub reqid: u32,
    /// Source and destination of the SA; `None` means the packet's own (transport mode).
    pub endpoints: Option<(IpAddr, IpAddr)>,
}

/// What names one SA. `source` is compared only where it is given (RFC 4301 §4.1; `setkey delete`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId {
    /// The SPI, host order.
    pub spi: Spi,
    /// The protocol: one SPI may exist once per protocol and destination.
    pub protocol: Protocol,
    /// The destination of the SA's packets.
    pub destination: IpAddr,
}
