//! `SaPath`: the SAs that one inbound packet came through, and whether policy asked for just those.
//! No packet byte, no lookup and no counter may enter: a comparison of two lists.
//! Answers to: RFC 4301 section 5.2 (steps 3 and 4), KAME's "AH tunnel with require" defect.

use super::config::Config;
use crate::sa::SaParams;
use crate::terms::{Level, Mode, Protocol, Template};
use std::net::IpAddr;

/// One SA that was undone, as far as the inbound check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hop {
    pub(super) protocol: Protocol,
    /// What the packet showed: `Transport` or `Tunnel`, never `Any`.
    pub(super) mode: Mode,
    /// `None` for the tunnel of an IPComp SA that left the packet as it was: without a header nothing says which
    /// of those between these ends it was.
    pub(super) reqid: Option<u32>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Whether what looks like its tunnel may be that of an IPComp SA inside it, which left the packet as it was.
    pub(super) maybe_bare: bool,
}

/// The SAs undone so far, outermost first.
#[derive(Debug, Default)]
pub(super) struct SaPath {
    /// Few: the number of hops that are undone has a limit far below the bits of a word.
    hops: Vec<Hop>,
}

impl SaPath {
    pub(super) fn clear(&mut self) {
        self.hops.clear();
    }

    pub(super) fn push(&mut self, hop: Hop) {
        self.hops.push(hop);
    }

    /// The SAs that protect, outermost first. What came through IPComp and what was not worth compressing are
    /// pieces of one datagram: IPComp says nothing of who sent it.
    pub(super) fn protection(&self) -> Vec<Hop> {
        let protects = self.hops.iter().filter(|hop| hop.protocol != Protocol::IpComp);
        // Behind an SA of either mode, a bare piece looks as if the tunnel was that SA's.
        protects
            .map(|hop| Hop {
                maybe_bare: false,
                ..hop.in_transport()
            })
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hops.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.hops.len()
    }

    /// The mode of the SA that was undone last.
    pub(super) fn innermost_mode(&self) -> Option<Mode> {
        self.hops.last().map(|hop| hop.mode)
    }

    /// Whether no tunnel was undone, so that a policy without templates may have the packet.
    pub(super) fn is_transport_only(&self) -> bool {
        self.hops.iter().all(|hop| hop.mode == Mode::Transport)
    }

    /// Whether a packet with these ends could have come this way: a transport SA carries what goes between its own
    /// ends, a tunnel what policy gave it.
    pub(super) fn may_carry(&self, ends: (IpAddr, IpAddr)) -> bool {
        let innermost = self.hops.iter().rev();
        innermost
            .take_while(|hop| hop.mode == Mode::Transport)
            .all(|hop| (hop.source, hop.destination) == ends)
    }

    /// Whether the path is what these templates ask for.
    ///
    /// Templates and hops are paired from the innermost out, in any way that comes out even: an optional
    /// template must not take the hop that a required one needs. A transport SA that no template names is more
    /// protection than asked for and does no harm; a tunnel that no template names lets a peer speak for
    /// addresses that policy never gave it, so nothing passes over one.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
    //# the packet is matched to the policy that would have sent it: SAs applied and SAs required must agree
    //= https://www.rfc-editor.org/rfc/rfc2401#section-5.2.1
    //# the SAs of a packet, in their order, are those that policy asked for
    pub(super) fn satisfies(&self, templates: &[Template], config: &Config) -> bool {
        // Bit n: the templates so far can be paired so that the outermost n hops are left.
        let mut left = self.without_transport(1 << self.hops.len(), 0);
        // The same, and the innermost of those n was not the tunnel it looked like: that was an IPComp SA's.
        let mut unwrapped = 0;
        for template in templates {
            let optional = is_optional(template, config);
            let (mut next, mut next_unwrapped) = if optional { (left, unwrapped) } else { (0, 0) };
            for (at, hop) in self.hops.iter().enumerate() {
                let as_seen = left & (2 << at) != 0;
                if as_seen && hop.serves(template)
                    || unwrapped & (2 << at) != 0 && hop.in_transport().serves(template)
                {
                    next |= 1 << at;
                }
                if as_seen && hop.may_be_bare(template) {
                    next_unwrapped |= 2 << at;
                }
            }
            left = self.without_transport(next, next_unwrapped);
            unwrapped = next_unwrapped;
        }
        left & 1 != 0
    }

