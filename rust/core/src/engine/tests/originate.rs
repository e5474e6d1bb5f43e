//! Dummies and padding: traffic that says nothing, and lengths that say nothing.
//! Keepalives are `nat.rs`'.
//! Answers to: RFC 4303 sections 2.6 and 2.7; `docs/bug-classes.md` row 29.

use super::fragments::pair_of;
use super::*;
use crate::engine::{Route, Setting};
use crate::error::Error;
use crate::sa::{SaOptions, UdpEncap};
use crate::wire::ip::Summary;

fn one_dummy(engine: &Engine) -> Vec<u8> {
    let transmit = engine.poll_transmit().unwrap();
    assert!(matches!(transmit.route, Route::Protected { .. }));
    assert!(engine.poll_transmit().is_none());
    transmit.packet.as_slice().to_vec()
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.6
//# a dummy packet can be sent by choice
#[test]
fn dummies_look_like_packets_and_are_swallowed() {
    for ends in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            for encap in [None, Some(4500)] {
                let (sender, receiver) = (engine(), engine());
                let params = SaParams {
                    encap: encap.map(|port| UdpEncap {
                        source_port: port,
                        destination_port: port,
                    }),
                    ..sa(0x1000, ends.0, ends.1, mode)
                };
                let id = params.id;
                let templates = require(mode, (mode == Mode::Tunnel).then_some(ends));
                connect(&sender, &receiver, &[params], ends, &templates);
                for bytes in [0, 1, 100, 1400, 60_000] {
                    sender.send_dummy(&id, bytes, START).unwrap();
                    let wire = one_dummy(&sender);
                    let summary = Summary::parse(&wire).unwrap();
                    assert_eq!((summary.source, summary.destination), (ip(ends.0), ip(ends.1)));
                    assert!(wire.len() > bytes);
                    assert_eq!(refused_inbound(&receiver, &wire), DropReason::Dummy);
                    assert_eq!(refused_inbound(&receiver, &wire), DropReason::Replay);
                }
                assert_eq!(sender.stats().dummies_sent.packets, 5);
                assert_eq!(sender.sad_dump(None)[0].packets, 5, "they count like others");
                // And others still pass between them.
                let packet = datagram(ends.0, ends.1);
                assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
            }
        }
    }
}

#[test]
fn a_dummy_fits_the_path_and_has_an_sa() {
    let (sender, _) = pair_of(Mode::Tunnel, (A, B), (A, B));
    sender.configure(Setting::PathMtu(1000)).unwrap();
    let id = sa(0x1000, A, B, Mode::Tunnel).id;
    sender.send_dummy(&id, 5000, START).unwrap();
    let wire = one_dummy(&sender);
    assert!(wire.len() <= 1000 && wire.len() > 990);
    assert_eq!(
        sender.send_dummy(&id, 60_001, START),
        Err(Error::OutOfRange { field: "bytes" })
    );
    let ah = SaId {
        protocol: Protocol::Ah,
        ..id
    };
    assert_eq!(
        sender.send_dummy(&ah, 1, START),
        Err(Error::UnsupportedCombination)
    );
    assert_eq!(
        sender.send_dummy(&SaId { spi: Spi(7), ..id }, 1, START),
        Err(Error::NotFound)
    );
    while sender.send_dummy(&id, 1, START).is_ok() {}
    assert_eq!(sender.send_dummy(&id, 1, START), Err(Error::Full));
    assert_eq!(sender.sad_flush(None), 1);
    assert!(
        sender.poll_transmit().is_none(),
        "nothing leaves for an SA that is gone"
    );
}

fn padded(tfc_bytes: u16, ends: (&str, &str), hosts: (&str, &str)) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let params = SaParams {
        options: SaOptions {
            tfc_bytes,
            ..SaOptions::default()
        },
        ..sa(0x1000, ends.0, ends.1, Mode::Tunnel)
    };
    connect(
        &sender,
        &receiver,
        &[params],
        hosts,
        &require(Mode::Tunnel, Some(ends)),
    );
    for engine in [&sender, &receiver] {
        engine.configure(Setting::DecrementHopLimit(false)).unwrap();
    }
    (sender, receiver)
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.7
//# traffic flow padding is added only where the payload says its own length
#[test]
fn short_packets_are_padded_and_come_out_as_they_were() {
    for (ends, hosts) in [
        ((A, B), ("10.0.1.1", "10.0.2.1")),
        ((A6, B6), ("10.0.1.1", "10.0.2.1")),
        ((A, B), ("fd00::1", "fd01::1")),
        ((A6, B6), ("fd00::1", "fd01::1")),
    ] {
        let (sender, receiver) = padded(1000, ends, hosts);
        let mut lengths = std::collections::BTreeSet::new();
        for bytes in [0, 1, 40, 500, 900] {
            let packet = udp::packet(ip(hosts.0), ip(hosts.1), 1, 2, &vec![7; bytes]).unwrap();
            let wire = sealed(&sender, &packet);
            lengths.insert(wire.len());
            assert_eq!(delivered(&receiver, &wire), packet);
        }
        assert_eq!(lengths.len(), 1, "all look the same");
        // What is longer is not cut, and padding never makes a packet too long for the path.
        let long = udp::packet(ip(hosts.0), ip(hosts.1), 1, 2, &[7; 1200]).unwrap();
        let wire = sealed(&sender, &long);
        assert!(wire.len() > *lengths.first().unwrap());
        assert_eq!(delivered(&receiver, &wire), long);
        sender.configure(Setting::PathMtu(700)).unwrap();
        let packet = udp::packet(ip(hosts.0), ip(hosts.1), 1, 2, &[7; 30]).unwrap();
        let wire = sealed(&sender, &packet);
        assert!((690..=700).contains(&wire.len()), "{}", wire.len());
        assert_eq!(delivered(&receiver, &wire), packet);
    }
}

