//! IPComp from a hostile sender, and tunnels that are not compressed: who may speak for whom, and what it costs.
//! Ordinary traffic may not enter: `ipcomp` has it.
//! Answers to: RFC 3173 sections 2 and 5; CVE-2008-0177, CVE-2011-1547, CVE-2025-40215.

use super::fragments::pieces;
use super::ipcomp::{compressing, next_layer, pair, same, text, want};
use super::*;
use crate::crypto::compress::Deflate;
use crate::wire::ip::packet as packet_around;
use crate::wire::{ip as any_ip, protocol};
use proptest::prelude::*;

const ENDS: [(&str, &str); 2] = [(A, B), (A6, B6)];

/// IPComp around `stream`, from `ends.0` to `ends.1`.
fn carrying(ends: (&str, &str), next_header: u8, cpi: u16, stream: &[u8]) -> Vec<u8> {
    let [high, low] = cpi.to_be_bytes();
    let bytes = [&[next_header, 0, high, low], stream].concat();
    packet_around(ip(ends.0), ip(ends.1), protocol::IPCOMP, &bytes).unwrap()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let longest = data.len() + 1000;
    Deflate::default().deflate(data, longest).unwrap().to_vec()
}

/// A stream of one block that holds `data` as they are.
fn stored(data: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(data.len()).unwrap();
    let [low, high] = bytes.to_le_bytes();
    [&[1, low, high, !low, !high], data].concat()
}

/// The SA is as good as before: whatever it got, the next good packet passes.
fn still_serves(sender: &Engine, receiver: &Engine, ends: (&str, &str)) {
    let wire = sealed(sender, &text(ends));
    assert!(same(delivered(receiver, &wire), &text(ends)));
}

/// CVE-2008-0177: the header at the end of the buffer. Here every part of a packet, with lengths that agree.
// bug-row: 7
#[test]
fn cut_at_every_byte() {
    for ends in ENDS {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(mode, ends);
            let wire = sealed(&sender, &text(ends));
            let payload = any_ip::Summary::parse(&wire).unwrap().payload(&wire);
            for bytes in 0..payload.len() {
                let cut = packet_around(ip(ends.0), ip(ends.1), protocol::IPCOMP, &payload[..bytes]).unwrap();
                let reason = if bytes < 4 {
                    DropReason::InMalformed
                } else {
                    DropReason::BadCompression
                };
                assert_eq!(refused_inbound(&receiver, &cut), reason, "{bytes}");
            }
            still_serves(&sender, &receiver, ends);
        }
    }
}

/// CVE-2011-1547: IPComp in IPComp in IPComp. The second header is one too many, however many follow.
//= https://www.rfc-editor.org/rfc/rfc3173#section-2
//# a datagram is compressed once: what comes out of an IPComp header is not another one
// bug-row: 8
#[test]
fn nested_at_every_depth() {
    for ends in ENDS {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(mode, ends);
            let mut packet = text(ends);
            let mut inner = any_ip::Summary::parse(&packet).unwrap().payload(&packet).to_vec();
            let mut next_header = protocol::UDP;
            for depth in 0..=1000 {
                if mode == Mode::Tunnel {
                    next_header = if ip(ends.0).is_ipv4() {
                        protocol::IPV4
                    } else {
                        protocol::IPV6
                    };
                    packet = carrying(ends, next_header, 2, &stored(&packet));
                } else {
                    packet = carrying(ends, next_header, 2, &stored(&inner));
                    inner = any_ip::Summary::parse(&packet).unwrap().payload(&packet).to_vec();
                    next_header = protocol::IPCOMP;
                }
                if depth == 0 {
                    assert!(same(delivered(&receiver, &packet), &text(ends)));
                } else {
                    assert_eq!(
                        refused_inbound(&receiver, &packet),
                        DropReason::InTooDeep,
                        "{depth}"
                    );
                }
            }
            still_serves(&sender, &receiver, ends);
        }
    }
}

/// IP-in-IP that was never compressed has no header to count by; the limit of all nesting holds for it.
// bug-row: 8
#[test]
fn bare_tunnels_in_bare_tunnels() {
    for ends in ENDS {
        let (sender, receiver) = pair(Mode::Tunnel, ends);
        let next_header = if ip(ends.0).is_ipv4() {
            protocol::IPV4
        } else {
            protocol::IPV6
        };
        let mut packet = text(ends);
        for depth in 1..=1000 {
            packet = packet_around(ip(ends.0), ip(ends.1), next_header, &packet).unwrap();
            let reason = match depth {
                1 => {
                    assert_eq!(delivered(&receiver, &packet), text(ends));
                    continue;
                }
                // Policy asks for one tunnel.
                2..=16 => DropReason::InPolicyViolation,
                _ => DropReason::InTooDeep,
            };
            assert_eq!(refused_inbound(&receiver, &packet), reason, "{depth}");
        }
        still_serves(&sender, &receiver, ends);
    }
}

