//! Tests of the association: numbers, window, lifetime and renewal, one at a time and from threads.
//! Nothing that the crate itself uses may enter.
//! Answers to: RFC 4303 sections 2.2.1, 3.3.3 and 3.4.3.

use crate::crypto::AlgorithmKey;
use crate::crypto::iv::IvGenerator;
use crate::error::{DropReason, Error};
use crate::sa::association::Association;
use crate::sa::lease::{Lease, MemoryLease, NonceLedger};
use crate::sa::lifetime::{Expiry, Limits};
use crate::sa::params::{SaOptions, SaParams, State, UdpEncap};
use crate::terms::{Mode, Protocol, SaId, Sequence, Spi};
use crate::time::{Instant, WallClock};
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) fn params() -> SaParams {
    let destination = IpAddr::from([10, 0, 0, 2]);
    SaParams {
        id: SaId {
            spi: Spi(0x1000),
            protocol: Protocol::Esp,
            destination,
        },
        source: IpAddr::from([10, 0, 0, 1]),
        mode: Mode::Any,
        reqid: 0,
        encryption: Some(AlgorithmKey::new("aes-gcm-16", &[7; 20])),
        authentication: None,
        replay_window: 64,
        esn: false,
        old: false,
        options: SaOptions::default(),
        raw_cpi: false,
        cycle_sequence: false,
        soft: Limits::default(),
        hard: Limits::default(),
        encap: None,
        flags: 0,
        owner: 0,
        connection: 0,
        permits: crate::crypto::Permits::default(),
    }
}

pub(crate) fn with_lease(params: SaParams, lease: Arc<dyn Lease>) -> Association {
    Association::new(params, Instant(0), WallClock(1000), lease).unwrap()
}

pub(crate) fn mature(params: SaParams) -> Association {
    with_lease(params, Arc::new(MemoryLease::new(1000)))
}

fn sent(sa: &Association) -> Result<u64, DropReason> {
    sa.next_sequence().map(|(sequence, _)| sequence.0)
}

/// Grants numbers below a fixed limit.
struct Until(u64, NonceLedger);

impl Lease for Until {
    fn extend(&self, _id: &SaId, limit: u64) -> Option<u64> {
        (limit < self.0).then_some(self.0)
    }

