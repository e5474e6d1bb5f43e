//! IPsec as a sans-IO machine: the SPD, the SAD, replay windows and the ESP transform of `ipsec(4)`.
//! No clock, socket, thread, source of randomness or Python may enter: time and seeds are arguments.
//! Answers to: RFC 4301, RFC 4303; the map of rooms is ARCHITECTURE.md.
#![forbid(unsafe_code)]

// Layer 0: words everybody may use.
pub mod buffer;
pub mod error;
pub mod terms;
pub mod time;
// Layer 1: formats, and what a packet shows of itself.
pub mod selector;
pub mod wire;
// Layer 2: algorithms.
pub mod crypto;
// Layer 3: one packet, one SA's keys.
pub mod transform;
// Layer 4: the two databases; they never import each other.
pub mod sa;
pub mod spd;
// Layer 5: the machine.
pub mod engine;
