//! `Covered`: the headers in front of AH as the ICV sees them, fields that may change on the way taken as zero.
//! No key, no ICV and no AH header may enter; the packet itself is never changed here.
//! Answers to: RFC 4302 section 3.3.3.1 and appendix A, `ipsec(4)` (`ah_cleartos`, `ah_offsetmask`).

use crate::wire::{ipv4, ipv6, protocol};

/// The longest run of headers in front of AH: IPv6 with as many extension headers as the walk allows.
const COVERED_BYTES_MAX: usize = ipv6::HEADER_BYTES + ipv6::MAXIMUM_EXTENSION_BYTES;
/// IPv6 options with this bit in their type may change on the way (RFC 8200 §4.2).
const CHANGES_EN_ROUTE: u8 = 0x20;

/// How AH goes with IPv4; the default is RFC 4302, the rest is for peers that read it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AhRules {
    /// TOS counts as zero in the ICV; for RFC 1826 it counted as it is.
    pub clear_tos: bool,
    /// Flags and fragment offset count in the ICV as far as this mask lets them; for RFC 1826 they counted.
    pub offset_mask: u16,
    /// The header is sent as a multiple of 8 bytes, as over IPv6: Linux has it so unless told `align4`.
    pub wide_padding: bool,
}

impl Default for AhRules {
    fn default() -> Self {
        Self {
            clear_tos: true,
            offset_mask: 0,
            wide_padding: false,
        }
    }
}

/// Which end computes the ICV: only the sender has something to predict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Sender,
    Receiver,
}

/// The headers in front of AH as the ICV sees them.
pub(super) struct Covered {
    bytes: [u8; COVERED_BYTES_MAX],
    length: usize,
}

impl Covered {
    /// The headers before `at` as the receiver will see them, of a packet that is otherwise ready; `None` if
    /// they do not end there or make no sense.
    pub(super) fn when_sent(packet: &[u8], at: usize, rules: AhRules) -> Option<Self> {
        Self::of(packet, at, rules, End::Sender)
    }

