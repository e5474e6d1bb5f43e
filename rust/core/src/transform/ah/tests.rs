//! AH against an oracle and a real kernel, against the way, against damage, and against itself.
//! Policies and windows may not enter: they are the engine's.
//! Answers to: RFC 4302 section 3.3.3 and appendix A; the `source` field of each file of vectors.

use serde::Deserialize;

use super::*;
use crate::crypto::AlgorithmKey;
use crate::crypto::vectors::{Tally, bytes, folder, load, read};

#[derive(Deserialize)]
struct KeyCase {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    authentication: KeyCase,
    spi: u32,
    sequence: u64,
    esn: bool,
    old: bool,
    clear_tos: bool,
    offset_mask: u16,
    wide_padding: bool,
    next_header: u8,
    headers: String,
    payload: String,
    packet: String,
    received: String,
}

impl Case {
    fn ah(&self) -> Ah {
        let key = AlgorithmKey::new(&self.authentication.name, &bytes(&self.authentication.key));
        let integrity = Integrity::build(None, Some(&key)).unwrap();
        Ah::new(Spi(self.spi), integrity, self.esn, self.old).unwrap()
    }

    fn rules(&self) -> AhRules {
        AhRules {
            clear_tos: self.clear_tos,
            offset_mask: self.offset_mask,
            wide_padding: self.wide_padding,
        }
    }

    fn order(&self) -> Order {
        let headers = bytes(&self.headers);
        Order {
            at: headers.len(),
            next_header: self.next_header,
            sequence: Sequence(self.sequence),
            iv_counter: 1,
            ipv6: headers[0] >> 4 == 6,
            rules: self.rules(),
            compression: None,
        }
    }

    /// Signs to exactly these bytes, and opens what the way made of them.
    fn passes(&self) -> bool {
        let (headers, payload, expected) = (bytes(&self.headers), bytes(&self.payload), bytes(&self.packet));
        let (ah, order) = (self.ah(), self.order());
        // The headers already say what will stand behind them, as the engine has it before it signs.
        let mut packet = PacketBuf::from_packet(&[&headers[..], &payload].concat());
        ah.insert(&order, &mut IvGenerator::new([4; 32]), &mut packet)
            .unwrap();
        let iv = order.at + ah.fixed_bytes..order.at + ah.fixed_bytes + ah.iv_bytes;
        packet.as_mut_slice()[iv.clone()].copy_from_slice(&expected[iv]);
        // A kernel's padding is whatever was there, and it is in the ICV; ours and the oracle's is zero.
        let padding =
            order.at + ah.fixed_bytes + ah.icv_bytes..order.at + ah.header_bytes(order.ipv6, order.rules);
        packet.as_mut_slice()[padding.clone()].copy_from_slice(&expected[padding]);
        ah.sign(order.at, order.sequence, order.rules, &mut packet)
            .unwrap();
        let received = bytes(&self.received);
        let clear = [&received[..order.at], &payload].concat();
        packet.as_slice() == expected && self.opened(&received) == Ok((self.next_header, clear))
    }

    fn opened(&self, packet: &[u8]) -> Result<(u8, Vec<u8>), DropReason> {
        let at = self.order().at;
        let mut packet = PacketBuf::from_packet(packet);
        let before = packet.as_slice().to_vec();
        let opened = self
            .ah()
            .open(at, Sequence(self.sequence), self.rules(), &mut packet);
        if opened.is_err() {
            assert_eq!(packet.as_slice(), before, "{}", self.name);
        }
        Ok((opened?, packet.as_slice().to_vec()))
    }
}

fn all() -> Vec<Case> {
    let (oracle, kernel) = (load::<Case>("ah-oracle"), load::<Case>("ah-linux"));
    assert!(oracle.len() >= 90 && kernel.len() >= 30);
    oracle.into_iter().chain(kernel).collect()
}

//= https://www.rfc-editor.org/rfc/rfc4302#section-2.5.1
//# the high-order 32 bits are not sent but are in the ICV
//= https://www.rfc-editor.org/rfc/rfc4302#section-2.6
//# the header is padded to a multiple of 32 bits for IPv4 and of 64 bits for IPv6
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.1.1
//# TOS, flags, fragment offset, TTL and header checksum are zero for the ICV
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.1.1
//# the destination is mutable but predictable where there is a source route
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.2.1
//# traffic class, flow label and hop limit are zero for the ICV
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.2.2
//# where the third bit of an option's type is set, its data counts as zero
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.2.3
//# the sender orders the routing header so that it appears as it will at the final destination
//= https://www.rfc-editor.org/rfc/rfc4302#appendix-A1
//# each option is immutable or mutable as a whole; one that is not in the table counts as mutable
//= https://www.rfc-editor.org/rfc/rfc4302#section-2.5
//# the sequence number is always there
//= https://www.rfc-editor.org/rfc/rfc4543#section-4
//# in AH the IV of 8 bytes stands in front of the ICV
#[test]
fn published_packets_of_the_oracle_and_of_a_kernel() {
    for name in ["ah-oracle", "ah-linux"] {
        let file = read::<Case>(&folder().join(name).with_extension("json"));
        let packets = file.cases.iter().map(|case| {
            let format = if case.old { "ah-old" } else { "ah" };
            let label = format!("{format} {}", case.authentication.name);
            (label, case.name.as_str(), case.passes())
        });
        Tally::each(&file.source, packets);
    }
}

/// Any bit that the way has no business with is noticed, and a header of another length is no header.
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.4.4
//# the ICV is compared whole, with the fields that may change taken as zero; no match, no packet
#[test]
fn damage_is_noticed() {
    for case in all() {
        let received = bytes(&case.received);
        let at = case.order().at;
        for index in at..received.len() {
            for bit in 0..8 {
                let mut spoiled = received.clone();
                spoiled[index] ^= 1 << bit;
                let refused = case.opened(&spoiled).unwrap_err();
                let length_field = index == at + 1;
                assert!(
                    refused == DropReason::AuthFailed || length_field && refused == DropReason::InMalformed,
                    "{} byte {index} bit {bit}: {refused:?}",
                    case.name
                );
            }
        }
        for length in 0..received.len() {
            case.opened(&received[..length]).unwrap_err();
        }
    }
}

/// What would be eight bytes in all: today's format carries NULL, the old one has nothing left to be known by.
#[test]
fn the_old_format_needs_an_icv() {
    let permits = crate::crypto::Permits {
        unprotected: true,
        ..crate::crypto::Permits::default()
    };
    let build = |old| {
        let key = AlgorithmKey::new("null-auth", &[]);
        let integrity = Integrity::permitted(None, Some(&key), permits).unwrap();
        Ah::new(Spi(1), integrity, false, old).err()
    };
    assert_eq!(build(true), Some(Error::UnsupportedCombination));
    assert_eq!(build(false), None);
}
