//! Packets that real kernels sent (how they were captured: `rust/fuzz/README.md`); the fuzz corpus holds the bytes.
//! No packet that was typed in by hand may enter.
//! Answers to: nothing; these are the evidence.

macro_rules! captured {
    ($($name:ident = $file:literal;)+) => {
        $(pub(crate) const $name: &[u8] =
            include_bytes!(concat!("../../../fuzz/corpus/wire_packets/", $file));)+

        /// Every captured packet.
        pub(crate) const ALL: &[&[u8]] = &[$($name),+];
    };
}

captured! {
    IPV4_ICMP_ECHO_REQUEST = "ipv4_icmp_echo_request";
    IPV4_ICMP_ECHO_REPLY = "ipv4_icmp_echo_reply";
    IPV6_ICMP_ECHO_REQUEST = "ipv6_icmp_echo_request";
    IPV6_ICMP_ECHO_REPLY = "ipv6_icmp_echo_reply";
    IPV6_NEIGHBOUR_SOLICITATION = "ipv6_neighbour_solicitation";
    IPV6_MULTICAST_LISTENER_REPORT = "ipv6_multicast_listener_report";
    IPV4_RECORD_ROUTE = "ipv4_record_route";
    IPV4_FRAGMENT_FIRST = "ipv4_fragment_first";
    IPV4_FRAGMENT_LAST = "ipv4_fragment_last";
    IPV6_FRAGMENT_FIRST = "ipv6_fragment_first";
    IPV6_FRAGMENT_LAST = "ipv6_fragment_last";
    IPV6_FRAGMENT_FIRST_BEHIND_OPTIONS = "ipv6_fragment_first_behind_options";
    IPV6_TWO_OPTION_HEADERS = "ipv6_two_option_headers";
    IPV6_ALL_EXTENSION_HEADERS = "ipv6_all_extension_headers";
    IPV4_ICMP_PORT_UNREACHABLE = "ipv4_icmp_port_unreachable";
    IPV4_ICMP_TOO_BIG = "ipv4_icmp_too_big";
    IPV4_ICMP_TOO_BIG_ORIGINAL = "ipv4_icmp_too_big_original";
    IPV6_ICMP_TOO_BIG = "ipv6_icmp_too_big";
    IPV6_ICMP_TOO_BIG_ORIGINAL = "ipv6_icmp_too_big_original";
    IPV4_UDP = "ipv4_udp";
    IPV6_UDP = "ipv6_udp";
    IPV4_UDP_WITH_OPTIONS = "ipv4_udp_with_options";
    IPV4_TCP_SYN = "ipv4_tcp_syn";
    IPV6_TCP_SYN = "ipv6_tcp_syn";
    IPV6_UDP_LITE = "ipv6_udp_lite";
    IPV4_ESP_TRANSPORT = "ipv4_esp_transport";
    IPV6_ESP_TUNNEL = "ipv6_esp_tunnel";
    IPV4_UDP_ENCAP_ESP = "ipv4_udp_encap_esp";
    IPV4_UDP_ENCAP_KEEPALIVE = "ipv4_udp_encap_keepalive";
    IPV4_UDP_ENCAP_IKE = "ipv4_udp_encap_ike";
    IPV4_IPCOMP_TRANSPORT = "ipv4_ipcomp_transport";
    IPV4_IPCOMP_TUNNEL = "ipv4_ipcomp_tunnel";
    IPV6_IPCOMP_BEHIND_OPTIONS = "ipv6_ipcomp_behind_options";
    IPV4_SCTP_INIT = "ipv4_sctp_init";
    IPV4_DCCP_REQUEST = "ipv4_dccp_request";
    IPV6_MOBILITY = "ipv6_mobility";
    IPV4_AH_TRANSPORT = "ipv4_ah_transport";
    IPV4_AH_BEHIND_SOURCE_ROUTE = "ipv4_ah_behind_source_route";
    IPV6_AH_TUNNEL = "ipv6_ah_tunnel";
    IPV6_AH_BEHIND_OPTIONS = "ipv6_ah_behind_options";
}
