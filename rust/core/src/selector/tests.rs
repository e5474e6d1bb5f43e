//! The selectors' tests: ranges, prefixes, ports, and what covers what.
//! No packet may enter: a key is written as it is.
//! Answers to: RFC 4301 sections 4.4.1.1 and 4.4.1.2.

use super::*;
use proptest::prelude::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(text: &str) -> AddressRange {
    let (head, bits) = text.split_once('/').unwrap();
    AddressRange::prefix(address(head), bits.parse().unwrap()).unwrap()
}

fn selector(next_layer: Option<u8>, source_ports: PortRange, destination_ports: PortRange) -> Selector {
    let (source, destination) = (range("10.0.0.0/8"), range("192.168.1.0/24"));
    Selector {
        source,
        destination,
        next_layer,
        source_ports,
        destination_ports,
    }
}

fn key(next_layer: u8, ports: Ports) -> SelectorKey {
    SelectorKey {
        source: address("10.1.2.3"),
        destination: address("192.168.1.9"),
        next_layer,
        ports,
    }
}

#[test]
fn prefixes() {
    let eight = range("10.1.2.3/8");
    assert_eq!(
        (eight.first, eight.last),
        (address("10.0.0.0"), address("10.255.255.255"))
    );
    assert_eq!(range("1.2.3.4/0"), AddressRange::any(address("0.0.0.0")));
    assert_eq!(range("fd00::1/0"), AddressRange::any(address("::")));
    assert_eq!(range("fd00::1/128"), AddressRange::host(address("fd00::1")));
    assert_eq!(range("10.0.0.1/32"), AddressRange::host(address("10.0.0.1")));
    let out = Err(Error::OutOfRange { field: "prefix_bits" });
    assert_eq!(AddressRange::prefix(address("10.0.0.1"), 33), out);
    assert_eq!(AddressRange::prefix(address("fd00::1"), 129), out);
    assert_eq!(AddressRange::prefix(address("fd00::1"), 255), out);
}

#[test]
fn display() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/64"] {
        assert_eq!(range(text).to_string(), text);
    }
    assert_eq!(range("10.0.0.1/32").to_string(), "10.0.0.1");
    let odd = AddressRange::new(address("10.0.0.1"), address("10.0.0.2")).unwrap();
    assert_eq!(odd.to_string(), "10.0.0.1-10.0.0.2");
    assert_eq!(PortRange::ANY.to_string(), "any");
    assert_eq!(PortRange::single(22).to_string(), "22");
    assert_eq!(PortRange { first: 1, last: 9 }.to_string(), "1-9");
}

#[test]
fn nonsense_is_refused() {
    let (v4, v6) = (address("10.0.0.1"), address("fd00::1"));
    assert_eq!(AddressRange::new(v4, v6), Err(Error::InvalidSelector));
    assert_eq!(AddressRange::new(v6, v4), Err(Error::InvalidSelector));
    assert_eq!(
        AddressRange::new(address("10.0.0.2"), v4),
        Err(Error::InvalidSelector)
    );
    assert_eq!(PortRange::new(2, 1), Err(Error::InvalidSelector));
    let sound = selector(None, PortRange::ANY, PortRange::ANY);
    assert_eq!(sound.validate(), Ok(()));
    let mixed = Selector {
        destination: AddressRange::any(v6),
        ..sound
    };
    assert_eq!(mixed.validate(), Err(Error::InvalidSelector));
    let backwards = Selector {
        source_ports: PortRange { first: 2, last: 1 },
        ..sound
    };
    assert_eq!(backwards.validate(), Err(Error::InvalidSelector));
    let upside_down = Selector {
        source: AddressRange {
            first: address("10.0.0.2"),
            last: v4,
        },
        ..sound
    };
    assert_eq!(upside_down.validate(), Err(Error::InvalidSelector));
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
//# ANY also covers OPAQUE and protocols without ports; a range of ports covers neither.
//= https://www.rfc-editor.org/rfc/rfc4301#section-7.3
//# later fragments are not sent on an SA with ports unless fragments are followed by state
#[test]
fn opaque_is_not_any() {
    let any = selector(None, PortRange::ANY, PortRange::ANY);
    let almost = selector(
        None,
        PortRange::ANY,
        PortRange {
            first: 0,
            last: 65_534,
        },
    );
    for ports in [Ports::Opaque, Ports::Absent] {
        assert!(any.matches(&key(6, ports)));
        assert!(!almost.matches(&key(6, ports)));
    }
    assert!(almost.matches(&key(
        6,
        Ports::Known {
            source: 1,
            destination: 2
        }
    )));
}

//= https://www.rfc-editor.org/rfc/rfc4301#section-4.4.1.1
//# selectors are addresses, protocol, ports, ICMP type and code, Mobility Header type; ANY and OPAQUE are values
#[test]
fn each_part_counts() {
    let ssh = selector(Some(6), PortRange::ANY, PortRange::single(22));
    let matching = key(
        6,
        Ports::Known {
            source: 40_000,
            destination: 22,
        },
    );
    assert!(ssh.matches(&matching));
    assert!(!ssh.matches(&SelectorKey {
        next_layer: 17,
        ..matching
    }));
    assert!(!ssh.matches(&SelectorKey {
        source: address("11.0.0.1"),
        ..matching
    }));
    assert!(!ssh.matches(&SelectorKey {
        destination: address("192.168.2.1"),
        ..matching
    }));
    assert!(!ssh.matches(&SelectorKey {
        source: address("fd00::1"),
        ..matching
    }));
    assert!(!ssh.matches(&key(
        6,
        Ports::Known {
            source: 22,
            destination: 23
        }
    )));
    let echo_request = selector(Some(1), PortRange::single(8), PortRange::single(0));
    assert!(echo_request.matches(&key(1, Ports::Icmp { kind: 8, code: 0 })));
    assert!(!echo_request.matches(&key(1, Ports::Icmp { kind: 0, code: 0 })));
    assert!(!echo_request.matches(&key(1, Ports::Icmp { kind: 8, code: 1 })));
}

#[test]
fn reversed_keeps_type_and_code() {
    let ssh = selector(Some(6), PortRange::single(1), PortRange::single(22)).reversed();
    assert_eq!(
        (ssh.source_ports, ssh.destination_ports),
        (PortRange::single(22), PortRange::single(1))
    );
    assert_eq!(ssh.source, range("192.168.1.0/24"));
    let echo = selector(Some(1), PortRange::single(8), PortRange::single(0)).reversed();
    assert_eq!(
        (echo.source_ports, echo.destination_ports),
        (PortRange::single(8), PortRange::single(0))
    );
}

/// Few values, so that ranges meet.
fn small_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..16).prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        (0u128..16).prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn small_range() -> impl Strategy<Value = AddressRange> {
    (0u128..16, 0u128..16, any::<bool>()).prop_map(|(a, b, v4)| {
        let like = if v4 { address("0.0.0.0") } else { address("::") };
        AddressRange {
            first: from_bits(a.min(b), like),
            last: from_bits(a.max(b), like),
        }
    })
}

