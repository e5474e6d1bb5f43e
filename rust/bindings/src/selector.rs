//! `Selector` and `Template` as frozen Python classes.
//! No matching may enter: that is `sallet_core::selector`.
//! Answers to: RFC 4301 section 4.4.1.1 and 4.4.1.2.

use std::net::IpAddr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sallet_core::{selector as core, terms};

use crate::buffers::Address;
use crate::{error, words};

/// What an SPD entry covers (RFC 4301 §4.4.1.1).
///
/// `source` and `destination` are a prefix ("10.0.0.0/8", "::1") or a pair (first, last).
/// `next_layer` is a protocol number or None for any; the port ranges are (first, last), for
/// ICMP the message type stands in `source_ports` and the code in `destination_ports`.
/// Raises EngineError (kind "invalid-selector") or ValueError.
#[pyclass(frozen, eq, hash, from_py_object, module = "sallet._core")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selector {
    pub(crate) inner: core::Selector,
}

#[derive(FromPyObject)]
pub(crate) enum Addresses {
    #[pyo3(transparent)]
    Pair((Address, Address)),
    #[pyo3(transparent)]
    Text(String),
}

impl Addresses {
    fn range(self) -> PyResult<core::AddressRange> {
        match self {
            Self::Pair((Address(first), Address(last)))
                if first.is_ipv4() == last.is_ipv4() && first <= last =>
            {
                Ok(core::AddressRange { first, last })
            }
            Self::Pair(_) => Err(error::refused(&sallet_core::error::Error::InvalidSelector)),
            Self::Text(text) => prefix(&text),
        }
    }
}

fn prefix(text: &str) -> PyResult<core::AddressRange> {
    let (address, len) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address
        .parse()
        .map_err(|_| PyValueError::new_err(format!("{text:?} is not an address or a prefix")))?;
    let full = if address.is_ipv4() { 32 } else { 128 };
    let len: u8 = if len.is_empty() {
        full
    } else {
        len.parse()
            .map_err(|_| PyValueError::new_err(format!("{text:?} has no valid prefix length")))?
    };
    core::AddressRange::prefix(address, len).map_err(|error| error::refused(&error))
}

#[pymethods]
impl Selector {
    #[new]
    #[pyo3(signature = (source, destination, next_layer=None, source_ports=(0, 65535), destination_ports=(0, 65535)))]
    fn new(
        source: Addresses,
        destination: Addresses,
        next_layer: Option<u8>,
        source_ports: (u16, u16),
        destination_ports: (u16, u16),
    ) -> PyResult<Self> {
        let (source, destination) = (source.range()?, destination.range()?);
        let upside_down = source_ports.0 > source_ports.1 || destination_ports.0 > destination_ports.1;
        if upside_down || source.first.is_ipv4() != destination.first.is_ipv4() {
            return Err(error::refused(&sallet_core::error::Error::InvalidSelector));
        }
        let inner = core::Selector {
            source,
            destination,
            next_layer,
            source_ports: core::PortRange {
                first: source_ports.0,
                last: source_ports.1,
            },
            destination_ports: core::PortRange {
                first: destination_ports.0,
                last: destination_ports.1,
            },
        };
        Ok(Self { inner })
    }

    /// First and last source address.
    #[getter]
    fn source(&self) -> (IpAddr, IpAddr) {
        (self.inner.source.first, self.inner.source.last)
    }

    /// First and last destination address.
    #[getter]
    fn destination(&self) -> (IpAddr, IpAddr) {
        (self.inner.destination.first, self.inner.destination.last)
    }

    /// The source as (address, prefix length), or None where the range is not a prefix.
    #[getter]
    fn source_prefix(&self) -> Option<(IpAddr, u8)> {
        self.inner.source.as_prefix()
    }

    /// The destination as (address, prefix length), or None where the range is not a prefix.
    #[getter]
    fn destination_prefix(&self) -> Option<(IpAddr, u8)> {
        self.inner.destination.as_prefix()
    }

    /// Protocol number, None for any.
    #[getter]
    fn next_layer(&self) -> Option<u8> {
        self.inner.next_layer
    }

    /// First and last source port (ICMP: type).
    #[getter]
    fn source_ports(&self) -> (u16, u16) {
        (self.inner.source_ports.first, self.inner.source_ports.last)
    }

    /// First and last destination port (ICMP: code).
    #[getter]
    fn destination_ports(&self) -> (u16, u16) {
        (
            self.inner.destination_ports.first,
            self.inner.destination_ports.last,
        )
    }

    fn __repr__(&self) -> String {
        let range = |range: &core::AddressRange| match range.as_prefix() {
            Some((address, len)) => format!("'{address}/{len}'"),
            None => format!("('{}', '{}')", range.first, range.last),
        };
        let next_layer = self
            .inner
            .next_layer
            .map_or_else(|| "None".to_owned(), |number| number.to_string());
        format!(
            "Selector({}, {}, {next_layer}, {:?}, {:?})",
            range(&self.inner.source),
            range(&self.inner.destination),
            self.source_ports(),
            self.destination_ports()
        )
    }
}

/// What an SPD entry asks of one SA; the first template of a policy is the innermost.
///
/// `endpoints` is (source, destination) of the SA, or None for the packet's own (transport mode).
#[pyclass(frozen, eq, hash, from_py_object, module = "sallet._core")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Template {
    pub(crate) inner: terms::Template,
}

#[pymethods]
impl Template {
    #[new]
    #[pyo3(signature = (protocol, mode, level="require", reqid=0, endpoints=None))]
    fn new(
        protocol: &str,
        mode: &str,
        level: &str,
        reqid: u32,
        endpoints: Option<(Address, Address)>,
    ) -> PyResult<Self> {
        let inner = terms::Template {
            protocol: words::protocol(protocol)?,
            mode: words::mode(mode)?,
            level: words::level(level)?,
            reqid,
            endpoints: endpoints.map(|(Address(source), Address(destination))| (source, destination)),
        };
        Ok(Self { inner })
    }

    /// "esp", "ah" or "ipcomp".
    #[getter]
    fn protocol(&self) -> &'static str {
        self.inner.protocol.name()
    }

    /// "any", "transport" or "tunnel".
    #[getter]
    fn mode(&self) -> &'static str {
        self.inner.mode.name()
    }

    /// "default", "use", "require" or "unique".
    #[getter]
    fn level(&self) -> &'static str {
        self.inner.level.name()
    }

    /// 0, or the id that ties this template to SAs of the same id.
    #[getter]
    fn reqid(&self) -> u32 {
        self.inner.reqid
    }

    /// (source, destination) of the SA, or None.
    #[getter]
    fn endpoints(&self) -> Option<(IpAddr, IpAddr)> {
        self.inner.endpoints
    }

    fn __repr__(&self) -> String {
        let endpoints = self
            .inner
            .endpoints
            .map_or_else(String::new, |(source, destination)| {
                format!("{source}-{destination}")
            });
        format!(
            "<Template {}/{}/{endpoints}/{}:{}>",
            self.protocol(),
            self.mode(),
            self.level(),
            self.inner.reqid
        )
    }
}
