//! ICMP and the path MTU: answers to packets that are too big, and errors from the open side taken as hints.
//! No ICMP layout may enter: `wire::icmp` and `wire::icmp_error` know it.
//! Answers to: RFC 4301 sections 6.1.1 and 8.2, RFC 1191 section 4, RFC 4443 section 3.2.

use super::Engine;
use super::config::Config;
use super::pass::Pass;
use crate::buffer::PacketBuf;
use crate::sa::Sad;
use crate::terms::{Protocol, SaId, Spi};
use crate::time::Instant;
use crate::wire::icmp_error::{IcmpError, Problem};
use crate::wire::ip::Summary;
use crate::wire::{icmp, protocol, udp_encap};
use core::time::Duration;

/// No hint takes the path MTU of IPv4 below this.
const IPV4_FLOOR: u32 = 576;
/// No hint takes the path MTU of IPv6 below this (RFC 8200 §5).
const IPV6_FLOOR: u32 = 1280;

/// The error for the sender of `original`; `None` where none may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4).
pub(super) fn too_big_answer(original: &[u8], mtu: usize, summary: &Summary) -> Option<PacketBuf> {
    // The answer speaks as the packet's destination: a host refuses packets that come from its own addresses,
    // and the tunnel's end may be of the other family.
    let mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
    icmp::too_big(original, mtu, summary.destination).map(|answer| PacketBuf::from_packet(&answer))
}

impl Engine {
    /// Takes an ICMP error that came from the open side: a whole IP packet. Says whether it was believed.
    ///
    /// Nobody signs such an error, so it is a hint and no more: it must quote a packet of a living SA, it only
    /// lowers that SA's path MTU, to 576 (IPv6: 1280) at the lowest, and is forgotten after `path_mtu_secs`.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-6.1.1
    //# an ICMP error about the path MTU is a hint: bounded, and for an SPI that lives
    pub fn icmp_error(&self, packet: &[u8], now: Instant) -> bool {
        let believed = believe(&self.sad.read(), &self.config.load(), packet, now);
        let mut stats = self.stats.lock();
        match believed {
            Some(true) => stats.path_mtu_learned += 1,
            Some(false) => stats.icmp_hints_refused += 1,
            None => {}
        }
        believed == Some(true)
    }

    /// Takes the host's own word for the MTU on the way of an SA's packets. Says whether that was news.
    pub fn learn_path_mtu(&self, id: &SaId, mtu: u32, now: Instant) -> bool {
        let hold = Duration::from_secs(self.config.load().path_mtu_secs);
        let Some(association) = self.sad.read().lookup(id) else {
            return false;
        };
        let floor = floor(id.destination.is_ipv4());
        let news = association.path().learn_mtu(mtu.max(floor), now, hold);
        self.stats.lock().path_mtu_learned += u64::from(news);
        news
    }
}

impl Pass<'_> {
    /// Looks at an ICMP error on its way in; policy decides about the packet itself.
    pub(super) fn take_hint(&mut self, packet: &[u8]) {
        match believe(&self.sad, &self.config, packet, self.now) {
            Some(true) => self.stats.path_mtu_learned += 1,
            Some(false) => self.stats.icmp_hints_refused += 1,
            None => {}
        }
    }
}

const fn floor(ipv4: bool) -> u32 {
    if ipv4 { IPV4_FLOOR } else { IPV6_FLOOR }
}

/// Whether an ICMP error changed what an SA knows; `None` if it is not about IPsec at all.
//= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
//# the SPI in the quoted packet says whose path MTU it is
//= https://www.rfc-editor.org/rfc/rfc4301#section-6.1.1
//# the administrator can refuse unauthenticated ICMP errors by type and code
fn believe(sad: &Sad, config: &Config, packet: &[u8], now: Instant) -> Option<bool> {
    let error = IcmpError::parse(packet)?;
    let (protocol, spi) = quoted_spi(&error)?;
    let Problem::TooBig { mtu } = error.problem else {
        return Some(false);
    };
    if !config.icmp_hints || mtu as usize >= error.total_bytes {
        return Some(false);
    }
    let id = SaId {
        spi,
        protocol,
        destination: error.destination,
    };
    let sa = sad
        .lookup(&id)
        .filter(|sa| sa.params().source == error.source && sa.usable_outbound());
    let Some(sa) = sa else {
        return Some(false);
    };
    let hold = Duration::from_secs(config.path_mtu_secs);
    let mtu = mtu.max(floor(error.destination.is_ipv4()));
    Some(sa.path().learn_mtu(mtu, now, hold))
}

/// The SA that sealed what is quoted, as far as the quotation shows.
fn quoted_spi(error: &IcmpError<'_>) -> Option<(Protocol, Spi)> {
    let spi_at = |at: usize| -> Option<Spi> {
        let bytes = error.payload.get(at..)?.first_chunk::<4>()?;
        Some(Spi(u32::from_be_bytes(*bytes)))
    };
    match error.next_layer {
        protocol::ESP => Some((Protocol::Esp, spi_at(0)?)),
        protocol::AH => Some((Protocol::Ah, spi_at(4)?)),
        // A zero SPI is IKE's marker.
        protocol::UDP => spi_at(udp_encap::HEADER_BYTES)
            .filter(|spi| spi.0 != 0)
            .map(|spi| (Protocol::Esp, spi)),
        _ => None,
    }
}
