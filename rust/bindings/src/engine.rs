//! `Engine` for Python: the packet calls, the events and the clock.
//! No decision may enter: each method converts, calls the core once with the GIL released, and converts back.
//! Answers to: ARCHITECTURE.md D (the engine's API); RFC 4301 for the words.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use sallet_core::buffer::PacketBuf;
use sallet_core::engine as core;
use sallet_core::terms::{Protocol, SaId, Spi};
use sallet_core::time::Instant;
use sallet_datapath::clock;

use crate::buffers::{Address, PacketBytes};
use crate::config;
use crate::error::{bad_word, refused};
use crate::events::{self, Signal};
use crate::outcome::Outcome;
use crate::snapshot::{SaView, Stats};
use crate::verdict::Verdict;
use crate::words;

/// The clock an engine lives by.
enum Clock {
    System,
    Manual(AtomicU64),
}

impl Clock {
    fn now(&self) -> Instant {
        match self {
            Self::System => clock::now(),
            Self::Manual(nanos) => Instant(nanos.load(Ordering::Relaxed)),
        }
    }
}

/// The SPD, the SAD and the ESP transform of one host (RFC 4301), without a socket or a thread.
///
/// `seed` (32 bytes) makes every choice repeatable; without it the operating system's randomness is
/// taken. `clock` is "system", or "manual" for a clock that only `advance()` moves. `configuration` is
/// a mapping as `config()` returns it. All methods may be called from several threads.
#[pyclass(frozen, module = "sallet._core")]
pub(crate) struct Engine {
    pub(crate) core: Arc<core::Engine>,
    pub(crate) signal: Arc<Signal>,
    clock: Clock,
    /// Wakes the thread that moves packets, while there is one.
    pub(crate) mover: Mutex<Option<Wake>>,
}

/// Ends somebody's sleep.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

impl Engine {
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Wakes whoever waits on `event_fd` if there is something to fetch, and whoever moves packets if some can go.
    pub(crate) fn announce(&self) {
        if self.core.has_events() {
            self.signal.raise();
        }
        if self.core.has_released() {
            if let Some(wake) = self.mover.lock().as_ref() {
                wake();
            }
        }
    }

    fn pass(&self, inbound: bool, batch: &mut core::Batch, output: &mut core::Output) {
        let now = self.now();
        if inbound {
            self.core.handle_inbound(batch, now, output);
        } else {
            self.core.handle_outbound(batch, now, output);
        }
    }

    fn pass_one(&self, inbound: bool, packet: &[u8], journey: bool) -> Outcome {
        let mut output = if journey {
            core::Output::with_journey()
        } else {
            core::Output::default()
        };
        let mut batch = core::Batch::default();
        batch.push(PacketBuf::from_packet(packet));
        self.pass(inbound, &mut batch, &mut output);
        Outcome::of(&output)
    }

