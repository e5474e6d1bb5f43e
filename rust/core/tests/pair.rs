//! Two engines on a simulated link with a fake clock: loss, duplication, reordering, corruption, replay.
//! No clock, socket or thread may enter: a run is its seed, and `SALLET_SEED=` replays it.
//! Answers to: RFC 4303 sections 3.3.3 and 3.4, RFC 4301 section 5.2; never twice, never changed, never in clear.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop where it stands"
)]
#![allow(unreachable_pub, missing_docs, reason = "these modules are one test")]

#[path = "pair/flows.rs"]
mod flows;
#[path = "pair/link.rs"]
mod link;
#[path = "pair/rng.rs"]
mod rng;
#[path = "pair/tap.rs"]
mod tap;
#[path = "pair/world.rs"]
mod world;

use std::io::Write as _;
use world::{Counts, World};

const PACKETS: u64 = 10_000;
const SEEDS: u64 = 20;
const SEEDS_FULL: u64 = 200;

/// Says how to replay, if the run panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!(
                "pair: seed {} failed; SALLET_SEED={} replays it",
                self.0, self.0
            ));
        }
    }
}

/// Speaks past the capture of the test harness: counts show that the run was real.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().expect("a number"))
}

#[test]
fn no_packet_is_delivered_twice_or_changed_or_sent_in_clear() {
    let seeds: Vec<u64> = match variable("SALLET_SEED") {
        Some(seed) => vec![seed],
        None if variable("SALLET_PAIR_FULL") == Some(1) => (1..=SEEDS_FULL).collect(),
        None => (1..=SEEDS).collect(),
    };
    let mut total = Counts::default();
    for seed in &seeds {
        let replay = Replay(*seed);
        let counts = World::new(*seed).run(PACKETS);
        assert!(
            counts.delivered > PACKETS / 2,
            "only {} of {PACKETS} arrived",
            counts.delivered
        );
        drop(replay);
        total.add(&counts);
    }
    say(&format!(
        "pair: {} seeds, {} packets sent, {} held back for want of an SA, {} on the wire, {} delivered once; \
         link: {} lost, {} doubled, {} corrupted, {} replayed; {} corrupt dropped ({} touched nothing protected), \
         {} replays dropped, {} clear injections refused, {} rekeys, {} wire windows searched; {} compressed, {} \
         in bare tunnels; \
         fragments: {} datagrams sent in pieces, {} pieces made, {} datagrams made whole, {} told too big",
        seeds.len(),
        total.sent,
        total.held_back,
        total.on_the_wire,
        total.delivered,
        total.link.lost,
        total.link.duplicated,
        total.link.corrupted,
        total.link.replayed,
        total.corrupt_dropped,
        total.corrupt_harmless,
        total.replays_dropped,
        total.injected,
        total.rekeys,
        total.windows,
        total.compressed,
        total.bare,
        total.in_pieces,
        total.cut,
        total.reassembled,
        total.too_big,
    ));
    assert_eq!(total.sent, PACKETS * seeds.len() as u64);
    assert!(total.delivered > 0 && total.link.lost > 0 && total.link.duplicated > 0);
    assert!(total.corrupt_dropped > 0 && total.replays_dropped > 0 && total.injected > 0);
    assert!(total.rekeys > 0 && total.compressed > 0 && total.bare > 0);
    assert!(total.in_pieces > 0 && total.cut > 0 && total.reassembled > 0);
}
