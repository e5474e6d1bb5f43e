//! The datapath in real network namespaces: TUN devices, raw sockets, UDP ports and a veth pair.
//! Nothing here is a mock; the namespaces are made by unshare(1) for one test and end with it.
//! Answers to: ARCHITECTURE.md C and D, tun(4), raw(7), RFC 3948, RFC 4303.
//!
//! Without unshare, TUN or veth the tests print why they are skipped; if `SALLET_REQUIRE` contains `netns`
//! that is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::explicit_write,
    clippy::disallowed_methods
)]

mod setup;

use sallet_core::engine::Engine;
use sallet_core::terms::Mode;
use sallet_datapath::{Counters, Datapath, Endpoint, Options, clock};
use setup::{Flow, ip, prefix};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const INSIDE: &str = "SALLET_TEST_INSIDE_NAMESPACE";
const MARK: u32 = 0x5a11;
const PATIENCE: Duration = Duration::from_secs(5);

/// Says whether the test runs in its own namespace; if not, runs it there and reports.
fn inside(test: &str, prefix: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Err(reason) = can_make_namespaces() {
        let required = std::env::var("SALLET_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|word| word.trim() == "netns"),
            "netns is required: {reason}"
        );
        // Not `eprintln!`: the test harness would swallow it.
        writeln!(std::io::stderr(), "SKIPPED netns::{test}: {reason}").unwrap();
        return false;
    }
    let status = Command::new("unshare")
        .arg("-Urnm")
        .args(prefix)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its namespace");
    false
}

fn can_make_namespaces() -> Result<(), String> {
    let probe = "test -c /dev/net/tun || { echo 'there is no /dev/net/tun' >&2; exit 1; }
        : <>/dev/net/tun && ip link add sltprobe0 type veth peer name sltprobe1";
    match Command::new("unshare")
        .args(["-Urnm", "sh", "-c", probe])
        .output()
    {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        Err(error) => Err(format!("unshare(1) cannot be run: {error}")),
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace: a thread that lives in it and does what it is told.
struct Namespace {
    jobs: Sender<Job>,
    thread_id: u32,
}

impl Namespace {
    fn new() -> Self {
        let (jobs, received) = channel::<Job>();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let path = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(path.file_name().unwrap().to_str().unwrap().parse().unwrap())
                .unwrap();
            received.into_iter().for_each(|job| job());
        });
        let namespace = Self {
            jobs,
            thread_id: told.recv().unwrap(),
        };
        namespace.shell("ip link set lo up");
        namespace
    }

    /// Runs `work` inside and waits for its result.
    fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let (tell, told) = channel();
        self.jobs
            .send(Box::new(move || tell.send(work()).unwrap()))
            .unwrap();
        told.recv()
            .expect("the work inside a namespace panicked; see above")
    }

    fn shell(&self, commands: &str) {
        let commands = format!("set -e\n{commands}");
        let shown = commands.clone();
        let ok = self.run(move || {
            Command::new("sh")
                .args(["-c", &commands])
                .status()
                .unwrap()
                .success()
        });
        assert!(ok, "failed: {shown}");
    }
}

/// A host: a namespace with an engine and a datapath.
struct Host {
    namespace: Namespace,
    engine: Arc<Engine>,
    datapath: Arc<Mutex<Datapath>>,
    called: Arc<AtomicUsize>,
}

impl Host {
    fn start(namespace: Namespace, seed: u8, options: Options) -> Self {
        let engine = setup::engine(seed, clock::now());
        let called = Arc::new(AtomicUsize::new(0));
        let (count, with) = (Arc::clone(&called), Arc::clone(&engine));
        let datapath = namespace.run(move || {
            let on_events = Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            Datapath::start(with, options, on_events).unwrap()
        });
        assert_eq!(datapath.device_name(), "sallet0");
        Self {
            namespace,
            engine,
            datapath: Arc::new(Mutex::new(datapath)),
            called,
        }
    }

    fn counters(&self) -> Counters {
        self.datapath.lock().unwrap().counters()
    }

