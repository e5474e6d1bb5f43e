//! What comes out: `SaView`, `PolicyView`, `Verdict`, `Stats`. They are copies: nothing in them changes later.
//! No formatting for people may enter: that is `sallet.lang.dump` and the commands.
//! Answers to: RFC 4301 sections 4.4.1, 4.4.2.1; RFC 2367 section 3.1.10 (what a dump must hold).

use std::net::IpAddr;

use indexmap::IndexMap;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sallet_core::crypto::AlgorithmKey;
use sallet_core::error::DropReason;
use sallet_core::{engine as core, sa, spd};

use crate::params::Limits;
use crate::selector::{Selector, Template};

type NamedKey<'py> = Option<(String, Bound<'py, PyBytes>)>;

/// One SA as it was when it was asked for.
///
/// Times are whole seconds since 1970; `sequence` is the last number sent (outbound) or the highest
/// received (inbound). `encryption` and `authentication` hold the key: never print them.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct SaView {
    pub(crate) inner: sa::SaView,
}

#[pymethods]
impl SaView {
    /// The SPI, host order.
    #[getter]
    fn spi(&self) -> u32 {
        self.inner.params.id.spi.0
    }

    /// "esp", "ah" or "ipcomp".
    #[getter]
    fn protocol(&self) -> &'static str {
        self.inner.params.id.protocol.name()
    }

    /// The source of the SA's packets.
    #[getter]
    fn source(&self) -> IpAddr {
        self.inner.params.source
    }

    /// The destination of the SA's packets.
    #[getter]
    fn destination(&self) -> IpAddr {
        self.inner.params.id.destination
    }

    /// "any", "transport" or "tunnel".
    #[getter]
    fn mode(&self) -> &'static str {
        self.inner.params.mode.name()
    }

    /// The id that ties this SA to templates of the same id, 0 for none.
    #[getter]
    fn reqid(&self) -> u32 {
        self.inner.params.reqid
    }

    /// (registry name, key) of the cipher or AEAD, or None.
    #[getter]
    fn encryption<'py>(&self, py: Python<'py>) -> NamedKey<'py> {
        named_key(py, self.inner.params.encryption.as_ref())
    }

    /// (registry name, key) of the integrity algorithm, or None.
    #[getter]
    fn authentication<'py>(&self, py: Python<'py>) -> NamedKey<'py> {
        named_key(py, self.inner.params.authentication.as_ref())
    }

    /// The replay window, in packets; 0 means no check.
    #[getter]
    fn replay_window(&self) -> u32 {
        self.inner.params.replay_window
    }

    /// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
    #[getter]
    fn esn(&self) -> bool {
        self.inner.params.esn
    }

    /// Whether packets have the format of RFC 1826 or RFC 1827.
    #[getter]
    fn old(&self) -> bool {
        self.inner.params.old
    }

    /// Whether the sequence number may wrap.
    #[getter]
    fn cycle_sequence(&self) -> bool {
        self.inner.params.cycle_sequence
    }

    /// Whether IPComp shows the low half of the SPI as CPI, and not DEFLATE's well-known one.
    #[getter]
    fn raw_cpi(&self) -> bool {
        self.inner.params.raw_cpi
    }

    /// The soft lifetime.
    #[getter]
    fn soft(&self) -> Limits {
        self.inner.params.soft.into()
    }

    /// The hard lifetime.
    #[getter]
    fn hard(&self) -> Limits {
        self.inner.params.hard.into()
    }

    /// (source port, destination port) of UDP encapsulation, or None.
    #[getter]
    fn encap(&self) -> Option<(u16, u16)> {
        self.inner
            .params
            .encap
            .map(|encap| (encap.source_port, encap.destination_port))
    }

    /// (source, destination) before a NAT changed them, or None.
    #[getter]
    fn original(&self) -> Option<(IpAddr, IpAddr)> {
        self.inner.params.options.original
    }

    /// Whether this end keeps a NAT's mapping alive.
    #[getter]
    fn keepalive(&self) -> bool {
        self.inner.params.options.keepalive
    }

    /// The length to which packets in tunnels are padded, 0 for none.
    #[getter]
    fn tfc_bytes(&self) -> u16 {
        self.inner.params.options.tfc_bytes
    }

    /// The length to which IPv4 packets are cut before they go into UDP, 0 for none.
    #[getter]
    fn fragment_bytes(&self) -> u16 {
        self.inner.params.options.fragment_bytes
    }

    /// The path MTU that was told last, or None.
    #[getter]
    fn path_mtu(&self) -> Option<u32> {
        self.inner.path_mtu
    }

    /// What the caller of `sad_add` said, unread.
    #[getter]
    fn flags(&self) -> u32 {
        self.inner.params.flags
    }

    /// What the caller of `sad_add` said, unread (a process id).
    #[getter]
    fn owner(&self) -> u32 {
        self.inner.params.owner
    }

    /// The connection by which it was added, 0 if there was none.
    #[getter]
    fn connection(&self) -> u64 {
        self.inner.params.connection
    }

    /// "larval", "mature", "dying" or "dead".
    #[getter]
    fn state(&self) -> &'static str {
        self.inner.state.name()
    }

    /// When it was added, in seconds since 1970.
    #[getter]
    fn created(&self) -> u64 {
        self.inner.created.0
    }

    /// When it carried its first packet, in seconds since 1970, or None.
    #[getter]
    fn first_used(&self) -> Option<u64> {
        self.inner.first_used.map(|wall| wall.0)
    }

    /// Bytes handed to the transform.
    #[getter]
    fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// Packets handed to the transform.
    #[getter]
    fn packets(&self) -> u64 {
        self.inner.packets
    }

    /// Last sequence number sent, or highest received.
    #[getter]
    fn sequence(&self) -> u64 {
        self.inner.sequence
    }

    /// Numbers below this one may be sent; above it a new lease is needed.
    #[getter]
    fn lease_limit(&self) -> u64 {
        self.inner.lease_limit
    }

    /// The highest number the window has seen, or None without a window.
    #[getter]
    fn window_top(&self) -> Option<u64> {
        self.inner.window.as_ref().map(|window| window.top)
    }

    /// The window as words of 64 bits, bit 0 of word 0 is the highest number seen.
    #[getter]
    fn window_bitmap(&self) -> Option<Vec<u64>> {
        self.inner.window.as_ref().map(|window| window.bitmap.clone())
    }

    /// The order of insertion.
    #[getter]
    fn serial(&self) -> u64 {
        self.inner.serial
    }

    fn __repr__(&self) -> String {
        let id = &self.inner.params.id;
        format!(
            "<SaView {} {} {}-{} {}>",
            id.protocol.name(),
            id.spi,
            self.inner.params.source,
            id.destination,
            self.state()
        )
    }
}

