//! AH packets whose ICV is right, behind headers and options of the fuzzer's choice, into an engine that has the keys.
//! No header that the engine built may enter, except the AH header itself.
//! Answers to: RFC 4302 sections 2 and 3.3.3; rows 1 to 3, 9, 11 and 12 of the bugs of others.

use std::cell::RefCell;

use sallet_core::buffer::PacketBuf;
use sallet_core::crypto::Integrity;
use sallet_core::crypto::iv::IvGenerator;
use sallet_core::error::DropReason;
use sallet_core::terms::{Level, Mode, Protocol, Sequence, Spi};
use sallet_core::transform::ah::Ah;
use sallet_core::transform::{AhRules, Order};
use sallet_core::wire::ip;

use super::input::Input;
use super::peer::{Fate, Front, Host, PLAIN, SaSpec, key, spi_of};
use super::sealed_esp::{Payload, honest_payload};

/// AH with the fastest ICV there is.
const BASE: SaSpec = SaSpec {
    protocol: Protocol::Ah,
    encryption: "",
    authentication: "hmac-sha1-96",
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
        mode: Mode::Any,
        esn: true,
        ..BASE
    },
    SaSpec {
        is_ipv6: true,
        esn: true,
        ..BASE
    },
    SaSpec {
        authentication: "aes-128-gmac",
        ..BASE
    },
    SaSpec {
        authentication: "hmac-sha2-256-128",
        is_ipv6: true,
        ..BASE
    },
];

/// Options that a router may change, that it may not, and the two source routes.
const IPV4_OPTIONS: &[u8] = &[148, 7, 68, 130, 133, 134, 149, 82, 131, 137, 25, 200];
const IPV6_OPTIONS: &[u8] = &[1, 5, 0x26, 0x3e, 0x8a, 0xc2, 0xee, 0xc9, 0x63];

struct Ends {
    host: Host,
    ahs: Vec<Ah>,
    ivs: IvGenerator,
    packet: PacketBuf,
}

thread_local! {
    static ENDS: RefCell<Ends> = RefCell::new(Ends::new());
}

pub(crate) fn run(data: &[u8]) -> bool {
    ENDS.with_borrow_mut(|ends| ends.run(&mut Input::new(data)))
}

impl Ends {
    fn new() -> Self {
        let ah = |(index, spec): (usize, &SaSpec)| {
            let integrity = Integrity::build(None, key(spec.authentication).as_ref()).expect("a MAC");
            Ah::new(Spi(spi_of(index)), integrity, spec.esn, false).expect("today's format")
        };
        Self {
            host: Host::new(SAS, Level::Require),
            ahs: SAS.iter().enumerate().map(ah).collect(),
            ivs: IvGenerator::new([3; 32]),
            packet: PacketBuf::with_capacity(2048),
        }
    }

    fn run(&mut self, input: &mut Input<'_>) -> bool {
        let index = usize::from(input.byte()) % SAS.len();
        let spec = &SAS[index];
        let deviation = input.deviation();
        let in_tunnel = spec.mode == Mode::Tunnel || spec.mode == Mode::Any && input.byte() & 1 != 0;
        let mut front = Built::headers(spec.is_ipv6, input);
        if (1..8).contains(&deviation) && !front.options.is_empty() {
            // Any byte of the options or extension headers: they need make no sense.
            let at = input.below(front.options.len());
            front.options[at] = input.byte();
            front.is_honest = false;
        }
        let Payload {
            mut text,
            mut next_header,
            inner,
        } = honest_payload(in_tunnel, input);
        if (8..16).contains(&deviation) {
            next_header = input.byte();
            text = input.rest(200).to_vec();
            front.is_honest = false;
        }
        let mut sequence = self.host.next_number(index);
        if (16..22).contains(&deviation) {
            sequence = Sequence(input.u64() >> (input.byte() & 63));
            self.host.renew(index);
            front.is_honest = false;
        }
        let sealed = self.seal(index, &front, &text, next_header, sequence, deviation, input);
        let delivered = sealed && self.on_the_way(&front, &inner, deviation, input);
        if (16..22).contains(&deviation) {
            self.host.renew(index);
        }
        delivered
    }

