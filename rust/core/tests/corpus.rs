//! Replays the fuzz corpus on a stable compiler: every file through the checks that the fuzz target drives.
//! No check of its own may enter; they stand in `rust/fuzz/drive/`.
//! Answers to: `rust/fuzz/README.md`.
#![allow(clippy::unwrap_used, reason = "a test may fail here")]

#[path = "../../fuzz/drive/wire_packets.rs"]
mod wire_packets;

use std::fs;
use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn wire_packets_replays() {
    let packets = corpus("wire_packets");
    assert!(
        packets.len() >= 37,
        "the captured packets are the least of the corpus"
    );
    for packet in packets {
        wire_packets::run(&packet);
    }
}

/// A small mutation run, the same each time: every byte of the headers set to a few values, every length cut.
#[test]
fn wire_packets_neighbours() {
    for packet in corpus("wire_packets") {
        for at in 0..packet.len().min(96) {
            wire_packets::run(&packet[..at]);
            for value in [0, 1, 4, 6, 0x0f, 0x2c, 0x33, 0x3c, 0x45, 0x60, 0x7f, 0x80, 0xff] {
                let mut changed = packet.clone();
                changed[at] = value;
                wire_packets::run(&changed);
            }
        }
    }
}