fn named_key<'py>(py: Python<'py>, key: Option<&AlgorithmKey>) -> NamedKey<'py> {
    key.map(|key| (key.name.clone(), PyBytes::new(py, key.key.as_bytes())))
}

/// One SPD entry as it was when it was asked for.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct PolicyView {
    pub(crate) inner: spd::PolicyView,
}

#[pymethods]
impl PolicyView {
    /// "in", "out" or "fwd".
    #[getter]
    fn direction(&self) -> &'static str {
        self.inner.params.direction.name()
    }

    /// What it covers.
    #[getter]
    fn selector(&self) -> Selector {
        Selector {
            inner: self.inner.params.selector,
        }
    }

    /// "bypass", "discard" or "protect".
    #[getter]
    fn action(&self) -> &'static str {
        self.inner.params.action.name()
    }

    /// What it asks for, the innermost first; empty unless the action is "protect", and while nobody has said it.
    #[getter]
    fn templates(&self) -> Vec<Template> {
        match &self.inner.params.action {
            spd::Action::Protect(templates) => {
                templates.iter().map(|inner| Template { inner: *inner }).collect()
            }
            spd::Action::Bypass | spd::Action::Discard | spd::Action::Awaited => Vec::new(),
        }
    }

    /// Lower ones are consulted first.
    #[getter]
    fn priority(&self) -> u32 {
        self.inner.params.priority
    }

    /// Whether an "in" entry speaks for forwarded packets too.
    #[getter]
    fn judges_forwarded(&self) -> bool {
        self.inner.params.judges_forwarded
    }

    /// What the caller said, unread (a process id).
    #[getter]
    fn owner(&self) -> u32 {
        self.inner.params.owner
    }

    /// The connection by which it was added, 0 if there was none.
    #[getter]
    fn connection(&self) -> u64 {
        self.inner.params.connection
    }

    /// Lifetime in seconds since creation, 0 for none.
    #[getter]
    fn add_secs(&self) -> u64 {
        self.inner.params.hard.add_secs
    }

    /// Lifetime in seconds of idleness, 0 for none.
    #[getter]
    fn use_secs(&self) -> u64 {
        self.inner.params.hard.use_secs
    }

    /// The id, unique in this engine's life.
    #[getter]
    fn id(&self) -> u32 {
        self.inner.id.0
    }

    /// When it was added, in seconds since 1970.
    #[getter]
    fn created(&self) -> u64 {
        self.inner.created.0
    }

    /// When it last decided about a packet, in seconds since 1970, or None.
    #[getter]
    fn last_used(&self) -> Option<u64> {
        self.inner.last_used.map(|wall| wall.0)
    }

    /// Packets it decided about.
    #[getter]
    fn packets(&self) -> u64 {
        self.inner.packets
    }

    /// Bytes of those packets.
    #[getter]
    fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// The order of insertion.
    #[getter]
    fn serial(&self) -> u64 {
        self.inner.serial
    }

    fn __repr__(&self) -> String {
        format!(
            "<PolicyView {} {} {}>",
            self.id(),
            self.direction(),
            self.action()
        )
    }
}

