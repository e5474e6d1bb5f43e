//! DEFLATE for single datagrams: both directions with their tables, used again for each datagram.
//! No header, no CPI, no threshold and no memory of earlier datagrams may enter.
//! Answers to: RFC 1951, RFC 2394 section 2 (raw DEFLATE), RFC 3173 section 2 (each datagram stands alone).

use core::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::AlgorithmKey;
use super::registry::{self, Kind};
use crate::error::Error;

/// How far back the streams made here refer: 2^11 bytes, as many as the smallest peer keeps (Linux).
///
/// This is what the manuals' zlib caveat comes from: a stream with a larger window than the receiver's is
/// refused by it, and only for datagrams that are long enough.
pub const WINDOW_BITS_OUT: u8 = 11;
/// How far back the streams of others may refer: as far as DEFLATE can say.
const WINDOW_BITS_IN: u8 = 15;
/// Of the levels measured, the last that costs little: above it 1 % fewer bytes cost a quarter more time, and
/// level 1 leaves a third more bytes.
const LEVEL: u32 = 2;

/// Says whether an SA may have this for its compression.
///
/// # Errors
/// `UnknownAlgorithm` if it is none, `InvalidKeyLength` if there is a key.
pub fn check(asked: &AlgorithmKey) -> Result<(), Error> {
    let row = registry::lookup(&asked.name)
        .filter(|row| row.kind == Kind::Compression)
        .ok_or_else(|| Error::UnknownAlgorithm {
            name: asked.name.clone(),
        })?;
    if row.accepts_key_bits(asked.key.bits()) {
        Ok(())
    } else {
        Err(Error::InvalidKeyLength {
            algorithm: row.name,
            given_bits: asked.key.bits(),
            expected_bits: row.key_bits,
            salt_bits: row.salt_bits,
        })
    }
}

/// Why bytes could not be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They are no DEFLATE stream, or not the whole of one.
    Corrupt,
    /// They inflate to more than was allowed; no more than that was computed.
    TooLong,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "no DEFLATE stream, or not the whole of one",
            Self::TooLong => "inflates to more than was allowed",
        })
    }
}

impl std::error::Error for Flaw {}

/// Both directions of DEFLATE. Tables and output (some 300 KB) are made at first use, and kept.
#[derive(Default)]
pub struct Deflate {
    deflater: Option<Compress>,
    inflater: Option<Decompress>,
    output: Vec<u8>,
}

impl Deflate {
    /// Compresses `data` to at most `longest` bytes; `None` if it does not become that short.
    //= https://www.rfc-editor.org/rfc/rfc3173#section-2
    //# each datagram is compressed by itself, without any reference to earlier ones
    pub fn deflate(&mut self, data: &[u8], longest: usize) -> Option<&[u8]> {
        let deflater = self.deflater.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(LEVEL), false, WINDOW_BITS_OUT)
        });
        deflater.reset();
        // With room for the worst stream there is, every one is ended: one left in the middle would not be
        // forgotten by `reset` (zlib-rs 0.6), and would spoil those after it.
        let output = room(&mut self.output, longest_stream(data.len()));
        let status = deflater.compress(data, output, FlushCompress::Finish);
        let bytes = usize::try_from(deflater.total_out()).ok()?;
        match status {
            Ok(Status::StreamEnd) => self.output.get(..bytes).filter(|_| bytes <= longest),
            Ok(Status::Ok | Status::BufError) | Err(_) => {
                self.deflater = None;
                None
            }
        }
    }

    /// Inflates the stream at the beginning of `data` to at most `longest` bytes; what stands behind it is
    /// ignored.
    ///
    /// # Errors
    /// `TooLong` as soon as one byte more comes out, `Corrupt` for anything that is no whole stream.
    pub fn inflate(&mut self, data: &[u8], longest: usize) -> Result<&[u8], Flaw> {
        let inflater = self
            .inflater
            .get_or_insert_with(|| Decompress::new_with_window_bits(false, WINDOW_BITS_IN));
        inflater.reset(false);
        let output = room(&mut self.output, longest.saturating_add(1));
        let status = inflater.decompress(data, output, FlushDecompress::Finish);
        let bytes = usize::try_from(inflater.total_out()).map_err(|_| Flaw::TooLong)?;
        if bytes > longest {
            return Err(Flaw::TooLong);
        }
        match status {
            // Old zlib wanted one byte more behind a raw stream, and some senders append it.
            Ok(Status::StreamEnd) => self.output.get(..bytes).ok_or(Flaw::Corrupt),
            Ok(Status::Ok | Status::BufError) | Err(_) => Err(Flaw::Corrupt),
        }
    }
}

