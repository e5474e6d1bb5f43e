//! IPComp through the whole engine: modes, families, CPIs, bundles, and packets that are sent as they are.
//! The bytes of a DEFLATE stream may not enter: `crypto/compress` has them; hostile packets: `ipcomp_hostile`.
//! Answers to: RFC 3173 sections 2 and 3, RFC 4301 section 5.2.

use super::*;
use crate::engine::{IpCompStats, Setting};
use crate::error::Error;
use crate::terms::Cpi;
use crate::wire::ip::Summary;
use crate::wire::{ipcomp, protocol};

/// As [`sa`], with IPComp.
pub(super) fn compressing(spi: u32, source: &str, destination: &str, mode: Mode) -> SaParams {
    let esp = sa(spi, source, destination, mode);
    SaParams {
        id: SaId {
            protocol: Protocol::IpComp,
            ..esp.id
        },
        encryption: Some(AlgorithmKey::new("deflate", &[])),
        replay_window: 0,
        ..esp
    }
}

/// As [`compressing`], with the SPI's low half on the wire.
fn raw(spi: u32) -> SaParams {
    SaParams {
        raw_cpi: true,
        ..compressing(spi, A, B, Mode::Transport)
    }
}

pub(super) fn want(protocol: Protocol, mode: Mode, ends: Option<(&str, &str)>) -> Template {
    Template {
        protocol,
        ..template(mode, Level::Require, ends)
    }
}

fn around(payload: &[u8], (source, destination): (&str, &str)) -> Vec<u8> {
    udp::packet(ip(source), ip(destination), 5000, 7, payload).unwrap()
}

pub(super) fn text(ends: (&str, &str)) -> Vec<u8> {
    around(&b"the quick brown fox jumps over the lazy dog; ".repeat(20), ends)
}

fn noise(ends: (&str, &str)) -> Vec<u8> {
    around(&noise_bytes(500), ends)
}

pub(super) fn noise_bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// A pair of engines with one IPComp SA and its policy.
pub(super) fn pair(mode: Mode, (source, destination): (&str, &str)) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let ends = (mode == Mode::Tunnel).then_some((source, destination));
    connect(
        &sender,
        &receiver,
        &[compressing(0x1000, source, destination, mode)],
        (source, destination),
        &[want(Protocol::IpComp, mode, ends)],
    );
    (sender, receiver)
}

/// Whether nothing happened to a packet but a new header checksum.
pub(super) fn same(got: Vec<u8>, packet: &[u8]) -> bool {
    super::ah::same_packet(&got, packet)
}

pub(super) fn next_layer(packet: &[u8]) -> u8 {
    Summary::parse(packet).unwrap().next_layer
}

fn cpi(packet: &[u8]) -> Cpi {
    let summary = Summary::parse(packet).unwrap();
    assert_eq!(summary.next_layer, protocol::IPCOMP);
    ipcomp::Packet::new_checked(summary.payload(packet))
        .unwrap()
        .cpi()
}

#[test]
fn both_modes_in_both_families() {
    for ends in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(mode, ends);
            let packet = text(ends);
            let wire = sealed(&sender, &packet);
            assert!(wire.len() < packet.len() / 2, "{mode:?}: {}", wire.len());
            assert_eq!(cpi(&wire), Cpi::DEFLATE);
            // There is no number to tell a copy by.
            for _ in 0..2 {
                assert!(same(delivered(&receiver, &wire), &packet));
            }
            let view = sender.sad_dump(None).remove(0);
            assert_eq!((view.packets, view.sequence), (1, 0));
        }
    }
}

#[test]
fn one_family_in_the_other() {
    for (outer, inner) in [((A6, B6), (A, B)), ((A, B), (A6, B6))] {
        let (sender, receiver) = (engine(), engine());
        let templates = [want(Protocol::IpComp, Mode::Tunnel, Some(outer))];
        let sas = [compressing(0x1000, outer.0, outer.1, Mode::Tunnel)];
        connect(&sender, &receiver, &sas, inner, &templates);
        for (packet, carried) in [
            (text(inner), protocol::IPCOMP),
            (noise(inner), next_layer_of(inner)),
        ] {
            let wire = sealed(&sender, &packet);
            assert_eq!(next_layer(&wire), carried);
            assert_eq!(delivered(&receiver, &wire), packet);
        }
    }
}

/// What a whole packet of that family is called in another one.
fn next_layer_of((source, _): (&str, &str)) -> u8 {
    if ip(source).is_ipv4() {
        protocol::IPV4
    } else {
        protocol::IPV6
    }
}

//= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
//# if header and compressed payload are not shorter than the payload, the packet is sent as it was, without header
//= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
//# a receiver takes the packets that were not worth compressing
#[test]
fn what_does_not_shrink_travels_as_it_is() {
    for ends in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(mode, ends);
            for packet in [noise(ends), around(b"short", ends)] {
                let wire = sealed(&sender, &packet);
                if mode == Mode::Transport {
                    assert!(same(wire.clone(), &packet));
                } else {
                    assert_eq!(next_layer(&wire), next_layer_of(ends));
                    assert!(wire.ends_with(&packet));
                }
                assert!(same(delivered(&receiver, &wire), &packet));
            }
            let stats = sender.stats().ipcomp;
            assert_eq!((stats.plain_small.packets, stats.plain_useless.packets), (1, 1));
            assert_eq!(stats.compressed.packets, 0);
            assert_eq!(sender.sad_dump(None)[0].packets, 2, "the SA served them");
            let bare = receiver.stats().ipcomp.bare.packets;
            assert_eq!(bare, if mode == Mode::Tunnel { 2 } else { 0 });
        }
    }
}

/// The same bytes, one longer each time: no packet ever gets longer, and each arrives as it was.
#[test]
fn no_packet_gets_longer() {
    for mode in [Mode::Transport, Mode::Tunnel] {
        let (sender, receiver) = pair(mode, (A, B));
        sender.configure(Setting::IpCompThreshold(0)).unwrap();
        sender.configure(Setting::IpCompBackOff(0)).unwrap();
        let outer = if mode == Mode::Tunnel { 20 } else { 0 };
        let mut shorter = 0;
        for bytes in 0..400 {
            let payload: Vec<u8> = (0..bytes).map(|at: usize| (at * at % 23) as u8).collect();
            let packet = around(&payload, (A, B));
            let wire = sealed(&sender, &packet);
            assert!(wire.len() <= packet.len() + outer, "{bytes}");
            shorter += usize::from(next_layer(&wire) == protocol::IPCOMP);
            assert_eq!(
                next_layer(&wire) == protocol::IPCOMP,
                wire.len() < packet.len() + outer
            );
            assert!(same(delivered(&receiver, &wire), &packet));
        }
        assert!(shorter > 200, "{shorter}");
    }
}