    fn ledger(&self) -> &NonceLedger {
        &self.1
    }
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
//# A sender must not send a packet whose number would cycle, unless the check is off by agreement.
// bug-row: 47
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.2
//# the first packet has number 1, and no number cycles while the replay check is on
#[test]
fn thirty_two_bits_end_before_they_wrap() {
    let sa = mature(params());
    assert_eq!(sa.next_sequence(), Ok((Sequence(1), 1)), "the first packet is 1");
    sa.skip_to(u64::from(u32::MAX) - 1);
    assert_eq!(sent(&sa), Ok(u64::from(u32::MAX)));
    for _ in 0..3 {
        assert_eq!(sent(&sa), Err(DropReason::SequenceOverflow));
    }
    assert_eq!(sa.view().sequence, u64::from(u32::MAX));
}

// bug-row: 47
#[test]
fn a_cycling_sa_skips_zero_and_never_repeats_an_iv() {
    let sa = mature(SaParams {
        cycle_sequence: true,
        ..params()
    });
    sa.skip_to(u64::from(u32::MAX) - 1);
    let sent: Vec<_> = (0..3).map(|_| sa.next_sequence().unwrap()).collect();
    assert_eq!(
        sent,
        [
            (Sequence(u64::from(u32::MAX)), 1),
            (Sequence(1), 2),
            (Sequence(2), 3)
        ]
    );
    assert_eq!(sa.view().sequence, 2);
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.2.1
//# With ESN the counter has 64 bits.
// bug-row: 47
#[test]
fn esn_goes_on_above_thirty_two_bits() {
    let sa = mature(SaParams {
        esn: true,
        ..params()
    });
    sa.skip_to(u64::from(u32::MAX));
    assert_eq!(sent(&sa), Ok(1 << 32));
    assert_eq!(sent(&sa), Ok((1 << 32) + 1));
    sa.skip_to(u64::MAX - 2);
    assert_eq!(sent(&sa), Ok(u64::MAX - 1));
    // A limit is the first number that may not be used, so 2^64-1 never is.
    assert_eq!(sent(&sa), Err(DropReason::LeaseExhausted));
    sa.skip_to(u64::MAX);
    assert_eq!(sent(&sa), Err(DropReason::SequenceOverflow));
}

// bug-row: 47
#[test]
fn iv_numbers_end_the_sa_at_two_to_the_forty() {
    let sa = mature(SaParams {
        cycle_sequence: true,
        ..params()
    });
    sa.next_sequence().unwrap();
    let counter = sa.nonces().unwrap();
    counter.skip_to(IvGenerator::COUNTER_END - 2);
    assert_eq!(
        sa.next_sequence().map(|(_, iv)| iv),
        Ok(IvGenerator::COUNTER_END - 1)
    );
    assert_eq!(sa.next_sequence(), Err(DropReason::SequenceOverflow));
    assert_eq!(sa.next_sequence(), Err(DropReason::SequenceOverflow));
}

#[test]
fn a_lease_ends_an_sa_before_its_limit() {
    let sa = with_lease(params(), Arc::new(Until(4, NonceLedger::default())));
    assert_eq!([sent(&sa), sent(&sa), sent(&sa)], [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(sent(&sa), Err(DropReason::LeaseExhausted));
    assert_eq!((sa.view().sequence, sa.view().lease_limit), (3, 4));
}

#[test]
fn threads_never_share_a_number() {
    let lease: Arc<dyn Lease> = Arc::new(MemoryLease::new(7));
    let first = with_lease(params(), Arc::clone(&lease));
    let other = SaParams {
        id: SaId {
            spi: Spi(0x2000),
            ..params().id
        },
        ..params()
    };
    let second = with_lease(other, lease);
    let sender = |sa| {
        move || -> Vec<_> {
            (0..20_000)
                .map(|_| Association::next_sequence(sa).unwrap())
                .collect()
        }
    };
    let (mut sequences, mut ivs) = ([Vec::new(), Vec::new()], BTreeSet::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                (
                    n % 2,
                    scope.spawn(sender(if n % 2 == 0 { &first } else { &second })),
                )
            })
            .collect();
        for (sa, thread) in threads {
            for (sequence, iv) in thread.join().unwrap() {
                sequences[sa].push(sequence.0);
                assert!(ivs.insert(iv), "IV {iv} twice");
            }
        }
    });
    for mut numbers in sequences {
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=80_000));
    }
    assert!(ivs.into_iter().eq(1..=160_000), "one key, one counter, no gap");
}

#[test]
fn a_key_that_is_added_again_goes_on_with_its_ivs() {
    let lease: Arc<dyn Lease> = Arc::new(MemoryLease::new(10));
    let sa = with_lease(params(), Arc::clone(&lease));
    assert_eq!(
        [sa.next_sequence(), sa.next_sequence()],
        [Ok((Sequence(1), 1)), Ok((Sequence(2), 2))]
    );
    drop(sa);
    assert_eq!(with_lease(params(), lease).next_sequence(), Ok((Sequence(1), 3)));
}

#[test]
fn a_random_iv_needs_no_common_counter() {
    let cbc = SaParams {
        encryption: Some(AlgorithmKey::new("aes-cbc", &[7; 16])),
        authentication: Some(AlgorithmKey::new("hmac-sha2-256-128", &[8; 32])),
        ..params()
    };
    let lease: Arc<dyn Lease> = Arc::new(MemoryLease::new(10));
    let (first, second) = (
        with_lease(cbc.clone(), Arc::clone(&lease)),
        with_lease(cbc, lease),
    );
    assert_eq!(first.next_sequence(), Ok((Sequence(1), 1)));
    assert_eq!(second.next_sequence(), Ok((Sequence(1), 1)));
}

