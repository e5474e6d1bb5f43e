//! `Datapath` for Python: starts and stops the thread that moves packets. No packet enters Python.
//! No address, route or rule may enter: those are `sallet.attach`.
//! Answers to: ARCHITECTURE.md C.1, C.7, D.1, D.6.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sallet_datapath as io;

use crate::engine::Engine;

/// The thread between a TUN device and raw or UDP sockets, and an engine.
///
/// `tun_name` is the device to create, `tun_mtu` its MTU in bytes, `bypass_mark` the SO_MARK of everything
/// the thread sends, `raw` whether it receives protocols 50, 51 and 108, `udp_port` the port of ESP in UDP
/// (RFC 3948) or None. The engine must live by the system clock. Nothing is opened before `start()`.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct Datapath {
    engine: Py<Engine>,
    options: io::Options,
    running: Mutex<Option<io::Datapath>>,
}

#[pymethods]
impl Datapath {
    #[new]
    #[pyo3(signature = (engine, *, tun_name="sallet0", tun_mtu=1400, bypass_mark=0x5a11, raw=true, udp_port=None))]
    fn new(
        engine: Py<Engine>,
        tun_name: &str,
        tun_mtu: u32,
        bypass_mark: u32,
        raw: bool,
        udp_port: Option<u16>,
    ) -> Self {
        let options = io::Options {
            tun_name: tun_name.to_owned(),
            tun_mtu,
            bypass_mark,
            raw,
            udp_port,
            ..Default::default()
        };
        Self {
            engine,
            options,
            running: Mutex::new(None),
        }
    }

    /// Opens the devices and starts the thread. Raises OSError (what is missing stands in its text).
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let (core, signal) = {
            let engine = self.engine.get();
            (Arc::clone(&engine.core), Arc::clone(&engine.signal))
        };
        let options = self.options.clone();
        let started = py.detach(|| io::Datapath::start(core, options, Arc::new(move || signal.raise())))?;
        *self.engine.get().mover.lock() = Some(started.waker());
        *self.running.lock() = Some(started);
        Ok(())
    }

    /// Ends the thread and removes the device; does nothing if it does not run.
    fn stop(&self, py: Python<'_>) {
        *self.engine.get().mover.lock() = None;
        let running = self.running.lock().take();
        py.detach(|| drop(running));
    }

    /// The name of the device, or None while it does not run.
    #[getter]
    fn device_name(&self) -> Option<String> {
        self.running
            .lock()
            .as_ref()
            .map(|running| running.device_name().to_owned())
    }

    /// Whether the thread runs.
    #[getter]
    fn is_running(&self) -> bool {
        self.running.lock().as_ref().is_some_and(io::Datapath::is_running)
    }

    /// Why the thread ended by itself, or None.
    #[getter]
    fn failure(&self) -> Option<String> {
        self.running
            .lock()
            .as_ref()
            .and_then(|running| running.failure().map(str::to_owned))
    }

    /// Takes ESP in UDP at the address of a key manager's UDP socket; IKE stays with that socket.
    ///
    /// The socket has to share its port (SO_REUSEPORT) and to be of the same user. `only_v6` is its
    /// IPV6_V6ONLY. Does nothing while the thread does not run. Raises OSError (what is missing stands in its
    /// text).
    fn open_endpoint(&self, py: Python<'_>, address: IpAddr, port: u16, only_v6: bool) -> PyResult<()> {
        let address = SocketAddr::new(address, port);
        self.ask(py, |running| {
            running.open_endpoint(io::Endpoint { address, only_v6 })
        })
    }

    /// Gives the address up again. Raises OSError if the thread has ended by itself.
    fn close_endpoint(&self, py: Python<'_>, address: IpAddr, port: u16) -> PyResult<()> {
        let address = SocketAddr::new(address, port);
        self.ask(py, |running| running.close_endpoint(address))
    }

    /// Lets the thread look at its timers now: a request may have brought one nearer.
    fn wake(&self) {
        if let Some(running) = self.running.lock().as_ref() {
            running.wake();
        }
    }

    /// The counters of the devices, by name; empty while it does not run.
    #[pyo3(signature = () -> "dict[str, int]")]
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        if let Some(running) = self.running.lock().as_ref() {
            for (name, value) in running.counters().entries() {
                dict.set_item(name, value)?;
            }
        }
        Ok(dict)
    }
}

impl Datapath {
    /// Asks the running thread for something, without holding the interpreter meanwhile.
    fn ask(
        &self,
        py: Python<'_>,
        what: impl FnOnce(&io::Datapath) -> std::io::Result<()> + Send,
    ) -> PyResult<()> {
        py.detach(|| self.running.lock().as_ref().map_or(Ok(()), what))?;
        Ok(())
    }
}