    fn shell(&self, commands: &str) {
        self.namespace.shell(commands);
    }
}

fn options() -> Options {
    Options {
        bypass_mark: MARK,
        ..Options::default()
    }
}

/// Two hosts on a veth pair: 192.0.2.1 and .2, 2001:db8:ff::1 and ::2.
fn two_hosts() -> (Host, Host) {
    two_hosts_with(options())
}

fn two_hosts_with(of_left: Options) -> (Host, Host) {
    let (left, right) = (Namespace::new(), Namespace::new());
    left.shell(&format!(
        "ip link add wire0 type veth peer name wire0 netns {}",
        right.thread_id
    ));
    for (namespace, number) in [(&left, 1), (&right, 2)] {
        namespace.shell(&format!(
            "ip address add 192.0.2.{number}/24 dev wire0
             ip -6 address add 2001:db8:ff::{number}/64 dev wire0 nodad
             ip link set wire0 up
             echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
             echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter"
        ));
    }
    (Host::start(left, 1, of_left), Host::start(right, 2, options()))
}

/// Gives each host an inner address behind its tunnel device.
fn address_tunnels(left: &Host, right: &Host) {
    for (host, own, other) in [(left, 1, 2), (right, 2, 1)] {
        host.shell(&format!(
            "ip link set sallet0 addrgenmode none
             ip address add 10.{own}.0.1/32 dev sallet0
             ip -6 address add 2001:db8:{own}::1/128 dev sallet0 nodad
             ip link set sallet0 up
             ip route add 10.{other}.0.0/16 dev sallet0 src 10.{own}.0.1
             ip -6 route add 2001:db8:{other}::/48 dev sallet0 src 2001:db8:{own}::1"
        ));
    }
}

/// Sends everything for the peer's wire address, except the datapath's own packets, through the tunnel device.
///
/// A marked packet must never find a route to the tunnel device, or it would go round for ever: `unreachable`.
fn divert_to_peer(left: &Host, right: &Host) {
    for (host, other) in [(left, 2), (right, 1)] {
        host.shell(&format!(
            "ip link set sallet0 addrgenmode none
             ip link set sallet0 up
             echo 0 > /proc/sys/net/ipv4/conf/sallet0/rp_filter
             ip rule add pref 10 fwmark {MARK} lookup main
             ip rule add pref 11 fwmark {MARK} unreachable
             ip rule add pref 12 to 192.0.2.{other} lookup 100
             ip route add 192.0.2.{other} dev sallet0 src 192.0.2.{own} table 100
             ip -6 rule add pref 10 fwmark {MARK} lookup main
             ip -6 rule add pref 11 fwmark {MARK} unreachable
             ip -6 rule add pref 12 to 2001:db8:ff::{other} lookup 100
             ip -6 rule add pref 9 to 2001:db8:ff::{other} ipproto ipv6-icmp lookup main
             ip -6 route add 2001:db8:ff::{other} dev sallet0 src 2001:db8:ff::{own} table 100",
            own = 3 - other
        ));
    }
}

fn protect_both(left: &Host, right: &Host, flow: Flow) {
    setup::protect(&left.engine, flow, clock::now());
    setup::protect_as_peer(&right.engine, flow, clock::now());
}

fn tunnel(outer: (&str, &str), inner: (&str, &str), spi: u32, encap_port: Option<u16>) -> Flow {
    Flow {
        mode: Mode::Tunnel,
        outer: (ip(outer.0), ip(outer.1)),
        inner: (prefix(inner.0), prefix(inner.1)),
        spi,
        encap_port,
    }
}

const OUTER_V4: (&str, &str) = ("192.0.2.1", "192.0.2.2");
const OUTER_V6: (&str, &str) = ("2001:db8:ff::1", "2001:db8:ff::2");
const INNER_V4: (&str, &str) = ("10.1.0.0/16", "10.2.0.0/16");
const INNER_V6: (&str, &str) = ("2001:db8:1::/48", "2001:db8:2::/48");