    /// The headers before `at` of a packet that arrived; `None` if they do not end there or make no sense, and
    /// if a source route in them has not come to its end.
    pub(super) fn when_received(packet: &[u8], at: usize, rules: AhRules) -> Option<Self> {
        Self::of(packet, at, rules, End::Receiver)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn of(packet: &[u8], at: usize, rules: AhRules, end: End) -> Option<Self> {
        let mut covered = Self {
            bytes: [0; COVERED_BYTES_MAX],
            length: 0,
        };
        match packet.first()? >> 4 {
            4 => covered.ipv4(packet, at, rules, end)?,
            6 => covered.ipv6(packet, at, end)?,
            _ => return None,
        }
        Some(covered)
    }

    /// Adds bytes and lends them, to change.
    fn push(&mut self, bytes: &[u8]) -> Option<&mut [u8]> {
        let end = self.length.checked_add(bytes.len())?;
        let place = self.bytes.get_mut(self.length..end)?;
        place.copy_from_slice(bytes);
        self.length = end;
        Some(place)
    }

    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.1.1
    //# TOS, flags, fragment offset, TTL and header checksum are zero for the ICV
    fn ipv4(&mut self, packet: &[u8], at: usize, rules: AhRules, end: End) -> Option<()> {
        let view = ipv4::Packet::new_checked(packet)?;
        if view.header_bytes() != at {
            return None;
        }
        let header = self.push(packet.get(..at)?)?;
        if rules.clear_tos {
            header[1] = 0;
        }
        let mask = rules.offset_mask.to_be_bytes();
        header[6] &= mask[0];
        header[7] &= mask[1];
        header[8] = 0;
        header[10..12].fill(0);
        ipv4_options(header, end)
    }

    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.2.1
    //# traffic class, flow label and hop limit are zero for the ICV
    fn ipv6(&mut self, packet: &[u8], at: usize, end: End) -> Option<()> {
        let view = ipv6::Packet::new_checked(packet)?;
        let fixed = self.push(packet.get(..ipv6::HEADER_BYTES)?)?;
        fixed[0] = 0x60;
        fixed[1..4].fill(0);
        fixed[7] = 0;
        let (mut reached, mut next_header_at) = (ipv6::HEADER_BYTES, ipv6::NEXT_HEADER_AT);
        for header in view.extension_headers() {
            if header.at >= at {
                break;
            }
            reached = header.at + header.bytes;
            let bytes = packet.get(header.at..reached)?;
            let here = self.length;
            match header.protocol {
                protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => ipv6_options(self.push(bytes)?)?,
                protocol::ROUTING => {
                    self.push(bytes)?;
                    self.routing(here, end)?;
                }
                protocol::FRAGMENT if header.fragment.is_none() => {
                    self.skip_fragment_header(next_header_at, bytes)?;
                    continue;
                }
                _ => return None,
            }
            next_header_at = here;
        }
        (reached == at).then_some(())
    }

    /// Covers the packet as it is without its fragment header, which whoever reassembles takes away.
    fn skip_fragment_header(&mut self, next_header_at: usize, fragment_header: &[u8]) -> Option<()> {
        *self.bytes.get_mut(next_header_at)? = *fragment_header.first()?;
        let length = u16::from_be_bytes([self.bytes[4], self.bytes[5]]);
        let shorter = length.checked_sub(u16::try_from(fragment_header.len()).ok()?)?;
        self.bytes[4..6].copy_from_slice(&shorter.to_be_bytes());
        Some(())
    }

    /// Arranges a routing header and the destination as they are at the route's end.
    //= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.2.3
    //# the sender orders the routing header so that it appears as it will at the final destination
    fn routing(&mut self, here: usize, end: End) -> Option<()> {
        const FIXED_BYTES: usize = 8;
        let (front, header) = self.bytes.get_mut(..self.length)?.split_at_mut_checked(here)?;
        let destination = front.get_mut(24..ipv6::HEADER_BYTES)?;
        let (kind, segments_left) = (*header.get(2)?, usize::from(*header.get(3)?));
        if segments_left == 0 {
            return Some(());
        }
        // Only of these it is said what they look like at the end: source route and home address.
        if end == End::Receiver || !matches!(kind, 0 | 2) {
            return None;
        }
        header[3] = 0;
        let addresses = header.get_mut(FIXED_BYTES..)?;
        let to_come = segments_left * destination.len();
        let first = addresses.len().checked_sub(to_come)?;
        if addresses.len() % destination.len() != 0 {
            return None;
        }
        let to_come = addresses.get_mut(first..)?;
        // The destination takes the first place, everything moves up by one, the last becomes the destination.
        to_come.rotate_right(destination.len());
        let (place, _) = to_come.split_at_mut_checked(destination.len())?;
        place.swap_with_slice(destination);
        Some(())
    }
}

/// Takes every option that may change as zero, type and length included.
//= https://www.rfc-editor.org/rfc/rfc4302#appendix-A1
//# each option is immutable or mutable as a whole; one that is not in the table counts as mutable
fn ipv4_options(header: &mut [u8], end: End) -> Option<()> {
    const END_OF_OPTIONS: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const SECURITY: u8 = 130;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const EXTENDED_SECURITY: u8 = 133;
    const COMMERCIAL_SECURITY: u8 = 134;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    const ROUTER_ALERT: u8 = 148;
    const MULTI_DESTINATION: u8 = 149;
    let mut at = ipv4::HEADER_BYTES;
    while at < header.len() {
        let kind = header[at];
        let bytes = match kind {
            END_OF_OPTIONS => return Some(()),
            NO_OPERATION => 1,
            _ => usize::from(*header.get(at + 1)?),
        };
        let (front, option) = header.get_mut(..at + bytes)?.split_at_mut_checked(at)?;
        match kind {
            NO_OPERATION => {}
            _ if bytes < 2 => return None,
            SECURITY | EXTENDED_SECURITY | COMMERCIAL_SECURITY | ROUTER_ALERT | MULTI_DESTINATION => {}
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                if let Some(last) = last_of_route(option)? {
                    if end == End::Receiver {
                        return None;
                    }
                    front.get_mut(16..20)?.copy_from_slice(&last);
                }
                option.fill(0);
            }
            _ => option.fill(0),
        }
        at += bytes;
    }
    Some(())
}

/// The address at which a source route ends, if it is not there yet; the outer `None` is no route at all.
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.1.1
//# the destination is mutable but predictable where there is a source route
#[expect(clippy::option_option, reason = "malformed and finished are two answers")]
fn last_of_route(option: &[u8]) -> Option<Option<[u8; 4]>> {
    let pointer = usize::from(*option.get(2)?);
    let route = option.get(3..)?;
    // The pointer counts from 1 at the option's type, so the first address is at 4.
    if pointer > option.len() {
        return Some(None);
    }
    if pointer < 4 || (pointer - 4) % 4 != 0 || route.len() % 4 != 0 {
        return None;
    }
    Some(Some(*route.last_chunk::<4>()?))
}

/// Takes the data of every option as zero that says itself that it may change.
//= https://www.rfc-editor.org/rfc/rfc4302#section-3.3.3.1.2.2
//# where the third bit of an option's type is set, its data counts as zero
fn ipv6_options(header: &mut [u8]) -> Option<()> {
    const PAD_1: u8 = 0;
    let mut rest = header.get_mut(2..)?;
    while let Some(kind) = rest.first().copied() {
        if kind == PAD_1 {
            rest = rest.get_mut(1..)?;
            continue;
        }
        let bytes = usize::from(*rest.get(1)?);
        let (option, behind) = rest.split_at_mut_checked(2 + bytes)?;
        if kind & CHANGES_EN_ROUTE != 0 {
            option[2..].fill(0);
        }
        rest = behind;
    }
    Some(())
}
