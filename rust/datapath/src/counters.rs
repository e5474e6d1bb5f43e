//! Counters of the devices: what was read, what was written, and what failed by kind.
//! The engine's own counters (drop reasons) may not enter.
//! Answers to: ARCHITECTURE.md C and D; errno values of send(2), raw(7), udp(7).

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The live counters, shared between the event loop and whoever looks.
        #[derive(Debug, Default)]
        pub(crate) struct Live { $($(#[doc = $doc])+ pub(crate) $name: AtomicU64),+ }

        /// The counters of one datapath at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[doc = $doc])+ pub $name: u64),+ }

        impl Live {
            /// Copies the counters.
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.load(Relaxed)),+ }
            }
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

counters! {
    /// Packets read from the TUN device.
    tun_read_packets,
    /// Bytes read from the TUN device.
    tun_read_bytes,
    /// Packets written to the TUN device.
    tun_written_packets,
    /// Bytes written to the TUN device.
    tun_written_bytes,
    /// Packets the TUN device refused (EIO: it is down; EINVAL: not an IP packet).
    tun_write_errors,
    /// Packets received by the raw sockets.
    raw_read_packets,
    /// Bytes received by the raw sockets, IP headers included.
    raw_read_bytes,
    /// Protected packets sent by the raw sockets.
    raw_sent_packets,
    /// Bytes sent so, IP headers included.
    raw_sent_bytes,
    /// Packets sent unprotected because policy says bypass.
    bypass_sent_packets,
    /// Bytes sent so, IP headers included.
    bypass_sent_bytes,
    /// ESP packets received in UDP.
    udp_read_packets,
    /// Bytes received so, IP and UDP headers included.
    udp_read_bytes,
    /// ESP packets sent in UDP.
    udp_sent_packets,
    /// Bytes sent so, IP and UDP headers included.
    udp_sent_bytes,
    /// NAT keepalives swallowed (RFC 3948 §4).
    udp_keepalives,
    /// IKE messages that arrived here because no key manager listens on the port.
    udp_ike_unclaimed,
    /// UDP datagrams too short to be anything.
    udp_short,
    /// ICMP errors received, for the engine to judge.
    icmp_errors_read,
    /// Packets cut because the host's route took less than the engine knew.
    route_cut_packets,
    /// Messages longer than any IP packet, or with control messages cut off.
    receive_truncated,
    /// IPv6 packets whose header could not be rebuilt from the control messages.
    receive_no_header,
    /// Errors of a receiving system call other than "nothing there".
    receive_errors,
    /// Sends refused with EMSGSIZE: longer than the MTU of the link or the path.
    send_too_big,
    /// Sends refused with ENETUNREACH, EHOSTUNREACH or EADDRNOTAVAIL: no route, or the source is not ours.
    send_unreachable,
    /// Sends refused with EPERM or EACCES: a packet filter, a blackhole route.
    send_denied,
    /// Sends refused with EAGAIN, ENOBUFS or ENOMEM: the socket's or the link's queue is full.
    send_no_buffer,
    /// Sends refused with any other error.
    send_other,
    /// Unprotected packets with a scope of one link, which may not leave by another (RFC 4291 §2.5.6).
    bypass_link_scope,
    /// Packets for which there is no socket of that kind or address family.
    send_no_socket,
}

impl Live {
    /// Counts a failed send of one packet under its kind.
    pub(crate) fn send_failed(&self, error: &io::Error) {
        let cell = match error.raw_os_error() {
            Some(libc::EMSGSIZE) => &self.send_too_big,
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL) => &self.send_unreachable,
            Some(libc::EPERM | libc::EACCES) => &self.send_denied,
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => &self.send_no_buffer,
            _ => &self.send_other,
        };
        add(cell, 1);
    }
}

/// Adds `count` to a counter.
pub(crate) fn add(cell: &AtomicU64, count: usize) {
    cell.fetch_add(count as u64, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_has_its_cell() {
        let live = Live::default();
        for errno in [
            libc::EMSGSIZE,
            libc::ENETUNREACH,
            libc::EPERM,
            libc::EAGAIN,
            libc::EINVAL,
        ] {
            live.send_failed(&io::Error::from_raw_os_error(errno));
        }
        let seen = live.snapshot();
        let cells = [
            seen.send_too_big,
            seen.send_unreachable,
            seen.send_denied,
            seen.send_no_buffer,
            seen.send_other,
        ];
        assert_eq!(cells, [1; 5]);
        assert_eq!(seen.entries().iter().map(|(_, count)| count).sum::<u64>(), 5);
    }
}
