//! `Config`: what the engine may be told, and `Setting`: one field of it with a new value.
//! No sysctl name and no personality's default may enter: they translate to these fields elsewhere.
//! Answers to: `ipsec(4)` (`def_policy`, `*_deflev`, `dfbit`, `ah_cleartos`, `ah_offsetmask`), RFC 4301 section 4.4.1 and section 8.

use crate::error::Error;
use crate::selector::AddressRange;
use crate::terms::{Level, Mode, Protocol, Spi, Template};
use crate::transform::tunnel::{DfPolicy, EcnPolicy};
use crate::transform::{AhRules, IpCompRules};
use std::net::IpAddr;

/// What happens to a packet that no SPD entry matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultPolicy {
    /// It passes without protection.
    Bypass,
    /// It is dropped: what RFC 4301 §4.4.1 asks.
    Discard,
}

/// What a template's level `default` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultLevel {
    /// As [`Level::Use`].
    Use,
    /// As [`Level::Require`].
    Require,
}

impl DefaultLevel {
    const fn level(self) -> Level {
        match self {
            Self::Use => Level::Use,
            Self::Require => Level::Require,
        }
    }
}

/// How checksums inside transport mode are repaired behind a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatChecksum {
    /// By the original addresses where the SA knows them; else what is wrong is recomputed, and UDP over IPv4
    /// goes without.
    Adjust,
    /// From the whole packet.
    Recompute,
}

/// What an acquire may propose; the engine keeps it for whoever writes the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalRules {
    /// The shortest keys of ESP's ciphers, in bits.
    pub esp_key_bits_min: u32,
    /// The shortest keys of integrity algorithms, in bits.
    pub ah_key_bits_min: u32,
    /// Whether ESP is proposed with integrity; with encryption alone otherwise, as KAME does.
    pub esp_authenticates: bool,
}

impl Default for ProposalRules {
    fn default() -> Self {
        Self {
            esp_key_bits_min: 128,
            ah_key_bits_min: 128,
            esp_authenticates: true,
        }
    }
}

/// Everything an engine can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// For packets that no SPD entry matches.
    pub default_policy: DefaultPolicy,
    /// Level `default` of an ESP template in transport mode.
    pub esp_transport_level: DefaultLevel,
    /// Level `default` of an ESP template in tunnel mode.
    pub esp_tunnel_level: DefaultLevel,
    /// Level `default` of an AH template in transport mode.
    pub ah_transport_level: DefaultLevel,
    /// Level `default` of an AH template in tunnel mode.
    pub ah_tunnel_level: DefaultLevel,
    /// How AH goes with IPv4.
    pub ah_rules: AhRules,
    /// Whether SAs without encryption and without integrity may be added, as some of the manuals' systems do.
    pub allow_unprotected: bool,
    /// Which payloads IPComp tries to compress.
    pub ipcomp_rules: IpCompRules,
    /// Prefer the oldest of several outbound SAs that would do; else the newest.
    pub prefer_old_sa: bool,
    /// The Don't Fragment bit of outer IPv4 headers.
    pub df: DfPolicy,
    /// What becomes of congestion marks at tunnel headers.
    pub ecn: EcnPolicy,
    /// This host's addresses; `None` means that every address is.
    pub local: Option<Vec<AddressRange>>,
    /// Whether the engine itself, and not the host's stack, takes one off the hop limit of a forwarded packet.
    pub decrement_hop_limit: bool,
    /// The largest packet the wire takes, in bytes; 0 means no limit.
    pub path_mtu: u32,
    /// How long a path MTU that was told is believed, in seconds (RFC 1191 §6.3).
    pub path_mtu_secs: u64,
    /// Whether ICMP errors from the open side, which nobody signs, may lower a path MTU (RFC 4301 §6.1.1).
    pub icmp_hints: bool,
    /// Whether ESP in UDP that is too long is cut here, or left to the host's UDP socket.
    pub cut_encapsulated: bool,
    /// Hop limit of outer headers.
    pub hop_limit: u8,
    /// UDP ports of this host on which ESP-in-UDP arrives.
    pub encap_ports: Vec<u16>,
    /// How checksums inside transport mode are repaired behind a NAT.
    pub nat_checksum: NatChecksum,
    /// After how many idle seconds SAs behind a NAT keep its mapping alive; 0 is never.
    pub keepalive_secs: u64,
    /// How long an SPI that `sad_getspi` gave out waits for its SA, in seconds.
    pub larval_secs: u64,
    /// How long the same acquire is not repeated, in seconds.
    pub acquire_block_secs: u64,
    /// After how many packets it is repeated all the same; 0 is never.
    pub acquire_block_count: u32,
    /// How many packets wait for one SA; 0 is none.
    pub hold_packets: u32,
    /// How long a packet waits for its SA, in seconds.
    pub hold_secs: u64,
    /// What an acquire may propose.
    pub proposal: ProposalRules,
    /// The lowest SPI given out where the request names no range.
    pub spi_min: u32,
    /// The highest SPI given out where the request names no range.
    pub spi_max: u32,
    /// How many SPIs are drawn at random before the range is searched in order.
    pub spi_tries: u32,
    /// How many sequence numbers one lease in memory covers; fixed when the engine is made.
    pub lease_block: u64,
    /// How many events wait to be polled before further ones are counted and forgotten.
    pub event_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_policy: DefaultPolicy::Bypass,
            esp_transport_level: DefaultLevel::Use,
            esp_tunnel_level: DefaultLevel::Use,
            ah_transport_level: DefaultLevel::Use,
            ah_tunnel_level: DefaultLevel::Use,
            ah_rules: AhRules::default(),
            allow_unprotected: false,
            ipcomp_rules: IpCompRules::default(),
            prefer_old_sa: false,
            df: DfPolicy::Copy,
            ecn: EcnPolicy::Rfc6040,
            local: None,
            decrement_hop_limit: true,
            path_mtu: 0,
            path_mtu_secs: 600,
            icmp_hints: true,
            cut_encapsulated: true,
            hop_limit: 64,
            encap_ports: vec![4500],
            nat_checksum: NatChecksum::Adjust,
            keepalive_secs: 20,
            larval_secs: 30,
            acquire_block_secs: 20,
            acquire_block_count: 0,
            hold_packets: 0,
            hold_secs: 30,
            proposal: ProposalRules::default(),
            spi_min: Spi::FIRST_ALLOCATABLE,
            spi_max: 0x0fff_ffff,
            spi_tries: 1000,
            lease_block: 1 << 20,
            event_limit: 4096,
        }
    }
}

