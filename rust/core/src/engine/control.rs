//! Requests to the SAD and the SPD: add, update, delete, look up, dump, flush.
//! No message format and no reply's receiver may enter.
//! Answers to: RFC 2367 section 3.1 (GETSPI … DUMP), RFC 4301 section 4.4.

use super::Engine;
use crate::crypto::{AlgorithmKey, Permits};
use crate::error::Error;
use crate::sa::{Association, Limits, Moment, SaOptions, SaParams, SaView, State};
use crate::selector::Selector;
use crate::spd::{PolicyParams, PolicyView, Spd};
use crate::terms::{Direction, Mode, PolicyId, Protocol, SaId, Spi};
use crate::time::Instant;
use std::net::IpAddr;
use std::sync::Arc;

/// What `sad_getspi` is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiRequest {
    /// The protocol.
    pub protocol: Protocol,
    /// Source of the SA to come.
    pub source: IpAddr,
    /// Destination of the SA to come: the SPI is unique there.
    pub destination: IpAddr,
    /// Mode of the SA to come.
    pub mode: Mode,
    /// Its reqid, or 0.
    pub reqid: u32,
    /// Lowest SPI that will do; 0 in both is the configured range.
    pub min: u32,
    /// Highest SPI that will do.
    pub max: u32,
    /// Whether no SA may have it, of whatever protocol and destination.
    pub unshared: bool,
    /// The process that asks, 0 if unknown.
    pub owner: u32,
    /// The connection by which it asks, 0 if there is none.
    pub connection: u64,
}

impl Engine {
    /// Adds an SA with its keys.
    ///
    /// # Errors
    /// `Exists` if SPI, protocol and destination are taken; what the algorithms, the window and the addresses
    /// are refused for.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.5
    //# SAs are made by hand and by a key manager
    pub fn sad_add(&self, params: SaParams, now: Instant) -> Result<SaView, Error> {
        let association = Arc::new(self.associate(params, now)?);
        self.sad.write().insert(Arc::clone(&association))?;
        Ok(self.installed(&association, now))
    }

    /// Gives a larval SA its keys, or a living one other lifetimes and UDP ports; its keys stay as they are.
    ///
    /// # Errors
    /// `NotFound` without such an SA, `InvalidState` for a dead one or one whose keys or addresses would change;
    /// for a larval SA as `sad_add`.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.2
    //# UPDATE turns a larval SA into a mature one
    pub fn sad_update(&self, params: SaParams, now: Instant) -> Result<SaView, Error> {
        let mut sad = self.sad.write();
        let old = sad.lookup(&params.id).ok_or(Error::NotFound)?;
        let new = match old.state() {
            State::Larval => self.associate(params, now)?,
            State::Mature | State::Dying if keeps_identity(old.params(), &params) => {
                old.renewed(params.soft, params.hard, params.encap)?
            }
            State::Mature | State::Dying | State::Dead => return Err(Error::InvalidState),
        };
        let new = Arc::new(new);
        sad.replace(Arc::clone(&new))?;
        drop(sad);
        // What it has carried may lie beyond the new limits already.
        if let Some(expiry) = new.tick(now) {
            self.expire(&new, expiry);
        }
        Ok(self.installed(&new, now))
    }

    /// Gives an SA its keys, whether it is larval or alive: it begins anew under its name, with new counters.
    ///
    /// # Errors
    /// `NotFound` without such an SA, `InvalidState` for a dead one or one from another source; else as `sad_add`.
    pub fn sad_rekey(&self, params: SaParams, now: Instant) -> Result<SaView, Error> {
        let mut sad = self.sad.write();
        let old = sad.lookup(&params.id).ok_or(Error::NotFound)?;
        if old.state() == State::Dead || old.params().source != params.source {
            return Err(Error::InvalidState);
        }
        let new = Arc::new(self.associate(params, now)?);
        sad.replace(Arc::clone(&new))?;
        drop(sad);
        Ok(self.installed(&new, now))
    }

    /// Takes out the SAs that a connection made; only those without keys if `larval`.
    pub fn sad_delete_of(&self, connection: u64, larval: bool) -> Vec<SaView> {
        let mut sad = self.sad.write();
        let made: Vec<_> = sad
            .all()
            .filter(|association| association.params().connection == connection)
            .filter(|association| !larval || association.state() == State::Larval)
            .map(|association| *association.id())
            .collect();
        let removed = made.iter().filter_map(|id| sad.remove(id).ok());
        removed.map(|association| association.view()).collect()
    }

