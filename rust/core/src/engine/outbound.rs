//! Outbound: policy, SAs, sealing, outer headers; one packet leaves by exactly one exit.
//! No byte offset and no key may enter: `wire` and `transform` know them.
//! Answers to: RFC 4301 sections 5.1 and 8.2.1, RFC 4302 and 4303 section 3.3, RFC 3173 section 2.2; ARCHITECTURE.md C.

use super::Engine;
use super::batch::{Batch, Output, Route};
use super::config::DefaultPolicy;
use super::event::AcquireKey;
use super::explain::is_neighbour_discovery;
use super::fit::Fit;
use super::fragment::{Origin, Pieces};
use super::journey::Step;
use super::pass::Pass;
use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::sa::{Association, Sad, UdpEncap};
use crate::selector::SelectorKey;
use crate::spd::{Action, Policy};
use crate::terms::{Direction, Level, Mode, Protocol, SaId, Template};
use crate::time::Instant;
use crate::transform::tunnel::{self, Outer};
use crate::transform::{Order, Sealed};
use crate::wire::ip::{self, Summary};
use crate::wire::{fragment, protocol, udp, udp_encap};
use std::net::IpAddr;
use std::sync::Arc;

/// One SA that will seal the packet, and how.
pub(super) struct Link {
    pub(super) association: Arc<Association>,
    /// `Transport` or `Tunnel`, never `Any`.
    pub(super) mode: Mode,
}

/// What becomes of an outbound packet that is not dropped.
pub(super) enum Departure {
    /// It leaves, cut if it is longer than that.
    Leaves(Route, Pieces),
    /// It left already, in pieces.
    LeftInPieces,
    /// It is a fragment and waits for the others.
    Waits,
}

impl Engine {
    /// Sends packets out: each one ends in `out.transmit` or in `out.dropped`, or is a fragment that waits for the
    /// others. The batch is emptied.
    ///
    /// Too-big answers for the senders are put into `out.deliver`.
    pub fn handle_outbound(&self, batch: &mut Batch, now: Instant, out: &mut Output) {
        let mut pass = Pass::begin(self, now, out);
        for packet in batch.drain() {
            pass.outbound(packet);
        }
        pass.finish();
    }
}

