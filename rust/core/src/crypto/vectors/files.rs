//! The files of `tests/vectors`, and those that `make vectors` makes out of the package cryptography-vectors.
//! What a case means to a primitive is `mod.rs`; no answer may be written here.
//! Answers to: RFC 3602, 3686, 2202, 2286, 4231, 4868, 3566, 4494, 2144, 3713; NIST CAVP; `tests/vectors/README.md`.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::{
    Sealed, Tally, aead, aead_passes, auth, auth_passes, bytes, cipher, cipher_passes, files, folder, read,
};
use crate::crypto::registry::{ALGORITHMS, Algorithm, IvSource, Kind};

/// A question to one primitive; which fields are there says what it is about.
#[derive(Deserialize)]
struct Case {
    name: String,
    algorithm: String,
    key: String,
    #[serde(default)]
    iv: String,
    /// For ciphers and AEADs.
    plaintext: Option<String>,
    ciphertext: Option<String>,
    /// For AEADs.
    #[serde(default)]
    aad: String,
    tag: Option<String>,
    /// For integrity.
    message: Option<String>,
    icv: Option<String>,
    /// Whether the tag is a forged one.
    #[serde(default)]
    forged: bool,
}

impl Case {
    fn passes(&self) -> bool {
        let (key, iv) = (bytes(&self.key), bytes(&self.iv));
        let field = |field: &Option<String>| bytes(field.as_deref().unwrap());
        if self.tag.is_some() {
            let (plain, text) = (field(&self.plaintext), field(&self.ciphertext));
            let sealed = Sealed {
                iv: &iv,
                aad: &bytes(&self.aad),
                plain: &plain,
                text: &text,
                tag: &field(&self.tag),
            };
            aead_passes(&aead(&self.algorithm, &key), &sealed, !self.forged)
        } else if self.icv.is_some() {
            let (message, icv) = (field(&self.message), field(&self.icv));
            auth_passes(&auth(&self.algorithm, &key), &iv, &message, &icv)
        } else {
            let (plain, hidden) = (field(&self.plaintext), field(&self.ciphertext));
            cipher_passes(&cipher(&self.algorithm, &key), &iv, &plain, &hidden)
        }
    }
}

/// Asks every case of every file, and counts them by algorithm and source.
fn ask(folder: &Path, pick: impl Fn(&str) -> bool) -> usize {
    let mut asked = 0;
    for path in files(folder, pick) {
        let file = read::<Case>(&path);
        asked += file.cases.len();
        let cases = file.cases.iter();
        let asked = cases.map(|case| (case.algorithm.clone(), case.name.as_str(), case.passes()));
        Tally::each(&file.source, asked);
    }
    asked
}

fn is_primitive(stem: &str) -> bool {
    !["esp-", "ah-", "ipcomp-"]
        .iter()
        .any(|packets| stem.starts_with(packets))
}

//= https://www.rfc-editor.org/rfc/rfc3602#section-4
//# test vectors, cases 1 to 4
//= https://www.rfc-editor.org/rfc/rfc4868#section-2.7
//# test vectors
//= https://www.rfc-editor.org/rfc/rfc3566#section-4
//# the three keys are blocks of 0x01, 0x02 and 0x03, encrypted with the key
//= https://www.rfc-editor.org/rfc/rfc4494#section-2
//# AES-CMAC with a key of 128 bits
//= https://www.rfc-editor.org/rfc/rfc1828#section-3
//# the key is filled up to 512 bits by the hash's own padding with the length
//= https://www.rfc-editor.org/rfc/rfc1829#section-2
//# an IV of 32 bits is followed by its complement
//= https://www.rfc-editor.org/rfc/rfc4106#section-6
//# an ICV of 16 bytes is offered
//= https://www.rfc-editor.org/rfc/rfc4309#section-3.1
//# ICVs of 8 and 16 bytes must be there, 12 may
//= https://www.rfc-editor.org/rfc/rfc4309#section-4
//# the nonce has 11 bytes, which leaves four for the length
//= https://www.rfc-editor.org/rfc/rfc3686#section-4
//# nonce, then IV, then a block counter that starts at one
//= https://www.rfc-editor.org/rfc/rfc4868#section-2.1
//# keys have the length of the hash, ICVs half of it
//= https://www.rfc-editor.org/rfc/rfc3602#section-2.1
//# keys of 128 bits are supported
//= https://www.rfc-editor.org/rfc/rfc3566#section-4
//# a last block that is not whole, or none at all, is filled up with a one bit and zeros
//= https://www.rfc-editor.org/rfc/rfc4312#section-2
//# Camellia in CBC has keys of 128, 192 and 256 bits and an IV of 16 bytes
#[test]
fn every_file_of_the_project() {
    let asked = ask(&folder(), is_primitive);
    assert!(asked > 100, "{asked}");
}

