//! ESP in UDP through the engine: ports, keepalives, IKE, and what does not fit.
//! No socket may enter.
//! Answers to: RFC 3948 sections 2 and 3.

use super::*;
use crate::engine::{Route, Setting};
use crate::sa::UdpEncap;
use crate::wire::ip::Summary;
use crate::wire::protocol;

const PORTS: UdpEncap = UdpEncap {
    source_port: 4500,
    destination_port: 4500,
};

fn pair(hosts: (&str, &str), mode: Mode) -> (Engine, Engine) {
    let (sender, receiver) = (engine(), engine());
    let params = SaParams {
        encap: Some(PORTS),
        ..sa(0x1000, hosts.0, hosts.1, mode)
    };
    let templates = require(mode, (mode == Mode::Tunnel).then_some(hosts));
    connect(&sender, &receiver, &[params], hosts, &templates);
    (sender, receiver)
}

#[test]
fn esp_travels_in_udp() {
    for hosts in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let (sender, receiver) = pair(hosts, mode);
            let plain = datagram(hosts.0, hosts.1);
            let out = outbound(&sender, &plain, START);
            assert_eq!(
                out.transmit[0].route,
                Route::Protected {
                    spi: Spi(0x1000),
                    encap: Some(PORTS)
                }
            );
            let wire = out.transmit[0].packet.as_slice();
            let summary = Summary::parse(wire).unwrap();
            assert_eq!(summary.next_layer, protocol::UDP);
            let carried = udp::Packet::new_checked(summary.payload(wire)).unwrap();
            assert_eq!((carried.source_port(), carried.destination_port()), (4500, 4500));
            if ip(hosts.0).is_ipv6() {
                assert_ne!(carried.checksum(), 0);
                assert!(carried.checksum_is_right(summary.source, summary.destination));
            }
            assert_eq!(delivered(&receiver, wire), plain);
        }
    }
}

#[test]
fn the_way_it_came_must_be_the_sas_way() {
    let (sender, receiver) = pair((A, B), Mode::Transport);
    let wire = sealed(&sender, &datagram(A, B));
    let summary = Summary::parse(&wire).unwrap();
    let esp = &summary.payload(&wire)[8..];
    let bare = crate::wire::ip::packet(ip(A), ip(B), protocol::ESP, esp).unwrap();
    assert_eq!(refused_inbound(&receiver, &bare), DropReason::InEncapMismatch);
    receiver.configure(Setting::EncapPorts(vec![4500, 4501])).unwrap();
    let elsewhere = udp::packet(ip(A), ip(B), 4500, 4501, esp).unwrap();
    assert_eq!(
        refused_inbound(&receiver, &elsewhere),
        DropReason::InEncapMismatch
    );
    // A NAT may have changed the peer's port.
    let translated = udp::packet(ip(A), ip(B), 61_000, 4500, esp).unwrap();
    assert_eq!(delivered(&receiver, &translated), datagram(A, B));
    let (sender, receiver) = (engine(), engine());
    connect(
        &sender,
        &receiver,
        &[sa(0x1000, A, B, Mode::Transport)],
        (A, B),
        &require(Mode::Transport, None),
    );
    let wire = sealed(&sender, &datagram(A, B));
    let wrapped = udp::packet(ip(A), ip(B), 4500, 4500, &wire[20..]).unwrap();
    assert_eq!(refused_inbound(&receiver, &wrapped), DropReason::InEncapMismatch);
}

//= https://www.rfc-editor.org/rfc/rfc3948#section-2.1
//# SPI 0 is not used in UDP
#[test]
fn keepalives_are_swallowed_and_ike_passes() {
    let receiver = engine();
    let on_4500 = |payload: &[u8]| udp::packet(ip(A), ip(B), 4500, 4500, payload).unwrap();
    assert_eq!(
        refused_inbound(&receiver, &on_4500(&[0xff])),
        DropReason::Keepalive
    );
    for short in [&[][..], &[1], &[0, 0, 0]] {
        assert_eq!(
            refused_inbound(&receiver, &on_4500(short)),
            DropReason::InEncapMismatch
        );
    }
    let ike = on_4500(b"\0\0\0\0 an IKE message");
    assert_eq!(delivered(&receiver, &ike), ike);
    let unknown = on_4500(b"\x00\x00\x20\x00 some ESP that nobody knows");
    assert_eq!(refused_inbound(&receiver, &unknown), DropReason::InNoSa);
    let other_port = udp::packet(ip(A), ip(B), 4500, 53, &[0xff]).unwrap();
    assert_eq!(delivered(&receiver, &other_port), other_port);
}
