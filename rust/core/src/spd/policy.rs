//! One SPD entry: what it covers, what it asks, how often it was used.
//! No order among entries (that is `spd.rs`) and no SA may enter.
//! Answers to: RFC 4301 sections 4.4.1 and 4.4.1.2, `ipsec_set_policy(3)`.

use crate::error::Error;
use crate::selector::Selector;
use crate::terms::{Direction, Mode, PolicyId, Template};
use crate::time::{Instant, WallClock};
use core::sync::atomic::{AtomicU64, Ordering};

/// The most templates that one policy may list; a peer could not be asked to undo more.
pub const MAX_TEMPLATES: usize = 6;

/// What becomes of a packet that a policy covers (RFC 4301 §4.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Goes on in clear.
    Bypass,
    /// Goes no further.
    Discard,
    /// Goes through these SAs; the first template is the innermost.
    Protect(Vec<Template>),
    /// Goes through SAs that nobody has named yet; until an update names them, nothing passes.
    Awaited,
}

impl Action {
    /// The RFC's word, in lower case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Discard => "discard",
            Self::Protect(_) | Self::Awaited => "protect",
        }
    }
}

/// How long an SPD entry lives; 0 is without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Seconds since it was added.
    pub add_secs: u64,
    /// Seconds without use.
    pub use_secs: u64,
}

/// What is said about an SPD entry when it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyParams {
    /// The list it stands in.
    pub direction: Direction,
    /// What it covers.
    pub selector: Selector,
    /// What it asks.
    pub action: Action,
    /// Lower values are asked first; equal ones in order of insertion.
    pub priority: u32,
    /// Whether an inbound entry also judges forwarded packets (dialects without a forward list).
    pub judges_forwarded: bool,
    /// The process that added it, 0 if unknown.
    pub owner: u32,
    /// The connection by which it was added, 0 if there was none.
    pub connection: u64,
    /// When it ends.
    pub hard: PolicyLimits,
}

impl PolicyParams {
    /// Checks what can be checked without knowing the other entries.
    ///
    /// # Errors
    /// `InvalidSelector` for mixed families or a range upside down; `OutOfRange` for a template list
    /// that is empty or too long, or a tunnel without endpoints.
    pub fn validate(&self) -> Result<(), Error> {
        self.selector.validate()?;
        match &self.action {
            Action::Bypass | Action::Discard | Action::Awaited => Ok(()),
            Action::Protect(templates) => validate_templates(templates),
        }
    }
}

fn validate_templates(templates: &[Template]) -> Result<(), Error> {
    if templates.is_empty() || templates.len() > MAX_TEMPLATES {
        return Err(Error::OutOfRange { field: "templates" });
    }
    for template in templates {
        match template.endpoints {
            None if template.mode == Mode::Tunnel => return Err(Error::OutOfRange { field: "endpoints" }),
            Some((source, destination)) if source.is_ipv4() != destination.is_ipv4() => {
                return Err(Error::InvalidSelector);
            }
            None | Some(_) => {}
        }
    }
    Ok(())
}

/// One entry of the SPD; shared, its counters move while readers hold it.
#[derive(Debug)]
pub struct Policy {
    params: PolicyParams,
    id: PolicyId,
    serial: u64,
    created: WallClock,
    created_at: Instant,
    /// Nanoseconds of the last use plus one; 0 is never.
    last_used: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Policy {
    /// Makes an entry that was never used.
    #[must_use]
    pub fn new(params: PolicyParams, id: PolicyId, serial: u64, now: Instant, wall: WallClock) -> Self {
        Self {
            params,
            id,
            serial,
            created: wall,
            created_at: now,
            last_used: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// What was said when it was added.
    #[must_use]
    pub fn params(&self) -> &PolicyParams {
        &self.params
    }

    /// Its id, unique in the engine's life.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        self.id
    }

    /// Its place in the list: priority, then insertion.
    #[must_use]
    pub fn rank(&self) -> (u32, u64) {
        (self.params.priority, self.serial)
    }

    /// Counts one packet that this entry decided about.
    pub fn account(&self, bytes: u64, now: Instant) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.last_used
            .fetch_max(now.0.saturating_add(1), Ordering::Relaxed);
    }

    fn last_use(&self) -> Option<Instant> {
        self.last_used.load(Ordering::Relaxed).checked_sub(1).map(Instant)
    }

    /// When this entry ends if it is not used until then; `None` if it stays.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let PolicyLimits { add_secs, use_secs } = self.params.hard;
        let from = |start: Instant, secs: u64| {
            (secs != 0).then(|| start.plus(core::time::Duration::from_secs(secs)))
        };
        let idle = from(self.last_use().unwrap_or(self.created_at), use_secs);
        match (from(self.created_at, add_secs), idle) {
            (Some(added), Some(idle)) => Some(added.min(idle)),
            (added, idle) => added.or(idle),
        }
    }

