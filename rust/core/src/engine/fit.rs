//! How long a packet becomes once sealed, what the path takes, and what happens to one that is longer.
//! No header layout and no key may enter: `wire` and `transform` know them.
//! Answers to: RFC 4301 section 8, RFC 8200 section 5, RFC 791 section 3.2; ARCHITECTURE.md C.6.

use super::batch::{Route, Transmit};
use super::fragment::Pieces;
use super::icmp;
use super::journey::Step;
use super::outbound::Link;
use super::pass::Pass;
use crate::buffer::PacketBuf;
use crate::error::DropReason;
use crate::terms::Mode;
use crate::transform::AhRules;
use crate::transform::tunnel::DfPolicy;
use crate::wire::fragment;
use crate::wire::ip::Summary;
use crate::wire::{ipv4, ipv6, udp_encap};

/// Every IPv6 path takes this much (RFC 8200 §5): no sender of IPv6 can be told less.
const IPV6_MTU_MIN: usize = 1280;

/// No IPv4 packet is longer, and no IPv6 packet is padded beyond it.
const LONGEST_PACKET: usize = 65_535;

/// What is done with a packet so that it fits the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It fits.
    Whole,
    /// It is sealed whole and cut afterwards into pieces of this length.
    CutAfter(usize),
    /// It is cut into pieces of this length, and each is sealed: outer headers must not be cut.
    CutBefore(usize),
}

/// What may be done with a packet that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    CutAfter,
    CutBefore,
    TellSender,
}

