//! The SAD: finds an SA by its name (inbound), by its ends and a template (outbound), or by age (dump).
//! No policy, no clock and no lock may enter: who shares the SAD locks it.
//! Answers to: RFC 4301 sections 4.1 and 4.4.2, `setkey(8)` (delete, deleteall, flush, dump).

use crate::error::Error;
use crate::sa::association::Association;
use crate::sa::params::State;
use crate::terms::{Cpi, Mode, Protocol, SaId, Spi, Template};
use core::hash::{BuildHasher, Hash, Hasher as _};
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Hashes with a seed that the caller chose: runs replay, and strangers cannot aim at one bucket.
#[derive(Clone, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// Protocol, source, destination, and a reqid; 0 stands for all SAs of the pair.
type PairKey = (Protocol, IpAddr, IpAddr, u32);
/// The low half of an IPComp SA's SPI, with its ends.
type CpiKey = (Cpi, IpAddr, IpAddr);
/// SAs by their serial number.
type Ages = BTreeMap<u64, Arc<Association>>;

/// The security association database.
#[derive(Debug)]
pub struct Sad {
    by_id: HashMap<SaId, Arc<Association>, Seeded>,
    by_pair: HashMap<PairKey, Ages, Seeded>,
    by_cpi: HashMap<CpiKey, Ages, Seeded>,
    by_age: Ages,
    /// SPIs with the serial numbers of those that have them: some systems count SPIs of all protocols as one.
    by_spi: BTreeSet<(Spi, u64)>,
    last_serial: u64,
}