    /// What people and programs see of it.
    #[must_use]
    pub fn view(&self) -> PolicyView {
        let wall =
            |at: Instant| WallClock(self.created.0.saturating_add(at.since(self.created_at).as_secs()));
        PolicyView {
            params: self.params.clone(),
            id: self.id,
            created: self.created,
            last_used: self.last_use().map(wall),
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            serial: self.serial,
        }
    }
}

/// An SPD entry as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyView {
    /// What was said when it was added.
    pub params: PolicyParams,
    /// Its id.
    pub id: PolicyId,
    /// When it was added.
    pub created: WallClock,
    /// When it last decided about a packet.
    pub last_used: Option<WallClock>,
    /// Packets it decided about.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Order of insertion.
    pub serial: u64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::selector::{AddressRange, PortRange};
    use crate::terms::{Level, Protocol};
    use std::net::IpAddr;

    pub(crate) fn range(first: &str, last: &str) -> AddressRange {
        AddressRange {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
        }
    }

    pub(crate) fn params(
        direction: Direction,
        source: AddressRange,
        destination: AddressRange,
    ) -> PolicyParams {
        PolicyParams {
            direction,
            selector: Selector {
                source,
                destination,
                next_layer: None,
                source_ports: PortRange::ANY,
                destination_ports: PortRange::ANY,
            },
            action: Action::Bypass,
            priority: 0x8000_0000,
            judges_forwarded: false,
            owner: 0,
            connection: 0,
            hard: PolicyLimits::default(),
        }
    }

    fn template(mode: Mode, endpoints: Option<(&str, &str)>) -> Template {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        Template {
            protocol: Protocol::Esp,
            mode,
            level: Level::Require,
            reqid: 0,
            endpoints: endpoints.map(|(source, destination)| (address(source), address(destination))),
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let any = || range("10.0.0.0", "10.255.255.255");
        let outbound = |source, destination| params(Direction::Outbound, source, destination);
        assert_eq!(outbound(any(), any()).validate(), Ok(()));
        assert_eq!(
            outbound(any(), range("::", "::1")).validate(),
            Err(Error::InvalidSelector)
        );
        assert_eq!(
            outbound(range("10.0.0.1", "10.0.0.0"), any()).validate(),
            Err(Error::InvalidSelector)
        );
        let mut ports = outbound(any(), any());
        ports.selector.source_ports = PortRange { first: 2, last: 1 };
        assert_eq!(ports.validate(), Err(Error::InvalidSelector));
        let awaited = PolicyParams {
            action: Action::Awaited,
            ..outbound(any(), any())
        };
        assert_eq!(awaited.validate(), Ok(()));
        let protect = |templates| PolicyParams {
            action: Action::Protect(templates),
            ..outbound(any(), any())
        };
        let many = vec![template(Mode::Transport, None); MAX_TEMPLATES + 1];
        assert_eq!(
            protect(vec![]).validate(),
            Err(Error::OutOfRange { field: "templates" })
        );
        assert_eq!(
            protect(many).validate(),
            Err(Error::OutOfRange { field: "templates" })
        );
        assert_eq!(
            protect(vec![template(Mode::Tunnel, None)]).validate(),
            Err(Error::OutOfRange { field: "endpoints" })
        );
        assert_eq!(
            protect(vec![template(Mode::Tunnel, Some(("::1", "1.2.3.4")))]).validate(),
            Err(Error::InvalidSelector)
        );
        assert_eq!(
            protect(vec![template(Mode::Tunnel, Some(("::1", "::2")))]).validate(),
            Ok(())
        );
    }

    #[test]
    fn use_is_counted_and_postpones_the_idle_end() {
        let mut limited = params(Direction::Inbound, range("::", "::"), range("::", "::"));
        limited.hard = PolicyLimits {
            add_secs: 0,
            use_secs: 10,
        };
        let policy = Policy::new(limited, PolicyId(1), 1, Instant::from_secs(100), WallClock(5000));
        assert_eq!(policy.deadline(), Some(Instant::from_secs(110)));
        assert_eq!(policy.view().last_used, None);
        policy.account(60, Instant::from_secs(107));
        policy.account(40, Instant::from_secs(107));
        assert_eq!(policy.deadline(), Some(Instant::from_secs(117)));
        let view = policy.view();
        assert_eq!(
            (view.packets, view.bytes, view.last_used),
            (2, 100, Some(WallClock(5007)))
        );
    }

    #[test]
    fn the_earlier_end_counts() {
        let mut limited = params(Direction::Inbound, range("::", "::"), range("::", "::"));
        limited.hard = PolicyLimits {
            add_secs: 5,
            use_secs: 10,
        };
        let policy = Policy::new(limited.clone(), PolicyId(1), 1, Instant(0), WallClock(0));
        assert_eq!(policy.deadline(), Some(Instant::from_secs(5)));
        limited.hard = PolicyLimits::default();
        assert_eq!(
            Policy::new(limited, PolicyId(1), 1, Instant(0), WallClock(0)).deadline(),
            None
        );
    }
}
