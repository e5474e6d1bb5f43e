//! ICMP errors that come through SAs: by their own header as ever, else by the packet that they quote.
//! How a quotation is read is `wire::icmp_error`'s; errors in clear are in `hints.rs`.
//! Answers to: RFC 4301 section 6.2.

use super::*;
use crate::engine::{DefaultPolicy, Setting};
use crate::wire::{fragment, icmp, protocol};

/// Who has SAs with whom (`far` with `near` in transport mode, the gates in tunnel mode), and who else there is.
#[derive(Clone, Copy)]
struct Places {
    gates: (&'static str, &'static str),
    far: &'static str,
    near: &'static str,
    router: &'static str,
    other: &'static str,
}

const PLACES: [Places; 2] = [
    Places {
        gates: (A, B),
        far: "10.0.1.1",
        near: "10.0.2.1",
        router: "10.0.1.99",
        other: "10.0.7.7",
    },
    Places {
        gates: (A6, B6),
        far: "fd00:1::1",
        near: "fd00:2::1",
        router: "fd00:1::99",
        other: "fd00:7::7",
    },
];
const FAR_PORT: u16 = 5000;
const NEAR_PORT: u16 = 7;

impl Places {
    fn ends(&self, mode: Mode) -> (&'static str, &'static str) {
        if mode == Mode::Tunnel {
            self.gates
        } else {
            (self.far, self.near)
        }
    }

    /// What `near` sent, and somebody on the far side could not deliver.
    fn original(&self) -> Vec<u8> {
        udp::packet(ip(self.near), ip(self.far), NEAR_PORT, FAR_PORT, &[9; 40]).unwrap()
    }

    /// Who says so: in transport mode nobody but the far end can.
    fn reporter(&self, mode: Mode) -> &'static str {
        if mode == Mode::Tunnel {
            self.router
        } else {
            self.far
        }
    }

    fn any(&self) -> AddressRange {
        AddressRange::any(ip(self.far))
    }
}

fn unreachable(from: &str, to: &str, quoted: &[u8]) -> Vec<u8> {
    message(if ip(from).is_ipv4() { 3 } else { 1 }, from, to, quoted)
}

fn message(kind: u8, from: &str, to: &str, quoted: &[u8]) -> Vec<u8> {
    let repr = icmp::Repr {
        kind,
        code: 3,
        rest_of_header: [0; 4],
        payload: quoted,
    };
    repr.packet(ip(from), ip(to)).unwrap()
}

fn asks_for(mode: Mode, ends: (&str, &str)) -> Action {
    Action::Protect(require(mode, (mode == Mode::Tunnel).then_some(ends)))
}

/// A host with one inbound SA, and an entry for the datagrams between two ports and nothing else.
fn receiver(places: &Places, mode: Mode) -> Engine {
    let engine = engine();
    let ends = places.ends(mode);
    engine.sad_add(sa(0x1000, ends.0, ends.1, mode), START).unwrap();
    engine.spd_add(flow(places, mode), START).unwrap();
    engine
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    engine
}

fn flow(places: &Places, mode: Mode) -> PolicyParams {
    let entry = policy(
        Direction::Inbound,
        places.far,
        places.near,
        asks_for(mode, places.ends(mode)),
    );
    let selector = Selector {
        next_layer: Some(protocol::UDP),
        source_ports: PortRange::single(FAR_PORT),
        destination_ports: PortRange::single(NEAR_PORT),
        ..entry.selector
    };
    PolicyParams { selector, ..entry }
}

/// A peer that seals whatever it is given by one SA.
fn peer(places: &Places, spi: u32, mode: Mode, ends: (&str, &str)) -> Engine {
    let engine = engine();
    engine.sad_add(sa(spi, ends.0, ends.1, mode), START).unwrap();
    let everything = policy(Direction::Outbound, ends.0, ends.1, asks_for(mode, ends));
    let selector = Selector {
        source: places.any(),
        destination: places.any(),
        ..everything.selector
    };
    let params = PolicyParams {
        selector,
        ..everything
    };
    engine.spd_add(params, START).unwrap();
    engine
}

