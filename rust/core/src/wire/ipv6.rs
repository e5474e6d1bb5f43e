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
pub const NEXT_HEADER_AT: usize = 6;

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
    //= https://www.rfc-editor.org/rfc/rfc7112#section-5
    //# a first fragment of IPv6 without the whole header chain may be discarded
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::captured;
    use proptest::prelude::*;

    #[test]
    fn deconstruct() {
        let packet = Packet::new_checked(captured::IPV6_ICMP_ECHO_REQUEST).unwrap();
        assert_eq!(
            (packet.traffic_class(), packet.flow_label(), packet.hop_limit()),
            (0, 0x5b31e, 64)
        );
        assert_eq!((packet.next_header(), packet.total_bytes()), (58, 72));
        assert_eq!(packet.source(), "fd09::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(packet.destination(), "fd09::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(packet.payload(), &captured::IPV6_ICMP_ECHO_REQUEST[40..]);
        assert_eq!(packet.extension_headers().count(), 0);
    }

    #[test]
    fn construct() {
        for bytes in captured::ALL.iter().filter(|bytes| bytes[0] >> 4 == 6) {
            let mut header = [0xaa; HEADER_BYTES];
            Repr::parse(&Packet::new_checked(bytes).unwrap())
                .emit(&mut header)
                .unwrap();
            assert_eq!(header, bytes[..HEADER_BYTES]);
        }
    }

    #[test]
    fn check_len() {
        for bytes in [
            captured::IPV6_ALL_EXTENSION_HEADERS,
            captured::IPV6_AH_BEHIND_OPTIONS,
        ] {
            for length in 0..bytes.len() {
                assert!(Packet::new_checked(&bytes[..length]).is_none());
            }
            // An honest payload length that cuts the chain of headers.
            let whole = Packet::new_checked(bytes).unwrap().layers().unwrap();
            for length in HEADER_BYTES..bytes.len() {
                let mut bytes = bytes[..length].to_vec();
                bytes[4..6].copy_from_slice(&u16::try_from(length - HEADER_BYTES).unwrap().to_be_bytes());
                let layers = Packet::new_checked(&bytes).unwrap().layers();
                assert_eq!(layers, (length >= whole.payload_at).then_some(whole));
            }
        }
    }

    #[test]
    fn parse() {
        let repr = Repr {
            source: "fd08::2".parse().unwrap(),
            destination: "fd08::1".parse().unwrap(),
            next_header: 50,
            traffic_class: 0,
            flow_label: 0x9dd2d,
            hop_limit: 64,
            payload_bytes: 108,
        };
        assert_eq!(
            Repr::parse(&Packet::new_checked(captured::IPV6_ESP_TUNNEL).unwrap()),
            repr
        );
    }

    #[test]
    fn emit() {
        let repr = Repr::parse(&Packet::new_checked(captured::IPV6_ESP_TUNNEL).unwrap());
        assert_eq!(repr.emit(&mut [0; HEADER_BYTES - 1]), Err(DropReason::NoBuffer));
        let longer = Repr {
            payload_bytes: MAXIMUM_PAYLOAD_BYTES + 1,
            ..repr
        };
        assert_eq!(longer.emit(&mut [0; HEADER_BYTES]), Err(DropReason::OutTooBig));
        let mut header = [0; HEADER_BYTES];
        Repr {
            flow_label: u32::MAX,
            traffic_class: 0xb8,
            ..repr
        }
        .emit(&mut header)
        .unwrap();
        assert_eq!(header[..4], [0x6b, 0x8f, 0xff, 0xff], "of the flow label 20 bits");
    }

    //= https://www.rfc-editor.org/rfc/rfc4303#section-3.1.1
    //# ESP goes behind hop-by-hop, routing and fragment headers; destination options may stand on either side.
    #[test]
    fn layers_of_real_packets() {
        for (bytes, transport_at, transport_next_header, payload_at, next_layer) in [
            (captured::IPV6_ICMP_ECHO_REQUEST, 40, 58, 40, 58),
            (captured::IPV6_TWO_OPTION_HEADERS, 48, 60, 56, 17),
            // Hop-by-hop, destination options for each hop, routing; then destination options for the end.
            (captured::IPV6_ALL_EXTENSION_HEADERS, 80, 60, 88, 17),
            (captured::IPV6_MULTICAST_LISTENER_REPORT, 48, 58, 48, 58),
            (captured::IPV6_FRAGMENT_FIRST, 48, 58, 48, 58),
            (captured::IPV6_FRAGMENT_LAST, 48, 58, 48, 58),
            (captured::IPV6_FRAGMENT_FIRST_BEHIND_OPTIONS, 64, 17, 64, 17),
        ] {
            let layers = Packet::new_checked(bytes).unwrap().layers().unwrap();
            assert_eq!(
                (layers.transport_at, layers.transport_next_header),
                (transport_at, transport_next_header)
            );
            assert_eq!((layers.payload_at, layers.next_layer), (payload_at, next_layer));
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
    //# Skipped are hop-by-hop options, routing, fragment and destination options; AH and ESP count as next layers.
    #[test]
    fn authentication_header_is_a_next_layer_and_the_walk_knows_its_length() {
        let packet = Packet::new_checked(captured::IPV6_AH_BEHIND_OPTIONS).unwrap();
        let layers = packet.layers().unwrap();
        assert_eq!((layers.next_layer, layers.payload_at), (51, 56));
        assert_eq!((layers.transport_next_header, layers.transport_at), (60, 48));
        let headers: Vec<_> = packet
            .extension_headers()
            .map(|header| (header.protocol, header.bytes))
            .collect();
        assert_eq!(headers, [(0, 8), (60, 8), (51, 32)]);
        let mut walk = packet.extension_headers();
        while walk.next().is_some() {}
        assert_eq!((walk.protocol(), walk.position()), (17, 88));
    }

    #[test]
    fn deconstruct_fragments() {
        let fragment = |bytes| {
            Packet::new_checked(bytes)
                .unwrap()
                .layers()
                .unwrap()
                .fragment
                .unwrap()
        };
        let (first, last) = (
            fragment(captured::IPV6_FRAGMENT_FIRST),
            fragment(captured::IPV6_FRAGMENT_LAST),
        );
        assert_eq!((first.offset_bytes, first.more), (0, true));
        assert_eq!((last.offset_bytes, last.more, last.id), (2896, false, first.id));
    }

    /// Builds a packet from extension headers (protocol and content behind the next-header byte).
    fn chain(headers: &[(u8, Vec<u8>)], next_layer: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        for (index, (_, content)) in headers.iter().enumerate() {
            bytes.push(
                headers
                    .get(index + 1)
                    .map_or(next_layer, |(protocol, _)| *protocol),
            );
            bytes.extend_from_slice(content);
        }
        bytes.extend_from_slice(payload);
        let (traffic_class, flow_label, hop_limit) = (0, 0, 1);
        let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let next_header = headers.first().map_or(next_layer, |(protocol, _)| *protocol);
        let payload_bytes = bytes.len() - HEADER_BYTES;
        Repr {
            source,
            destination,
            next_header,
            traffic_class,
            flow_label,
            hop_limit,
            payload_bytes,
        }
        .emit(&mut bytes)
        .unwrap();
        bytes
    }

    fn layers_of(headers: &[(u8, Vec<u8>)]) -> Option<Layers> {
        let bytes = chain(headers, 17, &[0; 8]);
        Packet::new_checked(&bytes).unwrap().layers()
    }

    fn options() -> (u8, Vec<u8>) {
        (protocol::DESTINATION_OPTIONS, vec![0; 7])
    }

    fn fragment_header(field: u16) -> (u8, Vec<u8>) {
        let [high, low] = field.to_be_bytes();
        (protocol::FRAGMENT, vec![0, high, low, 0, 0, 0, 7])
    }

    //= https://www.rfc-editor.org/rfc/rfc6946#section-4
    //# A fragment header with offset zero and no more fragments is a packet by itself.
    #[test]
    fn an_atomic_fragment_is_whole() {
        let layers = layers_of(&[fragment_header(0)]).unwrap();
        assert_eq!(
            (layers.fragment, layers.payload_at, layers.transport_at),
            (None, 48, 48)
        );
    }

    //= https://www.rfc-editor.org/rfc/rfc8200#section-4.1
    //# Hop-by-hop options stand only immediately behind the fixed header.
    #[test]
    fn misplaced_headers_are_malformed() {
        assert!(layers_of(&[(protocol::HOP_BY_HOP, vec![0; 7]), options()]).is_some());
        assert!(layers_of(&[options(), (protocol::HOP_BY_HOP, vec![0; 7])]).is_none());
        assert!(
            layers_of(&[fragment_header(0), fragment_header(0)]).is_none(),
            "nested fragments"
        );
    }

    #[test]
    fn the_walk_is_bounded() {
        assert!(layers_of(&vec![options(); MAXIMUM_EXTENSION_HEADERS]).is_some());
        assert!(layers_of(&vec![options(); MAXIMUM_EXTENSION_HEADERS + 1]).is_none());
        let long = |units: u8| {
            let mut content = vec![0; (usize::from(units) + 1) * 8 - 1];
            content[0] = units;
            vec![(protocol::DESTINATION_OPTIONS, content)]
        };
        assert!(layers_of(&long(63)).is_some(), "512 bytes");
        assert!(layers_of(&long(64)).is_none(), "520 bytes");
    }

    /// Behind the header of a later fragment stand plain bytes, whatever they look like (CVE-2022-34718).
    #[test]
    fn a_later_fragment_ends_the_walk() {
        let layers = layers_of(&[fragment_header(8 << 3), options()]).unwrap();
        assert_eq!(
            (layers.next_layer, layers.payload_at),
            (protocol::DESTINATION_OPTIONS, 48)
        );
    }

    #[test]
    fn check_fragment_end() {
        assert!(layers_of(&[fragment_header(0xfff8)]).is_none());
        assert!(layers_of(&[fragment_header(0xfff0)]).is_some());
    }

    #[test]
    fn a_jumbogram_is_malformed() {
        let mut bytes = chain(
            &[(protocol::HOP_BY_HOP, vec![0, 0xc2, 4, 0, 1, 0, 0])],
            17,
            &[0; 8],
        );
        bytes[4..6].fill(0);
        assert!(Packet::new_checked(&bytes).unwrap().layers().is_none());
    }

    fn any_header() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let kind = prop_oneof![
            Just(protocol::ROUTING),
            Just(protocol::DESTINATION_OPTIONS),
            Just(protocol::AH)
        ];
        let sized = (kind, 0u8..4, proptest::collection::vec(any::<u8>(), 48));
        let sized = sized.prop_map(|(protocol, units, mut content)| {
            content[0] = if protocol == protocol::AH {
                units + 1
            } else {
                units
            };
            let bytes = if protocol == protocol::AH {
                usize::from(units) * 4 + 12
            } else {
                usize::from(units) * 8 + 8
            };
            content.truncate(bytes - 1);
            (protocol, content)
        });
        prop_oneof![4 => sized, 1 => any::<bool>().prop_map(|more| fragment_header(u16::from(more)))]
    }

    proptest! {
        #[test]
        fn etherparse_reads_the_same_header(bytes in proptest::collection::vec(any::<u8>(), 0..80), honest: bool) {
            let mut bytes = bytes;
            if let (true, Some(payload)) = (honest, bytes.len().checked_sub(HEADER_BYTES)) {
                bytes[0] = 0x60 | bytes[0] & 0x0f;
                bytes[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
            }
            let ours = Packet::new_checked(&bytes);
            let theirs = etherparse::Ipv6HeaderSlice::from_slice(&bytes).ok();
            let fits = theirs.as_ref().is_some_and(|h| HEADER_BYTES + usize::from(h.payload_length()) <= bytes.len());
            prop_assert_eq!(ours.is_some(), fits);
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.source(), theirs.source_addr());
                prop_assert_eq!(ours.destination(), theirs.destination_addr());
                prop_assert_eq!(ours.traffic_class(), theirs.traffic_class());
                prop_assert_eq!(ours.flow_label(), theirs.flow_label().value());
                prop_assert_eq!(ours.hop_limit(), theirs.hop_limit());
                prop_assert_eq!(ours.next_header(), theirs.next_header().0);
            }
        }

        #[test]
        fn etherparse_walks_the_same(
            first in any::<bool>(),
            headers in proptest::collection::vec(any_header(), 0..5),
            next_layer in prop_oneof![Just(6u8), Just(17), Just(50), Just(58), Just(59)],
            cut in 0usize..60,
        ) {
            let mut headers = headers;
            if first { headers.insert(0, (protocol::HOP_BY_HOP, vec![0; 7])); }
            // Two fragment headers are malformed for us alone.
            prop_assume!(headers.iter().filter(|(protocol, _)| *protocol == protocol::FRAGMENT).count() < 2);
            let mut bytes = chain(&headers, next_layer, &[0; 8]);
            bytes.truncate(bytes.len().saturating_sub(cut).max(HEADER_BYTES));
            let payload = u16::try_from(bytes.len() - HEADER_BYTES).unwrap();
            bytes[4..6].copy_from_slice(&payload.to_be_bytes());
            let packet = Packet::new_checked(&bytes).unwrap();
            let mut ours = packet.extension_headers();
            while ours.next().is_some() {}
            let theirs = etherparse::Ipv6ExtensionsSlice::from_slice(packet.next_header().into(), packet.payload());
            prop_assert_eq!(!ours.is_extension_header(), theirs.is_ok());
            if let Ok((extensions, next_layer, rest)) = theirs {
                prop_assert_eq!(ours.protocol(), next_layer.0);
                prop_assert_eq!(bytes.len() - ours.position(), rest.len());
                if !headers.iter().any(|(protocol, _)| *protocol == protocol::AH) {
                    let layers = packet.layers().unwrap();
                    prop_assert_eq!(layers.fragment.is_some(), extensions.is_fragmenting_payload());
                    prop_assert_eq!((layers.next_layer, layers.payload_at), (ours.protocol(), ours.position()));
                }
            }
        }
    }
}
