//! IPv6: the fixed header and the walk over extension headers, bounded in number and in bytes.
//! Reassembly, jumbograms and the meaning of options may not enter.
//! Answers to: RFC 8200 section 3 and 4, RFC 7112, RFC 6946, RFC 4303 section 3.1.1.

use std::net::Ipv6Addr;

use super::{ip::Fragment, protocol, u16_at, u32_at};
use crate::error::DropReason;

/// The fixed header.
pub const HEADER_BYTES: usize = 40;
/// The longest payload without jumbograms.
pub const MAXIMUM_PAYLOAD_BYTES: usize = 65_535;
/// More extension headers than this make a packet malformed.
pub const MAXIMUM_EXTENSION_HEADERS: usize = 8;
/// More bytes of extension headers than this make a packet malformed.
pub const MAXIMUM_EXTENSION_BYTES: usize = 512;

/// Where the fixed header's next-header byte stands.
const NEXT_HEADER_AT: usize = 6;

/// A view of an IPv6 packet whose payload length was checked against the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    whole: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Sees `bytes` as an IPv6 packet; bytes behind its payload length are not part of the view.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let whole = bytes.get(..HEADER_BYTES + usize::from(u16_at(bytes, 4)?))?;
        Some(Self { header, whole })
    }

    /// The traffic class: DSCP and ECN.
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        self.header[0] << 4 | self.header[1] >> 4
    }

    /// The flow label, 20 bits.
    #[must_use]
    pub const fn flow_label(&self) -> u32 {
        let h = self.header;
        u32::from_be_bytes([0, h[1] & 0x0f, h[2], h[3]])
    }

    /// The protocol of the first header behind the fixed one.
    #[must_use]
    pub const fn next_header(&self) -> u8 {
        self.header[NEXT_HEADER_AT]
    }

    /// Hop limit.
    #[must_use]
    pub const fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        address_at(self.header, 8)
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        address_at(self.header, 24)
    }

    /// Length of the whole packet.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        self.whole.len()
    }

    /// What follows the fixed header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.whole.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The extension headers, one at a time, AH among them.
    #[must_use]
    pub const fn extension_headers(&self) -> ExtensionHeaders<'a> {
        ExtensionHeaders {
            whole: self.whole,
            at: HEADER_BYTES,
            protocol: self.header[NEXT_HEADER_AT],
            count: 0,
            later_fragment: false,
        }
    }

    /// Walks the extension headers to the next layer; `None` if the chain is cut, too long or out of order.
    #[must_use]
    pub fn layers(&self) -> Option<Layers> {
        let mut walk = self.extension_headers();
        let mut layers = Layers {
            transport_at: HEADER_BYTES,
            transport_next_header: self.next_header(),
            payload_at: HEADER_BYTES,
            next_layer: self.next_header(),
            fragment: None,
        };
        let mut fragment_seen = false;
        //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
        //# Skipped are hop-by-hop options, routing, fragment and destination options; AH and ESP count as next layers.
        while walk.is_extension_header() && walk.protocol != protocol::AH {
            let header = walk.step()?;
            layers.payload_at = walk.at;
            layers.next_layer = walk.protocol;
            if header.protocol == protocol::FRAGMENT && core::mem::replace(&mut fragment_seen, true) {
                return None;
            }
            if let Some(fragment) = header.fragment {
                layers.fragment = Some(fragment);
            }
            //= https://www.rfc-editor.org/rfc/rfc4303#section-3.1.1
            //# ESP goes behind hop-by-hop, routing and fragment headers; destination options may stand on either side.
            if header.protocol != protocol::DESTINATION_OPTIONS {
                layers.transport_at = walk.at;
                layers.transport_next_header = walk.protocol;
            }
        }
        Some(layers)
    }
}

fn address_at(header: &[u8; HEADER_BYTES], at: usize) -> Ipv6Addr {
    let octets = header
        .get(at..)
        .and_then(|rest| rest.first_chunk::<16>())
        .copied()
        .unwrap_or_default();
    Ipv6Addr::from(octets)
}

/// Where the parts of a packet with extension headers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Where ESP goes in transport mode.
    pub transport_at: usize,
    /// The protocol of what stands there.
    pub transport_next_header: u8,
    /// The first byte behind all extension headers.
    pub payload_at: usize,
    /// The protocol of what stands there.
    pub next_layer: u8,
    /// Where this fragment belongs; `None` for a whole packet and for an atomic fragment (RFC 6946).
    pub fragment: Option<Fragment>,
}

/// One extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionHeader {
    /// Its protocol number.
    pub protocol: u8,
    /// Where it begins.
    pub at: usize,
    /// How long it is.
    pub bytes: usize,
    /// For a fragment header of a real fragment: where it belongs.
    pub fragment: Option<Fragment>,
}

/// Walks extension headers; ends at the first other header, or where the chain is malformed.
#[derive(Clone, Debug)]
pub struct ExtensionHeaders<'a> {
    whole: &'a [u8],
    at: usize,
    protocol: u8,
    count: usize,
    later_fragment: bool,
}

