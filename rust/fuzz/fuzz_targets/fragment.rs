//! A packet of either version, cut and put together.
//! What is checked may not enter: that is the table in `drive/mod.rs`, which a plain test shares.
//! Answers to: no input makes it panic, loop or contradict itself.
#![no_main]

sallet_fuzz::target!(fragment);