/// Sends datagrams of `sizes` from left to right, has each echoed, and compares.
fn echo_udp(left: &Host, right: &Host, from: &str, to: &str, sizes: &[usize]) {
    let (from, to) = (ip(from), ip(to));
    let count = sizes.len();
    let server = right.namespace.run(move || {
        let server = UdpSocket::bind((to, 7)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server
    });
    let echo = std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        for _ in 0..count {
            let (len, peer) = server
                .recv_from(&mut buffer)
                .expect("the echo server heard nothing");
            assert_eq!(peer.ip(), from);
            server.send_to(&buffer[..len], peer).unwrap();
        }
    });
    let sizes = sizes.to_vec();
    left.namespace.run(move || {
        let client = UdpSocket::bind((from, 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect((to, 7)).unwrap();
        let mut buffer = vec![0; 65_536];
        for (number, size) in sizes.into_iter().enumerate() {
            let sent: Vec<u8> = (0..size).map(|at| (at * 7 + number) as u8).collect();
            client.send(&sent).unwrap();
            let len = client.recv(&mut buffer).expect("no echo came back");
            assert_eq!(buffer[..len], sent);
        }
    });
    echo.join().unwrap();
}

/// Sends `bytes` by TCP and compares them at the other end.
fn transfer_tcp(left: &Host, right: &Host, to: &str, bytes: usize) {
    let to = ip(to);
    let listener = right.namespace.run(move || TcpListener::bind((to, 9)).unwrap());
    let pattern = |at: usize| (at % 251) as u8;
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got.iter()
            .enumerate()
            .all(|(at, byte)| *byte == pattern(at))
            .then_some(got.len())
    });
    left.namespace.run(move || {
        let mut stream = TcpStream::connect((to, 9)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let data: Vec<u8> = (0..bytes).map(pattern).collect();
        stream.write_all(&data).unwrap();
    });
    assert_eq!(reader.join().unwrap(), Some(bytes));
}

