//! `PacketBuf`: owned bytes with headroom and tailroom, so that headers go in front without a copy.
//! No knowledge of any format may enter.
//! Answers to: ARCHITECTURE.md C.1 (one buffer from the device to the wire).

use crate::error::DropReason;

/// Room in front: outer IPv6 header and AH with the longest ICV (88 bytes; UDP, ESP header and IV are fewer) of
/// as many nested SAs as a policy may name, in whole cache lines.
pub const HEADROOM: usize = 576;
/// Room behind: padding to a block of 16, its length, next header and the longest ICV (49 bytes) of as many.
pub const TAILROOM: usize = 320;

/// One packet in a buffer of fixed capacity: `[headroom | packet | tailroom]`.
///
/// Growing past either end is an error, never a reallocation: sizes are settled when the pool is made. Only
/// [`PacketBuf::replace_back`] makes an exception.
pub struct PacketBuf {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl PacketBuf {
    /// Makes an empty buffer that can hold a packet of `packet_bytes` plus head and tail room.
    #[must_use]
    pub fn with_capacity(packet_bytes: usize) -> Self {
        let bytes = vec![0; HEADROOM + packet_bytes + TAILROOM].into_boxed_slice();
        Self {
            bytes,
            start: HEADROOM,
            end: HEADROOM,
        }
    }

    /// Makes a buffer that holds a copy of `packet`.
    #[must_use]
    pub fn from_packet(packet: &[u8]) -> Self {
        let mut buf = Self::with_capacity(packet.len());
        buf.end = HEADROOM + packet.len();
        buf.bytes[HEADROOM..HEADROOM + packet.len()].copy_from_slice(packet);
        buf
    }

    /// Empties the buffer and gives the headroom back.
    pub fn reset(&mut self) {
        self.start = HEADROOM;
        self.end = HEADROOM;
    }

    /// Empties the buffer and lends the space a device may write a packet into; `set_len` follows.
    pub fn writable(&mut self) -> &mut [u8] {
        self.reset();
        let end = self.bytes.len() - TAILROOM;
        &mut self.bytes[HEADROOM..end]
    }

    /// Says how many bytes a device wrote into [`PacketBuf::writable`]. Longer than that is cut.
    pub fn set_len(&mut self, len: usize) {
        self.end = (HEADROOM + len).min(self.bytes.len() - TAILROOM);
        self.start = HEADROOM;
    }

    /// Replaces the content by a copy of `packet`.
    ///
    /// # Errors
    /// `NoBuffer` if it does not fit.
    pub fn fill(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let room = self.writable();
        room.get_mut(..packet.len())
            .ok_or(DropReason::NoBuffer)?
            .copy_from_slice(packet);
        self.set_len(packet.len());
        Ok(())
    }

    /// The packet.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The packet, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Length of the packet, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is no packet in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Adds `count` bytes (of unspecified content) in front and returns the whole packet.
    ///
    /// # Errors
    /// `NoBuffer` if the headroom is used up.
    pub fn push_front(&mut self, count: usize) -> Result<&mut [u8], DropReason> {
        self.start = self.start.checked_sub(count).ok_or(DropReason::NoBuffer)?;
        Ok(self.as_mut_slice())
    }

    /// Removes `count` bytes in front.
    ///
    /// # Errors
    /// `NoBuffer` if the packet is shorter.
    pub fn pop_front(&mut self, count: usize) -> Result<(), DropReason> {
        if count > self.len() {
            return Err(DropReason::NoBuffer);
        }
        self.start += count;
        Ok(())
    }

    /// Adds `count` bytes (of unspecified content) behind and returns just those.
    ///
    /// # Errors
    /// `NoBuffer` if the tailroom is used up.
    pub fn extend_back(&mut self, count: usize) -> Result<&mut [u8], DropReason> {
        let end = self
            .end
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len())
            .ok_or(DropReason::NoBuffer)?;
        let old = core::mem::replace(&mut self.end, end);
        Ok(&mut self.bytes[old..end])
    }

    /// Lengthens the packet to `len` bytes by zeros and leaves the tailroom, in a larger buffer if need be; a
    /// shorter `len` changes nothing.
    pub fn pad_to(&mut self, len: usize) {
        let Some(count) = len.checked_sub(self.len()) else {
            return;
        };
        if self.end + count + TAILROOM > self.bytes.len() {
            let mut larger = vec![0; self.end + count + TAILROOM].into_boxed_slice();
            larger[self.start..self.end].copy_from_slice(self.as_slice());
            self.bytes = larger;
        }
        let end = self.end + count;
        self.bytes[self.end..end].fill(0);
        self.end = end;
    }

