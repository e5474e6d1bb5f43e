//! `AcquireEvent`, `ExpireEvent` and their like, and the eventfd that says there are some.
//! No delivery decision may enter: who hears of an event is the PF_KEY server's.
//! Answers to: RFC 2367 sections 3.1.6 (ACQUIRE) and 3.1.8 (EXPIRE), RFC 3948 section 5, eventfd(2).

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::eventfd::{EfdFlags, EventFd};
use pyo3::prelude::*;
use sallet_core::engine as core;

use crate::selector::Template;
use crate::snapshot::{PolicyView, SaView};

/// Wakes a Python event loop when the engine has events.
pub(crate) struct Signal {
    fd: EventFd,
}

impl Signal {
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            fd: EventFd::from_value_and_flags(0, flags)?,
        })
    }

    pub(crate) fn raise(&self) {
        // A full counter means the reader has been woken already.
        let _ = self.fd.write(1);
    }

    pub(crate) fn lower(&self) {
        // Nothing to read means nobody raised it.
        let _ = self.fd.read();
    }

    pub(crate) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// A packet needs an SA that does not exist: key managers are asked for one (RFC 2367 §3.1.6).
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct AcquireEvent {
    /// Number of this request, as `sadb_msg_seq`.
    #[pyo3(get)]
    id: u32,
    /// The SPD entry that asks.
    #[pyo3(get)]
    policy: u32,
    /// The template without an SA.
    #[pyo3(get)]
    template: Template,
    /// Source of the SA that is missing.
    #[pyo3(get)]
    source: IpAddr,
    /// Destination of the SA that is missing.
    #[pyo3(get)]
    destination: IpAddr,
    /// (source, destination, next layer protocol) of the packet that needs it.
    #[pyo3(get)]
    packet: (IpAddr, IpAddr, u8),
}

/// A packet met an SPD entry that says to protect and not yet how: key managers are asked for its templates.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct PolicyAcquireEvent {
    /// The SPD entry that waits.
    #[pyo3(get)]
    policy: u32,
}

/// An SA reached its soft or its hard lifetime (RFC 2367 §3.1.8).
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct ExpireEvent {
    /// The SA as it was.
    #[pyo3(get)]
    sa: Py<SaView>,
    /// Whether it was the hard lifetime: the SA is gone.
    #[pyo3(get)]
    hard: bool,
}

/// An SPD entry reached its lifetime and is gone.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct PolicyExpireEvent {
    /// The entry as it was.
    #[pyo3(get)]
    policy: Py<PolicyView>,
}

/// An authentic packet came from another address or port: a NAT has made another mapping (RFC 3948 §5).
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct NewMappingEvent {
    /// The SA as it was; its source and its port are the old ones.
    #[pyo3(get)]
    sa: Py<SaView>,
    /// The peer's address now.
    #[pyo3(get)]
    address: IpAddr,
    /// The peer's port now.
    #[pyo3(get)]
    port: u16,
}

/// Makes the Python object for an event of the engine.
pub(crate) fn to_python(py: Python<'_>, event: core::Event) -> PyResult<Py<PyAny>> {
    match event {
        core::Event::Acquire {
            id,
            policy,
            template,
            source,
            destination,
            selector_key,
        } => {
            let acquire = AcquireEvent {
                id,
                policy: policy.0,
                template: Template { inner: template },
                source,
                destination,
                packet: (
                    selector_key.source,
                    selector_key.destination,
                    selector_key.next_layer,
                ),
            };
            Ok(Py::new(py, acquire)?.into_any())
        }
        core::Event::PolicyAcquire { policy } => {
            let policy = policy.0;
            Ok(Py::new(py, PolicyAcquireEvent { policy })?.into_any())
        }
        core::Event::Expire { sa, hard } => {
            let sa = Py::new(py, SaView { inner: *sa })?;
            Ok(Py::new(py, ExpireEvent { sa, hard })?.into_any())
        }
        core::Event::NewMapping { sa, address, port } => {
            let sa = Py::new(py, SaView { inner: *sa })?;
            Ok(Py::new(py, NewMappingEvent { sa, address, port })?.into_any())
        }
        core::Event::PolicyExpire { policy } => {
            let policy = Py::new(py, PolicyView { inner: *policy })?;
            Ok(Py::new(py, PolicyExpireEvent { policy })?.into_any())
        }
    }
}
