//! Control messages (`cmsghdr`) and socket addresses as bytes: read and written without a pointer.
//! No system call may enter; what the messages mean for a packet stands in the device that asked for them.
//! Answers to: cmsg(3), ip(7), ipv6(7), RFC 3542.

use crate::sys::{Address, Control};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length of one word, level and type.
const HEADER: usize = WORD + 8;

const fn aligned(len: usize) -> usize {
    (len + WORD - 1) & !(WORD - 1)
}

/// One control message.
pub(crate) struct Entry<'a> {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) data: &'a [u8],
}

impl Entry<'_> {
    /// The value of a message that holds a C `int`.
    pub(crate) fn int(&self) -> Option<i32> {
        self.data.first_chunk().copied().map(i32::from_ne_bytes)
    }
}

/// Walks through received control messages; stops at the first that makes no sense.
pub(crate) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let len = usize::from_ne_bytes(*bytes.first_chunk()?);
        let level = i32::from_ne_bytes(*bytes.get(WORD..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*bytes.get(WORD + 4..)?.first_chunk()?);
        let data = bytes.get(HEADER..len)?;
        bytes = bytes.get(aligned(len)..).unwrap_or(&[]);
        Some(Entry { level, kind, data })
    })
}

/// Adds one control message; says whether there was room.
pub(crate) fn push<const BYTES: usize>(
    control: &mut Control<BYTES>,
    level: i32,
    kind: i32,
    data: &[u8],
) -> bool {
    let len = HEADER + data.len();
    let start = control.len;
    let Some(room) = control.bytes.get_mut(start..start + aligned(len)) else {
        return false;
    };
    room.fill(0);
    room[..WORD].copy_from_slice(&len.to_ne_bytes());
    room[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
    room[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    room[HEADER..len].copy_from_slice(data);
    control.len = start + aligned(len);
    true
}

/// The kernel's form of an address and a port.
pub(crate) fn address(address: IpAddr, port: u16) -> Address {
    let mut out = Address::EMPTY;
    out.bytes[2..4].copy_from_slice(&port.to_be_bytes());
    match address {
        IpAddr::V4(v4) => {
            out.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            out.bytes[4..8].copy_from_slice(&v4.octets());
            out.len = 16;
        }
        IpAddr::V6(v6) => {
            out.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            out.bytes[8..24].copy_from_slice(&v6.octets());
            out.len = 28;
        }
    }
    out
}

/// Reads the kernel's form of an address and a port.
pub(crate) fn socket_address(address: &Address) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes([address.bytes[0], address.bytes[1]]));
    let port = u16::from_be_bytes([address.bytes[2], address.bytes[3]]);
    if family == libc::AF_INET && address.len >= 16 {
        let octets: [u8; 4] = *address.bytes.get(4..)?.first_chunk()?;
        Some((Ipv4Addr::from(octets), port).into())
    } else if family == libc::AF_INET6 && address.len >= 28 {
        let octets: [u8; 16] = *address.bytes.get(8..)?.first_chunk()?;
        Some((Ipv6Addr::from(octets), port).into())
    } else {
        None
    }
}

/// The destination address of a complete IP packet.
pub(crate) fn destination_of(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet
            .get(16..)?
            .first_chunk::<4>()
            .map(|octets| IpAddr::from(*octets)),
        6 => packet
            .get(24..)?
            .first_chunk::<16>()
            .map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read_back() {
        let mut control = Control::<96>::EMPTY;
        assert!(push(
            &mut control,
            libc::IPPROTO_IP,
            libc::IP_TTL,
            &64i32.to_ne_bytes()
        ));
        assert!(push(
            &mut control,
            libc::IPPROTO_IPV6,
            libc::IPV6_PKTINFO,
            &[9; 20]
        ));
        let seen: Vec<_> = entries(control.as_slice())
            .map(|entry| (entry.level, entry.kind, entry.int(), entry.data.len()))
            .collect();
        assert_eq!(seen[0], (libc::IPPROTO_IP, libc::IP_TTL, Some(64), 4));
        assert_eq!((seen[1].1, seen[1].3, seen.len()), (libc::IPV6_PKTINFO, 20, 2));
    }

    #[test]
    fn nonsense_ends_the_walk() {
        for bytes in [
            &[0u8; 0][..],
            &[0; 3],
            &[0xff; 40],
            &[0; 64],
            &[17, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            assert!(entries(bytes).take(100).count() < 5);
        }
        let mut full = Control::<96>::EMPTY;
        assert!(!push(&mut full, 0, 0, &[0; 96]));
        assert_eq!(full.len, 0);
    }

    #[test]
    fn addresses_come_back() {
        for text in ["192.0.2.1:4500", "[2001:db8::1]:500"] {
            let given: SocketAddr = text.parse().unwrap();
            assert_eq!(socket_address(&address(given.ip(), given.port())), Some(given));
        }
        assert_eq!(socket_address(&Address::EMPTY), None);
        assert_eq!(destination_of(&[0x45; 19]), None);
        assert_eq!(destination_of(&[]), None);
    }
}