#[test]
fn a_ratio_bomb_is_dropped_and_counted() {
    for ends in ENDS {
        let (sender, receiver) = pair(Mode::Transport, ends);
        let header = if ip(ends.0).is_ipv4() { 20 } else { 40 };
        let longest = 65_535 - header;
        for (bytes, reason) in [
            (longest + 1, DropReason::InflatesTooFar),
            (100_000, DropReason::InflatesTooFar),
            (10_000_000, DropReason::InflatesTooFar),
        ] {
            let bomb = carrying(ends, protocol::UDP, 2, &deflated(&vec![0; bytes]));
            assert!(bomb.len() < 60_000);
            assert_eq!(refused_inbound(&receiver, &bomb), reason);
        }
        assert_eq!(receiver.stats().ipcomp.inflated.packets, 0);
        // As long as a packet can be is no bomb.
        let most = carrying(ends, protocol::UDP, 2, &deflated(&vec![0; longest]));
        assert_eq!(delivered(&receiver, &most).len(), 65_535);
        still_serves(&sender, &receiver, ends);
    }
}

#[test]
fn bad_data_are_never_the_end_of_an_sa() {
    for ends in ENDS {
        let (sender, receiver) = pair(Mode::Transport, ends);
        let whole = deflated(b"some eight bytes and more");
        let mut wrong = whole.clone();
        wrong[0] |= 0b110;
        for stream in [b"".to_vec(), vec![0xff; 100], wrong] {
            let packet = carrying(ends, protocol::UDP, 2, &stream);
            assert_eq!(refused_inbound(&receiver, &packet), DropReason::BadCompression);
        }
        // A tunnel's SA carries whole packets, and only those; the version must be the one announced.
        let (_, receiver_of_tunnels) = pair(Mode::Tunnel, ends);
        for (next_header, data) in [
            (protocol::UDP, text(ends)),
            (protocol::IPV4, text(ENDS[1])),
            (protocol::IPV6, text(ENDS[0])),
            (protocol::IPV4, vec![0x45; 19]),
            (protocol::IPV6, vec![0x60; 39]),
            (protocol::IPV4, vec![]),
        ] {
            let packet = carrying(ends, next_header, 2, &deflated(&data));
            assert_eq!(
                refused_inbound(&receiver_of_tunnels, &packet),
                DropReason::BadPadding
            );
        }
        let view = receiver.sad_dump(None).remove(0);
        assert_eq!((view.state.name(), view.packets), ("mature", 0));
        still_serves(&sender, &receiver, ends);
    }
}

/// Pieces of what is compressed, and of a bare tunnel, wait for each other; the whole is what counts.
#[test]
fn a_fragment_is_not_inflated() {
    for ends in ENDS {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(mode, ends);
            let packet = text(ends);
            let number = if ends == (A, B) {
                protocol::IPV4
            } else {
                protocol::IPV6
            };
            let compressed = sealed(&sender, &packet);
            assert!(compressed.len() < packet.len());
            let bare = packet_around(ip(ends.0), ip(ends.1), number, &packet).unwrap();
            for wire in [compressed, bare] {
                if mode == Mode::Transport && next_layer(&wire) == number {
                    continue;
                }
                let mut got = Vec::new();
                let pieces = pieces(&wire, wire.len() - 8);
                assert!(pieces.len() > 1);
                for piece in &pieces {
                    assert!(got.is_empty(), "nothing is delivered before the last piece");
                    let out = inbound(&receiver, piece, START);
                    assert!(out.dropped.is_empty(), "{:?}", out.dropped);
                    got.extend(out.deliver);
                }
                assert!(got.len() == 1 && same(got[0].as_slice().to_vec(), &packet));
            }
        }
    }
}

