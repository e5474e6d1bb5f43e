//! Every `unsafe` of this crate: two ioctls, setsockopt, getsockopt, recvmmsg and sendmmsg, as safe functions.
//! No decision, no packet format and no loop may enter: each function is one system call.
//! Answers to: SAFETY.md; ioctl(2), netdevice(7), tun.rst of the kernel, recvmmsg(2), sendmmsg(2), bpf of socket(7).

use sallet_core::buffer::PacketBuf;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most messages one system call moves.
pub(crate) const BATCH: usize = 64;

/// A socket address as the kernel lays it out (`sockaddr_in` or `sockaddr_in6`), with its length.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Address {
    pub(crate) bytes: [u8; Self::BYTES],
    pub(crate) len: u32,
}

impl Address {
    /// Room for a `sockaddr_in6` (28 bytes).
    pub(crate) const BYTES: usize = 28;
    /// No address.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; Self::BYTES],
        len: 0,
    };
}

/// Control messages as the kernel lays them out, aligned as `cmsghdr` must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control<const BYTES: usize> {
    pub(crate) bytes: [u8; BYTES],
    pub(crate) len: usize,
}

/// Room for every control message asked for here, with 2 × 256 bytes of extension headers.
pub(crate) type ReceivedControl = Control<768>;
/// Room for a source address, a traffic class and a hop limit.
pub(crate) type SentControl = Control<96>;

impl<const BYTES: usize> Control<BYTES> {
    /// No control messages.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; BYTES],
        len: 0,
    };

    /// The control messages in it.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// What the kernel says beside one received message.
#[derive(Clone, Copy)]
pub(crate) struct Received {
    pub(crate) source: Address,
    pub(crate) control: ReceivedControl,
    /// The message, or a control message, was longer than its buffer.
    pub(crate) truncated: bool,
}

impl Received {
    /// Nothing received yet.
    pub(crate) const EMPTY: Self = Self {
        source: Address::EMPTY,
        control: ReceivedControl::EMPTY,
        truncated: false,
    };
}

/// One message to send.
pub(crate) struct Message<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) destination: Address,
    pub(crate) control: SentControl,
}

/// `struct ifreq`: the name and a union of which the first bytes are used here.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

const _: () = assert!(size_of::<InterfaceRequest>() >= size_of::<libc::ifreq>());

impl InterfaceRequest {
    fn new(name: &str, value: &[u8]) -> io::Result<Self> {
        let mut request = Self {
            name: [0; libc::IFNAMSIZ],
            value: [0; 24],
        };
        // One byte stays zero: the kernel's names end with it.
        let room = request
            .name
            .get_mut(..name.len())
            .filter(|room| room.len() < libc::IFNAMSIZ);
        room.ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(name.as_bytes());
        request
            .value
            .get_mut(..value.len())
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(value);
        Ok(request)
    }

    fn name(&self) -> String {
        let end = self
            .name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.name.len());
        String::from_utf8_lossy(&self.name[..end]).into_owned()
    }
}

/// Turns an open `/dev/net/tun` into the interface `name` with `flags` (`IFF_TUN` …); returns the real name.
///
/// # Errors
/// What ioctl(2) says: EPERM without CAP_NET_ADMIN, EBUSY if the name is taken.
pub(crate) fn tun_set_interface(tun: BorrowedFd<'_>, name: &str, flags: u16) -> io::Result<String> {
    let mut request = InterfaceRequest::new(name, &flags.to_ne_bytes())?;
    // SAFETY: S1. `request` is at least as large as `struct ifreq`, initialised, aligned and lives across the
    // call; TUNSETIFF reads and writes no more than that struct.
    let answer = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(request.name())
    }
}

/// Sets the MTU of the interface `name`, through any socket of its network namespace.
///
/// # Errors
/// What ioctl(2) says: EINVAL for an MTU the device refuses, ENODEV if it is gone.
pub(crate) fn set_interface_mtu(socket: BorrowedFd<'_>, name: &str, mtu: i32) -> io::Result<()> {
    let request = InterfaceRequest::new(name, &mtu.to_ne_bytes())?;
    // SAFETY: S1. As above; SIOCSIFMTU only reads the struct.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU, &raw const request) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets a socket option whose value is a C `int`.
///
/// # Errors
/// What setsockopt(2) says.
pub(crate) fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: S2. The pointer is to `value`, which lives across the call, and the length is its size.
    unsafe { set_option_raw(socket, level, name, (&raw const value).cast(), size_of::<i32>()) }
}

/// Sets a socket option whose value is a struct without padding, given as its bytes.
///
/// # Errors
/// What setsockopt(2) says.
pub(crate) fn set_option_bytes(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: S2. The pointer is to `value`, which lives across the call, and the length is its length.
    unsafe { set_option_raw(socket, level, name, value.as_ptr().cast(), value.len()) }
}

