//! Datagrams on the port of RFC 3948: keepalives, IKE, ESP that is right and ESP that is not, on other ports too.
//! What is wrong inside ESP may not enter: that is `inbound_esp.rs`.
//! Answers to: RFC 3948 sections 2 and 3; row 61 of the bugs of others.

use std::cell::RefCell;

use sallet_core::error::DropReason;
use sallet_core::sa::UdpEncap;
use sallet_core::terms::{Level, Mode};

use super::inbound_esp::Ends;
use super::input::Input;
use super::peer::{Fate, Front, PLAIN, SaSpec};
use super::sealed_esp::{Payload, add_trailer, honest_payload};

const PORTS: UdpEncap = UdpEncap {
    source_port: 4500,
    destination_port: 4500,
};
const SAS: &[SaSpec] = &[
    SaSpec {
        encap: Some(PORTS),
        ..PLAIN
    },
    SaSpec {
        encap: Some(PORTS),
        mode: Mode::Tunnel,
        ..PLAIN
    },
    SaSpec {
        encap: Some(PORTS),
        is_ipv6: true,
        ..PLAIN
    },
    SaSpec {
        encap: Some(PORTS),
        mode: Mode::Tunnel,
        is_ipv6: true,
        ..PLAIN
    },
    PLAIN,
];

// IKE is in clear, and must pass.
thread_local! {
    static ENDS: RefCell<Ends> = RefCell::new(Ends::new(SAS, Level::Use));
}

pub(crate) fn run(data: &[u8]) -> bool {
    ENDS.with_borrow_mut(|ends| datagram(ends, &mut Input::new(data)))
}

fn datagram(ends: &mut Ends, input: &mut Input<'_>) -> bool {
    let index = usize::from(input.byte()) % SAS.len();
    let spec = &SAS[index];
    let deviation = input.deviation();
    // A NAT changes the source port as it likes; the receiver's own must be the SA's.
    let source_port = input.u16();
    let other_port = (1..8).contains(&deviation);
    let destination_port = if other_port { input.u16() } else { 4500 };
    let (payload, inner) = match deviation {
        8..24 => (input.rest(300).to_vec(), None),
        24..28 => ([&[0; 4], input.rest(200)].concat(), None),
        _ => {
            let in_tunnel = spec.mode == Mode::Tunnel;
            let Payload {
                mut text,
                next_header,
                inner,
            } = honest_payload(in_tunnel, input);
            let (sequence, sealer) = (ends.host.next_number(index), &ends.sealers[index]);
            add_trailer(&mut text, next_header, sealer.alignment(), input.byte());
            (sealer.seal(sequence, input.u64(), &text), Some(inner))
        }
    };
    let mut packet = Vec::with_capacity(48 + payload.len());
    Front::between(spec.is_ipv6, 17).put(&mut packet, 8 + payload.len());
    packet.extend_from_slice(&source_port.to_be_bytes());
    packet.extend_from_slice(&destination_port.to_be_bytes());
    let bytes = u16::try_from(8 + payload.len()).expect("short packets");
    let told = if (28..40).contains(&deviation) {
        input.u16()
    } else {
        bytes
    };
    packet.extend_from_slice(&told.to_be_bytes());
    packet.extend_from_slice(&input.u16().to_be_bytes());
    packet.extend_from_slice(&payload);
    let is_honest = inner.is_some() && spec.encap.is_some() && destination_port == 4500 && told == bytes;
    match ends.host.receive(&packet) {
        Fate::Delivered(got) => {
            let ends_right = inner.is_none_or(|inner| !is_honest || got.ends_with(&inner));
            assert!(ends_right);
            true
        }
        Fate::Dropped(reason) => {
            assert!(!is_honest, "an honest packet was dropped: {reason:?}");
            if payload == [0xff] && destination_port == 4500 && told == bytes {
                assert_eq!(reason, DropReason::Keepalive);
            }
            false
        }
    }
}
