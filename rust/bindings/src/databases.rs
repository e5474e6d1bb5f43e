//! `Engine` for Python: the requests to the SAD and the SPD.
//! No rule of a dialect or a personality may enter: those are Python's tables.
//! Answers to: RFC 4301 sections 4.4.1 and 4.4.2; RFC 2367 section 3.1.

use pyo3::prelude::*;
use sallet_core::engine::SpiRequest;
use sallet_core::sa::UdpEncap;
use sallet_core::terms::{PolicyId, SaId, Spi};

use crate::buffers::Address;
use crate::dump::SadMoment;
use crate::engine::Engine;
use crate::error::refused;
use crate::params::{PolicyParams, SaParams};
use crate::selector::Selector;
use crate::snapshot::{PolicyView, SaView};
use crate::words;

fn id(spi: u32, protocol: &str, destination: &Address) -> PyResult<SaId> {
    Ok(SaId {
        spi: Spi(spi),
        protocol: words::protocol(protocol)?,
        destination: destination.0,
    })
}

fn views(inner: Vec<sallet_core::sa::SaView>) -> Vec<SaView> {
    inner.into_iter().map(|inner| SaView { inner }).collect()
}

#[pymethods]
impl Engine {
    /// Adds a mature SA. Raises EngineError (exists, invalid-spi, unknown-algorithm, invalid-key-length, ...).
    fn sad_add(&self, params: &SaParams) -> PyResult<SaView> {
        let added = self.core.sad_add(params.inner.clone(), self.now());
        self.announce();
        added
            .map(|inner| SaView { inner })
            .map_err(|error| refused(&error))
    }

    /// Completes a larval SA or changes a mature one. Raises EngineError (not-found, invalid-state, ...).
    fn sad_update(&self, params: &SaParams) -> PyResult<SaView> {
        let changed = self.core.sad_update(params.inner.clone(), self.now());
        self.announce();
        changed
            .map(|inner| SaView { inner })
            .map_err(|error| refused(&error))
    }

    /// Gives an SA new keys; it begins anew under its name. Raises EngineError (not-found, invalid-state, ...).
    fn sad_rekey(&self, params: &SaParams) -> PyResult<SaView> {
        let changed = self.core.sad_rekey(params.inner.clone(), self.now());
        self.announce();
        changed
            .map(|inner| SaView { inner })
            .map_err(|error| refused(&error))
    }

    /// Removes the SAs that a connection made (only those without keys if `larval`), returns what they were.
    #[pyo3(signature = (connection, *, larval=false))]
    fn sad_delete_of(&self, connection: u64, larval: bool) -> Vec<SaView> {
        views(self.core.sad_delete_of(connection, larval))
    }

    /// Lets an SA stand between other ends, with the keys, numbers and counters that it has; returns it.
    ///
    /// Raises EngineError (not-found, invalid-state, invalid-selector, exists).
    #[pyo3(signature = (spi, protocol, destination, *, new_source, new_destination, encap=None))]
    fn sad_move(
        &self,
        spi: u32,
        protocol: &str,
        destination: Address,
        new_source: Address,
        new_destination: Address,
        encap: Option<(u16, u16)>,
    ) -> PyResult<SaView> {
        let id = id(spi, protocol, &destination)?;
        let encap = encap.map(|(source_port, destination_port)| UdpEncap {
            source_port,
            destination_port,
        });
        let moved = self
            .core
            .sad_move(&id, new_source.0, new_destination.0, encap, self.now());
        self.announce();
        moved
            .map(|inner| SaView { inner })
            .map_err(|error| refused(&error))
    }