/// The package is large; `scripts/vectors` turns what concerns us into files and says where they are.
#[test]
#[ignore = "needs the files that `make vectors` makes"]
fn cryptography_vectors() {
    let folder = std::env::var("SALLET_CRYPTOGRAPHY_VECTORS").unwrap();
    let asked = ask(Path::new(&folder), is_primitive);
    assert!(asked > 12_000, "{asked}");
}

/// What a file says about algorithms, whatever its shape.
#[derive(Deserialize)]
struct Names {
    algorithm: Option<String>,
    key: Option<String>,
    encryption: Option<Keyed>,
    authentication: Option<Keyed>,
    /// The headers in front of AH.
    headers: Option<String>,
}

#[derive(Deserialize)]
struct Keyed {
    name: String,
    key: String,
}

/// An algorithm with a length of key in bits.
type Seen = BTreeSet<(String, usize)>;

/// What all files have, by what stands around it: nothing, ESP, or AH in one family.
#[derive(Default)]
struct Coverage {
    anywhere: Seen,
    published: Seen,
    esp: Seen,
    ah: [Seen; 2],
}

impl Coverage {
    fn of_all_files() -> Self {
        let mut coverage = Self::default();
        for path in files(&folder(), |_| true) {
            let file = read::<Names>(&path);
            let esp = path.file_stem().unwrap().to_str().unwrap().starts_with("esp-");
            // A kernel's own packets show that two agree; they are nobody's publication.
            let published = !file.source.starts_with("oracle") && !file.source.starts_with("captured");
            for case in file.cases {
                coverage.add(case, esp, published);
            }
        }
        coverage
    }

    fn add(&mut self, case: Names, esp: bool, published: bool) {
        let primitive = case.algorithm.zip(case.key);
        let packet = [case.encryption, case.authentication];
        let named = packet.into_iter().flatten().map(|keyed| (keyed.name, keyed.key));
        for (name, key) in named.chain(primitive) {
            let seen = (name, key.len() * 4);
            if esp {
                self.esp.insert(seen.clone());
            }
            if let Some(headers) = &case.headers {
                self.ah[usize::from(headers.starts_with('6'))].insert(seen.clone());
            }
            if published {
                self.published.insert(seen.clone());
            }
            self.anywhere.insert(seen);
        }
    }
}

fn has(seen: &Seen, name: &str) -> bool {
    seen.iter().any(|(other, _)| other == name)
}

/// Compression is no function of its input alone: `tests/conformance/ipcomp_zlib.py` holds it against zlib, and
/// `tests/interop/test_linux_ipcomp.py` against a kernel.
fn rows() -> impl Iterator<Item = &'static Algorithm> {
    ALGORITHMS.iter().filter(|row| row.kind != Kind::Compression)
}

/// No row without a vector: published, or composed by the oracle in `tests/conformance`.
#[test]
fn every_row_and_every_usual_length_of_key_has_a_vector() {
    let seen = Coverage::of_all_files().anywhere;
    for row in rows() {
        assert!(has(&seen, row.name), "{}", row.name);
        if row.key_bits.len() < 4 {
            for bits in row.key_bits {
                let exact = (row.name.to_owned(), usize::from(*bits));
                assert!(seen.contains(&exact), "{exact:?}");
            }
        }
    }
}

/// No row without a whole packet of each protocol that it can be in, and of each family where AH is concerned.
#[test]
fn every_row_has_a_packet_of_each_of_its_protocols() {
    let Coverage { esp, ah, .. } = Coverage::of_all_files();
    for row in rows().filter(|row| row.name != "null-auth") {
        let is_mac = row.kind == Kind::Auth;
        // A MAC with an IV of its own is AH's alone.
        if !is_mac || row.iv == IvSource::None {
            assert!(has(&esp, row.name), "{} in ESP", row.name);
        }
        for family in &ah {
            assert_eq!(has(family, row.name), is_mac, "{} in AH", row.name);
        }
    }
}

/// Nobody published answers for these; a new algorithm that has some may not join them.
const BY_ORACLE_ALONE: &[&str] = &[
    "aes-ccm-12",
    "aes-ccm-8",
    "aes-gcm-16-iiv",
    "aes-ccm-8-iiv",
    "chacha20-poly1305-iiv",
    "des-iv32",
    "des-deriv",
    "keyed-sha1",
    "keyed-md5",
    "null-auth",
];

#[test]
fn published_answers_are_there_for_all_but_these() {
    let Coverage { published, .. } = Coverage::of_all_files();
    let asked_elsewhere = super::wycheproof::algorithms();
    let is_published = |name: &str| has(&published, name) || asked_elsewhere.contains(&name);
    let alone: Vec<&str> = rows()
        .map(|row| row.name)
        .filter(|name| !is_published(name))
        .collect();
    assert_eq!(alone, BY_ORACLE_ALONE);
    println!("judged\t{}\t{}", rows().count() - alone.len(), alone.join(", "));
}
