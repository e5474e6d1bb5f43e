//! One SA at work: its numbers, its window, its lifetime, and the transform that has its keys.
//! No database, no policy and no header may enter.
//! Answers to: RFC 4301 section 4.4.2, RFC 4303 sections 3.3.3 and 3.4.3, ARCHITECTURE.md D3 and D6.

use crate::crypto::registry::{Algorithm, IvSource, lookup};
use crate::crypto::{AlgorithmKey, Integrity, Suite, compress};
use crate::error::{DropReason, Error};
use crate::sa::lease::{Lease, NonceCounter};
use crate::sa::lifetime::{Expiry, Lifetime, Limits, Usage};
use crate::sa::moment::Tally;
use crate::sa::params::{SaOptions, SaParams, SaView, State, UdpEncap};
use crate::sa::path::Path;
use crate::sa::replay::ReplayWindow;
use crate::terms::{Mode, Protocol, SaId, Sequence};
use crate::time::{Instant, WallClock};
use crate::transform::ah::Ah;
use crate::transform::esp::Esp;
use crate::transform::{IpComp, Transform};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// The window that completes ESN numbers where the replay check is off.
const INFERENCE_WINDOW: u32 = 64;

/// What an SA needs to carry packets.
struct Working {
    transform: Transform,
    lease: Arc<dyn Lease>,
    /// The last number sent; cycling SAs count on above 2^32.
    last_sent: AtomicU64,
    lease_limit: AtomicU64,
    nonces: OnceLock<NonceCounter>,
    window: Mutex<ReplayWindow>,
    /// Whether `window` refuses, or only completes ESN numbers and remembers the highest.
    replay_check: bool,
    /// Whether the sequence number is the IV, and so is nobody's twice for one key.
    number_is_iv: bool,
}

/// A security association. All methods take `&self`: senders and receivers share it.
pub struct Association {
    params: SaParams,
    working: Option<Arc<Working>>,
    usage: Arc<Usage>,
    path: Arc<Path>,
    lifetime: Lifetime,
    serial: AtomicU64,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("id", &self.params.id)
            .field("state", &self.state())
            .finish()
    }
}

impl Association {
    /// Makes a mature SA.
    ///
    /// # Errors
    /// `InvalidSpi` for SPI 0, `InvalidSelector` if the ends differ in family, `OutOfRange` for the replay
    /// window and for options that do not fit the protocol, what `Suite::permitted` (ESP),
    /// `Integrity::permitted` (AH) or `IpComp::new` finds, and `UnsupportedCombination` for AH, IPComp or an old format in UDP, for ESN where no numbers are that long,
    /// for ICVs of ESP in an old format, for an implicit IV with numbers that may start again, and for IPComp
    /// in an old format, without compression or with authentication.
    pub fn new(
        params: SaParams,
        now: Instant,
        wall: WallClock,
        lease: Arc<dyn Lease>,
    ) -> Result<Self, Error> {
        check_name(&params)?;
        let transform = transform(&params)?;
        //= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.3
        //# The replay check must not be on where there is no integrity.
        let replay_check = params.replay_window != 0 && transform.has_integrity() && transform.is_numbered();
        let size = if params.replay_window == 0 {
            INFERENCE_WINDOW
        } else {
            params.replay_window
        };
        let working = Working {
            lease,
            last_sent: AtomicU64::new(0),
            lease_limit: AtomicU64::new(0),
            nonces: OnceLock::new(),
            window: Mutex::new(ReplayWindow::new(size, params.esn)?),
            replay_check,
            number_is_iv: row(params.encryption.as_ref()).is_some_and(|row| row.iv == IvSource::Implicit),
            transform,
        };
        Ok(Self::assemble(
            params,
            Some(Arc::new(working)),
            Arc::new(Usage::new(now, wall)),
            Arc::default(),
        ))
    }

    /// Makes a larval SA: an SPI is taken, keys will come with an SA that replaces this one. It ends at
    /// `params.hard.add_secs`.
    ///
    /// # Errors
    /// `InvalidSpi` for SPI 0, `InvalidSelector` if the ends differ in family.
    pub fn larval(params: SaParams, now: Instant, wall: WallClock) -> Result<Self, Error> {
        check_name(&params)?;
        let usage = Arc::new(Usage::new(now, wall));
        Ok(Self::assemble(params, None, usage, Arc::default()))
    }

    fn assemble(params: SaParams, working: Option<Arc<Working>>, usage: Arc<Usage>, path: Arc<Path>) -> Self {
        let lifetime = lifetime(&params);
        Self {
            params,
            working,
            usage,
            path,
            lifetime,
            serial: AtomicU64::new(0),
        }
    }