    /// Reserves an SPI; a larval SA holds it until `sad_update`, or for `larval_secs`.
    ///
    /// # Errors
    /// `OutOfRange` for a range upside down or below 256, `SpiExhausted` if none is free.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.1
    //# GETSPI makes a larval SA with an SPI out of the range asked for
    pub fn sad_getspi(&self, request: &SpiRequest, now: Instant) -> Result<Spi, Error> {
        let config = self.config.load();
        let (min, max) = match (request.min, request.max) {
            (0, 0) => (config.spi_min, config.spi_max),
            range => range,
        };
        if min < Spi::FIRST_ALLOCATABLE || min > max {
            return Err(Error::OutOfRange { field: "spi_range" });
        }
        if request.source.is_ipv4() != request.destination.is_ipv4() {
            return Err(Error::InvalidSelector);
        }
        let mut random = || {
            let mut word = [0; 4];
            self.seeds.lock().random(&mut word);
            u32::from_be_bytes(word)
        };
        let mut sad = self.sad.write();
        let spi = sad.allocate_spi(
            request.protocol,
            request.destination,
            (min, max),
            config.spi_tries,
            request.unshared,
            &mut random,
        )?;
        let params = larval_params(request, spi, config.larval_secs);
        let association = Association::larval(params, now, self.wall(now))?;
        let deadline = association.deadline();
        sad.insert(Arc::new(association))?;
        drop(sad);
        self.wake_at(deadline);
        Ok(spi)
    }

    /// Takes out one SA; where a source is given it must be the SA's.
    ///
    /// # Errors
    /// `NotFound` without such an SA.
    pub fn sad_delete(&self, id: &SaId, source: Option<IpAddr>) -> Result<SaView, Error> {
        let mut sad = self.sad.write();
        let association = sad.lookup(id).ok_or(Error::NotFound)?;
        if source.is_some_and(|source| source != association.params().source) {
            return Err(Error::NotFound);
        }
        let view = association.view();
        sad.remove(id)?;
        Ok(view)
    }

    /// Takes out every SA of a protocol between two addresses, except larval ones.
    pub fn sad_delete_pair(&self, protocol: Protocol, source: IpAddr, destination: IpAddr) -> Vec<SaView> {
        let removed = self.sad.write().remove_pair(protocol, source, destination);
        removed.iter().map(|association| association.view()).collect()
    }

    /// Whether there is any SA of a protocol between two ends, a larval one included.
    #[must_use]
    pub fn sad_between(&self, protocol: Protocol, source: IpAddr, destination: IpAddr) -> bool {
        self.sad.read().has_pair(protocol, source, destination)
    }

    /// The SA with this name, larval ones included.
    #[must_use]
    pub fn sad_lookup(&self, id: &SaId) -> Option<SaView> {
        self.sad.read().lookup(id).map(|association| association.view())
    }

    /// The oldest SA with this SPI, whatever its protocol and its ends, larval ones included.
    #[must_use]
    pub fn sad_with_spi(&self, spi: Spi) -> Option<SaView> {
        self.sad
            .read()
            .with_spi(spi)
            .map(|association| association.view())
    }

    /// Every SA, or every SA of one protocol, in order of insertion; larval ones included.
    #[must_use]
    pub fn sad_dump(&self, protocol: Option<Protocol>) -> Vec<SaView> {
        let all = self.sad.read().dump(protocol);
        all.iter().map(|association| association.view()).collect()
    }

    /// Every SA, or every SA of one protocol, as it is now, in order of insertion; what happens to them later
    /// does not show, and a million take no more room than their counters.
    //= https://www.rfc-editor.org/rfc/rfc2367#section-3.1.10
    //# DUMP is one message for each SA, from one snapshot, and says which is the last
    #[must_use]
    pub fn sad_moment(&self, protocol: Option<Protocol>) -> Vec<Moment> {
        let all = self.sad.read().dump(protocol);
        all.into_iter().map(Moment::of).collect()
    }

    /// Takes out every SA, or every SA of one protocol, and says how many there were.
    pub fn sad_flush(&self, protocol: Option<Protocol>) -> usize {
        let flushed = self.sad.write().flush(protocol).len();
        // Whoever begins anew is asked anew.
        self.events.lock().forget_acquires(protocol);
        self.give_up_protocol(protocol);
        flushed
    }

    /// Adds an SPD entry behind those of its priority.
    ///
    /// # Errors
    /// `Exists` if the list has this selector; what makes no sense in the entry itself.
    pub fn spd_add(&self, params: PolicyParams, now: Instant) -> Result<PolicyView, Error> {
        let wall = self.wall(now);
        self.spd_put(|spd| spd.insert(params, now, wall))
    }

    /// Replaces the SPD entry with this selector, or adds one.
    ///
    /// # Errors
    /// What makes no sense in the entry itself.
    pub fn spd_update(&self, params: PolicyParams, now: Instant) -> Result<PolicyView, Error> {
        let wall = self.wall(now);
        self.spd_put(|spd| spd.update(params, now, wall))
    }

    /// Takes out the SPD entry with exactly this selector.
    ///
    /// # Errors
    /// `NotFound` if the list has none.
    pub fn spd_delete(&self, direction: Direction, selector: &Selector) -> Result<PolicyView, Error> {
        self.spd_change(|spd| spd.remove(direction, selector))
            .map(|policy| policy.view())
    }

