//! The TUN device: cleartext from the host's stack and back, one IP packet per read and write.
//! Addresses, routes and rules may not enter: `sallet.attach` sets those up. No policy decision either.
//! Answers to: Documentation/networking/tuntap.rst of the kernel, netdevice(7).

use crate::counters::{Live, add};
use crate::error::StartError;
use crate::pool::Pool;
use crate::port::TunnelPort;
use crate::sys;
use sallet_core::buffer::PacketBuf;
use sallet_core::engine::Batch;
use socket2::{Domain, Socket, Type};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

const CLONE_DEVICE: &str = "/dev/net/tun";
/// The smallest MTU that IPv6 accepts on a link (RFC 8200 §5) is 1280; IPv4 alone would do with 68.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_535;

/// An interface made by us. Closing the descriptor removes it, with its addresses and routes.
pub(crate) struct TunDevice {
    file: File,
    name: String,
    ready: bool,
    counters: Arc<Live>,
}

impl TunDevice {
    /// Makes the interface `name` (`%d` in it is a number the kernel chooses) with `mtu`; it is still down.
    ///
    /// # Errors
    /// Says which step failed and what is missing.
    pub(crate) fn create(name: &str, mtu: u32, counters: Arc<Live>) -> Result<Self, StartError> {
        check_name(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(CLONE_DEVICE)
            .map_err(|error| StartError::new(CLONE_DEVICE, "open it", &error, open_advice(&error)))?;
        // IFF_TUN_EXCL: an interface of that name that somebody made persistent is not ours to take.
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL) as u16;
        let device = format!("TUN device {name}");
        let name = sys::tun_set_interface(file.as_fd(), name, flags)
            .map_err(|error| StartError::new(&device, "create it", &error, create_advice(&error)))?;
        set_mtu(&device, &name, mtu)?;
        Ok(Self {
            file,
            name,
            ready: true,
            counters,
        })
    }

    /// The interface's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor, for the event loop.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Notes that the event loop saw the descriptor readable.
    pub(crate) fn mark_ready(&mut self) {
        self.ready = true;
    }
}

impl TunnelPort for TunDevice {
    fn read_batch(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<bool> {
        if !self.ready {
            return Ok(false);
        }
        for _ in 0..sys::BATCH {
            let mut buffer = pool.take();
            match self.file.read(buffer.writable()) {
                Ok(len) => {
                    add(&self.counters.tun_read_packets, 1);
                    add(&self.counters.tun_read_bytes, len);
                    buffer.set_len(len);
                    batch.push(buffer);
                }
                Err(error) => {
                    pool.give(buffer);
                    match error.raw_os_error() {
                        Some(libc::EAGAIN) => {
                            self.ready = false;
                            return Ok(false);
                        }
                        Some(libc::EINTR) => {}
                        // EBADFD: somebody deleted the interface under us.
                        _ => return Err(error),
                    }
                }
            }
        }
        Ok(true)
    }

    fn write_batch(&mut self, packets: &mut Vec<PacketBuf>, pool: &mut Pool) {
        for packet in packets.drain(..) {
            match self.file.write(packet.as_slice()) {
                Ok(len) => {
                    add(&self.counters.tun_written_packets, 1);
                    add(&self.counters.tun_written_bytes, len);
                }
                Err(_) => add(&self.counters.tun_write_errors, 1),
            }
            pool.give(packet);
        }
    }
}

fn check_name(name: &str) -> Result<(), StartError> {
    let usable = (1..libc::IFNAMSIZ).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name
            .bytes()
            .any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace() || byte == 0);
    if usable {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(libc::EINVAL);
    let advice = "an interface name has 1 to 15 bytes, without '/', ':' and white space";
    Err(StartError::new(
        &format!("TUN device {name:?}"),
        "use this name",
        &error,
        advice,
    ))
}

fn set_mtu(device: &str, name: &str, mtu: u32) -> Result<(), StartError> {
    let advice = "an MTU is 68 to 65535 bytes, and at least 1280 for IPv6";
    let refused = |error: &io::Error| StartError::new(device, "set its MTU", error, advice);
    if !MTU_RANGE.contains(&mtu) {
        return Err(refused(&io::Error::from_raw_os_error(libc::EINVAL)));
    }
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(|error| refused(&error))?;
    sys::set_interface_mtu(socket.as_fd(), name, mtu as i32).map_err(|error| refused(&error))
}

fn open_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            "this system has no TUN device node: `mkdir -p /dev/net && mknod /dev/net/tun c 10 200`, or give the container --device /dev/net/tun"
        }
        Some(libc::ENODEV | libc::ENXIO) => "the kernel has no TUN driver: `modprobe tun`",
        Some(libc::EPERM | libc::EACCES) => {
            "the device node refuses this user; run as root, or inside `unshare -Urnm`, or let the container use the device"
        }
        _ => "",
    }
}

fn create_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "CAP_NET_ADMIN in this network namespace is missing",
        Some(libc::EBUSY | libc::EEXIST | libc::EINVAL) => "an interface of this name exists already",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_refuse_are_refused_with_a_reason() {
        for name in ["", ".", "sixteen-letters!", "a/b", "a b", "a:b"] {
            let error = check_name(name).unwrap_err();
            assert!(error.to_string().contains("1 to 15 bytes"), "{error}");
        }
        assert_eq!(check_name("sallet0"), Ok(()));
    }

    #[test]
    fn advice_tells_a_missing_node_from_a_missing_right() {
        let advice = |errno| open_advice(&io::Error::from_raw_os_error(errno));
        assert!(advice(libc::ENOENT).contains("mknod"));
        assert!(advice(libc::EPERM).contains("refuses"));
        assert!(create_advice(&io::Error::from_raw_os_error(libc::EPERM)).contains("CAP_NET_ADMIN"));
    }
}