    /// Puts the packet together and signs it; `false` if AH does not cover such headers.
    #[allow(clippy::too_many_arguments, reason = "each is one decision of the input")]
    fn seal(
        &mut self,
        index: usize,
        front: &Built,
        text: &[u8],
        next_header: u8,
        sequence: Sequence,
        deviation: u8,
        input: &mut Input<'_>,
    ) -> bool {
        let (ah, is_ipv6) = (&self.ahs[index], SAS[index].is_ipv6);
        let at = front.packet_bytes();
        let bytes = front.assemble(text);
        if self.packet.fill(&bytes).is_err() {
            return false;
        }
        let order = Order {
            at,
            next_header,
            sequence,
            iv_counter: sequence.0 & 0xff_ffff,
            ipv6: is_ipv6,
            rules: AhRules::default(),
            compression: None,
        };
        ah.insert(&order, &mut self.ivs, &mut self.packet)
            .expect("there is room");
        let placed = ip::replace_payload(self.packet.as_mut_slice(), at, Protocol::Ah.number());
        if (22..28).contains(&deviation) {
            // Any byte of the header's first four: next header, length, reserved. The ICV covers it.
            self.packet.as_mut_slice()[at + input.below(4)] = input.byte();
        }
        placed.is_ok()
            && ah
                .sign(at, sequence, AhRules::default(), &mut self.packet)
                .is_ok()
    }

    /// What routers may do, or what nobody may, and then the receiver.
    fn on_the_way(&mut self, front: &Built, inner: &[u8], deviation: u8, input: &mut Input<'_>) -> bool {
        let is_ipv6 = front.is_ipv6;
        let mut bytes = self.packet.as_slice().to_vec();
        let hops = input.byte();
        // An honest packet inside a tunnel may not know congestion marks.
        let set = ip::set_traffic_class(&mut bytes, hops & 0xfc);
        assert!(set);
        bytes[if is_ipv6 { 7 } else { 8 }] = hops;
        let mut must_fail = false;
        if (28..44).contains(&deviation) {
            let at = input.below(bytes.len());
            bytes[at] ^= 1 << (deviation & 7);
            must_fail = front.is_immutable(at, bytes.len());
        } else if (44..50).contains(&deviation) {
            bytes.truncate(bytes.len() - 1 - input.below(bytes.len() - 1));
            must_fail = true;
        } else if (50..56).contains(&deviation) {
            let at = front.packet_bytes();
            bytes.truncate(at + input.below(bytes.len() - at));
            must_fail = ip::replace_payload(&mut bytes, at, Protocol::Ah.number()).is_ok();
        }
        let must_pass = front.is_honest && !(22..56).contains(&deviation);
        let delivered = match self.host.receive(&bytes) {
            Fate::Delivered(got) => {
                assert!(!must_fail, "a packet that was changed was delivered");
                assert!(!must_pass || got.ends_with(inner));
                true
            }
            Fate::Dropped(reason) => {
                assert!(!must_pass, "an honest packet was dropped: {reason:?}");
                false
            }
        };
        if delivered {
            let again = self.host.receive(&bytes);
            assert!(matches!(again, Fate::Dropped(DropReason::Replay)));
        }
        delivered
    }
}

/// The headers in front of AH.
struct Built {
    is_ipv6: bool,
    fixed: Front,
    /// IPv4 options, or IPv6 extension headers.
    options: Vec<u8>,
    /// Whether a receiver must take it: every option in it makes sense, and no route is unfinished.
    is_honest: bool,
}

impl Built {
    fn headers(is_ipv6: bool, input: &mut Input<'_>) -> Self {
        let mut built = Self {
            is_ipv6,
            fixed: Front::between(is_ipv6, Protocol::Ah.number()),
            options: Vec::new(),
            is_honest: true,
        };
        if is_ipv6 {
            built.extension_headers(input);
        } else {
            built.ipv4_options(input);
        }
        built
    }

