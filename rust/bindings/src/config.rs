//! The engine's configuration by name: Python value to `Setting`, and the whole as a dictionary.
//! No default and no range may enter: those are `sallet_core::engine::config`'s.
//! Answers to: `ipsec(4)` and `sysctl(8)` (what the manuals let one set).

use std::net::IpAddr;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sallet_core::engine::{Config, DefaultLevel, DefaultPolicy, NatChecksum, Setting};
use sallet_core::selector::AddressRange;
use sallet_core::transform::tunnel::{DfPolicy, EcnPolicy};

use crate::buffers::Address;
use crate::error::{bad_word, refused};

/// Makes the setting that `name` and a Python value stand for.
pub(crate) fn setting(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Setting> {
    Ok(match name {
        "default_policy" => Setting::DefaultPolicy(default_policy(&value.extract::<String>()?)?),
        "esp_transport_level" => Setting::EspTransportLevel(level(name, value)?),
        "esp_tunnel_level" => Setting::EspTunnelLevel(level(name, value)?),
        "ah_transport_level" => Setting::AhTransportLevel(level(name, value)?),
        "ah_tunnel_level" => Setting::AhTunnelLevel(level(name, value)?),
        "ah_clear_tos" => Setting::AhClearTos(value.extract()?),
        "ah_offset_mask" => Setting::AhOffsetMask(value.extract()?),
        "ah_wide_padding" => Setting::AhWidePadding(value.extract()?),
        "allow_unprotected" => Setting::AllowUnprotected(value.extract()?),
        "ipcomp_threshold" => Setting::IpCompThreshold(value.extract()?),
        "ipcomp_threshold_counts_headers" => Setting::IpCompThresholdCountsHeaders(value.extract()?),
        "ipcomp_back_off" => Setting::IpCompBackOff(value.extract()?),
        "prefer_old_sa" => Setting::PreferOldSa(value.extract()?),
        "df" => Setting::Df(df(&value.extract::<String>()?)?),
        "ecn" => Setting::Ecn(ecn(&value.extract::<String>()?)?),
        "path_mtu_secs" => Setting::PathMtuSecs(value.extract()?),
        "icmp_hints" => Setting::IcmpHints(value.extract()?),
        "cut_encapsulated" => Setting::CutEncapsulated(value.extract()?),
        "nat_checksum" => Setting::NatChecksum(nat_checksum(&value.extract::<String>()?)?),
        "keepalive_secs" => Setting::KeepaliveSecs(value.extract()?),
        "local" => Setting::Local(local(value)?),
        "decrement_hop_limit" => Setting::DecrementHopLimit(value.extract()?),
        "path_mtu" => Setting::PathMtu(value.extract()?),
        "hop_limit" => Setting::HopLimit(value.extract()?),
        "encap_ports" => Setting::EncapPorts(value.extract()?),
        "larval_secs" => Setting::LarvalSecs(value.extract()?),
        "acquire_block_secs" => Setting::AcquireBlockSecs(value.extract()?),
        "acquire_block_count" => Setting::AcquireBlockCount(value.extract()?),
        "hold_packets" => Setting::HoldPackets(value.extract()?),
        "hold_secs" => Setting::HoldSecs(value.extract()?),
        "proposal_esp_key_bits" => Setting::ProposalEspKeyBits(value.extract()?),
        "proposal_ah_key_bits" => Setting::ProposalAhKeyBits(value.extract()?),
        "proposal_esp_authenticates" => Setting::ProposalEspAuthenticates(value.extract()?),
        "spi_tries" => Setting::SpiTries(value.extract()?),
        "spi_min" => Setting::SpiMin(value.extract()?),
        "spi_max" => Setting::SpiMax(value.extract()?),
        "event_limit" => Setting::EventLimit(value.extract()?),
        "lease_block" => {
            let text = "lease_block: fixed when the engine is made";
            return Err(PyValueError::new_err(text));
        }
        other => return Err(PyKeyError::new_err(format!("{other}: no such setting"))),
    })
}

/// Makes a configuration out of defaults and what a dictionary names.
pub(crate) fn from_dict(values: &Bound<'_, PyDict>) -> PyResult<Config> {
    let mut config = Config::default();
    for (name, value) in values {
        match name.extract::<String>()?.as_str() {
            "lease_block" => config.lease_block = value.extract()?,
            name => config
                .apply(setting(name, &value)?)
                .map_err(|error| refused(&error))?,
        }
    }
    Ok(config)
}

/// Every value by its name.
pub(crate) fn to_dict<'py>(py: Python<'py>, config: &Config) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("default_policy", policy_word(config.default_policy))?;
    dict.set_item("esp_transport_level", level_word(config.esp_transport_level))?;
    dict.set_item("esp_tunnel_level", level_word(config.esp_tunnel_level))?;
    dict.set_item("ah_transport_level", level_word(config.ah_transport_level))?;
    dict.set_item("ah_tunnel_level", level_word(config.ah_tunnel_level))?;
    dict.set_item("ah_clear_tos", config.ah_rules.clear_tos)?;
    dict.set_item("ah_offset_mask", config.ah_rules.offset_mask)?;
    dict.set_item("ah_wide_padding", config.ah_rules.wide_padding)?;
    dict.set_item("allow_unprotected", config.allow_unprotected)?;
    let compression = config.ipcomp_rules;
    dict.set_item("ipcomp_threshold", compression.threshold_bytes)?;
    dict.set_item(
        "ipcomp_threshold_counts_headers",
        compression.threshold_counts_headers,
    )?;
    dict.set_item("ipcomp_back_off", compression.back_off_packets)?;
    dict.set_item("prefer_old_sa", config.prefer_old_sa)?;
    dict.set_item("df", df_word(config.df))?;
    dict.set_item("ecn", ecn_word(config.ecn))?;
    dict.set_item("path_mtu_secs", config.path_mtu_secs)?;
    dict.set_item("icmp_hints", config.icmp_hints)?;
    dict.set_item("cut_encapsulated", config.cut_encapsulated)?;
    dict.set_item("nat_checksum", nat_checksum_word(config.nat_checksum))?;
    dict.set_item("keepalive_secs", config.keepalive_secs)?;
    let local = config.local.as_ref();
    dict.set_item(
        "local",
        local.map(|ranges| {
            ranges
                .iter()
                .map(|range| (range.first, range.last))
                .collect::<Vec<_>>()
        }),
    )?;
    dict.set_item("decrement_hop_limit", config.decrement_hop_limit)?;
    dict.set_item("path_mtu", config.path_mtu)?;
    dict.set_item("hop_limit", config.hop_limit)?;
    dict.set_item("encap_ports", config.encap_ports.clone())?;
    dict.set_item("larval_secs", config.larval_secs)?;
    dict.set_item("acquire_block_secs", config.acquire_block_secs)?;
    dict.set_item("acquire_block_count", config.acquire_block_count)?;
    dict.set_item("hold_packets", config.hold_packets)?;
    dict.set_item("hold_secs", config.hold_secs)?;
    dict.set_item("proposal_esp_key_bits", config.proposal.esp_key_bits_min)?;
    dict.set_item("proposal_ah_key_bits", config.proposal.ah_key_bits_min)?;
    dict.set_item("proposal_esp_authenticates", config.proposal.esp_authenticates)?;
    dict.set_item("spi_min", config.spi_min)?;
    dict.set_item("spi_max", config.spi_max)?;
    dict.set_item("spi_tries", config.spi_tries)?;
    dict.set_item("lease_block", config.lease_block)?;
    dict.set_item("event_limit", config.event_limit)?;
    Ok(dict)
}

