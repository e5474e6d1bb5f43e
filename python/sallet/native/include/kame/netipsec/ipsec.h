/*
 * Policies and their socket options in the dialect of KAME and QNX.
 * Answers to: ipsec(4) of KAME and QNX.
 */
#ifndef SALLET_KAME_IPSEC_H
#define SALLET_KAME_IPSEC_H

#include <net/pfkeyv2.h>
#include <netinet/in.h>

#include "../../shared/ipsec.h"

/* This system's own options have other numbers; `sallet run --dialect kame' knows these. */
#undef IP_IPSEC_POLICY
#define IP_IPSEC_POLICY 22
#undef IPV6_IPSEC_POLICY
#define IPV6_IPSEC_POLICY 28

#define SALLET_PREFIX "sallet_kame_"
#include "../../shared/policy_calls.h"

#endif
