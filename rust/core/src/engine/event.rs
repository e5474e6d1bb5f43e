//! `Event`: what a key manager must hear, and the bounded queue in which it waits.
//! No PF_KEY message and no receiver may enter: who hears an event is decided elsewhere.
//! Answers to: RFC 2367 sections 3.1.6 (ACQUIRE) and 3.1.8 (EXPIRE), RFC 3948 section 5 (new mappings).

use crate::sa::SaView;
use crate::selector::SelectorKey;
use crate::spd::PolicyView;
use crate::terms::{PolicyId, Template};
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
    until: Instant,
}

/// Events in order of their making, and the acquires that are not repeated yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    dropped: u64,
    acquires: BTreeMap<AcquireKey, Pending>,
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

    /// Makes an acquire event unless the same one was made less than `block_secs` ago.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.6
    //# repeated packets do not make repeated messages
    pub(super) fn acquire(
        &mut self,
        key: AcquireKey,
        template: Template,
        selector_key: SelectorKey,
        now: Instant,
        block_secs: u64,
        limit: usize,
    ) {
        if self.acquires.get(&key).is_some_and(|pending| now < pending.until) {
            return;
        }
        if self.acquires.len() >= ACQUIRE_LIMIT {
            self.forget_old_acquires(now);
        }
        if self.queue.len() >= limit || self.acquires.len() >= ACQUIRE_LIMIT {
            self.dropped += 1;
            return;
        }
        self.last_acquire = self.last_acquire.checked_add(1).unwrap_or(1);
        let id = self.last_acquire;
        let until = now.plus(Duration::from_secs(block_secs));
        self.acquires.insert(key, Pending { id, until });
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
            limit,
        );
    }

    pub(super) fn forget_old_acquires(&mut self, now: Instant) {
        self.acquires.retain(|_, pending| now < pending.until);
    }

    /// Forgets the acquires that an SA with these addresses answers.
    pub(super) fn answer_acquires(&mut self, source: IpAddr, destination: IpAddr) {
        self.acquires
            .retain(|key, _| (key.source, key.destination) != (source, destination));
    }

    /// Forgets one acquire; `false` if it is not remembered.
    pub(super) fn forget_acquire(&mut self, id: u32) -> bool {
        let before = self.acquires.len();
        self.acquires.retain(|_, pending| pending.id != id);
        self.acquires.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Ports;
    use crate::terms::{Level, Mode, Protocol};

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
            20,
            limit,
        );
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
        events.answer_acquires(key(2).source, key(2).destination);
        acquire(&mut events, 2, 1, 10);
        assert!(events.forget_acquire(2));
        assert!(!events.forget_acquire(2));
        acquire(&mut events, 2, 2, 10);
        assert_eq!(core::iter::from_fn(|| events.pop()).count(), 3);
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
            events.acquire(flow, TEMPLATE, selector_key, Instant::default(), 20, usize::MAX);
        }
        assert_eq!(events.acquires.len(), ACQUIRE_LIMIT);
        assert_eq!(events.dropped(), 10_000 - ACQUIRE_LIMIT as u64);
        acquire(&mut events, 9, 20, usize::MAX);
        assert_eq!(events.acquires.len(), 1);
    }
}
