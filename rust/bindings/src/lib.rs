//! Table of contents of the Python module `sallet._core`.
//! No logic may enter: classes live in their own files, errors are converted in `error.rs` only.
//! Answers to: ARCHITECTURE.md section B.

use pyo3::prelude::*;

mod algorithms;
mod buffers;
mod config;
mod craft;
mod databases;
mod datapath;
mod dump;
mod engine;
mod error;
mod events;
mod outcome;
mod params;
mod selector;
mod snapshot;
mod verdict;
mod words;

/// The engine of sallet: SPD, SAD, replay windows and ESP, without a kernel.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::algorithms::{Algorithm, algorithms};
    #[pymodule_export]
    use crate::craft::{echo_packet, ip_packet, tcp_packet, udp_packet};
    #[pymodule_export]
    use crate::datapath::Datapath;
    #[pymodule_export]
    use crate::dump::{DumpShape, SadMoment};
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::error::EngineError;
    #[pymodule_export]
    use crate::events::{AcquireEvent, ExpireEvent, NewMappingEvent, PolicyAcquireEvent, PolicyExpireEvent};
    #[pymodule_export]
    use crate::outcome::Outcome;
    #[pymodule_export]
    use crate::params::{Limits, PolicyParams, SaParams};
    #[pymodule_export]
    use crate::selector::{Selector, Template};
    #[pymodule_export]
    use crate::snapshot::{PolicyView, SaView, Stats, explain_drop};
    #[pymodule_export]
    use crate::verdict::Verdict;
}