    /// The same SA with other limits and ports: keys, numbers, window and counters are shared with it, and
    /// each limit may report again.
    ///
    /// # Errors
    /// `InvalidState` for a larval or dead SA.
    pub fn renewed(&self, soft: Limits, hard: Limits, encap: Option<UdpEncap>) -> Result<Self, Error> {
        match self.state() {
            State::Larval | State::Dead => Err(Error::InvalidState),
            State::Mature | State::Dying => {
                let params = SaParams {
                    soft,
                    hard,
                    encap,
                    ..self.params.clone()
                };
                Ok(Self::assemble(
                    params,
                    self.working.clone(),
                    Arc::clone(&self.usage),
                    Arc::clone(&self.path),
                ))
            }
        }
    }

    /// The same SA between other ends: keys, numbers, window and counters are shared with it.
    ///
    /// # Errors
    /// `InvalidState` for a larval or dead SA, `InvalidSelector` if the ends differ in family.
    pub fn moved(&self, source: IpAddr, destination: IpAddr, encap: Option<UdpEncap>) -> Result<Self, Error> {
        if matches!(self.state(), State::Larval | State::Dead) {
            return Err(Error::InvalidState);
        }
        let mut params = SaParams {
            source,
            encap,
            ..self.params.clone()
        };
        params.id.destination = destination;
        // What the checksums covered before a NAT was said of the ends that are left.
        params.options.original = None;
        check_name(&params)?;
        let usage = Arc::clone(&self.usage);
        Ok(Self::assemble(
            params,
            self.working.clone(),
            usage,
            Arc::default(),
        ))
    }

    /// What was said when it was added.
    #[must_use]
    pub fn params(&self) -> &SaParams {
        &self.params
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &SaId {
        &self.params.id
    }

    /// The transform with its keys; a larval SA has none.
    #[must_use]
    pub fn transform(&self) -> Option<&Transform> {
        self.working.as_ref().map(|working| &working.transform)
    }

    /// What it learned of the way to its peer.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its place in the order of insertion; 0 until the SAD has it.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial.load(Ordering::Relaxed)
    }

    /// Gives it its place in the order of insertion.
    pub(crate) fn assign_serial(&self, serial: u64) {
        self.serial.store(serial, Ordering::Relaxed);
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> State {
        match self.lifetime.state() {
            State::Mature | State::Dying if self.working.is_none() => State::Larval,
            state @ (State::Larval | State::Mature | State::Dying | State::Dead) => state,
        }
    }

    fn usable(&self) -> bool {
        matches!(self.state(), State::Mature | State::Dying)
    }

    /// Says whether it may carry outbound packets.
    #[must_use]
    pub fn usable_outbound(&self) -> bool {
        self.usable()
    }

    /// Says whether it may carry inbound packets.
    #[must_use]
    pub fn usable_inbound(&self) -> bool {
        self.usable()
    }

    /// Ends it at once and without an event: it was taken out while somebody may still hold it.
    pub fn retire(&self) {
        self.lifetime.end();
    }

    /// Takes the next sequence number and the next IV number; no two callers ever get the same. Where packets
    /// carry no number, there is none to run out of.
    ///
    /// # Errors
    /// `OutExpired` if it does not serve (any more), `SequenceOverflow` when either number is used up,
    /// `LeaseExhausted` if nobody grants further numbers.
    pub fn next_sequence(&self) -> Result<(Sequence, u64), DropReason> {
        let working = self
            .working
            .as_ref()
            .filter(|_| self.usable())
            .ok_or(DropReason::OutExpired)?;
        if !working.transform.is_numbered() {
            return Ok((Sequence::default(), 0));
        }
        if working.number_is_iv {
            return self.next_shared_number(working);
        }
        let mut last = working.last_sent.load(Ordering::Acquire);
        let number = loop {
            let next = self.following(last)?;
            working.lease_number(next, &self.params.id)?;
            match working
                .last_sent
                .compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => break next,
                Err(seen) => last = seen,
            }
        };
        let nonces = working.nonces.get_or_init(|| self.open_nonces(working));
        Ok((self.on_the_wire(number), nonces.next()?))
    }

