//! Behind a NAT: checksums in transport mode, a peer that moves, mappings kept alive.
//! Ports that do not fit are `encap.rs`'.
//! Answers to: RFC 3948 sections 2.3, 3.1.2, 4 and 5; `ipsec(4)` `natt_cksum_policy`; `docs/bug-classes.md` row 36.

use super::*;
use crate::engine::{Event, NatChecksum, Route, Setting};
use crate::sa::{SaOptions, UdpEncap};
use crate::wire::ip::{self as any_ip, Summary};
use crate::wire::{protocol, tcp, udp_encap};

const PORTS: UdpEncap = UdpEncap {
    source_port: 4500,
    destination_port: 4500,
};
const PRIVATE: &str = "10.9.9.9";
const PRIVATE6: &str = "fd00::9";

fn encapsulated(spi: u32, source: &str, destination: &str, options: SaOptions) -> SaParams {
    SaParams {
        encap: Some(PORTS),
        options,
        ..sa(spi, source, destination, Mode::Transport)
    }
}

/// A sender behind a NAT that turns `private` into `public`, and a receiver that sees only `public`.
fn behind_nat(private: &str, public: &str, peer: &str, options: SaOptions) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let templates = require(Mode::Transport, None);
    let protect = Action::Protect(templates);
    let outer = encapsulated(0x1000, private, peer, SaOptions::default());
    sender.sad_add(outer.clone(), START).unwrap();
    let entry = policy(Direction::Outbound, private, peer, protect.clone());
    sender.spd_add(entry, START).unwrap();
    let inner = SaParams {
        source: ip(public),
        options,
        ..outer
    };
    receiver.sad_add(inner, START).unwrap();
    let entry = policy(Direction::Inbound, public, peer, protect);
    receiver.spd_add(entry, START).unwrap();
    (sender, receiver)
}

/// What the NAT makes of a packet.
fn translated(wire: &[u8], public: &str, port: u16) -> Vec<u8> {
    let summary = Summary::parse(wire).unwrap();
    let carried = udp::Packet::new_checked(summary.payload(wire)).unwrap();
    let destination = match summary.destination {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => address.to_string(),
    };
    udp::packet(
        ip(public),
        ip(&destination),
        port,
        carried.destination_port(),
        carried.payload(),
    )
    .unwrap()
}

fn segment(source: &str, destination: &str) -> Vec<u8> {
    let repr = tcp::Repr {
        source_port: 40_000,
        destination_port: 7,
        sequence: 1,
        acknowledgement: 2,
        flags: 0x18,
        window: 100,
    };
    repr.packet(ip(source), ip(destination), b"some data").unwrap()
}

