//! ESP packets whose ICV is right, honest ones and ones that break one rule, into an engine that has the keys.
//! No packet that an engine made may enter: what is sealed here may be wrong inside.
//! Answers to: RFC 4303 sections 2 and 3.4, RFC 3948; rows 1, 2, 5, 44, 53 and 63 of the bugs of others.

use std::cell::RefCell;

use sallet_core::error::DropReason;
use sallet_core::sa::UdpEncap;
use sallet_core::terms::{Level, Mode, Sequence};
use sallet_core::wire::ip::Summary;

use super::input::Input;
use super::peer::{Fate, Front, Host, PLAIN, SaSpec, spi_of};
use super::sealed_esp::{Payload, Sealer, add_trailer, honest_payload};

const PORTS: UdpEncap = UdpEncap {
    source_port: 4500,
    destination_port: 4500,
};

/// Mostly AES-GCM: the target is about packets, and that is the fastest.
const SAS: &[SaSpec] = &[
    PLAIN,
    SaSpec {
        mode: Mode::Tunnel,
        ..PLAIN
    },
    SaSpec {
        is_ipv6: true,
        ..PLAIN
    },
    SaSpec {
        mode: Mode::Tunnel,
        is_ipv6: true,
        ..PLAIN
    },
    SaSpec {
        mode: Mode::Any,
        esn: true,
        ..PLAIN
    },
    SaSpec {
        mode: Mode::Tunnel,
        is_ipv6: true,
        esn: true,
        ..PLAIN
    },
    SaSpec {
        encap: Some(PORTS),
        ..PLAIN
    },
    SaSpec {
        encap: Some(PORTS),
        mode: Mode::Tunnel,
        is_ipv6: true,
        ..PLAIN
    },
    SaSpec {
        encryption: "null",
        authentication: "hmac-sha1-96",
        ..PLAIN
    },
    SaSpec {
        mode: Mode::Tunnel,
        encryption: "aes-cbc",
        authentication: "hmac-sha2-256-128",
        ..PLAIN
    },
];

/// Both ends.
pub(crate) struct Ends {
    pub(crate) host: Host,
    pub(crate) sealers: Vec<Sealer>,
}

impl Ends {
    pub(crate) fn new(specs: &'static [SaSpec], level: Level) -> Self {
        let sealer = |(index, spec): (usize, &SaSpec)| Sealer::new(*spec, spi_of(index));
        Self {
            host: Host::new(specs, level),
            sealers: specs.iter().enumerate().map(sealer).collect(),
        }
    }
}

thread_local! {
    static ENDS: RefCell<Ends> = RefCell::new(Ends::new(SAS, Level::Require));
}

pub(crate) fn run(data: &[u8]) -> bool {
    ENDS.with_borrow_mut(|ends| ends.run(&mut Input::new(data)))
}

fn is_udp(packet: &[u8]) -> bool {
    Summary::parse(packet).is_some_and(|summary| summary.next_layer == 17)
}

/// What the receiver must make of a packet.
enum Expected {
    /// It comes out with what was put in.
    Delivered,
    /// It does not, for this reason.
    Refused(DropReason),
    /// It does not, for one of several reasons.
    NotDelivered,
    /// Either will do.
    Anything,
}

impl Ends {
    fn run(&mut self, input: &mut Input<'_>) -> bool {
        let index = usize::from(input.byte()) % self.sealers.len();
        let deviation = input.deviation();
        let sealer = &self.sealers[index];
        let in_tunnel = match sealer.spec.mode {
            Mode::Tunnel => true,
            Mode::Transport => false,
            Mode::Any => input.byte() & 1 != 0,
        };
        let (text, inner, mut expected) = plaintext(sealer, deviation, in_tunnel, input);
        let mut sequence = self.host.next_number(index);
        if (32..40).contains(&deviation) {
            (sequence, expected) = any_sequence(sealer.spec.esn, input);
            self.host.renew(index);
        }
        let sealer = &self.sealers[index];
        let mut esp = sealer.seal(sequence, input.u64(), &text);
        if (40..50).contains(&deviation) {
            let at = input.below(esp.len());
            esp[at] ^= 1 << (deviation & 7);
            expected = Expected::NotDelivered;
        }
        if (50..56).contains(&deviation) {
            esp.truncate(input.below(esp.len()));
            expected = Expected::NotDelivered;
        }
        let packet = around(sealer, &esp, deviation, input, &mut expected);
        let delivered = self.judge(&packet, in_tunnel, inner.as_deref(), &expected);
        if delivered {
            // Whatever it was: once is all.
            let again = self.host.receive(&packet);
            assert!(matches!(again, Fate::Dropped(DropReason::Replay)));
        }
        if (32..40).contains(&deviation) {
            self.host.renew(index);
        }
        delivered
    }