    fn ipv4_options(&mut self, input: &mut Input<'_>) {
        for _ in 0..input.byte() & 3 {
            let kind = input.pick(IPV4_OPTIONS);
            let room = 40_usize.saturating_sub(self.options.len());
            let data = input.byte() & 15;
            let data = input.take(usize::from(data));
            if room < data.len() + 3 {
                break;
            }
            let is_route = matches!(kind, 131 | 137);
            self.options.push(kind);
            self.options
                .push(u8::try_from(data.len() + 2 + usize::from(is_route)).expect("short"));
            if is_route {
                // At its end, or anywhere.
                let pointer = input.byte();
                let ended = u8::try_from(data.len() + 4).expect("short");
                self.options.push(if pointer < 128 { ended } else { pointer });
                self.is_honest &= pointer < 128 || pointer >= ended;
            }
            self.options.extend_from_slice(data);
        }
        self.options.resize(self.options.len().next_multiple_of(4), 0);
    }

    fn extension_headers(&mut self, input: &mut Input<'_>) {
        let shape = input.byte();
        let mut kinds = Vec::new();
        if shape & 1 != 0 {
            kinds.push(0);
        }
        if shape & 2 != 0 {
            kinds.push(60);
        }
        if shape & 4 != 0 {
            kinds.push(43);
        }
        if shape & 8 != 0 {
            kinds.push(60);
        }
        for (place, kind) in kinds.iter().enumerate() {
            if place == 0 {
                self.fixed.next_header = *kind;
            }
            let next = kinds.get(place + 1).copied().unwrap_or(Protocol::Ah.number());
            let at = self.options.len();
            self.options.extend_from_slice(&[next, 0]);
            if *kind == 43 {
                self.route(input);
            } else {
                self.ipv6_options(at, input);
            }
            let bytes = self.options.len() - at;
            self.options[at + 1] = u8::try_from(bytes / 8 - 1).expect("short");
        }
    }

    fn ipv6_options(&mut self, at: usize, input: &mut Input<'_>) {
        for _ in 0..input.byte() & 3 {
            let kind = input.pick(IPV6_OPTIONS);
            let data = input.byte() & 15;
            let data = input.take(usize::from(data));
            self.options.push(kind);
            self.options.push(u8::try_from(data.len()).expect("short"));
            self.options.extend_from_slice(data);
        }
        let bytes = (self.options.len() - at).next_multiple_of(8);
        self.options.resize(at + bytes, 0);
    }

    fn route(&mut self, input: &mut Input<'_>) {
        let shape = input.byte();
        let addresses = usize::from(shape & 3);
        let segments_left = shape >> 6;
        self.is_honest &= segments_left == 0;
        self.options
            .extend_from_slice(&[shape >> 2 & 7, segments_left, 0, 0, 0, 0]);
        let at = self.options.len();
        self.options.extend_from_slice(input.take(16 * addresses));
        self.options.resize(at + 16 * addresses, 0);
    }

    const fn fixed_bytes(&self) -> usize {
        if self.is_ipv6 { 40 } else { 20 }
    }

    fn packet_bytes(&self) -> usize {
        self.fixed_bytes() + self.options.len()
    }

    /// Headers and text; the header that comes between is inserted later.
    fn assemble(&self, text: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.packet_bytes() + text.len());
        self.fixed.put(&mut packet, self.options.len() + text.len());
        packet.extend_from_slice(&self.options);
        if !self.is_ipv6 {
            packet[0] += u8::try_from(self.options.len() / 4).expect("at most 40 bytes");
        }
        packet.extend_from_slice(text);
        packet
    }

    /// Whether no router may change that byte, whatever stands there.
    fn is_immutable(&self, at: usize, packet_bytes: usize) -> bool {
        let in_options = (self.fixed_bytes()..self.packet_bytes()).contains(&at);
        let mutable = if self.is_ipv6 {
            // The version's half of the first byte counts, but is judged before any AH.
            at < 4 || at == 7
        } else {
            at == 1 || (6..=8).contains(&at) || at == 10 || at == 11
        };
        at < packet_bytes && !in_options && !mutable
    }
}
