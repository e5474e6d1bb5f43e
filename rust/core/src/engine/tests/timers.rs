//! Time: each end is reported once and at the moment that `poll_timeout` names.
//! No clock may enter.
//! Answers to: RFC 4301 section 4.4.2.1, RFC 2367 section 3.1.8.

use super::*;
use crate::engine::{Event, Setting};
use crate::sa::State;

/// Runs the engine's timers one after the other and says what was told when, in seconds after the start.
fn tell(engine: &Engine) -> Vec<(u64, &'static str)> {
    let mut told = Vec::new();
    for _ in 0..20 {
        let due = engine.poll_timeout();
        if let Some(due) = due {
            engine.handle_timeout(Instant(due.0 - 1));
            assert!(!engine.has_events(), "nothing happens before its time");
            engine.handle_timeout(due);
        }
        while let Some(event) = engine.poll_event() {
            let word = match event {
                Event::Expire { hard: false, .. } => "soft",
                Event::Expire { hard: true, .. } => "hard",
                Event::PolicyExpire { .. } => "policy",
                Event::Acquire { .. } | Event::PolicyAcquire { .. } => "acquire",
                Event::NewMapping { .. } => "moved",
            };
            told.push((due.map_or(0, |due| due.secs() - START.secs()), word));
        }
        if due.is_none() {
            return told;
        }
    }
    panic!("timers without end: {told:?}");
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
//# a lifetime has a soft end, which warns, and a hard one, at which the SA leaves
#[test]
fn add_time_ends_softly_then_hard() {
    let engine = engine();
    assert_eq!(engine.poll_timeout(), None);
    let mut params = sa(0x1000, A, B, Mode::Transport);
    (params.soft.add_secs, params.hard.add_secs) = (8, 10);
    engine.sad_add(params.clone(), START).unwrap();
    assert_eq!(engine.poll_timeout(), Some(secs(8)));
    assert_eq!(tell(&engine), [(8, "soft"), (10, "hard")]);
    assert_eq!(engine.sad_lookup(&params.id), None);
}

#[test]
fn a_dying_sa_still_serves() {
    let engine = engine();
    let mut params = sa(0x1000, A, B, Mode::Transport);
    (params.soft.add_secs, params.hard.add_secs) = (8, 10);
    engine.sad_add(params.clone(), START).unwrap();
    engine.handle_timeout(secs(9));
    assert_eq!(engine.sad_lookup(&params.id).unwrap().state, State::Dying);
    let action = Action::Protect(require(Mode::Transport, None));
    engine
        .spd_add(policy(Direction::Outbound, A, B, action), START)
        .unwrap();
    assert_eq!(outbound(&engine, &datagram(A, B), secs(9)).transmit.len(), 1);
    // No timer ran, and yet nothing passes after the hard end.
    assert_eq!(
        outbound(&engine, &datagram(A, B), secs(10)).dropped[0].reason,
        DropReason::OutExpired
    );
    assert_eq!(
        outbound(&engine, &datagram(A, B), secs(10)).dropped[0].reason,
        DropReason::OutNoSa
    );
}

#[test]
fn nothing_is_opened_after_the_hard_end() {
    let (sender, receiver) = (engine(), engine());
    let mut params = sa(0x1000, A, B, Mode::Transport);
    connect(&sender, &receiver, &[], (A, B), &require(Mode::Transport, None));
    sender.sad_add(params.clone(), START).unwrap();
    params.hard.add_secs = 10;
    receiver.sad_add(params, START).unwrap();
    let wire = sealed(&sender, &datagram(A, B));
    assert_eq!(
        inbound(&receiver, &wire, secs(10)).dropped[0].reason,
        DropReason::InExpired
    );
    assert_eq!(
        inbound(&receiver, &wire, secs(10)).dropped[0].reason,
        DropReason::InNoSa
    );
    assert!(matches!(
        receiver.poll_event(),
        Some(Event::Expire { hard: true, .. })
    ));
    assert!(!receiver.has_events());
}

#[test]
fn use_time_begins_with_the_first_packet() {
    let engine = engine();
    let mut params = sa(0x1000, A, B, Mode::Transport);
    (params.soft.use_secs, params.hard.use_secs) = (3, 5);
    engine.sad_add(params, START).unwrap();
    let templates = require(Mode::Transport, None);
    engine
        .spd_add(
            policy(Direction::Outbound, A, B, Action::Protect(templates)),
            START,
        )
        .unwrap();
    assert_eq!(engine.poll_timeout(), None, "not used yet");
    outbound(&engine, &datagram(A, B), secs(100));
    assert_eq!(tell(&engine), [(103, "soft"), (105, "hard")]);
}

#[test]
fn packets_and_bytes_end_without_a_timer() {
    let engine = engine();
    let mut params = sa(0x1000, A, B, Mode::Transport);
    (params.soft.packets, params.hard.bytes) = (2, 300);
    engine.sad_add(params.clone(), START).unwrap();
    let templates = require(Mode::Transport, None);
    engine
        .spd_add(
            policy(Direction::Outbound, A, B, Action::Protect(templates)),
            START,
        )
        .unwrap();
    let mut sent = 0;
    while outbound(&engine, &datagram(A, B), START).transmit.len() == 1 {
        sent += 1;
    }
    let payload = datagram(A, B).len() - 20;
    assert_eq!(sent, 300_usize.div_ceil(payload));
    assert_eq!(engine.sad_lookup(&params.id), None);
    assert_eq!(tell(&engine), [(0, "soft"), (0, "hard"), (0, "acquire")]);
}

#[test]
fn a_larval_sa_does_not_wait_for_ever() {
    let engine = engine();
    engine.configure(Setting::LarvalSecs(7)).unwrap();
    engine.sad_getspi(&super::control::request(0, 0), START).unwrap();
    assert_eq!(tell(&engine), [(7, "hard")]);
    assert!(engine.sad_dump(None).is_empty());
    let spi = engine.sad_getspi(&super::control::request(0, 0), START).unwrap();
    engine
        .sad_update(sa(spi.0, A, B, Mode::Transport), START)
        .unwrap();
    assert_eq!(tell(&engine), [], "completed in time");
    assert_eq!(engine.sad_dump(None).len(), 1);
}

#[test]
fn policies_end_too() {
    let engine = engine();
    let limited = |secs| PolicyLimits {
        add_secs: secs,
        use_secs: 0,
    };
    let first = PolicyParams {
        hard: limited(4),
        ..policy(Direction::Outbound, A, B, Action::Discard)
    };
    let idle = PolicyLimits {
        add_secs: 0,
        use_secs: 3,
    };
    let second = PolicyParams {
        hard: idle,
        ..policy(Direction::Outbound, A6, B6, Action::Bypass)
    };
    engine.spd_add(first, START).unwrap();
    engine.spd_add(second, START).unwrap();
    outbound(&engine, &datagram(A6, B6), secs(2));
    let told = tell(&engine);
    assert_eq!(
        told.iter().map(|(_, word)| *word).collect::<Vec<_>>(),
        ["policy", "policy"]
    );
    assert_eq!((told[0].0, told[1].0), (4, 5), "use keeps the second");
    assert!(engine.spd_dump().is_empty());
}

#[test]
fn a_removed_sa_tells_nothing() {
    let engine = engine();
    let mut params = sa(0x1000, A, B, Mode::Transport);
    params.hard.add_secs = 10;
    engine.sad_add(params.clone(), START).unwrap();
    engine.sad_delete(&params.id, None).unwrap();
    assert_eq!(tell(&engine), []);
}

#[test]
fn an_update_to_less_than_was_carried_ends_at_once() {
    let engine = engine();
    let mut params = sa(0x1000, A, B, Mode::Transport);
    engine.sad_add(params.clone(), START).unwrap();
    let action = Action::Protect(require(Mode::Transport, None));
    engine
        .spd_add(policy(Direction::Outbound, A, B, action), START)
        .unwrap();
    for _ in 0..3 {
        sealed(&engine, &datagram(A, B));
    }
    params.soft.packets = 3;
    assert_eq!(
        engine.sad_update(params.clone(), START).unwrap().state,
        State::Dying
    );
    assert_eq!(tell(&engine), [(0, "soft")]);
    params.hard.packets = 2;
    assert_eq!(
        engine.sad_update(params.clone(), START).unwrap().state,
        State::Dead
    );
    assert_eq!(tell(&engine), [(0, "hard")]);
    assert_eq!(engine.sad_lookup(&params.id), None);
}

/// Each larval SA ends at a moment of its own; looking at all of them at each would take the square of their number.
//= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.1
//# a larval SA ends by itself
#[test]
fn larval_sas_without_number_end_in_linear_time() {
    let engine = engine();
    engine.configure(Setting::EventLimit(1)).unwrap();
    let count = 20_000;
    for nth in 0..count {
        let at = Instant(START.0 + nth * 1000);
        engine.sad_getspi(&super::control::request(0, 0), at).unwrap();
    }
    let mut looks = 0;
    while let Some(due) = engine.poll_timeout() {
        engine.handle_timeout(due);
        looks += 1;
    }
    assert!(engine.sad_dump(None).is_empty());
    assert!(looks <= 200, "{looks} looks at {count} SAs");
}
