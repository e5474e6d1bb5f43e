//! The SAD: associations, replay windows, lifetimes, leases.
//! No policy, no packet byte and no clock may enter: sequence numbers, sizes and time are arguments.
//! Answers to: RFC 4301 section 4.4.2, RFC 4303 sections 3.3.3 and 3.4.3, RFC 2367 section 1.4.

pub mod association;
#[cfg(test)]
mod association_tests;
pub mod lease;
pub mod lifetime;
pub mod moment;
pub mod params;
pub mod path;
pub mod replay;
#[cfg(test)]
mod replay_tests;
pub mod sad;

pub use association::Association;
pub use lease::{Lease, MemoryLease, NonceLedger};
pub use lifetime::{Expiry, Limits};
pub use moment::Moment;
pub use params::{SaOptions, SaParams, SaView, State, UdpEncap};
pub use path::{Path, Peer};
pub use replay::{ReplayWindow, WindowView};
pub use sad::Sad;
