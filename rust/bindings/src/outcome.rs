//! What became of one packet: `Outcome`, with bytes, the drop reason and, if asked for, the journey.
//! No judgement may enter: it only repeats what the engine put into its `Output`.
//! Answers to: ARCHITECTURE.md C and D.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sallet_core::engine::{Output, Route};
use sallet_core::error::DropReason;

/// What became of one packet.
///
/// `transmitted` are complete IP packets for the open side, `delivered` complete IP packets for the
/// protected side (an ICMP answer to the sender among them), more than one of them where a packet was cut into
/// fragments. `reason` names the counter when it was dropped.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct Outcome {
    transmitted: Vec<Vec<u8>>,
    delivered: Vec<Vec<u8>>,
    protected_by: Option<u32>,
    held: bool,
    reason: Option<DropReason>,
    journey: Vec<String>,
}

impl Outcome {
    pub(crate) fn of(output: &Output) -> Self {
        let protected_by = output.transmit.iter().find_map(|transmit| match transmit.route {
            Route::Protected { spi, .. } => Some(spi.0),
            Route::Bypass | Route::Keepalive { .. } => None,
        });
        Self {
            transmitted: output
                .transmit
                .iter()
                .map(|transmit| transmit.packet.as_slice().to_vec())
                .collect(),
            delivered: output
                .deliver
                .iter()
                .map(|packet| packet.as_slice().to_vec())
                .collect(),
            protected_by,
            held: output.transmit.is_empty()
                && output.deliver.is_empty()
                && output.dropped.is_empty()
                && !output.spare.is_empty(),
            reason: output.dropped.first().map(|dropped| dropped.reason),
            journey: output
                .journey
                .iter()
                .flatten()
                .map(|step| step.describe())
                .collect(),
        }
    }
}

#[pymethods]
impl Outcome {
    /// Packets for the open side.
    #[getter]
    fn transmitted<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.transmitted
            .iter()
            .map(|packet| PyBytes::new(py, packet))
            .collect()
    }

    /// Packets for the protected side.
    #[getter]
    fn delivered<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.delivered
            .iter()
            .map(|packet| PyBytes::new(py, packet))
            .collect()
    }

    /// The one packet that came out, on whichever side; None if it was dropped or there is more than one.
    #[getter]
    fn packet<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match (self.transmitted.as_slice(), self.delivered.as_slice()) {
            ([packet], []) | ([], [packet]) => Some(PyBytes::new(py, packet)),
            _ => None,
        }
    }

    /// Whether the packet went no further.
    #[getter]
    fn dropped(&self) -> bool {
        self.reason.is_some()
    }

    /// Whether the packet waits: a fragment for the others of its datagram, any packet for its SA.
    #[getter]
    fn held(&self) -> bool {
        self.held
    }

    /// The drop reason: the name of its counter, or None.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.reason.map(DropReason::name)
    }

    /// The drop reason as a sentence, or None.
    #[getter]
    fn explanation(&self) -> Option<&'static str> {
        self.reason.map(|reason| reason.explanation().trim())
    }

    /// The SPI of the outermost SA that protects it, or None.
    #[getter]
    fn protected_by(&self) -> Option<u32> {
        self.protected_by
    }

    /// The stages it went through, in order; empty unless `journey=True` was asked for.
    #[getter]
    fn journey(&self) -> Vec<String> {
        self.journey.clone()
    }

    fn __repr__(&self) -> String {
        match self.reason {
            Some(reason) => format!("<Outcome dropped: {}>", reason.name()),
            None => format!(
                "<Outcome transmitted={} delivered={}>",
                self.transmitted.len(),
                self.delivered.len()
            ),
        }
    }
}