    /// Takes out the SPD entry with this id.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn spd_delete_id(&self, id: PolicyId) -> Result<PolicyView, Error> {
        self.spd_change(|spd| spd.remove_id(id))
            .map(|policy| policy.view())
    }

    /// The SPD entry with this id.
    #[must_use]
    pub fn spd_lookup(&self, id: PolicyId) -> Option<PolicyView> {
        self.spd.load().by_id(id).map(|policy| policy.view())
    }

    /// Every SPD entry, in order of ids.
    #[must_use]
    pub fn spd_dump(&self) -> Vec<PolicyView> {
        self.spd
            .load()
            .dump()
            .iter()
            .map(|policy| policy.view())
            .collect()
    }

    /// Takes out every SPD entry and says how many there were.
    pub fn spd_flush(&self) -> usize {
        let flushed: Result<usize, Error> = self.spd_change(|spd| Ok(spd.flush().len()));
        flushed.unwrap_or(0)
    }

    /// Gives the flows of a socket a policy that stands before every SPD entry, or another than they had.
    ///
    /// # Errors
    /// What makes no sense in the policy itself.
    pub fn pcb_put(&self, params: PolicyParams, now: Instant) -> Result<PolicyView, Error> {
        let wall = self.wall(now);
        self.spd_change(|spd| {
            let (direction, selector) = (params.direction, params.selector);
            spd.pcb_put(params, now, wall)?;
            spd.pcb_by_selector(direction, &selector)
                .cloned()
                .ok_or(Error::NotFound)
        })
        .map(|policy| policy.view())
    }

    /// Takes out the policy of a socket's flows.
    ///
    /// # Errors
    /// `NotFound` if there is none with exactly this selector.
    pub fn pcb_remove(&self, direction: Direction, selector: &Selector) -> Result<PolicyView, Error> {
        self.spd_change(|spd| spd.pcb_remove(direction, selector))
            .map(|policy| policy.view())
    }

    /// Every policy of a socket.
    #[must_use]
    pub fn pcb_dump(&self) -> Vec<PolicyView> {
        let all = self.spd.load().pcb_dump();
        all.iter().map(|policy| policy.view()).collect()
    }

    /// Takes out the SPD entries that a connection made.
    pub fn spd_delete_of(&self, connection: u64) -> Vec<PolicyView> {
        let removed: Result<Vec<_>, Error> = self.spd_change(|spd| {
            let all = spd.dump();
            let made = all
                .iter()
                .filter(|policy| policy.params().connection == connection);
            made.map(|policy| spd.remove_id(policy.id())).collect()
        });
        removed
            .unwrap_or_default()
            .iter()
            .map(|policy| policy.view())
            .collect()
    }

    /// Changes a copy of the SPD and swaps it in; a refused change leaves no trace.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1
    //# a changed SPD governs the packets that come afterwards
    pub(super) fn spd_change<T>(
        &self,
        change: impl FnOnce(&mut Spd) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _guard = self.control.lock();
        let mut spd = Spd::clone(&self.spd.load());
        let result = change(&mut spd)?;
        let spd = Arc::new(spd);
        self.spd.store(Arc::clone(&spd));
        self.give_up_policies(&spd);
        Ok(result)
    }

    fn spd_put(&self, put: impl FnOnce(&mut Spd) -> Result<PolicyId, Error>) -> Result<PolicyView, Error> {
        let policy = self.spd_change(|spd| {
            let id = put(spd)?;
            spd.by_id(id).cloned().ok_or(Error::NotFound)
        })?;
        self.wake_at(policy.deadline());
        self.events.lock().answer_policy_acquire(policy.id());
        Ok(policy.view())
    }

    fn associate(&self, mut params: SaParams, now: Instant) -> Result<Association, Error> {
        params.permits.unprotected |= self.config.load().allow_unprotected;
        Association::new(params, now, self.wall(now), Arc::clone(&self.lease))
    }

    /// What follows once an SA stands in the SAD: its timer, and the acquires it answers.
    pub(super) fn installed(&self, association: &Association, now: Instant) -> SaView {
        self.wake_at(association.deadline());
        self.begin_keeping_alive(association, now);
        let params = association.params();
        self.events.lock().answer_acquires(params);
        self.release_for(params);
        association.view()
    }
}

/// Whether an update names the SA as it is, and says nothing about keys or says the same.
fn keeps_identity(old: &SaParams, new: &SaParams) -> bool {
    let same = |old: &Option<AlgorithmKey>, new: &Option<AlgorithmKey>| new.is_none() || old == new;
    old.source == new.source
        && same(&old.encryption, &new.encryption)
        && same(&old.authentication, &new.authentication)
}

fn larval_params(request: &SpiRequest, spi: Spi, larval_secs: u64) -> SaParams {
    SaParams {
        id: SaId {
            spi,
            protocol: request.protocol,
            destination: request.destination,
        },
        source: request.source,
        mode: request.mode,
        reqid: request.reqid,
        encryption: None,
        authentication: None,
        replay_window: 0,
        esn: false,
        old: false,
        options: SaOptions::default(),
        raw_cpi: false,
        cycle_sequence: false,
        soft: Limits::default(),
        hard: Limits {
            add_secs: larval_secs,
            ..Limits::default()
        },
        encap: None,
        flags: 0,
        owner: request.owner,
        connection: request.connection,
        permits: Permits::default(),
    }
}
