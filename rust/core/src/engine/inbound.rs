//! Inbound: SAs undone from the outside in, then the check against policy; cleartext is judged too.
//! No byte offset and no key may enter: `wire` and `transform` know them.
//! Answers to: RFC 4301 section 5.2, RFC 4302 and 4303 section 3.4, RFC 3948 section 3, RFC 3173 section 2; ARCHITECTURE.md D.

use super::Engine;
use super::batch::{Batch, Output};
use super::config::DefaultPolicy;
use super::explain::is_neighbour_discovery;
use super::fragment::{Origin, Pieces};
use super::journey::Step;
use super::pass::Pass;
use super::path::Hop;
use super::resync::Suspect;
use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::sa::{Association, UdpEncap};
use crate::selector::SelectorKey;
use crate::spd::Action;
use crate::terms::{Cpi, Direction, Mode, PolicyId, Protocol, Sequence};
use crate::time::Instant;
use crate::transform::{Arrival, tunnel};
use crate::wire::ip::{self, Summary};
use crate::wire::{protocol, udp, udp_encap};
use std::sync::Arc;

/// How many nested SAs are undone for one packet.
const NESTING_LIMIT: usize = 16;

/// Where an IPsec header begins in a packet, and what it says.
#[derive(Clone, Copy)]
struct Found {
    /// Which of the three.
    protocol: Protocol,
    /// The header, behind UDP if that carries it.
    at: usize,
    /// One past the last byte of what it covers.
    end: usize,
    /// The UDP ports, if UDP carries it.
    ports: Option<UdpEncap>,
}

/// What becomes of an inbound packet that is not dropped.
enum Passage {
    /// It is delivered, cut if it is longer than that.
    Delivered(Pieces),
    /// It is a fragment and waits for the others.
    Waits,
}

impl Engine {
    /// Takes packets in, ESP and cleartext alike: each one ends in `out.deliver` or in `out.dropped`, or is
    /// a fragment that waits for the others. The batch is emptied.
    pub fn handle_inbound(&self, batch: &mut Batch, now: Instant, out: &mut Output) {
        let mut pass = Pass::begin(self, now, out);
        for packet in batch.drain() {
            pass.inbound(packet);
        }
        pass.finish();
    }

    /// Whether a packet is the bare tunnel of an IPComp SA here, which left it as it was; nothing is changed.
    ///
    /// IP-in-IP may be meant for others on the same host: only what this claims is to be given to the engine.
    #[must_use]
    pub fn claims_bare(&self, packet: &[u8]) -> bool {
        Summary::parse(packet).is_some_and(|summary| {
            is_whole_packet(summary.next_layer)
                && self.config.load().is_local(&summary.destination)
                && self
                    .sad
                    .read()
                    .bare_tunnel_sa(summary.source, summary.destination)
                    .is_some()
        })
    }
}

