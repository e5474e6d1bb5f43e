//! ICMP errors that no SA and no entry is for by their own header: judged by the packet that they quote.
//! No ICMP layout may enter: `wire::icmp_error` knows it. Errors in clear are `icmp.rs`'s.
//! Answers to: RFC 4301 section 6.2.

use super::config::{Config, DefaultPolicy};
use super::journey::Step;
use super::outbound::choose;
use super::pass::Pass;
use crate::sa::Sad;
use crate::selector::{Ports, SelectorKey};
use crate::spd::{Action, Policy, Spd};
use crate::terms::{Direction, Level, Mode};
use crate::wire::icmp_error;
use std::net::IpAddr;
use std::sync::Arc;

impl Pass<'_> {
    /// Whether a packet is an ICMP error about a flow whose packets come through just the SAs that it came through.
    ///
    /// Anybody with an SA could otherwise end the connections of everybody else. Who wants errors without this
    /// check writes an SPD entry for them, and who wants none an entry that discards them.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
    //# the packet inside an ICMP error is checked with its ends exchanged
    pub(super) fn check_quoted(&mut self, packet: &[u8], direction: Direction) -> bool {
        // In clear an error is nobody's word.
        if self.worker.path.is_empty() {
            return false;
        }
        let flow = icmp_error::return_flow(packet).filter(|flow| self.may_come_back(flow, direction));
        let Some(policy) = flow.and_then(|flow| self.protecting(direction, &flow)) else {
            return false;
        };
        policy.account(packet.len() as u64, self.now);
        let id = policy.id();
        self.out.step(|| Step::QuotationMatched { policy: id });
        self.out.step(|| Step::CheckPassed { policy: Some(id) });
        true
    }

    /// Whether a packet of this flow could have come the way of the packet at hand, and shows what decides about it.
    fn may_come_back(&self, flow: &SelectorKey, direction: Direction) -> bool {
        let in_tunnel = self.worker.path.innermost_mode() == Some(Mode::Tunnel);
        let as_this_host = in_tunnel && self.config.is_own(&flow.source);
        !as_this_host
            && is_shown(&self.spd, direction, flow)
            && self.worker.path.may_carry((flow.source, flow.destination))
    }

    /// The entry that protects this flow, if it asks for the SAs that the packet at hand came through.
    fn protecting(&self, direction: Direction, flow: &SelectorKey) -> Option<Arc<Policy>> {
        let policy = self.spd.lookup(direction, flow)?;
        let Action::Protect(templates) = &policy.params().action else {
            return None;
        };
        let asked_for = self.worker.path.satisfies(templates, &self.config);
        asked_for.then(|| Arc::clone(policy))
    }

    /// The entry and the flow by which an outbound packet leaves that no entry is for.
    pub(super) fn return_traffic(
        &mut self,
        packet: &[u8],
        source: IpAddr,
    ) -> Option<(Arc<Policy>, SelectorKey)> {
        let found = return_traffic(&self.config, &self.spd, &self.sad, packet, source)?;
        let policy = found.0.id();
        self.out.step(|| Step::QuotationMatched { policy });
        Some(found)
    }
}

/// Whether a flow shows what the first entry that may be about it asks for.
fn is_shown(spd: &Spd, direction: Direction, flow: &SelectorKey) -> bool {
    flow.ports != Ports::Opaque || !spd.depends_on_ports(direction, flow)
}

/// The entry and the flow of what is sent back to the host whose packet an outbound ICMP error of `source` quotes.
///
/// `None` where the error may leave in clear, or the SAs for that flow are not all there: none is asked for.
//= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
//# an outbound ICMP error that no entry is for goes with the return traffic of the packet in it
pub(super) fn return_traffic(
    config: &Config,
    spd: &Spd,
    sad: &Sad,
    packet: &[u8],
    source: IpAddr,
) -> Option<(Arc<Policy>, SelectorKey)> {
    if config.default_policy == DefaultPolicy::Bypass {
        return None;
    }
    let flow = icmp_error::return_flow(packet).filter(|flow| is_shown(spd, Direction::Outbound, flow))?;
    let policy = spd.lookup(Direction::Outbound, &flow)?;
    let Action::Protect(templates) = &policy.params().action else {
        return None;
    };
    let mut addresses = (flow.source, flow.destination);
    let mut innermost = None;
    for template in templates {
        match choose(sad, template, addresses, config.prefer_old_sa) {
            Some(link) => {
                innermost = innermost.or(Some(link.mode));
                if link.mode == Mode::Tunnel {
                    let params = link.association.params();
                    addresses = (params.source, params.id.destination);
                }
            }
            None if config.level(template) == Level::Use => {}
            None => return None,
        }
    }
    // A transport SA carries only what goes between its own ends.
    let carries = innermost == Some(Mode::Tunnel) || innermost.is_some() && source == flow.source;
    carries.then(|| (Arc::clone(policy), flow))
}
