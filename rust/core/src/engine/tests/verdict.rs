//! `explain` says what `handle_outbound` and `handle_inbound` do, and moves nothing.
//! No second opinion may enter: every verdict here is compared with the deed.
//! Answers to: RFC 4301 sections 5.1 and 5.2.

use super::*;
use crate::engine::{DefaultPolicy, Route, Setting, Verdict};
use crate::wire::icmp;

/// Whether the verdict is what happens to the packet next; nothing moved when it was asked for.
fn agrees(engine: &Engine, direction: Direction, packet: &[u8]) -> Verdict {
    let before = (
        engine.stats(),
        engine.sad_dump(None),
        engine.spd_dump(),
        engine.has_events(),
    );
    let verdict = engine.explain(direction, packet);
    let after = (
        engine.stats(),
        engine.sad_dump(None),
        engine.spd_dump(),
        engine.has_events(),
    );
    assert_eq!(before, after);
    if direction == Direction::Outbound {
        let route = outbound(engine, packet, START)
            .transmit
            .first()
            .map(|sent| sent.route);
        match &verdict {
            Verdict::Bypass { .. } => assert_eq!(route, Some(Route::Bypass)),
            Verdict::Discard { .. } | Verdict::Waits | Verdict::Malformed => assert_eq!(route, None),
            Verdict::Protect { templates, .. } => {
                let complete = templates.iter().all(|choice| choice.sa.is_some());
                let spi = templates.last().and_then(|choice| choice.sa).map(|id| id.spi);
                let expected = complete.then_some(Route::Protected {
                    spi: spi.unwrap_or(Spi(0)),
                    encap: None,
                });
                assert_eq!(route, expected);
            }
        }
    } else {
        let passes = inbound(engine, packet, START).deliver.len() == 1;
        assert_eq!(passes, matches!(verdict, Verdict::Bypass { .. }));
    }
    verdict
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-5.1
//# what is looked up is discarded, bypassed or protected, and nothing else becomes of it
#[test]
fn every_verdict_is_followed_by_its_deed() {
    let engine = engine();
    let solicitation = icmp::Repr {
        kind: 135,
        code: 0,
        rest_of_header: [0; 4],
        payload: &[0; 16],
    };
    let solicitation = solicitation.packet(ip(A6), ip(B6)).unwrap();
    let both = |packet: &[u8]| {
        (
            agrees(&engine, Direction::Outbound, packet),
            agrees(&engine, Direction::Inbound, packet),
        )
    };
    assert_eq!(both(b"?"), (Verdict::Malformed, Verdict::Malformed));
    let bypass = Verdict::Bypass { policy: None };
    assert_eq!(both(&datagram(A, B)), (bypass.clone(), bypass.clone()));
    engine
        .configure(Setting::DefaultPolicy(DefaultPolicy::Discard))
        .unwrap();
    let discard = Verdict::Discard { policy: None };
    assert_eq!(both(&datagram(A, B)), (discard.clone(), discard));
    assert_eq!(both(&solicitation), (bypass.clone(), bypass));

    let put = |direction, action| {
        engine
            .spd_update(policy(direction, A, B, action), START)
            .unwrap()
            .id
    };
    for (action, passes) in [(Action::Bypass, true), (Action::Discard, false)] {
        let out = put(Direction::Outbound, action.clone());
        let came = put(Direction::Inbound, action);
        let expected = |id| {
            let policy = Some(id);
            if passes {
                Verdict::Bypass { policy }
            } else {
                Verdict::Discard { policy }
            }
        };
        assert_eq!(both(&datagram(A, B)), (expected(out), expected(came)));
    }
    let protect = |level| Action::Protect(vec![template(Mode::Transport, level, None)]);
    let (out, came) = (
        put(Direction::Outbound, protect(Level::Use)),
        put(Direction::Inbound, protect(Level::Use)),
    );
    let bypass = |id| Verdict::Bypass { policy: Some(id) };
    assert_eq!(both(&datagram(A, B)), (bypass(out), bypass(came)));
    put(Direction::Outbound, protect(Level::Require));
    put(Direction::Inbound, protect(Level::Require));
    let (sent, received) = both(&datagram(A, B));
    assert!(
        matches!(&sent, Verdict::Protect { templates, .. } if templates[0].sa.is_none()),
        "{sent:?}"
    );
    assert_eq!(received, Verdict::Discard { policy: Some(came) });
    engine.sad_add(sa(0x1000, A, B, Mode::Transport), START).unwrap();
    let (sent, _) = both(&datagram(A, B));
    assert!(
        matches!(&sent, Verdict::Protect { templates, .. } if templates[0].sa.is_some()),
        "{sent:?}"
    );
    put(Direction::Outbound, protect(Level::Use));
    assert!(matches!(both(&datagram(A, B)).0, Verdict::Protect { .. }));
}