    fn pass_many(&self, py: Python<'_>, inbound: bool, packets: &[PacketBytes]) -> Vec<Outcome> {
        let packets: Vec<&[u8]> = packets.iter().map(PacketBytes::as_slice).collect();
        let outcomes = py.detach(|| {
            packets
                .iter()
                .map(|packet| self.pass_one(inbound, packet, false))
                .collect()
        });
        self.announce();
        outcomes
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, seed: "Buffer | None"=None, clock: "str"="system", configuration: "dict[str, Any] | None"=None))]
    fn new(
        seed: Option<PacketBytes>,
        clock: &str,
        configuration: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let clock = match clock {
            "system" => Clock::System,
            "manual" => Clock::Manual(AtomicU64::new(0)),
            other => return Err(bad_word("clock", other, "system, manual")),
        };
        let config = configuration.map_or_else(|| Ok(core::Config::default()), config::from_dict)?;
        let seed = seed.map_or_else(system_seed, |seed| {
            seed.as_slice()
                .try_into()
                .map_err(|_| PyValueError::new_err("seed: 32 bytes are needed"))
        })?;
        let core = Arc::new(core::Engine::new(config, seed, clock.now(), clock::wall()));
        Ok(Self {
            core,
            signal: Arc::new(Signal::new()?),
            clock,
            mover: Mutex::new(None),
        })
    }

    /// Passes one IP packet of the protected side: protects it, lets it go in clear, or drops it.
    ///
    /// `packet` is a complete IPv4 or IPv6 packet (bytes or any buffer). With `journey=True` the outcome
    /// tells the stages. Source: RFC 4301 §5.1.
    #[pyo3(signature = (packet, *, journey=false))]
    fn outbound(&self, packet: PacketBytes, journey: bool) -> Outcome {
        let outcome = self.pass_one(false, packet.as_slice(), journey);
        self.announce();
        outcome
    }

    /// Passes one IP packet of the open side: opens it, checks it against the SPD, delivers or drops it.
    ///
    /// Source: RFC 4301 §5.2.
    #[pyo3(signature = (packet, *, journey=false))]
    fn inbound(&self, packet: PacketBytes, journey: bool) -> Outcome {
        let outcome = self.pass_one(true, packet.as_slice(), journey);
        self.announce();
        outcome
    }

    /// Passes many packets of the protected side, in order; one outcome each. The GIL is released once.
    fn outbound_batch(&self, py: Python<'_>, packets: Vec<PacketBytes>) -> Vec<Outcome> {
        self.pass_many(py, false, &packets)
    }

    /// Passes many packets of the open side, in order; one outcome each. The GIL is released once.
    fn inbound_batch(&self, py: Python<'_>, packets: Vec<PacketBytes>) -> Vec<Outcome> {
        self.pass_many(py, true, &packets)
    }

    /// Says what would happen to a packet in clear, and changes nothing.
    ///
    /// `direction` is "out", "in" or "fwd".
    fn explain(&self, direction: &str, packet: PacketBytes) -> PyResult<Verdict> {
        let direction = words::direction(direction)?;
        Ok(Verdict::of(self.core.explain(direction, packet.as_slice())))
    }

    /// Moves a manual clock forward and lets timers run; ValueError on a system clock.
    fn advance(&self, secs: f64) -> PyResult<()> {
        let Clock::Manual(nanos) = &self.clock else {
            return Err(PyValueError::new_err(
                "advance: this engine lives by the system clock",
            ));
        };
        if !(secs.is_finite() && secs >= 0.0) {
            return Err(PyValueError::new_err("secs: a finite number >= 0 is needed"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked; `as` saturates"
        )]
        let step = (secs * 1e9) as u64;
        nanos
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                Some(now.saturating_add(step))
            })
            .ok();
        self.handle_timeout();
        Ok(())
    }

    /// Lets timers run that are due: lifetimes, larval SAs.
    fn handle_timeout(&self) {
        self.core.handle_timeout(self.now());
        self.announce();
    }

    /// Seconds until `handle_timeout` is due, or None.
    fn poll_timeout(&self) -> Option<f64> {
        self.core
            .poll_timeout()
            .map(|due| due.since(self.now()).as_secs_f64())
    }

    /// Fetches and forgets the events since the last call, oldest first.
    #[pyo3(signature = () -> "list[AcquireEvent | ExpireEvent | NewMappingEvent | PolicyAcquireEvent | PolicyExpireEvent]")]
    fn take_events(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        self.signal.lower();
        let mut taken = Vec::new();
        while let Some(event) = self.core.poll_event() {
            taken.push(events::to_python(py, event)?);
        }
        Ok(taken)
    }

    /// A file descriptor that is readable while there are events to take.
    fn event_fd(&self) -> i32 {
        self.signal.fd()
    }

    /// Fetches the packets that the engine sends by itself since the last call: those that waited for an SA that
    /// has come, keepalives and dummies.
    ///
    /// They must go to the wire; a running `Datapath` sends them itself.
    fn take_transmits<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let mut released = core::Output::default();
        self.core.handle_released(self.now(), &mut released);
        self.announce();
        released
            .transmit
            .into_iter()
            .chain(std::iter::from_fn(|| self.core.poll_transmit()))
            .map(|transmit| PyBytes::new(py, transmit.packet.as_slice()))
            .collect()
    }

    /// Makes a dummy packet with `bytes` of random payload on an outbound ESP SA (RFC 4303 §2.6).
    ///
    /// Its receiver swallows it; a watcher cannot tell it from others. EngineError without such an SA.
    fn send_dummy(&self, spi: u32, destination: Address, bytes: usize) -> PyResult<()> {
        let id = SaId {
            spi: Spi(spi),
            protocol: Protocol::Esp,
            destination: destination.0,
        };
        self.core
            .send_dummy(&id, bytes, self.now())
            .map_err(|error| refused(&error))
    }

    /// Takes an ICMP error (a complete IP packet) from the open side as a hint at a path MTU.
    ///
    /// Says whether it was believed: it must quote a packet of a living SA (RFC 4301 §6.1.1 and §8.2).
    fn icmp_error(&self, packet: PacketBytes) -> bool {
        self.core.icmp_error(packet.as_slice(), self.now())
    }

    /// Takes back the acquire of that number (`AcquireEvent.id`), which nobody can answer: what waits is dropped.
    ///
    /// Says whether there was one (RFC 2367 §3.1.6).
    fn acquire_failed(&self, id: u32) -> bool {
        self.core.acquire_failed(id)
    }

    /// Notes that the acquire of that number is answered by this SA, or that somebody works on it.
    ///
    /// Says whether there was such an acquire, between the same two ends.
    fn acquire_answered(&self, id: u32, sa: &SaView) -> bool {
        self.core.acquire_answered(id, &sa.inner, self.now())
    }

    /// The counters: one for each drop reason, and what passed.
    fn stats(&self) -> Stats {
        Stats::of(self.core.stats())
    }

    /// Changes one value of the configuration, by the name `config()` shows.
    fn configure(&self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.core
            .configure(config::setting(name, value)?)
            .map_err(|error| refused(&error))
    }

    /// The configuration, name by name.
    #[pyo3(signature = () -> "dict[str, Any]")]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        config::to_dict(py, &self.core.config())
    }
}

fn system_seed() -> PyResult<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    Ok(seed)
}