fn implicit(esn: bool) -> SaParams {
    SaParams {
        encryption: Some(AlgorithmKey::new("aes-gcm-16-iiv", &[7; 20])),
        authentication: None,
        esn,
        permits: crate::crypto::Permits {
            fresh_keys: true,
            unprotected: false,
        },
        ..params()
    }
}

//= https://www.rfc-editor.org/rfc/rfc8750#section-5
//# implicit IVs need sequence numbers that start with the key and never start again
#[test]
fn where_the_number_is_the_iv_two_sas_of_one_key_never_send_the_same() {
    let lease: Arc<dyn Lease> = Arc::new(MemoryLease::new(10));
    let first = with_lease(implicit(false), Arc::clone(&lease));
    let second = with_lease(implicit(false), Arc::clone(&lease));
    let numbers: Vec<u64> = [&first, &second, &second, &first]
        .into_iter()
        .map(|sa| sent(sa).unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(first.view().sequence, 4);
    drop((first, second));
    let third = with_lease(implicit(false), Arc::clone(&lease));
    assert_eq!(sent(&third), Ok(5));
    third.nonces().unwrap().skip_to(u64::from(u32::MAX));
    assert_eq!(sent(&third), Err(DropReason::SequenceOverflow));
    let extended = with_lease(implicit(true), lease);
    assert_eq!(sent(&extended), Ok((1 << 32) + 1));
}

#[test]
fn an_implicit_iv_is_refused_without_its_promises() {
    let refused = |params| {
        Association::new(params, Instant(0), WallClock(0), Arc::new(MemoryLease::new(10))).unwrap_err()
    };
    let algorithm = "aes-gcm-16-iiv";
    let nobody = SaParams {
        permits: crate::crypto::Permits::default(),
        ..implicit(true)
    };
    assert_eq!(refused(nobody), Error::NotForManualKeys { algorithm });
    let cycling = SaParams {
        cycle_sequence: true,
        ..implicit(false)
    };
    assert_eq!(refused(cycling), Error::UnsupportedCombination);
}

/// A MAC whose IV counts shares its counter, too: AES-GMAC in AH.
#[test]
fn the_counter_of_a_mac_belongs_to_its_key() {
    let gmac = || SaParams {
        id: SaId {
            protocol: Protocol::Ah,
            ..params().id
        },
        encryption: None,
        authentication: Some(AlgorithmKey::new("aes-128-gmac", &[7; 20])),
        ..params()
    };
    let lease: Arc<dyn Lease> = Arc::new(MemoryLease::new(10));
    let (first, second) = (with_lease(gmac(), Arc::clone(&lease)), with_lease(gmac(), lease));
    assert_eq!(first.next_sequence(), Ok((Sequence(1), 1)));
    assert_eq!(second.next_sequence(), Ok((Sequence(1), 2)));
}

#[test]
fn a_cipher_with_small_blocks_ends_by_itself() {
    let megabytes = |count: u64| count * 1024 * 1024;
    let triple_des = |soft_bytes, hard_bytes| {
        let key: Vec<u8> = (1..=24).map(|byte| byte * 9).collect();
        mature(SaParams {
            encryption: Some(AlgorithmKey::new("3des-cbc", &key)),
            authentication: Some(AlgorithmKey::new("hmac-sha2-256-128", &[8; 32])),
            soft: Limits {
                bytes: soft_bytes,
                ..Limits::default()
            },
            hard: Limits {
                bytes: hard_bytes,
                ..Limits::default()
            },
            ..params()
        })
    };
    for asked in [0, megabytes(65), megabytes(10_000)] {
        let sa = triple_des(asked, asked);
        assert_eq!(sa.account(megabytes(51), Instant(0)), None);
        assert_eq!(sa.account(megabytes(1), Instant(0)), Some(Expiry::Soft));
        assert_eq!(sa.account(megabytes(12) - 1, Instant(0)), None);
        assert_eq!(sa.account(1, Instant(0)), Some(Expiry::Hard));
        assert_eq!(sa.next_sequence(), Err(DropReason::OutExpired));
        assert_eq!(sa.view().params.hard.bytes, asked, "what was asked for is shown");
        // Renewing asks for other limits, and does not undo what the key has seen.
        let renewed = triple_des(0, 0);
        assert_eq!(renewed.account(megabytes(63), Instant(0)), Some(Expiry::Soft));
        let renewed = renewed
            .renewed(Limits::default(), Limits::default(), None)
            .unwrap();
        assert_eq!(renewed.account(megabytes(1), Instant(0)), Some(Expiry::Hard));
    }
    let sa = triple_des(megabytes(1), megabytes(2));
    assert_eq!(sa.account(megabytes(1), Instant(0)), Some(Expiry::Soft));
    assert_eq!(sa.account(megabytes(1), Instant(0)), Some(Expiry::Hard));
}

#[test]
fn a_packet_is_marked_once_even_if_two_were_checked() {
    let sa = mature(params());
    let (one, two) = (sa.check(5).unwrap(), sa.check(5).unwrap());
    assert_eq!(sa.mark(one), Ok(()));
    assert_eq!(sa.mark(two), Err(DropReason::Replay));
    assert_eq!(sa.check(5), Err(DropReason::Replay));
    assert_eq!(sa.check(0), Err(DropReason::Replay));
    let window = sa.view().window.unwrap();
    assert_eq!((window.top, window.size, window.bitmap), (5, 64, vec![1]));
}

#[test]
fn threads_deliver_each_packet_once() {
    let sa = mature(SaParams {
        replay_window: 4096,
        ..params()
    });
    let delivered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for low in 1..=4000 {
                    let marked = sa.check(low).and_then(|sequence| sa.mark(sequence));
                    delivered.fetch_add(u64::from(marked.is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(delivered.into_inner(), 4000);
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
//# The replay check must not be on where there is no integrity.
#[test]
fn without_a_check_everything_passes_and_the_top_is_known() {
    let unauthenticated = SaParams {
        encryption: Some(AlgorithmKey::new("aes-cbc", &[7; 16])),
        ..params()
    };
    for params in [
        SaParams {
            replay_window: 0,
            ..params()
        },
        unauthenticated,
    ] {
        let sa = mature(params);
        for low in [7, 7, 0, 3] {
            let sequence = sa.check(low).unwrap();
            assert_eq!(sa.mark(sequence), Ok(()));
        }
        assert_eq!((sa.view().sequence, sa.view().window), (7, None));
    }
}

#[test]
fn esn_is_completed_without_a_check_too() {
    let sa = mature(SaParams {
        replay_window: 0,
        esn: true,
        ..params()
    });
    sa.mark(Sequence((5 << 32) + 10)).unwrap();
    assert_eq!(sa.check(11), Ok(Sequence((5 << 32) + 11)));
    assert_eq!(sa.check(u32::MAX), Ok(Sequence((5 << 32) - 1)));
}

#[test]
fn soft_then_hard_each_once() {
    let soft = Limits {
        packets: 2,
        ..Limits::default()
    };
    let hard = Limits {
        packets: 4,
        ..Limits::default()
    };
    let sa = mature(SaParams {
        soft,
        hard,
        ..params()
    });
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push((sa.account(100, Instant(5)), sa.state()));
    }
    let (mature, dying, dead) = (State::Mature, State::Dying, State::Dead);
    let expected = [
        (None, mature),
        (Some(Expiry::Soft), dying),
        (None, dying),
        (Some(Expiry::Hard), dead),
        (None, dead),
        (None, dead),
    ];
    assert_eq!(seen, expected);
    assert_eq!(sa.next_sequence(), Err(DropReason::OutExpired));
    assert_eq!(sa.check(1), Err(DropReason::InExpired));
    assert!(!sa.usable_inbound() && !sa.usable_outbound());
    assert_eq!(sa.renewed(soft, hard, None).unwrap_err(), Error::InvalidState);
}

#[test]
fn threads_report_each_limit_once() {
    let soft = Limits {
        packets: 1000,
        ..Limits::default()
    };
    let hard = Limits {
        bytes: 30_000,
        ..Limits::default()
    };
    let sa = mature(SaParams {
        soft,
        hard,
        ..params()
    });
    let (softs, hards) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    match sa.account(10, Instant(1)) {
                        Some(Expiry::Soft) => softs.fetch_add(1, Ordering::Relaxed),
                        Some(Expiry::Hard) => hards.fetch_add(1, Ordering::Relaxed),
                        None => 0,
                    };
                }
            });
        }
    });
    assert_eq!((softs.into_inner(), hards.into_inner()), (1, 1));
}

