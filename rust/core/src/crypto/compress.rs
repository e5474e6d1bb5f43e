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
        let output = room(&mut self.output, longest);
        match deflater.compress(data, output, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => {
                let bytes = usize::try_from(deflater.total_out()).ok()?;
                self.output.get(..bytes)
            }
            // Out of room, which is the whole answer.
            Ok(Status::Ok | Status::BufError) | Err(_) => None,
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

/// The first `bytes` of the output, which grows to that size once.
fn room(output: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if output.len() < bytes {
        output.resize(bytes, 0);
    }
    &mut output[..bytes]
}
