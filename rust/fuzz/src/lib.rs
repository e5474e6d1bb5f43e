//! The glue between a target's body in `drive/` and libFuzzer, and the figures at the end of a run.
//! No check may enter: `drive/` has them, and a plain test shares it.
//! Answers to: `scripts/fuzz`, which reads the last line of a run.
#![forbid(unsafe_code)]

#[path = "../drive/mod.rs"]
#[expect(
    dead_code,
    reason = "the table of all targets is for the replay; a program here has one of them"
)]
mod drive;

use std::cell::RefCell;

/// What one run came to; said when the process ends.
#[derive(Default)]
struct Figures {
    accepted: u64,
    total: u64,
}

impl Drop for Figures {
    /// The main thread's values are dropped by `exit`, which is how libFuzzer ends.
    fn drop(&mut self) {
        eprintln!("sallet: accepted {} of {}", self.accepted, self.total);
    }
}

thread_local! {
    static FIGURES: RefCell<Option<Figures>> = const { RefCell::new(None) };
}

/// Gives an input to a target, and counts it.
fn run(target: fn(&[u8]) -> bool, data: &[u8]) {
    FIGURES.with_borrow_mut(|figures| {
        let figures = figures.get_or_insert_with(Figures::default);
        figures.total += 1;
        figures.accepted += u64::from(target(data));
    });
}

/// One function a target, so that a program holds no other target's code: libFuzzer looks at every edge there is.
macro_rules! targets {
    ($($name:ident = $room:ident::$body:ident;)+) => {
        $(
            #[doc = concat!("Does what the target ", stringify!($name), " does with an input.")]
            pub fn $name(data: &[u8]) {
                run(drive::$room::$body, data);
            }
        )+
    };
}

targets! {
    ipv4 = wire_formats::ipv4;
    ipv6 = wire_formats::ipv6;
    esp = wire_formats::esp;
    ah = wire_formats::ah;
    ipcomp = wire_formats::ipcomp;
    udp_encap = wire_formats::udp_encap;
    icmp = wire_formats::icmp;
    fragment = fragment::run;
    wire_packets = wire_packets::run;
    inbound_udp_encap = inbound_udp_encap::run;
    inbound_esp = inbound_esp::run;
    inbound_ah = inbound_ah::run;
    inbound_ipcomp = inbound_ipcomp::run;
    engine_pair = engine_pair::run;
    seal_open = seal_open::run;
}

/// Makes a program of one target.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name(data));
    };
}
