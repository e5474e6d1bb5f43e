//! The policies of single sockets: found by the ends of a flow, before every entry of the SPD is asked.
//! No socket may enter: what hangs on one is known by its protocol, its addresses and its ports.
//! Answers to: `ipsec(4)`, per-socket policies; RFC 4301 section 4.4.1.1, "Sockets".

use crate::selector::{AddressRange, PortRange, Ports, Selector, SelectorKey};
use crate::spd::chunks::SortedChunks;
use crate::spd::policy::Policy;
use crate::terms::Direction;
use std::sync::Arc;

/// The policies of sockets by direction and by exactly what they cover.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketPolicies {
    entries: SortedChunks<(Direction, Selector), Arc<Policy>>,
}

impl SocketPolicies {
    pub(crate) fn put(&mut self, policy: Arc<Policy>) {
        let (direction, selector) = (policy.params().direction, policy.params().selector);
        self.entries.insert((direction, selector), policy);
    }

    pub(crate) fn remove(&mut self, direction: Direction, selector: &Selector) -> Option<Arc<Policy>> {
        self.entries.remove(&(direction, *selector))
    }

    pub(crate) fn by_selector(&self, direction: Direction, selector: &Selector) -> Option<&Arc<Policy>> {
        self.entries.lookup(&(direction, *selector))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    pub(crate) fn dump(&self) -> Vec<Arc<Policy>> {
        self.entries.values().cloned().collect()
    }

    /// Chooses the policy of the socket that a packet belongs to: the one that names most of its ends.
    pub(crate) fn lookup(&self, direction: Direction, key: &SelectorKey) -> Option<&Arc<Policy>> {
        if self.is_empty() {
            return None;
        }
        let Ports::Known { source, destination } = key.ports else {
            return None;
        };
        let local_is_source = direction == Direction::Outbound;
        shapes(key, source, destination, local_is_source)
            .iter()
            .find_map(|selector| self.by_selector(direction, selector))
    }
}

/// What a socket's policy can cover, from the most to the least that it says about this packet's flow: both
/// ends; all but the local address; the local end; the local port.
fn shapes(
    key: &SelectorKey,
    source_port: u16,
    destination_port: u16,
    local_is_source: bool,
) -> [Selector; 4] {
    let any = AddressRange::any(key.source);
    let both = Selector {
        source: AddressRange::host(key.source),
        destination: AddressRange::host(key.destination),
        next_layer: Some(key.next_layer),
        source_ports: PortRange::single(source_port),
        destination_ports: PortRange::single(destination_port),
    };
    let without_local = |selector: Selector| {
        if local_is_source {
            Selector {
                source: any,
                ..selector
            }
        } else {
            Selector {
                destination: any,
                ..selector
            }
        }
    };
    let local = if local_is_source {
        Selector {
            destination: any,
            destination_ports: PortRange::ANY,
            ..both
        }
    } else {
        Selector {
            source: any,
            source_ports: PortRange::ANY,
            ..both
        }
    };
    [both, without_local(both), local, without_local(local)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spd::Spd;
    use crate::spd::policy::Action;
    use crate::spd::policy::tests::params;
    use crate::time::{Instant, WallClock};

    const NOW: Instant = Instant(0);
    const WALL: WallClock = WallClock(0);
    const LOCAL: &str = "192.0.2.1";
    const REMOTE: &str = "198.51.100.7";

    fn host(address: &str) -> AddressRange {
        AddressRange::host(address.parse().unwrap())
    }

    fn any() -> AddressRange {
        AddressRange::any(LOCAL.parse().unwrap())
    }

    fn policy(
        direction: Direction,
        local: AddressRange,
        remote: AddressRange,
        port: PortRange,
    ) -> crate::spd::PolicyParams {
        let mut made = params(direction, local, remote);
        made.selector = Selector {
            source: local,
            destination: remote,
            next_layer: Some(6),
            source_ports: PortRange::single(40000),
            destination_ports: port,
        };
        if direction == Direction::Inbound {
            made.selector = made.selector.reversed();
        }
        made
    }

    fn key(direction: Direction, remote: &str, remote_port: u16) -> SelectorKey {
        let key = SelectorKey {
            source: LOCAL.parse().unwrap(),
            destination: remote.parse().unwrap(),
            next_layer: 6,
            ports: Ports::Known {
                source: 40000,
                destination: remote_port,
            },
        };
        if direction == Direction::Inbound {
            key.reversed()
        } else {
            key
        }
    }

    #[test]
    fn the_policy_that_names_most_of_the_ends_decides_whatever_came_first() {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let mut spd = Spd::default();
            let http = PortRange::single(80);
            let mut ids = Vec::new();
            for (local, remote, port) in [
                (any(), any(), PortRange::ANY),
                (host(LOCAL), any(), PortRange::ANY),
                (any(), host(REMOTE), http),
                (host(LOCAL), host(REMOTE), http),
            ] {
                ids.push(
                    spd.pcb_put(policy(direction, local, remote, port), NOW, WALL)
                        .unwrap(),
                );
                let found = spd.lookup(direction, &key(direction, REMOTE, 80)).unwrap();
                assert_eq!(found.id(), *ids.last().unwrap());
            }
            let elsewhere = spd.lookup(direction, &key(direction, REMOTE, 81)).unwrap();
            assert_eq!(elsewhere.id(), ids[1]);
            assert!(
                spd.lookup(direction, &key(direction, REMOTE, 80).reversed())
                    .is_none()
            );
        }
    }

    #[test]
    fn it_stands_before_every_entry_and_stays_when_those_go() {
        let mut spd = Spd::default();
        let mut first = policy(Direction::Outbound, any(), any(), PortRange::ANY);
        first.action = Action::Discard;
        first.priority = 0;
        let global = spd.insert(first.clone(), NOW, WALL).unwrap();
        let mut of_socket = first.clone();
        (of_socket.action, of_socket.priority) = (Action::Bypass, u32::MAX);
        let id = spd.pcb_put(of_socket.clone(), NOW, WALL).unwrap();
        let packet = key(Direction::Outbound, REMOTE, 80);
        assert_eq!(spd.lookup(Direction::Outbound, &packet).unwrap().id(), id);
        assert!(spd.remove(Direction::Outbound, &first.selector).is_ok());
        assert!(spd.by_id(id).is_none());
        spd.insert(first.clone(), NOW, WALL).unwrap();
        assert_eq!(spd.flush().len(), 1);
        assert_eq!(spd.lookup(Direction::Outbound, &packet).unwrap().id(), id);
        assert_eq!(spd.pcb_dump().len(), 1);
        // A replaced one keeps its id, and no id is given twice.
        assert_eq!(spd.pcb_put(of_socket, NOW, WALL).unwrap(), id);
        assert!(spd.pcb_remove(Direction::Outbound, &first.selector).is_ok());
        assert!(spd.pcb_remove(Direction::Outbound, &first.selector).is_err());
        assert!(spd.lookup(Direction::Outbound, &packet).is_none());
        assert!(global < id);
    }

    #[test]
    fn a_forwarded_packet_is_no_sockets() {
        let mut spd = Spd::default();
        spd.pcb_put(
            policy(Direction::Outbound, any(), any(), PortRange::ANY),
            NOW,
            WALL,
        )
        .unwrap();
        let packet = key(Direction::Outbound, REMOTE, 80);
        assert!(spd.lookup_leaving(&packet, |_| true).is_some());
        assert!(spd.lookup_leaving(&packet, |_| false).is_none());
    }

    #[test]
    fn a_fragment_waits_for_its_ports_where_a_socket_could_want_it() {
        let mut spd = Spd::default();
        let mut fragment = key(Direction::Outbound, REMOTE, 80);
        fragment.ports = Ports::Opaque;
        assert!(!spd.depends_on_ports(Direction::Outbound, &fragment));
        spd.pcb_put(
            policy(Direction::Outbound, any(), any(), PortRange::ANY),
            NOW,
            WALL,
        )
        .unwrap();
        assert!(spd.depends_on_ports(Direction::Outbound, &fragment));
        assert!(!spd.depends_on_ports(Direction::Forward, &fragment));
    }
}