fn checksum_of(packet: &[u8]) -> u16 {
    let at = Summary::parse(packet).unwrap().payload_at
        + if packet_protocol(packet) == protocol::TCP {
            16
        } else {
            6
        };
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

fn packet_protocol(packet: &[u8]) -> u8 {
    Summary::parse(packet).unwrap().next_layer
}

//= https://www.rfc-editor.org/rfc/rfc3948#section-3.1.2
//# in transport mode the checksum is mended by the original addresses, or computed again, or zero for UDP
#[test]
fn natt_cksum_policy_in_every_case() {
    for (private, public, peer) in [(PRIVATE, A, B), (PRIVATE6, A6, B6)] {
        let known = SaOptions {
            original: Some((ip(private), ip(peer))),
            ..SaOptions::default()
        };
        for (choice, options) in [
            (NatChecksum::Adjust, known),
            (NatChecksum::Adjust, SaOptions::default()),
            (NatChecksum::Recompute, known),
            (NatChecksum::Recompute, SaOptions::default()),
        ] {
            for make in [segment, datagram] {
                let (sender, receiver) = behind_nat(private, public, peer, options);
                receiver.configure(Setting::NatChecksum(choice)).unwrap();
                let wire = sealed(&sender, &make(private, peer));
                let got = delivered(&receiver, &translated(&wire, public, 4500));
                let expected = make(public, peer);
                let zeroed = choice == NatChecksum::Adjust
                    && options.original.is_none()
                    && packet_protocol(&got) == protocol::UDP
                    && public == A;
                let sum = if zeroed { 0 } else { checksum_of(&expected) };
                assert_eq!(checksum_of(&got), sum, "{choice:?} {options:?}");
                assert_eq!(got.len(), expected.len());
            }
        }
    }
}

#[test]
fn without_a_nat_checksums_stay_as_they_are() {
    for (source, destination) in [(A, B), (A6, B6)] {
        let (sender, receiver) = behind_nat(source, source, destination, SaOptions::default());
        for packet in [datagram(source, destination), segment(source, destination)] {
            assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
        }
        // Neither do packets that did not come in UDP.
        let (sender, receiver) = (engine(), engine());
        let sas = [sa(0x1000, source, destination, Mode::Transport)];
        connect(
            &sender,
            &receiver,
            &sas,
            (source, destination),
            &require(Mode::Transport, None),
        );
        let mut wrong = datagram(source, destination);
        let at = Summary::parse(&wrong).unwrap().payload_at + 6;
        wrong[at] ^= 0x55;
        assert_eq!(delivered(&receiver, &sealed(&sender, &wrong)), wrong);
    }
}

fn moves(engine: &Engine) -> Vec<(String, u16)> {
    let mut moves = Vec::new();
    while let Some(event) = engine.poll_event() {
        let Event::NewMapping { sa, address, port } = event else {
            panic!("{event:?}");
        };
        assert_eq!(sa.params.id.spi, Spi(0x1000));
        moves.push((address.to_string(), port));
    }
    moves
}

//= https://www.rfc-editor.org/rfc/rfc3948#section-5
//# only a packet whose ICV was good says where the peer is now
#[test]
fn a_moved_peer_is_told_once_and_only_by_an_authentic_packet() {
    let known = SaOptions {
        original: Some((ip(PRIVATE), ip(B))),
        ..SaOptions::default()
    };
    let (sender, receiver) = behind_nat(PRIVATE, A, B, known);
    let wire = |port| translated(&sealed(&sender, &datagram(PRIVATE, B)), A, port);
    assert_eq!(inbound(&receiver, &wire(4500), START).deliver.len(), 1);
    assert_eq!(moves(&receiver), []);
    let mut forged = wire(60_000);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(refused_inbound(&receiver, &forged), DropReason::AuthFailed);
    assert_eq!(moves(&receiver), [], "a bad ICV moves nobody");
    let moved = wire(60_001);
    for _ in 0..2 {
        let _again = inbound(&receiver, &moved, START);
    }
    assert_eq!(inbound(&receiver, &wire(60_001), secs(10)).deliver.len(), 1);
    assert_eq!(moves(&receiver), [(A.to_owned(), 60_001)]);
    // A key manager follows; from then on the new port is the expected one.
    let followed = SaParams {
        encap: Some(UdpEncap {
            source_port: 60_001,
            ..PORTS
        }),
        source: ip(A),
        ..encapsulated(0x1000, PRIVATE, B, known)
    };
    receiver.sad_update(followed, secs(11)).unwrap();
    assert_eq!(inbound(&receiver, &wire(60_001), secs(12)).deliver.len(), 1);
    assert_eq!(moves(&receiver), []);
    assert_eq!(inbound(&receiver, &wire(4500), secs(13)).deliver.len(), 1);
    assert_eq!(moves(&receiver), [(A.to_owned(), 4500)]);
}

fn kept(engine: &Engine) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(transmit) = engine.poll_transmit() {
        assert!(matches!(transmit.route, Route::Keepalive { .. }));
        packets.push(transmit.packet.as_slice().to_vec());
    }
    packets
}

const KEEP: SaOptions = SaOptions {
    original: None,
    keepalive: true,
    tfc_bytes: 0,
    fragment_bytes: 0,
};

/// Runs every timer that is due until `end`, and says when something was sent.
fn run_until(engine: &Engine, end: u64) -> Vec<u64> {
    let mut times = Vec::new();
    while let Some(due) = engine.poll_timeout().filter(|due| *due <= secs(end)) {
        engine.handle_timeout(due);
        for _ in kept(engine) {
            times.push(due.secs() - START.secs());
        }
    }
    times
}

