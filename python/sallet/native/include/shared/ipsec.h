/*
 * Policies as the BSD systems have them, without the numbers in which they differ.
 * Included by netipsec/ipsec.h of a dialect only; no value of one system may enter.
 * Answers to: ipsec(4); netinet6/ipsec.h of KAME, netipsec/ipsec.h of NetBSD 7.1 and FreeBSD 12.
 */
#ifndef SALLET_SHARED_IPSEC_H
#define SALLET_SHARED_IPSEC_H

#define IPSEC_PORT_ANY 0
#define IPSEC_ULPROTO_ANY 255
#define IPSEC_PROTO_ANY 255

#define IPSEC_MODE_ANY 0
#define IPSEC_MODE_TRANSPORT 1
#define IPSEC_MODE_TUNNEL 2
#define IPSEC_MODE_TCPMD5 3

#define IPSEC_DIR_ANY 0
#define IPSEC_DIR_INBOUND 1
#define IPSEC_DIR_OUTBOUND 2
#define IPSEC_DIR_MAX 3
#define IPSEC_DIR_INVALID 4

#define IPSEC_POLICY_DISCARD 0
#define IPSEC_POLICY_NONE 1
#define IPSEC_POLICY_IPSEC 2
#define IPSEC_POLICY_ENTRUST 3
#define IPSEC_POLICY_BYPASS 4

#define IPSEC_LEVEL_DEFAULT 0
#define IPSEC_LEVEL_USE 1
#define IPSEC_LEVEL_REQUIRE 2
#define IPSEC_LEVEL_UNIQUE 3

#define IPSEC_MANUAL_REQID_MAX 0x3fff
#define IPSEC_REPLAYWSIZE 32

#endif
