//! Every algorithm there is, in ESP and AH, in today's formats and the old ones: what is sealed opens, and only that.
//! No engine and no window may enter: one transform, one packet.
//! Answers to: RFC 4302, RFC 4303, RFC 1826 and 1827; rows 4, 29, 50 and 56 of the bugs of others.

use std::cell::RefCell;

use sallet_core::buffer::PacketBuf;
use sallet_core::crypto::compress::Deflate;
use sallet_core::crypto::iv::IvGenerator;
use sallet_core::crypto::registry::{ALGORITHMS, Algorithm, Kind};
use sallet_core::crypto::{Integrity, Permits, Suite};
use sallet_core::terms::{Protocol, Sequence, Spi};
use sallet_core::transform::ah::Ah;
use sallet_core::transform::esp::Esp;
use sallet_core::transform::{AhRules, Order, Tools, Transform};
use sallet_core::wire::ip;

use super::input::Input;
use super::peer::{Front, key};

const SPI: Spi = Spi(0x0102_0304);
const PERMITS: Permits = Permits {
    unprotected: true,
    fresh_keys: true,
};
/// For ciphers that must not go without.
const COMPANION: &str = "hmac-sha1-96";

struct Bench {
    transforms: Vec<(String, Transform)>,
    tools: Tools,
    packet: PacketBuf,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

pub(crate) fn run(data: &[u8]) -> bool {
    BENCH.with_borrow_mut(|bench| bench.run(&mut Input::new(data)))
}

impl Bench {
    fn new() -> Self {
        let mut transforms = Vec::new();
        for row in ALGORITHMS {
            let before = transforms.len();
            if row.kind != Kind::Compression {
                add(row, &mut transforms);
                assert!(transforms.len() > before, "{} is in no transform", row.name);
            }
        }
        let tools = Tools {
            ivs: IvGenerator::new([9; 32]),
            deflate: Deflate::default(),
        };
        Self {
            transforms,
            tools,
            packet: PacketBuf::with_capacity(2048),
        }
    }

    fn run(&mut self, input: &mut Input<'_>) -> bool {
        let which = input.below(self.transforms.len());
        let (name, transform) = &self.transforms[which];
        let sequence = Sequence(input.u64());
        let next_header = input.byte();
        let is_ipv6 = input.byte() & 1 != 0;
        let (change, place) = (input.byte(), input.u16());
        let payload = input.rest(256);
        let mut whole = Vec::with_capacity(40 + payload.len());
        Front::between(is_ipv6, next_header).put(&mut whole, payload.len());
        let at = whole.len();
        whole.extend_from_slice(payload);
        self.packet.fill(&whole).expect("there is room");
        let order = Order {
            at,
            next_header,
            sequence,
            iv_counter: sequence.0 & 0xff_ffff_ffff,
            ipv6: is_ipv6,
            rules: AhRules::default(),
            compression: None,
        };
        let sealed = transform.seal(&order, &mut self.tools, &mut self.packet);
        sealed.unwrap_or_else(|reason| panic!("{name}: {reason:?}"));
        let protocol = if matches!(transform, Transform::Ah(_)) {
            Protocol::Ah
        } else {
            Protocol::Esp
        };
        ip::replace_payload(self.packet.as_mut_slice(), at, protocol.number()).expect("a header");
        let finished = transform.finish(at, &order, &mut self.packet);
        finished.unwrap_or_else(|reason| panic!("{name}: {reason:?}"));
        let sealed_bytes = transform.sealed_bytes(payload.len(), is_ipv6, order.rules);
        assert_eq!(self.packet.len() - at, sealed_bytes, "{name}");
        if change < 128 {
            self.opens(which, &order, &whole)
        } else {
            self.is_refused(which, &order, payload, change, usize::from(place));
            false
        }
    }

    fn opens(&mut self, which: usize, order: &Order, whole: &[u8]) -> bool {
        let (name, transform) = &self.transforms[which];
        let opened = transform.open(
            order.at,
            order.sequence,
            order.rules,
            &mut self.tools,
            &mut self.packet,
        );
        assert_eq!(opened, Ok(order.next_header), "{name}");
        assert_eq!(self.packet.as_slice()[order.at..], whole[order.at..], "{name}");
        true
    }

    /// Changes one bit behind the headers: nothing opens, and nothing that was decrypted stays behind.
    fn is_refused(&mut self, which: usize, order: &Order, payload: &[u8], change: u8, place: usize) {
        let (name, transform) = &self.transforms[which];
        let protected = self
            .packet
            .as_mut_slice()
            .get_mut(order.at..)
            .expect("behind the headers");
        let place = place % protected.len();
        protected[place] ^= 1 << (change & 7);
        // The SPI finds the SA: no transform looks at it again, but it is in the ICV.
        let opened = transform.open(
            order.at,
            order.sequence,
            order.rules,
            &mut self.tools,
            &mut self.packet,
        );
        if !transform.has_integrity() {
            return;
        }
        // An ICV of today's formats covers all of it; implicit numbers are not the packet's.
        assert!(opened.is_err(), "{name}: a changed packet was opened");
        let hides = !["ESP null", "ESP aes-gmac"]
            .iter()
            .any(|open| name.starts_with(open));
        if hides && payload.len() >= 24 && matches!(transform, Transform::Esp(_)) {
            // One block may be the one that was changed; what stands behind it shows all the same. Zeros are what
            // is left of a text that was wiped, and the header is the fuzzer's choice.
            let tail = &payload[payload.len() - 8..];
            let text = &self.packet.as_slice()[order.at + 8..];
            let seen = !tail.contains(&0) && text.windows(8).any(|window| window == tail);
            assert!(!seen, "{name}: plaintext is left in a packet that was refused");
        }
    }
}

/// Every transform that a row can be in.
fn add(row: &Algorithm, transforms: &mut Vec<(String, Transform)>) {
    let (own, null) = (key(row.name), key("null"));
    for esn in [false, true] {
        let ciphers = if row.kind == Kind::Auth { "null and " } else { "" };
        let name = |what: &str| {
            let numbers = if esn { " with ESN" } else { "" };
            format!("{what} {ciphers}{}{numbers}", row.name)
        };
        let pairs = if row.kind == Kind::Auth {
            vec![(null.as_ref(), own.as_ref())]
        } else {
            vec![(own.as_ref(), None)]
        };
        let companion = key(COMPANION);
        let with_companion = (row.kind == Kind::Cipher).then_some((own.as_ref(), companion.as_ref()));
        for (encryption, authentication) in pairs.into_iter().chain(with_companion) {
            if let Ok(suite) = Suite::permitted(encryption, authentication, PERMITS) {
                transforms.push((name("ESP"), Transform::Esp(Esp::new(SPI, suite, esn))));
            }
            let suite = Suite::permitted(encryption, authentication, PERMITS);
            if let Some(esp) = suite
                .ok()
                .filter(|_| !esn)
                .and_then(|suite| Esp::old(SPI, suite).ok())
            {
                transforms.push((name("old ESP"), Transform::Esp(esp)));
            }
        }
        for old in [false, true] {
            let integrity = Integrity::permitted(None, own.as_ref(), PERMITS).ok();
            let ah = integrity
                .filter(|_| row.kind == Kind::Auth)
                .and_then(|integrity| Ah::new(SPI, integrity, esn, old).ok());
            if let Some(ah) = ah {
                transforms.push((name("AH"), Transform::Ah(ah)));
            }
        }
    }
}