impl ExtensionHeaders<'_> {
    /// The protocol of what stands at [`ExtensionHeaders::position`].
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// How far the walk has come.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether what stands here is one more extension header. Behind a later fragment's header stand plain bytes.
    #[must_use]
    pub const fn is_extension_header(&self) -> bool {
        !self.later_fragment
            && matches!(
                self.protocol,
                protocol::HOP_BY_HOP
                    | protocol::ROUTING
                    | protocol::FRAGMENT
                    | protocol::DESTINATION_OPTIONS
                    | protocol::AH
            )
    }

    /// Steps over the header that stands here; `None` if it is cut, misplaced or one too many.
    fn step(&mut self) -> Option<ExtensionHeader> {
        //= https://www.rfc-editor.org/rfc/rfc8200#section-4.1
        //# Hop-by-hop options stand only immediately behind the fixed header.
        if self.count == MAXIMUM_EXTENSION_HEADERS
            || (self.protocol == protocol::HOP_BY_HOP && self.count != 0)
        {
            return None;
        }
        let rest = self.whole.get(self.at..)?;
        let next = *rest.first()?;
        let length = usize::from(*rest.get(1)?);
        let bytes = match self.protocol {
            protocol::FRAGMENT => 8,
            protocol::AH => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        let end = self.at + bytes;
        if bytes > rest.len() || end > HEADER_BYTES + MAXIMUM_EXTENSION_BYTES {
            return None;
        }
        let fragment = if self.protocol == protocol::FRAGMENT {
            fragment(rest)?
        } else {
            None
        };
        if let Some(fragment) = fragment {
            // What this fragment adds to the packet must end within the longest payload.
            let end_bytes = usize::from(fragment.offset_bytes) + rest.len() - bytes;
            if end_bytes > MAXIMUM_PAYLOAD_BYTES {
                return None;
            }
        }
        let header = ExtensionHeader {
            protocol: self.protocol,
            at: self.at,
            bytes,
            fragment,
        };
        self.later_fragment = fragment.is_some_and(|fragment| fragment.offset_bytes != 0);
        self.at = end;
        self.protocol = next;
        self.count += 1;
        Some(header)
    }
}

impl Iterator for ExtensionHeaders<'_> {
    type Item = ExtensionHeader;

    fn next(&mut self) -> Option<ExtensionHeader> {
        if self.is_extension_header() {
            self.step()
        } else {
            None
        }
    }
}

/// Reads a fragment header: `None` if cut, `Some(None)` if atomic.
//= https://www.rfc-editor.org/rfc/rfc6946#section-4
//# A fragment header with offset zero and no more fragments is a packet by itself.
#[allow(clippy::option_option)]
fn fragment(header: &[u8]) -> Option<Option<Fragment>> {
    let field = u16_at(header, 2)?;
    let fragment = Fragment {
        offset_bytes: field & 0xfff8,
        more: field & 1 != 0,
        id: u32_at(header, 4)?,
    };
    Some((fragment.more || fragment.offset_bytes != 0).then_some(fragment))
}

/// What a fixed header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// The protocol of the payload.
    pub next_header: u8,
    /// The traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// The flow label, 20 bits.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// Length of what follows the fixed header.
    pub payload_bytes: usize,
}

impl Repr {
    /// The fixed header's meaning.
    #[must_use]
    pub fn parse(packet: &Packet<'_>) -> Self {
        Self {
            source: packet.source(),
            destination: packet.destination(),
            next_header: packet.next_header(),
            traffic_class: packet.traffic_class(),
            flow_label: packet.flow_label(),
            hop_limit: packet.hop_limit(),
            payload_bytes: packet.payload().len(),
        }
    }

    /// Writes the fixed header into the first [`HEADER_BYTES`] bytes; of the flow label, 20 bits.
    ///
    /// # Errors
    /// `NoBuffer` if there are fewer; `OutTooBig` if the length does not fit its field.
    pub fn emit(&self, bytes: &mut [u8]) -> Result<(), DropReason> {
        let payload = u16::try_from(self.payload_bytes).map_err(|_| DropReason::OutTooBig)?;
        let header = bytes
            .first_chunk_mut::<HEADER_BYTES>()
            .ok_or(DropReason::NoBuffer)?;
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        header[..4].copy_from_slice(&word.to_be_bytes());
        header[4..6].copy_from_slice(&payload.to_be_bytes());
        header[NEXT_HEADER_AT] = self.next_header;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..].copy_from_slice(&self.destination.octets());
        Ok(())
    }
}

/// Sets the payload length (that of the slice) and the next-header byte that points at `transport_at`.
pub(super) fn replace_payload(packet: &mut [u8], transport_at: usize, next_header: u8) -> Option<()> {
    let payload = u16::try_from(packet.len().checked_sub(HEADER_BYTES)?).ok()?;
    let mut pointer_at = NEXT_HEADER_AT;
    let mut walk = ExtensionHeaders {
        whole: packet,
        at: HEADER_BYTES,
        protocol: *packet.get(NEXT_HEADER_AT)?,
        count: 0,
        later_fragment: false,
    };
    while walk.at < transport_at {
        pointer_at = walk.next()?.at;
    }
    if walk.at != transport_at {
        return None;
    }
    *packet.get_mut(pointer_at)? = next_header;
    packet.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
    Some(())
}
