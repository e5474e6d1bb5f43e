//! What goes in: `Limits`, `SaParams`, `PolicyParams`. Keys move as bytes once and are not kept here.
//! No check beyond the shape of a value may enter: the engine decides what is legal.
//! Answers to: RFC 4301 sections 4.4.2.1 (SAD entry) and 4.4.1 (SPD entry).

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sallet_core::crypto::{AlgorithmKey, Permits, Secret};
use sallet_core::terms::{SaId, Spi};
use sallet_core::{sa, spd};

use crate::buffers::{Address, PacketBytes};
use crate::error::bad_word;
use crate::selector::{Selector, Template};
use crate::words;

/// One lifetime, soft or hard (RFC 4301 §4.4.2.1); 0 means no limit.
///
/// `bytes` and `packets` count what the transform was handed; `add_secs` runs from the creation of the
/// entry, `use_secs` from its first packet.
#[pyclass(frozen, eq, hash, from_py_object, module = "sallet._core")]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// Bytes handed to the transform.
    #[pyo3(get)]
    bytes: u64,
    /// Packets handed to the transform.
    #[pyo3(get)]
    packets: u64,
    /// Seconds since the entry was made.
    #[pyo3(get)]
    add_secs: u64,
    /// Seconds since the first packet.
    #[pyo3(get)]
    use_secs: u64,
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (*, bytes=0, packets=0, add_secs=0, use_secs=0))]
    fn new(bytes: u64, packets: u64, add_secs: u64, use_secs: u64) -> Self {
        Self {
            bytes,
            packets,
            add_secs,
            use_secs,
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "Limits(bytes={}, packets={}, add_secs={}, use_secs={})",
            self.bytes, self.packets, self.add_secs, self.use_secs
        )
    }
}

impl From<Limits> for sa::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            bytes: limits.bytes,
            packets: limits.packets,
            add_secs: limits.add_secs,
            use_secs: limits.use_secs,
        }
    }
}

impl From<sa::Limits> for Limits {
    fn from(limits: sa::Limits) -> Self {
        Self {
            bytes: limits.bytes,
            packets: limits.packets,
            add_secs: limits.add_secs,
            use_secs: limits.use_secs,
        }
    }
}

/// What `Engine.sad_add` and `Engine.sad_update` are given: one SA (RFC 4301 §4.4.2).
///
/// `spi` is in host order; `encryption` and `authentication` are (registry name, key bytes, salt
/// included), see `algorithms()`; `replay_window` counts packets, 0 means no check; `encap` is
/// (source port, destination port) of ESP in UDP (RFC 3948), `original` the (source, destination) before a NAT
/// changed them, `keepalive` says that this end is behind one. Packets in tunnels are padded to `tfc_bytes`
/// where that fits (RFC 4303 §2.7); IPv4 packets longer than `fragment_bytes` are cut before they go into a
/// tunnel inside UDP. `flags` and `owner` are kept and given back.
/// `fresh_keys` promises keys made for this SA alone, without which an implicit IV is refused (RFC 8750);
/// `unprotected` permits NULL encryption without authentication.
/// Raises ValueError for an unknown word.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct SaParams {
    pub(crate) inner: sa::SaParams,
}

