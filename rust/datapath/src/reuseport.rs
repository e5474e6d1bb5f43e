//! Sharing a UDP port with a key manager: who is in the `SO_REUSEPORT` group, and which member gets what.
//! Receiving and sending may not enter.
//! Answers to: RFC 3948 §2.2 (non-ESP marker), socket(7) `SO_REUSEPORT` and `SO_ATTACH_REUSEPORT_CBPF`, proc(5).

use crate::error::StartError;
use crate::sys;
use sallet_core::time::Instant;
use socket2::Socket;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// How often the group is looked at when nothing hints that it changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How soon it is looked at again when an IKE message reached the wrong socket.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The group of sockets on one address and port, ours among them.
///
/// The program names members by index. The kernel adds a new member at the end and fills the gap of a leaving one
/// with the last; this keeps the same list, so the order of starting and restarting does not matter.
pub(crate) struct Group {
    address: SocketAddr,
    own: u64,
    order: Vec<u64>,
    looked: Instant,
    hinted: bool,
}

impl Group {
    /// Says which sockets are on `address` already; call it before binding `socket` to it.
    pub(crate) fn before_bind(socket: &Socket, address: SocketAddr) -> Self {
        let own = inode_of(socket).unwrap_or(0);
        Self {
            address,
            own,
            order: members(address),
            looked: Instant(0),
            hinted: false,
        }
    }

    /// Adds our socket, which is bound now, and installs the program.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub(crate) fn join(&mut self, socket: &Socket, device: &str, now: Instant) -> Result<(), StartError> {
        self.order.push(self.own);
        self.looked = now;
        self.attach(socket)
            .map_err(|error| StartError::new(device, "share its port", &error, ""))
    }

    /// Notes that a message for the key manager came to our socket.
    pub(crate) const fn hint(&mut self) {
        self.hinted = true;
    }

    /// Looks at the group from time to time and follows its changes.
    ///
    /// # Errors
    /// The kernel refuses the new program; the old one stays.
    pub(crate) fn maintain(&mut self, socket: &Socket, now: Instant) -> io::Result<()> {
        let pause = if self.hinted { LOOK_AGAIN } else { LOOK_EVERY };
        if now.since(self.looked) < pause {
            return Ok(());
        }
        self.looked = now;
        self.hinted = false;
        if follow(&mut self.order, &members(self.address), self.own) {
            self.attach(socket)?;
        }
        Ok(())
    }

    fn attach(&self, socket: &Socket) -> io::Result<()> {
        let own = self
            .order
            .iter()
            .position(|inode| *inode == self.own)
            .unwrap_or(0) as u32;
        // With several others, IKE goes to the first of them. Without any, this index does not exist and the
        // kernel chooses by hash: that is us.
        let other = u32::from(own == 0);
        sys::attach_reuseport_filter(socket.as_fd(), &program(own, other))
    }
}

/// Brings `order` up to date as the kernel does with its array; says whether anything changed.
fn follow(order: &mut Vec<u64>, seen: &[u64], own: u64) -> bool {
    let mut changed = false;
    while let Some(gone) = order
        .iter()
        .position(|inode| *inode != own && !seen.contains(inode))
    {
        order.swap_remove(gone);
        changed = true;
    }
    for inode in seen {
        if !order.contains(inode) {
            order.push(*inode);
            changed = true;
        }
    }
    changed
}

/// A classic BPF program over the UDP payload: four zero bytes → `ike`, anything else and anything shorter → `own`.
fn program(own: u32, ike: u32) -> [libc::sock_filter; 6] {
    //= https://www.rfc-editor.org/rfc/rfc3948#section-2.2
    //# An IKE message on this port begins with four zero bytes, where ESP has its SPI.
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W;
    const JUMP: u32 = libc::BPF_JMP | libc::BPF_K;
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    [
        step(LOAD | libc::BPF_LEN, 0, 0, 0),
        step(JUMP | libc::BPF_JGE, 0, 3, 4),
        step(LOAD | libc::BPF_ABS, 0, 0, 0),
        step(JUMP | libc::BPF_JEQ, 0, 1, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, ike),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, own),
    ]
}

