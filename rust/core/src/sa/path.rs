//! What an SA learned of the path to its peer: MTU, NAT mapping, last use, failures in a row.
//! No decision and no header may enter: the engine asks and tells.
//! Answers to: RFC 4301 sections 8.2.1 and 8.2.2, RFC 3948 sections 4 and 5, RFC 4303 appendix A3.

use crate::time::Instant;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use parking_lot::Mutex;
use std::net::IpAddr;

/// How often one SA's peer may be reported to have moved.
const MOVE_INTERVAL: Duration = Duration::from_secs(1);
/// How many packets in a row must fail before a lost ESN high half is suspected.
const FAILURES_BEFORE_RESYNC: u32 = 1024;

/// Address and port of a peer behind a NAT.
pub type Peer = (IpAddr, u16);

/// What is known of the way to the peer. Everything is a hint: none of it is signed.
#[derive(Debug, Default)]
pub struct Path {
    /// 0 is unknown.
    mtu: AtomicU32,
    mtu_until: AtomicU64,
    /// Nanoseconds of the last packet sent plus one; 0 is never.
    last_sent: AtomicU64,
    failures: AtomicU32,
    moved: Mutex<Option<(Peer, Instant)>>,
}

impl Path {
    /// Takes a path MTU that somebody told; it only ever lowers what is known, and is forgotten after `hold`.
    ///
    /// Returns whether that changed anything.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.1
    //# the path MTU is kept with the SA
    pub fn learn_mtu(&self, mtu: u32, now: Instant, hold: Duration) -> bool {
        if self.mtu(now).is_some_and(|known| known <= mtu) {
            return false;
        }
        self.mtu_until.store(now.plus(hold).0, Ordering::Relaxed);
        self.mtu.store(mtu, Ordering::Relaxed);
        true
    }

    /// The path MTU, if one was told and is not too old.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.2
    //# the path MTU ages
    #[must_use]
    pub fn mtu(&self, now: Instant) -> Option<u32> {
        let mtu = self.mtu.load(Ordering::Relaxed);
        (mtu != 0 && now.0 < self.mtu_until.load(Ordering::Relaxed)).then_some(mtu)
    }

    /// The path MTU that was told last, however old.
    #[must_use]
    pub fn last_mtu(&self) -> Option<u32> {
        let mtu = self.mtu.load(Ordering::Relaxed);
        (mtu != 0).then_some(mtu)
    }

    /// Notes that a packet left.
    pub fn note_sent(&self, now: Instant) {
        self.last_sent.store(now.0.saturating_add(1), Ordering::Relaxed);
    }

    /// When the last packet left.
    #[must_use]
    pub fn last_sent(&self) -> Option<Instant> {
        self.last_sent.load(Ordering::Relaxed).checked_sub(1).map(Instant)
    }

    /// Notes that an authentic packet came from `peer`, which is not where the SA expects it; says whether that
    /// is news that must be told.
    #[must_use]
    pub fn moved_to(&self, peer: Peer, now: Instant) -> bool {
        let mut moved = self.moved.lock();
        let told = moved.is_some_and(|(known, at)| known == peer || now.since(at) < MOVE_INTERVAL);
        if !told {
            *moved = Some((peer, now));
        }
        !told
    }

    /// Notes a packet whose ICV was good.
    pub fn note_success(&self) {
        // A store for every packet would cost more than this load.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Says whether the packet at hand, should it fail, is the one in a thousand that is worth a second look.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.failures.load(Ordering::Relaxed) % FAILURES_BEFORE_RESYNC == FAILURES_BEFORE_RESYNC - 1
    }

    /// Notes a packet whose ICV was wrong.
    pub fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(600);

    //= https://www.rfc-editor.org/rfc/rfc4301#section-8.2.2
    //# the path MTU ages
    #[test]
    fn a_path_mtu_is_only_lowered_and_ages() {
        let path = Path::default();
        let at = Instant::from_secs;
        assert_eq!(path.mtu(at(0)), None);
        assert!(path.learn_mtu(1400, at(0), HOLD));
        assert!(!path.learn_mtu(1450, at(1), HOLD) && !path.learn_mtu(1400, at(1), HOLD));
        assert!(path.learn_mtu(1300, at(2), HOLD));
        assert_eq!((path.mtu(at(601)), path.mtu(at(602))), (Some(1300), None));
        assert!(path.learn_mtu(1450, at(700), HOLD), "nothing is known any more");
        assert_eq!(path.mtu(at(700)), Some(1450));
    }

    #[test]
    fn a_move_is_news_once_and_not_too_often() {
        let path = Path::default();
        let peer = |port| ("192.0.2.9".parse().unwrap(), port);
        assert!(path.moved_to(peer(1), Instant::from_secs(10)));
        assert!(!path.moved_to(peer(1), Instant::from_secs(20)));
        assert!(path.moved_to(peer(2), Instant::from_secs(20)));
        assert!(!path.moved_to(peer(3), Instant::from_millis(20_900)));
        assert!(path.moved_to(peer(3), Instant::from_secs(21)));
    }

    #[test]
    fn one_failure_in_a_thousand_is_suspicious() {
        let path = Path::default();
        let suspicious = (0..5000)
            .filter(|_| {
                let here = path.is_suspicious();
                path.note_failure();
                here
            })
            .count();
        assert_eq!(suspicious, 4);
        path.note_success();
        assert!((0..1023).all(|_| {
            path.note_failure();
            true
        }));
        assert!(path.is_suspicious());
    }

    #[test]
    fn the_last_use_is_remembered() {
        let path = Path::default();
        assert_eq!(path.last_sent(), None);
        path.note_sent(Instant(0));
        assert_eq!(path.last_sent(), Some(Instant(0)));
    }
}
