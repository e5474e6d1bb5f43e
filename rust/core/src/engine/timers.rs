//! Time: lifetimes of SAs and SPD entries, larval SAs that nobody completed, acquires that may come again.
//! No clock may enter: the caller says what time it is, and is told when to come again.
//! Answers to: RFC 4301 section 4.4.2.1 (lifetimes), RFC 2367 section 3.1.8 (EXPIRE).

use super::Engine;
use super::event::Event;
use crate::error::Error;
use crate::sa::{Association, Expiry};
use crate::time::Instant;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::sync::Arc;

/// How long the engine does without looking at its SAs, for each of them; a look takes a tenth of that.
const PAUSE_A_SA: Duration = Duration::from_micros(1);

impl Engine {
    /// Does what is due at `now`: reports lifetimes, takes out what ended.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.2.1
    //# a lifetime has a soft end, which warns, and a hard one, at which the SA leaves
    pub fn handle_timeout(&self, now: Instant) {
        self.events.lock().forget_old_acquires(now);
        if now.0 < self.deadline.load(Ordering::Relaxed) {
            return;
        }
        // Whoever adds something from here on lowers it again.
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        let mut fragments = self.fragments.lock();
        fragments.expire(now);
        let next = fragments.deadline();
        drop(fragments);
        self.wake_at(next);
        self.expire_held(now);
        let associations = self.sad.read().dump(None);
        for association in associations {
            if let Some(expiry) = association.tick(now) {
                self.expire(&association, expiry);
            }
            self.wake_at(association.deadline());
        }
        self.expire_policies(now);
        // Only what is still there keeps a mapping alive.
        let associations = self.sad.read().dump(None);
        self.wake_at(self.keep_alive(&associations, now));
        self.resynchronise();
        self.not_before(now.plus(PAUSE_A_SA * u32::try_from(associations.len()).unwrap_or(u32::MAX)));
    }

    /// Puts off what is due sooner: looking at every SA at every end of one of them would take the square of
    /// their number. Packets do not wait for it: an SA that has ended carries none.
    fn not_before(&self, earliest: Instant) {
        let due = self.deadline.load(Ordering::Relaxed);
        if due < earliest.0 {
            // Somebody who lowers it in between is asked sooner, which does no harm.
            let _moved =
                self.deadline
                    .compare_exchange(due, earliest.0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// When `handle_timeout` has something to do; `None` if nothing has an end.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.load(Ordering::Relaxed);
        (deadline != u64::MAX).then_some(Instant(deadline))
    }

    /// Tells about a lifetime that ended; an SA at its hard one leaves.
    pub(super) fn expire(&self, association: &Arc<Association>, expiry: Expiry) {
        let hard = expiry == Expiry::Hard;
        let sa = Box::new(association.view());
        if hard {
            let mut sad = self.sad.write();
            // Another SA may have taken the name since.
            if sad
                .lookup(association.id())
                .is_some_and(|there| Arc::ptr_eq(&there, association))
            {
                // Just found, so it is there.
                let _gone = sad.remove(association.id());
            }
        }
        let limit = self.config.load().event_limit;
        self.events.lock().push(Event::Expire { sa, hard }, limit);
    }

    fn expire_policies(&self, now: Instant) {
        for policy in self.spd.load().expired(now) {
            let ended = self.spd_change(|spd| {
                // An update may have taken its place since.
                let there = spd
                    .by_id(policy.id())
                    .is_some_and(|there| Arc::ptr_eq(there, &policy));
                if there {
                    spd.remove_id(policy.id())
                } else {
                    Err(Error::NotFound)
                }
            });
            if ended.is_ok() {
                let policy = Box::new(policy.view());
                self.events
                    .lock()
                    .push_in_any_case(Event::PolicyExpire { policy });
            }
        }
        self.wake_at(self.spd.load().deadline());
    }
}
