//! `Event`: what a key manager must hear, and the bounded queue in which it waits.
//! No PF_KEY message and no receiver may enter: who hears an event is decided elsewhere.
//! Answers to: RFC 2367 sections 3.1.6 (ACQUIRE) and 3.1.8 (EXPIRE), RFC 3948 section 5 (new mappings).

use super::config::Config;
use crate::sa::{SaParams, SaView, State};
use crate::selector::SelectorKey;
use crate::spd::PolicyView;
use crate::terms::{PolicyId, Protocol, Template};
use crate::time::Instant;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// How many different acquires are remembered, so that spoofed flows cannot fill the memory.
const ACQUIRE_LIMIT: usize = 4096;

/// Something a key manager must hear.
#[derive(Clone, Debug)]
pub enum Event {
    /// A packet needs an SA that does not exist.
    Acquire {
        /// Names this acquire: [`super::Engine::acquire_failed`] takes it back.
        id: u32,
        /// The SPD entry that asks.
        policy: PolicyId,
        /// The template without an SA.
        template: Template,
        /// Source of the SA wanted.
        source: IpAddr,
        /// Destination of the SA wanted.
        destination: IpAddr,
        /// The packet that was waiting.
        selector_key: SelectorKey,
    },
    /// A packet met an SPD entry whose templates nobody has named yet.
    PolicyAcquire {
        /// The entry.
        policy: PolicyId,
    },
    /// An SA reached a lifetime: told once for the soft one and once for the hard one.
    Expire {
        /// The SA as it was then.
        sa: Box<SaView>,
        /// Hard: the SA is gone.
        hard: bool,
    },
    /// An authentic packet came from another address or port: a NAT has made another mapping.
    NewMapping {
        /// The SA as it was then; its source and port are the old ones.
        sa: Box<SaView>,
        /// The peer's address now.
        address: IpAddr,
        /// The peer's port now.
        port: u16,
    },
    /// An SPD entry reached its lifetime and is gone.
    PolicyExpire {
        /// The entry as it was then.
        policy: Box<PolicyView>,
    },
}

/// What one acquire is about; a second packet with the same needs makes no second event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AcquireKey {
    pub(super) policy: PolicyId,
    pub(super) template_index: usize,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: u32,
    template: Template,
    block: Block,
}

/// For how long an event is not repeated.
#[derive(Clone, Copy, Debug)]
struct Block {
    until: Instant,
    /// Packets since the event that made none.
    suppressed: u32,
}

impl Block {
    const fn new(until: Instant) -> Self {
        Self { until, suppressed: 0 }
    }

    /// Counts a packet and says whether it makes no event.
    fn suppresses(&mut self, bounds: Bounds) -> bool {
        let more = bounds.block_count == 0 || self.suppressed < bounds.block_count;
        if more {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        more
    }
}

/// How seldom events are, and how many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long an acquire is not repeated.
    block: Duration,
    /// After how many packets it is repeated all the same; 0 is never.
    block_count: u32,
    /// How many events wait to be polled.
    limit: usize,
}

impl Bounds {
    pub(super) const fn of(config: &Config) -> Self {
        Self {
            block: Duration::from_secs(config.acquire_block_secs),
            block_count: config.acquire_block_count,
            limit: config.event_limit,
        }
    }
}

/// Events in order of their making, and the acquires that are not repeated yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    dropped: u64,
    acquires: BTreeMap<AcquireKey, Pending>,
    policy_acquires: BTreeMap<PolicyId, Block>,
    last_acquire: u32,
}