#[test]
fn renewal_keeps_numbers_and_window_and_lets_limits_report_again() {
    let soft = Limits {
        packets: 1,
        ..Limits::default()
    };
    let old = mature(SaParams { soft, ..params() });
    assert_eq!(sent(&old), Ok(1));
    assert_eq!(old.account(10, Instant(0)), Some(Expiry::Soft));
    old.mark(Sequence(3)).unwrap();
    let encap = Some(UdpEncap {
        source_port: 4500,
        destination_port: 1234,
    });
    let new = old
        .renewed(Limits { packets: 2, ..soft }, Limits::default(), encap)
        .unwrap();
    assert_eq!((new.state(), new.params().encap), (State::Mature, encap));
    assert_eq!([sent(&new), sent(&old), sent(&new)], [Ok(2), Ok(3), Ok(4)]);
    assert_eq!(new.check(3), Err(DropReason::Replay));
    assert_eq!(
        new.account(10, Instant(0)),
        Some(Expiry::Soft),
        "2 packets in both lives together"
    );
}

#[test]
fn a_larval_sa_carries_nothing_and_ends_in_time() {
    let hard = Limits {
        add_secs: 30,
        ..Limits::default()
    };
    let sa = Association::larval(SaParams { hard, ..params() }, Instant::from_secs(5), WallClock(0)).unwrap();
    assert_eq!((sa.state(), sa.transform().is_none()), (State::Larval, true));
    assert_eq!(sa.next_sequence(), Err(DropReason::OutExpired));
    assert_eq!(sa.check(1), Err(DropReason::InExpired));
    assert_eq!(sa.deadline(), Some(Instant::from_secs(35)));
    assert_eq!(sa.tick(Instant::from_secs(34)), None);
    assert_eq!(sa.tick(Instant::from_secs(35)), Some(Expiry::Hard));
    assert_eq!((sa.state(), sa.deadline()), (State::Dead, None));
}

