//! Replays the fuzz corpora on a stable compiler: every input through the checks that its fuzz target drives.
//! No check of its own may enter; they stand in `rust/fuzz/drive/`.
//! Answers to: `rust/fuzz/README.md`.
#![allow(clippy::unwrap_used, reason = "a test may fail here")]

#[path = "../../fuzz/drive/mod.rs"]
mod drive;

use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// The captured packets, in the order of their names.
fn captured() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder().join("wire_packets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The inputs that a target found worth keeping: one a line, in hexadecimal.
fn found(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder().join(format!("{target}.hex"))).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| hex::decode(line).unwrap())
        .collect()
}

#[test]
fn every_corpus_replays() {
    for target in drive::TARGETS {
        let inputs = found(target.name);
        assert!(inputs.len() > 2, "{}: a corpus was lost", target.name);
        let mut accepted = 0;
        for input in inputs.iter().chain(&captured()) {
            accepted += u32::from((target.run)(input));
        }
        assert!(accepted > 0, "{}: nothing is accepted any more", target.name);
    }
}

/// Short inputs, and one byte changed in each that was kept: the same mutations each time.
#[test]
fn neighbours_of_every_corpus() {
    for target in drive::TARGETS {
        for (index, input) in found(target.name).iter().enumerate() {
            let middle = index * 7 % (input.len() + 1);
            (target.run)(&input[..middle]);
            for value in [0, 0x0f, 0x7f, 0xff] {
                let mut changed = input.clone();
                if let Some(byte) = changed.get_mut(middle) {
                    *byte ^= value;
                }
                (target.run)(&changed);
            }
        }
    }
}

#[test]
fn neighbours_of_the_captured_packets() {
    let run = drive::named("wire_packets").run;
    for packet in captured() {
        assert!(run(&packet));
        for at in 0..packet.len().min(96) {
            run(&packet[..at]);
            for value in [0, 1, 4, 6, 0x0f, 0x2c, 0x33, 0x3c, 0x45, 0x60, 0x7f, 0x80, 0xff] {
                let mut changed = packet.clone();
                changed[at] = value;
                run(&changed);
            }
        }
    }
}