impl Pass<'_> {
    /// Pads what goes into a tunnel to the length that its SA asks for, as far as the path takes it.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.7
    //# traffic flow padding is added only where the payload says its own length
    pub(super) fn pad(&self, packet: &mut PacketBuf, rest: &[Link]) {
        let wanted = rest
            .first()
            .filter(|link| link.mode == Mode::Tunnel)
            .map_or(0, |link| usize::from(link.association.params().options.tfc_bytes));
        if wanted <= packet.len() {
            return;
        }
        let (limit, rules) = (self.limit.min(LONGEST_PACKET), self.config.ah_rules);
        let padded = largest_that_fits(wanted, |bytes| sealed_bytes(rest, 0, bytes, rules) <= limit);
        packet.pad_to(padded);
    }

    /// Decides what is done with a packet that the chain will seal, and tells the sender of one that can only be
    /// refused.
    ///
    /// # Errors
    /// `OutTooBig` if it does not fit and may not be cut.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
    //# the sender is told the path MTU less what IPsec adds
    pub(super) fn fit(
        &mut self,
        packet: &PacketBuf,
        summary: &Summary,
        came_in_pieces: bool,
    ) -> Result<Fit, DropReason> {
        let (limit, rules) = (self.path_limit(), self.config.ah_rules);
        self.limit = limit;
        let bytes = packet.len();
        let asked = asked_bytes(&self.worker.chain, summary);
        let fits_whole = limit == usize::MAX
            || sealed_bytes(&self.worker.chain, summary.transport_at, bytes, rules) <= limit;
        if fits_whole && bytes <= asked {
            return Ok(Fit::Whole);
        }
        let chain = &self.worker.chain;
        let sender_may_be_told = !came_in_pieces && (summary.source.is_ipv6() || summary.dont_fragment);
        let remedy = if bytes <= asked {
            remedy(chain, summary, bytes, self.config.df, sender_may_be_told)
        } else if sender_may_be_told {
            Remedy::TellSender
        } else {
            Remedy::CutBefore
        };
        if remedy == Remedy::CutAfter {
            return Ok(Fit::CutAfter(limit));
        }
        let fits = largest_that_fits(bytes.min(asked), |bytes| {
            sealed_bytes(chain, summary.transport_at, bytes, rules) <= limit
        });
        if remedy == Remedy::CutBefore {
            return Ok(Fit::CutBefore(fits));
        }
        let told = if summary.source.is_ipv4() {
            fits
        } else {
            fits.max(IPV6_MTU_MIN)
        };
        if let Some(answer) = icmp::too_big_answer(packet.as_slice(), told, summary) {
            self.stats.too_big_answers.add(answer.len());
            self.out.deliver.push(answer);
        }
        Err(DropReason::OutTooBig)
    }

    /// The longest packet that may leave: the configured limit, and what each SA learned of its own path.
    pub(super) fn path_limit(&self) -> usize {
        let mut limit = match self.config.path_mtu {
            0 => usize::MAX,
            mtu => mtu as usize,
        };
        let rules = self.config.ah_rules;
        let mut rest = self.worker.chain.as_slice();
        while let Some((link, outside)) = rest.split_first() {
            rest = outside;
            if let Some(mtu) = link.association.path().mtu(self.now) {
                // What is told of an inner SA's packets grows by what is put around them.
                limit = limit.min(sealed_bytes(outside, header_bytes(link), mtu as usize, rules));
            }
        }
        limit
    }

    /// Hands a packet to the wire, in pieces if it is longer than these.
    pub(super) fn depart(&mut self, packet: PacketBuf, route: Route, pieces: Pieces) {
        let bytes = packet.len();
        match route {
            Route::Bypass => self.stats.outbound_bypassed.add(bytes),
            Route::Protected { .. } | Route::Keepalive { .. } => self.stats.outbound_protected.add(bytes),
        }
        let left_to_the_host =
            !self.config.cut_encapsulated && matches!(route, Route::Protected { encap: Some(_), .. });
        if bytes > pieces.mtu && !left_to_the_host && self.cut(&packet, route, pieces) {
            self.out.spare.push(packet);
        } else {
            self.out.step(|| Step::Transmitted { bytes });
            self.out.transmit.push(Transmit { packet, route });
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.4
    //# in tunnel mode a packet is fragmented before ESP or after it, in transport mode only after it
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.4
    //# AH is applied to whole packets and fragmented afterwards
    fn cut(&mut self, packet: &PacketBuf, route: Route, Pieces { mtu, id }: Pieces) -> bool {
        let identification = id.unwrap_or_else(|| self.worker.next_fragment_id());
        let Ok(pieces) = fragment::split(packet.as_slice(), mtu, identification) else {
            return false;
        };
        self.out.step(|| Step::Cut { mtu });
        for piece in pieces {
            let bytes = piece.len();
            self.stats.fragments_made.add(bytes);
            self.out.step(|| Step::Transmitted { bytes });
            let packet = piece;
            self.out.transmit.push(Transmit { packet, route });
        }
        true
    }

    /// Delivers a packet that was made whole, in pieces again if others must carry it on.
    pub(super) fn deliver(&mut self, packet: PacketBuf, Pieces { mtu, id }: Pieces) {
        let bytes = packet.len();
        self.out.step(|| Step::Delivered { bytes });
        if bytes <= mtu {
            self.out.deliver.push(packet);
            return;
        }
        let identification = id.unwrap_or_else(|| self.worker.next_fragment_id());
        match fragment::split(packet.as_slice(), mtu, identification) {
            Ok(pieces) => {
                for piece in pieces {
                    self.stats.fragments_made.add(piece.len());
                    self.out.deliver.push(piece);
                }
                self.out.spare.push(packet);
            }
            Err(_) => self.out.deliver.push(packet),
        }
    }
}

/// To what length the packet shall be cut before it goes into a tunnel inside UDP.
fn asked_bytes(chain: &[Link], summary: &Summary) -> usize {
    if !summary.source.is_ipv4() || !chain_begins_with_tunnel(chain) {
        return usize::MAX;
    }
    let asked = chain
        .iter()
        .map(|link| link.association.params().options.fragment_bytes);
    asked
        .filter(|bytes| *bytes != 0)
        .min()
        .map_or(usize::MAX, usize::from)
}

/// What may be done with a packet of `bytes` that is too long once sealed.
//= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
//# DF, or IPv6, means an answer to the sender; without DF the packet is fragmented, before or after
fn remedy(
    chain: &[Link],
    summary: &Summary,
    bytes: usize,
    policy: DfPolicy,
    sender_may_be_told: bool,
) -> Remedy {
    let tunnelled = chain.iter().any(|link| link.mode == Mode::Tunnel);
    let outside = outermost(chain, summary, policy);
    match (summary.source.is_ipv4(), sender_may_be_told) {
        // A sender of IPv6 cannot be told less than the minimum, so what is that short must get through.
        (false, true) if bytes <= IPV6_MTU_MIN => Remedy::CutAfter,
        (false, true) => Remedy::TellSender,
        // Outer headers without DF are how an administrator hides the path from senders that set it.
        (true, true) if tunnelled && outside == Header::MayBeCut => Remedy::CutAfter,
        (true, true) => Remedy::TellSender,
        // Nothing forbids to cut it, or its sender has cut it already; outer headers may forbid it still.
        (_, false) if outside == Header::MustNotBeCut && chain_begins_with_tunnel(chain) => Remedy::CutBefore,
        (_, false) => Remedy::CutAfter,
    }
}

fn chain_begins_with_tunnel(chain: &[Link]) -> bool {
    chain.first().is_some_and(|link| link.mode == Mode::Tunnel)
}

/// What the outermost header says about being cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    MayBeCut,
    MustNotBeCut,
    /// IPv6 has no bit for it: its sender may cut, and that is this host.
    Ipv6,
}

