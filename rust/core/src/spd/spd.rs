//! The SPD as a snapshot: three ordered lists, first match wins, copies share what did not change.
//! No SA, no packet byte and no lock may enter: readers hold a copy, the writer swaps in another.
//! Answers to: RFC 4301 sections 4.4.1 and 5.1; order and `fwd` as in `setkey(8)`.

use crate::error::Error;
use crate::selector::{Selector, SelectorKey};
use crate::spd::chunks::{SortedChunks, Summary};
use crate::spd::policy::{Policy, PolicyParams};
use crate::terms::{Direction, PolicyId};
use crate::time::{Instant, WallClock};
use std::net::IpAddr;
use std::sync::Arc;

/// Priority, then order of insertion.
type Rank = (u32, u64);

/// A list entry: the selector stands beside the pointer so that a search need not follow it.
#[derive(Clone, Debug)]
struct Entry {
    selector: Selector,
    policy: Arc<Policy>,
}

/// The addresses that some entry of a chunk covers, as one box per family.
#[derive(Clone, Debug)]
struct Hull {
    ipv4: Option<[IpAddr; 4]>,
    ipv6: Option<[IpAddr; 4]>,
}

impl Summary<Rank, Entry> for Hull {
    fn of(entries: &[(Rank, Entry)]) -> Self {
        let mut hull = Self {
            ipv4: None,
            ipv6: None,
        };
        for (
            _,
            Entry {
                selector: Selector {
                    source, destination, ..
                },
                ..
            },
        ) in entries
        {
            let side = if source.first.is_ipv4() {
                &mut hull.ipv4
            } else {
                &mut hull.ipv6
            };
            let seen = side.unwrap_or([source.first, source.last, destination.first, destination.last]);
            *side = Some([
                seen[0].min(source.first),
                seen[1].max(source.last),
                seen[2].min(destination.first),
                seen[3].max(destination.last),
            ]);
        }
        hull
    }
}

impl Hull {
    fn may_match(&self, key: &SelectorKey) -> bool {
        let side = if key.source.is_ipv4() {
            &self.ipv4
        } else {
            &self.ipv6
        };
        side.is_some_and(
            |[source_first, source_last, destination_first, destination_last]| {
                (source_first..=source_last).contains(&key.source)
                    && (destination_first..=destination_last).contains(&key.destination)
            },
        )
    }
}

type List = SortedChunks<Rank, Entry, Hull>;

/// The security policy database. A clone is a snapshot; it shares its entries with the original.
#[derive(Clone, Debug, Default)]
pub struct Spd {
    inbound: List,
    outbound: List,
    forward: List,
    by_selector: SortedChunks<(Direction, Selector), Arc<Policy>>,
    by_id: SortedChunks<PolicyId, Arc<Policy>>,
    /// The entries that have a lifetime.
    limited: SortedChunks<PolicyId, Arc<Policy>>,
    /// How many inbound entries judge forwarded packets.
    judges: usize,
    last_id: u32,
    last_serial: u64,
}

