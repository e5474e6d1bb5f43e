//! Counts allocations while ESP, and the engine around it, seals and opens: there must be none per packet.
//! Nothing but this one question may enter: the counting allocator slows everything else.
//! Answers to: ARCHITECTURE.md D3 (no allocation per packet).

#[path = "no_allocation/engine.rs"]
mod engine;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sallet_core::buffer::PacketBuf;
use sallet_core::crypto::iv::IvGenerator;
use sallet_core::crypto::{AlgorithmKey, Suite};
use sallet_core::terms::{Sequence, Spi};
use sallet_core::transform::esp::Esp;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator with the arguments unchanged; the count is a
// thread-local `Cell` that needs no allocation itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same one.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn sealing_and_opening_allocate_nothing() {
    let before = COUNT.with(Cell::get);
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(COUNT.with(Cell::get), before + 1, "the counter counts");

    let mac = AlgorithmKey::new("hmac-sha2-256-128", &[1; 32]);
    for (encryption, authentication) in [
        (AlgorithmKey::new("aes-gcm-16", &[2; 36]), None),
        (AlgorithmKey::new("chacha20-poly1305", &[2; 36]), None),
        (AlgorithmKey::new("aes-cbc", &[2; 32]), Some(&mac)),
        (AlgorithmKey::new("aes-ctr", &[2; 36]), Some(&mac)),
        (AlgorithmKey::new("null", &[]), Some(&mac)),
    ] {
        let suite = Suite::build(Some(&encryption), authentication).unwrap();
        let esp = Esp::new(Spi(0x100), suite, true);
        let mut ivs = IvGenerator::new([3; 32]);
        let mut packet = PacketBuf::from_packet(&[4; 1400]);
        let before = COUNT.with(Cell::get);
        for number in 1..=50 {
            esp.seal(20, 4, Sequence(number), number, &mut ivs, &mut packet)
                .unwrap();
            assert_eq!(esp.open(20, Sequence(number), &mut packet), Ok(4));
            esp.seal(20, 4, Sequence(number), number + 100, &mut ivs, &mut packet)
                .unwrap();
            assert!(esp.open(20, Sequence(!number), &mut packet).is_err());
            packet.fill(&[4; 1400]).unwrap();
        }
        assert_eq!(COUNT.with(Cell::get), before, "{}", encryption.name);
    }
}
