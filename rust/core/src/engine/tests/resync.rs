//! A receiver with ESN that lost 2^32 packets or more finds its place again.
//! Nothing about windows may enter: `sa::replay` has them.
//! Answers to: RFC 4303 appendix A3.

use super::*;

fn pair_with_esn(integrity_apart: bool) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let plain = sa(0x1000, A, B, Mode::Transport);
    let params = if integrity_apart {
        SaParams {
            encryption: Some(AlgorithmKey::new("aes-cbc", &[1; 16])),
            authentication: Some(AlgorithmKey::new("hmac-sha2-256-128", &[2; 32])),
            esn: true,
            ..plain
        }
    } else {
        SaParams { esn: true, ..plain }
    };
    connect(
        &sender,
        &receiver,
        &[params],
        (A, B),
        &require(Mode::Transport, None),
    );
    (sender, receiver)
}

fn skip_to(engine: &Engine, number: u64) {
    engine.sad.read().dump(None)[0].skip_to(number);
}

//= https://www.rfc-editor.org/rfc/rfc4303#appendix-A3
//# after a long loss the high half is searched for, a bounded number of times and off the fast path
#[test]
fn a_lost_subspace_is_found_again_off_the_fast_path() {
    for integrity_apart in [false, true] {
        for lost in 1..=4_u64 {
            let (sender, receiver) = pair_with_esn(integrity_apart);
            let packet = datagram(A, B);
            assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
            skip_to(&sender, (lost << 32) + 500);
            for _ in 0..1023 {
                assert_eq!(
                    refused_inbound(&receiver, &sealed(&sender, &packet)),
                    DropReason::AuthFailed
                );
            }
            assert_eq!(receiver.poll_timeout(), None, "nothing is tried before");
            assert_eq!(
                refused_inbound(&receiver, &sealed(&sender, &packet)),
                DropReason::AuthFailed
            );
            assert_eq!(receiver.poll_timeout(), Some(START));
            receiver.handle_timeout(START);
            assert_eq!(receiver.stats().esn_resynchronised, 1);
            assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
            assert_eq!(receiver.sad_dump(None)[0].sequence >> 32, lost);
        }
    }
}

#[test]
fn a_flood_of_forgeries_moves_nothing_and_costs_four_tries_in_a_thousand() {
    let (sender, receiver) = pair_with_esn(false);
    let packet = datagram(A, B);
    assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
    let mut forged = sealed(&sender, &packet);
    *forged.last_mut().unwrap() ^= 1;
    let mut timers = 0;
    for number in 0..5000_u32 {
        forged[24..28].copy_from_slice(&(number + 1000).to_be_bytes());
        assert_eq!(refused_inbound(&receiver, &forged), DropReason::AuthFailed);
        if receiver.poll_timeout().is_some() {
            receiver.handle_timeout(START);
            timers += 1;
        }
    }
    assert_eq!(timers, 4);
    assert_eq!(receiver.stats().esn_resynchronised, 0);
    assert_eq!(receiver.sad_dump(None)[0].sequence, 1, "the window did not move");
    assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
}

/// Old packets are no way back: only later subspaces are tried, and a good packet starts the count anew.
#[test]
fn replayed_packets_of_an_earlier_subspace_stay_out() {
    let (sender, receiver) = pair_with_esn(false);
    let packet = datagram(A, B);
    let old: Vec<_> = (0..50).map(|_| sealed(&sender, &packet)).collect();
    skip_to(&sender, (1 << 32) + 10_000);
    // The receiver is told by its key manager, so to say: it saw the wrap.
    let association = receiver.sad.read().dump(None).remove(0);
    association
        .mark(crate::terms::Sequence((1 << 32) + 9000))
        .unwrap();
    assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
    for round in 0..3000 {
        let reason = refused_inbound(&receiver, &old[round % 50]);
        assert!(matches!(reason, DropReason::AuthFailed | DropReason::Replay));
        receiver.handle_timeout(START);
    }
    assert_eq!(receiver.stats().esn_resynchronised, 0);
    assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
//# a window of 32 must be possible, larger ones may exist: up to 2^16
#[test]
fn the_largest_window_accepts_what_is_that_late_and_no_later() {
    for esn in [false, true] {
        let (sender, receiver) = (engine(), engine());
        let params = SaParams {
            replay_window: 1 << 16,
            esn,
            ..sa(0x1000, A, B, Mode::Transport)
        };
        connect(
            &sender,
            &receiver,
            std::slice::from_ref(&params),
            (A, B),
            &require(Mode::Transport, None),
        );
        let packet = datagram(A, B);
        let early: Vec<_> = (0..3).map(|_| sealed(&sender, &packet)).collect();
        skip_to(&sender, (1 << 16) + 1);
        assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
        assert_eq!(receiver.sad_dump(None)[0].sequence, (1 << 16) + 2);
        let late = |index: usize| inbound(&receiver, &early[index], START);
        assert!(late(0).deliver.is_empty() && late(1).deliver.is_empty());
        assert_eq!(late(2).deliver.len(), 1);
        assert!(late(2).deliver.is_empty());
        let larger = SaParams {
            replay_window: (1 << 16) + 1,
            ..params
        };
        assert_eq!(
            engine().sad_add(larger, START).unwrap_err(),
            crate::error::Error::OutOfRange {
                field: "replay_window"
            }
        );
    }
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
//# the sequence number must not cycle, unless that was asked for
#[test]
fn numbers_cycle_only_where_that_was_asked_for() {
    for (cycle_sequence, window) in [(false, 64), (true, 0)] {
        let (sender, receiver) = (engine(), engine());
        let params = SaParams {
            cycle_sequence,
            replay_window: window,
            ..sa(0x1000, A, B, Mode::Transport)
        };
        connect(
            &sender,
            &receiver,
            &[params],
            (A, B),
            &require(Mode::Transport, None),
        );
        let packet = datagram(A, B);
        skip_to(&sender, u64::from(u32::MAX) - 1);
        assert_eq!(delivered(&receiver, &sealed(&sender, &packet)), packet);
        if cycle_sequence {
            for expected in [1_u32, 2] {
                let wire = sealed(&sender, &packet);
                assert_eq!(wire[24..28], expected.to_be_bytes(), "zero is no number");
                assert_eq!(delivered(&receiver, &wire), packet);
            }
        } else {
            for _ in 0..3 {
                assert_eq!(refused_outbound(&sender, &packet), DropReason::SequenceOverflow);
            }
        }
    }
}
