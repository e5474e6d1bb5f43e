//! ESP against published packets, against damage, and against itself.
//! Primitives without a packet may not enter: they are in `crypto`.
//! Answers to: RFC 4303 sections 2 and 3; the `source` field of each file of vectors.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::crypto::registry::{ALGORITHMS, Algorithm, Kind};
use crate::crypto::vectors::{Tally, bytes, files, folder, read};
use crate::crypto::{AlgorithmKey, Permits};

#[derive(Deserialize)]
struct KeyCase {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct PacketCase {
    name: String,
    encryption: KeyCase,
    authentication: Option<KeyCase>,
    esn: bool,
    #[serde(default)]
    old: bool,
    spi: u32,
    sequence: u64,
    iv: String,
    next_header: u8,
    payload: String,
    packet: String,
}

fn keyed(case: &KeyCase) -> AlgorithmKey {
    AlgorithmKey::new(&case.name, &bytes(&case.key))
}

impl PacketCase {
    fn esp(&self) -> Esp {
        let authentication = self.authentication.as_ref().map(keyed);
        let permits = Permits {
            fresh_keys: true,
            ..Permits::default()
        };
        let suite =
            Suite::permitted(Some(&keyed(&self.encryption)), authentication.as_ref(), permits).unwrap();
        if self.old {
            return Esp::old(Spi(self.spi), suite).unwrap();
        }
        Esp::new(Spi(self.spi), suite, self.esn)
    }

    /// Seals to exactly these bytes behind headers of several lengths, and opens them again.
    fn passes(&self) -> bool {
        let esp = self.esp();
        let (payload, expected) = (bytes(&self.payload), bytes(&self.packet));
        let (sequence, iv) = (Sequence(self.sequence), bytes(&self.iv));
        [&b""[..], &[0x45; 20], &[0x60; 40]].into_iter().all(|front| {
            let (plain, hidden) = ([front, &payload].concat(), [front, &expected].concat());
            let mut packet = PacketBuf::from_packet(&plain);
            let sealed = esp.seal_with_iv(front.len(), self.next_header, sequence, &iv, &mut packet);
            let right = sealed.is_ok() && packet.as_slice() == hidden;
            let opened = esp.open(front.len(), sequence, &mut packet);
            right
                && esp.sealed_bytes(payload.len()) == expected.len()
                && opened == Ok(self.next_header)
                && packet.as_slice() == plain
        })
    }
}

/// Some keys of every length that a row has, or of the shortest, a middle and the longest.
fn some_lengths(row: &Algorithm) -> Vec<u16> {
    match row.key_bits {
        few if few.len() < 4 => few.to_vec(),
        many => vec![many[0], many[many.len() / 2], many[many.len() - 1]],
    }
}

/// Every cipher and AEAD with keys of some lengths; the first length of a cipher goes with every MAC.
fn suites() -> Vec<(String, Suite)> {
    let key = |name: &str, bits: u16| {
        let bytes: Vec<u8> = (0..bits / 8)
            .map(|index| (u32::from(index) * 37 + u32::from(bits)) as u8)
            .collect();
        AlgorithmKey::new(name, &bytes)
    };
    let permits = Permits {
        fresh_keys: true,
        ..Permits::default()
    };
    let macs: Vec<&Algorithm> = ALGORITHMS
        .iter()
        .filter(|mac| mac.kind == Kind::Auth && mac.icv_bytes > 0 && mac.iv_bytes == 0)
        .collect();
    let mut made = Vec::new();
    for row in ALGORITHMS
        .iter()
        .filter(|row| matches!(row.kind, Kind::Aead | Kind::Cipher))
    {
        for (nth, bits) in some_lengths(row).into_iter().enumerate() {
            let with = if nth == 0 { &macs[..] } else { &macs[..1] };
            let alone = std::iter::once(None);
            for mac in alone.chain(with.iter().map(|mac| Some(key(mac.name, mac.key_bits[0])))) {
                if let Ok(suite) = Suite::permitted(Some(&key(row.name, bits)), mac.as_ref(), permits) {
                    let mac = mac.map_or_else(String::new, |mac| format!(" {}", mac.name));
                    made.push((format!("{} {bits}{mac}", row.name), suite));
                }
            }
        }
    }
    // AEADs: 22, and 7 with an implicit IV. Eleven ciphers with eleven MACs each, 12 further lengths with one
    // MAC; of these 23 all but CTR's and NULL's also alone.
    assert_eq!(made.len(), 22 + 7 + (11 * 11 + 12) + (23 - 6));
    made
}

fn hides(suite: &Suite) -> bool {
    !["null", "aes-gmac"].contains(&suite.encryption().name)
}

const SEQUENCE: Sequence = Sequence(0x0000_0002_0000_0007);

fn sealed(esp: &Esp, front: &[u8], payload: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::from_packet(&[front, payload].concat());
    let mut ivs = IvGenerator::new([4; 32]);
    esp.seal(front.len(), 17, SEQUENCE, 99, &mut ivs, &mut packet)
        .unwrap();
    packet
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 % 251) as u8).collect()
}

