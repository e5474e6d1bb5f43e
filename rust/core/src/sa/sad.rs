//! The SAD: finds an SA by its name (inbound), by its ends and a template (outbound), or by age (dump).
//! No policy, no clock and no lock may enter: who shares the SAD locks it.
//! Answers to: RFC 4301 sections 4.1 and 4.4.2, `setkey(8)` (delete, deleteall, flush, dump).

use crate::error::Error;
use crate::sa::association::Association;
use crate::sa::params::State;
use crate::terms::{Cpi, Mode, Protocol, SaId, Spi, Template};
use core::hash::{BuildHasher, Hash, Hasher as _};
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// How many random SPIs are tried before the range is searched in order.
const RANDOM_TRIES: u32 = 16;

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
        Some(association)
    }

    /// Finds the SA with this name.
    #[must_use]
    pub fn lookup(&self, id: &SaId) -> Option<Arc<Association>> {
        self.by_id.get(id).cloned()
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

    /// Finds an SPI of the range `min..=max` that is free for this protocol and destination. The caller
    /// inserts an SA with it before anybody else asks.
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
        min: u32,
        max: u32,
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
            !self.by_id.contains_key(&SaId {
                spi: Spi(spi),
                protocol,
                destination,
            })
        };
        let span = u64::from(last - first) + 1;
        let mut drawn = || first + u32::try_from(u64::from(random()) % span).unwrap_or(0);
        for _ in 0..RANDOM_TRIES {
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
mod tests {
    use super::*;
    use crate::crypto::AlgorithmKey;
    use crate::sa::association_tests::{mature, params};
    use crate::sa::lifetime::Limits;
    use crate::sa::params::SaParams;
    use crate::terms::Level;
    use crate::time::{Instant, WallClock};
    use proptest::prelude::*;

    fn host(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn described(spi: u32, source: u8, destination: u8, reqid: u32) -> SaParams {
        let id = SaId {
            spi: Spi(spi),
            protocol: Protocol::Esp,
            destination: host(destination),
        };
        SaParams {
            id,
            source: host(source),
            reqid,
            ..params()
        }
    }

    fn association(spi: u32, source: u8, destination: u8, reqid: u32) -> Arc<Association> {
        Arc::new(mature(described(spi, source, destination, reqid)))
    }

    fn larval(params: SaParams) -> Arc<Association> {
        Arc::new(Association::larval(params, Instant(0), WallClock(0)).unwrap())
    }

    fn template(mode: Mode, reqid: u32) -> Template {
        Template {
            protocol: Protocol::Esp,
            mode,
            level: Level::Require,
            reqid,
            endpoints: None,
        }
    }

    fn spis(all: &[Arc<Association>]) -> Vec<u32> {
        all.iter().map(|association| association.id().spi.0).collect()
    }

    fn chosen(sad: &Sad, template: &Template, prefer_old: bool) -> Option<u32> {
        sad.outbound_sa(template, host(1), host(2), prefer_old)
            .map(|sa| sa.id().spi.0)
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
    //# An inbound unicast packet is mapped to its SA by the SPI, with the protocol if the receiver likes.
    //= https://www.rfc-editor.org/rfc/rfc2401#section-4.1
    //# an SA is named by SPI, destination and protocol, so that others may have the same SPI
    #[test]
    fn one_spi_may_exist_once_for_each_destination_and_protocol() {
        let mut sad = Sad::new(1);
        sad.insert(association(300, 1, 2, 0)).unwrap();
        assert_eq!(
            sad.insert(association(300, 9, 2, 5)),
            Err(Error::Exists),
            "the source does not name an SA"
        );
        sad.insert(association(300, 1, 3, 0)).unwrap();
        let ah = SaId {
            protocol: Protocol::Ah,
            ..described(300, 1, 2, 0).id
        };
        sad.insert(larval(SaParams {
            id: ah,
            ..described(300, 1, 2, 0)
        }))
        .unwrap();
        assert_eq!(sad.len(), 3);
        let found = sad.inbound_sa(Spi(300), host(3), Protocol::Esp).unwrap();
        assert_eq!(found.id().destination, host(3));
        assert!(sad.inbound_sa(Spi(301), host(3), Protocol::Esp).is_none());
        assert!(sad.inbound_sa(Spi(300), host(1), Protocol::Esp).is_none());
    }

    #[test]
    fn the_template_chooses() {
        let mut sad = Sad::new(1);
        sad.insert(association(301, 1, 2, 0)).unwrap();
        sad.insert(association(302, 1, 2, 7)).unwrap();
        let tunnel = SaParams {
            mode: Mode::Tunnel,
            ..described(303, 1, 2, 8)
        };
        sad.insert(Arc::new(mature(tunnel))).unwrap();
        sad.insert(larval(described(304, 1, 2, 9))).unwrap();
        assert_eq!(chosen(&sad, &template(Mode::Transport, 0), true), Some(301));
        assert_eq!(chosen(&sad, &template(Mode::Transport, 0), false), Some(302));
        assert_eq!(chosen(&sad, &template(Mode::Tunnel, 0), false), Some(303));
        assert_eq!(chosen(&sad, &template(Mode::Transport, 7), true), Some(302));
        assert_eq!(
            chosen(&sad, &template(Mode::Transport, 8), true),
            None,
            "a tunnel SA does not serve transport"
        );
        assert_eq!(chosen(&sad, &template(Mode::Transport, 9), true), None, "larval");
        assert_eq!(chosen(&sad, &template(Mode::Transport, 10), true), None);
        let elsewhere = Template {
            endpoints: Some((host(1), host(3))),
            ..template(Mode::Transport, 0)
        };
        assert_eq!(
            chosen(&sad, &elsewhere, true),
            None,
            "the template's own ends count"
        );
        let ah = Template {
            protocol: Protocol::Ah,
            ..template(Mode::Transport, 0)
        };
        assert_eq!(chosen(&sad, &ah, true), None);
    }

    fn compressing(spi: u32, source: u8, mode: Mode) -> Arc<Association> {
        let esp = described(spi, source, 2, 0);
        Arc::new(mature(SaParams {
            id: SaId {
                protocol: Protocol::IpComp,
                ..esp.id
            },
            mode,
            encryption: Some(AlgorithmKey::new("deflate", &[])),
            authentication: None,
            esn: false,
            raw_cpi: true,
            ..esp
        }))
    }

    //= https://www.rfc-editor.org/rfc/rfc3173#section-3.3
    //# a negotiated CPI names an SA together with the destination; a well-known one names just an algorithm
    #[test]
    fn a_cpi_finds_an_sa() {
        let mut sad = Sad::new(1);
        for association in [
            compressing(0x1_1000, 1, Mode::Transport),
            compressing(0x2_1000, 1, Mode::Tunnel),
            compressing(0x2000, 1, Mode::Any),
            compressing(0x3_1000, 3, Mode::Transport),
        ] {
            sad.insert(association).unwrap();
        }
        sad.insert(association(0x1000, 1, 2, 0)).unwrap();
        let found = |sad: &Sad, cpi, source, mode| {
            let sa = sad.compressed_sa(Cpi(cpi), host(source), host(2), mode);
            sa.map(|sa| sa.id().spi.0)
        };
        let (transport, tunnel) = (Mode::Transport, Mode::Tunnel);
        assert_eq!(found(&sad, 0x1000, 1, transport), Some(0x1_1000));
        assert_eq!(found(&sad, 0x1000, 1, tunnel), Some(0x2_1000));
        assert_eq!(found(&sad, 0x1000, 3, tunnel), Some(0x3_1000), "no better one");
        assert_eq!(found(&sad, 0x1000, 4, tunnel), None);
        assert_eq!(found(&sad, 0x1001, 1, transport), None);
        assert_eq!(found(&sad, 2, 1, tunnel), Some(0x2000), "the newest of the pair");
        assert_eq!(found(&sad, 3, 1, tunnel), None, "another algorithm");
        let bare = |sad: &Sad, source| sad.bare_tunnel_sa(host(source), host(2)).map(|sa| sa.id().spi.0);
        assert_eq!(
            (bare(&sad, 1), bare(&sad, 3), bare(&sad, 4)),
            (Some(0x2000), None, None)
        );
        sad.lookup(compressing(0x2000, 1, Mode::Any).id())
            .unwrap()
            .retire();
        assert_eq!(bare(&sad, 1), Some(0x2_1000));
        assert_eq!(found(&sad, 2, 1, transport), Some(0x1_1000));
        sad.remove(compressing(0x1_1000, 1, transport).id()).unwrap();
        assert_eq!(found(&sad, 0x1000, 1, transport), Some(0x2_1000));
    }

    /// CVE-2025-40215: state of IPComp's own that outlived its SA. Here, tables and handles alike.
    #[test]
    fn a_flush_leaves_nothing() {
        let mut sad = Sad::new(1);
        let all = [
            compressing(0x1000, 1, Mode::Tunnel),
            compressing(0x1001, 1, Mode::Any),
            association(300, 1, 2, 7),
        ];
        for association in &all {
            sad.insert(Arc::clone(association)).unwrap();
        }
        assert_eq!(sad.flush(Some(Protocol::IpComp)).len(), 2);
        assert!(sad.by_cpi.is_empty() && sad.by_pair.len() == 2 && sad.len() == 1);
        assert_eq!(sad.flush(None).len(), 1);
        assert!(sad.by_pair.is_empty() && sad.by_age.is_empty() && sad.by_id.is_empty());
        for association in &all {
            assert_eq!(Arc::strong_count(association), 1);
            assert!(!association.usable_inbound());
        }
        sad.insert(compressing(0x1000, 1, Mode::Tunnel)).unwrap();
        sad.flush(None);
        assert!(sad.by_cpi.is_empty());
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.1
    //# several SAs with the same selectors and ends may exist at once, and packets of each are taken
    #[test]
    fn preference_among_old_new_and_dying() {
        let mut sad = Sad::new(1);
        let soft = Limits {
            packets: 1,
            ..Limits::default()
        };
        let all = [301, 302, 303].map(|spi| {
            Arc::new(mature(SaParams {
                soft,
                ..described(spi, 1, 2, 0)
            }))
        });
        for association in &all {
            sad.insert(Arc::clone(association)).unwrap();
        }
        let any = template(Mode::Any, 0);
        assert_eq!(
            (chosen(&sad, &any, true), chosen(&sad, &any, false)),
            (Some(301), Some(303))
        );
        let _soft = all[2].account(1, Instant(0));
        assert_eq!(
            (chosen(&sad, &any, true), chosen(&sad, &any, false)),
            (Some(301), Some(302))
        );
        let _soft = (all[1].account(1, Instant(0)), all[0].account(1, Instant(0)));
        assert_eq!(
            (chosen(&sad, &any, true), chosen(&sad, &any, false)),
            (Some(301), Some(303))
        );
        all[0].retire();
        assert_eq!(chosen(&sad, &any, true), Some(302));
    }

    #[test]
    fn replacing_keeps_the_place_and_ends_the_old() {
        let mut sad = Sad::new(1);
        let first = larval(described(301, 1, 2, 0));
        sad.insert(Arc::clone(&first)).unwrap();
        sad.insert(association(302, 1, 2, 0)).unwrap();
        let old = sad.replace(association(301, 1, 2, 77)).unwrap();
        assert!(Arc::ptr_eq(&old, &first) && old.state() == State::Dead);
        assert_eq!(spis(&sad.dump(None)), [301, 302]);
        assert_eq!(chosen(&sad, &template(Mode::Any, 77), true), Some(301));
        assert_eq!(
            sad.replace(association(999, 1, 2, 0)).unwrap_err(),
            Error::NotFound
        );
    }

    #[test]
    fn deletion_by_name_by_pair_and_whole() {
        let mut sad = Sad::new(1);
        for spi in 300..304 {
            sad.insert(association(spi, 1, 2, spi % 2)).unwrap();
        }
        sad.insert(larval(described(304, 1, 2, 0))).unwrap();
        sad.insert(association(305, 2, 1, 0)).unwrap();
        let name = described(301, 1, 2, 0).id;
        let held = sad.lookup(&name).unwrap();
        assert!(Arc::ptr_eq(&sad.remove(&name).unwrap(), &held));
        assert!(!held.usable_outbound(), "whoever holds it cannot go on sending");
        assert_eq!(sad.remove(&name).unwrap_err(), Error::NotFound);
        assert_eq!(
            spis(&sad.remove_pair(Protocol::Esp, host(1), host(2))),
            [300, 302, 303]
        );
        assert_eq!(spis(&sad.dump(None)), [304, 305], "larval ones stay");
        assert!(sad.remove_pair(Protocol::Ah, host(2), host(1)).is_empty());
        assert!(sad.flush(Some(Protocol::Ah)).is_empty());
        assert_eq!(spis(&sad.flush(Some(Protocol::Esp))), [304, 305]);
        assert!(sad.is_empty() && sad.by_pair.is_empty() && sad.by_age.is_empty());
    }

    #[test]
    fn a_dump_is_in_order_of_insertion() {
        let mut sad = Sad::new(99);
        let order = [500, 300, 400, 350];
        for spi in order {
            sad.insert(association(spi, 1, 2, 0)).unwrap();
        }
        assert_eq!(spis(&sad.dump(None)), order);
        sad.remove(&described(300, 1, 2, 0).id).unwrap();
        sad.insert(association(300, 1, 2, 0)).unwrap();
        assert_eq!(spis(&sad.dump(Some(Protocol::Esp))), [500, 400, 350, 300]);
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.1
    //# SPIs 1 to 255 are reserved and are not handed out.
    #[test]
    fn spis_are_allocated_inside_the_range_and_once() {
        let mut sad = Sad::new(1);
        let mut random = 0_u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random
        };
        let mut seen = Vec::new();
        for _ in 0..4 {
            let spi = sad
                .allocate_spi(Protocol::Esp, host(2), 0, 259, &mut next)
                .unwrap();
            sad.insert(larval(described(spi.0, 1, 2, 0))).unwrap();
            seen.push(spi.0);
        }
        seen.sort_unstable();
        assert_eq!(seen, [256, 257, 258, 259]);
        let mut ask = |protocol, min, max| sad.allocate_spi(protocol, host(2), min, max, &mut next);
        assert_eq!(ask(Protocol::Esp, 256, 259), Err(Error::SpiExhausted));
        assert_eq!(ask(Protocol::Esp, 257, 257), Err(Error::SpiExhausted));
        assert_eq!(
            ask(Protocol::Ah, 257, 257),
            Ok(Spi(257)),
            "another protocol, another space"
        );
        assert_eq!(ask(Protocol::Esp, 1, 255), Err(Error::InvalidSpi));
        assert_eq!(ask(Protocol::Esp, 9, 8), Err(Error::OutOfRange { field: "spi" }));
        assert_eq!(ask(Protocol::IpComp, 0x10000, 0x20000), Err(Error::InvalidSpi));
        assert!(ask(Protocol::IpComp, 0xffff, u32::MAX) == Ok(Spi(0xffff)));
        assert!(ask(Protocol::Esp, 0, u32::MAX).is_ok());
    }

    #[test]
    fn many_on_one_pair_stay_cheap() {
        let mut sad = Sad::new(1);
        for spi in 0..50_000 {
            sad.insert(larval(described(1000 + spi, 1, 2, spi + 1))).unwrap();
        }
        assert!(
            sad.outbound_sa(&template(Mode::Any, 40_000), host(1), host(2), true)
                .is_none()
        );
        for spi in 0..50_000 {
            sad.remove(&described(1000 + spi, 1, 2, 0).id).unwrap();
        }
        assert!(sad.is_empty() && sad.by_pair.is_empty());
    }

    proptest! {
        /// The three indexes never disagree, whatever is inserted and taken out.
        #[test]
        fn indexes_agree(steps in proptest::collection::vec((0u8..4, 300u32..306, 1u8..3, 2u8..4, 0u32..3), 0..60)) {
            let mut sad = Sad::new(7);
            let mut model: Vec<(SaId, u8, u32)> = Vec::new();
            for (step, spi, source, destination, reqid) in steps {
                let params = described(spi, source, destination, reqid);
                let id = params.id;
                let there = model.iter().position(|(known, ..)| *known == id);
                match step {
                    0 | 1 => {
                        prop_assert_eq!(sad.insert(larval(params)).is_ok(), there.is_none());
                        if there.is_none() {
                            model.push((id, source, reqid));
                        }
                    }
                    2 => {
                        prop_assert_eq!(sad.remove(&id).is_ok(), there.is_some());
                        there.map(|at| model.remove(at));
                    }
                    _ => {
                        prop_assert_eq!(sad.replace(larval(params)).is_ok(), there.is_some());
                        if let Some(at) = there {
                            model[at] = (id, source, reqid);
                        }
                    }
                }
                let all: Vec<_> = sad.all().map(|sa| (*sa.id(), sa.params().reqid)).collect();
                let expected: Vec<_> = model.iter().map(|(id, _, reqid)| (*id, *reqid)).collect();
                prop_assert_eq!(all, expected);
                for (id, source, reqid) in &model {
                    let serial = sad.lookup(id).unwrap().serial();
                    let key = (id.protocol, host(*source), id.destination, *reqid);
                    prop_assert!(sad.by_pair[&key].contains_key(&serial));
                }
                let paired: usize = model.iter().map(|(_, _, reqid)| if *reqid == 0 { 1 } else { 2 }).sum();
                let mut listed = 0;
                #[allow(clippy::disallowed_methods)] // a sum has no order
                sad.by_pair.values().for_each(|ages| listed += ages.len());
                prop_assert_eq!(paired, listed);
            }
        }
    }
}