impl Sad {
    /// Makes an empty SAD; `hash_seed` should be random outside of tests.
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        Self {
            by_id: HashMap::with_hasher(Seeded(hash_seed)),
            by_pair: HashMap::with_hasher(Seeded(hash_seed)),
            by_cpi: HashMap::with_hasher(Seeded(hash_seed)),
            by_age: Ages::new(),
            by_spi: BTreeSet::new(),
            last_serial: 0,
        }
    }

    /// The number of SAs, larval ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Says whether there is no SA at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds an SA behind all others.
    ///
    /// # Errors
    /// `Exists` if SPI, protocol and destination are taken.
    pub fn insert(&mut self, association: Arc<Association>) -> Result<(), Error> {
        if self.by_id.contains_key(association.id()) {
            return Err(Error::Exists);
        }
        self.last_serial = self.last_serial.saturating_add(1);
        association.assign_serial(self.last_serial);
        self.link(association);
        Ok(())
    }

    /// Puts an SA in the place of the one with the same name (UPDATE); the old one serves no longer.
    ///
    /// # Errors
    /// `NotFound` if there is no such SA.
    pub fn replace(&mut self, association: Arc<Association>) -> Result<Arc<Association>, Error> {
        let old = self.unlink(association.id()).ok_or(Error::NotFound)?;
        association.assign_serial(old.serial());
        self.link(association);
        old.retire();
        Ok(old)
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
    //# several SAs with the same selectors and ends may exist at once, and packets of each are taken
    fn link(&mut self, association: Arc<Association>) {
        let serial = association.serial();
        for key in pair_keys(&association) {
            self.by_pair
                .entry(key)
                .or_default()
                .insert(serial, Arc::clone(&association));
        }
        if let Some(key) = cpi_key(&association) {
            self.by_cpi
                .entry(key)
                .or_default()
                .insert(serial, Arc::clone(&association));
        }
        self.by_age.insert(serial, Arc::clone(&association));
        self.by_spi.insert((association.id().spi, serial));
        self.by_id.insert(*association.id(), association);
    }

    fn unlink(&mut self, id: &SaId) -> Option<Arc<Association>> {
        let association = self.by_id.remove(id)?;
        let serial = association.serial();
        for key in pair_keys(&association) {
            forget(&mut self.by_pair, key, serial);
        }
        if let Some(key) = cpi_key(&association) {
            forget(&mut self.by_cpi, key, serial);
        }
        self.by_age.remove(&serial);
        self.by_spi.remove(&(id.spi, serial));
        Some(association)
    }

    /// Finds the SA with this name.
    #[must_use]
    pub fn lookup(&self, id: &SaId) -> Option<Arc<Association>> {
        self.by_id.get(id).cloned()
    }

    /// Finds the oldest SA with this SPI, whatever its protocol and its ends.
    #[must_use]
    pub fn with_spi(&self, spi: Spi) -> Option<Arc<Association>> {
        let (_, serial) = self.by_spi.range((spi, 0)..=(spi, u64::MAX)).next()?;
        self.by_age.get(serial).cloned()
    }

    /// Finds the SA of an inbound packet, whatever its state.
    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
    //# An inbound unicast packet is mapped to its SA by the SPI, with the protocol if the receiver likes.
    //= https://www.rfc-editor.org/rfc/rfc2401#section-4.1
    //# an SA is named by SPI, destination and protocol, so that others may have the same SPI
    #[must_use]
    pub fn inbound_sa(&self, spi: Spi, destination: IpAddr, protocol: Protocol) -> Option<Arc<Association>> {
        self.lookup(&SaId {
            spi,
            protocol,
            destination,
        })
    }

    /// Finds the SA of an inbound IPComp packet: by the CPI where that names an SA; by the ends alone where it
    /// names DEFLATE, which every IPComp SA does.
    ///
    /// Of several, the newest that serves `mode`, else the newest that serves, else the newest.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
    //# a negotiated CPI names an SA together with the destination; a well-known one names just an algorithm
    #[must_use]
    pub fn compressed_sa(
        &self,
        cpi: Cpi,
        source: IpAddr,
        destination: IpAddr,
        mode: Mode,
    ) -> Option<Arc<Association>> {
        let found = if cpi == Cpi::DEFLATE {
            self.by_pair.get(&(Protocol::IpComp, source, destination, 0))
        } else if cpi.is_well_known() {
            None
        } else {
            self.by_cpi.get(&(cpi, source, destination))
        };
        let newest = || found.into_iter().flat_map(|ages| ages.values().rev());
        let usable = || newest().filter(|association| association.usable_inbound());
        usable()
            .find(|association| association.params().mode.serves(mode))
            .or_else(|| usable().next())
            .or_else(|| newest().next())
            .cloned()
    }

    /// Finds the IPComp SA whose tunnel a bare IP-in-IP packet may have come through: one that serves now.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-2.2
    //# a receiver takes the packets that were not worth compressing
    #[must_use]
    pub fn bare_tunnel_sa(&self, source: IpAddr, destination: IpAddr) -> Option<Arc<Association>> {
        let pair = self.by_pair.get(&(Protocol::IpComp, source, destination, 0))?;
        let serves = |association: &&Arc<Association>| {
            association.usable_inbound() && association.params().mode.serves(Mode::Tunnel)
        };
        pair.values().rev().find(serves).cloned()
    }

    /// Chooses an SA for an outbound packet: the template's ends, else the ones given; its protocol, mode
    /// and, if it has one, reqid. With `prefer_old` the oldest; else the newest mature, else the newest dying.
    #[must_use]
    pub fn outbound_sa(
        &self,
        template: &Template,
        source: IpAddr,
        destination: IpAddr,
        prefer_old: bool,
    ) -> Option<Arc<Association>> {
        let (source, destination) = template.endpoints.unwrap_or((source, destination));
        let pair = self
            .by_pair
            .get(&(template.protocol, source, destination, template.reqid))?;
        let serves = |association: &&Arc<Association>| {
            association.usable_outbound() && association.params().mode.serves(template.mode)
        };
        if prefer_old {
            return pair.values().find(serves).cloned();
        }
        let newest = || pair.values().rev().filter(serves);
        newest()
            .find(|association| association.state() == State::Mature)
            .or_else(|| newest().next())
            .cloned()
    }

    /// Whether there is any SA of a protocol between two ends, a larval one included.
    #[must_use]
    pub fn has_pair(&self, protocol: Protocol, source: IpAddr, destination: IpAddr) -> bool {
        self.by_pair.contains_key(&(protocol, source, destination, 0))
    }

    /// Takes out one SA; who still holds it cannot use it any more.
    ///
    /// # Errors
    /// `NotFound` if there is no such SA.
    pub fn remove(&mut self, id: &SaId) -> Result<Arc<Association>, Error> {
        let association = self.unlink(id).ok_or(Error::NotFound)?;
        association.retire();
        Ok(association)
    }

    /// Takes out every SA between two ends, except larval ones (`deleteall`, INITIAL-CONTACT).
    pub fn remove_pair(
        &mut self,
        protocol: Protocol,
        source: IpAddr,
        destination: IpAddr,
    ) -> Vec<Arc<Association>> {
        let all = self.by_pair.get(&(protocol, source, destination, 0));
        let ids: Vec<_> = all
            .into_iter()
            .flat_map(Ages::values)
            .filter(|association| association.state() != State::Larval)
            .map(|association| *association.id())
            .collect();
        ids.iter().filter_map(|id| self.remove(id).ok()).collect()
    }

    /// Takes out every SA of a protocol, or of all; larval ones, too.
    pub fn flush(&mut self, protocol: Option<Protocol>) -> Vec<Arc<Association>> {
        let gone = self.dump(protocol);
        if gone.len() == self.len() {
            self.by_id.clear();
            self.by_pair.clear();
            self.by_cpi.clear();
            self.by_age.clear();
            self.by_spi.clear();
        }
        for association in &gone {
            self.unlink(association.id());
            association.retire();
        }
        gone
    }

    /// Every SA of a protocol, or of all, in order of insertion.
    #[must_use]
    pub fn dump(&self, protocol: Option<Protocol>) -> Vec<Arc<Association>> {
        let wanted = |sa: &&Arc<Association>| protocol.is_none_or(|protocol| sa.id().protocol == protocol);
        self.all().filter(wanted).cloned().collect()
    }

    /// Every SA in order of insertion.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Association>> {
        self.by_age.values()
    }

    /// Finds an SPI of the range `min..=max` that is free for this protocol and destination, or that no SA has at all
    /// where it is to be `unshared`: one of `tries` drawn at random, else the next one in order. The caller inserts an SA with it before anybody else asks.
    ///
    /// # Errors
    /// `OutOfRange` if the range is upside down, `InvalidSpi` if only reserved SPIs or none that fit the
    /// protocol are in it, `SpiExhausted` if all are taken.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.1
    //# SPIs 1 to 255 are reserved and are not handed out.
    pub fn allocate_spi(
        &self,
        protocol: Protocol,
        destination: IpAddr,
        (min, max): (u32, u32),
        tries: u32,
        unshared: bool,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Spi, Error> {
        if min > max {
            return Err(Error::OutOfRange { field: "spi" });
        }
        let ceiling = if protocol == Protocol::IpComp {
            u32::from(u16::MAX)
        } else {
            u32::MAX
        };
        let (first, last) = (min.max(Spi::FIRST_ALLOCATABLE), max.min(ceiling));
        if first > last {
            return Err(Error::InvalidSpi);
        }
        let free = |spi: u32| {
            let spi = Spi(spi);
            let id = SaId {
                spi,
                protocol,
                destination,
            };
            !(self.by_id.contains_key(&id) || unshared && self.with_spi(spi).is_some())
        };
        let span = u64::from(last - first) + 1;
        let mut drawn = || first + u32::try_from(u64::from(random()) % span).unwrap_or(0);
        for _ in 0..tries.min(last - first) {
            let spi = drawn();
            if free(spi) {
                return Ok(Spi(spi));
            }
        }
        // At most as many probes as SAs: a dense range costs time, a full one is the only failure.
        let start = drawn();
        (start..=last)
            .chain(first..start)
            .find(|spi| free(*spi))
            .map(Spi)
            .ok_or(Error::SpiExhausted)
    }
}

/// Under which keys an SA is found by its ends: all of the pair, and those with its reqid.
fn pair_keys(association: &Association) -> impl Iterator<Item = PairKey> + use<> {
    let params = association.params();
    let (protocol, source, destination) = (params.id.protocol, params.source, params.id.destination);
    let named = (params.reqid != 0).then_some(params.reqid);
    core::iter::once(0)
        .chain(named)
        .map(move |reqid| (protocol, source, destination, reqid))
}

/// Under which key an inbound IPComp packet finds an SA by its CPI.
fn cpi_key(association: &Association) -> Option<CpiKey> {
    let params = association.params();
    let cpi = Cpi::of_low_half(params.id.spi);
    (params.id.protocol == Protocol::IpComp).then_some((cpi, params.source, params.id.destination))
}

/// Takes one SA from under a key, and the key with the last one.
fn forget<Key: Eq + Hash>(table: &mut HashMap<Key, Ages, Seeded>, key: Key, serial: u64) {
    if let Entry::Occupied(mut ages) = table.entry(key) {
        ages.get_mut().remove(&serial);
        if ages.get().is_empty() {
            ages.remove();
        }
    }
}

#[cfg(test)]
mod tests;
