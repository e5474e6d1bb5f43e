//! Buffers with no room to spare: a packet passes whole or is dropped for just that, and nothing panics.
//! No hostile bytes may enter.
//! Answers to: ARCHITECTURE.md C.1 (growing past either end is an error).

use super::{A, A6, B, B6, START, connect, delivered, engine, ip, only_one_cell_moved, require, sa, sealed};
use crate::buffer::{HEADROOM, PacketBuf, TAILROOM};
use crate::crypto::AlgorithmKey;
use crate::engine::{Batch, Engine, Output};
use crate::error::DropReason;
use crate::sa::SaParams;
use crate::terms::{Mode, Protocol};
use crate::wire::{fragment, udp};

/// More than one SA adds at either end.
const PLENTY: usize = 120;

/// A datagram that already has what AH would give it.
fn datagram(source: &str, destination: &str) -> Vec<u8> {
    let mut packet = udp::packet(ip(source), ip(destination), 9, 9, &[7; 1000]).unwrap();
    fragment::ensure_identification(&mut packet, 9);
    packet
}

/// A buffer of which `front` bytes before `packet` and `back` bytes behind it are all that is left.
fn with_room(packet: &[u8], front: usize, back: usize) -> PacketBuf {
    let mut buf = PacketBuf::with_capacity(front + packet.len() + back - HEADROOM - TAILROOM);
    buf.push_front(HEADROOM - front).unwrap();
    buf.truncate(0);
    buf.extend_back(packet.len()).unwrap().copy_from_slice(packet);
    assert!(buf.extend_back(back + 1).is_err());
    buf
}

/// Sends the packet out of each size of room; what leaves must open, and how often it left is given back.
fn squeezed_out(sender: &Engine, receiver: &Engine, clear: &[u8], rooms: &[(usize, usize)]) -> usize {
    let mut passed = 0;
    for (front, back) in rooms {
        let before = sender.stats();
        let (mut out, mut batch) = (
            Output::default(),
            Batch::from(vec![with_room(clear, *front, *back)]),
        );
        sender.handle_outbound(&mut batch, START, &mut out);
        if let Some(dropped) = out.dropped.first() {
            assert_eq!(dropped.reason, DropReason::NoBuffer, "{front} {back}");
            only_one_cell_moved(&before, &sender.stats(), dropped.reason);
        } else {
            assert_eq!(delivered(receiver, out.transmit[0].packet.as_slice()), clear);
            passed += 1;
        }
    }
    passed
}

fn suites(source: &str, destination: &str, mode: Mode) -> Vec<SaParams> {
    let aead = sa(0x1000, source, destination, mode);
    let with_mac = |name: &str, key: &[u8]| SaParams {
        encryption: Some(AlgorithmKey::new(name, key)),
        authentication: Some(AlgorithmKey::new("hmac-sha2-512-256", &[7; 64])),
        ..aead.clone()
    };
    let mut ah = with_mac("null", &[]);
    ah.encryption = None;
    ah.id.protocol = Protocol::Ah;
    vec![
        with_mac("aes-cbc", &[3; 16]),
        with_mac("null", &[]),
        ah,
        aead.clone(),
    ]
}

// bug-row: 50
#[test]
fn a_packet_leaves_whole_or_not_at_all() {
    for ((source, destination), mode) in [(A, B), (A6, B6)]
        .into_iter()
        .flat_map(|ends| [(ends, Mode::Transport), (ends, Mode::Tunnel)])
    {
        for params in suites(source, destination, mode) {
            let (sender, receiver) = (engine(), engine());
            let mut templates = require(mode, (mode == Mode::Tunnel).then_some((source, destination)));
            templates[0].protocol = params.id.protocol;
            connect(&sender, &receiver, &[params], (source, destination), &templates);
            let clear = datagram(source, destination);
            let front: Vec<_> = (0..PLENTY).map(|front| (front, PLENTY)).collect();
            let back: Vec<_> = (0..PLENTY).map(|back| (PLENTY, back)).collect();
            for rooms in [&front, &back] {
                let passed = squeezed_out(&sender, &receiver, &clear, rooms);
                assert!(passed > 0, "a room of {PLENTY} is enough");
            }
            let without = squeezed_out(&sender, &receiver, &clear, &[(0, 0), (1, 0), (0, 1)]);
            assert_eq!(without, 0);
        }
    }
}

// bug-row: 50
#[test]
fn a_packet_is_opened_without_any_room() {
    for ((source, destination), mode) in [(A, B), (A6, B6)]
        .into_iter()
        .flat_map(|ends| [(ends, Mode::Transport), (ends, Mode::Tunnel)])
    {
        for params in suites(source, destination, mode) {
            let (sender, receiver) = (engine(), engine());
            let mut templates = require(mode, (mode == Mode::Tunnel).then_some((source, destination)));
            templates[0].protocol = params.id.protocol;
            connect(&sender, &receiver, &[params], (source, destination), &templates);
            let clear = datagram(source, destination);
            let wire = sealed(&sender, &clear);
            let (mut out, mut batch) = (Output::default(), Batch::from(vec![with_room(&wire, 0, 0)]));
            receiver.handle_inbound(&mut batch, START, &mut out);
            assert_eq!(out.deliver[0].as_slice(), clear);
        }
    }
}
