/*
 * Policies and their socket options in the dialect of Linux, which is the one of this system's own headers.
 * Answers to: <linux/ipsec.h>; IP_IPSEC_POLICY and IPV6_IPSEC_POLICY are <netinet/in.h>'s.
 */
#ifndef SALLET_LINUX_IPSEC_H
#define SALLET_LINUX_IPSEC_H

#include <net/pfkeyv2.h>
#include <netinet/in.h>

#include <linux/ipsec.h>

#define SALLET_PREFIX "sallet_linux_"
#include "../../shared/policy_calls.h"

#endif
