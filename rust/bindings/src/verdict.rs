//! `Verdict`: what the SPD says of a packet in clear, without passing it.
//! No judgement may enter: it repeats `sallet_core::engine::Verdict`.
//! Answers to: RFC 4301 section 4.4.1 (discard, bypass, protect).

use pyo3::prelude::*;
use sallet_core::engine as core;

use crate::selector::Template;

/// What would become of a packet, and which SPD entry says so.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct Verdict {
    /// "bypass", "discard", "protect", "waits" (a fragment: only the whole datagram is decided about) or
    /// "malformed".
    #[pyo3(get)]
    action: &'static str,
    /// The id of the SPD entry, or None where the default policy or a built-in rule decides.
    #[pyo3(get)]
    policy: Option<u32>,
    templates: Vec<core::TemplateChoice>,
}

impl Verdict {
    pub(crate) fn of(verdict: core::Verdict) -> Self {
        let (action, policy, templates) = match verdict {
            core::Verdict::Bypass { policy } => ("bypass", policy, Vec::new()),
            core::Verdict::Discard { policy } => ("discard", policy, Vec::new()),
            core::Verdict::Protect { policy, templates } => ("protect", Some(policy), templates),
            core::Verdict::Waits => ("waits", None, Vec::new()),
            core::Verdict::Malformed => ("malformed", None, Vec::new()),
        };
        Self {
            action,
            policy: policy.map(|id| id.0),
            templates,
        }
    }
}

#[pymethods]
impl Verdict {
    /// The templates that apply, innermost first, each with the SPI of the SA that serves it, or None.
    #[getter]
    fn templates(&self) -> Vec<(Template, Option<u32>)> {
        let choice = |choice: &core::TemplateChoice| {
            (
                Template {
                    inner: choice.template,
                },
                choice.sa.map(|id| id.spi.0),
            )
        };
        self.templates.iter().map(choice).collect()
    }

    fn __repr__(&self) -> String {
        match self.policy {
            Some(policy) => format!("<Verdict {} by policy {policy}>", self.action),
            None => format!("<Verdict {}>", self.action),
        }
    }
}
