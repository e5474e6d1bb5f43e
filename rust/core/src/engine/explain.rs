//! `explain`: what the engine would do with a cleartext packet, and why, without doing it.
//! No counter, event or sequence number may move here.
//! Answers to: RFC 4301 sections 5.1 and 5.2; ARCHITECTURE.md "never two opinions".

use super::Engine;
use super::config::{Config, DefaultPolicy};
use super::outbound::choose;
use super::path::SaPath;
use super::quoted::return_traffic;
use crate::selector::{Ports, SelectorKey};
use crate::spd::{Action, Spd};
use crate::terms::{Direction, Level, Mode, PolicyId, SaId, Template};
use crate::wire::ip::Summary;
use crate::wire::protocol;
use std::sync::Arc;

/// One template and the SA that would serve it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateChoice {
    /// The template.
    pub template: Template,
    /// The SA; `None` where a packet would be dropped and an acquire made.
    pub sa: Option<SaId>,
}

/// What would become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would pass in clear; `None` is the default policy or the built-in bypass.
    Bypass {
        /// The SPD entry that says so.
        policy: Option<PolicyId>,
    },
    /// It would be dropped: `None` is the default policy, an entry may wait for its templates, too.
    Discard {
        /// The SPD entry that says so.
        policy: Option<PolicyId>,
    },
    /// It would be sealed, or dropped where an SA is missing.
    Protect {
        /// The SPD entry that says so.
        policy: PolicyId,
        /// The templates that apply; those of level `use` without an SA are left out.
        templates: Vec<TemplateChoice>,
    },
    /// It is a fragment, and what decides about it stands in another: it waits for the whole.
    Waits,
    /// It is no well-formed IP packet.
    Malformed,
}

impl Engine {
    /// Says what would become of a cleartext `packet` in this direction. Nothing is changed.
    #[must_use]
    pub fn explain(&self, direction: Direction, packet: &[u8]) -> Verdict {
        let Some(summary) = Summary::parse(packet) else {
            return Verdict::Malformed;
        };
        let key = summary.selector_key(packet);
        if is_neighbour_discovery(&summary, &key) {
            return Verdict::Bypass { policy: None };
        }
        let (config, spd) = (self.config.load(), self.spd.load());
        if summary.fragment.is_some() && spd.depends_on_ports(direction, &key) {
            return Verdict::Waits;
        }
        match direction {
            Direction::Outbound => self.explain_outbound(&config, &spd, packet, &key),
            Direction::Inbound | Direction::Forward => explain_cleartext(&config, &spd, direction, &key),
        }
    }

    fn explain_outbound(&self, config: &Config, spd: &Spd, packet: &[u8], key: &SelectorKey) -> Verdict {
        let sad = self.sad.read();
        let found = match spd.lookup_leaving(key, |source| config.is_local(source)) {
            Some(policy) => Some((Arc::clone(policy), *key)),
            None => return_traffic(config, spd, &sad, packet, key.source),
        };
        let Some((policy, key)) = found else {
            return default_verdict(config);
        };
        let id = policy.id();
        let wanted = match &policy.params().action {
            Action::Bypass => return Verdict::Bypass { policy: Some(id) },
            Action::Discard | Action::Awaited => return Verdict::Discard { policy: Some(id) },
            Action::Protect(templates) => templates,
        };
        let mut addresses = (key.source, key.destination);
        let mut templates = Vec::new();
        for template in wanted {
            let link = choose(&sad, template, addresses, config.prefer_old_sa);
            if let Some(link) = &link {
                let params = link.association.params();
                if link.mode == Mode::Tunnel {
                    addresses = (params.source, params.id.destination);
                }
            } else if config.level(template) == Level::Use {
                continue;
            }
            let sa = link.map(|link| link.association.params().id);
            templates.push(TemplateChoice {
                template: *template,
                sa,
            });
        }
        if templates.is_empty() {
            return Verdict::Bypass { policy: Some(id) };
        }
        Verdict::Protect {
            policy: id,
            templates,
        }
    }
}

fn explain_cleartext(config: &Config, spd: &Spd, direction: Direction, key: &SelectorKey) -> Verdict {
    let Some(policy) = spd.lookup(direction, key) else {
        return default_verdict(config);
    };
    let id = Some(policy.id());
    match &policy.params().action {
        Action::Bypass => Verdict::Bypass { policy: id },
        Action::Discard | Action::Awaited => Verdict::Discard { policy: id },
        Action::Protect(templates) if SaPath::default().satisfies(templates, config) => {
            Verdict::Bypass { policy: id }
        }
        Action::Protect(_) => Verdict::Discard { policy: id },
    }
}

const fn default_verdict(config: &Config) -> Verdict {
    match config.default_policy {
        DefaultPolicy::Bypass => Verdict::Bypass { policy: None },
        DefaultPolicy::Discard => Verdict::Discard { policy: None },
    }
}

/// Whether a packet is neighbour discovery, without which no IPv6 packet finds its way: always in clear.
/// The same protocol number in an IPv4 packet is none.
//= https://www.rfc-editor.org/rfc/rfc6980#section-5
//# neighbour discovery is never fragmented, so a fragment that says it is does not count
pub(super) fn is_neighbour_discovery(summary: &Summary, key: &SelectorKey) -> bool {
    summary.fragment.is_none()
        && key.source.is_ipv6()
        && key.next_layer == protocol::ICMPV6
        && matches!(key.ports, Ports::Icmp { kind: 133..=137, .. })
}
