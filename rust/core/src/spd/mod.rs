//! The SPD: ordered policies, first match wins.
//! No SA, no key and no packet byte may enter: a policy is chosen by a `SelectorKey` alone.
//! Answers to: RFC 4301 section 4.4.1, `ipsec_set_policy(3)`, `setkey(8)`.

mod chunks;
mod pcb;
pub mod policy;
#[allow(clippy::module_inception)] // the file is named for the thing: the SPD of the RFC
pub mod spd;

pub use policy::{Action, MAX_TEMPLATES, Policy, PolicyLimits, PolicyParams, PolicyView};
pub use spd::Spd;