#[test]
fn the_threshold_counts_what_it_is_told_to() {
    let zeros = |bytes: usize, ends| around(&vec![0; bytes - 8], ends);
    for (ends, header) in [((A, B), 20), ((A6, B6), 40)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, _) = pair(mode, ends);
            let compressed = |bytes| next_layer(&sealed(&sender, &zeros(bytes, ends))) == protocol::IPCOMP;
            // In a tunnel the inner header is payload.
            let payload = if mode == Mode::Tunnel { 90 - header } else { 90 };
            assert!(!compressed(payload - 1) && compressed(payload));
            // What FreeBSD does: packets of 90 bytes, with all headers, are too small.
            sender.configure(Setting::IpCompThreshold(91)).unwrap();
            sender
                .configure(Setting::IpCompThresholdCountsHeaders(true))
                .unwrap();
            let payload = if mode == Mode::Tunnel {
                91 - 2 * header
            } else {
                91 - header
            };
            assert!(!compressed(payload - 1) && compressed(payload));
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
//# a node may stop compressing for a time when payloads turn out not to shrink
#[test]
fn after_failures_packets_are_left_alone_for_a_while() {
    let (sender, _) = pair(Mode::Transport, (A, B));
    sender.configure(Setting::IpCompBackOff(3)).unwrap();
    let send = |packets: usize, packet: &[u8]| {
        for _ in 0..packets {
            sealed(&sender, packet);
        }
        let IpCompStats {
            compressed,
            plain_useless,
            plain_backed_off,
            ..
        } = sender.stats().ipcomp;
        [compressed, plain_useless, plain_backed_off].map(|count| count.packets)
    };
    let (good, bad) = (text((A, B)), noise((A, B)));
    assert_eq!(send(3, &bad), [0, 3, 0]);
    assert_eq!(send(1, &good), [1, 3, 0], "a success begins the count anew");
    assert_eq!(send(4, &bad), [1, 7, 0]);
    assert_eq!(send(3, &good), [1, 7, 3], "what they are is not looked at");
    assert_eq!(send(1, &bad), [1, 8, 3], "one try");
    assert_eq!(send(3, &bad), [1, 8, 6]);
    assert_eq!(send(2, &good), [3, 8, 6], "one that shrinks ends it");
    assert_eq!(send(3, &bad), [3, 11, 6]);
    sender.configure(Setting::IpCompBackOff(0)).unwrap();
    assert_eq!(send(20, &bad), [3, 31, 6]);
}

//= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
//# CPIs 0 to 63 name well-known algorithms, which need no further agreement
//= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
//# a negotiated CPI names an SA together with the destination; a well-known one names just an algorithm
#[test]
fn a_cpi_is_the_spis_or_the_algorithms() {
    let (known, agreed) = (compressing(0x1000, A, B, Mode::Transport), raw(0xabcd_1000));
    for (params, shown) in [(&known, Cpi::DEFLATE), (&agreed, Cpi(0x1000)), (&raw(2), Cpi(2))] {
        let (sender, receiver) = (engine(), engine());
        let templates = [want(Protocol::IpComp, Mode::Transport, None)];
        connect(
            &sender,
            &receiver,
            std::slice::from_ref(params),
            (A, B),
            &templates,
        );
        let wire = sealed(&sender, &text((A, B)));
        assert_eq!(cpi(&wire), shown);
        assert!(same(delivered(&receiver, &wire), &text((A, B))));
        // A receiver knows the SA by either.
        for other in [Cpi::DEFLATE, Cpi::of_low_half(params.id.spi)] {
            let mut wire = wire.clone();
            wire[22..24].copy_from_slice(&other.0.to_be_bytes());
            assert!(same(delivered(&receiver, &wire), &text((A, B))));
        }
        for nobodys in [1, 3, 4, 63, 64, 0x1001, 0xabcd, 0xffff] {
            let mut wire = wire.clone();
            wire[22..24].copy_from_slice(&u16::to_be_bytes(nobodys));
            assert_eq!(refused_inbound(&receiver, &wire), DropReason::InNoSa);
        }
    }
}

#[test]
fn of_several_sas_the_one_that_serves_is_found() {
    let (sender, receiver) = pair(Mode::Transport, (A, B));
    let wire = sealed(&sender, &text((A, B)));
    let packets = |spi| receiver.sad_lookup(&raw(spi).id).unwrap().packets;
    // Two SAs with one CPI, and a newer one that ends at once.
    receiver.sad_add(raw(0x5_1000), START).unwrap();
    let short = SaParams {
        hard: Limits {
            packets: 1,
            ..Limits::default()
        },
        ..raw(0x6_1000)
    };
    receiver.sad_add(short, START).unwrap();
    for _ in 0..3 {
        assert!(same(delivered(&receiver, &wire), &text((A, B))));
    }
    assert_eq!((packets(0x1000), packets(0x5_1000)), (0, 2));
    let mut by_cpi = wire.clone();
    by_cpi[22..24].copy_from_slice(&[0x10, 0]);
    assert!(same(delivered(&receiver, &by_cpi), &text((A, B))));
    assert_eq!((packets(0x1000), packets(0x5_1000)), (0, 3));
    receiver.sad_delete(&raw(0x5_1000).id, None).unwrap();
    assert!(same(delivered(&receiver, &by_cpi), &text((A, B))));
    assert_eq!(packets(0x1000), 1);
}

#[test]
fn what_no_sa_can_be() {
    let engine = engine();
    let plain = compressing(0x1000, A, B, Mode::Transport);
    let with_spi = |spi, raw_cpi| SaParams {
        raw_cpi,
        ..compressing(spi, A, B, Mode::Transport)
    };
    for params in [
        with_spi(0x1_0000, false),
        with_spi(0x1_0000, true),
        with_spi(0xffff_0003, true),
        with_spi(63, true),
        with_spi(0, false),
    ] {
        assert_eq!(engine.sad_add(params, START), Err(Error::InvalidSpi));
    }
    let unknown = |name: &str| Error::UnknownAlgorithm {
        name: name.to_owned(),
    };
    for name in ["lzs", "aes-cbc"] {
        let params = SaParams {
            encryption: Some(AlgorithmKey::new(name, &[])),
            ..plain.clone()
        };
        assert_eq!(engine.sad_add(params, START), Err(unknown(name)));
    }
    let mac = Some(AlgorithmKey::new("hmac-sha1-96", &[1; 20]));
    let encap = Some(crate::sa::UdpEncap {
        source_port: 4500,
        destination_port: 4500,
    });
    for params in [
        SaParams {
            encryption: None,
            ..plain.clone()
        },
        SaParams {
            authentication: mac,
            ..plain.clone()
        },
        SaParams {
            esn: true,
            ..plain.clone()
        },
        SaParams {
            old: true,
            ..plain.clone()
        },
        SaParams {
            encap,
            ..plain.clone()
        },
    ] {
        assert_eq!(engine.sad_add(params, START), Err(Error::UnsupportedCombination));
    }
    assert!(engine.sad_dump(None).is_empty());
    for params in [with_spi(1, false), with_spi(64, true), with_spi(0xffff, false)] {
        engine.sad_add(params, START).unwrap();
    }
}

/// `ipcomp … esp … ah …`: compression is innermost, and every packet is protected whether it shrinks or not.
//= https://www.rfc-editor.org/rfc/rfc3173#section-2
//# compression comes before AH, ESP and fragmentation, decompression after them
#[test]
fn bundles() {
    for ends in [(A, B), (A6, B6)] {
        for outer_mode in [Mode::Transport, Mode::Any] {
            for mode in [Mode::Transport, Mode::Tunnel] {
                let (sender, receiver) = (engine(), engine());
                let esp = sa(0x2000, ends.0, ends.1, outer_mode);
                let ah = super::ah::ah_sa(0x3000, ends.0, ends.1, Mode::Transport);
                let sas = [compressing(0x1000, ends.0, ends.1, mode), esp, ah];
                let tunnel = (mode == Mode::Tunnel).then_some(ends);
                let templates = [
                    want(Protocol::IpComp, mode, tunnel),
                    want(Protocol::Esp, Mode::Transport, None),
                    want(Protocol::Ah, Mode::Transport, None),
                ];
                connect(&sender, &receiver, &sas, ends, &templates);
                for (packet, inflated) in [(text(ends), 1), (noise(ends), 0)] {
                    let wire = sealed(&sender, &packet);
                    assert_eq!(next_layer(&wire), protocol::AH);
                    let before = receiver.stats().ipcomp.inflated.packets;
                    assert!(
                        same(delivered(&receiver, &wire), &packet),
                        "{mode:?} {outer_mode:?}"
                    );
                    assert_eq!(receiver.stats().ipcomp.inflated.packets, before + inflated);
                    assert_eq!(refused_inbound(&receiver, &wire), DropReason::Replay);
                }
                // Without what protects it, neither form is taken.
                for packet in [text(ends), noise(ends)] {
                    let bare = Action::Protect(vec![templates[0]]);
                    sender
                        .spd_update(policy(Direction::Outbound, ends.0, ends.1, bare), START)
                        .unwrap();
                    let wire = sealed(&sender, &packet);
                    assert_eq!(refused_inbound(&receiver, &wire), DropReason::InPolicyViolation);
                }
            }
        }
    }
}

/// Two IPComp SAs in one policy: whichever gets something to do first, the other leaves the packet alone.
#[test]
fn one_level_only() {
    let (sender, receiver) = (engine(), engine());
    let sas = [
        SaParams {
            reqid: 1,
            ..compressing(0x1000, A, B, Mode::Transport)
        },
        SaParams {
            reqid: 2,
            ..compressing(0x1001, A, B, Mode::Tunnel)
        },
    ];
    let templates = [
        Template {
            reqid: 1,
            ..want(Protocol::IpComp, Mode::Transport, None)
        },
        Template {
            reqid: 2,
            ..want(Protocol::IpComp, Mode::Tunnel, Some((A, B)))
        },
    ];
    connect(&sender, &receiver, &sas, (A, B), &templates);
    // So regular that what comes out of the first could be compressed again.
    let packet = around(&[0; 30_000], (A, B));
    let wire = sealed(&sender, &packet);
    assert_eq!(next_layer(&wire), protocol::IPV4);
    assert_eq!(next_layer(&wire[20..]), protocol::IPCOMP);
    assert!(same(delivered(&receiver, &wire), &packet));
    let stats = sender.stats().ipcomp;
    assert_eq!((stats.compressed.packets, stats.plain_nested.packets), (1, 1));
    // What somebody else compressed is not compressed again either.
    let (sender, receiver) = pair(Mode::Transport, (B, A));
    let header = [protocol::UDP, 0, 0x77, 0x77];
    let theirs = [&header[..], &[0; 500]].concat();
    let packet = crate::wire::ip::packet(ip(B), ip(A), protocol::IPCOMP, &theirs).unwrap();
    assert!(same(sealed(&sender, &packet), &packet));
    assert_eq!(sender.stats().ipcomp.plain_nested.packets, 1);
    assert_eq!(refused_inbound(&receiver, &packet), DropReason::InNoSa);
}

#[test]
fn a_journey_says_why_a_packet_was_left_as_it_was() {
    let (sender, _) = pair(Mode::Transport, (A, B));
    let out = outbound(&sender, &around(b"short", (A, B)), START);
    let told: Vec<_> = out
        .journey
        .unwrap()
        .iter()
        .map(super::super::Step::describe)
        .collect();
    let wanted = "left as it was by ipcomp 0x00001000 for 192.0.2.2: below the threshold";
    assert!(told.iter().any(|line| line == wanted), "{told:?}");
}
