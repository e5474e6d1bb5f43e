//! AH through the whole engine: modes, families, bundles, policy, hostile headers.
//! The bytes of the ICV may not enter: `transform/ah` has them.
//! Answers to: RFC 4302 section 3, RFC 4301 section 5.2.

use super::*;

/// As [`sa`], with AH.
pub(super) fn ah(spi: u32, source: &str, destination: &str, mode: Mode) -> SaParams {
    let esp = sa(spi, source, destination, mode);
    SaParams {
        id: SaId {
            protocol: Protocol::Ah,
            ..esp.id
        },
        encryption: None,
        authentication: Some(AlgorithmKey::new(
            "hmac-sha2-256-128",
            &[spi.to_be_bytes()[3]; 32],
        )),
        ..esp
    }
}

fn require_ah(mode: Mode, ends: Option<(&str, &str)>) -> Template {
    Template {
        protocol: Protocol::Ah,
        ..template(mode, Level::Require, ends)
    }
}

#[test]
fn both_modes_in_both_families() {
    for (source, destination) in [(A, B), (A6, B6)] {
        for mode in [Mode::Transport, Mode::Tunnel] {
            let ends = (mode == Mode::Tunnel).then_some((source, destination));
            let (sender, receiver) = (engine(), engine());
            let sas = [ah(0x1000, source, destination, mode)];
            connect(
                &sender,
                &receiver,
                &sas,
                (source, destination),
                &[require_ah(mode, ends)],
            );
            let packet = datagram(source, destination);
            let wire = sealed(&sender, &packet);
            let added = wire.len() - packet.len();
            let expected = match (ip(source).is_ipv4(), mode) {
                (true, Mode::Tunnel) => 28 + 20,
                (true, _) => 28,
                (false, Mode::Tunnel) => 32 + 40,
                (false, _) => 32,
            };
            assert_eq!(added, expected);
            let mut got = delivered(&receiver, &wire);
            if mode == Mode::Transport && ip(source).is_ipv4() {
                assert_eq!(checksum::internet(&got[..20]), 0);
                got[10..12].copy_from_slice(&packet[10..12]);
            }
            assert_eq!(got, packet);
            assert_eq!(refused_inbound(&receiver, &wire), DropReason::Replay);
        }
    }
}