impl fmt::Debug for Deflate {
    /// Says nothing about the datagrams that went through.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate").finish_non_exhaustive()
    }
}

/// No stream is longer, whatever the data (zlib's `deflateBound` for any window).
const fn longest_stream(data_bytes: usize) -> usize {
    data_bytes + data_bytes.div_ceil(8) + data_bytes.div_ceil(64) + 18
}

/// The first `bytes` of the output, which grows to that size once.
fn room(output: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if output.len() < bytes {
        output.resize(bytes, 0);
    }
    &mut output[..bytes]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONGEST: usize = 65_535;

    /// Bytes that nothing shortens.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut word = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        };
        (0..bytes).map(|_| word()).collect()
    }

    /// Bytes whose second half repeats the first, `distance` further back, and nothing nearer.
    fn echo(distance: usize) -> Vec<u8> {
        let mut bytes = noise(distance);
        bytes.extend_from_within(..);
        bytes
    }

    /// A stream that ended for want of room once left its place in the buffer behind: the ones after it began
    /// there, until one did not fit (zlib-rs 0.6: `reset` keeps `Pending::out`).
    #[test]
    fn streams_that_would_not_shrink_leave_nothing_behind() {
        let mut both = Deflate::default();
        let data = noise(65_000);
        for bytes in (1..400).map(|number| number * 611 % 60_000 + 20) {
            assert!(both.deflate(&data[..bytes], bytes - 5).is_none());
        }
        let text = b"what shrinks, shrinks as it did at first; ".repeat(1500);
        let stream = both.deflate(&text, LONGEST).unwrap().to_vec();
        assert_eq!(stream, Deflate::default().deflate(&text, LONGEST).unwrap());
        assert_eq!(both.inflate(&stream, LONGEST).unwrap(), text);
    }

    /// A stream as a peer makes it who may refer 2^`window_bits` bytes back.
    fn foreign(data: &[u8], level: u32, window_bits: u8) -> Vec<u8> {
        let mut deflater = Compress::new_with_window_bits(Compression::new(level), false, window_bits);
        let mut stream = vec![0; 2 * data.len() + 1000];
        let status = deflater.compress(data, &mut stream, FlushCompress::Finish);
        assert_eq!(status.unwrap(), Status::StreamEnd);
        stream.truncate(usize::try_from(deflater.total_out()).unwrap());
        stream
    }

    #[test]
    fn there_and_back() {
        let mut deflate = Deflate::default();
        for data in [vec![], vec![0; LONGEST], noise(3000), echo(500), echo(30_000)] {
            let stream = deflate.deflate(&data, LONGEST).unwrap().to_vec();
            assert_eq!(deflate.inflate(&stream, LONGEST).unwrap(), data);
        }
    }

    #[test]
    fn no_longer_than_asked_for() {
        let mut deflate = Deflate::default();
        let data = echo(500);
        let bytes = deflate.deflate(&data, LONGEST).unwrap().len();
        assert!(bytes < data.len());
        assert_eq!(deflate.deflate(&data, bytes).unwrap().len(), bytes);
        for longest in [0, 1, bytes - 1] {
            assert_eq!(deflate.deflate(&data, longest), None);
        }
        assert_eq!(deflate.deflate(&noise(1000), 999), None);
        assert!(
            deflate.deflate(&data, bytes).is_some(),
            "a failure leaves nothing behind"
        );
    }

    /// No stream made here refers further back than the smallest peer's window, and those of others may.
    #[test]
    fn windows() {
        let mut deflate = Deflate::default();
        let mut small = Decompress::new_with_window_bits(false, WINDOW_BITS_OUT);
        for distance in [1000, 2000, 2048, 2049, 5000, 30_000] {
            let data = echo(distance);
            let stream = deflate.deflate(&data, LONGEST).unwrap().to_vec();
            small.reset(false);
            let (mut got, mut piece) = (Vec::new(), [0; 64]);
            // Piece by piece, so that only the window remembers what came before.
            loop {
                let (done, before) = (usize::try_from(small.total_in()).unwrap(), small.total_out());
                let status = small
                    .decompress(&stream[done..], &mut piece, FlushDecompress::None)
                    .unwrap();
                got.extend_from_slice(&piece[..usize::try_from(small.total_out() - before).unwrap()]);
                if status == Status::StreamEnd {
                    break;
                }
            }
            assert_eq!(got, data, "{distance}");
            for window_bits in 9..=15 {
                for level in 0..=9 {
                    let stream = foreign(&data, level, window_bits);
                    assert_eq!(deflate.inflate(&stream, LONGEST).unwrap(), data);
                }
            }
        }
        assert!(
            foreign(&echo(30_000), 6, 15).len() < foreign(&echo(30_000), 6, 11).len() - 20_000,
            "windows make a difference here"
        );
    }

    /// 1 to 1032 is as far as DEFLATE goes: some 64 bytes could be 64 KiB, and 64 KiB could be 64 MiB.
    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut deflate = Deflate::default();
        let bomb = foreign(&vec![0; 60_000_000], 9, 15);
        assert!(bomb.len() < LONGEST);
        assert_eq!(deflate.inflate(&bomb, LONGEST), Err(Flaw::TooLong));
        assert!(deflate.output.len() <= LONGEST + 1, "no more was computed");
        let exact = foreign(&vec![7; 1000], 9, 15);
        assert_eq!(deflate.inflate(&exact, 1000).map(<[u8]>::len), Ok(1000));
        assert_eq!(deflate.inflate(&exact, 999), Err(Flaw::TooLong));
    }

    #[test]
    fn a_part_of_a_stream_is_none() {
        let mut deflate = Deflate::default();
        for data in [echo(300), noise(200), vec![0; 5000]] {
            let mut stream = deflate.deflate(&data, LONGEST).unwrap().to_vec();
            for bytes in 0..stream.len() {
                assert_eq!(deflate.inflate(&stream[..bytes], LONGEST), Err(Flaw::Corrupt));
            }
            stream.extend_from_slice(b"\0");
            assert_eq!(
                deflate.inflate(&stream, LONGEST).unwrap(),
                data,
                "one byte more is harmless"
            );
        }
        // Block type 3 does not exist; a stored block must say its length twice.
        for garbage in [&[0x07][..], &[0x01, 1, 0, 0, 0, 9], b"\x78\x9c"] {
            assert_eq!(deflate.inflate(garbage, LONGEST), Err(Flaw::Corrupt));
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3173#section-2
    //# each datagram is compressed by itself, without any reference to earlier ones
    #[test]
    fn each_datagram_stands_alone() {
        let data = echo(400);
        let alone = Deflate::default().deflate(&data, LONGEST).unwrap().to_vec();
        let mut used = Deflate::default();
        for before in [&noise(5000)[..], &data, b"", &[0; 60_000]] {
            used.deflate(before, LONGEST).unwrap();
            let _refused = used.deflate(&noise(5000), 10);
            let _corrupt = used.inflate(&noise(100), LONGEST);
            assert_eq!(used.deflate(&data, LONGEST).unwrap(), alone);
            assert_eq!(used.inflate(&alone, LONGEST).unwrap(), data);
        }
    }

    #[test]
    fn what_an_sa_may_ask_for() {
        assert_eq!(check(&AlgorithmKey::new("deflate", b"")), Ok(()));
        for name in ["null", "aes-gcm-16", "lzs", ""] {
            let unknown = Error::UnknownAlgorithm {
                name: name.to_owned(),
            };
            assert_eq!(check(&AlgorithmKey::new(name, b"")), Err(unknown));
        }
        let keyed = check(&AlgorithmKey::new("deflate", b"k"));
        assert!(matches!(
            keyed,
            Err(Error::InvalidKeyLength { given_bits: 8, .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes(
            data in proptest::collection::vec(any::<u8>(), 0..600),
            cut in 0_usize..600,
            longest in 0_usize..2000,
        ) {
            let mut deflate = Deflate::default();
            if let Ok(inflated) = deflate.inflate(&data, longest) {
                prop_assert!(inflated.len() <= longest);
            }
            let mut stream = foreign(&data, 6, 15);
            stream.drain(..cut.min(stream.len()));
            if let Ok(inflated) = deflate.inflate(&stream, longest) {
                prop_assert!(inflated.len() <= longest);
            }
            prop_assert_eq!(deflate.inflate(&foreign(&data, 1, 9), 600), Ok(&data[..]));
        }
    }
}
