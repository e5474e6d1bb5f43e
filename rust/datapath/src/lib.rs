//! The IO shell: file descriptors, threads and the clock live here and nowhere else in Rust.
//! No policy decision and no cryptography may enter; `unsafe` lives only in `sys.rs`.
//! Answers to: ARCHITECTURE.md sections C and D, tun(4), raw(7), udp(7), RFC 3948.

pub mod clock;
mod control;
mod counters;
mod error;
mod event_loop;
#[cfg(test)]
mod fake;
mod pool;
mod port;
mod raw_socket;
mod reuseport;
#[cfg(test)]
#[path = "../tests/setup/mod.rs"]
mod setup;
mod sys;
mod tun;
mod udp_encap;
mod wire_mtu;
mod wire_sockets;

pub use counters::Counters;
pub use error::{StartError, errno_of};
pub use udp_encap::Endpoint;

use event_loop::{EventLoop, OnEvents, Order, Pump};
use mio::Waker;
use sallet_core::engine::{Engine, Setting};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// How a datapath attaches to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the TUN device, 1 to 15 bytes; `%d` in it is a number the kernel chooses.
    pub tun_name: String,
    /// MTU of the TUN device, in bytes.
    pub tun_mtu: u32,
    /// `SO_MARK` of everything the datapath sends: rules and nft know its packets by it.
    ///
    /// Whoever sets up routes must see to it that a packet with this mark never finds one to the TUN device: it
    /// would be read, judged `bypass` and sent again for ever.
    pub bypass_mark: u32,
    /// Whether to receive and send on raw sockets (50, 51, 108; any IP packet out).
    pub raw: bool,
    /// The UDP port of ESP in UDP (RFC 3948), 4500 as a rule; `None` for no encapsulation.
    pub udp_port: Option<u16>,
    /// Length of each socket's queues, in bytes.
    pub socket_queue_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tun_name: "sallet0".to_owned(),
            tun_mtu: 1400,
            bypass_mark: 0x5a11,
            raw: true,
            udp_port: Some(4500),
            socket_queue_bytes: 4 << 20,
        }
    }
}

/// A running datapath: one engine, one TUN device, its sockets, one thread.
///
/// The devices belong to the network namespace of the thread that called [`Datapath::start`].
pub struct Datapath {
    device_name: String,
    counters: Arc<counters::Live>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    orders: Sender<Order>,
    sockets: raw_socket::SocketOptions,
    thread: Option<JoinHandle<()>>,
    failure: Arc<OnceLock<String>>,
}

impl Datapath {
    /// Opens the devices and starts the thread. The TUN device is down and without addresses.
    ///
    /// `on_events` is called from the thread whenever the engine has events, and once if the thread fails.
    ///
    /// # Errors
    /// A [`StartError`] inside names the device, the reason and what is missing; nothing is left open then.
    pub fn start(
        engine: Arc<Engine>,
        options: Options,
        on_events: Arc<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        let counters = Arc::new(counters::Live::default());
        let tun = tun::TunDevice::create(&options.tun_name, options.tun_mtu, Arc::clone(&counters))?;
        let device_name = tun.name().to_owned();
        let sockets = raw_socket::SocketOptions {
            mark: options.bypass_mark,
            queue_bytes: options.socket_queue_bytes,
        };
        let wire = wire_sockets::WireSockets::open(
            &engine,
            options.raw,
            options.udp_port,
            &sockets,
            &counters,
            clock::now(),
        )?;
        // The kernel's UDP socket makes the fragments of what leaves by it.
        engine
            .configure(Setting::CutEncapsulated(false))
            .map_err(|error| io::Error::other(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let pump = Pump::new(engine, tun, wire, Arc::clone(&on_events));
        let (orders, received) = channel();
        let (event_loop, waker) = EventLoop::new(pump, Arc::clone(&stop), received)?;
        let failure = Arc::new(OnceLock::new());
        let thread = spawn(event_loop, Arc::clone(&failure), on_events)?;
        Ok(Self {
            device_name,
            counters,
            stop,
            waker,
            orders,
            sockets,
            thread: Some(thread),
            failure,
        })
    }

    /// Ends the thread and removes the TUN device; returns when both are done. A second call does nothing.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A waker that fails leaves the loop to its longest sleep: it ends a second later.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics and tells them by `failure`.
            let _ = thread.join();
        }
    }

    /// Takes ESP in UDP at the address of a key manager's socket, from now on; IKE stays with the key manager.
    ///
    /// The calling thread's network namespace has to be that of [`Datapath::start`]. A socket of ours that had the
    /// address before is replaced.
    ///
    /// # Errors
    /// A [`StartError`] inside says what is missing: EADDRINUSE if the other socket does not share the port.
    pub fn open_endpoint(&self, endpoint: Endpoint) -> io::Result<()> {
        self.close_endpoint(endpoint.address)?;
        let side = udp_encap::Side::open(endpoint, &self.sockets, clock::now())?;
        self.order(|tell| Order::Open(side, tell))
    }

    /// Closes the socket at an address, if there is one.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn close_endpoint(&self, address: SocketAddr) -> io::Result<()> {
        self.order(|tell| Order::Close(address, tell))
    }

    fn order(&self, order: impl FnOnce(SyncSender<io::Result<()>>) -> Order) -> io::Result<()> {
        let (tell, told) = sync_channel(1);
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the datapath has ended");
        self.orders.send(order(tell)).map_err(|_| ended())?;
        self.waker.wake()?;
        told.recv().map_err(|_| ended())?
    }

    /// The TUN device's name.
    #[must_use]
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// The counters now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.snapshot()
    }

    /// Whether the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Why the thread ended by itself (somebody removed the TUN device), if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Ends the loop's sleep whenever it is called; another thread may keep it.
    #[must_use]
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let waker = Arc::clone(&self.waker);
        Arc::new(move || {
            // Without the wake-up the loop looks for what may go within a second anyway.
            let _ = waker.wake();
        })
    }

    /// Ends the loop's sleep, for timers that a request brought nearer.
    pub fn wake(&self) {
        // Without the wake-up the loop looks at its timers within a second anyway.
        let _ = self.waker.wake();
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(
    event_loop: EventLoop,
    failure: Arc<OnceLock<String>>,
    on_events: OnEvents,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("sallet-datapath".to_owned())
        .spawn(move || {
            // Whatever ends the thread is told: a datapath that silently stopped would look like a quiet network.
            let ended = match std::panic::catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("a device of the datapath is gone: {error}"),
                Err(_) => "the datapath's thread panicked; this is a defect of sallet".to_owned(),
            };
            // Set once, here only.
            let _ = failure.set(ended);
            on_events();
        })
}
