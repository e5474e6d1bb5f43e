//! What the host's routes take: asked where the kernel refused a packet, and the packet cut to it.
//! No header layout may enter: `sallet_core::wire::fragment` cuts.
//! Answers to: raw(7) (EMSGSIZE: a header of ours is never cut by the kernel), ip(7) `IP_MTU`, ipv6(7) `IPV6_MTU`.

use crate::raw_socket::SocketOptions;
use crate::sys;
use sallet_core::buffer::PacketBuf;
use sallet_core::wire::fragment;
use sallet_core::wire::ip::Summary;
use socket2::{Domain, SockAddr, Socket, Type};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// Discard: nothing is sent, a route needs a port to be asked for.
const ANY_PORT: u16 = 9;

/// Asks routes for their MTU, and cuts what is longer.
pub(crate) struct RouteMtu {
    mark: u32,
    identification: u32,
}

impl RouteMtu {
    /// Makes one whose questions carry the mark that the packets carry.
    pub(crate) fn new(options: &SocketOptions) -> Self {
        Self {
            mark: options.mark,
            identification: (RandomState::new().build_hasher().finish() & 0xffff_ffff) as u32,
        }
    }

    /// The MTU of the route to `destination`; `None` without one.
    pub(crate) fn of(&self, destination: IpAddr) -> Option<u32> {
        let (domain, level, name) = if destination.is_ipv4() {
            (Domain::IPV4, libc::IPPROTO_IP, libc::IP_MTU)
        } else {
            (Domain::IPV6, libc::IPPROTO_IPV6, libc::IPV6_MTU)
        };
        let socket = Socket::new(domain, Type::DGRAM.cloexec(), None).ok()?;
        socket.set_mark(self.mark).ok()?;
        socket
            .connect(&SockAddr::from(SocketAddr::new(destination, ANY_PORT)))
            .ok()?;
        let mtu = sys::option(socket.as_fd(), level, name).ok()?;
        u32::try_from(mtu).ok().filter(|mtu| *mtu != 0)
    }

    /// Cuts a packet that its route refused; nothing if it must not be cut. IPv6 is cut by its source alone, which
    /// is this host only for what it `sealed_here`.
    pub(crate) fn cut(&mut self, packet: &[u8], mtu: u32, sealed_here: bool) -> Vec<PacketBuf> {
        let may_be_cut = Summary::parse(packet).is_some_and(|summary| {
            if summary.source.is_ipv6() {
                sealed_here
            } else {
                !summary.dont_fragment
            }
        });
        if !may_be_cut || packet.len() <= mtu as usize {
            return Vec::new();
        }
        self.identification = self.identification.wrapping_add(1);
        fragment::split(packet, mtu as usize, self.identification)
            .map(Iterator::collect)
            .unwrap_or_default()
    }
}
