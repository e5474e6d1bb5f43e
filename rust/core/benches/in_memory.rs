//! ESP in memory (SPD, SAD, replay window, lifetimes, framing, padding) beside the AEAD alone, same bytes, same run.
//! No IO may enter; each line printed is JSON: name, packet bytes, nanoseconds per packet of every round.
//! Answers to: docs/benchmarks.md; `make bench` runs it (`-- --rounds N` for other than five).
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

use std::hint::black_box;
use std::time::Instant as Clock;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sallet_core::buffer::PacketBuf;
use sallet_core::crypto::AlgorithmKey;
use sallet_core::engine::{Batch, Config, Engine, Output};
use sallet_core::sa::{Limits, SaOptions, SaParams};
use sallet_core::selector::{AddressRange, PortRange, Selector};
use sallet_core::spd::policy::PolicyLimits;
use sallet_core::spd::{Action, PolicyParams};
use sallet_core::terms::{Direction, Level, Mode, Protocol, SaId, Spi, Template};
use sallet_core::time::{Instant, WallClock};
use sallet_core::wire::udp;

const ROUNDS: usize = 5;
const BATCH: usize = 64;
const BATCHES: usize = 4000;

fn engine(direction: Direction) -> Engine {
    let engine = Engine::new(
        Config::default(),
        [7; 32],
        Instant::default(),
        WallClock::default(),
    );
    let [source, destination] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
    let selector = Selector {
        source: AddressRange::host(source),
        destination: AddressRange::host(destination),
        next_layer: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
    };
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        level: Level::Require,
        reqid: 0,
        endpoints: None,
    };
    let action = Action::Protect(vec![template]);
    let hard = PolicyLimits::default();
    let policy = PolicyParams {
        direction,
        selector,
        action,
        priority: 0,
        judges_forwarded: false,
        owner: 0,
        connection: 0,
        hard,
    };
    engine.spd_add(policy, Instant::default()).unwrap();
    let params = SaParams {
        id: SaId {
            spi: Spi(0x1001),
            protocol: Protocol::Esp,
            destination,
        },
        source,
        mode: Mode::Transport,
        reqid: 0,
        encryption: Some(AlgorithmKey::new("aes-gcm-16", &[5; 20])),
        authentication: None,
        replay_window: 64,
        esn: false,
        old: false,
        options: SaOptions::default(),
        raw_cpi: false,
        cycle_sequence: false,
        soft: Limits::default(),
        hard: Limits::default(),
        encap: None,
        flags: 0,
        owner: 0,
        connection: 0,
        permits: sallet_core::crypto::Permits::default(),
    };
    engine.sad_add(params, Instant::default()).unwrap();
    engine
}

fn packet(bytes: usize) -> Vec<u8> {
    let [source, destination] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
    udp::packet(source, destination, 1000, 53, &vec![0xa5; bytes - 28]).unwrap()
}

/// One round of seal and open: nanoseconds per packet for each.
fn esp_round(plain: &[u8]) -> (f64, f64) {
    let (sender, receiver) = (engine(Direction::Outbound), engine(Direction::Inbound));
    let (mut output, mut delivered) = (Output::default(), Output::default());
    let mut batch = Batch::with_capacity(BATCH);
    let mut pool: Vec<PacketBuf> = (0..BATCH).map(|_| PacketBuf::with_capacity(2048)).collect();
    let (mut seal, mut open) = (0, 0);
    for _ in 0..BATCHES {
        for mut buffer in pool.drain(..) {
            buffer.fill(plain).unwrap();
            batch.push(buffer);
        }
        let start = Clock::now();
        sender.handle_outbound(&mut batch, Instant::default(), &mut output);
        seal += start.elapsed().as_nanos();
        assert_eq!(output.transmit.len(), BATCH);
        for transmit in output.transmit.drain(..) {
            batch.push(transmit.packet);
        }
        let start = Clock::now();
        receiver.handle_inbound(&mut batch, Instant::default(), &mut delivered);
        open += start.elapsed().as_nanos();
        assert_eq!(delivered.deliver.len(), BATCH);
        pool.append(&mut delivered.deliver);
    }
    (per_packet(seal), per_packet(open))
}

/// The same bytes through the AEAD alone, key and all prepared.
fn aead_round(plain: &[u8]) -> (f64, f64) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[5; 16]).unwrap());
    let payload = &plain[20..];
    let mut buffers: Vec<Vec<u8>> = (0..BATCH).map(|_| Vec::with_capacity(2048)).collect();
    let (mut seal, mut open, mut counter) = (0, 0, 0_u64);
    for _ in 0..BATCHES {
        for buffer in &mut buffers {
            buffer.clear();
            buffer.extend_from_slice(payload);
            buffer.extend_from_slice(&[1, 2, 2, 17]);
        }
        let first = counter;
        let start = Clock::now();
        for buffer in &mut buffers {
            counter += 1;
            key.seal_in_place_append_tag(nonce(counter), Aad::from([0; 8]), black_box(buffer))
                .unwrap();
        }
        seal += start.elapsed().as_nanos();
        let start = Clock::now();
        for (buffer, number) in buffers.iter_mut().zip(first + 1..) {
            key.open_in_place(nonce(number), Aad::from([0; 8]), black_box(buffer))
                .unwrap();
        }
        open += start.elapsed().as_nanos();
    }
    (per_packet(seal), per_packet(open))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[allow(clippy::cast_precision_loss)]
fn per_packet(nanos: u128) -> f64 {
    nanos as f64 / (BATCH * BATCHES) as f64
}

/// The number after `--rounds`; cargo adds words of its own, which are passed over.
fn rounds() -> usize {
    let mut words = std::env::args().skip_while(|word| word != "--rounds");
    words.nth(1).map_or(ROUNDS, |number| number.parse().unwrap())
}

fn main() {
    let rounds = rounds();
    for bytes in [64, 1400] {
        let plain = packet(bytes);
        let (mut esp, mut aead) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            esp.push(esp_round(&plain));
            aead.push(aead_round(&plain));
        }
        for (name, measured) in [("esp", esp), ("aead", aead)] {
            let (seal, open): (Vec<f64>, Vec<f64>) = measured.into_iter().unzip();
            println!(r#"{{"name":"{name} seal","bytes":{bytes},"ns":{seal:.1?}}}"#);
            println!(r#"{{"name":"{name} open","bytes":{bytes},"ns":{open:.1?}}}"#);
        }
    }
}
