//! Packets that the engine makes by itself: dummies by request, keepalives by time; they wait to be polled.
//! No packet that somebody handed in may enter.
//! Answers to: RFC 4303 section 2.6 (dummies), RFC 3948 section 4, ARCHITECTURE.md D2 (who calls, sends).

use super::Engine;
use super::batch::{Output, Route, Transmit};
use super::fit;
use super::outbound::Link;
use super::pass::Pass;
use crate::buffer::PacketBuf;
use crate::error::{DropReason, Error};
use crate::sa::Association;
use crate::terms::{Mode, Protocol, SaId};
use crate::time::Instant;
use crate::wire::ip::{self, Summary};
use crate::wire::protocol;
use std::sync::Arc;

/// How many packets wait to be polled; a keepalive or a dummy beyond is not made.
const LIMIT: usize = 1024;
/// The longest dummy payload.
const DUMMY_BYTES_MAX: usize = 60_000;

/// A packet that waits, and the SA without which it must not leave.
#[derive(Debug)]
pub(super) struct Waiting {
    association: Arc<Association>,
    transmit: Transmit,
}

impl Engine {
    /// Takes the oldest packet that the engine made by itself: it must go to the wire like `Output::transmit`.
    ///
    /// What was made for an SA that has left since is forgotten.
    pub fn poll_transmit(&self) -> Option<Transmit> {
        loop {
            let waiting = self.originated.lock().pop_front()?;
            if waiting.association.usable_outbound() {
                return Some(waiting.transmit);
            }
        }
    }

    /// Whether a packet waits for `poll_transmit`.
    #[must_use]
    pub fn has_transmits(&self) -> bool {
        !self.originated.lock().is_empty()
    }

    pub(super) fn originate(&self, association: &Arc<Association>, transmit: Transmit) {
        let mut originated = self.originated.lock();
        if originated.len() < LIMIT {
            let association = Arc::clone(association);
            originated.push_back(Waiting {
                association,
                transmit,
            });
        }
    }

    /// Makes a dummy packet with `bytes` of random payload on an outbound SA: to others it looks like any packet,
    /// its receiver swallows it. It is cut to what fits the path; `poll_transmit` has it.
    ///
    /// # Errors
    /// `NotFound` without such an SA, `UnsupportedCombination` for a protocol other than ESP, `OutOfRange` for more
    /// than 60,000 bytes, `InvalidState` if the SA cannot send, `Full` if nobody polls.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.6
    //# a dummy packet can be sent by choice
    pub fn send_dummy(&self, id: &SaId, bytes: usize, now: Instant) -> Result<(), Error> {
        if id.protocol != Protocol::Esp {
            return Err(Error::UnsupportedCombination);
        }
        if bytes > DUMMY_BYTES_MAX {
            return Err(Error::OutOfRange { field: "bytes" });
        }
        let association = self.sad.read().lookup(id).ok_or(Error::NotFound)?;
        if self.originated.lock().len() >= LIMIT {
            return Err(Error::Full);
        }
        let mut out = Output::default();
        let mut pass = Pass::begin(self, now, &mut out);
        let sealed = pass.seal_dummy(&association, bytes);
        pass.finish();
        let (packet, route) = sealed.map_err(|_| Error::InvalidState)?;
        self.originate(&association, Transmit { packet, route });
        Ok(())
    }
}

impl Pass<'_> {
    fn seal_dummy(
        &mut self,
        association: &Arc<Association>,
        bytes: usize,
    ) -> Result<(PacketBuf, Route), DropReason> {
        let params = association.params();
        let mut payload = vec![0; bytes];
        self.worker.tools.ivs.random(&mut payload);
        let packet = ip::packet(
            params.source,
            params.id.destination,
            protocol::NO_NEXT_HEADER,
            &payload,
        );
        let packet = packet.ok_or(DropReason::OutTooBig)?;
        let mut packet = PacketBuf::from_packet(&packet);
        let header_bytes = packet.len() - bytes;
        // The header in front is that of the SA's own ends, in tunnel mode as in transport mode.
        self.worker.chain.push(Link {
            association: Arc::clone(association),
            mode: Mode::Transport,
        });
        let limit = self.path_limit();
        let (chain, rules) = (&self.worker.chain, self.config.ah_rules);
        let fits = fit::largest_that_fits(packet.len(), |bytes| {
            fit::sealed_bytes(chain, header_bytes, bytes, rules) <= limit
        });
        packet.truncate(fits.max(header_bytes));
        ip::replace_payload(packet.as_mut_slice(), header_bytes, protocol::NO_NEXT_HEADER)?;
        let summary = Summary::parse(packet.as_slice()).ok_or(DropReason::OutMalformed)?;
        let route = self.seal_chain(&mut packet, summary);
        self.worker.chain.clear();
        self.stats.dummies_sent.add(packet.len());
        Ok((packet, route?))
    }
}