/// One field of [`Config`] with a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// [`Config::default_policy`].
    DefaultPolicy(DefaultPolicy),
    /// [`Config::esp_transport_level`].
    EspTransportLevel(DefaultLevel),
    /// [`Config::esp_tunnel_level`].
    EspTunnelLevel(DefaultLevel),
    /// [`Config::ah_transport_level`].
    AhTransportLevel(DefaultLevel),
    /// [`Config::ah_tunnel_level`].
    AhTunnelLevel(DefaultLevel),
    /// `clear_tos` of [`Config::ah_rules`].
    AhClearTos(bool),
    /// `offset_mask` of [`Config::ah_rules`].
    AhOffsetMask(u16),
    /// `wide_padding` of [`Config::ah_rules`].
    AhWidePadding(bool),
    /// [`Config::allow_unprotected`].
    AllowUnprotected(bool),
    /// `threshold_bytes` of [`Config::ipcomp_rules`].
    IpCompThreshold(u16),
    /// `threshold_counts_headers` of [`Config::ipcomp_rules`].
    IpCompThresholdCountsHeaders(bool),
    /// `back_off_packets` of [`Config::ipcomp_rules`].
    IpCompBackOff(u16),
    /// [`Config::prefer_old_sa`].
    PreferOldSa(bool),
    /// [`Config::df`].
    Df(DfPolicy),
    /// [`Config::ecn`].
    Ecn(EcnPolicy),
    /// [`Config::local`].
    Local(Option<Vec<AddressRange>>),
    /// [`Config::decrement_hop_limit`].
    DecrementHopLimit(bool),
    /// [`Config::path_mtu`].
    PathMtu(u32),
    /// [`Config::path_mtu_secs`].
    PathMtuSecs(u64),
    /// [`Config::icmp_hints`].
    IcmpHints(bool),
    /// [`Config::cut_encapsulated`].
    CutEncapsulated(bool),
    /// [`Config::hop_limit`].
    HopLimit(u8),
    /// [`Config::encap_ports`].
    EncapPorts(Vec<u16>),
    /// [`Config::nat_checksum`].
    NatChecksum(NatChecksum),
    /// [`Config::keepalive_secs`].
    KeepaliveSecs(u64),
    /// [`Config::larval_secs`].
    LarvalSecs(u64),
    /// [`Config::acquire_block_secs`].
    AcquireBlockSecs(u64),
    /// [`Config::acquire_block_count`].
    AcquireBlockCount(u32),
    /// [`Config::hold_packets`].
    HoldPackets(u32),
    /// [`Config::hold_secs`].
    HoldSecs(u64),
    /// `esp_key_bits_min` of [`Config::proposal`].
    ProposalEspKeyBits(u32),
    /// `ah_key_bits_min` of [`Config::proposal`].
    ProposalAhKeyBits(u32),
    /// `esp_authenticates` of [`Config::proposal`].
    ProposalEspAuthenticates(bool),
    /// [`Config::spi_tries`].
    SpiTries(u32),
    /// [`Config::spi_min`].
    SpiMin(u32),
    /// [`Config::spi_max`].
    SpiMax(u32),
    /// [`Config::event_limit`].
    EventLimit(usize),
}