    /// Takes a number from the counter that all SAs of one key share: a key that comes back goes on above its
    /// last number, which a receiver takes for lost packets.
    //= https://www.rfc-editor.org/rfc/rfc8750#section-5
    //# implicit IVs need sequence numbers that start with the key and never start again
    fn next_shared_number(&self, working: &Working) -> Result<(Sequence, u64), DropReason> {
        let nonces = working.nonces.get_or_init(|| self.open_nonces(working));
        let number = nonces.next()?;
        if !self.params.esn && number > u64::from(u32::MAX) {
            return Err(DropReason::SequenceOverflow);
        }
        working.lease_number(number, &self.params.id)?;
        working.last_sent.fetch_max(number, Ordering::AcqRel);
        Ok((Sequence(number), number))
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.3
    //# A sender must not send a packet whose number would cycle, unless the check is off by agreement.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.2
    //# the first packet has number 1, and no number cycles while the replay check is on
    fn following(&self, last: u64) -> Result<u64, DropReason> {
        let next = last.checked_add(1).ok_or(DropReason::SequenceOverflow)?;
        if self.params.esn || Sequence(next).low() != 0 {
            Ok(next)
        } else if self.params.cycle_sequence {
            // Zero is no number that a receiver accepts.
            next.checked_add(1).ok_or(DropReason::SequenceOverflow)
        } else {
            Err(DropReason::SequenceOverflow)
        }
    }

    fn on_the_wire(&self, number: u64) -> Sequence {
        if self.params.esn {
            Sequence(number)
        } else {
            Sequence(u64::from(Sequence(number).low()))
        }
    }

    /// An algorithm whose IV counts shares the counter with every SA of the same key.
    fn open_nonces(&self, working: &Working) -> NonceCounter {
        let counts = |key: &&AlgorithmKey| {
            row(Some(*key)).is_some_and(|row| matches!(row.iv, IvSource::Counter | IvSource::Implicit))
        };
        let keys = [&self.params.encryption, &self.params.authentication];
        let counting = keys.into_iter().flatten().find(counts);
        counting.map_or_else(NonceCounter::alone, |counting| {
            working.lease.ledger().open(&counting.key)
        })
    }

    /// Says whether an inbound packet may be new, and its full number. To be called before the ICV.
    ///
    /// # Errors
    /// `InExpired` if it does not serve (any more), `Replay` as `ReplayWindow::check`.
    pub fn check(&self, low: u32) -> Result<Sequence, DropReason> {
        let working = self
            .working
            .as_ref()
            .filter(|_| self.usable())
            .ok_or(DropReason::InExpired)?;
        if !working.transform.is_numbered() {
            return Ok(Sequence::default());
        }
        let window = working.window.lock();
        if working.replay_check {
            window.check(low)
        } else {
            window.infer(low)
        }
    }

    /// Remembers an inbound packet whose ICV was good. To be called after the ICV and before delivery.
    ///
    /// # Errors
    /// `Replay` if another packet with this number was faster; it must not be delivered then.
    pub fn mark(&self, sequence: Sequence) -> Result<(), DropReason> {
        let working = self.working.as_ref().ok_or(DropReason::InExpired)?;
        if !working.transform.is_numbered() {
            return Ok(());
        }
        let marked = working.window.lock().mark(sequence);
        if working.replay_check { marked } else { Ok(()) }
    }

    /// Counts one packet that it carried, and says which limit that reached; each is said once.
    #[must_use]
    pub fn account(&self, bytes: u64, now: Instant) -> Option<Expiry> {
        self.usage.count(bytes, now);
        self.tick(now)
    }

    /// Says which limit is reached by now; each is said once.
    #[must_use]
    pub fn tick(&self, now: Instant) -> Option<Expiry> {
        self.lifetime.report(&self.usage, now)
    }

    /// When `tick` should be called next; the first packet may bring it forward.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.lifetime.deadline(&self.usage)
    }

    /// What can be seen of it now.
    #[must_use]
    pub fn view(&self) -> SaView {
        let mut view = SaView {
            params: self.params.clone(),
            state: self.state(),
            created: self.usage.created(),
            first_used: self.usage.first_used(),
            bytes: self.usage.bytes(),
            packets: self.usage.packets(),
            sequence: 0,
            lease_limit: 0,
            path_mtu: self.path.last_mtu(),
            window: None,
            serial: self.serial(),
        };
        if let Some(working) = &self.working {
            let window = working.window.lock();
            let sent = self.on_the_wire(working.last_sent.load(Ordering::Acquire)).0;
            view.sequence = sent.max(window.top());
            view.lease_limit = working.lease_limit.load(Ordering::Acquire);
            view.window = working.replay_check.then(|| window.view());
        }
        view
    }
}

impl Association {
    /// What changes of it, as it is now.
    pub(super) fn tally(&self) -> Tally {
        let sequence = self.working.as_ref().map_or(0, |working| {
            let sent = self.on_the_wire(working.last_sent.load(Ordering::Acquire)).0;
            sent.max(working.window.lock().top())
        });
        Tally {
            state: self.state(),
            first_used: self.usage.first_used(),
            bytes: self.usage.bytes(),
            packets: self.usage.packets(),
            sequence,
        }
    }

    /// When it was added.
    pub(super) fn created(&self) -> WallClock {
        self.usage.created()
    }
}

