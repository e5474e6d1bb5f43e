/*
 * Policies and their socket options in the dialect of FreeBSD 12.
 * Answers to: ipsec(4) of FreeBSD 12.
 */
#ifndef SALLET_FREEBSD_IPSEC_H
#define SALLET_FREEBSD_IPSEC_H

#include <net/pfkeyv2.h>
#include <netinet/in.h>

#include "../../shared/ipsec.h"

#define IPSEC_POLICYSCOPE_ANY 0x00
#define IPSEC_POLICYSCOPE_GLOBAL 0x01
#define IPSEC_POLICYSCOPE_IFNET 0x02
#define IPSEC_POLICYSCOPE_PCB 0x04

/* This system's own options have other numbers; `sallet run --dialect freebsd' knows these. */
#undef IP_IPSEC_POLICY
#define IP_IPSEC_POLICY 21
#undef IPV6_IPSEC_POLICY
#define IPV6_IPSEC_POLICY 28

#define SALLET_PREFIX "sallet_freebsd_"
#include "../../shared/policy_calls.h"

#endif