fn outermost(chain: &[Link], summary: &Summary, policy: DfPolicy) -> Header {
    let own = match (summary.source.is_ipv4(), summary.dont_fragment) {
        (true, true) => Header::MustNotBeCut,
        (true, false) => Header::MayBeCut,
        (false, _) => Header::Ipv6,
    };
    let tunnels = chain.iter().filter(|link| link.mode == Mode::Tunnel);
    tunnels.fold(own, |inside, link| {
        match (link.association.id().destination.is_ipv4(), policy) {
            (false, _) => Header::Ipv6,
            (true, DfPolicy::Set) => Header::MustNotBeCut,
            (true, DfPolicy::Copy) if inside == Header::MustNotBeCut => Header::MustNotBeCut,
            (true, DfPolicy::Clear | DfPolicy::Copy) => Header::MayBeCut,
        }
    })
}

/// Length of the IP header that stands in front of what an SA sealed.
fn header_bytes(link: &Link) -> usize {
    if link.association.id().destination.is_ipv4() {
        ipv4::HEADER_BYTES
    } else {
        ipv6::HEADER_BYTES
    }
}

/// The greatest length below `bytes` that fits, 0 if none does. Sealing never makes a longer packet shorter.
pub(super) fn largest_that_fits(bytes: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, bytes);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// How long a packet of `bytes`, whose transport header stands at `transport_at`, will be once the whole chain
/// has sealed it.
pub(super) fn sealed_bytes(chain: &[Link], transport_at: usize, bytes: usize, rules: AhRules) -> usize {
    let (mut total, mut at) = (bytes, transport_at);
    for link in chain {
        let Some(transform) = link.association.transform() else {
            continue;
        };
        let params = link.association.params();
        let ipv6 = params.id.destination.is_ipv6();
        let encap = params.encap.map_or(0, |_| udp_encap::HEADER_BYTES);
        if link.mode == Mode::Tunnel {
            let header = header_bytes(link);
            (total, at) = (
                header + encap + transform.sealed_bytes(total, ipv6, rules),
                header,
            );
        } else {
            total = at + encap + transform.sealed_bytes(total.saturating_sub(at), ipv6, rules);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found_on_every_step() {
        for step in 1..20_usize {
            for limit in 0..200_usize {
                let sealed = |bytes: usize| bytes.div_ceil(step) * step + 30;
                let found = largest_that_fits(300, |bytes| sealed(bytes) <= limit);
                assert!(found == 0 || sealed(found) <= limit);
                assert!(sealed(found + 1) > limit);
            }
        }
    }
}