/// The counters of an engine, as they were when they were asked for.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct Stats {
    inner: core::Stats,
}

impl Stats {
    pub(crate) const fn of(inner: core::Stats) -> Self {
        Self { inner }
    }
}

#[pymethods]
impl Stats {
    /// Packets dropped, by reason; every reason is there, in the order of the counters.
    #[getter]
    fn drops(&self) -> IndexMap<&'static str, u64> {
        DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), self.inner.dropped(*reason)))
            .collect()
    }

    /// What passed, as name: (packets, bytes).
    #[getter]
    fn passed(&self) -> IndexMap<&'static str, (u64, u64)> {
        let named = [
            ("outbound_arrived", &self.inner.outbound_arrived),
            ("outbound_protected", &self.inner.outbound_protected),
            ("outbound_bypassed", &self.inner.outbound_bypassed),
            ("inbound_arrived", &self.inner.inbound_arrived),
            ("inbound_opened", &self.inner.inbound_opened),
            ("inbound_delivered", &self.inner.inbound_delivered),
            ("inbound_bypassed", &self.inner.inbound_bypassed),
            ("outbound_held", &self.inner.outbound_held),
            ("inbound_held", &self.inner.inbound_held),
            ("fragments_made", &self.inner.fragments_made),
            ("dummies_sent", &self.inner.dummies_sent),
            ("too_big_answers", &self.inner.too_big_answers),
            ("ipcomp_compressed", &self.inner.ipcomp.compressed),
            ("ipcomp_plain_small", &self.inner.ipcomp.plain_small),
            ("ipcomp_plain_useless", &self.inner.ipcomp.plain_useless),
            ("ipcomp_plain_backed_off", &self.inner.ipcomp.plain_backed_off),
            ("ipcomp_plain_nested", &self.inner.ipcomp.plain_nested),
            ("ipcomp_inflated", &self.inner.ipcomp.inflated),
            ("ipcomp_bare", &self.inner.ipcomp.bare),
        ];
        named
            .into_iter()
            .map(|(name, count)| (name, (count.packets, count.bytes)))
            .collect()
    }

    /// What happened beside packets, as name: how often.
    #[getter]
    fn happened(&self) -> IndexMap<&'static str, u64> {
        IndexMap::from([
            ("reassembled", self.inner.reassembled),
            ("reassembly_failed", self.inner.reassembly_failed),
            ("path_mtu_learned", self.inner.path_mtu_learned),
            ("icmp_hints_refused", self.inner.icmp_hints_refused),
            ("esn_resynchronised", self.inner.esn_resynchronised),
            ("held_for_sa", self.inner.held_for_sa),
            ("released", self.inner.released),
        ])
    }

    /// Outbound packets that wait for an SA now.
    #[getter]
    fn outbound_waiting(&self) -> u64 {
        self.inner.outbound_waiting
    }

    /// Events forgotten because nobody took them.
    #[getter]
    fn events_dropped(&self) -> u64 {
        self.inner.events_dropped
    }
}

/// Returns the sentence that explains a drop reason, or None for an unknown name.
#[pyfunction]
pub(crate) fn explain_drop(name: &str) -> Option<&'static str> {
    DropReason::ALL
        .iter()
        .find(|reason| reason.name() == name)
        .map(|reason| reason.explanation().trim())
}