    /// Cuts the packet to `len` bytes; a longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Opens a gap of `count` bytes (of unspecified content) behind the first `at` bytes, which move forward.
    ///
    /// # Errors
    /// `NoBuffer` if the headroom is used up or the packet is shorter than `at`.
    pub fn insert_gap(&mut self, at: usize, count: usize) -> Result<(), DropReason> {
        if at > self.len() {
            return Err(DropReason::NoBuffer);
        }
        let packet = self.push_front(count)?;
        packet.copy_within(count..count + at, 0);
        Ok(())
    }

    /// Removes `count` bytes behind the first `at` bytes, which move backward.
    ///
    /// # Errors
    /// `NoBuffer` if the packet is shorter than `at + count`.
    pub fn remove_gap(&mut self, at: usize, count: usize) -> Result<(), DropReason> {
        if at.checked_add(count).is_none_or(|needed| needed > self.len()) {
            return Err(DropReason::NoBuffer);
        }
        self.as_mut_slice().copy_within(..at, count);
        self.pop_front(count)
    }

    /// Puts `bytes` in the place of everything behind the first `at` bytes.
    ///
    /// What was inflated may be longer than any buffer that a device's packets fit into: then, and only then,
    /// the packet moves to a new buffer.
    ///
    /// # Errors
    /// `NoBuffer` if the packet is shorter than `at`.
    pub fn replace_back(&mut self, at: usize, bytes: &[u8]) -> Result<(), DropReason> {
        let front = self.as_slice().get(..at).ok_or(DropReason::NoBuffer)?;
        if self.start + at + bytes.len() + TAILROOM > self.bytes.len() {
            let mut longer = Self::with_capacity(at + bytes.len());
            longer.extend_back(at)?.copy_from_slice(front);
            *self = longer;
        }
        self.truncate(at);
        self.extend_back(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}

impl core::fmt::Debug for PacketBuf {
    /// Says the length only: a packet's bytes never reach a log.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PacketBuf")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_open_and_close() {
        let mut buf = PacketBuf::from_packet(b"headbody");
        buf.insert_gap(4, 3).unwrap();
        buf.as_mut_slice()[4..7].copy_from_slice(b"gap");
        assert_eq!(buf.as_slice(), b"headgapbody");
        buf.remove_gap(4, 3).unwrap();
        assert_eq!(buf.as_slice(), b"headbody");
    }

    #[test]
    fn padding_is_zeros_and_leaves_the_tailroom() {
        for capacity in [4, 100] {
            let mut buf = PacketBuf::with_capacity(capacity);
            buf.fill(b"text").unwrap();
            buf.extend_back(3).unwrap().fill(9);
            buf.truncate(4);
            buf.pad_to(3);
            assert_eq!(buf.as_slice(), b"text");
            buf.pad_to(90);
            assert_eq!((buf.len(), &buf.as_slice()[..4]), (90, &b"text"[..]));
            assert!(buf.as_slice()[4..].iter().all(|byte| *byte == 0));
            assert!(buf.push_front(HEADROOM).is_ok() && buf.extend_back(TAILROOM).is_ok());
        }
    }

    #[test]
    fn the_back_is_replaced_in_place_or_in_a_longer_buffer() {
        let mut buf = PacketBuf::from_packet(b"headbody");
        buf.replace_back(4, b"foot").unwrap();
        assert_eq!(buf.as_slice(), b"headfoot");
        let room = buf.bytes.len();
        buf.replace_back(4, b"fo").unwrap();
        assert_eq!((buf.as_slice(), buf.bytes.len()), (&b"headfo"[..], room));
        buf.replace_back(4, &[7; 5000]).unwrap();
        assert_eq!((buf.len(), &buf.as_slice()[..5]), (5004, &b"head\x07"[..]));
        assert!(buf.push_front(HEADROOM).is_ok() && buf.extend_back(TAILROOM).is_ok());
        assert_eq!(buf.replace_back(9000, b""), Err(DropReason::NoBuffer));
    }

    #[test]
    fn ends_are_errors() {
        let mut buf = PacketBuf::from_packet(b"x");
        assert_eq!(buf.push_front(HEADROOM + 1).err(), Some(DropReason::NoBuffer));
        assert_eq!(buf.extend_back(TAILROOM + 1).err(), Some(DropReason::NoBuffer));
        assert_eq!(buf.pop_front(2).err(), Some(DropReason::NoBuffer));
        assert_eq!(buf.remove_gap(1, usize::MAX).err(), Some(DropReason::NoBuffer));
        assert_eq!(buf.as_slice(), b"x");
    }
}
