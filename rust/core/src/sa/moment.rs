//! An SA as it was at one moment, held small: what never changes is shared with the SA itself.
//! No order, no filter and no format may enter.
//! Answers to: RFC 2367 section 3.1.10 (a dump is of one moment, however long it takes).

use crate::sa::association::Association;
use crate::sa::params::{SaParams, SaView, State};
use crate::time::WallClock;
use std::sync::Arc;

/// What changes of an SA while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its state.
    pub state: State,
    /// When it carried its first packet.
    pub first_used: Option<WallClock>,
    /// Bytes it carried.
    pub bytes: u64,
    /// Packets it carried.
    pub packets: u64,
    /// The last sequence number sent or the highest received.
    pub sequence: u64,
}

/// An SA at one moment; whatever becomes of it later, this stays.
#[derive(Clone, Debug)]
pub struct Moment {
    association: Arc<Association>,
    tally: Tally,
}

impl Moment {
    /// Keeps an SA as it is now.
    #[must_use]
    pub fn of(association: Arc<Association>) -> Self {
        let tally = association.tally();
        Self { association, tally }
    }

    /// What was said when it was added.
    #[must_use]
    pub fn params(&self) -> &SaParams {
        self.association.params()
    }

    /// What had changed by then.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// When it was added.
    #[must_use]
    pub fn created(&self) -> WallClock {
        self.association.created()
    }

    /// The whole of it, as a copy; the window, which no dump tells, is today's.
    #[must_use]
    pub fn view(&self) -> SaView {
        let Tally {
            state,
            first_used,
            bytes,
            packets,
            sequence,
        } = self.tally;
        SaView {
            state,
            first_used,
            bytes,
            packets,
            sequence,
            ..self.association.view()
        }
    }
}
