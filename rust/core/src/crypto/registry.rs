//! The one table of algorithms: a new one is a row here, and a vector.
//! No PF_KEY number, no dialect's spelling and no packet may enter.
//! Answers to: RFC 8221 sections 5 to 7; each row names the RFC that defines it.

use super::{aead, auth, cipher};

/// What an algorithm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Encryption and integrity in one.
    Aead,
    /// Encryption only.
    Cipher,
    /// Integrity only.
    Auth,
    /// Neither: it makes packets shorter.
    Compression,
}

impl Kind {
    /// A stable word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aead => "aead",
            Self::Cipher => "cipher",
            Self::Auth => "auth",
            Self::Compression => "compression",
        }
    }
}

/// How the IV of a packet is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IvSource {
    /// There is none.
    None,
    /// It travels, and is never the same twice for one key: epoch and counter.
    Counter,
    /// It travels, and is unpredictable: from the seeded stream.
    Random,
    /// It does not travel: the sequence number as 64 bits.
    Implicit,
    /// It does not travel: the 32 bits of sequence number that the header shows.
    Sequence,
}

/// How a row's keys are made; `None` is a key of the right length that is weak.
pub(super) enum Make {
    /// Key and salt in, context out.
    Aead(fn(&[u8]) -> Option<aead::AeadKey>),
    /// Key (and nonce) in, context out.
    Cipher(fn(&[u8]) -> Option<cipher::CipherKey>),
    /// Key in, context out.
    Auth(fn(&[u8]) -> Option<auth::AuthKey>),
    /// There is no key: `compress` has the code.
    Compression,
}

/// One row: all that the rest of the program may know about an algorithm.
pub struct Algorithm {
    /// The name, stable for programs.
    pub name: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// The key lengths that are allowed, in bits, salt or nonce included.
    pub key_bits: &'static [u16],
    /// How many bits at the end of the key are salt or nonce.
    pub salt_bits: u16,
    /// Length of the IV in each packet.
    pub iv_bytes: usize,
    /// How that IV is made.
    pub iv: IvSource,
    /// The text is padded to a multiple of this; ESP asks for 4 at least by itself.
    pub block_bytes: usize,
    /// Length of the ICV in each packet; 0 for ciphers.
    pub icv_bytes: usize,
    /// Offered for old peers only, with a warning: RFC 8221 advises against it, or a draft was replaced.
    pub legacy: bool,
    /// After so many bytes an SA of this algorithm ends, whatever was asked for.
    pub byte_limit: Option<u64>,
    /// Whether a person's key will do. If not, a key must be new for each SA, and somebody must promise it.
    pub manual_keys: bool,
    /// The crate that computes it, and why where it is not the usual one.
    pub backend: &'static str,
    /// Where it is defined.
    pub defined_in: &'static str,
    pub(super) make: Make,
}

impl Algorithm {
    /// Says whether a key of `bits` (salt included) is allowed.
    #[must_use]
    pub fn accepts_key_bits(&self, bits: usize) -> bool {
        self.key_bits.iter().any(|allowed| usize::from(*allowed) == bits)
    }

    const fn legacy(self) -> Self {
        Self { legacy: true, ..self }
    }

    /// The same with the sequence number for an IV.
    //= https://www.rfc-editor.org/rfc/rfc8750#section-4
    //# the IV is not sent: it is the sequence number, filled up with zeros to 64 bits
    const fn implicit_iv(self, name: &'static str) -> Self {
        Self {
            name,
            iv_bytes: 0,
            iv: IvSource::Implicit,
            manual_keys: false,
            defined_in: "RFC 8750",
            ..self
        }
    }
}

impl core::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Algorithm").field(&self.name).finish()
    }
}

const AWS_LC: &str = "aws-lc-rs";
const NOTHING: &str = "none: it changes nothing";

const AES: &[u16] = &[128, 192, 256];
const AES_SALT_24: &[u16] = &[152, 216, 280];
const AES_SALT_32: &[u16] = &[160, 224, 288];
const CHACHA20_SALT: &[u16] = &[288];
const BLOWFISH: &[u16] = &whole_bytes::<52>(40);
const CAST128: &[u16] = &whole_bytes::<12>(40);
/// NULL takes a key and does nothing with it: the manuals' kernels do.
const ANY_OR_NONE: &[u16] = &whole_bytes::<257>(0);