/// Reads a socket option whose value is a C `int`.
///
/// # Errors
/// What getsockopt(2) says.
pub(crate) fn option(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: S2. Both pointers are to locals that live across the call, and `size` is that of `value`; the
    // kernel writes no more than that.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// Gives the `SO_REUSEPORT` group of `socket` a classic BPF program that answers with a member's index.
///
/// # Errors
/// What setsockopt(2) says: EINVAL for a program the kernel's checker refuses.
pub(crate) fn attach_reuseport_filter(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    let size = size_of::<libc::sock_fprog>();
    // SAFETY: S2. `program` lives across the call and its `filter` points to `len` instructions that do, too;
    // the kernel copies them and writes nothing.
    unsafe {
        let value = (&raw const program).cast();
        set_option_raw(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            value,
            size,
        )
    }
}

/// # Safety
/// `value` points to `size` initialised bytes that the option's type describes.
unsafe fn set_option_raw(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: *const libc::c_void,
    size: usize,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: S2. Promised by the caller.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Receives as many messages as there are, at most one per buffer, without waiting; returns how many.
///
/// Buffer *i* holds message *i* afterwards, and `received[i]` what came beside it.
///
/// # Errors
/// What recvmmsg(2) says: `WouldBlock` if there is no message.
pub(crate) fn receive_many(
    socket: BorrowedFd<'_>,
    buffers: &mut [PacketBuf],
    received: &mut [Received],
) -> io::Result<usize> {
    let count = buffers.len().min(received.len()).min(BATCH);
    let mut vectors = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    // SAFETY: S3. All-zero bytes are a valid `mmsghdr`: integers, and pointers that may be null.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (((vector, header), buffer), beside) in vectors
        .iter_mut()
        .zip(&mut headers)
        .zip(buffers.iter_mut())
        .zip(received.iter_mut())
        .take(count)
    {
        let room = buffer.writable();
        *vector = libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        };
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = beside.source.bytes.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = Address::BYTES as u32;
        header.msg_hdr.msg_control = beside.control.bytes.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = beside.control.bytes.len() as _;
    }
    // SAFETY: S4. The first `count` headers point to one iovec, one address and one control buffer each, of the
    // lengths given, all mutably borrowed by this function until it returns; nothing else touches them meanwhile.
    let answer = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count as u32,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let got = usize::try_from(answer).map_err(|_| io::Error::last_os_error())?;
    for ((header, buffer), beside) in headers
        .iter()
        .zip(buffers.iter_mut())
        .zip(received.iter_mut())
        .take(got)
    {
        buffer.set_len(header.msg_len as usize);
        beside.source.len = header.msg_hdr.msg_namelen.min(Address::BYTES as u32);
        beside.control.len = header.msg_hdr.msg_controllen.min(beside.control.bytes.len());
        beside.truncated = header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    }
    Ok(got)
}

/// Sends `messages` (at most [`BATCH`]) in order without waiting; returns how many went before one failed.
///
/// # Errors
/// What sendmmsg(2) says of the first message, if not even that one went.
pub(crate) fn send_many(socket: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
    let count = messages.len().min(BATCH);
    let mut vectors = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    // SAFETY: S3. As in `receive_many`.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for ((vector, header), message) in vectors.iter_mut().zip(&mut headers).zip(messages).take(count) {
        let payload = message.payload;
        *vector = libc::iovec {
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: payload.len(),
        };
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = message.destination.bytes.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = message.destination.len.min(Address::BYTES as u32);
        let control = message.control.as_slice();
        if !control.is_empty() {
            header.msg_hdr.msg_control = control.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_controllen = control.len() as _;
        }
    }
    // SAFETY: S4. As in `receive_many`, borrowed shared: sendmmsg only reads what the headers point to and
    // writes `msg_len` of the headers themselves.
    let answer = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count as u32,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn address_of(socket: &UdpSocket) -> Address {
        let mut address = Address {
            len: 16,
            ..Address::EMPTY
        };
        address.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        address.bytes[2..4].copy_from_slice(&socket.local_addr().unwrap().port().to_be_bytes());
        address.bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
        address
    }

    #[test]
    fn messages_cross_a_socket_in_order_and_truncation_shows() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let destination = address_of(&to);
        let payloads: [&[u8]; 3] = [b"one", b"two!", &[7; 100]];
        let messages: Vec<_> = payloads
            .iter()
            .map(|payload| Message {
                payload,
                destination,
                control: SentControl::EMPTY,
            })
            .collect();
        assert_eq!(send_many(from.as_fd(), &messages).unwrap(), 3);
        let mut buffers: Vec<_> = (0..4).map(|_| PacketBuf::with_capacity(50)).collect();
        let mut received = vec![Received::EMPTY; 4];
        assert_eq!(receive_many(to.as_fd(), &mut buffers, &mut received).unwrap(), 3);
        assert_eq!(buffers[0].as_slice(), b"one");
        assert_eq!(buffers[1].as_slice(), b"two!");
        assert_eq!(received[0].source.bytes[2..8], address_of(&from).bytes[2..8]);
        assert_eq!(received[0].source.len, 16);
        assert!(!received[1].truncated && received[2].truncated);
        let nothing = receive_many(to.as_fd(), &mut buffers, &mut received).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        assert!(InterfaceRequest::new("sixteen-letters!", &[]).is_err());
        assert!(InterfaceRequest::new("", &[0; 25]).is_err());
        assert_eq!(
            InterfaceRequest::new("fifteen-letters", &[]).unwrap().name(),
            "fifteen-letters"
        );
    }
}