impl Pass<'_> {
    fn outbound(&mut self, mut packet: PacketBuf) {
        let bytes = packet.len();
        self.stats.outbound_arrived.add(bytes);
        self.out.step(|| Step::Arrived {
            direction: Direction::Outbound,
            bytes,
        });
        // What came in pieces and is sent on in clear leaves in pieces of the same length.
        let mut came_as = Pieces::NONE;
        let departure = match self.whole(&mut packet, &mut came_as) {
            Ok(Some((summary, key))) => self.judge(&mut packet, &summary, key, came_as),
            Ok(None) => {
                self.stats.outbound_held.add(bytes);
                Ok(Departure::Waits)
            }
            Err(reason) => Err(reason),
        };
        self.settle(packet, departure, came_as, None);
    }

    /// Lets a packet go where it was judged to go; `until` is that of one that waited already.
    pub(super) fn settle(
        &mut self,
        packet: PacketBuf,
        departure: Result<Departure, DropReason>,
        came_as: Pieces,
        until: Option<Instant>,
    ) {
        match departure {
            Ok(Departure::Leaves(route, pieces)) => self.depart(packet, route, pieces),
            Ok(Departure::LeftInPieces | Departure::Waits) => self.out.spare.push(packet),
            Err(DropReason::OutNoSa) if self.keep(&packet, came_as, until) => self.out.spare.push(packet),
            Err(reason) => self.drop_packet(packet, reason),
        }
        self.worker.chain.clear();
        self.wanting = None;
    }

    /// Makes a packet ready to be judged: whole where its pieces say too little, and with its selector values;
    /// `None` if it is a fragment that waits for the others.
    fn whole(
        &mut self,
        packet: &mut PacketBuf,
        came_as: &mut Pieces,
    ) -> Result<Option<(Summary, SelectorKey)>, DropReason> {
        let mut summary = Summary::parse(packet.as_slice()).ok_or(DropReason::OutMalformed)?;
        packet.truncate(summary.total_bytes);
        //= https://www.rfc-editor.org/rfc/rfc4301#section-5.1.2
        //# the hop limit of a forwarded packet is one less
        if self.config.decrement_hop_limit
            && !self.config.is_local(&summary.source)
            && !ip::decrement_hop_limit(packet.as_mut_slice())
        {
            return Err(DropReason::OutTtlExpired);
        }
        let mut key = summary.selector_key(packet.as_slice());
        if summary.fragment.is_some() && self.needs_whole(&summary, &key) {
            let gathered = self.gather(packet, &summary, Origin::Outbound);
            let Some(whole) = gathered.map_err(in_outbound_words)? else {
                return Ok(None);
            };
            *came_as = whole.came_as;
            self.out.spare.push(core::mem::replace(packet, whole.packet));
            summary = Summary::parse(packet.as_slice()).ok_or(DropReason::OutMalformed)?;
            key = summary.selector_key(packet.as_slice());
        }
        Ok(Some((summary, key)))
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
    //# every packet that crosses the boundary is looked up in the SPD
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.1
    //# what is looked up is discarded, bypassed or protected, and nothing else becomes of it
    //= https://www.rfc-editor.org/rfc/rfc4301#section-6.1.2
    //# ICMP from the protected side is judged by the SPD like other packets
    pub(super) fn judge(
        &mut self,
        packet: &mut PacketBuf,
        summary: &Summary,
        key: SelectorKey,
        came_as: Pieces,
    ) -> Result<Departure, DropReason> {
        let bypass = Ok(Departure::Leaves(Route::Bypass, came_as));
        if is_neighbour_discovery(summary, &key) {
            self.out.step(|| Step::NoPolicy {
                direction: Direction::Outbound,
                action: "bypass",
            });
            return bypass;
        }
        let found = match self
            .spd
            .lookup_leaving(&key, |source| self.config.is_local(source))
        {
            Some(policy) => Some((Arc::clone(policy), key)),
            None => self.return_traffic(packet.as_slice(), summary.source),
        };
        let Some((policy, key)) = found else {
            return self.outbound_default().and(bypass);
        };
        self.match_policy(&policy, Direction::Outbound, packet.len());
        match &policy.params().action {
            Action::Bypass => bypass,
            Action::Discard => Err(DropReason::OutPolicyDiscard),
            Action::Awaited => {
                self.policy_acquire(policy.id());
                Err(DropReason::OutNoSa)
            }
            Action::Protect(templates) => {
                self.choose_chain(&policy, templates, summary, &key)?;
                if self.worker.chain.is_empty() {
                    return bypass;
                }
                self.protect(packet, summary, came_as != Pieces::NONE)
            }
        }
    }

    /// Seals a packet with the chosen chain, in pieces if nothing else fits the path.
    fn protect(
        &mut self,
        packet: &mut PacketBuf,
        summary: &Summary,
        came_in_pieces: bool,
    ) -> Result<Departure, DropReason> {
        match self.fit(packet, summary, came_in_pieces)? {
            Fit::Whole => Ok(Departure::Leaves(
                self.seal_chain(packet, *summary)?,
                Pieces::NONE,
            )),
            Fit::CutAfter(mtu) => Ok(Departure::Leaves(
                self.seal_chain(packet, *summary)?,
                Pieces::of(mtu),
            )),
            Fit::CutBefore(mtu) => {
                let identification = self.worker.next_fragment_id();
                self.out.step(|| Step::Cut { mtu });
                for mut piece in fragment::split(packet.as_slice(), mtu, identification)? {
                    let summary = Summary::parse(piece.as_slice()).ok_or(DropReason::OutMalformed)?;
                    self.stats.fragments_made.add(piece.len());
                    let route = self.seal_chain(&mut piece, summary)?;
                    self.depart(piece, route, Pieces::NONE);
                }
                Ok(Departure::LeftInPieces)
            }
        }
    }

    /// Whether a fragment says too little for a decision, or meets an SA that takes whole packets only.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7
    //# a tunnel without ports carries first and later fragments alike
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7.3
    //# later fragments are not sent on an SA with ports unless fragments are followed by state
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
    //# transport mode is not applied to a fragment
    fn needs_whole(&self, summary: &Summary, key: &SelectorKey) -> bool {
        if self.spd.depends_on_ports(Direction::Outbound, key) {
            return true;
        }
        let Some(policy) = self
            .spd
            .lookup_leaving(key, |source| self.config.is_local(source))
        else {
            return false;
        };
        let Action::Protect(templates) = &policy.params().action else {
            return false;
        };
        let addresses = (summary.source, summary.destination);
        let innermost = templates
            .iter()
            .find_map(|template| choose(&self.sad, template, addresses, self.config.prefer_old_sa));
        innermost.is_some_and(|link| link.mode == Mode::Transport)
    }

    fn outbound_default(&mut self) -> Result<(), DropReason> {
        let (action, verdict) = match self.config.default_policy {
            DefaultPolicy::Bypass => ("bypass", Ok(())),
            DefaultPolicy::Discard => ("discard", Err(DropReason::OutNoPolicy)),
        };
        self.out.step(|| Step::NoPolicy {
            direction: Direction::Outbound,
            action,
        });
        verdict
    }

    /// Counts a packet on the SPD entry that decides about it.
    pub(super) fn match_policy(&mut self, policy: &Policy, direction: Direction, bytes: usize) {
        policy.account(bytes as u64, self.now);
        let (id, action) = (policy.id(), policy.params().action.name());
        self.out.step(|| Step::PolicyMatched {
            id,
            direction,
            action,
        });
    }

    /// Finds an SA for each template before anything is changed, so that no packet is sealed by halves.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7
    //# a tunnel without ports carries first and later fragments alike
    fn choose_chain(
        &mut self,
        policy: &Policy,
        templates: &[Template],
        summary: &Summary,
        selector_key: &SelectorKey,
    ) -> Result<(), DropReason> {
        let mut addresses = (selector_key.source, selector_key.destination);
        for (template_index, template) in templates.iter().enumerate() {
            match choose(&self.sad, template, addresses, self.config.prefer_old_sa) {
                Some(link) => {
                    let params = link.association.params();
                    if self.worker.chain.is_empty()
                        && link.mode == Mode::Transport
                        && summary.fragment.is_some()
                    {
                        // Gathering has seen to this; a sealed fragment is nothing that a peer may accept.
                        return Err(DropReason::OutFragment);
                    }
                    if link.mode == Mode::Tunnel {
                        addresses = (params.source, params.id.destination);
                    }
                    let id = params.id;
                    self.out.step(|| Step::SaChosen { id });
                    self.worker.chain.push(link);
                }
                None if self.config.level(template) == Level::Use => {
                    self.out.step(|| Step::TemplateSkipped);
                }
                None => {
                    let (source, destination) = wanted_addresses(template, addresses);
                    let key = AcquireKey {
                        policy: policy.id(),
                        template_index,
                        source,
                        destination,
                    };
                    self.acquire(key, *template, *selector_key);
                    self.wanting = Some((key, template.protocol));
                    return Err(DropReason::OutNoSa);
                }
            }
        }
        Ok(())
    }

    //= https://www.rfc-editor.org/rfc/rfc2401#section-4.3
    //# SAs are bundled: AH around ESP, and tunnels within tunnels
    //= https://www.rfc-editor.org/rfc/rfc3173#section-2
    //# compression comes before AH, ESP and fragmentation, decompression after them
    pub(super) fn seal_chain(&mut self, packet: &mut PacketBuf, first: Summary) -> Result<Route, DropReason> {
        let chain = core::mem::take(&mut self.worker.chain);
        let mut route = Err(DropReason::OutNoSa);
        let mut summary = first;
        self.worker.compressed = false;
        for (index, link) in chain.iter().enumerate() {
            if index > 0 {
                summary = Summary::parse(packet.as_slice()).ok_or(DropReason::OutMalformed)?;
            }
            self.pad(packet, &chain[index..]);
            route = self.seal(packet, link, &summary);
            if route.is_err() {
                break;
            }
        }
        self.worker.chain = chain;
        route
    }

    fn seal(&mut self, packet: &mut PacketBuf, link: &Link, summary: &Summary) -> Result<Route, DropReason> {
        let association = &link.association;
        let params = association.params();
        let transform = association.transform().ok_or(DropReason::OutNoSa)?;
        self.tick(association);
        if !association.usable_outbound() {
            return Err(DropReason::OutExpired);
        }
        let (at, next_header) = match link.mode {
            Mode::Tunnel => (
                0,
                if summary.source.is_ipv4() {
                    protocol::IPV4
                } else {
                    protocol::IPV6
                },
            ),
            Mode::Transport | Mode::Any => {
                if transform.covers_headers() {
                    let fresh = self.worker.next_identification();
                    fragment::ensure_identification(packet.as_mut_slice(), fresh);
                }
                (summary.transport_at, summary.transport_next_header)
            }
        };
        let before_bytes = packet.len();
        let (sequence, iv_counter) = association.next_sequence()?;
        let compression = Some(self.config.ipcomp_rules).filter(|_| !self.worker.compressed);
        let order = Order {
            at,
            next_header,
            sequence,
            iv_counter,
            ipv6: params.id.destination.is_ipv6(),
            rules: self.config.ah_rules,
            compression,
        };
        let sealed = transform.seal(&order, &mut self.worker.tools, packet)?;
        let id = params.id;
        let carried = self.note_sealed(id, &order, sealed, before_bytes, packet.len());
        self.account(association, before_bytes - at);
        if params.options.keepalive {
            association.path().note_sent(self.now);
        }

        let carried = Self::encapsulate(packet, at, params.encap, carried)?;
        let carried_bytes = packet.len() - at;
        if link.mode == Mode::Tunnel {
            self.push_outer(packet, association, summary, carried)?;
        } else {
            ip::replace_payload(packet.as_mut_slice(), at, carried)?;
        }
        //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3
        //# AH covers the IP header in front of it, so that header must be there first
        transform.finish(packet.len() - carried_bytes, &order, packet)?;
        if params.encap.is_some() && id.destination.is_ipv6() {
            fill_udp_checksum(packet)?;
        }
        Ok(Route::Protected {
            spi: id.spi,
            encap: params.encap,
        })
    }

    /// Tells and counts what sealing came to, and says which protocol now stands where the payload began.
    fn note_sealed(
        &mut self,
        id: SaId,
        order: &Order,
        sealed: Sealed,
        before_bytes: usize,
        after_bytes: usize,
    ) -> u8 {
        match sealed {
            Sealed::Behind(protocol) => {
                if protocol == Protocol::IpComp {
                    self.worker.compressed = true;
                    self.stats.ipcomp.compressed.add(after_bytes - order.at);
                }
                let sequence = order.sequence;
                self.out.step(|| Step::Sealed {
                    id,
                    sequence,
                    before_bytes,
                    after_bytes,
                });
                protocol.number()
            }
            Sealed::Plain(why) => {
                self.stats.ipcomp.left_plain(why).add(before_bytes - order.at);
                self.out.step(|| Step::LeftPlain { id, why });
                order.next_header
            }
        }
    }

    /// Puts UDP in front of ESP where the SA asks for it, and says which protocol now stands at `at`.
    fn encapsulate(
        packet: &mut PacketBuf,
        at: usize,
        encap: Option<UdpEncap>,
        carried: u8,
    ) -> Result<u8, DropReason> {
        let Some(UdpEncap {
            source_port,
            destination_port,
        }) = encap
        else {
            return Ok(carried);
        };
        let payload_bytes = packet.len() - at;
        packet.insert_gap(at, udp_encap::HEADER_BYTES)?;
        udp_encap::emit_header(
            &mut packet.as_mut_slice()[at..],
            source_port,
            destination_port,
            payload_bytes,
        )?;
        Ok(protocol::UDP)
    }

    fn push_outer(
        &mut self,
        packet: &mut PacketBuf,
        association: &Association,
        inner: &Summary,
        next_header: u8,
    ) -> Result<(), DropReason> {
        let params = association.params();
        let (source, destination) = (params.source, params.id.destination);
        let outer = Outer {
            source,
            destination,
            next_header,
            traffic_class: self.config.ecn.outer_class(inner.traffic_class),
            flow_label: inner.flow_label,
            dont_fragment: tunnel::decide_df(self.config.df, inner),
            hop_limit: self.config.hop_limit,
            identification: self.worker.next_identification(),
        };
        tunnel::push_outer(packet, &outer)?;
        let bytes = packet.len();
        self.out.step(|| Step::OuterPushed {
            source,
            destination,
            bytes,
        });
        Ok(())
    }
}