/// Where a 64-bit block cipher stops: 2^23 blocks, far below the 2^32 at which two are expected to be equal.
///
/// The figure is the one that OpenVPN chose against Sweet32 (CVE-2016-2183).
const SWEET32_BYTES: u64 = 64 * 1024 * 1024;

/// Every algorithm there is, encryption first, in the order people should prefer them.
//= https://www.rfc-editor.org/rfc/rfc8221#section-5
//# AES-CBC, AES-GCM-16 and NULL are offered; DES, DES-IV64 and Blowfish are marked as legacy
//= https://www.rfc-editor.org/rfc/rfc8221#section-6
//# HMAC-SHA2-256-128 and HMAC-SHA1-96 are offered; HMAC-MD5-96 is marked as legacy
//= https://www.rfc-editor.org/rfc/rfc8221#section-7
//# OUI compression is not offered
pub const ALGORITHMS: &[Algorithm] = &[
    aead(
        "aes-gcm-16",
        AES_SALT_32,
        32,
        16,
        "RFC 4106",
        AWS_LC,
        aead::aes_gcm_16,
    ),
    aead(
        "chacha20-poly1305",
        CHACHA20_SALT,
        32,
        16,
        "RFC 7634",
        AWS_LC,
        aead::chacha20_poly1305,
    ),
    aead(
        "aes-gcm-12",
        AES_SALT_32,
        32,
        12,
        "RFC 4106",
        CUT,
        aead::aes_gcm_12,
    ),
    aead("aes-gcm-8", AES_SALT_32, 32, 8, "RFC 4106", CUT, aead::aes_gcm_8),
    aead(
        "aes-ccm-16",
        AES_SALT_24,
        24,
        16,
        "RFC 4309",
        CCM,
        aead::aes_ccm_16,
    ),
    aead(
        "aes-ccm-12",
        AES_SALT_24,
        24,
        12,
        "RFC 4309",
        CCM,
        aead::aes_ccm_12,
    ),
    aead("aes-ccm-8", AES_SALT_24, 24, 8, "RFC 4309", CCM, aead::aes_ccm_8),
    aead("aes-gmac", AES_SALT_32, 32, 16, "RFC 4543", GMAC, aead::aes_gmac),
    aead("", AES_SALT_32, 32, 16, "", AWS_LC, aead::aes_gcm_16).implicit_iv("aes-gcm-16-iiv"),
    aead("", AES_SALT_24, 24, 8, "", CCM, aead::aes_ccm_8).implicit_iv("aes-ccm-8-iiv"),
    aead("", CHACHA20_SALT, 32, 16, "", AWS_LC, aead::chacha20_poly1305).implicit_iv("chacha20-poly1305-iiv"),
    cbc("aes-cbc", AES, 16, "RFC 3602", AWS_LC, cipher::aes_cbc),
    Algorithm {
        salt_bits: 32,
        iv: IvSource::Counter,
        iv_bytes: 8,
        ..cbc("aes-ctr", AES_SALT_32, 1, "RFC 3686", AWS_LC, cipher::aes_ctr)
    },
    cbc(
        "camellia-cbc",
        AES,
        16,
        "RFC 4312",
        "camellia",
        cipher::camellia_cbc,
    ),
    sweet32("3des-cbc", &[192], "RFC 2451", "des", cipher::triple_des_cbc),
    sweet32("cast128-cbc", CAST128, "RFC 2451", "cast5", cipher::cast128_cbc),
    sweet32(
        "blowfish-cbc",
        BLOWFISH,
        "RFC 2451",
        "blowfish",
        cipher::blowfish_cbc,
    ),
    sweet32("des-cbc", &[64], "RFC 2405", "des", cipher::des_cbc),
    sweet32("des-iv64", &[64], "RFC 1829", "des", cipher::des_cbc),
    Algorithm {
        iv_bytes: 4,
        ..sweet32("des-iv32", &[64], "RFC 1829", "des", cipher::des_cbc_short_iv)
    },
    Algorithm {
        iv: IvSource::Sequence,
        iv_bytes: 0,
        ..sweet32(
            "des-deriv",
            &[64],
            "draft-ietf-ipsec-ciph-des-derived-01",
            "des",
            cipher::des_cbc_short_iv,
        )
    },
    Algorithm {
        iv: IvSource::None,
        iv_bytes: 0,
        ..cbc("null", ANY_OR_NONE, 1, "RFC 2410", NOTHING, cipher::null)
    },
    mac(
        "hmac-sha2-256-128",
        &[256],
        16,
        "RFC 4868",
        AWS_LC,
        auth::hmac_sha2_256,
    ),
    mac(
        "hmac-sha2-384-192",
        &[384],
        24,
        "RFC 4868",
        AWS_LC,
        auth::hmac_sha2_384,
    ),
    mac(
        "hmac-sha2-512-256",
        &[512],
        32,
        "RFC 4868",
        AWS_LC,
        auth::hmac_sha2_512,
    ),
    mac("aes-cmac-96", &[128], 12, "RFC 4494", CMAC, auth::aes_cmac),
    mac("aes-xcbc-mac-96", &[128], 12, "RFC 3566", XCBC, auth::aes_xcbc),
    gmac("aes-128-gmac", &[160]),
    gmac("aes-192-gmac", &[224]),
    gmac("aes-256-gmac", &[288]),
    mac("hmac-sha1-96", &[160], 12, "RFC 2404", AWS_LC, auth::hmac_sha1),
    // The draft's truncation, which Linux' PF_KEY and old BSDs kept: for peers that cannot do better.
    mac(
        "hmac-sha2-256-96",
        &[256],
        12,
        "draft-ietf-ipsec-ciph-sha-256-00",
        AWS_LC,
        auth::hmac_sha2_256,
    )
    .legacy(),
    mac(
        "hmac-ripemd160-96",
        &[160],
        12,
        "RFC 2857",
        "hmac and ripemd",
        auth::hmac_ripemd160,
    )
    .legacy(),
    mac(
        "hmac-md5-96",
        &[128],
        12,
        "RFC 2403",
        "hmac and md-5",
        auth::hmac_md5,
    )
    .legacy(),
    // With today's AH the manuals' kernels cut these two; the old format has the whole of them.
    mac(
        "keyed-sha1",
        &[160],
        12,
        "RFC 1852",
        "aws-lc-rs (SHA-1)",
        auth::keyed_sha1,
    )
    .legacy(),
    mac("keyed-md5", &[128], 12, "RFC 1828", "md-5", auth::keyed_md5).legacy(),
    mac("null-auth", ANY_OR_NONE, 0, "RFC 2410", NOTHING, auth::null).legacy(),
    Algorithm {
        name: "deflate",
        kind: Kind::Compression,
        key_bits: &[0],
        salt_bits: 0,
        iv_bytes: 0,
        iv: IvSource::None,
        block_bytes: 1,
        icv_bytes: 0,
        legacy: false,
        byte_limit: None,
        manual_keys: true,
        backend: "flate2 (zlib-rs)",
        defined_in: "RFC 2394",
        make: Make::Compression,
    },
];

