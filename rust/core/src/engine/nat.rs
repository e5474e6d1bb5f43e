//! What a NAT between the ends asks of an engine: checksums repaired, moves reported, mappings kept alive.
//! No socket may enter; what ESP in UDP looks like, `wire::udp_encap` knows.
//! Answers to: RFC 3948 sections 2.3, 3.1.2, 4 and 5, RFC 3947 section 5.2, `ipsec(4)` (`natt_cksum_policy`).

use super::Engine;
use super::batch::{Route, Transmit};
use super::config::NatChecksum;
use super::event::Event;
use super::pass::Pass;
use crate::buffer::PacketBuf;
use crate::sa::{Association, Peer, UdpEncap};
use crate::time::Instant;
use crate::wire::checksum_repair::{self, Repair};
use crate::wire::{fragment, ip, protocol, udp, udp_encap};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Between whom a mapping must be kept alive.
type Mapping = (IpAddr, IpAddr, UdpEncap);

impl Pass<'_> {
    /// Repairs the checksum of what came out of a transport-mode SA behind a NAT.
    //= https://www.rfc-editor.org/rfc/rfc3948#section-3.1.2
    //# in transport mode the checksum is mended by the original addresses, or computed again, or zero for UDP
    pub(super) fn repair_checksum(&self, packet: &mut PacketBuf, association: &Association) {
        let how = match (self.config.nat_checksum, association.params().options.original) {
            (NatChecksum::Recompute, _) => Repair::Recompute,
            (NatChecksum::Adjust, Some((source, destination))) => Repair::Adjust { source, destination },
            (NatChecksum::Adjust, None) => Repair::Blind,
        };
        // A protocol without such a checksum needs no repair.
        let _repaired = checksum_repair::repair(packet.as_mut_slice(), how);
    }

    /// Tells that an authentic packet came from another address or port than the SA expects.
    //= https://www.rfc-editor.org/rfc/rfc3948#section-5
    //# only a packet whose ICV was good says where the peer is now
    pub(super) fn note_peer(&self, association: &Association, expected: UdpEncap, peer: Peer) {
        let params = association.params();
        if peer == (params.source, expected.source_port) || !association.path().moved_to(peer, self.now) {
            return;
        }
        let event = Event::NewMapping {
            sa: Box::new(association.view()),
            address: peer.0,
            port: peer.1,
        };
        self.engine.events.lock().push(event, self.config.event_limit);
    }
}

impl Engine {
    /// Sends what keeps mappings alive, one packet for all SAs between the same ends and ports, and says when to
    /// come again.
    //= https://www.rfc-editor.org/rfc/rfc3948#section-4
    //# keepalives are sent by who sits behind the NAT, when the line is idle
    pub(super) fn keep_alive(&self, associations: &[Arc<Association>], now: Instant) -> Option<Instant> {
        let secs = self.config.load().keepalive_secs;
        if secs == 0 {
            return None;
        }
        let mut mappings: BTreeMap<Mapping, Vec<&Arc<Association>>> = BTreeMap::new();
        for association in associations.iter().filter(|association| keeps_alive(association)) {
            let params = association.params();
            if let Some(encap) = params.encap {
                let mapping = (params.source, params.id.destination, encap);
                mappings.entry(mapping).or_default().push(association);
            }
        }
        let interval = Duration::from_secs(secs);
        let mut next = None;
        for (mapping, users) in mappings {
            let sent = users.iter().filter_map(|user| user.path().last_sent()).max();
            let mut due = sent.map_or(now, |sent| sent.plus(interval));
            if due <= now {
                if let (Some(packet), Some(user)) = (keepalive(mapping), users.first()) {
                    self.originate(user, packet);
                }
                users.iter().for_each(|user| user.path().note_sent(now));
                due = now.plus(interval);
            }
            next = Some(next.map_or(due, |earlier: Instant| earlier.min(due)));
        }
        next
    }

    /// What follows for the mapping once an SA stands in the SAD.
    pub(super) fn begin_keeping_alive(&self, association: &Association, now: Instant) {
        let secs = self.config.load().keepalive_secs;
        if secs != 0 && keeps_alive(association) {
            if association.path().last_sent().is_none() {
                association.path().note_sent(now);
            }
            self.wake_at(Some(now.plus(Duration::from_secs(secs))));
        }
    }
}

fn keeps_alive(association: &Association) -> bool {
    association.params().options.keepalive && association.usable_outbound()
}

/// One byte 0xFF in UDP.
//= https://www.rfc-editor.org/rfc/rfc3948#section-2.3
//# a keepalive is one byte of the value 0xFF
fn keepalive((source, destination, encap): Mapping) -> Option<Transmit> {
    let mut datagram = [0xff; udp_encap::HEADER_BYTES + 1];
    udp_encap::emit_header(&mut datagram, encap.source_port, encap.destination_port, 1).ok()?;
    if source.is_ipv6() {
        udp::fill_checksum(source, destination, &mut datagram).ok()?;
    }
    let mut packet = ip::packet(source, destination, protocol::UDP, &datagram)?;
    fragment::ensure_identification(&mut packet, 1);
    Some(Transmit {
        packet: PacketBuf::from_packet(&packet),
        route: Route::Keepalive { encap },
    })
}