fn assert_no_failed_send(counters: &Counters) {
    let failed: Vec<_> = counters
        .entries()
        .into_iter()
        .filter(|(name, count)| name.starts_with("send_") && *count > 0)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tunnels_carry_udp_and_tcp_over_raw_esp() {
    if !inside("tunnels_carry_udp_and_tcp_over_raw_esp", &[]) {
        return;
    }
    let (left, right) = two_hosts();
    address_tunnels(&left, &right);
    protect_both(&left, &right, tunnel(OUTER_V4, INNER_V4, 0x1000, None));
    protect_both(&left, &right, tunnel(OUTER_V6, INNER_V6, 0x2000, None));
    // 5,000 bytes are fragmented by the kernel before the tunnel.
    let sizes = [0, 1, 56, 1000, 1300, 5000];
    echo_udp(&left, &right, "10.1.0.1", "10.2.0.1", &sizes);
    echo_udp(&left, &right, "2001:db8:1::1", "2001:db8:2::1", &sizes);
    transfer_tcp(&left, &right, "10.2.0.1", 3_000_000);
    transfer_tcp(&left, &right, "2001:db8:2::1", 3_000_000);
    let (sent, received) = (left.counters(), right.counters());
    assert_no_failed_send(&sent);
    assert!(sent.raw_sent_packets > 4000, "{sent:?}");
    assert_eq!(sent.udp_sent_packets, 0);
    assert_eq!(
        received.receive_no_header + received.receive_truncated,
        0,
        "{received:?}"
    );
    assert_eq!(received.tun_write_errors, 0, "{received:?}");
}

#[test]
fn tunnels_carry_udp_and_tcp_over_esp_in_udp() {
    if !inside("tunnels_carry_udp_and_tcp_over_esp_in_udp", &[]) {
        return;
    }
    let (left, right) = two_hosts();
    address_tunnels(&left, &right);
    protect_both(&left, &right, tunnel(OUTER_V4, INNER_V4, 0x1000, Some(4500)));
    protect_both(&left, &right, tunnel(OUTER_V6, INNER_V6, 0x2000, Some(4500)));
    echo_udp(&left, &right, "10.1.0.1", "10.2.0.1", &[0, 56, 1300]);
    echo_udp(&left, &right, "2001:db8:1::1", "2001:db8:2::1", &[0, 56, 1300]);
    transfer_tcp(&left, &right, "10.2.0.1", 3_000_000);
    transfer_tcp(&left, &right, "2001:db8:2::1", 3_000_000);
    let (sent, received) = (left.counters(), right.counters());
    assert_no_failed_send(&sent);
    assert_eq!(
        (sent.raw_sent_packets, sent.bypass_sent_packets),
        (0, 0),
        "{sent:?}"
    );
    assert!(received.udp_read_packets > 4000, "{received:?}");
    // The kernel counts what it refused for a wrong checksum; IPv6 forbids leaving it out.
    right.shell("! grep -E 'Udp6InCsumErrors *[1-9]' /proc/thread-self/net/snmp6");
}

#[test]
fn transport_mode_protects_two_hosts() {
    if !inside("transport_mode_protects_two_hosts", &[]) {
        return;
    }
    for encap_port in [None, Some(4500)] {
        let (left, right) = two_hosts();
        divert_to_peer(&left, &right);
        for (ends, spi) in [(OUTER_V4, 0x1000), (OUTER_V6, 0x2000)] {
            let outer = (ip(ends.0), ip(ends.1));
            let host = sallet_core::selector::AddressRange::host;
            let inner = (host(outer.0), host(outer.1));
            protect_both(
                &left,
                &right,
                Flow {
                    mode: Mode::Transport,
                    outer,
                    inner,
                    spi,
                    encap_port,
                },
            );
            // What is longer than the tunnel device comes in fragments, is sealed whole, and leaves in fragments.
            echo_udp(&left, &right, ends.0, ends.1, &[0, 56, 1300, 1450, 5000, 30_000]);
            transfer_tcp(&left, &right, ends.1, 1_000_000);
        }
        assert!(left.engine.stats().reassembled >= 6);
        let counters = left.counters();
        assert_no_failed_send(&counters);
        assert_eq!(counters.bypass_sent_packets, 0, "{counters:?}");
    }
}

/// Two hosts with a router between them whose link to the right takes 1400 bytes: 192.0.2.1, 198.51.100.2,
/// 2001:db8:fe::1 and 2001:db8:ff::2.
fn two_hosts_and_a_narrow_link() -> (Host, Host, Namespace) {
    let (left, middle, right) = (Namespace::new(), Namespace::new(), Namespace::new());
    for (host, link) in [(&left, "near"), (&right, "far")] {
        host.shell(&format!(
            "ip link add wire0 type veth peer name {link} netns {}",
            middle.thread_id
        ));
    }
    middle.shell(
        "ip address add 192.0.2.254/24 dev near
         ip -6 address add 2001:db8:fe::fe/64 dev near nodad
         ip address add 198.51.100.254/24 dev far
         ip -6 address add 2001:db8:ff::fe/64 dev far nodad
         ip link set far mtu 1400
         ip link set near up
         ip link set far up
         echo 1 > /proc/sys/net/ipv4/ip_forward
         echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
    );
    for (host, v4, v6, router_v4, router_v6) in [
        (
            &left,
            "192.0.2.1",
            "2001:db8:fe::1",
            "192.0.2.254",
            "2001:db8:fe::fe",
        ),
        (
            &right,
            "198.51.100.2",
            "2001:db8:ff::2",
            "198.51.100.254",
            "2001:db8:ff::fe",
        ),
    ] {
        host.shell(&format!(
            "ip address add {v4}/24 dev wire0
             ip -6 address add {v6}/64 dev wire0 nodad
             ip link set wire0 up
             ip route add default via {router_v4}
             ip -6 route add default via {router_v6}
             echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
             echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter"
        ));
    }
    right.shell("ip link set wire0 mtu 1400");
    let (left, right) = (Host::start(left, 1, options()), Host::start(right, 2, options()));
    (left, right, middle)
}

/// TCP sets DF, so it gets through a narrow link only if somebody tells it.
#[test]
fn a_router_that_says_too_big_is_heard() {
    if !inside("a_router_that_says_too_big_is_heard", &[]) {
        return;
    }
    for encap_port in [None, Some(4500)] {
        let (left, right, _middle) = two_hosts_and_a_narrow_link();
        address_tunnels(&left, &right);
        for (outer, inner, spi, to) in [
            (("192.0.2.1", "198.51.100.2"), INNER_V4, 0x1000, "10.2.0.1"),
            (
                ("2001:db8:fe::1", "2001:db8:ff::2"),
                INNER_V6,
                0x2000,
                "2001:db8:2::1",
            ),
        ] {
            protect_both(&left, &right, tunnel(outer, inner, spi, encap_port));
            transfer_tcp(&left, &right, to, 300_000);
        }
        let learned: Vec<_> = left
            .engine
            .sad_dump(None)
            .iter()
            .filter_map(|sa| sa.path_mtu)
            .collect();
        assert_eq!(learned, [1400, 1400], "{encap_port:?}");
        assert!(left.engine.stats().too_big_answers.packets >= 2);
        if encap_port.is_none() {
            assert!(left.counters().icmp_errors_read >= 2);
        }
    }
}

#[test]
fn bypass_leaves_in_clear_and_what_cannot_leave_is_counted() {
    if !inside("bypass_leaves_in_clear_and_what_cannot_leave_is_counted", &[]) {
        return;
    }
    let (left, right) = two_hosts();
    divert_to_peer(&left, &right);
    left.shell("ip link set sallet0 mtu 9000");
    echo_udp(&left, &right, "192.0.2.1", "192.0.2.2", &[0, 1300]);
    echo_udp(&left, &right, "2001:db8:ff::1", "2001:db8:ff::2", &[0, 1300]);
    // The answer may be back before the thread has counted the question.
    wait_until("four were sent", || left.counters().bypass_sent_packets == 4);
    let before = left.counters();
    assert_eq!(
        (before.bypass_sent_packets, before.raw_sent_packets),
        (4, 0),
        "{before:?}"
    );
    left.namespace.run(|| {
        for (own, peer) in [OUTER_V4, OUTER_V6] {
            let socket = UdpSocket::bind((ip(own), 0)).unwrap();
            socket.send_to(&[0; 4000], (ip(peer), 7)).unwrap();
        }
    });
    wait_until("EMSGSIZE is counted", || left.counters().send_too_big == 2);
    // No route for the datapath's own packets, then a link-scope multicast that must not leave by wire0.
    left.shell("ip route add 203.0.113.0/24 dev sallet0 src 192.0.2.1 table 100; ip rule add pref 12 to 203.0.113.0/24 lookup 100
         ip route add 224.0.0.0/24 dev sallet0 src 192.0.2.1 table 100; ip rule add pref 12 to 224.0.0.0/24 lookup 100");
    left.namespace.run(|| {
        let socket = UdpSocket::bind((ip("192.0.2.1"), 0)).unwrap();
        socket.send_to(b"x", (ip("203.0.113.1"), 7)).unwrap();
        let unbound = UdpSocket::bind("0.0.0.0:0").unwrap();
        unbound.send_to(b"x", (ip("224.0.0.99"), 7)).unwrap();
    });
    wait_until("no route is counted", || left.counters().send_unreachable == 1);
    wait_until("link scope is counted", || left.counters().bypass_link_scope == 1);
}

fn ike_socket(address: IpAddr) -> Socket {
    let domain = if address.is_ipv6() {
        Domain::IPV6
    } else {
        Domain::IPV4
    };
    let socket = Socket::new(domain, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.bind(&SocketAddr::from((address, 4500)).into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

/// What reached the key manager's socket.
fn heard(socket: &Socket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 100];
    let mut heard = Vec::new();
    while let Ok(len) = (&*socket).read(&mut buffer) {
        heard.push(buffer[..len].to_vec());
    }
    heard
}

const ESP_LIKE: [u8; 24] = [9; 24];
const IKE: [u8; 6] = *b"\0\0\0\0ik";

/// Sends ESP, a keepalive and IKE to left's port from several source ports, so that a hash would scatter them.
fn send_mixture(right: &Host, to: &'static str) {
    right.namespace.run(move || {
        for _ in 0..8 {
            let any: IpAddr = if to.contains(':') { ip("::") } else { ip("0.0.0.0") };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            for payload in [&ESP_LIKE[..], &[0xff], &IKE] {
                socket.send_to(payload, (ip(to), 4500)).unwrap();
            }
        }
    });
}

#[test]
fn a_key_manager_shares_the_port_whoever_came_first() {
    if !inside("a_key_manager_shares_the_port_whoever_came_first", &[]) {
        return;
    }
    for (to, any) in [("192.0.2.1", "0.0.0.0"), ("2001:db8:ff::1", "::")] {
        let (left, right) = two_hosts();
        let expect = |esp: u64, unclaimed: u64| {
            wait_until("ESP, keepalives and IKE are counted", || {
                let seen = left.counters();
                (seen.udp_read_packets, seen.udp_keepalives, seen.udp_ike_unclaimed) == (esp, esp, unclaimed)
            });
        };
        send_mixture(&right, to);
        expect(8, 8);
        // The key manager comes later.
        let ike = left.namespace.run(move || ike_socket(ip(any)));
        send_mixture(&right, to);
        assert_eq!(heard(&ike), vec![IKE.to_vec(); 8]);
        expect(16, 8);
        // It starts again.
        drop(ike);
        let ike = left.namespace.run(move || ike_socket(ip(any)));
        send_mixture(&right, to);
        assert_eq!(heard(&ike), vec![IKE.to_vec(); 8]);
        expect(24, 8);
        // The datapath starts again: now the key manager was first.
        let engine = Arc::clone(&left.engine);
        let place = Arc::clone(&left.datapath);
        left.namespace.run(move || {
            let mut place = place.lock().unwrap();
            place.stop();
            *place = Datapath::start(engine, options(), Arc::new(|| {})).unwrap();
        });
        send_mixture(&right, to);
        assert_eq!(heard(&ike), vec![IKE.to_vec(); 8]);
        expect(8, 0);
        // And once more it starts again: an IKE message goes astray, and that is how the datapath learns of it.
        drop(ike);
        let ike = left.namespace.run(move || ike_socket(ip(any)));
        std::thread::sleep(Duration::from_millis(150));
        right.namespace.run(move || {
            let any: IpAddr = if to.contains(':') { ip("::") } else { ip("0.0.0.0") };
            UdpSocket::bind((any, 0))
                .unwrap()
                .send_to(&IKE, (ip(to), 4500))
                .unwrap();
        });
        expect(8, 1);
        std::thread::sleep(Duration::from_millis(50));
        send_mixture(&right, to);
        assert_eq!(heard(&ike), vec![IKE.to_vec(); 8]);
        expect(16, 1);
    }
}

/// A key manager's socket as OpenIKED has it: one for each family, and the IPv6 one would take IPv4, too.
fn shared_socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

#[test]
fn a_key_manager_makes_its_socket_an_endpoint_while_the_datapath_runs() {
    if !inside(
        "a_key_manager_makes_its_socket_an_endpoint_while_the_datapath_runs",
        &[],
    ) {
        return;
    }
    for (to, bound) in [
        ("192.0.2.1", "0.0.0.0:4500"),
        ("192.0.2.1", "192.0.2.1:4500"),
        ("2001:db8:ff::1", "[::]:4500"),
    ] {
        let (left, right) = two_hosts_with(Options {
            udp_port: None,
            ..options()
        });
        let endpoint = Endpoint {
            address: bound.parse().unwrap(),
            only_v6: false,
        };
        let open = || {
            let place = Arc::clone(&left.datapath);
            left.namespace
                .run(move || place.lock().unwrap().open_endpoint(endpoint))
        };
        for round in 1..=2 {
            let ike = left.namespace.run(move || shared_socket(endpoint.address));
            open().unwrap();
            send_mixture(&right, to);
            assert_eq!(heard(&ike), vec![IKE.to_vec(); 8], "{bound}, round {round}");
            wait_until("ESP is counted", || left.counters().udp_read_packets == 8 * round);
            // The key manager starts again, and says so again.
        }
        assert_eq!(left.counters().udp_ike_unclaimed, 0);
        let place = Arc::clone(&left.datapath);
        place.lock().unwrap().close_endpoint(endpoint.address).unwrap();
        left.namespace.run(move || {
            let alone = Socket::new(Domain::for_address(endpoint.address), Type::DGRAM, None).unwrap();
            alone
                .bind(&endpoint.address.into())
                .expect("the port is free again");
        });
        let other = left.namespace.run(move || {
            let socket = Socket::new(Domain::for_address(endpoint.address), Type::DGRAM, None).unwrap();
            socket.bind(&endpoint.address.into()).unwrap();
            socket
        });
        assert!(open().unwrap_err().to_string().contains("SO_REUSEPORT"));
        drop(other);
        place.lock().unwrap().stop();
        assert!(open().is_err());
    }
}

#[test]
fn stopping_removes_the_device_and_start_errors_say_why() {
    if !inside("stopping_removes_the_device_and_start_errors_say_why", &[]) {
        return;
    }
    let (left, _right) = two_hosts();
    let engine = Arc::clone(&left.engine);
    let start = move |options: Options| {
        Datapath::start(Arc::clone(&engine), options, Arc::new(|| {}))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let (busy, name, mtu, port) = left.namespace.run(move || {
        let _other = UdpSocket::bind(("0.0.0.0", 4501)).unwrap();
        let free = || Options {
            tun_name: "sallet%d".into(),
            udp_port: None,
            ..options()
        };
        (
            start(options()),
            start(Options {
                tun_name: "a/b".into(),
                ..free()
            }),
            start(Options {
                tun_mtu: 10,
                ..free()
            }),
            start(Options {
                udp_port: Some(4501),
                ..free()
            }),
        )
    });
    assert!(
        busy.contains("TUN device sallet0: cannot create it") && busy.contains("exists already"),
        "{busy}"
    );
    assert!(name.contains("1 to 15 bytes"), "{name}");
    assert!(mtu.contains("cannot set its MTU"), "{mtu}");
    assert!(
        port.contains("UDP port 4501 over IPv4: cannot bind it") && port.contains("SO_REUSEPORT"),
        "{port}"
    );
    left.shell("ip link show sallet0 && ! ip link show sallet1 2>/dev/null");
    left.datapath.lock().unwrap().stop();
    left.shell("! ip link show sallet0 2>/dev/null");
    let datapath = left.datapath.lock().unwrap();
    assert!(!datapath.is_running() && datapath.failure().is_none());
}

// bug-row: 39
#[test]
fn a_deleted_device_is_told() {
    if !inside("a_deleted_device_is_told", &[]) {
        return;
    }
    let (left, _right) = two_hosts();
    assert!(left.datapath.lock().unwrap().is_running());
    left.shell("ip link delete sallet0");
    wait_until("the thread ends", || !left.datapath.lock().unwrap().is_running());
    assert!(left.datapath.lock().unwrap().failure().unwrap().contains("gone"));
    assert_eq!(left.called.load(Ordering::Relaxed), 1);
}

/// Datagrams into the tunnel of the left host until told to stop; how many the kernel took.
fn flood(left: &Host, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    let (stop, client) = (
        Arc::clone(stop),
        left.namespace.run(|| UdpSocket::bind(("10.1.0.1", 0)).unwrap()),
    );
    std::thread::spawn(move || {
        let mut taken = 0;
        while !stop.load(Ordering::Relaxed) {
            taken += usize::from(client.send_to(&[7; 1000], ("10.2.0.1", 9)).is_ok());
        }
        taken
    })
}

/// Every packet that came in went somewhere, and no packet is counted twice.
fn assert_books_balance(host: &Host) {
    let stats = host.engine.stats();
    let arrived = stats.inbound_arrived.packets + stats.outbound_arrived.packets;
    let left = [
        stats.inbound_delivered,
        stats.inbound_bypassed,
        stats.outbound_protected,
        stats.outbound_bypassed,
    ];
    let left: u64 = left.iter().map(|passed| passed.packets).sum();
    assert_eq!(arrived, left + stats.dropped_total());
}

// bug-row: 39
#[test]
fn a_wire_that_goes_away_under_load_is_counted() {
    if !inside("a_wire_that_goes_away_under_load_is_counted", &[]) {
        return;
    }
    let (left, right) = two_hosts();
    address_tunnels(&left, &right);
    protect_both(&left, &right, tunnel(OUTER_V4, INNER_V4, 0x1000, None));
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..2).map(|_| flood(&left, &stop)).collect();
    wait_until("packets arrive", || {
        right.engine.stats().inbound_opened.packets > 1000
    });
    let before = left.counters();
    left.shell("ip link delete wire0");
    let failed = |counters: &Counters| -> u64 {
        let entries = counters.entries();
        let failed = entries.iter().filter(|(name, _)| name.starts_with("send_"));
        failed.map(|(_, count)| count).sum()
    };
    wait_until("sending fails", || {
        failed(&left.counters()) > failed(&before) + 100
    });
    assert!(left.datapath.lock().unwrap().is_running() && right.datapath.lock().unwrap().is_running());
    stop.store(true, Ordering::Relaxed);
    assert!(floods.into_iter().all(|flood| flood.join().unwrap() > 0));
    // A wire of the same name, and the same SAs go on.
    left.shell(&format!(
        "ip link add wire0 type veth peer name wire0 netns {}
         ip address add 192.0.2.1/24 dev wire0
         ip link set wire0 up",
        right.namespace.thread_id
    ));
    right.shell("ip address add 192.0.2.2/24 dev wire0; ip link set wire0 up");
    echo_udp(&left, &right, "10.1.0.1", "10.2.0.1", &[100, 1000]);
    for host in [&left, &right] {
        host.datapath.lock().unwrap().stop();
        assert_books_balance(host);
    }
}

// bug-row: 39
#[test]
fn a_device_that_goes_away_under_load_ends_the_thread_alone() {
    if !inside("a_device_that_goes_away_under_load_ends_the_thread_alone", &[]) {
        return;
    }
    let (left, right) = two_hosts();
    address_tunnels(&left, &right);
    protect_both(&left, &right, tunnel(OUTER_V4, INNER_V4, 0x1000, None));
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..2).map(|_| flood(&left, &stop)).collect();
    wait_until("packets arrive", || {
        right.engine.stats().inbound_opened.packets > 1000
    });
    // The receiver loses its device while packets come out of SAs, then the sender while they go in.
    for host in [&right, &left] {
        host.shell("ip link delete sallet0");
        wait_until("the thread ends", || !host.datapath.lock().unwrap().is_running());
        assert!(host.datapath.lock().unwrap().failure().unwrap().contains("gone"));
        assert_eq!(host.called.load(Ordering::Relaxed), 1);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(floods.into_iter().all(|flood| flood.join().unwrap() > 0));
    for host in [&left, &right] {
        host.datapath.lock().unwrap().stop();
        assert_books_balance(host);
        assert_eq!(
            host.engine.sad_dump(None).len(),
            2,
            "what is known outlives the device"
        );
    }
}

#[test]
fn without_rights_the_error_names_the_capability() {
    let no_rights = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    if !inside("without_rights_the_error_names_the_capability", &no_rights) {
        return;
    }
    let engine = setup::engine(1, clock::now());
    let error = Datapath::start(engine, options(), Arc::new(|| {}))
        .map(drop)
        .unwrap_err();
    assert_eq!(sallet_datapath::errno_of(&error), Some(1), "EPERM");
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}