const CUT: &str = "aws-lc-rs; opening by ghash, since aws-lc-rs wants whole tags";
const GMAC: &str = "aws-lc-rs (AES) and ghash, which takes the text in pieces";
const CCM: &str = "ccm and aes";
const CMAC: &str = "cmac and aes";
const XCBC: &str = "aes, chained as RFC 3566 says";

/// Key lengths of every whole byte from `first` bits on.
const fn whole_bytes<const COUNT: usize>(first: u16) -> [u16; COUNT] {
    let mut lengths = [first; COUNT];
    let mut at = 1;
    while at < COUNT {
        lengths[at] = lengths[at - 1] + 8;
        at += 1;
    }
    lengths
}

/// A row for an AEAD.
const fn aead(
    name: &'static str,
    key_bits: &'static [u16],
    salt_bits: u16,
    icv_bytes: usize,
    defined_in: &'static str,
    backend: &'static str,
    make: fn(&[u8]) -> Option<aead::AeadKey>,
) -> Algorithm {
    Algorithm {
        name,
        kind: Kind::Aead,
        key_bits,
        salt_bits,
        iv_bytes: 8,
        iv: IvSource::Counter,
        block_bytes: 1,
        icv_bytes,
        legacy: false,
        byte_limit: None,
        manual_keys: true,
        backend,
        defined_in,
        make: Make::Aead(make),
    }
}

/// A row for CBC over one block cipher.
const fn cbc(
    name: &'static str,
    key_bits: &'static [u16],
    block_bytes: usize,
    defined_in: &'static str,
    backend: &'static str,
    make: fn(&[u8]) -> Option<cipher::CipherKey>,
) -> Algorithm {
    Algorithm {
        name,
        kind: Kind::Cipher,
        key_bits,
        salt_bits: 0,
        iv_bytes: block_bytes,
        iv: IvSource::Random,
        block_bytes,
        icv_bytes: 0,
        legacy: false,
        byte_limit: None,
        manual_keys: true,
        backend,
        defined_in,
        make: Make::Cipher(make),
    }
}