/// Reassembly speaks in the words of the inbound side, where it mostly happens.
fn in_outbound_words(reason: DropReason) -> DropReason {
    if reason == DropReason::InMalformed {
        DropReason::OutMalformed
    } else {
        DropReason::OutFragment
    }
}

/// The addresses of the SA that a template asks for, given the packet's own.
pub(super) fn wanted_addresses(template: &Template, packet: (IpAddr, IpAddr)) -> (IpAddr, IpAddr) {
    match template.mode {
        // A transport SA serves the packet's own ends, whatever a policy writes there.
        Mode::Transport => packet,
        Mode::Tunnel | Mode::Any => template.endpoints.unwrap_or(packet),
    }
}

/// The SA that serves a template now, and the mode in which it will; nothing is changed.
pub(super) fn choose(
    sad: &Sad,
    template: &Template,
    packet: (IpAddr, IpAddr),
    prefer_old: bool,
) -> Option<Link> {
    let wanted = wanted_addresses(template, packet);
    // A transport SA between other ends would never do, and must not hide a tunnel that does.
    let asked = if wanted == packet {
        template.mode
    } else {
        Mode::Tunnel
    };
    let plain = Template {
        mode: asked,
        endpoints: None,
        ..*template
    };
    let association = sad.outbound_sa(&plain, wanted.0, wanted.1, prefer_old)?;
    association.transform()?;
    let mode = match (asked, association.params().mode) {
        (Mode::Tunnel, _) | (Mode::Any, Mode::Tunnel) => Mode::Tunnel,
        (Mode::Transport, _) | (Mode::Any, Mode::Transport | Mode::Any) => Mode::Transport,
    };
    Some(Link { association, mode })
}

/// IPv6 has no header checksum of its own, so UDP must have one there (RFC 8200 §8.1).
fn fill_udp_checksum(packet: &mut PacketBuf) -> Result<(), DropReason> {
    let summary = Summary::parse(packet.as_slice()).ok_or(DropReason::OutMalformed)?;
    let datagram = &mut packet.as_mut_slice()[summary.payload_at..];
    udp::fill_checksum(summary.source, summary.destination, datagram)
}