fn each_way(mut check: impl FnMut(&Places, Mode)) {
    for places in &PLACES {
        for mode in [Mode::Transport, Mode::Tunnel] {
            check(places, mode);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
//# the packet inside an ICMP error is checked with its ends exchanged
#[test]
fn an_error_about_a_protected_flow_comes_through_its_sa() {
    each_way(|places, mode| {
        let (receiver, peer) = (
            receiver(places, mode),
            peer(places, 0x1000, mode, places.ends(mode)),
        );
        let error = unreachable(places.reporter(mode), places.near, &places.original());
        assert_eq!(
            refused_inbound(&receiver, &error),
            DropReason::InNoPolicy,
            "in clear"
        );
        let out = inbound(&receiver, &sealed(&peer, &error), START);
        assert_eq!(out.deliver[0].as_slice(), error);
        let id = receiver.spd_dump()[0].id;
        let journey = out.journey.unwrap();
        assert!(journey.contains(&super::super::Step::QuotationMatched { policy: id }));
        assert_eq!(receiver.spd_lookup(id).unwrap().packets, 1);
        // Another entry may also say something of its header that it does not fulfil.
        let (from, to) = (places.reporter(mode), places.near);
        let wants_more = asks_for(Mode::Tunnel, (places.other, places.near));
        receiver
            .spd_add(policy(Direction::Inbound, from, to, wants_more), START)
            .unwrap();
        assert_eq!(delivered(&receiver, &sealed(&peer, &error)), error);
        let quotes_nothing = unreachable(from, to, &[0; 40]);
        assert_eq!(
            refused_inbound(&receiver, &sealed(&peer, &quotes_nothing)),
            DropReason::InPolicyViolation
        );
    });
}

#[test]
fn the_default_bypass_does_not_let_a_tunnel_speak_of_anything() {
    for places in &PLACES {
        let (receiver, peer) = (
            receiver(places, Mode::Tunnel),
            peer(places, 0x1000, Mode::Tunnel, places.gates),
        );
        receiver
            .configure(Setting::DefaultPolicy(DefaultPolicy::Bypass))
            .unwrap();
        let error = unreachable(places.router, places.near, &places.original());
        assert_eq!(delivered(&receiver, &sealed(&peer, &error)), error);
        let echo = message(
            if places.gates.0 == A { 8 } else { 128 },
            places.router,
            places.near,
            &places.original(),
        );
        assert_eq!(
            refused_inbound(&receiver, &sealed(&peer, &echo)),
            DropReason::InPolicyViolation
        );
    }
}

#[test]
fn a_gateway_forwards_it() {
    for places in &PLACES {
        let (receiver, peer) = (
            receiver(places, Mode::Tunnel),
            peer(places, 0x1000, Mode::Tunnel, places.gates),
        );
        let own = vec![AddressRange::host(ip(places.gates.1))];
        receiver.configure(Setting::Local(Some(own))).unwrap();
        let error = unreachable(places.router, places.near, &places.original());
        assert_eq!(
            refused_inbound(&receiver, &sealed(&peer, &error)),
            DropReason::InNoPolicy,
            "the entry is not about forwarded packets"
        );
        let entry = PolicyParams {
            direction: Direction::Forward,
            ..flow(places, Mode::Tunnel)
        };
        receiver.spd_add(entry, START).unwrap();
        assert_eq!(delivered(&receiver, &sealed(&peer, &error)), error);
    }
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
//# the packet inside an ICMP error is checked with its ends exchanged
#[test]
fn a_forged_quotation_is_refused() {
    each_way(|places, mode| {
        let (receiver, peer) = (
            receiver(places, mode),
            peer(places, 0x1000, mode, places.ends(mode)),
        );
        let refused = |packet: &[u8]| {
            assert_eq!(
                refused_inbound(&receiver, &sealed(&peer, packet)),
                DropReason::InNoPolicy
            );
        };
        let Places { far, near, other, .. } = *places;
        let from = places.reporter(mode);
        let quote = |source, destination, source_port, destination_port| {
            let packet = udp::packet(
                ip(source),
                ip(destination),
                source_port,
                destination_port,
                &[9; 40],
            );
            unreachable(from, near, &packet.unwrap())
        };
        refused(&quote(near, far, NEAR_PORT, FAR_PORT + 1));
        refused(&quote(near, far, FAR_PORT, NEAR_PORT));
        refused(&quote(near, other, NEAR_PORT, FAR_PORT));
        refused(&quote(other, far, NEAR_PORT, FAR_PORT));
        refused(&quote(far, near, FAR_PORT, NEAR_PORT));
        let mut as_tcp = places.original();
        as_tcp[if ip(far).is_ipv4() { 9 } else { 6 }] = protocol::TCP;
        refused(&unreachable(from, near, &as_tcp));
        if mode == Mode::Tunnel {
            refused(&unreachable(from, other, &places.original()));
        }
        let no_errors: &[u8] = if ip(far).is_ipv4() {
            &[0, 4, 5, 8]
        } else {
            &[0, 5, 128, 129]
        };
        for kind in no_errors {
            refused(&message(*kind, from, near, &places.original()));
        }
        let mut spoiled = unreachable(from, near, &places.original());
        *spoiled.last_mut().unwrap() ^= 1;
        refused(&spoiled);
        let honest = unreachable(from, near, &places.original());
        assert_eq!(delivered(&receiver, &sealed(&peer, &honest)), honest);
    });
}

#[test]
fn a_quotation_that_is_cut_before_its_ports_is_refused() {
    each_way(|places, mode| {
        let (receiver, peer) = (
            receiver(places, mode),
            peer(places, 0x1000, mode, places.ends(mode)),
        );
        let original = places.original();
        let ports_end = original.len() - 40 - 4;
        for length in 0..=original.len() {
            let error = unreachable(places.reporter(mode), places.near, &original[..length]);
            let out = inbound(&receiver, &sealed(&peer, &error), START);
            assert_eq!(out.deliver.len(), usize::from(length >= ports_end), "{length}");
            assert!(
                out.dropped
                    .iter()
                    .all(|each| each.reason == DropReason::InNoPolicy)
            );
        }
    });
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
//# the packet inside an ICMP error is checked with its ends exchanged
#[test]
fn a_quoted_later_fragment_has_no_ports() {
    each_way(|places, mode| {
        let (receiver, peer) = (
            receiver(places, mode),
            peer(places, 0x1000, mode, places.ends(mode)),
        );
        let long = udp::packet(ip(places.near), ip(places.far), NEAR_PORT, FAR_PORT, &[9; 3000]).unwrap();
        let pieces: Vec<_> = fragment::split(&long, 1400, 1).unwrap().collect();
        let error = |at: usize| {
            let quoted = &pieces[at].as_slice()[..80];
            unreachable(places.reporter(mode), places.near, quoted)
        };
        assert_eq!(delivered(&receiver, &sealed(&peer, &error(0))), error(0));
        let refused = |reason| {
            assert_eq!(refused_inbound(&receiver, &sealed(&peer, &error(1))), reason);
        };
        refused(DropReason::InNoPolicy);
        // An entry for any port speaks of it, but not if one before it may mean the same datagram.
        let with_ports = flow(places, mode);
        let all_ports = PolicyParams {
            selector: Selector {
                source_ports: PortRange::ANY,
                destination_ports: PortRange::ANY,
                ..with_ports.selector
            },
            ..with_ports.clone()
        };
        receiver.spd_add(all_ports, START).unwrap();
        refused(DropReason::InNoPolicy);
        receiver
            .spd_delete(Direction::Inbound, &with_ports.selector)
            .unwrap();
        assert_eq!(delivered(&receiver, &sealed(&peer, &error(1))), error(1));
    });
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
//# the packet inside an ICMP error is checked with its ends exchanged
#[test]
fn nobody_ends_the_connections_of_another_peer() {
    each_way(|places, mode| {
        let receiver = receiver(places, mode);
        let honest = peer(places, 0x1000, mode, places.ends(mode));
        let ends = (places.other, places.ends(mode).1);
        receiver.sad_add(sa(0x2000, ends.0, ends.1, mode), START).unwrap();
        let hostile = peer(places, 0x2000, mode, ends);
        for from in [places.other, places.reporter(mode)] {
            // Through a transport SA nobody speaks under another name.
            if mode == Mode::Transport && from != places.other {
                continue;
            }
            let error = unreachable(from, places.near, &places.original());
            assert_eq!(
                refused_inbound(&receiver, &sealed(&hostile, &error)),
                DropReason::InNoPolicy
            );
        }
        let error = unreachable(places.reporter(mode), places.near, &places.original());
        assert_eq!(delivered(&receiver, &sealed(&honest, &error)), error);
    });
}

#[test]
fn no_peer_quotes_what_this_host_sent_to_itself() {
    for places in &PLACES {
        let (receiver, peer) = (
            receiver(places, Mode::Tunnel),
            peer(places, 0x1000, Mode::Tunnel, places.gates),
        );
        let error = unreachable(places.router, places.near, &places.original());
        let own = [places.far, places.near, places.gates.1].map(|each| AddressRange::host(ip(each)));
        receiver.configure(Setting::Local(Some(own.to_vec()))).unwrap();
        assert_eq!(
            refused_inbound(&receiver, &sealed(&peer, &error)),
            DropReason::InNoPolicy
        );
    }
}

#[test]
fn what_policy_says_of_the_error_itself_stands() {
    each_way(|places, mode| {
        let (receiver, peer) = (
            receiver(places, mode),
            peer(places, 0x1000, mode, places.ends(mode)),
        );
        let (from, to) = (places.reporter(mode), places.near);
        let honest = unreachable(from, to, &places.original());
        let strange = unreachable(from, to, &[1; 7]);
        receiver
            .spd_add(policy(Direction::Inbound, from, to, Action::Discard), START)
            .unwrap();
        assert_eq!(
            refused_inbound(&receiver, &sealed(&peer, &honest)),
            DropReason::InPolicyDiscard
        );
        let wanted = asks_for(mode, places.ends(mode));
        receiver
            .spd_update(policy(Direction::Inbound, from, to, wanted), START)
            .unwrap();
        for error in [honest, strange] {
            assert_eq!(delivered(&receiver, &sealed(&peer, &error)), error);
        }
    });
}

/// A host with one outbound SA for the datagrams between two ports, and nothing else may leave.
fn reporter(places: &Places, mode: Mode, with_sa: bool) -> Engine {
    let engine = engine();
    let inbound_flow = flow(places, mode);
    let entry = PolicyParams {
        direction: Direction::Outbound,
        ..inbound_flow
    };
    engine.spd_add(entry, START).unwrap();
    if with_sa {
        let ends = places.ends(mode);
        engine.sad_add(sa(0x1000, ends.0, ends.1, mode), START).unwrap();
    }
    engine
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    engine
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-6.2
//# an outbound ICMP error that no entry is for goes with the return traffic of the packet in it
#[test]
fn an_error_leaves_with_the_return_traffic_of_what_it_quotes() {
    each_way(|places, mode| {
        let (sender, receiver) = (reporter(places, mode, true), receiver(places, mode));
        let from = places.reporter(mode);
        sender.configure(Setting::DecrementHopLimit(false)).unwrap();
        let error = unreachable(from, places.near, &places.original());
        let explained = sender.explain(Direction::Outbound, &error);
        assert!(
            matches!(explained, crate::engine::Verdict::Protect { .. }),
            "{explained:?}"
        );
        assert_eq!(delivered(&receiver, &sealed(&sender, &error)), error);
        let reversed = udp::packet(ip(places.far), ip(places.near), FAR_PORT, NEAR_PORT, &[9; 40]);
        for refused in [
            unreachable(from, places.near, &reversed.unwrap()),
            unreachable(from, places.near, &places.original()[..16]),
            unreachable(from, places.other, &places.original()),
        ] {
            assert_eq!(refused_outbound(&sender, &refused), DropReason::OutNoPolicy);
        }
        if mode == Mode::Transport {
            let error = unreachable(places.router, places.near, &places.original());
            assert_eq!(refused_outbound(&sender, &error), DropReason::OutNoPolicy);
        }
    });
}

#[test]
fn no_sa_is_asked_for_to_report_an_error() {
    each_way(|places, mode| {
        let sender = reporter(places, mode, false);
        let error = unreachable(places.reporter(mode), places.near, &places.original());
        assert_eq!(refused_outbound(&sender, &error), DropReason::OutNoPolicy);
        assert!(!sender.has_events());
    });
}
