//! One packet and one SA's keys: seal and open, tunnel headers.
//! No database, no policy and no clock may enter.
//! Answers to: RFC 4303 (ESP), RFC 4301 section 5.1.2 and RFC 6040 (tunnel headers).

pub mod esp;
mod padding;
pub mod tunnel;
