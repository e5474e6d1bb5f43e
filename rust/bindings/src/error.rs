//! The one place where the core's `Error` becomes a Python exception.
//! No decision may enter: the errno here is the plain one, dialect tables in Python may choose another by `kind`.
//! Answers to: RFC 2367 section 3.1 (errors), ARCHITECTURE.md E.5.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use sallet_core::error::Error;

pyo3::create_exception!(
    sallet._core,
    EngineError,
    PyOSError,
    "A request to the SAD or the SPD was refused; nothing was changed.\n\n\
     `errno` is the plain errno; `kind` is a stable word (\"exists\", \"not-found\", \"invalid-key-length\", ...)."
);

/// Makes the exception for a refused request.
pub(crate) fn refused(error: &Error) -> PyErr {
    let made = EngineError::new_err((errno_of(error), error.to_string()));
    Python::attach(|py| match made.value(py).setattr("kind", error.kind()) {
        Ok(()) => made,
        Err(other) => other,
    })
}

/// Makes a `ValueError` that names the field and the word.
pub(crate) fn bad_word(field: &str, word: &str, expected: &str) -> PyErr {
    PyValueError::new_err(format!("{field}: {word:?} is not one of {expected}"))
}

fn errno_of(error: &Error) -> i32 {
    match error {
        Error::Exists | Error::SpiExhausted => libc::EEXIST,
        Error::NotFound => libc::ESRCH,
        Error::Full => libc::ENOBUFS,
        Error::InvalidSpi
        | Error::UnknownAlgorithm { .. }
        | Error::InvalidKeyLength { .. }
        | Error::WeakKey { .. }
        | Error::NotForManualKeys { .. }
        | Error::UnsupportedCombination
        | Error::InvalidState
        | Error::InvalidSelector
        | Error::OutOfRange { .. } => libc::EINVAL,
    }
}