//= https://www.rfc-editor.org/rfc/rfc3948#section-4
//# keepalives are sent by who sits behind the NAT, when the line is idle
#[test]
fn idle_mappings_are_kept_alive() {
    for (source, destination) in [(A, B), (A6, B6)] {
        let (sender, receiver) = (engine(), engine());
        let outer = encapsulated(0x1000, source, destination, KEEP);
        sender.sad_add(outer.clone(), START).unwrap();
        // A second SA of the same mapping, one towards another peer without a NAT, and the way back.
        sender
            .sad_add(encapsulated(0x1001, source, destination, KEEP), START)
            .unwrap();
        sender
            .sad_add(encapsulated(0x1002, source, source, SaOptions::default()), START)
            .unwrap();
        let protect = Action::Protect(require(Mode::Transport, None));
        sender
            .spd_add(policy(Direction::Outbound, source, destination, protect), START)
            .unwrap();
        assert_eq!(sender.poll_timeout(), Some(secs(20)));
        sender.handle_timeout(secs(19));
        assert_eq!(kept(&sender).len(), 0);
        sender.handle_timeout(secs(20));
        let packets = kept(&sender);
        assert_eq!(packets.len(), 1, "one for the mapping, not one for each SA");
        let summary = Summary::parse(&packets[0]).unwrap();
        assert_eq!(
            (summary.source, summary.destination),
            (ip(source), ip(destination))
        );
        let datagram_seen = udp::Packet::new_checked(summary.payload(&packets[0])).unwrap();
        assert_eq!(datagram_seen.payload(), [0xff]);
        assert_eq!(
            (datagram_seen.source_port(), datagram_seen.destination_port()),
            (4500, 4500)
        );
        assert!(datagram_seen.checksum_is_right(summary.source, summary.destination));
        assert_eq!(
            udp_encap::classify(datagram_seen.payload()),
            udp_encap::Kind::Keepalive
        );
        // The other end swallows it.
        assert_eq!(refused_inbound(&receiver, &packets[0]), DropReason::Keepalive);
        // Traffic takes its place.
        let out = outbound(&sender, &datagram(source, destination), secs(35));
        assert_eq!(out.transmit.len(), 1);
        assert_eq!(run_until(&sender, 100), [55, 75, 95]);
        sender.configure(Setting::KeepaliveSecs(0)).unwrap();
        assert!(run_until(&sender, 1000).is_empty());
    }
}

/// CVE-2026-31406, row 36: nothing is sent for an SA that left, whatever was due.
// bug-row: 36
#[test]
fn row_36_no_keepalive_after_shutdown() {
    let gone = |remove: &dyn Fn(&Engine)| {
        for polled_late in [false, true] {
            let engine = engine();
            engine.sad_add(encapsulated(0x1000, A, B, KEEP), START).unwrap();
            if polled_late {
                // It is due and made, and nobody has taken it when the SA goes.
                engine.handle_timeout(secs(20));
                assert!(engine.has_transmits());
            }
            remove(&engine);
            assert_eq!(kept(&engine).len(), 0);
            assert!(run_until(&engine, 10_000).is_empty());
            assert_eq!(engine.poll_timeout(), None, "no timer is armed again");
        }
    };
    gone(&|engine| assert_eq!(engine.sad_flush(None), 1));
    let id = encapsulated(0x1000, A, B, KEEP).id;
    gone(&|engine| assert!(engine.sad_delete(&id, None).is_ok()));
    gone(&|engine| {
        assert_eq!(engine.sad_delete_pair(Protocol::Esp, ip(A), ip(B)).len(), 1);
    });
}

#[test]
fn a_keepalive_needs_a_mapping() {
    let bare = SaParams {
        options: KEEP,
        ..sa(0x1000, A, B, Mode::Transport)
    };
    let refused = engine().sad_add(bare, START).unwrap_err();
    assert_eq!(refused, crate::error::Error::OutOfRange { field: "keepalive" });
    let mixed = SaOptions {
        original: Some((ip(A6), ip(B))),
        ..SaOptions::default()
    };
    let refused = engine()
        .sad_add(encapsulated(0x1000, A, B, mixed), START)
        .unwrap_err();
    assert_eq!(refused, crate::error::Error::InvalidSelector);
}

/// The NAT's other end sends keepalives too: they open nothing and move nobody.
#[test]
fn keepalives_from_anywhere_change_nothing() {
    let (_, receiver) = behind_nat(PRIVATE, A, B, SaOptions::default());
    for port in [4500, 60_000] {
        let keepalive = udp::packet(ip(A), ip(B), port, 4500, &[0xff]).unwrap();
        assert_eq!(refused_inbound(&receiver, &keepalive), DropReason::Keepalive);
    }
    assert_eq!(moves(&receiver), []);
    let bare = any_ip::packet(ip(A), ip(B), protocol::UDP, &[0xff]).unwrap();
    let _whatever = inbound(&receiver, &bare, START);
    assert_eq!(moves(&receiver), []);
}