#[test]
fn padding_is_for_esp_in_tunnels() {
    let options = SaOptions {
        tfc_bytes: 500,
        ..SaOptions::default()
    };
    let esp = sa(0x1000, A, B, Mode::Transport);
    let ah = SaParams {
        id: SaId {
            protocol: Protocol::Ah,
            ..esp.id
        },
        encryption: None,
        authentication: Some(AlgorithmKey::new("hmac-sha1-96", &[1; 20])),
        options,
        ..esp.clone()
    };
    assert_eq!(
        engine().sad_add(ah, START).unwrap_err(),
        Error::OutOfRange { field: "tfc_bytes" }
    );
    let (sender, receiver) = (engine(), engine());
    let params = SaParams { options, ..esp };
    connect(
        &sender,
        &receiver,
        &[params],
        (A, B),
        &require(Mode::Transport, None),
    );
    let wire = sealed(&sender, &datagram(A, B));
    assert!(
        wire.len() < 200,
        "transport mode cannot know a payload's own length"
    );
    assert_eq!(delivered(&receiver, &wire), datagram(A, B));
}

/// CVE-2022-27666, row 29: lengths up to 65,535 with every padding and ICV, and the most padding asked for.
// bug-row: 29
#[test]
fn row_29_the_longest_packets_fit_their_buffers_or_are_refused() {
    let keys = |cipher: (&str, usize), mac: Option<(&str, usize)>| {
        (
            Some(AlgorithmKey::new(cipher.0, &vec![3; cipher.1])),
            mac.map(|(name, bytes)| AlgorithmKey::new(name, &vec![4; bytes])),
        )
    };
    for (ends, hosts, mode) in [
        ((A, B), (A, B), Mode::Transport),
        ((A, B), ("10.0.1.1", "10.0.2.1"), Mode::Tunnel),
        ((A6, B6), ("fd00::1", "fd01::1"), Mode::Tunnel),
    ] {
        for (cipher, mac) in [
            (("aes-gcm-16", 20), None),
            (("aes-cbc", 16), Some(("hmac-sha2-512-256", 64))),
            (("null", 0), Some(("hmac-sha1-96", 20))),
        ] {
            let (encryption, authentication) = keys(cipher, mac);
            for tfc_bytes in [0, u16::MAX] {
                let (sender, receiver) = (engine(), engine());
                let params = SaParams {
                    encryption: encryption.clone(),
                    authentication: authentication.clone(),
                    options: SaOptions {
                        tfc_bytes,
                        ..SaOptions::default()
                    },
                    ..sa(0x1000, ends.0, ends.1, mode)
                };
                let templates = require(mode, (mode == Mode::Tunnel).then_some(ends));
                connect(&sender, &receiver, &[params], hosts, &templates);
                for engine in [&sender, &receiver] {
                    engine.configure(Setting::DecrementHopLimit(false)).unwrap();
                }
                let longest = if ip(hosts.0).is_ipv4() {
                    65_535 - 28
                } else {
                    65_535 - 8
                };
                let lengths = (0..40).chain(longest - 200..=longest);
                let (mut passed, mut refused) = (0, 0);
                for bytes in lengths {
                    let packet = udp::packet(ip(hosts.0), ip(hosts.1), 1, 2, &vec![7; bytes]).unwrap();
                    let out = outbound(&sender, &packet, START);
                    if let Some(dropped) = out.dropped.first() {
                        assert_eq!(dropped.reason, DropReason::OutTooBig);
                        refused += 1;
                    } else {
                        let wire = out.transmit[0].packet.as_slice();
                        assert_eq!(delivered(&receiver, wire), packet, "{bytes}");
                        passed += 1;
                    }
                }
                assert!(passed >= 40 && refused >= 1, "{passed} {refused}");
            }
        }
    }
}