/// A row for CBC over a cipher with blocks of 64 bits.
const fn sweet32(
    name: &'static str,
    key_bits: &'static [u16],
    defined_in: &'static str,
    backend: &'static str,
    make: fn(&[u8]) -> Option<cipher::CipherKey>,
) -> Algorithm {
    Algorithm {
        legacy: true,
        byte_limit: Some(SWEET32_BYTES),
        ..cbc(name, key_bits, 8, defined_in, backend, make)
    }
}

/// A row for integrity alone.
const fn mac(
    name: &'static str,
    key_bits: &'static [u16],
    icv_bytes: usize,
    defined_in: &'static str,
    backend: &'static str,
    make: fn(&[u8]) -> Option<auth::AuthKey>,
) -> Algorithm {
    Algorithm {
        name,
        kind: Kind::Auth,
        key_bits,
        salt_bits: 0,
        iv_bytes: 0,
        iv: IvSource::None,
        block_bytes: 1,
        icv_bytes,
        legacy: false,
        byte_limit: None,
        manual_keys: true,
        backend,
        defined_in,
        make: Make::Auth(make),
    }
}

/// A row for AES-GMAC in AH, where each length of key has a name of its own.
//= https://www.rfc-editor.org/rfc/rfc4543#section-4
//# in AH the IV of 8 bytes stands in front of the ICV
const fn gmac(name: &'static str, key_bits: &'static [u16]) -> Algorithm {
    Algorithm {
        salt_bits: 32,
        iv_bytes: 8,
        iv: IvSource::Counter,
        ..mac(name, key_bits, 16, "RFC 4543", GMAC, auth::aes_gmac)
    }
}

/// Finds a row by its name.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static Algorithm> {
    ALGORITHMS.iter().find(|algorithm| algorithm.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_consistent() {
        let names: BTreeSet<_> = ALGORITHMS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALGORITHMS.len());
        for row in ALGORITHMS {
            let kind = match row.make {
                Make::Aead(_) => Kind::Aead,
                Make::Cipher(_) => Kind::Cipher,
                Make::Auth(_) => Kind::Auth,
                Make::Compression => Kind::Compression,
            };
            assert_eq!(row.kind, kind, "{}", row.name);
            let no_icv = matches!(row.kind, Kind::Cipher | Kind::Compression) || row.name == "null-auth";
            assert_eq!(row.icv_bytes == 0, no_icv, "{}", row.name);
            let travels = matches!(row.iv, IvSource::Counter | IvSource::Random);
            assert_eq!(row.iv_bytes > 0, travels, "{}", row.name);
            assert_eq!(row.byte_limit.is_some(), row.block_bytes == 8, "{}", row.name);
            assert_eq!(row.manual_keys, row.iv != IvSource::Implicit, "{}", row.name);
            assert!(row.key_bits.iter().is_sorted() && row.key_bits.iter().all(|bits| bits % 8 == 0));
            assert!(row.block_bytes.is_power_of_two(), "{}", row.name);
            assert!(!row.key_bits.is_empty() && !row.backend.is_empty() && !row.defined_in.is_empty());
        }
    }

    #[test]
    fn every_allowed_key_makes_a_key_and_no_other_does() {
        for row in ALGORITHMS {
            for bytes in 0_u8..=80 {
                let key: Vec<u8> = (0..bytes)
                    .map(|index| index.wrapping_mul(37).wrapping_add(bytes))
                    .collect();
                if row.accepts_key_bits(key.len() * 8) {
                    let made = match row.make {
                        Make::Aead(make) => make(&key).is_some(),
                        Make::Cipher(make) => make(&key).is_some(),
                        Make::Auth(make) => make(&key).is_some(),
                        Make::Compression => key.is_empty(),
                    };
                    assert!(made, "{} {bytes}", row.name);
                }
            }
        }
    }

    #[test]
    fn lookup_knows_the_names() {
        assert_eq!(lookup("aes-gcm-16").map(|row| row.kind), Some(Kind::Aead));
        assert!(lookup("AES-GCM-16").is_none());
        assert!(lookup("").is_none());
    }
}
