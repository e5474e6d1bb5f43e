//! Compressed bytes of any kind behind a header that is right, into an engine that has the SA.
//! No key may enter: IPComp has none, so that what is inside it need not be honest even behind ESP.
//! Answers to: RFC 3173 section 2, RFC 2394; rows 7 and 8 of the bugs of others.

use std::cell::RefCell;

use sallet_core::crypto::compress::Deflate;
use sallet_core::terms::{Level, Mode, Protocol};
use sallet_core::wire::ip::Summary;

use super::input::Input;
use super::peer::{Fate, Front, Host, PLAIN, SaSpec, spi_of};
use super::sealed_esp::{Payload, honest_payload};

const BASE: SaSpec = SaSpec {
    protocol: Protocol::IpComp,
    encryption: "deflate",
    ..PLAIN
};
const SAS: &[SaSpec] = &[
    BASE,
    SaSpec {
        mode: Mode::Tunnel,
        ..BASE
    },
    SaSpec {
        is_ipv6: true,
        ..BASE
    },
    SaSpec {
        mode: Mode::Tunnel,
        is_ipv6: true,
        ..BASE
    },
    SaSpec {
        raw_cpi: true,
        ..BASE
    },
    SaSpec {
        raw_cpi: true,
        is_ipv6: true,
        ..BASE
    },
];
/// The longest IP packet over IPv4; the engine keeps to it over IPv6 too.
const LONGEST: usize = 65_535;

struct Ends {
    host: Host,
    deflate: Deflate,
}

thread_local! {
    static ENDS: RefCell<Ends> = RefCell::new(Ends {
        host: Host::new(SAS, Level::Use),
        deflate: Deflate::default(),
    });
}

pub(crate) fn run(data: &[u8]) -> bool {
    ENDS.with_borrow_mut(|ends| ends.run(&mut Input::new(data)))
}

impl Ends {
    fn run(&mut self, input: &mut Input<'_>) -> bool {
        let index = usize::from(input.byte()) % SAS.len();
        let spec = &SAS[index];
        let deviation = input.deviation();
        let cpi = if spec.raw_cpi { spi_of(index) } else { 2 };
        let cpi = u16::try_from(cpi & 0xffff).expect("two bytes");
        let (mut stream, next_header, inner) = if deviation > 24 {
            // The longest run that was ever made of this format starts here: any stream at all.
            let next_header = if deviation > 32 { 253 } else { input.byte() };
            (input.rest(500).to_vec(), next_header, None)
        } else {
            let in_tunnel = spec.mode == Mode::Tunnel;
            let Payload {
                text,
                next_header,
                inner,
            } = honest_payload(in_tunnel, input);
            (self.compress(&text, input.byte()), next_header, Some(inner))
        };
        let mut is_honest = inner.is_some();
        if (1..=24).contains(&deviation) {
            is_honest = false;
            let at = input.below(stream.len());
            match deviation {
                1..=12 => stream[at] ^= 1 << (deviation & 7),
                13..=18 => stream.truncate(at),
                _ => stream.extend_from_slice(input.take(8)),
            }
        }
        let mut packet = Vec::with_capacity(44 + stream.len());
        Front::between(spec.is_ipv6, Protocol::IpComp.number()).put(&mut packet, 4 + stream.len());
        packet.extend_from_slice(&[next_header, if deviation > 30 { input.byte() } else { 0 }]);
        packet.extend_from_slice(&cpi.to_be_bytes());
        packet.extend_from_slice(&stream);
        match self.host.receive(&packet) {
            Fate::Delivered(got) => {
                assert!(got.len() <= LONGEST);
                assert!(Summary::parse(got).is_some_and(|summary| summary.total_bytes == got.len()));
                assert!(!is_honest || got.ends_with(&inner.expect("honest")));
                true
            }
            Fate::Dropped(reason) => {
                assert!(!is_honest, "an honest packet was dropped: {reason:?}");
                false
            }
        }
    }

    /// One stored block mostly, since that takes no time, or what the transform makes.
    fn compress(&mut self, text: &[u8], how: u8) -> Vec<u8> {
        if how >= 248 {
            let stream = self.deflate.deflate(text, LONGEST).expect("room for anything");
            return stream.to_vec();
        }
        let bytes = u16::try_from(text.len()).expect("short");
        let mut stream = vec![1];
        stream.extend_from_slice(&bytes.to_le_bytes());
        stream.extend_from_slice(&(!bytes).to_le_bytes());
        stream.extend_from_slice(text);
        stream
    }
}
