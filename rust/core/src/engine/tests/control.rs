//! Requests: what is added can be seen, updated, found, deleted; what is refused leaves no trace.
//! No packet may enter beyond what proves a state.
//! Answers to: RFC 2367 section 3.1, RFC 4301 section 4.4.

use super::*;
use crate::engine::SpiRequest;
use crate::error::Error;
use crate::sa::State;

pub(super) fn request(min: u32, max: u32) -> SpiRequest {
    SpiRequest {
        protocol: Protocol::Esp,
        source: ip(A),
        destination: ip(B),
        mode: Mode::Transport,
        reqid: 5,
        min,
        max,
        unshared: false,
        owner: 42,
        connection: 0,
    }
}

#[test]
fn an_sa_can_be_added_seen_and_deleted_once() {
    let engine = engine();
    let params = sa(0x1000, A, B, Mode::Transport);
    let view = engine.sad_add(params.clone(), secs(5)).unwrap();
    assert_eq!(
        (view.state, view.created),
        (State::Mature, WallClock(1_700_000_005))
    );
    assert_eq!(engine.sad_add(params.clone(), START), Err(Error::Exists));
    assert_eq!(engine.sad_lookup(&params.id), Some(view.clone()));
    assert_eq!(engine.sad_dump(Some(Protocol::Esp)), [view]);
    assert!(engine.sad_dump(Some(Protocol::Ah)).is_empty());
    assert_eq!(engine.sad_delete(&params.id, Some(ip(B))), Err(Error::NotFound));
    assert!(engine.sad_delete(&params.id, Some(ip(A))).is_ok());
    assert_eq!(engine.sad_delete(&params.id, None), Err(Error::NotFound));
    assert_eq!(engine.sad_lookup(&params.id), None);
}

//= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.1
//# GETSPI makes a larval SA with an SPI out of the range asked for
//= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.2
//# UPDATE turns a larval SA into a mature one
//= https://www.rfc-editor.org/rfc/rfc4301#section-4.5
//# SAs are made by hand and by a key manager
#[test]
fn an_spi_becomes_an_sa() {
    let engine = engine();
    let spi = engine.sad_getspi(&request(0x2000, 0x2001), START).unwrap();
    let larval = engine.sad_dump(None).remove(0);
    assert_eq!(
        (larval.state, larval.params.reqid, larval.params.owner),
        (State::Larval, 5, 42)
    );
    engine.sad_getspi(&request(0x2000, 0x2001), START).unwrap();
    assert_eq!(
        engine.sad_getspi(&request(0x2000, 0x2001), START),
        Err(Error::SpiExhausted)
    );
    let params = sa(spi.0, A, B, Mode::Transport);
    assert_eq!(engine.sad_add(params.clone(), START), Err(Error::Exists));
    assert_eq!(
        engine.sad_update(params.clone(), START).unwrap().state,
        State::Mature
    );
    assert_eq!(engine.sad_dump(None).len(), 2);
    assert_eq!(
        engine.sad_update(sa(0x9999, A, B, Mode::Transport), START),
        Err(Error::NotFound)
    );
    assert_eq!(engine.sad_flush(None), 2);
}

#[test]
fn ranges_are_checked_and_default_to_the_configuration() {
    let engine = engine();
    for (min, max) in [(300, 299), (0, 300), (255, 300)] {
        assert_eq!(
            engine.sad_getspi(&request(min, max), START),
            Err(Error::OutOfRange { field: "spi_range" })
        );
    }
    let config = engine.config();
    let spi = engine.sad_getspi(&request(0, 0), START).unwrap();
    assert!((config.spi_min..=config.spi_max).contains(&spi.0));
    let mixed = SpiRequest {
        source: ip(A6),
        ..request(0, 0)
    };
    assert_eq!(engine.sad_getspi(&mixed, START), Err(Error::InvalidSelector));
}

#[test]
fn an_update_of_a_living_sa_changes_lifetimes_and_no_key() {
    let engine = engine();
    let params = sa(0x1000, A, B, Mode::Transport);
    engine.sad_add(params.clone(), START).unwrap();
    let mut longer = params.clone();
    longer.hard.packets = 77;
    assert_eq!(
        engine
            .sad_update(longer.clone(), START)
            .unwrap()
            .params
            .hard
            .packets,
        77
    );
    longer.encryption = None;
    longer.hard.packets = 78;
    let view = engine.sad_update(longer, START).unwrap();
    assert_eq!(
        (view.params.hard.packets, view.params.encryption),
        (78, params.encryption.clone())
    );
    let mut other_key = params.clone();
    other_key.encryption = Some(AlgorithmKey::new("aes-gcm-16", &[99; 20]));
    assert_eq!(engine.sad_update(other_key, START), Err(Error::InvalidState));
    let other_source = SaParams {
        source: ip("192.0.2.9"),
        ..params
    };
    assert_eq!(engine.sad_update(other_source, START), Err(Error::InvalidState));
}

//= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.9
//# FLUSH removes every SA of a type
#[test]
fn deleteall_takes_a_pair_and_flush_a_protocol() {
    let engine = engine();
    for (spi, source, destination) in [(0x1000, A, B), (0x1001, A, B), (0x1002, B, A), (0x1003, A6, B6)] {
        engine
            .sad_add(sa(spi, source, destination, Mode::Any), START)
            .unwrap();
    }
    assert!(engine.sad_between(Protocol::Esp, ip(A), ip(B)));
    assert!(!engine.sad_between(Protocol::Ah, ip(A), ip(B)));
    let gone = engine.sad_delete_pair(Protocol::Esp, ip(A), ip(B));
    assert!(!engine.sad_between(Protocol::Esp, ip(A), ip(B)));
    assert_eq!(
        gone.iter().map(|sa| sa.params.id.spi.0).collect::<Vec<_>>(),
        [0x1000, 0x1001]
    );
    assert_eq!(engine.sad_flush(Some(Protocol::Ah)), 0);
    assert_eq!(engine.sad_flush(Some(Protocol::Esp)), 2);
    assert_eq!(engine.sad_flush(None), 0);
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
//# a changed SPD governs the packets that come afterwards
//= https://www.rfc-editor.org/rfc/rfc3948#section-5.1
//# two clients with one inner address do not silently replace each other
#[test]
fn policies_come_change_and_go() {
    let engine = engine();
    let params = policy(Direction::Outbound, A, B, Action::Discard);
    let view = engine.spd_add(params.clone(), START).unwrap();
    assert_eq!(engine.spd_add(params.clone(), START), Err(Error::Exists));
    assert_eq!(
        refused_outbound(&engine, &datagram(A, B)),
        DropReason::OutPolicyDiscard
    );
    let used = engine.spd_lookup(view.id).unwrap();
    assert_eq!(
        (used.packets, used.last_used),
        (1, Some(WallClock(1_700_000_000)))
    );
    engine
        .spd_update(
            PolicyParams {
                action: Action::Bypass,
                ..params.clone()
            },
            START,
        )
        .unwrap();
    assert_eq!(sealed(&engine, &datagram(A, B)), datagram(A, B));
    assert_eq!(engine.spd_dump().len(), 1);
    assert!(engine.spd_delete(Direction::Inbound, &params.selector).is_err());
    assert!(engine.spd_delete(Direction::Outbound, &params.selector).is_ok());
    assert_eq!(engine.spd_delete_id(view.id), Err(Error::NotFound));
    engine.spd_add(params, START).unwrap();
    assert_eq!((engine.spd_flush(), engine.spd_dump().len()), (1, 0));
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.2
//# encryption and integrity must not both be NULL
#[test]
fn an_sa_that_protects_nothing_is_refused_until_it_is_allowed() {
    let engine = engine();
    let nothing = SaParams {
        encryption: Some(AlgorithmKey::new("null", &[])),
        authentication: Some(AlgorithmKey::new("null-auth", &[])),
        ..sa(0x1000, A, B, Mode::Any)
    };
    assert_eq!(
        engine.sad_add(nothing.clone(), START),
        Err(Error::UnsupportedCombination)
    );
    engine
        .configure(crate::engine::Setting::AllowUnprotected(true))
        .unwrap();
    engine.sad_add(nothing, START).unwrap();
}

#[test]
fn a_new_key_begins_an_sa_anew_under_its_name() {
    let engine = engine();
    let params = sa(0x1000, A, B, Mode::Transport);
    assert_eq!(engine.sad_rekey(params.clone(), START), Err(Error::NotFound));
    engine.sad_add(params.clone(), START).unwrap();
    let action = Action::Protect(require(Mode::Transport, None));
    engine
        .spd_add(policy(Direction::Outbound, A, B, action), START)
        .unwrap();
    sealed(&engine, &datagram(A, B));
    let other = SaParams {
        encryption: Some(AlgorithmKey::new("aes-gcm-16", &[99; 20])),
        ..params.clone()
    };
    let view = engine.sad_rekey(other.clone(), START).unwrap();
    assert_eq!((view.state, view.packets, view.sequence), (State::Mature, 0, 0));
    assert_eq!(engine.sad_dump(None).len(), 1);
    let receiver = super::engine();
    receiver.sad_add(other, START).unwrap();
    let wire = sealed(&engine, &datagram(A, B));
    assert_eq!(delivered(&receiver, &wire), datagram(A, B));
    let elsewhere = SaParams {
        source: ip("192.0.2.9"),
        ..params.clone()
    };
    assert_eq!(engine.sad_rekey(elsewhere, START), Err(Error::InvalidState));
    let keyless = SaParams {
        encryption: None,
        ..params
    };
    assert!(engine.sad_rekey(keyless, START).is_err());
    assert_eq!(
        engine.sad_dump(None)[0].state,
        State::Mature,
        "a refusal leaves no trace"
    );
}

#[test]
fn what_a_connection_made_can_be_taken_out_and_nothing_else() {
    let engine = engine();
    for (spi, connection) in [(0x1000, 1), (0x1001, 2), (0x1002, 1)] {
        let params = SaParams {
            connection,
            ..sa(spi, A, B, Mode::Transport)
        };
        engine.sad_add(params, START).unwrap();
    }
    for connection in [1, 2] {
        let larval = SpiRequest {
            connection,
            ..request(0, 0)
        };
        engine.sad_getspi(&larval, START).unwrap();
        let entry = PolicyParams {
            connection,
            priority: u32::try_from(connection).unwrap(),
            selector: Selector {
                next_layer: Some(u8::try_from(connection).unwrap()),
                ..policy(Direction::Inbound, A, B, Action::Discard).selector
            },
            ..policy(Direction::Inbound, A, B, Action::Discard)
        };
        engine.spd_add(entry, START).unwrap();
    }
    assert_eq!(engine.sad_delete_of(1, true).len(), 1);
    assert_eq!(engine.sad_dump(None).len(), 4);
    let gone = engine.sad_delete_of(1, false);
    assert_eq!(
        gone.iter().map(|sa| sa.params.id.spi.0).collect::<Vec<_>>(),
        [0x1000, 0x1002]
    );
    assert_eq!(engine.sad_delete_of(3, false), []);
    assert_eq!(engine.spd_delete_of(1).len(), 1);
    assert_eq!(engine.spd_dump()[0].params.connection, 2);
    assert_eq!(engine.sad_dump(None).len(), 2);
}
