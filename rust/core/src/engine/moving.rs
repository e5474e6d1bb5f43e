//! Moves an SA to other ends with the counters it has: a peer that changed its address, a tunnel that follows.
//! No new key and no new counter may start here: a nonce would come again.
//! Answers to: RFC 4555 §3.5 for what a key manager does with it, RFC 4106 §3.1 for the nonce.

use super::Engine;
use crate::error::Error;
use crate::sa::{SaView, UdpEncap};
use crate::terms::SaId;
use crate::time::Instant;
use std::net::IpAddr;
use std::sync::Arc;

impl Engine {
    /// Lets an SA stand between other ends; SPI, keys, numbers, window, limits and counters stay.
    ///
    /// # Errors
    /// `NotFound` without such an SA, `InvalidState` for a larval or dead one, `InvalidSelector` for ends of two
    /// families, `Exists` if its SPI is taken at the new destination.
    pub fn sad_move(
        &self,
        id: &SaId,
        source: IpAddr,
        destination: IpAddr,
        encap: Option<UdpEncap>,
        now: Instant,
    ) -> Result<SaView, Error> {
        let mut sad = self.sad.write();
        let old = sad.lookup(id).ok_or(Error::NotFound)?;
        let new = Arc::new(old.moved(source, destination, encap)?);
        if new.id() != id && sad.lookup(new.id()).is_some() {
            return Err(Error::Exists);
        }
        sad.remove(id)?;
        sad.insert(Arc::clone(&new))?;
        drop(sad);
        Ok(self.installed(&new, now))
    }
}
