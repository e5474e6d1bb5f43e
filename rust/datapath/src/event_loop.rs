//! The event loop: one thread that waits for devices, feeds the engine and carries its answers away.
//! No policy, no cryptography and no packet format may enter; a device's errors end here as counters.
//! Answers to: ARCHITECTURE.md C.2, C.7, D.1, D.6; epoll(7) (edge-triggered: read until nothing is left).

use crate::clock;
use crate::pool::Pool;
use crate::port::{Hint, TunnelPort, WirePort};
use crate::sys::BATCH;
use crate::tun::TunDevice;
use crate::udp_encap::Side;
use crate::wire_sockets::WireSockets;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use sallet_core::engine::{Batch, Engine, Output};
use sallet_core::time::Instant;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

const WAKE: Token = Token(0);
const TUN: Token = Token(1);
const WIRE: usize = 2;
/// SAs may be added while the loop sleeps; their timers count in seconds, so it never sleeps longer than one.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Called when the engine has events, from the datapath's thread: it must not block.
pub(crate) type OnEvents = Arc<dyn Fn() + Send + Sync>;

/// The work of one turn, without waiting: what the tests' fake devices drive as well.
pub(crate) struct Pump<T, W> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tunnel: T,
    pub(crate) wire: W,
    on_events: OnEvents,
    pool: Pool,
    batch: Batch,
    output: Output,
}

impl<T: TunnelPort, W: WirePort> Pump<T, W> {
    /// Joins an engine and two devices.
    pub(crate) fn new(engine: Arc<Engine>, tunnel: T, wire: W, on_events: OnEvents) -> Self {
        // Two batches may be under way at once, and a reassembled packet or two on top.
        let pool = Pool::new(4 * BATCH);
        Self {
            engine,
            tunnel,
            wire,
            on_events,
            pool,
            batch: Batch::default(),
            output: Output::default(),
        }
    }

    /// Moves what waited and one batch each way, and runs the timers; says whether a device may have more at once.
    ///
    /// # Errors
    /// A device is gone for good.
    pub(crate) fn turn(&mut self, now: Instant) -> io::Result<bool> {
        // They came before what the device has now.
        if self.engine.has_released() {
            self.engine.handle_released(now, &mut self.output);
            self.flush();
        }
        let mut more = self.tunnel.read_batch(&mut self.pool, &mut self.batch)?;
        if !self.batch.is_empty() {
            self.engine
                .handle_outbound(&mut self.batch, now, &mut self.output);
            self.flush();
        }
        more |= self.wire.read_batch(&mut self.pool, &mut self.batch)?;
        if !self.batch.is_empty() {
            self.engine.handle_inbound(&mut self.batch, now, &mut self.output);
            self.flush();
        }
        self.tell_hints(now);
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        }
        while let Some(transmit) = self.engine.poll_transmit() {
            self.output.transmit.push(transmit);
        }
        if !self.output.transmit.is_empty() {
            self.flush();
        }
        if self.engine.has_events() {
            (self.on_events)();
        }
        Ok(more)
    }

    fn tell_hints(&mut self, now: Instant) {
        for hint in self.wire.hints() {
            match hint {
                Hint::IcmpError(packet) => {
                    self.engine.icmp_error(packet.as_slice(), now);
                    self.pool.give(packet);
                }
                Hint::RouteMtu { id, mtu } => {
                    self.engine.learn_path_mtu(&id, mtu, now);
                }
            }
        }
    }

    fn flush(&mut self) {
        self.wire.send_batch(&mut self.output.transmit, &mut self.pool);
        self.tunnel.write_batch(&mut self.output.deliver, &mut self.pool);
        for dropped in self.output.dropped.drain(..) {
            self.pool.give(dropped.packet);
        }
        for packet in self.output.spare.drain(..).chain(self.batch.drain()) {
            self.pool.give(packet);
        }
        self.output.clear();
    }
}

/// The thread's loop over real devices.
pub(crate) struct EventLoop {
    poll: Poll,
    pump: Pump<TunDevice, WireSockets>,
    stop: Arc<AtomicBool>,
    orders: Receiver<Order>,
}

/// What the owner of the datapath asks of the thread; done when the answer is there.
pub(crate) enum Order {
    /// Take ESP in UDP at this socket, too.
    Open(Side, SyncSender<io::Result<()>>),
    /// Close the UDP socket of this address.
    Close(SocketAddr, SyncSender<io::Result<()>>),
}

