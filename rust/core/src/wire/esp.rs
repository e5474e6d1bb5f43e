//! The ESP header: SPI and the sequence number's low half, then what only a key can read.
//! No key, no ICV length and no padding may enter: these belong to the SA.
//! Answers to: RFC 4303 section 2.1, 2.2.

use super::u32_at;
use crate::error::DropReason;
use crate::terms::Spi;

/// SPI and sequence number.
pub const HEADER_BYTES: usize = 8;

/// A view of an ESP packet, from the SPI to the end of the ICV.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    spi: Spi,
    sequence_low: u32,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as ESP.
    ///
    /// # Errors
    /// `InMalformed` if the header is cut short; `InNoSa` for SPI 0.
    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.1
    //# SPI 0 is for local use and never on the wire.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let spi = u32_at(bytes, 0).ok_or(DropReason::InMalformed)?;
        let sequence_low = u32_at(bytes, 4).ok_or(DropReason::InMalformed)?;
        let payload = bytes.get(HEADER_BYTES..).ok_or(DropReason::InMalformed)?;
        if spi == 0 {
            return Err(DropReason::InNoSa);
        }
        Ok(Self {
            spi: Spi(spi),
            sequence_low,
            payload,
        })
    }

    /// The SPI.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// The half of the sequence number that is on the wire.
    #[must_use]
    pub const fn sequence_low(&self) -> u32 {
        self.sequence_low
    }

    /// IV, ciphertext and ICV.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Writes SPI and sequence number into the first eight bytes.
///
/// # Errors
/// `NoBuffer` if there are fewer.
pub fn emit_header(bytes: &mut [u8], spi: Spi, sequence_low: u32) -> Result<(), DropReason> {
    let header = bytes
        .first_chunk_mut::<HEADER_BYTES>()
        .ok_or(DropReason::NoBuffer)?;
    header[..4].copy_from_slice(&spi.0.to_be_bytes());
    header[4..].copy_from_slice(&sequence_low.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{captured, ip, udp};

    fn esp_of(packet: &[u8]) -> &[u8] {
        ip::Summary::parse(packet).unwrap().payload(packet)
    }

    #[test]
    fn deconstruct() {
        let datagram = udp::Packet::new_checked(esp_of(captured::IPV4_UDP_ENCAP_ESP)).unwrap();
        for (bytes, spi, payload_bytes) in [
            (esp_of(captured::IPV4_ESP_TRANSPORT), 0x1001, 60),
            (esp_of(captured::IPV6_ESP_TUNNEL), 0x1002, 100),
            (datagram.payload(), 0x1003, 80),
        ] {
            let packet = Packet::new_checked(bytes).unwrap();
            assert_eq!((packet.spi(), packet.sequence_low()), (Spi(spi), 1));
            assert_eq!(packet.payload().len(), payload_bytes);
        }
    }

    #[test]
    fn construct() {
        let bytes = esp_of(captured::IPV4_ESP_TRANSPORT);
        let mut header = [0xaa; HEADER_BYTES];
        emit_header(&mut header, Spi(0x1001), 1).unwrap();
        assert_eq!(header, bytes[..HEADER_BYTES]);
        assert_eq!(
            emit_header(&mut header[1..], Spi(1), 1),
            Err(DropReason::NoBuffer)
        );
    }

    /// CVE-2002-0666, OpenBSD 2.7 errata 024: short and empty ESP.
    #[test]
    fn check_len() {
        let bytes = esp_of(captured::IPV4_ESP_TRANSPORT);
        for length in 0..HEADER_BYTES {
            assert_eq!(
                Packet::new_checked(&bytes[..length]).err(),
                Some(DropReason::InMalformed)
            );
        }
        assert!(
            Packet::new_checked(&bytes[..HEADER_BYTES])
                .unwrap()
                .payload()
                .is_empty()
        );
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-2.1
    //# SPI 0 is for local use and never on the wire.
    #[test]
    fn spi_zero_names_no_sa() {
        assert_eq!(Packet::new_checked(&[0; 40]).err(), Some(DropReason::InNoSa));
    }
}