    /// Reserves an SPI out of `minimum`..`maximum` by a larval SA and returns it (RFC 2367 §3.1.1).
    ///
    /// 0 and 0 mean the configured range; with `unshared` no SA of any protocol and destination may have it.
    /// Raises EngineError (spi-exhausted, out-of-range).
    #[pyo3(signature = (protocol, source, destination, *, mode="any", reqid=0, minimum=0, maximum=0, owner=0, connection=0, unshared=false))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn sad_getspi(
        &self,
        protocol: &str,
        source: Address,
        destination: Address,
        mode: &str,
        reqid: u32,
        minimum: u32,
        maximum: u32,
        owner: u32,
        connection: u64,
        unshared: bool,
    ) -> PyResult<u32> {
        let request = SpiRequest {
            protocol: words::protocol(protocol)?,
            source: source.0,
            destination: destination.0,
            mode: words::mode(mode)?,
            reqid,
            min: minimum,
            max: maximum,
            unshared,
            owner,
            connection,
        };
        self.core
            .sad_getspi(&request, self.now())
            .map(|spi| spi.0)
            .map_err(|error| refused(&error))
    }

    /// Removes one SA and returns what it was. Raises EngineError (not-found).
    #[pyo3(signature = (spi, protocol, destination, source=None))]
    fn sad_delete(
        &self,
        spi: u32,
        protocol: &str,
        destination: Address,
        source: Option<Address>,
    ) -> PyResult<SaView> {
        let id = id(spi, protocol, &destination)?;
        let source = source.map(|address| address.0);
        self.core
            .sad_delete(&id, source)
            .map(|inner| SaView { inner })
            .map_err(|error| refused(&error))
    }

    /// Removes every SA from `source` to `destination` that is not larval, and returns what they were.
    fn sad_delete_pair(
        &self,
        protocol: &str,
        source: Address,
        destination: Address,
    ) -> PyResult<Vec<SaView>> {
        let protocol = words::protocol(protocol)?;
        Ok(views(self.core.sad_delete_pair(
            protocol,
            source.0,
            destination.0,
        )))
    }

    /// Says whether there is any SA from `source` to `destination`, a larval one included.
    fn sad_between(&self, protocol: &str, source: Address, destination: Address) -> PyResult<bool> {
        let protocol = words::protocol(protocol)?;
        Ok(self.core.sad_between(protocol, source.0, destination.0))
    }

    /// Returns one SA, or None.
    fn sad_lookup(&self, spi: u32, protocol: &str, destination: Address) -> PyResult<Option<SaView>> {
        let id = id(spi, protocol, &destination)?;
        Ok(self.core.sad_lookup(&id).map(|inner| SaView { inner }))
    }

    /// Returns the oldest SA with this SPI, whatever its protocol and its ends, or None.
    fn sad_with_spi(&self, spi: u32) -> Option<SaView> {
        let found = self.core.sad_with_spi(Spi(spi));
        found.map(|inner| SaView { inner })
    }

    /// Returns every SA (of one protocol), in order of insertion.
    #[pyo3(signature = (protocol=None))]
    fn sad_dump(&self, py: Python<'_>, protocol: Option<&str>) -> PyResult<Vec<SaView>> {
        let protocol = words::optional_protocol(protocol)?;
        Ok(py.detach(|| views(self.core.sad_dump(protocol))))
    }

    /// Keeps every SA (of one protocol) as it is now, in order of insertion or, with `newest_first`, against
    /// it; with `states`, those of the first state come first.
    #[pyo3(signature = (protocol=None, *, newest_first=false, states=Vec::new()))]
    fn sad_moment(
        &self,
        py: Python<'_>,
        protocol: Option<&str>,
        newest_first: bool,
        states: Vec<String>,
    ) -> PyResult<SadMoment> {
        let protocol = words::optional_protocol(protocol)?;
        Ok(py.detach(|| SadMoment::new(self.core.sad_moment(protocol), newest_first, &states)))
    }

    /// Removes every SA (of one protocol) and returns how many there were.
    #[pyo3(signature = (protocol=None))]
    fn sad_flush(&self, protocol: Option<&str>) -> PyResult<usize> {
        Ok(self.core.sad_flush(words::optional_protocol(protocol)?))
    }

    /// Adds an SPD entry. Raises EngineError (exists, invalid-selector).
    fn spd_add(&self, params: &PolicyParams) -> PyResult<PolicyView> {
        let added = self.core.spd_add(params.inner.clone(), self.now());
        added
            .map(|inner| PolicyView { inner })
            .map_err(|error| refused(&error))
    }

    /// Replaces the SPD entry of the same direction and selector, or adds it. Raises EngineError.
    fn spd_update(&self, params: &PolicyParams) -> PyResult<PolicyView> {
        let changed = self.core.spd_update(params.inner.clone(), self.now());
        changed
            .map(|inner| PolicyView { inner })
            .map_err(|error| refused(&error))
    }

    /// Removes the SPD entry of that direction and selector. Raises EngineError (not-found).
    fn spd_delete(&self, direction: &str, selector: &Selector) -> PyResult<PolicyView> {
        let removed = self
            .core
            .spd_delete(words::direction(direction)?, &selector.inner);
        removed
            .map(|inner| PolicyView { inner })
            .map_err(|error| refused(&error))
    }

    /// Removes the SPD entry of that id. Raises EngineError (not-found).
    fn spd_delete_id(&self, id: u32) -> PyResult<PolicyView> {
        let removed = self.core.spd_delete_id(PolicyId(id));
        removed
            .map(|inner| PolicyView { inner })
            .map_err(|error| refused(&error))
    }

    /// Returns the SPD entry of that id, or None.
    fn spd_lookup(&self, id: u32) -> Option<PolicyView> {
        self.core
            .spd_lookup(PolicyId(id))
            .map(|inner| PolicyView { inner })
    }

    /// Returns every SPD entry, in order of insertion.
    fn spd_dump(&self, py: Python<'_>) -> Vec<PolicyView> {
        py.detach(|| {
            self.core
                .spd_dump()
                .into_iter()
                .map(|inner| PolicyView { inner })
                .collect()
        })
    }

    /// Removes the SPD entries that a connection made, and returns what they were.
    fn spd_delete_of(&self, connection: u64) -> Vec<PolicyView> {
        let removed = self.core.spd_delete_of(connection).into_iter();
        removed.map(|inner| PolicyView { inner }).collect()
    }

    /// Removes every SPD entry and returns how many there were.
    fn spd_flush(&self) -> usize {
        self.core.spd_flush()
    }

    /// Gives the flows of a socket a policy that is asked before every SPD entry. Raises EngineError.
    fn pcb_put(&self, params: &PolicyParams) -> PyResult<PolicyView> {
        let put = self.core.pcb_put(params.inner.clone(), self.now());
        put.map(|inner| PolicyView { inner })
            .map_err(|error| refused(&error))
    }

    /// Removes the policy of a socket's flows. Raises EngineError (not-found).
    fn pcb_remove(&self, direction: &str, selector: &Selector) -> PyResult<PolicyView> {
        let removed = self
            .core
            .pcb_remove(words::direction(direction)?, &selector.inner);
        removed
            .map(|inner| PolicyView { inner })
            .map_err(|error| refused(&error))
    }

    /// Returns the policies of sockets' flows.
    fn pcb_dump(&self) -> Vec<PolicyView> {
        let all = self.core.pcb_dump();
        all.into_iter().map(|inner| PolicyView { inner }).collect()
    }
}
