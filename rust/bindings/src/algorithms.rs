//! `algorithms()`: the rows of the registry, as Python reads them.
//! No number of any PF_KEY dialect may enter: those tables are Python's.
//! Answers to: RFC 8221; `sallet_core::crypto::registry`.

use pyo3::prelude::*;
use sallet_core::crypto::registry;

/// One algorithm the engine provides.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct Algorithm {
    row: &'static registry::Algorithm,
}

#[pymethods]
impl Algorithm {
    /// The registry name, as `SaParams` takes it.
    #[getter]
    fn name(&self) -> &'static str {
        self.row.name
    }

    /// "aead", "cipher", "auth" or "compression".
    #[getter]
    fn kind(&self) -> &'static str {
        match self.row.kind {
            registry::Kind::Aead => "aead",
            registry::Kind::Cipher => "cipher",
            registry::Kind::Auth => "auth",
            registry::Kind::Compression => "compression",
        }
    }

    /// The key lengths that will do, in bits, salt included.
    #[getter]
    fn key_bits(&self) -> Vec<u16> {
        self.row.key_bits.to_vec()
    }

    /// How many of those bits are salt.
    #[getter]
    fn salt_bits(&self) -> u16 {
        self.row.salt_bits
    }

    /// Length of the IV in each packet, in bytes.
    #[getter]
    fn iv_bytes(&self) -> usize {
        self.row.iv_bytes
    }

    /// Block size, in bytes.
    #[getter]
    fn block_bytes(&self) -> usize {
        self.row.block_bytes
    }

    /// Length of the ICV in each packet, in bytes.
    #[getter]
    fn icv_bytes(&self) -> usize {
        self.row.icv_bytes
    }

    /// Whether it should not be used for anything new.
    #[getter]
    fn legacy(&self) -> bool {
        self.row.legacy
    }

    /// After so many bytes an SA ends, whatever was asked for; None means never.
    #[getter]
    fn byte_limit(&self) -> Option<u64> {
        self.row.byte_limit
    }

    /// Whether a person's key will do; else `SaParams(fresh_keys=True)` must promise another.
    #[getter]
    fn manual_keys(&self) -> bool {
        self.row.manual_keys
    }

    /// Where it is defined.
    #[getter]
    fn defined_in(&self) -> &'static str {
        self.row.defined_in
    }

    /// The library that does the work.
    #[getter]
    fn backend(&self) -> &'static str {
        self.row.backend
    }

    fn __repr__(&self) -> String {
        format!("<Algorithm {}>", self.row.name)
    }
}

/// Returns every algorithm the engine provides.
#[pyfunction]
pub(crate) fn algorithms() -> Vec<Algorithm> {
    registry::ALGORITHMS.iter().map(|row| Algorithm { row }).collect()
}
