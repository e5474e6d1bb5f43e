//! What holds for every primitive: which lengths are refused, and that each byte of key, salt and IV counts.
//! No published answer may enter.
//! Answers to: RFC 4106 section 4; the rows of `registry`.

use super::{aead, auth, cipher, iv_bytes};
use crate::crypto::registry::{ALGORITHMS, Make};

//= https://www.rfc-editor.org/rfc/rfc4106#section-4
//# the nonce is the four bytes of salt followed by the eight of the IV
#[test]
fn salt_and_iv_both_count() {
    let material = [7; 20];
    let seal = |material: &[u8], iv: &[u8]| {
        let (mut text, mut tag) = ([1; 9], [0; 16]);
        aead("aes-gcm-16", material)
            .seal(iv, b"", &mut text, &mut tag)
            .unwrap();
        (text, tag)
    };
    let reference = seal(&material, &[0; 8]);
    for at in 0..20 {
        let mut other = material;
        other[at] ^= 1;
        assert_ne!(seal(&other, &[0; 8]), reference, "{at}");
    }
    for at in 0..8 {
        let mut iv = [0; 8];
        iv[at] ^= 1;
        assert_ne!(seal(&material, &iv), reference, "{at}");
    }
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let gcm = aead("aes-gcm-16", &[0; 20]);
    for iv_bytes in (0..20).filter(|len| *len != 8) {
        let iv = vec![0; iv_bytes];
        assert!(gcm.seal(&iv, b"", &mut [0; 4], &mut [0; 16]).is_err());
        assert!(gcm.open(&iv, b"", &mut [0; 4], &[0; 16]).is_err());
        assert!(cipher("aes-ctr", &[0; 20]).encrypt(&iv, &mut [0; 4]).is_err());
    }
    for tag_bytes in (0..20).filter(|len| *len != 16) {
        assert!(
            gcm.seal(&[0; 8], b"", &mut [0; 4], &mut vec![0; tag_bytes])
                .is_err()
        );
        let mut text = [9; 4];
        assert!(gcm.open(&[0; 8], b"", &mut text, &vec![0; tag_bytes]).is_err());
        assert_eq!(text, [0; 4]);
    }
    for (name, key) in [
        ("hmac-sha1-96", 20),
        ("hmac-md5-96", 16),
        ("aes-xcbc-mac-96", 16),
        ("null-auth", 0),
    ] {
        let mac = auth(name, &vec![0; key]);
        assert!(mac.sign_with_iv(&[0; 8], &[b""], &mut [0; 12]).is_err(), "{name}");
        assert!(mac.sign(&[b""], &mut [0; 65]).is_err() && mac.verify(&[b""], &[0; 65]).is_err());
        assert_eq!(mac.verify(&[b""], &[]).is_ok(), name == "null-auth");
    }
    for (name, tag_bytes) in [
        ("aes-gcm-8", 8),
        ("aes-gcm-12", 12),
        ("aes-gmac", 16),
        ("aes-ccm-8", 8),
    ] {
        let key = aead(name, &vec![0; if name == "aes-ccm-8" { 19 } else { 20 }]);
        for other in (0..20).filter(|len| *len != tag_bytes) {
            assert!(
                key.seal(&[0; 8], b"", &mut [0; 4], &mut vec![0; other]).is_err(),
                "{name}"
            );
            assert!(
                key.open(&[0; 8], b"", &mut [0; 4], &vec![0; other]).is_err(),
                "{name}"
            );
        }
        assert!(
            key.open(&[0; 9], b"", &mut [0; 4], &vec![0; tag_bytes]).is_err(),
            "{name}"
        );
    }
    for (name, block, key) in [("des-cbc", 8, 8), ("3des-cbc", 8, 24), ("camellia-cbc", 16, 16)] {
        let key: Vec<u8> = (1..=key).map(|byte: u8| byte * 7).collect();
        let cbc = cipher(name, &key);
        for text_bytes in (0..40).filter(|len| len % block != 0) {
            assert!(
                cbc.encrypt(&vec![0; block], &mut vec![0; text_bytes]).is_err(),
                "{name}"
            );
            assert!(
                cbc.decrypt(&vec![0; block], &mut vec![0; text_bytes]).is_err(),
                "{name}"
            );
        }
        for iv in (0..20).filter(|len| *len != block) {
            assert!(cbc.encrypt(&vec![0; iv], &mut vec![0; block]).is_err(), "{name}");
            assert!(cbc.decrypt(&vec![0; iv], &mut vec![0; block]).is_err(), "{name}");
        }
    }
    let cbc = cipher("aes-cbc", &[0; 16]);
    for text_bytes in (0..40).filter(|len| len % 16 != 0) {
        assert!(cbc.encrypt(&[0; 16], &mut vec![0; text_bytes]).is_err());
        assert!(cbc.decrypt(&[0; 16], &mut vec![0; text_bytes]).is_err());
    }
    for iv_bytes in (0..20).filter(|len| *len != 16) {
        assert!(cbc.encrypt(&vec![0; iv_bytes], &mut [0; 16]).is_err());
        assert!(cbc.decrypt(&vec![0; iv_bytes], &mut [0; 16]).is_err());
    }
}

/// Two keys never give the same ICV or ciphertext (an old AES-XCBC used one constant key for all).
#[test]
fn keys_matter() {
    for row in ALGORITHMS.iter().filter(|row| !row.name.starts_with("null")) {
        for bits in row.key_bits {
            let one: Vec<u8> = (1..=bits / 8).map(|index| (index * 37 % 251) as u8).collect();
            for at in 0..one.len() {
                let mut two = one.clone();
                two[at] ^= 0x40;
                let answer = |key: &[u8]| {
                    let iv = vec![0; iv_bytes(row)];
                    let (mut text, mut icv) = ([3; 32], vec![0; row.icv_bytes]);
                    match row.make {
                        Make::Aead(make) => make(key).unwrap().seal(&iv, b"", &mut text, &mut icv).unwrap(),
                        Make::Cipher(make) => make(key).unwrap().encrypt(&iv, &mut text).unwrap(),
                        Make::Auth(make) => {
                            make(key).unwrap().sign_with_iv(&iv, &[&text], &mut icv).unwrap();
                        }
                        Make::Compression => unreachable!("it has no key to change"),
                    }
                    (text, icv)
                };
                assert_ne!(answer(&one), answer(&two), "{} {at}", row.name);
            }
        }
    }
}
