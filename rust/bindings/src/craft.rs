//! Whole packets for scripts, tests and the demo: echo, UDP, TCP, any payload.
//! No byte offset may enter: that is `sallet_core::wire`.
//! Answers to: RFC 791, RFC 8200, RFC 792, RFC 4443, RFC 768, RFC 9293.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sallet_core::wire::{icmp, ip, tcp, udp};

use crate::buffers::{Address, PacketBytes};

fn made<'py>(py: Python<'py>, packet: Option<Vec<u8>>) -> PyResult<Bound<'py, PyBytes>> {
    packet.map(|packet| PyBytes::new(py, &packet)).ok_or_else(|| {
        PyValueError::new_err("the addresses are of different families, or the packet is too long")
    })
}

/// Makes an ICMP or ICMPv6 echo packet with correct checksums. Raises ValueError if the families differ.
#[pyfunction]
#[pyo3(signature = (source, destination, *, reply=false, identifier=1, sequence=1, payload=None))]
pub(crate) fn echo_packet<'py>(
    py: Python<'py>,
    source: Address,
    destination: Address,
    reply: bool,
    identifier: u16,
    sequence: u16,
    payload: Option<PacketBytes>,
) -> PyResult<Bound<'py, PyBytes>> {
    let payload = payload.as_ref().map_or(&[][..], PacketBytes::as_slice);
    let echo = icmp::Echo {
        request: !reply,
        identifier,
        sequence,
        payload,
    };
    made(py, echo.packet(source.0, destination.0))
}

/// Makes a UDP packet with correct checksums. Raises ValueError if the families differ.
#[pyfunction]
pub(crate) fn udp_packet<'py>(
    py: Python<'py>,
    source: Address,
    destination: Address,
    source_port: u16,
    destination_port: u16,
    payload: PacketBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    made(
        py,
        udp::packet(
            source.0,
            destination.0,
            source_port,
            destination_port,
            payload.as_slice(),
        ),
    )
}

/// Makes one TCP segment (without options) with correct checksums. Raises ValueError if the families differ.
#[pyfunction]
#[pyo3(signature = (source, destination, source_port, destination_port, payload, *, sequence=0, acknowledgement=0, flags=0x18, window=65535))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
pub(crate) fn tcp_packet<'py>(
    py: Python<'py>,
    source: Address,
    destination: Address,
    source_port: u16,
    destination_port: u16,
    payload: PacketBytes,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    window: u16,
) -> PyResult<Bound<'py, PyBytes>> {
    let repr = tcp::Repr {
        source_port,
        destination_port,
        sequence,
        acknowledgement,
        flags,
        window,
    };
    made(py, repr.packet(source.0, destination.0, payload.as_slice()))
}

/// Makes an IP packet around any payload. Raises ValueError if the families differ.
#[pyfunction]
pub(crate) fn ip_packet<'py>(
    py: Python<'py>,
    source: Address,
    destination: Address,
    next_layer: u8,
    payload: PacketBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    made(
        py,
        ip::packet(source.0, destination.0, next_layer, payload.as_slice()),
    )
}