/// The smallest path MTU that can be set: what every IPv4 link carries (RFC 791).
pub const PATH_MTU_MIN: u32 = 68;

impl Config {
    /// Changes one field.
    ///
    /// # Errors
    /// `OutOfRange` names the field, `InvalidSelector` is a range upside down; nothing was changed then.
    pub fn apply(&mut self, setting: Setting) -> Result<(), Error> {
        match setting {
            Setting::DefaultPolicy(value) => self.default_policy = value,
            Setting::EspTransportLevel(value) => self.esp_transport_level = value,
            Setting::EspTunnelLevel(value) => self.esp_tunnel_level = value,
            Setting::AhTransportLevel(value) => self.ah_transport_level = value,
            Setting::AhTunnelLevel(value) => self.ah_tunnel_level = value,
            Setting::AhClearTos(value) => self.ah_rules.clear_tos = value,
            Setting::AhOffsetMask(value) => self.ah_rules.offset_mask = value,
            Setting::AhWidePadding(value) => self.ah_rules.wide_padding = value,
            Setting::AllowUnprotected(value) => self.allow_unprotected = value,
            Setting::IpCompThreshold(value) => self.ipcomp_rules.threshold_bytes = value,
            Setting::IpCompThresholdCountsHeaders(value) => {
                self.ipcomp_rules.threshold_counts_headers = value
            }
            Setting::IpCompBackOff(value) => self.ipcomp_rules.back_off_packets = value,
            Setting::PreferOldSa(value) => self.prefer_old_sa = value,
            Setting::Df(value) => self.df = value,
            Setting::Ecn(value) => self.ecn = value,
            Setting::Local(value) => {
                let sound = value.iter().flatten().all(AddressRange::is_sound);
                self.local = sound.then_some(value).ok_or(Error::InvalidSelector)?;
            }
            Setting::DecrementHopLimit(value) => self.decrement_hop_limit = value,
            Setting::PathMtu(value) => {
                self.path_mtu = in_range("path_mtu", value, |v| v == 0 || v >= PATH_MTU_MIN)?
            }
            Setting::PathMtuSecs(value) => self.path_mtu_secs = in_range("path_mtu_secs", value, |v| v > 0)?,
            Setting::IcmpHints(value) => self.icmp_hints = value,
            Setting::CutEncapsulated(value) => self.cut_encapsulated = value,
            Setting::HopLimit(value) => self.hop_limit = in_range("hop_limit", value, |v| v > 0)?,
            Setting::EncapPorts(value) => self.encap_ports = value,
            Setting::NatChecksum(value) => self.nat_checksum = value,
            Setting::KeepaliveSecs(value) => self.keepalive_secs = value,
            Setting::LarvalSecs(value) => self.larval_secs = in_range("larval_secs", value, |v| v > 0)?,
            Setting::AcquireBlockSecs(value) => self.acquire_block_secs = value,
            Setting::AcquireBlockCount(value) => self.acquire_block_count = value,
            Setting::HoldPackets(value) => self.hold_packets = value,
            Setting::HoldSecs(value) => self.hold_secs = in_range("hold_secs", value, |v| v > 0)?,
            Setting::ProposalEspKeyBits(value) => self.proposal.esp_key_bits_min = value,
            Setting::ProposalAhKeyBits(value) => self.proposal.ah_key_bits_min = value,
            Setting::ProposalEspAuthenticates(value) => self.proposal.esp_authenticates = value,
            Setting::SpiTries(value) => self.spi_tries = in_range("spi_tries", value, |v| v > 0)?,
            Setting::SpiMin(min) => {
                self.spi_min = in_range("spi_min", min, |min| {
                    min >= Spi::FIRST_ALLOCATABLE && min <= self.spi_max
                })?;
            }
            Setting::SpiMax(max) => self.spi_max = in_range("spi_max", max, |max| max >= self.spi_min)?,
            Setting::EventLimit(value) => self.event_limit = in_range("event_limit", value, |v| v > 0)?,
        }
        Ok(())
    }