impl Working {
    /// Makes sure that `number` is below the lease's limit.
    fn lease_number(&self, number: u64, id: &SaId) -> Result<(), DropReason> {
        if number >= self.lease_limit.load(Ordering::Acquire) {
            let granted = self.lease.extend(id, number).filter(|granted| *granted > number);
            let granted = granted.ok_or(DropReason::LeaseExhausted)?;
            self.lease_limit.fetch_max(granted, Ordering::AcqRel);
        }
        Ok(())
    }
}

fn row(key: Option<&AlgorithmKey>) -> Option<&'static Algorithm> {
    key.and_then(|key| lookup(&key.name))
}

/// The limits as they were asked for, and the algorithm's own: a key manager is warned at four fifths of it.
fn lifetime(params: &SaParams) -> Lifetime {
    let capped = |limits: Limits, bytes: u64| Limits {
        bytes: if limits.bytes == 0 {
            bytes
        } else {
            limits.bytes.min(bytes)
        },
        ..limits
    };
    match row(params.encryption.as_ref()).and_then(|row| row.byte_limit) {
        Some(limit) => Lifetime::new(capped(params.soft, limit / 5 * 4), capped(params.hard, limit)),
        None => Lifetime::new(params.soft, params.hard),
    }
}

fn transform(params: &SaParams) -> Result<Transform, Error> {
    let (encryption, authentication) = (params.encryption.as_ref(), params.authentication.as_ref());
    if params.cycle_sequence && row(encryption).is_some_and(|row| row.iv == IvSource::Implicit) {
        return Err(Error::UnsupportedCombination);
    }
    match params.id.protocol {
        Protocol::Esp if params.old && params.encap.is_some() => Err(Error::UnsupportedCombination),
        Protocol::Esp => {
            let suite = Suite::permitted(encryption, authentication, params.permits)?;
            match (params.old, params.esn) {
                (false, esn) => Ok(Transform::Esp(Esp::new(params.id.spi, suite, esn))),
                (true, false) => Esp::old(params.id.spi, suite).map(Transform::Esp),
                (true, true) => Err(Error::UnsupportedCombination),
            }
        }
        // UDP encapsulation is ESP's (RFC 3948 §1).
        Protocol::Ah if params.encap.is_some() => Err(Error::UnsupportedCombination),
        Protocol::Ah => {
            let integrity = Integrity::permitted(encryption, authentication, params.permits)?;
            Ah::new(params.id.spi, integrity, params.esn, params.old).map(Transform::Ah)
        }
        Protocol::IpComp => {
            let unfit = params.esn || params.old || params.encap.is_some() || authentication.is_some();
            let asked = encryption
                .filter(|_| !unfit)
                .ok_or(Error::UnsupportedCombination)?;
            compress::check(asked)?;
            IpComp::new(params.id.spi, params.raw_cpi).map(Transform::IpComp)
        }
    }
}

/// Every host takes a packet of this length in one piece (RFC 791 §3.2).
const FRAGMENT_BYTES_MIN: u16 = 68;

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.1
//# SPI 0 is for local use and never on the wire.
fn check_name(params: &SaParams) -> Result<(), Error> {
    if params.id.spi.0 == 0 {
        return Err(Error::InvalidSpi);
    }
    if params.source.is_ipv4() != params.id.destination.is_ipv4() {
        return Err(Error::InvalidSelector);
    }
    let SaOptions {
        original,
        keepalive,
        tfc_bytes,
        fragment_bytes,
    } = params.options;
    if original.is_some_and(|(source, destination)| {
        source.is_ipv4() != params.source.is_ipv4() || destination.is_ipv4() != source.is_ipv4()
    }) {
        return Err(Error::InvalidSelector);
    }
    if keepalive && params.encap.is_none() {
        return Err(Error::OutOfRange { field: "keepalive" });
    }
    if tfc_bytes != 0 && params.id.protocol != Protocol::Esp {
        return Err(Error::OutOfRange { field: "tfc_bytes" });
    }
    if fragment_bytes != 0 && (params.encap.is_none() || params.mode == Mode::Transport) {
        return Err(Error::UnsupportedCombination);
    }
    if (1..FRAGMENT_BYTES_MIN).contains(&fragment_bytes) {
        return Err(Error::OutOfRange {
            field: "fragment_bytes",
        });
    }
    Ok(())
}

#[cfg(test)]
impl Association {
    /// Goes to a number without sending what lies before it.
    pub(crate) fn skip_to(&self, last_sent: u64) {
        if let Some(working) = &self.working {
            working.last_sent.store(last_sent, Ordering::Release);
        }
    }

    /// The counter of its IVs, once it has sent.
    pub(crate) fn nonces(&self) -> Option<&NonceCounter> {
        self.working.as_ref()?.nonces.get()
    }
}