fn default_policy(word: &str) -> PyResult<DefaultPolicy> {
    match word {
        "bypass" => Ok(DefaultPolicy::Bypass),
        "discard" => Ok(DefaultPolicy::Discard),
        other => Err(bad_word("default_policy", other, "bypass, discard")),
    }
}

const fn policy_word(policy: DefaultPolicy) -> &'static str {
    match policy {
        DefaultPolicy::Bypass => "bypass",
        DefaultPolicy::Discard => "discard",
    }
}

fn level(name: &str, value: &Bound<'_, PyAny>) -> PyResult<DefaultLevel> {
    match value.extract::<String>()?.as_str() {
        "use" => Ok(DefaultLevel::Use),
        "require" => Ok(DefaultLevel::Require),
        other => Err(bad_word(name, other, "use, require")),
    }
}

const fn level_word(level: DefaultLevel) -> &'static str {
    match level {
        DefaultLevel::Use => "use",
        DefaultLevel::Require => "require",
    }
}

fn df(word: &str) -> PyResult<DfPolicy> {
    match word {
        "clear" => Ok(DfPolicy::Clear),
        "set" => Ok(DfPolicy::Set),
        "copy" => Ok(DfPolicy::Copy),
        other => Err(bad_word("df", other, "clear, set, copy")),
    }
}

const fn df_word(df: DfPolicy) -> &'static str {
    match df {
        DfPolicy::Clear => "clear",
        DfPolicy::Set => "set",
        DfPolicy::Copy => "copy",
    }
}

fn ecn(word: &str) -> PyResult<EcnPolicy> {
    match word {
        "rfc6040" => Ok(EcnPolicy::Rfc6040),
        "allowed" => Ok(EcnPolicy::Allowed),
        "forbidden" => Ok(EcnPolicy::Forbidden),
        "ignored" => Ok(EcnPolicy::Ignored),
        other => Err(bad_word("ecn", other, "rfc6040, allowed, forbidden, ignored")),
    }
}

const fn ecn_word(ecn: EcnPolicy) -> &'static str {
    match ecn {
        EcnPolicy::Rfc6040 => "rfc6040",
        EcnPolicy::Allowed => "allowed",
        EcnPolicy::Forbidden => "forbidden",
        EcnPolicy::Ignored => "ignored",
    }
}

fn nat_checksum(word: &str) -> PyResult<NatChecksum> {
    match word {
        "adjust" => Ok(NatChecksum::Adjust),
        "recompute" => Ok(NatChecksum::Recompute),
        other => Err(bad_word("nat_checksum", other, "adjust, recompute")),
    }
}

const fn nat_checksum_word(repair: NatChecksum) -> &'static str {
    match repair {
        NatChecksum::Adjust => "adjust",
        NatChecksum::Recompute => "recompute",
    }
}

/// `None`, or a list of addresses and of (first, last) pairs.
fn local(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<AddressRange>>> {
    #[derive(FromPyObject)]
    enum Item {
        #[pyo3(transparent)]
        Pair((Address, Address)),
        #[pyo3(transparent)]
        One(Address),
    }
    let items: Option<Vec<Item>> = value.extract()?;
    let range = |item| -> (IpAddr, IpAddr) {
        match item {
            Item::Pair((Address(first), Address(last))) => (first, last),
            Item::One(Address(address)) => (address, address),
        }
    };
    Ok(items.map(|items| {
        items
            .into_iter()
            .map(range)
            .map(|(first, last)| AddressRange { first, last })
            .collect()
    }))
}
