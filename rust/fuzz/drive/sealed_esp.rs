//! ESP packets made by hand from any plaintext, trailer included, with an ICV that is right.
//! The transform's own `seal` may not enter: it would make no packet that is wrong inside.
//! Answers to: RFC 4303 sections 2 and 3.3.2, RFC 4106 section 5.

use sallet_core::crypto::{Protection, Suite};
use sallet_core::terms::Sequence;

use super::input::Input;
use super::peer::{Front, SaSpec, key};

/// Inner protocols that no step of an engine looks into.
const INNER: &[u8] = &[253, 6, 132, 47, 136];

/// One SA's keys at the sending end.
pub(crate) struct Sealer {
    pub(crate) spec: SaSpec,
    spi: u32,
    suite: Suite,
}

/// What stands between the trailer and the SPI, and what the receiver should make of it.
pub(crate) struct Payload {
    pub(crate) text: Vec<u8>,
    pub(crate) next_header: u8,
    /// What must come out: the packet in a tunnel, or all of the text.
    pub(crate) inner: Vec<u8>,
}

impl Sealer {
    pub(crate) fn new(spec: SaSpec, spi: u32) -> Self {
        let encryption = key(spec.encryption);
        let suite = Suite::build(encryption.as_ref(), key(spec.authentication).as_ref());
        Self {
            spec,
            spi,
            suite: suite.expect("a sound pair"),
        }
    }

    /// What the plaintext must be a multiple of.
    pub(crate) fn alignment(&self) -> usize {
        self.suite.encryption().block_bytes.max(4)
    }

    /// The block that the cipher itself insists on.
    pub(crate) fn block_bytes(&self) -> usize {
        self.suite.encryption().block_bytes
    }

    /// The ESP packet around a plaintext that ends in a trailer.
    pub(crate) fn seal(&self, sequence: Sequence, iv: u64, text: &[u8]) -> Vec<u8> {
        let row = self.suite.encryption();
        let mut packet = Vec::with_capacity(8 + 16 + text.len() + 32);
        packet.extend_from_slice(&self.spi.to_be_bytes());
        packet.extend_from_slice(&sequence.low().to_be_bytes());
        packet.extend_from_slice(&[iv.to_be_bytes(); 2].concat()[..row.iv_bytes]);
        packet.extend_from_slice(text);
        let high = sequence.high().to_be_bytes();
        let high = if self.spec.esn { &high[..] } else { &[] };
        let text_at = 8 + row.iv_bytes;
        let mut icv = [0; 32];
        let icv = &mut icv[..self.suite.icv_bytes()];
        match self.suite.protection() {
            Protection::Combined(key) => {
                let (front, text) = packet.split_at_mut(text_at);
                let aad = [&front[..4], high, &front[4..8]].concat();
                key.seal(&front[8..], &aad, text, icv)
            }
            Protection::Separate(keys) => {
                let (front, text) = packet.split_at_mut(text_at);
                keys.cipher
                    .encrypt(&front[8..], text)
                    .expect("whole blocks are encrypted");
                let auth = keys.auth.as_ref().expect("no SA here goes without");
                auth.sign(&[&packet, high], icv)
            }
        }
        .expect("short texts are sealed");
        packet.extend_from_slice(icv);
        packet
    }
}

/// A payload that an honest sender could have: any bytes in transport mode, a whole packet in a tunnel.
pub(crate) fn honest_payload(in_tunnel: bool, input: &mut Input<'_>) -> Payload {
    if !in_tunnel {
        let next_header = input.pick(INNER);
        let text = input.rest(300).to_vec();
        let inner = text.clone();
        return Payload {
            text,
            next_header,
            inner,
        };
    }
    let shape = input.byte();
    let is_ipv6 = shape & 1 != 0;
    let front = Front {
        traffic_class: shape & 0xfc,
        hop_limit: input.byte(),
        ..Front::between(is_ipv6, input.pick(INNER))
    };
    let tfc_bytes = usize::from(input.byte() & 0x1f);
    let bytes = input.rest(300);
    let mut text = Vec::with_capacity(420);
    front.put(&mut text, bytes.len());
    text.extend_from_slice(bytes);
    let inner = text.clone();
    text.resize(text.len() + tfc_bytes, 0xaa);
    Payload {
        text,
        next_header: if is_ipv6 { 41 } else { 4 },
        inner,
    }
}

/// Adds a trailer that is right, longer by `extra` than it must be if there is room for that.
pub(crate) fn add_trailer(text: &mut Vec<u8>, next_header: u8, alignment: usize, extra: u8) {
    let least = (text.len() + 2).next_multiple_of(alignment) - text.len() - 2;
    let more = usize::from(extra) / alignment * alignment;
    let pad_bytes = if least + more <= 255 { least + more } else { least };
    text.extend((1..=u8::MAX).take(pad_bytes));
    text.push(u8::try_from(pad_bytes).expect("at most 255"));
    text.push(next_header);
}
