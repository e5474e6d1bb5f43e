//! Any bytes through every view and Repr of `sallet_core::wire`.
//! What is checked may not enter: that is `drive/wire_packets.rs`, which a plain test shares.
//! Answers to: no input makes the wire room panic, loop or contradict itself.
#![no_main]

#[path = "../drive/wire_packets.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::run(data));