    fn judge(&mut self, packet: &[u8], in_tunnel: bool, inner: Option<&[u8]>, expected: &Expected) -> bool {
        match (self.host.receive(packet), expected) {
            (Fate::Delivered(got), Expected::Delivered) => {
                let inner = inner.expect("an honest payload");
                // Behind a NAT the transport checksum is mended.
                let mended = is_udp(packet);
                assert!(if in_tunnel {
                    got == inner
                } else {
                    mended || got.ends_with(inner)
                });
                true
            }
            (Fate::Delivered(got), Expected::Anything) => {
                assert!(Summary::parse(got).is_some_and(|summary| summary.total_bytes == got.len()));
                true
            }
            (Fate::Delivered(_), Expected::NotDelivered | Expected::Refused(_)) => {
                panic!("a packet that breaks a rule was delivered")
            }
            (Fate::Dropped(reason), Expected::Delivered) => {
                panic!("an honest packet was dropped: {reason:?}")
            }
            (Fate::Dropped(reason), Expected::Refused(told)) => {
                assert_eq!(reason, *told);
                false
            }
            (Fate::Dropped(_), Expected::NotDelivered | Expected::Anything) => false,
        }
    }
}

/// The plaintext with its trailer, the packet inside if there is one, and what must become of it.
fn plaintext(
    sealer: &Sealer,
    deviation: u8,
    in_tunnel: bool,
    input: &mut Input<'_>,
) -> (Vec<u8>, Option<Vec<u8>>, Expected) {
    let alignment = sealer.alignment();
    let extra = input.byte();
    if (1..6).contains(&deviation) {
        return (any_text(sealer, input), None, Expected::Anything);
    }
    if (6..16).contains(&deviation) {
        // Any bytes as a packet, in a trailer that is right: the walk of inner headers, behind a good ICV.
        let next_header = if deviation < 11 {
            input.pick(&[4, 41])
        } else {
            input.byte()
        };
        let mut text = input.rest(300).to_vec();
        add_trailer(&mut text, next_header, alignment, extra);
        return (text, None, Expected::Anything);
    }
    let Payload {
        mut text,
        next_header,
        inner,
    } = honest_payload(in_tunnel, input);
    add_trailer(&mut text, next_header, alignment, extra);
    let trailer_at = text.len() - 2;
    let expected = match deviation {
        // A pad byte that is not what it must be.
        16..20 if text[trailer_at] > 0 => {
            let back = 1 + input.below(usize::from(text[trailer_at]));
            text[trailer_at - back] ^= 1 << (deviation & 7);
            Expected::Refused(DropReason::BadPadding)
        }
        // Any pad length.
        20..24 => {
            text[trailer_at] = input.byte();
            Expected::Anything
        }
        // More padding than there is text.
        24..26 if trailer_at < 255 => {
            text[trailer_at] = u8::try_from(trailer_at + 1).unwrap_or(u8::MAX);
            Expected::Refused(DropReason::BadPadding)
        }
        // Not on a boundary, where the cipher does not mind.
        26..30 if sealer.block_bytes() == 1 => {
            let bytes = 1 + usize::from(deviation % 3);
            text.splice(0..0, vec![0; bytes]);
            Expected::Refused(DropReason::BadPadding)
        }
        // A dummy packet.
        30..32 => {
            text[trailer_at + 1] = 59;
            Expected::Refused(DropReason::Dummy)
        }
        _ => Expected::Delivered,
    };
    (text, Some(inner), expected)
}

/// A plaintext of any bytes at all, in whole blocks where the cipher wants them.
fn any_text(sealer: &Sealer, input: &mut Input<'_>) -> Vec<u8> {
    let mut text = input.rest(300).to_vec();
    let block = sealer.block_bytes();
    text.resize(text.len().next_multiple_of(block), 0);
    text
}

/// A number for an SA that has seen none, and what a window of 64 says to it.
fn any_sequence(esn: bool, input: &mut Input<'_>) -> (Sequence, Expected) {
    let number = if esn {
        input.u64() >> (input.byte() & 63)
    } else {
        u64::from(input.u32())
    };
    // Of a window that has seen nothing, its last 63 low halves lie before the beginning.
    let acceptable = number != 0 && number <= u64::from(u32::MAX) - if esn { 63 } else { 0 };
    let expected = if acceptable {
        Expected::Delivered
    } else {
        Expected::NotDelivered
    };
    (Sequence(number), expected)
}

/// The headers in front, UDP where the SA has it.
fn around(
    sealer: &Sealer,
    esp: &[u8],
    deviation: u8,
    input: &mut Input<'_>,
    expected: &mut Expected,
) -> Vec<u8> {
    let spec = &sealer.spec;
    let udp_bytes = if spec.encap.is_some() { 8 } else { 0 };
    let mut front = Front::between(spec.is_ipv6, if spec.encap.is_some() { 17 } else { 50 });
    let class = input.byte();
    front.traffic_class = class & 0xfc;
    if (56..60).contains(&deviation) {
        // A congestion mark, which an inner packet that knows none does not survive.
        front.traffic_class = class;
        *expected = Expected::Anything;
    }
    front.hop_limit = input.byte();
    let mut packet = Vec::with_capacity(48 + esp.len());
    front.put(&mut packet, udp_bytes + esp.len());
    if let Some(ports) = spec.encap {
        packet.extend_from_slice(&ports.source_port.to_be_bytes());
        packet.extend_from_slice(&ports.destination_port.to_be_bytes());
        let bytes = u16::try_from(8 + esp.len()).expect("short packets");
        packet.extend_from_slice(&bytes.to_be_bytes());
        packet.extend_from_slice(&input.u16().to_be_bytes());
    }
    packet.extend_from_slice(esp);
    if deviation >= 60 {
        // One byte of the headers in front, whatever it is.
        let at = input.below(packet.len() - esp.len());
        packet[at] = input.byte();
        *expected = Expected::Anything;
    }
    packet
}