impl Pass<'_> {
    fn inbound(&mut self, mut packet: PacketBuf) {
        let bytes = packet.len();
        self.stats.inbound_arrived.add(bytes);
        self.out.step(|| Step::Arrived {
            direction: Direction::Inbound,
            bytes,
        });
        self.worker.path.clear();
        self.worker.compressed = false;
        match self.inbound_steps(&mut packet) {
            Ok(Passage::Delivered(pieces)) => {
                let bytes = packet.len();
                if self.worker.path.is_empty() {
                    self.stats.inbound_bypassed.add(bytes);
                } else {
                    self.stats.inbound_delivered.add(bytes);
                }
                self.deliver(packet, pieces);
            }
            Ok(Passage::Waits) => {
                self.stats.inbound_held.add(bytes);
                self.out.spare.push(packet);
            }
            Err(reason) => self.drop_packet(packet, reason),
        }
    }

    fn inbound_steps(&mut self, packet: &mut PacketBuf) -> Result<Passage, DropReason> {
        let mut came_as = Pieces::NONE;
        loop {
            let nested = !self.worker.path.is_empty();
            let malformed = if nested {
                DropReason::BadPadding
            } else {
                DropReason::InMalformed
            };
            let summary = Summary::parse(packet.as_slice()).ok_or(malformed)?;
            packet.truncate(summary.total_bytes);
            self.check_inner(&summary)?;
            if summary.fragment.is_some() && self.must_be_whole(&summary, packet.as_slice()) {
                let origin = Origin::Inbound(self.worker.path.protection());
                let Some(whole) = self.gather(packet, &summary, origin)? else {
                    return Ok(Passage::Waits);
                };
                came_as = whole.came_as;
                self.out.spare.push(core::mem::replace(packet, whole.packet));
                continue;
            }
            let too_deep = self.worker.path.len() == NESTING_LIMIT;
            match self.association_for(packet.as_slice(), &summary)? {
                Some(_) if too_deep => return Err(DropReason::InTooDeep),
                Some((association, found, arrival)) => {
                    self.open(packet, &association, found, arrival, &summary)?;
                }
                None => match self.bare_tunnel(&summary)? {
                    Some(_) if too_deep => return Err(DropReason::InTooDeep),
                    Some(association) => self.open_bare(packet, &association, &summary)?,
                    None => return self.arrive(packet.as_slice(), &summary, came_as),
                },
            }
            came_as = Pieces::NONE;
        }
    }

    /// Judges a packet that no SA here is for (any more), and says how it goes on.
    fn arrive(&mut self, packet: &[u8], summary: &Summary, came_as: Pieces) -> Result<Passage, DropReason> {
        let icmp = matches!(summary.next_layer, protocol::ICMP | protocol::ICMPV6);
        let local = self.config.is_local(&summary.destination);
        if icmp && local && self.worker.path.is_empty() {
            self.take_hint(packet);
        }
        self.check_policy(packet, summary)?;
        // What goes on to others leaves as it came; this host takes it whole.
        let pieces = if local { Pieces::NONE } else { came_as };
        Ok(Passage::Delivered(pieces))
    }

    /// Whether a fragment must be made whole before anything else: what may be for an SA here, and what only the
    /// whole packet decides about.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
    //# fragments are reassembled before AH and ESP
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7.4
    //# later fragments do not pass by an entry with ports unless fragments are followed by state
    fn must_be_whole(&self, summary: &Summary, packet: &[u8]) -> bool {
        let local = self.config.is_local(&summary.destination);
        let for_an_sa = match summary.next_layer {
            protocol::ESP | protocol::AH | protocol::IPCOMP => true,
            protocol::UDP => !self.config.encap_ports.is_empty(),
            // Behind these may stand any of them.
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => true,
            protocol::IPV4 | protocol::IPV6 => self
                .sad
                .bare_tunnel_sa(summary.source, summary.destination)
                .is_some(),
            _ => false,
        };
        let direction = if local {
            Direction::Inbound
        } else {
            Direction::Forward
        };
        local && for_an_sa
            || self
                .spd
                .depends_on_ports(direction, &summary.selector_key(packet))
    }

    /// Refuses what no honest peer puts into the SA that was undone last.
    fn check_inner(&self, summary: &Summary) -> Result<(), DropReason> {
        match self.worker.path.innermost_mode() {
            //= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
            //# transport mode is not applied to a fragment
            Some(Mode::Transport) if summary.fragment.is_some() => Err(DropReason::BadPadding),
            // Nobody else may say that a packet is this host's own, however much the policy lets him say.
            Some(Mode::Tunnel) if self.config.is_own(&summary.source) => Err(DropReason::InPolicyViolation),
            Some(Mode::Transport | Mode::Tunnel | Mode::Any) | None => Ok(()),
        }
    }

    /// Finds the SA that the packet is for; `None` if it is not for IPsec here.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
    //# a packet for which there is no SA is discarded
    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.2
    //# a packet for which there is no SA is discarded
    fn association_for(
        &self,
        packet: &[u8],
        summary: &Summary,
    ) -> Result<Option<(Arc<Association>, Found, Arrival)>, DropReason> {
        // Somebody else's ESP on its way through is ordinary traffic; so is our own that comes back, whose SA
        // stands in the same SAD.
        if !self.config.is_local(&summary.destination) {
            return Ok(None);
        }
        let Some(found) = self.find(packet, summary)? else {
            return Ok(None);
        };
        //= https://www.rfc-editor.org/rfc/rfc4302#section-3.4.1
        //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.1
        //# a fragment that reaches AH or ESP is discarded
        if summary.fragment.is_some() {
            return Err(DropReason::InFragment);
        }
        let arrival = Arrival::read(found.protocol, &packet[found.at..found.end])?;
        let association = match found.protocol {
            Protocol::IpComp => {
                let cpi = Cpi::of_low_half(arrival.spi);
                let in_tunnel = arrival.next_header.is_some_and(is_whole_packet);
                let mode = if in_tunnel { Mode::Tunnel } else { Mode::Transport };
                self.sad
                    .compressed_sa(cpi, summary.source, summary.destination, mode)
            }
            Protocol::Esp | Protocol::Ah => {
                self.sad
                    .inbound_sa(arrival.spi, summary.destination, found.protocol)
            }
        }
        .ok_or(DropReason::InNoSa)?;
        let fits = match association.params().encap {
            // The peer's port may change behind a NAT, ours may not.
            Some(encap) => found
                .ports
                .is_some_and(|ports| ports.destination_port == encap.destination_port),
            None => found.ports.is_none(),
        };
        if fits {
            Ok(Some((association, found, arrival)))
        } else {
            Err(DropReason::InEncapMismatch)
        }
    }

    /// Finds the IPComp SA whose tunnel an IP-in-IP packet came through without being compressed; `None` if it
    /// is a tunnel of somebody else's.
    fn bare_tunnel(&self, summary: &Summary) -> Result<Option<Arc<Association>>, DropReason> {
        if !is_whole_packet(summary.next_layer) || !self.config.is_local(&summary.destination) {
            return Ok(None);
        }
        let association = self.sad.bare_tunnel_sa(summary.source, summary.destination);
        if association.is_some() && summary.fragment.is_some() {
            return Err(DropReason::InFragment);
        }
        Ok(association)
    }

    //= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
    //# the receiver does not depend on the UDP checksum being zero
    fn find(&self, packet: &[u8], summary: &Summary) -> Result<Option<Found>, DropReason> {
        let at = summary.payload_at;
        if let Some(protocol) = Protocol::from_number(summary.next_layer) {
            return Ok(Some(Found {
                protocol,
                at,
                end: summary.total_bytes,
                ports: None,
            }));
        }
        if summary.next_layer != protocol::UDP || summary.fragment.is_some() {
            return Ok(None);
        }
        let Some(datagram) = udp::Packet::new_checked(summary.payload(packet)) else {
            return Ok(None);
        };
        let ports = UdpEncap {
            source_port: datagram.source_port(),
            destination_port: datagram.destination_port(),
        };
        if !self.config.encap_ports.contains(&ports.destination_port) {
            return Ok(None);
        }
        match udp_encap::classify(datagram.payload()) {
            udp_encap::Kind::Esp => {
                let at = at + udp_encap::HEADER_BYTES;
                let end = at + datagram.payload().len();
                Ok(Some(Found {
                    protocol: Protocol::Esp,
                    at,
                    end,
                    ports: Some(ports),
                }))
            }
            udp_encap::Kind::Ike => Ok(None),
            udp_encap::Kind::Keepalive => Err(DropReason::Keepalive),
            udp_encap::Kind::Short => Err(DropReason::InEncapMismatch),
        }
    }

    /// Undoes one SA and puts it on the path.
    fn open(
        &mut self,
        packet: &mut PacketBuf,
        association: &Arc<Association>,
        found: Found,
        arrival: Arrival,
        summary: &Summary,
    ) -> Result<(), DropReason> {
        let params = association.params();
        self.tick(association);
        if !association.usable_inbound() {
            return Err(DropReason::InExpired);
        }
        let (id, before_bytes, mut at) = (params.id, packet.len(), found.at);
        if id.protocol == Protocol::IpComp {
            //= https://www.rfc-editor.org/rfc/rfc3173#section-2
            //# a datagram is compressed once: what comes out of an IPComp header is not another one
            if self.worker.compressed {
                return Err(DropReason::InTooDeep);
            }
            self.worker.compressed = true;
        }
        packet.truncate(found.end);
        //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
        //# the duplicate test comes first, then the ICV, and only then does the window move
        let sequence = association.check(arrival.sequence_low)?;
        if found.ports.is_some() {
            at -= udp_encap::HEADER_BYTES;
            packet.remove_gap(at, udp_encap::HEADER_BYTES)?;
        }
        let next_header = self.open_with(association, at, sequence, packet)?;
        association.mark(sequence)?;
        if let (Some(expected), Some(ports)) = (params.encap, found.ports) {
            self.note_peer(association, expected, (summary.source, ports.source_port));
        }
        let (payload_bytes, after_bytes) = (packet.len() - at, packet.len());
        self.account(association, payload_bytes);
        self.stats.inbound_opened.add(payload_bytes);
        if id.protocol == Protocol::IpComp {
            self.stats.ipcomp.inflated.add(payload_bytes);
        }
        self.out.step(|| Step::Opened {
            id,
            sequence,
            before_bytes,
            after_bytes,
        });
        //= https://www.rfc-editor.org/rfc/rfc4303#section-2.6
        //# a dummy packet is discarded, and that is no error
        if id.protocol == Protocol::Esp && next_header == protocol::NO_NEXT_HEADER {
            return Err(DropReason::Dummy);
        }
        let mode = observed_mode(params.mode, next_header).ok_or(DropReason::BadPadding)?;
        if mode == Mode::Tunnel {
            self.pop_outer(packet, at, next_header, summary)?;
        } else {
            ip::replace_payload(packet.as_mut_slice(), at, next_header)
                .map_err(|_| DropReason::BadPadding)?;
            //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2
            //# what comes out of an SA must match that SA's own selectors
            if (summary.source, summary.destination) != (params.source, id.destination) {
                return Err(DropReason::InPolicyViolation);
            }
            if found.ports.is_some() {
                self.repair_checksum(packet, association);
            }
        }
        // Behind an SA of either mode, a tunnel's inner packet and a bare one look the same.
        let maybe_bare = params.mode == Mode::Any
            && mode == Mode::Tunnel
            && self
                .sad
                .bare_tunnel_sa(summary.source, summary.destination)
                .is_some();
        self.worker.path.push(Hop {
            maybe_bare,
            ..Hop::of(params, mode)
        });
        Ok(())
    }

    /// Takes the outer header off a packet that an IPComp tunnel sent as it was.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
    //# a receiver takes the packets that were not worth compressing
    fn open_bare(
        &mut self,
        packet: &mut PacketBuf,
        association: &Arc<Association>,
        summary: &Summary,
    ) -> Result<(), DropReason> {
        let payload_bytes = packet.len() - summary.payload_at;
        self.tick(association);
        self.account(association, payload_bytes);
        self.stats.ipcomp.bare.add(payload_bytes);
        self.pop_outer(packet, summary.payload_at, summary.next_layer, summary)?;
        self.worker.path.push(Hop {
            reqid: None,
            ..Hop::of(association.params(), Mode::Tunnel)
        });
        Ok(())
    }

    fn pop_outer(
        &mut self,
        packet: &mut PacketBuf,
        at: usize,
        next_header: u8,
        outer: &Summary,
    ) -> Result<(), DropReason> {
        tunnel::pop_outer(packet, at, outer.traffic_class, self.config.ecn)?;
        let told = if next_header == protocol::IPV4 { 4 } else { 6 };
        if ip::version(packet.as_slice()) != Some(told) {
            return Err(DropReason::BadPadding);
        }
        let (source, destination, bytes) = (outer.source, outer.destination, packet.len());
        self.out.step(|| Step::OuterPopped {
            source,
            destination,
            bytes,
        });
        Ok(())
    }

    /// Opens, and counts failures: many in a row on an SA with ESN may mean that this end lost its place.
    fn open_with(
        &mut self,
        association: &Arc<Association>,
        at: usize,
        inferred: Sequence,
        packet: &mut PacketBuf,
    ) -> Result<u8, DropReason> {
        let transform = association.transform().ok_or(DropReason::InExpired)?;
        let (rules, tools) = (self.config.ah_rules, &mut self.worker.tools);
        if !association.params().esn {
            return transform.open(at, inferred, rules, tools, packet);
        }
        // Opening may destroy the packet, so the one in a thousand is copied first.
        let copy = association
            .path()
            .is_suspicious()
            .then(|| PacketBuf::from_packet(packet.as_slice()));
        let opened = transform.open(at, inferred, rules, tools, packet);
        match opened {
            Ok(_) => association.path().note_success(),
            Err(DropReason::AuthFailed) => {
                association.path().note_failure();
                if let Some(packet) = copy {
                    let association = Arc::clone(association);
                    let suspect = Suspect {
                        association,
                        packet,
                        at,
                        inferred,
                    };
                    self.engine.suspect(suspect, self.now);
                }
            }
            Err(_) => {}
        }
        opened
    }

    /// Judges what is left when no SA is left to undo.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
    //# cleartext that an entry says to protect is discarded
    fn check_policy(&mut self, packet: &[u8], summary: &Summary) -> Result<(), DropReason> {
        let key = summary.selector_key(packet);
        let local = self.config.is_local(&summary.destination);
        let direction = if local {
            Direction::Inbound
        } else {
            Direction::Forward
        };
        if self.worker.path.is_empty() && is_neighbour_discovery(summary, &key) {
            self.out.step(|| Step::NoPolicy {
                direction,
                action: "bypass",
            });
            return Ok(());
        }
        match self.check_header(&key, direction, packet.len()) {
            Err(DropReason::InPolicyViolation | DropReason::InNoPolicy)
                if self.check_quoted(packet, direction) =>
            {
                Ok(())
            }
            judged => judged,
        }
    }

    /// Judges a packet by its own header.
    fn check_header(
        &mut self,
        key: &SelectorKey,
        direction: Direction,
        bytes: usize,
    ) -> Result<(), DropReason> {
        let Some(policy) = self.spd.lookup(direction, key).cloned() else {
            return self.inbound_default(direction);
        };
        self.match_policy(&policy, direction, bytes);
        let passes = match &policy.params().action {
            Action::Discard => return Err(DropReason::InPolicyDiscard),
            Action::Bypass => self.worker.path.is_transport_only(),
            Action::Awaited => false,
            Action::Protect(templates) => self.worker.path.satisfies(templates, &self.config),
        };
        self.passed(passes, Some(policy.id()))
    }

    fn inbound_default(&mut self, direction: Direction) -> Result<(), DropReason> {
        let (action, discard) = match self.config.default_policy {
            DefaultPolicy::Bypass => ("bypass", false),
            DefaultPolicy::Discard => ("discard", true),
        };
        self.out.step(|| Step::NoPolicy { direction, action });
        if discard {
            return Err(DropReason::InNoPolicy);
        }
        self.passed(self.worker.path.is_transport_only(), None)
    }

    fn passed(&mut self, passes: bool, policy: Option<PolicyId>) -> Result<(), DropReason> {
        if !passes {
            return Err(DropReason::InPolicyViolation);
        }
        self.out.step(|| Step::CheckPassed { policy });
        Ok(())
    }
}

const fn is_whole_packet(next_header: u8) -> bool {
    matches!(next_header, protocol::IPV4 | protocol::IPV6)
}

/// The mode in which the packet was sealed; `None` if the SA cannot have sealed it.
//= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
//# a host supports transport and tunnel mode, a gateway tunnel mode
const fn observed_mode(mode: Mode, next_header: u8) -> Option<Mode> {
    let whole_packet = is_whole_packet(next_header);
    match mode {
        Mode::Tunnel if whole_packet => Some(Mode::Tunnel),
        Mode::Tunnel => None,
        Mode::Any if whole_packet => Some(Mode::Tunnel),
        Mode::Transport | Mode::Any => Some(Mode::Transport),
    }
}