//= https://www.rfc-editor.org/rfc/rfc4106#section-5
//# 8 bytes, or 12 with extended sequence numbers
//= https://www.rfc-editor.org/rfc/rfc4303#section-2.2.1
//# the high-order 32 bits are not sent but are in the ICV
//= https://www.rfc-editor.org/rfc/rfc4303#section-3.3.2
//# encryption comes before the integrity algorithm
//= https://www.rfc-editor.org/rfc/rfc4543#section-3.3
//# everything is additional data: SPI, sequence number, IV, then the payload with its trailer
//= https://www.rfc-editor.org/rfc/rfc8750#section-4
//# the IV is not sent: it is the sequence number, filled up with zeros to 64 bits
//= https://www.rfc-editor.org/rfc/rfc4543#section-3.2
//# the nonce is the four bytes of salt followed by the eight of the IV
//= https://www.rfc-editor.org/rfc/rfc7634#section-2
//# the nonce is the four bytes of salt followed by the eight of the IV
#[test]
fn published_packets() {
    let mut asked = 0;
    for path in files(&folder(), |stem| stem.starts_with("esp-")) {
        let file = read::<PacketCase>(&path);
        let packets = file.cases.iter().map(|case| {
            let format = if case.old { "esp-old" } else { "esp" };
            let label = format!("{format} {}", case.encryption.name);
            (label, case.name.as_str(), case.passes())
        });
        Tally::each(&file.source, packets);
        asked += 1;
    }
    assert!(asked > 6, "{asked}");
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.2
//# integrity alone and encryption with integrity are both offered
//= https://www.rfc-editor.org/rfc/rfc2410#section-2
//# NULL leaves the text as it is, without an IV and without blocks
#[test]
fn every_suite_at_every_size_and_offset() {
    for (label, suite) in suites() {
        let esp = Esp::new(Spi(0x1001), suite, true);
        for len in (0..2000).step_by(71).chain(0..40) {
            for front in [0, 20, 24, 40, 48] {
                let (head, payload) = (vec![0xaa; front], text(len));
                let mut packet = sealed(&esp, &head, &payload);
                assert_eq!(packet.len(), front + esp.sealed_bytes(len), "{label} {len}");
                assert!(esp.sealed_bytes(len) - len <= esp.overhead_max(), "{label} {len}");
                assert_eq!(packet.as_slice()[..front], head, "{label} {len}");
                assert_eq!(packet.as_slice()[front..front + 8], [0, 0, 0x10, 1, 0, 0, 0, 7]);
                assert_eq!(esp.open(front, SEQUENCE, &mut packet), Ok(17), "{label} {len}");
                assert_eq!(packet.as_slice(), [head, payload].concat(), "{label} {len}");
            }
        }
        let overheads = (0..64).map(|len| esp.sealed_bytes(len) - len);
        assert_eq!(overheads.max(), Some(esp.overhead_max()), "{label}");
    }
}

/// Says whether eight bytes in a row of `plain` stand anywhere in `packet`.
fn shows(packet: &[u8], plain: &[u8]) -> bool {
    plain
        .windows(8)
        .any(|piece| packet.windows(8).any(|seen| seen == piece))
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-3.4.4
//# the ICV is verified first; a packet that fails is discarded
#[test]
fn every_flipped_bit_is_noticed_and_shows_nothing() {
    let payload = text(45);
    for (label, suite) in suites().into_iter().filter(|(_, suite)| suite.has_integrity()) {
        let hides = hides(&suite);
        let esp = Esp::new(Spi(0x1001), suite, true);
        let good = sealed(&esp, b"head", &payload);
        assert_eq!(shows(good.as_slice(), &payload), !hides, "{label}");
        for bit in 4 * 8..good.len() * 8 {
            let mut damaged = good.as_slice().to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut packet = PacketBuf::from_packet(&damaged);
            assert_eq!(
                esp.open(4, SEQUENCE, &mut packet),
                Err(DropReason::AuthFailed),
                "{label} bit {bit}"
            );
            assert_eq!(packet.len(), damaged.len());
            assert!(!hides || !shows(packet.as_slice(), &payload), "{label} bit {bit}");
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.2.1
//# the high-order 32 bits are not sent but are in the ICV
#[test]
fn the_high_half_counts_only_with_esn() {
    let other = Sequence(SEQUENCE.0 ^ (1 << 32));
    for (label, suite) in suites().into_iter().filter(|(_, suite)| suite.has_integrity()) {
        let esp = Esp::new(Spi(0x1001), suite, true);
        let mut packet = sealed(&esp, b"", b"payload");
        assert_eq!(
            esp.open(0, other, &mut packet),
            Err(DropReason::AuthFailed),
            "{label}"
        );
    }
    for (label, suite) in suites() {
        let esp = Esp::new(Spi(0x1001), suite, false);
        let mut packet = sealed(&esp, b"", b"payload");
        assert_eq!(esp.open(0, other, &mut packet), Ok(17), "{label}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.8
//# the SA says how long the ICV is
#[test]
fn every_short_packet_is_refused() {
    for (label, suite) in suites() {
        let esp = Esp::new(Spi(0x1001), suite, true);
        let least = HEADER_BYTES + esp.iv_bytes + padding::TRAILER_BYTES + esp.icv_bytes;
        let whole = sealed(&esp, b"", &text(80));
        for len in 0..whole.len() {
            let mut packet = PacketBuf::from_packet(&whole.as_slice()[..len]);
            let refused = esp.open(0, SEQUENCE, &mut packet).unwrap_err();
            if len < least {
                assert_eq!(refused, DropReason::InMalformed, "{label} {len}");
            } else if esp.suite().has_integrity() {
                assert_eq!(refused, DropReason::AuthFailed, "{label} {len}");
            } else {
                assert_eq!(refused, DropReason::BadPadding, "{label} {len}");
            }
        }
        let mut packet = whole;
        let beyond = packet.len() + 1;
        assert_eq!(
            esp.open(beyond, SEQUENCE, &mut packet),
            Err(DropReason::InMalformed),
            "{label}"
        );
    }
}

/// Seals a text that already has its trailer, as a peer with other ideas of padding would.
fn sealed_by_a_stranger(esp: &Esp, padded: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::from_packet(
        &[&[0; HEADER_BYTES][..], &[6; IV_BYTES_MAX][..esp.iv_bytes], padded].concat(),
    );
    let icv_at = packet.len();
    packet.extend_back(esp.icv_bytes).unwrap();
    let (front, icv) = packet.as_mut_slice().split_at_mut(icv_at);
    emit_header(front, Spi(0x1001), SEQUENCE.low()).unwrap();
    let (aad, aad_bytes) = esp.additional_data(front, SEQUENCE);
    let (header, text) = front.split_at_mut(HEADER_BYTES + esp.iv_bytes);
    let derived = DerivedIv::of(SEQUENCE, true);
    let iv = derived.or_sent(esp.suite().encryption().iv, &header[HEADER_BYTES..]);
    match esp.suite().protection() {
        Protection::Combined(key) => key.seal(iv, &aad[..aad_bytes], text, icv).unwrap(),
        Protection::Separate(keys) => {
            // A length that is no multiple of the block stays as it is: the ICV is right nevertheless.
            let _ = keys.cipher.encrypt(iv, text);
            if let Some(auth) = &keys.auth {
                auth.sign(&[header, text, &SEQUENCE.high().to_be_bytes()], icv)
                    .unwrap();
            }
        }
    }
    packet
}

//= https://www.rfc-editor.org/rfc/rfc4303#section-2.4
//# the receiver looks at the padding
#[test]
fn one_answer_for_everything_after_the_icv() {
    for (label, suite) in suites() {
        let hides = hides(&suite);
        let esp = Esp::new(Spi(0x1001), suite, true);
        let mut good = text(80);
        padding::emit(&mut good[60..], 6);
        let mut packet = sealed_by_a_stranger(&esp, &good);
        assert_eq!(esp.open(0, SEQUENCE, &mut packet), Ok(6), "{label}");
        assert_eq!(packet.as_slice(), &good[..60]);

        let zeros = [&good[..60], &[0; 18], &[18, 6]].concat();
        let too_long = [&good[..78], &[79, 6]].concat();
        let unaligned = good[..79].to_vec();
        for bad in [zeros, too_long, unaligned] {
            let mut packet = sealed_by_a_stranger(&esp, &bad);
            let before = packet.len();
            assert_eq!(
                esp.open(0, SEQUENCE, &mut packet),
                Err(DropReason::BadPadding),
                "{label}"
            );
            assert_eq!(packet.len(), before, "{label}");
            assert!(!shows(packet.as_slice(), &bad[..60]), "{label} hides={hides}");
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc1829#section-2
//# behind the SPI stands the IV, of 32 or 64 bits
//= https://www.rfc-editor.org/rfc/rfc1829#section-2
//# pad bytes have no particular value
#[test]
fn the_old_format_is_spi_iv_and_ciphertext() {
    let key = AlgorithmKey::new("des-iv32", &[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1]);
    let esp = Esp::old(Spi(0x1001), Suite::build(Some(&key), None).unwrap()).unwrap();
    assert!(!esp.is_numbered());
    let mut packet = sealed(&esp, b"head", b"payload");
    assert_eq!(packet.len(), 4 + 4 + 4 + 16);
    assert_eq!(packet.as_slice()[4..8], [0, 0, 0x10, 1]);
    assert_eq!(esp.open(4, Sequence::default(), &mut packet), Ok(17));
    assert_eq!(packet.as_slice(), b"headpayload");

    let random_padding = [&[9_u8; 7][..], &[0xe1, 0x07, 0x55], &[1, 2, 3, 4, 7, 6]].concat();
    let Protection::Separate(keys) = esp.suite().protection() else {
        panic!("DES is no AEAD");
    };
    let mut text = random_padding.clone();
    keys.cipher.encrypt(&[5; 4], &mut text).unwrap();
    let mut packet = PacketBuf::from_packet(&[&[0, 0, 0x10, 1, 5, 5, 5, 5][..], &text].concat());
    assert_eq!(esp.open(0, Sequence::default(), &mut packet), Ok(6));
    assert_eq!(packet.as_slice(), &random_padding[..7]);
}

#[test]
fn the_old_format_takes_only_what_needs_no_number() {
    for (encryption, authentication) in [
        (AlgorithmKey::new("aes-gcm-16", &[1; 20]), None),
        (AlgorithmKey::new("aes-gmac", &[1; 20]), None),
        (
            AlgorithmKey::new("des-deriv", b"\x01\x02\x03\x04\x05\x06\x07\x08"),
            None,
        ),
        (
            AlgorithmKey::new("aes-cbc", &[1; 16]),
            Some(AlgorithmKey::new("hmac-sha1-96", &[1; 20])),
        ),
    ] {
        let suite = Suite::build(Some(&encryption), authentication.as_ref()).unwrap();
        let refused = Esp::old(Spi(0x1001), suite).unwrap_err();
        assert_eq!(refused, Error::UnsupportedCombination, "{}", encryption.name);
    }
}

#[test]
fn an_empty_payload_and_the_longest() {
    for (label, suite) in suites() {
        let esp = Esp::new(Spi(0x1001), suite, true);
        for len in [0, 1, 65_535, 70_000] {
            let mut packet = sealed(&esp, b"", &text(len));
            assert_eq!(esp.open(0, SEQUENCE, &mut packet), Ok(17), "{label} {len}");
            assert_eq!(packet.len(), len, "{label}");
        }
    }
}

#[test]
fn no_room_and_no_iv_are_errors() {
    let suite = Suite::build(Some(&AlgorithmKey::new("aes-gcm-16", &[1; 20])), None).unwrap();
    let esp = Esp::new(Spi(0x1001), suite, false);
    let mut ivs = IvGenerator::new([0; 32]);
    let mut packet = PacketBuf::from_packet(b"payload");
    let mut seal =
        |at, counter, packet: &mut PacketBuf| esp.seal(at, 4, Sequence(1), counter, &mut ivs, packet);
    let end = IvGenerator::COUNTER_END;
    assert_eq!(seal(0, end, &mut packet), Err(DropReason::SequenceOverflow));
    assert_eq!(seal(8, 0, &mut packet), Err(DropReason::NoBuffer));
    assert_eq!(packet.as_slice(), b"payload");
    assert_eq!(seal(0, end - 1, &mut packet), Ok(()));
    let mut packet = PacketBuf::from_packet(b"payload");
    packet.push_front(crate::buffer::HEADROOM).unwrap();
    assert_eq!(seal(0, 0, &mut packet), Err(DropReason::NoBuffer));
    let mut packet = PacketBuf::from_packet(b"payload");
    packet.extend_back(crate::buffer::TAILROOM).unwrap();
    assert_eq!(seal(0, 0, &mut packet), Err(DropReason::NoBuffer));
}

//= https://www.rfc-editor.org/rfc/rfc4106#section-3.1
//# for one key no IV value is used twice
#[test]
fn each_packet_has_its_own_iv() {
    for (label, suite) in suites()
        .into_iter()
        .filter(|(_, suite)| suite.encryption().iv_bytes > 0)
    {
        let esp = Esp::new(Spi(0x1001), suite, false);
        let mut ivs = IvGenerator::new([8; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for counter in 1..300 {
            let mut packet = PacketBuf::from_packet(b"the same text");
            // The same sequence number on purpose: the IV hangs on the counter alone.
            esp.seal(0, 4, Sequence(1), counter, &mut ivs, &mut packet)
                .unwrap();
            assert!(
                seen.insert(packet.as_slice()[8..8 + esp.iv_bytes].to_vec()),
                "{label} {counter}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_payload_goes_there_and_back(
        payload in prop::collection::vec(any::<u8>(), 0..2000),
        front in prop::collection::vec(any::<u8>(), 0..61),
        next_header in any::<u8>(),
        sequence in any::<u64>(),
        seed in any::<[u8; 32]>(),
        esn in any::<bool>(),
        flip in any::<prop::sample::Index>(),
    ) {
        for (label, suite) in suites() {
            let checked = suite.has_integrity();
            let esp = Esp::new(Spi(0xabcd), suite, esn);
            let mut ivs = IvGenerator::new(seed);
            let original = [&front[..], &payload].concat();
            let mut packet = PacketBuf::from_packet(&original);
            let at = front.len();
            esp.seal(at, next_header, Sequence(sequence), 5, &mut ivs, &mut packet).unwrap();
            if checked {
                let mut damaged = packet.as_slice().to_vec();
                let bit = at * 8 + flip.index((damaged.len() - at) * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                let mut damaged = PacketBuf::from_packet(&damaged);
                prop_assert_eq!(esp.open(at, Sequence(sequence), &mut damaged), Err(DropReason::AuthFailed), "{}", label);
            }
            prop_assert_eq!(esp.open(at, Sequence(sequence), &mut packet), Ok(next_header), "{}", label);
            prop_assert_eq!(packet.as_slice(), &original[..], "{}", label);
        }
    }

    #[test]
    fn any_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..60) {
        for (label, suite) in suites() {
            let checked = suite.has_integrity();
            let esp = Esp::new(Spi(0xabcd), suite, true);
            let mut packet = PacketBuf::from_packet(&bytes);
            let opened = esp.open(at, Sequence(1), &mut packet);
            prop_assert!(!checked || opened.is_err(), "{}", label);
        }
    }
}