    /// What a template's level comes to: never [`Level::Default`].
    #[must_use]
    pub fn level(&self, template: &Template) -> Level {
        match template.level {
            Level::Default => match (template.protocol, template.mode) {
                (Protocol::Esp, Mode::Tunnel) => self.esp_tunnel_level.level(),
                (Protocol::Esp, Mode::Transport | Mode::Any) => self.esp_transport_level.level(),
                (Protocol::Ah, Mode::Tunnel) => self.ah_tunnel_level.level(),
                (Protocol::Ah, Mode::Transport | Mode::Any) => self.ah_transport_level.level(),
                // A packet that would not shrink travels uncompressed, so nobody can insist (RFC 3173 §2.2).
                (Protocol::IpComp, _) => Level::Use,
            },
            Level::Use => Level::Use,
            Level::Require => Level::Require,
            Level::Unique => Level::Unique,
        }
    }

    /// Whether `address` is this host's.
    #[must_use]
    pub fn is_local(&self, address: &IpAddr) -> bool {
        self.local.is_none() || self.is_own(address)
    }

    /// Whether `address` is known to be this host's: where every address is, none says anything.
    #[must_use]
    pub fn is_own(&self, address: &IpAddr) -> bool {
        let ranges = self.local.as_deref().unwrap_or_default();
        ranges.iter().any(|range| range.contains(address))
    }
}

fn in_range<T: Copy>(field: &'static str, value: T, accept: impl FnOnce(T) -> bool) -> Result<T, Error> {
    if accept(value) {
        Ok(value)
    } else {
        Err(Error::OutOfRange { field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: Template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        level: Level::Default,
        reqid: 0,
        endpoints: None,
    };

    #[test]
    fn the_default_level_is_resolved_by_protocol_and_mode() {
        let mut config = Config::default();
        assert_eq!(config.level(&TEMPLATE), Level::Use);
        config
            .apply(Setting::EspTunnelLevel(DefaultLevel::Require))
            .unwrap();
        assert_eq!(config.level(&TEMPLATE), Level::Require);
        assert_eq!(
            config.level(&Template {
                mode: Mode::Transport,
                ..TEMPLATE
            }),
            Level::Use
        );
        assert_eq!(
            config.level(&Template {
                level: Level::Unique,
                ..TEMPLATE
            }),
            Level::Unique
        );
        assert_eq!(
            config.level(&Template {
                protocol: Protocol::IpComp,
                ..TEMPLATE
            }),
            Level::Use
        );
        config
            .apply(Setting::AhTransportLevel(DefaultLevel::Require))
            .unwrap();
        assert_eq!(
            config.level(&Template {
                protocol: Protocol::Ah,
                mode: Mode::Any,
                ..TEMPLATE
            }),
            Level::Require
        );
        assert_eq!(
            config.level(&Template {
                protocol: Protocol::Ah,
                ..TEMPLATE
            }),
            Level::Use
        );
    }

    #[test]
    fn values_outside_their_range_change_nothing() {
        let mut config = Config::default();
        for setting in [
            Setting::PathMtu(67),
            Setting::HopLimit(0),
            Setting::PathMtuSecs(0),
            Setting::LarvalSecs(0),
            Setting::SpiMin(255),
            Setting::SpiMin(0x1000_0000),
            Setting::SpiMax(255),
            Setting::SpiTries(0),
            Setting::HoldSecs(0),
            Setting::EventLimit(0),
        ] {
            assert!(matches!(config.apply(setting), Err(Error::OutOfRange { .. })));
        }
        let upside_down = AddressRange {
            first: "192.0.2.2".parse().unwrap(),
            last: "192.0.2.1".parse().unwrap(),
        };
        assert_eq!(
            config.apply(Setting::Local(Some(vec![upside_down]))),
            Err(Error::InvalidSelector)
        );
        assert_eq!(config, Config::default());
        config.apply(Setting::PathMtu(1400)).unwrap();
        assert_eq!(config.path_mtu, 1400);
    }

    #[test]
    fn without_a_list_every_address_is_local() {
        let mut config = Config::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let there: IpAddr = "192.0.2.2".parse().unwrap();
        assert!(config.is_local(&here) && config.is_local(&there));
        config
            .apply(Setting::Local(Some(vec![AddressRange {
                first: here,
                last: here,
            }])))
            .unwrap();
        assert!(config.is_local(&here) && !config.is_local(&there));
    }
}