#[test]
fn who_still_holds_a_retired_sa_cannot_send() {
    let sa = mature(params());
    sa.retire();
    assert_eq!(sa.next_sequence(), Err(DropReason::OutExpired));
    assert_eq!(sa.account(1, Instant(0)), None);
    assert_eq!(sa.state(), State::Dead);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let make = |params| {
        Association::new(params, Instant(0), WallClock(0), Arc::new(MemoryLease::new(1)))
            .map(|_| ())
            .unwrap_err()
    };
    let named = |spi, protocol| SaId {
        spi: Spi(spi),
        protocol,
        ..params().id
    };
    assert_eq!(
        make(SaParams {
            id: named(0, Protocol::Esp),
            ..params()
        }),
        Error::InvalidSpi
    );
    assert_eq!(
        make(SaParams {
            id: named(1, Protocol::Ah),
            ..params()
        }),
        Error::UnsupportedCombination
    );
    assert_eq!(
        make(SaParams {
            source: "::1".parse().unwrap(),
            ..params()
        }),
        Error::InvalidSelector
    );
    assert_eq!(
        make(SaParams {
            replay_window: (1 << 16) + 1,
            ..params()
        }),
        Error::OutOfRange {
            field: "replay_window"
        }
    );
    assert_eq!(
        make(SaParams {
            encryption: None,
            ..params()
        }),
        Error::UnsupportedCombination
    );
}

#[test]
fn debug_output_has_no_key() {
    let shown = format!("{:?} {:?}", mature(params()), mature(params()).view());
    assert!(!shown.contains("7, 7") && shown.contains("Secret(..)"), "{shown}");
}
