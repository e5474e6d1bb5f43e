//! Table of contents of the Python module `sallet._core`.
//! No logic may enter: classes live in their own files, errors are converted in `error.rs` only.
//! Answers to: ARCHITECTURE.md section B.

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _core {}
