//! Arguments that come in several Python shapes: packets (bytes or any buffer) and addresses (text or objects).
//! No parsing of a packet may enter.
//! Answers to: the buffer protocol (PEP 688 names the type), Python's `ipaddress`.

use std::net::IpAddr;

use pyo3::buffer::PyBuffer;
#[cfg(feature = "stubs")]
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::{Borrowed, PyErr};
#[cfg(feature = "stubs")]
use pyo3::{type_hint_identifier, type_hint_union};

/// The bytes of one packet: borrowed from `bytes`, copied from other buffers (which may change meanwhile).
pub(crate) enum PacketBytes {
    Borrowed(PyBackedBytes),
    Copied(Vec<u8>),
}

impl PacketBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for PacketBytes {
    type Error = PyErr;

    #[cfg(feature = "stubs")]
    const INPUT_TYPE: PyStaticExpr = type_hint_identifier!("typing_extensions", "Buffer");

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.extract::<PyBackedBytes>() {
            return Ok(Self::Borrowed(bytes));
        }
        let buffer = PyBuffer::<u8>::get(&object)?;
        buffer.to_vec(object.py()).map(Self::Copied)
    }
}

/// An address as `ipaddress` object or as text.
pub(crate) struct Address(pub(crate) IpAddr);

impl<'py> FromPyObject<'_, 'py> for Address {
    type Error = PyErr;

    #[cfg(feature = "stubs")]
    const INPUT_TYPE: PyStaticExpr = type_hint_union!(
        type_hint_identifier!("builtins", "str"),
        type_hint_identifier!("ipaddress", "IPv4Address"),
        type_hint_identifier!("ipaddress", "IPv6Address")
    );

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.extract::<IpAddr>().map(Self)
    }
}
