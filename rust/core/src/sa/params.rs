//! What is said about an SA when it is added, and what can be seen of it afterwards.
//! No behaviour and no PF_KEY number may enter; keys stay inside `Secret`.
//! Answers to: RFC 4301 section 4.4.2.1, RFC 2367 sections 2.3.1 and 1.4 (states).

use crate::crypto::{AlgorithmKey, Permits};
use crate::sa::lifetime::Limits;
use crate::sa::replay::WindowView;
use crate::terms::{Mode, SaId};
use crate::time::WallClock;
use std::net::IpAddr;

/// The ports of ESP in UDP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpEncap {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// What few SAs need; the default is none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaOptions {
    /// Source and destination that its packets had before a NAT changed them (RFC 3947 §5.2, NAT-OA): the
    /// checksums inside transport mode are those of these addresses.
    pub original: Option<(IpAddr, IpAddr)>,
    /// Whether this end is behind a NAT whose mapping must be kept alive (RFC 3948 §4). Needs `encap`.
    pub keepalive: bool,
    /// Shorter packets in tunnels are padded to this length where they fit (RFC 4303 §2.7); 0 is none of it.
    pub tfc_bytes: u16,
    /// Longer IPv4 packets are cut to this length before they go into the tunnel, so that no middlebox has to cut
    /// the datagram around them; 0 is none of it. Needs `encap`, and never mode transport.
    pub fragment_bytes: u16,
}

/// What is said about an SA when it is added.
//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
//# an SAD entry has SPI, counter, overflow flag, window, keys, lifetimes, mode and ends
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaParams {
    /// SPI, protocol and destination: its name.
    pub id: SaId,
    /// The source of its packets.
    pub source: IpAddr,
    /// The mode it serves.
    pub mode: Mode,
    /// 0, or what ties it to templates with the same id.
    pub reqid: u32,
    /// The cipher or AEAD with its key (salt included).
    pub encryption: Option<AlgorithmKey>,
    /// The MAC with its key.
    pub authentication: Option<AlgorithmKey>,
    /// Packets in the replay window; 0 turns the check off.
    pub replay_window: u32,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// Whether packets have the format of RFC 1826, without sequence number.
    pub old: bool,
    /// Whether IPComp shows the SPI's low half as CPI, and not DEFLATE's well-known one (setkey's `-R`).
    pub raw_cpi: bool,
    /// Whether 32-bit sequence numbers may start again after 2^32-1.
    pub cycle_sequence: bool,
    /// What raises an early warning.
    pub soft: Limits,
    /// What ends it.
    pub hard: Limits,
    /// ESP in UDP.
    pub encap: Option<UdpEncap>,
    /// What few SAs need.
    pub options: SaOptions,
    /// Flags of a dialect, kept and shown, never read.
    pub flags: u32,
    /// The process that added it, 0 if unknown.
    pub owner: u32,
    /// The connection by which it was added, 0 if there was none.
    pub connection: u64,
    /// What whoever adds it answers for.
    pub permits: Permits,
}

/// An SA's state (RFC 2367 §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It has an SPI and no keys yet.
    Larval,
    /// It serves.
    Mature,
    /// It serves, and its soft lifetime is over.
    Dying,
    /// It serves no longer.
    Dead,
}

impl State {
    /// The manual pages' word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Larval => "larval",
            Self::Mature => "mature",
            Self::Dying => "dying",
            Self::Dead => "dead",
        }
    }
}

/// An SA as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaView {
    /// What was said when it was added.
    pub params: SaParams,
    /// Its state.
    pub state: State,
    /// When it was added.
    pub created: WallClock,
    /// When it carried its first packet.
    pub first_used: Option<WallClock>,
    /// Bytes it carried.
    pub bytes: u64,
    /// Packets it carried.
    pub packets: u64,
    /// The last sequence number sent or the highest received.
    pub sequence: u64,
    /// The first sequence number that it may not use without asking for more.
    pub lease_limit: u64,
    /// The path MTU that was told last, however old; `None` if none was.
    pub path_mtu: Option<u32>,
    /// The replay window; `None` where the check is off.
    pub window: Option<WindowView>,
    /// Order of insertion.
    pub serial: u64,
}