/// Who has no IPComp SA in tunnel mode between just these ends is sent IP-in-IP like anything else.
//= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
//# a receiver takes the packets that were not worth compressing
#[test]
fn a_bare_tunnel_belongs_to_an_sa() {
    let inner = text((A, B));
    let bare = |source: &str| packet_around(ip(source), ip(B), protocol::IPV4, &inner).unwrap();
    let protected = || {
        let templates = vec![want(Protocol::IpComp, Mode::Tunnel, Some((A, B)))];
        let receiver = engine();
        receiver
            .spd_add(
                policy(Direction::Inbound, A, B, Action::Protect(templates)),
                START,
            )
            .unwrap();
        receiver
    };
    let passes_in_clear = |receiver: &Engine, packet: &[u8]| {
        assert!(!receiver.claims_bare(packet));
        assert_eq!(delivered(receiver, packet), packet, "the tunnel of somebody else");
        assert_eq!(receiver.stats().ipcomp.bare.packets, 0);
    };
    passes_in_clear(&protected(), &bare(A));
    for (params, serves) in [
        (compressing(0x1000, A, B, Mode::Tunnel), true),
        (compressing(0x1000, A, B, Mode::Any), true),
        (compressing(0x1000, A, B, Mode::Transport), false),
        (compressing(0x1000, "192.0.2.9", B, Mode::Tunnel), false),
        (sa(0x1000, A, B, Mode::Tunnel), false),
    ] {
        let receiver = protected();
        receiver.sad_add(params.clone(), START).unwrap();
        if serves {
            assert!(receiver.claims_bare(&bare(A)) && !receiver.claims_bare(&inner));
            assert_eq!(delivered(&receiver, &bare(A)), inner);
            let out = inbound(&receiver, &bare(A), START);
            let told: Vec<_> = out
                .journey
                .unwrap()
                .iter()
                .map(super::super::Step::describe)
                .collect();
            assert!(
                told.iter().any(|line| line.starts_with("outer header")),
                "{told:?}"
            );
            assert_eq!(receiver.stats().ipcomp.bare.packets, 2);
            assert_eq!(receiver.sad_lookup(&params.id).unwrap().packets, 2);
            // CVE-2025-40215: nothing outlives the SA.
            receiver.sad_flush(None);
            assert_eq!(inbound(&receiver, &bare(A), START).deliver[0].as_slice(), bare(A));
            assert_eq!(receiver.stats().ipcomp.bare.packets, 2);
        } else {
            passes_in_clear(&receiver, &bare(A));
        }
        passes_in_clear(&protected(), &bare("192.0.2.7"));
    }
    let ended = protected();
    let hard = Limits {
        packets: 1,
        ..Limits::default()
    };
    let once = SaParams {
        hard,
        ..compressing(0x1000, A, B, Mode::Tunnel)
    };
    ended.sad_add(once, START).unwrap();
    assert_eq!(delivered(&ended, &bare(A)), inner);
    assert_eq!(delivered(&ended, &bare(A)), bare(A), "the SA came to its end");
}

/// Two tunnels between the same ends, each for traffic of its own: a bare packet does not say whose it is.
//= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
//# a receiver takes the packets that were not worth compressing
#[test]
fn a_bare_tunnel_serves_whichever_sa_a_policy_means() {
    let receiver = engine();
    for reqid in [1, 2] {
        let source = format!("198.51.100.{reqid}");
        let params = SaParams {
            reqid,
            ..compressing(0x1000 + reqid, A, B, Mode::Tunnel)
        };
        receiver.sad_add(params, START).unwrap();
        let template = Template {
            reqid,
            level: Level::Unique,
            ..want(Protocol::IpComp, Mode::Tunnel, Some((A, B)))
        };
        let action = Action::Protect(vec![template]);
        receiver
            .spd_add(policy(Direction::Inbound, &source, B, action), START)
            .unwrap();
    }
    for reqid in [1, 2] {
        let inner = text((&format!("198.51.100.{reqid}"), B));
        let bare = packet_around(ip(A), ip(B), protocol::IPV4, &inner).unwrap();
        assert_eq!(delivered(&receiver, &bare), inner);
    }
}

/// What comes out of a bare tunnel is judged like what comes out of any other.
#[test]
fn a_bare_tunnel_speaks_for_nobody_else() {
    let (_, receiver) = pair(Mode::Tunnel, (A, B));
    let bare = |source: &str| {
        let inner = text((source, B));
        packet_around(ip(A), ip(B), protocol::IPV4, &inner).unwrap()
    };
    assert_eq!(delivered(&receiver, &bare(A)), text((A, B)));
    assert_eq!(
        refused_inbound(&receiver, &bare("192.0.2.66")),
        DropReason::InPolicyViolation
    );
    // Congestion is told through it as through any tunnel.
    let mut marked = bare(A);
    assert!(any_ip::set_traffic_class(&mut marked, 0b11));
    assert_eq!(refused_inbound(&receiver, &marked), DropReason::InEcnViolation);
}

#[test]
fn clear_packets_pass_where_policy_asks_for_nothing_but_ipcomp() {
    for ends in ENDS {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (_, receiver) = pair(mode, ends);
            assert_eq!(delivered(&receiver, &text(ends)), text(ends));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_behind_the_header(
        stream in proptest::collection::vec(any::<u8>(), 0..300),
        next_header: u8,
        cpi in prop_oneof![Just(2_u16), any::<u16>()],
        whole: bool,
        tunnel: bool,
        v6: bool,
    ) {
        let ends = ENDS[usize::from(v6)];
        let mode = if tunnel { Mode::Tunnel } else { Mode::Transport };
        let (sender, receiver) = pair(mode, ends);
        let stream = if whole { deflated(&stream) } else { stream };
        let packet = carrying(ends, next_header, cpi, &stream);
        let out = inbound(&receiver, &packet, START);
        prop_assert_eq!(out.deliver.len() + out.dropped.len(), 1);
        for delivered in &out.deliver {
            prop_assert!(next_layer(delivered.as_slice()) != protocol::IPCOMP);
        }
        still_serves(&sender, &receiver, ends);
    }
}
