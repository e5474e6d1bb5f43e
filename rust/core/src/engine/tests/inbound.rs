//! Inbound: exits, the order of checks, SA path against policy, nesting, what is swallowed.
//! Nothing about formats may enter beyond what proves an exit.
//! Answers to: RFC 4301 sections 4.4.2 and 5.2, RFC 4303 sections 2.6 and 3.4.

use super::*;
use crate::crypto::Suite;
use crate::crypto::iv::IvGenerator;
use crate::engine::{DefaultPolicy, Setting};
use crate::terms::Sequence;
use crate::transform::esp::Esp;
use crate::wire::{ip as any_ip, protocol};

/// Two engines with one SA between hosts A and B.
fn pair(mode: Mode) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let templates = require(mode, (mode == Mode::Tunnel).then_some((A, B)));
    connect(&sender, &receiver, &[sa(0x1000, A, B, mode)], (A, B), &templates);
    (sender, receiver)
}

/// A packet sealed by hand with the SA `sa(0x1000, …)`, whatever is inside.
fn crafted(source: &str, destination: &str, next_header: u8, payload: &[u8], sequence: u64) -> Vec<u8> {
    let key = sa(0x1000, A, B, Mode::Any).encryption;
    let esp = Esp::new(Spi(0x1000), Suite::build(key.as_ref(), None).unwrap(), false);
    let mut packet = PacketBuf::from_packet(payload);
    let mut ivs = IvGenerator::new([3; 32]);
    esp.seal(
        0,
        next_header,
        Sequence(sequence),
        sequence,
        &mut ivs,
        &mut packet,
    )
    .unwrap();
    any_ip::packet(ip(source), ip(destination), protocol::ESP, packet.as_slice()).unwrap()
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
//# a packet for which there is no SA is discarded
//= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.2
//# a packet for which there is no SA is discarded
#[test]
fn each_exit_has_its_reason() {
    let (sender, receiver) = pair(Mode::Transport);
    assert_eq!(refused_inbound(&receiver, b"no packet"), DropReason::InMalformed);
    let wire = sealed(&sender, &datagram(A, B));
    let short = any_ip::packet(ip(A), ip(B), protocol::ESP, &wire[20..26]).unwrap();
    assert_eq!(refused_inbound(&receiver, &short), DropReason::InMalformed);
    let mut other_spi = wire.clone();
    other_spi[20] ^= 1;
    assert_eq!(refused_inbound(&receiver, &other_spi), DropReason::InNoSa);
    let unknown = [
        0, 4, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for next_layer in [protocol::AH, protocol::IPCOMP] {
        let packet = any_ip::packet(ip(A), ip(B), next_layer, &unknown).unwrap();
        assert_eq!(refused_inbound(&receiver, &packet), DropReason::InNoSa);
    }
    let mut spoiled = wire.clone();
    *spoiled.last_mut().unwrap() ^= 1;
    assert_eq!(refused_inbound(&receiver, &spoiled), DropReason::AuthFailed);
    assert_eq!(delivered(&receiver, &wire), datagram(A, B));
    assert_eq!(refused_inbound(&receiver, &wire), DropReason::Replay);
    receiver
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    assert_eq!(
        refused_inbound(&receiver, &datagram(A6, B6)),
        DropReason::InNoPolicy
    );
    receiver
        .spd_add(policy(Direction::Inbound, A6, B6, Action::Discard), START)
        .unwrap();
    assert_eq!(
        refused_inbound(&receiver, &datagram(A6, B6)),
        DropReason::InPolicyDiscard
    );
    receiver
        .spd_update(policy(Direction::Inbound, A6, B6, Action::Bypass), START)
        .unwrap();
    assert_eq!(delivered(&receiver, &datagram(A6, B6)), datagram(A6, B6));
    assert_eq!(receiver.stats().inbound_bypassed.packets, 1);
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
//# the duplicate test comes first, then the ICV, and only then does the window move
#[test]
fn a_forged_number_does_not_move_the_window() {
    let (sender, receiver) = pair(Mode::Transport);
    let wire = sealed(&sender, &datagram(A, B));
    let mut forged = wire.clone();
    forged[24..28].fill(0x7f);
    assert_eq!(refused_inbound(&receiver, &forged), DropReason::AuthFailed);
    assert_eq!(delivered(&receiver, &wire), datagram(A, B));
    let view = receiver.sad_dump(None).remove(0);
    assert_eq!((view.packets, view.sequence), (1, 1));
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.1
//# a fragment that reaches AH or ESP is discarded
#[test]
fn a_fragment_is_not_opened() {
    let (_, receiver) = pair(Mode::Transport);
    let odd = any_ip::packet(ip(A), ip(B), protocol::ESP, &[7; 63]).unwrap();
    let odd = flagged(odd, 0x20);
    assert_eq!(refused_inbound(&receiver, &odd), DropReason::InFragment);
    let even = flagged(crafted(A, B, protocol::UDP, &[0; 20], 1), 0x20);
    assert_eq!((even.len() - 20) % 8, 0);
    let out = inbound(&receiver, &even, START);
    assert!(out.deliver.is_empty() && out.dropped.is_empty() && out.spare.len() == 1);
    assert_eq!(receiver.stats().inbound_held.packets, 1);
    assert_eq!(receiver.sad_dump(None)[0].packets, 0);
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.6
//# a dummy packet is discarded, and that is no error
#[test]
fn a_dummy_is_swallowed_once() {
    let (_, receiver) = pair(Mode::Transport);
    let dummy = crafted(A, B, protocol::NO_NEXT_HEADER, &[0; 40], 1);
    assert_eq!(refused_inbound(&receiver, &dummy), DropReason::Dummy);
    assert_eq!(refused_inbound(&receiver, &dummy), DropReason::Replay);
}

#[test]
fn what_a_tunnel_carries_must_be_a_packet_of_the_family_it_says() {
    let (_, receiver) = pair(Mode::Tunnel);
    let inner = datagram(A, B);
    for (sequence, (next_header, payload)) in [
        (protocol::UDP, inner.as_slice()),
        (protocol::IPV4, b"garbage".as_slice()),
        (protocol::IPV6, inner.as_slice()),
        (protocol::IPV4, b"".as_slice()),
    ]
    .into_iter()
    .enumerate()
    {
        let wire = crafted(A, B, next_header, payload, sequence as u64 + 1);
        assert_eq!(refused_inbound(&receiver, &wire), DropReason::BadPadding);
    }
    assert_eq!(
        delivered(&receiver, &crafted(A, B, protocol::IPV4, &inner, 9)),
        inner
    );
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2
//# what comes out of an SA must match that SA's own selectors
#[test]
fn a_transport_sa_speaks_for_its_own_source_only() {
    let (_, receiver) = pair(Mode::Transport);
    let inner = &datagram(A, B)[20..];
    let foreign = crafted("192.0.2.99", B, protocol::UDP, inner, 1);
    assert_eq!(
        refused_inbound(&receiver, &foreign),
        DropReason::InPolicyViolation
    );
    assert_eq!(
        inbound(&receiver, &crafted(A, B, protocol::UDP, inner, 2), START)
            .deliver
            .len(),
        1
    );
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
//# the packet is matched to the policy that would have sent it: SAs applied and SAs required must agree
//= https://www.rfc-editor.org/rfc/rfc4301#section-5.2
//# cleartext that an entry says to protect is discarded
#[test]
fn cleartext_does_not_pass_for_protected() {
    for mode in [Mode::Transport, Mode::Tunnel] {
        let (_, receiver) = pair(mode);
        assert_eq!(
            refused_inbound(&receiver, &datagram(A, B)),
            DropReason::InPolicyViolation
        );
    }
}

#[test]
fn a_tunnel_carries_only_what_policy_gave_it() {
    let (_, receiver) = pair(Mode::Tunnel);
    let stray = crafted(A, B, protocol::IPV4, &datagram("10.66.0.1", B), 1);
    assert_eq!(refused_inbound(&receiver, &stray), DropReason::InPolicyViolation);
    receiver
        .spd_add(policy(Direction::Inbound, "10.66.0.1", B, Action::Bypass), START)
        .unwrap();
    let stray = crafted(A, B, protocol::IPV4, &datagram("10.66.0.1", B), 2);
    assert_eq!(refused_inbound(&receiver, &stray), DropReason::InPolicyViolation);
    // A transport SA that policy did not ask for is only more protection.
    let (_, receiver) = pair(Mode::Transport);
    receiver
        .spd_update(policy(Direction::Inbound, A, B, Action::Bypass), START)
        .unwrap();
    let extra = crafted(A, B, protocol::UDP, &datagram(A, B)[20..], 1);
    assert_eq!(delivered(&receiver, &extra), datagram(A, B));
}

// bug-row: 12
#[test]
fn a_tunnel_does_not_speak_for_the_host_itself() {
    let (_, receiver) = pair(Mode::Tunnel);
    let spoofed = crafted(A, B, protocol::IPV4, &datagram(B, B), 1);
    let anyone = AddressRange::prefix(ip("0.0.0.0"), 0).unwrap();
    let generous = policy(
        Direction::Inbound,
        A,
        B,
        Action::Protect(require(Mode::Tunnel, Some((A, B)))),
    );
    let selector = Selector {
        source: anyone,
        ..generous.selector
    };
    receiver
        .spd_add(PolicyParams { selector, ..generous }, START)
        .unwrap();
    receiver
        .configure(Setting::Local(Some(vec![AddressRange::host(ip(B))])))
        .unwrap();
    assert_eq!(
        refused_inbound(&receiver, &spoofed),
        DropReason::InPolicyViolation
    );
    let honest = crafted(A, B, protocol::IPV4, &datagram("10.66.0.1", B), 2);
    assert_eq!(delivered(&receiver, &honest), datagram("10.66.0.1", B));
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
//# transport mode is not applied to a fragment
// bug-row: 44
#[test]
fn a_fragment_inside_transport_mode_is_refused() {
    let (a, b) = ("2001:db8::1", "2001:db8::2");
    let receiver = engine();
    receiver
        .sad_add(sa(0x1000, a, b, Mode::Transport), START)
        .unwrap();
    for (sequence, offset_and_more) in [(1, 1), (2, 8), (3, 9)] {
        let fragment = [
            protocol::UDP,
            0,
            0,
            offset_and_more,
            0,
            0,
            0,
            7,
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
        ];
        let wire = crafted(a, b, protocol::FRAGMENT, &fragment, sequence);
        assert_eq!(refused_inbound(&receiver, &wire), DropReason::BadPadding);
    }
}

#[test]
fn another_reqid_does_not_satisfy_unique() {
    let (sender, receiver) = (engine(), engine());
    let params = SaParams {
        reqid: 7,
        ..sa(0x1000, A, B, Mode::Transport)
    };
    let wanted = Template {
        reqid: 7,
        ..template(Mode::Transport, Level::Unique, None)
    };
    connect(&sender, &receiver, &[params], (A, B), &[wanted]);
    assert_eq!(
        delivered(&receiver, &sealed(&sender, &datagram(A, B))),
        datagram(A, B)
    );
    let other = Template { reqid: 8, ..wanted };
    receiver
        .spd_update(
            policy(Direction::Inbound, A, B, Action::Protect(vec![other])),
            START,
        )
        .unwrap();
    let wire = sealed(&sender, &datagram(A, B));
    assert_eq!(refused_inbound(&receiver, &wire), DropReason::InPolicyViolation);
}

#[test]
fn forwarded_packets_have_their_own_list() {
    let (sender, receiver) = (engine(), engine());
    let hosts = ("10.0.1.1", "10.0.2.1");
    let templates = require(Mode::Tunnel, Some((A, B)));
    connect(
        &sender,
        &receiver,
        &[sa(0x1000, A, B, Mode::Tunnel)],
        hosts,
        &templates,
    );
    receiver
        .configure(Setting::Local(Some(vec![AddressRange::host(ip(B))])))
        .unwrap();
    let plain = datagram(hosts.0, hosts.1);
    let wire = sealed(&sender, &plain);
    assert_eq!(
        refused_inbound(&receiver, &wire),
        DropReason::InPolicyViolation,
        "only an inbound entry"
    );
    let forward = policy(
        Direction::Forward,
        hosts.0,
        hosts.1,
        Action::Protect(templates.clone()),
    );
    let id = receiver.spd_add(forward, START).unwrap().id;
    assert_eq!(delivered(&receiver, &sealed(&sender, &plain)), plain);
    receiver.spd_delete_id(id).unwrap();
    let inbound_entry = policy(Direction::Inbound, hosts.0, hosts.1, Action::Protect(templates));
    receiver
        .spd_update(
            PolicyParams {
                judges_forwarded: true,
                ..inbound_entry
            },
            START,
        )
        .unwrap();
    assert_eq!(delivered(&receiver, &sealed(&sender, &plain)), plain);
    // ESP on its way to somebody else is ordinary traffic.
    receiver
        .configure(Setting::Local(Some(vec![AddressRange::host(ip(B6))])))
        .unwrap();
    let wire = sealed(&sender, &plain);
    assert_eq!(delivered(&receiver, &wire), wire);
    assert_eq!(receiver.stats().inbound_bypassed.packets, 1);
}

#[test]
fn our_own_packet_that_comes_back_is_not_opened() {
    let (sender, _) = pair(Mode::Transport);
    let wire = sealed(&sender, &datagram(A, B));
    sender
        .configure(Setting::Local(Some(vec![AddressRange::host(ip(A))])))
        .unwrap();
    sender
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    assert_eq!(refused_inbound(&sender, &wire), DropReason::InNoPolicy);
}

#[test]
fn nesting_has_an_end() {
    for (depth, reason) in [(16, DropReason::InPolicyViolation), (17, DropReason::InTooDeep)] {
        let receiver = engine();
        receiver.sad_add(sa(0x1000, A, B, Mode::Tunnel), START).unwrap();
        let mut wire = datagram(A, B);
        for sequence in 1..=depth {
            wire = crafted(A, B, protocol::IPV4, &wire, sequence);
        }
        assert_eq!(refused_inbound(&receiver, &wire), reason);
        assert_eq!(receiver.stats().inbound_opened.packets, 16);
    }
}

#[test]
fn a_larval_sa_opens_nothing() {
    let receiver = engine();
    let request = super::control::request(0x1000, 0x1000);
    assert_eq!(receiver.sad_getspi(&request, START), Ok(Spi(0x1000)));
    let wire = crafted(A, B, protocol::UDP, &datagram(A, B)[20..], 1);
    assert_eq!(refused_inbound(&receiver, &wire), DropReason::InExpired);
}

#[test]
fn bytes_of_every_length_are_dropped_or_delivered_and_counted() {
    let (sender, receiver) = pair(Mode::Transport);
    let wire = sealed(&sender, &datagram(A, B));
    for length in 0..=wire.len() {
        let mut cut = wire[..length].to_vec();
        if let Some(total) = cut.get_mut(2..4) {
            total.copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        inbound(&receiver, &cut, START);
        outbound(&sender, &cut, START);
    }
    let stats = receiver.stats();
    let exits = stats.inbound_delivered.packets + stats.inbound_bypassed.packets + stats.dropped_total();
    assert_eq!(stats.inbound_arrived.packets, exits);
    assert_eq!(stats.inbound_delivered.packets, 1);
}

#[test]
fn a_journey_tells_every_stage() {
    let (sender, receiver) = pair(Mode::Tunnel);
    let out = outbound(&sender, &datagram(A, B), START);
    let lines = |out: &Output| -> Vec<String> {
        let steps = out.journey.as_deref().unwrap();
        steps
            .iter()
            .map(|step| step.describe().split([' ', ':']).next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(lines(&out), ["arrived", "SPD", "SA", "sealed", "outer", "on"]);
    let wire = out.transmit[0].packet.as_slice();
    assert_eq!(
        lines(&inbound(&receiver, wire, START)),
        ["arrived", "opened", "outer", "SPD", "inbound", "delivered"]
    );
    assert_eq!(lines(&inbound(&receiver, wire, START)), ["arrived", "dropped"]);
}