impl Events {
    pub(super) fn push(&mut self, event: Event, limit: usize) {
        if self.queue.len() < limit {
            self.queue.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds an event that must not be lost: who follows it would disagree with the databases for ever.
    pub(super) fn push_in_any_case(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Makes an acquire event unless the same one was made a short time and few packets ago; one that is repeated
    /// keeps its number.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# repeated packets do not make repeated messages
    pub(super) fn acquire(
        &mut self,
        key: AcquireKey,
        template: Template,
        selector_key: SelectorKey,
        now: Instant,
        bounds: Bounds,
    ) {
        let mut known = None;
        let blocked = |pending: &&mut Pending| now < pending.block.until;
        if let Some(pending) = self.acquires.get_mut(&key).filter(blocked) {
            if pending.block.suppresses(bounds) {
                return;
            }
            known = Some(*pending);
        }
        if self.acquires.len() >= ACQUIRE_LIMIT {
            self.forget_old_acquires(now);
        }
        if self.queue.len() >= bounds.limit || (known.is_none() && self.acquires.len() >= ACQUIRE_LIMIT) {
            self.dropped += 1;
            return;
        }
        let id = known.map_or_else(|| self.next_acquire(), |known| known.id);
        let pending = Pending {
            id,
            template,
            block: Block::new(known.map_or_else(|| now.plus(bounds.block), |known| known.block.until)),
        };
        self.acquires.insert(key, pending);
        let AcquireKey {
            policy,
            source,
            destination,
            ..
        } = key;
        self.push(
            Event::Acquire {
                id,
                policy,
                template,
                source,
                destination,
                selector_key,
            },
            bounds.limit,
        );
    }

    /// Makes an event about an SPD entry that waits for its templates, as seldom as [`Events::acquire`] does.
    pub(super) fn policy_acquire(&mut self, policy: PolicyId, now: Instant, bounds: Bounds) {
        let known = self.policy_acquires.get_mut(&policy);
        let mut until = now.plus(bounds.block);
        if let Some(block) = known.filter(|block| now < block.until) {
            if block.suppresses(bounds) {
                return;
            }
            until = block.until;
        }
        if self.policy_acquires.len() >= ACQUIRE_LIMIT {
            self.forget_old_acquires(now);
        }
        if self.queue.len() >= bounds.limit || self.policy_acquires.len() >= ACQUIRE_LIMIT {
            self.dropped += 1;
            return;
        }
        self.policy_acquires.insert(policy, Block::new(until));
        self.push(Event::PolicyAcquire { policy }, bounds.limit);
    }

    /// Forgets that an SPD entry waited: it was written anew.
    pub(super) fn answer_policy_acquire(&mut self, policy: PolicyId) {
        self.policy_acquires.remove(&policy);
    }

    fn next_acquire(&mut self) -> u32 {
        self.last_acquire = self.last_acquire.checked_add(1).unwrap_or(1);
        self.last_acquire
    }

    pub(super) fn forget_old_acquires(&mut self, now: Instant) {
        self.acquires.retain(|_, pending| now < pending.block.until);
        self.policy_acquires.retain(|_, block| now < block.until);
    }

    /// Forgets the acquires that this SA answers.
    pub(super) fn answer_acquires(&mut self, sa: &SaParams) {
        let answers = |key: &AcquireKey, template: &Template| {
            (key.source, key.destination) == (sa.source, sa.id.destination)
                && template.protocol == sa.id.protocol
                && sa.mode.serves(template.mode)
                && (template.reqid == 0 || template.reqid == sa.reqid)
        };
        self.acquires
            .retain(|key, pending| !answers(key, &pending.template));
    }

    /// Forgets the acquires for SAs of a protocol, or of all.
    pub(super) fn forget_acquires(&mut self, protocol: Option<Protocol>) {
        self.acquires
            .retain(|_, pending| protocol.is_some_and(|protocol| protocol != pending.template.protocol));
    }

    /// Forgets one acquire and says what it was about, if it is remembered.
    pub(super) fn forget_acquire(&mut self, id: u32) -> Option<AcquireKey> {
        let key = self.find_acquire(id)?;
        self.acquires.remove(&key);
        Some(key)
    }

    /// Forgets one acquire if this SA is what it asks for, else lets its time end at another moment; `false` if it
    /// is not remembered or is about other ends.
    pub(super) fn answer_acquire(&mut self, id: u32, sa: &SaView, until: Instant) -> bool {
        let Some(key) = self.find_acquire(id) else {
            return false;
        };
        let ends = (sa.params.source, sa.params.id.destination);
        let (asked, opposite) = ((key.source, key.destination), (key.destination, key.source));
        if ends == asked && sa.state != State::Larval {
            self.acquires.remove(&key);
        } else if let Some(pending) = self
            .acquires
            .get_mut(&key)
            .filter(|_| ends == asked || ends == opposite)
        {
            pending.block = Block::new(until);
        } else {
            return false;
        }
        true
    }

    fn find_acquire(&self, id: u32) -> Option<AcquireKey> {
        self.acquires
            .iter()
            .find_map(|(key, pending)| (pending.id == id).then_some(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Ports;
    use crate::terms::{Level, Mode, SaId, Spi};

    const TEMPLATE: Template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        level: Level::Require,
        reqid: 0,
        endpoints: None,
    };

    fn key(last: u8) -> AcquireKey {
        AcquireKey {
            policy: PolicyId(1),
            template_index: 0,
            source: IpAddr::from([192, 0, 2, 1]),
            destination: IpAddr::from([192, 0, 2, last]),
        }
    }

    fn acquire(events: &mut Events, last: u8, secs: u64, limit: usize) {
        let AcquireKey {
            source, destination, ..
        } = key(last);
        let selector_key = SelectorKey {
            source,
            destination,
            next_layer: 59,
            ports: Ports::Absent,
        };
        events.acquire(
            key(last),
            TEMPLATE,
            selector_key,
            Instant::from_secs(secs),
            bounds(0, limit),
        );
    }

    fn bounds(block_count: u32, limit: usize) -> Bounds {
        Bounds {
            block: Duration::from_secs(20),
            block_count,
            limit,
        }
    }

    fn sa_for(acquire: AcquireKey) -> SaParams {
        SaParams {
            source: acquire.source,
            id: SaId {
                spi: Spi(256),
                protocol: Protocol::Esp,
                destination: acquire.destination,
            },
            ..crate::engine::tests::sa(256, "192.0.2.1", "192.0.2.2", Mode::Transport)
        }
    }

    fn view_for(acquire: AcquireKey, state: State) -> SaView {
        SaView {
            params: sa_for(acquire),
            state,
            created: crate::time::WallClock(0),
            first_used: None,
            bytes: 0,
            packets: 0,
            sequence: 0,
            lease_limit: 0,
            path_mtu: None,
            window: None,
            serial: 0,
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# repeated packets do not make repeated messages
    #[test]
    fn an_acquire_is_not_repeated_while_it_is_blocked() {
        let mut events = Events::default();
        for secs in 0..20 {
            acquire(&mut events, 2, secs, 10);
        }
        acquire(&mut events, 3, 5, 10);
        assert!(matches!(events.pop(), Some(Event::Acquire { id: 1, .. })));
        assert!(matches!(events.pop(), Some(Event::Acquire { id: 2, .. })));
        assert!(events.is_empty());
        acquire(&mut events, 2, 20, 10);
        assert!(matches!(events.pop(), Some(Event::Acquire { id: 3, .. })));
    }

    #[test]
    fn an_answer_and_a_failure_both_end_the_block() {
        let mut events = Events::default();
        acquire(&mut events, 2, 0, 10);
        let mut other = sa_for(key(2));
        other.id.protocol = Protocol::Ah;
        events.answer_acquires(&other);
        acquire(&mut events, 2, 0, 10);
        events.answer_acquires(&sa_for(key(2)));
        acquire(&mut events, 2, 1, 10);
        assert_eq!(events.forget_acquire(2), Some(key(2)));
        assert_eq!(events.forget_acquire(2), None);
        acquire(&mut events, 2, 2, 10);
        assert_eq!(core::iter::from_fn(|| events.pop()).count(), 3);
    }

    #[test]
    fn packets_without_number_repeat_an_acquire_under_its_own() {
        let mut events = Events::default();
        let selector_key = SelectorKey {
            source: key(2).source,
            destination: key(2).destination,
            next_layer: 59,
            ports: Ports::Absent,
        };
        for _ in 0..23 {
            events.acquire(
                key(2),
                TEMPLATE,
                selector_key,
                Instant::default(),
                bounds(10, 100),
            );
        }
        let ids: Vec<_> = core::iter::from_fn(|| events.pop())
            .map(|event| match event {
                Event::Acquire { id, .. } => id,
                Event::PolicyAcquire { .. }
                | Event::Expire { .. }
                | Event::NewMapping { .. }
                | Event::PolicyExpire { .. } => 0,
            })
            .collect();
        assert_eq!(ids, [1, 1, 1], "the first, the twelfth, the twenty-third");
    }

    #[test]
    fn an_entry_that_waits_is_told_as_seldom_as_an_acquire() {
        let mut events = Events::default();
        let mut told = |packets: u32, secs, bounds| {
            for _ in 0..packets {
                events.policy_acquire(PolicyId(7), Instant::from_secs(secs), bounds);
            }
            core::iter::from_fn(|| events.pop()).count()
        };
        assert_eq!(
            told(23, 0, bounds(10, 100)),
            3,
            "the first, the twelfth, the twenty-third"
        );
        assert_eq!(told(10, 19, bounds(10, 100)), 0);
        assert_eq!(told(5, 20, bounds(0, 100)), 1, "the block has an end");
        events.answer_policy_acquire(PolicyId(7));
        for _ in 0..2 {
            events.policy_acquire(PolicyId(7), Instant::from_secs(21), bounds(0, 0));
        }
        assert_eq!((events.pop().is_none(), events.dropped()), (true, 2));
        events.policy_acquire(PolicyId(7), Instant::from_secs(21), bounds(0, 1));
        assert!(matches!(
            events.pop(),
            Some(Event::PolicyAcquire { policy: PolicyId(7) })
        ));
    }

    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# the sequence number ties an answer to what was asked
    #[test]
    fn an_acquire_that_is_worked_on_is_not_repeated() {
        let mut events = Events::default();
        acquire(&mut events, 2, 0, 10);
        let until = Instant::from_secs(45);
        let opposite = AcquireKey {
            source: key(2).destination,
            destination: key(2).source,
            ..key(2)
        };
        assert!(events.answer_acquire(1, &view_for(opposite, State::Mature), until));
        assert!(!events.answer_acquire(2, &view_for(opposite, State::Mature), until));
        assert!(!events.answer_acquire(1, &view_for(key(3), State::Mature), until));
        acquire(&mut events, 2, 44, 10);
        acquire(&mut events, 2, 45, 10);
        assert_eq!(core::iter::from_fn(|| events.pop()).count(), 2);
        assert!(events.answer_acquire(2, &view_for(key(2), State::Larval), Instant::from_secs(100)));
        acquire(&mut events, 2, 99, 10);
        assert!(events.is_empty());
        assert!(events.answer_acquire(2, &view_for(key(2), State::Mature), until));
        acquire(&mut events, 2, 46, 10);
        assert!(events.pop().is_some());
        events.forget_acquires(Some(Protocol::Ah));
        acquire(&mut events, 2, 46, 10);
        events.forget_acquires(Some(Protocol::Esp));
        acquire(&mut events, 2, 46, 10);
        assert_eq!(core::iter::from_fn(|| events.pop()).count(), 1);
    }

    #[test]
    fn a_full_queue_counts_and_does_not_block() {
        let mut events = Events::default();
        acquire(&mut events, 2, 0, 1);
        acquire(&mut events, 3, 0, 1);
        assert_eq!(events.dropped(), 1);
        assert!(events.pop().is_some());
        acquire(&mut events, 3, 0, 1);
        assert!(events.pop().is_some(), "the forgotten acquire is not blocked");
    }

    #[test]
    fn spoofed_flows_do_not_fill_the_memory() {
        let mut events = Events::default();
        for flow in 0..10_000_u32 {
            let flow = AcquireKey {
                source: IpAddr::from(flow.to_be_bytes()),
                ..key(2)
            };
            let selector_key = SelectorKey {
                source: flow.source,
                destination: flow.destination,
                next_layer: 59,
                ports: Ports::Absent,
            };
            events.acquire(
                flow,
                TEMPLATE,
                selector_key,
                Instant::default(),
                bounds(0, usize::MAX),
            );
        }
        assert_eq!(events.acquires.len(), ACQUIRE_LIMIT);
        assert_eq!(events.dropped(), 10_000 - ACQUIRE_LIMIT as u64);
        acquire(&mut events, 9, 20, usize::MAX);
        assert_eq!(events.acquires.len(), 1);
    }
}
