/*
 * Policies and their socket options in the dialect of NetBSD 7.1.
 * Answers to: ipsec(4) of NetBSD 7.1.
 */
#ifndef SALLET_NETBSD_IPSEC_H
#define SALLET_NETBSD_IPSEC_H

#include <net/pfkeyv2.h>
#include <netinet/in.h>

#include "../../shared/ipsec.h"

/* This system's own options have other numbers; `sallet run --dialect netbsd' knows these. */
#undef IP_IPSEC_POLICY
#define IP_IPSEC_POLICY 22
#undef IPV6_IPSEC_POLICY
#define IPV6_IPSEC_POLICY 28

#define SALLET_PREFIX "sallet_netbsd_"
#include "../../shared/policy_calls.h"

#endif