    /// Adds what can be left once transport SAs that no template names are passed over.
    fn without_transport(&self, mut left: u32, unwrapped: u32) -> u32 {
        for (at, hop) in self.hops.iter().enumerate().rev() {
            let in_transport = left & (2 << at) != 0 && hop.mode == Mode::Transport;
            if in_transport || unwrapped & (2 << at) != 0 {
                left |= 1 << at;
            }
        }
        left
    }
}

impl Hop {
    pub(super) fn of(params: &SaParams, mode: Mode) -> Self {
        Self {
            protocol: params.id.protocol,
            mode,
            reqid: Some(params.reqid),
            source: params.source,
            destination: params.id.destination,
            maybe_bare: false,
        }
    }

    /// The hop as it was if the tunnel was not its own.
    fn in_transport(&self) -> Self {
        Self {
            mode: Mode::Transport,
            ..*self
        }
    }

    fn may_be_bare(&self, template: &Template) -> bool {
        self.maybe_bare
            && template.protocol == Protocol::IpComp
            && template.mode.serves(Mode::Tunnel)
            && self.is_between(template.endpoints)
    }

    fn serves(&self, template: &Template) -> bool {
        self.protocol == template.protocol
            && self.mode.serves(template.mode)
            && (template.reqid == 0 || self.reqid.is_none_or(|reqid| reqid == template.reqid))
            && (self.mode == Mode::Transport || self.is_between(template.endpoints))
    }

    fn is_between(&self, endpoints: Option<(IpAddr, IpAddr)>) -> bool {
        endpoints.is_none_or(|ends| ends == (self.source, self.destination))
    }
}

