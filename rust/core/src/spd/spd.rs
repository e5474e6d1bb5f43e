//! The SPD as a snapshot: three ordered lists, first match wins, copies share what did not change.
//! No SA, no packet byte and no lock may enter: readers hold a copy, the writer swaps in another.
//! Answers to: RFC 4301 sections 4.4.1 and 5.1; order and `fwd` as in `setkey(8)`.

use crate::error::Error;
use crate::selector::{Selector, SelectorKey};
use crate::spd::chunks::{SortedChunks, Summary};
use crate::spd::pcb::SocketPolicies;
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
    /// Asked before everything else; not counted, not listed and not removed with the entries.
    sockets: SocketPolicies,
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
    //= https://www.rfc-editor.org/rfc/rfc3948#section-5.1
    //# two clients with one inner address do not silently replace each other
    pub fn insert(&mut self, params: PolicyParams, now: Instant, wall: WallClock) -> Result<PolicyId, Error> {
        params.validate()?;
        if self
            .by_selector
            .lookup(&(params.direction, params.selector))
            .is_some()
        {
            return Err(Error::Exists);
        }
        let id = self.next_id()?;
        let serial = self.next_serial();
        self.put(Policy::new(params, id, serial, now, wall));
        Ok(id)
    }

    fn next_id(&mut self) -> Result<PolicyId, Error> {
        let id = PolicyId(self.last_id.checked_add(1).ok_or(Error::Full)?);
        self.last_id = id.0;
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

    /// Gives the flows of a socket a policy of their own, or another; it keeps its id then.
    ///
    /// # Errors
    /// What `PolicyParams::validate` finds; `Full` when the ids are used up.
    pub fn pcb_put(
        &mut self,
        params: PolicyParams,
        now: Instant,
        wall: WallClock,
    ) -> Result<PolicyId, Error> {
        params.validate()?;
        let old = self.sockets.by_selector(params.direction, &params.selector);
        let id = match old.map(|old| old.id()) {
            Some(id) => id,
            None => self.next_id()?,
        };
        let serial = self.next_serial();
        self.sockets
            .put(Arc::new(Policy::new(params, id, serial, now, wall)));
        Ok(id)
    }

    /// Takes out the policy of a socket's flows.
    ///
    /// # Errors
    /// `NotFound` if there is none with exactly this selector.
    pub fn pcb_remove(&mut self, direction: Direction, selector: &Selector) -> Result<Arc<Policy>, Error> {
        self.sockets.remove(direction, selector).ok_or(Error::NotFound)
    }

    /// The policy of the sockets' flows that are exactly these.
    #[must_use]
    pub fn pcb_by_selector(&self, direction: Direction, selector: &Selector) -> Option<&Arc<Policy>> {
        self.sockets.by_selector(direction, selector)
    }

    /// Every policy of a socket, in an order of their own.
    #[must_use]
    pub fn pcb_dump(&self) -> Vec<Arc<Policy>> {
        self.sockets.dump()
    }

    /// Takes out every entry, and no policy of a socket; ids are not used again.
    pub fn flush(&mut self) -> Vec<Arc<Policy>> {
        let all = self.dump();
        *self = Self {
            last_id: self.last_id,
            last_serial: self.last_serial,
            sockets: self.sockets.clone(),
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

    /// Chooses the entry that decides about a packet: its socket's policy, else the first entry that matches,
    /// by priority, then insertion.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
    //# The entries are totally ordered by the administrator and searched in that order.
    #[must_use]
    pub fn lookup(&self, direction: Direction, key: &SelectorKey) -> Option<&Arc<Policy>> {
        if let Some(policy) = self.sockets.lookup(direction, key) {
            return Some(policy);
        }
        self.listed(direction, key)
    }

    /// Chooses the entry that decides about a packet that leaves: no socket here has a forwarded one.
    #[must_use]
    pub fn lookup_leaving(
        &self,
        key: &SelectorKey,
        is_local: impl FnOnce(&IpAddr) -> bool,
    ) -> Option<&Arc<Policy>> {
        let of_a_socket = self.sockets.lookup(Direction::Outbound, key);
        of_a_socket
            .filter(|_| is_local(&key.source))
            .or_else(|| self.listed(Direction::Outbound, key))
    }

    fn listed(&self, direction: Direction, key: &SelectorKey) -> Option<&Arc<Policy>> {
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

    /// Whether fragments of one packet could meet different entries: only the whole packet has a decision then.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-7.4
    //# later fragments do not pass by an entry with ports unless fragments are followed by state
    #[must_use]
    pub fn depends_on_ports(&self, direction: Direction, key: &SelectorKey) -> bool {
        let forwarded = direction == Direction::Forward && self.judges != 0;
        let of_a_socket = direction != Direction::Forward && !self.sockets.is_empty();
        of_a_socket
            || Self::list_depends_on_ports(self.list(direction), key, |_| true)
            || forwarded && Self::list_depends_on_ports(&self.inbound, key, Self::is_judge)
    }

    fn list_depends_on_ports(list: &List, key: &SelectorKey, wanted: impl Fn(&Policy) -> bool) -> bool {
        list.chunks()
            .filter(|chunk| chunk.summary().may_match(key))
            .flat_map(|chunk| chunk.entries())
            .find(|(_, entry)| entry.selector.may_match_whole(key) && wanted(&entry.policy))
            .is_some_and(|(_, entry)| !entry.selector.matches_every_fragment(key))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::{AddressRange, PortRange, Ports};
    use crate::spd::policy::tests::{params, range};
    use crate::spd::policy::{Action, PolicyLimits};
    use proptest::prelude::*;

    const NOW: Instant = Instant(0);
    const WALL: WallClock = WallClock(0);

    fn key(source: &str, destination: &str) -> SelectorKey {
        SelectorKey {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            next_layer: 17,
            ports: Ports::Known {
                source: 1000,
                destination: 53,
            },
        }
    }

    fn covering(direction: Direction, third: u8) -> PolicyParams {
        let last = if third == 0 {
            "10.0.255.255".to_owned()
        } else {
            format!("10.0.{third}.255")
        };
        let net = range(&format!("10.0.{third}.0"), &last);
        params(direction, range("10.0.0.0", "10.0.255.255"), net)
    }

    fn add(spd: &mut Spd, params: PolicyParams) -> PolicyId {
        spd.insert(params, NOW, WALL).unwrap()
    }

    fn found(spd: &Spd, direction: Direction, key: &SelectorKey) -> Option<PolicyId> {
        spd.lookup(direction, key).map(|policy| policy.id())
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-7.4
    //# later fragments do not pass by an entry with ports unless fragments are followed by state
    #[test]
    fn ports_decide_only_where_an_entry_in_front_names_them() {
        let key = |next_layer| SelectorKey {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            next_layer,
            ports: Ports::Opaque,
        };
        let hosts = range("10.0.0.0", "10.255.255.255");
        let mut without = params(Direction::Outbound, hosts, hosts);
        let mut with_ports = without.clone();
        (with_ports.priority, with_ports.action) = (2, Action::Discard);
        with_ports.selector.next_layer = Some(17);
        with_ports.selector.destination_ports = PortRange::single(53);
        without.priority = 3;
        let mut spd = Spd::default();
        spd.insert(without.clone(), NOW, WALL).unwrap();
        assert!(!spd.depends_on_ports(Direction::Outbound, &key(17)));
        spd.insert(with_ports.clone(), NOW, WALL).unwrap();
        assert!(spd.depends_on_ports(Direction::Outbound, &key(17)));
        assert!(!spd.depends_on_ports(Direction::Outbound, &key(6)));
        assert!(!spd.depends_on_ports(Direction::Inbound, &key(17)));
        // A later IPv6 fragment that begins with destination options may be anything.
        assert!(spd.depends_on_ports(Direction::Outbound, &key(60)));
        without.priority = 1;
        spd.update(without, NOW, WALL).unwrap();
        assert!(!spd.depends_on_ports(Direction::Outbound, &key(17)));
        (with_ports.direction, with_ports.judges_forwarded) = (Direction::Inbound, true);
        spd.insert(with_ports, NOW, WALL).unwrap();
        assert!(spd.depends_on_ports(Direction::Forward, &key(17)));
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
    //# The entries are totally ordered by the administrator and searched in that order.
    #[test]
    fn the_first_match_wins_by_priority_then_insertion() {
        let mut spd = Spd::default();
        let wide = add(&mut spd, covering(Direction::Outbound, 0));
        let narrow = add(&mut spd, covering(Direction::Outbound, 7));
        let packet = key("10.0.0.1", "10.0.7.9");
        assert_eq!(
            found(&spd, Direction::Outbound, &packet),
            Some(wide),
            "not the most specific"
        );
        spd.remove_id(narrow).unwrap();
        let urgent = add(
            &mut spd,
            PolicyParams {
                priority: 5,
                ..covering(Direction::Outbound, 7)
            },
        );
        assert_eq!(found(&spd, Direction::Outbound, &packet), Some(urgent));
        assert_eq!(
            found(&spd, Direction::Outbound, &key("10.0.0.1", "10.0.8.9")),
            Some(wide)
        );
        assert_eq!(found(&spd, Direction::Inbound, &packet), None);
        assert_eq!(found(&spd, Direction::Outbound, &key("::1", "::2")), None);
        assert_ne!(urgent, narrow, "ids are not used twice");
    }

    #[test]
    fn a_selector_stands_once_in_each_list() {
        let mut spd = Spd::default();
        add(&mut spd, covering(Direction::Outbound, 1));
        let other_priority = PolicyParams {
            priority: 1,
            ..covering(Direction::Outbound, 1)
        };
        assert_eq!(spd.insert(other_priority, NOW, WALL), Err(Error::Exists));
        add(&mut spd, covering(Direction::Inbound, 1));
        let mut ports = covering(Direction::Outbound, 1);
        ports.selector.source_ports = PortRange { first: 1, last: 1 };
        add(&mut spd, ports);
        assert_eq!(spd.len(), 3);
    }

    #[test]
    fn an_update_keeps_id_and_place_or_adds() {
        let mut spd = Spd::default();
        let first = add(&mut spd, covering(Direction::Outbound, 0));
        let second = add(&mut spd, covering(Direction::Outbound, 7));
        let packet = key("10.0.0.1", "10.0.7.9");
        spd.lookup(Direction::Outbound, &packet).unwrap().account(10, NOW);
        let discard = PolicyParams {
            action: Action::Discard,
            ..covering(Direction::Outbound, 0)
        };
        assert_eq!(spd.update(discard.clone(), NOW, WALL), Ok(first));
        let policy = spd.lookup(Direction::Outbound, &packet).unwrap();
        assert_eq!((policy.id(), &policy.params().action), (first, &Action::Discard));
        assert_eq!(policy.view().packets, 0);
        let later = PolicyParams {
            priority: u32::MAX,
            ..discard
        };
        assert_eq!(spd.update(later, NOW, WALL), Ok(first));
        assert_eq!(found(&spd, Direction::Outbound, &packet), Some(second));
        let third = spd.update(covering(Direction::Outbound, 9), NOW, WALL).unwrap();
        assert_eq!(spd.len(), 3);
        assert!(spd.by_id(third).is_some());
    }

    #[test]
    fn forwarded_packets_meet_inbound_judges_in_order() {
        let mut spd = Spd::default();
        let packet = key("10.0.0.1", "10.0.7.9");
        let plain = add(&mut spd, covering(Direction::Inbound, 0));
        assert_eq!(
            found(&spd, Direction::Forward, &packet),
            None,
            "a bare in entry says nothing of forwarding"
        );
        let judge = PolicyParams {
            judges_forwarded: true,
            ..covering(Direction::Inbound, 7)
        };
        let judge = add(&mut spd, judge);
        assert_eq!(found(&spd, Direction::Forward, &packet), Some(judge));
        assert_eq!(found(&spd, Direction::Inbound, &packet), Some(plain));
        let late = add(&mut spd, covering(Direction::Forward, 0));
        assert_eq!(
            found(&spd, Direction::Forward, &packet),
            Some(judge),
            "added earlier"
        );
        let urgent = add(
            &mut spd,
            PolicyParams {
                priority: 1,
                ..covering(Direction::Forward, 7)
            },
        );
        assert_eq!(found(&spd, Direction::Forward, &packet), Some(urgent));
        let ids: Vec<_> = spd
            .ordered(Direction::Forward)
            .iter()
            .map(|policy| policy.id())
            .collect();
        assert_eq!(ids, [urgent, judge, late]);
        spd.remove_id(judge).unwrap();
        assert_eq!(
            (
                spd.judges,
                found(&spd, Direction::Forward, &key("10.0.0.1", "10.0.9.9"))
            ),
            (0, Some(late))
        );
    }

    #[test]
    fn removal_by_selector_by_id_and_whole() {
        let mut spd = Spd::default();
        let ids = [1, 2, 3].map(|third| add(&mut spd, covering(Direction::Outbound, third)));
        let selector = covering(Direction::Outbound, 2).selector;
        assert_eq!(
            spd.by_selector(Direction::Outbound, &selector).unwrap().id(),
            ids[1]
        );
        assert_eq!(
            spd.remove(Direction::Inbound, &selector).unwrap_err(),
            Error::NotFound
        );
        assert_eq!(spd.remove(Direction::Outbound, &selector).unwrap().id(), ids[1]);
        assert_eq!(spd.remove_id(ids[1]).unwrap_err(), Error::NotFound);
        assert_eq!(
            spd.dump().iter().map(|policy| policy.id()).collect::<Vec<_>>(),
            [ids[0], ids[2]]
        );
        assert_eq!(spd.flush().len(), 2);
        assert!(spd.is_empty() && spd.ordered(Direction::Outbound).is_empty());
        assert_eq!(
            add(&mut spd, covering(Direction::Outbound, 1)),
            PolicyId(4),
            "ids go on"
        );
    }

    #[test]
    fn a_snapshot_does_not_change() {
        let mut spd = Spd::default();
        let id = add(&mut spd, covering(Direction::Outbound, 7));
        let snapshot = spd.clone();
        spd.remove_id(id).unwrap();
        let packet = key("10.0.0.1", "10.0.7.9");
        assert_eq!(found(&snapshot, Direction::Outbound, &packet), Some(id));
        assert_eq!(found(&spd, Direction::Outbound, &packet), None);
    }

    #[test]
    fn what_has_a_lifetime_expires() {
        let mut spd = Spd::default();
        add(&mut spd, covering(Direction::Outbound, 1));
        assert_eq!(spd.deadline(), None);
        let hard = PolicyLimits {
            add_secs: 10,
            use_secs: 0,
        };
        let id = add(
            &mut spd,
            PolicyParams {
                hard,
                ..covering(Direction::Outbound, 2)
            },
        );
        assert_eq!(spd.deadline(), Some(Instant::from_secs(10)));
        assert!(spd.expired(Instant::from_secs(9)).is_empty());
        assert_eq!(spd.expired(Instant::from_secs(10))[0].id(), id);
        spd.remove_id(id).unwrap();
        assert_eq!(spd.deadline(), None);
    }

    #[test]
    fn ten_thousand_entries_with_a_snapshot_each() {
        let mut spd = Spd::default();
        for number in 0..10_000_u32 {
            let net = AddressRange {
                first: (0x0b00_0000 + number).to_be_bytes().into(),
                ..range("::", "::")
            };
            let net = AddressRange {
                last: net.first,
                ..net
            };
            let mut next = spd.clone();
            add(
                &mut next,
                params(Direction::Outbound, range("10.0.0.0", "10.0.0.255"), net),
            );
            spd = next;
        }
        let packet = key("10.0.0.1", "11.0.39.15");
        assert_eq!(found(&spd, Direction::Outbound, &packet), Some(PolicyId(10_000)));
        assert_eq!(
            found(&spd, Direction::Outbound, &key("10.0.0.1", "11.0.39.16")),
            None
        );
    }

    proptest! {
        /// Chunks, hulls and the merge of two lists change nothing about "first match in order".
        #[test]
        fn lookups_agree_with_a_plain_list(
            entries in proptest::collection::vec((0u8..3, 0u8..20, 0u8..20, 0u32..4, any::<bool>()), 0..400),
            removed in proptest::collection::vec(1u32..400, 0..100),
            packets in proptest::collection::vec((0u8..20, 0u8..20), 1..40),
        ) {
            let directions = [Direction::Inbound, Direction::Outbound, Direction::Forward];
            let net = |octet: u8, wide: u8| AddressRange {
                first: IpAddr::from([10, octet, 0, 0]),
                last: IpAddr::from([10, octet.saturating_add(wide), 255, 255]),
            };
            let mut spd = Spd::default();
            let mut model = Vec::new();
            for (list, source, destination, priority, judges_forwarded) in entries {
                let covers = params(directions[usize::from(list)], net(source, destination % 3), net(destination, source % 4));
                let params = PolicyParams { priority, judges_forwarded, ..covers };
                let known = model.iter().any(|(_, there): &(PolicyId, PolicyParams)| {
                    (there.direction, there.selector) == (params.direction, params.selector)
                });
                match spd.insert(params.clone(), NOW, WALL) {
                    Ok(id) => model.push((id, params)),
                    Err(error) => prop_assert_eq!((error, known), (Error::Exists, true)),
                }
            }
            for id in removed {
                let gone = spd.remove_id(PolicyId(id)).is_ok();
                let before = model.len();
                model.retain(|(there, _)| there.0 != id);
                prop_assert_eq!(gone, model.len() < before);
            }
            model.sort_by_key(|(id, params)| (params.priority, *id));
            for (source, destination) in packets {
                let key = SelectorKey {
                    source: IpAddr::from([10, source, 1, 1]),
                    destination: IpAddr::from([10, destination, 1, 1]),
                    next_layer: 6,
                    ports: Ports::Opaque,
                };
                for direction in directions {
                    let judges = |there: &PolicyParams| {
                        there.direction == direction
                            || direction == Direction::Forward
                                && there.direction == Direction::Inbound
                                && there.judges_forwarded
                    };
                    let expected = model.iter().find(|(_, there)| judges(there) && there.selector.matches(&key));
                    prop_assert_eq!(found(&spd, direction, &key), expected.map(|(id, _)| *id));
                }
            }
        }
    }
}