/// The inodes of the sockets bound to `address`. Without /proc: none, we seem alone.
fn members(address: SocketAddr) -> Vec<u64> {
    let table = if address.is_ipv6() { "udp6" } else { "udp" };
    // The calling thread's network namespace, which need not be the process's.
    fs::read_to_string(format!("/proc/thread-self/net/{table}"))
        .map(|text| members_in(&text, address))
        .unwrap_or_default()
}

fn members_in(table: &str, address: SocketAddr) -> Vec<u64> {
    let wanted = as_proc_writes(address);
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            (fields.nth(1)? == wanted).then(|| fields.nth(7)?.parse().ok())?
        })
        .collect()
}

/// An address as proc(5) has it: words of 32 bits as this machine's numbers, and the port as people read it.
fn as_proc_writes(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets
        .chunks_exact(4)
        .map(|word| word.try_into().map_or(0, u32::from_ne_bytes));
    let words: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{words}:{:04X}", address.port())
}

fn inode_of(socket: &Socket) -> Option<u64> {
    fs::metadata(format!("/proc/thread-self/fd/{}", socket.as_raw_fd()))
        .ok()
        .map(|it| it.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::Domain;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7001 2 0000000000000000 0
  101: 0100007F:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7002 2 0000000000000000 0
  102: 00000000:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7003 2 0000000000000000 0
  100: 00000000000000000000000000000000:1194 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7004 2 0 0
nonsense
";

    #[test]
    fn the_sockets_of_a_port_are_found() {
        let found = |address: &str| members_in(TABLE, address.parse().unwrap());
        assert_eq!(found("0.0.0.0:4500"), [7001]);
        assert_eq!(found("[::]:4500"), [7004]);
        assert_eq!(found("0.0.0.0:500"), [7003]);
        assert_eq!(found("[2001:db8::1]:4500"), [0u64; 0]);
        if cfg!(target_endian = "little") {
            assert_eq!(found("127.0.0.1:4500"), [7002]);
        }
        assert_eq!(members_in("", "0.0.0.0:500".parse().unwrap()), [0u64; 0]);
    }

    #[test]
    fn the_list_follows_the_kernels_array() {
        let mut order = vec![1, 9];
        assert!(!follow(&mut order, &[9, 1], 9));
        assert!(follow(&mut order, &[9], 9), "the key manager ended");
        assert!(follow(&mut order, &[2, 9], 9), "and came back");
        assert_eq!(order, [9, 2]);
        let mut order = vec![1, 2, 9];
        assert!(follow(&mut order, &[2, 9], 9));
        assert_eq!(order, [9, 2], "the last fills the gap");
        assert!(follow(&mut order, &[], 9));
        assert_eq!(order, [9], "we never leave");
    }

    /// A tiny interpreter of the three instructions used, as the kernel runs them.
    fn run(program: &[libc::sock_filter], payload: &[u8]) -> u32 {
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) {
                0x80 => accumulator = payload.len() as u32,
                0x20 => accumulator = u32::from_be_bytes(*payload.first_chunk().unwrap()),
                0x35 => at += usize::from(if accumulator >= step.k { step.jt } else { step.jf }),
                0x15 => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
                0x06 => return step.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3948#section-2.2
    //# An IKE message on this port begins with four zero bytes, where ESP has its SPI.
    #[test]
    fn the_program_splits_ike_from_esp() {
        let program = program(7, 3);
        assert_eq!(run(&program, &[0, 0, 0, 0, 1]), 3);
        assert_eq!(run(&program, &[0, 0, 1, 0, 0, 0, 0, 1]), 7);
        assert_eq!(run(&program, &[0xff]), 7, "keepalive");
        assert_eq!(run(&program, &[]), 7);
        assert_eq!(run(&program, &[0, 0, 0]), 7);
    }

    #[test]
    fn a_socket_finds_itself_in_proc() {
        let socket = Socket::new(Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(members(address), [inode_of(&socket).unwrap()]);
    }
}