fn small_ports() -> impl Strategy<Value = PortRange> {
    let ranges = (0u16..6, 0u16..6).prop_map(|(a, b)| PortRange {
        first: a.min(b),
        last: a.max(b),
    });
    prop_oneof![ranges, Just(PortRange::ANY)]
}

fn small_selector() -> impl Strategy<Value = Selector> {
    (
        small_range(),
        small_range(),
        proptest::option::of(5u8..8),
        small_ports(),
        small_ports(),
    )
        .prop_map(
            |(source, destination, next_layer, source_ports, destination_ports)| Selector {
                source,
                destination,
                next_layer,
                source_ports,
                destination_ports,
            },
        )
}

fn small_key() -> impl Strategy<Value = SelectorKey> {
    let ports = prop_oneof![
        (0u16..7, 0u16..7).prop_map(|(source, destination)| Ports::Known { source, destination }),
        Just(Ports::Opaque),
        Just(Ports::Absent),
    ];
    (small_address(), small_address(), 5u8..8, ports).prop_map(|(source, destination, next_layer, ports)| {
        SelectorKey {
            source,
            destination,
            next_layer,
            ports,
        }
    })
}

proptest! {
    #[test]
    fn a_prefix_is_found_again(bits: u128, length in 0u8..=128, v4: bool) {
        let (like, length) = if v4 { (address("0.0.0.0"), length % 33) } else { (address("::"), length) };
        let range = AddressRange::prefix(from_bits(bits, like), length).unwrap();
        prop_assert_eq!(range.as_prefix(), Some((range.first, length)));
        prop_assert!(range.contains(&from_bits(bits, like)));
    }

    #[test]
    fn as_prefix_names_exactly_this_range(range in small_range()) {
        let exact = (0..=width(range.first))
            .map(|bits| AddressRange::prefix(range.first, bits as u8).unwrap())
            .find(|prefix| *prefix == range);
        prop_assert_eq!(range.as_prefix().is_some(), exact.is_some());
    }

    #[test]
    fn contains_equals_comparing_numbers(range in small_range(), address in small_address()) {
        let one_family = range.first.is_ipv4() == address.is_ipv4();
        let within = (to_bits(range.first)..=to_bits(range.last)).contains(&to_bits(address));
        prop_assert_eq!(range.contains(&address), one_family && within);
    }

    #[test]
    fn what_is_covered_matches(wide in small_selector(), narrow in small_selector(), key in small_key()) {
        prop_assert!(wide.covers(&wide));
        if wide.covers(&narrow) && narrow.matches(&key) {
            prop_assert!(wide.matches(&key));
        }
    }

    #[test]
    fn what_is_not_covered_has_a_witness(wide in small_selector(), narrow in small_selector()) {
        // The corners of the narrow one, with ports that are its ends, and OPAQUE where it takes that.
        let layers: Vec<u8> = narrow.next_layer.map_or_else(|| (0..10).collect(), |layer| vec![layer]);
        let mut all = true;
        for next_layer in layers {
            for source in [narrow.source.first, narrow.source.last] {
                for destination in [narrow.destination.first, narrow.destination.last] {
                    for ports in [
                        Ports::Known { source: narrow.source_ports.first, destination: narrow.destination_ports.first },
                        Ports::Known { source: narrow.source_ports.last, destination: narrow.destination_ports.last },
                        Ports::Opaque,
                    ] {
                        let key = SelectorKey { source, destination, next_layer, ports };
                        all &= !narrow.matches(&key) || wide.matches(&key);
                    }
                }
            }
        }
        prop_assert_eq!(wide.covers(&narrow), all);
    }

    #[test]
    fn the_way_back_matches(selector in small_selector(), key in small_key()) {
        let ports = match key.ports {
            Ports::Known { source, destination } => Ports::Known { source: destination, destination: source },
            other @ (Ports::Icmp { .. } | Ports::Opaque | Ports::Absent) => other,
        };
        let back = SelectorKey { source: key.destination, destination: key.source, ports, ..key };
        prop_assert_eq!(selector.matches(&key), selector.reversed().matches(&back));
        prop_assert_eq!(selector.reversed().reversed(), selector);
    }
}
