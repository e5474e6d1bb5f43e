//! Published answers for the primitives: how they are read, asked and counted.
//! Packets may not enter: whole ESP packets are in `transform`.
//! Answers to: the `source` of each file in `tests/vectors`; C2SP Wycheproof; the package cryptography-vectors.

mod files;
mod shapes;
mod wycheproof;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::aead::AeadKey;
use super::auth::AuthKey;
use super::cipher::CipherKey;
use super::registry::{Algorithm, IvSource, Make, lookup};

/// One file of `tests/vectors`.
#[derive(Deserialize)]
pub(crate) struct File<Case> {
    pub(crate) source: String,
    pub(crate) cases: Vec<Case>,
}

/// Where the project's own files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// The JSON files of a folder whose names pass, sorted.
pub(crate) fn files(folder: &Path, pick: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| pick(path.file_stem().unwrap().to_str().unwrap()))
        .collect();
    found.sort();
    found
}

/// The cases of a file of the project's own.
pub(crate) fn load<Case: for<'de> Deserialize<'de>>(name: &str) -> Vec<Case> {
    read(&folder().join(name).with_extension("json")).cases
}

/// Reads a file and refuses one that does not say where it comes from.
pub(crate) fn read<Case: for<'de> Deserialize<'de>>(path: &Path) -> File<Case> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let file: File<Case> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!(file.source.len() > 8 && !file.cases.is_empty(), "{shown}");
    file
}

/// Bytes from hexadecimal.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Counts the cases of one source; its row in the table of `make vectors` is what really happened.
pub(crate) struct Tally {
    algorithm: String,
    source: String,
    cases: usize,
    failed: Vec<String>,
}

impl Tally {
    pub(crate) fn new(algorithm: &str, source: &str) -> Self {
        Self {
            algorithm: algorithm.to_owned(),
            source: source.to_owned(),
            cases: 0,
            failed: Vec::new(),
        }
    }

    /// Counts cases by label, and finishes: each is a label, a name, and whether it passed.
    pub(crate) fn each<'a>(source: &str, cases: impl Iterator<Item = (String, &'a str, bool)>) {
        let mut tallies: BTreeMap<String, Self> = BTreeMap::new();
        for (label, name, passed) in cases {
            let tally = tallies
                .entry(label)
                .or_insert_with_key(|label| Self::new(label, source));
            tally.count(name, passed);
        }
        tallies.into_values().for_each(|tally| tally.finish(1));
    }

    /// Counts one case.
    pub(crate) fn count(&mut self, label: &str, passed: bool) {
        self.cases += 1;
        if !passed {
            self.failed.push(label.to_owned());
        }
    }

    /// Prints the row and fails if a case did, or if there were fewer cases than there should be.
    pub(crate) fn finish(self, least: usize) {
        let Self {
            algorithm,
            source,
            cases,
            failed,
        } = self;
        println!(
            "vectors\t{algorithm}\t{source}\t{cases}\t{}",
            cases - failed.len()
        );
        assert!(failed.is_empty(), "{algorithm}, {source}: {failed:?}");
        assert!(cases >= least, "{algorithm}, {source}: only {cases} cases");
    }
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

/// The length of the IV that a key is given, whether it travels or not.
fn iv_bytes(row: &Algorithm) -> usize {
    match row.iv {
        IvSource::Implicit => 8,
        IvSource::Sequence => 4,
        IvSource::None | IvSource::Counter | IvSource::Random => row.iv_bytes,
    }
}

/// One question to an AEAD: what `text` is under that IV, and whether the tag is right.
struct Sealed<'a> {
    iv: &'a [u8],
    aad: &'a [u8],
    plain: &'a [u8],
    text: &'a [u8],
    tag: &'a [u8],
}

/// Opens a good text and seals it again, or refuses a bad one and leaves nothing of it.
fn aead_passes(key: &AeadKey, case: &Sealed<'_>, good: bool) -> bool {
    let mut text = case.text.to_vec();
    let opened = key.open(case.iv, case.aad, &mut text, case.tag);
    if !good {
        return opened.is_err() && text.iter().all(|byte| *byte == 0);
    }
    let same = opened.is_ok() && text == case.plain;
    let mut tag = vec![0; case.tag.len()];
    let sealed = key.seal(case.iv, case.aad, &mut text, &mut tag);
    same && sealed.is_ok() && text == case.text && tag == case.tag
}

/// Encrypts and decrypts.
fn cipher_passes(key: &CipherKey, iv: &[u8], plain: &[u8], hidden: &[u8]) -> bool {
    let mut text = plain.to_vec();
    let encrypted = key.encrypt(iv, &mut text).is_ok() && text == hidden;
    encrypted && key.decrypt(iv, &mut text).is_ok() && text == plain
}

/// Signs and verifies, the message in pieces and whole, and refuses every ICV with one bit changed.
fn auth_passes(key: &AuthKey, iv: &[u8], message: &[u8], icv: &[u8]) -> bool {
    let (front, back) = message.split_at(message.len() / 3);
    let mut made = vec![0; icv.len()];
    let signed = key.sign_with_iv(iv, &[front, &[], back], &mut made).is_ok() && made == icv;
    let verified = key.verify_with_iv(iv, &[front, back], icv).is_ok();
    let noticed = (0..icv.len() * 8).all(|bit| {
        let mut wrong = icv.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        key.verify_with_iv(iv, &[message], &wrong).is_err()
    });
    signed && verified && noticed
}