impl Spd {
    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Says whether there is no entry at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn list(&self, direction: Direction) -> &List {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
            Direction::Forward => &self.forward,
        }
    }

    fn list_mut(&mut self, direction: Direction) -> &mut List {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
            Direction::Forward => &mut self.forward,
        }
    }

    /// Adds an entry behind all others of its priority.
    ///
    /// # Errors
    /// `Exists` if the list has this selector already, whatever its priority; what
    /// `PolicyParams::validate` finds; `Full` when the ids are used up.
    pub fn insert(&mut self, params: PolicyParams, now: Instant, wall: WallClock) -> Result<PolicyId, Error> {
        params.validate()?;
        if self
            .by_selector
            .lookup(&(params.direction, params.selector))
            .is_some()
        {
            return Err(Error::Exists);
        }
        let id = PolicyId(self.last_id.checked_add(1).ok_or(Error::Full)?);
        self.last_id = id.0;
        let serial = self.next_serial();
        self.put(Policy::new(params, id, serial, now, wall));
        Ok(id)
    }

    /// Replaces the entry with this selector, or adds one. A replaced entry keeps its id, and its place
    /// if the priority stays; its counters start again.
    ///
    /// # Errors
    /// As `insert`, but never `Exists`.
    pub fn update(&mut self, params: PolicyParams, now: Instant, wall: WallClock) -> Result<PolicyId, Error> {
        params.validate()?;
        let Some(old) = self
            .by_selector
            .lookup(&(params.direction, params.selector))
            .cloned()
        else {
            return self.insert(params, now, wall);
        };
        self.take(&old);
        let (priority, serial) = old.rank();
        let serial = if priority == params.priority {
            serial
        } else {
            self.next_serial()
        };
        self.put(Policy::new(params, old.id(), serial, now, wall));
        Ok(old.id())
    }

    fn next_serial(&mut self) -> u64 {
        self.last_serial = self.last_serial.saturating_add(1);
        self.last_serial
    }

    fn put(&mut self, policy: Policy) {
        let policy = Arc::new(policy);
        let (direction, selector) = (policy.params().direction, policy.params().selector);
        self.list_mut(direction).insert(
            policy.rank(),
            Entry {
                selector,
                policy: Arc::clone(&policy),
            },
        );
        self.by_selector
            .insert((direction, selector), Arc::clone(&policy));
        if policy.deadline().is_some() {
            self.limited.insert(policy.id(), Arc::clone(&policy));
        }
        self.judges += usize::from(Self::is_judge(&policy));
        self.by_id.insert(policy.id(), policy);
    }

    fn take(&mut self, policy: &Policy) {
        let (direction, selector) = (policy.params().direction, policy.params().selector);
        self.list_mut(direction).remove(&policy.rank());
        self.by_selector.remove(&(direction, selector));
        self.limited.remove(&policy.id());
        self.judges -= usize::from(Self::is_judge(policy));
        self.by_id.remove(&policy.id());
    }

    fn is_judge(policy: &Policy) -> bool {
        policy.params().direction == Direction::Inbound && policy.params().judges_forwarded
    }

    /// Takes out the entry with exactly this selector.
    ///
    /// # Errors
    /// `NotFound` if the list has none.
    pub fn remove(&mut self, direction: Direction, selector: &Selector) -> Result<Arc<Policy>, Error> {
        let policy = self
            .by_selector
            .lookup(&(direction, *selector))
            .cloned()
            .ok_or(Error::NotFound)?;
        self.take(&policy);
        Ok(policy)
    }

    /// Takes out the entry with this id.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn remove_id(&mut self, id: PolicyId) -> Result<Arc<Policy>, Error> {
        let policy = self.by_id.lookup(&id).cloned().ok_or(Error::NotFound)?;
        self.take(&policy);
        Ok(policy)
    }

    /// Takes out every entry; ids are not used again.
    pub fn flush(&mut self) -> Vec<Arc<Policy>> {
        let all = self.dump();
        *self = Self {
            last_id: self.last_id,
            last_serial: self.last_serial,
            ..Self::default()
        };
        all
    }

    /// The entry with this id.
    #[must_use]
    pub fn by_id(&self, id: PolicyId) -> Option<&Arc<Policy>> {
        self.by_id.lookup(&id)
    }

    /// The entry with exactly this selector.
    #[must_use]
    pub fn by_selector(&self, direction: Direction, selector: &Selector) -> Option<&Arc<Policy>> {
        self.by_selector.lookup(&(direction, *selector))
    }

    /// Every entry, in the order of their ids.
    #[must_use]
    pub fn dump(&self) -> Vec<Arc<Policy>> {
        self.by_id.values().cloned().collect()
    }

    /// One list in the order in which its entries are asked, inbound judges of forwarded packets included.
    #[must_use]
    pub fn ordered(&self, direction: Direction) -> Vec<Arc<Policy>> {
        let mut all: Vec<_> = self
            .list(direction)
            .values()
            .map(|entry| Arc::clone(&entry.policy))
            .collect();
        if direction == Direction::Forward {
            let inbound = self.inbound.values().map(|entry| &entry.policy);
            all.extend(inbound.filter(|policy| Self::is_judge(policy)).cloned());
            all.sort_by_key(|policy| policy.rank());
        }
        all
    }

    /// Chooses the entry that decides about a packet: the first that matches, by priority, then insertion.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
    //# The entries are totally ordered by the administrator and searched in that order.
    #[must_use]
    pub fn lookup(&self, direction: Direction, key: &SelectorKey) -> Option<&Arc<Policy>> {
        let own = Self::first_match(self.list(direction), key, |_| true);
        if direction != Direction::Forward || self.judges == 0 {
            return own;
        }
        let judge = Self::first_match(&self.inbound, key, Self::is_judge);
        match (own, judge) {
            (Some(own), Some(judge)) => Some(if judge.rank() < own.rank() { judge } else { own }),
            (own, judge) => own.or(judge),
        }
    }

    fn first_match<'a>(
        list: &'a List,
        key: &SelectorKey,
        wanted: impl Fn(&Policy) -> bool,
    ) -> Option<&'a Arc<Policy>> {
        list.chunks()
            .filter(|chunk| chunk.summary().may_match(key))
            .flat_map(|chunk| chunk.entries())
            .find(|(_, entry)| entry.selector.matches(key) && wanted(&entry.policy))
            .map(|(_, entry)| &entry.policy)
    }

    /// The next moment at which an entry may end.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.limited.values().filter_map(|policy| policy.deadline()).min()
    }

    /// The entries whose end has come.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Vec<Arc<Policy>> {
        let ended = |policy: &&Arc<Policy>| policy.deadline().is_some_and(|end| end <= now);
        self.limited.values().filter(ended).cloned().collect()
    }
}