#[pymethods]
impl SaParams {
    #[new]
    #[pyo3(signature = (*, spi, protocol, source, destination, mode="any", reqid=0, encryption=None,
        authentication=None, replay_window=0, esn=false, cycle_sequence=false, soft=None, hard=None,
        encap=None, flags=0, owner=0, old=false, fresh_keys=false, unprotected=false, raw_cpi=false,
        original=None, keepalive=false, tfc_bytes=0, connection=0, fragment_bytes=0))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a Python constructor"
    )]
    fn new(
        spi: u32,
        protocol: &str,
        source: Address,
        destination: Address,
        mode: &str,
        reqid: u32,
        encryption: Option<(String, PacketBytes)>,
        authentication: Option<(String, PacketBytes)>,
        replay_window: u32,
        esn: bool,
        cycle_sequence: bool,
        soft: Option<Limits>,
        hard: Option<Limits>,
        encap: Option<(u16, u16)>,
        flags: u32,
        owner: u32,
        old: bool,
        fresh_keys: bool,
        unprotected: bool,
        raw_cpi: bool,
        original: Option<(Address, Address)>,
        keepalive: bool,
        tfc_bytes: u16,
        connection: u64,
        fragment_bytes: u16,
    ) -> PyResult<Self> {
        let (Address(source), Address(destination)) = (source, destination);
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(PyValueError::new_err(
                "source and destination are of different families",
            ));
        }
        let inner = sa::SaParams {
            id: SaId {
                spi: Spi(spi),
                protocol: words::protocol(protocol)?,
                destination,
            },
            source,
            mode: words::mode(mode)?,
            reqid,
            encryption: encryption.map(algorithm_key),
            authentication: authentication.map(algorithm_key),
            replay_window,
            esn,
            old,
            options: sa::SaOptions {
                original: original.map(|(Address(source), Address(destination))| (source, destination)),
                keepalive,
                tfc_bytes,
                fragment_bytes,
            },
            raw_cpi,
            cycle_sequence,
            soft: soft.unwrap_or_default().into(),
            hard: hard.unwrap_or_default().into(),
            encap: encap.map(|(source_port, destination_port)| sa::UdpEncap {
                source_port,
                destination_port,
            }),
            flags,
            owner,
            connection,
            permits: Permits {
                unprotected,
                fresh_keys,
            },
        };
        Ok(Self { inner })
    }

    fn __repr__(&self) -> String {
        let id = &self.inner.id;
        format!(
            "<SaParams {} {} {}-{}>",
            id.protocol.name(),
            id.spi,
            self.inner.source,
            id.destination
        )
    }
}

fn algorithm_key((name, key): (String, PacketBytes)) -> AlgorithmKey {
    AlgorithmKey {
        name,
        key: Secret::copy_of(key.as_slice()),
    }
}

/// What `Engine.spd_add` and `Engine.spd_update` are given: one SPD entry (RFC 4301 §4.4.1).
///
/// `direction` is "in", "out" or "fwd"; `action` "bypass", "discard" or "protect" (then with `templates`,
/// the innermost first; none while they are `awaited`, and nothing passes). Lower `priority` is consulted
/// first; equal ones in order of insertion.
/// `judges_forwarded` makes an "in" entry speak for forwarded packets too (systems without "fwd").
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct PolicyParams {
    pub(crate) inner: spd::PolicyParams,
}

#[pymethods]
impl PolicyParams {
    #[new]
    #[pyo3(signature = (direction, selector, action, templates=Vec::new(), *, priority=0x8000_0000,
        judges_forwarded=false, owner=0, add_secs=0, use_secs=0, connection=0, awaited=false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a Python constructor"
    )]
    fn new(
        direction: &str,
        selector: &Selector,
        action: &str,
        templates: Vec<Template>,
        priority: u32,
        judges_forwarded: bool,
        owner: u32,
        add_secs: u64,
        use_secs: u64,
        connection: u64,
        awaited: bool,
    ) -> PyResult<Self> {
        let inner = spd::PolicyParams {
            direction: words::direction(direction)?,
            selector: selector.inner,
            action: policy_action(action, &templates, awaited)?,
            priority,
            judges_forwarded,
            owner,
            connection,
            hard: spd::policy::PolicyLimits { add_secs, use_secs },
        };
        Ok(Self { inner })
    }
}

fn policy_action(word: &str, templates: &[Template], awaited: bool) -> PyResult<spd::Action> {
    if awaited && (word != "protect" || !templates.is_empty()) {
        return Err(PyValueError::new_err(
            "only protect without templates can be awaited",
        ));
    }
    let templates: Vec<_> = templates.iter().map(|template| template.inner).collect();
    match (word, templates.is_empty()) {
        ("bypass", true) => Ok(spd::Action::Bypass),
        ("discard", true) => Ok(spd::Action::Discard),
        ("protect", false) => Ok(spd::Action::Protect(templates)),
        ("protect", true) if awaited => Ok(spd::Action::Awaited),
        ("protect", true) => Err(PyValueError::new_err("protect needs at least one template")),
        ("bypass" | "discard", false) => Err(PyValueError::new_err(format!("{word} takes no templates"))),
        _ => Err(bad_word("action", word, "bypass, discard, protect")),
    }
}