impl EventLoop {
    /// Registers the devices; the waker ends a sleep.
    ///
    /// # Errors
    /// epoll(7) is not to be had.
    pub(crate) fn new(
        pump: Pump<TunDevice, WireSockets>,
        stop: Arc<AtomicBool>,
        orders: Receiver<Order>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let registry = poll.registry();
        registry.register(&mut SourceFd(&pump.tunnel.raw_fd()), TUN, Interest::READABLE)?;
        for (fd, index) in pump.wire.raw_fds() {
            registry.register(&mut SourceFd(&fd), Token(WIRE + index), Interest::READABLE)?;
        }
        let made = Self {
            poll,
            pump,
            stop,
            orders,
        };
        Ok((made, waker))
    }

    /// Runs until it is stopped; the devices close when it returns.
    ///
    /// # Errors
    /// A device is gone for good.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut more = true;
        while !self.stop.load(Ordering::Acquire) {
            let sleep = if more {
                Duration::ZERO
            } else {
                self.sleep(clock::now())
            };
            match self.poll.poll(&mut events, Some(sleep)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                match event.token() {
                    WAKE => self.follow_orders(),
                    TUN => self.pump.tunnel.mark_ready(),
                    Token(token) => self.pump.wire.mark_ready(token - WIRE),
                }
            }
            let now = clock::now();
            more = self.pump.turn(now)?;
            self.pump.wire.maintain(now);
        }
        Ok(())
    }

    fn follow_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            let (done, tell) = match order {
                Order::Open(side, tell) => {
                    let (fd, index) = self.pump.wire.add_udp(side);
                    let token = Token(WIRE + index);
                    let registry = self.poll.registry();
                    (
                        registry.register(&mut SourceFd(&fd), token, Interest::READABLE),
                        tell,
                    )
                }
                Order::Close(address, tell) => {
                    self.pump.wire.remove_udp(address);
                    (Ok(()), tell)
                }
            };
            // Who asked may have given up waiting; what was asked is done all the same.
            let _ = tell.send(done);
        }
    }

    fn sleep(&self, now: Instant) -> Duration {
        self.pump
            .engine
            .poll_timeout()
            .map_or(LONGEST_SLEEP, |due| due.since(now).min(LONGEST_SLEEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, FakeHost, FakeTunnel, FakeWire};
    use crate::setup::{self, Flow, ip, prefix};
    use sallet_core::buffer::PacketBuf;
    use sallet_core::engine::Route;
    use sallet_core::terms::Mode;
    use sallet_core::wire::{icmp, ip as wire_ip, udp};
    use std::sync::atomic::AtomicUsize;

    const NOW: Instant = Instant::from_secs(1);

    struct End {
        pump: Pump<FakeTunnel, FakeWire>,
        host: FakeHost,
        called: Arc<AtomicUsize>,
    }

    fn end(seed: u8, wire: FakeWire) -> End {
        let (tunnel, host) = fake::tunnel();
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        let on_events = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        End {
            pump: Pump::new(setup::engine(seed, NOW), tunnel, wire, on_events),
            host,
            called,
        }
    }

    fn pair() -> (End, End) {
        let (left, right) = fake::cable();
        (end(1, left), end(2, right))
    }

    fn flow(family: u8) -> Flow {
        let (outer, inner) = if family == 4 {
            (("192.0.2.1", "192.0.2.2"), ("10.1.0.0/16", "10.2.0.0/16"))
        } else {
            (
                ("2001:db8::1", "2001:db8::2"),
                ("2001:db8:1::/48", "2001:db8:2::/48"),
            )
        };
        Flow {
            mode: Mode::Tunnel,
            outer: (ip(outer.0), ip(outer.1)),
            inner: (prefix(inner.0), prefix(inner.1)),
            spi: 0x1000,
            encap_port: None,
        }
    }

    fn datagram(source: &str, destination: &str, fill: u8) -> Vec<u8> {
        udp::packet(ip(source), ip(destination), 1000, 2000, &[fill; 32]).unwrap()
    }

    #[test]
    fn what_the_engine_makes_by_itself_leaves_and_hints_reach_it() {
        let (mut left, _right) = pair();
        setup::protect(&left.pump.engine, flow(4), NOW);
        let id = left.pump.engine.sad_dump(None)[0].params.id;
        left.pump.engine.send_dummy(&id, 500, NOW).unwrap();
        left.pump.turn(NOW).unwrap();
        assert_eq!(left.pump.wire.sent.len(), 1);
        let dummy = left.pump.wire.sent[0].1.clone();
        assert!(dummy.len() > 500);
        left.pump.wire.hints.push(Hint::RouteMtu { id, mtu: 1450 });
        left.pump.turn(NOW).unwrap();
        assert_eq!(left.pump.engine.sad_dump(None)[0].path_mtu, Some(1450));
        let error = icmp::Repr {
            kind: 3,
            code: 4,
            rest_of_header: [0, 0, 1, 200],
            payload: &dummy[..64],
        };
        let error = error.packet(ip("203.0.113.1"), ip("192.0.2.1")).unwrap();
        let error = PacketBuf::from_packet(&error);
        left.pump.wire.hints.push(Hint::IcmpError(error));
        left.pump.turn(NOW).unwrap();
        // 456 was told; no hint goes below the floor.
        assert_eq!(left.pump.engine.sad_dump(None)[0].path_mtu, Some(576));
    }

    #[test]
    fn packets_cross_two_pumps_in_order_and_sealed() {
        for (family, source, destination) in
            [(4, "10.1.0.1", "10.2.0.1"), (6, "2001:db8:1::1", "2001:db8:2::1")]
        {
            let (mut left, mut right) = pair();
            setup::protect(&left.pump.engine, flow(family), NOW);
            setup::protect_as_peer(&right.pump.engine, flow(family), NOW);
            let packets: Vec<_> = (0..150).map(|fill| datagram(source, destination, fill)).collect();
            for packet in &packets {
                left.host.send.send(packet.clone()).unwrap();
            }
            assert!(
                left.pump.turn(NOW).unwrap(),
                "a full batch means that more may wait"
            );
            while left.pump.turn(NOW).unwrap() | right.pump.turn(NOW).unwrap() {}
            assert_eq!(left.pump.wire.sent.len(), 150);
            for (route, bytes) in &left.pump.wire.sent {
                assert!(matches!(route, Route::Protected { encap: None, .. }));
                assert!(
                    !bytes
                        .windows(8)
                        .any(|piece| piece.iter().all(|byte| *byte == piece[0] && *byte > 2))
                );
            }
            right.pump.turn(NOW).unwrap();
            let got: Vec<_> = right.host.receive.try_iter().collect();
            assert_eq!(got.len(), 150);
            for (sent, received) in packets.iter().zip(&got) {
                let (sent, received) = (wire_ip::Summary::parse(sent).unwrap().payload(sent), received);
                assert!(received.ends_with(sent));
            }
        }
    }

    #[test]
    fn bypass_leaves_with_its_route_and_is_not_opened_by_the_peer() {
        let (mut left, mut right) = pair();
        let packet = datagram("198.51.100.1", "198.51.100.2", 7);
        left.host.send.send(packet.clone()).unwrap();
        left.pump.turn(NOW).unwrap();
        right.pump.turn(NOW).unwrap();
        assert_eq!(left.pump.wire.sent.len(), 1);
        assert_eq!(left.pump.wire.sent[0].0, Route::Bypass);
        assert!(right.host.receive.try_iter().next().is_none());
    }

    #[test]
    fn an_acquire_calls_the_listener_and_nothing_leaves() {
        let (mut left, _right) = pair();
        setup::protect(&left.pump.engine, flow(4), NOW);
        left.pump.engine.sad_flush(None);
        left.host.send.send(datagram("10.1.0.1", "10.2.0.1", 7)).unwrap();
        left.pump.turn(NOW).unwrap();
        assert_eq!(left.called.load(Ordering::Relaxed), 1);
        assert!(left.pump.wire.sent.is_empty());
    }

    #[test]
    fn what_waited_for_its_sa_leaves_before_what_the_device_has() {
        let (mut left, _right) = pair();
        setup::protect(&left.pump.engine, flow(4), NOW);
        let engine = Arc::clone(&left.pump.engine);
        engine
            .configure(sallet_core::engine::Setting::HoldPackets(5))
            .unwrap();
        let sas = engine.sad_dump(None);
        engine.sad_flush(None);
        for fill in 0..3 {
            left.host
                .send
                .send(datagram("10.1.0.1", "10.2.0.1", fill))
                .unwrap();
        }
        left.pump.turn(NOW).unwrap();
        assert!(left.pump.wire.sent.is_empty());
        assert_eq!(engine.stats().outbound_waiting, 3);
        for sa in sas {
            engine.sad_add(sa.params, NOW).unwrap();
        }
        left.host.send.send(datagram("10.1.0.1", "10.2.0.1", 3)).unwrap();
        left.pump.turn(NOW).unwrap();
        assert_eq!(left.pump.wire.sent.len(), 4);
        let stats = engine.stats();
        assert_eq!((stats.outbound_waiting, stats.released), (0, 3));
    }

    #[test]
    fn a_deleted_device_ends_the_loop_with_an_error() {
        let (mut left, _right) = pair();
        drop(left.host);
        assert_eq!(
            left.pump.turn(NOW).unwrap_err().kind(),
            io::ErrorKind::NotConnected
        );
    }
}