/// Whether an inbound packet may lack this template's SA.
pub(super) fn is_optional(template: &Template, config: &Config) -> bool {
    // What did not shrink comes without IPComp header (RFC 3173 §2.2): nobody can insist on one.
    template.protocol == Protocol::IpComp || config.level(template) == Level::Use
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn transport() -> Hop {
        Hop {
            protocol: Protocol::Esp,
            mode: Mode::Transport,
            reqid: Some(0),
            source: address(1),
            destination: address(2),
            maybe_bare: false,
        }
    }

    fn tunnel() -> Hop {
        Hop {
            mode: Mode::Tunnel,
            ..transport()
        }
    }

    fn require(mode: Mode) -> Template {
        let endpoints = (mode == Mode::Tunnel).then(|| (address(1), address(2)));
        Template {
            protocol: Protocol::Esp,
            mode,
            level: Level::Require,
            reqid: 0,
            endpoints,
        }
    }

    fn check(hops: &[Hop], templates: &[Template]) -> bool {
        SaPath { hops: hops.to_vec() }.satisfies(templates, &Config::default())
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
    //# the packet is matched to the policy that would have sent it: SAs applied and SAs required must agree
    #[test]
    fn what_is_required_must_be_there() {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let hop = Hop { mode, ..transport() };
            assert!(check(&[hop], &[require(mode)]));
            assert!(!check(&[], &[require(mode)]));
            assert!(!check(&[hop], &[require(mode), require(mode)]));
            let other = if mode == Mode::Tunnel {
                Mode::Transport
            } else {
                Mode::Tunnel
            };
            assert!(!check(&[hop], &[require(other)]));
            assert!(!check(
                &[Hop {
                    protocol: Protocol::Ah,
                    ..hop
                }],
                &[require(mode)]
            ));
        }
        assert!(check(&[transport()], &[require(Mode::Any)]));
        assert!(check(&[tunnel()], &[require(Mode::Any)]));
    }

    #[test]
    fn what_is_only_used_may_be_absent_but_no_other_tunnel_may_stand_in() {
        let transport_use = Template {
            level: Level::Use,
            ..require(Mode::Transport)
        };
        let tunnel_use = Template {
            level: Level::Use,
            ..require(Mode::Tunnel)
        };
        assert!(check(&[], &[transport_use]) && check(&[transport()], &[transport_use]));
        assert!(check(&[], &[tunnel_use]) && check(&[tunnel()], &[tunnel_use]));
        assert!(!check(&[tunnel()], &[transport_use]));
        assert!(!check(
            &[Hop {
                source: address(9),
                ..tunnel()
            }],
            &[tunnel_use]
        ));
        let ipcomp = Template {
            protocol: Protocol::IpComp,
            ..require(Mode::Transport)
        };
        assert!(check(&[transport()], &[ipcomp, require(Mode::Transport)]));
    }

    #[test]
    fn an_optional_template_does_not_take_what_a_required_one_needs() {
        let optional = Template {
            level: Level::Use,
            ..require(Mode::Transport)
        };
        let seven = Template {
            level: Level::Unique,
            reqid: 7,
            ..require(Mode::Transport)
        };
        let hop = |reqid| Hop {
            reqid: Some(reqid),
            ..transport()
        };
        assert!(check(&[hop(7)], &[optional, seven]));
        assert!(check(&[hop(7)], &[seven, optional]));
        assert!(check(&[hop(7), hop(7)], &[optional, optional, seven]));
        assert!(!check(&[hop(8)], &[optional, seven]));
        // An optional template must not look past the hop that a required one needs.
        let eight = Template {
            level: Level::Use,
            reqid: 8,
            ..seven
        };
        assert!(check(&[hop(8), hop(7)], &[eight, seven]));
        let deep = vec![transport(); 16];
        assert!(check(&deep, &[optional; 6]) && check(&deep, &[]));
    }

    #[test]
    fn ids_and_endpoints_bind() {
        let unique = Template {
            level: Level::Unique,
            reqid: 7,
            ..require(Mode::Transport)
        };
        assert!(check(
            &[Hop {
                reqid: Some(7),
                ..transport()
            }],
            &[unique]
        ));
        assert!(!check(
            &[Hop {
                reqid: Some(8),
                ..transport()
            }],
            &[unique]
        ));
        assert!(!check(
            &[Hop {
                source: address(9),
                ..tunnel()
            }],
            &[require(Mode::Tunnel)]
        ));
        assert!(!check(
            &[Hop {
                destination: address(9),
                ..tunnel()
            }],
            &[require(Mode::Tunnel)]
        ));
    }

    /// `ipcomp/tunnel esp/transport` with an ESP SA of either mode: a packet that was not worth compressing looks
    /// as if it had come through a tunnel of ESP's.
    #[test]
    fn a_bare_tunnel_is_ipcomps_where_policy_says_so() {
        let seen = Hop {
            maybe_bare: true,
            ..tunnel()
        };
        let ipcomp = Template {
            protocol: Protocol::IpComp,
            ..require(Mode::Tunnel)
        };
        let esp = require(Mode::Transport);
        assert!(check(&[seen], &[ipcomp, esp]));
        assert!(check(&[seen], &[require(Mode::Tunnel)]), "and ESP's where not");
        assert!(check(&[seen], &[ipcomp]));
        assert!(!check(&[tunnel()], &[ipcomp, esp]), "no IPComp SA has these ends");
        assert!(!check(&[seen], &[ipcomp, esp, esp]));
        assert!(!check(&[seen, seen], &[ipcomp, esp]));
        let elsewhere = Template {
            endpoints: Some((address(1), address(9))),
            ..ipcomp
        };
        assert!(!check(&[seen], &[elsewhere, esp]));
    }

    //= https://www.rfc-editor.org/rfc/rfc2401#section-5.2.1
    //# the SAs of a packet, in their order, are those that policy asked for
    #[test]
    fn order_counts_from_the_inside() {
        let ah = Hop {
            protocol: Protocol::Ah,
            ..transport()
        };
        let ah_wanted = Template {
            protocol: Protocol::Ah,
            ..require(Mode::Transport)
        };
        // setkey's `esp … ah …`: ESP inside, AH outside, so AH is undone first.
        assert!(check(&[ah, transport()], &[require(Mode::Transport), ah_wanted]));
        assert!(!check(&[transport(), ah], &[require(Mode::Transport), ah_wanted]));
        // Transport inside, tunnel outside.
        assert!(check(
            &[tunnel(), transport()],
            &[require(Mode::Transport), require(Mode::Tunnel)]
        ));
        assert!(!check(
            &[transport(), tunnel()],
            &[require(Mode::Transport), require(Mode::Tunnel)]
        ));
    }

    #[test]
    fn extra_transport_is_harmless_and_an_extra_tunnel_is_not() {
        let ah = Hop {
            protocol: Protocol::Ah,
            ..transport()
        };
        assert!(check(&[transport(), ah], &[require(Mode::Transport)]));
        assert!(check(&[ah, transport()], &[require(Mode::Transport)]));
        assert!(!check(&[tunnel(), transport()], &[require(Mode::Transport)]));
        assert!(!check(&[transport(), tunnel()], &[require(Mode::Transport)]));
        assert!(!check(&[tunnel(), tunnel()], &[require(Mode::Tunnel)]));
        assert!(SaPath { hops: vec![ah] }.is_transport_only());
        assert!(
            !SaPath {
                hops: vec![ah, tunnel()]
            }
            .is_transport_only()
        );
    }
}
